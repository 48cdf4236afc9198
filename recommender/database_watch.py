"""Is the database there? Asked in the background, so that no request ever waits for a database that is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from sqlalchemy import Engine, text

from recommender.database import database_errors
from recommender.errors import RecommenderError

INTERVAL = 0.4  # seconds between two questions
SILENCE = 1.8  # seconds without an answer after which the database counts as away
_log = logging.getLogger("uvicorn.error")


class DatabaseWatch:
    """Asks the database all the time on a thread of its own; ``is_up`` answers at once.

    ``connect`` gives an engine or raises a RecommenderError; it is called on that thread until it succeeds once.
    ``known_up``: the database answered a moment ago.
    """

    def __init__(self, connect: Callable[[], Engine], *, known_up: bool) -> None:
        self._connect = connect
        self._engine: Engine | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._last_answer = time.monotonic() if known_up else float("-inf")
        self._silent_since = datetime.now(UTC)
        self._fault = ""
        self._closed = False
        self.asked = known_up  # was there a question yet?
        self.errors = 0  # questions that were not answered

    @property
    def is_up(self) -> bool:
        """Has the database answered within the last seconds?"""
        return time.monotonic() - self._last_answer < SILENCE

    @property
    def degraded_since(self) -> datetime | None:
        """When the database last answered (UTC), or was first asked if it never did; None while it answers."""
        return None if self.is_up else self._silent_since

    async def run(self) -> None:
        """Ask until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not await loop.run_in_executor(self._thread, self._ask):
                self.errors += 1
            await asyncio.sleep(INTERVAL)

    def answered(self) -> None:
        """Note that the database has just answered; on the watch's thread."""
        self._last_answer, self._silent_since = time.monotonic(), datetime.now(UTC)

    def engine(self) -> Engine:
        """The engine, connected when it is first asked for; on the watch's thread. RecommenderError."""
        if self._engine is None:
            self._engine = self._connect()
        return self._engine

    def question(self) -> None:
        """What is asked, on the watch's thread; raises a RecommenderError if there is no answer."""
        engine = self.engine()
        with database_errors(engine), engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def _ask(self) -> bool:
        if self._closed:
            return False
        try:
            self.question()
        except RecommenderError:
            return False  # shown by is_up, which is what this class is for
        except Exception as error:  # a fault of ours must not end the watch; told once
            if repr(error) != self._fault and not self._closed:  # there is nobody left to hand the answer to
                self._fault = repr(error)
                _log.exception("the tables could not be looked at")
            return False
        else:
            self.answered()
            return True
        finally:
            self.asked = True

    def close(self) -> None:
        """Let the thread end by itself; a question that hangs is bounded by the connection's time-outs."""
        self._closed = True
        self._thread.submit(self._leave)
        self._thread.shutdown(wait=False)

    def _leave(self) -> None:
        """Close the connections, after whatever still ran on the thread."""
        if self._engine is not None:
            self._engine.dispose()
