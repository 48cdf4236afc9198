"""Popularity that decays with time, of the whole shop and of the people of one country and age group.

c_vi is the confidence that user v likes product i (`recommender.shop.profiles`). age_vi is the number of whole days
from the last event of v with i to now, or 0 if it is later. Now is the newest event of all. But of 100 events or more,
a thousandth, at least one, may be wrong, and the others end with the newest event of their last day: if the newest of
all is more than a half-life newer, now is that end. So one row of the year 2099 makes nothing else old. An event
without a time counts as the oldest that has one. Without any times all ages are 0.

    pop(i)     = sum over the users v who have i of c_vi * 2^(-age_vi / half_life)
    score_s(i) = the same sum over the users of segment s only + m * pop(i) / sum of pop

An exponential half-life is the usual forgetting factor of data streams (Ding and Li 2005, "Time weight collaborative
filtering"). The second line is, up to a factor, the posterior mean of a Dirichlet prior of weight m whose center is the
whole shop (Bayesian smoothing, in language models after MacKay and Peto 1995). A segment of few people says little
against the shop; a segment of many decides for itself.

How half-life and m were chosen: `python -m benchmarks.cold_start`, nDCG@10 of the first line on the newest 20 % of each
user's ratings, by half-life in days; "never" on ratings alone is plain popularity:

                                30     180     365     730   3,650   never
    MovieLens small, end    0.0552  0.0735  0.0796  0.0794  0.0835  0.0863
                     cut    0.0743  0.0986  0.0981  0.0983  0.0802  0.0727
    All Beauty,      end    0.0472  0.0071  0.0067  0.0054  0.0036  0.0037
                     cut    0.0926  0.0109  0.0029  0.0012  0.0000  0.0023
    planted,         end    0.0164  0.0181  0.0179  0.0180  0.0178  0.0178
                     cut    0.0162  0.0179  0.0184  0.0181  0.0181  0.0180

"end": one list for all, as of the newest event, as in the project's evaluation. Its split is in time per user, so
people who left MovieLens in 1996 are offered products of 2018. There forgetting wins on one set of three and loses on
one. "cut": each list as of the user's first hidden rating, from the events before it, as in a service. There a year
wins on MovieLens by 0.025 (95 % interval 0.016 to 0.034) and equals never forgetting on the other two. Each
shorter half-life is worse than never forgetting on one set. A month would be better for All Beauty.
Planted shoppers never change: a half-life of a year costs their segment step 2 to 12 % (0.0393, 0.0322, 0.0334 without
a half-life), a shorter one more.

    segment step, planted, m =       1      10      30     100     300   1,000  10,000
    seed 0                      0.0377  0.0380  0.0380  0.0381  0.0364  0.0328  0.0230
    seed 1                      0.0315  0.0315  0.0314  0.0316  0.0330  0.0351  0.0292
    seed 2                      0.0284  0.0284  0.0287  0.0294  0.0307  0.0301  0.0239

Plain popularity has 0.0157, 0.0257, 0.0184 there. From 1 to 300 the differences mean nothing; 10,000 loses on all.

Both values were chosen on hidden ratings of the same sets that docs/quality.md reports for these steps, so the figures
there are what the values were picked for. There was no other set with times or segments to test the choice on.

Powers of two are computed in decimal arithmetic, and sums as whole numbers (`recommender.fallback.decayed_sums`).
So the order of products is the same on every machine, in any order of the users.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.fallback.decayed_sums import (
    MICROSECONDS_PER_DAY,
    PopularitySums,
    Span,
    event_days,
    span_of,
    values_of,
)
from recommender.shop import NO_TIME, Profiles

HALF_LIFE_DAYS = 365
SEGMENT_PRIOR = 100.0  # m, in confidences of today
LONGEST_HALF_LIFE = 36_500  # days
_MOST_HALVINGS = 1_000  # a float64 can be halved 1,022 times: no weight becomes 0
_DIGITS = Context(prec=20)  # 3 more than a float64 has


class Popularity(NamedTuple):
    """Recommendable products that somebody has, best first; (m,) each."""

    columns: NDArray[np.int32]
    scores: NDArray[np.float64]  # descending


class SegmentScores(NamedTuple):
    """Products that members of each segment have, best first within the segment."""

    starts: NDArray[np.int64]  # (n_segments + 1,)
    columns: NDArray[np.int32]  # (starts[-1],)
    scores: NDArray[np.float64]  # (starts[-1],)


def decayed(profiles: Profiles, half_life: int | None, span: Span | None = None) -> NDArray[np.float64]:
    """Return c * 2^(-age / half_life) of every entry of the profiles, (nnz,), above 0 where c is.

    ``half_life``: whole days; None: no decay. Times are microseconds. ``span``: that of the whole shop, if these are a
    part of its users. SettingError for a half-life that is not a whole number from 1 to 36,500.
    """
    confidences: NDArray[np.float64] = profiles.confidences.data
    if half_life is None or profiles.times is None or not len(profiles.times):
        return confidences
    if isinstance(half_life, bool) or not isinstance(half_life, int) or not 1 <= half_life <= LONGEST_HALF_LIFE:
        raise SettingError(
            f"half_life={half_life!r} cannot be used: pass whole days from 1 to {LONGEST_HALF_LIFE}, or None"
        )
    if (span := span or span_of(event_days(profiles.times), half_life)) is None:
        return confidences
    at = np.where(profiles.times != NO_TIME, profiles.times, span.oldest)
    days = np.maximum(span.now - at, 0) // MICROSECONDS_PER_DAY
    halvings, rest = np.divmod(days, half_life)
    powers: NDArray[np.float64] = np.ldexp(_powers(half_life)[rest], -np.minimum(halvings, _MOST_HALVINGS))
    return confidences * powers


@lru_cache(maxsize=8)
def _powers(half_life: int) -> NDArray[np.float64]:
    """Return 2^(-day / half_life) for the days of one half-life, correctly rounded."""
    powers = [_DIGITS.power(Decimal(2), _DIGITS.divide(Decimal(-day), Decimal(half_life))) for day in range(half_life)]
    return np.array([float(power) for power in powers])


def popularity(sums: PopularitySums, recommendable: NDArray[np.bool_], stars: NDArray[np.float64]) -> Popularity:
    """Order products by the sum of decayed confidences, then of plain ones, then by ``stars``, then by column.

    ``stars`` (n_products,) are the damped means that are shown. Without decay and without interactions, this is the
    order of `recommender.fallback.popular`.
    """
    scores, plain = _rounded(values_of(sums.scores)), _rounded(values_of(sums.plain))
    ranked = np.flatnonzero(recommendable & sums.plain.any(axis=1))  # somebody has them
    order = ranked[np.lexsort((ranked, -stars[ranked], -plain[ranked], -scores[ranked]))]
    return Popularity(order.astype(np.int32), scores[order])


def shares(popular: Popularity, prior: float) -> NDArray[np.float64]:
    """Return prior * pop(i) / sum of pop, (m,), descending: the score of a product in a segment where nobody has it.

    SettingError unless prior is a number above 0.
    """
    if not 0.0 < prior < math.inf:
        raise SettingError(f"prior={prior!r} cannot be used: pass a number above 0")
    total = math.fsum(popular.scores)  # exact: the order of numpy's sum depends on the processor
    return _rounded(prior * popular.scores / total) if total > 0.0 else np.zeros(len(popular.scores))


def segment_scores(
    sums: PopularitySums, popular: Popularity, prior_shares: NDArray[np.float64], n_segments: int
) -> SegmentScores:
    """Return score_s of the products of ``popular`` that members of each segment have.

    Equal scores are in the order of ``popular``.
    """
    place = np.full(len(sums.scores), -1, np.int64)  # (n_products,)
    place[popular.columns] = np.arange(len(popular.columns))
    segment, column = np.divmod(sums.keys, max(len(place), 1))
    kept = place[column] >= 0
    segment, column = segment[kept], column[kept]
    scores = _rounded(values_of(sums.in_segment[kept]) + prior_shares[place[column]])
    starts = np.concatenate([[0], np.cumsum(np.bincount(segment, minlength=n_segments))]).astype(np.int64)
    order = np.empty(len(column), np.int64)
    for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        part = slice(start, stop)
        order[part] = start + np.lexsort((place[column[part]], -scores[part]))
    return SegmentScores(starts, column[order].astype(np.int32), scores[order])


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.rint(values * 1e9) / 1e9
