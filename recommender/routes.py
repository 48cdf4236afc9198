"""The HTTP routes. Each takes the bare request and checks its parameters by hand.

Declared query parameters would halve the number of requests a worker answers (twelve of them: 0.32 to 0.45 of a bare
route), so the OpenAPI document is written out here instead.
"""

from __future__ import annotations

from datetime import datetime

import orjson
from fastapi import APIRouter, Request, Response

from recommender import model_headers
from recommender.cold_start import SOURCES
from recommender.list_answers import answer_list
from recommender.listed_products import PRODUCT_ID_ITEM, STARS_ITEM, listed_schema
from recommender.parameters import LARGEST_LIMIT, documented_json, documented_refusal
from recommender.problems import documented_problem
from recommender.rankings import RANKINGS
from recommender.serving import ServedModel
from recommender.settings import LARGEST_ID
from recommender.wish_parameters import WISH_PARAMETERS

_TIME = "%Y-%m-%dT%H:%M:%SZ"

router = APIRouter()

_USER_ID = {
    "name": "user_id",
    "in": "path",
    "required": True,
    "description": "A user of users or product_ratings: digits without sign or leading zero.",
    "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_ID},
    "example": 42,
}
_RANKING = {
    "name": "ranking",
    "in": "query",
    "description": "How to rank; RANKING if not given.",
    "schema": {"type": "string", "enum": list(RANKINGS)},
    "example": "taste",
}
_EXPLAIN = {
    "name": "explain",
    "in": "query",
    "description": "Adds to each product why it is there; never who the neighbors are.",
    "schema": {"type": "string", "enum": ["true", "false"]},
    "example": "true",
}
_EXPLANATION_SCHEMA = {
    "type": "object",
    "required": ["source", "sentence", "support", "n_neighbors", "n_asked", "mean_rating", "closest"],
    "additionalProperties": False,
    "properties": {
        "source": {"type": "string", "enum": list(SOURCES)},
        "sentence": {"type": "string"},
        "support": {"type": "number", "minimum": 0},
        "n_neighbors": {"type": "integer", "minimum": 0},
        "n_asked": {"type": "integer", "minimum": 0},
        "mean_rating": {"type": ["number", "null"]},
        "closest": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["similarity", "rating", "shared_products"],
                "additionalProperties": False,
                "properties": {
                    "similarity": {"type": "number", "minimum": 0},
                    "rating": {"type": ["number", "null"]},
                    "shared_products": {"type": "array", "items": PRODUCT_ID_ITEM},
                },
            },
        },
    },
}
_EXAMPLE = {
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
_RECOMMENDATIONS_SCHEMA = {
    "type": "object",
    "required": ["user_id", "recommendations"],
    "additionalProperties": False,
    "properties": {
        "user_id": {"type": "integer"},
        "recommendations": {
            "type": "array",
            "maxItems": LARGEST_LIMIT,
            "items": listed_schema({"predicted_rating": STARS_ITEM}, optional={"explanation": _EXPLANATION_SCHEMA}),
        },
    },
}
_HEADERS = {
    "X-Recommendation-Source": {
        "description": "Where the products come from.",
        "schema": {"type": "string", "enum": ["neighbors", "mixed", "popular"]},
    },
    "X-Recommendation-Sources": {
        "description": "How many come from neighbors, people of the same country and age group, popular, new.",
        "schema": {"type": "string"},
        "example": "neighbors=6, segment=3, new=1",
    },
    **model_headers.DOCUMENTED,
}
_HEALTH_EXAMPLE = {
    "status": "ok",
    "users": 5000,
    "products": 20000,
    "ratings": 30000,
    "model_built_at": "2026-01-31T12:00:00Z",
}


@router.get(
    "/health",
    summary="Is the service well, and what does it serve?",
    responses={
        200: documented_json(
            {
                "type": "object",
                "required": list(_HEALTH_EXAMPLE),
                "properties": {
                    "status": {"type": "string", "enum": ["ok", "degraded"]},
                    "users": {"type": "integer"},
                    "products": {"type": "integer"},
                    "ratings": {"type": "integer"},
                    "model_built_at": {"type": "string", "format": "date-time"},
                    "degraded_since": {"type": "string", "format": "date-time"},
                },
            },
            _HEALTH_EXAMPLE,
            "`degraded`: the database has not answered since `degraded_since`; recommendations go on from memory.",
        )
    },
)
async def health(request: Request) -> Response:
    """Answer from memory: status, known users, products in the catalog, ratings, when the model was built (UTC)."""
    model: ServedModel = request.app.state.model
    since: datetime | None = request.app.state.watch.degraded_since
    body = {
        "status": "degraded" if since else "ok",
        "users": len(model.known_users),
        "products": len(model.catalog),
        "ratings": model.matrix.n_ratings,
        "model_built_at": model.built_at.strftime(_TIME),
    }
    if since:
        body["degraded_since"] = since.strftime(_TIME)
    return Response(orjson.dumps(body), media_type="application/json")


@router.get(
    "/recommendations/{user_id}",
    summary="Products for one user, best first",
    openapi_extra={"parameters": [_USER_ID, *WISH_PARAMETERS, _RANKING, _EXPLAIN, model_headers.IF_NONE_MATCH]},
    responses={
        200: documented_json(_RECOMMENDATIONS_SCHEMA, _EXAMPLE, "Ranked products.", headers=_HEADERS),
        304: model_headers.NOT_MODIFIED,
        404: documented_problem("Nobody has heard of this user.", status=404, detail="user 99 is unknown"),
        422: documented_refusal("limit", "0", "must be a whole number from 1 to 100"),
    },
)
async def recommendations(request: Request) -> Response:
    """Products that people with the same taste liked, computed now, for every known user.

    Filters act before the list is cut: N products come back wherever there are N. A user without ratings, or one whose
    neighbors know too few products, gets others (see the header `X-Recommendation-Source`).
    """
    state = request.app.state
    text, query = request.path_params["user_id"], request.scope["query_string"]
    body, source, sources = answer_list(text, query, state.model, state.default_limit)
    headers = {"X-Recommendation-Source": source, "X-Recommendation-Sources": sources}
    return Response(body, 200, headers, "application/json")


# a load balancer may ask with HEAD; the framework's GET routes do not answer it
router.add_route("/health", health, methods=["HEAD"], include_in_schema=False)
router.add_route("/recommendations/{user_id}", recommendations, methods=["HEAD"], include_in_schema=False)
