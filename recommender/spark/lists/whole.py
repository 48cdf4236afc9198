"""The lists of a shop that fits a worker: each worker has all of the local batch's objects and makes some lists.

What was trained on everybody on the driver goes to each executor once. A task makes the lists of some rows as the local
batch does, on one core. Nothing else travels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.arrays import limit_threads
from recommender.publishing import BLOCK_USERS, BatchLists
from recommender.spark.lists.exchange import Last, rows_schema
from recommender.spark.lists.layout import assigned, cut
from recommender.spark.lists.plan import (
    BLOCK_BYTES,
    QUERIES_PER_TASK,
    ROW_ENTRIES,
    TASKS_PER_CORE,
    cluster_of,
)
from recommender.spark.one_version import of_one_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Run = tuple[int, int]  # the first of the wanted rows, and the end


def worker_holds(spark: SparkSession, lists: BatchLists) -> bool:
    """Tell whether a Python worker of the cluster can hold everything."""
    csr = _entries(lists)
    needed = BLOCK_BYTES * (int(csr.nnz) + ROW_ENTRIES * int(csr.shape[0]))
    return needed <= cluster_of(spark)[0]


def whole_frame(spark: SparkSession, lists: BatchLists, last: Last | None = None) -> DataFrame:
    """Return the rows of the table; ``last``: what a task makes of its rows instead."""
    n_tasks = TASKS_PER_CORE * cluster_of(spark)[1]
    known = spark.sparkContext.broadcast((lists, shared_out(lists, n_tasks)))
    numbers = spark.range(n_tasks, numPartitions=n_tasks)  # a task is one number
    schema, work = last or Last(rows_schema(lists.matrix.ids.is_text), iter)
    return numbers.mapInArrow(of_one_version(partial(_in_task, known, work)), schema)


def _in_task(known: Any, work: Callable[[Iterator[Any]], Iterator[Any]], batches: Iterator[Any]) -> Iterator[Any]:
    limit_threads(1)  # a task has one core
    lists, runs = known.value
    return work(
        chain.from_iterable(make_some(lists, runs[n]) for batch in batches for n in batch.column(0).to_pylist())
    )


def shared_out(lists: BatchLists, n_tasks: int) -> list[list[Run]]:
    """Return the runs of wanted rows that each task is to make, of about equal work in all."""
    work = _work(lists)
    runs = cut(work, int(work.sum()) // (QUERIES_PER_TASK * n_tasks) + 1, BLOCK_USERS)
    tasks = assigned(np.array([work[start:stop].sum() for start, stop in runs], np.int64), n_tasks)
    return [[run for run, its in zip(runs, tasks.tolist(), strict=True) if its == task] for task in range(n_tasks)]


def make_some(lists: BatchLists, runs: Iterable[Run]) -> Iterator[pa.RecordBatch]:
    """Make the lists of the runs of rows."""
    for start, stop in runs:
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
