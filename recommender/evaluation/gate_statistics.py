"""The two tests of the gate: whether a new version of the lists may be published, and what loss they would notice.

The quality of a version is its mean nDCG@10 over the test users of one split (`recommender.evaluation.comparison`). A
version is refused

1. if it is below the published version's settings, user by user on the same split: with d the differences of n users,
   mean(d) < -t * sd(d) / sqrt(n). Equal settings give equal lists and are never refused here;
2. if it is below the floor, which keeps many small losses from adding up. The floor is the median of the versions that
   the same ranking published in the last 90 days, less t * sqrt(V + pi / (2 K + pi - 2) * W). V is the variance of the
   new mean, and W that of one of the K versions. The factor is that of a median of K (1 for one, pi / 2K for many).

Test users differ from night to night, so both variances are real. V and W are computed from the users. The larger of
the new version's and the history's is taken: a right-skewed figure has a low variance where its mean is low, and would
be trusted too much. V and W are at least 1.05 times the median difference of successive versions, squared, as the
sampling of users may not explain all of that. This is a moving range (Montgomery, "Introduction to Statistical Quality
Control"), which a slow decay does not widen.

t is Student's. If both tests apply, each has half of the level. In simulated nights with other test users each time
(tests/evaluation/test_gate.py) equal quality is refused in 1.2 to 2.2 % of nights; 2.5 % is promised. With 30 earlier
versions and 2,000 test users, a loss of 10 % is noticed in 77 % of runs if it comes in one night, in 82 % if in two, in
98 % if in ten. If the same users are tested every night, chance refuses less.

The history begins with the last version that was published by force, or by a roll-back to a refused version: that
decision accepted its quality.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from recommender.evaluation.result import NDCG

MOST_REFUSED = 0.025  # share of the nights in which equal quality is refused
LEVEL = 0.022  # of both tests together: the estimates (medians, variances) take the rest of MOST_REFUSED
POWER = 0.8
HISTORY_DAYS = 90
LEAST_DIFFERING = 7  # users: six who all lose are chance in 1 of 64, more than 1.25 %
LEAST_USERS = 30  # a standard error of fewer users is worth nothing
LEAST_STEPS = 7  # differences between successive versions; fewer do not tell how much nights differ
PUBLISHED, REFUSED, FORCED = "published", "refused", "forced"
_MEDIAN_STEP = 1.0 / (math.sqrt(2.0) * float(ndtri(0.75)))  # sd of one version / median |difference| of two


class Measured(NamedTuple):
    """Mean nDCG@10 of ``n`` test users and its standard error."""

    mean: float
    error: float
    n: int


class Recorded(Protocol):
    """The parts of a `recommender.publishing.versions.Version` that the gate reads."""

    @property
    def number(self) -> int:
        """The number, which counts up."""

    @property
    def made_at(self) -> datetime:
        """The time in UTC."""

    @property
    def state(self) -> str:
        """The state: published, kept or expired."""

    @property
    def metrics(self) -> Mapping[str, Any] | None:
        """The record of `metrics_of`."""


class Floor(NamedTuple):
    """The floor: ``median`` of ``n_versions`` less ``tolerance``, which is chance; ``noise``: its standard error."""

    median: float
    tolerance: float
    noise: float
    n_versions: int


class Pair(NamedTuple):
    """The mean difference of two rankings on the same users, the part of it that is chance, and its standard error."""

    mean: float
    tolerance: float
    noise: float
    n_differing: int  # users

    @property
    def is_worse(self) -> bool:
        """True if the first is below the second by more than chance."""
        return self.n_differing >= LEAST_DIFFERING and self.mean < -self.tolerance


def paired(new: NDArray[np.float64], old: NDArray[np.float64], level: float = LEVEL) -> Pair:
    """Compare the nDCG of the same users (n,) under two rankings; ``level``: one-sided.

    >>> old = np.tile([0.5, 0.3, 0.4, 0.2], 5)
    >>> paired(old, old).is_worse, paired(old - np.tile([0.1, 0.2], 10), old).is_worse
    (False, True)
    """
    differences = new - old
    n = len(differences)
    noise = float(differences.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    return Pair(float(differences.mean()), student(level, n - 1) * noise, noise, int(np.count_nonzero(differences)))


def floor_of(history: Sequence[Measured], new: Measured, level: float = LEVEL) -> Floor:
    """Return the floor of ``new``, from the versions published before it (at least one, oldest first).

    With fewer than `LEAST_USERS` test users there is no floor: the tolerance is infinite.

    >>> a_night = Measured(0.125, 0.2 / 2_000**0.5, 2_000)
    >>> round(floor_of([a_night], a_night).tolerance, 4)  # 2.01 * sqrt(2) * 0.2 / sqrt(2000)
    0.0127
    >>> round(floor_of(90 * [a_night], a_night).tolerance, 4)  # of so many little but the new one's error is left
    0.0091
    """
    means = np.array([entry.mean for entry in history])
    sizes = np.array([entry.n for entry in history])
    users = max(new.error**2 * new.n, float(np.mean([entry.error**2 * entry.n for entry in history])))
    steps = np.abs(np.diff(means))
    nights = 0.0
    if len(steps) >= LEAST_STEPS:  # less its own standard error, or chance would widen the tolerance
        nights = (_MEDIAN_STEP * float(np.median(steps)) * (1.0 - 1.0 / math.sqrt(len(steps)))) ** 2
    of_median = math.pi / (2 * len(history) + math.pi - 2)
    variance = max(users / new.n, nights) + of_median * max(float(np.mean(users / sizes)), nights)
    noise = math.sqrt(variance) if new.n >= LEAST_USERS else math.inf
    tolerance = student(level, new.n + int(sizes.sum()) - len(history) - 1) * noise
    return Floor(float(np.median(means)), tolerance, noise, len(history))


def history_of(versions: Iterable[Recorded], ranking: str, now: datetime) -> list[Measured]:
    """Return the versions behind the floor, oldest first: measured, and published by this ranking.

    The published version counts, whatever its age and ranking. Later versions that were rolled back do not count, and
    versions with fewer than `LEAST_USERS` test users do not either.
    """
    known = [version for version in versions if measured(version.metrics)]
    published = next((version for version in known if version.state == PUBLISHED), None)
    if published is None:
        return []
    past = [version for version in known if version.number <= published.number]
    accepted = [
        version.number
        for version in past
        if _verdict(version) == FORCED or (version is published and _verdict(version) == REFUSED)
    ]
    since = max(accepted, default=0)
    chosen = [
        measured(version.metrics)
        for version in past
        if version is published
        or (
            version.number >= since
            and _verdict(version) != REFUSED
            and (version.metrics or {}).get("ranking") == ranking
            and version.made_at >= now - timedelta(days=HISTORY_DAYS)
        )
    ]
    return [entry for entry in chosen if entry and entry.n >= LEAST_USERS]


def _verdict(version: Recorded) -> str:
    return str((version.metrics or {}).get("verdict", PUBLISHED))


def measured(metrics: Mapping[str, Any] | None) -> Measured | None:
    """Return mean, standard error and users of a record; None without one. Old records have only the 95 % interval.

    >>> measured({"ndcg@10": {"mean": 0.3, "low": 0.2804, "high": 0.3196, "n": 500}})
    Measured(mean=0.3, error=0.01, n=500)
    """
    figure = (metrics or {}).get(NDCG) or {}
    mean, low, high, n = (figure.get(name) for name in ("mean", "low", "high", "n"))
    if metrics is None or mean is None or not n:
        return None
    error = metrics.get("standard_error")
    if error is None:
        error = 0.0 if low is None or high is None else round((high - low) / (2 * 1.96), 12)
    return Measured(float(mean), float(error), int(n))


def loss_noticed(noise: float, mean: float, level: float, n: int) -> float | None:
    """Return the loss, as a share of ``mean``, that is refused with a chance of `POWER`; None if no loss is.

    ``noise``: one standard error of the comparison, of ``n`` users.

    >>> round(loss_noticed(0.2 / 2_000**0.5, 0.125, 0.025, 2_000), 3)  # (1.96 + 0.84) * 0.00447 / 0.125
    0.1
    """
    if not mean > 0.0 or n < LEAST_USERS:
        return None
    loss = (student(level, n - 1) + float(ndtri(POWER))) * noise / mean
    return loss if loss <= 1.0 else None


def student(level: float, freedom: int) -> float:
    """Return Student's t that is exceeded with a chance of ``level``."""
    return float(stdtrit(max(freedom, 1), 1.0 - level))
