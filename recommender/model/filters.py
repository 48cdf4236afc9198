"""Which products the filters of recent requests leave in, kept with what every list under these filters needs.

A mask is a pass over the whole catalog, and some of what follows from it is another; the same few filters are asked for
again and again. A mask is known again by being the same array, so it must not be written to. The most recently used are
kept, within ``BYTES``, for one model: its catalog and its columns never change. For products that came later, which are
only ever added, a mask is made longer when it is asked for next.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.fallback.popular import PopularProducts
from recommender.model.list_request import Wish, fits
from recommender.ranking.taste import TasteRanker
from recommender.shop.catalog import Product

BYTES = 64_000_000
MOST = 256
AT_FIRST = 1_000  # popular products that are looked through, four times as many each time they are too few

Filters = tuple[Any, ...]
Later = Sequence[tuple[bytes, Product | None]]  # None: not in the catalog


class Kept:
    """One mask over all places, and over the first ``n_later`` of what came later, and what was made of it."""

    def __init__(
        self, allowed: NDArray[np.bool_], recommendable: NDArray[np.bool_], later: Later = (), n_later: int = 0
    ) -> None:
        self.allowed, self._later, self._n_later = allowed, later, n_later
        self.recommendable = recommendable & allowed[: len(recommendable)]
        self._everything: PopularProducts | None = None
        self._popular, self._read = PopularProducts(np.empty(0, np.int32), np.empty(0)), 0
        self._bars: dict[str, Any] = {}

    def is_for(self, later: Later) -> bool:
        """Does the mask have a flag for each of these, and for no more?"""
        return self._n_later == len(later) and (not later or self._later is later)

    def extended(self, wish: Wish, later: Later) -> Kept:
        """With a flag for each of what came later; ``wish``: whose mask this is."""
        known = self._n_later if self._later is later else 0
        places = self.allowed[: len(self.allowed) - self._n_later + known]
        flags = [facts is not None and fits(wish, name, facts) for name, facts in later[known:]]
        kept = Kept(np.concatenate([places, np.array(flags, np.bool_)]), self.recommendable, later, len(later))
        kept._bars = self._bars  # they are of the matrix's columns
        return kept

    @cached_property
    def without(self) -> NDArray[np.bool_]:
        """What is not allowed."""
        return ~self.allowed

    @property
    def size(self) -> int:
        """Bytes, of what is made later too once it is."""
        bars: int = sum(array.nbytes for bars in self._bars.values() for array in bars)
        made = self.allowed.nbytes + self.recommendable.nbytes + (self.without.nbytes if "without" in vars(self) else 0)
        return int(made + bars + self._popular.columns.nbytes + self._popular.predicted.nbytes)

    def popular(self, everything: PopularProducts, n: int) -> PopularProducts:
        """The first n and more of the popular products that are allowed, or all there are."""
        if self._everything is not everything:
            self._everything, self._read = everything, 0
        while self._read == 0 or (len(self._popular.columns) < n and self._read < len(everything.columns)):
            self._read = max(AT_FIRST, 4 * self._read)
            first = PopularProducts(everything.columns[: self._read], everything.predicted[: self._read])
            self._popular = first.among(self.allowed)
        return self._popular

    def bars(self, ranking: str, ranker: TasteRanker) -> Any:
        """What the ranker's kernel asks of scores under the mask."""
        if ranking not in self._bars:
            self._bars[ranking] = ranker.votes.bars(self.recommendable)
        return self._bars[ranking]


def _filters_of(wish: Wish) -> Filters:
    bounds = wish.min_price, wish.max_price, wish.min_stars
    return wish.category_ids, *bounds, wish.in_stock_only, wish.exclude


class KeptMasks:
    """The masks of one model; ``recommendable`` (n_columns,) is what may be ranked without filters."""

    def __init__(self, recommendable: NDArray[np.bool_]) -> None:
        self._recommendable = recommendable
        self._sizes: dict[int, int] = {}
        self._bytes, self._last = 0, -1
        self._of_filters: OrderedDict[Filters, Kept] = OrderedDict()
        self._of_mask: dict[int, Kept] = {}

    def mask(self, wish: Wish, make: Callable[[], NDArray[np.bool_]], later: Later = ()) -> NDArray[np.bool_]:
        """The mask of a wish; made if it is not here. ``later``: what came later, always the same growing list."""
        self._settle()
        filters = _filters_of(wish)
        kept = self._of_filters.get(filters)
        if kept is None:
            kept = self._keep(filters, Kept(make(), self._recommendable))
        if not kept.is_for(later):
            kept = self._keep(filters, kept.extended(wish, later))
        self._of_filters.move_to_end(filters)
        self._last = id(kept.allowed)
        return kept.allowed

    def knows(self, wish: Wish) -> bool:
        """Is the mask of this wish here, for all products but those that came later?"""
        return _filters_of(wish) in self._of_filters

    def take(self, wish: Wish, made: Kept) -> None:
        """Keep a mask that was made elsewhere."""
        self._settle()
        self._keep(_filters_of(wish), made)

    def _keep(self, filters: Filters, kept: Kept) -> Kept:
        """Keep this one, in the place of what was there."""
        if (before := self._of_filters.get(filters)) is not None:
            self._forget(before)
        self._of_filters[filters] = self._of_mask[id(kept.allowed)] = kept
        return kept

    def _forget(self, kept: Kept) -> None:
        del self._of_mask[id(kept.allowed)]
        self._bytes -= self._sizes.pop(id(kept.allowed), 0)

    def _settle(self) -> None:
        """Count what was made of the mask asked for last, and let the least recent go if there is no room."""
        if (last := self._of_mask.get(self._last)) is not None:
            size = last.size
            self._bytes += size - self._sizes.get(self._last, 0)
            self._sizes[self._last] = size
        while len(self._of_filters) > 1 and (self._bytes > BYTES or len(self._of_filters) > MOST):
            _, oldest = self._of_filters.popitem(last=False)
            self._forget(oldest)

    def of(self, allowed: NDArray[np.bool_]) -> Kept:
        """What was made of a mask; anew for one that is not kept here."""
        kept = self._of_mask.get(id(allowed))
        return kept if kept is not None and kept.allowed is allowed else Kept(allowed, self._recommendable)
