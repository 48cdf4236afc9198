"""A lock for whole runs of a step on SQLite, like GET_LOCK on a server; a part of ``bulk_load``.

The database's own lock is for short moments. This lock is the write lock of another, empty database beside it: the
system releases it when a process dies. The file stays: if it were deleted, a waiting run could hold a file that no
longer has a name.
"""

from __future__ import annotations

import sqlite3

from recommender.errors import DatabaseError


class StepLock:
    """A lock that allows one run at a time on the database ``file``."""

    def __init__(self, file: str) -> None:
        self._file = f"{file}-step"
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
            raise DatabaseError(f"{self._file}: {error}; move the file away, run again") from None
        self._held = held
        return True

    def release(self) -> None:
        """Release the lock if this run has it."""
        if self._held is not None:
            self._held.close()
