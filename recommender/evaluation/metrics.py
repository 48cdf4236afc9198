"""Metrics of ranked lists: one number per user, and 95 % intervals over users.

A list is judged by its hits: ``hits`` (n_users, width) bool, True where the product at this place, best place first, is
one of the user's ``n_relevant`` (n_users,) hidden products. A list shorter than k has no hit at its missing places. If
nothing is relevant a list metric is NaN: such a user is no test user.

nDCG after Järvelin and Kekäläinen 2002 with binary gains and the discount 1 / log2(place + 1), as scikit-learn's
``ndcg_score`` (LensKit's default discount differs); recall as scikit-learn's (LensKit divides by min(relevant, k));
average precision as LensKit's for a full list. Novelty after Zhou et al. 2010. The bootstrap is Efron's percentile
bootstrap with users as the unit, since the ratings of one user depend on each other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.arrays import at_least_one
from recommender.errors import SettingError

N_RESAMPLES = 1_000
LEVEL = 0.95
_BLOCK_CELLS = 4_000_000  # draws held at once: 32 MB

Floats = NDArray[np.float64]


def ndcg_at(hits: ArrayLike, n_relevant: ArrayLike, k: int) -> Floats:
    """Return the normalized discounted cumulative gain of the first k places, (n_users,) from 0 to 1.

        DCG@k = sum over places j <= k with a hit of 1 / log2(j + 1)
        nDCG@k = DCG@k / DCG@k of the best list possible, which has min(k, n_relevant) hits at its head

    >>> ndcg_at([[True, False, True]], [2], 3).round(6).tolist()  # (1/log2(2) + 1/log2(4)) / (1/log2(2) + 1/log2(3))
    [0.919721]
    >>> ndcg_at([[True, True], [False, False]], [5, 1], 2).tolist()
    [1.0, 0.0]
    """
    judged, relevant = _judged(hits, n_relevant, k)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))  # (k,)
    best = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(relevant, k)]  # (n_users,)
    # added up in the order of the best list's sum, so that a perfect list is exactly 1.0
    gained = np.cumsum(judged * discounts[: judged.shape[1]], axis=1)
    return _ratio(gained[:, -1] if judged.shape[1] else np.zeros(len(relevant)), best)


def recall_at(hits: ArrayLike, n_relevant: ArrayLike, k: int) -> Floats:
    """Return the share of the user's relevant products among the first k, (n_users,): hits@k / n_relevant.

    >>> recall_at([[True, False, True], [False, True, True]], [4, 2], 2).tolist()
    [0.25, 0.5]
    """
    judged, relevant = _judged(hits, n_relevant, k)
    return _ratio(judged.sum(axis=1), relevant)


def average_precision_at(hits: ArrayLike, n_relevant: ArrayLike, k: int) -> Floats:
    """Return the average precision of the first k places, (n_users,); its mean over users is MAP@k.

        AP@k = sum over places j <= k with a hit of (hits@j / j) / min(k, n_relevant)

    >>> average_precision_at([[True, False, True]], [2], 3).round(6).tolist()  # (1/1 + 2/3) / 2
    [0.833333]
    """
    judged, relevant = _judged(hits, n_relevant, k)
    precision = np.cumsum(judged, axis=1) / np.arange(1, judged.shape[1] + 1)  # (n_users, width)
    return _ratio((precision * judged).sum(axis=1), np.minimum(relevant, k))


def hit_rate_at(hits: ArrayLike, n_relevant: ArrayLike, k: int) -> Floats:
    """Return 1.0 for a user with a relevant product among the first k, else 0.0, (n_users,).

    >>> hit_rate_at([[False, True], [True, False], [False, False]], [3, 1, 1], 1).tolist()
    [0.0, 1.0, 0.0]
    """
    judged, relevant = _judged(hits, n_relevant, k)
    return np.where(relevant > 0, judged.any(axis=1), np.nan)


def coverage(recommended_columns: ArrayLike, n_recommendable: int) -> float:
    """Return the share of recommendable products that are in some list: distinct columns / n_recommendable.

    ``recommended_columns``: lists of any shape, -1 where a place is empty. NaN without recommendable products.

    >>> coverage([[2, 0], [2, -1]], 8)  # products 0 and 2
    0.25
    """
    columns = np.unique(np.asarray(recommended_columns))
    return float((columns >= 0).sum()) / n_recommendable if n_recommendable else math.nan


def novelty(columns: ArrayLike, raters: ArrayLike, n_users: int) -> Floats:
    """Return the mean self-information of each list in bits, (n_users_asked,): how surprising its products are.

        novelty = mean over the list's products i of -log2(raters(i) / n_users)

    ``columns`` (n_users_asked, k), -1 where a place is empty; ``raters`` (n_products,) of the training ratings. A
    product without raters counts as rated by one user. NaN for an empty list.

    >>> novelty([[0, 1], [1, -1], [-1, -1]], [8, 2], 8).tolist()  # -log2(8/8) = 0 bits, -log2(2/8) = 2 bits
    [1.0, 2.0, nan]
    """
    lists = np.atleast_2d(np.asarray(columns))
    bits = -np.log2(np.maximum(np.asarray(raters), 1) / max(n_users, 1))  # (n_products,)
    there = lists >= 0
    padded = np.append(bits, 0.0)  # the value of an empty place, -1
    return _ratio(padded[lists].sum(axis=1), there.sum(axis=1))


def bootstrap_intervals(
    values: Floats, weights: Floats, rng: np.random.Generator, *, n_resamples: int = N_RESAMPLES, level: float = LEVEL
) -> Floats:
    """Return mean, low and high of each column, (m, 3): sum(values) / sum(weights) and its percentile bootstrap.

    ``values`` and ``weights`` (n_users, m). Users are drawn with their weights, n_users with replacement, n_resamples
    times; the interval holds the middle ``level`` of the means. All columns see the same draws. A column skips draws in
    which it has no weight. NaN if there is nothing to average. SettingError for level outside of 0..1 or shapes that
    differ.

    >>> values = np.array([[0.0, 0.5], [1.0, 0.5]] * 50)  # the first: 0.5 +- 1.96 * 0.5 / sqrt(100)
    >>> bootstrap_intervals(values, np.ones((100, 2)), np.random.default_rng(0)).round(1).tolist()
    [[0.5, 0.4, 0.6], [0.5, 0.5, 0.5]]
    """
    if not 0.0 < level < 1.0:
        raise SettingError(f"level={level!r} cannot be used: pass a share between 0 and 1, such as 0.95")
    if values.shape != weights.shape:
        raise SettingError(f"{values.shape} values and {weights.shape} weights: pass one weight for each value")
    n_users, m = values.shape
    out = np.full((m, 3), np.nan)
    if not n_users:
        return out
    out[:, 0] = _ratio(values.sum(axis=0), weights.sum(axis=0))
    means = np.empty((at_least_one("n_resamples", n_resamples), m))
    rows = max(1, _BLOCK_CELLS // n_users)
    for start in range(0, n_resamples, rows):
        counts = _draws(rng, min(rows, n_resamples - start), n_users)
        means[start : start + len(counts)] = _ratio(counts @ values, counts @ weights)
    ends = [(1.0 - level) / 2, (1.0 + level) / 2]
    for column in range(m):
        found = means[~np.isnan(means[:, column]), column]
        if found.size:
            out[column, 1:] = np.quantile(found, ends)
    return out


def _draws(rng: np.random.Generator, n: int, n_users: int) -> Floats:
    """Draw n_users users n times. Return how often each user comes in each draw, (n, n_users)."""
    counts = np.empty((n, n_users))
    for one in counts:  # one draw at a time: its counters stay in the processor's cache
        one[:] = np.bincount(rng.integers(0, n_users, n_users), minlength=n_users)
    return counts


def _judged(hits: ArrayLike, n_relevant: ArrayLike, k: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return the first k places (n_users, <= k), and n_relevant as an array. SettingError if they do not fit."""
    judged, relevant = np.asarray(hits, np.bool_), np.asarray(n_relevant, np.int64)
    if judged.ndim != 2 or relevant.shape != judged.shape[:1]:
        raise SettingError(
            f"hits {judged.shape} and n_relevant {relevant.shape} do not fit: pass (n_users, places) and (n_users,)"
        )
    return judged[:, : at_least_one("k", k)], relevant


def _ratio(above: Any, below: Any) -> Floats:
    """Return above / below, NaN where below is 0."""
    bottom = np.asarray(below, np.float64)
    out: Floats = np.full(bottom.shape, np.nan)
    np.divide(above, bottom, out=out, where=bottom != 0)
    return out
