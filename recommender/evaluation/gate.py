"""The gate before a publication: the verdict on a new version, and its reasons in words.

The two tests are those of `recommender.evaluation.gate_statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recommender.evaluation.comparison import POPULAR
from recommender.evaluation.gate_statistics import (
    LEAST_USERS,
    LEVEL,
    POWER,
    Measured,
    floor_of,
    loss_noticed,
    paired,
)
from recommender.evaluation.result import NDCG, Evaluation, Figure, RankingFigures
from recommender.ranking import RANKINGS


@dataclass(frozen=True)
class Verdict:
    """The verdict on a version: whether it may be published, and messages to its maker."""

    publish: bool
    reason: str  # why it may not be published; empty if it may
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()  # the two tests in words, and the loss that each would notice


def judge(
    evaluation: Evaluation, ranking: str, *, against: str | None = None, history: Sequence[Measured] = ()
) -> Verdict:
    """Compare a new version, ranked by ``ranking``, with the published settings, with its history, and with popularity.

    ``against``: the ranking of ``evaluation`` by the published version's settings; None: there is none, or its
    settings are the new version's. ``history``: `history_of`. The first version always passes. A version that finds
    less than popularity gets a warning.
    """
    new = _measured_now(evaluation.ranking(ranking))
    rules = (against is not None) + bool(history)
    level = LEVEL / max(rules, 1)
    reasons, notes = [], []
    if against is not None:
        reason, note = _paired_verdict(evaluation, ranking, against, level)
        reasons, notes = [reason], [note]
    if history:
        reason, note = _floor_verdict(ranking, new, history, level)
        reasons, notes = [*reasons, reason], [*notes, note]
    elif new.mean > 0.0:
        next_one = floor_of([new], new)
        notes.append(f"from the next version on {_noticed(next_one.noise, new.mean, LEVEL, new.n)}")
    reason = "; ".join(reason for reason in reasons if reason)
    warnings = [*evaluation.notes, *_lost_to_popularity(evaluation, ranking)]
    return Verdict(not reason, reason, tuple(warnings), tuple(notes))


def _paired_verdict(evaluation: Evaluation, ranking: str, against: str, level: float) -> tuple[str, str]:
    """Return the reason of a refusal, or "", and the comparison in words."""
    mine, theirs = evaluation.ranking(ranking), evaluation.ranking(against)
    pair = paired(mine.ndcg_per_user, theirs.ndcg_per_user, level)
    old, n = _mean(theirs.figures[NDCG]), len(mine.ndcg_per_user)
    noticed = _noticed(pair.noise, old, level, n) if pair.n_differing else "nobody is served better or worse"
    note = f"{pair.mean:+.4f} against the published version's settings ({old:.4f}) on the same users; {noticed}"
    if not pair.is_worse:
        return "", note
    reason = (
        f"nDCG@10 {_mean(mine.figures[NDCG]):.4f} ({ranking}) is {-pair.mean:.4f} below what the published version's "
        f"settings find for the same users ({old:.4f}), more than chance explains ({pair.tolerance:.4f})"
    )
    return reason, note


def _floor_verdict(ranking: str, new: Measured, history: Sequence[Measured], level: float) -> tuple[str, str]:
    floor = floor_of(history, new, level)
    if math.isinf(floor.tolerance):
        return "", f"no floor: fewer than {LEAST_USERS} test users"
    least = max(floor.median - floor.tolerance, 0.0)
    which = "the published version" if floor.n_versions == 1 else f"{floor.n_versions} versions published lately"
    what = f"floor {least:.4f} (median of {which}, {floor.median:.4f}, less {floor.tolerance:.4f} for chance)"
    note = f"{what}; {_noticed(floor.noise, floor.median, level, new.n)}"
    below = new.mean < floor.median - floor.tolerance
    return f"nDCG@10 {new.mean:.4f} ({ranking}) is below the {what}" if below else "", note


def _noticed(noise: float, mean: float, level: float, n: int) -> str:
    loss = loss_noticed(noise, mean, level, n)
    if loss is None:
        return f"no loss can be told from chance at {n:,} test users"
    return f"a loss of {loss:.1%} or more would be noticed with {POWER:.0%} chance at {n:,} test users"


def _lost_to_popularity(evaluation: Evaluation, ranking: str) -> list[str]:
    """Return the warning that plain popularity finds more, with the rankings that find more than popularity."""
    means = {each.name: _mean(each.figures[NDCG]) for each in evaluation.rankings}
    popular = means[POPULAR]
    if popular <= means[ranking]:
        return []
    better = ", ".join(
        f"RANKING={name} {means[name]:.4f}" for name in RANKINGS if name in means and means[name] > popular
    )
    advice = f"; better: {better}" if better else "; no ranking does better on these ratings"
    lost = f"nDCG@10 {means[ranking]:.4f} against {popular:.4f}"
    return [f"RANKING={ranking} finds less than plain popularity: {lost}{advice}"]


def metrics_of(evaluation: Evaluation, ranking: str) -> dict[str, Any]:
    """Return the record of a version: the figures of its ranking, and the nDCG of the other rankings.

    ``standard_error``: that of its nDCG, which the floor of later versions needs.
    """
    own = evaluation.ranking(ranking)
    figures = {name: figure._asdict() for name, figure in own.figures.items()}
    others = {each.name: each.figures[NDCG]._asdict() for each in evaluation.rankings if each.name != ranking}
    facts = {"n_test_users": evaluation.n_test_users, "standard_error": round(_measured_now(own).error, 9)}
    return {"ranking": ranking, **facts, **figures, "others": others}


def _measured_now(ranking: RankingFigures) -> Measured:
    figure, values = ranking.figures[NDCG], ranking.ndcg_per_user
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Measured(_mean(figure), error, len(values))


def _mean(figure: Figure) -> float:
    return 0.0 if figure.mean is None else figure.mean
