"""Neighbors found block by block, where the rows do not fit one index: the same as those of an index of all rows.

    nearest = NearestByCosine(own, first_row, k, most=scale.most)
    for block, first in ...:
        nearest.meet(CosineIndex(block, most=scale.most), first)
    nearest.rows, nearest.similarities

A row is whole in its block, so each dot product is summed in one place and one order, and its float is that of an index
of all rows. The best of two blocks are merged by the order of that index: cosines exactly, by dot^2 / |r(v)|^2, and
similarities by taste by their upper 40 bits; then by row. Blocks may come in any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import at_least_one
from recommender.errors import SettingError
from recommender.neighbors import _cosine_kernels, _taste_kernels
from recommender.neighbors._cosine_forms import canonical_ratings
from recommender.neighbors.cosine_index import CosineIndex
from recommender.neighbors.entries import entry_type
from recommender.neighbors.shop_statistics import TasteStatistics, fifth_root, item_weights
from recommender.neighbors.taste_index import TasteIndex, by_raters, checked_values

cosine_kernels: Any = _cosine_kernels  # compiled functions have no signature a type checker could use
taste_kernels: Any = _taste_kernels

_NOBODY = np.empty(0, np.int32)  # no hidden rows


class NearestByCosine:
    """The k nearest of rows ``first``, ``first`` + 1, ... among all blocks met so far.

    ratings: CSR (m, n_columns) of whole numbers up to ``most``, as in `CosineIndex`.
    """

    def __init__(self, ratings: Any, first: int, k: int, *, most: int) -> None:
        csr = canonical_ratings(ratings)
        self.first, self.k = first, at_least_one("k", k)
        norms = cosine_kernels.squared_norms(csr.indptr, csr.data)  # (m,)
        entries = np.empty(csr.nnz, entry_type(most))
        cosine_kernels.pack_rows(csr.indices, csr.data.astype(np.uint8), entries)
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
        itself = _positions(self.first - first, self._queries.norms.size, packed.positions)
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
        cosine_kernels.merge_lists(self._queries.norms, *self._best, rows, dots, norms, best)
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


class TasteGround:
    """What all blocks of one shop share: its statistics, and the places of its columns."""

    def __init__(self, statistics: TasteStatistics, n_products: int) -> None:
        self.statistics = statistics.fitted(statistics.user_bias.size, n_products)
        columns, self.places = by_raters(self.statistics)
        self.squares = (item_weights(self.statistics) ** 2)[columns]  # (n_columns,) by place


class NearestByTaste:
    """The k nearest by taste of rows ``first``, ``first`` + 1, ... among all blocks met so far.

    profiles, times: as in `TasteIndex`. A block is an index with the statistics of ``ground``.
    """

    def __init__(self, profiles: Any, times: NDArray[np.int64] | None, first: int, k: int, ground: TasteGround) -> None:
        self.first, self.k = first, at_least_one("k", k)
        indptr, places = profiles.indptr.astype(np.int64), ground.places[profiles.indices]
        given = checked_values(profiles), np.empty(0, np.int64) if times is None else times
        weights, asking, _ = taste_kernels.weigh(indptr, places, *given, ground.squares)
        self._norms, self._rows = np.sqrt(asking), np.arange(asking.size)
        outside, power = np.full(asking.size, -1, np.int32), fifth_root(asking * asking * asking)
        self._queries = _taste_kernels.TasteQueries(indptr, places, weights, power, self._norms, outside, _NOBODY)
        self.rows, self.similarities = self._empty(self.k)

    def _empty(self, k: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        return np.full((self._rows.size, k), -1, np.int32), np.zeros((self._rows.size, k))

    def meet(self, index: TasteIndex, first: int) -> None:
        """Compare the rows with those of an index, which are ``first``, ``first`` + 1, ... of the whole."""
        itself = _positions(self.first - first, self._rows.size, index.packed.positions)
        queries = self._queries._replace(itself=itself, ceiling=index.ceilings(self._norms))
        rows, similarities = self._empty(max(min(self.k, index.shape[0]), 1))
        index.search(queries, self._rows, rows, similarities)
        rows[rows >= 0] += first
        best = self._empty(self.k)
        taste_kernels.merge_lists(self.rows, self.similarities, rows, similarities, *best)
        self.rows, self.similarities = best


def _positions(start: int, size: int, positions: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the positions in a block of its rows ``start``, ``start`` + 1, ...; -1 for rows outside of it."""
    rows = np.arange(start, start + size)
    here = (rows >= 0) & (rows < positions.size)
    found = np.full(size, -1, np.int32)
    found[here] = positions[rows[here]]
    return found
