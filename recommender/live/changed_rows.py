"""The rows of users who have changed, one after the other in arrays that only grow.

Whoever holds a `ChangedRows` keeps what it was: a later one shares its memory and adds behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROW_ARRAYS = ("indptr", "entries", "values", "norms", "bases", "user_ids")
SPARE = 1_024  # entries of replaced rows that are put up with, beside as many as there are of present ones


class Growing:
    """Memory behind arrays that grow: who got one keeps it, the last one is continued in place where there is room."""

    def __init__(self, dtype: type) -> None:
        self._memory: NDArray[Any] = np.empty(16, dtype)
        self._used = 0

    def extended(self, array: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
        """``array``, which came from here or is a new one, and ``more`` behind it."""
        start, end = len(array), len(array) + len(more)
        if array.base is not self._memory or start != self._used or end > len(self._memory):
            self._memory = np.empty(end + max(end, 16), self._memory.dtype)
            self._memory[:start] = array
        self._memory[start:end] = more
        self._used = end
        return self._memory[:end]


@dataclass(frozen=True, eq=False)
class ChangedRows:
    """Rows (r,) of users, of whom those of the rows ``now`` (d,) count."""

    indptr: NDArray[np.int64]  # (r + 1,)
    entries: NDArray[np.uint32]  # (nnz,) product << 4 | half stars, in the order of product ids
    values: NDArray[np.float64]  # (nnz,) what an entry is multiplied with: a confidence, or half stars
    norms: NDArray[np.float64]  # (r,) what the index divides by
    bases: NDArray[np.float64]  # (r,) stars that are expected of the user
    user_ids: NDArray[np.int64]  # (r,)
    now: NDArray[np.int64]  # (d,) rows
    memory: tuple[Growing, ...]

    @classmethod
    def none(cls) -> ChangedRows:
        """Nobody has changed."""
        arrays = np.zeros(1, np.int64), np.empty(0, np.uint32), np.empty(0), np.empty(0), np.empty(0)
        ids = np.empty(0, np.int64)
        return cls(*arrays, ids, ids, tuple(Growing(array.dtype.type) for array in (*arrays, ids)))

    def __len__(self) -> int:
        return len(self.now)

    def sizes_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many entries each of the rows has."""
        return self.indptr[rows + 1] - self.indptr[rows]

    def replaced(
        self, user_id: int, entries: NDArray[np.uint32], values: NDArray[np.float64], norm: float, base: float
    ) -> ChangedRows:
        """The same with this row for the user, in the place of the one there was; none for a user without entries."""
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
        """All but ``now``."""
        return tuple(getattr(self, name) for name in ROW_ARRAYS)

    def _compact(self) -> ChangedRows:
        """The same without rows that do not count."""
        spans = [slice(*self.indptr[row : row + 2]) for row in self.now.tolist()]
        entries = np.concatenate([np.empty(0, np.uint32), *(self.entries[span] for span in spans)])
        values = np.concatenate([np.empty(0), *(self.values[span] for span in spans)])
        indptr = np.concatenate([[0], np.cumsum(self.sizes_of(self.now))])
        of_rows = self.norms[self.now], self.bases[self.now], self.user_ids[self.now]
        return ChangedRows(indptr, entries, values, *of_rows, np.arange(len(self.now)), self.memory)
