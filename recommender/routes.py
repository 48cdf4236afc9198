"""The HTTP routes. Each takes the bare request and checks its parameters by hand.

Declared query parameters would halve the number of requests a worker answers (twelve of them: 0.32 to 0.45 of a bare
route), so the OpenAPI document is written out here instead.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from recommender import model_headers
from recommender.api_keys import HEADER, has_key
from recommender.cold_start import SOURCES
from recommender.explanations import explain
from recommender.listed_products import PRODUCT_ID_ITEM, STARS_ITEM, listed, listed_schema
from recommender.parameters import LARGEST_LIMIT, USER_ID, documented_json, documented_refusal, once, user_id_of
from recommender.problems import InvalidParameterError, documented_problem
from recommender.ranking_parameter import NOT_IN_THIS_MODEL, RANKING, check_served, ranking_of
from recommender.serving import Answer, ServedModel
from recommender.wish_parameters import WISH_PARAMETERS, check_stock, wish_of
from recommender.wishes import Wish

_TIME = "%Y-%m-%dT%H:%M:%SZ"

router = APIRouter()

_EXPLAIN = {
    "name": "explain",
    "in": "query",
    "description": f"Adds to each product why it is there; who the neighbors are only with a right {HEADER}.",
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
                    "user_id": {"type": "integer", "minimum": 1, "description": "Only with a right key."},
                    "similarity": {"type": "number", "minimum": 0},
                    "rating": {"type": ["number", "null"]},
                    "shared_products": {"type": "array", "items": PRODUCT_ID_ITEM},
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
LISTED_ITEM = listed_schema({"predicted_rating": STARS_ITEM}, optional={"explanation": _EXPLANATION_SCHEMA})
_RECOMMENDATIONS_SCHEMA = {
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
        "ratings": model.n_ratings,
        "model_built_at": model.built_at.strftime(_TIME),
    }
    if since:
        body["degraded_since"] = since.strftime(_TIME)
    return Response(orjson.dumps(body), media_type="application/json")


@router.get(
    "/recommendations/{user_id}",
    summary="Products for one user, best first",
    openapi_extra={"parameters": [USER_ID, *WISH_PARAMETERS, RANKING, _EXPLAIN, model_headers.IF_NONE_MATCH]},
    responses={
        200: documented_json(_RECOMMENDATIONS_SCHEMA, EXAMPLE, "Ranked products.", headers=HEADERS),
        304: model_headers.NOT_MODIFIED,
        404: documented_problem("Nobody has heard of this user.", status=404, detail="user 99 is unknown"),
        409: NOT_IN_THIS_MODEL,
        422: documented_refusal("limit", "0", "must be a whole number from 1 to 100"),
    },
)
async def recommendations(request: Request) -> Response:
    """Products that people with the same taste liked, computed now, for every known user.

    Filters act before the list is cut: N products come back wherever there are N. A user without ratings, or one whose
    neighbors know too few products, gets others (see the header `X-Recommendation-Source`).
    """
    state = request.app.state
    user_id, wish, ranking, explained = _parameters(request, state.default_limit)
    model: ServedModel = state.model
    check_served(ranking, model)
    check_stock(wish, model.catalog)
    answer = model.select(user_id, wish, ranking)
    headers = {"X-Recommendation-Source": answer.source, "X-Recommendation-Sources": answer.sources}
    body = _body(user_id, answer, model, first=wish.offset + 1)
    if explained:
        if named := has_key(request):
            headers["Cache-Control"] = "no-store"
        reasons = explain(model, user_id, answer.recommendations, ranking, named=named)
        for item, reason in zip(body["recommendations"], reasons, strict=True):
            item["explanation"] = reason.to_dict()
    return Response(orjson.dumps(body), 200, headers, "application/json")


# a load balancer may ask with HEAD; the framework's GET routes do not answer it
router.add_route("/health", health, methods=["HEAD"], include_in_schema=False)
router.add_route("/recommendations/{user_id}", recommendations, methods=["HEAD"], include_in_schema=False)


def _body(user_id: int, answer: Answer, model: ServedModel, *, first: int) -> dict[str, Any]:
    items = [
        listed(model, rank, item.column, predicted_rating=round(item.predicted_rating, 3))
        for rank, item in enumerate(answer.recommendations, start=first)
    ]
    return {"user_id": user_id, "recommendations": items}


def _parameters(request: Request, default_limit: int) -> tuple[int, Wish, str | None, bool]:
    """user_id, filters, ranking, and whether to explain; InvalidParameterError with all that cannot be used."""
    errors: list[dict[str, str]] = []
    user_id = user_id_of(request, errors)
    wish, ranking, explained = Wish(default_limit), None, None
    if request.scope["query_string"]:
        wish = wish_of(request, default_limit, errors)
        ranking = ranking_of(request, errors)
        if (explained := once(request, "explain", errors)) not in (None, "true", "false"):
            errors.append({"parameter": "explain", "value": str(explained)[:100], "message": "must be true or false"})
    if errors:
        raise InvalidParameterError(errors)
    return user_id, wish, ranking, explained == "true"
