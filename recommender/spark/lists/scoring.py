"""The tasks that make the lists: the rows of the neighbors come to whom they are neighbors of, and are ranked there.

    found lists -> to_homes, with pieces by to_home -> answer -> with found lists: make_lists -> rows of the table

A task ranks by the functions of the local batch, on a matrix of the rows that it needs, in the order of the shop. So
ties fall as they do there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.fallback import SOURCES, PopularProducts
from recommender.publishing import as_rows, from_popular
from recommender.ranking import rank_products_for_rows
from recommender.shop import Products, RatingMatrix, Scale
from recommender.spark.lists.exchange import Message
from recommender.spark.lists.layout import Layout
from recommender.spark.lists.neighbors import Found
from recommender.spark.lists.user_rows import UserRows


class Wanted(NamedTuple):
    """Rows of a block that a query needs."""

    query: int
    rows: NDArray[np.int64]  # of the whole, ascending


class Brought(NamedTuple):
    """The rows that a query needed."""

    rows: NDArray[np.int64]
    users: UserRows


def to_home(layout: Layout, pieces: Iterator[Message]) -> Iterator[Message]:
    """Send each piece to the task of its block."""
    for message in pieces:
        piece = layout.numbers[message.part, message.turn]
        yield Message(int(layout.homes[piece]), piece - len(layout.homes), message.body.without_times())


def to_homes(layout: Layout, found: Iterator[Message]) -> Iterator[Message]:
    """Ask each block for the rows of the neighbors that were found in it."""
    starts = layout.firsts[np.searchsorted(layout.homes, np.arange(layout.n_homes))]
    for message in found:
        query, near = message.body.asked, message.body.neighbors
        needed = np.unique(near[near >= 0].astype(np.int64))
        needed = needed[(needed < query.first) | (needed >= query.first + len(query.rows))]  # it has its own
        bounds = [*np.searchsorted(needed, starts), len(needed)]
        for home, (start, stop) in enumerate(pairwise(bounds)):
            if start < stop:
                yield Message(home, message.turn, Wanted(query.query, needed[start:stop]))


def answer(layout: Layout, messages: Iterable[Message]) -> Iterator[Message]:
    """Send the wanted rows of a block. The pieces of the block come first, in the order of rows."""
    pieces: list[UserRows] = []
    block: UserRows | None = None
    first = 0
    for message in messages:
        if message.turn < 0:
            first = first if pieces else int(layout.firsts[message.turn + len(layout.homes)])
            pieces.append(message.body)
            continue
        if block is None:
            block = UserRows.joined(pieces)
            pieces.clear()
        wanted: Wanted = message.body
        rows = Brought(wanted.rows, block.take(wanted.rows - first))
        yield Message(int(layout.rankings[wanted.query]), wanted.query, rows)


@dataclass(frozen=True, eq=False)
class ListPlan:
    """What all tasks that make lists know."""

    products: Products
    popular: PopularProducts
    scale: Scale
    n: int
    generated_at: datetime

    def lists(self, found: Found, brought: list[Brought]) -> pa.RecordBatch:
        """Return the rows of the table for one query."""
        own = np.arange(found.asked.first, found.asked.first + len(found.asked.rows))
        rows = np.concatenate([own, *(part.rows for part in brought)])
        order = np.argsort(rows)
        users = UserRows.joined([found.asked.rows.without_times(), *(part.users for part in brought)]).take(order)
        here = np.searchsorted(rows[order], own)
        near = np.where(found.neighbors >= 0, np.searchsorted(rows[order], found.neighbors), -1).astype(np.int32)
        matrix = self._matrix(users)
        ranked = rank_products_for_rows(
            matrix.steps, here, near, found.similarities, n=self.n, recommendable=matrix.recommendable,
            scale=self.scale.unit, n_threads=1,
        )  # fmt: skip
        lists = from_popular(matrix, self.popular)(here, ranked)
        ids = matrix.ids.all_of(matrix.user_ids[here])
        return as_rows(ids, ranked, lists, self.products, self.generated_at, SOURCES[0])

    def _matrix(self, users: UserRows) -> RatingMatrix:
        ids = self.products.matrix_ids
        in_catalog = self.products.catalog_rows[: len(ids)] >= 0
        return RatingMatrix(users.ratings(len(ids)), users.user_ids, ids, in_catalog, scale=self.scale, ids=users.ids())


def make_lists(plan: ListPlan, messages: Iterable[Message]) -> Iterator[pa.RecordBatch]:
    """Make the lists of each query, for which its neighbors and their rows have come."""
    turn, found, brought = -1, None, list[Brought]()
    for message in messages:
        if message.turn != turn and found is not None:
            yield plan.lists(found, brought)
            found, brought = None, []
        turn = message.turn
        if isinstance(message.body, Found):
            found = message.body
        else:
            brought.append(message.body)
    if found is not None:
        yield plan.lists(found, brought)
