"""Offline evaluation: the newest ratings of every user are hidden, and rankings of the whole catalog try to find them.

    matrix = read_evaluation_file(Path("ratings.csv"))        # or load_model's
    split = split_newest(matrix, rng=np.random.default_rng(0))
    rankers = {"classic": ClassicRanker(split.train), "popular": PopularRanker(split.train)}
    evaluation = evaluate(split, rankers, seed=0)
    evaluation.ranking("classic").figures["ndcg@10"]          # Figure(mean, low, high, n)

Every hidden product that may be recommended is relevant, whatever its stars: the user turned to it next. Candidates are
all recommendable products without those the user rated before, never a sample of them (Krichene and Rendle 2020). Lists
stay as short as the ranking leaves them, and a user without a list counts as 0. Users are grouped by their number of
training ratings, as a ranking that wins on average can lose in the group that holds most of a shop's users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.evaluation import metrics
from recommender.evaluation.result import (
    COVERAGE,
    DEPTH,
    FIGURES,
    GROUPS,
    NDCG,
    PER_USER,
    Difference,
    Evaluation,
    Figure,
    K,
    RankingFigures,
    figure_of,
)
from recommender.evaluation.split import NEVER, Split

FEW_TEST_USERS = 100
BLOCK_USERS = 4_096


class Ranker(Protocol):
    """A ranking, trained on ``Split.train``."""

    def rank(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int32]:
        """Return the best n recommendable columns that each row has not rated, (len(rows), n), padded with -1."""

    def predict(self, rows: NDArray[np.int64], columns: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the stars of each pair of row and column, (len(rows),); NaN where there is no prediction."""


def evaluate(
    split: Split,
    rankers: Mapping[str, Ranker],
    *,
    seed: int,
    n_resamples: int = metrics.N_RESAMPLES,
    progress: Callable[[int], object] | None = None,
    clock: Callable[[], float] | None = None,
) -> Evaluation:
    """Measure every ranker on the test users of ``split``, in blocks of users; by the names that they are given.

    ``seed`` is that of the bootstrap; all rankings see the same draws. ``progress`` is called with the number of users
    just done, ``len(rankers) * len(split.test_rows)`` in all. ``clock``: such as ``time.perf_counter``. None leaves the
    seconds out; two runs with one seed then give equal evaluations.
    SettingError: no test user, no ranker, or a list that breaks the rules of `Ranker`.
    """
    rows = split.test_rows
    names = list(rankers)
    if not rows.size:
        raise SettingError(
            f"nothing to evaluate: of {split.train.shape[0]:,} users none has two ratings or more with a recommendable "
            "product among the hidden ones; collect longer histories, or load the catalog that the ratings are of"
        )
    if not names:
        raise SettingError("no ranking is to be measured: give at least one")
    distinct_stars = len(np.unique(np.concatenate([split.train.steps.data, split.hidden.data])))
    measured = [_measure(*each, split, distinct_stars > 1, progress, clock) for each in rankers.items()]
    counts = np.diff(split.seen.indptr)[rows]
    groups = {name: (counts >= least) & (counts <= (most or NEVER)) for name, (least, most) in GROUPS.items()}
    figures, differences = _figures(measured, np.ones(len(rows), np.bool_), seed, n_resamples)
    by_group = {name: _figures(measured, mask, seed, n_resamples)[0] for name, mask in groups.items()}
    rankings = (
        RankingFigures(
            names[i],
            {name: (figures[i] | {COVERAGE: one.coverage})[name] for name in FIGURES},
            {group: by_group[group][i] for group in groups},
            one.seconds,
            one.values[:, 0],
        )
        for i, one in enumerate(measured)
    )
    return Evaluation(
        tuple(rankings),
        tuple(Difference(names[i], names[j], figure) for (i, j), figure in differences.items()),
        split=split.description,
        seed=seed,
        n_users=split.train.shape[0],
        n_products=int(split.train.recommendable.sum()),
        n_ratings=int(split.seen.nnz + split.hidden.nnz),
        n_test_users=len(rows),
        n_by_activity={name: int(mask.sum()) for name, mask in groups.items()},
        notes=_notes(len(rows), distinct_stars, split),
        counted="ratings" if split.turned_to is None else "pairs of user and product",
    )


def _notes(n_test_users: int, distinct_stars: int, split: Split) -> tuple[str, ...]:
    notes = []
    if n_test_users < FEW_TEST_USERS:
        users = "user" if n_test_users == 1 else "users"
        notes.append(
            f"only {n_test_users} {users} could be tested, fewer than {FEW_TEST_USERS}: go by the intervals, not the "
            "means"
        )
    if distinct_stars < 2 and split.turned_to is None:  # there are no stars that anybody could miss
        notes.append("all ratings are equal: RMSE, MAE and the share predicted mean nothing and are left out")
    return tuple(notes)


