"""A comparison of the model's ratings with the tables', one range of users at a time, round and round.

A look by time misses ratings that became visible very late (in a transaction longer than looks go back), that others
deleted, or that came with an old time, as from a restored backup. So the database and the model both compute three sums
over the ratings of a range of user_ids: their number, the sum of the ratings, and the sum of each rating times a number
made of its product. If the sums differ, they are computed for each user, and the users that differ are read again. One
range has about ``RANGE`` ratings, so M ratings take M / ``RANGE`` ranges (`recommender.updates.following` says how
often one is compared).
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select, true
from sqlalchemy.sql.elements import ColumnElement

from recommender.database import steps_in_sql, usable
from recommender.database.schema import ratings
from recommender.live import LiveModel, LiveUser
from recommender.shop import RatingMatrix, Scale

RANGE = 5_000  # ratings
MOST_PEOPLE = 400  # most users that one look names
_LEAST, _GREATEST = -(2**63), 2**63 - 1

Sums = tuple[int, int, int]  # ratings, their steps, steps times the numbers of their products
NONE: Sums = (0, 0, 0)


class Part(NamedTuple):
    """A range of users: their rows of the matrix, and the ids in the range, also of users without a row."""

    first_row: int
    end_row: int
    first_id: int
    last_id: int


class Difference(NamedTuple):
    """The users that differ, with what the tables have of each; ``more``: the same part has to be read again."""

    users: dict[int, Sums]
    more: bool


class Reconciliation:
    """The comparison of one model's ratings with the tables; a result is forgotten unless it is kept."""

    def __init__(self, matrix: RatingMatrix) -> None:
        self._matrix = matrix = _by_number(matrix)
        indptr = matrix.steps.indptr
        starts = np.unique(np.searchsorted(indptr[:-1], np.arange(0, max(matrix.n_ratings, 1), RANGE)))
        self._bounds = [0, *starts[starts > 0].tolist(), len(matrix.user_ids)]
        self._at = 0
        self._mixes: dict[str, NDArray[np.int64]] = {}
        self._named: dict[int, Sums] = {}
        self.rounds = 0  # how often all ranges were compared

    def look(self, connection: Connection, model: LiveModel) -> Difference:
        """Return the users of the next range whose ratings in the tables are others than in the model."""
        part, mixing = self._part(), connection.dialect.name
        changed = [user for user in list(model.changes.users.values()) if part.first_id <= user.user_id <= part.last_id]
        ours = self._sum(part, changed, model, mixing)
        most = max(4 * RANGE, 2 * ours[0] + RANGE)
        # of all rows first: finding the usable ones takes three times as long
        conditions = true(), usable(connection.engine, ratings, self._matrix.scale)
        if any(_sums(connection, part, most, condition, self._matrix.scale) == ours for condition in conditions):
            return Difference({}, more=False)
        found = _sums_by_user(connection, part, most, self._matrix.scale)
        if sum(sums[0] for sums in found.values()) >= most and len(found) > 1:  # the last user may be cut short
            del found[max(found)]
            part = part._replace(last_id=max(found))
        known = self._by_user(part, changed, model, mixing)
        differing = [
            user for user in sorted(found.keys() | known.keys()) if found.get(user, NONE) != known.get(user, NONE)
        ]
        news = [user for user in differing if self._named.get(user) != found.get(user, NONE)]
        return Difference({user: found.get(user, NONE) for user in news[:MOST_PEOPLE]}, more=bool(news))

    def keep(self, found: Difference) -> None:
        """Note that the users that differ were read again."""
        if len(self._named) > 100 * MOST_PEOPLE:
            self._named.clear()
        self._named |= found.users
        if found.more:
            return
        self._at += 1
        if self._at >= len(self._bounds) - 1:
            self._at, self.rounds = 0, self.rounds + 1

    def _part(self) -> Part:
        first, end, ids = self._bounds[self._at], self._bounds[self._at + 1], self._matrix.user_ids
        first_id = int(ids[first - 1]) + 1 if self._at else _LEAST
        return Part(first, end, first_id, int(ids[end - 1]) if end < len(ids) else _GREATEST)

    def _sum(self, part: Part, changed: list[LiveUser], model: LiveModel, mixing: str) -> Sums:
        csr, mixes = self._matrix.steps, self._mixes_of(mixing)
        span = slice(int(csr.indptr[part.first_row]), int(csr.indptr[part.end_row]))
        total = np.array(_added(csr.data[span], mixes[csr.indices[span]]))
        for user in changed:
            row = self._matrix.user_ids.searchsorted(user.user_id) if user.row >= 0 else -1
            if row >= 0:
                span = slice(*csr.indptr[row : row + 2])
                total -= _added(csr.data[span], mixes[csr.indices[span]])
            total += self._of(user, model, mixing)
        return int(total[0]), int(total[1]), int(total[2])

    def _by_user(self, part: Part, changed: list[LiveUser], model: LiveModel, mixing: str) -> dict[int, Sums]:
        csr, mixes, found = self._matrix.steps, self._mixes_of(mixing), dict[int, Sums]()
        for row in range(part.first_row, part.end_row):
            if (user_id := int(self._matrix.user_ids[row])) <= part.last_id:
                span = slice(*csr.indptr[row : row + 2])
                found[user_id] = _added(csr.data[span], mixes[csr.indices[span]])
        return found | {user.user_id: self._of(user, model, mixing) for user in changed if user.user_id <= part.last_id}

    def _of(self, user: LiveUser, model: LiveModel, mixing: str) -> Sums:
        columns, steps = user.rated()
        mixes, n_products = self._mixes_of(mixing), len(self._matrix.product_ids)
        numbers = [
            int(mixes[column]) if column < n_products else _mix(model.products.id_of(column).encode(), mixing)
            for column in columns.tolist()
        ]
        return _added(steps, np.array(numbers, np.int64))

    def _mixes_of(self, mixing: str) -> NDArray[np.int64]:
        if mixing not in self._mixes:
            numbers = [_mix(product, mixing) for product in self._matrix.product_ids.tolist()]
            self._mixes[mixing] = np.array(numbers, np.int64)
        return self._mixes[mixing]


