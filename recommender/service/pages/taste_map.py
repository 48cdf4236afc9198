"""The page at /map: everybody a point, near to those of the same taste; without a key the regions alone.

The page is whole without JavaScript: a table of the regions, and of the neighbors of a chosen shopper. A script draws
the same on a canvas, with the points, which the page loads by itself.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from recommender.errors import UnknownUserError
from recommender.live import LiveModel
from recommender.publishing import SavedMap
from recommender.service.pages.frame import add_page, ask_to_sign_in, render
from recommender.service.pages.words import query_of
from recommender.service.parameters import user_id_of, whole_number
from recommender.service.problems import NOT_KEPT
from recommender.service.routes.taste_map import (
    COMMAND,
    LARGEST_POINT,
    NoMapError,
    answer_points,
    map_of,
    no_map,
    regions_of,
    shopper_of,
    user_at,
)
from recommender.service.session import may_see_people
from recommender.shop import UserId

router = APIRouter(include_in_schema=False)

TRIED = "python recommendation_engine.py"


async def taste_map(request: Request) -> Response:
    """Return the page, with ``shopper`` or ``point`` that person and the neighbors."""
    asked, named = request.query_params, may_see_people(request)
    if not named and (asked.get("shopper") or asked.get("point")):
        return ask_to_sign_in(request)
    try:
        saved = map_of(request.app.state)
    except NoMapError as error:
        failed = error.status == 503 and request.app.state.maps.failure
        command = TRIED if error.status == 404 else COMMAND
        return render(request, "map.html", found=None, failed=failed, is_made=error.status == 503, command=command)
    user_id, fault = _wanted(request.app.state.model, saved, request)
    values: dict[str, Any] = {"shopper": None, "fault": fault, "wanted": asked.get("shopper", "").strip()}
    if user_id is not None:
        try:
            values["shopper"] = shopper_of(request.app.state.model, saved, user_id)
        except UnknownUserError as error:
            values["fault"] = f"{str(error)[:1].upper()}{str(error)[1:]}."
    found = regions_of(saved, request.app.state, named=named)
    address = f"{request.scope.get('root_path', '')}/map{query_of([('shopper', user_id)])}"
    headers = {}
    if asked.get("point") and user_id is not None:
        if "hx-request" not in request.headers:
            return RedirectResponse(address, 303, NOT_KEPT)
        headers = {"HX-Push-Url": address}
    status = 404 if values["fault"] else 200
    return render(
        request,
        "map.html",
        status=status,
        headers=headers,
        found=found,
        twin=_twins(user_id),
        published=request.app.state.published,
        failure=request.app.state.maps.failure,
        command=COMMAND,
        **values,
    )


def _wanted(model: LiveModel, saved: SavedMap, request: Request) -> tuple[UserId | None, str]:
    """Return the id of the person whom the address names, and what is wrong with the address."""
    asked = request.query_params
    if text := asked.get("shopper", "").strip():
        user_id = user_id_of(text, model.ids)
        return user_id, "" if user_id is not None else f"“{text[:100]}” is no id of a shopper."
    if (text := asked.get("point", "")) == "":
        return None, ""
    point = whole_number(text, LARGEST_POINT, lowest=0)
    try:
        return user_at(model, saved, LARGEST_POINT if point is None else point), ""
    except NoMapError:
        return None, "Nobody is at this point any more."


def _twins(user_id: UserId | None) -> list[tuple[str, str]]:
    twins = [("Regions as JSON", "/map.json")]
    if user_id is not None:
        twins.append(("This shopper as JSON", f"/map/shopper{query_of([('user_id', user_id)])}"))
    return twins


async def own_points(request: Request) -> Response:
    """Return the points for the canvas of the page."""
    try:
        return await answer_points(request)
    except NoMapError as error:
        return no_map(error)


add_page(router, "/map", taste_map)
add_page(router, "/map/own-points", own_points, of_people=True)
