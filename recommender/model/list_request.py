"""What a request asks of a list: how many, from where on, of which categories, prices and stars, how mixed.

Filters act on the products before the list is cut: N products come back wherever the whole list has so many that fit.
It holds what somebody has rated or turned to, and one new product at most, not the whole catalog. Filters do not change
who the neighbors are or what they say: a filtered list is the whole list less what the filters leave out. A page, of
any limit and offset, is a cut of that list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import run_blocks, thread_count
from recommender.fallback import NO_CAP, Cap
from recommender.model import _filter_kernels
from recommender.shop import Product, Products

kernels: Any = _filter_kernels  # compiled functions have no signature a type checker could use

LARGEST_OFFSET = 1_000
BLOCK_ROWS = 200_000  # products that a thread looks through at a time: a millisecond
_ALL = np.empty(0, np.bool_)
NEW_RANK = 10  # TOP_N_RECOMMENDATIONS, unless a shop chose another


class Cut(NamedTuple):
    """How much is wanted of somebody's whole list, and of what it is made."""

    n: int
    allowed: NDArray[np.bool_] | None  # a flag for each product there is; None: all
    cap: Cap  # of categories
    new_rank: int  # of a new product


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
    new_rank: int = (
        NEW_RANK  # where a new product stands in the whole list, whatever the limit: the default's last place
    )

    @property
    def filters(self) -> bool:
        """Whether any product may be left out for what it is."""
        return bool(
            self.category_ids
            or self.exclude
            or self.in_stock_only
            or (self.min_price, self.max_price, self.min_stars) != (None, None, None)
        )


def allowed_products(wish: Wish, products: Products, categories: Categories) -> NDArray[np.bool_]:
    """Which products (n,) the wish leaves in; none that is not in the catalog.

    A price or a number of stars that is not known fails every bound on it, and is in stock only what is known to be.
    """
    catalog, rows = products.catalog, products.catalog_rows
    keep, wanted, listed = np.empty(len(rows), np.bool_), _ALL, _ALL
    if wish.category_ids:
        wanted = np.isin(categories.ids, np.array(sorted(wish.category_ids), np.int64))
    if wish.in_stock_only:
        listed = np.zeros(len(catalog), np.bool_) if catalog.in_stock is None else catalog.in_stock
    if wish.exclude:
        listed = listed.copy() if len(listed) else np.ones(len(catalog), np.bool_)
        listed[[row for one in wish.exclude if (row := catalog.row_of(one)) is not None]] = False
    bounds = [np.nan if bound is None else float(bound) for bound in (wish.min_price, wish.max_price, wish.min_stars)]

    def block(start: int, stop: int) -> None:
        part = slice(start, stop)
        known = catalog.prices, catalog.stars, listed
        kernels.allowed(rows[part], categories.codes[part], wanted, *known, *bounds, keep[part])

    run_blocks(block, len(rows), block_rows=BLOCK_ROWS, n_threads=thread_count(None))
    return keep


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


@dataclass(frozen=True, eq=False)
class Categories:
    """The categories of products as codes from 0."""

    codes: NDArray[np.int32]  # (n,) of each column; -1: not known
    ids: NDArray[np.int32]  # (n_categories,) ascending; of the codes

    @classmethod
    def of(cls, products: Products) -> Categories:
        """Of all products (n,)."""
        ids, codes = _codes(products.catalog.category_ids)
        return cls(np.append(codes, np.int32(-1)).take(products.catalog_rows, mode="wrap"), ids)

    def cap(self, most: int | None, later: Sequence[Product | None] = ()) -> Cap:
        """At most so many of a category; ``later``: the facts of columns beyond the codes."""
        if most is None:
            return NO_CAP
        named: dict[int, int] = {}
        for facts in later:
            if facts is not None and facts.category_id is not None:
                named.setdefault(facts.category_id, len(self.ids) + len(named))
        codes = [
            -1 if facts is None or facts.category_id is None else self._code(facts.category_id, named)
            for facts in later
        ]
        counts = np.zeros(len(self.ids) + len(named), np.int64)
        return Cap(most, self.codes, np.array(codes, np.int32), counts)

    def _code(self, category_id: int, named: dict[int, int]) -> int:
        at = int(np.searchsorted(self.ids, category_id))
        return at if at < len(self.ids) and self.ids[at] == category_id else named[category_id]


def _codes(category_ids: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The distinct ids, ascending, and which of them each is."""
    if not len(category_ids):
        return category_ids, category_ids
    low, high = int(category_ids.min()), int(category_ids.max())
    if high - low > 4 * len(category_ids):
        ids, codes = np.unique(category_ids, return_inverse=True)
        return ids, codes.astype(np.int32)
    shifted = category_ids - np.int32(low)  # a third of the time of sorting them
    there = np.bincount(shifted) > 0
    return np.flatnonzero(there).astype(np.int32) + np.int32(low), (np.cumsum(there) - 1).astype(np.int32)[shifted]
