"""Sums over a whole shop, or over a part of its users: whole numbers, so parts are merged in any order and grouping.

    sums = merged_sums(shop_sums(profiles, steps) for profiles, steps in parts)      # equal to those of all at once

A part has some rows and all columns. What follows from the sums is the same for one part as for many:
`recommender.neighbors.taste_statistics`, `recommender.fallback.popular_from` and `recommender.fallback.ladder_from`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.shop.scale import Scale


@dataclass(frozen=True, eq=False)
class ShopSums:
    """The sums by product, (n_products,) int64 each, and the number of users."""

    n_users: int
    raters: NDArray[np.int64]  # users who have the product in their profile
    n_ratings: NDArray[np.int64]  # users who rated it
    steps: NDArray[np.int64]  # sum of its ratings, in steps of the scale

    def mean_rating(self, scale: Scale) -> float:
        """Return the mean of all ratings on their scale; NaN if there are none."""
        total, n = int(self.steps.sum()), int(self.n_ratings.sum())
        return scale.unit * total / n if n else math.nan


def shop_sums(profiles: Any, steps: Any) -> ShopSums:
    """Return the sums of these users. ``profiles`` and ``steps``: CSR of one shape; a stored step of 0 is no rating.

    Without profiles, pass the steps for both.
    """
    n_users, n_products = steps.shape
    columns, given = steps.indices, steps.data
    if not given.all():
        columns, given = columns[given != 0], given[given != 0]
    n_ratings = np.bincount(columns, minlength=n_products).astype(np.int64)
    totals = np.bincount(columns, given, n_products).astype(np.int64)  # whole numbers below 2^53: exact
    same = profiles.indices is columns
    raters = n_ratings if same else np.bincount(profiles.indices, minlength=n_products).astype(np.int64)
    return ShopSums(n_users, raters, n_ratings, totals)


def merged_sums(parts: Iterable[ShopSums]) -> ShopSums:
    """Return the sums of all parts, at least one, which have no user in common."""
    first, *others = parts
    raters, n_ratings, steps = first.raters.copy(), first.n_ratings.copy(), first.steps.copy()
    for part in others:
        raters += part.raters
        n_ratings += part.n_ratings
        steps += part.steps
    return ShopSums(first.n_users + sum(part.n_users for part in others), raters, n_ratings, steps)
