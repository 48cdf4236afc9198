"""Blocks of rows written into a staging table by many processes at once, while the run that made it waits.

A block is one transaction: all of it is there, or nothing. A process that is lost may have written its blocks, and
another writes them again, maybe at the same time. So a block takes the place of all rows with the same values of the
first key column (the same users), whoever wrote them. A deadlock, and a server that is away, cost time only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pyarrow as pa
from sqlalchemy import Engine, MetaData, Table, exc

from recommender.database.connection import database_errors, is_conflict, is_lost
from recommender.database.staging._mysql import ServerStage
from recommender.database.staging._stage import identity_of
from recommender.database.tables import in_blocks
from recommender.errors import DatabaseError

PATIENCE = 180.0  # seconds from the first fault of a block to giving up
_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds; the last one repeats


class BlockWriter(ServerStage):
    """A writer of blocks into the table ``name`` of another process's `Stage`, made for ``table``."""

    def __init__(self, engine: Engine, table: Table, name: str, *, patience: float = PATIENCE) -> None:
        super().__init__(engine, [table], append=False)
        self.tables = {table: table.to_metadata(MetaData(), name=name)}
        self._table, self._patience, self._is_open = table, patience, False
        self._whose = identity_of(table)[0]

    def write(self, block: pa.RecordBatch) -> None:
        """Write all rows of some users; rows of theirs that are there already go. DatabaseError."""
        since, tried = time.monotonic(), 0
        with database_errors(self.engine):
            while True:
                try:
                    return self._write_once(block)
                except exc.DBAPIError as error:
                    passing = is_lost(error) or is_conflict(error)
                    if not passing or time.monotonic() - since > self._patience:
                        raise
                    self.leave()
                time.sleep(_PAUSES[min(tried, len(_PAUSES) - 1)])
                tried += 1

    def leave(self) -> None:
        """Close the connection, if there is one."""
        if self._is_open:
            self.disconnect()
        self._is_open = False

    def _write_once(self, block: pa.RecordBatch) -> None:
        if not self._is_open:
            self._connect()
            self._is_open = True
            self._loads_files = self._may_load_files()
        if not self._in_transaction(lambda: self._appended(block)):
            self._in_transaction(lambda: self._replaced(block))

    def _in_transaction(self, work: Callable[[], bool]) -> bool:
        """Run ``work`` in one transaction, and undo it if it returns False or raises."""
        self._execute("START TRANSACTION")
        try:
            done = work()
        except BaseException:
            with suppress(exc.SQLAlchemyError):
                self._execute("ROLLBACK")
            raise
        self._execute("COMMIT" if done else "ROLLBACK")
        return done

    def _appended(self, block: pa.RecordBatch) -> bool:
        """Append the rows; return False if some of their keys are there already."""
        count = self._append(self._table, [block], skip=True)
        return count.kept == count.sent

    def _replaced(self, block: pa.RecordBatch) -> bool:
        """Delete all rows of the block's users, then append the rows. DatabaseError if these repeat a key."""
        name, column = self._quote(self.tables[self._table].name), self._quote(self._whose)
        for users in in_blocks(block.column(self._whose).unique().to_pylist()):
            marks = ", ".join(["%s"] * len(users))
            self.connection.exec_driver_sql(f"DELETE FROM {name} WHERE {column} IN ({marks})", tuple(users))
        if not self._appended(block):
            raise DatabaseError(f"{self._table.name}: the rows of a block repeat a key")
        return True
