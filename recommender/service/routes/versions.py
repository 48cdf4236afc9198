"""The HTTP route of all versions: what each was made from, and how good its lists were measured to be."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from recommender.publishing import PEOPLE, Version, read_versions
from recommender.service.openapi import DATABASE_AWAY, documented_json, list_schema, object_schema
from recommender.updates import ModelUpdater

router = APIRouter()

EXAMPLE = {
    "versions": [
        {
            "version": 6,
            "state": "published",
            "made_at": "2026-01-31T12:00:00Z",
            "ratings": 30000,
            "rows": 50000,
            "settings": {"ranking": "taste", "n": 10, "users": 5000},
            "metrics": {"ranking": "taste", "ndcg@10": {"mean": 0.2922, "low": 0.2812, "high": 0.3031, "n": 5000}},
        }
    ]
}
_VERSION_SCHEMA = {
    "type": "object",
    "required": list(EXAMPLE["versions"][0]),
    "properties": {
        "version": {"type": "integer", "minimum": 1},
        "state": {"type": "string", "enum": ["published", "kept", "expired"]},
        "made_at": {"type": "string", "format": "date-time"},
        "ratings": {"type": "integer"},
        "rows": {"type": "integer", "description": "Of its lists."},
        "settings": {"type": "object"},
        "metrics": {"type": ["object", "null"], "description": "null: it was not measured."},
    },
}
_SCHEMA = object_schema({"versions": list_schema(_VERSION_SCHEMA)})


@router.get(
    "/versions.json",
    summary="All versions of the lists",
    responses={
        200: documented_json(_SCHEMA, EXAMPLE, "Newest first."),
        503: DATABASE_AWAY,
    },
)
async def versions(request: Request) -> Response:
    """Return every version there ever was, with the data and settings it was made from, and its metrics."""
    found = [as_json(version) for version in reversed(await versions_of(request))]
    return Response(orjson.dumps({"versions": found}), media_type="application/json")


async def versions_of(request: Request) -> list[Version]:
    """Return the versions in the tables, oldest first. DatabaseError, ForeignDataError."""
    watch: ModelUpdater = request.app.state.updater
    return await watch.read(read_versions)


def as_json(version: Version) -> dict[str, Any]:
    """Return a version without its fingerprint and the token of its people."""
    return {
        "version": version.number,
        "state": version.state,
        "made_at": version.made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ratings": version.n_ratings,
        "rows": version.n_rows,
        "settings": {name: value for name, value in version.settings.items() if name != PEOPLE},
        "metrics": None if version.metrics is None else dict(version.metrics),
    }
