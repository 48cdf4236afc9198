"""An index when some users have changed since it was built: exact neighbors, as from an index that is built now.

The row of a changed user is hidden in the index, and the user's new row is kept beside it. The asking user is compared
with both sets of rows, and the two lists are merged in the same order. Products have the index's own numbers. A product
without a column in the matrix has the number of its column.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recommender.live import _kernels
from recommender.live.changed_rows import ChangedRows
from recommender.live.users import LiveUser
from recommender.neighbors import Entries, numbers_of, steps_of
from recommender.shop import NUMBERS_AS_THEY_ARE

kernels: Any = _kernels  # compiled functions have no signature a type checker could use

_NOBODY = np.empty(0, np.int64)


class Near(NamedTuple):
    """Neighbors, nearest first, (k,) each."""

    numbers: NDArray[np.int64]  # the row of the matrix, or -1 - j: row j of the changed users
    similarities: NDArray[np.float64]

    @classmethod
    def nothing(cls) -> Near:
        """Return the value for a user without neighbors."""
        return cls(_NOBODY, np.empty(0))

    @classmethod
    def found(cls, rows: NDArray[np.int32], similarities: NDArray[np.float64]) -> Near:
        """Return the neighbors that a search of the index found, (k,) padded with -1."""
        size = int(np.count_nonzero(rows >= 0))
        return cls(rows[:size].astype(np.int64), similarities[:size])

    @property
    def unchanged(self) -> bool:
        """True if all neighbors are rows of the matrix."""
        return not len(self.numbers) or int(self.numbers.min()) >= 0


class Rows(NamedTuple):
    """The entries of users, as compiled code reads them."""

    indptr: NDArray[np.int64]  # (n_rows + 1,)
    entries: Entries  # (nnz,) products and steps of ratings, in the order of product ids
    values: NDArray[np.float64]  # (nnz,) confidences, or (0,): all are 1

    @property
    def numbers(self) -> Entries:
        """The products of the entries."""
        return numbers_of(self.entries)

    @property
    def steps(self) -> NDArray[np.int8]:
        """The steps of the entries, 0 where not rated."""
        return steps_of(self.entries)


class LiveIndex(ABC):
    """The index and the changes. A `copy` and its original do not affect each other."""

    def __init__(self, rows: Rows, positions: NDArray[np.int32], user_ids: NDArray[np.int64]) -> None:
        """Take the ``rows`` of the index, and their ``positions`` and ``user_ids`` (n_rows,)."""
        self._rows, self._positions, self._user_ids = rows, positions, user_ids
        self._changed = ChangedRows.none(rows.entries.dtype.type)
        self.ids = NUMBERS_AS_THEY_ARE  # also of people who came later
        self._hidden = np.empty(0, np.int32)  # (h,) positions, ascending

    def copy(self) -> Self:
        """Return a copy. Its changes do not show here."""
        return copy.copy(self)  # attributes are replaced, arrays never written to

    def forked(self) -> Self:
        """Return a copy whose arrays grow in memory of their own."""
        new = self.copy()
        new._changed = self._changed.forked()
        return new

    def take(self, user: LiveUser) -> None:
        """Replace the old entries of the user by these."""
        if user.row >= 0:
            position = self._positions[user.row]
            at = int(np.searchsorted(self._hidden, position))
            if at == len(self._hidden) or self._hidden[at] != position:
                self._hidden = np.insert(self._hidden, at, position)
        self._changed = self._changed.replaced(user.user_id, *self._row_of(user))

    def ids_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the user_ids of neighbors."""
        changed, ids = numbers < 0, np.empty_like(numbers)
        ids[~changed] = self._user_ids[numbers[~changed]]
        ids[changed] = self._changed.user_ids[-1 - numbers[changed]]
        return ids

    def _keys_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the order keys of neighbors, which decide ties."""
        return self.ids.keys(self.ids_of(numbers))

    def entries_of(self, row: int) -> Entries:
        """Return the entries of a row of the matrix."""
        entries: Entries = self._rows.entries[self._rows.indptr[row] : self._rows.indptr[row + 1]]
        return entries

    def gathered(self, near: Near, own: Entries, *, valued: bool) -> Rows:
        """Return the rows of neighbors and then the asking user's entries as new rows; ``valued``: with values."""
        changed = self._changed
        values = (self._rows.values, changed.values) if valued else (np.empty(0), np.empty(0))
        more = changed.indptr, changed.entries, values[1]
        return Rows(*kernels.gather(near.numbers, self._rows.indptr, self._rows.entries, values[0], *more, own))

    def _beside(
        self, numbers: Entries, weights: NDArray[np.float64], user_id: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Return the rows of other changed users who share products with this one, the sums, and the numbers shared."""
        changed = self._changed
        rows = changed.now, changed.indptr, changed.entries, changed.values
        wanted = numbers.astype(changed.entries.dtype, copy=False)  # the types that the kernel is compiled for
        sums, counts = kernels.shared(wanted, weights, *rows)
        meant = np.flatnonzero((sums > 0) & (changed.user_ids[changed.now] != user_id))
        return changed.now[meant], sums[meant], counts[meant]

    @abstractmethod
    def of_row(self, row: int, k: int) -> Near:
        """Find the k nearest of a row that has not changed."""

    @abstractmethod
    def of_user(self, user: LiveUser, k: int) -> Near:
        """Find the k nearest of any user."""

    @abstractmethod
    def entries_of_user(self, user: LiveUser) -> Entries:
        """Return the entries of any user, in the numbers of the index."""

    @abstractmethod
    def _row_of(self, user: LiveUser) -> tuple[Entries, NDArray[np.float64], float, float]:
        """Return the user's arguments for `ChangedRows.replaced`."""
