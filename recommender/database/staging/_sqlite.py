"""Staging tables on SQLite; one half of ``bulk_load``.

`SqliteStage` does everything in one transaction: others cannot write until it ends. `SqliteStageInTurns` commits every
few thousand rows, so that others can write in between, and has a short last transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pyarrow as pa
from sqlalchemy import Engine, Table, exc, text
from sqlalchemy.schema import CreateTable

from recommender.database.connection import label, lock_watch
from recommender.database.lock_wait import patiently
from recommender.database.own_tables import OLD, STAGING, OwnTable, drop_own, forget, leftovers, note, prepare_notes
from recommender.database.schema import own_tables
from recommender.database.staging._sqlite_lock import FileLock
from recommender.database.staging._stage import (
    Key,
    LoadCount,
    Move,
    Stage,
    data_columns,
    identity_of,
    keys_of,
    python_rows,
    updatable,
)
from recommender.database.tables import drop_tables, table_is_there
from recommender.errors import WriteConflictError

ROWS_IN_TURN = 10_000  # some 50 ms of the write lock
PAUSE = 0.01  # seconds without the lock before it is taken again: waiting writers ask every few ms
NAMED_LOCK_WAIT = 2  # seconds of one attempt
_log = logging.getLogger(__name__)


class SqliteStage(Stage):
    """One transaction from the first statement to ``publish``; readers see the old tables until then."""

    def open(self) -> None:
        self.connection = self.engine.connect().execution_options(writes=True)
        self._begin()
        self._ours = True
        for live, filled in self.tables.items():
            self._give_up_names(live)
            self.connection.execute(CreateTable(filled))

    def close(self) -> None:
        if self._ours and self._transaction.is_active:
            self._transaction.rollback()

    def _begin(self) -> None:
        self._transaction = self.connection.begin()
        # without it a view on a live table prevents the rename, since for a moment the view has no table
        self._execute("PRAGMA legacy_alter_table = ON")

    def _append(self, table: Table, batches: Iterable[pa.RecordBatch], *, skip: bool) -> LoadCount:
        total = LoadCount(0, 0)
        for batch in batches:
            names = batch.schema.names
            statement = f"INSERT INTO {self._quote(self.tables[table].name)} ({self._columns(table, names)})"
            statement += f" VALUES ({', '.join('?' * len(names))})" + (" ON CONFLICT DO NOTHING" if skip else "")
            kept = self.connection.exec_driver_sql(statement, list(python_rows(batch))).rowcount
            total += LoadCount(batch.num_rows, kept)
        return total

    def _make_keys(self, table: Table, *, drop_repeats: bool) -> int:
        self._keys_missing.discard(table)
        filled, dropped = self._quote(self.tables[table].name), 0
        for key in keys_of(table):
            columns = self._columns(table, key.columns)
            name = self._quote(self._key_name(table, key))
            statement = f"CREATE {'UNIQUE ' * key.unique}INDEX {name} ON {filled} ({columns})"
            try:
                self._execute(statement)
            except exc.IntegrityError:
                if not drop_repeats:
                    raise
                dropped += self._repeats_dropped(table)
                self._execute(statement)
        return dropped

    def _delete_repeats(self, filled: str, number: str, names: str) -> str:
        return f"DELETE FROM {filled} WHERE {number} NOT IN (SELECT MIN({number}) FROM {filled} GROUP BY {names})"

    def _swap(self, moves: Sequence[Move], replaced: Sequence[str], around: AbstractContextManager[None]) -> None:
        gone = {source for source, _ in moves} - {target for _, target in moves}
        with around:
            for source, target in moves:
                self._execute(f"ALTER TABLE {self._quote(source)} RENAME TO {self._quote(target)}")
            self._finish(gone, replaced)

    def _finish(self, gone: Iterable[str], replaced: Sequence[str]) -> None:
        """Drop the replaced tables, delete the notes of names that are ``gone``, commit."""
        drop_tables(self.connection, replaced)
        if table_is_there(self.connection, own_tables.name):
            forget(self.connection, [*gone, *replaced])
        self._transaction.commit()

    def _merge(self) -> None:
        for live, filled in self.tables.items():
            live.create(self.connection, checkfirst=True)
            columns, key = self._columns(live, data_columns(live)), self._columns(live, identity_of(live))
            updates = ", ".join(f"{self._quote(n)} = excluded.{self._quote(n)}" for n in updatable(live))
            statement = f"INSERT INTO {self._quote(live.name)} ({columns}) SELECT {columns} FROM "
            # WHERE true: without it SQLite reads ON as part of a join
            statement += f"{self._quote(filled.name)} WHERE true ON CONFLICT ({key}) DO UPDATE SET {updates}"
            self._execute(statement)
            self._execute(f"DROP TABLE {self._quote(filled.name)}")
        self._transaction.commit()

    def _give_up_names(self, live: Table) -> None:
        """Drop the indexes whose names the new table needs: an index name is unique in the whole file."""
        if not self.append:
            for key in keys_of(live):
                if self._table_of_index(name := self._key_name(live, key)) == live.name:
                    self._execute(f"DROP INDEX {self._quote(name)}")

    def _key_name(self, table: Table, key: Key) -> str:
        """Return the key's name, or one with a number after it if another table's index has that name."""
        if self.append:
            return key.name + self.new_end
        name, count = key.name, 1
        while self._table_of_index(name) not in (None, table.name):
            count += 1
            name = f"{key.name}_{count}"
        return name

    def _table_of_index(self, name: str) -> str | None:
        found = text("SELECT tbl_name FROM sqlite_master WHERE type = 'index' AND lower(name) = lower(:name)")
        return self.connection.execute(found, {"name": name}).scalar()


class SqliteStageInTurns(SqliteStage):
    """Short transactions, with writes of others in between; the last one, from ``hold`` on, sees and swaps everything.

    It is for tables without keys of their own names: the live tables have those names until the swap.
    """

    def __init__(
        self, engine: Engine, tables: Sequence[Table], *, append: bool, made_as: Mapping[Table, Table] | None = None
    ) -> None:
        super().__init__(engine, tables, append=append, made_as=made_as)
        self._lock, self._left_at = FileLock(str(engine.url.database), "step"), 0.0

    def _wait_for_other_runs(self) -> None:
        """Get the lock of the step, which another run holds while it fills the tables."""
        watch, told = lock_watch(self.engine), list[str]()
        seconds = watch.seconds if watch else 0
        what = f"{label(self.engine)}: {self._names()[0]}: another run is filling it"

        def attempt() -> None:
            if not self._lock.taken(NAMED_LOCK_WAIT):
                raise WriteConflictError(f"{what}; wait for its end, then run the step again")

        def tell() -> None:
            if not told:
                told.append(what)
                _log.warning("%s; waiting up to %g s (LOCK_WAIT_SECONDS)", what, seconds)

        patiently(attempt, lambda error: isinstance(error, WriteConflictError), tell, seconds)

    def open(self) -> None:
        assert not any(keys_of(table) for table in self.tables)
        self._wait_for_other_runs()
        self.connection = self.engine.connect().execution_options(writes=True)
        self.connection.detach()  # its setting of commits must not go back to the pool
        # rows that a power cut takes are made again; `hold` sets FULL for what must stay
        self._set("synchronous = NORMAL")
        with self._turn():
            prepare_notes(self.connection)
            drop_own(self.connection, leftovers(self.connection, self._names()))
            note(self.connection, *(OwnTable(filled.name, STAGING, live.name) for live, filled in self.tables.items()))
            for filled in self.tables.values():
                self.connection.execute(CreateTable(filled))
        self._ours = True

    def close(self) -> None:
        if not self._ours:
            return
        if self.connection.in_transaction():
            self._transaction.rollback()
        with self._turn():
            drop_own(self.connection, [filled.name for filled in self.tables.values()])

    def disconnect(self) -> None:
        super().disconnect()
        self._lock.release()

    def hold(self) -> None:
        self._set("synchronous = FULL")
        self._begin()

    def _note_replaced(self, names: Mapping[str, str]) -> None:
        note(self.connection, *(OwnTable(name, OLD, live) for name, live in names.items()))

    def _finish(self, gone: Iterable[str], replaced: Sequence[str]) -> None:
        forget(self.connection, gone)
        self._transaction.commit()
        for name in replaced:
            with self._turn():
                drop_own(self.connection, [name])

    def drop_leftovers(self, also: Sequence[str]) -> None:
        """Drop what a killed run left, and the tables ``also``; drop nothing while another run is at work."""
        try:
            if self._lock.taken(0):
                with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
                    drop_own(connection, [*leftovers(connection, self._names()), *also])
        finally:
            self.disconnect()

    def _append(self, table: Table, batches: Iterable[pa.RecordBatch], *, skip: bool) -> LoadCount:
        total = LoadCount(0, 0)
        for batch in batches:
            for start in range(0, batch.num_rows, ROWS_IN_TURN):
                with nullcontext() if self.connection.in_transaction() else self._turn():
                    total += super()._append(table, [batch.slice(start, ROWS_IN_TURN)], skip=skip)
        return total

    def _set(self, pragma: str) -> None:
        raw = self.connection.connection.dbapi_connection  # through the engine this would begin a transaction
        assert raw is not None
        raw.execute(f"PRAGMA {pragma}").close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        time.sleep(max(0.0, self._left_at + PAUSE - time.monotonic()))
        with self.connection.begin():
            yield
        self._left_at = time.monotonic()

    def _names(self) -> list[str]:
        return [live.name for live in self.tables]
