"""A watch that asks in the background whether the database answers, so that no request waits for one that is away.

The question names no table, so no lock can hold up its answer. It is asked on a thread and a connection of its own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, event, text

from recommender.database import INTERVAL, database_errors, is_mysql
from recommender.errors import RecommenderError

SILENCE = 1.8  # seconds without an answer after which the database counts as away
LOCK_WAIT = 1  # seconds that a statement waits for a lock of others; less than the time-out of a connection
_log = logging.getLogger("uvicorn.error")


class DatabaseWatch:
    """A thread that asks the database all the time; ``is_up`` answers at once.

    ``connect`` returns an engine or raises a RecommenderError. It is called until it succeeds once, by one thread at a
    time. ``known_up``: the database answered a moment ago.
    """

    def __init__(self, connect: Callable[[], Engine], *, known_up: bool) -> None:
        self._connect = connect
        self._engine: Engine | None = None
        self._connecting = threading.Lock()
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._last_answer = time.monotonic() if known_up else float("-inf")
        self._silent_since = datetime.now(UTC)
        self._faults: dict[Callable[[], object], str] = {}  # of each question, the one that was logged last
        self._closed = False
        self.asked = False  # whether the database was asked yet
        self.errors = 0  # questions that were not answered

    @property
    def is_up(self) -> bool:
        """Whether the database has answered within the last ``SILENCE`` seconds."""
        return time.monotonic() - self._last_answer < SILENCE

    @property
    def degraded_since(self) -> datetime | None:
        """The time (UTC) of the last answer, or of the first question without one; None while the database answers."""
        return None if self.is_up else self._silent_since

    async def run(self) -> None:
        """Ask until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not await loop.run_in_executor(self._asking, self._ask):
                self.errors += 1
            await asyncio.sleep(INTERVAL)

    def answered(self) -> None:
        """Note that the database has just answered."""
        self._last_answer, self._silent_since = time.monotonic(), datetime.now(UTC)

    def engine(self) -> Engine:
        """Return the engine; the first call connects. Never call this on the event loop. RecommenderError."""
        with self._connecting:
            if self._engine is None:
                self._engine = bounded_waits(self._connect())
            return self._engine

    def _ask(self) -> bool:
        try:
            return self.attempt(self._greet)
        finally:
            self.asked = True

    def _greet(self) -> None:
        engine = self.engine()
        with database_errors(engine), engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        self.answered()

    def attempt(self, question: Callable[[], object]) -> bool:
        """Ask the question and tell whether it was answered; a RecommenderError counts as no answer.

        Any other exception is a fault of the code. It is logged once and does not end the watch.
        """
        if self._closed:
            return False
        try:
            question()
        except RecommenderError as error:
            self.failed(error)
            return False
        except Exception as error:
            if repr(error) != self._faults.get(question) and not self._closed:  # after `close` nobody needs the answer
                self._faults[question] = repr(error)
                _log.exception("the watch of the database and the model goes on after an unforeseen error")
            return False
        return True

    def failed(self, error: RecommenderError) -> None:
        """Take note of the error that a question ended in; called on the thread of the question."""

    def close(self) -> None:
        """Let the thread end by itself; a question that hangs is bounded by the connection's time-outs."""
        self._closed = True
        self._asking.submit(self._leave)
        self._asking.shutdown(wait=False)

    def _leave(self) -> None:
        """Close the connections, which are not used any more."""
        if self._engine is not None:
            self._engine.dispose()


def bounded_waits(engine: Engine) -> Engine:
    """Return the engine; on its connections no statement waits longer than ``LOCK_WAIT`` seconds for a lock of others.

    Without this bound a statement on a locked table would wait until the connection's time-out. The time-out breaks the
    connection off and leaves open whether the statement went through. On SQLite the time that
    `recommender.database.connection.connect` was given applies.
    """
    if is_mysql(engine):

        @event.listens_for(engine, "connect")
        def _bound(connection: Any, _record: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}, innodb_lock_wait_timeout = {LOCK_WAIT}")

        engine.dispose()  # the connection that was tried before has no bound
    return engine
