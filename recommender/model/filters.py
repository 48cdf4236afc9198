"""Which products the filters of recent requests leave in, kept with what every list under these filters needs.

A mask is a pass over the whole catalog, and some of what follows from it is another; the same few filters are asked for
again and again. A mask is known again by being the same array, so it must not be written to. The most recently used are
kept, within ``BYTES``, for one model: its catalog and its columns never change. What is made of a mask later is counted
as soon as it is made. For products that came later a mask is made longer when it is asked for next. Any number of
threads may ask.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from recommender.fallback import PopularProducts
from recommender.model.list_request import Wish, fits
from recommender.ranking import TasteRanker
from recommender.shop import Product

BYTES = 64_000_000
MOST = 256
AT_FIRST = 1_000  # popular products that are looked through, four times as many each time they are too few

Filters = tuple[Any, ...]
Later = Sequence[tuple[bytes, Product | None]]  # None: not in the catalog


class Kept:
    """One mask over all columns, also of what came later, and what was made of it."""

    def __init__(self, allowed: NDArray[np.bool_], recommendable: NDArray[np.bool_], later: Later = ()) -> None:
        self.allowed, self._later = allowed, later
        self.recommendable = recommendable & allowed[: len(recommendable)]
        self._everything: PopularProducts | None = None
        self._popular, self._read = PopularProducts(np.empty(0, np.int32), np.empty(0)), 0
        self._without: NDArray[np.bool_] | None = None
        self._bars: dict[str, Any] = {}
        self._lock = threading.Lock()  # of what is made later
        self.masks: Callable[[], KeptMasks | None] = lambda: None  # where it is kept, under these filters
        self.filters: Filters = ()

    def is_for(self, later: Later) -> bool:
        """Tell whether the mask has a flag for each of these, and for no more."""
        return self._later is later or not (self._later or later)

    def extended(self, wish: Wish, later: Later) -> Kept:
        """With a flag for each of what came later; ``wish``: whose mask this is."""
        known = self.allowed[: len(self.allowed) - len(self._later)]
        flags = [facts is not None and fits(wish, name, facts) for name, facts in later]
        kept = Kept(np.concatenate([known, np.array(flags, np.bool_)]), self.recommendable, later)
        kept._bars = self._bars  # they are of the matrix's columns
        return kept

    @property
    def size(self) -> int:
        """Bytes, of what is made later too once it is."""
        made = [self.allowed, self.recommendable, self._popular.columns, self._popular.predicted]
        made += [] if self._without is None else [self._without]
        return sum(array.nbytes for array in (*made, *(array for bars in list(self._bars.values()) for array in bars)))

    @property
    def without(self) -> NDArray[np.bool_]:
        """What is not allowed."""
        if (without := self._without) is None:
            with self._lock:
                self._without = without = ~self.allowed
            self._grew()
        return without

    def popular(self, everything: PopularProducts, n: int) -> PopularProducts:
        """The first n and more of the popular products that are allowed, or all there are."""
        with self._lock:
            before = self._popular
            if self._everything is not everything:
                self._everything, self._read = everything, 0
            while self._read == 0 or (len(self._popular.columns) < n and self._read < len(everything.columns)):
                self._read = max(AT_FIRST, 4 * self._read)
                first = PopularProducts(everything.columns[: self._read], everything.predicted[: self._read])
                self._popular = first.among(self.allowed)
            found = self._popular
        if found is not before:
            self._grew()
        return found

    def bars(self, ranking: str, ranker: TasteRanker) -> Any:
        """What the ranker's kernel asks of scores under the mask."""
        if (bars := self._bars.get(ranking)) is None:
            with self._lock:
                self._bars[ranking] = bars = ranker.votes.bars(self.recommendable)
            self._grew()
        return bars

    def _grew(self) -> None:
        if (masks := self.masks()) is not None:
            masks.recount(self)


def _filters_of(wish: Wish) -> Filters:
    bounds = wish.min_price, wish.max_price, wish.min_stars
    return wish.category_ids, *bounds, wish.in_stock_only, wish.exclude


class KeptMasks:
    """The masks of one model; ``recommendable`` (n_columns,) is what may be ranked without filters."""

    def __init__(self, recommendable: NDArray[np.bool_]) -> None:
        self._recommendable = recommendable
        self._lock = threading.Lock()
        self._of_filters: LRUCache[Filters, Kept] = LRUCache(BYTES, getsizeof=_counted)
        self._of_mask: weakref.WeakValueDictionary[int, Kept] = weakref.WeakValueDictionary()

    def mask(self, wish: Wish, make: Callable[[], NDArray[np.bool_]], later: Later = ()) -> NDArray[np.bool_]:
        """The mask of a wish; made if it is not here. ``later``: what came later, a list that is never written to."""
        with self._lock:
            kept = self._of_filters.get(_filters_of(wish))
        if kept is None:
            kept = self.take(wish, Kept(make(), self._recommendable))
        if not kept.is_for(later):
            kept = self.take(wish, kept.extended(wish, later))
        return kept.allowed

    def knows(self, wish: Wish) -> bool:
        """Is the mask of this wish here, for all products but those that came later?"""
        return _filters_of(wish) in self._of_filters

    def take(self, wish: Wish, made: Kept) -> Kept:
        """Keep a mask, in the place of the one that was there; the least recent go if there is no room."""
        made.filters, made.masks = _filters_of(wish), weakref.ref(self)  # no circle: a model goes at once
        with self._lock:
            self._of_filters[made.filters] = self._of_mask[id(made.allowed)] = made
        return made

    def recount(self, kept: Kept) -> None:
        """Count what was made of a mask, if it is still here."""
        with self._lock:
            if self._of_filters.get(kept.filters) is kept:
                self._of_filters[kept.filters] = kept

    def of(self, allowed: NDArray[np.bool_]) -> Kept:
        """What was made of a mask; anew for one that is not kept here."""
        kept = self._of_mask.get(id(allowed))
        return kept if kept is not None and kept.allowed is allowed else Kept(allowed, self._recommendable)


def _counted(kept: Kept) -> int:
    """Bytes that a mask counts for: so many that there are ``MOST`` at most, and that a huge one stays alone."""
    return min(max(kept.size, BYTES // MOST), BYTES)
