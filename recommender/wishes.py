"""What a request asks of a list: how many, from where on, of which categories, prices and stars, how mixed.

Filters act on the products before the list is cut, so N products come back wherever N exist. They do not change who
the neighbors are or what they say: a filtered list is the whole list less what the filters leave out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recommender.product_catalog import Product, ProductCatalog

Item = TypeVar("Item")

LARGEST_OFFSET = 1_000
ROOM = 4  # times as many products as are wanted, to begin with, where categories are capped


@dataclass(frozen=True)
class Wish:
    """A request's filters; everything is optional but ``limit``."""

    limit: int
    offset: int = 0
    category_ids: frozenset[int] = frozenset()  # any of these; empty: all
    min_price: float | None = None
    max_price: float | None = None
    min_stars: float | None = None
    exclude: frozenset[str] = frozenset()  # product ids
    diversity: int | None = None  # at most so many of a category
    in_stock_only: bool = False

    @property
    def filters(self) -> bool:
        """Whether any product may be left out for what it is."""
        return bool(
            self.category_ids
            or self.exclude
            or self.in_stock_only
            or (self.min_price, self.max_price, self.min_stars) != (None, None, None)
        )


def allowed_products(wish: Wish, catalog: ProductCatalog, places: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which products (n,), at these places of the catalog, the wish leaves in; none that is not in the catalog.

    A price or a number of stars that is not known fails every bound on it, and is in stock only what is known to be.
    """
    keep = np.ones(len(catalog) + 1, np.bool_)  # by place; the last is what -1 finds
    keep[-1] = False
    inside = keep[:-1]
    if wish.category_ids:
        inside &= _any_of(catalog.category_ids, sorted(wish.category_ids))
    if wish.min_price is not None:
        inside &= catalog.prices >= wish.min_price
    if wish.max_price is not None:
        inside &= catalog.prices <= wish.max_price
    if wish.min_stars is not None:
        inside &= catalog.stars >= wish.min_stars
    if wish.in_stock_only:
        inside &= catalog.in_stock is not None and catalog.in_stock
    for product in sorted(wish.exclude):
        if (place := catalog.place_of(product)) is not None:
            inside[place] = False
    return keep.take(places, mode="wrap")  # a third of the time of keep[places]


def _any_of(category_ids: NDArray[np.int32], wanted: list[int]) -> NDArray[np.bool_]:
    if len(wanted) == 1:
        return np.asarray(category_ids == wanted[0])
    return np.isin(category_ids, np.array(wanted, np.int64))


def fits(wish: Wish, product_id: bytes, facts: Product) -> bool:
    """Does the wish leave this one product of the catalog in? As `allowed_products`."""
    bounds = (
        (wish.min_price, facts.price, 1),
        (wish.max_price, facts.price, -1),
        (wish.min_stars, facts.stars or 0.0, 1),
    )
    within = all(bound is None or (value is not None and (value - bound) * sign >= 0) for bound, value, sign in bounds)
    category = not wish.category_ids or facts.category_id in wish.category_ids
    stocked = not wish.in_stock_only  # facts of one product do not tell
    return within and category and stocked and product_id.decode("ascii") not in wish.exclude


def capped(ranked: Iterable[Item], category_of: Callable[[Item], int | None], most: int) -> list[Item]:
    """The items in their order, less those of a category that has had ``most`` before; unknown ones are never capped.

    >>> capped(["a1", "a2", "b1", "a3"], lambda item: ord(item[0]), 2)
    ['a1', 'a2', 'b1']
    """
    seen: Counter[int] = Counter()
    kept = []
    for item in ranked:
        category = category_of(item)
        if category is not None:
            seen[category] += 1
            if seen[category] > most:
                continue
        kept.append(item)
    return kept
