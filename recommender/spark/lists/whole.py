"""The lists of a shop that fits a worker: each worker has all of the local batch's objects and makes some lists.

What was trained on everybody on the driver goes to each executor once. A task makes the lists of some rows as the local
batch does, on one core. Nothing else travels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.arrays import limit_threads
from recommender.fallback import ColdStart, PopularProducts, rank_popular
from recommender.model import Trained, cold_start_of
from recommender.publishing import BLOCK_USERS, BatchJob, from_cold_start, from_popular, job_for, recommendation_batches
from recommender.ranking import TasteSimilarity
from recommender.shop import ProductCatalog, Products, RatingMatrix, Segments
from recommender.spark.frames import ListsJob
from recommender.spark.lists.exchange import Message, SparkFlow
from recommender.spark.lists.layout import assigned, cut
from recommender.spark.lists.plan import BLOCK_BYTES, QUERIES_PER_TASK, ROW_ENTRIES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, eq=False)
class WholePlan:
    """What all tasks know: everything."""

    matrix: RatingMatrix
    job: BatchJob
    products: Products
    filling: ColdStart | PopularProducts
    version: int
    generated_at: datetime

    @classmethod
    def of(cls, trained: Trained, segments: Segments, catalog: ProductCatalog, job: ListsJob) -> WholePlan:
        """Return the plan of a job for what was trained on everybody; ``segments``: of the rows."""
        matrix, similarity = trained.shop.ratings, trained.similarity
        batch = job_for(matrix, similarity, job.users, job.n, trained.settings)
        products = Products.of(matrix.product_ids, catalog)
        filling: ColdStart | PopularProducts = rank_popular(matrix)
        if isinstance(similarity, TasteSimilarity):
            filling = cold_start_of(matrix, similarity.profiles, products, segments)
        return cls(matrix, batch, products, filling, job.version, job.generated_at)

    def lists(self, rows: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the table for these rows of the matrix."""
        if isinstance(self.filling, ColdStart):
            top_up = from_cold_start(self.filling, self.job.new_product_percent, self.version)
        else:
            top_up = from_popular(self.matrix, self.filling)
        job, when = replace(self.job, rows=rows), self.generated_at
        return recommendation_batches(self.matrix, job, self.products, top_up=top_up, generated_at=when)

    @cached_property
    def work(self) -> NDArray[np.int64]:
        """The postings that the search for each wanted row reads, (len(job.rows),)."""
        csr = self.matrix.steps if self.job.ranking.profiles is None else self.job.ranking.profiles.confidences
        raters = np.bincount(csr.indices, minlength=csr.shape[1])
        ends = np.concatenate([[0], np.cumsum(raters[csr.indices])])[csr.indptr]
        work: NDArray[np.int64] = np.diff(ends)[self.job.rows]
        return work

    def messages(self, n_tasks: int) -> list[Message]:
        """Return what each task is to do: runs of the wanted rows, of about equal work in all."""
        runs = cut(self.work, int(self.work.sum()) // (QUERIES_PER_TASK * n_tasks) + 1, BLOCK_USERS)
        tasks = assigned(np.array([self.work[start:stop].sum() for start, stop in runs], np.int64), n_tasks)
        return [Message(task, run[0], run) for task, run in zip(tasks.tolist(), runs, strict=True)]


def make_some(plan: WholePlan, messages: Iterable[Message]) -> Iterator[pa.RecordBatch]:
    """Make the lists of the runs of rows."""
    limit_threads(1)  # a task has one core
    for message in messages:
        start, stop = message.body
        yield from plan.lists(plan.job.rows[start:stop])


def fits(trained: Trained, memory: int) -> bool:
    """Tell whether a worker of so many bytes can hold everything."""
    similarity, matrix = trained.similarity, trained.shop.ratings
    csr = similarity.profiles.confidences if isinstance(similarity, TasteSimilarity) else matrix.steps
    return BLOCK_BYTES * (int(csr.nnz) + ROW_ENTRIES * matrix.shape[0]) <= memory


def whole_lists(spark: SparkSession, plan: WholePlan, n_tasks: int, schema: str) -> DataFrame:
    """Return the rows of the table that ``n_tasks`` tasks make."""
    flow = SparkFlow.of(spark, plan.messages(n_tasks))
    return flow.delivered(n_tasks, flow.task(plan, make_some), schema).frame
