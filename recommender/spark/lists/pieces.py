"""From the tables to pieces: rows of users in the order of the shop, with products by column.

Products. The driver knows all distinct product ids, sorted by their bytes of UTF-8: the column is the place.
Users. Ranges of user_ids, or of texts by their bytes, go to one part each. Sorted within the parts, users have the
order of the local matrix, and the sizes of the parts before say which row of the whole comes first. The bounds of the
ranges come from a sample by a hash of the id, so a part that is computed again has the same users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.shop import People, Scale, places_of
from recommender.spark.frames import Frames
from recommender.spark.lists.exchange import SCHEMA, Message, as_batch
from recommender.spark.lists.user_rows import A_RATING, A_SEGMENT, Events, UserRows
from recommender.spark.one_version import of_one_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_SAMPLED = 100_000  # events of the users whose ids tell where the ranges end


@dataclass(frozen=True, eq=False)
class Codes:
    """What turns events into rows."""

    product_ids: NDArray[np.bytes_]  # ascending
    bounds: NDArray[Any]  # first user of each part but the first: stored numbers, or bytes of UTF-8
    scale: Scale
    weights: tuple[float, ...] | None  # of the interactions; None: ratings alone count


def events_of(frames: Frames) -> DataFrame:
    """Return ratings and interactions in one frame; texts of a text shop beside them."""
    from pyspark.sql import functions as f

    kind, no_steps = f.lit(A_RATING).cast("byte"), f.lit(0).cast("byte")
    events = frames.ratings.select(
        "user_id", "product_id", kind.alias("kind"), "steps", f.col("rated_at").alias("time")
    )
    if frames.interactions is not None:
        log = frames.interactions.select("user_id", "product_id", "kind", no_steps.alias("steps"), "time")
        events = events.unionByName(log)
    return _named(events, frames)


def _named(events: DataFrame, frames: Frames) -> DataFrame:
    return events if frames.names is None else events.join(frames.names, "user_id")


def with_segments(events: DataFrame, frames: Frames) -> tuple[DataFrame, int]:
    """Return the events and beside them the segment of each user (an event of A_SEGMENT), and how many there are."""
    from pyspark.sql import functions as f

    people, names = coded_people(frames)
    if people is None:
        return events, 0
    kind, no_steps, segment = f.lit(A_SEGMENT).cast("byte"), f.lit(0).cast("byte"), f.col("segment").alias("time")
    mine = people.select("user_id", f.lit("").alias("product_id"), kind.alias("kind"), no_steps.alias("steps"), segment)
    return events.unionByName(_named(mine, frames)), len(names)


def coded_people(frames: Frames) -> tuple[DataFrame | None, tuple[tuple[str, str], ...]]:
    """Return user_id and segment (long) of the people who have one, None if nobody has, and the segments' names."""
    from pyspark.sql import functions as f

    if frames.people is None:
        return None, ()
    pairs = frames.people.select("country", "age_group").distinct().toArrow()
    numbers = np.arange(len(pairs))
    segments = People(numbers, pairs["country"], pairs["age_group"]).segments(numbers)
    codes = pairs.append_column("segment", pa.array(segments.codes.astype(np.int64)))
    known = codes.filter(pa.array(segments.codes >= 0))
    if not len(known):
        return None, ()
    table = f.broadcast(frames.people.sparkSession.createDataFrame(known))
    return frames.people.join(table, ["country", "age_group"]).select("user_id", "segment"), segments.names


def products_of(events: DataFrame) -> tuple[NDArray[np.bytes_], int]:
    """Return the distinct product ids, ascending, and the number of events."""
    table = events.groupBy("product_id").count().toArrow()
    return np.sort(_bytes_of(table["product_id"])), int(np.sum(table["count"].to_numpy()))


