"""What the driver knows of a shop on Spark: its products, how many users it has, a fingerprint, a bounded sample.

The products grow with the catalog, the sample has a bound (`recommender.shop.sample`), all else is a few numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.errors import UnknownUserError
from recommender.shop import (
    MOST_SAMPLED,
    NUMBERS_AS_THEY_ARE,
    Interactions,
    People,
    Snapshot,
    TextIds,
    UserId,
    UserIds,
    build_rating_matrix,
    cut_of,
    fingerprint_of,
    hash_bins,
    in_sample,
    number_of,
    places_of,
    product_id_bytes,
)
from recommender.spark.one_version import of_one_version
from recommender.spark.shop_frames import INTERACTIONS, RATINGS, ShopFrames

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FORMAT = 1  # counts up when a release makes other lists from the same data and settings
_NOBODY = People(np.empty(0, np.int64), pa.chunked_array([], pa.string()), pa.chunked_array([], pa.string()))


class ShopFacts:
    """Facts of ``shop``, each computed when it is first asked for; ``by_taste``: the ranking uses the interactions."""

    def __init__(self, shop: ShopFrames, *, by_taste: bool) -> None:
        self.shop, self._log = shop, shop.frames.interactions if by_taste else None
        self._by_taste = by_taste

    @property
    def shape(self) -> tuple[int, int]:
        """The number of users who get a list, and of products they have, as the shape of a matrix."""
        return self._n_users, len(self.product_ids)

    @cached_property
    def n_events(self) -> int:
        """The number of ratings and of interactions."""
        log = self.shop.frames.interactions
        return self.shop.n_ratings + (0 if log is None else log.count())

    @cached_property
    def _n_people(self) -> int:
        return 0 if self.shop.frames.people is None else self.shop.frames.people.count()

    def has_at_most(self, most: int) -> bool:
        """Tell whether there are ``most`` ratings, interactions and people together, or fewer."""
        return self.n_events <= most and self.n_events + self._n_people <= most

    @cached_property
    def _everything(self) -> tuple[pa.Table, pa.Table | None] | None:
        """All ratings and interactions, if a sample would have them all: then they answer what a job would."""
        if not self.has_at_most(MOST_SAMPLED):
            return None
        log = self.shop.frames.interactions
        return self.shop.frames.ratings.toArrow(), None if log is None else log.toArrow()

    def _values(self, column: str, log: DataFrame | None) -> pa.Array:
        """Return the values of a column of the ratings, and of the interactions if they are given, each once."""
        if self._everything is None:
            return _distinct(self.shop.frames.ratings, log, column).toArrow()[column].combine_chunks()
        rated, events = self._everything
        tables = [rated] if log is None or events is None else [rated, events]
        return pa.chunked_array([c for one in tables for c in one[column].chunks], rated[column].type).unique()

    @cached_property
    def _n_users(self) -> int:
        if self._everything is None:
            return _distinct(self.shop.frames.ratings, self._log, "user_id").count()
        return len(self._values("user_id", self._log))

    @cached_property
    def product_ids(self) -> NDArray[np.bytes_]:
        """The products that the users have, (n,) ascending."""
        return _product_ids(self._values("product_id", self._log))

    @cached_property
    def recommendable(self) -> NDArray[np.bool_]:
        """Which of them are in the catalog, (n,)."""
        return self.shop.catalog.rows_of(self.product_ids) >= 0

    def user(self, wanted: str | None) -> UserId:
        """Return a user by the shop's id as text; None: the smallest of those who have a list. UnknownUserError."""
        names = self.shop.frames.names
        users = _distinct(self.shop.frames.ratings, self._log, "user_id")
        if names is not None:
            users = names.join(users, "user_id", "left_semi").selectExpr("text AS user_id")
            asked: UserId | None = wanted
        else:
            asked = wanted if wanted is None else number_of(wanted)
        if wanted is None:
            found = users.selectExpr("min(user_id) AS user_id").collect()
        else:
            found = [] if asked is None else users.where(users["user_id"] == asked).limit(1).collect()
        if not found:
            raise UnknownUserError(wanted)
        return cast(UserId, found[0]["user_id"])

    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that differ when the data behind the lists do.

        The sums of the hashes of all rows are the same in any order of the rows. The digits are others than those of
        the local batch for the same data.
        """
        frames = self.shop.frames
        ratings = frames.ratings if self._by_taste else frames.ratings.drop("rated_at")
        people = frames.people if self._by_taste or frames.people is None else frames.people.select("user_id")
        sums = [_sums(frame) for frame in (ratings, self._log, people, frames.names)]
        text = f"spark {FORMAT}; {json.dumps([self.shop.scale.to_json(), sums])}"
        return fingerprint_of(text, *self.shop.catalog.arrays())

    def sample(self, most: int = MOST_SAMPLED) -> Snapshot:
        """Return everybody's ratings, with times, and interactions, or those of a sample if they are over ``most``.

        A sample of some users has no people.
        """
        shop, log = self.shop, self.shop.frames.interactions
        if self._everything is None or self.n_events > most:
            cut = self._cut(most)
            rated = _of_sample(cut, shop.frames.ratings, RATINGS).toArrow()
            events = None if log is None else _of_sample(cut, log, INTERACTIONS).toArrow()
        else:
            rated, events = self._everything
        ids = self._ids_of([table["user_id"] for table in (rated, events) if table is not None])
        product_ids = self.product_ids if self._log is None else _product_ids(self._values("product_id", None))
        matrix = build_rating_matrix(
            rated["user_id"].to_numpy(),
            product_ids,
            _codes(rated["product_id"], product_ids),
            rated["steps"].to_numpy(),
            in_catalog=shop.catalog.rows_of(product_ids) >= 0,
            rated_at=rated["rated_at"].to_numpy(),
            left_out=shop.left_out,
            scale=shop.scale,
            ids=ids,
        )
        matrix = replace(matrix, people=shop.people, cursor=shop.cursor)
        people = _NOBODY if self._everything is None or shop.frames.people is None else _people(shop.frames.people)
        return Snapshot(matrix, shop.catalog, people, None if events is None else _interactions(events))

    def _cut(self, most: int) -> int:
        """Return the cut of the sample, from the number of rows of each user."""
        users = _union(self.shop.frames.ratings, self.shop.frames.interactions, "user_id")
        counts = users.groupBy("user_id").count().mapInArrow(of_one_version(_bins), "bins binary")
        bins = sum(np.frombuffer(row["bins"], np.int64) for row in counts.toLocalIterator())
        return cut_of(np.asarray(bins), most)

    def _ids_of(self, user_ids: list[pa.ChunkedArray]) -> UserIds:
        names = self.shop.frames.names
        if names is None:
            return NUMBERS_AS_THEY_ARE
        asked = pa.table(
            {"user_id": pa.chunked_array([c for one in user_ids for c in one.chunks], pa.int64()).unique()}
        )
        spark = names.sparkSession
        found = names.join(spark.createDataFrame(asked), "user_id", "left_semi").toArrow()
        texts = found["text"].cast(pa.binary()).to_pylist()
        return TextIds.made(np.array(texts, np.bytes_), found["user_id"].to_numpy())


def _union(frame: DataFrame, other: DataFrame | None, column: str) -> DataFrame:
    return frame.select(column) if other is None else frame.select(column).union(other.select(column))


def _distinct(frame: DataFrame, other: DataFrame | None, column: str) -> DataFrame:
    return _union(frame, other, column).distinct()


def _product_ids(values: pa.Array) -> NDArray[np.bytes_]:
    found = product_id_bytes(values)
    assert found is not None  # usable
    return np.sort(found)


def _codes(column: pa.ChunkedArray, product_ids: NDArray[np.bytes_]) -> NDArray[np.int32]:
    """Return the place of each product (n,) among ``product_ids``."""
    encoded = column.dictionary_encode()  # all chunks have one dictionary
    if not encoded.num_chunks:
        return np.empty(0, np.int32)
    names = product_id_bytes(encoded.chunk(encoded.num_chunks - 1).dictionary)
    assert names is not None
    places = places_of(product_ids, names)
    return np.concatenate([places[chunk.indices.to_numpy()] for chunk in encoded.chunks])


def _people(frame: DataFrame) -> People:
    table = frame.toArrow().sort_by("user_id")
    return People(table["user_id"].to_numpy(), table["country"], table["age_group"])


def _interactions(table: pa.Table) -> Interactions | None:
    if not len(table):
        return None
    product_ids = product_id_bytes(table["product_id"].unique())
    assert product_ids is not None
    product_ids = np.sort(product_ids)
    codes = _codes(table["product_id"], product_ids)
    return Interactions(
        table["user_id"].to_numpy(), codes, product_ids, table["kind"].to_numpy(), table["time"].to_numpy()
    )


def _bins(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the sum of the bins of these users and their numbers of rows."""
    parts: Any = [hash_bins(b.column("user_id").to_numpy(), b.column("count").to_numpy()) for b in batches]
    if parts:
        yield pa.record_batch({"bins": pa.array([sum(parts).tobytes()], pa.binary())})


def _of_sample(cut: int, frame: DataFrame, schema: str) -> DataFrame:
    def chosen(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch.filter(pa.array(in_sample(batch.column("user_id").to_numpy(), cut)))

    return frame.mapInArrow(of_one_version(chosen), schema)


def _sums(frame: DataFrame | None) -> list[str]:
    """Return the number of rows, and the sums of two hashes of each, as text."""
    if frame is None:
        return []
    columns = ", ".join(frame.columns)
    hashes = [f"CAST(SUM(CAST(xxhash64({seed}{columns}) AS DECIMAL(38, 0))) AS STRING)" for seed in ("", "1L, ")]
    return [str(value) for value in frame.selectExpr("CAST(COUNT(*) AS STRING)", *hashes).collect()[0]]
