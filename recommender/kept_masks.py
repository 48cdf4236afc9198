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
_PER_PLACE, _PER_COLUMN = 2, 29  # bytes: mask and its opposite; mask, popular products, two rankers' bars

Filters = tuple[Any, ...]


class Kept:
    """One mask over all places, and what was made of it."""

    def __init__(self, allowed: NDArray[np.bool_], recommendable: NDArray[np.bool_]) -> None:
        self.allowed = allowed
        self.recommendable = recommendable & allowed[: len(recommendable)]
        self._popular: tuple[PopularProducts, PopularProducts] | None = None
        self._bars: dict[str, Any] = {}

    @cached_property
    def without(self) -> NDArray[np.bool_]:
        """What is not allowed."""
        return ~self.allowed

    def popular(self, everything: PopularProducts) -> PopularProducts:
        """Those of the popular products that are allowed."""
        if self._popular is None or self._popular[0] is not everything:
            self._popular = everything, everything.among(self.allowed)
        return self._popular[1]

    def bars(self, ranking: str, ranker: TasteRanker) -> Any:
        """What the ranker's kernel asks of scores under the mask."""
        if ranking not in self._bars:
            self._bars[ranking] = ranker.votes.bars(self.recommendable)
        return self._bars[ranking]


class KeptMasks:
    """The masks of one model; ``recommendable`` (n_columns,) is what may be ranked without filters."""

    def __init__(self, recommendable: NDArray[np.bool_], n_places: int) -> None:
        self._recommendable = recommendable
        self._most = min(max(BYTES // max(_PER_PLACE * n_places + _PER_COLUMN * len(recommendable), 1), 1), MOST)
        self._of_filters: OrderedDict[Filters, Kept] = OrderedDict()
        self._of_mask: dict[int, Kept] = {}

    def mask(self, wish: Wish, make: Callable[[], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """The mask of a wish; made if it is not here."""
        bounds = wish.min_price, wish.max_price, wish.min_stars
        filters = wish.category_ids, *bounds, wish.in_stock_only, wish.exclude
        kept = self._of_filters.get(filters)
        if kept is None:
            kept = self._of_filters[filters] = Kept(make(), self._recommendable)
            self._of_mask[id(kept.allowed)] = kept
            if len(self._of_filters) > self._most:
                _, oldest = self._of_filters.popitem(last=False)
                del self._of_mask[id(oldest.allowed)]
        else:
            self._of_filters.move_to_end(filters)
        return kept.allowed

    def of(self, allowed: NDArray[np.bool_]) -> Kept:
        """What was made of a mask; anew for one that is not kept here, such as one with columns that came later."""
        kept = self._of_mask.get(id(allowed))
        return kept if kept is not None and kept.allowed is allowed else Kept(allowed, self._recommendable)
