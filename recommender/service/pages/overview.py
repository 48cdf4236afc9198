"""The page at /: the shop at a glance."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from recommender.service.faults import faults_of
from recommender.service.pages import charts
from recommender.service.pages.frame import add_page, render
from recommender.service.pages.words import SOURCES, count, share, stars
from recommender.service.routes.overview import overview_of
from recommender.service.session import may_see_people

router = APIRouter(include_in_schema=False)

PATIENCE = 0.1  # seconds that the page waits for the figures of a model that was just built
RANKINGS = {
    "classic": "Ratings most like yours",
    "taste": "Nearest taste",
    "items": "Products that go together",
    "auto": "The best mix for this shop",
    "popular": "What is popular, for everybody the same",
    "taste, ratings only": "Nearest taste, without views and purchases",
}


async def overview(request: Request) -> Response:
    """Return the page."""
    found = await overview_of(request, named=may_see_people(request), patience=PATIENCE)
    counting = found["popularity"] is None
    curve = [(point["rank"], point["ratings"]) for point in found["popularity"] or []]
    served = found["served_by"] or {"shoppers": 0, "sources": {}}
    return render(
        request,
        "overview.html",
        **{name: found[name] for name in ("shop", "gate", "rejected_rows", "worker")},
        refused=[fault for fault in found["faults"] if fault not in faults_of(request.app.state)],
        histogram=_bars(
            [(f"{stars(row['stars'])} ★", row["ratings"]) for row in reversed(found["ratings_by_stars"] or [])]
        ),
        counting=counting,
        hidden=found["ratings_by_stars"] is None,
        tail=charts.log_log(curve) if len(curve) > 1 else None,
        points=curve,
        sources=_sources(served),
        shoppers=served["shoppers"],
        rankings=_rankings(found["rankings"]),
        twin=[("This page as JSON", "/overview.json"), ("Health", "/health"), ("Metrics", "/metrics")],
    )


def _bars(pairs: list[tuple[str, int]]) -> list[dict[str, Any]]:
    parts = charts.shares([n for _, n in pairs])
    return [{"label": name, "part": part, "text": count(n)} for (name, n), part in zip(pairs, parts, strict=True)]


def _sources(served: dict[str, Any]) -> list[dict[str, Any]]:
    total = served["shoppers"]
    return [
        {"label": SOURCES.get(source, source).capitalize(), "part": n / total, "text": share(n / total)}
        for source, n in served["sources"].items()
    ]


def _rankings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rankings with their place on a scale from 0 to the highest end of an interval."""
    most = max((row["high"] or row["mean"] or 0.0 for row in rows), default=0.0) or 1.0
    return [
        row
        | {name: row[name] or 0.0 for name in ("mean", "low", "high")}
        | {f"{name}_at": round(300 * (row[name] or 0.0) / most, 1) for name in ("mean", "low", "high")}
        | {"words": RANKINGS.get(row["ranking"], "")}
        for row in rows
    ]


async def faults(request: Request) -> Response:
    """Return what is wrong now, for a page that is open."""
    return render(request, "faults.html")


add_page(router, "/", overview)
add_page(router, "/faults", faults)
