"""The options of a request for a list: limit, offset, categories, price, stars, stock, exclusions, diversity.

Filters act before the list is cut, so N products come back if the whole list has so many that pass. The whole list
holds the products that somebody has rated or had an interaction with, and at most one new product; it is not the whole
catalog. Filters change neither the neighbors nor their votes: a filtered list is the whole list without the products
that the filters leave out. A page, of any limit and offset, is a cut of that list.
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

LARGEST_LIST_OFFSET = 1_000
BLOCK_ROWS = 200_000  # products that a thread looks through at a time: a millisecond
_ALL, _NONE = np.empty(0, np.bool_), np.empty(0, np.int32)
NEW_RANK = 10  # TOP_N_RECOMMENDATIONS, unless a shop sets another


@dataclass(frozen=True)
class ListRequest:
    """The options of a request; all are optional but ``limit``."""

    limit: int
    offset: int = 0
    category_ids: frozenset[int] = frozenset()  # any of these; empty: all
    min_price: float | None = None
    max_price: float | None = None
    min_stars: float | None = None
    exclude: frozenset[str] = frozenset()  # product ids
    diversity: int | None = None  # at most so many products of one category
    in_stock_only: bool = False
    new_rank: int = NEW_RANK  # the rank of a new product in the whole list, for any limit: the default's last place

    @property
    def filters(self) -> bool:
        """True if some product may be left out by a filter."""
        return bool(
            self.category_ids
            or self.exclude
            or self.in_stock_only
            or (self.min_price, self.max_price, self.min_stars) != (None, None, None)
        )


def allowed_products(request: ListRequest, products: Products, categories: Categories) -> NDArray[np.bool_]:
    """Return a flag for each of the products (n,): whether the request leaves it in, and the catalog has it.

    An unknown price fails every bound. Unknown stars count as 0. A product is in stock only if that is known.
    """
    catalog, rows = products.catalog, products.catalog_rows
    keep, wanted, listed = np.empty(len(rows), np.bool_), _ALL, _ALL
    if request.category_ids:
        wanted = np.isin(categories.ids, np.array(sorted(request.category_ids), np.int64))
    if request.in_stock_only:
        listed = np.zeros(len(catalog), np.bool_) if catalog.in_stock is None else catalog.in_stock
    if request.exclude:
        listed = listed.copy() if len(listed) else np.ones(len(catalog), np.bool_)
        listed[[row for one in request.exclude if (row := catalog.row_of(one)) is not None]] = False
    bounds = [
        np.nan if bound is None else float(bound) for bound in (request.min_price, request.max_price, request.min_stars)
    ]

    def block(start: int, stop: int) -> None:
        part = slice(start, stop)
        known = catalog.prices, catalog.stars, listed
        kernels.allowed(rows[part], categories.codes[part], wanted, *known, *bounds, keep[part])

    run_blocks(block, len(rows), block_rows=BLOCK_ROWS, n_threads=thread_count(None))
    return keep


def fits(request: ListRequest, product_id: bytes, facts: Product) -> bool:
    """Tell whether the request leaves in this one product of the catalog. The rules are those of `allowed_products`."""
    bounds = (
        (request.min_price, facts.price, 1),
        (request.max_price, facts.price, -1),
        (request.min_stars, facts.stars or 0.0, 1),
    )
    within = all(bound is None or (value is not None and (value - bound) * sign >= 0) for bound, value, sign in bounds)
    category = not request.category_ids or facts.category_id in request.category_ids
    stocked = not request.in_stock_only  # the facts of one product do not hold its stock
    return within and category and stocked and product_id.decode() not in request.exclude


class LaterCategories(NamedTuple):
    """The categories of products that came later."""

    codes: NDArray[np.int32]  # (n_later,) as in `Categories`
    n_categories: int  # with those that only these products have


@dataclass(frozen=True, eq=False)
class Categories:
    """The categories of products, as codes from 0."""

    codes: NDArray[np.int32]  # (n,) the code of each column; -1: not known
    ids: NDArray[np.int32]  # (n_categories,) the id of each code, ascending

    @classmethod
    def of(cls, products: Products) -> Categories:
        """Return the categories of all products (n,)."""
        ids, codes = _codes(products.catalog.category_ids)
        return cls(np.append(codes, np.int32(-1)).take(products.catalog_rows, mode="wrap"), ids)

    def of_later(self, later: Sequence[Product | None]) -> LaterCategories:
        """Return the codes of products by their facts; a category that has no code gets one after the others."""
        named: dict[int, int] = {}
        for facts in later:
            if facts is not None and facts.category_id is not None:
                named.setdefault(facts.category_id, len(self.ids) + len(named))
        codes = [
            -1 if facts is None or facts.category_id is None else self._code(facts.category_id, named)
            for facts in later
        ]
        return LaterCategories(np.array(codes, np.int32), len(self.ids) + len(named))

    def cap(self, most: int | None, later: LaterCategories | None = None) -> Cap:
        """Return a cap of ``most`` products of one category; ``later``: of columns after the codes."""
        if most is None:
            return NO_CAP
        codes, n = later or LaterCategories(_NONE, len(self.ids))
        return Cap(most, self.codes, codes, np.zeros(n, np.int64))

    def _code(self, category_id: int, named: dict[int, int]) -> int:
        at = int(np.searchsorted(self.ids, category_id))
        return at if at < len(self.ids) and self.ids[at] == category_id else named[category_id]


def _codes(category_ids: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the distinct ids, ascending, and the index of each id among them."""
    if not len(category_ids):
        return category_ids, category_ids
    low, high = int(category_ids.min()), int(category_ids.max())
    if high - low > 4 * len(category_ids):
        ids, codes = np.unique(category_ids, return_inverse=True)
        return ids, codes.astype(np.int32)
    shifted = category_ids - np.int32(low)  # a third of the time of a sort
    there = np.bincount(shifted) > 0
    return np.flatnonzero(there).astype(np.int32) + np.int32(low), (np.cumsum(there) - 1).astype(np.int32)[shifted]
