"""All rankings on one shop's hidden ratings, and what that says about publishing a new version of the lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation import Ranker, evaluate
from recommender.evaluation_result import NDCG, Evaluation, Figure
from recommender.profiles import Interactions, Profiles, build_profiles
from recommender.rankers import ClassicRanker, PopularRanker
from recommender.rankings import AUTO, BY_TASTE, CLASSIC, RANKINGS, TASTE
from recommender.rating_matrix import RatingMatrix
from recommender.split import Split, hide_newest, limited, trainable_log
from recommender.taste_ranking import TasteRanker
from recommender.taste_tuning import tune

POPULAR = "popular"
RATINGS_ONLY = "taste, ratings only"


def _named(ranker: TasteRanker, name: str) -> TasteRanker:
    """The ranker, filed under this name."""
    ranker.name = name
    return ranker


def evaluate_modes(
    matrix: RatingMatrix,
    log: Interactions | None = None,
    weights: NDArray[np.float64] | None = None,
    *,
    n_neighbors: int,
    rankings: Collection[str] = RANKINGS,
    seed: int = 0,
    n_users: int | None = None,
    progress: Callable[[int], object] | None = None,
    clock: Callable[[], float] | None = None,
) -> Evaluation:
    """Hide the newest ratings, rank by every one of ``rankings`` and by popularity, compare.

    ``log``: interactions, whose users and products ``matrix`` must know; those with hidden products and those at or
    after a user's first hidden rating are not trained on. With it, taste is measured without it as well, so that one
    sees what it is worth. ``n_users``: test at most so many users, drawn at random. NothingToEvaluateError if nothing
    can be hidden, SettingError for a seed below 0.
    """
    split = hide_newest(matrix, seed)
    if n_users is not None and len(split.test_rows) > n_users:
        split = limited(split, matrix, np.random.default_rng(seed).choice(split.test_rows, n_users, replace=False))
    known = trainable_log(split, log, weights)
    rankers: list[Ranker] = []
    if CLASSIC in rankings:
        rankers.append(ClassicRanker(split.train, n_neighbors=n_neighbors))
    if by_taste := [name for name in BY_TASTE if name in rankings]:
        rankers += _by_taste(split, known, weights, by_taste)
    rankers.append(PopularRanker(split.train))
    return evaluate(split, rankers, seed=seed, progress=progress, clock=clock)


def _by_taste(
    split: Split, log: Interactions | None, weights: NDArray[np.float64] | None, names: list[str]
) -> Iterator[TasteRanker]:
    """The rankers by taste, and taste on ratings alone beside them where there are interactions too."""
    train = split.train
    taste = _taste_ranker(build_profiles(train, log, weights), train)
    if TASTE in names:
        yield taste
    if AUTO in names:
        parameters = tune(train, log, weights).parameters
        votes = taste.votes.damped(parameters.damping, train.recommendable)
        yield _named(TasteRanker.of(votes, n_neighbors=parameters.n_neighbors), AUTO)
    if log is not None:
        yield _named(_taste_ranker(build_profiles(train), train), RATINGS_ONLY)


def _taste_ranker(profiles: Profiles, train: RatingMatrix) -> TasteRanker:
    return TasteRanker(profiles.confidences, train.half_stars, times=profiles.times, recommendable=train.recommendable)


@dataclass(frozen=True)
class Verdict:
    """Whether a version may be published, and what its maker should be told."""

    publish: bool
    reason: str  # why not; empty if it may
    warnings: tuple[str, ...]


def judge(evaluation: Evaluation, ranking: str, published: Mapping[str, Any] | None) -> Verdict:
    """Hold a new version, ranked by ``ranking``, against popularity and against the published version's metrics.

    ``published``: what ``metrics_of`` gave for it; None if there is none or it was never evaluated. Refused is what
    lies below its 95 % interval. The first version always passes.
    """
    mine = evaluation.mode(ranking).figures[NDCG]
    warnings = list(evaluation.notes)
    popular = evaluation.mode(POPULAR).figures[NDCG]
    if _mean(popular) > _mean(mine):
        there = [name for name in RANKINGS if name in {mode.name for mode in evaluation.modes}]
        better = [name for name in there if _mean(evaluation.mode(name).figures[NDCG]) > _mean(popular)]
        figures = ", ".join(f"RANKING={name} {_mean(evaluation.mode(name).figures[NDCG]):.4f}" for name in better)
        advice = f"; better: {figures}" if better else "; no ranking does better on these ratings"
        warnings.append(
            f"RANKING={ranking} finds less than plain popularity: nDCG@10 {_mean(mine):.4f} against "
            f"{_mean(popular):.4f}{advice}"
        )
    floor = (published or {}).get(NDCG, {}).get("low")
    if floor is None or _mean(mine) >= floor:
        return Verdict(True, "", tuple(warnings))
    was = published[NDCG] if published else {}
    reason = (
        f"nDCG@10 {_mean(mine):.4f} ({ranking}) is below the 95 % interval of the published version "
        f"({was['low']:.4f} to {was['high']:.4f}, {(published or {})['ranking']})"
    )
    return Verdict(False, reason, tuple(warnings))


def metrics_of(evaluation: Evaluation, ranking: str) -> dict[str, Any]:
    """What is recorded with a version: the figures of its ranking, and the nDCG of the others beside it."""
    mode = evaluation.mode(ranking)
    figures = {name: figure._asdict() for name, figure in mode.figures.items()}
    others = {m.name: m.figures[NDCG]._asdict() for m in evaluation.modes if m.name != ranking}
    return {"ranking": ranking, "n_test_users": evaluation.n_test_users, **figures, "others": others}


def _mean(figure: Figure) -> float:
    return 0.0 if figure.mean is None else figure.mean
