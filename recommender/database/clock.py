"""Times as whole microseconds since 1970, by the database's clock and calendar.

A server gives its UTC time; SQLite has no clock of its own, so its time is that of this process. Times in tables are
UTC without a zone. Whole numbers are faster to transfer than times, and exact.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Engine, Label, literal_column, select

from recommender.shop import NO_TIME

SECOND = 1_000_000  # microseconds
EPOCH, _LATEST = datetime(1970, 1, 1), datetime(9999, 12, 31)
_UTC_NOW = "UTC_TIMESTAMP(6)"
_ZONE_NOW = f"CONVERT_TZ({_UTC_NOW}, '+00:00', @@global.time_zone)"


def microseconds(engine: Engine, column: Column[Any], name: str) -> Label[int]:
    """Return SQL for a time as microseconds since 1970, selected under ``name``; NULL stays NULL."""
    return literal_column(_microseconds(engine, column), BigInteger).label(name)


def event_time(engine: Engine, column: Column[Any], name: str) -> Label[int]:
    """Return SQL for the time of a rating or an interaction, in microseconds since 1970.

    It is `NO_TIME` for NULL, and for the 1970-01-01 of former imports.
    """
    text = f"COALESCE(NULLIF({_microseconds(engine, column)}, 0), {NO_TIME})"
    return literal_column(text, BigInteger).label(name)


def _microseconds(engine: Engine, column: Column[Any]) -> str:
    if engine.dialect.name != "sqlite":
        return _since_1970(column.name)
    # a text with up to six digits after the second; strftime would round to milliseconds, sometimes up
    text = f"CAST(strftime('%s', substr({column.name}, 1, 19)) AS INTEGER) * {SECOND} + "
    return text + f"CAST(substr(substr({column.name}, 21) || '000000', 1, 6) AS INTEGER)"


def _since_1970(sql: str) -> str:
    return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {sql})"


def utc_now(connection: Connection) -> Any:
    """Return this moment (UTC), as a value to write or to compare with; the change feeds use the same clock."""
    return _own_clock() if connection.dialect.name == "sqlite" else literal_column(_UTC_NOW)


def read_now(connection: Connection) -> datetime:
    """Return this moment, UTC without a zone."""
    if connection.dialect.name == "sqlite":
        return _own_clock()
    now: datetime = connection.execute(select(literal_column(_UTC_NOW))).scalar_one()
    return now


def _own_clock() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def read_clocks(connection: Connection) -> list[int]:
    """Return microseconds since 1970 in UTC, then in the database's default time zone if that is another one."""
    if connection.dialect.name == "sqlite":  # its CURRENT_TIMESTAMP is UTC
        return [as_microseconds(_own_clock())]
    utc, zone = (literal_column(_since_1970(now), BigInteger) for now in (_UTC_NOW, _ZONE_NOW))
    utc_time, zone_time = connection.execute(select(utc, zone)).one()
    same = zone_time is None or abs(zone_time - utc_time) < SECOND
    return [int(utc_time)] if same else [int(utc_time), int(zone_time)]


def as_microseconds(moment: datetime) -> int:
    """Return the microseconds from 1970 to a time without a zone.

    >>> as_microseconds(datetime(1970, 1, 1, 0, 0, 1, 5))
    1000005
    """
    return (moment - EPOCH) // timedelta(microseconds=1)


def as_moment(microseconds: int) -> datetime:
    """Return the time that many microseconds after the start of 1970, limited to what a DATETIME holds.

    >>> as_moment(1_000_005)
    datetime.datetime(1970, 1, 1, 0, 0, 1, 5)
    """
    return min(EPOCH + timedelta(microseconds=max(microseconds, 0)), _LATEST)
