"""A watch that also knows whom the user_ids mean, and that they are about to mean others.

It asks on the thread and the connection of the watch, so no long look at the tables delays the question. Until the time
that is ``due``, the people cannot have been replaced without an announcement that the next question would find: a step
waits so long between the two. A request that comes later, because this process stood still, waits for the next answer.
A database that does not answer is away: then nobody waits, and answers come from memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import perf_counter

from sqlalchemy import Engine

from recommender.database import WAIT, database_errors, is_announced, read_token
from recommender.updates.database_watch import DatabaseWatch
from recommender.updates.served import ANNOUNCED, Served

MOST_BEHIND = 0.25  # seconds that a request waits for an answer that is late


class PeopleWatch(DatabaseWatch):
    """The watch of a service; the only one who writes ``state.people`` and ``state.due``."""

    def __init__(self, state: Served, connect: Callable[[], Engine], *, known_up: bool) -> None:
        super().__init__(connect, known_up=known_up)
        self._state = state

    async def people_known(self) -> None:
        """Wait until it is known again whom the user_ids mean; return also if the database does not tell in time."""
        until = perf_counter() + MOST_BEHIND
        while perf_counter() > self._state.due:
            if perf_counter() > until:
                self._state.due = inf
            await asyncio.sleep(0.002)

    def _ask(self) -> bool:
        answered = super()._ask()
        if not answered:
            self._state.due = inf
        return answered

    def _greet(self) -> None:
        engine, model = self.engine(), self._state.model
        with database_errors(engine), engine.connect() as connection:
            started = perf_counter()
            announced = is_announced(connection)  # first: if others come after this question, the next one finds out
            self.answered()  # that question names no table; the next one may have to wait for a lock
            if announced:
                self._state.people, self._state.due = ANNOUNCED, inf
                return
            people = read_token(connection, noted=model is not None and model.people is not None)
        self._state.people, self._state.due = people, started + WAIT
