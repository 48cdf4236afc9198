"""The fusion of `taste` and `items`, which auto may choose: two lists of 200, merged by reciprocal ranks.

    score(i) = (1 - weight) / (constant + rank by taste) + weight / (constant + rank by items)

A list that does not have the product adds 0 (Cormack, Clarke and Buettcher 2009). Order: score descending, then column
ascending. The two lists are taken under the filters of a request, so ranks are those among the products that it leaves
in. A cap per category acts on the merged list. ``support`` is the score; stars and ``n_raters`` are those of taste.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import Cap, first_under_cap
from recommender.ranking import _item_kernels
from recommender.ranking._item_kernels import ItemProfiles
from recommender.ranking._taste_kernels import Bars
from recommender.ranking.beside_taste import BesideTaste, add_stars
from recommender.ranking.items import ItemRanker
from recommender.ranking.parameters import FUSION, FusionParameters
from recommender.ranking.taste import TasteRanker
from recommender.ranking.taste_votes import Lists, RankedByTaste, TasteVotes, empty_lists
from recommender.shop import Profiles

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
    out = empty_lists(len(near.columns), n)
    slots = _fuse_columns(near.columns, liked.columns, parameters, out, ties)
    for target, left, right in ((out.stars, near.stars, liked.stars), (out.n_raters, near.n_raters, liked.n_raters)):
        both: NDArray[Any] = np.concatenate([left, right, np.zeros((len(left), 1), left.dtype)], axis=1)
        target[:] = np.take_along_axis(both, slots, axis=1)  # slot -1 is the last: 0
    return out


def _fuse_columns(
    near: NDArray[np.int32],
    liked: NDArray[np.int32],
    parameters: FusionParameters,
    out: RankedByTaste,
    ties: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> NDArray[np.int64]:
    """Write columns and scores of `fuse` into out (m, n). Return the slots (m, n) in both lists, -1 where padded."""
    slots = np.empty(out.columns.shape, np.int64)
    first, second = ties or (near.astype(np.int64), liked.astype(np.int64))
    kernels.fuse_rows(near, first, liked, second, *parameters, slots, out.columns, out.score)
    out.support[:] = out.score
    return slots


class FusedRanker(BesideTaste):
    """The ranker by both; ``taste`` and ``items`` have their own parameters."""

    source = FUSION

    def __init__(self, taste: TasteRanker, items: ItemRanker, parameters: FusionParameters) -> None:
        super().__init__(taste)
        self.items, self.parameters = items, parameters

    def bars(self, recommendable: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], ...]:
        return *self.taste.bars(recommendable), *self.items.bars(recommendable)

    def profile_of_row(self, row: int) -> ItemProfiles:
        return self.items.profile_of_row(row)

    def profile_of(self, *given: Any) -> ItemProfiles:
        return self.items.profile_of(*given)

    def profiles_of(self, profiles: Profiles, steps: NDArray[np.int8]) -> ItemProfiles:
        return self.items.profiles_of(profiles, steps)

    def beside(self, voters: TasteVotes, profile: ItemProfiles) -> FusedRanker:
        items = self.items.beside(voters, profile)
        return FusedRanker(items.taste, items, self.parameters)

    def shares(self, column: int, profile: ItemProfiles) -> NDArray[np.float64]:
        return self.items.shares(column, profile)

    def rank_under(self, cap: Cap, lists: Lists, n: int, bars: tuple[NDArray[np.float64], ...]) -> RankedByTaste:
        every = empty_lists(1, 2 * DEPTH)
        self._rank(lists, bars, every)
        found = every.at((slice(None), _under(every, cap, n)))
        add_stars(self.taste, lists, found)
        return found

    def rank_lists(self, lists: Lists, bars: tuple[NDArray[np.float64], ...], out: RankedByTaste) -> None:
        self._rank(lists, bars, out)
        add_stars(self.taste, lists, out)

    def _rank(self, lists: Lists, bars: tuple[NDArray[np.float64], ...], out: RankedByTaste) -> None:
        """Do `rank_lists` without the stars: of both long lists nobody needs them."""
        near, liked = empty_lists(lists[0].size, DEPTH), empty_lists(lists[0].size, DEPTH)
        self.taste.votes.rank(lists, Bars(*bars[:2]), DEPTH, near, stars=False)
        self.items.item_votes.rank(lists[0], bars[2], liked)
        _fuse_columns(near.columns, liked.columns, self.parameters, out)

    def merged(
        self,
        near: RankedByTaste,
        liked: RankedByTaste,
        n: int,
        cap: Cap,
        ties: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> RankedByTaste:
        """Do `fuse` for one row, under a cap: not padded then."""
        if not cap.most:
            return fuse(near, liked, self.parameters, n, ties=ties)
        every = fuse(near, liked, self.parameters, 2 * DEPTH, ties=ties)
        return every.at((slice(None), _under(every, cap, n)))


def _under(every: RankedByTaste, cap: Cap, n: int) -> NDArray[np.int64]:
    """Return the places of the best n of a list (1, m) under a cap, in order."""
    size = int(np.count_nonzero(every.columns >= 0))
    in_order = np.arange(size, dtype=np.int64), np.zeros(size, np.int64)
    found = every.columns[0, :size], every.score[0, :size], every.support[0, :size]
    best: NDArray[np.int64] = first_under_cap(*found, cap, n, keys=in_order)
    return best
