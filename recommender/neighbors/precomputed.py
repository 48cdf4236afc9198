"""Neighbors of all rows computed once and looked up from then on: the same answers as on demand, for more memory.

12 bytes for each row and neighbor (200,000 users, 20 neighbors: 48 MB), and the time of all pairs before the first
answer. Worth it for a notebook that asks for thousands of users; a service is ready sooner with rows on demand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.neighbors.cosine_index import CosineIndex, Neighbors, Progress


class PrecomputedIndex(CosineIndex):
    """A ``CosineIndex`` that knows the k nearest of every row; what goes beyond them is computed on demand."""

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
        """As ``CosineIndex.top_k``."""
        known = self._indices.shape[1]
        if not 1 <= k <= known:
            return super().top_k(k, rows=rows, n_threads=n_threads, progress=progress)
        wanted: slice | NDArray[np.int64] = slice(None) if rows is None else self.checked_rows(rows)
        return self._indices[wanted, :k].copy(), self._similarities[wanted, :k].copy()

    def neighbors(self, row: int, k: int) -> Neighbors:
        """As ``CosineIndex.neighbors``."""
        known = self._indices.shape[1]
        if not 1 <= k <= known:
            return super().neighbors(row, k)
        at = int(self.checked_rows([row])[0])
        found = int(np.count_nonzero(self._indices[at, :k] >= 0))
        return self._indices[at, :found].copy(), self._similarities[at, :found].copy()
