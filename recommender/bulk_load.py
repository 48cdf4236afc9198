"""Rows into tables at the database's own speed, and new tables in the place of old ones in one step.

    with staged(engine, [products, categories]) as stage:
        count = stage.load(products, batches)     # pyarrow.RecordBatch, columns named like the table's
        stage.publish()                           # readers see all old tables or all new ones

Rows go into staging tables beside the live ones. Leaving without ``publish`` drops them; the live tables stay as they
were. MySQL and MariaDB: ``LOAD DATA LOCAL`` through a pipe (multi-row INSERT where the server refuses it), one RENAME
TABLE at the end, and a named lock, so that two runs do not fill the same staging tables. SQLite: one transaction.

Keys other than the primary one are made after the rows: they are built by sorting, whatever the memory the server
has for pages. Duplicates are found by those keys, in the database, so memory does not grow with the rows.

1,426,337 products, two cores, ratios within one run (``python -m benchmarks.load``): MariaDB 0.90 x the client's LOAD
DATA into a table with its keys in place, SQLite 0.92 x ``.import``. Tried on MariaDB, two runs each, all within the
noise of 15 to 19 s: keys in place from the start, all rows in one statement (a killed run then leaves a long
roll-back), unique_checks=0. Tried on SQLite: values by to_pylist or by numpy, alike; binding them (3.3 s), the
checkpoint at the commit (2.5 s) and the keys (1.7 s) are what takes the time.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pymysql.constants import ER
from sqlalchemy import Connection, Engine, MetaData, Table, UniqueConstraint, exc, func, select
from sqlalchemy.schema import CreateTable

from recommender._load_data import FORMAT, as_lines, as_text, give_up_if_hung_up, send_through_pipe
from recommender.database import database_errors, drop_tables, existing_tables, is_mysql, label, writing
from recommender.errors import DatabaseError

LOCK_WAIT = 30  # seconds; what a killed run left running on the server (an ALTER TABLE, a roll-back) ends in that time
ROWS_PER_LOAD = 200_000  # rows of one LOAD DATA statement; a killed one is rolled back in a second or two
ROWS_PER_INSERT, BYTES_PER_INSERT = 1_000, 500_000  # far below any server's max_allowed_packet
NEW, OLD = "__new", "__old"  # ends of names that nobody gives to tables: what bears them is dropped unasked
_SESSION = "SET SESSION net_read_timeout = 600, net_write_timeout = 600, lock_wait_timeout = 60"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadCount:
    """Rows handed to the database, and how many of them it kept (the others repeated a unique key)."""

    sent: int
    kept: int

    def __add__(self, other: LoadCount) -> LoadCount:
        return LoadCount(self.sent + other.sent, self.kept + other.kept)


@contextmanager
def staged(engine: Engine, tables: Sequence[Table], *, append: bool = False) -> Iterator[Stage]:
    """Empty staging tables for ``tables``, dropped at the end unless published.

    ``append``: ``publish`` adds their rows to the live tables instead of replacing them; where a row with the same
    key is there, its other columns are updated. One transaction for all the tables.
    Raises DatabaseError: the server broke off, refused, or another run is filling the same tables.
    """
    stage_class: type[Stage] = _ServerStage if is_mysql(engine) else _SqliteStage
    with database_errors(engine):
        stage = stage_class(engine, tables, append=append)
        try:
            stage.open()
            yield stage
        except BaseException:
            # the connection may be the very thing that broke: what it leaves is dropped by the next run
            with suppress(exc.SQLAlchemyError):
                stage.close()
            stage.disconnect()
            raise
        stage.close()
        stage.disconnect()


class Stage:
    """Staging tables of one run; see ``staged``.

    ``connection`` sees the rows loaded so far, ``tables`` maps each live table to its staging table, for checks
    before ``publish``.
    """

    def __init__(self, engine: Engine, tables: Sequence[Table], *, append: bool) -> None:
        self.engine = engine
        self.append = append
        self.tables = {live: _without_keys(live) for live in tables}
        self.connection: Connection
        self._keys_missing = set(tables)
        self._ours = False  # are the staging tables this run's, to be dropped by it?
        self._quote = engine.dialect.identifier_preparer.quote

    def load(self, table: Table, batches: Iterable[pa.RecordBatch], *, skip_duplicates: bool = False) -> LoadCount:
        """Append ``batches`` to the staging table of ``table``; return how many rows were sent and kept.

        Columns are named like the table's; one that numbers itself is left out. ``skip_duplicates``: of rows with
        the same unique key the first one stays. Without it a duplicate is a DatabaseError, here or in ``publish``.
        """
        with database_errors(self.engine):
            defer = table in self._keys_missing and _number(table) is not None
            batches = (_checked(table, batch) for batch in batches if batch.num_rows)
            count = self._append(table, batches, skip=skip_duplicates and not defer)
            if count.kept < count.sent and not skip_duplicates:
                raise DatabaseError(f"{table.name}: {count.sent - count.kept:,} rows repeat a unique key")
            if skip_duplicates and table in self._keys_missing:
                return LoadCount(count.sent, count.kept - self._make_keys(table, drop_repeats=defer))
            return count

    def publish(self) -> None:
        """Put the staging tables in the place of the live ones, all in one step (see ``staged`` for ``append``)."""
        with database_errors(self.engine):
            for table in list(self._keys_missing):
                self._make_keys(table, drop_repeats=False)
            if self.append:
                self._merge()
            else:
                self._swap()

    def open(self) -> None:
        """Connect, drop what a killed run left, create the staging tables."""
        raise NotImplementedError

    def close(self) -> None:
        """Drop what was not published."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Give the connection up, whatever state it is in."""
        with suppress(exc.SQLAlchemyError, AttributeError):
            self.connection.close()

    def _append(self, table: Table, batches: Iterable[pa.RecordBatch], *, skip: bool) -> LoadCount:
        raise NotImplementedError

    def _make_keys(self, table: Table, *, drop_repeats: bool) -> int:
        raise NotImplementedError

    def _swap(self) -> None:
        raise NotImplementedError

    def _merge(self) -> None:
        raise NotImplementedError

    def _execute(self, statement: str) -> Any:
        return self.connection.exec_driver_sql(statement)

    def _columns(self, table: Table, names: Iterable[str]) -> str:
        return ", ".join(self._quote(table.c[name].name) for name in names)

    def _repeats_dropped(self, table: Table) -> int:
        """Delete the rows that repeat a unique key of an earlier row; how many."""
        filled, number, dropped = self._quote(self.tables[table].name), self._quote(str(_number(table))), 0
        for key in _keys(table):
            if key.unique:
                statement = self._delete_repeats(filled, number, self._columns(table, key.columns))
                dropped += self._execute(statement).rowcount
        return dropped

    def _delete_repeats(self, filled: str, number: str, names: str) -> str:
        # a server will not read the table it deletes from, except through a derived table
        first = f"SELECT MIN({number}) AS kept FROM {filled} GROUP BY {names}"
        return f"DELETE t FROM {filled} t LEFT JOIN ({first}) f ON f.kept = t.{number} WHERE f.kept IS NULL"


