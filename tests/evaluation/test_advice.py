"""The advice names the simplest ranking that no other beats; a hint comes only if the ranking that is set is beaten."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from recommender.evaluation.advice import advised, as_advice, as_hint, beaten_by
from recommender.evaluation.result import NDCG, Difference, Evaluation, Figure, RankingFigures

N = 40


def measured(**more: float | list[float]) -> Evaluation:
    """An evaluation in which each ranking's nDCG is 0.1 and ``more`` for each user, or for the users of a list."""
    values = {name: np.full(N, 0.1) for name in more}
    for name, gain in more.items():
        gains = np.array(gain if isinstance(gain, list) else N * [gain])
        values[name][: len(gains)] += gains
    rankings = [
        RankingFigures(name, {NDCG: Figure(float(found.mean()), None, None, N)}, {}, None, found)
        for name, found in values.items()
    ]
    differences = []
    for first, second in combinations(values, 2):
        ahead = values[first] - values[second]
        noise = 1.96 * float(ahead.std()) / N**0.5
        mean = float(ahead.mean())
        differences.append(Difference(first, second, Figure(mean, mean - noise, mean + noise, N)))
    return Evaluation(
        tuple(rankings), tuple(differences), split="", seed=0, n_users=N, n_products=N, n_ratings=N, n_test_users=N,
        n_by_activity={},
    )  # fmt: skip


def test_the_simplest_ranking_that_no_other_beats_is_advised() -> None:
    equal = measured(classic=0.0, taste=0.0, popular=0.5, items=0.0, auto=0.0)
    assert advised(equal) == "classic"
    assert advised(measured(classic=0.0, taste=0.1, popular=0.5, items=0.0, auto=0.1)) == "taste"
    assert advised(measured(classic=0.0, taste=0.1, items=0.2, auto=0.2)) == "items"
    assert advised(measured(classic=0.0, auto=0.3, items=0.2, taste=0.1)) == "auto"
    assert advised(measured(classic=0.0, taste=0.1)) == "taste"


def test_chance_and_a_few_users_beat_nobody() -> None:
    lucky = [0.9, -0.5] * 10  # mean 0.1 over 40 users; standard error 0.08
    assert beaten_by(measured(classic=0.0, taste=lucky), "classic") == []
    assert advised(measured(classic=0.0, taste=lucky)) == "classic"
    six, seven = 6 * [0.5], 7 * [0.5]
    assert beaten_by(measured(classic=0.0, taste=six), "classic") == []
    assert beaten_by(measured(classic=0.0, taste=seven), "classic") == ["taste"]
    assert beaten_by(measured(taste=seven, classic=0.0), "classic") == ["taste"]  # in either order


def test_the_advice_is_one_line_with_the_command_or_says_to_stay() -> None:
    better = measured(classic=0.0, taste=0.1, items=0.2)
    assert as_advice(better, "classic") == (
        "run RANKING=items, the simplest ranking that no other beats by more than chance explains (nDCG@10 +0.2000 "
        "against classic, 95 % between +0.2000 and +0.2000): set it in .env, then python recommendation_engine.py "
        "--users all"
    )
    assert as_advice(better, "items") == (
        "stay with RANKING=items, the simplest ranking that no other beats by more than chance explains"
    )
    equal = measured(classic=0.0, taste=0.0)
    assert as_advice(equal, "classic").startswith("stay with RANKING=classic, ")
    assert as_advice(equal, "taste").startswith("run RANKING=classic, the simplest")
    assert as_advice(equal, "taste").count("(") == 0  # nobody is served differently


@pytest.mark.parametrize("ranking", ["taste", "items"])
def test_a_ranking_that_is_not_beaten_gets_no_hint(ranking: str) -> None:
    assert as_hint(measured(classic=0.0, taste=0.1, items=0.1, popular=0.5), ranking) == ""


def test_a_beaten_ranking_gets_the_simplest_better_one_as_a_hint() -> None:
    found = measured(classic=0.0, taste=0.1, items=0.1, popular=0.5)
    assert as_hint(found, "classic") == (
        "RANKING=taste finds more than RANKING=classic (nDCG@10 +0.1000 against classic, 95 % between +0.1000 and "
        "+0.1000): set it in .env, or try it with --ranking taste; --evaluate measures every ranking"
    )
    best = as_hint(measured(classic=0.1, taste=0.0, items=0.3, auto=0.2), "classic")
    assert best.startswith("RANKING=items finds more than RANKING=classic")
