"""What a batch on Spark costs, by a formula from measured constants: `python -m recommender.spark.lists.cost`.

With n users, E entries, W postings to read (the sum of raters_j^2 over all products), t search tasks, b blocks, q
queries, k neighbors and a share s of them that no other user of the query has:

    rows of neighbors   R  =  s * min(k, q) * E / n * piece                              bytes a user
    bytes shuffled      B  =  30 E (events)  +  t * piece * E (candidates)  +  (list + R) * n
    seconds of a core      =  posting * W + meet * n * b + (user + bring * R) * n + (entry + t * index) * E + byte * B
    hours                  =  seconds of a core / cores / 3,600

    constant    classic, k = 20   taste, k = 200
    posting     2.0 ns            3.9 ns        search: a posting read
    meet        1.4 µs            11.7 µs       search: a user and a block
    user        8 µs              4 µs          a list without its neighbors' rows
    bring       14 ns             14 ns         a byte of the neighbors' rows: asked for, sent, joined, ranked
    entry       130 ns            150 ns        rows made of events, first sums
    index       80 ns             90 ns         an entry of a block's index, in each task
    piece       6 bytes           14 bytes      an entry that travels
    list        350 bytes         2,780 bytes   a user with k neighbors
    s           0.25              1             taste: the bound

The tasks alone, seconds of one core of the machine of docs/performance.md, at 200,000 users, 300,000 products and 3.8
million ratings (the shape of benchmarks/neighbors.py), with one and with four blocks. A test holds the formula against
the seconds measured at 50,000 and 200,000 users. ``byte``, 40 ns for the way of a byte through Spark, is rough: one run
on a busy machine, 200,000 users by classic on local[2], took 16 s of a core more than its tasks for 415 MB.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recommender.spark.lists.plan import QUERIES_PER_TASK, ROW_ENTRIES, Shape, Sizes, sizes_for

EVENT_BYTES = 30
CORES_OF_AN_EXECUTOR, MEMORY_OF_AN_EXECUTOR = 4, 32 << 30


class Constants(NamedTuple):
    """The constants of a ranking: seconds of a core, and bytes."""

    k: int
    posting: float
    meet: float
    user: float
    entry: float
    indexing: float
    piece: int
    near: int
    distinct: float  # s


BRING, BYTE = 14e-9, 40e-9
CLASSIC = Constants(20, 2.0e-9, 1.4e-6, 8e-6, 130e-9, 80e-9, 6, 350, 0.25)
TASTE = Constants(200, 3.9e-9, 11.7e-6, 4e-6, 150e-9, 90e-9, 14, 2_780, 1.0)


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
    share = (np.arange(n_products) + 10.0) ** -0.8
    share /= share.sum()
    return float(n_entries**2 * (share**2).sum() + n_entries)


def cost(shape: Shape, work: float, memory: int, cores: int, c: Constants) -> Cost:
    """Return what the lists of a shop cost with ``work`` postings to read, on workers of so much memory."""
    sizes, n, entries = sizes_for(shape, memory, cores), shape.n_users, shape.n_events
    blocks = -(-(entries + ROW_ENTRIES * n) // sizes.block_entries)
    queries = max(n / sizes.query_rows, QUERIES_PER_TASK * sizes.n_tasks)
    rows = c.distinct * min(c.k, queries) * entries / n * c.piece
    shuffled = EVENT_BYTES * entries + sizes.n_tasks * c.piece * entries + (c.near + rows) * n
    seconds = c.posting * work + (c.meet * blocks + c.user + BRING * rows) * n
    seconds += (c.entry + sizes.n_tasks * c.indexing) * entries + BYTE * shuffled
    return Cost(sizes, blocks, seconds, shuffled)


def table() -> str:
    """Return the costs for 1, 10 and 100 million users, 19 ratings each and 1.5 products for each, as Markdown."""
    lines = ["| users | ranking | executors | blocks | tasks | shuffled | core hours | hours |", "|---|" + "---:|" * 7]
    for n, executors in ((1_000_000, 1), (10_000_000, 8), (100_000_000, 64)):
        work, cores = postings(int(1.5 * n), 19 * n), executors * CORES_OF_AN_EXECUTOR
        memory = MEMORY_OF_AN_EXECUTOR // CORES_OF_AN_EXECUTOR // 2
        for name, c in (("classic", CLASSIC), ("taste", TASTE)):
            found = cost(Shape(19 * n, n, c.k), work, memory, cores, c)
            lines.append(
                f"| {n:,} | {name} | {executors} | {found.blocks} | {found.sizes.n_tasks} | "
                f"{found.shuffled / 1e9:,.0f} GB | {found.seconds / 3_600:,.1f} | {found.hours(cores):,.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
