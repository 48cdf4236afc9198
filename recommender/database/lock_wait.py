"""Waiting for locks of others: reported within seconds, bounded by LOCK_WAIT_SECONDS, ended with the true reason.

A session that holds a lock (LOCK TABLES, FLUSH TABLES WITH READ LOCK, a transaction that has read a table which is to
be renamed) stops a statement, and it looks as if the server were computing. There are two remedies:

``LockWatch``     looks at the server's list of sessions while a statement takes long, and reports a wait for a lock
``patiently``     tries again, with pauses, what was refused because of a lock. A rename of a table waits in front of
                  all who want to read the table, so each attempt is short, and readers go on in the pauses.

The session that holds the lock is named as far as the server tells: number, user, host, command and time, never the
statement.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from pymysql import err
from pymysql.constants import ER

from recommender.database.server_connection import ServerConnection
from recommender.errors import WriteConflictError

NOTICE = 3.0  # seconds after which a wait for a lock is reported
AGAIN = 60.0  # seconds until it is reported again
PAUSES = (0.5, 1, 2, 4)  # seconds between attempts; the last one repeats
_LOOK = 0.5  # seconds between two looks at how long statements take
_SHOWN = 3  # sessions that a message names
_WAITING = re.compile(r"waiting for .*(lock|flush)", re.I)
_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# the sessions that have locked a table, or all of them; MySQL 8 knows, MariaDB only with performance_schema=ON
_HOLDERS = (
    "SELECT DISTINCT t.PROCESSLIST_ID FROM performance_schema.metadata_locks l JOIN performance_schema.threads t"
    " ON t.THREAD_ID = l.OWNER_THREAD_ID WHERE l.LOCK_STATUS = 'GRANTED' AND t.PROCESSLIST_ID IS NOT NULL"
    " AND (l.OBJECT_NAME IN %s AND l.OBJECT_SCHEMA = DATABASE() OR l.OBJECT_TYPE = 'GLOBAL' AND l.LOCK_TYPE = 'SHARED'"
    " OR LEFT(l.LOCK_TYPE, 5) = 'FTWRL')"
)
# the sessions that have read or written and not committed; needs the right PROCESS
_TRANSACTIONS = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"


class LockWatch:
    """A watch on its own thread that reports which statement of an engine's connections waits for a lock.

    ``connect`` opens a connection for the watch; ``tables`` are the names that a statement may wait for; ``seconds`` is
    the LOCK_WAIT_SECONDS of the engine.
    """

    def __init__(self, connect: Callable[[], ServerConnection], tables: Iterable[str], seconds: int) -> None:
        self.seconds = seconds
        self._noted, self._told_at = "", float("-inf")  # the lock that a statement waited for last
        self._connect, self._tables = connect, tuple(tables)
        self._connections: WeakSet[ServerConnection] = WeakSet()
        self._statements: dict[str, float] = {}  # of connections that this watch does not follow: when each was sent
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def follow(self, connection: ServerConnection) -> None:
        """Watch a connection until it is closed."""
        with self._guard:
            self._connections.add(connection)
            self._start()

    def asking(self, statement: str) -> None:
        """Watch a statement that another driver is about to send, until ``answered``."""
        with self._guard:
            self._statements[statement] = time.monotonic()
            self._start()

    def answered(self, statement: str) -> None:
        with self._guard:
            self._statements.pop(statement, None)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="lock-watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK)
            with self._guard:
                followed = [connection for connection in self._connections if connection.open]
                if not followed and not self._statements:
                    self._thread = None
                    return
                since = [connection.asked_at for connection in followed] + list(self._statements.values())
            long_ago = time.monotonic() - NOTICE
            if any(moment is not None and moment < long_ago for moment in since):
                self._look({connection.thread_id() for connection in followed})

    def _look(self, ours: set[int]) -> None:
        if time.monotonic() - self._told_at < AGAIN:
            return
        try:
            with closing(self._connect()) as connection:
                sessions = _sessions(connection)
                waiting = [session for session in sessions if self._is_waiting(session, ours)]
                if waiting:
                    named = [name for name in self._tables if re.search(rf"\b{name}\b", str(waiting[0]["info"]))]
                    self._tell(named, str(waiting[0]["state"]), self._others(connection, sessions, ours, named))
        except (err.MySQLError, OSError):
            return  # the statement that waits will report it

    def _is_waiting(self, session: dict[str, Any], ours: set[int]) -> bool:
        is_ours = session["id"] in ours or session["info"] in self._statements
        return is_ours and bool(_WAITING.search(str(session["state"])))

    @property
    def noted(self) -> str:
        """The lock that a statement waits for, or did a minute ago, in words; empty without one."""
        return self._noted if time.monotonic() - self._told_at < AGAIN + 2 * NOTICE else ""

    def refused(self, tables: Iterable[str], why: str, holder: int | None = None) -> None:
        """Note and report that a statement on ``tables`` was refused because of a lock.

        ``holder``: the session that holds it, if it is known.
        """
        if time.monotonic() - self._told_at < AGAIN:
            return
        names = list(tables)
        with self._guard:
            ours = {connection.thread_id() for connection in self._connections if connection.open}
        holders = ""
        with suppress(err.MySQLError, OSError), closing(self._connect()) as connection:
            sessions = _sessions(connection)
            if holder is not None:
                sessions, ours = [session for session in sessions if session["id"] == holder], set()
            holders = self._others(connection, sessions, ours, names)
        self._tell(names, why, holders)

    def forget(self) -> None:
        """Note that the wait is over: the next wait is another one."""
        self._noted, self._told_at = "", float("-inf")

    def _tell(self, tables: Iterable[str], state: str, holders: str) -> None:
        what = " and ".join(tables)
        self._noted = f"{f'on {what} ' if what else ''}({state.lower()})" + (f": {holders}" if holders else "")
        self._told_at = time.monotonic()
        limit = f"waiting up to {self.seconds} s (LOCK_WAIT_SECONDS)"
        _log.warning("another session holds a lock %s; %s", self._noted, limit)

    def _others(
        self, connection: ServerConnection, sessions: list[dict[str, Any]], ours: set[int], tables: list[str]
    ) -> str:
        mine = ours | {connection.thread_id()}
        named = _numbers(connection, _HOLDERS, (tables or ["-"],)) - mine
        likely = named or _numbers(connection, _TRANSACTIONS) - mine
        others = [s for s in sessions if s["id"] not in mine and s["command"] not in ("Daemon", "Binlog Dump")]
        others = [s for s in others if not _WAITING.search(str(s["state"])) and (not named or s["id"] in named)]
        others.sort(key=lambda s: (s["id"] not in likely, -int(s["time"] or 0)))
        shown = [f"session {s['id']} ({s['user']}@{s['host']}, {s['command']} for {s['time']} s)" for s in others]
        guess = "perhaps " if len(others) > 1 and not named else ""
        return guess + (" or " if guess else " and ").join(shown[:_SHOWN])


class FileWatch:
    """A watch of a SQLite file, where only the writer's lock makes others wait; ``seconds``: the longest wait."""

    def __init__(self, file: Path, seconds: float) -> None:
        self.seconds = seconds
        self.noted = ""
        self._file = file

    def patiently(self, attempt: Callable[[], _T]) -> _T:
        """Run ``attempt`` and return its result; try again, and report it, while another process writes."""
        value = patiently(attempt, _is_locked, self._tell, self.seconds)
        self.noted = ""
        return value

    def _tell(self) -> None:
        if not self.noted:
            writer = _writer_of(self._file)
            self.noted = f"on {self._file}" + (f", process {writer}" if writer else "")
            limit = f"waiting up to {self.seconds:g} s (LOCK_WAIT_SECONDS)"
            _log.warning("another session holds the lock of the writer %s; %s", self.noted, limit)


