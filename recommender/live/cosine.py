"""Cosine neighbors among users some of whom have changed since the index was built; exact, as if built anew.

A row that has changed is hidden from the index; what its user has now is compared with whoever asks, beside it. Dot
products are whole numbers: those of the index are found again from the similarities, which lost nothing of them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.live.users import Crowd, LiveUser, Room
from recommender.neighbors._cosine_kernels import VALUE_BITS, Packed, Queries
from recommender.neighbors.cosine_index import CosineIndex

_WHOLE = 2.0**52
_SURE = 1.0 - 2.0**-48


class Near(NamedTuple):
    """Neighbors, nearest first, (k,) each."""

    numbers: NDArray[np.int64]  # the row of the matrix, or -1 - j: the j-th of the crowd
    similarities: NDArray[np.float64]

    @property
    def unchanged(self) -> bool:
        """Are all of them rows?"""
        return not len(self.numbers) or int(self.numbers.min()) >= 0


class LiveCosine:
    """The index, and which of its rows are hidden."""

    def __init__(self, index: CosineIndex, user_ids: NDArray[np.int64]) -> None:
        arrays = index.packed
        if arrays is None:
            raise SettingError("some user has rated more products, or there are more of them, than can be served live")
        self._index, self._user_ids = index, user_ids
        self._inverse = arrays.inverse.copy()
        self._arrays: Packed = arrays._replace(inverse=self._inverse)

    def hide(self, row: int) -> None:
        """Never find the row again."""
        self._inverse[self._arrays.positions[row]] = 0.0

    def of_row(self, row: int, k: int, crowd: Crowd, columns: NDArray[np.int32], room: Room) -> Near:
        """The k nearest of a row that has not changed; ``columns``: what it rated."""
        p = self._arrays
        itself = p.positions[[row]]
        queries = Queries(p.indptr, p.ratings, np.array([row]), itself, p.norms[itself])
        entries = p.ratings[p.indptr[row] : p.indptr[row + 1]]
        return self._nearest(queries, k, crowd, columns, (entries & 15).astype(np.float64), -1, room)

    def of_user(self, user: LiveUser, k: int, crowd: Crowd, room: Room) -> Near:
        """The k nearest of anybody."""
        columns, half_stars = user.rated()
        if not len(columns):
            return Near(np.empty(0, np.int64), np.empty(0))
        inside = columns < len(self._arrays.dense_from)  # of what came later no row has any
        entries = columns[inside].astype(np.uint32) << np.uint32(VALUE_BITS) | half_stars[inside].astype(np.uint32)
        norm = np.array([user.squared_norm], np.float64)
        queries = Queries(np.array([0, len(entries)]), entries, np.zeros(1, np.int64), np.array([-1], np.int32), norm)
        return self._nearest(queries, k, crowd, columns, half_stars.astype(np.float64), user.user_id, room)

    def _nearest(
        self,
        queries: Queries,
        k: int,
        crowd: Crowd,
        columns: NDArray[np.int32],
        half_stars: NDArray[np.float64],
        user_id: int,
        room: Room,
    ) -> Near:
        width = max(min(k, self._index.shape[0]), 1)
        rows, similarities = np.empty((1, width), np.int32), np.empty((1, width))
        self._index.search(self._arrays, queries, width, rows, similarities)
        found = int(np.count_nonzero(rows[0] >= 0))
        near = Near(rows[0, :found].astype(np.int64), similarities[0, :found])
        if not len(crowd):
            return near
        dots = crowd.sums(columns, half_stars, crowd.half_stars, room)  # (d,) whole numbers
        others = np.flatnonzero((dots > 0) & (crowd.user_ids != user_id))
        if not len(others):
            return near
        p, norm = self._arrays, queries.norms[0]
        norms = np.concatenate([p.norms[p.positions[near.numbers]], crowd.squared_norms[others]])
        own_dots = np.rint(near.similarities * np.sqrt(norm * norms[:found]))
        all_dots = np.concatenate([own_dots, dots[others]])
        ids = np.concatenate([self._user_ids[near.numbers], crowd.user_ids[others]])
        order = _order(all_dots, norms, ids, k, norm)
        numbers = np.concatenate([near.numbers, -1 - others])
        return Near(numbers[order], np.minimum(all_dots / np.sqrt(norm * norms), 1.0)[order])


def _order(
    dots: NDArray[np.float64], norms: NDArray[np.float64], ids: NDArray[np.int64], k: int, norm: float
) -> NDArray[np.intp]:
    """The k first by dot^2 / norm, equal ones by id; exact."""
    quotients = dots * dots / norms
    if norm * float(norms.max()) ** 2 < _WHOLE:  # then different ratios are different floats, and equal ones equal
        return np.lexsort((ids, -quotients))[:k]
    least = np.partition(quotients, len(quotients) - min(k, len(quotients)))[len(quotients) - min(k, len(quotients))]
    maybe = np.flatnonzero(quotients >= least * _SURE).tolist()
    maybe.sort(key=lambda at: (-Fraction(int(dots[at]) ** 2, int(norms[at])), ids[at]))
    return np.array(maybe[:k], np.intp)
