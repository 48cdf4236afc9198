"""The sizes of a run: how the work is divided so that no worker needs more memory than it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BYTES_PER_ENTRY = 64  # of a worker, for each entry of the block that it has an index of
PIECE_ENTRIES = 1_000_000


class Sizes(NamedTuple):
    """How the work is divided."""

    n_parts: int  # ranges of users
    piece_rows: int  # rows of a piece, at most
    query_rows: int  # rows that are ranked together, at most
    block_entries: int  # entries of an index
    n_tasks: int  # of the search, and of the ranking


def sizes_for(spark: SparkSession, n_events: int) -> Sizes:
    """Return the sizes for so many ratings and interactions on this cluster."""
    context = spark.sparkContext
    cores = max(int(context.getConf().get("spark.executor.cores") or 0), 1)
    memory = context.getConf().get("spark.executor.memory") or "1g"
    block = max(_bytes_of(memory) // cores // 2 // BYTES_PER_ENTRY, PIECE_ENTRIES)
    n_parts = max(1, min(2 * context.defaultParallelism, n_events // PIECE_ENTRIES), n_events // block)
    return Sizes(n_parts, 4096, 4096, block, 3 * context.defaultParallelism)


def _bytes_of(memory: str) -> int:
    """Return the bytes of a size as Spark writes it.

    >>> _bytes_of("512m"), _bytes_of("2g")
    (536870912, 2147483648)
    """
    units = {"k": 10, "m": 20, "g": 30, "t": 40}
    text = memory.lower().removesuffix("b")
    return int(text[:-1]) << units[text[-1]] if text[-1] in units else int(text) << 20
