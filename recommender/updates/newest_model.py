"""The newest model, with every change that was read, on the one thread that reads and writes the tables.

One question after the other: a write is stored, then counted. What comes of it is told to the updater, which lets it be
served.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, Engine

from recommender.database import database_errors, read_token, retried, writing
from recommender.errors import DatabaseError, OtherPeopleError
from recommender.live import LiveModel, UserRecord
from recommender.model import ServedModel
from recommender.shop import Product, UserId
from recommender.updates.following import Following
from recommender.updates.records import optional_tables, read_facts, read_records, with_names
from recommender.updates.writes import prepare, stored_number

MOST_CHANGED, CHANGED_SHARE = 2_000, 50  # users, or one user in so many: then a model is made from scratch
TOGETHER = 16  # changes that are counted at once: a few milliseconds
_log = logging.getLogger("uvicorn.error")

Job = Callable[[Connection, int], object]
Facts = dict[bytes, Product | None]


class Told(Protocol):
    """Who is told what was read; called on the thread of the tables."""

    def answered(self) -> None:
        """The database has just answered."""

    def counted(self, model: LiveModel) -> None:
        """This model has more changes than the served one."""

    def lacking(self) -> None:
        """The served model lacks changes, which only a model made from scratch will have."""


class NewestModel:
    """The newest model. ``includes_changes``: a model that is loaded again contains all changes.

    All methods but `most_changed` are called on one thread.
    """

    def __init__(self, engine: Callable[[], Engine], told: Told, *, includes_changes: bool) -> None:
        self._engine, self._told = engine, told
        self._includes_changes = includes_changes
        self._there: frozenset[str] | None = None
        self._following: Following | None = None
        self._handed_over = False  # whether the served model has changes
        self._newest: LiveModel | None = None

    def begin(self, model: LiveModel) -> None:
        """Begin with this model, which is served."""
        self._newest = model

    @property
    def model(self) -> LiveModel:
        """The model with all changes that were read."""
        assert self._newest is not None
        return self._newest

    @property
    def busy(self) -> bool:
        """Whether there are more changes to be read at once."""
        return self._following is not None and self._following.busy

    def look(self) -> datetime | None:
        """Count the next piece of the changes. Return the moment up to which all are counted; None if more are left."""
        engine, model = self._engine(), self.model
        if (following := self._following) is None:
            following = self._following = self._follow(model)
        with database_errors(engine), engine.connect() as connection:
            if are_others(connection, model):
                return None  # the rows of the tables are not about the people of this model
            self._count(*self._piece(connection, following, model))
        following.counted()
        self.pass_over()
        return None if following.busy else following.looked_at

    def pass_over(self) -> None:
        """Tell that the served model lacks changes, if users were passed over."""
        following = self._following
        if following is not None and following.overflow:
            following.overflow, self._handed_over = False, True
            self._told.lacking()

    def store(self, user_id: UserId, job: Job, deadline: float, *, new: bool) -> None:
        """Run ``job`` in a transaction, then count what the tables hold of the user; see `ModelUpdater.write`."""
        _in_time(deadline)
        engine, model = self._engine(), self.model
        self._tables()

        def transaction() -> tuple[list[UserRecord], Facts]:
            with writing(engine) as connection:
                _in_time(deadline)
                if model.people is not None and read_token(connection, noted=True) != model.people:
                    raise OtherPeopleError("the user_ids have come to mean other people")
                number = stored_number(connection, model.ids, user_id, new)
                job(connection, number)
                records, facts = self._read(connection, {number}, model)
                if model.ids.is_text:  # the transaction may not see that another worker has just entered the user
                    records = [replace(record, name=str(user_id)) for record in records]
                _in_time(deadline)
            return records, facts

        found = retried(transaction, deadline)
        self._told.answered()
        self._count(*found)

    def catch_up(self, base: ServedModel) -> tuple[LiveModel, datetime | None]:
        """Give a new model the changes since it was made; it is the newest from now on.

        Also return the moment up to which all are counted; None if the database is away.
        """
        model, following = LiveModel.of(base), None
        try:
            engine = self._engine()
            following = self._follow(model)
            while True:
                with database_errors(engine), engine.connect() as connection:
                    if are_others(connection, model):
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
        return model, None if following is None else following.looked_at

    def _follow(self, model: LiveModel) -> Following:
        return Following(model, self._tables(), includes_changes=self._includes_changes)

    def _piece(self, connection: Connection, following: Following, model: LiveModel) -> tuple[list[UserRecord], Facts]:
        users = following.piece(connection, model, most_changed(model))
        self._told.answered()
        return self._read(connection, set(users), model)

    def _tables(self) -> frozenset[str]:
        if self._there is None:
            try:
                prepare(self._engine())
            except DatabaseError as error:
                _log.warning("nothing can be deleted through this service: %s", error)
            self._there = optional_tables(self._engine())
        return self._there

    def _read(self, connection: Connection, user_ids: set[int], model: LiveModel) -> tuple[list[UserRecord], Facts]:
        given = self._tables(), model.matrix.scale
        records = read_records(connection, user_ids, *given) if user_ids else []
        records = with_names(connection, records) if model.ids.is_text else records
        for record in records:
            record.profile(model.weights)  # here, not on the event loop
        return records, read_facts(connection, model.unknown_products(records))

    def _count(self, records: list[UserRecord], facts: Facts) -> None:
        """Count the changes, and let the model that has them be served."""
        model = self.model
        for start in range(0, len(records), TOGETHER):
            model = self._with(model, records[start : start + TOGETHER], facts)
            time.sleep(0)  # requests have their turn
        if records:
            self._newest, self._handed_over = model, True
            self._told.counted(model)

    def _with(self, model: LiveModel, records: list[UserRecord], facts: Facts) -> LiveModel:
        """Return the model with these changes, but for those that a fault of the code keeps out."""
        try:
            return model.after(records, facts)
        except Exception:
            if len(records) == 1:  # a model with all changes is made
                _log.exception("a change of user %s could not be counted", records[0].user_id)
                self._told.lacking()
                return model
        for record in records:
            model = self._with(model, [record], facts)
        return model


def most_changed(model: LiveModel) -> int:
    """Return how many users may have changed before a model is made from scratch."""
    return max(MOST_CHANGED, len(model.known_users) // CHANGED_SHARE)


def are_others(connection: Connection, model: ServedModel) -> bool:
    """Tell whether the user_ids of the tables mean other people than the model's."""
    return read_token(connection, noted=model.people is not None) != model.people


def _in_time(deadline: float) -> None:
    """Raise DatabaseError after the deadline, before the commit: the caller was told that nothing was stored."""
    if time.monotonic() > deadline:
        raise DatabaseError("the database took too long")
