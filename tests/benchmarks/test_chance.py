"""The benchmark of chance counts the rounds that leave the plainer rival, of rivals that are moved to one mean."""

from __future__ import annotations

import numpy as np

from benchmarks.chance import Shares, shares_left
from recommender.evaluation import Tuned
from recommender.evaluation.rivals import Family
from recommender.ranking import FUSION, ITEMS, TASTE, AutoParameters, ItemParameters, TasteParameters


def tuned_of(level: float, spread: float) -> Tuned:
    """Twenty-four rivals of taste and of items, and six fusions; all but the defaults ``level`` higher."""
    rng = np.random.default_rng(0)

    def family(parameters: list[AutoParameters]) -> Family:
        found = spread * rng.normal(size=(len(parameters), 400))
        found[1:] += level
        return Family(parameters, found)

    taste = [AutoParameters(TASTE), *(AutoParameters(TASTE, TasteParameters(k)) for k in range(1, 24))]
    items = [AutoParameters(ITEMS), *(AutoParameters(ITEMS, items=ItemParameters(float(k))) for k in range(1, 24))]
    families = {TASTE: family(taste), ITEMS: family(items), FUSION: family([AutoParameters(FUSION)] * 6)}
    return Tuned(AutoParameters(), 400, families)


def test_better_rivals_are_moved_to_one_mean_and_taken_as_seldom_as_equal_ones() -> None:
    assert shares_left(tuned_of(5.0, 1.0), 200, 50) == shares_left(tuned_of(0.0, 1.0), 200, 50)
    assert shares_left(tuned_of(5.0, 0.0), 200, 5) == Shares(0.0, 0.0, 0.0, 0.0)


def test_one_standard_error_is_left_often_and_the_rule_of_auto_seldom() -> None:
    found = shares_left(tuned_of(0.0, 1.0), 300, 200)
    assert found.one_error > 0.5
    assert all(0.05 < share < 0.27 for share in found[1:])
