"""The HTTP route that finds people: by country and age group, somebody, heavy raters, those without ratings."""

from __future__ import annotations

import secrets
from itertools import islice

import numpy as np
import orjson
from fastapi import APIRouter, Request, Response
from sqlalchemy import Engine, select

from recommender.database import database_errors
from recommender.database.schema import users
from recommender.live import LiveModel
from recommender.service.api_keys import DOCUMENTED_KEY, REFUSALS, require_key
from recommender.service.openapi import (
    DATABASE_AWAY,
    documented_json,
    documented_refusal,
    list_schema,
    object_schema,
    query_parameter,
    schema_of,
)
from recommender.service.parameters import LARGEST_LIMIT, LIMIT, RequestReader
from recommender.service.problems import NOT_KEPT
from recommender.shop import UserId
from recommender.updates import ModelUpdater

router = APIRouter(dependencies=[DOCUMENTED_KEY])

KINDS = ("somebody", "heavy", "without_ratings")
FOUND = 20  # people, if no limit is given
LONGEST = 64  # characters of a country or an age group
_TRIES = 100  # random people of whom somebody with a rating is chosen
_EXAMPLE = {"users": [{"user_id": 42, "ratings": 6}]}
_SCHEMA = object_schema({"users": list_schema(schema_of(_EXAMPLE["users"][0]), maxItems=LARGEST_LIMIT)})
_PLACE = "As in the table users.", {"type": "string", "maxLength": LONGEST}


@router.get(
    "/users",
    summary="Find people",
    openapi_extra={
        "parameters": [
            query_parameter(
                "kind", "Somebody by chance, those with most ratings, or with none.", {"enum": list(KINDS)}, "heavy"
            ),
            query_parameter("country", *_PLACE, "DE"),
            query_parameter("age_group", *_PLACE, "25-34"),
            LIMIT | {"description": f"How many people; {FOUND} if not given."},
        ]
    },
    responses={
        200: documented_json(_SCHEMA, _EXAMPLE, "People that the model knows; country and age group beat the kind."),
        422: documented_refusal("kind", "x", f"must be {' or '.join(KINDS)}"),
        503: DATABASE_AWAY,
        **REFUSALS,
    },
)
async def search(request: Request) -> Response:
    """Return ids of people with their numbers of ratings; needs a key."""
    require_key(request)
    return Response(orjson.dumps({"users": await people_of(request)}), 200, NOT_KEPT, "application/json")


async def people_of(request: Request) -> list[dict[str, UserId]]:
    """Return the people that the query asks for, for the route and for the page. InvalidParameterError."""
    asked = RequestReader.of(request)
    limit, kind = asked.limit(FOUND), asked.once("kind") or ""
    place = {name: text for name in ("country", "age_group") if (text := asked.once(name))}
    if kind and kind not in KINDS:
        asked.refuse("kind", kind, f"must be {' or '.join(KINDS)}")
    for name, text in place.items():
        if len(text) > LONGEST:
            asked.refuse(name, text, f"must have {LONGEST} characters at most")
    asked.done()
    model: LiveModel = request.app.state.model
    if place:
        watch: ModelUpdater = request.app.state.updater
        chosen = await watch.read(lambda engine: _from(engine, place, limit))
    else:
        chosen = _of_kind(model, kind, limit)
    known = [user for user in chosen if _is_known(model, user)]
    return [{"user_id": model.ids.of(user), "ratings": len(model.ratings_of(user)[0])} for user in known]


async def places_of(request: Request) -> dict[str, list[str]]:
    """Return the countries and age groups that the table users holds. DatabaseError."""
    watch: ModelUpdater = request.app.state.updater
    return await watch.read(_places)


def _places(engine: Engine) -> dict[str, list[str]]:
    with database_errors(engine), engine.connect() as connection:
        return {
            name: sorted(text for text in connection.execute(select(users.c[name]).distinct()).scalars() if text)
            for name in ("country", "age_group")
        }


def _from(engine: Engine, place: dict[str, str], limit: int) -> list[int]:
    statement = select(users.c.user_id).order_by(users.c.user_id).limit(limit)
    for name, text in place.items():
        statement = statement.where(users.c[name] == text)
    with database_errors(engine), engine.connect() as connection:
        return list(connection.execute(statement).scalars())


def _of_kind(model: LiveModel, kind: str, limit: int) -> list[int]:
    known, raters = model.known_users, model.matrix.user_ids
    if kind == "heavy":
        counts = np.diff(model.matrix.steps.indptr)
        return [int(user) for user in raters[np.argsort(-counts, kind="stable")[:limit]]]
    if kind == "without_ratings":
        rated = raters[np.diff(model.matrix.steps.indptr) > 0]
        without = (int(user) for user in known[~np.isin(known, rated)] if not len(model.ratings_of(int(user))[0]))
        return list(islice(without, limit))
    if not len(known):
        return []
    drawn = [int(known[secrets.randbelow(len(known))]) for _ in range(_TRIES)]
    with_ratings = [user for user in dict.fromkeys(drawn) if len(model.ratings_of(user)[0])]
    return (with_ratings or drawn)[: 1 if kind == "somebody" else limit]


def _is_known(model: LiveModel, user: int) -> bool:
    at = int(model.known_users.searchsorted(user))
    return at < len(model.known_users) and int(model.known_users[at]) == user
