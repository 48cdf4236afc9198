"""Ratings by the time of their last change: counted by tenths of a second, and read only where the count has changed.

A rating may become visible after ratings that were written later, so each look goes back over the last ``OVERLAP``
seconds. Ratings that were seen there before are counted again, which needs only the index, and not read again. So after
an UPDATE of very many rows each row is read once, whatever comes later.

No look counts or reads more than ``MOST_RATINGS`` rows. It begins with the oldest; the next look takes the rest. A
tenth of a second with more rows than that is a crowd. It is passed over where a model can be made from scratch;
elsewhere all its users are named at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, or_, select

from recommender.database import OVERLAP, SECOND, TICK, Count, as_moment, count_ticks, microseconds
from recommender.database.schema import ratings
from recommender.shop import Cursor

_MOST_SPANS = 200
Rows = dict[tuple[int, str], int]  # microseconds since 1970 by user and product


class RatingLook(NamedTuple):
    """The result of one look."""

    users: set[int]
    counts: dict[int, Count]  # by tick
    rows: dict[int, Rows]  # of the ticks that have changed
    skipped: tuple[int, int] | None  # from and to, microseconds: done, not to be read again
    now: int
    crowd: bool  # whether users of a crowd are not named


class FollowedRatings:
    """The ratings that were seen; a look is forgotten unless it is kept."""

    def __init__(self, cursor: Cursor) -> None:
        self._looked, self._newest = cursor.read_at, cursor.updated_at
        self._counts: dict[int, Count] = {tick: (rows, total) for tick, rows, total in cursor.ticks}
        self._rows: dict[int, Rows] = {}
        self._skipped: tuple[int, ...] = cursor.skipped
        self._skipped_at = cursor.read_at

    def look(self, connection: Connection, clocks: Sequence[int], *, name_crowds: bool) -> RatingLook:
        """Return the users with a rating that was not seen before; ``name_crowds``: also those of a crowd."""
        recent = self._recent(clocks)
        counts, cut = count_ticks(connection, recent)
        if cut and len(counts) == 1:
            (tick,) = counts
            users = _users_of(connection, tick) if name_crowds else set()
            return RatingLook(users, {}, {}, (tick * TICK, (tick + 1) * TICK), clocks[0], not name_crowds)
        skipped = None
        if cut and counts:
            last = max(counts)
            del counts[last]
            skipped = min(counts) * TICK, last * TICK
        changed = [tick for tick, count in counts.items() if self._counts.get(tick) != count]
        rows = _read_rows(connection, recent, changed) if changed else {}
        users = {
            key[0]
            for tick in changed
            for key, at in rows.get(tick, {}).items()
            if self._rows.get(tick, {}).get(key) != at
        }
        return RatingLook(users, counts, rows, skipped, clocks[0], crowd=False)

    def keep(self, look: RatingLook) -> None:
        """Note that the users of this look are taken care of."""
        known = {tick: self._rows.get(tick) for tick, count in look.counts.items() if self._counts.get(tick) == count}
        self._rows = {tick: rows for tick, rows in known.items() if rows is not None} | look.rows
        self._counts = dict(look.counts)
        newest = [max(rows.values()) for rows in look.rows.values() if rows]
        if look.skipped is None:
            self._looked = look.now
        else:
            first = self._skipped[0] if self._skip(look.now) else look.skipped[0]
            self._skipped, self._skipped_at = (min(first, look.skipped[0]), look.skipped[1]), look.now
            newest.append(look.skipped[1] - 1)
        self._newest = max([self._newest, *newest])

    def _skip(self, now: int) -> bool:
        """Tell whether a look reaches back to what was skipped."""
        return bool(self._skipped) and min(self._looked, now) - self._skipped_at <= 3 * OVERLAP * SECOND

    def _recent(self, clocks: Sequence[int]) -> Any:
        at = ratings.c.updated_at
        since, until = min(self._looked - clocks[0], 0) - OVERLAP * SECOND, OVERLAP * SECOND
        near = [and_(at >= as_moment(clock + since), at <= as_moment(clock + until)) for clock in clocks]
        # one more bound for all: SQLite walks the whole index for an OR with an ORDER BY
        first = at >= as_moment(min(self._newest + 1, *(clock + since for clock in clocks)))
        condition = and_(first, or_(*near, at > as_moment(self._newest)))
        if not self._skip(clocks[0]):
            return condition
        return and_(condition, or_(at < as_moment(self._skipped[0]), at >= as_moment(self._skipped[1])))


def _read_rows(connection: Connection, recent: Any, ticks: Sequence[int]) -> dict[int, Rows]:
    at, c = ratings.c.updated_at, ratings.c
    spans = _spans(sorted(ticks))
    inside = or_(*(and_(at >= as_moment(first * TICK), at < as_moment((last + 1) * TICK)) for first, last in spans))
    statement = select(c.user_id, c.product_id, microseconds(connection.engine, at, "moment")).where(recent, inside)
    rows: dict[int, Rows] = {tick: {} for tick in ticks}
    for user, product, moment_of in connection.execute(statement):
        if isinstance(user, int) and moment_of is not None and (tick := int(moment_of) // TICK) in rows:
            rows[tick][user, product] = int(moment_of)
    return rows


def _spans(ticks: Sequence[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for tick in ticks:
        if spans and spans[-1][1] == tick - 1:
            spans[-1] = spans[-1][0], tick
        else:
            spans.append((tick, tick))
    return spans if len(spans) <= _MOST_SPANS else [(ticks[0], ticks[-1])]


def _users_of(connection: Connection, tick: int) -> set[int]:
    at, user = ratings.c.updated_at, ratings.c.user_id
    inside = at >= as_moment(tick * TICK), at < as_moment((tick + 1) * TICK)
    return {who for who in connection.execute(select(user).where(*inside).distinct()).scalars() if isinstance(who, int)}