def _by_number(matrix: RatingMatrix) -> RatingMatrix:
    """Return the matrix with its rows in the order of stored numbers, in which the tables are read."""
    if not matrix.ids.is_text:
        return matrix
    order = np.argsort(matrix.user_ids)
    return replace(matrix, steps=matrix.steps[order], user_ids=matrix.user_ids[order], rated_at=None)


def _mix(product_id: bytes, dialect: str) -> int:
    """Return a number made of a product id that the database can compute too; SQLite has no checksum."""
    return ord(product_id.decode()[-1]) if dialect == "sqlite" else zlib.crc32(product_id)


def _added(steps: NDArray[np.int8], mixes: NDArray[np.int64]) -> Sums:
    stars = steps.astype(np.int64)
    return len(stars), int(stars.sum()), int((stars * mixes).sum())


def _chosen(connection: Connection, part: Part, most: int, condition: ColumnElement[bool], scale: Scale) -> Any:
    c = ratings.c
    mix = (
        func.unicode(func.substr(c.product_id, -1)) if connection.dialect.name == "sqlite" else func.crc32(c.product_id)
    )
    steps = steps_in_sql(c.rating, scale)
    inside = c.user_id.between(part.first_id, part.last_id), condition
    columns = c.user_id, steps.label("steps"), (steps * mix).label("mixed")
    return select(*columns).where(*inside).order_by(c.user_id).limit(most).subquery("chosen")


def _sums(connection: Connection, part: Part, most: int, condition: ColumnElement[bool], scale: Scale) -> Sums:
    c = _chosen(connection, part, most, condition, scale).c
    found = connection.execute(select(func.count(), func.sum(c.steps), func.sum(c.mixed)).select_from(c.user_id.table))
    return _as_sums(*found.one())


def _sums_by_user(connection: Connection, part: Part, most: int, scale: Scale) -> dict[int, Sums]:
    c = _chosen(connection, part, most, usable(connection.engine, ratings, scale), scale).c
    found = select(c.user_id, func.count(), func.sum(c.steps), func.sum(c.mixed)).group_by(c.user_id)
    return {user: _as_sums(*sums) for user, *sums in connection.execute(found) if isinstance(user, int)}


def _as_sums(*numbers: Any) -> Sums:
    n, stars, mixed = (int(number or 0) for number in numbers)
    return n, stars, mixed
