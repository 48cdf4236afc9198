"""A lock for whole runs of a step on SQLite, as GET_LOCK is on a server; a part of ``bulk_load``.

The database's own lock is for moments. This is the write lock of another, empty database beside it: the system gives it
up for a process that dies. The file stays, as whoever waits for it would otherwise hold a file of its own.
"""

from __future__ import annotations

import sqlite3

from recommender.errors import DatabaseError


class StepLock:
    """One run at a time beside the database ``file``."""

    def __init__(self, file: str) -> None:
        self._file = f"{file}-step"
        self._held: sqlite3.Connection | None = None

    def taken(self, seconds: float) -> bool:
        """Is it ours within so many seconds? DatabaseError if there can be no such file."""
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
            raise DatabaseError(f"{self._file}: {error}; move the file away, run again") from None
        self._held = held
        return True

    def release(self) -> None:
        """Give it up, if it is ours."""
        if self._held is not None:
            self._held.close()
