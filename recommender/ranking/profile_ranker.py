"""What the rankers from profiles share, `taste`, `items` and `fusion`: many rows at a time, and the form of lists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.arrays import at_least_one, run_blocks
from recommender.fallback import NO_CAP, Cap
from recommender.neighbors import BLOCK_ROWS
from recommender.ranking.taste_votes import Lists, TasteVotes

if TYPE_CHECKING:
    from recommender.ranking.taste import TasteRanker


class RankedByTaste(NamedTuple):
    """Ranked columns of many rows, each (n_rows, n) padded with -1 and 0."""

    columns: NDArray[np.int32]
    score: NDArray[np.float64]
    support: NDArray[np.float64]
    stars: NDArray[np.float64]
    n_raters: NDArray[np.int32]  # neighbors that have the product

    def at(self, part: Any) -> RankedByTaste:
        """Return these parts of all arrays."""
        arrays: Any = [array[part] for array in self]
        return RankedByTaste(*arrays)


class ProfileRanker(ABC):
    """A ranker from profiles to ranked products. Its neighbors and its stars are those of ``taste``."""

    source: str  # of its products
    n_neighbors: int  # by taste, from whom the stars come

    @property
    @abstractmethod
    def taste(self) -> TasteRanker:
        """The ranker that finds the neighbors and the stars; of `taste` the ranker itself."""

    @abstractmethod
    def profile_of_row(self, row: int) -> Any:
        """Return the profile of a row, as it asks the item model; None if the ranker has none."""

    @abstractmethod
    def profile_of(
        self,
        columns: NDArray[np.int32],
        confidences: NDArray[np.float64],
        steps: NDArray[np.int8],
        times: NDArray[np.int64] | None,
    ) -> Any:
        """Do `profile_of_row` for a user who may have products that came later. These have no weights."""

    @abstractmethod
    def profiles_of(self, profiles: Any, steps: NDArray[np.int8]) -> Any:
        """Do `profile_of_row` for users on the same products; ``steps`` (nnz,): 0 where not rated."""

    @abstractmethod
    def beside(self, voters: TasteVotes, profile: Any) -> ProfileRanker:
        """Return the ranker of users who are the last rows of ``voters``, and whose neighbors are among all rows.

        ``profile``: of these users, as they ask.
        """

    @abstractmethod
    def bars(self, recommendable: NDArray[np.bool_] | None) -> Any:
        """Return the factors of the scores under a mask; None: the ranker's own, at no cost."""

    @abstractmethod
    def rank_lists(self, lists: Lists, bars: Any, out: RankedByTaste) -> None:
        """Write the best products of rows (m,), with stars by their neighbors (m, k), into out (m, n)."""

    @abstractmethod
    def rank_under(self, cap: Cap, lists: Lists, n: int, bars: Any) -> RankedByTaste:
        """Do `rank_near` under a cap."""

    def rank_near(self, lists: Lists, n: int, bars: Any, cap: Cap = NO_CAP) -> RankedByTaste:
        """Return the best n products of one row with these neighbors, (1, k) each, under `bars`: (1, n), padded.

        Under a cap, the largest number of products of one category, the list is not padded: (1, m).
        """
        if cap.most:
            return self.rank_under(cap, lists, n, bars)
        out = empty_lists(1, n)
        self.rank_lists(lists, bars, out)
        return out

    def near(self, row: int) -> Lists:
        """Return an existing row and its neighbors, (1, k) each."""
        return self.taste.neighbors_of(np.array([row], np.int64))

    def rank(self, rows: ArrayLike, n: int) -> NDArray[np.int32]:
        """Return the best n columns of each row, int32 (len(rows), n), padded with -1, without the row's profile."""
        return self.rank_products(rows, n).columns

    def rank_products(
        self, rows: ArrayLike, n: int, *, progress: Callable[[int], object] | None = None
    ) -> RankedByTaste:
        """Return the best n products of each row, (len(rows), n), padded with -1 and 0.

        A block of rows at a time, on all threads. progress: called with the number of rows done.
        """
        taste = self.taste
        wanted, bars = taste.index.checked_rows(rows), self.bars(None)
        out = empty_lists(wanted.size, at_least_one("n", n))

        def block(start: int, stop: int) -> None:
            self.rank_lists(taste.neighbors_of(wanted[start:stop]), bars, out.at(slice(start, stop)))

        run_blocks(block, wanted.size, block_rows=BLOCK_ROWS, n_threads=taste.n_threads, progress=progress)
        return out

    def predict(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float64]:
        """Do `TasteRanker.predict`."""
        return self.taste.predict(rows, columns)


def empty_lists(n_rows: int, n: int) -> RankedByTaste:
    """Return arrays (n_rows, n) that a ranker writes to."""
    shape = (n_rows, n)
    score, support, stars = (np.empty(shape, np.float64) for _ in range(3))
    return RankedByTaste(np.empty(shape, np.int32), score, support, stars, np.empty(shape, np.int32))
