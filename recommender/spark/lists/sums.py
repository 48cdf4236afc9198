"""The sums of the whole shop, added up over its pieces in any order: all of them are whole numbers.

Two passes over the pieces. The first counts raters, ratings and days. The second needs what comes of these: the moment
that popularity is asked for, and the work of each row, by which queries are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import (
    HALF_LIFE_DAYS,
    EventDays,
    PopularitySums,
    Span,
    decayed,
    event_days,
    merged_days,
    merged_popularity,
    popularity_sums,
)
from recommender.shop import ShopSums, merged_sums, shop_sums
from recommender.spark.lists.exchange import Flow, Message
from recommender.spark.lists.layout import Cut, Piece, cut
from recommender.spark.lists.user_rows import UserRows

FEW = 64  # parts whose sums the driver merges alone


class First(NamedTuple):
    """The results of the first pass."""

    pieces: list[Piece]
    sums: ShopSums
    days: EventDays


class Second(NamedTuple):
    """The results of the second pass."""

    cuts: list[Cut]
    popularity: PopularitySums | None  # None: for the classic ranking


def merged_first(parts: Iterable[First]) -> First:
    """Return the sums of all parts."""
    pieces, sums, days = zip(*parts, strict=True)
    return First(list(chain(*pieces)), merged_sums(sums), merged_days(days))


def merged_second(parts: Iterable[Second]) -> Second:
    """Return the sums of all parts."""
    cuts, popularity = zip(*parts, strict=True)
    known = [each for each in popularity if each is not None]
    return Second(list(chain(*cuts)), merged_popularity(known) if known else None)


def first_pass(n_columns: int, pieces: Iterator[Message]) -> Iterator[Message]:
    """Yield the `First` of a task's pieces."""
    found = []
    for message in pieces:
        rows: UserRows = message.body
        profiles = rows.profiles(n_columns)
        sums = shop_sums(profiles.confidences, rows.ratings(n_columns))
        size = Piece.of(message.part, message.turn, rows)
        found.append(First([size], sums, event_days(profiles.times)))
        part = message.part
    if found:
        yield Message(part, 0, merged_first(found))


@dataclass(frozen=True, eq=False)
class SecondPass:
    """What the second pass needs."""

    raters: NDArray[np.int64]
    most_work: int  # of a query
    most_rows: int
    n_segments: int | None  # None: the ranking is classic
    span: Span | None


def second_pass(known: SecondPass, pieces: Iterator[Message]) -> Iterator[Message]:
    """Yield the `Second` of a task's pieces."""
    found = []
    for message in pieces:
        rows: UserRows = message.body
        ends = np.concatenate([[0], np.cumsum(known.raters[rows.columns])])[rows.indptr]
        runs = cut(np.diff(ends), known.most_work, known.most_rows)
        queries = [(start, stop, int(ends[stop] - ends[start])) for start, stop in runs]
        found.append(Second([Cut(message.part, message.turn, queries)], _popularity(known, rows)))
        part = message.part
    if found:
        yield Message(part, 0, merged_second(found))


def _popularity(known: SecondPass, rows: UserRows) -> PopularitySums | None:
    if known.n_segments is None:
        return None
    profiles = rows.profiles(len(known.raters))
    weights = decayed(profiles, HALF_LIFE_DAYS, known.span)
    return popularity_sums(profiles, weights, rows.segments, known.n_segments)


def gathered(found: Flow, n_parts: int, merge: Callable[[Iterable[Any]], Any]) -> Any:
    """Return what is merged of all parts; many of them are merged on executors first. None if there are no parts."""
    if n_parts > FEW:
        width = isqrt(n_parts)
        found = found.run(partial(_spread, width)).delivered(width, partial(_merge, merge))
    bodies = [message.body for message in found.collected()]
    return merge(bodies) if bodies else None


def _spread(width: int, messages: Iterator[Message]) -> Iterator[Message]:
    for message in messages:
        yield Message(message.part % width, message.turn, message.body)


def _merge(merge: Callable[[Iterable[Any]], Any], messages: Iterator[Message]) -> Iterator[Message]:
    bodies = [message.body for message in messages]
    if bodies:
        yield Message(0, 0, merge(bodies))
