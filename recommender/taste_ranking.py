"""The `taste` ranking: what the many neighbors by taste have in common, not what one of them praised.

With sim(v) the similarity of neighbor v to the asking user u (`recommender.taste_index`, the 200 best), over the
neighbors v that have product i, which u has not:

    support(i) = sum of sim(v) * c_vi                         c the profile's confidence, 1 for a rated product
    score(i)   = support(i) / raters_i^0.2
    stars(i)   = b_ui + sum of sim(v) * (r_vi - b_vi) / (sum of sim(v) + 3)      over the neighbors that rated i
    b_ui       = mu + b_u + b_i                               `recommender.taste_ranking_statistics`

Order: score descending, then support descending, then column ascending. Which products are bought together says more
of what will be bought than the stars do (Cremonesi et al. 2010), so stars are shown, not ordered by. They are always
defined: where no neighbor rated, three ratings' worth of neighbors say what the biases say. They are clipped to the
scale. Dividing by a power of the raters takes from the popular what popularity alone gave them.

Sums run in neighbor order in float64; score, support and stars are rounded to 9 decimals before anything is ordered,
so the answer is the same on every machine and thread count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender import _taste_ranking_kernels
from recommender._row_blocks import at_least_one, run_blocks, thread_count
from recommender.errors import SettingError
from recommender.rating_matrix import STARS_PER_UNIT
from recommender.taste_index import BLOCK_ROWS, TasteIndex, checked_numbers
from recommender.taste_ranking_statistics import (
    HIGHEST_STARS,
    LOWEST_STARS,
    TasteStatistics,
    checked_csr,
    damping_divisors,
    taste_statistics,
)

N_NEIGHBORS = 200
DAMPING = 0.2

kernels: Any = _taste_ranking_kernels  # compiled functions have no signature a type checker could use
_ALL_RECOMMENDABLE = np.empty(0, np.bool_)
Lists = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]


class RankedByTaste(NamedTuple):
    """Ranked columns of one row, each (n,), or of many rows, each (n_rows, n) padded with -1 and 0."""

    columns: NDArray[np.int32]
    score: NDArray[np.float64]
    support: NDArray[np.float64]
    stars: NDArray[np.float64]
    n_raters: NDArray[np.int32]  # neighbors that have the product


class TasteVotes:
    """Ratings and statistics prepared once for many rankings on an index; may be shared between threads.

    half_stars: CSR int8 of the index's shape with ascending columns, stars = 0.5 x the value; every rated product must
    be in the user's profile. damping: the power of raters_i in the score.
    Raises SettingError for ratings that do not fit the profiles and a damping that is not a number from 0 to 4.
    """

    def __init__(self, index: TasteIndex, half_stars: Any, *, damping: float = DAMPING) -> None:
        if not 0.0 <= damping <= 4.0:
            raise SettingError(f"damping={damping!r} cannot be used: pass a power from 0 to 4, such as {DAMPING}")
        self.index, known = index, index.statistics
        padded = -index.shape[1] % kernels.BLOCK
        divisor = np.pad(damping_divisors(known, float(damping))[index.columns], (0, padded), constant_values=1.0)
        inverse = 1.0 / divisor
        self.arrays = _taste_ranking_kernels.Votes(
            half_stars=_aligned(index, half_stars),
            base=known.mu + known.user_bias,
            item_bias=np.pad(known.item_bias[index.columns], (0, padded)),
            divisor=divisor,
            inverse=inverse,
            block_inverse=inverse.reshape(-1, kernels.BLOCK).max(axis=1),
            columns=index.columns,
        )
        self._spare: list[_taste_ranking_kernels.Sums] = []

    def rank(self, lists: Lists, mask: NDArray[np.bool_], n: int, out: RankedByTaste | tuple[NDArray[Any], ...]) -> int:
        """The best n products of checked rows (m,) with neighbors and similarities (m, k), into out (m, n)."""
        found: int = self._run(kernels.rank_rows, lists, mask, STARS_PER_UNIT, LOWEST_STARS, HIGHEST_STARS, n, *out)
        return found

    def predict(
        self, lists: Lists, starts: NDArray[np.int64], places: NDArray[np.int64], out: NDArray[np.float64]
    ) -> None:
        """Stars of the distinct places[starts[i]:starts[i + 1]] of the i-th row, into out (len(places),)."""
        self._run(kernels.predict_rows, lists, STARS_PER_UNIT, LOWEST_STARS, HIGHEST_STARS, starts, places, out)

    def _run(self, kernel: Any, lists: Lists, *rest: Any) -> Any:
        try:
            sums = self._spare.pop()  # list.pop and append are atomic: a pool without a lock
        except IndexError:
            size = self.arrays.divisor.size
            hints = np.zeros(kernels.N_HINTS, np.uint8)
            sums = _taste_ranking_kernels.Sums(np.zeros(size, np.float64), np.zeros(size, np.int32), hints)
        result = kernel(*lists, self.index.arrays, self.arrays, sums, *rest)
        self._spare.append(sums)  # after an exception they may not be zero, and are dropped
        return result


def rank_taste(
    votes: TasteVotes,
    row: int,
    neighbors: ArrayLike,
    similarities: ArrayLike,
    *,
    n: int | None,
    recommendable: NDArray[np.bool_] | None = None,
) -> RankedByTaste:
    """Rank the products that the neighbors of one row have and the row has not, best first.

    neighbors, similarities: (k,), best first, as `TasteIndex.neighbors` returns them; a -1 ends the list.
    n: at most so many products; None for all. recommendable: (n_columns,) mask applied before the cut. Products nobody
    near has are never filled in: no neighbors, no products.
    Raises SettingError for a row or neighbor that does not exist, n < 1, a mask or lists of the wrong length.
    """
    lists = _checked_lists(votes, [row], np.atleast_2d(neighbors), np.atleast_2d(similarities))
    mask = checked_mask(votes, recommendable)
    width = _entries(votes, lists[1]) if n is None else min(at_least_one("n", n), votes.index.shape[1])
    out = _empty(1, width)
    found = votes.rank(lists, mask, width, out)
    columns, score, support, stars, n_raters = (array[0, :found] for array in out)
    return RankedByTaste(columns, score, support, stars, n_raters)  # type: ignore[arg-type]  # mypy joins the dtypes


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
    """`rank_taste` for many rows: rows (m,), neighbors and similarities (m, k), results (m, n) padded.

    The same answer as one row at a time, for any number of threads. Same errors.
    """
    lists = _checked_lists(votes, rows, neighbors, similarities)
    mask = checked_mask(votes, recommendable)
    width = at_least_one("n", n)
    out = _empty(lists[0].size, width)

    def block(start: int, stop: int) -> None:
        part = slice(start, stop)
        votes.rank((lists[0][part], lists[1][part], lists[2][part]), mask, width, tuple(array[part] for array in out))

    run_blocks(block, lists[0].size, block_rows=BLOCK_ROWS, n_threads=thread_count(n_threads))
    return out


class TasteRanker:
    """Profiles and ratings in, ranked products and predicted stars out: neighbors and votes of a block at a time.

    profiles, times, statistics: as `TasteIndex`; statistics None takes them from profiles and half_stars. half_stars
    and damping: as `TasteVotes`. recommendable: (n_products,) mask of what may be ranked; None for all. n_neighbors: at
    most so many vote. Memory for many rows is that of their answer: no list of all neighbors is ever held.
    Raises as `TasteIndex` and `TasteVotes` do.
    """

    name = "taste"

    def __init__(
        self,
        profiles: Any,
        half_stars: Any,
        *,
        times: NDArray[np.int64] | None = None,
        statistics: TasteStatistics | None = None,
        recommendable: NDArray[np.bool_] | None = None,
        n_neighbors: int = N_NEIGHBORS,
        damping: float = DAMPING,
        n_threads: int | None = None,
    ) -> None:
        known = taste_statistics(profiles, half_stars) if statistics is None else statistics
        self.index = TasteIndex(profiles, times=times, statistics=known)
        self.votes = TasteVotes(self.index, half_stars, damping=damping)
        self.n_neighbors, self.n_threads = at_least_one("n_neighbors", n_neighbors), thread_count(n_threads)
        self._mask = checked_mask(self.votes, recommendable)

    def rank(self, rows: ArrayLike, n: int) -> NDArray[np.int32]:
        """The best n columns of each row, int32 (len(rows), n), padded with -1; never one in the row's profile."""
        return self.rank_products(rows, n).columns

    def rank_products(
        self, rows: ArrayLike, n: int, *, progress: Callable[[int], object] | None = None
    ) -> RankedByTaste:
        """`rank_taste_for_rows` on the rows' own neighbors, evidence included. progress: called with the rows done."""
        wanted, width = self.index.checked_rows(rows), at_least_one("n", n)
        out = _empty(wanted.size, width)

        def block(start: int, stop: int) -> None:
            part = tuple(array[start:stop] for array in out)
            self.votes.rank(self._neighbors(wanted[start:stop]), self._mask, width, part)

        run_blocks(block, wanted.size, block_rows=BLOCK_ROWS, n_threads=self.n_threads, progress=progress)
        return out

    def predict(self, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.float64]:
        """Predicted stars of the pairs (rows[j], columns[j]), float64 (len(rows),), whether ranked or not.

        Raises SettingError for rows or columns that do not exist or are not equally many.
        """
        wanted = self.index.checked_rows(rows)
        products = checked_numbers("column", columns, self.index.shape[1])
        if wanted.size != products.size:
            raise SettingError(f"{wanted.size} rows and {products.size} columns are no pairs: pass as many of both")
        pairs, inverse = np.unique(wanted * self.index.shape[1] + products, return_inverse=True)
        users, starts = np.unique(pairs // max(self.index.shape[1], 1), return_index=True)
        bounds = np.append(starts, pairs.size)  # (n_users_asked + 1,)
        places = self.index.places[pairs % max(self.index.shape[1], 1)].astype(np.int64)
        stars = np.empty(pairs.size, np.float64)

        def block(start: int, stop: int) -> None:
            part = slice(bounds[start], bounds[stop])
            lists = self._neighbors(users[start:stop])
            self.votes.predict(lists, bounds[start : stop + 1] - bounds[start], places[part], stars[part])

        run_blocks(block, users.size, block_rows=BLOCK_ROWS, n_threads=self.n_threads)
        return stars[inverse]

    def _neighbors(self, rows: NDArray[np.int64]) -> Lists:
        k = max(min(self.n_neighbors, self.index.shape[0] - 1), 1)
        indices, similarities = np.empty((rows.size, k), np.int32), np.empty((rows.size, k), np.float64)
        self.index.fill(rows, indices, similarities)
        return rows, indices, similarities


def checked_mask(votes: TasteVotes, recommendable: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """The mask for the kernel, empty when all may be recommended; SettingError for one of the wrong length."""
    if recommendable is None:
        return _ALL_RECOMMENDABLE
    mask = np.array(recommendable, np.bool_)
    if mask.shape != (votes.index.shape[1],):
        raise SettingError(f"recommendable has shape {mask.shape}: pass one flag per column, ({votes.index.shape[1]},)")
    return mask


def _aligned(index: TasteIndex, half_stars: Any) -> NDArray[np.int8]:
    """The ratings at the entries of the profiles (nnz,), 0 where there is none."""
    if checked_csr("half_stars", half_stars).shape != index.shape:
        raise SettingError(f"half_stars {half_stars.shape} and profiles {index.shape} must have one shape")
    aligned, missing = kernels.align_stars(
        index.arrays.indptr, index.columns[index.arrays.places], half_stars.indptr.astype(np.int64),
        half_stars.indices.astype(np.int32), half_stars.data.astype(np.int8),
    )  # fmt: skip
    if missing:
        raise SettingError(f"{missing} ratings are of products not in the user's profile: give them a confidence")
    out: NDArray[np.int8] = aligned
    return out


def _empty(n_rows: int, n: int) -> RankedByTaste:
    shape = (n_rows, n)
    score, support, stars = (np.empty(shape, np.float64) for _ in range(3))
    return RankedByTaste(np.empty(shape, np.int32), score, support, stars, np.empty(shape, np.int32))


def _entries(votes: TasteVotes, near: NDArray[np.int32]) -> int:
    """How many products the neighbors have together: no list can be longer."""
    real, indptr = near[near >= 0], votes.index.arrays.indptr
    return min(int((indptr[real + 1] - indptr[real]).sum()), votes.index.shape[1])


def _checked_lists(votes: TasteVotes, rows: ArrayLike, neighbors: ArrayLike, similarities: ArrayLike) -> Lists:
    """Rows, neighbors and similarities for the kernel, which checks no bounds."""
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
