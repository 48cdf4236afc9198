"""Keeps erased users out of the recommendation lists of every version, also of a batch that is still running.

A batch reads the ratings long before it publishes, so it also computes lists for users who are erased in between. An
erasure is noted before it looks up which tables of lists exist. A batch reads the notes once its lists are complete,
and waits for those not yet committed. So either the batch sees the note, or the erasure sees the batch's table,
whatever its name is by then. For every name of a table of lists is noted before it is used
(`recommender.database.own_tables`), and a table that a transaction has written to keeps its name until the commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymysql.constants import ER
from sqlalchemy import Connection, String, Table, column, delete, exc, inspect, select, table

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
from recommender.shop import NOTHING_READ, NUMBERS_AS_THEY_ARE, Cursor, UserIds


def erase_from_lists(connection: Connection, user_id: int, name: str | None = None) -> int:
    """Delete the rows of a user from all tables of lists and return their number. Note the deletion first.

    ``name``: the shop's id of the stored number ``user_id``, if its ids are texts.
    """
    found, done = 0, set[str]()
    with _as_it_is_now(connection) as now:
        names = list_tables(now)
        while names:
            for name_of_lists in sorted(names):
                lists = table(name_of_lists, column("user_id"))
                try:
                    who = name if are_by_text(connection, name_of_lists) else user_id
                    found += connection.execute(delete(lists).where(lists.c.user_id == who)).rowcount
                    done.add(name_of_lists)  # it is locked: its name stays
                except exc.ProgrammingError as error:
                    if error_code(error) != ER.NO_SUCH_TABLE:  # that one was renamed or dropped meanwhile
                        raise
            # again, since a batch may have renamed tables before the first of them was locked; from the notes alone:
            # a renaming that waits for this transaction may have locked the table of versions already
            left = noted_lists(now) - done
            names = {one for one in left if has_our_columns(connection, one, recommendations)}
    return found


def are_by_text(connection: Connection, lists: str) -> bool:
    """Tell whether the lists in a table are of users by text; False also if there is no such table."""
    try:
        columns = inspect(connection).get_columns(lists)
    except exc.NoSuchTableError:
        return False
    return any(one["name"] == "user_id" and isinstance(one["type"], String) for one in columns)


@contextmanager
def _as_it_is_now(connection: Connection) -> Iterator[Connection]:
    """Yield a connection that sees what is committed now; a server's transaction sees the state of its first read."""
    if connection.dialect.name == "sqlite":  # this is its only writer
        yield connection
        return
    with connection.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as now:
        yield now


def drop_erased(
    connection: Connection, lists: Table, since: Cursor = NOTHING_READ, *, ids: UserIds = NUMBERS_AS_THEY_ARE
) -> int:
    """Delete from ``lists`` the users erased after ``since``, or in no table any more; return the number of rows.

    A user who was erased and is back has another history now, so no list is better than the old one. ``connection``
    must not be in a transaction that has read before, except on SQLite. ``ids``: of the users of the lists.
    DatabaseError if the log of deletions does not
    reach back to ``since``.
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
            called = [ids.of(number) for number in sorted(gone)]
            dropped += connection.execute(delete(lists).where(lists.c.user_id.in_(called))).rowcount
    return dropped


def _of(connection: Connection, known: Table, user_ids: set[int]) -> set[int]:
    user_id = known.c.user_id
    return set(connection.execute(select(user_id).distinct().where(user_id.in_(user_ids))).scalars())
