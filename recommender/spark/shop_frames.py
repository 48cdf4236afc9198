"""A shop as Spark reads it: the frames on the executors, the catalog and a few facts on the driver.

An executor that is lost takes its part of the frames with it. Another one reads that part of the tables again, as it is
by then, so a row of a product or a user that was not there at first may turn up later: it is left out, and the live
updates find it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recommender.shop import HALF_STARS, NOTHING_READ, Cursor, ProductCatalog, Scale
from recommender.spark.frames import Frames

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

RATINGS = "user_id long, product_id string, steps byte, rated_at long"
INTERACTIONS = "user_id long, product_id string, kind byte, time long"
PEOPLE = "user_id long, country string, age_group string"
NAMES = "user_id long, text string"


@dataclass(frozen=True, eq=False)
class ShopFrames:
    """The counterpart of `recommender.shop.Snapshot`."""

    frames: Frames
    catalog: ProductCatalog
    n_ratings: int
    scale: Scale = HALF_STARS
    people: str | None = None  # the token of the people
    cursor: Cursor = NOTHING_READ  # read before all rows
    left_out: Mapping[str, int] = field(default_factory=dict)


def as_frame(rows: DataFrame, schema: str) -> DataFrame:
    """Return the columns of ``schema`` in its types."""
    columns = [column.split() for column in schema.split(", ")]
    return rows.selectExpr(*(f"CAST({name} AS {kind}) AS {name}" for name, kind in columns))
