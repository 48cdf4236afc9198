"""Events from tastes: what a user rates, what the log has of the user, and when. Helper of `shoppers`.

Visits.  A user's interactions are visits to products. A visit starts with a view and may go on to click, add_to_cart
    and purchase, each step with a probability: a funnel. 30 % of the visits are browsing: the product comes from the
    whole catalog by popularity and every step has probability 0.22. The others follow the taste p(. | u), with 0.45,
    0.42 and 0.45. The last visit is cut off where the user's number of interactions is reached. The user never buys a
    rated product a second time.
Ratings.  Some of a user's ratings (8 %, and at most one in ten interactions) stem from a purchase in the log: a whole
    funnel, then the rating, some days later. All other rated products were bought, and rated, before the log began.
Times.  The log is the 92 days before ``TIMELINE_END``. Events of one session are 1 s + Exp(40 s) apart, a session has
    4 visits on average, sessions fall anywhere in the log. Older ratings lie between the day the user joined (uniform
    from ``TIMELINE_START``) and ``LOG_START``. Times are UTC in whole microseconds, strictly increasing within the
    interactions of a user. Events of a user with very many are closer together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from recommender.shop import INTERACTION_TYPES
from recommender.synthetic._taste_groups import Tastes

# Constants instead of the clock: two runs with one seed agree on any day.
TIMELINE_START = np.datetime64("2021-01-01T00:00:00", "us")
LOG_START = np.datetime64("2023-10-01T00:00:00", "us")
TIMELINE_END = np.datetime64("2024-01-01T00:00:00", "us")

LOGGED_SHARE = 0.08
INTERACTIONS_PER_LOGGED_RATING = 10
BROWSING_SHARE = 0.3
STEPS = np.array([[0.45, 0.42, 0.45], [0.22, 0.22, 0.22]])  # (taste, browsing) x (click, add_to_cart, purchase)
VISITS_PER_SESSION = 4
SECONDS_BETWEEN = 40.0
RATING_DELAY_DAYS = 4.0
STAR_MEAN, STAR_USER_SIGMA, STAR_NOISE = 4.7, 0.5, 0.9
STAR_CATALOG_WEIGHT = 0.8
STAR_IN_GROUP, STAR_OUTSIDE = 0.1, -0.3
DISAPPOINTED_SHARE = 0.08

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]
_Times = npt.NDArray[np.datetime64]

_SECOND, _DAY = 1_000_000, 86_400_000_000  # microseconds
_LOG_LENGTH = int((TIMELINE_END - LOG_START).astype(np.int64))
_OLD_LENGTH = int((LOG_START - TIMELINE_START).astype(np.int64))
_FUNNEL = len(INTERACTION_TYPES)
_DRAWING_ROUNDS = 8  # then the few users with nearly all products of their groups get an exact draw


@dataclass(frozen=True)
class _Rows:
    """Arrays of one length, in ascending order of user."""

    user: _Ints  # (n,) 0-based user index
    product: _Ints  # (n,) product index
    time: _Times  # (n,) datetime64[us], UTC; ascending within a user

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the parts one after the other."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def of_users(self, start: int, stop: int) -> Self:
        """Return the rows of the users start..stop-1."""
        low, high = np.searchsorted(self.user, (start, stop))
        return type(self)(**{f.name: getattr(self, f.name)[low:high] for f in fields(self)})

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Ratings(_Rows):
    """Ratings, unique by (user, product)."""

    stars: npt.NDArray[np.int8]  # (n,) 1..5


@dataclass(frozen=True)
class Interactions(_Rows):
    """Interactions; the times of one user differ."""

    type: npt.NDArray[np.int8]  # (n,) index into INTERACTION_TYPES


@dataclass(frozen=True)
class _Visits:
    user: _Ints  # (n,)
    product: _Ints  # (n,) -1: the product of a logged rating, not yet assigned
    length: _Ints  # (n,) 1..4 interactions


def make_events(
    tastes: Tastes,
    groups: _Ints,
    *,
    ratings_per_user: _Ints,
    interactions_per_user: _Ints,
    first_user: int,
    rng: np.random.Generator,
) -> tuple[_Times, Ratings, Interactions]:
    """Return (joined, ratings, interactions) of len(groups) users, ``groups`` (n, 2), from ``first_user`` on."""
    n_users = len(groups)
    user, product = _draw_distinct(tastes, groups, ratings_per_user, rng)
    stars = _draw_stars(tastes, groups, user, product, rng)
    logged = np.minimum(  # (n_users,) ratings that stem from a purchase in the log
        rng.binomial(ratings_per_user, LOGGED_SHARE), interactions_per_user // INTERACTIONS_PER_LOGGED_RATING
    )
    rated = np.unique(user * len(tastes.base) + product)
    visits = _plan_visits(tastes, groups, interactions_per_user - _FUNNEL * logged, rated, rng)
    visits = _mix_in_funnels(visits, logged, rng)
    log_user, log_time, stage = _time_visits(visits, n_users, rng)

    in_log = _position_in_user(user, n_users) >= (ratings_per_user - logged)[user]  # a user's newest ratings
    bought_at = log_time[np.repeat(visits.product < 0, visits.length) & (stage == _FUNNEL - 1)]
    rated_at = bought_at + _rating_delay(bought_at, rng)
    # each rating is after its purchase, so also in sorted order a user's k-th rating is after the k-th purchase
    rated_at = rated_at[np.lexsort((rated_at, visits.user[visits.product < 0]))]
    visits.product[visits.product < 0] = product[in_log]

    joined = rng.integers(0, _OLD_LENGTH - _DAY, n_users) - _OLD_LENGTH  # microseconds relative to LOG_START
    time = np.empty(len(user), dtype=np.int64)
    time[in_log] = rated_at
    time[~in_log] = _old_times(joined, user[~in_log], rng)
    return (
        LOG_START + joined.astype("timedelta64[us]"),
        Ratings(user + first_user, product, LOG_START + time.astype("timedelta64[us]"), stars),
        Interactions(
            log_user + first_user,
            np.repeat(visits.product, visits.length),
            LOG_START + log_time.astype("timedelta64[us]"),
            stage.astype(np.int8),
        ),
    )


def _draw_distinct(tastes: Tastes, groups: _Ints, wanted: _Ints, rng: np.random.Generator) -> tuple[_Ints, _Ints]:
    """Draw ``wanted[u]`` distinct products for every user u: (user, product), by user, in the order of drawing.

    Drawing with replacement and skipping repeats follows the same law as drawing without replacement.
    """
    n_products = len(tastes.base)
    user = product = np.empty(0, dtype=np.int64)
    for _ in range(_DRAWING_ROUNDS):
        missing = wanted - np.bincount(user, minlength=len(groups))
        if not missing.any():
            return user, product
        more = np.repeat(np.arange(len(groups)), np.where(missing > 0, 2 * missing + 4, 0))
        drawn = tastes.draw(groups[more], rng.random(len(more)) < tastes.base_share, rng)
        user, product = np.concatenate((user, more)), np.concatenate((product, drawn))
        first = np.sort(np.unique(user * n_products + product, return_index=True)[1])
        first = first[np.argsort(user[first], kind="stable")]
        first = first[_position_in_user(user[first], len(groups)) < wanted[user[first]]]
        user, product = user[first], product[first]
    return _complete_by_race(tastes, groups, wanted, user, product, rng=rng)


def _complete_by_race(
    tastes: Tastes, groups: _Ints, wanted: _Ints, user: _Ints, product: _Ints, *, rng: np.random.Generator
) -> tuple[_Ints, _Ints]:
    """Draw what is still missing: the products of smallest Exp(1) / p, the same law (Efraimidis, Spirakis 2006)."""
    missing = wanted - np.bincount(user, minlength=len(groups))
    users, products = [user], [product]
    for row in np.flatnonzero(missing):
        seen = slice(*np.searchsorted(user, (row, row + 1)))
        arrival = rng.exponential(size=len(tastes.base)) / tastes.appeal_row(groups[row])
        arrival[product[seen]] = np.inf
        best = np.argpartition(arrival, missing[row] - 1)[: missing[row]]
        products.append(best[np.argsort(arrival[best])])
        users.append(np.full(missing[row], row))
    user, product = np.concatenate(users), np.concatenate(products)
    order = np.argsort(user, kind="stable")
    return user[order], product[order]


def _draw_stars(
    tastes: Tastes, groups: _Ints, user: _Ints, product: _Ints, rng: np.random.Generator
) -> npt.NDArray[np.int8]:
    """Draw the stars of each rating: user bias, catalog stars, match of taste, noise, and some disappointments."""
    bias = rng.normal(0.0, STAR_USER_SIGMA, len(groups))[user]
    match = np.where(tastes.is_in_groups(groups[user], product), STAR_IN_GROUP, STAR_OUTSIDE)
    noise = rng.normal(0.0, STAR_NOISE, len(user))
    liking = STAR_MEAN + bias + STAR_CATALOG_WEIGHT * tastes.star_offsets[product] + match + noise
    stars = np.clip(np.rint(liking), 1, 5)
    disappointed = rng.random(len(user)) < DISAPPOINTED_SHARE
    stars[disappointed] = 1 + (rng.random(int(disappointed.sum())) < 0.35)
    return stars.astype(np.int8)


def _plan_visits(tastes: Tastes, groups: _Ints, budget: _Ints, rated: _Ints, rng: np.random.Generator) -> _Visits:
    """Draw visits with ``budget[u]`` interactions for each user u; ``rated``: user * n_products + product, sorted."""
    user = np.repeat(np.arange(len(groups)), budget)  # as many visits as could be needed
    browsing = rng.random(len(user)) < BROWSING_SHARE
    product = tastes.draw(groups[user], browsing | (rng.random(len(user)) < tastes.base_share), rng)
    goes_on = rng.random((len(user), _FUNNEL - 1)) < STEPS[browsing.astype(np.int64)]
    length = 1 + np.cumprod(goes_on, axis=1).sum(axis=1)
    keys = user * len(tastes.base) + product
    if len(rated):
        again = rated[np.minimum(np.searchsorted(rated, keys), len(rated) - 1)] == keys
        length[again] = np.minimum(length[again], _FUNNEL - 1)
    before = np.cumsum(length) - length  # interactions of the visits before, all users
    before -= before[np.searchsorted(user, user)] if len(user) else 0  # ... of this user
    needed = before < budget[user]
    length = np.minimum(length, budget[user] - before)
    return _Visits(user[needed], product[needed], length[needed])


def _mix_in_funnels(visits: _Visits, logged: _Ints, rng: np.random.Generator) -> _Visits:
    """Put ``logged[u]`` whole funnels at random positions among the visits of user u."""
    owners = np.repeat(np.arange(len(logged)), logged)
    user = np.concatenate((visits.user, owners))
    product = np.concatenate((visits.product, np.full(len(owners), -1)))
    length = np.concatenate((visits.length, np.full(len(owners), _FUNNEL)))
    order = np.lexsort((rng.random(len(user)), user))
    return _Visits(user[order], product[order], length[order])


def _time_visits(visits: _Visits, n_users: int, rng: np.random.Generator) -> tuple[_Ints, _Ints, _Ints]:
    """Return (user, time, stage) of every interaction: microseconds since LOG_START, stage 0..3 of the funnel."""
    n = int(visits.length.sum())
    user = np.repeat(visits.user, visits.length)
    visit_start = np.cumsum(visits.length) - visits.length
    stage = np.arange(n) - np.repeat(visit_start, visits.length)
    new_session = np.zeros(n, dtype=np.bool_)
    new_session[visit_start] = rng.random(len(visit_start)) < 1 / VISITS_PER_SESSION
    new_session[np.searchsorted(user, np.unique(user))] = True
    short = np.where(new_session, 0, _SECOND + rng.exponential(SECONDS_BETWEEN * _SECOND, n))
    in_sessions = np.bincount(user, short, minlength=n_users)  # (n_users,) at most half of the log
    short *= np.minimum(1.0, _LOG_LENGTH / 2 / np.maximum(in_sessions, 1.0))[user]
    pause = np.where(new_session, rng.exponential(1.0, n), 0.0)
    last_pause = 1e-3 + rng.exponential(1.0, n_users)
    pauses = np.bincount(user, pause, minlength=n_users) + last_pause
    unit = (_LOG_LENGTH / 2.0 - np.bincount(user, minlength=n_users)) / pauses
    unit += np.maximum(_LOG_LENGTH / 2.0 - in_sessions, 0.0) / pauses
    gap = 1 + (short + pause * unit[user]).astype(np.int64)  # at least 1 us: times differ
    time = np.cumsum(gap)
    first = np.searchsorted(user, user)
    return user, time - (time[first] - gap[first]), stage


def _rating_delay(bought_at: _Ints, rng: np.random.Generator) -> _Ints:
    """Return the time from purchase to rating in microseconds: an hour and days, cut to fit before TIMELINE_END."""
    delay = _DAY / 24 + rng.exponential(RATING_DELAY_DAYS * _DAY, len(bought_at))
    room = rng.random(len(bought_at)) * (_LOG_LENGTH - bought_at - 1)
    return 1 + np.minimum(delay, room).astype(np.int64)


def _old_times(joined: _Ints, user: _Ints, rng: np.random.Generator) -> _Ints:
    """Return ascending times between joining and LOG_START (= 0) for the rows of each user, in microseconds."""
    time = (joined[user] * rng.random(len(user))).astype(np.int64) - 1
    return time[np.lexsort((time, user))]


def _position_in_user(user: _Ints, n_users: int) -> _Ints:
    """Return 0, 1, 2, ... for the rows of each user; ``user`` ascends."""
    counts = np.bincount(user, minlength=n_users)
    position: _Ints = np.arange(len(user)) - (np.cumsum(counts) - counts)[user]
    return position
