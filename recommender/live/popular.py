"""Popular products as ratings come, change and go: the order of `fallback.popular.rank_popular`, kept up to date.

Products with equally many ratings are in the order of the sum of their ratings, whatever the mean of all ratings is. So
a rating moves only its own product.
"""

from __future__ import annotations

import copy
import math

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import PRIOR_VOTES, PopularProducts
from recommender.live.columns import LiveColumns
from recommender.shop import RatingMatrix

FANS = (64, 8), (16, 100), (8, 1_000), (2, 1 << 62)  # (columns compared in one round, for up to so many ranks)


class Tally:
    """The number of ratings of each column, and their sum in steps. A `copy` does not affect its original."""

    def __init__(self, matrix: RatingMatrix) -> None:
        csr, n_products = matrix.steps, matrix.shape[1]
        self.counts = np.bincount(csr.indices, minlength=n_products).astype(np.int32)
        self.totals = np.bincount(csr.indices, csr.data, n_products).astype(np.int32)
        self.unit = matrix.scale.unit
        self.n_ratings, self.total = int(self.counts.sum()), int(self.totals.sum())

    def copy(self, n_columns: int) -> Tally:
        """Return a copy with room for that many columns. Its changes do not show here."""
        tally, more = copy.copy(self), np.zeros(max(n_columns - len(self.counts), 0), np.int32)
        tally.counts, tally.totals = np.concatenate([self.counts, more]), np.concatenate([self.totals, more])
        return tally

    def add(self, columns: NDArray[np.int32], steps: NDArray[np.int8], sign: int) -> None:
        """Count ratings of distinct products; ``sign`` -1: take them away."""
        self.counts[columns] += sign
        self.totals[columns] += sign * steps.astype(np.int32)
        self.n_ratings += sign * len(columns)
        self.total += sign * int(steps.sum(dtype=np.int64))

    def of(self, column: int) -> tuple[int, float | None]:
        """Return the number of ratings of a column, and their mean stars; None without a rating."""
        count = int(self.counts[column]) if column < len(self.counts) else 0
        return count, self.unit * int(self.totals[column]) / count if count else None

    @property
    def mean_rating(self) -> float:
        """Mean of all ratings in stars, as `RatingMatrix.mean_rating`."""
        return self.unit * self.total / self.n_ratings if self.n_ratings else math.nan

    def popular(self, order: NDArray[np.int32]) -> PopularProducts:
        """Return the columns in this order with their damped means."""
        totals, counts = self.totals[order].astype(np.float64), self.counts[order]
        damped = (self.unit * totals + PRIOR_VOTES * self.mean_rating) / (counts + PRIOR_VOTES)
        return PopularProducts(order, np.rint(damped * 1e9) / 1e9)


def moved(
    order: NDArray[np.int32], changed: NDArray[np.int32], tally: Tally, columns: LiveColumns
) -> NDArray[np.int32]:
    """Return the order with the changed columns moved to where their ratings put them now."""
    rest = order[np.isin(order, changed, invert=True)]
    present = changed[(tally.counts[changed] > 0) & columns.recommendable(changed)]
    ranks = _ranks(present, tally, columns)
    first = np.lexsort(ranks[::-1])
    return np.insert(rest, _places(rest, ranks[:, first], tally, columns), present[first])


def _ranks(columns: NDArray[np.int32], tally: Tally, numbered: LiveColumns) -> NDArray[np.int64]:
    """Return four numbers for each of the columns (m,), compared from the first on; the smallest is most popular."""
    counts, totals = -tally.counts[columns].astype(np.int64), -tally.totals[columns].astype(np.int64)
    return np.stack([counts, totals, *numbered.keys(columns)])


def _places(
    order: NDArray[np.int32], ranks: NDArray[np.int64], tally: Tally, columns: LiveColumns
) -> NDArray[np.int64]:
    """Count the ordered columns that come before each of the ranks (4, m), all in one search.

    Each round compares each rank with several columns. The fewer ranks, the more columns, since a round then costs more
    than its comparisons.
    """
    fan = next(fan for fan, most in FANS if ranks.shape[1] <= most)
    low, high = np.zeros(ranks.shape[1], np.int64), np.full(ranks.shape[1], len(order))
    while (low < high).any():
        step = -(-(high - low) // fan)
        tried = low[:, None] + step[:, None] * np.arange(fan)  # (m, fan), ascending
        theirs = _ranks(order[np.minimum(tried, len(order) - 1)].ravel(), tally, columns)
        theirs = theirs.reshape(len(ranks), *tried.shape)
        n_before = ((tried < high[:, None]) & _less(theirs, ranks[:, :, None])).sum(axis=1)
        high = np.minimum(high, low + n_before * step)
        low = np.where(n_before > 0, low + (n_before - 1) * step + 1, low)
    return low


def _less(these: NDArray[np.int64], those: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Compare columns of numbers (k, ...) pairwise, from the first row on. Tell which of these are less than those."""
    less = np.zeros(these.shape[1:], np.bool_)
    for mine, other in zip(these[::-1], those[::-1], strict=True):
        less = (mine < other) | ((mine == other) & less)
    return less
