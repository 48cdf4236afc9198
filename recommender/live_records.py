"""What the tables hold of some users now, and which users have changed since a model was built.

Nothing is read in full: ratings by ``updated_at`` (indexed), interactions and deletions by their ids. A row may become
visible after others that were written later, so each question goes back over the last ``OVERLAP`` seconds; what was
seen there before is not looked at again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from recommender.bulk_read import microseconds
from recommender.changes import Cursor
from recommender.database import database_errors, existing_tables
from recommender.live_users import UserRecord
from recommender.product_catalog import Product
from recommender.schema import ASIN_LENGTH, INTERACTION_TYPES, deletions, interactions, products, ratings, users

OVERLAP = 10  # seconds
_IDS_BEFORE = 10_000  # ids below the newest that a row may still come with
_AT_A_TIME = 400  # SQLite allows 999 parameters in its older versions
_EPOCH = datetime(1970, 1, 1)
_log = logging.getLogger("recommender")
Entry = tuple[bytes, int, int]
_KINDS = {name: kind for kind, name in enumerate(INTERACTION_TYPES)}


def read_cursor(engine: Engine) -> Cursor:
    """Where the tables are now: read it before them. DatabaseError."""
    there, now = existing_tables(engine), _microseconds(datetime.now(UTC).replace(tzinfo=None))
    newest = []
    with database_errors(engine), engine.connect() as connection:
        for column in (interactions.c.interaction_id, deletions.c.deletion_id):
            known = column.table.name in there
            newest.append(int(connection.execute(select(func.max(column))).scalar() or 0) if known else 0)
        updated = connection.execute(select(func.max(ratings.c.updated_at))).scalar() if ratings.name in there else None
    return Cursor(0 if updated is None else _microseconds(updated), newest[0], newest[1], now)


def optional_tables(engine: Engine) -> frozenset[str]:
    """Those of the tables that need not be there. DatabaseError."""
    return frozenset(existing_tables(engine) & {interactions.name, users.name, deletions.name})


def read_records(connection: Connection, user_ids: Iterable[int], there: frozenset[str]) -> list[UserRecord]:
    """Everything that the model takes from the tables about these users; ``there``: `optional_tables`.

    Rows that no model can be built from are left out with a line in the log.
    """
    wanted = sorted(set(user_ids))
    records = []
    for start in range(0, len(wanted), _AT_A_TIME):
        block = wanted[start : start + _AT_A_TIME]
        rated = _ratings(connection, block)
        events = _events(connection, block) if interactions.name in there else {}
        people = _people(connection, block) if users.name in there else {}
        for user in block:
            person = people.get(user, (None, None))
            own = tuple(rated.get(user, ())), tuple(events.get(user, ()))
            records.append(UserRecord(user, *own, user in people, *person))
    return records


def _ratings(connection: Connection, user_ids: list[int]) -> dict[int, list[Entry]]:
    c, found = ratings.c, dict[int, list[Entry]]()
    when = microseconds(connection.engine, c.created_at, "at")
    statement = select(c.user_id, c.product_id, c.rating, when).where(c.user_id.in_(user_ids))
    for user, product, stars, at in connection.execute(statement):
        doubled = 2 * float(stars)
        if 1 <= doubled <= 10 and doubled == int(doubled) and _is_product(product):
            found.setdefault(user, []).append((product.encode(), int(doubled), int(at)))
        else:
            _log.warning(
                "left out: user %s rated product %.20r with %s, not 0.5 to 5.0 in halves", user, product, stars
            )
    return found


def _events(connection: Connection, user_ids: list[int]) -> dict[int, list[Entry]]:
    c, found = interactions.c, dict[int, list[Entry]]()
    when = microseconds(connection.engine, c.created_at, "at")
    statement = select(c.user_id, c.product_id, c.interaction_type, when).where(c.user_id.in_(user_ids))
    for user, product, kind, at in connection.execute(statement):
        if kind in _KINDS and _is_product(product):
            found.setdefault(user, []).append((product.encode(), _KINDS[kind], int(at)))
        else:
            _log.warning("left out: user %s, product %.20r, interaction_type %.20r", user, product, kind)
    return found


def _people(connection: Connection, user_ids: list[int]) -> dict[int, tuple[str | None, str | None]]:
    c = users.c
    statement = select(c.user_id, c.country, c.age_group).where(c.user_id.in_(user_ids))
    return {user: (country, age_group) for user, country, age_group in connection.execute(statement)}


def _is_product(product_id: str) -> bool:
    return 0 < len(product_id) <= ASIN_LENGTH and product_id.isascii()


def read_facts(connection: Connection, product_ids: Iterable[bytes]) -> dict[bytes, Product | None]:
    """What the catalog says of these products; None for those it does not have."""
    wanted = sorted(product_ids)
    facts: dict[bytes, Product | None] = dict.fromkeys(wanted)
    c = products.c
    for start in range(0, len(wanted), _AT_A_TIME):
        names = [name.decode("ascii") for name in wanted[start : start + _AT_A_TIME]]
        for asin, title, price, stars, category in connection.execute(
            select(c.asin, c.title, c.price, c.stars, c.category_id).where(c.asin.in_(names))
        ):
            facts[asin.encode()] = Product(title, price, stars or None, category)
    return facts


class ChangeFeed:
    """Names the users who have changed since a cursor, each time those since the last time."""

    def __init__(self, cursor: Cursor, there: frozenset[str]) -> None:
        self._tables = there
        self._first = cursor
        self._newest_rating = cursor.updated_at
        self._seen_ratings: dict[tuple[int, str], int] = {}
        self._interactions = _Ids(cursor.interaction_id)
        self._deletions = _Ids(cursor.deletion_id)

    def changed_users(self, connection: Connection) -> set[int]:
        """Whoever has a rating, interaction or deletion that was not seen before."""
        changed = self._by_ratings(connection)
        if interactions.name in self._tables:
            c = interactions.c
            changed |= self._by_ids(connection, self._interactions, c.interaction_id, c.user_id, c.created_at)
        if deletions.name in self._tables:
            d = deletions.c
            changed |= self._by_ids(connection, self._deletions, d.deletion_id, d.user_id, d.deleted_at)
        return changed

    def _by_ratings(self, connection: Connection) -> set[int]:
        since = self._newest_rating - OVERLAP * 1_000_000
        c = ratings.c
        statement = select(c.user_id, c.product_id, microseconds(connection.engine, c.updated_at, "at"))
        late = or_(c.updated_at > _moment(self._first.updated_at), c.updated_at >= self._recent())
        rows = connection.execute(statement.where(c.updated_at >= _moment(since), late)).all()
        seen = {(int(user), str(product)): int(at) for user, product, at in rows}
        changed = {key[0] for key, at in seen.items() if self._seen_ratings.get(key) != at}
        self._seen_ratings = seen
        self._newest_rating = max([self._newest_rating, *seen.values()])
        return changed

    def _by_ids(
        self, connection: Connection, ids: _Ids, number: Any, user: Any, created: ColumnElement[datetime]
    ) -> set[int]:
        late = or_(number > ids.first, created >= self._recent())
        rows = connection.execute(select(number, user).where(number > ids.floor(), late)).all()
        return ids.take({int(at): int(who) for at, who in rows})

    def _recent(self) -> datetime:
        """What is older had become visible when the model was built."""
        return _moment(self._first.read_at - OVERLAP * 1_000_000)


class _Ids:
    """Which rows of a log were seen: ids rise, but a smaller one may become visible later."""

    def __init__(self, first: int) -> None:
        self.first = first  # the newest when the model was built
        self._seen: dict[int, int] = {}
        self._history: deque[tuple[float, int]] = deque([(time.monotonic(), max(first - _IDS_BEFORE, 0))])

    def floor(self) -> int:
        """The id above which rows may be new: what was the newest ``OVERLAP`` seconds ago."""
        while len(self._history) > 1 and self._history[1][0] < time.monotonic() - OVERLAP:
            self._history.popleft()
        return self._history[0][1]

    def take(self, rows: dict[int, int]) -> set[int]:
        """The users of the rows that were not seen before."""
        changed = {user for number, user in rows.items() if number not in self._seen}
        self._seen = rows
        newest = max(rows, default=0)
        if newest > self._history[-1][1]:
            self._history.append((time.monotonic(), newest))
        return changed


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=max(microseconds, 0))


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
