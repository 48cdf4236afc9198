"""The HTTP routes that write: ratings, interactions, deletions. Each needs a key (`recommender.service.api_keys`).

After 201 or 204 the change is stored in the database and counted in the model of this worker; other workers count it
within a second. 503 with ``Retry-After`` means that the database is away: nothing was stored, unless it went away
during the commit. Every request may be repeated; a repeated interaction counts twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection

from recommender.database.schema import INTERACTION_TYPES
from recommender.errors import UnknownUserError
from recommender.live import LiveModel
from recommender.service.api_keys import DOCUMENTED_KEY, REFUSALS, require_key
from recommender.service.json_body import Id, ProductId, Steps, TextUserId, UserId, one_of, rating_rule, read_body
from recommender.service.openapi import (
    DATABASE_AWAY,
    NATURAL,
    Responses,
    documented_body,
    documented_json,
    documented_refusal,
    object_schema,
    under_paths,
)
from recommender.service.parameters import (
    NO_TEXT_ID,
    PRODUCT_ID_SCHEMA,
    USER_ID,
    USER_ID_IN_QUERY,
    RequestReader,
    refused,
)
from recommender.service.problems import InvalidParameterError, documented_problem
from recommender.service.product_json import PRODUCT_ID_ITEM, RATING_ITEM
from recommender.service.routes.products import PRODUCT_ID, PRODUCT_ID_IN_QUERY
from recommender.settings import LARGEST_ID
from recommender.shop import HALF_STARS, LONGEST_USER_ID, UserIds
from recommender.updates import ModelUpdater, delete_rating, erase_user, store_interaction, store_rating

router = APIRouter(dependencies=[DOCUMENTED_KEY])

_USER_ITEM = NATURAL | {"maximum": LARGEST_ID, "format": "int64"}
_AWAY = DATABASE_AWAY | {"headers": {"Retry-After": {"schema": {"type": "integer"}}}}
_RATING = {"user_id": 42, "product_id": "B08N5WRWNW", "rating": 4.5}
_INTERACTION = {"user_id": 42, "product_id": "B08N5WRWNW", "interaction_type": "purchase"}
_DONE: Responses = {
    204: {"description": "Done."},
    404: documented_problem("There is nothing to delete.", status=404, detail="user 99 is unknown"),
    422: documented_refusal("user_id", "-1", "must be a whole number from 0 to 9223372036854775807"),
    503: _AWAY,
    **REFUSALS,
}


def _schema(last: str, item: dict[str, Any]) -> dict[str, Any]:
    return object_schema({"user_id": _USER_ITEM, "product_id": PRODUCT_ID_ITEM | PRODUCT_ID_SCHEMA, last: item})


_RATING_SCHEMA = _schema("rating", RATING_ITEM)
_INTERACTION_SCHEMA = _schema("interaction_type", {"type": "string", "enum": list(INTERACTION_TYPES)})


class _Rating(BaseModel, Generic[Id]):
    user_id: Id
    product_id: ProductId
    rating: Steps


class _Interaction(BaseModel, Generic[Id]):
    user_id: Id
    product_id: ProductId
    interaction_type: Annotated[str, one_of(INTERACTION_TYPES)]


def _documented(schema: dict[str, Any], example: dict[str, Any], unusable: dict[str, Any]) -> dict[str, Any]:
    responses = {
        201: documented_json(schema, example, "Stored, and counted from now on."),
        404: documented_problem("No such product.", status=404, detail="product B000000099 is unknown"),
        422: unusable,
        503: _AWAY,
        **REFUSALS,
    }
    return {"openapi_extra": {"requestBody": documented_body(schema, example)}, "responses": responses}


@router.post(
    "/ratings",
    status_code=201,
    summary="Give or change a rating",
    **_documented(_RATING_SCHEMA, _RATING, documented_refusal("rating", "7", rating_rule(HALF_STARS))),
)
async def rate(request: Request) -> Response:
    """Store a user's rating of a product, 0.5 to 5.0 stars in half steps. The last one counts. The user may be new."""
    require_key(request)
    scale = _service(request).model.matrix.scale
    fields: type[_Rating[Any]] = _Rating[TextUserId] if _ids(request).is_text else _Rating[UserId]
    given = await read_body(request, fields, scale=scale)
    row = given.product_id, given.rating, scale
    await _write(request, given.user_id, lambda at, user: store_rating(at, user, *row))
    stored = given.model_dump() | {"rating": scale.stars_of(given.rating)}
    return Response(orjson.dumps(stored), 201, media_type="application/json")


@router.post(
    "/interactions",
    status_code=201,
    summary="Add an interaction",
    **_documented(
        _INTERACTION_SCHEMA,
        _INTERACTION,
        documented_refusal("interaction_type", "sniff", f"must be {' or '.join(INTERACTION_TYPES)}"),
    ),
)
async def interact(request: Request) -> Response:
    """Store that a user views, clicks, adds to the cart or buys a product now. All rankings but classic count it."""
    require_key(request)
    fields: type[_Interaction[Any]] = _Interaction[TextUserId] if _ids(request).is_text else _Interaction[UserId]
    given = await read_body(request, fields)
    row = given.product_id, given.interaction_type
    await _write(request, given.user_id, lambda at, user: store_interaction(at, user, *row))
    return Response(orjson.dumps(given.model_dump()), 201, media_type="application/json")


@under_paths(
    router.delete,
    ("/rating", "Delete a rating, with both ids in the query", [USER_ID | {"in": "query"}, PRODUCT_ID_IN_QUERY]),
    ("/ratings/{product_id}", "Delete a rating of the user in the query", [USER_ID_IN_QUERY, PRODUCT_ID]),
    ("/users/{user_id}/ratings/{product_id}", "Delete a rating", [USER_ID, PRODUCT_ID]),
    status_code=204,
    responses=_DONE,
)
async def unrate(request: Request) -> Response:
    """Delete one rating. By query it can be done where a proxy decodes a slash in a path, too."""
    require_key(request)
    asked = RequestReader.of(request)
    who, product_id = asked.user_id(_ids(request)), asked.product_id()
    asked.done()
    await _service(request).write(who, lambda at, user: delete_rating(at, user, product_id, called=who))
    return Response(status_code=204)


@under_paths(
    router.delete,
    ("/users", "Erase the user in the query", [USER_ID_IN_QUERY]),
    ("/users/{user_id}", "Erase a user", [USER_ID]),
    status_code=204,
    responses=_DONE,
)
async def erase(request: Request) -> Response:
    """Delete everything about a user: ratings, interactions, the row in users, and the lists of all versions."""
    require_key(request)
    asked = RequestReader.of(request)
    who = asked.user_id(_ids(request))
    asked.done()
    await _service(request).write(who, lambda at, user: erase_user(at, at.engine, user, called=who))
    return Response(status_code=204)


async def _write(request: Request, user_id: int | str, job: Callable[[Connection, int], object]) -> None:
    """Do the job for a user, who may be new unless the id is longer than new ones are. InvalidParameterError."""
    too_long = isinstance(user_id, str) and len(user_id) > LONGEST_USER_ID
    try:
        await _service(request).write(user_id, job, new=not too_long)
    except UnknownUserError:
        if not too_long:
            raise
        raise InvalidParameterError([refused("user_id", str(user_id), NO_TEXT_ID)]) from None


def _ids(request: Request) -> UserIds:
    model: LiveModel = request.app.state.model
    return model.ids


def _service(request: Request) -> ModelUpdater:
    service: ModelUpdater = request.app.state.updater
    return service
