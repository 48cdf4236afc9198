"""The tasks that make the lists: the rows of the neighbors come to whom they are neighbors of, and are ranked there.

    found lists -> to_shelves, with pieces by to_shelf -> answer -> with found lists: make_lists -> rows of the table

A task ranks by the functions of the local batch, on the rows that it needs. Their order does not matter there: sums run
in the order of the neighbors, and products tie by column.
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

from recommender.publishing import as_rows
from recommender.shop import Products
from recommender.spark.lists.exchange import Message
from recommender.spark.lists.layout import Layout
from recommender.spark.lists.neighbors import Found
from recommender.spark.lists.rankings import Ranks
from recommender.spark.lists.user_rows import UserRows

DENSE = 8  # rows of the whole for each row that is looked up: up to so many, a table is faster than a search


class Wanted(NamedTuple):
    """Rows of a task that a query needs."""

    query: int
    rows: NDArray[np.int64]  # of the whole, ascending


class Brought(NamedTuple):
    """The rows that a query needed."""

    rows: NDArray[np.int64]
    users: UserRows


def to_shelf(layout: Layout, pieces: Iterator[Message]) -> Iterator[Message]:
    """Send each piece to the task that brings its rows."""
    for message in pieces:
        piece = layout.number_of(message.part, message.turn, message.body)
        yield Message(int(layout.shelves[piece]), piece - len(layout.shelves), message.body.without_times())


def to_shelves(layout: Layout, found: Iterator[Message]) -> Iterator[Message]:
    """Ask each of these tasks for the rows of the neighbors that it has."""
    starts = layout.firsts[np.searchsorted(layout.shelves, np.arange(layout.n_shelves))]
    for message in found:
        query, near = message.body.asked, message.body.neighbors
        needed = _distinct(near[near >= 0])
        needed = needed[(needed < query.first) | (needed >= query.first + len(query.rows))]  # it has its own
        bounds = [*np.searchsorted(needed, starts), len(needed)]
        for shelf, (start, stop) in enumerate(pairwise(bounds)):
            if start < stop:
                yield Message(shelf, message.turn, Wanted(query.query, needed[start:stop]))


def answer(layout: Layout, messages: Iterable[Message]) -> Iterator[Message]:
    """Send the wanted rows of some pieces in a row. The pieces come first, in the order of rows."""
    pieces: list[UserRows] = []
    block: UserRows | None = None
    first = 0
    for message in messages:
        if message.turn < 0:
            first = first if pieces else int(layout.firsts[message.turn + len(layout.shelves)])
            pieces.append(message.body)
            continue
        if block is None:
            block = UserRows.joined(pieces)
            pieces.clear()
        wanted: Wanted = message.body
        rows = Brought(wanted.rows, block.take(wanted.rows - first))
        yield Message(int(layout.rankings[wanted.query]), wanted.query, rows)


def _distinct(rows: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the distinct rows of the whole, ascending."""
    first, end = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
    if end - first > DENSE * len(rows):
        return np.unique(rows).astype(np.int64)
    there = np.zeros(end - first, np.bool_)
    there[rows - first] = True
    return np.flatnonzero(there) + first


def _places(rows: NDArray[np.int64], wanted: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the place among the distinct ``rows`` of each of them that is wanted (m, k); -1 for -1."""
    first, end = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 1)
    if end - first > DENSE * wanted.size:
        order = np.argsort(rows).astype(np.int32)
        found = order[np.minimum(np.searchsorted(rows, wanted, sorter=order), len(rows) - 1)]
    else:
        table = np.zeros(end - first, np.int32)
        table[rows - first] = np.arange(len(rows))
        found = table[np.maximum(wanted - first, 0)]
    return np.where(wanted >= 0, found, np.int32(-1))


@dataclass(frozen=True, eq=False)
class ListPlan:
    """What all tasks that make lists know."""

    ranking: Ranks
    products: Products
    n: int
    generated_at: datetime

    def lists(self, found: Found, brought: list[Brought]) -> pa.RecordBatch:
        """Return the rows of the table for one query."""
        own, first = found.asked.rows, found.asked.first
        rows = np.concatenate([*(part.rows for part in brought), np.arange(first, first + len(own))])
        users = UserRows.joined([*(part.users for part in brought), own.without_times()])
        here = np.arange(len(rows) - len(own), len(rows))
        lists = here, _places(rows, found.neighbors), found.similarities
        ranked, filled = self.ranking.lists(users, lists, own, self.n)
        ids = own.ids().all_of(own.user_ids)
        return as_rows(ids, ranked, filled, self.products, self.generated_at, self.ranking.source)


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