class SomeUsers(NamedTuple):
    """Some users, ascending, with the number of events of each, and how many users there are for each of them."""

    keys: NDArray[Any]  # user_ids, or texts as bytes of UTF-8
    counts: NDArray[np.int64]
    one_in: int

    def bounds(self, n_parts: int) -> NDArray[Any]:
        """Return the first user of each part but the first: parts of about equally many events."""
        if not len(self.keys):
            return self.keys
        ends = np.cumsum(self.counts)
        at = np.searchsorted(ends, np.arange(1, n_parts) * int(ends[-1]) / n_parts)
        return np.unique(self.keys[np.minimum(at, len(self.keys) - 1)])


def some_users(events: DataFrame, n_events: int) -> SomeUsers:
    """Return the users of a sample by a hash of their ids."""
    from pyspark.sql import functions as f

    user, one_in = "text" if "text" in events.columns else "user_id", max(n_events // _SAMPLED, 1)
    table = events.where(f.pmod(f.xxhash64(user), f.lit(one_in)) == 0).groupBy(user).count().toArrow()
    keys, counts = _user_keys(table[user]), table["count"].to_numpy()
    order = np.argsort(keys)
    return SomeUsers(keys[order], counts[order], one_in)


def _user_keys(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return user_ids, or texts as bytes of UTF-8."""
    return np.asarray(column.to_numpy(), np.int64) if pa.types.is_integer(column.type) else _bytes_of(column)


def _bytes_of(texts: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """Return texts as bytes of UTF-8."""
    values: NDArray[Any] = texts.cast(pa.binary()).to_numpy(zero_copy_only=False)
    return values.astype(np.bytes_) if len(values) else np.empty(0, "S1")


def pieces_of(events: DataFrame, codes: Codes, piece_rows: int) -> DataFrame:
    """Return the pieces of all users: messages with rows, by the number of the part and the place within it."""
    from pyspark.sql import functions as f

    named = ", text string" if "text" in events.columns else ""
    known = events.sparkSession.sparkContext.broadcast(codes)
    schema = f"part int, user_id long, column int, kind byte, steps byte, time long{named}"
    coded = events.mapInArrow(of_one_version(partial(_coded, known)), schema)
    parted = coded.repartitionById(len(codes.bounds) + 1, f.col("part"))
    return parted.mapInArrow(of_one_version(partial(_packed, known, piece_rows)), SCHEMA)


def _coded(known: Any, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Write columns and parts into the events, and drop those of products that the driver has not seen."""
    codes: Codes = known.value
    for batch in batches:
        table = pa.Table.from_batches([batch])
        ids = _bytes_of(table["product_id"])
        columns = places_of(codes.product_ids, ids)
        people = table["kind"].to_numpy() == A_SEGMENT
        columns[people] = table["time"].to_numpy()[people]
        users = _user_keys(table["text" if "text" in table.column_names else "user_id"])
        parts = np.searchsorted(codes.bounds, users, side="right").astype(np.int32)
        kept = table.select(
            [name for name in ("user_id", "kind", "steps", "time", "text") if name in table.column_names]
        )
        coded = kept.append_column("part", pa.array(parts)).append_column("column", pa.array(columns))
        names = [
            "part",
            "user_id",
            "column",
            "kind",
            "steps",
            "time",
            *(["text"] if "text" in coded.column_names else []),
        ]
        yield from coded.select(names).filter(pa.array(columns >= 0)).to_batches()


def _packed(known: Any, piece_rows: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Make rows of the events of one part, and cut them into pieces."""
    codes: Codes = known.value
    held = list(batches)
    if not any(len(batch) for batch in held):
        return
    table = pa.Table.from_batches(held)
    names = _user_keys(table["text"]) if "text" in table.column_names else None
    arrays = (table[name].to_numpy() for name in ("column", "kind", "steps", "time"))
    events = Events(table["user_id"].to_numpy(), names, *arrays)
    rows = UserRows.of(events, len(codes.product_ids), codes.scale, codes.weights)
    part = table["part"][0].as_py()
    for place, start in enumerate(range(0, len(rows), piece_rows)):
        own = rows.take(np.arange(start, min(start + piece_rows, len(rows))))
        yield as_batch(Message(part, place, own))
