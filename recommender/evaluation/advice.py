"""The ranking that a shop should run: the simplest that no other beats.

A ranking beats another if the 95 % interval of the difference in nDCG@10, user by user, is above 0, and the two serve
at least `LEAST_DIFFERING` users differently. The order of simplicity is that of `recommender.ranking.RANKINGS`.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from recommender.evaluation.gate_statistics import LEAST_DIFFERING
from recommender.evaluation.result import Evaluation, Figure
from recommender.ranking import RANKINGS

COMMAND = "python recommendation_engine.py --users all"


def advised(evaluation: Evaluation, among: Collection[str] = RANKINGS) -> str:
    """Return the simplest of the measured rankings ``among`` these that no other of them beats."""
    names = [name for name in RANKINGS if name in among and any(each.name == name for each in evaluation.rankings)]
    return next(name for name in names if not beaten_by(evaluation, name, names))


def beaten_by(evaluation: Evaluation, ranking: str, among: Collection[str] = RANKINGS) -> list[str]:
    """Return the measured rankings ``among`` these that beat a ranking, the simplest first."""
    ahead = {other: _ahead(evaluation, other, ranking) for other in RANKINGS if other in among and other != ranking}
    return [other for other, figure in ahead.items() if figure is not None and (figure.low or 0.0) > 0.0]


def as_advice(evaluation: Evaluation, ranking: str) -> str:
    """Return the line that names the ranking to run. ``ranking``: the one that is set."""
    best = advised(evaluation)
    why = "the simplest ranking that no other beats by more than chance explains"
    if best == ranking:
        return f"stay with RANKING={best}, {why}"
    return f"run RANKING={best}, {why}{_against(evaluation, best, ranking)}: set it in .env, then {COMMAND}"


def as_hint(evaluation: Evaluation, ranking: str) -> str:
    """Return the line that says that the ranking that is set is beaten, "" if it is not by any that was measured."""
    if not (better := beaten_by(evaluation, ranking)):
        return ""
    best = advised(evaluation, better)
    how = f"set it in .env, or try it with --ranking {best}; --evaluate measures every ranking"
    return f"RANKING={best} finds more than RANKING={ranking}{_against(evaluation, best, ranking)}: {how}"


def _against(evaluation: Evaluation, first: str, second: str) -> str:
    figure = _ahead(evaluation, first, second)
    if figure is None or figure.low is None or figure.high is None:
        return ""
    mean = figure.mean or 0.0
    return f" (nDCG@10 {mean:+.4f} against {second}, 95 % between {figure.low:+.4f} and {figure.high:+.4f})"


def _ahead(evaluation: Evaluation, first: str, second: str) -> Figure | None:
    """Return the nDCG of the first less that of the second; None if they serve too few users differently."""
    for difference in evaluation.differences:
        if {difference.first, difference.second} == {first, second}:
            pair = [evaluation.ranking(name).ndcg_per_user for name in (first, second)]
            if np.count_nonzero(pair[0] - pair[1]) < LEAST_DIFFERING:
                return None
            figure = difference.figure
            return figure if difference.first == first else _turned(figure)
    return None


def _turned(figure: Figure) -> Figure:
    mean, low, high = (None if value is None else -value for value in figure[:3])
    return Figure(mean, high, low, figure.n)
