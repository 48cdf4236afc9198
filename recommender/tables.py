"""Tables that are there: found, counted, dropped, and refused where replacing them would lose what is not ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Engine, Table, func, inspect, select

from recommender.database import database_errors, label
from recommender.errors import ForeignDataError, StepOrderError


def existing_tables(engine: Engine) -> set[str]:
    """Names of the tables that are there."""
    with database_errors(engine):
        return set(inspect(engine).get_table_names())


def require_rows(engine: Engine, table: Table, remedy: str) -> None:
    """Raise StepOrderError with ``remedy`` unless ``table`` exists and has a row."""
    if table.name in existing_tables(engine):
        with database_errors(engine), engine.connect() as connection:
            if connection.execute(table.select().limit(1)).first() is not None:
                return
    raise StepOrderError(f"{label(engine)}: table {table.name} is missing or empty: {remedy}")


def count_rows(engine: Engine, table: Table) -> int:
    """How many rows ``table`` has."""
    with database_errors(engine), engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def drop_tables(connection: Connection, names: Sequence[str]) -> None:
    """Drop the tables of those names that exist."""
    for name in names:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {connection.dialect.identifier_preparer.quote(name)}")


def refuse_foreign_tables(engine: Engine, tables: Iterable[Table], *, kept: bool = False) -> None:
    """Raise ForeignDataError if one of ``tables`` is there with other columns than ours: replacing it would lose them.

    ``kept``: the table is not replaced but added to, so columns beyond ours do no harm.
    """
    there = existing_tables(engine)
    for table in tables:
        if table.name not in there:
            continue
        with database_errors(engine):
            found = {column["name"] for column in inspect(engine).get_columns(table.name)}
        ours = {column.name for column in table.columns}
        if not (found >= ours if kept else found == ours):
            lacks, more = sorted(ours - found), sorted(found - ours)
            fault = f"has no column {lacks[0]}" if lacks else f"has a column {more[0]}"
            raise ForeignDataError(
                f"{label(engine)}: table {table.name} {fault}, so this project did not make it as it is, and would "
                "replace it: rename the table, or give another DB_NAME or SQLITE_FILE"
            )
