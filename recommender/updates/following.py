"""The changes of the tables that a model has yet to take, in bounded pieces.

A piece is ``PEOPLE`` users at most, to be read and counted. If more users have changed than are worth counting one by
one, and a model can be made from scratch, they are passed over: ``overflow`` tells the caller to make one.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from sqlalchemy import Connection

from recommender.live import LiveModel
from recommender.updates.change_feed import ChangeFeed, Look
from recommender.updates.reconciliation import Difference, Reconciliation
from recommender.updates.records import read_differing

PEOPLE = 100
COMPARE_EVERY = 1.0  # seconds
_log = logging.getLogger("uvicorn.error")


class Following:
    """The users to be read, in pieces; a piece is given again until it is counted.

    ``includes_changes``: a model loaded again contains all changes.
    """

    def __init__(self, model: LiveModel, there: frozenset[str], *, includes_changes: bool) -> None:
        self._feed = ChangeFeed(model.cursor, there, name_crowds=not includes_changes)
        self._reconciliation = Reconciliation(model.matrix)
        self._look: Look | None = None
        self._difference: Difference | None = None
        self._left: list[int] = []
        self._includes_changes, self._rest = includes_changes, False
        self.looked_at = datetime.now(UTC)  # when the look began that the users of the pieces come from
        self.overflow = False  # whether users were passed over just now
        self._compared_at = float("-inf")
        self._incomplete = False  # whether users were ever passed over: then comparing is pointless

    @property
    def busy(self) -> bool:
        """Whether there is more to be read at once."""
        return bool(self._left) or self._rest

    @property
    def rounds(self) -> int:
        """The number of times that all ratings were compared with the model's."""
        return self._reconciliation.rounds

    def piece(self, connection: Connection, model: LiveModel, most: int) -> list[int]:
        """Return the next users to be read; ``most``: the most users of one look that are counted one by one."""
        if not self._left:
            self._begin(connection, model, most)
        return self._left[:PEOPLE]

    def counted(self) -> None:
        """Note that the users of the last piece are counted."""
        self._left = self._left[PEOPLE:]
        if self._left:
            return
        if self._look is not None:
            self._feed.keep(self._look)
        if self._difference is not None:
            self._reconciliation.keep(self._difference)
        self._look = self._difference = None

    def _may_compare(self) -> bool:
        """Tell whether the next range of ratings may be compared now; if so, the range after it has to wait."""
        now = time.monotonic()
        if now < self._compared_at + COMPARE_EVERY:
            return False
        self._compared_at = now
        return True

    def _begin(self, connection: Connection, model: LiveModel, most: int) -> None:
        self._difference, self.looked_at = None, datetime.now(UTC)
        self._look = look = self._feed.look(connection)
        self._rest = look.rest
        users = set(look.users)
        if look.missed:
            _log.warning("the log of deletions does not reach back to this model: everybody in it is looked for")
            users |= read_differing(connection, model)
        if self._includes_changes and (look.ratings.crowd or len(users) > most):
            self.overflow = self._incomplete = True
            return
        if self._may_compare() and not (look.rest or self._incomplete or len(users) > PEOPLE):
            self._difference = self._reconciliation.look(connection, model)
            users |= self._difference.users.keys()
        self._left = sorted(users)
