"""The HTTP route of the shop at a glance: what the engine knows, how good it is, and what is wrong."""

from __future__ import annotations

import asyncio
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from recommender.errors import RecommenderError
from recommender.files import rejected_by_reason
from recommender.model import ServedModel, popularity_curve, ratings_by_stars, served_by
from recommender.publishing import Version
from recommender.service.api_keys import has_key
from recommender.service.faults import faults_of, refused_version
from recommender.service.middleware.metrics import BUCKETS, ServiceMetrics
from recommender.service.openapi import documented_json
from recommender.service.routes.figures import MANY
from recommender.service.routes.versions import versions_of
from recommender.service.state import ServiceState

router = APIRouter()

NDCG = "ndcg@10"
REJECTED = Path("rejected_rows.csv")
PUBLISHED = "published"
_PARTS = (
    "faults",
    "shop",
    "ratings_by_stars",
    "popularity",
    "served_by",
    "rankings",
    "gate",
    "rejected_rows",
    "worker",
)
_EXAMPLE: dict[str, Any] = {
    "faults": [],
    "shop": {"users": 5000, "products": 20000, "ratings": 30000, "rated_products": 9500},
    "ratings_by_stars": [{"stars": 5.0, "ratings": 12000}],
    "popularity": [{"rank": 1, "ratings": 110}],
    "served_by": {"shoppers": 200, "sources": {"neighbors": 190, "segment": 10}},
    "rankings": [{"ranking": "taste", "mean": 0.2922, "low": 0.2812, "high": 0.3031, "n": 5000, "published": True}],
    "gate": {"version": 6, "verdict": "published", "reason": "", "test_users": 5000},
    "rejected_rows": {"written_at": "2026-01-31T12:00:00Z", "reasons": {"price: not a number": 3}},
    "worker": {"memory_bytes": 250000000, "requests": 1042, "p50_seconds": 0.0002, "p99_seconds": 0.0021},
}
_SCHEMA: dict[str, Any] = {"type": "object", "required": list(_PARTS), "properties": {name: {} for name in _PARTS}}


@router.get(
    "/overview.json",
    summary="The shop at a glance",
    responses={
        200: documented_json(
            _SCHEMA,
            _EXAMPLE,
            "`ratings_by_stars` (of fewer than 10 people only with a key) and `popularity` are those of the time when "
            "the model was built. `served_by` looks at 200 shoppers. `rankings`: nDCG@10 of the newest version that "
            "was measured, and of the rankings beside it. "
            "`rankings`, `gate` are empty or null while the database is away.",
        )
    },
)
async def overview(request: Request) -> Response:
    """Return what the engine knows of the shop, how good its lists are, and what is wrong with the service."""
    return Response(orjson.dumps(await overview_of(request, named=has_key(request))), media_type="application/json")


async def overview_of(request: Request, *, named: bool, patience: float | None = None) -> dict[str, Any]:
    """Return the overview, for the route and for the page; ``named``: with the stars that few people gave.

    ``patience``: seconds to wait for the figures of a new model, which are None if it takes longer.
    """
    state: ServiceState = request.app.state
    try:
        versions = await versions_of(request)
    except RecommenderError:  # the faults name it
        versions = []
    refused = refused_version(versions)
    return {
        "faults": faults_of(state) + ([refused] if refused else []),
        **await _of_model(request, named=named, patience=patience),
        "rankings": rankings_of(versions),
        "gate": _gate(versions),
        "rejected_rows": _rejected(),
        "worker": worker_of(request.app.layer.metrics),
    }


