"""What rankers share that are not taste, but whose stars and neighbors are those of taste: `items` and `fusion`."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from recommender.ranking._item_kernels import ItemProfiles
from recommender.ranking.taste import ProfileRanker, TasteRanker
from recommender.ranking.taste_votes import Lists, RankedByTaste


class BesideTaste(ProfileRanker):
    """A ranker beside ``taste``, which finds the neighbors and the stars."""

    def __init__(self, taste: TasteRanker) -> None:
        self._taste, self.n_neighbors = taste, taste.n_neighbors

    @property
    def taste(self) -> TasteRanker:
        return self._taste

    @abstractmethod
    def shares(self, column: int, profile: ItemProfiles) -> NDArray[np.float64]:
        """Return what each product of a profile (m,) adds to the support of a column."""


def add_stars(taste: TasteRanker, lists: Lists, out: RankedByTaste) -> None:
    """Write the stars of the products in out (m, n), and the number of neighbors that have each."""
    there = out.columns >= 0
    if there.all():
        starts = np.arange(len(there) + 1) * there.shape[1]
        found = taste.votes.predict(lists, starts, taste.index.places[out.columns.ravel()].astype(np.int64))
        out.stars[:], out.n_raters[:] = (array.reshape(there.shape) for array in found)
        return
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(there, axis=1))])
    places = taste.index.places[out.columns[there]].astype(np.int64)
    out.stars[:], out.n_raters[:] = 0.0, 0
    out.stars[there], out.n_raters[there] = taste.votes.predict(lists, starts, places)
