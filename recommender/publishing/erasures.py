"""Erased people and the lists: of every version, those that a batch is making at this moment included.

A batch reads the ratings long before it publishes, so whoever is erased in between is in what it computes. An erasure
is noted before it looks which tables of lists there are, and a batch looks at the notes, waiting for those not yet
committed, when its lists are complete. So either the batch sees the note, or the erasure sees the batch's table,
whatever its name is by then: every name that a table of lists bears is noted before
(`recommender.database.own_tables`), and tables that were written to keep their names until the commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymysql.constants import ER
from sqlalchemy import Connection, Table, column, delete, exc, select, table

from recommender.database import (
    KEPT_DAYS,
    deleted_since,
    error_code,
    existing_tables,
    has_our_columns,
    in_blocks,
    label,
    list_tables,
    noted_lists,
    reaches_back,
)
from recommender.database.schema import deletions, ratings, recommendations, users
from recommender.errors import DatabaseError
from recommender.shop import AT_THE_START, Cursor


def erase_from_lists(connection: Connection, user_id: int) -> int:
    """Delete the rows of a person from all tables of lists; how many they were. Note the deletion before it."""
    found, done = 0, set[str]()
    with _as_it_is_now(connection) as now:
        names = list_tables(now)
        while names:
            for name in sorted(names):
                lists = table(name, column("user_id"))
                try:
                    found += connection.execute(delete(lists).where(lists.c.user_id == user_id)).rowcount
                    done.add(name)  # and held: its name stays
                except exc.ProgrammingError as error:
                    if error_code(error) != ER.NO_SUCH_TABLE:  # else it was renamed or dropped meanwhile
                        raise
            # again, since a batch may have renamed tables before the first of them was held; asked of the notes alone:
            # a renaming that waits for this transaction may have the table of versions already
            names = {name for name in noted_lists(now) - done if has_our_columns(connection, name, recommendations)}
    return found


@contextmanager
def _as_it_is_now(connection: Connection) -> Iterator[Connection]:
    """A connection that sees what is committed now; a server's transaction sees what was when it first read."""
    if connection.dialect.name == "sqlite":  # whose one writer this is
        yield connection
        return
    with connection.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as now:
        yield now


def drop_erased(connection: Connection, lists: Table, since: Cursor = AT_THE_START) -> int:
    """Delete from ``lists`` whoever was erased after ``since``, or is in no table any more; how many rows they had.

    Who was erased and is there again has another history now: none is better than the old one's list. ``connection``
    must not be in a transaction that has read before, except on SQLite. DatabaseError if the log of deletions does not
    reach back that far.
    """
    there = existing_tables(connection)
    if deletions.name not in there:
        return 0
    noted = deleted_since(connection, since)
    if not reaches_back(connection, since.deletion_id):
        raise DatabaseError(
            f"{label(connection.engine)}: the ratings were read before deletions that {deletions.name} no longer notes "
            f"(it does so for {KEPT_DAYS} days): load the model again, or run the step again"
        )
    dropped = 0
    for block in in_blocks(sorted(noted)):
        gone, remain = set(block), {user_id for user_id in block if not noted[user_id]}
        for known in (users, ratings):
            if known.name in there and remain:
                gone -= _of(connection, known, remain)
        if gone:
            dropped += connection.execute(delete(lists).where(lists.c.user_id.in_(gone))).rowcount
    return dropped


def _of(connection: Connection, known: Table, user_ids: set[int]) -> set[int]:
    user_id = known.c.user_id
    return set(connection.execute(select(user_id).distinct().where(user_id.in_(user_ids))).scalars())