async def _of_model(request: Request, *, named: bool, patience: float | None) -> dict[str, Any]:
    """Return the figures of the served model. Those that take long are made once for each model that is built."""
    state: ServiceState = request.app.state
    model = state.model
    assert model is not None
    assert state.updater is not None
    built, kept = model.changes.model, state.figures
    if kept is None or kept[0]() is not built or (kept[1].done() and kept[1].exception()):
        making = asyncio.create_task(asyncio.to_thread(_figures, built, state.default_limit))
        state.figures = kept = weakref.ref(built), making
    await asyncio.wait([kept[1]], timeout=patience)
    figures = kept[1].result() if kept[1].done() else dict.fromkeys(_OF_A_MODEL)
    now = time.time()
    shop = {
        "users": len(model.known_users),
        "products": len(model.products.catalog),
        "ratings": model.n_ratings,
        "rated_products": len(model.popular.columns),
        "ranking": model.ranking,
        "rankings": list(model.rankings),
        "model_version": model.version,
        "model_built_at": model.built_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model_age_seconds": int(max(0.0, now - model.built_at.timestamp())),
        "changes_seen_at": state.updater.changes_seen_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tables_looked_at_seconds_ago": round(state.updater.lag, 1),
        "rows_left_out": dict(model.left_out),
    }
    few = model.matrix.shape[0] < MANY and not named
    return {"shop": shop, **figures, **({"ratings_by_stars": None} if few else {})}


_OF_A_MODEL = ("ratings_by_stars", "popularity", "served_by")


def _figures(model: ServedModel, n: int) -> dict[str, Any]:
    sources = served_by(model, n)
    return {
        "ratings_by_stars": [{"stars": stars, "ratings": n} for stars, n in ratings_by_stars(model).items()],
        "popularity": [{"rank": rank, "ratings": ratings} for rank, ratings in popularity_curve(model)],
        "served_by": {"shoppers": sum(sources.values()), "sources": sources},
    }


def rankings_of(versions: Sequence[Version]) -> list[dict[str, Any]]:
    """Return nDCG@10 of the rankings that the newest measured version was compared with, best first."""
    measured = next((version for version in reversed(versions) if (version.metrics or {}).get(NDCG)), None)
    if measured is None or measured.metrics is None:
        return []
    figures = {measured.metrics.get("ranking", ""): measured.metrics[NDCG], **(measured.metrics.get("others") or {})}
    own = measured.metrics.get("ranking")
    rows = [{"ranking": name, **figure, "published": name == own} for name, figure in figures.items()]
    return sorted(rows, key=lambda row: -(row["mean"] or 0.0))


def _gate(versions: Sequence[Version]) -> dict[str, Any] | None:
    """Return what the gate decided on the newest version; None without one."""
    if not versions:
        return None
    newest, metrics = versions[-1], versions[-1].metrics or {}
    return {
        "version": newest.number,
        "verdict": metrics.get("verdict", PUBLISHED) if metrics else "not measured",
        "reason": str(metrics.get("too_few_lists", "")),
        "test_users": metrics.get("n_test_users"),
        **{name: (metrics.get(name) or {}).get("mean") for name in (NDCG, "coverage@10", "novelty@10", "served")},
    }


def _rejected() -> dict[str, Any] | None:
    """Return the rows that the last load rejected, by reason; None if its file is not in this folder."""
    found = rejected_by_reason(REJECTED)
    if found is None:
        return None
    written, reasons = found
    return {"written_at": written.strftime("%Y-%m-%dT%H:%M:%SZ"), "reasons": reasons}


def worker_of(metrics: ServiceMetrics) -> dict[str, Any]:
    """Return memory, requests and latencies of this worker; latencies are upper ends of the histogram's buckets."""
    requests = sum(sum(counts.statuses.values()) for counts in metrics.routes.values())
    buckets = [sum(column) for column in zip(*(counts.buckets for counts in metrics.routes.values()), strict=True)]
    quantiles = {f"p{part}_seconds": _quantile(buckets, part / 100) for part in (50, 99)}
    return {"memory_bytes": _memory(), "requests": requests, **quantiles}


def _quantile(buckets: Sequence[int], part: float) -> float | None:
    """Return the upper end of the bucket that holds this part of all requests; None without a request.

    >>> _quantile([0, 98, 1, 1] + [0] * 11, 0.5), _quantile([0, 98, 1, 1] + [0] * 11, 0.99), _quantile([], 0.5)
    (0.00025, 0.0005, None)
    """
    wanted, seen = part * sum(buckets), 0
    for end, n in zip((*BUCKETS, BUCKETS[-1]), buckets, strict=False):
        seen += n
        if n and seen >= wanted:
            return end
    return None


def _memory() -> int | None:
    """Return the bytes of memory that this process holds; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    import resource

    return pages * resource.getpagesize() if sys.platform != "win32" else None
