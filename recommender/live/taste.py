"""The taste ranking among users some of whom have changed since the index was built; exact, by the same operations.

Raters, the number of users and the biases are those that the index was built with: products that came later count as
rated by one, users that came later have no bias. All else is as of now. What `recommender.neighbors.taste_index` and
`recommender.ranking.taste` compute for rows is computed here for whoever has changed, in the same order, in numpy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.live.columns import LiveColumns
from recommender.live.cosine import Near
from recommender.live.ranking import Gathered, Kind, RankedNow, best_of
from recommender.live.users import Crowd, LiveUser, Room, spans
from recommender.model.list_request import Cut
from recommender.neighbors import _taste_kernels
from recommender.neighbors._taste_kernels import Queries
from recommender.neighbors.taste_index import TasteIndex
from recommender.neighbors.taste_statistics import (
    HIGHEST_STARS,
    LOWEST_STARS,
    TasteStatistics,
    fifth_root,
    item_weights,
)
from recommender.ranking._taste_kernels import STARS_PRIOR
from recommender.ranking.taste import TasteRanker
from recommender.shop.ratings import STARS_PER_UNIT

kernels: Any = _taste_kernels  # compiled functions have no signature a type checker could use
_ALMOST_ONE = 1.0 + 1e-9


class Side(NamedTuple):
    """What the similarity needs of one user."""

    weights: NDArray[np.float64]  # (m,) what each entry adds for the user as the one who asks
    asking: float  # norm^1.2, decayed
    answering: float  # norm^0.8
    ceiling: float  # scores of those who answer are not higher


class Entries(NamedTuple):
    """The profiles of neighbors: what they have, how surely they like it (m,), and (k,) what is expected of each."""

    had: Gathered
    confidences: NDArray[np.float64]
    base: NDArray[np.float64]  # mu + user bias


class LiveTaste:
    """The index, which of its rows are hidden, and what is known of the products."""

    def __init__(self, index: TasteIndex, user_ids: NDArray[np.int64], *, decays: bool) -> None:
        self._index, self._user_ids, self._decays = index, user_ids, decays
        packed = index.packed
        facts = np.stack([packed.answering.view(np.int64), packed.names], axis=1)
        self._answering, self._inverse = facts.view(np.float64)[:, 0], packed.inverse.copy()
        self.packed = packed._replace(answering=self._answering, names=facts[:, 1], inverse=self._inverse)
        self._squares = item_weights(index.statistics) ** 2  # (n_columns,)
        alone = TasteStatistics(index.statistics.n_users, np.ones(1, np.int64), 0.0, np.zeros(1), np.zeros(0))
        self._square_alone = float(item_weights(alone)[0] ** 2)
        powers = packed.answering[np.isfinite(packed.answering)]
        self._largest = float(np.sqrt(np.sqrt(powers.max(initial=0.0))))  # the largest |v|^0.2
        self._sides: dict[LiveUser, Side] = {}

    def hide(self, row: int) -> None:
        """Never find the row again."""
        position = self.packed.positions[row]
        self._answering[position], self._inverse[position] = np.inf, 0.0

    def forget(self, user: LiveUser) -> None:
        """Drop what is held of a user who has changed again."""
        self._sides.pop(user, None)

    def side(self, user: LiveUser, *, kept: bool = False) -> Side:
        """What the similarity needs of a user; ``kept`` for those who are asked for again and again."""
        if (known := self._sides.get(user)) is not None:
            return known
        size, n_columns = len(user.columns), len(self._squares)
        squares = np.full(size, self._square_alone)
        inside = user.columns < n_columns
        squares[inside] = self._squares[user.columns[inside]]
        times = user.times if self._decays and user.times is not None else np.empty(0, np.int64)
        numbers = np.arange(size, dtype=np.uint32)
        weights, asking, answering = kernels.weigh(
            np.array([0, size], np.int64), numbers, user.confidences, times, squares
        )
        # as taste_index prepares its rows
        side = Side(
            weights,
            float(fifth_root(asking * asking * asking)[0]),
            float(fifth_root(answering * answering)[0]),
            float(np.sqrt(asking[0])) * self._largest * _ALMOST_ONE,
        )
        if kept:
            self._sides[user] = side
        return side

    def of_row(self, row: int, k: int, crowd: Crowd, room: Room) -> Near:
        """The k nearest of a row that has not changed."""
        p = self.packed
        part = slice(int(p.indptr[row]), int(p.indptr[row + 1]))
        columns = self._index.columns[p.places[part]]
        return self._nearest(
            self._index.queries, row, k, crowd, columns, p.weights[part], float(p.asking[row]), -1, room
        )

    def of_user(self, user: LiveUser, k: int, crowd: Crowd, room: Room) -> Near:
        """The k nearest of anybody."""
        if not len(user.columns):
            return Near(np.empty(0, np.int64), np.empty(0))
        side = self.side(user)
        inside = user.columns < len(self._squares)
        places = self._index.places[user.columns[inside]]
        asking, ceiling = np.array([side.asking]), np.array([side.ceiling])
        ends, itself = np.array([0, len(places)], np.int64), np.array([-1], np.int32)
        queries = Queries(ends, places, side.weights[inside], asking, ceiling, itself)
        return self._nearest(queries, 0, k, crowd, user.columns, side.weights, side.asking, user.user_id, room)

    def _nearest(
        self,
        queries: Queries,
        row: int,
        k: int,
        crowd: Crowd,
        columns: NDArray[np.int32],
        weights: NDArray[np.float64],
        asking: float,
        user_id: int,
        room: Room,
    ) -> Near:
        width = max(min(k, self._index.shape[0]), 1)
        rows, similarities = np.empty((1, width), np.int32), np.empty((1, width))
        self._index.search(self.packed, queries, np.array([row], np.int64), rows, similarities)
        found = int(np.count_nonzero(rows[0] >= 0))
        near = Near(rows[0, :found].astype(np.int64), similarities[0, :found])
        if not len(crowd):
            return near
        dots = crowd.sums(columns, weights, crowd.confidences, room)  # (d,)
        shared = crowd.sums(columns, np.ones(len(columns)), np.ones(len(crowd.columns)), room)
        others = np.flatnonzero((dots > 0) & (shared < crowd.sizes) & (crowd.user_ids != user_id))
        if not len(others):
            return near
        answering = np.array([self.side(crowd.users[at], kept=True).answering for at in others.tolist()])
        both = np.concatenate([near.similarities, dots[others] / (asking * answering)])
        ids = np.concatenate([self._user_ids[near.numbers], crowd.user_ids[others]])
        keys = (both.view(np.int64) + kernels._KEY_HALF) & kernels._KEY_MASK
        order = np.lexsort((ids, -keys))[:k]
        return Near(np.concatenate([near.numbers, -1 - others])[order], both[order])

    def entries(self, near: Near, crowd: Crowd, ranker: TasteRanker) -> Entries:
        """The profiles of neighbors."""
        p, votes = self.packed, ranker.votes.packed
        changed = near.numbers < 0  # (k,)
        rows, others = near.numbers[~changed], -1 - near.numbers[changed]
        base = np.empty(len(changed))
        base[~changed] = votes.base[rows]
        base[changed] = [self.base_of(crowd.users[at].row, ranker) for at in others.tolist()]
        sizes = np.empty(len(changed), np.int64)
        sizes[~changed], sizes[changed] = p.indptr[rows + 1] - p.indptr[rows], crowd.sizes[others]
        owners = np.repeat(np.arange(len(sizes)), sizes)
        ours, theirs = spans(p.indptr[rows], sizes[~changed]), spans(crowd.starts[others], sizes[changed])
        of_crowd = changed[owners]  # (m,)
        packed, values = votes.entries[ours], votes.values
        sure = values[ours] if values.size else np.ones(len(ours))
        columns = _mixed(of_crowd, votes.columns[packed >> np.uint32(4)], crowd.columns[theirs])
        stars = _mixed(of_crowd, (packed & np.uint32(15)).astype(np.int64), crowd.half_stars[theirs].astype(np.int64))
        return Entries(Gathered(owners, columns, stars), _mixed(of_crowd, sure, crowd.confidences[theirs]), base)

    def rank(
        self,
        entries: Entries,
        similarities: NDArray[np.float64],
        ranker: TasteRanker,
        *,
        base: float,
        seen: NDArray[np.int32],
        cut: Cut,
        columns: LiveColumns,
        room: Room,
    ) -> RankedNow:
        """`recommender.ranking.taste.rank_taste` for anybody; ``base``: mu + the asking user's bias."""
        had, close = entries.had, similarities[entries.had.owners]
        found, slot = room.distinct(had.columns)
        count = len(found)
        support = np.bincount(slot, close * entries.confidences, count)
        score = np.rint(support / self._divisors(found, ranker) * 1e9) / 1e9
        support = np.rint(support * 1e9) / 1e9
        best = best_of(found, score, support, seen, cut, columns)
        bias = self._biases(found)
        rated = had.half_stars > 0
        expected = entries.base[had.owners[rated]] + bias[slot[rated]]
        above = close[rated] * (had.half_stars[rated] * STARS_PER_UNIT - expected)
        sums = np.bincount(slot[rated], above, count)[best]
        weight = np.bincount(slot[rated], close[rated], count)[best]
        stars = base + bias[best] + sums / (weight + STARS_PRIOR)
        stars = np.rint(np.minimum(np.maximum(stars, LOWEST_STARS), HIGHEST_STARS) * 1e9) / 1e9
        raters = np.bincount(slot, minlength=count)
        return RankedNow(found[best], stars, support[best], raters[best])

    def base_of(self, row: int, ranker: TasteRanker) -> float:
        """mu + the user bias of a row, -1: of somebody the statistics do not know."""
        return float(ranker.votes.packed.base[row]) if row >= 0 else self._index.statistics.mu

    def _divisors(self, columns: NDArray[np.int32], ranker: TasteRanker) -> NDArray[np.float64]:
        inside = columns < len(self._squares)
        divisors = np.ones(len(columns))
        divisors[inside] = ranker.votes.packed.divisor[self._index.places[columns[inside]]]
        return divisors

    def _biases(self, columns: NDArray[np.int32]) -> NDArray[np.float64]:
        inside = columns < len(self._squares)
        biases = np.zeros(len(columns))
        biases[inside] = self._index.statistics.item_bias[columns[inside]]
        return biases


def _mixed(second: NDArray[np.bool_], ours: NDArray[Kind], theirs: NDArray[Kind]) -> NDArray[Kind]:
    """Values of the first array where the flag is off, of the second where it is on, each in its order."""
    out = np.empty(len(second), ours.dtype)
    out[~second], out[second] = ours, theirs
    return out
