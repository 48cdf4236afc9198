"""A feed of the users who have changed since a model was built, read from the tables again and again.

No look reads a table in full. Ratings are read by ``updated_at`` (`recommender.updates.followed_ratings`), interactions
and deletions by their ids (`recommender.updates.followed_ids`). Each look reads a bounded number of rows; `Look.rest`
tells that there are more.

All times are the database's. ``updated_at`` is expected near its UTC clock, or near the clock of its default time zone,
which is what a default of CURRENT_TIMESTAMP writes where an INSERT leaves the column out. A row that is dated years
ahead is found once; it neither hides nor repeats any other.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection

from recommender.database import LOGS, reaches_back, read_clocks
from recommender.database.schema import deletions, interactions
from recommender.shop import Cursor
from recommender.updates.followed_ids import MOST_ROWS, FollowedIds, IdRows
from recommender.updates.followed_ratings import FollowedRatings, RatingLook


class Look(NamedTuple):
    """The result of one look; it is given back to `ChangeFeed.keep` once the changes are counted.

    ``missed``: deletions may have been made that the log no longer notes (`recommender.database.deletions_log`).
    """

    users: set[int]
    ratings: RatingLook
    logs: dict[str, IdRows]
    missed: bool

    @property
    def rest(self) -> bool:
        """Whether there is more to be read at once."""
        return self.ratings.skipped is not None or any(len(rows.above) == MOST_ROWS for rows in self.logs.values())


class ChangeFeed:
    """The users who have changed since a cursor; each look gives those since the last look that was kept.

    ``name_crowds`` False: a crowd of ratings is reported (`RatingLook.crowd`), but its users are not named.
    """

    def __init__(self, cursor: Cursor, there: frozenset[str], *, name_crowds: bool = True) -> None:
        self._tables, self._name_crowds = there, name_crowds
        self._ratings = FollowedRatings(cursor)
        self._logs = {
            interactions.name: FollowedIds(cursor.interaction_id, cursor.interaction_gaps),
            deletions.name: FollowedIds(cursor.deletion_id, cursor.deletion_gaps),
        }

    def look(self, connection: Connection) -> Look:
        """Return the users with a rating, interaction or deletion that is new since the last `keep`.

        A look changes nothing: the next one gives the same users again.
        """
        found = self._ratings.look(connection, read_clocks(connection), name_crowds=self._name_crowds)
        users, logs = set(found.users), {}
        for name, columns in LOGS.items():
            if name in self._tables:
                logs[name] = self._logs[name].look(connection, *columns)
                users |= self._logs[name].new_users(logs[name])
        return Look(users, found, logs, self._missed(connection, logs.get(deletions.name)))

    def _missed(self, connection: Connection, rows: IdRows | None) -> bool:
        last = self._logs[deletions.name].newest
        if rows is None or (rows.newest is None and max(rows.above, default=last) <= last):
            return False  # nothing was noted since the last look
        return not reaches_back(connection, last)

    def keep(self, look: Look) -> None:
        """Note that the changes of this look are counted: the next look gives later ones."""
        self._ratings.keep(look.ratings)
        for name, rows in look.logs.items():
            self._logs[name].keep(rows)
