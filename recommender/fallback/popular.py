"""The popularity ranking: products by number of ratings, for users without neighbors and for short lists.

Products are ordered by their number of ratings (the plain popularity that offline comparisons use), equal numbers by
the damped mean, then by product_id. The rating shown is the damped mean

    predicted(i) = (sum of r(u,i) + 10 * mu) / (n(i) + 10)

mu is the mean of all ratings, and n(i) is the number of i's ratings. Ten average ratings stand in for the unknown (a
Bayesian average with a prior of ten votes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import _cold_start_kernels
from recommender.shop import RatingMatrix, Scale, ShopSums, shop_sums

PRIOR_VOTES = 10
FEW = 500  # up to so many columns a set is faster than `np.isin`, which takes at least 20 µs

kernels: Any = _cold_start_kernels  # compiled functions have no signature a type checker could use


@dataclass(frozen=True, eq=False)
class PopularProducts:
    """Recommendable columns of a rating matrix, most popular first, and the damped mean of each; both (m,)."""

    columns: NDArray[np.int32]
    predicted: NDArray[np.float64]

    def among(self, allowed: NDArray[np.bool_]) -> PopularProducts:
        """Return the products whose column is allowed, in the same order."""
        keep = allowed[self.columns]
        return PopularProducts(self.columns[keep], self.predicted[keep])

    def beyond(self, excluded: NDArray[np.integer], n: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the first n products whose column is not in ``excluded``."""
        if not len(excluded):
            return self.columns[:n], self.predicted[:n]
        # the first n + len(excluded) hold n that are not excluded, or all that there are
        head = slice(0, n + len(excluded))
        if head.stop <= FEW:
            out = set(excluded.tolist())
            places = [place for place, column in enumerate(self.columns[head].tolist()) if column not in out][:n]
            return self.columns[places], self.predicted[places]
        keep = np.flatnonzero(~np.isin(self.columns[head], excluded))[:n]
        return self.columns[keep], self.predicted[keep]

    def top_up(
        self,
        ratings: Any,
        rows: NDArray[np.int64],
        columns: NDArray[np.int32],
        predicted: NDArray[np.float64],
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return copies of ``columns`` and ``predicted`` (len(rows), n), filled where they are -1.

        ``rows``: the users of these lists. Products that they rated, in the CSR array ``ratings`` with sorted columns,
        are left out.
        """
        columns, predicted = columns.copy(), predicted.copy()
        kernels.top_up_popular(rows, ratings.indptr, ratings.indices, self.columns, self.predicted, columns, predicted)
        return columns, predicted


def damped_means(matrix: RatingMatrix) -> NDArray[np.float64]:
    """Return (sum of r + 10 mu) / (n + 10) of every product, (n_products,); mu for a product without a rating."""
    return means_from(shop_sums(matrix.steps, matrix.steps), matrix.scale)


def means_from(sums: ShopSums, scale: Scale) -> NDArray[np.float64]:
    """Return `damped_means` of the shop that has these sums."""
    damped = (scale.unit * sums.steps + PRIOR_VOTES * sums.mean_rating(scale)) / (sums.n_ratings + PRIOR_VOTES)
    return np.rint(damped * 1e9) / 1e9


def rank_popular(matrix: RatingMatrix) -> PopularProducts:
    """Rank the recommendable products of ``matrix`` that have a rating."""
    return popular_from(shop_sums(matrix.steps, matrix.steps), matrix.recommendable, matrix.scale)


def popular_from(sums: ShopSums, recommendable: NDArray[np.bool_], scale: Scale) -> PopularProducts:
    """Return `rank_popular` of the shop that has these sums. ``recommendable`` (n_products,)."""
    counts, damped = sums.n_ratings, means_from(sums, scale)
    columns = np.flatnonzero(recommendable & (counts > 0)).astype(np.int32)
    order = np.lexsort((columns, -damped[columns], -counts[columns]))
    return PopularProducts(columns[order], damped[columns][order])
