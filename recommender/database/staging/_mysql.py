"""Staging tables on MySQL and MariaDB; one half of ``bulk_load``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress

import pyarrow as pa
from pymysql.constants import ER
from sqlalchemy import Table, exc, func, select
from sqlalchemy.schema import CreateTable

from recommender.database._engines import loading_engine
from recommender.database.announcement import lock_name
from recommender.database.connection import database_errors, is_lost, label, waiting_for_locks, writing
from recommender.database.own_tables import OLD, STAGING, OwnTable, drop_own, forget, leftovers, note, prepare_notes
from recommender.database.server_connection import ServerConnection
from recommender.database.staging._load_data import FORMAT, as_lines, give_up_if_hung_up, send_while_made
from recommender.database.staging._stage import LoadCount, Move, Stage, data_columns, keys_of, python_rows, updatable
from recommender.database.tables import existing_tables, table_is_there
from recommender.errors import DatabaseError, ForeignDataError, WriteConflictError

# a statement that a killed run left on the server (an ALTER TABLE, a roll-back) holds its locks for some seconds more
GONE_WAIT = 2  # seconds until the server has noticed that a killed run is gone
ROWS_PER_LOAD = 200_000  # rows of one LOAD DATA statement; a killed one is rolled back in a second or two
ROWS_PER_INSERT, BYTES_PER_INSERT = 1_000, 500_000  # far below any server's max_allowed_packet
ROWS_NAME = "recommender rows"  # the name in LOAD DATA; no file needs that name, and none is opened
_SESSION = "SET SESSION net_read_timeout = 600, net_write_timeout = 600"
# seconds; readers of the table queue behind a rename that waits for another reader
_RENAME_WAIT = 1
DROP_WAIT = 10  # seconds in which replaced tables are dropped; later they are left to the next run
NAMED_LOCK_WAIT = 2  # seconds of one attempt

_logger = logging.getLogger(__name__)


class ServerStage(Stage):
    """Staging tables on MySQL and MariaDB."""

    def open(self) -> None:
        self._connect()
        for table in self.tables:
            self._wait_for(table)
        prepare_notes(self.connection)
        self._drop_unread(leftovers(self.connection, self._names()))
        self._ours = True
        note(self.connection, *(OwnTable(filled.name, STAGING, live.name) for live, filled in self.tables.items()))
        for filled in self.tables.values():
            self.connection.execute(CreateTable(filled))
        self._loads_files = self._may_load_files()

    def keep(self) -> None:
        with database_errors(self.engine):
            try:
                self._execute("SELECT 1")
                return
            except exc.SQLAlchemyError as error:
                if not (is_lost(error) or self.connection.closed):
                    raise
            self.disconnect()
            self._connect()
            for table in self.tables:
                self._wait_for(table)
            if gone := [t.name for t in self.tables.values() if not table_is_there(self.connection, t.name)]:
                reason = f"another run dropped {gone[0]} while the server was away"
                raise DatabaseError(f"{label(self.engine)}: {reason}: run the step again")

    def close(self) -> None:
        if self._ours:
            drop_own(self.connection, [filled.name for filled in self.tables.values()])

    def drop_leftovers(self, also: Sequence[str]) -> None:
        """Drop what a killed run left, and the tables ``also``; drop nothing while another run holds the lock."""
        self._connect()
        try:
            if all(self._locks(table, GONE_WAIT) for table in self.tables):
                self._drop_unread([*leftovers(self.connection, self._names()), *also])
        finally:
            self.disconnect()

    def _names(self) -> list[str]:
        return [live.name for live in self.tables]

    def _connect(self) -> None:
        # a connection of its own: only this one allows LOAD DATA LOCAL and has these settings and locks
        loading = loading_engine(self.engine)
        self.connection = loading.connect().execution_options(isolation_level="AUTOCOMMIT")
        if loading is self.engine:
            self.connection.detach()
        self._execute(_SESSION)

    def _drop_unread(self, names: Sequence[str]) -> None:
        """Drop tables of ours that are not needed any more.

        A table that another session still reads is left to the next run; that is no error.
        """
        try:
            self._without_queue(names, lambda: drop_own(self.connection, names), DROP_WAIT)
        except WriteConflictError:
            _logger.warning("another session reads %s: the next run drops what is left", " or ".join(names))

    def _without_queue(
        self, tables: Sequence[str], statements: Callable[[], None], seconds: float | None = None
    ) -> None:
        """Run ``statements`` that change or drop tables which other sessions read.

        While other sessions hold these tables, try again and again, each time so shortly that readers hardly wait.
        """
        restored = self._execute("SELECT @@SESSION.lock_wait_timeout").scalar()
        self._execute(f"SET SESSION lock_wait_timeout = {_RENAME_WAIT}")
        try:
            waiting_for_locks(self.engine, tables, statements, seconds=seconds)
        finally:
            with suppress(exc.SQLAlchemyError):  # a broken connection has nothing to restore
                self._execute(f"SET SESSION lock_wait_timeout = {restored}")

    def _wait_for(self, table: Table) -> None:
        """Get the table's lock, which another run holds while it fills the table."""

        def attempt() -> None:
            if not self._locks(table, NAMED_LOCK_WAIT):
                raise WriteConflictError(f"{label(self.engine)}: {table.name}: another run is filling it")

        def holder() -> int | None:
            named = func.is_used_lock(lock_name(self.engine, table.name))
            number: int | None = self.connection.execute(select(named)).scalar()
            return number

        waiting_for_locks(self.engine, [table.name], attempt, why="another run is filling it", holder=holder)

    def _locks(self, table: Table, seconds: int) -> bool:
        """Tell whether this run gets the table's lock within so many seconds."""
        named = func.get_lock(lock_name(self.engine, table.name), seconds)
        return bool(self.connection.execute(select(named)).scalar() == 1)

    def _may_load_files(self) -> bool:
        filled = next(iter(self.tables.values()))
        driver = self._driver()
        if driver is None:
            return False
        try:
            # it sends no rows, but a server, proxy or driver that refuses does so now, before rows are sent
            with driver.offering(ROWS_NAME, ()):
                self._execute(f"LOAD DATA LOCAL INFILE '{ROWS_NAME}' INTO TABLE {self._quote(filled.name)}")
        except exc.SQLAlchemyError as error:
            if getattr(error, "connection_invalidated", False):
                raise
            _logger.warning("the server refuses LOAD DATA LOCAL (local_infile): rows go in by INSERT, more slowly")
            return False
        return True

    def _driver(self) -> ServerConnection | None:
        """Return the driver's connection; None if it is not one that rows can be handed to."""
        driver = self.connection.connection.dbapi_connection
        return driver if isinstance(driver, ServerConnection) else None

    def _append(self, table: Table, batches: Iterable[pa.RecordBatch], *, skip: bool) -> LoadCount:
        if not self._loads_files:
            counts = (self._insert(table, part, skip) for batch in batches for part in _small_parts(batch))
            return sum(counts, LoadCount(0, 0))
        total, rows = LoadCount(0, 0), iter(batches)
        for first in rows:
            total += self._load_data(table, first, rows, skip)
        return total

    def _load_data(self, table: Table, first: pa.RecordBatch, rows: Iterator[pa.RecordBatch], skip: bool) -> LoadCount:
        """Load ``first`` and as many of the following ``rows`` as fit into one statement."""
        target = f"{self._quote(self.tables[table].name)} CHARACTER SET utf8mb4 {FORMAT}"
        columns = self._columns(table, first.schema.names)
        driver = self._driver()
        assert driver is not None
        sent = 0

        def lines() -> Iterator[bytes | memoryview]:
            nonlocal sent
            batch: pa.RecordBatch | None = first
            while batch is not None:
                sent += batch.num_rows
                yield as_lines(batch.select(first.schema.names))
                batch = next(rows, None) if sent < ROWS_PER_LOAD else None

        def run(made: Iterator[bytes | memoryview]) -> int:
            with driver.offering(ROWS_NAME, made):
                statement = f"LOAD DATA LOCAL INFILE '{ROWS_NAME}' INTO TABLE {target} ({columns})"
                return int(self._execute(statement).rowcount)

        kept = send_while_made(lines(), run, lambda: give_up_if_hung_up(driver))
        self._check_warnings(table, sent - kept, skip)
        return LoadCount(sent, kept)

    def _insert(self, table: Table, batch: pa.RecordBatch, skip: bool) -> LoadCount:
        names = batch.schema.names
        verb = "INSERT IGNORE INTO" if skip else "INSERT INTO"
        row = f"({', '.join(['%s'] * len(names))})"
        values = [value for row in python_rows(batch) for value in row]
        statement = f"{verb} {self._quote(self.tables[table].name)} ({self._columns(table, names)}) VALUES "
        result = self.connection.exec_driver_sql(statement + ", ".join([row] * batch.num_rows), tuple(values))
        self._check_warnings(table, batch.num_rows - result.rowcount, skip)
        return LoadCount(batch.num_rows, result.rowcount)

    def _check_warnings(self, table: Table, skipped: int, skip: bool) -> None:
        """Raise DatabaseError for a warning: a row was not stored as it is. Skipped duplicates are allowed."""
        warnings = self._execute("SHOW COUNT(*) WARNINGS").scalar()
        if not warnings or (skip and warnings == skipped and self._only_duplicates()):
            return
        _, code, text = self._execute("SHOW WARNINGS LIMIT 1").one()
        raise DatabaseError(f"{label(self.engine)}: {table.name}: {text} (code {code}, {warnings:,} warnings)")

    def _only_duplicates(self) -> bool:
        return all(code == ER.DUP_ENTRY for _, code, _ in self._execute("SHOW WARNINGS"))

    def _make_keys(self, table: Table, *, drop_repeats: bool) -> int:
        self._keys_missing.discard(table)
        parts = [
            f"ADD {'UNIQUE ' * key.unique}KEY {self._quote(key.name)} ({self._columns(table, key.columns)})"
            for key in keys_of(table)
        ]
        if not parts:
            return 0
        statement = f"ALTER TABLE {self._quote(self.tables[table].name)} {', '.join(parts)}"
        try:
            self._execute(statement)
        except exc.IntegrityError:
            if not drop_repeats:
                raise
            dropped = self._repeats_dropped(table)
            self._execute(statement)
            return dropped
        return 0

    def _swap(self, moves: Sequence[Move], replaced: Sequence[str], around: AbstractContextManager[None]) -> None:
        renames = (f"{self._quote(source)} TO {self._quote(target)}" for source, target in moves)
        statement = f"RENAME TABLE {', '.join(renames)}"
        with around:
            self._without_queue([source for source, _ in moves], lambda: self._execute(statement))
        self._check_replaced(dict(moves))
        self._drop_unread(replaced)
        forget(self.connection, {source for source, _ in moves} - {target for _, target in moves})

    def _check_replaced(self, moved: Mapping[str, str]) -> None:
        if self._check is None:
            return
        aside = {live: moved[live.name] for live in self.tables if live.name in moved}
        try:
            self._check(self.connection, aside)
        except ForeignDataError:  # their writer finds the rows under these names
            forget(self.connection, aside.values())
            raise

    def _note_replaced(self, names: Mapping[str, str]) -> None:
        note(self.connection, *(OwnTable(name, OLD, live) for name, live in names.items()))

    def _merge(self) -> None:
        there = existing_tables(self.engine)
        for live in self.tables:
            if live.name not in there:
                self.connection.execute(CreateTable(live))
        waiting_for_locks(self.engine, [live.name for live in self.tables], self._merge_once)

    def _merge_once(self) -> None:
        with writing(self.engine) as connection:
            for live, filled in self.tables.items():
                columns = self._columns(live, data_columns(live))
                updates = ", ".join(f"{self._quote(n)} = VALUES({self._quote(n)})" for n in updatable(live))
                statement = f"INSERT INTO {self._quote(live.name)} ({columns}) SELECT {columns} FROM "
                statement += f"{self._quote(filled.name)} ON DUPLICATE KEY UPDATE {updates}"
                connection.exec_driver_sql(statement)


def _small_parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if batch.num_rows <= 1 or (batch.num_rows <= ROWS_PER_INSERT and batch.nbytes <= BYTES_PER_INSERT):
        yield batch
        return
    half = batch.num_rows // 2
    yield from _small_parts(batch.slice(0, half))
    yield from _small_parts(batch.slice(half))
