"""The common part of the staging tables on servers and on SQLite; the inner half of ``bulk_load``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine, MetaData, Table, UniqueConstraint, exc

from recommender.database.connection import database_errors
from recommender.database.own_tables import ends_of_a_run
from recommender.database.staging._load_data import as_text
from recommender.database.tables import existing_tables
from recommender.errors import DatabaseError

Move = tuple[str, str]  # a table's name, and the name it gets
Check = Callable[[Connection, Mapping[Table, str]], None]  # takes tables by their present names; raises if it fails


@dataclass(frozen=True)
class LoadCount:
    """Rows sent to the database, and rows that it kept (the others repeated a unique key)."""

    sent: int
    kept: int

    def __add__(self, other: LoadCount) -> LoadCount:
        return LoadCount(self.sent + other.sent, self.kept + other.kept)


class Stage:
    """The staging tables of one run; see ``staged``.

    ``connection`` sees the rows loaded so far; ``tables`` maps each live table to its staging table, for checks before
    ``publish``.
    """

    def __init__(
        self, engine: Engine, tables: Sequence[Table], *, append: bool, made_as: Mapping[Table, Table] | None = None
    ) -> None:
        self.engine = engine
        self.append = append
        self.new_end, self.old_end = ends_of_a_run()
        self.tables = {live: _without_keys((made_as or {}).get(live, live), self.new_end) for live in tables}
        self.connection: Connection
        self._keys_missing = set(tables)
        self._ours = False  # whether this run made the staging tables and has to drop them
        self._check: Check | None = None
        self._quote = engine.dialect.identifier_preparer.quote

    def load(self, table: Table, batches: Iterable[pa.RecordBatch], *, skip_duplicates: bool = False) -> LoadCount:
        """Append ``batches`` to the staging table of ``table``; return the number of rows sent and kept.

        Columns are named like the table's; a column that numbers itself is left out. ``skip_duplicates``: of rows with
        the same unique key the first one stays. Without it a duplicate is a DatabaseError, here or in ``publish``.
        """
        with database_errors(self.engine):
            defer = table in self._keys_missing and number_of(table) is not None
            batches = (_checked(table, batch) for batch in batches if batch.num_rows)
            count = self._append(table, batches, skip=skip_duplicates and not defer)
            if count.kept < count.sent and not skip_duplicates:
                raise DatabaseError(f"{table.name}: {count.sent - count.kept:,} rows repeat a unique key")
            if skip_duplicates and table in self._keys_missing:
                return LoadCount(count.sent, count.kept - self._make_keys(table, drop_repeats=defer))
            return count

    def publish(
        self,
        moves: Sequence[Move] = (),
        *,
        leave: Sequence[str] = (),
        drop: Sequence[str] = (),
        check: Check | None = None,
        around: AbstractContextManager[None] | None = None,
    ) -> None:
        """Replace the live tables by the staging tables, all in one step (see ``staged`` for ``append``).

        ``moves``: renames (from, to) done before that in the same step. A live table that is moved away is kept. A
        staging table that is moved away, or among ``leave``, does not replace a live one. ``drop``: tables of ours to
        drop afterwards. ``check`` is called with the replaced tables once no session writes to them under their names
        any more. If it raises ForeignDataError, they are left to the one who wrote to them. (On SQLite no other session
        writes from ``staged`` on.) ``around`` is entered just before the step, and left right after it.
        """
        self._check = check
        with database_errors(self.engine):
            for table in list(self._keys_missing):
                self._make_keys(table, drop_repeats=False)
            if self.append:
                self._merge()
            else:
                steps, replaced = self._plan(moves, leave)
                self._note_replaced(replaced)
                self._swap(steps, [*replaced, *leave, *drop], around or nullcontext())

    def hold(self) -> None:
        """Keep others from writing until ``publish``, where the database swaps that way (SQLite)."""

    def keep(self) -> None:
        """Keep the connection and its locks through a pause; call this now and then, and before going on.

        If the server was away, connect again. DatabaseError if it still is, or if another run dropped the tables.
        """

    def open(self) -> None:
        """Connect, drop what a killed run left, create the staging tables."""
        raise NotImplementedError

    def close(self) -> None:
        """Drop what was not published."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Close the connection, whatever its state."""
        with suppress(exc.SQLAlchemyError, AttributeError):
            self.connection.close()

    def _append(self, table: Table, batches: Iterable[pa.RecordBatch], *, skip: bool) -> LoadCount:
        raise NotImplementedError

    def _make_keys(self, table: Table, *, drop_repeats: bool) -> int:
        raise NotImplementedError

    def _swap(self, moves: Sequence[Move], replaced: Sequence[str], around: AbstractContextManager[None]) -> None:
        """Rename all in one step, within ``around``, then drop the tables that were ``replaced``."""
        raise NotImplementedError

    def _merge(self) -> None:
        raise NotImplementedError

    def _note_replaced(self, names: Mapping[str, str]) -> None:
        """Note the future names of the replaced tables, where a killed run would leave them."""

    def _plan(self, first: Sequence[Move], leave: Sequence[str]) -> tuple[list[Move], dict[str, str]]:
        """Return all renames of a swap, ``first`` first, and the live table of each name that a replaced table gets."""
        moves, replaced = list(first), dict[str, str]()
        there, away = existing_tables(self.engine), set(leave)
        for source, target in first:
            there = there - {source} | {target}
            away.add(source)
        for live, filled in self.tables.items():
            if filled.name in away:
                continue
            if live.name in there:
                replaced[live.name + self.old_end] = live.name
                moves.append((live.name, live.name + self.old_end))
            moves.append((filled.name, live.name))
        return moves, replaced

    def _execute(self, statement: str) -> Any:
        return self.connection.exec_driver_sql(statement)

    def _columns(self, table: Table, names: Iterable[str]) -> str:
        return ", ".join(self._quote(self.tables[table].c[name].name) for name in names)

    def _repeats_dropped(self, table: Table) -> int:
        """Delete the rows that repeat a unique key of an earlier row; return their number."""
        filled, number, dropped = self._quote(self.tables[table].name), self._quote(str(number_of(table))), 0
        for key in keys_of(table):
            if key.unique:
                statement = self._delete_repeats(filled, number, self._columns(table, key.columns))
                dropped += self._execute(statement).rowcount
        return dropped

    def _delete_repeats(self, filled: str, number: str, names: str) -> str:
        # a server reads the table it deletes from only through a derived table
        first = f"SELECT MIN({number}) AS kept FROM {filled} GROUP BY {names}"
        return f"DELETE t FROM {filled} t LEFT JOIN ({first}) f ON f.kept = t.{number} WHERE f.kept IS NULL"


