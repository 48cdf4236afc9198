"""Offline evaluation: hide the newest ratings of every user, rank the whole catalog, see who finds what was hidden.

    matrix = read_evaluation_file(Path("ratings.csv"))        # or load_model's
    split = split_newest(matrix, rng=np.random.default_rng(0))
    rankers = [ClassicRanker(split.train), PopularRanker(split.train)]
    evaluation = evaluate(split, rankers, seed=0)
    evaluation.mode("classic").figures["ndcg@10"]             # Figure(mean, low, high, n)

Every hidden product that may be recommended is relevant, whatever its stars: it is what the user turned to next.
Candidates are all recommendable products, never a sample of them (Krichene and Rendle 2020), less those the user rated
before; lists stay as short as the ranking leaves them, so a user without a list counts as 0. The split is in time per
user, not in time for all: the ratings of others may be younger than the hidden ones (Meng et al. 2020), which flatters
all modes alike. Users are in groups by their number of training ratings, as a ranking that wins on average can lose
where a shop has most of its users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender import metrics
from recommender.errors import SettingError
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix

K = 10
DEPTH = 20  # places of a list that are looked at: recall is measured at both
SHARE_HIDDEN = 0.2
FEW_TEST_USERS = 100
GROUPS = {"cold": (1, 4), "light": (5, 19), "heavy": (20, None)}  # training ratings of a user, both ends included
BLOCK_USERS = 4_096
NEVER = np.iinfo(np.int64).max
FORMAT = 1

# Averages over users, sum of values / sum of weights; coverage is the one figure that belongs to no user.
NDCG, COVERAGE = f"ndcg@{K}", f"coverage@{K}"
PER_USER = (
    NDCG, f"recall@{K}", f"recall@{DEPTH}", f"map@{K}", f"hit_rate@{K}", f"novelty@{K}", "served", "rmse", "mae",
    "predicted",
)  # fmt: skip
FIGURES = (*PER_USER[:5], COVERAGE, *PER_USER[5:])


class Ranker(Protocol):
    """One way to rank, trained on ``Split.train``."""

    @property
    def name(self) -> str:
        """What the figures are filed under."""

    def rank(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int32]:
        """The best n recommendable columns that each row has not rated, (len(rows), n), padded with -1."""

    def predict(self, rows: NDArray[np.int64], columns: NDArray[np.int32]) -> NDArray[np.float64]:
        """Stars for each pair of row and column, (len(rows),); NaN where there is no prediction."""


@dataclass(frozen=True, eq=False)
class Split:
    """``train`` has the rows and columns of the matrix that was split; ``hidden`` CSR of the same shape, half stars.

    ``cut_times`` (n_users,) int64: when the first hidden rating was made; the largest int64 where none is hidden or
    the time is not known. What happened at that time or later must not be trained on.
    """

    train: RatingMatrix
    hidden: sp.csr_array
    cut_times: NDArray[np.int64]
    description: str

    @cached_property
    def relevant(self) -> sp.csr_array:
        """The hidden ratings of products that may be recommended, CSR."""
        return _chosen(self.hidden, self.train.recommendable[self.hidden.indices])

    @cached_property
    def test_rows(self) -> NDArray[np.int64]:
        """Rows of the users with something relevant, ascending."""
        return np.flatnonzero(np.diff(self.relevant.indptr))


def split_newest(
    matrix: RatingMatrix,
    *,
    share: float = SHARE_HIDDEN,
    times: NDArray[np.int64] | None = None,
    rng: np.random.Generator,
) -> Split:
    """Hide the newest ``share`` of each user's ratings: of n, max(1, floor(share * n)), and none if n is 1.

    ``times`` (n_ratings,) aligned with ``half_stars.data``, default ``matrix.rated_at``; equal times in an order drawn
    from ``rng``, and without times all of them. SettingError for a share outside of 0..1 or times that do not fit.

    >>> ratings = sp.csr_array(np.array([[2, 4, 6, 8, 10], [0, 0, 0, 9, 0]], np.int8))
    >>> ids = np.array([b"A", b"B", b"C", b"D", b"E"])
    >>> matrix = RatingMatrix(ratings, np.array([1, 2]), ids, np.ones(5, bool), np.array([50, 10, 40, 30, 20, 60]))
    >>> split = split_newest(matrix, share=0.4, rng=np.random.default_rng(0))
    >>> split.hidden.toarray().tolist()  # floor(0.4 * 5) = 2 of the first user, made at 50 and 40
    [[2, 0, 6, 0, 0], [0, 0, 0, 0, 0]]
    >>> split.train.half_stars.toarray().tolist(), int(split.cut_times[0])
    ([[0, 4, 0, 8, 10], [0, 0, 0, 9, 0]], 40)
    """
    if not 0.0 < share < 1.0:
        raise SettingError(f"share={share!r} cannot be hidden: pass one between 0 and 1, such as {SHARE_HIDDEN}")
    at = matrix.rated_at if times is None else np.asarray(times)
    if at is not None and at.shape != (matrix.n_ratings,):
        raise SettingError(f"{at.shape} times for {matrix.n_ratings} ratings: pass one for each")
    indptr = matrix.half_stars.indptr
    counts = np.diff(indptr)  # (n_users,)
    wanted = np.maximum(1, np.floor(share * counts + 1e-9))  # 0.29 * 100 is 28.999999999999996
    kept = counts - np.where(counts >= 2, np.minimum(wanted, counts - 1), 0).astype(counts.dtype)
    user = np.repeat(np.arange(len(counts)), counts)  # (n_ratings,)
    order = np.lexsort((rng.random(len(user)), *([] if at is None else [at]), user))
    hidden = np.zeros(len(user), np.bool_)
    hidden[order] = np.arange(len(user)) - indptr[user] >= kept[user]  # place among the user's, oldest first
    cut_times = np.full(len(counts), NEVER)
    if at is not None:
        np.minimum.at(cut_times, user[hidden], at[hidden])
    train = replace(
        matrix,
        half_stars=_chosen(matrix.half_stars, ~hidden),
        rated_at=None if matrix.rated_at is None else matrix.rated_at[~hidden],
    )
    which = "random" if at is None else "newest"
    description = f"{which} {share:.0%} of each user's ratings hidden" + " (no timestamps)" * (at is None)
    return Split(train, _chosen(matrix.half_stars, hidden), cut_times, description)


class Figure(NamedTuple):
    """A mean over ``n`` users and its 95 % bootstrap interval; None where there is nothing to average."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class ModeFigures:
    """What one ranking reached: figures by name (`FIGURES`), the same by activity group (all but coverage).

    ``seconds``: time spent ranking and predicting, if a clock was given. ``ndcg_per_user`` (n_test_users,), in the
    order of ``Split.test_rows``, for paired comparisons; not written to JSON, so None after reading it.
    """

    name: str
    figures: Mapping[str, Figure]
    by_activity: Mapping[str, Mapping[str, Figure]]
    seconds: float | None = None
    ndcg_per_user: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)


