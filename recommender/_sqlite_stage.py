"""Staging tables of SQLite, all in one transaction; one half of ``bulk_load``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
from sqlalchemy import Table, exc
from sqlalchemy.schema import CreateTable

from recommender._stage import (
    NEW,
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
from recommender.tables import drop_tables


class SqliteStage(Stage):
    """One transaction from the first statement to ``publish``; whoever reads sees the old tables until then."""

    def open(self) -> None:
        self.connection = self.engine.connect().execution_options(writes=True)
        self._transaction = self.connection.begin()
        self._ours = True
        # without it a view on a live table forbids to rename: for a moment the view would lead nowhere
        self._execute("PRAGMA legacy_alter_table = ON")
        drop_tables(self.connection, self.leftovers())
        for live, filled in self.tables.items():
            # an index's name is unique in the whole file: the new one takes it over, the rollback gives it back
            for key in keys_of(live):
                self._execute(f"DROP INDEX IF EXISTS {self._quote(self._key_name(key))}")
            self.connection.execute(CreateTable(filled))

    def close(self) -> None:
        if self._ours and self._transaction.is_active:
            self._transaction.rollback()

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
            name = self._quote(self._key_name(key))
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

    def _swap(self, moves: Sequence[Move], replaced: Sequence[str]) -> None:
        for source, target in moves:
            self._execute(f"ALTER TABLE {self._quote(source)} RENAME TO {self._quote(target)}")
        drop_tables(self.connection, replaced)
        self._transaction.commit()

    def _merge(self) -> None:
        for live, filled in self.tables.items():
            live.create(self.connection, checkfirst=True)
            columns, key = self._columns(live, data_columns(live)), self._columns(live, identity_of(live))
            updates = ", ".join(f"{self._quote(n)} = excluded.{self._quote(n)}" for n in updatable(live))
            statement = f"INSERT INTO {self._quote(live.name)} ({columns}) SELECT {columns} FROM "
            # WHERE true: without it SQLite takes ON for the start of a join
            statement += f"{self._quote(filled.name)} WHERE true ON CONFLICT ({key}) DO UPDATE SET {updates}"
            self._execute(statement)
            self._execute(f"DROP TABLE {self._quote(filled.name)}")
        self._transaction.commit()

    def _key_name(self, key: Key) -> str:
        return key.name + NEW if self.append else key.name
