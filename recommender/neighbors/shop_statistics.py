"""Statistics of a whole shop for the taste ranking: raters, rating biases, and the weights that follow from them.

    item weight  w_j = ln(1 + n_users / raters_j)
    mu           mean rating
    item bias    b_i = sum of (r - mu) over i's ratings / (n_i + 10)
    user bias    b_u = sum of (r - mu - b_i) over u's ratings / (n_u + 3)

The weight is an inverse document frequency (Sparck Jones 1972) of products. The biases are the damped baselines of Bell
and Koren 2007: ten and three ratings without deviation stand in for the unknown. Statistics may be older and shorter
than the profiles they are used with: an unknown product counts as rated by one user, and unknown biases are 0.

Logarithms and powers are computed in decimal arithmetic, or by additions and divisions alone. The machine's own differ
in the last bit between processors and C libraries, and ties would fall differently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.arrays import checked_csr
from recommender.errors import SettingError
from recommender.shop import HALF_STARS, Scale, ShopSums, shop_sums

ITEM_PRIOR = 10  # ratings without deviation
USER_PRIOR = 3
_DIGITS = Context(prec=20)  # 3 more than a float64 has


@dataclass(frozen=True, eq=False)
class TasteStatistics:
    """Published statistics of a shop. Columns and rows are those of the profiles, which may have gained more since."""

    n_users: int
    raters: NDArray[np.int64]  # (n_products,) users who have the product
    mu: float  # on the scale of the ratings, as the biases are
    item_bias: NDArray[np.float64]  # (n_products,)
    user_bias: NDArray[np.float64]  # (n_users,)

    def fitted(self, n_users: int, n_products: int) -> TasteStatistics:
        """Return the statistics for so many rows and columns. Unknown ones have 1 rater and biases of 0.

        A product without raters counts as rated by one, too. Raises SettingError if the matrix is smaller.
        """
        if self.raters.size > n_products or self.user_bias.size > n_users or self.item_bias.size > n_products:
            raise SettingError(
                f"statistics of {self.user_bias.size} users and {self.raters.size} products do not fit a matrix of "
                f"{n_users} x {n_products}: it may have gained rows and columns since, not lost any"
            )
        raters = np.ones(n_products, np.int64)
        raters[: self.raters.size] = np.maximum(self.raters, 1)
        return TasteStatistics(
            self.n_users, raters, self.mu, _padded(self.item_bias, n_products), _padded(self.user_bias, n_users)
        )


def taste_statistics(
    profiles: Any, steps: Any = None, *, scale: Scale = HALF_STARS, sums: ShopSums | None = None
) -> TasteStatistics:
    """Return the statistics of profiles (n_users, n_products) and of the ratings in them.

    profiles: CSR; raters counts its stored entries, n_users all rows. steps: CSR of the same shape, steps of the
    scale; a stored 0 is unrated. None: the shop has no ratings, and mu is the middle of the scale. sums: of the whole
    shop, if these are a part of its users; the user biases are those of the part.
    Raises SettingError if the shapes differ or an argument is not CSR.
    """
    n_users, n_products = checked_csr("profiles", profiles).shape
    ratings = sp.csr_array((n_users, n_products), dtype=np.int8) if steps is None else steps
    if checked_csr("steps", ratings).shape != profiles.shape:
        raise SettingError(f"steps {ratings.shape} and profiles {profiles.shape} must have one shape")
    rated = ratings.data != 0
    columns = ratings.indices[rated]
    rows = np.repeat(np.arange(n_users), np.diff(ratings.indptr))[rated]
    given, unit = ratings.data[rated], scale.unit
    shop = shop_sums(profiles, ratings) if sums is None else sums
    counts, mean = shop.n_ratings, shop.mean_rating(scale)
    mu = scale.middle if math.isnan(mean) else mean
    item_bias = (unit * shop.steps - counts * mu) / (counts + ITEM_PRIOR)
    left = np.bincount(rows, given * unit - mu - item_bias[columns], n_users)  # summed in the order of the columns
    user_bias = left / (np.bincount(rows, minlength=n_users) + USER_PRIOR)
    return TasteStatistics(shop.n_users, shop.raters, mu, item_bias, user_bias)


def item_weights(statistics: TasteStatistics) -> NDArray[np.float64]:
    """Return w_j = ln(1 + n_users / raters_j), (n_products,), correctly rounded; 0 if there are no users."""
    counts, which = np.unique(np.maximum(statistics.raters, 1), return_inverse=True)
    weights = np.array([_logarithm(statistics.n_users, count) for count in counts.tolist()], np.float64)
    return weights[which]


def damping_divisors(statistics: TasteStatistics, damping: float) -> NDArray[np.float64]:
    """Return raters_i^damping, (n_products,), correctly rounded."""
    counts, which = np.unique(np.maximum(statistics.raters, 1), return_inverse=True)
    return np.array([_power(count, damping) for count in counts.tolist()], np.float64)[which]


def fifth_root(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x^0.2 of finite numbers >= 0, exact to about one bit of the last place and equal on every machine.

    Newton's iteration y <- (4 y + x / y^4) / 5 on a mantissa from 0.5 up to 16, by exactly rounded operations only.
    """
    mantissa, exponent = np.frexp(values)
    fifths, rest = np.divmod(exponent, 5)
    mantissa = np.ldexp(mantissa, rest)  # 0.5 <= mantissa < 16
    root = np.full_like(mantissa, 1.75)  # above every root: the iteration falls and ends
    for _ in range(12):
        square = root * root
        root = (4.0 * root + mantissa / (square * square)) / 5.0
    return np.where(values > 0.0, np.ldexp(root, fifths), 0.0)


def _padded(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    return np.concatenate([values, np.zeros(size - values.size)])


@lru_cache(maxsize=1 << 16)
def _logarithm(n_users: int, count: int) -> float:
    return float(_DIGITS.ln(_DIGITS.divide(Decimal(count + n_users), Decimal(count))))


@lru_cache(maxsize=1 << 16)
def _power(count: int, exponent: float) -> float:
    return float(_DIGITS.power(Decimal(count), Decimal(repr(exponent))))