class Difference(NamedTuple):
    """nDCG of ``first`` less that of ``second`` on the same users; no difference if the interval holds 0."""

    first: str
    second: str
    figure: Figure


@dataclass(frozen=True)
class Evaluation:
    """Modes side by side on one split; `to_dict` and `from_dict` are each other's inverse (but ``ndcg_per_user``)."""

    modes: tuple[ModeFigures, ...]
    differences: tuple[Difference, ...]
    split: str
    seed: int
    n_users: int
    n_products: int  # recommendable
    n_ratings: int  # before the split
    n_test_users: int
    n_by_activity: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def mode(self, name: str) -> ModeFigures:
        """The figures of one mode; SettingError, naming those there are, if it was not evaluated."""
        for mode in self.modes:
            if mode.name == name:
                return mode
        raise SettingError(f"mode {name!r} was not evaluated: choose one of {', '.join(m.name for m in self.modes)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and None, for JSON."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        modes = {
            mode.name: {
                "figures": _as_dicts(mode.figures),
                "by_activity": {group: _as_dicts(figures) for group, figures in mode.by_activity.items()},
                "seconds": mode.seconds,
            }
            for mode in self.modes
        }
        differences = [{"first": d.first, "second": d.second, NDCG: d.figure._asdict()} for d in self.differences]
        counts = {"n_by_activity": dict(self.n_by_activity), "notes": list(self.notes)}
        return {"format": FORMAT, **plain, **counts, "modes": modes, "differences": differences}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_dict` wrote; SettingError if it is of another format."""
        if data.get("format") != FORMAT:
            raise SettingError(f"an evaluation of format {data.get('format')!r} cannot be read: evaluate again")
        modes = (
            ModeFigures(
                name,
                _as_figures(mode["figures"]),
                {group: _as_figures(figures) for group, figures in mode["by_activity"].items()},
                mode["seconds"],
            )
            for name, mode in data["modes"].items()
        )
        differences = (Difference(d["first"], d["second"], Figure(**d[NDCG])) for d in data["differences"])
        counts = {"n_by_activity": data["n_by_activity"], "notes": tuple(data["notes"])}
        return cls(tuple(modes), tuple(differences), **{name: data[name] for name in _PLAIN}, **counts)


_PLAIN = ("split", "seed", "n_users", "n_products", "n_ratings", "n_test_users")


def evaluate(
    split: Split,
    rankers: Sequence[Ranker],
    *,
    seed: int,
    n_resamples: int = metrics.N_RESAMPLES,
    progress: Callable[[int], object] | None = None,
    clock: Callable[[], float] | None = None,
) -> Evaluation:
    """Measure every ranker on the test users of ``split``, in blocks of users.

    ``seed`` is that of the bootstrap; all modes see the same draws. ``progress`` is called with the number of users
    just done, ``len(rankers) * len(split.test_rows)`` in all. ``clock``: such as ``time.perf_counter``, None leaves the
    seconds out, and two runs with one seed then give equal evaluations.
    SettingError: no test user, no ranker, two of one name, or a list that breaks the rules of `Ranker`.
    """
    rows = split.test_rows
    names = [ranker.name for ranker in rankers]
    if not rows.size:
        raise SettingError(
            f"nothing to evaluate: of {split.train.shape[0]:,} users none has two ratings or more with a recommendable "
            "product among the hidden ones; collect longer histories, or load the catalog that the ratings are of"
        )
    if not names or len(set(names)) < len(names):
        raise SettingError(f"rankings {names} cannot be compared: give at least one, each with a name of its own")
    distinct_stars = len(np.unique(np.concatenate([split.train.half_stars.data, split.hidden.data])))
    measured = [_measure(ranker, split, distinct_stars > 1, progress, clock) for ranker in rankers]
    counts = np.diff(split.train.half_stars.indptr)[rows]
    groups = {name: (counts >= least) & (counts <= (most or NEVER)) for name, (least, most) in GROUPS.items()}
    figures, differences = _figures(measured, np.ones(len(rows), np.bool_), seed, n_resamples)
    by_group = {name: _figures(measured, mask, seed, n_resamples)[0] for name, mask in groups.items()}
    modes = (
        ModeFigures(
            names[i],
            {name: (figures[i] | {COVERAGE: one.coverage})[name] for name in FIGURES},
            {group: by_group[group][i] for group in groups},
            one.seconds,
            one.values[:, 0],
        )
        for i, one in enumerate(measured)
    )
    return Evaluation(
        tuple(modes),
        tuple(Difference(names[i], names[j], figure) for (i, j), figure in differences.items()),
        split=split.description,
        seed=seed,
        n_users=split.train.shape[0],
        n_products=int(split.train.recommendable.sum()),
        n_ratings=split.train.n_ratings + int(split.hidden.nnz),
        n_test_users=len(rows),
        n_by_activity={name: int(mask.sum()) for name, mask in groups.items()},
        notes=_notes(len(rows), distinct_stars),
    )


def _notes(n_test_users: int, distinct_stars: int) -> tuple[str, ...]:
    notes = []
    if n_test_users < FEW_TEST_USERS:
        notes.append(
            f"only {n_test_users} users could be tested, fewer than {FEW_TEST_USERS}: go by the intervals, not the "
            "means"
        )
    if distinct_stars < 2:
        notes.append("all ratings are equal: RMSE, MAE and the share predicted mean nothing and are left out")
    return tuple(notes)


class _Measured(NamedTuple):
    """One ranker's ``values`` and ``weights`` (n_test_users, len(PER_USER)), coverage and seconds."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    coverage: Figure
    seconds: float | None


def _measure(
    ranker: Ranker,
    split: Split,
    has_stars: bool,
    progress: Callable[[int], object] | None,
    clock: Callable[[], float] | None,
) -> _Measured:
    """Lists, and predictions if there are stars to predict, of all test users, a block of users at a time."""
    test_rows, train = split.test_rows, split.train
    values, weights = np.zeros((2, len(test_rows), len(PER_USER)))
    raters = np.bincount(train.half_stars.indices, minlength=train.shape[1])  # (n_products,)
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
        _check_lists(ranker.name, lists, rows, train)
        recommended[lists[:, :K][lists[:, :K] >= 0]] = True
        values[block, :7], weights[block, :7] = _judged_lists(lists, split.relevant[rows], raters, train.shape[0])
        if predicted is not None:
            errors = _checked(ranker.name, predicted, user.shape) - STARS_PER_UNIT * hidden.data
            values[block, 7:], weights[block, 7:] = _judged_stars(errors, user, len(rows))
        if progress is not None:
            progress(len(rows))
    covered = metrics.coverage(np.flatnonzero(recommended), int(train.recommendable.sum()))
    coverage = Figure(round(covered, 9), None, None, len(test_rows))
    return _Measured(values, weights, coverage, seconds if clock else None)


def _judged_lists(
    lists: NDArray[np.int32], relevant: sp.csr_array, raters: NDArray[np.int64], n_users: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and weights (n_rows, 7), in the order of `PER_USER`, of lists (n_rows, DEPTH)."""
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
    """Values and weights (n_rows, 3): squared errors, errors and predictions of each user, added up."""
    there = ~np.isnan(errors)
    error = np.where(there, errors, 0.0)
    squared, absolute, predicted, hidden = (
        np.bincount(user, weights, n_rows) for weights in (error**2, np.abs(error), there, np.ones(len(user)))
    )
    return np.stack([squared, absolute, predicted], axis=1), np.stack([predicted, predicted, hidden], axis=1)


def _figures(
    measured: Sequence[_Measured], mask: NDArray[np.bool_], seed: int, n_resamples: int
) -> tuple[list[dict[str, Figure]], dict[tuple[int, int], Figure]]:
    """Figures of each ranker on the users of ``mask``, and the differences in nDCG of each two; one set of draws."""
    pairs = list(combinations(range(len(measured)), 2))
    differences = [measured[i].values[mask, :1] - measured[j].values[mask, :1] for i, j in pairs]
    values = np.hstack([one.values[mask] for one in measured] + differences)
    weights = np.hstack([one.weights[mask] for one in measured] + [np.ones_like(column) for column in differences])
    intervals = metrics.bootstrap_intervals(values, weights, np.random.default_rng(seed), n_resamples=n_resamples)
    n_users = (weights > 0).sum(axis=0)
    names = [*PER_USER * len(measured), *[NDCG] * len(pairs)]
    found = [_figure(*entry) for entry in zip(names, intervals, n_users, strict=True)]
    width = len(PER_USER)
    figures = [dict(zip(PER_USER, found[i * width : (i + 1) * width], strict=True)) for i in range(len(measured))]
    return figures, dict(zip(pairs, found[len(measured) * width :], strict=True))


def _figure(name: str, interval: NDArray[np.float64], n_users: int) -> Figure:
    # the root keeps the order of the draws, so the ends of the interval are the roots of the ends
    ends = np.sqrt(interval) if name == "rmse" else interval
    mean, low, high = (None if np.isnan(end) else round(float(end), 9) for end in ends)
    return Figure(mean, low, high, int(n_users))


def _chosen(ratings: sp.csr_array, which: NDArray[np.bool_]) -> sp.csr_array:
    """The stored entries where ``which`` (nnz,), same shape."""
    before = np.concatenate([[0], np.cumsum(which)])  # (nnz + 1,) chosen ahead of each entry
    parts = (ratings.data[which], ratings.indices[which], before[ratings.indptr].astype(ratings.indptr.dtype))
    return sp.csr_array(parts, shape=ratings.shape)


def among(lists: NDArray[np.int32], rated: sp.csr_array) -> NDArray[np.bool_]:
    """Which places of lists (n_rows, n) hold a column of the same row of ``rated`` (n_rows, n_products)."""
    starts = np.arange(len(lists)) * rated.shape[1]  # (n_rows,) one number for each pair of row and column
    pairs = np.repeat(starts, np.diff(rated.indptr)) + rated.indices
    return (lists >= 0) & np.isin(starts[:, None] + lists, pairs)


def _check_lists(name: str, lists: NDArray[np.int32], rows: NDArray[np.int64], train: RatingMatrix) -> None:
    """SettingError if a list would be measured that nobody may be shown: a figure from it would be worthless."""
    _checked(name, lists, (len(rows), DEPTH))
    if lists.min() < -1 or lists.max() >= train.shape[1]:
        raise SettingError(f"ranking {name!r} gives columns outside of -1 to {train.shape[1] - 1}")
    there, ordered = lists >= 0, np.sort(lists, axis=1)
    faults = {
        "recommends a product twice": (np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0),
        "leaves a place in the middle of the list empty": there[:, 1:] & ~there[:, :-1],
        "recommends a product that the user has rated": among(lists, train.half_stars[rows]),
        "recommends a product that may not be recommended": there & ~train.recommendable[lists],
    }
    for fault, where in faults.items():
        if where.any():
            raise SettingError(f"ranking {name!r} {fault}: row {rows[where.any(axis=1)][0]} of the training ratings")


def _checked(name: str, answer: Any, shape: tuple[int, ...]) -> Any:
    if np.shape(answer) != shape:
        raise SettingError(f"ranking {name!r} answers with shape {np.shape(answer)} where {shape} was asked for")
    return answer


def _as_dicts(figures: Mapping[str, Figure]) -> dict[str, dict[str, float | int | None]]:
    return {name: figure._asdict() for name, figure in figures.items()}


def _as_figures(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    return {name: Figure(**figure) for name, figure in data.items()}
