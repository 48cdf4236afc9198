"""Metrics compared with hand arithmetic, with fractions in plain Python, and with scikit-learn's same metrics."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn import metrics as sk

from recommender.errors import SettingError
from recommender.evaluation import metrics

# whole rankings: which of 2 to 30 products are relevant, first place first; one row per user
RANKINGS = st.tuples(st.integers(1, 5), st.integers(2, 30)).flatmap(lambda shape: hnp.arrays(np.bool_, shape))


def plain_ndcg(hits: list[bool], n_relevant: int, k: int) -> float:
    gained = sum(1 / math.log2(place + 1) for place, hit in enumerate(hits[:k], start=1) if hit)
    return gained / sum(1 / math.log2(place + 1) for place in range(1, min(k, n_relevant) + 1))


def plain_average_precision(hits: list[bool], n_relevant: int, k: int) -> Fraction:
    total = Fraction(0)
    for place in range(1, min(k, len(hits)) + 1):
        if hits[place - 1]:
            total += Fraction(sum(hits[:place]), place)
    return total / min(k, n_relevant)


@settings(max_examples=200, deadline=None)
@given(RANKINGS, st.integers(1, 35))
def test_ndcg_equals_scikit_learns(ranking: NDArray[np.bool_], k: int) -> None:
    assume(ranking.any(axis=1).all())
    scores = np.arange(ranking.shape[1], 0, -1.0)  # distinct, first place first
    expected = [sk.ndcg_score([row], [scores], k=k) for row in ranking.astype(float)]
    assert metrics.ndcg_at(ranking, ranking.sum(axis=1), k) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(RANKINGS, st.integers(1, 35))
def test_recall_equals_scikit_learns(ranking: NDArray[np.bool_], k: int) -> None:
    assume(ranking.any(axis=1).all())
    chosen = np.arange(ranking.shape[1]) < k
    expected = [sk.recall_score(row, chosen) for row in ranking]
    assert metrics.recall_at(ranking, ranking.sum(axis=1), k) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(RANKINGS)
def test_average_precision_of_the_whole_ranking_equals_scikit_learns(ranking: NDArray[np.bool_]) -> None:
    assume(ranking.any(axis=1).all())
    n = ranking.shape[1]
    expected = [sk.average_precision_score(row, np.arange(n, 0, -1.0)) for row in ranking]
    assert metrics.average_precision_at(ranking, ranking.sum(axis=1), n) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.booleans(), max_size=25), st.integers(0, 30), st.integers(1, 30))
def test_metrics_of_any_list_equal_the_definitions(hits: list[bool], beyond: int, k: int) -> None:
    n_relevant = sum(hits) + beyond  # relevant products that the list misses
    assume(n_relevant)
    arguments = np.array([hits], bool), [n_relevant], k
    assert metrics.ndcg_at(*arguments) == pytest.approx([plain_ndcg(hits, n_relevant, k)], abs=1e-12)
    assert metrics.recall_at(*arguments) == pytest.approx([sum(hits[:k]) / n_relevant])
    expected = plain_average_precision(hits, n_relevant, k)
    assert metrics.average_precision_at(*arguments) == pytest.approx([float(expected)], abs=1e-12)
    assert metrics.hit_rate_at(*arguments).tolist() == [float(any(hits[:k]))]


@pytest.mark.parametrize("k", [1, 3, 10, 20])
def test_a_perfect_list_is_exactly_one_and_an_empty_one_zero(k: int) -> None:
    n_relevant = np.arange(1, 41)
    perfect = np.arange(40) < n_relevant[:, None]
    for metric in (metrics.ndcg_at, metrics.average_precision_at, metrics.hit_rate_at):
        assert metric(perfect, n_relevant, k).tolist() == [1.0] * 40
        assert metric(np.zeros((40, 0), bool), n_relevant, k).tolist() == [0.0] * 40
    assert metrics.recall_at(perfect, n_relevant, k).tolist() == [min(k, n) / n for n in n_relevant.tolist()]


def test_the_first_places_have_the_weights_computed_by_hand() -> None:
    hits = [[False, True, False, True, True]]
    assert metrics.ndcg_at(hits, [3], 4)[0] == pytest.approx(
        (1 / math.log2(3) + 1 / math.log2(5)) / (1 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4))
    )
    assert metrics.average_precision_at(hits, [3], 4).tolist() == [(1 / 2 + 2 / 4) / 3]
    assert metrics.average_precision_at(hits, [9], 4).tolist() == [(1 / 2 + 2 / 4) / 4]
    assert metrics.recall_at(hits, [8], 4).tolist() == [2 / 8]


def test_a_user_without_a_relevant_product_is_nan_in_every_metric() -> None:
    for metric in (metrics.ndcg_at, metrics.recall_at, metrics.average_precision_at, metrics.hit_rate_at):
        assert np.isnan(metric([[False, False]], [0], 2)).tolist() == [True]


def test_coverage_counts_distinct_products_and_ignores_empty_places() -> None:
    assert metrics.coverage([[3, 1, -1], [1, -1, -1]], 5) == 2 / 5
    assert metrics.coverage([[-1]], 5) == 0.0
    assert math.isnan(metrics.coverage([[-1]], 0))


def test_novelty_equals_hand_arithmetic_also_for_an_unrated_product() -> None:
    raters = [16, 4, 0]  # of 16 users: 0 bits, 2 bits, and 4 bits for an unrated product, as if one user had rated it
    lists = [[0, 1, 2], [2, 1, -1], [1, -1, -1], [-1, -1, -1]]
    assert metrics.novelty(lists, raters, 16)[:3].tolist() == [(0 + 2 + 4) / 3, (4 + 2) / 2, 2.0]
    assert math.isnan(metrics.novelty(lists, raters, 16)[3])


def interval(values: Any, rng: np.random.Generator, *, weights: Any = None, **options: Any) -> list[float]:
    """Mean, low and high of one column."""
    column = np.asarray(values, np.float64).reshape(-1, 1)
    weight = np.ones_like(column) if weights is None else np.asarray(weights, np.float64).reshape(-1, 1)
    found: list[float] = metrics.bootstrap_intervals(column, weight, rng, **options)[0].tolist()
    return found


def naive_bootstrap(values: list[float], weights: list[float], seed: int, n_resamples: int) -> tuple[float, float]:
    rng, n, means = np.random.default_rng(seed), len(values), []
    for _ in range(n_resamples):
        users = rng.integers(0, n, n).tolist()
        weight = sum(weights[user] for user in users)
        if weight:
            means.append(sum(values[user] for user in users) / weight)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 9), st.integers(0, 3)), min_size=1, max_size=30), st.integers(0, 99))
def test_the_bootstrap_equals_plain_python(users: list[tuple[float, int]], seed: int) -> None:
    values, weights = [value for value, _ in users], [float(weight) for _, weight in users]
    assume(sum(weights))
    found = interval(values, np.random.default_rng(seed), weights=weights, n_resamples=40)
    low, high = naive_bootstrap(values, weights, seed, 40)
    assert found == pytest.approx((sum(values) / sum(weights), low, high), abs=1e-9)


def test_the_bootstrap_is_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(5).normal(10.0, 3.0, 2_500)
    mean, low, high = interval(values, np.random.default_rng(6))
    error = values.std() / math.sqrt(2_500)  # 0.06
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.15 * error)


def test_any_number_of_columns_share_the_same_draws() -> None:
    values = np.random.default_rng(3).random((50, 3))
    together = metrics.bootstrap_intervals(values, np.ones((50, 3)), np.random.default_rng(4))
    alone = [interval(values[:, i], np.random.default_rng(4)) for i in range(3)]
    assert together.tolist() == [pytest.approx(list(interval)) for interval in alone]


def test_memory_bounds_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random(50)
    whole = interval(values, np.random.default_rng(4))
    monkeypatch.setattr(metrics, "_BLOCK_CELLS", 130)  # two draws of 50 users at a time
    assert interval(values, np.random.default_rng(4)) == pytest.approx(whole)


def test_a_mean_of_no_values_is_nan_with_its_interval() -> None:
    for values, weights in (([], []), ([0.0, 0.0], [0.0, 0.0])):
        assert np.isnan(interval(values, np.random.default_rng(0), weights=weights)).all()


def test_arguments_that_do_not_fit_are_errors_that_name_them() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SettingError, match="k=0 cannot be used"):
        metrics.ndcg_at([[True]], [1], 0)
    with pytest.raises(SettingError, match=r"hits \(1, 2\) and n_relevant \(2,\) do not fit"):
        metrics.recall_at([[True, False]], [1, 1], 2)
    with pytest.raises(SettingError, match=r"level=95 cannot be used"):
        interval([1.0], rng, level=95)
    with pytest.raises(SettingError, match="n_resamples=0"):
        interval([1.0], rng, n_resamples=0)
    with pytest.raises(SettingError, match="one weight for each value"):
        interval([1.0], rng, weights=[1.0, 1.0])
