"""Cosine neighbors when some users have changed since the index was built.

Dot products are whole numbers, so rounding recovers them exactly from the similarities of the index.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.live.index import LiveIndex, Near, Rows
from recommender.live.users import LiveUser
from recommender.neighbors import CosineIndex, CosineQueries, Entries, entries_of, numbers_of, steps_of

_WHOLE = 2.0**52
_SURE = 1.0 - 2.0**-48
_ONE_ROW, _OUTSIDE = np.zeros(1, np.int64), np.array([-1], np.int32)


class LiveCosine(LiveIndex):
    """A `CosineIndex` of ratings in steps with the later changes. Products have the numbers of their columns."""

    def __init__(self, index: CosineIndex, user_ids: NDArray[np.int64]) -> None:
        arrays = index.packed
        if arrays is None:
            raise SettingError(
                "the ratings are too many for live changes: of one user, or of too many users or products"
            )
        super().__init__(Rows(arrays.indptr, arrays.ratings, np.empty(0)), arrays.positions, user_ids)
        self._index, self._arrays = index, arrays

    def of_row(self, row: int, k: int) -> Near:
        p = self._arrays
        itself = p.positions[[row]]
        queries = CosineQueries(p.indptr, p.ratings, np.array([row]), itself, p.norms[itself], self._hidden)
        return self._nearest(queries, self.entries_of(row), -1, k)

    def of_user(self, user: LiveUser, k: int) -> Near:
        entries = self.entries_of_user(user)
        if not len(entries):
            return Near.nothing()
        inside = entries[numbers_of(entries) < len(self._arrays.dense_from)]  # the index has no later products
        norm = np.array([user.squared_norm], np.float64)
        queries = CosineQueries(np.array([0, len(inside)]), inside, _ONE_ROW, _OUTSIDE, norm, self._hidden)
        return self._nearest(queries, entries, user.user_id, k)

    def entries_of_user(self, user: LiveUser) -> Entries:
        return entries_of(*user.rated(), self._rows.entries.dtype.type)

    def _row_of(self, user: LiveUser) -> tuple[Entries, NDArray[np.float64], float, float]:
        entries = self.entries_of_user(user)
        return entries, steps_of(entries).astype(np.float64), float(user.squared_norm), 0.0

    def _nearest(self, queries: CosineQueries, entries: Entries, user_id: int, k: int) -> Near:
        width = max(min(k, self._index.shape[0]), 1)
        rows, similarities = np.full((1, width), -1, np.int32), np.empty((1, width))
        if self._index.shape[0]:
            self._index.search(queries, width, rows, similarities)
        near = Near.found(rows[0], similarities[0])
        others, dots, _ = self._beside(numbers_of(entries), steps_of(entries).astype(np.float64), user_id)
        if not len(others):
            return near
        p, norm = self._arrays, queries.norms[0]
        norms = np.concatenate([p.norms[p.positions[near.numbers]], self._changed.norms[others]])
        own_dots = np.rint(near.similarities * np.sqrt(norm * norms[: len(near.numbers)]))
        numbers, all_dots = np.concatenate([near.numbers, -1 - others]), np.concatenate([own_dots, dots])
        order = _order(all_dots, norms, self._keys_of(numbers), k, norm)
        return Near(numbers[order], np.minimum(all_dots / np.sqrt(norm * norms), 1.0)[order])


def _order(
    dots: NDArray[np.float64], norms: NDArray[np.float64], ids: NDArray[np.int64], k: int, norm: float
) -> NDArray[np.intp]:
    """Return the order of the first k by dot^2 / norm, then by id; exact."""
    quotients = dots * dots / norms
    if norm * float(norms.max()) ** 2 < _WHOLE:  # then floats differ and agree as the ratios do
        return np.lexsort((ids, -quotients))[:k]
    least = np.partition(quotients, len(quotients) - min(k, len(quotients)))[len(quotients) - min(k, len(quotients))]
    maybe = np.flatnonzero(quotients >= least * _SURE).tolist()
    maybe.sort(key=lambda at: (-Fraction(int(dots[at]) ** 2, int(norms[at])), ids[at]))
    return np.array(maybe[:k], np.intp)
