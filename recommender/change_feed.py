"""Which users have changed since a model was built, asked of the tables again and again.

Nothing is read in full: ratings by ``updated_at`` (indexed), interactions and deletions by their ids. A row may become
visible after others that were written later, so each question goes back over the last ``OVERLAP`` seconds; what was
seen there before is not looked at again.

All times are the database's: ``updated_at`` is expected near its UTC clock, or near that of its default time zone,
which is what a default of CURRENT_TIMESTAMP gives those who leave the column out. A row that is dated years ahead is
found once, and neither hides nor repeats any other.
"""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Engine, and_, func, literal_column, or_, select

from recommender.bulk_read import microseconds
from recommender.changes import Cursor
from recommender.database import database_errors
from recommender.schema import deletions, interactions, ratings
from recommender.tables import existing_tables

OVERLAP = 10  # seconds
_SECOND = 1_000_000
_IDS_BEFORE = 10_000  # ids below the newest that a row may still come with
_EPOCH, _LATEST = datetime(1970, 1, 1), datetime(9999, 12, 31)
_UTC_NOW = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
_ZONE_NOW = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', @@global.time_zone))"
_LOGS: dict[str, tuple[Column[int], Column[int], Column[datetime]]] = {
    interactions.name: (interactions.c.interaction_id, interactions.c.user_id, interactions.c.created_at),
    deletions.name: (deletions.c.deletion_id, deletions.c.user_id, deletions.c.deleted_at),
}


def read_cursor(engine: Engine) -> Cursor:
    """Where the tables are now: read it before them. DatabaseError."""
    there, newest = existing_tables(engine), []
    with database_errors(engine), engine.connect() as connection:
        now = read_clocks(connection)[0]
        for column in (interactions.c.interaction_id, deletions.c.deletion_id):
            known = column.table.name in there
            newest.append(int(connection.execute(select(func.max(column))).scalar() or 0) if known else 0)
        updated = None
        if ratings.name in there:
            at = microseconds(engine, ratings.c.updated_at, "at")
            latest = select(at).select_from(ratings).where(at.element.is_not(None))
            latest = latest.order_by(ratings.c.updated_at.desc())
            updated = connection.execute(latest.limit(1)).scalar()
    return Cursor(int(updated or 0), newest[0], newest[1], now)


def read_clocks(connection: Connection) -> list[int]:
    """The database's time in UTC, then in its default time zone if that is another one; microseconds since 1970."""
    if connection.dialect.name == "sqlite":  # its clock is ours, its CURRENT_TIMESTAMP is UTC
        return [(datetime.now(UTC).replace(tzinfo=None) - _EPOCH) // timedelta(microseconds=1)]
    clocks = select(literal_column(_UTC_NOW, BigInteger), literal_column(_ZONE_NOW, BigInteger))
    utc, zone = connection.execute(clocks).one()
    return [int(utc)] if zone is None or abs(zone - utc) < _SECOND else [int(utc), int(zone)]


class Look(NamedTuple):
    """What one question found; given back to `ChangeFeed.keep` once the changes are counted."""

    users: set[int]
    now: int
    ratings: dict[tuple[int, str], int]
    logs: dict[str, _Rows]


class ChangeFeed:
    """Names the users who have changed since a cursor, each time those since the last look that was kept."""

    def __init__(self, cursor: Cursor, there: frozenset[str]) -> None:
        self._tables = there
        self._first, self._looked = cursor, cursor.read_at
        self._newest_rating = cursor.updated_at
        self._seen_ratings: dict[tuple[int, str], int] = {}
        first = {interactions.name: cursor.interaction_id, deletions.name: cursor.deletion_id}
        self._logs = {name: _Ids(number) for name, number in first.items()}

    def look(self, connection: Connection) -> Look:
        """Whoever has a rating, interaction or deletion that was not seen before. Nothing is forgotten by asking."""
        clocks = read_clocks(connection)
        found = self._ratings(connection, clocks)
        users = {key[0] for key, at in found.items() if self._seen_ratings.get(key) != at}
        logs = {}
        for name, (number, user, created) in _LOGS.items():
            if name in self._tables:
                logs[name] = self._by_ids(connection, self._logs[name], number, user, created)
                users |= self._logs[name].new_users(logs[name])
        return Look(users, clocks[0], found, logs)

    def keep(self, look: Look) -> None:
        """The changes of this look are counted: the next one names later ones."""
        self._looked = look.now
        self._seen_ratings = look.ratings
        self._newest_rating = max([self._newest_rating, *look.ratings.values()])
        for name, rows in look.logs.items():
            self._logs[name].keep(rows)

    def _ratings(self, connection: Connection, clocks: list[int]) -> dict[tuple[int, str], int]:
        c = ratings.c
        since, until = min(self._looked - clocks[0], 0) - OVERLAP * _SECOND, OVERLAP * _SECOND
        recent = [and_(c.updated_at >= _moment(at + since), c.updated_at <= _moment(at + until)) for at in clocks]
        statement = select(c.user_id, c.product_id, microseconds(connection.engine, c.updated_at, "at"))
        later = c.updated_at > _moment(self._newest_rating)
        return {
            (user, product): int(at)
            for user, product, at in connection.execute(statement.where(or_(*recent, later)))
            if isinstance(user, int) and at is not None
        }

    def _by_ids(
        self, connection: Connection, ids: _Ids, number: Column[int], user: Column[int], created: Column[datetime]
    ) -> _Rows:
        newest = int(connection.execute(select(func.max(number))).scalar() or 0)
        recent = _moment(self._first.read_at - OVERLAP * _SECOND)  # what is older was visible to the model
        late = or_(number > ids.first, created >= recent)
        statement = select(number, user).where(number > ids.floor(), late)
        return _Rows(newest, {at: who for at, who in connection.execute(statement) if isinstance(who, int)})


class _Rows(NamedTuple):
    """The newest id of a log, 0 if it is empty, and the users of its newest rows by their ids."""

    newest: int
    users: dict[int, int]


class _Ids:
    """Which rows of a log were seen: ids rise, but a smaller one may become visible later."""

    def __init__(self, first: int) -> None:
        self.first = first  # the newest when the model was built
        self._seen: dict[int, int] = {}
        self._history: deque[tuple[float, int]] = deque([(time.monotonic(), max(first - _IDS_BEFORE, 0))])

    def floor(self) -> int:
        """The id above which rows may be new: what was the newest ``OVERLAP`` seconds ago."""
        while len(self._history) > 1 and self._history[1][0] < time.monotonic() - OVERLAP:
            self._history.popleft()
        return self._history[0][1]

    def new_users(self, rows: _Rows) -> set[int]:
        """The users of the rows that were not seen before."""
        return {user for number, user in rows.users.items() if self._seen.get(number) != user}

    def keep(self, rows: _Rows) -> None:
        self._seen = rows.users
        self.first = min(self.first, rows.newest)
        if rows.newest < self._history[-1][1]:  # deleted, restored, swapped: ids may come again
            self._history = deque([(time.monotonic(), rows.newest)])
        elif rows.newest > self._history[-1][1]:
            self._history.append((time.monotonic(), rows.newest))


def _moment(microseconds: int) -> datetime:
    return min(_EPOCH + timedelta(microseconds=max(microseconds, 0)), _LATEST)
