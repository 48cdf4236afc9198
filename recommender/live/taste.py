"""Neighbors by taste when some users have changed since the index was built.

Raters, the number of users and the biases stay those of the index. A product that came later has one rater, and a user
who came later has no bias. All other data are those of now.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.live.index import LiveIndex, Near, Rows
from recommender.live.users import LiveUser
from recommender.neighbors import (
    KEY_HALF,
    KEY_MASK,
    Entries,
    TasteQueries,
    TasteStatistics,
    entries_of,
    fifth_root,
    item_weights,
    weigh,
)
from recommender.ranking import TasteVotes

_ALMOST_ONE = 1.0 + 1e-9
_FIRST, _OUTSIDE = np.zeros(1, np.int64), np.array([-1], np.int32)


class SimilarityTerms(NamedTuple):
    """The terms of one user in the similarity."""

    weights: NDArray[np.float64]  # (m,) factor of each entry when the user asks
    asking: float  # norm^1.2, decayed
    answering: float  # norm^0.8
    ceiling: float  # upper bound of the scores of those who answer


class LiveTaste(LiveIndex):
    """A `TasteIndex` with the later changes. Products have the places of the index."""

    def __init__(self, votes: TasteVotes, user_ids: NDArray[np.int64], *, decays: bool) -> None:
        index, packed = votes.index, votes.index.packed
        rows = Rows(packed.indptr, votes.packed.entries, packed.values)
        super().__init__(rows, packed.positions, user_ids)
        self._index, self._decays, self._bases = index, decays, votes.packed.base
        self._squares = item_weights(index.statistics) ** 2  # (n_columns,)
        alone = TasteStatistics(index.statistics.n_users, np.ones(1, np.int64), 0.0, np.zeros(1), np.zeros(0))
        self._square_alone = float(item_weights(alone)[0] ** 2)
        powers = packed.answering[np.isfinite(packed.answering)]
        self._largest = float(np.sqrt(np.sqrt(powers.max(initial=0.0))))  # the largest |v|^0.2

    def of_row(self, row: int, k: int) -> Near:
        p = self._index.packed
        part = slice(int(p.indptr[row]), int(p.indptr[row + 1]))
        given = p.places[part], p.weights[part], float(p.asking[row]), -1
        return self._nearest(self._index.queries._replace(hidden=self._hidden), row, k, *given)

    def of_user(self, user: LiveUser, k: int) -> Near:
        if not len(user.columns):
            return Near.nothing()
        terms, places = self._terms(user), self._places(user.columns)
        inside = user.columns < len(self._squares)
        asking, ceiling = np.array([terms.asking]), np.array([terms.ceiling])
        ends = np.array([0, np.count_nonzero(inside)], np.int64)
        queries = TasteQueries(ends, places[inside], terms.weights[inside], asking, ceiling, _OUTSIDE, self._hidden)
        return self._nearest(queries, 0, k, places, terms.weights, terms.asking, user.user_id)

    def entries_of_user(self, user: LiveUser) -> Entries:
        return entries_of(self._places(user.columns), user.steps, self._rows.entries.dtype.type)

    def base_of(self, row: int) -> float:
        """Return mu + the user bias of a row; -1: a user the statistics do not know."""
        return float(self._bases[row]) if row >= 0 else self._index.statistics.mu

    def bases_of(self, near: Near) -> NDArray[np.float64]:
        """Return mu + the user bias of each neighbor, (k,)."""
        changed = near.numbers < 0
        bases = np.empty(len(changed))
        bases[~changed] = self._bases[near.numbers[~changed]]
        bases[changed] = self._changed.bases[-1 - near.numbers[changed]]
        return bases

    def _places(self, columns: NDArray[np.int32]) -> NDArray[np.uint32]:
        """Return the numbers of columns: places, or the columns themselves where the matrix has none."""
        places = columns.astype(np.uint32)
        inside = columns < len(self._squares)
        places[inside] = self._index.places[columns[inside]]
        return places

    def _row_of(self, user: LiveUser) -> tuple[Entries, NDArray[np.float64], float, float]:
        answering = self._terms(user).answering if len(user.columns) else 0.0
        return self.entries_of_user(user), user.confidences, answering, self.base_of(user.row)

    def _terms(self, user: LiveUser) -> SimilarityTerms:
        size, n_columns = len(user.columns), len(self._squares)
        squares = np.full(size, self._square_alone)
        inside = user.columns < n_columns
        squares[inside] = self._squares[user.columns[inside]]
        times = user.times if self._decays and user.times is not None else np.empty(0, np.int64)
        numbers = np.arange(size, dtype=np.uint32)
        weights, asking, answering = weigh(np.array([0, size], np.int64), numbers, user.confidences, times, squares)
        # as taste_index prepares its rows
        own, others = fifth_root(np.concatenate([asking * asking * asking, answering * answering])).tolist()
        return SimilarityTerms(weights, own, others, float(np.sqrt(asking[0])) * self._largest * _ALMOST_ONE)

    def _nearest(
        self,
        queries: TasteQueries,
        row: int,
        k: int,
        places: NDArray[np.uint32],
        weights: NDArray[np.float64],
        asking: float,
        user_id: int,
    ) -> Near:
        width = max(min(k, self._index.shape[0]), 1)
        rows, similarities = np.empty((1, width), np.int32), np.empty((1, width))
        self._index.search(queries, np.array([row], np.int64), rows, similarities)
        near = Near.found(rows[0], similarities[0])
        others, dots, shared = self._beside(places, weights, user_id)
        new = shared < self._changed.sizes_of(others)  # a neighbor owns a product that the user lacks
        if not new.any():
            return near
        others, dots = others[new], dots[new]
        numbers = np.concatenate([near.numbers, -1 - others])
        both = np.concatenate([near.similarities, dots / (asking * self._changed.norms[others])])
        keys = (both.view(np.int64) + KEY_HALF) & KEY_MASK
        order = np.lexsort((self._keys_of(numbers), -keys))[:k]
        return Near(numbers[order], both[order])
