"""The tables that exist: finds, counts, drops and widens them, and refuses to replace those that are not ours."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from pymysql.constants import ER
from sqlalchemy import Column, Connection, Engine, Table, exc, func, inspect, literal_column, select, text

from recommender.database.connection import database_errors, error_code, is_mysql, label, waiting_for_locks
from recommender.database.schema import interactions, metadata, products, ratings
from recommender.errors import DatabaseError, ForeignDataError, StepOrderError

IDS_PER_QUERY = 400  # older versions of SQLite allow 999 parameters
_log = logging.getLogger(__name__)
_Id = TypeVar("_Id")
# a release whose product ids had ten characters made these columns; the tables of lists are replaced whole
_NARROW: tuple[Column[str], ...] = (products.c.asin, interactions.c.product_id, ratings.c.product_id)
_NARROW_COLUMNS = text(
    "SELECT c.TABLE_NAME, c.COLUMN_NAME, c.IS_NULLABLE, c.COLUMN_COMMENT FROM information_schema.COLUMNS c "
    "JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME "
    "WHERE c.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'BASE TABLE' AND c.COLUMN_TYPE = 'char(10)' "
    "AND c.CHARACTER_SET_NAME = 'ascii'"
)
_WIDENING_LOCK_WAIT, _WIDENING_WAIT = 5, 60.0  # seconds: of others in each attempt; of all attempts


def existing_tables(place: Engine | Connection) -> set[str]:
    """Return the names of the tables that exist.

    A server that lists its tables while one is being replaced may list it under neither name. A statement that names a
    table waits for the end of that. So those of our tables that are not listed are also looked up by name.
    """
    with _connection(place) as connection:
        listed = set(inspect(connection).get_table_names())
        return listed | {name for name in metadata.tables if name not in listed and table_is_there(connection, name)}


def table_is_there(connection: Connection, name: str) -> bool:
    """Tell whether there is a table or view of that name.

    One statement asks it, and so sees no moment between two tables.
    """
    try:
        connection.exec_driver_sql(f"SELECT 1 FROM {connection.dialect.identifier_preparer.quote(name)} LIMIT 0")
    except exc.DBAPIError as error:
        if error_code(error) == ER.NO_SUCH_TABLE or "no such table" in str(error.orig):
            return False
        raise
    return True


def has_rows(engine: Engine, table: Table) -> bool:
    """Tell whether ``table`` exists and has a row. DatabaseError."""
    with _connection(engine) as connection:
        if not table_is_there(connection, table.name):
            return False
        return connection.execute(select(literal_column("1")).select_from(table).limit(1)).first() is not None


def require_rows(engine: Engine, table: Table, remedy: str) -> None:
    """Raise StepOrderError with ``remedy`` unless ``table`` exists and has a row."""
    if has_rows(engine, table):
        return
    raise StepOrderError(f"{label(engine)}: table {table.name} is missing or empty: {remedy}")


def count_rows(engine: Engine, table: Table) -> int:
    """Return the number of rows of ``table``."""
    with database_errors(engine), engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def in_blocks(ids: Sequence[_Id]) -> Iterator[Sequence[_Id]]:
    """Cut ids into blocks that fit into one statement.

    >>> [len(block) for block in in_blocks(range(1_000))]
    [400, 400, 200]
    """
    return (ids[start : start + IDS_PER_QUERY] for start in range(0, len(ids), IDS_PER_QUERY))


def drop_tables(connection: Connection, names: Sequence[str]) -> None:
    """Drop the tables of those names that exist."""
    for name in names:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {connection.dialect.identifier_preparer.quote(name)}")


def refuse_foreign_tables(place: Engine | Connection, tables: Iterable[Table], *, kept: bool = False) -> None:
    """Raise ForeignDataError if one of ``tables`` exists with other columns than ours, which a replacement would lose.

    A table of an earlier release may lack the columns that came later.
    ``kept``: the table is not replaced but added to, so additional columns do no harm.
    """
    with _connection(place) as connection:
        there = [table for table in tables if table_is_there(connection, table.name)]
        columns = {table: {column["name"] for column in inspect(connection).get_columns(table.name)} for table in there}
    for table, found in columns.items():
        later = {column.name for column in table.columns if column.info.get("later")}
        ours = {column.name for column in table.columns} - (later - found)
        if not (found >= ours if kept else found == ours):
            lacks, more = sorted(ours - found), sorted(found - ours)
            fault = f"has no column {lacks[0]}" if lacks else f"has a column {more[0]}"
            raise ForeignDataError(
                f"{label(connection.engine)}: table {table.name} {fault}, so this project did not make it as it is, "
                "and would replace it: rename the table, or give another DB_NAME or SQLITE_FILE"
            )


def widen_product_ids(engine: Engine, *, but: Sequence[Table] = ()) -> None:
    """Let the tables of a release with ids of ten characters hold any product id; ``but``: tables to be replaced soon.

    Each column is changed in place, once, so the shop's own columns, indexes and views stay. SQLite has no lengths.
    Where the user has no right to do it, or others hold a table, the log says so, and this column and the others stay
    as they are: no rating may have an id that cannot be asked for in the catalog.
    """
    if not is_mysql(engine):
        return
    with database_errors(engine), engine.connect() as connection:
        found = {(table, column): kept for table, column, *kept in connection.execute(_NARROW_COLUMNS)}
    for column in _NARROW:
        kept = found.get((column.table.name, column.name))
        if kept is None or column.table in but:
            continue
        try:
            waiting_for_locks(
                engine, [column.table.name], partial(_widen, engine, column, *kept), seconds=_WIDENING_WAIT
            )
        except DatabaseError as error:
            _log.warning("%s still holds ids of up to 10 characters of ASCII only: %s", column, error)
            return


def _widen(engine: Engine, column: Column[str], nullable: str, comment: str) -> None:
    kind = column.type.compile(engine.dialect)
    null = "NULL" if nullable == "YES" else "NOT NULL"
    with database_errors(engine), engine.connect() as connection:
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {_WIDENING_LOCK_WAIT}")
        try:
            statement = f"ALTER TABLE {column.table.name} MODIFY {column.name} {kind} {null} COMMENT %s"
            connection.exec_driver_sql(statement, (comment,))
        finally:
            connection.invalidate()  # with its setting


@contextmanager
def _connection(place: Engine | Connection) -> Iterator[Connection]:
    if isinstance(place, Connection):
        with database_errors(place.engine):
            yield place
    else:
        with database_errors(place), place.connect() as connection:
            yield connection
