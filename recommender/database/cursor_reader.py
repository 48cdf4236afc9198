"""A reader of the `Cursor`, which tells how far the changes of the tables go; read it before the tables.

A cursor has the newest row of each table, and what may yet become visible below it: the gaps between the newest ids of
the logs, and the newest ratings counted by tenths of a second (`recommender.updates` follows these).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Engine, and_, func, literal_column, or_, select

from recommender.database.clock import SECOND, as_microseconds, as_moment, microseconds, read_clocks
from recommender.database.connection import database_errors
from recommender.database.schema import deletions, interactions, ratings
from recommender.database.tables import existing_tables
from recommender.shop import Cursor, Spans

OVERLAP = 10  # seconds
MOST_RATINGS = 20_000  # most rows that one look counts or reads
TICK = 100_000  # microseconds
MOST_GAPS = 2_000
_IDS_BEFORE = 10_000  # ids below the newest that are searched for gaps when a model is made
LOGS: dict[str, tuple[Column[int], Column[int]]] = {
    interactions.name: (interactions.c.interaction_id, interactions.c.user_id),
    deletions.name: (deletions.c.deletion_id, deletions.c.user_id),
}

Count = tuple[int, int]  # rows, and the sum of their microseconds since the tick began


def read_cursor(engine: Engine) -> Cursor:
    """Return the present state of the tables; call this before reading them. DatabaseError."""
    there = existing_tables(engine)
    with database_errors(engine), engine.connect() as connection:
        clocks = read_clocks(connection)
        (interaction, gaps), (deletion, more_gaps) = (
            _newest(connection, number) if name in there else (0, ()) for name, (number, _) in LOGS.items()
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
    """Return the newest id of a log, and the newest gaps below it."""
    newest = int(connection.execute(select(func.max(number))).scalar() or 0)
    return newest, read_gaps(connection, number, newest) if newest else ()


def read_gaps(connection: Connection, number: Column[int], newest: int) -> Spans:
    """Return the newest gaps below the newest id."""
    first = max(newest - _IDS_BEFORE, 0)
    ids = connection.execute(select(number).where(number > first, number <= newest).order_by(number)).scalars()
    return tuple(missing(ids, first)[-MOST_GAPS:])


def missing(ids: Iterable[int], after: int) -> list[tuple[int, int]]:
    """Return the first and last of each span that ascending ids leave out, from ``after`` on.

    >>> missing([4, 5, 9], 2)
    [(3, 3), (6, 8)]
    """
    spans = []
    for number in ids:
        if number > after + 1:
            spans.append((after + 1, number - 1))
        after = max(after, number)
    return spans


def noted_ticks(connection: Connection, clocks: Sequence[int], newest: int) -> tuple[Spans, tuple[int, ...]]:
    """Return, for a cursor, the ticks that a look would count, and the span to skip if they hold too many ratings."""
    at, reach = ratings.c.updated_at, OVERLAP * SECOND
    near = or_(*(and_(at >= as_moment(clock - reach), at <= as_moment(clock + reach)) for clock in clocks))
    counts, cut = count_ticks(connection, near)
    if not cut or not counts:
        return tuple((tick, *count) for tick, count in sorted(counts.items())), ()
    latest = connection.execute(select(func.max(at)).where(near)).scalar()
    end = newest if latest is None else as_microseconds(latest)
    return (), (min(counts) * TICK, end + 1)


def count_ticks(connection: Connection, condition: Any) -> tuple[dict[int, Count], bool]:
    """Count the oldest ``MOST_RATINGS`` + 1 of these ratings by tick, and tell whether that many were found."""
    at = microseconds(connection.engine, ratings.c.updated_at, "moment")
    oldest = select(at).select_from(ratings).where(condition).order_by(ratings.c.updated_at).limit(MOST_RATINGS + 1)
    divide = "/" if connection.dialect.name == "sqlite" else "DIV"
    inner = oldest.subquery("recent")
    tick = literal_column(f"moment {divide} {TICK}", BigInteger)
    total = func.sum(literal_column("moment", BigInteger) - tick * TICK)
    found = connection.execute(select(tick.label("tick"), func.count(), total).select_from(inner).group_by(tick)).all()
    counts = {int(number): (int(rows), int(rest)) for number, rows, rest in found if number is not None}
    return counts, sum(int(rows) for _, rows, _ in found) > MOST_RATINGS
