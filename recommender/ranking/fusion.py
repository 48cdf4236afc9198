"""The fusion of `taste` and `items`, which auto may choose: two lists of 200, merged by reciprocal ranks.

    score(i) = (1 - weight) / (constant + rank by taste) + weight / (constant + rank by items)

A list that does not have the product adds 0 (Cormack, Clarke and Buettcher 2009). Order: score descending, then column
ascending. The two lists are taken under the filters of a request, so ranks are those among the products that it leaves
in. A cap per category acts on the merged list. ``support`` is the score; stars and ``n_raters`` are those of taste.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.fallback import NO_CAP, Cap, first_under_cap
from recommender.ranking import _item_kernels
from recommender.ranking._item_kernels import ItemProfiles
from recommender.ranking._taste_kernels import Bars
from recommender.ranking.items import ItemRanker, ranked_in_blocks
from recommender.ranking.parameters import FUSION, FusionParameters
from recommender.ranking.taste import RankedByTaste, TasteRanker, empty_lists
from recommender.ranking.taste_votes import Lists

DEPTH = 200

kernels: Any = _item_kernels  # compiled functions have no signature a type checker could use


def fuse(
    near: RankedByTaste,
    liked: RankedByTaste,
    parameters: FusionParameters,
    n: int,
    *,
    ties: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> RankedByTaste:
    """Return the best n of two lists of each row, by taste (m, a) and by items (m, b): (m, n), padded.

    ``ties``: two arrays of their shapes that are compared instead of the columns.
    """
    slots, scores = np.empty((len(near.columns), n), np.int64), np.empty((len(near.columns), n))
    first, second = ties or (near.columns.astype(np.int64), liked.columns.astype(np.int64))
    kernels.fuse_rows(near.columns, first, liked.columns, second, *parameters, slots, scores)

    def of(left: NDArray[Any], right: NDArray[Any], nothing: int) -> NDArray[Any]:
        padding = np.full((len(left), 1), nothing, left.dtype)  # slot -1 is the last
        every = np.concatenate([left, right, padding], axis=1)
        return np.take_along_axis(every, np.where(slots < 0, every.shape[1] - 1, slots), axis=1)

    columns, stars = of(near.columns, liked.columns, -1), of(near.stars, liked.stars, 0)
    return RankedByTaste(columns, scores, scores, stars, of(near.n_raters, liked.n_raters, 0))


class FusedRanker:
    """The ranker by both; ``taste`` and ``items`` have their own parameters."""

    source = FUSION

    def __init__(self, taste: TasteRanker, items: ItemRanker, parameters: FusionParameters) -> None:
        self.taste, self.items, self.parameters = taste, items, parameters

    @property
    def n_neighbors(self) -> int:
        """The number of neighbors by taste."""
        return self.taste.n_neighbors

    def near(self, row: int) -> Lists:
        """Return an existing row and its neighbors by taste, (1, k) each."""
        return self.taste.near(row)

    def bars(self, recommendable: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], ...]:
        """Return the factors of both rankings' scores under a mask; None: the rankers' own."""
        return *self.taste.bars(recommendable), *self.items.bars(recommendable)

    def profile_of_row(self, row: int) -> ItemProfiles:
        """Return the profile of a row, as it asks the item model."""
        return self.items.profile_of_row(row)

    def profile_of(
        self,
        columns: NDArray[np.int32],
        confidences: NDArray[np.float64],
        half_stars: NDArray[np.int8],
        times: NDArray[np.int64] | None,
    ) -> ItemProfiles:
        """Do `ItemRanker.profile_of`."""
        return self.items.profile_of(columns, confidences, half_stars, times)

    def shares(self, column: int, profile: ItemProfiles) -> NDArray[np.float64]:
        """Do `ItemRanker.shares`."""
        return self.items.shares(column, profile)

    def rank_near(
        self, lists: Lists, n: int, bars: tuple[NDArray[np.float64], ...], cap: Cap = NO_CAP
    ) -> RankedByTaste:
        """Return the best n products of one row with these neighbors, (1, k) each: (1, n), padded.

        Under a cap the list is not padded: (1, m).
        """
        near, liked = self._both(lists, bars)
        return self.merged(near, liked, n, cap)

    def merged(
        self,
        near: RankedByTaste,
        liked: RankedByTaste,
        n: int,
        cap: Cap = NO_CAP,
        ties: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    ) -> RankedByTaste:
        """Do `fuse` for one row, under a cap: not padded then."""
        if not cap.most:
            return fuse(near, liked, self.parameters, n, ties=ties)
        every = fuse(near, liked, self.parameters, 2 * DEPTH, ties=ties)
        size = np.count_nonzero(every.columns >= 0)
        in_order = np.arange(size, dtype=np.int64), np.zeros(size, np.int64)
        found = every.columns[0, :size], every.score[0, :size], every.support[0, :size]
        best = first_under_cap(*found, cap, n, keys=in_order)
        return every.at((slice(None), best))

    def rank_lists(self, lists: Lists, bars: tuple[NDArray[np.float64], ...], out: RankedByTaste) -> None:
        """Write the best products of rows (m,), with these neighbors (m, k), into out (m, n)."""
        near, liked = self._both(lists, bars)
        found = fuse(near, liked, self.parameters, out.columns.shape[1])
        pairs: Any = zip(out, found, strict=True)
        for target, array in pairs:
            target[:] = array

    def _both(self, lists: Lists, bars: tuple[NDArray[np.float64], ...]) -> tuple[RankedByTaste, RankedByTaste]:
        near, liked = empty_lists(lists[0].size, DEPTH), empty_lists(lists[0].size, DEPTH)
        self.taste.rank_lists(lists, Bars(*bars[:2]), near)
        self.items.rank_lists(lists, bars[2:], liked)
        return near, liked

    def rank(self, rows: ArrayLike, n: int) -> NDArray[np.int32]:
        """Return the best n columns of each row, int32 (len(rows), n), padded with -1, without the row's profile."""
        return self.rank_products(rows, n).columns

    def rank_products(
        self, rows: ArrayLike, n: int, *, progress: Callable[[int], object] | None = None
    ) -> RankedByTaste:
        """Return the best n products of each row, (len(rows), n), padded with -1 and 0."""
        return ranked_in_blocks(self, rows, n, progress)

    def predict(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float64]:
        """Do `TasteRanker.predict`."""
        return self.taste.predict(rows, columns)
