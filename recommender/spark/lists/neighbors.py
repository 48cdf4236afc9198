"""The tasks that find the neighbors of all users: every query meets every block. No task needs pyspark.

pieces -> to_search -> search -> found lists
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.spark.lists.exchange import Message
from recommender.spark.lists.layout import Layout
from recommender.spark.lists.rankings import Ranks
from recommender.spark.lists.user_rows import UserRows


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """What all tasks of a search know."""

    layout: Layout
    ranking: Ranks
    k: int


class Asked(NamedTuple):
    """The rows of a query."""

    query: int
    first: int
    rows: UserRows


class Found(NamedTuple):
    """A query and its neighbors, (m, k) each."""

    asked: Asked
    neighbors: NDArray[np.int32]  # rows of the whole, -1 after the end of a list
    similarities: NDArray[np.float64]


def to_search(plan: SearchPlan, pieces: Iterator[Message]) -> Iterator[Message]:
    """Send the queries of each piece to their tasks, and the piece to all tasks as candidates.

    A task reads its queries first, then the candidates in the order of rows.
    """
    layout = plan.layout
    n_tasks = int(layout.searches.max(initial=-1)) + 1
    for message in pieces:
        rows: UserRows = message.body
        piece = layout.number_of(message.part, message.turn, rows)
        first = int(layout.firsts[piece])
        for number, query in layout.queries_of(piece):
            own = rows.take(np.arange(query.start, query.stop))
            yield Message(int(layout.searches[number]), -1, Asked(number, first + query.start, own))
        candidates = rows.without_times()
        for task in range(n_tasks):
            yield Message(task, piece, candidates)


def search(plan: SearchPlan, messages: Iterable[Message]) -> Iterator[Message]:
    """Compare the queries of a task with all blocks, one after the other. Yield what was found for each query."""
    asked: list[Asked] = []
    searches: list[Any] = []
    block: list[UserRows] = []
    start = home = 0

    def meet() -> None:
        if block:
            index = plan.ranking.index(UserRows.joined(block))
            for nearest in searches:
                nearest.meet(index, start)
        block.clear()

    for message in messages:
        if message.turn < 0:
            asked.append(message.body)
            searches.append(plan.ranking.nearest(message.body.rows, message.body.first, plan.k))
            continue
        if plan.layout.homes[message.turn] != home:
            meet()
        if not block:
            start, home = int(plan.layout.firsts[message.turn]), int(plan.layout.homes[message.turn])
        block.append(message.body)
    meet()
    for one, nearest in zip(asked, searches, strict=True):
        yield Message(int(plan.layout.rankings[one.query]), one.query, Found(one, nearest.rows, nearest.similarities))
