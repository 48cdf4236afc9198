"""What a batch on Spark costs, by a formula from measured constants (``benchmarks/spark.py --parts table``).

With n users, E entries, W postings to read (the sum of raters_j^2 over all products), t search tasks, b blocks, q
queries and k neighbors:

    rows of neighbors   R  =  q * (1 - exp(-h * k / q)) * E / n * row                  bytes a user
    bytes shuffled      B  =  event * E  +  (t + 1) * piece * E  +  (list + R) * n
    seconds of a core      =  start + posting * W + (meet * b + user) * n + (entry + t * index) * E + byte * B
    hours                  =  seconds of a core / cores / 3,600

    constant    classic, k = 20   taste, k = 200
    start       10 s              10 s            the first use of all code, and some twenty jobs of Spark
    posting     2.0 ns            3.9 ns          search: a posting read
    meet        1.4 µs            11.7 µs         search: a user and a block
    user        30 µs             30 µs           a list, and its rows in a Parquet file
    entry       2 µs              2 µs            an event counted, coded and sent; rows made of events, sums
    index       80 ns             90 ns           an entry of a block's index, in each task
    byte        20 ns             20 ns           a byte on its way: pickled, shuffled, joined, ranked
    event       12 bytes          12 bytes        an event on its way to its part
    piece       6 bytes           6 bytes         an entry that travels; with interactions up to 14
    list        240 bytes         2,300 bytes     a user with k neighbors
    row         3 bytes           6 bytes         an entry of a neighbor's row; by classic, short rows are near
    h           0.4               0.85            how different the neighbors of the users of a query are

``posting``, ``meet`` and ``index`` are seconds of the kernels alone, at 200,000 users, 300,000 products and 3.8 million
ratings (the shape of benchmarks/neighbors.py), with one and with four blocks. ``h`` was counted at 50,000 and 200,000
users: of 200,000 by classic, 4,096 in a row have 28,000 different neighbors; of 50,000 by taste, 1,041 have 45,000.
All others come from whole runs of these sizes (``python -m benchmarks.spark --parts cost``), and a test holds the
formula against these. Bytes are counted after compression, seconds on the machine of docs/performance.md, all of whose
cores are taken to be busy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recommender.spark.lists.plan import QUERIES_PER_TASK, ROW_ENTRIES, Shape, Sizes, cluster_of, sizes_for

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CORES_OF_AN_EXECUTOR, MEMORY_OF_AN_EXECUTOR = 4, 32 << 30


class Constants(NamedTuple):
    """The constants of a ranking: seconds of a core, and bytes."""

    k: int
    posting: float
    meet: float
    indexing: float
    near: int  # bytes of a list
    row: int
    different: float  # h


START, USER, ENTRY, BYTE = 10.0, 30e-6, 2e-6, 20e-9
EVENT_BYTES, PIECE_BYTES = 12, 6
CLASSIC = Constants(20, 2.0e-9, 1.4e-6, 80e-9, 240, 3, 0.4)
TASTE = Constants(200, 3.9e-9, 11.7e-6, 90e-9, 2_300, 6, 0.85)


class Cost(NamedTuple):
    """What a run costs."""

    sizes: Sizes
    blocks: int
    seconds: float  # of a core
    shuffled: float  # bytes

    def hours(self, cores: int) -> float:
        """Return the hours on so many cores."""
        return self.seconds / cores / 3_600


def postings(n_products: int, n_entries: int) -> float:
    """Return the expected sum of raters^2 in a shop of the shape of benchmarks/neighbors.py.

    The product of rank r has a share of the entries that falls like (r + 10)^-0.8. Measured there: 0.92 to 0.94 of it.
    """
    return n_entries**2 * _powers(n_products, -1.6) / _powers(n_products, -0.8) ** 2 + n_entries


def _powers(n: int, power: float) -> float:
    """Return the sum of (r + 10)^power for r below ``n``; beyond a million, where it is smooth, the integral."""
    few = min(n, 1_000_000)
    rest = ((n + 9.5) ** (power + 1) - (few + 9.5) ** (power + 1)) / (power + 1)
    return float(((np.arange(few) + 10.0) ** power).sum() + rest)


def cost(shape: Shape, work: float, memory: int, cores: int, c: Constants) -> Cost:
    """Return what the lists of a shop cost with ``work`` postings to read, on workers of so much memory."""
    sizes, n, entries = sizes_for(shape, memory, cores), shape.n_users, shape.n_events
    blocks = -(-(entries + ROW_ENTRIES * n) // sizes.block_entries)
    queries = max(n / sizes.query_rows, QUERIES_PER_TASK * sizes.n_tasks)
    copies = queries * -math.expm1(-c.different * c.k / queries)  # of the rows of a user
    rows = copies * entries / n * c.row
    shuffled = EVENT_BYTES * entries + (sizes.n_tasks + 1) * PIECE_BYTES * entries + (c.near + rows) * n
    seconds = START + c.posting * work + (c.meet * blocks + USER) * n
    seconds += (ENTRY + sizes.n_tasks * c.indexing) * entries + BYTE * shuffled
    return Cost(sizes, blocks, seconds, shuffled)


def cost_on(spark: SparkSession, ranking: str, n_users: int, n_products: int, n_ratings: int) -> Cost:
    """Return what the lists of such a shop cost on this cluster; ``ranking``: classic or taste."""
    c = {"classic": CLASSIC, "taste": TASTE}[ranking]
    return cost(Shape(n_ratings, n_users, c.k), postings(n_products, n_ratings), *cluster_of(spark), c)


def cost_table() -> str:
    """Return the costs for 1, 10 and 100 million users, 19 ratings each and 1.5 products for each, as Markdown."""
    lines = ["| users | ranking | executors | blocks | tasks | shuffled | core hours | hours |", "|---|" + "---:|" * 7]
    for n, executors in ((1_000_000, 1), (10_000_000, 8), (100_000_000, 64)):
        work, cores = postings(int(1.5 * n), 19 * n), executors * CORES_OF_AN_EXECUTOR
        memory = MEMORY_OF_AN_EXECUTOR // CORES_OF_AN_EXECUTOR // 2
        for name, c in (("classic", CLASSIC), ("taste", TASTE)):
            found = cost(Shape(19 * n, n, c.k), work, memory, cores, c)
            lines.append(
                f"| {n:,} | {name} | {executors} | {found.blocks} | {found.sizes.n_tasks} | "
                f"{found.shuffled / 1e9:,.0f} GB | {found.seconds / 3_600:,.1f} | {found.hours(cores):,.2f} |"
            )
    return "\n".join(lines)
