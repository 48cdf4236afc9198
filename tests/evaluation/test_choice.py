"""The rule of the choice leaves the plainer rival as often as it says where nothing differs, and takes a better one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from recommender.evaluation.choice import CHANCE, chosen_rival, clearly_behind, plainest_rival, standard_errors


def rivals(rng: np.random.Generator, n_rivals: int, n_users: int, alike: float) -> NDArray[np.float64]:
    """Figures of equally good rivals, (n_rivals, n_users): the users differ, the rivals by chance; many are equal."""
    users = rng.random(n_users) * (rng.random(n_users) < 0.3)
    return users + rng.normal(size=(n_rivals, n_users)) * (rng.random((n_rivals, n_users)) > alike)


@pytest.mark.parametrize(("n_rivals", "alike"), [(2, 0.0), (24, 0.0), (24, 0.9), (54, 0.5)])
def test_where_nothing_differs_the_default_is_left_as_often_as_one_standard_error_would_for_one_rival(
    n_rivals: int, alike: float
) -> None:
    rng, rounds = np.random.default_rng(1), 200
    left = by_one_error = 0
    for _ in range(rounds):
        found = rivals(rng, n_rivals, 300, alike)
        left += chosen_rival(found, 0) != 0
        ahead = found - found[0]
        best = int(np.argmax(ahead.mean(axis=1)))
        by_one_error += best != 0 and ahead[best].mean() > standard_errors(ahead)[best]
    assert abs(left / rounds - CHANCE) < 0.08  # 3 standard errors of 200 rounds
    if n_rivals > 2:
        assert by_one_error / rounds > 0.5


def test_rivals_that_rank_alike_do_not_raise_the_bar() -> None:
    rng = np.random.default_rng(2)
    changed = 0
    for _ in range(50):
        found = rivals(rng, 2, 200, 0.0) + np.array([[0.0], [0.1]])
        twins = np.vstack([found, np.repeat(found[1:], 30, axis=0)])
        assert clearly_behind(found, 0) == clearly_behind(twins, 0)
        others = np.vstack([found, rivals(rng, 30, 200, 0.0)])
        changed += clearly_behind(found, 0) and chosen_rival(others, 0) != 1
    assert changed > 0  # 30 others do


def test_rivals_that_are_far_behind_do_not_raise_the_bar() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        found = rivals(rng, 2, 200, 0.0) + np.array([[0.0], [0.35]])  # ahead by 3.5 standard errors, about
        far = np.vstack([found, found[:1] - 9.0 + 0.1 * rng.normal(size=(1, 200))])
        assert clearly_behind(found, 0) == clearly_behind(far, 0)


def test_a_rival_that_is_really_better_is_taken() -> None:
    rng = np.random.default_rng(3)
    found = rivals(rng, 24, 1_000, 0.0)
    found[17] += 0.3  # 7 standard errors of the difference
    assert chosen_rival(found, 0) == 17
    assert chosen_rival(found, 17) == 17
    assert plainest_rival(found, 5) == 17
    assert plainest_rival(found, 20) == 17
    found[3] += 0.3
    assert plainest_rival(found, 5) == 3  # plainer, and not clearly behind
    assert plainest_rival(found, 2) in (3, 17)  # the best: neither is among the plain ones


def test_a_rival_that_is_ahead_by_the_same_for_everybody_is_taken_and_an_equal_one_is_not() -> None:
    users = np.linspace(0.0, 1.0, 50)
    assert chosen_rival(np.array([users, users + 0.25]), 0) == 1
    assert chosen_rival(np.array([users, users]), 1) == 1
    assert chosen_rival(np.array([users, users - 0.25, users]), 2) == 2


def test_the_standard_error_is_that_of_a_mean() -> None:
    ahead = np.array([[0.0, 0.2, 0.1, 0.1], [1.0, 1.0, 1.0, 1.0]])
    # deviations -0.1, 0.1, 0, 0: variance 0.02 / 3, error sqrt(0.02 / 3 / 4)
    np.testing.assert_allclose(standard_errors(ahead), [(0.02 / 12) ** 0.5, 0.0], atol=1e-9)
