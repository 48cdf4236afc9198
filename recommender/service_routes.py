"""The HTTP routes for those who run the service: is it alive, is it ready, what has it counted?

The model is loaded before the server listens, because a model that cannot be loaded must end the start with one line
and an exit status, not with a service that answers 503 for ever. While it loads a connection is therefore refused, and
the first ``/live`` that is answered is already ready; ``/ready`` tells what is true at any time: 503 without a model.
"""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from recommender.parameters import documented_json
from recommender.problems import documented_problem, problem

router = APIRouter()


def _status(name: str) -> dict[str, object]:
    return {"type": "object", "required": ["status"], "properties": {"status": {"type": "string", "enum": [name]}}}


@router.get(
    "/live",
    summary="Does the process answer?",
    responses={200: documented_json(_status("alive"), {"status": "alive"}, "It does.")},
)
async def live(_request: Request) -> Response:
    """Answer at once; restart the process if this does not."""
    return Response(orjson.dumps({"status": "alive"}), media_type="application/json")


@router.get(
    "/ready",
    summary="May requests be sent here?",
    responses={
        200: documented_json(_status("ready"), {"status": "ready"}, "The model is loaded."),
        503: documented_problem("There is no model yet.", status=503, detail="the model is not loaded yet"),
    },
)
async def ready(request: Request) -> Response:
    """200 with a model in memory, else 503; a database that is away does not matter."""
    if getattr(request.app.state, "model", None) is None:
        return problem(503, "the model is not loaded yet", headers={"Retry-After": "1"})
    return Response(orjson.dumps({"status": "ready"}), media_type="application/json")


@router.get(
    "/metrics",
    summary="Counters for Prometheus",
    responses={200: {"description": "Text exposition.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """Requests and their durations by route, recommendations by source, the model's age and size, the database."""
    return Response(request.app.state.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


# a load balancer may ask with HEAD; the framework's GET routes do not answer it
for _path, _route in (("/live", live), ("/ready", ready), ("/metrics", metrics)):
    router.add_route(_path, _route, methods=["HEAD"], include_in_schema=False)
