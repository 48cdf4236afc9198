"""The shop's tables as DataFrames, and what a batch on Spark is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from recommender.items import ItemWeights
from recommender.model import ModelSettings
from recommender.ranking import AutoParameters

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True, eq=False)
class Frames:
    """All usable rows of the shop's tables, none with a NULL id, persisted: each is read several times.

    ``ratings``: user_id long, product_id string, steps byte (of the scale), rated_at long (microseconds since 1970 or
    `NO_TIME`), one row for a user and a product. ``interactions``: user_id, product_id, kind byte (into
    `INTERACTION_TYPES`), time long; None: there are none, or the ranking does not use them. ``people``: user_id,
    country string, age_group string. ``names``: user_id, text string, of a shop whose ids are texts; user_id is then
    the stored number, and a user without a name is in no list. None: the ids are whole numbers.
    """

    ratings: DataFrame
    interactions: DataFrame | None = None
    people: DataFrame | None = None
    names: DataFrame | None = None


@dataclass(frozen=True, eq=False)
class ListsJob:
    """What lists are wanted: ``n`` products for each of the ``users`` smallest user_ids (None: all).

    ``answers`` names the ranking, as for a local batch. ``version`` decides who gets a new product. ``parameters``:
    what auto chose; ``item_weights``: B, for items and a fusion with it. Both are trained on the driver.
    """

    answers: ModelSettings
    users: int | None
    n: int
    version: int
    generated_at: datetime
    parameters: AutoParameters | None = None
    item_weights: ItemWeights | None = None
