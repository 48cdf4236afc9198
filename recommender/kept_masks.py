"""Which products the filters of recent requests leave in, kept with what every list under these filters needs.

A mask is a pass over the whole catalog, and some of what follows from it is another; the same few filters are asked for
again and again. A mask is known again by being the same array, so it must not be written to. The most recently used are
kept, within ``BYTES``, for one model: its catalog and its columns never change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.popular import PopularProducts
from recommender.taste_ranking import TasteRanker
from recommender.wishes import Wish

BYTES = 64_000_000
MOST = 256
AT_FIRST = 1_000  # popular products that are looked through, four times as many each time they are too few

Filters = tuple[Any, ...]


class Kept:
    """One mask over all places, and what was made of it."""

    def __init__(self, allowed: NDArray[np.bool_], recommendable: NDArray[np.bool_]) -> None:
        self.allowed = allowed
        self.recommendable = recommendable & allowed[: len(recommendable)]
        self._everything: PopularProducts | None = None
        self._popular, self._read = PopularProducts(np.empty(0, np.int32), np.empty(0)), 0
        self._bars: dict[str, Any] = {}

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


class KeptMasks:
    """The masks of one model; ``recommendable`` (n_columns,) is what may be ranked without filters."""

    def __init__(self, recommendable: NDArray[np.bool_]) -> None:
        self._recommendable = recommendable
        self._sizes: dict[int, int] = {}
        self._bytes, self._last = 0, -1
        self._of_filters: OrderedDict[Filters, Kept] = OrderedDict()
        self._of_mask: dict[int, Kept] = {}

    def mask(self, wish: Wish, make: Callable[[], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """The mask of a wish; made if it is not here."""
        self._settle()
        bounds = wish.min_price, wish.max_price, wish.min_stars
        filters = wish.category_ids, *bounds, wish.in_stock_only, wish.exclude
        kept = self._of_filters.get(filters)
        if kept is None:
            kept = self._of_filters[filters] = Kept(make(), self._recommendable)
            self._of_mask[id(kept.allowed)] = kept
        else:
            self._of_filters.move_to_end(filters)
        self._last = id(kept.allowed)
        return kept.allowed

    def _settle(self) -> None:
        """Count what was made of the mask asked for last, and let the least recent go if there is no room."""
        if (last := self._of_mask.get(self._last)) is not None:
            size = last.size
            self._bytes += size - self._sizes.get(self._last, 0)
            self._sizes[self._last] = size
        while len(self._of_filters) > 1 and (self._bytes > BYTES or len(self._of_filters) > MOST):
            _, oldest = self._of_filters.popitem(last=False)
            del self._of_mask[id(oldest.allowed)]
            self._bytes -= self._sizes.pop(id(oldest.allowed))

    def of(self, allowed: NDArray[np.bool_]) -> Kept:
        """What was made of a mask; anew for one that is not kept here, such as one with columns that came later."""
        kept = self._of_mask.get(id(allowed))
        return kept if kept is not None and kept.allowed is allowed else Kept(allowed, self._recommendable)
