"""The HTTP route that finds products by words of their titles."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from recommender.live import LiveModel
from recommender.model import find_by_title
from recommender.service.beside import Turns
from recommender.service.openapi import (
    NATURAL,
    documented_json,
    documented_refusal,
    list_schema,
    object_schema,
    query_parameter,
)
from recommender.service.parameters import LARGEST_LIMIT, LIMIT, RequestReader
from recommender.service.product_json import listed, listed_schema

router = APIRouter()

FOUND = 20  # products, if no limit is given
LONGEST = 100  # characters of a search
MOST_WORDS = 8
_NO_TITLE = f"must be 1 to {MOST_WORDS} words of {LONGEST} characters at most"
_EXAMPLE = {
    "found": [
        {
            "rank": 1,
            "product_id": "B08N5WRWNW",
            "product_name": "Wireless Keyboard, Quiet Keys",
            "price": 29.99,
            "ratings": 17,
        }
    ]
}
_SCHEMA = object_schema({"found": list_schema(listed_schema({}, more={"ratings": NATURAL}), maxItems=LARGEST_LIMIT)})
_TITLE = query_parameter(
    "title",
    "Words that the title holds, all of them, in either case; or a product id.",
    {"type": "string", "minLength": 1, "maxLength": LONGEST},
    "keyboard",
    required=True,
)


@router.get(
    "/titles",
    summary="Find products by their titles",
    openapi_extra={"parameters": [_TITLE, LIMIT | {"description": f"How many products; {FOUND} if not given."}]},
    responses={
        200: documented_json(_SCHEMA, _EXAMPLE, "Most ratings first; a product with this id before all others."),
        422: documented_refusal("title", "", _NO_TITLE),
    },
)
async def titles(request: Request) -> Response:
    """Return products of the catalog whose titles hold all the words, those that most people rated first."""
    asked = RequestReader.of(request)
    text, limit = title_in(asked), asked.limit(FOUND)
    if not text.split():
        asked.refuse("title", text, _NO_TITLE)
    asked.done()
    return Response(orjson.dumps({"found": await found_by(request, text, limit)}), media_type="application/json")


def title_in(asked: RequestReader) -> str:
    """Return the parameter ``title``; empty if it is not given. A faulty one is noted."""
    text = asked.once("title") or ""
    if len(text) > LONGEST or len(text.split()) > MOST_WORDS:
        asked.refuse("title", text, _NO_TITLE)
    return text


async def found_by(request: Request, text: str, limit: int) -> list[dict[str, Any]]:
    """Return the products that a text finds, for the route and for the page."""
    model: LiveModel = request.app.state.model
    slow_answers: Turns = request.app.state.slow_answers
    columns: list[int] = await slow_answers.make(request, model, partial(find_by_title, model, text.split(), limit))
    if (same := model.products.find(text.strip())) is not None:
        columns = [same, *(column for column in columns if column != same)][:limit]
    return [
        listed(model, rank, column) | {"ratings": model.raters_of(column)[0]}
        for rank, column in enumerate(columns, start=1)
    ]
