"""The tuning of the `taste` ranking on a shop's own data: number of neighbors, and damping of popular products.

    tuned = tune(matrix)                                     # of the ratings that may be trained on, and nothing else
    TasteRanker(..., **tuned.parameters._asdict())

The newest ratings of every user are hidden as in an evaluation. Every pair of `NEIGHBORS` x `DAMPINGS` ranks for a
sample of users, and the pair with the highest mean nDCG@10 is chosen. But the default stays unless that pair is ahead
of it by more than one standard error of the difference, user by user (the rule of Breiman et al. 1984: of choices that
cannot be told apart, take the plainer one). If everybody turns to the same few products, many neighbors are right, and
damping costs a seventh of what is found. If tastes are narrow, a high power finds a third more. Neighbors are searched
for once, so all pairs cost little more than the most expensive one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import at_least_one
from recommender.evaluation import metrics
from recommender.evaluation.result import K
from recommender.evaluation.split import Split, split_newest, trainable_log
from recommender.neighbors import TasteIndex, taste_statistics
from recommender.ranking import (
    DAMPING,
    N_NEIGHBORS,
    AutoParameters,
    TasteParameters,
    TasteVotes,
    rank_taste_for_rows,
)
from recommender.shop import Interactions, RatingMatrix, build_profiles

NEIGHBORS = (50, N_NEIGHBORS, 1_000)
DAMPINGS = (0.0, 0.1, DAMPING, 0.3, 0.4, 0.5, 0.6, 0.8)
MOST_USERS = 2_000
LEAST_USERS = 30  # a standard error of fewer users is worth nothing


class Tuned(NamedTuple):
    """The chosen parameters; ``ndcg`` (len(NEIGHBORS), len(DAMPINGS)) on ``n_users`` users, NaN if too few."""

    parameters: AutoParameters
    ndcg: NDArray[np.float64]
    n_users: int


def tune(
    matrix: RatingMatrix,
    log: Interactions | None = None,
    weights: NDArray[np.float64] | None = None,
    *,
    seed: int = 0,
    n_users: int = MOST_USERS,
    n_threads: int | None = None,
) -> Tuned:
    """Choose by the newest ratings of at most ``n_users`` users, drawn at random. If in doubt, keep the defaults.

    ``log`` and ``weights`` as in `recommender.shop.profiles.build_profiles`. Events at a user's cut or later are not
    used. The same arguments give the same answer on any machine and number of threads, as far as numpy's draws stay the
    same between its versions. SettingError for n_users or n_threads below 1.
    """
    rng = np.random.default_rng(seed)
    split = split_newest(matrix, rng=rng)
    most = at_least_one("n_users", n_users)
    rows = split.test_rows
    if rows.size > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
    if rows.size < LEAST_USERS:
        return Tuned(AutoParameters(), np.full((len(NEIGHBORS), len(DAMPINGS)), np.nan), rows.size)
    found = _ndcg(split, rows, log, weights, n_threads)  # (n_pairs, n_users)
    means = found.mean(axis=1)
    pairs = [(k, damping) for k in NEIGHBORS for damping in DAMPINGS]
    best, default = int(np.argmax(means)), pairs.index((N_NEIGHBORS, DAMPING))
    ahead = found[best] - found[default]  # (n_users,)
    chosen = best if ahead.mean() > ahead.std(ddof=1) / np.sqrt(rows.size) else default
    return Tuned(
        AutoParameters(taste=TasteParameters(*pairs[chosen])), means.reshape(len(NEIGHBORS), len(DAMPINGS)), rows.size
    )


def _ndcg(
    split: Split,
    rows: NDArray[np.int64],
    log: Interactions | None,
    weights: NDArray[np.float64] | None,
    n_threads: int | None,
) -> NDArray[np.float64]:
    """Return nDCG@10 of each pair of neighbors and damping for each row, (n_pairs, len(rows))."""
    train = split.train
    profiles = build_profiles(train, trainable_log(split, log, weights), weights)
    statistics = taste_statistics(profiles.confidences, train.half_stars)
    index = TasteIndex(profiles.confidences, times=profiles.times, statistics=statistics)
    near, close = index.top_k(max(NEIGHBORS), rows=rows, n_threads=n_threads)  # (len(rows), max(NEIGHBORS))
    relevant = split.relevant[rows]
    n_relevant = np.diff(relevant.indptr)
    wanted = np.repeat(np.arange(rows.size), n_relevant) * train.shape[1] + relevant.indices
    votes = TasteVotes(index, train.half_stars)
    damped = [votes.damped(damping, train.recommendable) for damping in DAMPINGS]
    out = []
    for k in NEIGHBORS:
        for vote in damped:
            lists = rank_taste_for_rows(vote, rows, near[:, :k], close[:, :k], n=K, n_threads=n_threads).columns
            hits = (lists >= 0) & np.isin(np.arange(rows.size)[:, None] * train.shape[1] + lists, wanted)
            out.append(metrics.ndcg_at(hits, n_relevant, K))
    return np.array(out)
