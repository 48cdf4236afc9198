"""What rankers share that are not taste, but whose stars and neighbors are those of taste: `items` and `fusion`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.arrays import at_least_one, run_blocks, thread_count
from recommender.neighbors import BLOCK_ROWS
from recommender.ranking.taste import RankedByTaste, TasteRanker, empty_lists
from recommender.ranking.taste_votes import Lists


class BesideTaste(ABC):
    """A ranker beside ``taste``, which finds the neighbors and the stars."""

    def __init__(self, taste: TasteRanker) -> None:
        self.taste = taste

    @abstractmethod
    def bars(self, recommendable: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], ...]:
        """Return the factors of the scores under a mask; None: the ranker's own."""

    @abstractmethod
    def rank_lists(self, lists: Lists, bars: Any, out: RankedByTaste) -> None:
        """Write the best products of rows (m,), with stars by their neighbors (m, k), into out (m, n)."""

    @property
    def n_neighbors(self) -> int:
        """The number of neighbors by taste, from whom the stars come."""
        return self.taste.n_neighbors

    def near(self, row: int) -> Lists:
        """Return an existing row and its neighbors by taste, (1, k) each."""
        return self.taste.near(row)

    def rank(self, rows: ArrayLike, n: int) -> NDArray[np.int32]:
        """Return the best n columns of each row, int32 (len(rows), n), padded with -1, without the row's profile."""
        return self.rank_products(rows, n).columns

    def rank_products(
        self, rows: ArrayLike, n: int, *, progress: Callable[[int], object] | None = None
    ) -> RankedByTaste:
        """Return the best n products of each row, (len(rows), n), padded with -1 and 0.

        A block of rows at a time, on all threads.
        """
        taste = self.taste
        wanted, bars = taste.index.checked_rows(rows), self.bars(None)
        out = empty_lists(wanted.size, at_least_one("n", n))

        def block(start: int, stop: int) -> None:
            part = out.at(slice(start, stop))
            self.rank_lists(taste.neighbors_of(wanted[start:stop]), bars, part)

        n_threads = thread_count(taste.n_threads)
        run_blocks(block, wanted.size, block_rows=BLOCK_ROWS, n_threads=n_threads, progress=progress)
        return out

    def predict(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float64]:
        """Do `TasteRanker.predict`."""
        return self.taste.predict(rows, columns)


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
