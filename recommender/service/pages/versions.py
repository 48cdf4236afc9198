"""The page at /versions: every version, what it was made from, how good it is, and the way back to an earlier one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine

from recommender.errors import DatabaseError, RecommenderError
from recommender.publishing import kept_file, publish_file, roll_back
from recommender.service.pages import charts
from recommender.service.pages.frame import add_page, refuse, render
from recommender.service.pages.sign_in import NOT_OURS, fields_of
from recommender.service.parameters import whole_number
from recommender.service.problems import NOT_KEPT
from recommender.service.routes.overview import NDCG
from recommender.service.routes.versions import as_json, versions_of
from recommender.service.session import is_own_form
from recommender.updates import ModelUpdater

router = APIRouter(include_in_schema=False)

LARGEST = 2**31 - 1
# name, what it says, and its name in the metrics of a version
METRICS = (
    ("nDCG@10", "How high the products stand that people then took", NDCG),
    ("Products shown", "Part of the catalog that is in somebody's list", "coverage@10"),
    ("Shoppers served", "Part of all who got a list", "served"),
)
COMMAND = "python recommendation_engine.py --rollback {}"


async def versions(request: Request) -> Response:
    """Return the page; with ``roll_back`` it asks once more."""
    found = [as_json(version) for version in reversed(await versions_of(request))]
    number = whole_number(request.query_params.get("roll_back", ""), LARGEST)
    asked = next((one for one in found if one["version"] == number and one["state"] == "kept"), None)
    done = whole_number(request.query_params.get("done", ""), LARGEST)
    published = next((one["version"] for one in found if one["state"] == "published"), None)
    return render(
        request,
        "versions.html",
        versions=[one | {"figures": _figures(one), "verdict": (one["metrics"] or {}).get("verdict")} for one in found],
        asked=asked,
        done=done if done is not None and done == published else None,
        curves=_curves(found),
        METRICS=METRICS,
        command=COMMAND.format(number),
        twin=[("This page as JSON", "/versions.json")],
    )


async def publish_again(request: Request) -> Response:
    """Roll back to a version, or say by which command it can be done."""
    given = await fields_of(request)
    if not is_own_form(request, given.get("form_token", "")):
        return refuse(request, 403, NOT_OURS, "Load the page again and send it from there.")
    number = whole_number(request.path_params["version"], LARGEST) or 0
    watch: ModelUpdater = request.app.state.updater
    file: Path | None = request.app.state.model_file
    if watch.asked and not watch.is_up:
        raise DatabaseError("the database is away")
    try:
        await asyncio.to_thread(lambda: _roll_back(watch.engine(), number, file))
    except RecommenderError as error:
        advice = f"The service's account may not be allowed to do it. On the server: {COMMAND.format(number)}"
        return refuse(request, 409, f"{error}.", advice)
    return RedirectResponse(f"{request.scope.get('root_path', '')}/versions?done={number}", 303, NOT_KEPT)


def _roll_back(engine: Engine, number: int, file: Path | None) -> None:
    roll_back(engine, number)
    if file is not None and kept_file(file, number).is_file():
        publish_file(file, number)


def _figures(version: dict[str, Any]) -> list[float | None]:
    """Return the mean of each of `METRICS`; None where it was not measured."""
    metrics = version["metrics"] or {}
    return [(metrics.get(name) or {}).get("mean") for *_, name in METRICS]


def _curves(found: list[dict[str, Any]]) -> list[tuple[str, str, charts.Curve]]:
    """Return a curve of each metric that two versions or more have, oldest first."""
    curves = []
    for place, (name, words, _) in enumerate(METRICS):
        figures = [
            (f"v{one['version']}", figure) for one in reversed(found) if (figure := _figures(one)[place]) is not None
        ]
        if len(figures) > 1:
            curves.append((name, words, charts.over_time(figures)))
    return curves


add_page(router, "/versions", versions)
add_page(router, "/versions/{version}/roll-back", publish_again, method="POST", of_people=True)
