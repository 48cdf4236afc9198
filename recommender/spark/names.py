"""What the shop calls its users, for a shop of texts: `recommender.database.user_names` on Spark."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from recommender.shop import UserId, UserIds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def all_names(known: DataFrame, frames: Sequence[DataFrame]) -> DataFrame:
    """Return the texts of ``known`` and of all users in ``frames``.

    A user without a text is called by the digits of the stored number, or, where these are somebody's text, by the
    digits behind a ``#``.
    """
    numbers = reduce(lambda left, right: left.union(right), [frame.select("user_id") for frame in frames])
    nameless = numbers.distinct().join(known, "user_id", "left_anti")
    nameless = nameless.selectExpr("user_id", "CAST(user_id AS string) AS text")
    taken = nameless.join(known.select("text"), "text", "left_semi")
    free = nameless.join(taken.select("user_id"), "user_id", "left_anti")
    return known.union(free.select("user_id", "text")).union(taken.selectExpr("user_id", "concat('#', text)"))


def numbered(texts: DataFrame) -> DataFrame:
    """Return the distinct ``texts`` with numbers from 1 on in the order of their bytes, as step 2 gives them at first.

    The numbers decide who gets a new product, so they depend on the texts alone, not on the parts that these are in.
    """
    from pyspark.sql import functions as f

    place = f.monotonically_increasing_id()  # within the part, and the number of the part above 33 bits
    ordered = texts.distinct().sort("text").select("text", place.alias("place")).persist()
    ordered = ordered.select(
        "text", f.shiftright("place", 33).alias("part"), f.expr("place & 8589934591L").alias("place")
    )
    sizes = ordered.groupBy("part").count().toArrow().sort_by("part")
    ends = np.cumsum(sizes["count"].to_numpy())
    firsts = pa.table({"part": sizes["part"], "first": np.concatenate([[1], ends + 1])[:-1]})
    starts = f.broadcast(texts.sparkSession.createDataFrame(firsts))
    return ordered.join(starts, "part").selectExpr("first + place AS user_id", "text")


class NamesOnSpark(UserIds):
    """The texts of a few users, asked for one by one (those erased since the rows were read)."""

    is_text = True

    def __init__(self, names: DataFrame) -> None:
        self._names = names

    def of(self, number: int) -> UserId:
        """Return the shop's id of a stored number."""
        found = self._names.where(f"user_id = {int(number)}").select("text").limit(1).collect()
        return str(found[0]["text"]) if found else str(number)
