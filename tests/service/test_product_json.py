"""Bodies made from cached JSON equal, byte for byte, those made from dictionaries of the present catalog."""

from __future__ import annotations

import gc
import weakref
from typing import Any, cast

import orjson
import pytest

from recommender.live import LiveModel, UserRecord
from recommender.model import ListRequest, Recommendation, ServedModel
from recommender.ranking import TASTE
from recommender.service import product_json
from recommender.service.product_json import ListBodies, listed
from recommender.shop import Product
from tests.model.test_list_request import model

__all__ = ["model"]  # the fixture: sixty users, a catalog of 40 products and 5 that nobody rated

TITLE = 'Möbel "\u2028"\\ \U0001f600'


class Shelf:
    """Products that record which of them are looked up."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.products = self

    def facts(self, column: int) -> Product:
        self.asked.append(column)
        return Product(TITLE, None, None, None)

    def id_of(self, column: int) -> str:
        return f"B{column:09d}"


def looked_up(bodies: ListBodies, shelf: Shelf, *columns: int) -> list[int]:
    """The products of this list that had to be looked up."""
    shelf.asked.clear()
    chosen = [Recommendation(column, 4.0, 0.0, 0, "popular") for column in columns]
    told = orjson.loads(bodies.body(cast(ServedModel, shelf), 1, chosen, first=1))["recommendations"]
    assert [item["product_id"] for item in told] == [f"B{column:09d}" for column in columns]
    assert {item["product_name"] for item in told} == {TITLE}
    return shelf.asked.copy()


def expected(model: ServedModel, user: int, chosen: list[Any], first: int) -> bytes:
    """The body, made from dictionaries."""
    items = [
        listed(model, rank, item.column, predicted_rating=round(item.predicted_rating, 3))
        for rank, item in enumerate(chosen, start=first)
    ]
    return orjson.dumps({"user_id": user, "recommendations": items})


def test_the_body_is_the_json_of_the_same_dictionaries(model: ServedModel) -> None:
    bodies = ListBodies()
    for user in range(1, 61):
        for offset in (0, 3):
            chosen = model.select(user, ListRequest(10, offset), TASTE).recommendations
            assert bodies.body(model, user, chosen, first=offset + 1) == expected(model, user, chosen, offset + 1)
    assert bodies.body(model, 7, [], first=1) == b'{"user_id":7,"recommendations":[]}'


def test_a_product_is_looked_up_once_while_it_is_among_the_most_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_json, "KEPT", 3)
    bodies, shelf = ListBodies(), Shelf()
    assert looked_up(bodies, shelf, 0, 1, 2) == [0, 1, 2]
    assert looked_up(bodies, shelf, 0, 1, 2) == []
    assert looked_up(bodies, shelf, 3, 1) == [3]  # 0 has left the cache
    assert looked_up(bodies, shelf, 2, 0) == [0]


def test_the_cache_belongs_to_one_numbering_of_products_and_does_not_keep_it_alive() -> None:
    bodies, shelf, other = ListBodies(), Shelf(), Shelf()
    assert looked_up(bodies, shelf, 0, 1) == [0, 1]
    assert looked_up(bodies, other, 0) == [0]
    assert looked_up(bodies, shelf, 1) == [1]
    gone = weakref.ref(shelf)
    del shelf
    gc.collect()
    assert gone() is None
    assert looked_up(bodies, other, 0) == [0]


def test_a_product_that_came_later_is_shown_like_the_others(model: ServedModel) -> None:
    bodies, live = ListBodies(), LiveModel.of(model)
    facts = {b"B0LATER%03d" % number: Product(f"later {number}", 1.0 + number, None, None) for number in range(3)}
    for number in range(3):  # one after the other; each model continues the one before
        live = live.after([UserRecord(7, ((b"B0LATER%03d" % number, 9, 0),))], facts)
        chosen = [Recommendation(len(live.products) - 1, 4.0, 0.0, 0, "popular")]
        for _ in range(2):
            assert bodies.body(live, 7, chosen, first=1) == expected(live, 7, chosen, 1)
        assert b"later %d" % number in bodies.body(live, 7, chosen, first=1)