def _is_locked(error: Exception) -> bool:
    return "database is locked" in str(error)


def _writer_of(file: Path) -> int | None:
    """Return the process that holds the write lock of a SQLite file in WAL mode, if the kernel tells (Linux)."""
    try:
        index = file.with_name(f"{file.name}-shm").stat().st_ino
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    # "1: POSIX ADVISORY WRITE <process> <device>:<inode> <first byte> <last byte>"; byte 120 is the writer's
    writers = (int(lock[4]) for lock in locks if len(lock) == 8 and lock[3] == "WRITE" and lock[6] == "120"
               and lock[5].endswith(f":{index}"))  # fmt: skip
    return next(writers, None)


def _sessions(connection: ServerConnection) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW FULL PROCESSLIST")
        names = [column[0].lower() for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _numbers(connection: ServerConnection, query: str, parameters: tuple[Any, ...] = ()) -> set[int]:
    try:
        with connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return {int(number) for (number,) in cursor.fetchall()}
    except err.MySQLError:
        return set()  # a server without that table, or a user without the right to it


def is_lock_error(code: int | None) -> bool:
    """Tell whether this is the server's error number of a statement that was given up because of a lock."""
    return code in (ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK)


def patiently(
    attempt: Callable[[], _T], refused: Callable[[Exception], bool], tell: Callable[[], None], seconds: float
) -> _T:
    """Run ``attempt`` and return its result; try again, with pauses, while its error is ``refused``, because of a lock.

    ``tell`` is called after each attempt that was refused; after ``seconds`` the last refusal is raised.
    """
    deadline, tried = time.monotonic() + seconds, 0
    while True:
        try:
            return attempt()
        except Exception as error:
            if not refused(error) or time.monotonic() >= deadline:
                raise
        tell()
        pause = PAUSES[min(tried, len(PAUSES) - 1)]
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        tried += 1


def given_up(where: str, what: str, seconds: float) -> WriteConflictError:
    """Return the error at the end of a wait."""
    reason = f"after {seconds:g} s (LOCK_WAIT_SECONDS) another session still holds a lock {what}"
    return WriteConflictError(f"{where}: {reason}; end that session or its transaction, then run the step again")
