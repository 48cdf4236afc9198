"""Figures of a whole shop, as a model sees it: how its ratings spread over stars and products, and who serves whom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.model.answers import EVIDENT
from recommender.model.served_model import ServedModel
from recommender.shop import NO_SEGMENT

SAMPLE = 200  # shoppers whose lists are looked at
TAIL_POINTS = 40


def ratings_by_stars(model: ServedModel, column: int | None = None) -> dict[float, int]:
    """Return the number of ratings for each number of stars that was given, fewest stars first.

    They are those of the time when the model was built; of the product of a column, or of all.
    """
    matrix = model.matrix.steps
    given = matrix.data if column is None else matrix.data[matrix.indices == column]
    counts = np.bincount(given)
    return {model.matrix.scale.stars_of(steps): int(counts[steps]) for steps in np.flatnonzero(counts).tolist()}


def popularity_curve(model: ServedModel) -> list[tuple[int, int]]:
    """Return (rank, ratings) of products at ranks evenly spread on a log scale, the most rated product first."""
    counts = np.sort(model.raters)[::-1]
    rated = counts[counts > 0]
    if not len(rated):
        return []
    ranks = np.unique(np.geomspace(1, len(rated), TAIL_POINTS).round().astype(np.int64))
    return list(zip(ranks.tolist(), rated[ranks - 1].tolist(), strict=True))


def served_by(model: ServedModel, n: int) -> dict[str, int]:
    """Return how many shoppers get the largest part of their list from each source, of shoppers spread over all ids.

    ``n``: products of a list. The sources are those of `PRODUCT_SOURCES`; "none" for an empty list.
    """
    known = model.known_users
    chosen: NDArray[np.int64] = (
        known[np.unique(np.linspace(0, len(known) - 1, SAMPLE).astype(int))] if len(known) else known
    )
    found: dict[str, int] = {}
    for user in chosen.tolist():
        sources = [item.source for item in model.recommend(user, n).recommendations]
        most = max(dict.fromkeys(sources), key=sources.count, default="none")
        found[most] = found.get(most, 0) + 1
    return dict(sorted(found.items(), key=lambda pair: (pair[0] not in EVIDENT, -pair[1])))


def raters_by_segment(model: ServedModel, column: int) -> dict[tuple[str, str], tuple[int, float]]:
    """Return for each (country, age group) how many of it rated the product of a column, and their mean stars.

    Most raters first. Empty if the model knows no segments, or has no rating of the product.
    """
    matrix = model.matrix
    at = np.flatnonzero(matrix.steps.indices == column)
    if not len(at) or not len(model.known_segments):
        return {}
    raters = matrix.user_ids[np.searchsorted(matrix.steps.indptr, at, side="right") - 1]
    places = np.minimum(np.searchsorted(model.known_users, raters), len(model.known_users) - 1)
    segments = np.where(model.known_users[places] == raters, model.known_segments[places], NO_SEGMENT)
    found = {}
    for segment in np.unique(segments[segments != NO_SEGMENT]).tolist():
        given = matrix.steps.data[at[segments == segment]]
        found[model.segment_names[segment]] = len(given), float(given.mean()) * matrix.scale.unit
    return dict(sorted(found.items(), key=lambda pair: -pair[1][0]))
