"""Neighbors by taste: exact top-k of a weighted, one-sided similarity of user profiles; arrays in, arrays out.

    sim(u, v) = sum over the columns j both own of d_uj * c_uj * c_vj * w_j^2  /  (|u|^1.2 * |v|^0.8)

    c_uj  the profile's value: how sure it is that u likes j, 1 for a rated product
    w_j   ln(1 + n_users / raters_j): a product that few own says more
    d_uj  0.5^(number of u's strictly newer products / 3), for the asking user only; 1 without a time
    |u|   root of the sum over u's columns of (d c w)^2;  |v| of (c w)^2

The neighbors of u are the k others of highest sim > 0 that own a column u does not.

Every machine, thread count and block size gives the same bytes, since each float64 operation is rounded once, in this
order. d = 2^0, 2^(-1/3) or 2^(-2/3) times a power of two. Terms ((d * c_u) * w^2) * c_v are added in ascending column
order, and so are squares ((d * c) * (d * c)) * w^2. With s the sum of squares, |u|^1.2 = fifth_root(s * s * s), |v|^0.8
= fifth_root(s * s), sim = dot / (|u|^1.2 * |v|^0.8). Neighbors are ordered by sim rounded to 40 significant bits
(twelve digits: equal sums added in another order stay equal), then by the smaller row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.arrays import at_least_one, checked_csr, checked_numbers, run_blocks, thread_count
from recommender.errors import RatingError, SettingError
from recommender.neighbors import _taste_kernels
from recommender.neighbors._saved_taste import index_arrays, saved_index
from recommender.neighbors.shop_statistics import (
    TasteStatistics,
    fifth_root,
    item_weights,
    taste_statistics,
)

BLOCK_ROWS = 256  # rows per call of compiled code: some milliseconds, then Ctrl-C and progress are served
PART_ROWS = 32_768  # the sums of a part, 256 kB, stay in the second-level cache
MOST_PARTS = 16  # besides the small first part
GUESS_BELOW = 0.25  # share of the rows seen; above it a better guess gains nothing
LEAST_CONFIDENCE, MOST_CONFIDENCE = 1e-9, 1e9  # beyond these, cubes of squared norms could leave the range of float64

kernels: Any = _taste_kernels  # compiled functions have no signature a type checker could use

_NOBODY = np.empty(0, np.int32)  # no hidden rows

Progress = Callable[[int], object]
Neighbors = tuple[NDArray[np.int32], NDArray[np.float64]]


class TasteIndex:
    """Profiles prepared once for many neighbor queries; threads may share them.

    profiles: scipy CSR array (n_users, n_products) of confidences > 0 with ascending columns; never changed.
    times: (nnz,) int64 microseconds or `NO_TIME`, aligned with profiles.data; None for no decay.
    statistics: `TasteStatistics`, may be older than the profiles; None to compute them from the profiles.
    Raises SettingError for profiles that are not CSR, columns that do not ascend, times or statistics that do not
    fit; RatingError naming row and column of a value that is not from 1e-9 to 1e9.
    """

    def __init__(
        self, profiles: Any, *, times: NDArray[np.int64] | None = None, statistics: TasteStatistics | None = None
    ) -> None:
        values = checked_values(profiles)
        self.shape: tuple[int, int] = profiles.shape
        published = taste_statistics(profiles) if statistics is None else statistics
        self.statistics = published.fitted(*self.shape)
        self.columns, self.places = by_raters(self.statistics)  # place -> column, column -> place
        self.packed = self._prepared(profiles, values, _checked_times(times, profiles.nnz))
        self._spare: list[_taste_kernels.Workspace] = []

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays of the index by name, not copied, for a file and `from_arrays`. Do not change them."""
        return index_arrays(self.packed, self._facts, self.statistics, self.columns)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the index that has these `arrays`. They are used as they are, neither copied nor written to.

        Raises SettingError for arrays that are missing, foreign or inconsistent. Contents are not proofread.
        """
        index = cls.__new__(cls)
        index.packed, index._facts, index.statistics, index.columns = saved_index(arrays)
        index.shape = index.statistics.user_bias.size, index.columns.size
        index.places = _inverse(index.columns)
        index._spare = []
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how `pickle` makes the index again: copies of the parts of ``_facts`` would not lie side by side."""
        return type(self).from_arrays, (self.arrays(),)

    def _prepared(self, profiles: Any, values: NDArray[np.float64], times: NDArray[np.int64]) -> Any:
        n_rows, n_columns = self.shape
        indptr = profiles.indptr.astype(np.int64)
        places = self.places[profiles.indices]  # (nnz,)
        square = (item_weights(self.statistics) ** 2)[self.columns]  # (n_columns,) by place
        weights, asking, answering = kernels.weigh(indptr, places, values, times, square)
        rows, part_cuts, guesses = _positions(answering)
        real = rows >= 0
        positions = np.empty(n_rows, np.int32)
        positions[rows[real]] = np.flatnonzero(real)
        powers, shares = np.full(rows.size, np.inf), np.full(rows.size, np.inf)
        powers[real] = fifth_root(answering * answering)[rows[real]]
        shares[real] = answering[rows[real]] / max(answering.sum(), 1e-300)
        inverse = np.divide(1.0, powers, out=np.zeros_like(powers), where=powers > 0.0)
        cuts = np.zeros((n_columns, part_cuts.size), np.uint32)
        lists = np.empty(places.size, np.uint16 if np.diff(part_cuts).max() <= 2**16 else np.uint32)
        facts = np.empty((rows.size, 2), np.int64)  # side by side, since both are needed together
        facts[:, 0] = powers.view(np.int64)
        self._facts = facts
        list_values = kernels.pack_lists(indptr, places, values, rows, part_cuts, cuts, lists, facts[:, 1])
        return _taste_kernels.PackedProfiles(
            indptr=indptr, places=places, values=values, weights=weights,
            list_cuts=cuts, lists=lists, list_values=list_values, part_cuts=part_cuts,
            guesses=guesses,
            asking=fifth_root(asking * asking * asking),
            ceiling=_ceilings(np.sqrt(asking), fifth_root(np.sqrt(answering.max(initial=0.0))[None])),
            answering=facts.view(np.float64)[:, 0], inverse=inverse, block_least=_blocks(powers).min(axis=1),
            block_inverse=_blocks(inverse).max(axis=1), block_share=_blocks(shares).min(axis=1),
            names=facts[:, 1], positions=positions,
        )  # fmt: skip

    def top_k(
        self,
        k: int,
        *,
        rows: ArrayLike | None = None,
        n_threads: int | None = None,
        progress: Progress | None = None,
    ) -> Neighbors:
        """Find the k best neighbors of every row, or of `rows` (m,), best first.

        Returns indices int32 and similarities float64, both (n_users or m, k), padded with -1 and 0.0.
        n_threads: None for all processors. progress: called with the number of rows done.
        Raises SettingError for k or n_threads below 1 and rows that do not exist.
        """
        k = at_least_one("k", k)
        wanted = np.arange(self.shape[0], dtype=np.int64) if rows is None else self.checked_rows(rows)
        indices = np.empty((wanted.size, k), np.int32)
        similarities = np.empty((wanted.size, k), np.float64)

        def block(start: int, stop: int) -> None:
            self.fill(wanted[start:stop], indices[start:stop], similarities[start:stop])

        threads = thread_count(n_threads)
        run_blocks(block, wanted.size, block_rows=BLOCK_ROWS, n_threads=threads, progress=progress)
        return indices, similarities

    def neighbors(self, row: int, k: int) -> Neighbors:
        """Return the neighbors of one row, best first and without padding: int32 and float64, (<= k,)."""
        k = max(min(at_least_one("k", k), self.shape[0] - 1), 1)
        indices, similarities = np.empty((1, k), np.int32), np.empty((1, k), np.float64)
        self.fill(self.checked_rows([row]), indices, similarities)
        found = int(np.count_nonzero(indices[0] >= 0))
        return indices[0, :found], similarities[0, :found]

    def fill(self, rows: NDArray[np.int64], indices: NDArray[np.int32], similarities: NDArray[np.float64]) -> None:
        """Write the neighbors of checked rows (m,) into indices and similarities (m, k), in the calling thread."""
        k = max(min(indices.shape[1], self.shape[0] - 1), 1)  # there are no more: the kernel's memory stays small
        indices[:, k:], similarities[:, k:] = -1, 0.0
        self.search(self.queries, rows, indices[:, :k], similarities[:, :k])

    @property
    def queries(self) -> _taste_kernels.TasteQueries:
        """The rows of the index as queries."""
        p = self.packed
        return _taste_kernels.TasteQueries(p.indptr, p.places, p.weights, p.asking, p.ceiling, p.positions, _NOBODY)

    def search(
        self,
        queries: _taste_kernels.TasteQueries,
        rows: NDArray[np.int64],
        indices: NDArray[np.int32],
        similarities: NDArray[np.float64],
    ) -> None:
        """Write the neighbors of rows (m,) of the queries into indices and similarities (m, k)."""
        try:
            room = self._spare.pop()  # a pool without a lock, as list.pop and append are atomic
        except IndexError:
            room = self._new_room()
        kernels.top_k(self.packed, queries, rows, indices.shape[1], room, indices, similarities)
        self._spare.append(room)  # not after an exception: the arrays may not be zero then, and are dropped

    def ceilings(self, norms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return upper bounds of the scores of queries with these norms |u|, (m,)."""
        powers = self.packed.answering  # |v|^0.8, infinite where there is no row
        largest = powers.max(initial=0.0, where=np.isfinite(powers))
        return _ceilings(norms, np.sqrt(np.sqrt([largest])))

    def _new_room(self) -> _taste_kernels.Workspace:
        """Return new working memory: some 64 bytes a row, of which only the used part is ever touched."""
        size = self.packed.answering.size
        where, buckets, rows, keys, order, spare = (np.empty(size + 1, np.int64) for _ in range(6))
        return _taste_kernels.Workspace(
            acc=np.zeros(int(np.diff(self.packed.part_cuts).max(initial=0)), np.float64),
            owned=np.zeros(self.shape[1], np.uint8), hints=np.zeros(kernels.N_HINTS, np.uint8), where=where,
            dots=np.empty(size + 1, np.float64), scores=np.empty(size + 1, np.float64), buckets=buckets,
            rows=rows, keys=keys, order=order, spare=spare, histogram=np.zeros(kernels.N_BUCKETS, np.int64),
        )  # fmt: skip

    def checked_rows(self, rows: ArrayLike) -> NDArray[np.int64]:
        """Return row numbers as int64 (m,). SettingError if one does not exist."""
        return checked_numbers("row", rows, self.shape[0])


def by_raters(statistics: TasteStatistics) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Return the columns by falling number of raters, and the place of each column among them."""
    columns = np.argsort(-statistics.raters, kind="stable").astype(np.int32)
    return columns, _inverse(columns)


def _ceilings(norms: NDArray[np.float64], largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return upper bounds of scores by norms |u|, (m,), and the largest |v|^0.2, (1,).

    By Cauchy and Schwarz, dot / |v|^0.8 <= |u| * |v|^0.2.
    """
    return norms * largest * (1.0 + 1e-9)


def _inverse(columns: NDArray[np.int32]) -> NDArray[np.uint32]:
    """Return the place of each column."""
    places = np.empty(columns.size, np.uint32)
    places[columns] = np.arange(columns.size, dtype=np.uint32)
    return places


def _positions(norms: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """Return the row at each position, -1 for none; the bounds of the kernel's parts; the share at which it guesses."""
    by_norm = np.argsort(norms, kind="stable").astype(np.int32)
    rank = np.arange(by_norm.size)
    others = min(max(-(-by_norm.size // PART_ROWS), 1), MOST_PARTS)
    every = 16 if others == 1 else 64
    part = np.where(rank % every == every // 2, 0, 1 + rank // 2 % others)
    parts = [by_norm[part == number] for number in range(1 + others)]
    filled = [np.concatenate([rows, np.full(-rows.size % kernels.BLOCK, -1, np.int32)]) for rows in parts]
    shares = np.cumsum([rows.size for rows in parts]) / max(by_norm.size, 1)
    bounds = np.cumsum([0, *(rows.size for rows in filled)])
    return np.concatenate(filled), bounds, np.where(shares < GUESS_BELOW, shares, 0.0)


def _blocks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.reshape(-1, kernels.BLOCK)


def checked_values(profiles: Any) -> NDArray[np.float64]:
    """Return the confidences (nnz,) as float64, or (0,) if all are 1. Refuse values the kernel must not see."""
    data = checked_csr("profiles", profiles).data
    bad = ~((data >= LEAST_CONFIDENCE) & (data <= MOST_CONFIDENCE))  # NaN fails both
    descends = np.zeros(data.size, np.bool_)
    descends[1:] = profiles.indices[1:] <= profiles.indices[:-1]
    starts = profiles.indptr[:-1]
    descends[starts[starts < data.size]] = False
    for wrong, error, text in (
        (bad, RatingError, f"is not from {LEAST_CONFIDENCE} to {MOST_CONFIDENCE}: correct or remove it"),
        (descends, SettingError, "comes after a larger or equal column: call sum_duplicates() on the profiles"),
    ):
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            row = int(np.searchsorted(profiles.indptr, at, side="right")) - 1
            raise error(f"profile value {data[at]} at row {row}, column {profiles.indices[at]} {text}")
    return np.empty(0, np.float64) if (data == 1).all() else data.astype(np.float64)


def _checked_times(times: NDArray[np.int64] | None, nnz: int) -> NDArray[np.int64]:
    if times is None:
        return np.empty(0, np.int64)
    moments = np.asarray(times)
    if moments.shape != (nnz,) or moments.dtype.kind not in "iu":
        raise SettingError(
            f"times are {moments.dtype} of shape {moments.shape}: pass microseconds, one for each of the {nnz} entries"
        )
    return np.ascontiguousarray(moments, np.int64)
