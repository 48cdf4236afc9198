"""The body of a list of recommendations, from the JSON of single products that is kept ready.

What is said of a product in a list is the same in every list but for its rank and its stars, and the same few thousand
products are in most lists: putting ten of them together from bytes takes 8 µs, from the catalog's arrays 40. Kept are
the products of the last ``KEPT`` to twice as many misses: whoever is asked for again moves to the newer half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from recommender.model.list_request import LARGEST_OFFSET

if TYPE_CHECKING:
    from recommender.model.served_model import Recommendation, ServedModel

KEPT = 20_000  # products; some 400 bytes each
_RANKS = [b'{"rank":%d,' % rank for rank in range(LARGEST_OFFSET + 101)]

Item = tuple[bytes, bytes]  # what comes before the stars, and after them


class ListItems:
    """The products' JSON of one model; ``n_places``: columns below it are always the same product."""

    def __init__(self, n_places: int) -> None:
        self._n_places = n_places
        self._newer: dict[int, Item] = {}
        self._older: dict[int, Item] = {}

    def body(self, model: ServedModel, user_id: int, chosen: list[Recommendation], *, first: int) -> bytes:
        """``{"user_id": ..., "recommendations": [...]}``; ``first``: the rank of the first."""
        stars = orjson.dumps([round(item.predicted_rating, 3) for item in chosen])[1:-1].split(b",")
        newer, parts, rank = self._newer, [], first
        for item, text in zip(chosen, stars, strict=False):  # no products split into one empty text
            before, after = newer.get(item.column) or self._item(model, item.column)
            parts.append(_RANKS[rank] + before + text + after)
            rank += 1
        return b'{"user_id":%d,"recommendations":[%b]}' % (user_id, b",".join(parts))

    def _item(self, model: ServedModel, column: int) -> Item:
        item = self._older.get(column) or _item_of(model, column)
        if column < self._n_places:
            if len(self._newer) >= KEPT:
                # in place: whoever holds the newer half holds it on
                self._older = self._newer.copy()
                self._newer.clear()
            self._newer[column] = item
        return item


def _item_of(model: ServedModel, column: int) -> Item:
    facts = model.products.facts(column)
    names = orjson.dumps({"product_id": model.products.id_of(column), "product_name": facts.title})
    return names[1:-1] + b',"predicted_rating":', b',"price":%b}' % orjson.dumps(facts.price)
