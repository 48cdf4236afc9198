"""The new rows of a log by their ids: those above the newest id that was seen, and late ones below it.

An id is given when a row is inserted, but the row is visible only when its transaction is committed. So a row that
becomes visible late has an id in a gap below ids that were seen before. Young gaps are read again in each look, older
ones in turn. A gap is given up after an hour: most likely its transaction was rolled back.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from sqlalchemy import Column, Connection, and_, func, or_, select

from recommender.database import MOST_GAPS, missing
from recommender.shop import Spans

MOST_ROWS = 20_000  # most rows that one look reads
LIFE, YOUNG = 3_600.0, 30.0  # seconds
GAPS_AT_A_TIME = 50


class Gap(NamedTuple):
    """A span of ids that no row had, and the time since when this is known."""

    first: int
    last: int
    since: float  # time.monotonic()


class IdRows(NamedTuple):
    """The users of rows by id: rows above what was seen before, and rows in gaps below it."""

    above: dict[int, object]
    late: dict[int, object]
    newest: int | None  # of a log that was emptied, restored or swapped; None: the newest of `above`


class FollowedIds:
    """The ids of a log that were seen."""

    def __init__(self, newest: int, gaps: Spans = ()) -> None:
        self._newest = newest
        self._newest_user: object = None  # not known
        self._gaps = [Gap(first, last, time.monotonic()) for first, last in gaps]
        self._turn = 0

    @property
    def newest(self) -> int:
        """The newest id that was seen."""
        return self._newest

    def look(self, connection: Connection, number: Column[int], user: Column[int]) -> IdRows:
        """Return the rows that may be new: at most ``MOST_ROWS`` from the newest one seen on, and those in gaps."""
        found = connection.execute(
            select(number, user).where(number >= self._newest).order_by(number).limit(MOST_ROWS)
        ).all()
        above: dict[int, object] = {int(at): who for at, who in found}
        if not above and self._newest:
            return IdRows({}, {}, int(connection.execute(select(func.max(number))).scalar() or 0))
        late: dict[int, object] = {}
        if due := self._due():
            inside = or_(*(and_(number >= gap.first, number <= gap.last) for gap in due))
            found = connection.execute(select(number, user).where(inside).limit(MOST_ROWS)).all()
            late = {int(at): who for at, who in found}
        return IdRows(above, late, None)

    def _due(self) -> list[Gap]:
        now = time.monotonic()
        young = [gap for gap in self._gaps if now - gap.since < YOUNG]
        older = [gap for gap in self._gaps if now - gap.since >= YOUNG]
        start = self._turn % max(len(older), 1)
        return young[-GAPS_AT_A_TIME:] + older[start : start + GAPS_AT_A_TIME]

    def new_users(self, rows: IdRows) -> set[int]:
        """Return the users of the rows that were not seen before."""
        named = [who for at, who in rows.above.items() if at > self._newest or self._given_again(who)]
        return {who for who in (*named, *rows.late.values()) if isinstance(who, int)}

    def _given_again(self, user: object) -> bool:
        return self._newest_user is not None and user != self._newest_user

    def keep(self, rows: IdRows) -> None:
        """Note that these rows were seen."""
        if rows.newest is not None:
            self._newest, self._newest_user = rows.newest, None
            self._gaps = [gap for gap in self._gaps if gap.last < rows.newest]
            return
        now = time.monotonic()
        for at in sorted(rows.late):
            self._gaps = [part for gap in self._gaps for part in _without(gap, at)]
        self._gaps += [Gap(first, last, now) for first, last in missing(rows.above, self._newest)]
        self._gaps = [gap for gap in self._gaps if now - gap.since < LIFE][-MOST_GAPS:]
        self._turn += GAPS_AT_A_TIME
        if rows.above:
            self._newest = max(rows.above)
            self._newest_user = rows.above[self._newest]


def _without(gap: Gap, number: int) -> list[Gap]:
    """Return what remains of a gap once an id in it has a row."""
    if not gap.first <= number <= gap.last:
        return [gap]
    parts = gap._replace(last=number - 1), gap._replace(first=number + 1)
    return [part for part in parts if part.first <= part.last]