class _Measured(NamedTuple):
    """One ranker's ``values`` and ``weights`` (n_test_users, len(PER_USER)), coverage and seconds."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    coverage: Figure
    seconds: float | None


def _measure(
    name: str,
    ranker: Ranker,
    split: Split,
    has_stars: bool,
    progress: Callable[[int], object] | None,
    clock: Callable[[], float] | None,
) -> _Measured:
    """Measure lists of all test users, and predictions if there are stars to predict, a block of users at a time."""
    test_rows, train = split.test_rows, split.train
    values, weights = np.zeros((2, len(test_rows), len(PER_USER)))
    raters = np.bincount(split.seen.indices, minlength=train.shape[1])  # (n_products,)
    recommended = np.zeros(train.shape[1], np.bool_)
    now = clock or (lambda: 0.0)
    seconds = 0.0
    for start in range(0, len(test_rows), BLOCK_USERS):
        block = slice(start, start + BLOCK_USERS)
        rows, hidden = test_rows[block], split.hidden[test_rows[block]]
        user = np.repeat(np.arange(len(rows)), np.diff(hidden.indptr))  # (n_hidden,)
        started = now()
        lists = ranker.rank(rows, DEPTH)
        predicted = ranker.predict(rows[user], hidden.indices) if has_stars else None
        seconds += now() - started
        _check_lists(name, lists, rows, split)
        recommended[lists[:, :K][lists[:, :K] >= 0]] = True
        values[block, :7], weights[block, :7] = _judged_lists(lists, split.relevant[rows], raters, train.shape[0])
        if predicted is not None:
            errors = _checked(name, predicted, user.shape) - train.scale.unit * hidden.data
            values[block, 7:], weights[block, 7:] = _judged_stars(errors, user, len(rows))
        if progress is not None:
            progress(len(rows))
    covered = metrics.coverage(np.flatnonzero(recommended), int(train.recommendable.sum()))
    coverage = Figure(round(covered, 9), None, None, len(test_rows))
    return _Measured(values, weights, coverage, seconds if clock else None)


def _judged_lists(
    lists: NDArray[np.int32], relevant: sp.csr_array, raters: NDArray[np.int64], n_users: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values and weights (n_rows, 7), in the order of `PER_USER`, of lists (n_rows, DEPTH)."""
    hits, n_relevant = among(lists, relevant), np.diff(relevant.indptr)
    served = lists[:, 0] >= 0
    values = [
        metrics.ndcg_at(hits, n_relevant, K),
        metrics.recall_at(hits, n_relevant, K),
        metrics.recall_at(hits, n_relevant, DEPTH),
        metrics.average_precision_at(hits, n_relevant, K),
        metrics.hit_rate_at(hits, n_relevant, K),
        np.nan_to_num(metrics.novelty(lists[:, :K], raters, n_users)),
        served,
    ]
    ones = np.ones(len(lists))
    return np.stack(values, axis=1), np.stack([ones, ones, ones, ones, ones, served, ones], axis=1)


def _judged_stars(
    errors: NDArray[np.float64], user: NDArray[np.int64], n_rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values and weights (n_rows, 3): sums of each user's squared errors, errors and predictions."""
    there = ~np.isnan(errors)
    error = np.where(there, errors, 0.0)
    squared, absolute, predicted, hidden = (
        np.bincount(user, weights, n_rows) for weights in (error**2, np.abs(error), there, np.ones(len(user)))
    )
    return np.stack([squared, absolute, predicted], axis=1), np.stack([predicted, predicted, hidden], axis=1)


def _figures(
    measured: Sequence[_Measured], mask: NDArray[np.bool_], seed: int, n_resamples: int
) -> tuple[list[dict[str, Figure]], dict[tuple[int, int], Figure]]:
    """Return the figures of each ranker on the users of ``mask``, and the difference in nDCG of each pair.

    All are made from one set of draws.
    """
    pairs = list(combinations(range(len(measured)), 2))
    differences = [measured[i].values[mask, :1] - measured[j].values[mask, :1] for i, j in pairs]
    values = np.hstack([one.values[mask] for one in measured] + differences)
    weights = np.hstack([one.weights[mask] for one in measured] + [np.ones_like(column) for column in differences])
    intervals = metrics.bootstrap_intervals(values, weights, np.random.default_rng(seed), n_resamples=n_resamples)
    n_users = (weights > 0).sum(axis=0)
    names = [*PER_USER * len(measured), *[NDCG] * len(pairs)]
    found = [figure_of(*entry) for entry in zip(names, intervals, n_users, strict=True)]
    width = len(PER_USER)
    figures = [dict(zip(PER_USER, found[i * width : (i + 1) * width], strict=True)) for i in range(len(measured))]
    return figures, dict(zip(pairs, found[len(measured) * width :], strict=True))


def among(lists: NDArray[np.int32], rated: sp.csr_array) -> NDArray[np.bool_]:
    """Tell which places of lists (n_rows, n) hold a column of the same row of ``rated`` (n_rows, n_products)."""
    starts = np.arange(len(lists)) * rated.shape[1]  # (n_rows,) so that each pair of row and column has its number
    pairs = np.repeat(starts, np.diff(rated.indptr)) + rated.indices
    return (lists >= 0) & np.isin(starts[:, None] + lists, pairs)


def _check_lists(name: str, lists: NDArray[np.int32], rows: NDArray[np.int64], split: Split) -> None:
    """Raise SettingError for a list that no user may be shown: figures from it would be worthless."""
    _checked(name, lists, (len(rows), DEPTH))
    train = split.train
    if lists.min() < -1 or lists.max() >= train.shape[1]:
        raise SettingError(f"ranking {name!r} gives columns outside of -1 to {train.shape[1] - 1}")
    there, ordered = lists >= 0, np.sort(lists, axis=1)
    faults = {
        "recommends a product twice": (np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0),
        "leaves a place in the middle of the list empty": there[:, 1:] & ~there[:, :-1],
        "recommends a product that the user has rated": among(lists, split.seen[rows]),
        "recommends a product that may not be recommended": there & ~train.recommendable[lists],
    }
    for fault, where in faults.items():
        if where.any():
            raise SettingError(f"ranking {name!r} {fault}: row {rows[where.any(axis=1)][0]} of the training ratings")


def _checked(name: str, answer: Any, shape: tuple[int, ...]) -> Any:
    if np.shape(answer) != shape:
        raise SettingError(f"ranking {name!r} answers with shape {np.shape(answer)} where {shape} was asked for")
    return answer
