"""The rows of users who have changed, in arrays that only grow.

A `ChangedRows` never changes. A later one shares its memory and adds rows after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.neighbors import Entries

ROW_ARRAYS = ("indptr", "entries", "values", "norms", "bases", "user_ids")
SPARE = 1_024  # entries of replaced rows that may stay, in addition to as many as all present rows have


class Growing:
    """Memory behind arrays that grow. An array never changes; the newest one is extended in place if there is room."""

    def __init__(self, dtype: type) -> None:
        self._memory: NDArray[Any] = np.empty(16, dtype)
        self._used = 0

    def extended(self, array: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
        """Return ``array`` with ``more`` after it. ``array`` came from here, or is a new one."""
        start, end = len(array), len(array) + len(more)
        if array.base is not self._memory or start != self._used or end > len(self._memory):
            self._memory = np.empty(end + max(end, 16), self._memory.dtype)
            self._memory[:start] = array
        self._memory[start:end] = more
        self._used = end
        return self._memory[:end]


@dataclass(frozen=True, eq=False)
class ChangedRows:
    """Rows (r,) of users. Only the rows ``now`` (d,) count."""

    indptr: NDArray[np.int64]  # (r + 1,)
    entries: Entries  # (nnz,) products and steps of ratings, in the order of product ids
    values: NDArray[np.float64]  # (nnz,) factor of an entry: a confidence, or steps
    norms: NDArray[np.float64]  # (r,) divisors of the index
    bases: NDArray[np.float64]  # (r,) expected rating of the user
    user_ids: NDArray[np.int64]  # (r,)
    now: NDArray[np.int64]  # (d,) rows
    memory: tuple[Growing, ...]

    @classmethod
    def none(cls, kind: type[Any] = np.uint32) -> ChangedRows:
        """Return the rows of a model without changes. ``kind``: the dtype of the entries."""
        arrays = np.zeros(1, np.int64), np.empty(0, kind), np.empty(0), np.empty(0), np.empty(0)
        ids = np.empty(0, np.int64)
        return cls(*arrays, ids, ids, tuple(Growing(array.dtype.type) for array in (*arrays, ids)))

    def __len__(self) -> int:
        return len(self.now)

    def forked(self) -> ChangedRows:
        """Return the same rows with memory of their own to grow in."""
        return replace(self, memory=tuple(Growing(array.dtype.type) for array in self.arrays))

    def sizes_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of entries of each row."""
        return self.indptr[rows + 1] - self.indptr[rows]

    def replaced(
        self, user_id: int, entries: Entries, values: NDArray[np.float64], norm: float, base: float
    ) -> ChangedRows:
        """Return the rows with this one in place of the user's old one. A user without entries has no row."""
        now = self.now[self.user_ids[self.now] != user_id]
        if not len(entries):
            return replace(self, now=now)
        kept = replace(self, now=now)
        if len(self.entries) > SPARE + 2 * int(self.sizes_of(now).sum()):
            kept = kept._compact()
        ends = np.array([len(kept.entries) + len(entries)])
        added = ends, entries, values, np.array([norm]), np.array([base]), np.array([user_id])
        grown: Any = zip(ROW_ARRAYS, map(Growing.extended, kept.memory, kept.arrays, added), strict=True)
        return replace(kept, now=np.append(kept.now, len(kept.norms)), **dict(grown))

    @property
    def arrays(self) -> tuple[Any, ...]:
        """All arrays but ``now``."""
        return tuple(getattr(self, name) for name in ROW_ARRAYS)

    def _compact(self) -> ChangedRows:
        """Return the same without rows that do not count."""
        spans = [slice(*self.indptr[row : row + 2]) for row in self.now.tolist()]
        entries = np.concatenate([self.entries[:0], *(self.entries[span] for span in spans)])
        values = np.concatenate([np.empty(0), *(self.values[span] for span in spans)])
        indptr = np.concatenate([[0], np.cumsum(self.sizes_of(self.now))])
        of_rows = self.norms[self.now], self.bases[self.now], self.user_ids[self.now]
        return ChangedRows(indptr, entries, values, *of_rows, np.arange(len(self.now)), self.memory)
