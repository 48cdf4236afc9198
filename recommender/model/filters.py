"""A cache of product filters: the mask of each recent combination, and the data that every list under it needs.

A mask takes a pass over the whole catalog, and some data made from it take another. Requests use the same few filters
again and again. The cache belongs to one model, whose catalog and columns never change. It holds the most recently used
masks within ``BYTES``, and counts data made from a mask as soon as they are made. A mask is extended for products that
came later at its next use. Any number of threads may use the cache.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from recommender.fallback import Cap, PopularProducts
from recommender.model.list_request import ListRequest, fits
from recommender.ranking import ProfileRanker
from recommender.shop import Product

BYTES = 64_000_000
MOST = 256
AT_FIRST = 1_000  # popular products that are read first; four times as many after each round that found too few

Filters = tuple[Any, ...]
Later = Sequence[tuple[bytes, Product | None]]  # None: not in the catalog


class ProductFilter:
    """One mask over all columns, later ones too, and the data made from it."""

    def __init__(self, allowed: NDArray[np.bool_], recommendable: NDArray[np.bool_], later: Later = ()) -> None:
        self.allowed, self._later = allowed, later
        self.recommendable = recommendable & allowed[: len(recommendable)]
        self._everything: PopularProducts | None = None
        self._popular, self._read = PopularProducts(np.empty(0, np.int32), np.empty(0)), 0
        self._without: NDArray[np.bool_] | None = None
        self._bars: dict[str, Any] = {}
        self.size = self.allowed.nbytes + self.recommendable.nbytes  # bytes, also of what is made later
        self._lock = threading.Lock()  # of what is made later
        self.cache: Callable[[], FilterCache | None] = lambda: None  # where it is kept, under these filters
        self.filters: Filters = ()

    def is_for(self, later: Later) -> bool:
        """Tell whether the mask has a flag for each of these, and for no more."""
        return self._later is later or not (self._later or later)

    def extended(self, request: ListRequest, later: Later) -> ProductFilter:
        """Return the mask with a flag for each later product; ``request``: the request whose mask this is."""
        n = len(self._later) if list(later[: len(self._later)]) == list(self._later) else 0  # else another's
        known = self.allowed[: len(self.allowed) - len(self._later) + n]
        flags = [facts is not None and fits(request, name, facts) for name, facts in later[n:]]
        kept = ProductFilter(np.concatenate([known, np.array(flags, np.bool_)]), self.recommendable, later)
        kept._bars = self._bars  # they belong to the matrix's columns
        kept.size += sum(array.nbytes for bars in list(self._bars.values()) for array in bars)
        return kept

    @property
    def without(self) -> NDArray[np.bool_]:
        """What is not allowed."""
        if (without := self._without) is None:
            with self._lock:
                if self._without is None:
                    self._without = ~self.allowed
                    self.size += self._without.nbytes
                without = self._without
            self._grew()
        return without

    def popular(self, everything: PopularProducts, n: int) -> PopularProducts:
        """Return the first n or more of the allowed popular products, or all of them."""
        with self._lock:
            before = self._popular
            if self._everything is not everything:
                self._everything, self._read = everything, 0
            while self._read == 0 or (len(self._popular.columns) < n and self._read < len(everything.columns)):
                self._read = max(AT_FIRST, 4 * self._read)
                first = PopularProducts(everything.columns[: self._read], everything.predicted[: self._read])
                self._popular = first.among(self.allowed)
            found = self._popular
            self.size += _bytes_of(found) - _bytes_of(before)
        if found is not before:
            self._grew()
        return found

    def bars(self, ranking: str, ranker: ProfileRanker) -> Any:
        """Return the factors of the ranker's scores under the mask."""
        if (bars := self._bars.get(ranking)) is None:
            with self._lock:
                if (bars := self._bars.get(ranking)) is None:
                    self._bars[ranking] = bars = ranker.bars(self.recommendable)
                    self.size += sum(array.nbytes for array in bars)
            self._grew()
        return bars

    def _grew(self) -> None:
        if self.size > BYTES // MOST and (cache := self.cache()) is not None:
            cache.recount(self)


class Cut(NamedTuple):
    """The part of a user's whole list that is wanted, and the products it may hold."""

    n: int
    filter: ProductFilter | None  # None: all products
    cap: Cap  # on products of one category
    new_rank: int  # the rank of a new product

    @property
    def without(self) -> NDArray[np.bool_] | None:
        """The products that the filter leaves out; None: none."""
        return None if self.filter is None else self.filter.without


def _filters_of(request: ListRequest) -> Filters:
    bounds = request.min_price, request.max_price, request.min_stars
    return request.category_ids, *bounds, request.in_stock_only, request.exclude


class FilterCache:
    """The filters of one model. ``recommendable`` (n_columns,): products that may be ranked without filters."""

    def __init__(self, recommendable: NDArray[np.bool_]) -> None:
        self._recommendable = recommendable
        self._lock = threading.Lock()
        self._of_filters: LRUCache[Filters, ProductFilter] = LRUCache(BYTES, getsizeof=_counted)

    def of(self, request: ListRequest, make: Callable[[], NDArray[np.bool_]], later: Later = ()) -> ProductFilter:
        """Return the filter of a request; make it if missing. ``later``: later products, which nobody writes to."""
        filters = _filters_of(request)
        with self._lock:
            kept = self._of_filters.get(filters)
        if kept is None:
            kept = self._keep(filters, ProductFilter(make(), self._recommendable))
        if not kept.is_for(later):
            kept = self._keep(filters, kept.extended(request, later))
        return kept

    def knows(self, request: ListRequest) -> bool:
        """Tell whether the filter of this request is kept, for all products but later ones."""
        return _filters_of(request) in self._of_filters

    def _keep(self, filters: Filters, made: ProductFilter) -> ProductFilter:
        """Keep a filter, in the place of the one that was there; the least recent go if there is no room."""
        made.filters, made.cache = filters, weakref.ref(self)  # no circle: a model goes at once
        with self._lock:
            self._of_filters[filters] = made
        return made

    def recount(self, kept: ProductFilter) -> None:
        """Count the data made from a mask, if it is still kept."""
        with self._lock:
            if self._of_filters.get(kept.filters) is kept:
                self._of_filters[kept.filters] = kept


def _counted(kept: ProductFilter) -> int:
    """Bytes that a mask counts for: so many that there are ``MOST`` at most, and that a huge one stays alone."""
    return min(max(kept.size, BYTES // MOST), BYTES)


def _bytes_of(products: PopularProducts) -> int:
    return int(products.columns.nbytes + products.predicted.nbytes)
