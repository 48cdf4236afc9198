"""Exact top-k cosine neighbors of the rows of a sparse rating matrix; arrays in, arrays out.

    cosine(u, v) = sum over the columns both rated of r(u,i) * r(v,i)  /  (|r(u)| * |r(v)|)

User-based collaborative filtering after Resnick et al. 1994 (GroupLens) and Herlocker et al. 1999. The search goes row
by row, as Gustavson's sparse product does (ACM TOMS 4, 1978): each thread has one accumulator, and the similarity
matrix is never formed. The cost is the sum over columns of raters squared; the memory is that of the ratings.

Exact mode: every rating, or every doubled rating (half stars), is a whole number, and every squared norm is at most
2^53. Dot products are then whole numbers without rounding. Neighbors are ordered exactly by dot^2 / |r(v)|^2. Where
two float64 quotients are too close to trust, whole numbers of 192 bits are multiplied crosswise.
Float mode: all other ratings. Sums are float64 in column order, and neighbors are ordered by the cosine rounded to 12
decimals. Each row is first scaled by a power of two, so that no square overflows. That changes no cosine.
In both modes a tie goes to the smaller row. The bytes of the answer do not depend on threads, blocks or the rows asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.arrays import at_least_one, checked_numbers, run_blocks, thread_count
from recommender.neighbors import _cosine_kernels
from recommender.neighbors._cosine_forms import PackedRatings, Prepared, prepared, saved_cosines

BLOCK_ROWS = 256  # rows per call of compiled code: some milliseconds, then Ctrl-C and progress are served
SHORT_RUN_ROWS = 8_192

_SHORT_DOT = 2.0**15
_ALONE = np.zeros(1, np.int64)  # the slot of a single query
_NOBODY = np.empty(0, np.int32)  # no hidden rows

kernels: Any = _cosine_kernels  # compiled functions have no signature a type checker could use

Progress = Callable[[int], object]
Neighbors = tuple[NDArray[np.int32], NDArray[np.float64]]


def top_k_cosine(
    ratings: Any,
    k: int,
    *,
    rows: ArrayLike | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> Neighbors:
    """Find the k other rows of highest cosine > 0 for every row, or for `rows`, best first.

    ratings: scipy CSR (n_rows, n_columns) of any real dtype, >= 0; 0 or absent means unrated. They are never changed.
    Entries may be unsorted; duplicates are added up. n_threads: None for all processors.
    progress: called with the number of rows done.
    Returns indices int32 and similarities float64, both (n_rows or len(rows), k), padded with -1 and 0.0. A row
    without ratings has no neighbors.
    Raises RatingError, naming row and column, for NaN, infinite or negative ratings; SettingError for ratings that
    are not CSR, k or n_threads below 1, and rows that do not exist.
    """
    return CosineIndex(ratings).top_k(k, rows=rows, n_threads=n_threads, progress=progress)


class CosineIndex:
    """Ratings prepared once for many neighbor queries; threads may share them. Errors as `top_k_cosine`.

    most: the highest rating that may be compared with them later, in whole numbers; without it, their own highest.
    """

    def __init__(self, ratings: Any, *, most: int = 0) -> None:
        self._adopt(*prepared(ratings, most))

    def _adopt(self, arrays: Prepared, exact: bool) -> None:
        n_rows = arrays.indptr.size - 1
        self.shape, self.exact = (n_rows, n_rows), exact
        self._arrays: Any = arrays
        self._packed = not isinstance(arrays, _cosine_kernels.Plain)
        norms = arrays.norms[:n_rows]  # squared
        self._largest, self._total = norms.max(initial=0.0), norms.sum()
        self._spare: dict[type, list[NDArray[Any]]] = {np.uint16: [], np.uint32: [], np.float64: []}

    @property
    def packed(self) -> PackedRatings | None:
        """The ratings in the kernel's packed form; None unless they are small whole numbers."""
        return self._arrays if self._packed else None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays of the index by name, not copied, for a file and `from_arrays`. Do not change them.

        The names begin with `packed.`, `wide.`, `whole.` or `float.`, the form in which the ratings were prepared.
        """
        form = "whole" if self.exact else "float"
        if self._packed:
            form = "packed" if isinstance(self._arrays, _cosine_kernels.Packed) else "wide"
        return {f"{form}.{name}": array for name, array in self._arrays._asdict().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the index that has these `arrays`. They are used as they are, neither copied nor written to.

        Arrays may be memory-mapped, copy-on-write (`mode="c"`). Read-only ones would make every kernel compile again.
        Raises SettingError for arrays that are missing, foreign or inconsistent: types, lengths, starts, indices out
        of range, anything that would make a search read or write beyond an array. Contents are not proofread.
        """
        index = cls.__new__(cls)
        index._adopt(*saved_cosines(arrays))
        return index

    def top_k(
        self,
        k: int,
        *,
        rows: ArrayLike | None = None,
        n_threads: int | None = None,
        progress: Progress | None = None,
    ) -> Neighbors:
        """Do the same as `top_k_cosine` on the prepared ratings."""
        k = at_least_one("k", k)
        threads = thread_count(n_threads)
        wanted = np.arange(self.shape[0], dtype=np.int64) if rows is None else self.checked_rows(rows)
        indices = np.empty((wanted.size, k), np.int32)
        similarities = np.empty((wanted.size, k), np.float64)

        def block(start: int, stop: int) -> None:
            self._fill(wanted[start:stop], k, indices[start:stop], similarities[start:stop])

        # A short run ends before Ctrl-C matters, and a thread switch costs more than uneven blocks.
        few = wanted.size <= SHORT_RUN_ROWS
        block_rows = max(BLOCK_ROWS, -(-wanted.size // (4 * threads))) if few else BLOCK_ROWS
        run_blocks(block, wanted.size, block_rows=block_rows, n_threads=threads, progress=progress)
        return indices, similarities

    def neighbors(self, row: int, k: int) -> Neighbors:
        """Return the neighbors of one row, best first and without padding: int32 and float64, (<= k,)."""
        k = max(min(at_least_one("k", k), self.shape[0] - 1), 1)
        indices, similarities = np.empty((1, k), np.int32), np.empty((1, k), np.float64)
        known = type(row) is int and 0 <= row < self.shape[0]
        self._fill(np.array([row], np.int64) if known else self.checked_rows([row]), k, indices, similarities)
        found = k if indices[0, -1] >= 0 else int(np.count_nonzero(indices[0] >= 0))
        return indices[0, :found], similarities[0, :found]

    def similarities(self, row: int) -> NDArray[np.float64]:
        """Return the cosines of one row with all rows (n_rows,), as in `top_k`; with itself 1.0, or 0.0 if unrated."""
        at = int(self.checked_rows([row])[0])
        out = np.zeros(self.shape[0], np.float64)
        if self._packed:
            kernels.similarity_row_packed(at, self._arrays, np.zeros(self._arrays.norms.size, np.uint32), out)
        else:
            kernels.similarity_row_plain(at, self._arrays, out)
        return out

    def _fill(
        self, rows: NDArray[np.int64], k: int, indices: NDArray[np.int32], similarities: NDArray[np.float64]
    ) -> None:
        """Write the neighbors of rows (m,) into indices and similarities (m, k)."""
        k = max(min(k, self.shape[0] - 1), 1)  # there are no more: the kernels' lists stay small
        slots = np.arange(rows.size)
        if not self._packed:
            acc = self._room(np.float64)
            kernels.top_k_plain(self._arrays, rows, slots, k, self.exact, acc, indices, similarities)
            self._spare[np.float64].append(acc)
            return
        arrays = self._arrays
        itself = arrays.positions[rows]  # (m,)
        norms = arrays.norms[itself]
        queries = _cosine_kernels.CosineQueries(arrays.indptr, arrays.ratings, rows, itself, norms, _NOBODY)
        self.search(queries, k, indices, similarities)

    def search(self, queries: _cosine_kernels.CosineQueries, k: int, *out: NDArray[Any]) -> None:
        """Write the neighbors of the queries (m,) into indices and similarities (m, k), in the packed form.

        Each query gets the accumulator of the smallest type that holds its dot products: |dot| <= |u| * max |v|.
        """
        if len(queries.norms) == 1:  # the grouping below would cost as much as the search
            self._search(np.uint16 if self._is_short(queries.norms[0]) else np.uint32, queries, _ALONE, k, out)
            return
        short = self._is_short(queries.norms)  # (m,)
        for kind, chosen in ((np.uint16, np.flatnonzero(short)), (np.uint32, np.flatnonzero(~short))):
            if chosen.size:
                part = queries._replace(
                    rows=queries.rows[chosen], itself=queries.itself[chosen], norms=queries.norms[chosen]
                )
                self._search(kind, part, chosen, k, out)

    def _search(
        self, kind: type, queries: Any, slots: NDArray[np.int64], k: int, out: tuple[NDArray[Any], ...]
    ) -> None:
        acc = self._room(kind)
        kernels.top_k_packed(self._arrays, self._total, queries, slots, k, acc, *out)
        self._spare[kind].append(acc)  # not after an exception: the array may not be zero then, and is dropped

    def norms_of(self, rows: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the squared norms of rows, in the packed form."""
        norms: NDArray[np.float64] = self._arrays.norms[self._arrays.positions[rows]]
        return norms

    def _is_short(self, norms: Any) -> Any:
        return norms * self._largest < _SHORT_DOT**2

    def _room(self, kind: type) -> NDArray[Any]:
        try:
            return self._spare[kind].pop()  # a pool without a lock, as list.pop and append are atomic
        except IndexError:
            return np.zeros(self._arrays.norms.size, kind)

    def checked_rows(self, rows: ArrayLike) -> NDArray[np.int64]:
        """Return row numbers as int64 (m,). SettingError if one does not exist."""
        return checked_numbers("row", rows, self.shape[0])
