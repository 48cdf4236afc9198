"""What each step of the cold start is worth to users without ratings, on one shop's hidden ratings.

A fifth of the users is drawn at random and treated as users who have never rated: all their ratings are taken out of
the training data. Each step ranks the whole catalog for them by what it may know, without the products they had rated
before the cut. It is measured on the products that they rated next:

own ratings            the taste ranking with all ratings back: the reference, which these users do not have
own interactions       the taste ranking on the user's interactions before the cut
country and age group  products that others of the segment have, now
popular, decayed       products that others have, now
popular                products by the number of others who have rated them, at any time

The last three have not seen these users at all. A step is left out if the shop has no data for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import at_least_one
from recommender.errors import SettingError
from recommender.evaluation.measure import Ranker, among, evaluate
from recommender.evaluation.rankers import PopularRanker
from recommender.evaluation.result import Evaluation
from recommender.evaluation.split import Split, chosen_entries, hide_newest, trainable_log
from recommender.fallback import ColdStart, build_cold_start
from recommender.ranking import TasteRanker
from recommender.shop import Interactions, Profiles, RatingMatrix, build_profiles

OWN_RATINGS, OWN_INTERACTIONS, SEGMENT = "own ratings", "own interactions", "country and age group"
DECAYED, POPULAR = "popular, decayed", "popular"
SHARE_TESTED = 0.2
ROWS_AT_A_TIME = 256

Rows = NDArray[np.int64]


class ColdStartRanker:
    """The steps of the cold start from the third on, for users of whom nothing is known but, perhaps, the segment."""

    def __init__(self, cold: ColdStart) -> None:
        self._cold = cold

    def rank(self, rows: Rows, n: int) -> NDArray[np.int32]:
        """Return the first n columns of each row, (len(rows), n), padded with -1."""
        shape = len(rows), n
        return self._cold.top_up(rows, np.full(shape, -1, np.int32), np.zeros(shape), new_share=0.0).columns

    def predict(self, rows: Rows, columns: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the damped mean of each pair's product, (len(rows),)."""
        assert len(rows) == len(columns), "one column for each row"
        stars: NDArray[np.float64] = self._cold.ladder.stars[columns]
        return stars


class _TasteStep:
    """The taste ranking on these profiles, without the products of each row in ``seen`` (CSR).

    The profiles may hold fewer products than ``seen``.
    """

    def __init__(self, profiles: Profiles, train: RatingMatrix, seen: Any) -> None:
        self._seen = seen
        mask = train.recommendable
        self._taste = TasteRanker(
            profiles.confidences, train.steps, times=profiles.times, recommendable=mask, scale=train.scale
        )

    def rank(self, rows: Rows, n: int) -> NDArray[np.int32]:
        out = np.full((len(rows), n), -1, np.int32)
        n_seen = np.diff(self._seen.indptr)[rows]
        order = np.argsort(n_seen, kind="stable")  # so that one heavy user makes only few other lists long
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            part = order[start : start + ROWS_AT_A_TIME]
            lists = self._taste.rank(rows[part], n + int(n_seen[part].max()))
            kept = (lists >= 0) & ~among(lists, self._seen[rows[part]])
            place = np.cumsum(kept, axis=1) - 1
            row, at = np.nonzero(kept & (place < n))
            out[part[row], place[row, at]] = lists[row, at]
        return out

    def predict(self, rows: Rows, columns: NDArray[np.integer]) -> NDArray[np.float64]:
        return self._taste.predict(rows, columns)


def evaluate_cold_start(
    matrix: RatingMatrix,
    log: Interactions | None = None,
    weights: NDArray[np.float64] | None = None,
    segments: NDArray[np.int32] | None = None,
    *,
    share: float = SHARE_TESTED,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
    clock: Callable[[], float] | None = None,
) -> Evaluation:
    """Hide the newest ratings of a ``share`` of the users, take their others away too, and compare all steps.

    ``log`` and ``weights`` as `recommender.evaluation.comparison.evaluate_rankings`; ``segments`` (n_users,): the
    segment of each row of ``matrix``, -1 not known. NothingToEvaluateError if nothing can be hidden, SettingError for a
    seed below 0, a share outside of 0..1 or segments that do not fit.
    """
    if not 0.0 < share <= 1.0:
        raise SettingError(f"share={share!r} of the users cannot be tested: pass one above 0, at most 1")
    if segments is not None and len(segments) != matrix.shape[0]:
        raise SettingError(f"{len(segments)} segments for {matrix.shape[0]} users: pass one for each row")

    def draw(rows: Rows) -> Rows:
        n_users = at_least_one("n_users", max(round(share * len(rows)), 1))
        return np.random.default_rng(seed).choice(rows, n_users, replace=False)

    split = hide_newest(matrix, seed, log, weights, draw=draw)
    split = replace(split, description=f"{split.description}, ranked as if they had no ratings")
    return evaluate(split, _rankers(split, log, weights, segments), seed=seed, progress=progress, clock=clock)


def strangers(
    split: Split, log: Interactions | None, weights: NDArray[np.float64] | None
) -> tuple[RatingMatrix, Profiles]:
    """Return the ratings and profiles of the shop without the test users, in a matrix that still has their rows."""
    cold, others = _without(split.train, split.test_rows), trainable_log(split, log, weights)
    if others is not None:
        others = others.where(~np.isin(others.user_ids, split.train.user_ids[split.test_rows]))
    return cold, build_profiles(cold, others, weights)


def _rankers(
    split: Split,
    log: Interactions | None,
    weights: NDArray[np.float64] | None,
    segments: NDArray[np.int32] | None,
) -> dict[str, Ranker]:
    """The steps there is something for, in their order."""
    train, seen, known = split.train, split.seen, trainable_log(split, log, weights)
    cold, others = strangers(split, log, weights)
    rankers: dict[str, Ranker] = {}
    if train.n_ratings:
        rankers[OWN_RATINGS] = _TasteStep(build_profiles(train, known, weights), train, seen)
    if known is not None:
        rankers[OWN_INTERACTIONS] = _TasteStep(build_profiles(cold, known, weights), cold, seen)
    if segments is not None and (segments[split.test_rows] >= 0).any():
        rankers[SEGMENT] = ColdStartRanker(build_cold_start(cold, others, segments=segments, seen=seen))
    if train.n_timed or not train.n_ratings:  # every interaction has a time
        rankers[DECAYED] = ColdStartRanker(build_cold_start(cold, others, seen=seen))
    theirs = replace(cold, steps=chosen_entries(seen, _of_others(seen, split.test_rows)))
    return rankers | {POPULAR: PopularRanker(theirs, seen)}


def _without(matrix: RatingMatrix, rows: Rows) -> RatingMatrix:
    """Return the matrix without any rating of these rows."""
    csr = matrix.steps
    kept = _of_others(csr, rows)
    times = None if matrix.rated_at is None else matrix.rated_at[kept]
    return replace(matrix, steps=chosen_entries(csr, kept), rated_at=times)


def _of_others(csr: Any, rows: Rows) -> NDArray[np.bool_]:
    """Return a flag for each entry: whether it is of another row than these, (nnz,)."""
    owners = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    return ~np.isin(owners, rows)
