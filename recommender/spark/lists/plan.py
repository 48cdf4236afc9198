"""The sizes of a run, computed from the executors' memory and cores: nobody is asked for a block size.

A Python worker runs one task. Its share is M = spark.executor.memory / tasks at a time of an executor / 2: beside the
JVM's heap an executor needs as much again for its Python workers (spark.executor.memoryOverhead). On one machine
(local[n]) it is half of the memory for all n. With E entries (a user and a product each), n users and k neighbors, a
worker holds at most

    a part          100 bytes an entry: events, and the rows made of them       E / parts <= M / 100
    a block         96 bytes an entry, 384 a row: rows, joined, and an index    entries + 4 rows <= M / 2 / 96
    its queries     24 k bytes a row, 64 an entry: two lists of neighbors       rows of a task <= M / 4 / (...)
    a ranked query  64 bytes for each of k E / n entries that a row needs       rows of a query <= M / 4 / (...)

and the driver some numbers for each product, and some for each query of thousands of users. Every query meets every
block, so with t search tasks each piece travels t times: 13 t E bytes, before compression. Few tasks of much work
travel less, and more tasks balance better: 3 for each core, or more if their queries need the memory.

Work is counted in postings read: sum of raters_j over all columns j of a row. The sum over all rows is sum of
raters_j^2, which the driver knows once raters are counted. Queries are cut at 1/8 of a task's share of it, whatever
block they meet. So neither a user of 100,000 ratings nor a product that half of all users have makes a task more than
3 x the median (`recommender.spark.lists.layout`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from recommender.arrays import memory_share

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PART_BYTES, BLOCK_BYTES, ENTRY_BYTES, NEIGHBOR_BYTES = 100, 96, 64, 24  # see above
ROW_ENTRIES = 4  # the memory of a row in an index, in entries
TASKS_PER_CORE = 3
QUERIES_PER_TASK = 8  # so that tasks can be made of equal work
PIECE_ENTRIES = 250_000  # of a message: some megabytes
MOST_ROWS, LEAST_ROWS = 4_096, 64  # of a query
LEAST_SHARE = 64 << 20  # bytes of a worker


class Sizes(NamedTuple):
    """How the work is divided."""

    n_parts: int  # ranges of users
    piece_rows: int  # rows of a piece, at most
    query_rows: int  # rows that are ranked together, at most
    block_entries: int  # entries of an index, where a row counts as 4 more
    n_tasks: int  # of the search, and of the ranking


class Shape(NamedTuple):
    """The size of a shop, and of what is asked for."""

    n_events: int
    n_users: int
    k: int  # neighbors


def sizes_for(shape: Shape, memory: int, cores: int) -> Sizes:
    """Return the sizes for workers of ``memory`` bytes each, of which ``cores`` run at a time.

    >>> sizes_for(Shape(200_000_000, 10_000_000, 200), 2 << 30, 64)
    Sizes(n_parts=192, piece_rows=4096, query_rows=2097, block_entries=11184810, n_tasks=192)
    >>> sizes_for(Shape(30_000, 5_000, 20), 512 << 20, 2)
    Sizes(n_parts=2, piece_rows=4096, query_rows=4096, block_entries=2796202, n_tasks=6)
    """
    length = max(shape.n_events / max(shape.n_users, 1), 1.0)
    n_tasks = TASKS_PER_CORE * cores
    row = NEIGHBOR_BYTES * shape.k + ENTRY_BYTES * length
    query_rows = int(memory / 4 / (shape.k * length * ENTRY_BYTES))
    return Sizes(
        n_parts=max(
            min(n_tasks, -(-shape.n_events // PIECE_ENTRIES)), cores, -(-shape.n_events * PART_BYTES // memory)
        ),
        piece_rows=max(min(int(PIECE_ENTRIES / length), MOST_ROWS), LEAST_ROWS),
        query_rows=max(min(query_rows, MOST_ROWS), LEAST_ROWS),
        block_entries=max(memory // 2 // BLOCK_BYTES, PIECE_ENTRIES),
        n_tasks=max(n_tasks, int(shape.n_users * row // (memory // 4)) + 1),
    )


def fit_shuffles(spark: SparkSession, n_rows: int) -> None:
    """Let the joins of a shop of so many rows have parts as large as a piece, and one for each core at least.

    By itself Spark makes 200 parts, of a hundred rows as of a billion. Adaptive execution puts small ones together, but
    not in a frame that is kept.
    """
    parts = max(-(-n_rows // PIECE_ENTRIES), cluster_of(spark)[1])
    spark.conf.set("spark.sql.shuffle.partitions", str(parts))


def cluster_of(spark: SparkSession) -> tuple[int, int]:
    """Return the memory of a Python worker in bytes, and how many of them work at a time on all executors.

    The executors there are tell their cores: without ``spark.executor.cores`` a standalone cluster gives an executor
    all cores of its machine. On one machine the driver is the executor.
    """
    context: Any = spark.sparkContext
    executors = context._jvm.scala.jdk.javaapi.CollectionConverters.asJava(
        context._jsc.sc().statusStore().executorList(True)
    )
    of_a_task = int(spark.sparkContext.getConf().get("spark.task.cpus") or 1)
    workers = [n for one in executors if (n := int(one.totalCores()) // of_a_task)] or [1]
    if str(spark.sparkContext.master).startswith("local"):
        return memory_share() // sum(workers), sum(workers)
    return worker_share(int(context._jsc.sc().executorMemory()) << 20, max(workers)), sum(workers)


def worker_share(memory: int, workers: int) -> int:
    """Return the bytes of each of the Python workers of an executor with so much ``memory``.

    >>> worker_share(32 << 30, 4) == 4 << 30, worker_share(1 << 30, 16) == LEAST_SHARE
    (True, True)
    """
    return max(memory // workers // 2, LEAST_SHARE)
