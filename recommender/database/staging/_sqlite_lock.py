"""Locks beside a SQLite database, like GET_LOCK on a server: one for whole runs of a step, one for an announcement.

The database's own lock is for short moments. Such a lock is the write lock of another, empty database beside it: the
system releases it when a process dies. The file stays: if it were deleted, a waiting run could hold a file that no
longer has a name.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from recommender.errors import DatabaseError


class FileLock:
    """The lock ``what`` of the database ``file``, for one process at a time."""

    def __init__(self, file: str, what: str) -> None:
        self._file = Path(f"{Path(file).resolve()}-{what}")  # a link leads to the same lock
        self._held: sqlite3.Connection | None = None

    def taken(self, seconds: float) -> bool:
        """Tell whether this run gets the lock within so many seconds. DatabaseError if its file cannot be made."""
        try:
            held = sqlite3.connect(self._file, timeout=seconds, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise DatabaseError(f"{self._file}: {error}; mend the rights on its folder, run again") from None
        try:
            held.execute("BEGIN EXCLUSIVE").close()
        except sqlite3.Error as error:
            held.close()
            if "locked" in str(error):
                return False
            raise DatabaseError(f"{self._file}: {error}; free the disk or move the file away, run again") from None
        self._held = held
        return True

    def release(self) -> None:
        """Release the lock if this run has it."""
        if self._held is not None:
            self._held.close()

    def is_held(self) -> bool:
        """Tell at once whether a process has the lock. Without its file, nobody has."""
        try:
            with closing(sqlite3.connect(f"{self._file.as_uri()}?mode=ro", uri=True, timeout=0)) as reader:
                reader.execute("SELECT 1 FROM sqlite_master").close()
        except sqlite3.Error as error:
            return "locked" in str(error)
        return False
