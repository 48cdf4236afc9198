"""Who does what: pieces of the shop, the queries cut from them, and the tasks that these go to. Numpy alone.

A piece is a run of rows that travels as one message. As a candidate it is part of a block, which becomes one index; as
the asking side it is cut into queries of bounded work. The work of a row is the number of postings that a search reads
for it, sum of raters_j over its columns j, whichever blocks they are in.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SparkError
from recommender.spark.lists.plan import ROW_ENTRIES
from recommender.spark.lists.user_rows import UserRows


class Piece(NamedTuple):
    """The size of a piece; ``part`` and ``place`` say where it is: the place-th piece of a part of the users."""

    part: int
    place: int
    n_rows: int
    n_entries: int
    digest: int  # of the rows

    @classmethod
    def of(cls, part: int, place: int, rows: UserRows) -> Self:
        """Return the size of a piece with these rows."""
        return cls(part, place, len(rows), rows.n_entries, rows.digest())

    @property
    def weight(self) -> int:
        """Its memory in an index, in entries."""
        return self.n_entries + ROW_ENTRIES * self.n_rows


class Cut(NamedTuple):
    """How a piece is cut into queries."""

    part: int
    place: int
    runs: list[tuple[int, int, int]]  # start, stop and work of each query


class Query(NamedTuple):
    """Rows of a piece that are searched for and ranked together."""

    piece: int
    start: int  # within the piece
    stop: int
    work: int


@dataclass(frozen=True, eq=False)
class Layout:
    """The numbers of all pieces and queries, and the task of each."""

    pieces: tuple[Piece, ...]  # in the order of rows
    numbers: dict[tuple[int, int], int]  # (part, place) of a piece -> its number
    firsts: NDArray[np.int64]  # (n_pieces + 1,) first row of each piece
    homes: NDArray[np.int64]  # (n_pieces,) the block of each piece
    shelves: NDArray[np.int64]  # (n_pieces,) the task that brings the rows of each piece to whom they are near
    queries: tuple[Query, ...]  # in the order of rows
    starts: NDArray[np.int64]  # (n_pieces + 1,) first query of each piece
    searches: NDArray[np.int64]  # (n_queries,) the task that searches for each query
    rankings: NDArray[np.int64]  # (n_queries,) the task that ranks for it

    @property
    def n_rows(self) -> int:
        """Number of users."""
        return int(self.firsts[-1])

    @property
    def n_shelves(self) -> int:
        """Number of tasks that bring rows."""
        return int(self.shelves.max(initial=-1)) + 1

    def number_of(self, part: int, place: int, rows: UserRows) -> int:
        """Return the number of a piece. SparkError if its rows are not those that the layout was made for.

        An executor that is lost takes its pieces with it. They are made again from the tables, which may have changed.
        """
        number = self.numbers.get((part, place))
        if number is None or self.pieces[number] != Piece.of(part, place, rows):
            raise SparkError(
                "an executor was lost, and the tables changed before another one read them again: run it again"
            )
        return number

    def queries_of(self, piece: int) -> list[tuple[int, Query]]:
        """Return the queries of a piece, each with its number."""
        return [(number, self.queries[number]) for number in range(self.starts[piece], self.starts[piece + 1])]


def cut(work: NDArray[np.int64], most_work: int, most_rows: int) -> list[tuple[int, int]]:
    """Cut rows of this work (m,) into runs of at most ``most_work``, or a single row, and ``most_rows``.

    >>> cut(np.array([1, 1, 1, 9, 1]), 2, 10)
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    ends, runs, start = np.cumsum(work), [], 0
    while start < len(work):
        done = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, done + most_work, side="right"))
        stop = min(max(stop, start + 1), start + most_rows, len(work))
        runs.append((start, stop))
        start = stop
    return runs


def assigned(work: NDArray[np.int64], n_tasks: int) -> NDArray[np.int64]:
    """Return the task of each job (n,): the largest job first, each to the task with the least work so far.

    Longest processing time first: no task has more than 4/3 of the best possible largest one (Graham 1969).

    >>> assigned(np.array([3, 5, 2, 4]), 2).tolist()
    [1, 0, 0, 1]
    """
    tasks = [(0, task) for task in range(n_tasks)]
    found = np.zeros(len(work), np.int64)
    for job in np.argsort(-work, kind="stable").tolist():
        done, task = heapq.heappop(tasks)
        found[job] = task
        heapq.heappush(tasks, (done + int(work[job]), task))
    return found


def lay_out(
    pieces: Iterable[Piece], queries: Iterable[Cut], block_entries: int, n_tasks: int, users: int | None = None
) -> Layout:
    """Return the layout of the pieces.

    A block is as many pieces in a row as weigh ``block_entries``, at least one. Rows are brought by as many tasks as
    search, or more if these are blocks. ``users``: only the first ones ask; None: all.
    """
    ordered, cuts = sorted(pieces), {(found.part, found.place): found.runs for found in queries}
    numbers = {(piece.part, piece.place): number for number, piece in enumerate(ordered)}
    firsts = np.concatenate([[0], np.cumsum([piece.n_rows for piece in ordered], dtype=np.int64)])
    weights = [piece.weight for piece in ordered]
    homes = _grouped(weights, block_entries)
    shelves = _grouped(weights, min(block_entries, -(-sum(weights) // n_tasks)))
    asked: list[Query] = []
    for number, piece in enumerate(ordered):
        last = piece.n_rows if users is None else users - int(firsts[number])
        runs = cuts[piece.part, piece.place]
        asked += [Query(number, start, min(stop, last), work) for start, stop, work in runs if start < last]
    starts = np.searchsorted([query.piece for query in asked], np.arange(len(ordered) + 1))
    searches = assigned(np.array([query.work for query in asked], np.int64), n_tasks)
    rankings = assigned(np.array([query.stop - query.start for query in asked], np.int64), n_tasks)
    return Layout(tuple(ordered), numbers, firsts, homes, shelves, tuple(asked), starts, searches, rankings)


def _grouped(weights: list[int], most: int) -> NDArray[np.int64]:
    """Return the group of each piece (n,): pieces in a row that weigh at most ``most`` in all, or a single one."""
    groups, held, group = np.zeros(len(weights), np.int64), 0, 0
    for number, weight in enumerate(weights):
        if held and held + weight > most:
            held, group = 0, group + 1
        held, groups[number] = held + weight, group
    return groups
