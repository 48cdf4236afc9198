"""Popular products as ratings come, change and go: the order of `recommender.popular.rank_popular`, kept up to date.

Among products with equally many ratings the damped mean orders as their sum does, whatever the mean of all ratings is:
so a rating moves one product.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from recommender.live_users import LiveColumns
from recommender.popular import PRIOR_VOTES, PopularProducts
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix


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
        order = self._order
        for column in changed.tolist():
            order = order[order != column]
        for column in changed[(self._tally.counts[changed] > 0) & self._columns.recommendable(changed)].tolist():
            order = np.insert(order, bisect_left(order, self._rank(column), key=self._rank), column)
        self._order = order

    def products(self) -> PopularProducts:
        """All of them as they are now, with their damped means."""
        totals, counts = self._tally.totals[self._order].astype(np.float64), self._tally.counts[self._order]
        damped = (STARS_PER_UNIT * totals + PRIOR_VOTES * self._tally.mean_rating) / (counts + PRIOR_VOTES)
        return PopularProducts(self._order, np.rint(damped * 1e9) / 1e9)

    def _rank(self, column: int) -> tuple[int, ...]:
        counts, totals = self._tally.counts, self._tally.totals
        between, within = self._columns.keys(np.array([column]))
        return -int(counts[column]), -int(totals[column]), int(between[0]), int(within[0])
