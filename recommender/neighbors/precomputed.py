"""The neighbors of all rows, computed once and then looked up. The answers are those of `CosineIndex`.

This takes 12 bytes for each row and neighbor (200,000 users, 20 neighbors: 48 MB), and the time of all pairs before the
first answer. It suits a notebook that asks for thousands of users. A service is ready sooner with rows on demand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.neighbors.cosine_index import CosineIndex, Neighbors, Progress


class PrecomputedIndex(CosineIndex):
    """A ``CosineIndex`` that keeps the k nearest of every row and computes more than k on demand."""

    def __init__(self, ratings: Any, k: int, *, n_threads: int | None = None, progress: Progress | None = None) -> None:
        super().__init__(ratings)
        self._indices, self._similarities = super().top_k(k, n_threads=n_threads, progress=progress)  # both (n_rows, k)

    def top_k(
        self,
        k: int,
        *,
        rows: ArrayLike | None = None,
        n_threads: int | None = None,
        progress: Progress | None = None,
    ) -> Neighbors:
        """Do the same as ``CosineIndex.top_k``."""
        known = self._indices.shape[1]
        if not 1 <= k <= known:
            return super().top_k(k, rows=rows, n_threads=n_threads, progress=progress)
        wanted: slice | NDArray[np.int64] = slice(None) if rows is None else self.checked_rows(rows)
        return self._indices[wanted, :k].copy(), self._similarities[wanted, :k].copy()

    def neighbors(self, row: int, k: int) -> Neighbors:
        """Do the same as ``CosineIndex.neighbors``."""
        known = self._indices.shape[1]
        if not 1 <= k <= known:
            return super().neighbors(row, k)
        at = int(self.checked_rows([row])[0])
        found = int(np.count_nonzero(self._indices[at, :k] >= 0))
        return self._indices[at, :found].copy(), self._similarities[at, :found].copy()
