"""Popular products as ratings come, change and go: the order of `fallback.popular.rank_popular`, kept up to date.

Among products with equally many ratings the damped mean orders as their sum does, whatever the mean of all ratings is:
so a rating moves one product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.fallback.popular import PRIOR_VOTES, PopularProducts
from recommender.live.columns import LiveColumns
from recommender.shop.ratings import STARS_PER_UNIT, RatingMatrix

FANS = (16, 100), (8, 1_000), (2, 1 << 62)  # compared with in one round, of up to so many columns that are searched for


class Tally:
    """How many ratings each column has, and their sum in half stars; changed in place."""

    def __init__(self, matrix: RatingMatrix) -> None:
        csr, n_products = matrix.half_stars, matrix.shape[1]
        self.counts = np.bincount(csr.indices, minlength=n_products).astype(np.int64)
        self.totals = np.bincount(csr.indices, csr.data, n_products).astype(np.int64)
        self.n_ratings, self.total = int(self.counts.sum()), int(self.totals.sum())

    def reserve(self, n_columns: int) -> None:
        """Make room for that many columns."""
        if n_columns > len(self.counts):
            more = np.zeros(n_columns - len(self.counts), np.int64)
            self.counts, self.totals = np.concatenate([self.counts, more]), np.concatenate([self.totals, more])

    def add(self, columns: NDArray[np.int32], half_stars: NDArray[np.int8], sign: int) -> None:
        """Count ratings of distinct products; ``sign`` -1: no longer."""
        self.counts[columns] += sign
        self.totals[columns] += sign * half_stars.astype(np.int64)
        self.n_ratings += sign * len(columns)
        self.total += sign * int(half_stars.sum(dtype=np.int64))

    @property
    def mean_rating(self) -> float:
        """As `RatingMatrix.mean_rating`."""
        return STARS_PER_UNIT * self.total / self.n_ratings if self.n_ratings else 0.0


class PopularOrder:
    """The recommendable columns that have a rating, most popular first; changed in place."""

    def __init__(self, popular: PopularProducts, tally: Tally, columns: LiveColumns) -> None:
        self._order, self._tally, self._columns = popular.columns, tally, columns

    def move(self, changed: NDArray[np.int32]) -> None:
        """Put the columns whose ratings have changed where they belong now."""
        rest = self._order[np.isin(self._order, changed, invert=True)]
        there = changed[(self._tally.counts[changed] > 0) & self._columns.recommendable(changed)]
        ranks = self._ranks(there)
        order = np.lexsort(ranks[::-1])
        self._order = np.insert(rest, self._places(rest, ranks[:, order]), there[order])

    def products(self) -> PopularProducts:
        """All of them as they are now, with their damped means."""
        totals, counts = self._tally.totals[self._order].astype(np.float64), self._tally.counts[self._order]
        damped = (STARS_PER_UNIT * totals + PRIOR_VOTES * self._tally.mean_rating) / (counts + PRIOR_VOTES)
        return PopularProducts(self._order, np.rint(damped * 1e9) / 1e9)

    def _ranks(self, columns: NDArray[np.int32]) -> NDArray[np.int64]:
        """Four numbers for each of the columns (m,), compared from the first on: the smallest is the most popular."""
        return np.stack([-self._tally.counts[columns], -self._tally.totals[columns], *self._columns.keys(columns)])

    def _places(self, order: NDArray[np.int32], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of the ordered columns come before each of the ranks (4, m): all are searched for at once.

        Each round compares each with several columns, the more the fewer are searched for, since then a round costs
        more than its comparisons.
        """
        fan = next(fan for fan, most in FANS if ranks.shape[1] <= most)
        low, high = np.zeros(ranks.shape[1], np.int64), np.full(ranks.shape[1], len(order))
        while (low < high).any():
            step = -(-(high - low) // fan)
            tried = low[:, None] + step[:, None] * np.arange(fan)  # (m, fan), ascending
            theirs = self._ranks(order[np.minimum(tried, len(order) - 1)].ravel()).reshape(len(ranks), *tried.shape)
            n_before = ((tried < high[:, None]) & _less(theirs, ranks[:, :, None])).sum(axis=1)
            high = np.minimum(high, low + n_before * step)
            low = np.where(n_before > 0, low + (n_before - 1) * step + 1, low)
        return low


def _less(these: NDArray[np.int64], those: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which columns of numbers (k, ...) are less than those of the same place, compared from the first row on."""
    less = np.zeros(these.shape[1:], np.bool_)
    for mine, other in zip(these[::-1], those[::-1], strict=True):
        less = (mine < other) | ((mine == other) & less)
    return less
