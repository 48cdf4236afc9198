"""The sums behind decayed popularity, over all users or a part of them: merged in any order, they are the same.

The first pass finds when now is, and needs the number of events of each day and the newest of them:

    span = span_of(merged_days(event_days(part.times) for part in parts), half_life)

The second pass adds up confidences as they count at that moment, on a grid of whole numbers
(`recommender.fallback._popularity_kernels`):

    sums = merged_popularity(
        popularity_sums(part, decayed(part, half_life, span), segments, n_segments) for part in parts
    )
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import _popularity_kernels
from recommender.shop import NO_TIME, Profiles

MICROSECONDS_PER_DAY = _popularity_kernels.MICROSECONDS_PER_DAY
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # of the years 1 and 9999; what is beyond is of these days
_EVENTS_TO_JUDGE = 100  # fewer may well be years apart

kernels: Any = _popularity_kernels  # compiled functions have no signature a type checker could use


class EventDays(NamedTuple):
    """The days, UTC, on which there are events: (d,) int64 each, ascending; a day is a number of days since 1970."""

    days: NDArray[np.int64]
    counts: NDArray[np.int64]  # events of the day
    newest: NDArray[np.int64]  # the time of the newest of them, in microseconds
    oldest: int  # the time of the oldest event of all; NO_TIME: there is none
    n_untimed: int  # events without a time


class Span(NamedTuple):
    """The moment at which popularity is asked for, and the oldest time, in microseconds."""

    now: int
    oldest: int


class PopularitySums(NamedTuple):
    """Sums on the grid, (..., 2) int64: whole confidences and multiples of 2^-40."""

    scores: NDArray[np.int64]  # (n_products, 2) of confidences that decayed
    plain: NDArray[np.int64]  # (n_products, 2) of confidences
    keys: NDArray[np.int64]  # (k,) segment * n_products + column, ascending: what members of a segment have
    in_segment: NDArray[np.int64]  # (k, 2) of their confidences that decayed


def event_days(times: NDArray[np.int64] | None) -> EventDays:
    """Count the events by day. ``times`` (n,): microseconds since 1970, or `NO_TIME`; None: no times were read."""
    given = np.empty(0, np.int64) if times is None else times
    oldest, newest, n_untimed = kernels.ends(given, NO_TIME)
    if n_untimed == len(given):
        none = np.empty(0, np.int64)
        return EventDays(none, none, none, NO_TIME, n_untimed)
    first, last = (min(max(end // MICROSECONDS_PER_DAY, _FIRST_DAY), _LAST_DAY) for end in (oldest, newest))
    counts, latest = np.zeros(last - first + 1, np.int64), np.full(last - first + 1, np.iinfo(np.int64).min)
    kernels.count_days(given, NO_TIME, first, counts, latest)
    there = np.flatnonzero(counts)
    return EventDays(there + first, counts[there], latest[there], oldest, n_untimed)


def merged_days(parts: Iterable[EventDays]) -> EventDays:
    """Return the days of all parts, at least one."""
    every = list(parts)
    days = np.concatenate([part.days for part in every])
    order = np.argsort(days, kind="stable")
    firsts = _firsts(days[order])
    counts = np.concatenate([part.counts for part in every])[order]
    newest = np.concatenate([part.newest for part in every])[order]
    if len(firsts):
        counts, newest = np.add.reduceat(counts, firsts), np.maximum.reduceat(newest, firsts)
    oldest = min((part.oldest for part in every if len(part.days)), default=NO_TIME)
    return EventDays(days[order][firsts], counts, newest, oldest, sum(part.n_untimed for part in every))


def span_of(events: EventDays, half_life: int) -> Span | None:
    """Return the span of the events; None if no event has a time. ``half_life`` in days.

    Of 100 events or more, a thousandth, at least one, may be wrong: the newest ones. The others end with the newest
    event of their last day. If the newest of all is more than a half-life newer, now is that end of the others.
    """
    if not len(events.days):
        return None
    n = int(events.counts.sum()) + events.n_untimed
    few = max(1, n // 1_000) if n >= _EVENTS_TO_JUDGE else 0
    at = int(np.searchsorted(np.cumsum(events.counts[::-1]), few + 1))  # days after that of the newest of the others
    others = int(events.newest[::-1][min(at, len(events.days) - 1)])  # those without a time count as the oldest
    newest = int(events.newest[-1])
    return Span(newest if newest - others <= half_life * MICROSECONDS_PER_DAY else others, events.oldest)


def popularity_sums(
    profiles: Profiles, weights: NDArray[np.float64], segments: NDArray[np.int32], n_segments: int
) -> PopularitySums:
    """Return the sums of these users. ``weights`` (nnz,): the confidences as they count now, at least 0.

    ``segments`` (n_users,): the segment of each row, -1: none.
    """
    csr = profiles.confidences
    n_products = csr.shape[1]
    scores, plain = np.zeros((n_products, 2), np.int64), np.zeros((n_products, 2), np.int64)
    kernels.add_by_column(csr.indices, weights, scores)
    if weights is csr.data:
        plain = scores
    else:
        kernels.add_by_column(csr.indices, csr.data, plain)
    members = np.argsort(segments, kind="stable")[np.count_nonzero(segments < 0) :]
    counts = np.bincount(segments[members], minlength=n_segments)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    room = int(np.diff(csr.indptr)[members].sum())
    keys, sums, room_of = np.empty(room, np.int64), np.empty((room, 2), np.int64), np.zeros_like(scores)
    found = kernels.add_by_segment(csr.indptr, csr.indices, weights, members, starts, room_of, keys, sums)
    return PopularitySums(scores, plain, keys[:found].copy(), sums[:found].copy())


def merged_popularity(parts: Iterable[PopularitySums]) -> PopularitySums:
    """Return the sums of all parts, at least one and fewer than 2^23, which have no user in common."""
    every = list(parts)
    scores, plain = (
        _carried(sum(arrays)) for arrays in zip(*((each.scores, each.plain) for each in every), strict=True)
    )
    keys = np.concatenate([part.keys for part in every])
    order = np.argsort(keys, kind="stable")
    firsts = _firsts(keys[order])
    sums = np.concatenate([part.in_segment for part in every])[order]
    merged = _carried(np.add.reduceat(sums, firsts)) if len(firsts) else sums
    return PopularitySums(scores, plain, keys[order][firsts], merged)


def values_of(sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums (m, 2) as numbers (m,)."""
    below_one: NDArray[np.float64] = np.ldexp(sums[:, 1].astype(np.float64), -kernels.GRID_BITS)
    return sums[:, 0] + below_one


def _carried(sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums with what is above one among the multiples of 2^-40 carried over."""
    return np.stack([sums[:, 0] + (sums[:, 1] >> kernels.GRID_BITS), sums[:, 1] & kernels.BELOW_ONE], axis=1)


def _firsts(ordered: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the places of the first of each run of equal values."""
    return (
        np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.empty(0, np.intp)
    )
