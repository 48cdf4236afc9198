"""The HTTP routes that show one user's neighbors and ratings to callers with a key.

They show only ids, no name and no e-mail address, which the model does not even contain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response

from recommender.model import ServedModel
from recommender.service import api_keys, model_headers
from recommender.service.api_keys import DOCUMENTED_KEY, require_key
from recommender.service.filter_parameters import OFFSET
from recommender.service.openapi import (
    NATURAL,
    Responses,
    documented_json,
    documented_refusal,
    list_schema,
    schema_of,
    under_paths,
)
from recommender.service.parameters import (
    LARGEST_LIMIT,
    LIMIT,
    NOT_IN_THIS_MODEL,
    RANKING,
    USER_ID,
    USER_ID_IN_QUERY,
    RequestReader,
    check_served,
)
from recommender.service.problems import NOT_KEPT, documented_problem
from recommender.service.product_json import PRODUCT_ID_ITEM, PRODUCT_NAME_ITEM, STARS_ITEM
from recommender.shop import UserId

LARGEST_RATINGS_OFFSET = 10_000_000

router = APIRouter(dependencies=[DOCUMENTED_KEY])

_NEIGHBOR = {"user_id": 1337, "similarity": 0.788, "shared_products": 2}
_NEIGHBORS_EXAMPLE = {"user_id": 42, "ranking": "classic", "neighbors": [_NEIGHBOR]}
_RATED = {"product_id": "B08N5WRWNW", "product_name": "Wireless Keyboard, Quiet Keys", "rating": 4.5}
_RATINGS_EXAMPLE = {"user_id": 42, "total": 1, "ratings": [_RATED]}
_NEIGHBOR_SCHEMA = schema_of(
    _NEIGHBOR,
    similarity={"type": "number", "minimum": 0},
    shared_products={"type": "integer", "minimum": 1, "description": "How many products both have."},
)
_RATING_SCHEMA = schema_of(_RATED, product_id=PRODUCT_ID_ITEM, product_name=PRODUCT_NAME_ITEM, rating=STARS_ITEM)
_REFUSALS: Responses = {
    **api_keys.REFUSALS,
    304: model_headers.NOT_MODIFIED,
    404: documented_problem("The user is unknown.", status=404, detail="user 99 is unknown"),
    409: NOT_IN_THIS_MODEL,
    422: documented_refusal("limit", "0", "must be a whole number from 1 to 100"),
}
_NEAR_PARAMETERS = [
    LIMIT | {"description": "How many people; TOP_N_SIMILAR_USERS if not given, never more than are asked."},
    RANKING,
]
_NEAR_RESPONSES: Responses = {
    200: documented_json(
        schema_of(
            _NEIGHBORS_EXAMPLE,
            ranking=RANKING["schema"],
            neighbors=list_schema(_NEIGHBOR_SCHEMA, maxItems=LARGEST_LIMIT),
        ),
        _NEIGHBORS_EXAMPLE,
        "The people that the ranking asks, nearest first; empty for a user nobody is near to.",
        headers=model_headers.DOCUMENTED,
    ),
    **_REFUSALS,
}


@under_paths(
    router.get,
    ("/neighbors", "The same, by the id in the query", [USER_ID_IN_QUERY]),
    ("/users/{user_id}/neighbors", "The most similar users", [USER_ID]),
    parameters=_NEAR_PARAMETERS,
    responses=_NEAR_RESPONSES,
)
async def neighbors(request: Request) -> Response:
    """Return the users with the most similar ratings (not by classic: ratings and interactions); needs a key."""
    require_key(request)
    asked = RequestReader.of(request)
    model: ServedModel = request.app.state.model
    user_id, limit = asked.user_id(model.ids), asked.limit(min(model.n_neighbors, LARGEST_LIMIT))
    ranking = asked.ranking()
    asked.done()
    check_served(ranking, model)
    body = neighbors_of(model, user_id, limit, ranking)
    return Response(orjson.dumps(body), 200, NOT_KEPT, "application/json")


def neighbors_of(
    model: ServedModel, user_id: UserId, limit: int | None = None, ranking: str | None = None
) -> dict[str, Any]:
    """Return the nearest people of a person, for the route and for the map. UnknownUserError."""
    limit = limit or min(model.n_neighbors, LARGEST_LIMIT)
    hood = model.neighborhood(model.number_of(user_id), ranking or model.ranking)
    near = [
        {
            "user_id": model.ids.of(int(other)),
            "similarity": round(float(similarity), 3),
            "shared_products": len(hood.shared(place)),
        }
        for place, (other, similarity) in enumerate(zip(hood.user_ids[:limit], hood.similarities[:limit], strict=True))
    ]
    return {"user_id": user_id, "ranking": ranking or model.ranking, "neighbors": near}


_RATED_PARAMETERS = [
    LIMIT | {"description": f"How many ratings; {LARGEST_LIMIT} if not given."},
    OFFSET | {"schema": NATURAL | {"maximum": LARGEST_RATINGS_OFFSET, "default": 0}},
]
_RATED_RESPONSES: Responses = {
    200: documented_json(
        schema_of(
            _RATINGS_EXAMPLE,
            total=NATURAL | {"description": "Of all the user's ratings."},
            ratings=list_schema(_RATING_SCHEMA, maxItems=LARGEST_LIMIT),
        ),
        _RATINGS_EXAMPLE,
        "Highest first, equal ones by product_id; empty for a user who rated nothing.",
        headers=model_headers.DOCUMENTED,
    ),
    **_REFUSALS,
}


@under_paths(
    router.get,
    ("/ratings", "The same, by the id in the query", [USER_ID_IN_QUERY]),
    ("/users/{user_id}/ratings", "The ratings of a user", [USER_ID]),
    parameters=_RATED_PARAMETERS,
    responses=_RATED_RESPONSES,
)
async def ratings(request: Request) -> Response:
    """Return the user's ratings, also of products that have left the catalog; needs a key."""
    require_key(request)
    asked = RequestReader.of(request)
    model: ServedModel = request.app.state.model
    user_id, limit = asked.user_id(model.ids), asked.limit(LARGEST_LIMIT)
    offset = asked.number("offset", LARGEST_RATINGS_OFFSET, lowest=0) or 0
    asked.done()
    return Response(orjson.dumps(rated_by(model, user_id, limit, offset)), 200, NOT_KEPT, "application/json")


def rated_by(model: ServedModel, user_id: UserId, limit: int, offset: int = 0) -> dict[str, Any]:
    """Return a part of a user's ratings, highest first, for the route and for the page. UnknownUserError."""
    columns, steps = model.ratings_of(model.number_of(user_id))  # by ascending product_id
    order = np.argsort(-steps, kind="stable")[offset : offset + limit]
    rated = [
        {
            "product_id": model.products.id_of(column),
            "product_name": model.products.facts(column).title,
            "rating": model.matrix.scale.stars_of(step),
        }
        for column, step in zip(columns[order].tolist(), steps[order].tolist(), strict=True)
    ]
    return {"user_id": user_id, "total": len(columns), "ratings": rated}
