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
from recommender.service.openapi import (
    NATURAL,
    Responses,
    documented_json,
    documented_refusal,
    list_schema,
    object_schema,
    query_parameter,
    under_paths,
)
from recommender.service.parameters import (
    LARGEST_LIMIT,
    NOT_IN_THIS_MODEL,
    RANKING,
    USER_ID,
    USER_ID_IN_QUERY,
    one_value,
)
from recommender.service.problems import NOT_KEPT, documented_problem
from recommender.service.product_json import PREDICTED_ITEM, PRODUCT_ID_ITEM, listed_schema
from recommender.service.slashes import with_slashes

router = APIRouter()

EXPLAIN = query_parameter(
    "explain",
    "Adds to each product why it is there: counts and coarse similarities; with a right "
    f"{HEADER} who the neighbors are, what they share with the user, and exact figures. `all`: with a right {HEADER} "
    "`closest` holds all neighbors who have the product, not only the nearest three.",
    {"type": "string", "enum": list(EXPLAINED)},
    "true",
)
_SHARE = {"type": "number", "minimum": 0}
_COARSE = _SHARE | {"description": f"Without a key rounded down to one of {', '.join(map(str, STEPS))}."}
_CLOSE = object_schema(
    {
        "user_id": NATURAL,
        "similarity": _COARSE,
        "rating": {"type": ["number", "null"]},
        "shared_products": list_schema(PRODUCT_ID_ITEM),
    },
    required=["similarity"],
    description="All but the similarity only with a right key.",
)
_REASON = object_schema({"product_id": PRODUCT_ID_ITEM, "share": _SHARE | {"maximum": 1}})
_EXPLANATION_SCHEMA = object_schema(
    {
        "source": {"type": "string", "enum": list(PRODUCT_SOURCES)},
        "sentence": {"type": "string"},
        "support": _SHARE,
        "n_neighbors": NATURAL,
        "n_asked": NATURAL,
        "mean_rating": {"type": ["number", "null"], "description": "Of three people or more; of fewer with a key."},
        "closest": list_schema(_CLOSE),
    },
    optional={
        "because": list_schema(
            _REASON,
            description="By `items` and `fusion`: the user's own products that weigh most; empty without a key.",
        )
    },
)
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
LISTED = list_schema(LISTED_ITEM, maxItems=LARGEST_LIMIT)
RECOMMENDATIONS_SCHEMA = object_schema({"user_id": {"type": "integer"}, "recommendations": LISTED})
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

_RESPONSES: Responses = {
    200: documented_json(RECOMMENDATIONS_SCHEMA, EXAMPLE, "Ranked products.", headers=HEADERS),
    304: model_headers.NOT_MODIFIED,
    404: documented_problem("The user is unknown.", status=404, detail="user 99 is unknown"),
    409: NOT_IN_THIS_MODEL,
    422: documented_refusal("limit", "0", "must be a whole number from 1 to 100"),
}


@under_paths(
    router.get,
    ("/recommendations", "Products for one user, whose id is in the query", [USER_ID_IN_QUERY]),
    ("/recommendations/{user_id}", "Products for one user, best first", [USER_ID]),
    parameters=[*LIST_PARAMETERS, RANKING, EXPLAIN, model_headers.IF_NONE_MATCH],
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
