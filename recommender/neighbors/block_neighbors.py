"""Neighbors found block by block, where the rows do not fit one index: the same as those of an index of all rows.

    nearest = NearestByCosine(own, first_row, k, most=scale.most)
    for block, first in ...:
        nearest.meet(CosineIndex(block, most=scale.most), first)
    nearest.rows, nearest.similarities

A row is whole in its block, so each dot product is summed in one place and one order, and its float is that of an index
of all rows. The best of two blocks are merged by the order of that index: exactly, by dot^2 / |r(v)|^2 and then by row.
Blocks may come in any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import at_least_one
from recommender.errors import SettingError
from recommender.neighbors import _cosine_kernels
from recommender.neighbors.cosine_index import CosineIndex, canonical_ratings
from recommender.neighbors.entries import entry_type

kernels: Any = _cosine_kernels  # compiled functions have no signature a type checker could use

_NOBODY = np.empty(0, np.int32)  # no hidden rows


class NearestByCosine:
    """The k nearest of rows ``first``, ``first`` + 1, ... among all blocks met so far.

    ratings: CSR (m, n_columns) of whole numbers up to ``most``, as in `CosineIndex`.
    """

    def __init__(self, ratings: Any, first: int, k: int, *, most: int) -> None:
        csr = canonical_ratings(ratings)
        self.first, self.k = first, at_least_one("k", k)
        norms = kernels.squared_norms(csr.indptr, csr.data)  # (m,)
        entries = np.empty(csr.nnz, entry_type(most))
        kernels.pack_rows(csr.indices, csr.data.astype(np.uint8), entries)
        outside, rows = np.full(norms.size, -1, np.int32), np.arange(norms.size)
        self._queries = _cosine_kernels.CosineQueries(csr.indptr, entries, rows, outside, norms, _NOBODY)
        self._best = self._empty()

    def _empty(self) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        shape = (self._queries.norms.size, self.k)
        return np.full(shape, -1, np.int32), np.zeros(shape), np.ones(shape)

    def meet(self, index: CosineIndex, first: int) -> None:
        """Compare the rows with those of an index, which are ``first``, ``first`` + 1, ... of the whole.

        SettingError if ratings are too large or too many for the packed form.
        """
        packed = index.packed
        if packed is None or packed.ratings.dtype != self._queries.ratings.dtype:
            raise SettingError("a user has too many ratings for blocks: the squares of all must sum to less than 2^31")
        own = np.arange(self.first - first, self.first - first + self._queries.norms.size)
        here = (own >= 0) & (own < index.shape[0])
        itself = np.full(own.size, -1, np.int32)
        itself[here] = packed.positions[own[here]]
        rows, dots, norms = self._empty()
        index.search(self._queries._replace(itself=itself), self.k, rows, dots)
        found = rows >= 0
        norms[found] = index.norms_of(rows[found])
        # a similarity has an error below 2^-51, and a dot product is a whole number below 2^31
        dots[found] = np.rint(
            dots[found] * np.sqrt(np.broadcast_to(self._queries.norms[:, None], rows.shape)[found] * norms[found])
        )
        rows[found] += first
        best = self._empty()
        kernels.merge_lists(self._queries.norms, *self._best, rows, dots, norms, best)
        self._best = best

    @property
    def rows(self) -> NDArray[np.int32]:
        """The nearest rows (m, k), best first, padded with -1."""
        return self._best[0]

    @property
    def similarities(self) -> NDArray[np.float64]:
        """The cosines of `rows` (m, k), padded with 0.0."""
        _, dots, norms = self._best
        with np.errstate(invalid="ignore"):
            cosines = dots / np.sqrt(self._queries.norms[:, None] * norms)
        return np.where(dots > 0.0, np.minimum(cosines, 1.0), 0.0)
