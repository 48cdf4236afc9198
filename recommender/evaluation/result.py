"""What an evaluation found: the figures of every ranking with their intervals, and the way to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError

K = 10
DEPTH = 20  # places of a list that are read: recall is measured at both
GROUPS = {"cold": (1, 4), "light": (5, 19), "heavy": (20, None)}  # training ratings of a user, both ends included
FORMAT = 1

# Averages over users, sum of values / sum of weights. Coverage belongs to no single user, so it has no interval: users
# drawn with replacement are fewer distinct ones, and their lists always cover less.
NDCG, COVERAGE = f"ndcg@{K}", f"coverage@{K}"
PER_USER = (
    NDCG, f"recall@{K}", f"recall@{DEPTH}", f"map@{K}", f"hit_rate@{K}", f"novelty@{K}", "served", "rmse", "mae",
    "predicted",
)  # fmt: skip
FIGURES = (*PER_USER[:5], COVERAGE, *PER_USER[5:])
_PLAIN = ("split", "seed", "n_users", "n_products", "n_ratings", "n_test_users")


class Figure(NamedTuple):
    """A mean over ``n`` users and its 95 % bootstrap interval; None if there is nothing to average."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class RankingFigures:
    """The figures of one ranking by name (`FIGURES`), and by activity group (all but coverage).

    ``seconds``: time spent ranking and predicting, None without a clock. ``ndcg_per_user`` (n_test_users,), in the
    order of ``Split.test_rows``, for paired comparisons; not written to JSON.
    """

    name: str
    figures: Mapping[str, Figure]
    by_activity: Mapping[str, Mapping[str, Figure]]
    seconds: float | None
    ndcg_per_user: NDArray[np.float64] = field(compare=False, repr=False)


class Difference(NamedTuple):
    """nDCG of ``first`` less that of ``second`` on the same users. There is no difference if the interval holds 0."""

    first: str
    second: str
    figure: Figure


@dataclass(frozen=True)
class Evaluation:
    """Rankings side by side on one split."""

    rankings: tuple[RankingFigures, ...]
    differences: tuple[Difference, ...]
    split: str
    seed: int
    n_users: int
    n_products: int  # recommendable
    n_ratings: int  # before the split; without ratings, the products that users turned to
    n_test_users: int
    n_by_activity: Mapping[str, int]
    notes: tuple[str, ...] = ()
    counted: str = "ratings"  # what n_ratings counts, in words

    def ranking(self, name: str) -> RankingFigures:
        """The figures of one ranking; SettingError, naming those there are, if it was not evaluated."""
        for ranking in self.rankings:
            if ranking.name == name:
                return ranking
        raise SettingError(
            f"ranking {name!r} was not evaluated: choose one of {', '.join(m.name for m in self.rankings)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and None, for JSON."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        by_name = {
            ranking.name: {
                "figures": _as_dicts(ranking.figures),
                "by_activity": {group: _as_dicts(figures) for group, figures in ranking.by_activity.items()},
                "seconds": ranking.seconds,
            }
            for ranking in self.rankings
        }
        differences = [{"first": d.first, "second": d.second, NDCG: d.figure._asdict()} for d in self.differences]
        counts = {"n_by_activity": dict(self.n_by_activity), "notes": list(self.notes)}
        # "modes" is what files have called the rankings since the first
        return {"format": FORMAT, **plain, **counts, "modes": by_name, "differences": differences}


def figure_of(name: str, interval: NDArray[np.float64], n_users: int) -> Figure:
    """Return the figure ``name`` from its mean, low and high end (3,). NaN becomes None, a squared error its root."""
    # the root keeps the order of the draws, so the ends of the interval are the roots of the ends
    ends = np.sqrt(interval) if name == "rmse" else interval
    mean, low, high = (None if np.isnan(end) else round(float(end), 9) for end in ends)
    return Figure(mean, low, high, int(n_users))


def _as_dicts(figures: Mapping[str, Figure]) -> dict[str, dict[str, float | int | None]]:
    return {name: figure._asdict() for name, figure in figures.items()}
