"""The updater of the served model: it takes over own writes at once, and changes by others within a second.

One thread reads and writes the tables and makes the model's successor of what it has read (`newest_model`). The event
loop replaces the served model by it between two requests. So a write is first stored, then counted,
then acknowledged, and no request sees half of a change. The number of the published version is read on another thread,
since that question has to wait while versions are swapped, or while a long query reads the lists.

A newer model (another published version, another model file, or one made because so many changes slow answers down) is
made beside the served one. It is given the changes since it was made and then replaces the served one. If it cannot be
loaded, the log says so, and the old one goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine

from recommender.database import INTERVAL, database_errors
from recommender.errors import DatabaseError, OtherPeopleError, RecommenderError
from recommender.live import LiveModel, with_ratings
from recommender.model import ServedModel
from recommender.publishing import published_number
from recommender.shop import UserId
from recommender.updates.model_source import ModelSource, Stamp
from recommender.updates.newest_model import Job, NewestModel, are_others, most_changed
from recommender.updates.people_watch import PeopleWatch
from recommender.updates.records import optional_tables, read_records, with_names
from recommender.updates.served import ANNOUNCED, Served

PATIENCE = 1.8  # seconds that a write may take
PAUSE = 10.0  # least seconds between a new model and one that is made only to contain changes
RETRY = 30.0  # seconds until a model that could not be loaded is tried again
LATE = 5.0  # seconds without a look at the tables after which the service counts as degraded
AWAY = "the database does not answer"
NOT_SEEN = "the tables cannot be looked at: another session may hold a lock"
OTHER_PEOPLE = (
    "step 2 replaced the people: the user_ids mean others than those of the served model, or the ratings have another "
    "scale"
)
BEING_REPLACED = "step 2 is replacing the people: the user_ids are about to mean others"
NOT_COUNTED = "changes have yet to be counted: a newer model is being made"
_log = logging.getLogger("uvicorn.error")

Found = TypeVar("Found")


class ModelUpdater(PeopleWatch):
    """The watch of a service; ``state.model`` is a ``LiveModel`` from `serve` on."""

    def __init__(self, state: Served, connect: Callable[[], Engine], source: ModelSource, *, known_up: bool) -> None:
        super().__init__(state, connect, known_up=known_up)
        self._source = source
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stamp: Stamp = None
        self._loading: asyncio.Task[None] | None = None
        self._failed: tuple[Stamp, float] = (None, 0.0)  # what could not be loaded, and when to try again
        self._spoiled = False  # whether the served model lacks a change
        self._rested_at = 0.0  # until then no model is made only to contain changes
        self._newest = NewestModel(self.engine, self, includes_changes=source.includes_changes)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="changes")
        self._asking_version = ThreadPoolExecutor(1, thread_name_prefix="version")
        self._seen = time.monotonic()
        self._looked = asyncio.Event()
        self._late = False  # whether the log says so
        self.published: int | None = None
        self.changes_seen_at = datetime.now(UTC)  # the changes up to this time are counted
        self.failed_loads = 0
        self.load_failure = ""  # why the newest model could not be loaded; empty: it could

    def serve(self, model: ServedModel) -> None:
        """Begin with this model, which the source has just loaded."""
        self._state.model = LiveModel.of(model)
        self._newest.begin(self._state.model)
        self._stamp = self._source.loaded
        read_at = model.cursor.read_at  # by the database's clock, 0: not known
        self.changes_seen_at = datetime.fromtimestamp(read_at / 1e6, UTC) if read_at else model.built_at

    @property
    def model(self) -> LiveModel:
        """The model that is served now."""
        assert self._state.model is not None
        return self._state.model

    @property
    def other_people(self) -> bool:
        """Whether the user_ids of the tables mean other people than those of the served model."""
        return self._state.people != ANNOUNCED and self._state.means_others(self.model)

    @property
    def lag(self) -> float:
        """Seconds since the last look for changes in the tables."""
        return time.monotonic() - self._seen

    @property
    def fault(self) -> tuple[str, datetime] | None:
        """What is wrong, in words, and since when (UTC); None if nothing is."""
        if (since := self.degraded_since) is not None:
            return AWAY, since
        if self._state.means_others(self.model):
            return OTHER_PEOPLE if self.other_people else BEING_REPLACED, self.changes_seen_at
        return (NOT_COUNTED if self._spoiled else NOT_SEEN, self.changes_seen_at) if self.lag > LATE else None

    async def run(self) -> None:
        """Look for changes until cancelled."""
        self._loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(work) for work in (super().run(), self._follow(), self._follow_versions())]
        try:
            while True:
                self.attempt(self._load_if_newer)
                await asyncio.sleep(0.2)
        finally:
            for task in (*tasks, *([self._loading] if self._loading else [])):
                task.cancel()

    async def first_look(self, seconds: float) -> None:
        """Wait for the first look at the people and the tables, until what it found is counted.

        Return also once a look has failed, or the database has been silent for so many seconds.
        """
        started = time.monotonic()
        while time.monotonic() - max(started, self._last_answer) < seconds:
            if self._looked.is_set() and self.asked:
                return
            await asyncio.sleep(0.005)

    async def _follow(self) -> None:
        """Look at the tables again and again while the database answers."""
        loop = asyncio.get_running_loop()
        while True:
            if self.is_up or not self.asked:
                answered = await loop.run_in_executor(self._thread, self.attempt, self._look_for_changes)
                self.errors += not answered
                if answered and self._newest.busy:
                    continue  # with the next piece; writes had their turn in between
                self._looked.set()
            await asyncio.sleep(INTERVAL)

    async def _follow_versions(self) -> None:
        """Read the number of the published version again and again; a number stands until the next one is read."""
        loop = asyncio.get_running_loop()
        while True:
            if self.is_up:
                await loop.run_in_executor(self._asking_version, self.attempt, self._look_for_version)
            await asyncio.sleep(INTERVAL)

    def failed(self, error: RecommenderError) -> None:
        """Log once that the tables have not been read for too long, and why, though the database answers."""
        if self.is_up and self.lag > LATE and not self._late:
            self._late = True
            _log.warning("changes by others are not seen since %s: %s", f"{self.changes_seen_at:%H:%M:%S} UTC", error)

    def _leave(self) -> None:
        """Close the connections once the other threads have ended."""
        for thread in (self._thread, self._asking_version):
            thread.shutdown(wait=True)
        super()._leave()

    async def write(self, user_id: UserId, job: Job, *, new: bool = False) -> None:
        """Run ``job`` in a transaction, then count what the tables hold of the user; return once both are done.

        ``job`` gets the connection and the stored number of the user, whom the shop calls ``user_id``. ``new``: a user
        whom nobody knows is given a number in the same transaction; without it that is an UnknownUserError.

        Raises DatabaseError if the database is away or slow. Nothing was stored then, unless the database went away or
        was slow during the commit: then the write may be stored. Also raises whatever ``job`` raises.
        """
        if self.asked and not self.is_up:
            raise DatabaseError("the database is away")
        deadline = time.monotonic() + PATIENCE
        store = partial(self._newest.store, user_id, job, deadline, new=new)
        future = asyncio.get_running_loop().run_in_executor(self._thread, store)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it
        try:
            await asyncio.wait_for(asyncio.shield(future), PATIENCE + 0.1)
        except TimeoutError:
            raise DatabaseError("the database does not answer") from None

    async def read(self, job: Callable[[Engine], Found]) -> Found:
        """Return what ``job`` reads from the tables, on another thread. DatabaseError if they are away or slow."""
        if self.asked and not self.is_up:
            raise DatabaseError("the database is away")
        reading = asyncio.ensure_future(asyncio.to_thread(lambda: job(self.engine())))
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it
        try:
            return await asyncio.wait_for(asyncio.shield(reading), PATIENCE + 0.1)
        except TimeoutError:
            raise DatabaseError("the database does not answer") from None

    async def suppose(self, model: LiveModel, user_id: int, ratings: Mapping[str, int]) -> LiveModel:
        """Return the model that would follow if the user gave these ratings, in steps of the scale; 0: took one away.

        Nothing is stored. DatabaseError, OtherPeopleError, UnknownProductError.
        """

        def job(engine: Engine) -> LiveModel:
            there = optional_tables(engine)
            with database_errors(engine), engine.connect() as connection:
                if are_others(connection, model):
                    raise OtherPeopleError("the user_ids have come to mean other people")
                records = read_records(connection, [user_id], there, model.matrix.scale)
                (record,) = with_names(connection, records) if model.ids.is_text else records
            return with_ratings(model, record, ratings, int(time.time() * 1e6))

        return await self.read(job)

    # ---- on a thread of its own ----------------------------------------------------------------------------------

    def _look_for_version(self) -> None:
        engine = self.engine()
        with database_errors(engine), engine.connect() as connection:
            self.published = published_number(connection)

    # ---- on the thread of the tables -----------------------------------------------------------------------------

    def _look_for_changes(self) -> None:
        moment = self._newest.look()
        if moment is not None and not self._spoiled:
            self._have_seen(moment)

    def counted(self, model: LiveModel) -> None:
        """Let this model be served, which has more changes."""
        self._soon(self._replace, model)

    def lacking(self) -> None:
        """Note that the served model lacks changes."""
        self._soon(self._spoil)

    def _have_seen(self, now: datetime) -> None:
        self.changes_seen_at, self._seen = now, time.monotonic()
        if self._late:
            self._late = False
            _log.info("changes by others are seen again")

    def _catch_up(self, base: ServedModel, stamp: Stamp) -> None:
        """Give a new model the changes since it was made, and serve it."""
        model, moment = self._newest.catch_up(base)
        self._soon(self._swap, model, stamp)
        if moment is not None:
            self._have_seen(moment)
        self._newest.pass_over()

    def _soon(self, call: Callable[..., object], *given: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(call, *given)

    # ---- on the event loop ---------------------------------------------------------------------------------------

    def _replace(self, model: LiveModel) -> None:
        """Answer with this model from now on."""
        self._state.model = model

    def _spoil(self) -> None:
        """Note that the served model lacks changes, which only a model made from scratch will have."""
        self._spoiled = True

    def _swap(self, model: LiveModel, stamp: Stamp) -> None:
        self._spoiled, self.load_failure = False, ""
        self._state.model, self._stamp = model, stamp
        what = "a model of the tables as they are" if model.version is None else f"version {model.version}"
        _log.info("serving %s, made %s", what, model.built_at.isoformat(timespec="seconds"))

    def _load_if_newer(self) -> None:
        if self._loading is not None and not self._loading.done():
            return
        stamp, changed = self._source.stamp(), len(self.model.changes.users)
        if stamp == self._failed[0] and time.monotonic() < self._failed[1]:
            return
        outdated = self._source.includes_changes and (
            changed > most_changed(self.model) or self._spoiled or self.other_people
        )
        outdated = outdated and time.monotonic() > self._rested_at
        if (stamp is not None and stamp != self._stamp) or outdated:
            self._loading = asyncio.create_task(self._load(stamp))

    async def _load(self, stamp: Stamp) -> None:
        loop, started = asyncio.get_running_loop(), time.monotonic()
        try:
            base = await asyncio.to_thread(self._source.load)
            await loop.run_in_executor(self._thread, self._catch_up, base, self._source.loaded)
            self._rested_at = time.monotonic() + max(PAUSE, 3 * (time.monotonic() - started))
        except Exception as error:
            self.failed_loads += 1
            self._failed = stamp, time.monotonic() + RETRY
            known = isinstance(error, RecommenderError)
            self.load_failure = str(error) if known else "an unforeseen error; it is in the server's log"
            _log.error("the newer model is not served, the old one goes on: %s", error, exc_info=not known)
