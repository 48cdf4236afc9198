"""The lists of a shop that fits a worker: each worker has all of the local batch's objects and makes some lists.

What was trained on everybody on the driver goes to each executor once. A task makes the lists of some rows as the local
batch does, on one core. Nothing else travels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.arrays import limit_threads
from recommender.publishing import BLOCK_USERS, BatchLists
from recommender.spark.lists.exchange import Last, Message, SparkFlow
from recommender.spark.lists.layout import assigned, cut
from recommender.spark.lists.plan import (
    BLOCK_BYTES,
    QUERIES_PER_TASK,
    ROW_ENTRIES,
    TASKS_PER_CORE,
    cluster_of,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def worker_holds(spark: SparkSession, lists: BatchLists) -> bool:
    """Tell whether a Python worker of the cluster can hold everything."""
    csr = _entries(lists)
    needed = BLOCK_BYTES * (int(csr.nnz) + ROW_ENTRIES * int(csr.shape[0]))
    return needed <= cluster_of(spark)[0]


def whole_frame(spark: SparkSession, lists: BatchLists, last: Last | None = None) -> DataFrame:
    """Return the rows of the table; ``last``: what a task makes of its rows instead."""
    n_tasks = TASKS_PER_CORE * cluster_of(spark)[1]
    flow = SparkFlow.of(spark, to_make(lists, n_tasks))
    return flow.ended(n_tasks, flow.task(lists, make_some), lists.matrix.ids.is_text, last)


def to_make(lists: BatchLists, n_tasks: int) -> list[Message]:
    """Return what each task is to do: runs of the wanted rows, of about equal work in all."""
    work = _work(lists)
    runs = cut(work, int(work.sum()) // (QUERIES_PER_TASK * n_tasks) + 1, BLOCK_USERS)
    tasks = assigned(np.array([work[start:stop].sum() for start, stop in runs], np.int64), n_tasks)
    return [Message(task, run[0], run) for task, run in zip(tasks.tolist(), runs, strict=True)]


def make_some(lists: BatchLists, messages: Iterable[Message]) -> Iterator[pa.RecordBatch]:
    """Make the lists of the runs of rows."""
    limit_threads(1)  # a task has one core
    for message in messages:
        start, stop = message.body
        yield from lists.batches(lists.job.rows[start:stop])


def _entries(lists: BatchLists) -> Any:
    profiles = lists.job.ranking.profiles
    return lists.matrix.steps if profiles is None else profiles.confidences


def _work(lists: BatchLists) -> NDArray[np.int64]:
    """Return the postings that the search for each wanted row reads, (len(job.rows),)."""
    csr = _entries(lists)
    raters = np.bincount(csr.indices, minlength=csr.shape[1])
    ends = np.concatenate([[0], np.cumsum(raters[csr.indices])])[csr.indptr]
    work: NDArray[np.int64] = np.diff(ends)[lists.job.rows]
    return work
