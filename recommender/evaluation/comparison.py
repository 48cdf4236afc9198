"""The comparison of all rankings, and of the published version's settings, on one shop's hidden ratings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.measure import Ranker, evaluate
from recommender.evaluation.rankers import ClassicRanker, PopularRanker
from recommender.evaluation.result import Evaluation
from recommender.evaluation.split import Split, hide_newest, limited, trainable_log
from recommender.evaluation.tuning import tune
from recommender.ranking import (
    AUTO,
    BY_TASTE,
    CLASSIC,
    RANKINGS,
    TASTE,
    TasteParameters,
    TasteRanker,
    chosen_parameters,
)
from recommender.shop import Interactions, Profiles, RatingMatrix, build_profiles

POPULAR = "popular"
RATINGS_ONLY = "taste, ratings only"
AS_PUBLISHED = "as published"


def stand_in(
    published: Mapping[str, Any],
    *,
    n_neighbors: int,
    weights: NDArray[np.float64] | None,
    rankings: Collection[str] = RANKINGS,
) -> str:
    """The name that `evaluate_rankings` with these arguments gives the settings of a published version.

    It is `AS_PUBLISHED` if none of ``rankings`` has these settings. Early versions do not record the weights of
    interactions; these are taken to have used ``weights``.
    """
    ranking = published.get("ranking")
    if ranking == CLASSIC:
        same = published.get("n_neighbors") == n_neighbors
    else:
        same = _weights_of(published, weights) is weights and _plain(published)
    name = CLASSIC if ranking == CLASSIC else TASTE
    return name if same and name in rankings else AS_PUBLISHED


def _plain(published: Mapping[str, Any]) -> bool:
    """Tell whether the parameters of taste are the defaults."""
    return chosen_parameters(published) in (None, TasteParameters())


def _weights_of(published: Mapping[str, Any], weights: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Return the weights of interactions in a published version; ``weights`` itself if they are equal or not known."""
    noted = published.get("interaction_weights")
    if noted is None or (weights is not None and list(noted) == weights.tolist()):
        return weights
    return np.array(noted, np.float64)


def evaluate_rankings(
    matrix: RatingMatrix,
    log: Interactions | None = None,
    weights: NDArray[np.float64] | None = None,
    *,
    n_neighbors: int,
    rankings: Collection[str] = RANKINGS,
    seed: int = 0,
    n_users: int | None = None,
    published: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
    clock: Callable[[], float] | None = None,
) -> Evaluation:
    """Hide the newest ratings, and compare ``rankings`` and popularity.

    ``log``: interactions, whose users and products ``matrix`` must have. Those with hidden products, and those at or
    after a user's first hidden rating, are left out of the training. With a log, taste is also measured without it, to
    show what the log is worth. ``n_users``: test at most so many users, drawn at random. ``published``: settings of a
    version, measured on the same users under the name that `stand_in` returns. NothingToEvaluateError if nothing can
    be hidden, SettingError for a seed below 0.
    """
    split = hide_newest(matrix, seed)
    if n_users is not None and len(split.test_rows) > n_users:
        split = limited(split, matrix, np.random.default_rng(seed).choice(split.test_rows, n_users, replace=False))
    known = trainable_log(split, log, weights)
    rankers: dict[str, Ranker] = {}
    if CLASSIC in rankings:
        rankers[CLASSIC] = ClassicRanker(split.train, n_neighbors=n_neighbors)
    if by_taste := [name for name in BY_TASTE if name in rankings]:
        rankers |= _by_taste(split, known, weights, by_taste)
    rankers[POPULAR] = PopularRanker(split.train)
    if published is not None:
        name = stand_in(published, n_neighbors=n_neighbors, weights=weights, rankings=rankings)
        if name == AS_PUBLISHED:
            rankers[AS_PUBLISHED] = _as_published(split, log, weights, published)
    return evaluate(split, rankers, seed=seed, progress=progress, clock=clock)


def _by_taste(
    split: Split, log: Interactions | None, weights: NDArray[np.float64] | None, names: list[str]
) -> Iterator[tuple[str, Ranker]]:
    """Names and rankers by taste, and taste on ratings alone beside them where there are interactions too."""
    train = split.train
    taste = _taste_ranker(build_profiles(train, log, weights), train)
    if TASTE in names:
        yield TASTE, taste
    if AUTO in names:
        parameters = tune(train, log, weights).parameters
        votes = taste.votes.damped(parameters.damping, train.recommendable)
        yield AUTO, TasteRanker.of(votes, n_neighbors=parameters.n_neighbors)
    if log is not None:
        yield RATINGS_ONLY, _taste_ranker(build_profiles(train), train)


def _as_published(
    split: Split, log: Interactions | None, weights: NDArray[np.float64] | None, published: Mapping[str, Any]
) -> Ranker:
    """Return the ranking of a version's settings, trained on this split."""
    if published["ranking"] == CLASSIC:
        return ClassicRanker(split.train, n_neighbors=int(published["n_neighbors"]))
    counted = _weights_of(published, weights)
    known = trainable_log(split, log, counted)
    taste = _taste_ranker(build_profiles(split.train, known, counted), split.train)
    parameters = chosen_parameters(published)
    if parameters is None:
        return taste
    votes = taste.votes.damped(parameters.damping, split.train.recommendable)
    return TasteRanker.of(votes, n_neighbors=parameters.n_neighbors)


def _taste_ranker(profiles: Profiles, train: RatingMatrix) -> TasteRanker:
    return TasteRanker(profiles.confidences, train.half_stars, times=profiles.times, recommendable=train.recommendable)