class _ServerStage(Stage):
    """MySQL and MariaDB."""

    def open(self) -> None:
        self.connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self.connection.detach()  # its session settings and locks must not go back to the pool
        self._execute(_SESSION)
        for table in self.tables:
            self._lock(table)
        self._ours = True
        drop_tables(self.connection, [live.name + end for live in self.tables for end in (NEW, OLD)])
        for filled in self.tables.values():
            self.connection.execute(CreateTable(filled))
        self._loads_files = self._may_load_files()

    def close(self) -> None:
        if self._ours:
            drop_tables(self.connection, [filled.name for filled in self.tables.values()])

    def _lock(self, table: Table) -> None:
        where = f"{self.engine.url.database}.{table.name}"
        name = f"recommender {hashlib.blake2b(where.encode(), digest_size=16).hexdigest()}"  # at most 64 characters
        if self.connection.execute(select(func.get_lock(name, LOCK_WAIT))).scalar() != 1:
            message = "another run is filling it; wait for its end, then run the step again"
            raise DatabaseError(f"{label(self.engine)}: {table.name}: {message}")

    def _may_load_files(self) -> bool:
        filled = next(iter(self.tables.values()))
        try:
            # nothing is in it, but whatever refuses (server, proxy, driver) refuses now, before rows are on their way
            self._execute(f"LOAD DATA LOCAL INFILE '{os.devnull}' INTO TABLE {self._quote(filled.name)}")
        except exc.SQLAlchemyError as error:
            if getattr(error, "connection_invalidated", False):
                raise
            _logger.warning("the server refuses LOAD DATA LOCAL (local_infile): rows go in by INSERT, more slowly")
            return False
        return os.path.isdir("/dev/fd")  # noqa: PTH112  # a pipe has a name only where this folder is

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
        sent = 0

        def lines() -> Iterator[bytes | memoryview]:
            nonlocal sent
            batch: pa.RecordBatch | None = first
            while batch is not None:
                sent += batch.num_rows
                yield as_lines(batch.select(first.schema.names))
                batch = next(rows, None) if sent < ROWS_PER_LOAD else None

        def run(path: str) -> int:
            try:
                return int(self._execute(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {target} ({columns})").rowcount)
            except AttributeError:  # the driver has dropped its socket, and writes to it once more
                message = "the connection broke off; run the step again, it starts clean"
                raise DatabaseError(f"{label(self.engine)}: {message}") from None

        driver = self.connection.connection.dbapi_connection
        kept = send_through_pipe(lines(), run, lambda: give_up_if_hung_up(driver))
        self._check_warnings(table, sent - kept, skip)
        return LoadCount(sent, kept)

    def _insert(self, table: Table, batch: pa.RecordBatch, skip: bool) -> LoadCount:
        names = batch.schema.names
        verb = "INSERT IGNORE INTO" if skip else "INSERT INTO"
        row = f"({', '.join(['%s'] * len(names))})"
        values = [value for row in _python_rows(batch) for value in row]
        statement = f"{verb} {self._quote(self.tables[table].name)} ({self._columns(table, names)}) VALUES "
        result = self.connection.exec_driver_sql(statement + ", ".join([row] * batch.num_rows), tuple(values))
        self._check_warnings(table, batch.num_rows - result.rowcount, skip)
        return LoadCount(batch.num_rows, result.rowcount)

    def _check_warnings(self, table: Table, skipped: int, skip: bool) -> None:
        """A warning is a row that did not go in as it is: an error, but for the duplicates that may be skipped."""
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
            for key in _keys(table)
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

    def _swap(self) -> None:
        there, moves = existing_tables(self.engine), []
        for live, filled in self.tables.items():
            if live.name in there:
                moves.append(f"{self._quote(live.name)} TO {self._quote(live.name + OLD)}")
            moves.append(f"{self._quote(filled.name)} TO {self._quote(live.name)}")
        self._execute(f"RENAME TABLE {', '.join(moves)}")
        drop_tables(self.connection, [live.name + OLD for live in self.tables])

    def _merge(self) -> None:
        there = existing_tables(self.engine)
        for live in self.tables:
            if live.name not in there:
                self.connection.execute(CreateTable(live))
        with writing(self.engine) as connection:
            for live, filled in self.tables.items():
                columns = self._columns(live, _data_columns(live))
                updates = ", ".join(f"{self._quote(n)} = VALUES({self._quote(n)})" for n in _updatable(live))
                statement = f"INSERT INTO {self._quote(live.name)} ({columns}) SELECT {columns} FROM "
                statement += f"{self._quote(filled.name)} ON DUPLICATE KEY UPDATE {updates}"
                connection.exec_driver_sql(statement)


class _SqliteStage(Stage):
    """One transaction from the first statement to ``publish``; whoever reads sees the old tables until then."""

    def open(self) -> None:
        self.connection = self.engine.connect().execution_options(writes=True)
        self._transaction = self.connection.begin()
        self._ours = True
        # without it a view on a live table forbids to rename: for a moment the view would lead nowhere
        self._execute("PRAGMA legacy_alter_table = ON")
        drop_tables(self.connection, [filled.name for filled in self.tables.values()])
        for live, filled in self.tables.items():
            # an index's name is unique in the whole file: the new one takes it over, the rollback gives it back
            for key in _keys(live):
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
            kept = self.connection.exec_driver_sql(statement, list(_python_rows(batch))).rowcount
            total += LoadCount(batch.num_rows, kept)
        return total

    def _make_keys(self, table: Table, *, drop_repeats: bool) -> int:
        self._keys_missing.discard(table)
        filled, dropped = self._quote(self.tables[table].name), 0
        for key in _keys(table):
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

    def _swap(self) -> None:
        for live, filled in self.tables.items():
            self._execute(f"DROP TABLE IF EXISTS {self._quote(live.name)}")
            self._execute(f"ALTER TABLE {self._quote(filled.name)} RENAME TO {self._quote(live.name)}")
        self._transaction.commit()

    def _merge(self) -> None:
        for live, filled in self.tables.items():
            live.create(self.connection, checkfirst=True)
            columns, key = self._columns(live, _data_columns(live)), self._columns(live, _identity(live))
            updates = ", ".join(f"{self._quote(n)} = excluded.{self._quote(n)}" for n in _updatable(live))
            statement = f"INSERT INTO {self._quote(live.name)} ({columns}) SELECT {columns} FROM "
            # WHERE true: without it SQLite takes ON for the start of a join
            statement += f"{self._quote(filled.name)} WHERE true ON CONFLICT ({key}) DO UPDATE SET {updates}"
            self._execute(statement)
            self._execute(f"DROP TABLE {self._quote(filled.name)}")
        self._transaction.commit()

    def _key_name(self, key: _Key) -> str:
        return key.name + NEW if self.append else key.name


@dataclass(frozen=True)
class _Key:
    """A key of a table apart from the primary one."""

    name: str
    columns: tuple[str, ...]
    unique: bool


def _keys(table: Table) -> list[_Key]:
    uniques = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    keys = [_Key(str(unique.name), tuple(unique.columns.keys()), True) for unique in uniques]
    keys += [_Key(str(index.name), tuple(index.columns.keys()), bool(index.unique)) for index in table.indexes]
    return sorted(keys, key=lambda key: (not key.unique, key.name))


def _number(table: Table) -> str | None:
    """The name of the column that numbers the rows by itself."""
    column = table.autoincrement_column
    return str(column.name) if column is not None and column.autoincrement is True else None


def _identity(table: Table) -> tuple[str, ...]:
    """The columns that say which row it is: the primary key, or the unique key beside a number."""
    return _keys(table)[0].columns if _number(table) else tuple(table.primary_key.columns.keys())


def _data_columns(table: Table) -> list[str]:
    return [column.key for column in table.columns if column.key != _number(table)]


def _updatable(table: Table) -> list[str]:
    return [name for name in _data_columns(table) if name not in _identity(table)]


def _without_keys(table: Table) -> Table:
    copy = table.to_metadata(MetaData(), name=table.name + NEW)
    copy.indexes.clear()
    for constraint in [c for c in copy.constraints if isinstance(c, UniqueConstraint)]:
        copy.constraints.discard(constraint)
    return copy


def _checked(table: Table, batch: pa.RecordBatch) -> pa.RecordBatch:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_floating(column.type) and pc.all(pc.is_finite(column)).as_py() is False:
            raise DatabaseError(f"{table.name}.{name} holds a number that is not finite: leave such rows out")
    return batch


def _small_parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if batch.num_rows <= 1 or (batch.num_rows <= ROWS_PER_INSERT and batch.nbytes <= BYTES_PER_INSERT):
        yield batch
        return
    half = batch.num_rows // 2
    yield from _small_parts(batch.slice(0, half))
    yield from _small_parts(batch.slice(half))


def _python_rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(_python_values(column) for column in batch.columns), strict=True)


def _python_values(column: pa.Array) -> list[Any]:
    # by way of numpy: to_pylist makes an object of pyarrow's for every value first, and takes ten times as long
    if pa.types.is_timestamp(column.type):
        column = as_text(column)
    elif pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if column.null_count and pa.types.is_primitive(column.type):
        return list(column.to_pylist())
    return list(column.to_numpy(zero_copy_only=False).tolist())
