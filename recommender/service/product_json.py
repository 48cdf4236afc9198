"""One product in a list of the API: as a dictionary, as cached bytes, and for the OpenAPI document.

The JSON of a product is the same in every list of recommendations but for its rank and its stars, and the same few
thousand products are in most lists. A list of ten takes 8 µs from cached bytes, and 30 µs with a dictionary for each
product.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import orjson

from recommender.model import LARGEST_LIST_OFFSET, Recommendation, ServedModel
from recommender.service.openapi import object_schema
from recommender.shop import PRODUCT_ID_LENGTH, Products, UserId

KEPT = 40_000  # products; some 400 bytes each
_RANKS = [b'{"rank":%d,' % rank for rank in range(LARGEST_LIST_OFFSET + 101)]

Item = tuple[bytes, bytes]  # the JSON before the stars, and after them

PRODUCT_ID_ITEM = {"type": "string", "minLength": 1, "maxLength": PRODUCT_ID_LENGTH}
PRODUCT_NAME_ITEM = {"type": ["string", "null"]}
PRICE_ITEM = {"type": ["number", "null"], "exclusiveMinimum": 0, "description": "null: not known."}
CURRENCY_ITEM = {"type": "string", "pattern": "^[A-Z]{3}$", "description": "Of all prices, by ISO 4217."}
STARS_ITEM = {"type": "number", "minimum": 0.5, "maximum": 5}  # on the default scale, see `shop_document`
RATING_ITEM = STARS_ITEM | {"multipleOf": 0.5}
PREDICTED_ITEM = STARS_ITEM | {
    "type": ["number", "null"],
    "description": "null: nobody had rated anything when the model was made.",
}


def listed(model: ServedModel, rank: int, column: int, **figures: Any) -> dict[str, Any]:
    """Return the product of a column at its rank, with the list's own figures before the price."""
    facts = model.products.facts(column)
    return {
        "rank": rank,
        "product_id": model.products.id_of(column),
        "product_name": facts.title,
        **figures,
        "price": facts.price,
    }


class ListBodies:
    """The maker of bodies of lists; caches the JSON of recently used products, of one `Products` at a time."""

    def __init__(self) -> None:
        self._kept: tuple[Callable[[], Products | None], Callable[[int], Item]] | None = None

    def body(self, model: ServedModel, user_id: UserId, chosen: list[Recommendation], *, first: int) -> bytes:
        """Return ``{"user_id": ..., "recommendations": [...]}``; ``first``: the rank of the first product."""
        stars = orjson.dumps([round(item.predicted_rating, 3) for item in chosen])[1:-1].split(b",")
        item_of, parts, rank = self._items_of(model.products), [], first
        for item, text in zip(chosen, stars, strict=False):  # without products ``stars`` is one empty text
            before, after = item_of(item.column)
            parts.append(_RANKS[rank] + before + text + after)
            rank += 1
        user = b"%d" % user_id if isinstance(user_id, int) else orjson.dumps(user_id)
        return b'{"user_id":%b,"recommendations":[%b]}' % (user, b",".join(parts))

    def _items_of(self, products: Products) -> Callable[[int], Item]:
        """Return the cache of items of these products, whose columns never change; drop the cache of other products.

        It holds no reference to ``products``, so a model that is no longer served can be freed.
        """
        kept = self._kept
        if kept is None or kept[0]() is not products:
            items = lru_cache(KEPT)(partial(_item_of, weakref.proxy(products)))
            self._kept = kept = weakref.ref(products), items
        return kept[1]


def _item_of(products: Products, column: int) -> Item:
    facts = products.facts(column)
    names = orjson.dumps({"product_id": products.id_of(column), "product_name": facts.title})
    return names[1:-1] + b',"predicted_rating":', b',"price":%b}' % orjson.dumps(facts.price)


list_body = ListBodies().body  # of the model that is served


def listed_schema(
    figures: dict[str, Any], *, more: dict[str, Any] | None = None, optional: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the schema of what `listed` returns; ``more`` comes after the price, ``optional`` may be missing."""
    fields = {
        "rank": {"type": "integer", "minimum": 1},
        "product_id": PRODUCT_ID_ITEM,
        "product_name": PRODUCT_NAME_ITEM,
        **figures,
        "price": PRICE_ITEM,
        **(more or {}),
    }
    return object_schema(fields, optional)
