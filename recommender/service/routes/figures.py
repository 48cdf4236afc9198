"""The HTTP route of one product's figures: its ratings by stars, who rates it, and how often it is recommended."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from sqlalchemy import Engine, func, select

from recommender.database import database_errors, table_is_there
from recommender.database.schema import recommendations
from recommender.errors import DatabaseError, UnknownProductError
from recommender.live import LiveModel
from recommender.model import raters_by_segment, ratings_by_stars
from recommender.ranking import CLASSIC
from recommender.service.api_keys import HEADER, has_key
from recommender.service.beside import Turns
from recommender.service.openapi import Responses, documented_json, object_schema, under_paths
from recommender.service.parameters import RequestReader
from recommender.service.problems import NOT_KEPT
from recommender.service.product_json import PRODUCT_ID_ITEM
from recommender.service.routes.products import NO_SUCH_PRODUCT, PRODUCT_ID, PRODUCT_ID_IN_QUERY
from recommender.shop import NOT_IN_CATALOG
from recommender.updates import ModelUpdater

router = APIRouter()

MANY = 10  # people whose ratings everybody may see by stars: of fewer they would tell who gave which
SEGMENTS = 5
BEATEN = "but in every published list other products come first."
QUICK = 200_000  # ratings that are looked through in less time than a call of a thread takes

_EXAMPLE: dict[str, Any] = {
    "product_id": "B08N5WRWNW",
    "ratings_by_stars": [{"stars": 4.0, "ratings": 5}, {"stars": 5.0, "ratings": 12}],
    "segments": [{"country": "DE", "age_group": "25-34", "ratings": 11, "mean_rating": 4.6}],
    "lists": [{"rank": 1, "lists": 3}, {"rank": 2, "lists": 1}],
    "reason": None,
}
_SCHEMA = object_schema(
    {
        "product_id": PRODUCT_ID_ITEM,
        "ratings_by_stars": {
            "type": ["array", "null"],
            "description": f"null: of fewer than {MANY} people it is shown only with a right {HEADER}.",
        },
        "segments": {
            "type": "array",
            "description": f"With most raters, of {MANY} people or more each, or with a key.",
        },
        "lists": {"type": ["array", "null"], "description": "Published lists by the product's rank; null: not known."},
        "reason": {"type": ["string", "null"], "description": "Why it is in no published list."},
    }
)
_RESPONSES: Responses = {
    200: documented_json(_SCHEMA, _EXAMPLE, "Ratings of the time when the model was built, and published lists."),
    **{status: answer for status, answer in NO_SUCH_PRODUCT.items() if status != 304},
}


@under_paths(
    router.get,
    ("/figures", "The same, by the id in the query", [PRODUCT_ID_IN_QUERY]),
    ("/products/{product_id}/figures", "Who rates a product, and who gets it", [PRODUCT_ID]),
    responses=_RESPONSES,
)
async def figures(request: Request) -> Response:
    """Return a product's ratings by stars and by segment, and the published lists that hold it, by rank."""
    asked = RequestReader.of(request)
    product_id = asked.product_id()
    asked.done()
    found = await figures_of(request, product_id, named=has_key(request))
    return Response(orjson.dumps(found), 200, NOT_KEPT, "application/json")


async def figures_of(request: Request, product_id: str, *, named: bool) -> dict[str, Any]:
    """Return the figures, for the route and for the page; ``named``: also of few people. UnknownProductError."""
    model: LiveModel = request.app.state.model
    column = model.products.find(product_id)
    if column is None:
        raise UnknownProductError(product_id)
    slow_answers: Turns = request.app.state.slow_answers
    find = partial(_of_column, model, column)
    by_stars, segments = await slow_answers.make(request, model, find) if model.n_ratings > QUICK else find()
    watch: ModelUpdater = request.app.state.updater
    try:
        lists = await watch.read(lambda engine: _lists(engine, product_id))
    except DatabaseError:
        lists = None
    rows = [{"stars": stars, "ratings": n} for stars, n in by_stars.items()]
    return {
        "product_id": product_id,
        "ratings_by_stars": rows if named or not rows or sum(by_stars.values()) >= MANY else None,
        "segments": [
            {"country": country, "age_group": age, "ratings": n, "mean_rating": round(mean, 2)}
            for (country, age), (n, mean) in list(segments.items())[:SEGMENTS]
            if named or n >= MANY
        ],
        "lists": lists,
        "reason": _reason(model, column) if lists == [] else None,
    }


def _of_column(model: LiveModel, column: int) -> tuple[dict[float, int], dict[tuple[str, str], tuple[int, float]]]:
    return ratings_by_stars(model, column), raters_by_segment(model, column)


def _lists(engine: Engine, product_id: str) -> list[dict[str, int]] | None:
    """Return the number of published lists by the rank of the product in them; None if there are no lists."""
    rank = recommendations.c["rank"]
    statement = (
        select(rank, func.count()).where(recommendations.c.product_id == product_id).group_by(rank).order_by(rank)
    )
    with database_errors(engine), engine.connect() as connection:
        if not table_is_there(connection, recommendations.name):
            return None
        found = [{"rank": int(place), "lists": int(n)} for place, n in connection.execute(statement)]
        there = found or connection.execute(select(rank).limit(1)).first()
    return found if there else None


def _reason(model: LiveModel, column: int) -> str:
    """Return why the product is in no list."""
    if model.products.facts(column) is NOT_IN_CATALOG:
        return "It has left the catalog, so no list may hold it."
    if model.raters_of(column)[0]:
        return f"People have rated it, {BEATEN}"
    if model.ranking == CLASSIC:
        return "Nobody has rated it, and lists hold what somebody has rated."
    if column < len(owners := model.owners) and owners[column]:
        return f"Nobody has rated it. People have viewed or bought it, {BEATEN}"
    return "Nobody has rated, viewed or bought it. A list holds one such product at most, and others were chosen."
