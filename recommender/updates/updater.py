"""The updater of the served model: it takes over own writes at once, and changes by others within a second.

One thread reads and writes the tables, one question after the other, and makes the model's successor of what it has
read. The event loop replaces the served model by it between two requests. So a write is first stored, then counted,
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
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, Engine

from recommender.database import INTERVAL, database_errors, read_token, retried, writing
from recommender.errors import DatabaseError, OtherPeopleError, RecommenderError
from recommender.live import LiveModel, UserRecord, with_ratings
from recommender.model import ServedModel
from recommender.publishing import published_number
from recommender.shop import Product, UserId
from recommender.updates.following import Following
from recommender.updates.model_source import ModelSource, Stamp
from recommender.updates.people_watch import PeopleWatch
from recommender.updates.records import optional_tables, read_facts, read_records, with_names
from recommender.updates.served import ANNOUNCED, Served
from recommender.updates.writes import prepare, stored_number

PATIENCE = 1.8  # seconds that a write may take
MOST_CHANGED, CHANGED_SHARE = 2_000, 50  # users, or one user in so many: then a model is made from scratch
PAUSE = 10.0  # least seconds between a new model and one that is made only to contain changes
TOGETHER = 16  # changes that are counted at once: a few milliseconds
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

Job = Callable[[Connection, int], object]
Facts = dict[bytes, Product | None]
Found = TypeVar("Found")


class ModelUpdater(PeopleWatch):
    """The watch of a service; ``state.model`` is a ``LiveModel`` from `serve` on."""

    def __init__(self, state: Served, connect: Callable[[], Engine], source: ModelSource, *, known_up: bool) -> None:
        super().__init__(state, connect, known_up=known_up)
        self._source = source
        self._there: frozenset[str] | None = None
        self._following: Following | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stamp: Stamp = None
        self._loading: asyncio.Task[None] | None = None
        self._failed: tuple[Stamp, float] = (None, 0.0)  # what could not be loaded, and when to try again
        self._handed_over = False  # on the database's thread: whether the served model has changes
        self._spoiled = False  # whether the served model lacks a change
        self._rested_at = 0.0  # until then no model is made only to contain changes
        self._newest: LiveModel | None = None  # on the database's thread: with all changes that were read
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
        self._state.model = self._newest = LiveModel.of(model)
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
                self._load_if_newer()
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
                if answered and self._following is not None and self._following.busy:
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
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._store, (user_id, new), job, deadline)
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
                if self._are_others(connection, model):
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
        """Count the next piece of the changes."""
        engine, model = self.engine(), self._newest
        assert model is not None
        if (following := self._following) is None:
            following = self._following = Following(
                model, self._tables(), includes_changes=self._source.includes_changes
            )
        with database_errors(engine), engine.connect() as connection:
            if self._are_others(connection, model):
                return  # the rows of the tables are not about the people of this model
            self._count(*self._piece(connection, following, model))
        following.counted()
        self._pass_over(following)
        if not (following.busy or self._spoiled):
            self._have_seen(following.looked_at)

    def _pass_over(self, following: Following) -> None:
        if following.overflow:
            following.overflow, self._handed_over = False, True
            self._soon(self._spoil)

    def _piece(self, connection: Connection, following: Following, model: LiveModel) -> tuple[list[UserRecord], Facts]:
        users = following.piece(connection, model, self._most(model))
        self.answered()
        return self._read(connection, set(users), model)

    @staticmethod
    def _most(model: LiveModel) -> int:
        """Return how many users may have changed before a model is made from scratch."""
        return max(MOST_CHANGED, len(model.known_users) // CHANGED_SHARE)

    def _have_seen(self, now: datetime) -> None:
        self.changes_seen_at, self._seen = now, time.monotonic()
        if self._late:
            self._late = False
            _log.info("changes by others are seen again")

    @staticmethod
    def _are_others(connection: Connection, model: ServedModel) -> bool:
        """Tell whether the user_ids of the tables mean other people than the model's."""
        return read_token(connection, noted=model.people is not None) != model.people

    def _tables(self) -> frozenset[str]:
        if self._there is None:
            try:
                prepare(self.engine())
            except DatabaseError as error:
                _log.warning("nothing can be deleted through this service: %s", error)
            self._there = optional_tables(self.engine())
        return self._there

    def _read(self, connection: Connection, user_ids: set[int], model: LiveModel) -> tuple[list[UserRecord], Facts]:
        given = self._tables(), model.matrix.scale
        records = read_records(connection, user_ids, *given) if user_ids else []
        records = with_names(connection, records) if model.ids.is_text else records
        for record in records:
            record.profile(model.weights)  # here, not on the event loop
        return records, read_facts(connection, model.unknown_products(records))

    def _store(self, user: tuple[UserId, bool], job: Job, deadline: float) -> None:
        self._in_time(deadline)
        engine, model = self.engine(), self._newest
        assert model is not None
        self._tables()

        def transaction() -> tuple[list[UserRecord], Facts]:
            with writing(engine) as connection:
                self._in_time(deadline)
                if model.people is not None and read_token(connection, noted=True) != model.people:
                    raise OtherPeopleError("the user_ids have come to mean other people")
                number = stored_number(connection, model.ids, *user)
                job(connection, number)
                records, facts = self._read(connection, {number}, model)
                if model.ids.is_text:  # the transaction may not see that another worker has just entered the user
                    records = [replace(record, name=str(user[0])) for record in records]
                self._in_time(deadline)
            return records, facts

        found = retried(transaction, deadline)
        self.answered()
        self._count(*found)

    @staticmethod
    def _in_time(deadline: float) -> None:
        """Raise DatabaseError after the deadline, before the commit: the caller was told that nothing was stored."""
        if time.monotonic() > deadline:
            raise DatabaseError("the database took too long")

    def _count(self, records: list[UserRecord], facts: Facts) -> None:
        """Count the changes, and let the model that has them be served."""
        model = self._newest
        assert model is not None
        for start in range(0, len(records), TOGETHER):
            model = self._with(model, records[start : start + TOGETHER], facts)
            time.sleep(0)  # requests have their turn
        if records:
            self._newest, self._handed_over = model, True
            self._soon(self._replace, model)

    def _with(self, model: LiveModel, records: list[UserRecord], facts: Facts) -> LiveModel:
        """Return the model with these changes, but for those that a fault of the code keeps out."""
        try:
            return model.after(records, facts)
        except Exception:
            if len(records) == 1:  # a model with all changes is made
                _log.exception("a change of user %s could not be counted", records[0].user_id)
                self._soon(self._spoil)
                return model
        for record in records:
            model = self._with(model, [record], facts)
        return model

    def _soon(self, call: Callable[..., object], *given: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(call, *given)

    def _catch_up(self, base: ServedModel, stamp: Stamp) -> None:
        """Give a new model the changes since it was made, and serve it."""
        assert self._loop is not None
        model, following = LiveModel.of(base), None
        try:
            engine = self.engine()
            following = Following(model, self._tables(), includes_changes=self._source.includes_changes)
            while True:
                with database_errors(engine), engine.connect() as connection:
                    if self._are_others(connection, model):
                        raise OtherPeopleError("the model is of other people than the user_ids mean now")
                    model = model.after(*self._piece(connection, following, model))
                following.counted()
                if not following.busy:
                    break
        except DatabaseError:
            if self._handed_over:  # these changes would be lost until the database is back
                raise
            following = None
        self._handed_over = bool(model.changes.users)
        self._following, self._newest = following, model
        self._soon(self._swap, model, stamp)
        if following is not None:
            self._have_seen(following.looked_at)
            self._pass_over(following)

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
            changed > self._most(self.model) or self._spoiled or self.other_people
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
