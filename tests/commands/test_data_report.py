"""The report before training: every count equals plain counting, and each kind of shop has its verdict."""

from __future__ import annotations

import statistics
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recommender.commands import data_report
from recommender.commands.data_report import ItemsForecast, describe, forecast, foresee_items
from recommender.neighbors import CosineIndex
from recommender.shop import build_profiles
from tests.steps.test_recommendation_engine import A, B, C, D, E, matrix_of, small_shops


@hypothesis_settings(deadline=None)
@given(stars=small_shops, catalog=st.sets(st.sampled_from([A, B, C, D, E])), cold=st.integers(0, 3))
def test_every_figure_equals_plain_counting(stars: dict[int, dict[str, float]], catalog: set[str], cold: int) -> None:
    report = describe(matrix_of(stars, catalog), n_users=len(stars) + cold, n_catalog=len(catalog))
    rated = {product for theirs in stars.values() for product in theirs}
    raters = {product: sum(product in theirs for theirs in stars.values()) for product in rated}
    all_stars = [rating for theirs in stars.values() for rating in theirs.values()]
    sociable = [user for user, theirs in stars.items() if any(raters[product] > 1 for product in theirs)]
    assert report.n_ratings == len(all_stars)
    assert report.mean_rating == pytest.approx(statistics.mean(all_stars))
    assert report.median_ratings_per_user == statistics.median(len(theirs) for theirs in stars.values())
    assert report.density == len(all_stars) / (len(stars) * len(rated))
    assert report.share_with_neighbor == len(sociable) / len(stars)
    assert report.cold_users == cold
    assert report.cold_products == len(catalog - rated)
    assert report.orphan_products == len(rated - catalog)
    assert report.listed_ratings == sum(raters[product] for product in rated & catalog)
    assert report.work == sum(n * n for n in raters.values())


def test_the_verdict_names_the_fault_of_the_ratings() -> None:
    lonely = describe(matrix_of({1: {A: 5.0}, 2: {B: 5.0}, 3: {C: 1.0}}, {A, B}), n_users=3, n_catalog=2)
    assert [line.split(":")[0] for line in lonely.advice()] == ["bad", "thin", "note"]
    assert "100% of the users share no product with anybody" in lonely.advice()[0]
    assert "1 rated products are not in the catalog" in lonely.advice()[2]
    everybody = {user: {A: 5.0, B: 4.0, C: 3.0} for user in range(1, 9)}
    others = describe(matrix_of(everybody, {A}), n_users=8, n_catalog=1)
    assert others.advice()[0] == (
        "bad: 8 of the 24 ratings are of products in the catalog; check that ratings and catalog have the same "
        "product ids"
    )
    fair = everybody | {9: {D: 5.0, E: 3.0, "B00000000F": 1.0}}
    assert describe(matrix_of(everybody), n_users=8, n_catalog=3).advice() == [
        "good: enough users share enough products for recommendations from neighbors"
    ]
    assert describe(matrix_of(fair), n_users=9, n_catalog=6).advice()[0].startswith("fair: 11% of the users")


def test_the_report_is_a_table_with_the_verdict_last() -> None:
    matrix = matrix_of({user: {A: 5.0, B: 4.0, C: 3.0} for user in range(1, 9)})
    ahead = forecast(matrix, CosineIndex(matrix.steps), n_neighbors=20, n=10, rng=np.random.default_rng(0))
    items = ItemsForecast(12.34, 5_678_000_000, "local form, the rarest 400 products of a user")
    lines = describe(matrix, n_users=1_008, n_catalog=3).as_text(0.5, ahead, items).splitlines()
    assert lines[0].split() == ["users", "1,008", "1,000", "without", "ratings"]
    assert lines[-1].startswith("good")
    form = "more, for weights between products, local form, the rarest 400 products of a user"
    assert lines[-3] == f"RANKING=items: about          12.3 s   {form}"
    assert lines[-2].split() == ["5,678", "MB", "more", "while", "they", "are", "made"]
    assert ahead.seconds > 0
    assert ahead.peak_bytes > matrix.steps.data.nbytes


class Foreseen(NamedTuple):
    """What `recommender.items.foresee` returns."""

    local: bool
    n_bytes: int
    cpu_seconds: float
    longest: int
    most_dense: int


def test_the_forecast_of_items_is_that_of_the_users_and_products_with_any(monkeypatch: pytest.MonkeyPatch) -> None:
    stars = {1: {A: 5.0, B: 4.0, C: 3.0}, 2: {B: 1.0}, 3: {D: 5.0}}
    profiles = build_profiles(matrix_of(stars, {A, B, C, D, E}))
    asked: list[tuple[list[int], int]] = []

    def foresee(histories: NDArray[np.int64], n_products: int) -> Foreseen:
        asked.append((histories.tolist(), n_products))
        return found[len(asked) - 1]

    found = [Foreseen(False, 10, 8.0, 3, 20_000), Foreseen(True, 20, 4.0, 3, 1_234), Foreseen(True, 30, 2.0, 2, 0)]
    monkeypatch.setattr(data_report, "foresee", foresee)
    monkeypatch.setattr(data_report, "thread_count", lambda given: 4)
    assert [foresee_items(profiles) for _ in found] == [
        ItemsForecast(2.0, 10, "dense form (dense up to 20,000 users or products here)"),
        ItemsForecast(1.0, 20, "local form (dense up to 1,234 users or products here)"),
        ItemsForecast(0.5, 30, "local form, the rarest 2 products of a user (dense up to 0 users or products here)"),
    ]
    assert asked == 3 * [([3, 1, 1], 4)]
