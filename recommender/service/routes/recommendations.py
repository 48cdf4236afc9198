"""The HTTP route of one user's recommendations. It takes the bare request and checks its parameters by hand.

Declared query parameters would halve the number of requests that a worker answers (twelve of them: 0.32 to 0.45 of a
bare route), so the OpenAPI document is written out here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from recommender.model import EVIDENT, PRODUCT_SOURCES, STEPS, ServedModel
from recommender.service import model_headers
from recommender.service.api_keys import HEADER, has_key
from recommender.service.filter_parameters import LIST_PARAMETERS
from recommender.service.list_answer import EXPLAINED, ListAnswer, answer_list, takes_long_to
from recommender.service.model_headers import PRIVATE
from recommender.service.parameters import (
    LARGEST_LIMIT,
    NOT_IN_THIS_MODEL,
    RANKING,
    USER_ID,
    USER_ID_IN_QUERY,
    documented_json,
    documented_refusal,
    one_value,
)
from recommender.service.problems import NOT_KEPT, documented_problem
from recommender.service.product_json import PREDICTED_ITEM, PRODUCT_ID_ITEM, listed_schema
from recommender.service.slashes import with_slashes

router = APIRouter()

EXPLAIN = {
    "name": "explain",
    "in": "query",
    "description": "Adds to each product why it is there: counts and coarse similarities; with a right "
    f"{HEADER} who the neighbors are, what they share with the user, and exact figures. `all`: with a right {HEADER} "
    "`closest` holds all neighbors who have the product, not only the nearest three.",
    "schema": {"type": "string", "enum": list(EXPLAINED)},
    "example": "true",
}
_EXPLANATION_SCHEMA = {
    "type": "object",
    "required": ["source", "sentence", "support", "n_neighbors", "n_asked", "mean_rating", "closest"],
    "additionalProperties": False,
    "properties": {
        "source": {"type": "string", "enum": list(PRODUCT_SOURCES)},
        "sentence": {"type": "string"},
        "support": {"type": "number", "minimum": 0},
        "n_neighbors": {"type": "integer", "minimum": 0},
        "n_asked": {"type": "integer", "minimum": 0},
        "mean_rating": {"type": ["number", "null"], "description": "Of three people or more; of fewer with a key."},
        "closest": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["similarity"],
                "additionalProperties": False,
                "description": "All but the similarity only with a right key.",
                "properties": {
                    "user_id": {"type": "integer", "minimum": 0},
                    "similarity": {
                        "type": "number",
                        "minimum": 0,
                        "description": f"Without a key rounded down to one of {', '.join(map(str, STEPS))}.",
                    },
                    "rating": {"type": ["number", "null"]},
                    "shared_products": {"type": "array", "items": PRODUCT_ID_ITEM},
                },
            },
        },
        "because": {
            "type": "array",
            "description": "By `items` and `fusion`: the user's own products that weigh most; empty without a key.",
            "items": {
                "type": "object",
                "required": ["product_id", "share"],
                "additionalProperties": False,
                "properties": {
                    "product_id": PRODUCT_ID_ITEM,
                    "share": {"type": "number", "minimum": 0, "maximum": 1},
                },
            },
        },
    },
}
EXAMPLE: dict[str, Any] = {
    "user_id": 42,
    "recommendations": [
        {
            "rank": 1,
            "product_id": "B08N5WRWNW",
            "product_name": "Wireless Keyboard, Quiet Keys",
            "predicted_rating": 4.712,
            "price": 29.99,
        }
    ],
}
LISTED_ITEM = listed_schema({"predicted_rating": PREDICTED_ITEM}, optional={"explanation": _EXPLANATION_SCHEMA})
RECOMMENDATIONS_SCHEMA = {
    "type": "object",
    "required": ["user_id", "recommendations"],
    "additionalProperties": False,
    "properties": {
        "user_id": {"type": "integer"},
        "recommendations": {
            "type": "array",
            "maxItems": LARGEST_LIMIT,
            "items": LISTED_ITEM,
        },
    },
}
HEADERS = {
    "X-Recommendation-Source": {
        "description": "Where the products come from.",
        "schema": {"type": "string", "enum": [*EVIDENT, "mixed", "popular"]},
    },
    "X-Recommendation-Sources": {
        "description": "How many come from the ranking, people of the same country and age group, popular, new.",
        "schema": {"type": "string"},
        "example": "neighbors=6, segment=3, new=1",
    },
    **model_headers.DOCUMENTED,
}

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: documented_json(RECOMMENDATIONS_SCHEMA, EXAMPLE, "Ranked products.", headers=HEADERS),
    304: model_headers.NOT_MODIFIED,
    404: documented_problem("The user is unknown.", status=404, detail="user 99 is unknown"),
    409: NOT_IN_THIS_MODEL,
    422: documented_refusal("limit", "0", "must be a whole number from 1 to 100"),
}


@router.get(
    "/recommendations/{user_id}",
    summary="Products for one user, best first",
    openapi_extra={"parameters": [USER_ID, *LIST_PARAMETERS, RANKING, EXPLAIN, model_headers.IF_NONE_MATCH]},
    responses=_RESPONSES,
)
@router.get(
    "/recommendations",
    summary="Products for one user, whose id is in the query",
    openapi_extra={"parameters": [USER_ID_IN_QUERY, *LIST_PARAMETERS, RANKING, EXPLAIN, model_headers.IF_NONE_MATCH]},
    responses=_RESPONSES,
)
async def recommendations(request: Request) -> Response:
    """Recommend products that users with the same taste liked, or, by `items`, that go with the user's own.

    The list is computed now, for any known user.

    A list holds products with at least one rating or interaction, and at most one new product. Filters act before the
    list is cut, so it has as many products as were asked for if so many pass. Pages are parts of one list. A user
    without ratings, or one whose neighbors know too few products, gets products from other sources (see the header
    `X-Recommendation-Source`).
    """
    request.state.model = model = request.app.state.model
    query, path = request.scope["query_string"], request.path_params
    text = with_slashes(path["user_id"]) if "user_id" in path else one_value(query, "user_id")
    answer = await list_of(request, model, text, query, named=has_key(request))
    headers = {"X-Recommendation-Source": answer.source, "X-Recommendation-Sources": answer.sources}
    headers |= NOT_KEPT if answer.names_people else PRIVATE
    return Response(answer.body, 200, headers, "application/json")


async def list_of(request: Request, model: ServedModel, user: str, query: bytes, *, named: bool) -> ListAnswer:
    """Return the list of the user whose id is the text; on another thread if it takes long. As `answer_list`."""
    state = request.app.state
    make = partial(answer_list, user, query, model, state.default_limit, named=named)
    slow = takes_long_to(query, model, state.default_limit)
    found: ListAnswer = await state.slow_answers.make(request, model, make) if slow else make()
    return found
