"""Which users have changed since a model was built, asked of the tables again and again.

Nothing is read in full: ratings by ``updated_at`` (`recommender.updates.followed_ratings`), interactions and deletions
by their ids (`recommender.updates.followed_ids`), a bounded number of rows each time; `Look.rest` tells that there are
more.

All times are the database's: ``updated_at`` is expected near its UTC clock, or near that of its default time zone,
which is what a default of CURRENT_TIMESTAMP gives those who leave the column out. A row that is dated years ahead is
found once, and neither hides nor repeats any other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Engine, func, literal_column, select

from recommender.database.bulk_read import microseconds
from recommender.database.connection import database_errors
from recommender.database.deletions_log import reaches_back
from recommender.database.schema import deletions, interactions, ratings
from recommender.database.tables import existing_tables
from recommender.shop.snapshot import Cursor, Spans
from recommender.updates.followed_ids import MOST_ROWS, FollowedIds, IdRows, read_gaps
from recommender.updates.followed_ratings import SECOND, FollowedRatings, RatingLook, noted_ticks

_EPOCH = datetime(1970, 1, 1)
_UTC_NOW = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
_ZONE_NOW = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', @@global.time_zone))"
_LOGS: dict[str, tuple[Column[int], Column[int]]] = {
    interactions.name: (interactions.c.interaction_id, interactions.c.user_id),
    deletions.name: (deletions.c.deletion_id, deletions.c.user_id),
}


def read_cursor(engine: Engine) -> Cursor:
    """Where the tables are now: read it before them. DatabaseError."""
    there = existing_tables(engine)
    with database_errors(engine), engine.connect() as connection:
        clocks = read_clocks(connection)
        (interaction, gaps), (deletion, more_gaps) = (
            _newest(connection, number) if name in there else (0, ()) for name, (number, _) in _LOGS.items()
        )
        cursor = Cursor(0, interaction, deletion, clocks[0], gaps, more_gaps)
        if ratings.name not in there:
            return cursor
        at = microseconds(engine, ratings.c.updated_at, "at")
        latest = select(at).select_from(ratings).where(at.element.is_not(None)).order_by(ratings.c.updated_at.desc())
        updated = int(connection.execute(latest.limit(1)).scalar() or 0)
        ticks, skipped = noted_ticks(connection, clocks, updated)
    return cursor._replace(updated_at=updated, ticks=ticks, skipped=skipped)


def _newest(connection: Connection, number: Column[int]) -> tuple[int, Spans]:
    """The newest id of a log, and the newest gaps below it."""
    newest = int(connection.execute(select(func.max(number))).scalar() or 0)
    return newest, read_gaps(connection, number, newest) if newest else ()


def read_clocks(connection: Connection) -> list[int]:
    """The database's time in UTC, then in its default time zone if that is another one; microseconds since 1970."""
    if connection.dialect.name == "sqlite":  # its clock is ours, its CURRENT_TIMESTAMP is UTC
        return [(datetime.now(UTC).replace(tzinfo=None) - _EPOCH) // timedelta(microseconds=1)]
    clocks = select(literal_column(_UTC_NOW, BigInteger), literal_column(_ZONE_NOW, BigInteger))
    utc, zone = connection.execute(clocks).one()
    return [int(utc)] if zone is None or abs(zone - utc) < SECOND else [int(utc), int(zone)]


class Look(NamedTuple):
    """What one question found; given back to `ChangeFeed.keep` once the changes are counted.

    ``missed``: deletions may have been made that the log no longer notes (`recommender.database.deletions_log`).
    """

    users: set[int]
    ratings: RatingLook
    logs: dict[str, IdRows]
    missed: bool

    @property
    def rest(self) -> bool:
        """Is there more to be asked for at once?"""
        return self.ratings.skipped is not None or any(len(rows.above) == MOST_ROWS for rows in self.logs.values())


class ChangeFeed:
    """Names the users who have changed since a cursor, each time those since the last look that was kept.

    ``name_crowds`` False: a crowd of ratings is told (`RatingLook.crowd`), its users are not named.
    """

    def __init__(self, cursor: Cursor, there: frozenset[str], *, name_crowds: bool = True) -> None:
        self._tables, self._name_crowds = there, name_crowds
        self._ratings = FollowedRatings(cursor)
        self._logs = {
            interactions.name: FollowedIds(cursor.interaction_id, cursor.interaction_gaps),
            deletions.name: FollowedIds(cursor.deletion_id, cursor.deletion_gaps),
        }

    def look(self, connection: Connection) -> Look:
        """Whoever has a rating, interaction or deletion that was not seen before. Nothing is forgotten by asking."""
        found = self._ratings.look(connection, read_clocks(connection), name_crowds=self._name_crowds)
        users, logs = set(found.users), {}
        for name, columns in _LOGS.items():
            if name in self._tables:
                logs[name] = self._logs[name].look(connection, *columns)
                users |= self._logs[name].new_users(logs[name])
        return Look(users, found, logs, self._missed(connection, logs.get(deletions.name)))

    def _missed(self, connection: Connection, rows: IdRows | None) -> bool:
        last = self._logs[deletions.name].newest
        if rows is None or (rows.newest is None and max(rows.above, default=last) <= last):
            return False  # nothing was noted since the last look
        return not reaches_back(connection, last)

    def keep(self, look: Look) -> None:
        """The changes of this look are counted: the next one names later ones."""
        self._ratings.keep(look.ratings)
        for name, rows in look.logs.items():
            self._logs[name].keep(rows)
