"""The lists of all users, by stages that Spark runs one after the other.

events -> pieces -> sums -> queries meet blocks -> found neighbors -> their rows are brought -> lists
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from recommender.fallback import HALF_LIFE_DAYS, find_new_products, ladder_from, popular_from, span_of
from recommender.ranking import BY_TASTE, N_NEIGHBORS
from recommender.shop import ProductCatalog, Products, Scale
from recommender.spark.frames import Frames, ListsJob
from recommender.spark.lists.exchange import Flow, Last, SparkFlow, Task
from recommender.spark.lists.layout import lay_out
from recommender.spark.lists.neighbors import SearchPlan, search, to_search
from recommender.spark.lists.pieces import (
    Codes,
    events_of,
    pieces_of,
    products_of,
    some_users,
    with_segments,
)
from recommender.spark.lists.plan import QUERIES_PER_TASK, Shape, Sizes, cluster_of, sizes_for
from recommender.spark.lists.rankings import ByCosine, ByProfiles, Filling, Shop
from recommender.spark.lists.scoring import ListPlan, answer, make_lists, to_shelf, to_shelves
from recommender.spark.lists.sums import (
    First,
    Second,
    SecondPass,
    first_pass,
    gathered,
    merged_first,
    merged_second,
    second_pass,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

F = TypeVar("F", bound=Flow)


def lists_frame(
    spark: SparkSession,
    frames: Frames,
    catalog: ProductCatalog,
    scale: Scale,
    job: ListsJob,
    *,
    sizes: Sizes | None = None,
    last: Last | None = None,
) -> DataFrame:
    """Return the rows of ``recommendations`` for the users of the job: those that the local batch makes.

    All stages but the last run at once; what they found is kept on the executors' disks. ``sizes``: None for those that
    suit the cluster. ``last``: what the last tasks make of their rows instead.
    """
    by_taste = job.answers.ranking in BY_TASTE
    frames = frames if by_taste else replace(frames, interactions=None, people=None)
    events = events_of(frames)
    product_ids, n_events = products_of(events)
    some = some_users(events, n_events)
    if sizes is None:
        k = N_NEIGHBORS if by_taste else job.answers.n_neighbors
        k = k if job.parameters is None else max(k, job.parameters.taste.n_neighbors)
        sizes = sizes_for(Shape(n_events, len(some.keys) * some.one_in, k), *cluster_of(spark))
    weights = job.answers.weights if by_taste else None
    codes = Codes(product_ids, some.bounds(sizes.n_parts), scale, weights)
    events, n_segments = with_segments(events, frames)
    pieces = SparkFlow(pieces_of(events, codes, sizes.piece_rows))
    waiting, task = lists_of(pieces, Products.of(product_ids, catalog), scale, job, sizes, n_segments)
    return waiting.ended(sizes.n_tasks, task, frames.names is not None, last)


def lists_of(
    pieces: F, products: Products, scale: Scale, job: ListsJob, sizes: Sizes, n_segments: int
) -> tuple[F, Task]:
    """Return the messages of the last tasks, which make the rows of the lists, and what these do.

    ``pieces``: messages with the rows of all users, by part and place in it.
    """
    pieces, n_columns = pieces.kept(), products.n_in_matrix
    first = gathered(pieces.run(pieces.task(n_columns, first_pass)), sizes.n_parts, merged_first)
    second = gathered(pieces.run(_second(pieces, first, sizes, job, n_segments)), sizes.n_parts, merged_second)
    layout = lay_out(first.pieces, second.cuts, sizes.block_entries, sizes.n_tasks, job.users)
    ranking, k = _ranking(products, scale, job, first, second, n_segments)
    searching = partial(pieces.task, SearchPlan(layout, ranking, k))
    found = pieces.run(searching(to_search)).delivered(sizes.n_tasks, searching(search)).kept()
    bringing = partial(pieces.task, layout)
    wanted = pieces.run(bringing(to_shelf)).beside(found.run(bringing(to_shelves)))
    brought = wanted.delivered(max(layout.n_shelves, 1), bringing(answer))
    plan = ListPlan(ranking, products, min(job.n, max(n_columns, 1)), job.generated_at)
    return found.beside(brought), pieces.task(plan, make_lists)


def _second(pieces: Flow, first: First, sizes: Sizes, job: ListsJob, n_segments: int) -> Task:
    """Return the second pass over the pieces."""
    raters, by_taste = first.sums.raters, job.answers.ranking in BY_TASTE
    work = float((raters.astype(np.float64) ** 2).sum())  # postings that all queries read
    most_work = max(int(work / (QUERIES_PER_TASK * sizes.n_tasks)), 1)
    span = span_of(first.days, HALF_LIFE_DAYS)
    known = SecondPass(raters, most_work, sizes.query_rows, n_segments if by_taste else None, span)
    return pieces.task(known, second_pass)


def _ranking(
    products: Products, scale: Scale, job: ListsJob, first: First, second: Second, n_segments: int
) -> tuple[ByCosine | ByProfiles, int]:
    """Return the ranking of the whole shop, and how many neighbors it needs."""
    recommendable = products.catalog_rows[: products.n_in_matrix] >= 0
    shop, n_users = Shop(products.matrix_ids, recommendable, scale, first.sums), first.sums.n_users
    if second.popularity is None:
        popular = popular_from(first.sums, recommendable, scale)
        return ByCosine(shop, popular), min(job.answers.n_neighbors, max(n_users, 1))
    ladder, mean = ladder_from(first.sums, second.popularity, recommendable, scale, n_segments=n_segments)
    catalog = products.catalog
    new = find_new_products(
        first.sums.raters, recommendable, products.catalog_rows, stars=catalog.stars, category_ids=catalog.category_ids
    )
    filling = Filling(ladder, mean, new, job.answers.new_product_percent, job.version)
    ranking = ByProfiles(shop, job.answers.ranking, filling, job.parameters, job.item_weights)
    return ranking, max(min(replace(ranking).n_neighbors, n_users - 1), 1)
