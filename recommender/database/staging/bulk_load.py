"""A loader of rows at the database's own speed, which replaces old tables by new ones in one step.

    with staged(engine, [products, categories]) as stage:
        count = stage.load(products, batches)     # pyarrow.RecordBatch, columns named like the table's
        stage.publish()                           # readers see all old tables or all new ones

Rows go into staging tables beside the live ones. Leaving without ``publish`` drops them; the live tables stay as they
were. MySQL and MariaDB: ``LOAD DATA LOCAL`` through a pipe (multi-row INSERT if the server refuses it), one RENAME
TABLE at the end, and a named lock, so that one run at a time replaces the same tables. SQLite: one transaction, or
``in_turns``. The tables that are ours to drop are noted (`recommender.database.own_tables`).

Keys other than the primary one are made after the rows: they are built by sorting, however little memory the server has
for pages. Those keys find duplicates in the database, so memory does not grow with the rows.

1,426,337 products, two cores, ratios within one run (``python -m benchmarks.load``): MariaDB 0.90 x the client's LOAD
DATA into a table with its keys in place, SQLite 0.92 x ``.import``. Tried on MariaDB, two runs each, all within the
noise of 15 to 19 s: keys in place from the start, all rows in one statement (a killed run then leaves a long
roll-back), unique_checks=0. Tried on SQLite: values by to_pylist or by numpy take the same time. Binding them (3.3 s),
the checkpoint at the commit (2.5 s) and the keys (1.7 s) take most of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy import Engine, Table, exc

from recommender.database.connection import database_errors, is_mysql
from recommender.database.own_tables import leftovers
from recommender.database.staging._mysql import ServerStage
from recommender.database.staging._sqlite import SqliteStage, SqliteStageInTurns
from recommender.database.staging._stage import Check, LoadCount, Move, Stage

__all__ = ["Check", "LoadCount", "Move", "Stage", "drop_leftovers", "staged"]


@contextmanager
def staged(
    engine: Engine,
    tables: Sequence[Table],
    *,
    append: bool = False,
    in_turns: bool = False,
    made_as: Mapping[Table, Table] | None = None,
) -> Iterator[Stage]:
    """Yield empty staging tables for ``tables``, and drop them at the end unless published.

    ``append``: ``publish`` adds their rows to the live tables instead of replacing them; if a row with the same key
    exists, its other columns are updated. All tables are published in one transaction. ``in_turns``: also on SQLite,
    others can write until ``Stage.hold``; for tables without a key beside the primary one. ``made_as``: tables whose
    new columns are of other types. Raises DatabaseError: the
    server broke off, refused, or another run is filling the same tables.
    """
    stage_class: type[Stage] = ServerStage if is_mysql(engine) else SqliteStageInTurns if in_turns else SqliteStage
    with database_errors(engine):
        stage = stage_class(engine, tables, append=append, made_as=made_as)
        try:
            stage.open()
            yield stage
        except BaseException:
            # the connection itself may have broken: the next run drops what is left
            with suppress(exc.SQLAlchemyError):
                stage.close()
            stage.disconnect()
            raise
        stage.close()
        stage.disconnect()


def drop_leftovers(engine: Engine, tables: Sequence[Table], *, also: Sequence[str] = ()) -> None:
    """Drop what a killed run left beside ``tables``, and ``also``; for a step that has nothing else to do.

    All of them are noted as ours. A run that is killed after its tables are in place, and before the old ones are
    dropped, leaves these; when it is run again, it has nothing else to do. While another run fills the tables, nothing
    is dropped: that run will drop them.
    """
    with database_errors(engine):
        with engine.connect() as connection:
            if not also and not leftovers(connection, [table.name for table in tables]):
                return
        stage_class = ServerStage if is_mysql(engine) else SqliteStageInTurns
        stage_class(engine, tables, append=False).drop_leftovers(also)
