"""The lists of all users, by stages that Spark runs one after the other.

events -> pieces -> queries meet blocks -> found neighbors -> their rows are brought -> lists
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import PRIOR_VOTES, PopularProducts
from recommender.ranking import BY_TASTE
from recommender.shop import ProductCatalog, Products, Scale
from recommender.spark.frames import Frames, ListsJob
from recommender.spark.lists.exchange import Flow, Message, SparkFlow
from recommender.spark.lists.layout import Layout, Piece, cut, lay_out
from recommender.spark.lists.neighbors import SearchPlan, search, to_search
from recommender.spark.lists.pieces import Codes, bounds_of, events_of, pieces_of, products_of
from recommender.spark.lists.plan import Sizes, sizes_for
from recommender.spark.lists.scoring import ListPlan, answer, make_lists, to_home, to_homes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

F = TypeVar("F", bound=Flow)


class Sums(NamedTuple):
    """The sums of the whole shop, (n_columns,) each."""

    raters: NDArray[np.int64]
    steps: NDArray[np.int64]  # of all ratings
    rated: NDArray[np.int64]  # number of ratings


def lists_frame(
    spark: SparkSession,
    frames: Frames,
    catalog: ProductCatalog,
    scale: Scale,
    job: ListsJob,
    *,
    sizes: Sizes | None = None,
) -> DataFrame:
    """Return the rows of ``recommendations`` for the users of the job: those that the local batch makes.

    All stages but the last run at once; what they found is kept on the executors' disks. ``sizes``: None for those that
    suit the cluster.
    """
    events = events_of(frames)
    product_ids, n_events = products_of(events)
    sizes = sizes_for(spark, n_events) if sizes is None else sizes
    weights = job.answers.weights if job.answers.ranking in BY_TASTE else None
    codes = Codes(product_ids, bounds_of(events, n_events, sizes.n_parts), scale, weights)
    pieces = SparkFlow(pieces_of(events, codes, sizes.piece_rows))
    user = "string" if frames.names is not None else "long"
    return lists_of(pieces, Products.of(product_ids, catalog), scale, job, sizes, _ROWS.format(user)).frame


_ROWS = (
    "user_id {}, rank int, product_id string, product_name string, predicted_rating double, source string, "
    "support double, n_neighbors int, generated_at timestamp_ntz"
)


def lists_of(pieces: F, products: Products, scale: Scale, job: ListsJob, sizes: Sizes, schema: str) -> F:
    """Return the rows of the lists; ``pieces``: messages with the rows of all users, by part and place in it."""
    n_columns, pieces = products.n_in_matrix, pieces.kept()
    infos, sums = _measured(pieces, n_columns)
    layout = _laid_out(pieces, infos, sums, sizes, job.users)
    k, n = min(job.answers.n_neighbors, max(layout.n_rows, 1)), min(job.n, max(n_columns, 1))
    searching = partial(pieces.task, SearchPlan(layout, n_columns, k, scale))
    found = pieces.run(searching(to_search)).delivered(sizes.n_tasks, searching(search)).kept()
    bringing = partial(pieces.task, layout)
    wanted = pieces.run(bringing(to_home)).beside(found.run(bringing(to_homes)))
    brought = wanted.delivered(max(layout.n_homes, 1), bringing(answer))
    plan = ListPlan(products, _popular(sums, products, scale), scale, n, job.generated_at)
    return found.beside(brought).delivered(sizes.n_tasks, pieces.task(plan, make_lists), schema)


def _measured(pieces: Flow, n_columns: int) -> tuple[list[Piece], Sums]:
    infos, sums = [], Sums(*(np.zeros(n_columns, np.int64) for _ in Sums._fields))
    for message in pieces.run(partial(_measure, n_columns)).collected():
        if message.turn >= 0:
            infos.append(message.body)
        else:
            sums = Sums(*(mine + theirs for mine, theirs in zip(sums, message.body, strict=True)))
    return infos, sums


def _measure(n_columns: int, pieces: Iterator[Message]) -> Iterator[Message]:
    """Yield the size of each piece, and the sums of all of the task's."""
    sums = Sums(*(np.zeros(n_columns, np.int64) for _ in Sums._fields))
    for message in pieces:
        rows = message.body
        yield Message(message.part, message.turn, Piece(message.part, message.turn, len(rows), rows.n_entries))
        rated = rows.steps > 0
        sums.raters[:] += np.bincount(rows.columns, minlength=n_columns)
        sums.steps[:] += np.bincount(rows.columns, rows.steps, n_columns).astype(np.int64)  # whole numbers: exact
        sums.rated[:] += np.bincount(rows.columns[rated], minlength=n_columns)
    yield Message(0, -1, sums)


def _laid_out(pieces: Flow, infos: list[Piece], sums: Sums, sizes: Sizes, users: int | None) -> Layout:
    most_work = max(int((sums.raters.astype(np.float64) ** 2).sum()) // (4 * sizes.n_tasks), 1)
    cutting = pieces.task((sums.raters, most_work, sizes.query_rows), _cut)
    queries = {(found.part, found.turn): found.body for found in pieces.run(cutting).collected()}
    if users is not None:
        queries = _first(queries, infos, users)
    return lay_out(infos, queries, block_entries=sizes.block_entries, n_tasks=sizes.n_tasks)


def _cut(known: tuple[NDArray[np.int64], int, int], pieces: Iterator[Message]) -> Iterator[Message]:
    """Yield start, stop and work of the queries of each piece."""
    raters, most_work, most_rows = known
    for message in pieces:
        rows = message.body
        ends = np.concatenate([[0], np.cumsum(raters[rows.columns])])[rows.indptr]
        work = np.diff(ends)
        queries = [(start, stop, int(ends[stop] - ends[start])) for start, stop in cut(work, most_work, most_rows)]
        yield Message(message.part, message.turn, queries)


def _first(
    queries: dict[tuple[int, int], list[tuple[int, int, int]]], infos: list[Piece], users: int
) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
    """Return the queries of the first users."""
    kept, first = {}, 0
    for piece in sorted(infos):
        at = piece.part, piece.place
        kept[at] = [
            (start, min(stop, users - first), work) for start, stop, work in queries[at] if first + start < users
        ]
        first += piece.n_rows
    return kept


def _popular(sums: Sums, products: Products, scale: Scale) -> PopularProducts:
    counts, total = sums.rated, int(sums.steps.sum())
    mean = scale.unit * total / int(counts.sum()) if counts.any() else np.nan
    damped = np.rint((scale.unit * sums.steps + PRIOR_VOTES * mean) / (counts + PRIOR_VOTES) * 1e9) / 1e9
    columns = np.flatnonzero((products.catalog_rows[: len(counts)] >= 0) & (counts > 0)).astype(np.int32)
    order = np.lexsort((columns, -damped[columns], -counts[columns]))
    return PopularProducts(columns[order], damped[columns][order])
