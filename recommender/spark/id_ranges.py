"""Ranges of user_ids that hold about as many rows each, so that executors read a table in parallel.

Equal steps from the smallest to the largest id would give one huge part and many empty ones where ids are far apart
(numbers of orders, one guest with the id 10^18). So the span of ids is halved again and again, where the index says
that many rows are. A server estimates the rows between two ids from its index in a fraction of a millisecond, without
reading them (EXPLAIN); halves with few rows are joined again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine, Table, func, select

from recommender.database import database_errors, existing_tables

LEAST_ROWS, MOST_ROWS = 50_000, 2_000_000  # of a part: a task has some work, and its rows fit into memory
MOST_PARTS = 100_000
LARGEST_ID, ROUGHLY = 2**63 - 1, 4


class Part(NamedTuple):
    """User ids from ``first`` to ``last``, both included, and about how many rows they have."""

    first: int
    last: int
    rows: int


def id_ranges(first: int, last: int, most_rows: int, rows_between: Callable[[int, int], int]) -> list[Part]:
    """Return ascending parts of first..last without a gap, of up to ``most_rows`` as far as ids divide them.

    ``rows_between(a, b)`` estimates the rows of the ids a..b.

    >>> id_ranges(0, 10**18, 10, lambda a, b: sum(a <= i <= b for i in (*range(30), 10**18)))
    [Part(first=0, last=6, rows=7), Part(first=7, last=13, rows=7), Part(first=14, last=20, rows=7), \
Part(first=21, last=1000000000000000000, rows=10)]
    """
    joined: list[Part] = []
    waiting = [Part(first, last, rows_between(first, last))]
    while waiting:
        part = waiting.pop()
        if part.rows > most_rows and part.first < part.last and len(joined) < MOST_PARTS:
            middle = (part.first + part.last) // 2
            halves = ((middle + 1, part.last), (part.first, middle))
            waiting += [Part(a, b, rows_between(a, b)) for a, b in halves]
        elif joined and joined[-1].rows + part.rows <= most_rows:
            joined[-1] = Part(joined[-1].first, part.last, joined[-1].rows + part.rows)
        else:
            joined.append(part)
    return joined


def predicates(engine: Engine, table: Table, n_tasks: int) -> list[str]:
    """Return conditions in SQL, each true of another part of the rows of ``table``; every row is in one part.

    ``n_tasks``: how many tasks run at a time. DatabaseError.
    """
    user_id = table.c.user_id
    with database_errors(engine), engine.connect() as connection:
        ends = connection.execute(select(func.min(user_id), func.max(user_id)).where(user_id >= 0)).one()
        if ends[0] is None:
            return ["1 = 1"]
        first, last = int(ends[0]), int(ends[1])
        total = _estimated(connection, table, first, last)
        most = min(max(total // (3 * n_tasks), LEAST_ROWS), MOST_ROWS)
        parts = id_ranges(first, last, most, lambda a, b: _estimated(connection, table, a, b))
    if len(parts) == 1:
        return ["1 = 1"]
    name = "user_id"
    low, high = parts[0].last, parts[-1].first
    between = [f"{name} BETWEEN {part.first} AND {part.last}" for part in parts[1:-1]]
    return [f"({name} IS NULL OR {name} <= {low})", *between, f"{name} >= {high}"]


def has_at_most(engine: Engine, tables: Sequence[Table], most: int) -> bool:
    """Tell whether the tables that exist have ``most`` rows together, or fewer.

    They are counted only if the index agrees: to count a billion rows takes minutes, and the server's estimate is at
    most a few times off. DatabaseError.
    """
    there = existing_tables(engine)
    tables = [table for table in tables if table.name in there]
    with database_errors(engine), engine.connect() as connection:
        if sum(_estimated(connection, table, 0, LARGEST_ID) for table in tables) > ROUGHLY * most:
            return False
        counts = [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]
    return sum(counts) <= most


def _estimated(connection: Connection, table: Table, first: int, last: int) -> int:
    """Return about how many rows of ``table`` have a user_id from ``first`` to ``last``, by the server's index."""
    quote = connection.dialect.identifier_preparer.quote
    where = f"user_id BETWEEN {int(first)} AND {int(last)}"
    rows = connection.exec_driver_sql(f"EXPLAIN SELECT user_id FROM {quote(table.name)} WHERE {where}").mappings()
    return sum(int(row["rows"] or 0) for row in rows)
