"""The HTTP route that answers for many users at once.

Another thread makes the lists. All come from the model that was served when their turn came; a later change shows in
none of them. Two requests at a time are answered and the others wait, since each request holds its lists until all are
made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Generic

import orjson
from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, ValidatorFunctionWrapHandler, WrapValidator

from recommender.errors import UnknownUserError
from recommender.live import LiveModel
from recommender.model import ListRequest, ServedModel
from recommender.ranking import RANKINGS
from recommender.service.beside import Turns
from recommender.service.json_body import Id, fault, id_text, one_of, read_body, whole_number
from recommender.service.model_headers import PRIVATE, STAMP
from recommender.service.openapi import (
    NATURAL,
    documented_body,
    documented_json,
    documented_refusal,
    list_schema,
    object_schema,
)
from recommender.service.parameters import LARGEST_LIMIT, NO_TEXT_ID, NOT_IN_THIS_MODEL, RANKING, check_served
from recommender.service.problems import documented_problem
from recommender.service.product_json import PREDICTED_ITEM, list_body, listed_schema
from recommender.service.routes.recommendations import EXAMPLE
from recommender.settings import LARGEST_ID
from recommender.shop import UserId

MOST_USERS = 1_000

router = APIRouter()

_ID_ITEM = NATURAL | {"maximum": LARGEST_ID, "format": "int64"}
_REQUEST_SCHEMA = object_schema(
    {"user_ids": list_schema(_ID_ITEM, minItems=1, maxItems=MOST_USERS, uniqueItems=True)},
    optional={
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": LARGEST_LIMIT,
            "description": "How many products each; TOP_N_RECOMMENDATIONS if not given.",
        },
        "ranking": RANKING["schema"] | {"description": RANKING["description"]},
    },
)
_EXAMPLE = {"results": [EXAMPLE], "unknown": [4711]}
_LISTED = list_schema(listed_schema({"predicted_rating": PREDICTED_ITEM}), maxItems=LARGEST_LIMIT)
_SCHEMA = object_schema(
    {
        "results": list_schema(object_schema({"user_id": {"type": "integer"}, "recommendations": _LISTED})),
        "unknown": list_schema({"type": "integer"}, description="Unknown ids."),
    }
)


def _distinct(ids: Any, read: ValidatorFunctionWrapHandler) -> list[Any]:
    if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_USERS:
        given = f"a list of {len(ids)}" if isinstance(ids, list) else ids
        raise fault(f"must be a list of 1 to {MOST_USERS} ids", given)
    found: list[Any] = read(ids)
    if len(set(found)) < len(found):
        twice = next(one for place, one in enumerate(ids) if one in ids[:place])
        raise fault("must hold each id once", twice)
    return found


_Id = Annotated[int, whole_number(LARGEST_ID, "must hold whole numbers from {} to {}", lowest=0)]
_TextId = Annotated[str, id_text(f"must hold user ids, each {NO_TEXT_ID.removeprefix('must be ')}")]


class _Batch(BaseModel, Generic[Id]):
    user_ids: Annotated[list[Id], WrapValidator(_distinct)]
    limit: Annotated[int, whole_number(LARGEST_LIMIT)] = 0  # 0: TOP_N_RECOMMENDATIONS
    ranking: Annotated[str | None, one_of(RANKINGS)] = None


@router.post(
    "/recommendations/batch",
    summary="Products for many users",
    openapi_extra={"requestBody": documented_body(_REQUEST_SCHEMA, {"user_ids": [42, 4711], "limit": 1})},
    responses={
        200: documented_json(
            _SCHEMA, _EXAMPLE, "The lists in the order of the ids, and the ids that are unknown.", headers=STAMP
        ),
        413: documented_problem(
            "The body is too large.", status=413, detail="the body of a request may have 65,536 bytes"
        ),
        409: NOT_IN_THIS_MODEL,
        422: documented_refusal("user_ids", "[]", f"must be a list of 1 to {MOST_USERS} ids"),
    },
)
async def batch(request: Request) -> Response:
    """Recommend products to up to 1,000 users: the list that `GET /recommendations/{user_id}` gives for each."""
    fields: type[_Batch[Any]] = _Batch[_TextId] if request.app.state.model.ids.is_text else _Batch[_Id]
    given = await read_body(request, fields)
    default: int = request.app.state.default_limit
    turns: Turns = request.app.state.batches
    model: LiveModel = request.app.state.model
    request.state.model = model
    check_served(given.ranking, model)
    list_request = ListRequest(given.limit or default, new_rank=default)
    whole = await turns.make(request, model, partial(_answer, model, given.user_ids, list_request, given.ranking))
    return Response(whole, 200, PRIVATE, "application/json")


def _answer(model: ServedModel, user_ids: Sequence[UserId], list_request: ListRequest, ranking: str | None) -> bytes:
    """Return each known user's list, and the ids of unknown users, as JSON: up to 12 MB."""
    results: list[bytes] = []
    unknown: list[UserId] = []
    for user_id in user_ids:
        try:
            results.append(_list_of(model, user_id, list_request, ranking))
        except UnknownUserError:
            unknown.append(user_id)
    return b'{"results":[%s],"unknown":%s}' % (b",".join(results), orjson.dumps(unknown))


def _list_of(model: ServedModel, user_id: UserId, list_request: ListRequest, ranking: str | None) -> bytes:
    chosen = model.select(model.number_of(user_id), list_request, ranking).recommendations
    return list_body(model, user_id, chosen, first=1)


async def not_a_user(_request: Request) -> Response:
    """Answer 405 where the route of one user's list would take "batch" for an id."""
    raise HTTPException(405, headers={"Allow": "POST"})


router.add_route("/recommendations/batch", not_a_user, methods=["GET", "HEAD"], include_in_schema=False)
