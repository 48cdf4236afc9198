"""The HTTP routes of the taste map: its regions for everybody, the places of people for callers with a key."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from recommender.live import LiveModel
from recommender.model import LARGEST
from recommender.publishing import SavedMap
from recommender.service.api_keys import DOCUMENTED_KEY, REFUSALS, has_key, require_key
from recommender.service.beside import Turns
from recommender.service.openapi import (
    Responses,
    documented_json,
    documented_refusal,
    list_schema,
    schema_of,
    under_paths,
)
from recommender.service.parameters import USER_ID_IN_QUERY, RequestReader, out_of_range, whole_number
from recommender.service.problems import NOT_KEPT, documented_problem, problem
from recommender.service.routes.figures import MANY
from recommender.service.routes.people import neighbors_of
from recommender.service.state import ServiceState
from recommender.shop import UserId

router = APIRouter()

NOWHERE = LARGEST + 1  # both coordinates of a person who has been erased since
NO_VERSION = "no version is published yet: python recommendation_engine.py makes one"
BEING_MADE = "the map of this version is being made, at the lowest priority: ask again in some seconds"
COMMAND = "python recommendation_engine.py --map"

_EXAMPLE: dict[str, Any] = {
    "version": 6,
    "made_at": "2026-01-31T12:00:00Z",
    "is_newest": True,
    "people": 5000,
    "regions": [
        {
            "region": 1,
            "x": 30000,
            "y": 21000,
            "radius": 2600,
            "people": 812,
            "categories": [{"category_id": 104, "category": "Running", "lift": 4.1, "share": 0.38}],
        }
    ],
}
_SHOPPER_EXAMPLE: dict[str, Any] = {
    "user_id": 42,
    "place": {"point": 41, "x": 30120, "y": 21512, "region": 1},
    "ranking": "taste",
    "neighbors": [
        {
            "user_id": 1337,
            "similarity": 0.788,
            "shared_products": 2,
            "place": {"point": 1336, "x": 30101, "y": 21498, "region": 1},
        }
    ],
}
_CATEGORY = schema_of(
    _EXAMPLE["regions"][0]["categories"][0],
    category={"type": ["string", "null"]},
    lift={"type": "number", "description": "The share, divided by that of everybody."},
    share={"type": "number", "description": "Of the region's people, who have a product of the category."},
)
_REGION = schema_of(_EXAMPLE["regions"][0], categories=list_schema(_CATEGORY))
_SCHEMA = schema_of(
    _EXAMPLE,
    made_at={"type": "string", "format": "date-time"},
    is_newest={"type": "boolean", "description": "false: that of the published version is being made."},
    regions=list_schema(_REGION),
)
_PLACE = schema_of(_SHOPPER_EXAMPLE["place"]) | {"type": ["object", "null"]}
_NEIGHBOR = schema_of(_SHOPPER_EXAMPLE["neighbors"][0], similarity={"type": "number", "minimum": 0}, place=_PLACE)
_SHOPPER_SCHEMA = schema_of(
    _SHOPPER_EXAMPLE, place=_PLACE, ranking={"type": "string"}, neighbors=list_schema(_NEIGHBOR)
)
LARGEST_POINT = 2**31 - 1
_POINT = {
    "name": "point",
    "in": "path",
    "required": True,
    "description": "The number of a point in `/map/points`, from 0.",
    "schema": {"type": "string", "pattern": "^(0|[1-9][0-9]{0,8})$"},
    "example": "41",
}
_NO_MAP: Responses = {
    404: documented_problem("There is no map, or nobody of that id or point.", status=404, detail=NO_VERSION),
    503: documented_problem("The map is being made, or could not be.", status=503, detail=BEING_MADE),
}


class NoMapError(Exception):
    """There is no map to show; ``status`` and the text say why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@router.get(
    "/map.json",
    summary="The taste map: its regions",
    responses={
        200: documented_json(
            _SCHEMA,
            _EXAMPLE,
            f"Coordinates from 0 to {LARGEST}, to the right and downwards. Without a key: regions of {MANY} people or "
            "more. While the map of the published version is being made, the newest there is.",
        ),
        **_NO_MAP,
    },
)
async def taste_map(request: Request) -> Response:
    """Return the regions of the map, each with the categories that are typical of it."""
    try:
        saved = map_of(request.app.state)
    except NoMapError as error:
        return no_map(error)
    body = regions_of(saved, request.app.state, named=has_key(request))
    return Response(orjson.dumps(body), 200, NOT_KEPT, "application/json")


_SHOPPER: Responses = {
    200: documented_json(
        _SHOPPER_SCHEMA,
        _SHOPPER_EXAMPLE,
        "Neighbors as `GET /users/{user_id}/neighbors` gives them, each with a place; null: came after the map.",
    ),
    **_NO_MAP,
    422: documented_refusal("point", "x", f"must be a whole number from 0 to {LARGEST_POINT}"),
    **REFUSALS,
}


