"""The HTTP routes for operators of the service: health, alive, ready, and metrics.

The model is loaded before the server listens: if it cannot be loaded, the start ends with one line and an exit status,
and not with a service that answers 503 forever. So while it loads connections are refused, and when ``/live`` first
answers, the service is also ready. ``/ready`` is true at any time: 503 without a model.
"""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from recommender.model import ServedModel
from recommender.service.api_keys import HEADER, has_key
from recommender.service.openapi import documented_json
from recommender.service.problems import documented_problem, problem
from recommender.service.product_json import CURRENCY_ITEM
from recommender.updates import ModelUpdater

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_HEALTH_EXAMPLE = {
    "status": "ok",
    "users": 5000,
    "products": 20000,
    "ratings": 30000,
    "model_built_at": "2026-01-31T12:00:00Z",
    "model_version": 6,
    "currency": "USD",
    "changes_seen_at": "2026-01-31T14:30:00Z",
    "rows_left_out": {"product_ratings.rating": 1},
}
_METRICS_EXAMPLE = """# HELP recommender_requests_total Requests answered, by route and status
# TYPE recommender_requests_total counter
recommender_requests_total{route="/recommendations/{user_id}",status="200"} 1042.0
"""

router = APIRouter()


def _status(name: str) -> dict[str, object]:
    return {"type": "object", "required": ["status"], "properties": {"status": {"type": "string", "enum": [name]}}}


@router.get(
    "/health",
    summary="State of the service, and what it serves",
    responses={
        200: documented_json(
            {
                "type": "object",
                "required": ["status"],
                "description": f"With REQUIRE_KEY=all the status alone, but to a right {HEADER}.",
                "properties": {
                    "status": {"type": "string", "enum": ["ok", "degraded"]},
                    "users": {"type": "integer"},
                    "products": {"type": "integer"},
                    "ratings": {"type": "integer"},
                    "model_built_at": {"type": "string", "format": "date-time"},
                    "model_version": {"type": ["integer", "null"]},
                    "currency": CURRENCY_ITEM,
                    "changes_seen_at": {"type": "string", "format": "date-time"},
                    "other_people": {"type": "boolean"},
                    "rows_left_out": {"type": "object", "additionalProperties": {"type": "integer"}},
                    "degraded_since": {"type": "string", "format": "date-time"},
                    "reason": {"type": "string"},
                },
            },
            _HEALTH_EXAMPLE,
            "What was in the tables at `changes_seen_at` is counted. `degraded`: since `degraded_since` the database"
            " does not answer, or the tables cannot be looked at, as `reason` says; answers go on from memory."
            " With `other_people` the user_ids mean others than the model's, or are about to, and nobody is answered by"
            " user_id.",
        )
    },
)
async def health(request: Request) -> Response:
    """Report the state of the service, from memory.

    The answer has the status, the number of known users, of products in the catalog and of ratings, the time at which
    the model was built, the version whose lists it gives, the currency of all prices, and the time (UTC) up to which
    changes are counted.
    """
    model: ServedModel = request.app.state.model
    watch: ModelUpdater = request.app.state.updater
    fault = watch.fault
    if request.app.layer.keys is not None and not has_key(request):
        return Response(orjson.dumps({"status": "degraded" if fault else "ok"}), media_type="application/json")
    body = {
        "status": "degraded" if fault else "ok",
        "users": len(model.known_users),
        "products": len(model.products.catalog),
        "ratings": model.n_ratings,
        "model_built_at": model.built_at.strftime(_TIME),
        "model_version": model.version,
        "currency": request.app.state.currency,
        "changes_seen_at": watch.changes_seen_at.strftime(_TIME),
        "rows_left_out": dict(model.left_out),
    }
    if fault:
        reason, since = fault
        body |= {"degraded_since": since.strftime(_TIME), "reason": reason}
    if request.app.state.means_others(model):
        body["other_people"] = True
    return Response(orjson.dumps(body), media_type="application/json")


@router.get(
    "/live",
    summary="Liveness: the process answers",
    responses={200: documented_json(_status("alive"), {"status": "alive"}, "It does.")},
)
async def live(_request: Request) -> Response:
    """Answer at once. Restart the process if this does not answer."""
    return Response(orjson.dumps({"status": "alive"}), media_type="application/json")


@router.get(
    "/ready",
    summary="Readiness: requests may be sent here",
    responses={
        200: documented_json(_status("ready"), {"status": "ready"}, "The model is loaded."),
        503: documented_problem("There is no model yet.", status=503, detail="the model is not loaded yet"),
    },
)
async def ready(request: Request) -> Response:
    """Answer 200 with a model in memory, else 503. The database may be away."""
    if request.app.state.model is None:
        return problem(503, "the model is not loaded yet", headers={"Retry-After": "1"})
    return Response(orjson.dumps({"status": "ready"}), media_type="application/json")


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    responses={
        200: {
            "description": "Text exposition.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _METRICS_EXAMPLE}},
        }
    },
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Return counters for Prometheus.

    They count requests and their durations by route and recommendations by source, and tell the model's age and size
    and whether the database answers.
    """
    return Response(request.app.layer.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
