"""The log of deletions: who was deleted since a moment, and how far back the log reaches.

Anything made from the tables (lists, a model file, a worker's model) has the cursor that was read before them; the log
tells what was deleted after it. The log is cut: of the notes older than `KEPT_DAYS` by the database's clock only the
newest stays. So the first note is either young, and then none was ever cut, or old, and then all notes after it are
there. A cursor therefore misses nothing if it is not below the first note, or if the first note is young. In any other
case the log must not be trusted (`reaches_back`): a batch is refused, and a model compares all its users with the
tables. Lists need no cursor: an erasure deletes them, in every version, when it is noted.

A note may become visible after later ones, so notes dated up to `LATE` seconds before the cursor was read count as
later than the cursor.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pymysql.constants import ER
from sqlalchemy import Connection, Engine, delete, exc, func, insert, inspect, literal_column, or_, select
from sqlalchemy.schema import CreateTable

from recommender.database.clock import SECOND, as_moment, read_now, utc_now
from recommender.database.connection import database_errors, error_code, is_mysql, writing
from recommender.database.schema import deletions
from recommender.database.tables import existing_tables
from recommender.shop import Cursor

KEPT_DAYS = 30
LATE = 60  # seconds; the service gives up a write after two
_IDS_BEFORE = 10_000  # a note that becomes visible late has one of so many ids below the cursor's


def prepare_log(engine: Engine) -> None:
    """Create the log if there is none, and add the column that an earlier release lacks. DatabaseError."""
    if deletions.name not in existing_tables(engine):
        with writing(engine) as connection:
            # another worker may have created it meanwhile
            connection.execute(CreateTable(deletions, if_not_exists=True))
        return
    with database_errors(engine), engine.connect() as connection:
        if deletions.c.erased.name in {column["name"] for column in inspect(connection).get_columns(deletions.name)}:
            return
        try:
            if is_mysql(engine):
                connection.exec_driver_sql("SET SESSION lock_wait_timeout = 1")  # others must not queue behind it
            connection.exec_driver_sql(f"ALTER TABLE {deletions.name} ADD COLUMN erased BOOLEAN")
        except exc.DBAPIError:
            connection.invalidate()  # another worker was first, or it is not allowed: `note_deletion` copes
        else:
            connection.commit()
            if is_mysql(engine):
                connection.exec_driver_sql("SET SESSION lock_wait_timeout = DEFAULT")


def note_deletion(connection: Connection, user_id: int, *, erased: bool) -> None:
    """Note that one of a user's ratings was deleted, or everything about the user (``erased``)."""
    values = {"user_id": user_id, "deleted_at": utc_now(connection)}
    try:
        connection.execute(insert(deletions).values(values | {"erased": erased}))
    except exc.DBAPIError as error:
        if error_code(error) != ER.BAD_FIELD_ERROR and "no column named erased" not in str(error.orig):
            raise
        connection.execute(insert(deletions).values(values))  # `deleted_since` reads it as an erasure


def deleted_since(connection: Connection, cursor: Cursor) -> dict[int, bool]:
    """Return the users with a deletion since the cursor, or shortly before, and whether everything of them was erased.

    It waits for running deletions. ``connection`` must not be in a transaction that has read before, except on SQLite.
    """
    c = deletions.c
    known = {column["name"] for column in inspect(connection).get_columns(deletions.name)}
    erased: Any = c.erased if c.erased.name in known else literal_column("NULL")
    recent = as_moment(cursor.read_at - LATE * SECOND)
    late = or_(c.deletion_id > cursor.deletion_id, c.deleted_at >= recent)
    statement = select(c.user_id, erased).where(c.deletion_id > cursor.deletion_id - _IDS_BEFORE, late)
    found: dict[int, bool] = {}
    for user_id, whole in connection.execute(statement.with_for_update(read=True)):
        found[user_id] = found.get(user_id, False) or whole is None or bool(whole)
    return found


def reaches_back(connection: Connection, deletion_id: int) -> bool:
    """Tell whether the log has all notes that were made after this one."""
    c = deletions.c
    newest = connection.execute(select(func.max(c.deletion_id))).scalar()
    if newest is None or newest < deletion_id:  # emptied or restored, or nothing was ever noted
        return deletion_id == 0
    first = connection.execute(select(c.deletion_id, c.deleted_at).order_by(c.deletion_id).limit(1)).one()
    return bool(deletion_id >= first.deletion_id or first.deleted_at >= _horizon(connection))


def cut_log(engine: Engine) -> None:
    """Delete the notes that are older than `KEPT_DAYS`, except the newest of them. DatabaseError."""
    c = deletions.c
    with database_errors(engine), engine.connect() as connection:
        horizon = _horizon(connection)
        first = connection.execute(select(c.deleted_at).order_by(c.deletion_id).limit(1)).scalar()
        if first is None or first >= horizon:
            return
        young = connection.execute(select(func.min(c.deletion_id)).where(c.deleted_at >= horizon)).scalar()
        before = select(func.max(c.deletion_id))
        last = connection.execute(before if young is None else before.where(c.deletion_id < young)).scalar()
    with writing(engine) as connection:
        connection.execute(delete(deletions).where(c.deletion_id < last))


def _horizon(connection: Connection) -> datetime:
    return read_now(connection) - timedelta(days=KEPT_DAYS)