@under_paths(
    router.get,
    ("/map/points/{point}", "The same, by the number of a point", [_POINT]),
    ("/map/shopper", "The taste map: one shopper and the neighbors", [USER_ID_IN_QUERY]),
    dependencies=[DOCUMENTED_KEY],
    responses=_SHOPPER,
)
async def shopper(request: Request) -> Response:
    """Return the place of a person, and the neighbors with theirs; needs a key."""
    require_key(request)
    asked, model, text = RequestReader.of(request), request.app.state.model, request.path_params.get("point")
    point = None if text is None else whole_number(text, LARGEST_POINT, lowest=0)
    if text is not None and point is None:
        asked.errors.append(out_of_range("point", text, LARGEST_POINT, lowest=0))
    user_id = asked.user_id(model.ids) if text is None else 0
    asked.done()
    try:
        saved = map_of(request.app.state)
        user_id = user_id if point is None else user_at(model, saved, point)
    except NoMapError as error:
        return no_map(error)
    return Response(orjson.dumps(shopper_of(model, saved, user_id)), 200, NOT_KEPT, "application/json")


@router.get(
    "/map/points",
    summary="The taste map: a point for each person",
    dependencies=[DOCUMENTED_KEY],
    response_class=Response,
    responses={
        200: {
            "description": "Of n people, in the order of the points: x of each, y of each (16 bits, little-endian), "
            f"region of each from 1 (8 bits): 5 n bytes. Both coordinates {NOWHERE}: this person is gone.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **_NO_MAP,
        **REFUSALS,
    },
)
async def points(request: Request) -> Response:
    """Return the places and regions of all people, in 5 bytes each; needs a key."""
    require_key(request)
    try:
        return await answer_points(request)
    except NoMapError as error:
        return no_map(error)


async def answer_points(request: Request) -> Response:
    """Return the points, for the route and for the page. NoMapError."""
    model: LiveModel = request.app.state.model
    saved, turns = map_of(request.app.state), request.app.state.slow_answers
    assert isinstance(turns, Turns)
    packed = "gzip" in request.headers.get("accept-encoding", "")
    body = await turns.make(request, model, lambda: _points(model, saved, packed=packed))
    headers = NOT_KEPT | {"Vary": "Accept-Encoding"} | ({"Content-Encoding": "gzip"} if packed else {})
    return Response(body, 200, headers, "application/octet-stream")


def _points(model: LiveModel, saved: SavedMap, *, packed: bool) -> bytes:
    tastes = saved.tastes
    places = np.where(np.isin(tastes.user_ids, model.known_users)[:, None], tastes.places, np.uint16(NOWHERE))
    columns: list[NDArray[Any]] = [places[:, 0].astype("<u2"), places[:, 1].astype("<u2"), tastes.regions_of + 1]
    body = b"".join(column.tobytes() for column in columns)
    return gzip.compress(body, 5, mtime=0) if packed else body


def no_map(error: NoMapError) -> Response:
    """Return the answer of a route that has no map."""
    return problem(error.status, str(error), headers={"Retry-After": "5"} if error.status == 503 else {})


def map_of(state: ServiceState) -> SavedMap:
    """Return the map of the published version; without one the newest, and have the other made. NoMapError."""
    maps, model, version = state.maps, state.model, state.published
    assert model is not None
    if maps is None or version is None:
        raise NoMapError(404, NO_VERSION)
    saved = maps.find(version, model.people)
    if saved is None or saved.version != version:
        maps.ask(version)
    if saved is None:
        raise NoMapError(503, maps.failure or BEING_MADE)
    return saved


def regions_of(saved: SavedMap, state: ServiceState, *, named: bool) -> dict[str, Any]:
    """Return what the map tells without naming anybody; ``named``: also regions of few people."""
    regions = [
        {
            "region": number,
            "x": region.x,
            "y": region.y,
            "radius": region.radius,
            "people": region.people,
            "categories": [
                {
                    "category_id": one.category_id,
                    "category": saved.categories.get(one.category_id),
                    "lift": one.lift,
                    "share": one.share,
                }
                for one in region.categories
            ],
        }
        for number, region in enumerate(saved.tastes.regions, start=1)
        if named or region.people >= MANY
    ]
    return {
        "version": saved.version,
        "made_at": saved.made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "is_newest": saved.version == state.published,
        "people": len(saved.tastes.user_ids),
        "regions": regions,
    }


def user_at(model: LiveModel, saved: SavedMap, point: int) -> UserId:
    """Return the id of the person at a point. NoMapError if there is nobody."""
    ids = saved.tastes.user_ids
    if point >= len(ids) or ids[point] not in model.known_users:
        raise NoMapError(404, f"nobody is at point {point} of the map")
    return model.ids.of(int(ids[point]))


def shopper_of(model: LiveModel, saved: SavedMap, user_id: UserId) -> dict[str, Any]:
    """Return a person's place, and the neighbors with theirs; null for who has no place. UnknownUserError."""
    near = neighbors_of(model, user_id)
    ids = [user_id, *(one["user_id"] for one in near["neighbors"])]
    mine, *others = [_place(saved, number) for number in map(model.number_of, ids)]
    neighbors = [one | {"place": place} for one, place in zip(near["neighbors"], others, strict=True)]
    return {"user_id": user_id, "place": mine, "ranking": near["ranking"], "neighbors": neighbors}


def _place(saved: SavedMap, number: int) -> dict[str, int] | None:
    tastes = saved.tastes
    at = int(np.searchsorted(tastes.user_ids, number))
    if at == len(tastes.user_ids) or tastes.user_ids[at] != number:
        return None
    x, y = tastes.places[at].tolist()
    return {"point": at, "x": x, "y": y, "region": int(tastes.regions_of[at]) + 1}
