"""The `taste` ranking: the products that many neighbors by taste have in common, not those that one of them praised.

sim(v) is the similarity of neighbor v to the asking user u (`recommender.neighbors.taste_index`, the 200 best). Over
the neighbors v that have product i, which u has not:

    support(i) = sum of sim(v) * c_vi                         c the profile's confidence, 1 for a rated product
    score(i)   = support(i) / raters_i^0.2
    stars(i)   = b_ui + sum of sim(v) * (r_vi - b_vi) / (sum of sim(v) + 3)      over the neighbors that rated i
    b_ui       = mu + b_u + b_i                               `recommender.neighbors.shop_statistics`

Order: score descending, then support descending, then column ascending. Products bought together predict the next
purchase better than stars do (Cremonesi et al. 2010), so stars are shown, and products are not ordered by them. Stars
are always defined: three ratings' worth of neighbors agree with the biases, also where no neighbor rated. They are
clipped to the scale. The division by a power of the raters takes away what popularity alone gave to a product.

Sums run in neighbor order in float64; score, support and stars are rounded to 9 decimals before anything is ordered,
so the answer is the same on every machine and thread count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.arrays import at_least_one, checked_numbers, run_blocks, thread_count
from recommender.errors import SettingError
from recommender.fallback import NO_CAP, SOURCES, Cap, first_under_cap
from recommender.neighbors import BLOCK_ROWS, TasteIndex, TasteStatistics, taste_statistics
from recommender.ranking._taste_kernels import Bars
from recommender.ranking.parameters import DAMPING, N_NEIGHBORS
from recommender.ranking.taste_votes import Lists, RankedByTaste, TasteVotes, empty_lists
from recommender.shop import HALF_STARS, Scale

SHALLOW, ROOM = 100, 4  # under a cap: up to SHALLOW products come from a list of ROOM times as many


def rank_taste_for_rows(
    votes: TasteVotes,
    rows: ArrayLike,
    neighbors: ArrayLike,
    similarities: ArrayLike,
    *,
    n: int,
    recommendable: NDArray[np.bool_] | None = None,
    n_threads: int | None = None,
) -> RankedByTaste:
    """Rank the products that the neighbors of each row have and the row has not, best first: (m, n), padded.

    rows: (m,). neighbors, similarities: (m, k), best first, as `TasteIndex.top_k` returns them; a -1 ends a list.
    recommendable: (n_columns,) mask applied before the cut, None for the votes' own. Products nobody near has are never
    filled in: no neighbors, no products. The answer is the same for any number of threads.
    Raises SettingError for a row or neighbor that does not exist, n < 1, a mask or lists of the wrong length.
    """
    lists = _checked_lists(votes, rows, neighbors, similarities)
    bars = votes.bars(recommendable)
    width = at_least_one("n", n)
    out = empty_lists(lists[0].size, width)

    def block(start: int, stop: int) -> None:
        part = slice(start, stop)
        votes.rank((lists[0][part], lists[1][part], lists[2][part]), bars, width, out.at(part))

    run_blocks(block, lists[0].size, block_rows=BLOCK_ROWS, n_threads=thread_count(n_threads))
    return out


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


class TasteRanker(ProfileRanker):
    """The ranker from profiles and ratings to ranked products and predicted stars, one block of rows at a time.

    profiles, times, statistics: as in `TasteIndex`; statistics None takes them from profiles and steps.
    steps, damping, scale: as in `TasteVotes`. recommendable: (n_products,) mask of products that may be ranked;
    None for all. n_neighbors: at most so many vote. Many rows need the memory of their answer only: the list of all
    neighbors is never held. Raises as `TasteIndex` and `TasteVotes` do.
    """

    source = SOURCES[0]

    def __init__(
        self,
        profiles: Any,
        steps: Any,
        *,
        times: NDArray[np.int64] | None = None,
        statistics: TasteStatistics | None = None,
        recommendable: NDArray[np.bool_] | None = None,
        n_neighbors: int = N_NEIGHBORS,
        damping: float = DAMPING,
        n_threads: int | None = None,
        scale: Scale = HALF_STARS,
    ) -> None:
        known = taste_statistics(profiles, steps, scale=scale) if statistics is None else statistics
        index = TasteIndex(profiles, times=times, statistics=known)
        votes = TasteVotes(index, steps, damping=damping, recommendable=recommendable, scale=scale)
        self._adopt(votes, n_neighbors, n_threads)

    @classmethod
    def of(cls, votes: TasteVotes, *, n_neighbors: int = N_NEIGHBORS, n_threads: int | None = None) -> Self:
        """Return the ranker on existing votes."""
        ranker = cls.__new__(cls)
        ranker._adopt(votes, n_neighbors, n_threads)
        return ranker

    def _adopt(self, votes: TasteVotes, n_neighbors: int, n_threads: int | None) -> None:
        self.index, self.votes = votes.index, votes
        self.n_neighbors, self.n_threads = at_least_one("n_neighbors", n_neighbors), thread_count(n_threads)

    @property
    def taste(self) -> TasteRanker:
        return self

    def beside(self, voters: TasteVotes, profile: Any) -> TasteRanker:
        assert profile is None, "taste ranks by the entries of the rows"
        return TasteRanker.of(voters)

    def profile_of_row(self, row: int) -> None:
        """Return nothing: neighbors vote, not the user's own products."""

    def profiles_of(self, profiles: Any, steps: Any) -> None:
        """Return nothing, as `profile_of_row`."""

    def profile_of(self, columns: Any, confidences: Any, steps: Any, times: Any) -> None:
        """Return nothing, as `profile_of_row`."""

    def bars(self, recommendable: NDArray[np.bool_] | None) -> Bars:
        return self.votes.bars(recommendable)

    def rank_lists(self, lists: Lists, bars: Bars, out: RankedByTaste) -> None:
        self.votes.rank(lists, bars, out.columns.shape[1], out)

    def rank_under(self, cap: Cap, lists: Lists, n: int, bars: Bars) -> RankedByTaste:
        if (found := self._first_pages(lists, n, bars, cap)) is not None:
            return found
        places, columns, scores, supports = self.votes.candidates(lists, bars)
        best = first_under_cap(columns, scores, supports, cap, n)
        stars, raters = self.votes.predict(lists, np.array([0, len(best)]), places[best])
        return RankedByTaste(columns[None, best], scores[None, best], supports[None, best], stars[None], raters[None])

    def _first_pages(self, lists: Lists, n: int, bars: Bars, cap: Cap) -> RankedByTaste | None:
        """Return a capped list from a longer, cheap one; None if that is too short or n is large."""
        if n > SHALLOW:
            return None
        some = self.rank_near(lists, n * ROOM, bars)
        known = (0, slice(int(np.count_nonzero(some.columns[0] >= 0))))
        best = first_under_cap(some.columns[known], some.score[known], some.support[known], cap, n)
        if len(best) < n and some.columns[0, -1] >= 0:
            return None
        return some.at((slice(1), best))

    def predict(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float64]:
        """Return predicted stars of the pairs (rows[j], columns[j]), float64 (len(rows),), ranked or not.

        Raises SettingError for rows or columns that do not exist or are not equally many.
        """
        wanted = self.index.checked_rows(rows)
        products = checked_numbers("column", columns, self.index.shape[1])
        if wanted.size != products.size:
            raise SettingError(f"{wanted.size} rows and {products.size} columns differ in number: pass equally many")
        pairs, inverse = np.unique(wanted * self.index.shape[1] + products, return_inverse=True)
        users, starts = np.unique(pairs // max(self.index.shape[1], 1), return_index=True)
        bounds = np.append(starts, pairs.size)  # (n_users_asked + 1,)
        places = self.index.places[pairs % max(self.index.shape[1], 1)].astype(np.int64)
        stars = np.empty(pairs.size, np.float64)

        def block(start: int, stop: int) -> None:
            part = slice(bounds[start], bounds[stop])
            lists = self.neighbors_of(users[start:stop])
            stars[part], _ = self.votes.predict(lists, bounds[start : stop + 1] - bounds[start], places[part])

        run_blocks(block, users.size, block_rows=BLOCK_ROWS, n_threads=self.n_threads)
        return stars[inverse]

    def neighbors_of(self, rows: NDArray[np.int64]) -> Lists:
        """Return existing rows (m,) and their neighbors, (m, k) each."""
        k = max(min(self.n_neighbors, self.index.shape[0] - 1), 1)
        indices, similarities = np.empty((rows.size, k), np.int32), np.empty((rows.size, k), np.float64)
        self.index.fill(rows, indices, similarities)
        return rows, indices, similarities


def _checked_lists(votes: TasteVotes, rows: ArrayLike, neighbors: ArrayLike, similarities: ArrayLike) -> Lists:
    """Return rows, neighbors and similarities for the kernel, which checks no bounds. Check them."""
    wanted = votes.index.checked_rows(rows)  # (m,)
    near = np.ascontiguousarray(neighbors, np.int32)  # (m, k)
    close = np.ascontiguousarray(similarities, np.float64)  # (m, k)
    if near.ndim != 2 or near.shape != close.shape or near.shape[0] != wanted.size:
        raise SettingError(
            f"neighbors {near.shape} and similarities {close.shape} must have one list per row ({wanted.size}): "
            "pass both as TasteIndex.top_k returned them"
        )
    outside = (near < -1) | (near >= votes.index.shape[0])
    if outside.any():
        raise SettingError(
            f"neighbor {near[outside][0]} does not exist: pass rows from 0 to {votes.index.shape[0] - 1}"
        )
    return wanted, near, close
