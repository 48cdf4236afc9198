"""The answer of ``GET /recommendations/{user_id}`` from the text of its path and its query, without the HTTP part.

The same queries come again and again, so parsed queries are cached.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import orjson

from recommender.model import Answer, ListRequest, ServedModel, explain
from recommender.service.beside import takes_long
from recommender.service.filter_parameters import check_stock, list_request_of
from recommender.service.parameters import RequestReader, check_served, no_user_id, user_id_of
from recommender.service.problems import InvalidParameterError
from recommender.service.product_json import list_body, listed
from recommender.shop import UserId

KEPT_QUERIES = 1_024
EXPLAINED = ("true", "false", "all")
LONGEST_KEPT = 200  # bytes; longer queries hardly come twice


class ListAnswer(NamedTuple):
    """The body of an answer, and the sources of its products."""

    body: bytes
    source: str
    sources: str
    names_people: bool


class _Question(NamedTuple):
    """The parsed query; ``errors``: its faults."""

    list_request: ListRequest
    ranking: str | None
    explained: bool
    everybody: bool  # an explanation names all neighbors who have the product
    errors: tuple[dict[str, str], ...]


def answer_at_once(
    user: str, query: bytes, model: ServedModel, default_limit: int, *, named: bool = False
) -> ListAnswer | None:
    """Return what `answer_list` returns, or None if that would keep other requests waiting."""
    if query and takes_long_to(query, model, default_limit):
        return None
    return answer_list(user, query, model, default_limit, named=named)


def takes_long_to(query: bytes, model: ServedModel, default_limit: int) -> bool:
    """Tell whether the list of this query takes so long that other requests would have to wait."""
    question = _read(query, default_limit)
    return not question.errors and takes_long(model, question.list_request, explained=question.explained)


def _read(query: bytes, default_limit: int) -> _Question:
    return (_kept_question if len(query) <= LONGEST_KEPT else _question)(query, default_limit)


def answer_list(user: str, query: bytes, model: ServedModel, default_limit: int, *, named: bool = False) -> ListAnswer:
    """Return the list for the user whose id is the text; ``named``: an explanation may name the neighbors.

    InvalidParameterError, NotInThisModelError, UnknownUserError.
    """
    list_request, ranking, explained, everybody, errors = _read(query, default_limit)
    user_id = user_id_of(user, model.ids)
    if user_id is None:
        raise InvalidParameterError([no_user_id(user, model.ids), *errors])
    if errors:
        raise InvalidParameterError(errors)
    check_served(ranking, model)
    check_stock(list_request, model.products.catalog)
    answer = model.select(model.number_of(user_id), list_request, ranking)
    first = list_request.offset + 1
    if explained:
        body = _explained(user_id, answer, model, ranking, first=first, named=named, everybody=everybody)
    else:
        body = list_body(model, user_id, answer.recommendations, first=first)
    return ListAnswer(body, answer.source, answer.sources, explained and named)


def _explained(
    user_id: UserId,
    answer: Answer,
    model: ServedModel,
    ranking: str | None,
    *,
    first: int,
    named: bool,
    everybody: bool,
) -> bytes:
    number = model.number_of(user_id)
    reasons = explain(model, number, answer.recommendations, ranking, named=named, everybody=everybody)
    items = [
        listed(model, rank, item.column, predicted_rating=round(item.predicted_rating, 3)) | {"explanation": reason}
        for rank, (item, reason) in enumerate(zip(answer.recommendations, reasons, strict=True), start=first)
    ]
    return orjson.dumps({"user_id": user_id, "recommendations": items})


def _question(query: bytes, default_limit: int) -> _Question:
    if not query:
        return _Question(
            ListRequest(default_limit, new_rank=default_limit), None, explained=False, everybody=False, errors=()
        )
    asked = RequestReader(query)
    list_request, ranking, explained = (
        list_request_of(asked, default_limit),
        asked.ranking(),
        asked.choice("explain", EXPLAINED),
    )
    return _Question(
        list_request,
        ranking,
        explained=explained in ("true", "all"),
        everybody=explained == "all",
        errors=tuple(asked.errors),
    )


_kept_question = lru_cache(KEPT_QUERIES)(_question)
