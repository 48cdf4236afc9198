"""What the pages show of a product: its facts, its picture or drawing, and the place of its own page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import Request
from sqlalchemy import Engine, select

from recommender.database import database_errors, in_blocks, table_is_there
from recommender.database.schema import categories, products
from recommender.errors import DatabaseError
from recommender.model import ServedModel
from recommender.service.pages.pictures import origin_of
from recommender.service.state import ServiceState
from recommender.shop import Scale
from recommender.updates import ModelUpdater

Card = dict[str, Any]
MOST_LEVELS = 10  # ratings to choose from


def card_of(model: ServedModel, product_id: str, **figures: Any) -> Card:
    """Return the facts of a product that the model knows, or that left the catalog, with the figures of a list."""
    column = model.products.find(product_id)
    facts = None if column is None else model.products.facts(column)
    return {
        "product_id": product_id,
        "title": facts.title if facts else None,
        "price": facts.price if facts else None,
        "stars": facts.stars if facts else None,
        "category_id": facts.category_id if facts else None,
        "image": None,
        **figures,
    }


def levels_of(scale: Scale) -> list[str]:
    """Return the ratings that a page offers to choose from: the whole ones, or at most ten spread over the scale.

    >>> levels_of(Scale.of(0.5, 5, 0.5)), levels_of(Scale.of(1, 100, 1))
    (['1', '2', '3', '4', '5'], ['1', '12', '23', '34', '45', '56', '67', '78', '89', '100'])
    """
    every = [scale.stars_of(steps) for steps in range(scale.least, scale.most + 1)]
    whole = [stars for stars in every if stars.is_integer()] or every
    last = len(whole) - 1
    if last >= MOST_LEVELS:
        whole = [whole[round(at * last / (MOST_LEVELS - 1))] for at in range(MOST_LEVELS)]
    return [f"{stars:g}" for stars in whole]


async def add_images(request: Request, cards: Iterable[Card]) -> frozenset[str]:
    """With PRODUCT_IMAGES=1 give each card the address of its picture; return the origins of all of them.

    While the database is away the drawings stay.
    """
    state: ServiceState = request.app.state
    shown = list(cards)
    if not state.product_images or state.updater is None or not shown:
        return frozenset()
    ids = sorted({card["product_id"] for card in shown})
    try:
        images = await state.updater.read(lambda engine: _images(engine, ids))
    except DatabaseError:
        return frozenset()
    origins = set()
    for card in shown:
        url = images.get(card["product_id"])
        if (origin := origin_of(url)) is not None:
            card["image"] = url
            origins.add(origin)
    return frozenset(origins)


def _images(engine: Engine, ids: list[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    with database_errors(engine), engine.connect() as connection:
        for block in in_blocks(ids):
            statement = select(products.c.asin, products.c.imgUrl).where(products.c.asin.in_(block))
            found |= {row.asin: row.imgUrl for row in connection.execute(statement)}
    return found


async def category_names(request: Request) -> dict[int, str]:
    """Return the names of the categories by id, in the order of the names; empty while the database is away."""
    watch: ModelUpdater = request.app.state.updater
    try:
        return await watch.read(_categories)
    except DatabaseError:
        return {}


def _categories(engine: Engine) -> dict[int, str]:
    statement = select(categories.c.id, categories.c.category_name).order_by(categories.c.category_name)
    with database_errors(engine), engine.connect() as connection:
        if not table_is_there(connection, categories.name):
            return {}
        return {int(number): str(name) for number, name in connection.execute(statement)}
