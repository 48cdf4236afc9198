"""The comparison of all rankings, and of the published version's settings, on one shop's hidden ratings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.measure import Ranker, evaluate
from recommender.evaluation.rankers import ClassicRanker, PopularRanker
from recommender.evaluation.result import Evaluation
from recommender.evaluation.split import Split, hide_newest, trainable_log
from recommender.evaluation.tuning import tune
from recommender.ranking import (
    AUTO,
    BY_TASTE,
    CLASSIC,
    ITEMS,
    RANKINGS,
    TASTE,
    AutoParameters,
    ItemRanker,
    ProfileRanker,
    TasteRanker,
    chosen_ranker,
    parameters_of,
    train_item_weights,
)
from recommender.shop import Interactions, Profiles, RatingMatrix, build_profiles, sampled

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
    name = ranking if ranking in (CLASSIC, ITEMS) else TASTE
    return name if same and name in rankings else AS_PUBLISHED


def _plain(published: Mapping[str, Any]) -> bool:
    """Tell whether the parameters are the defaults, of items if that was the ranking, else of taste."""
    return published_parameters(published) == AutoParameters(ITEMS if published.get("ranking") == ITEMS else TASTE)


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
    """Hide the newest ratings, and compare ``rankings`` and popularity. Without ratings, hide the newest products.

    ``log``: interactions, whose users and products ``matrix`` must have. Those with hidden products, and those at or
    after a user's first hidden rating, are left out of the training. With a log, taste is also measured without it, to
    show what the log is worth. ``n_users``: test at most so many users, drawn at random. ``published``: settings of a
    version, measured on the same users under the name that `stand_in` returns. NothingToEvaluateError if nothing can
    be hidden, SettingError for a seed below 0.
    """

    def draw(rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        few = n_users is None or len(rows) <= n_users
        return None if few else np.random.default_rng(seed).choice(rows, n_users, replace=False)

    split = hide_newest(matrix, seed, log, weights, draw=draw)
    known = trainable_log(split, log, weights)
    rankers: dict[str, Ranker] = {}
    if CLASSIC in rankings and matrix.n_ratings:
        rankers[CLASSIC] = ClassicRanker(split.train, n_neighbors=n_neighbors)
    if by_taste := [name for name in BY_TASTE if name in rankings]:
        rankers |= _by_taste(split, known, weights, by_taste)
    rankers[POPULAR] = PopularRanker(replace(split.train, steps=split.seen))
    if published is not None:
        name = stand_in(published, n_neighbors=n_neighbors, weights=weights, rankings=rankings)
        if name == AS_PUBLISHED:
            rankers[AS_PUBLISHED] = _as_published(split, log, weights, published)
    return evaluate(split, rankers, seed=seed, progress=progress, clock=clock)


def _by_taste(
    split: Split, log: Interactions | None, weights: NDArray[np.float64] | None, names: list[str]
) -> Iterator[tuple[str, Ranker]]:
    """Names and rankers by profiles, and taste on ratings alone beside them where there are interactions too."""
    train, profiles = split.train, build_profiles(split.train, log, weights)
    taste = _taste_ranker(profiles, train)
    if TASTE in names:
        yield TASTE, taste
    if ITEMS in names:
        yield ITEMS, _chosen(AutoParameters(ITEMS), taste, profiles, split, log, weights)
    if AUTO in names:
        tuned = tune(*sampled(train, log), weights).parameters
        yield AUTO, _chosen(tuned, taste, profiles, split, log, weights)
    if log is not None and train.n_ratings:
        yield RATINGS_ONLY, _taste_ranker(build_profiles(train), train)


def _chosen(
    parameters: AutoParameters,
    taste: TasteRanker,
    profiles: Profiles,
    split: Split,
    log: Interactions | None,
    weights: NDArray[np.float64] | None,
) -> ProfileRanker:
    """Return the ranker of these parameters. ``taste``: the one with the defaults, of the same profiles."""
    train = split.train

    def items_beside(near: TasteRanker) -> ItemRanker:
        some = sampled(train, log)
        between = train_item_weights(profiles if some[0] is train else build_profiles(*some, weights), parameters.items)
        return ItemRanker.of(near, between, profiles, parameters.items, train.recommendable)

    return chosen_ranker(parameters, taste, items_beside, train.recommendable)


def _as_published(
    split: Split, log: Interactions | None, weights: NDArray[np.float64] | None, published: Mapping[str, Any]
) -> Ranker:
    """Return the ranking of a version's settings, trained on this split."""
    if published["ranking"] == CLASSIC:
        return ClassicRanker(split.train, n_neighbors=int(published["n_neighbors"]))
    counted = _weights_of(published, weights)
    known = trainable_log(split, log, counted)
    profiles = build_profiles(split.train, known, counted)
    taste = _taste_ranker(profiles, split.train)
    return _chosen(published_parameters(published), taste, profiles, split, known, counted)


def published_parameters(published: Mapping[str, Any]) -> AutoParameters:
    """Return the parameters in the settings of a version by profiles. KeyError, TypeError, ValueError if they lack."""
    return AutoParameters() if published.get("ranking") == TASTE else parameters_of(published)


def _taste_ranker(profiles: Profiles, train: RatingMatrix) -> TasteRanker:
    mask, given = train.recommendable, (profiles.confidences, train.steps)
    return TasteRanker(*given, times=profiles.times, recommendable=mask, scale=train.scale)