@dataclass(frozen=True)
class Key:
    """A key of a table other than the primary key."""

    name: str
    columns: tuple[str, ...]
    unique: bool


def keys_of(table: Table) -> list[Key]:
    uniques = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    keys = [Key(str(unique.name), tuple(unique.columns.keys()), True) for unique in uniques]
    keys += [Key(str(index.name), tuple(index.columns.keys()), bool(index.unique)) for index in table.indexes]
    return sorted(keys, key=lambda key: (not key.unique, key.name))


def number_of(table: Table) -> str | None:
    """Return the name of the column that numbers the rows by itself; None if there is none."""
    column = table.autoincrement_column
    return str(column.name) if column is not None and column.autoincrement is True else None


def identity_of(table: Table) -> tuple[str, ...]:
    """Return the columns that identify a row: the primary key, or the unique key beside a number."""
    return keys_of(table)[0].columns if number_of(table) else tuple(table.primary_key.columns.keys())


def data_columns(table: Table) -> list[str]:
    return [column.key for column in table.columns if column.key != number_of(table)]


def updatable(table: Table) -> list[str]:
    return [name for name in data_columns(table) if name not in identity_of(table)]


def _without_keys(table: Table, end: str) -> Table:
    copy = table.to_metadata(MetaData(), name=table.name + end)
    copy.indexes.clear()
    for constraint in [c for c in copy.constraints if isinstance(c, UniqueConstraint)]:
        copy.constraints.discard(constraint)
    return copy


def _checked(table: Table, batch: pa.RecordBatch) -> pa.RecordBatch:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_floating(column.type) and pc.all(pc.is_finite(column)).as_py() is False:
            raise DatabaseError(f"{table.name}.{name} holds a number that is not finite: leave such rows out")
    return batch


def python_rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(_python_values(column) for column in batch.columns), strict=True)


def _python_values(column: pa.Array) -> list[Any]:
    # through numpy: to_pylist first makes a pyarrow object of every value, and takes ten times as long
    if pa.types.is_timestamp(column.type):
        column = as_text(column)
    elif pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if column.null_count and pa.types.is_primitive(column.type):
        return list(column.to_pylist())
    return list(column.to_numpy(zero_copy_only=False).tolist())
