"""A shop in a folder of Parquet files, in the form of `recommender.spark.frames`. Each may be a file or a folder.

    ratings.parquet       user_id, product_id, rating, created_at
    interactions.parquet  user_id, product_id, interaction_type, created_at
    users.parquet         user_id, country, age_group
    products.parquet      product_id (or asin), title, price, stars, category_id, in_stock

Those of ratings or interactions and of products have to be there. ``user_id`` is a whole number in all files, or a text
in all; ``product_id`` and the other names are texts, ``rating`` and the columns of products numbers, ``created_at`` a
time or date, UTC. A column after the first two of a file may be missing, but ``rating`` and ``interaction_type``. Other
columns are not read. Rows that are not usable are left out and counted, by the rules for tables
(`recommender.database.usable_rows`). A pair of user and product that is rated twice stops the batch, and so does a user
with two rows in users.parquet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.database import catalog_of, too_faulty, wanted_scale
from recommender.database.schema import INTERACTION_TYPES, interactions, products, ratings
from recommender.errors import InputFileError, RatingError
from recommender.settings import Settings
from recommender.shop import (
    DOTS,
    HALF_STARS,
    LONGEST_USER_ID,
    NO_TIME,
    ProductCatalog,
    Scale,
    all_are_ids,
    is_product_id,
    product_id_bytes,
)
from recommender.spark.causes import cause_in
from recommender.spark.folders import place_of
from recommender.spark.frames import Frames
from recommender.spark.lists.plan import fit_shuffles
from recommender.spark.names import numbered
from recommender.spark.one_version import of_one_version
from recommender.spark.shop_frames import INTERACTIONS, PEOPLE, RATINGS, ShopFrames, as_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NUMBER, TEXT, REAL, TIME = "a whole number", "text", "a number", "a time or a date"
ID, FLAG = f"{NUMBER} or {TEXT}", f"{REAL}, or true or false"
_WHOLE, _REAL = ("tinyint", "smallint", "int", "bigint"), ("float", "double", "decimal")
_KINDS = {
    NUMBER: _WHOLE,
    TEXT: ("string",),
    REAL: _WHOLE + _REAL,
    TIME: ("timestamp", "timestamp_ntz", "date"),
    ID: (*_WHOLE, "string"),
    FLAG: (*_WHOLE, *_REAL, "boolean"),
}
_MICROSECONDS = f"COALESCE(NULLIF(unix_micros(CAST(created_at AS TIMESTAMP)), 0), {NO_TIME}L)"
_CONTROL = r"[\x{00}-\x{1f}\x{7f}-\x{9f}]"
# what the tables of a database give as it is
_FACTS = {"title": "string", "price": "double", "stars": "double", "category_id": "bigint"}


class ParquetSource:
    """The files of one folder."""

    def __init__(self, spark: SparkSession, folder: str, settings: Settings) -> None:
        self._spark, self._folder = spark, folder
        self._scale = wanted_scale(settings) or HALF_STARS
        self._kinds = dict[str, str]()  # of user_id, by file

    def read(self) -> ShopFrames:
        """Return the shop. InputFileError for a file that is missing or of another form, RatingError, SparkError."""
        files, folder = place_of(self._spark, self._folder)
        if not (files.exists(folder) and files.getFileStatus(folder).isDirectory()):
            raise InputFileError(f"--from-parquet {self._folder} is no folder: name one with products.parquet in it")
        rated = self._file("ratings", {"user_id": ID, "product_id": TEXT, "rating": REAL}, {"created_at": TIME})
        events = self._file(
            "interactions", {"user_id": ID, "product_id": TEXT, "interaction_type": TEXT}, {"created_at": TIME}
        )
        if rated is None and events is None:
            raise InputFileError(f"--from-parquet {self._folder}: neither ratings.parquet nor interactions.parquet")
        people = self._file("users", {"user_id": ID}, {"country": TEXT, "age_group": TEXT})
        left_out, catalog = dict[str, int](), self._catalog()
        if len(set(self._kinds.values())) > 1:
            said = ", ".join(f"{kind} in {name}" for name, kind in self._kinds.items())
            raise InputFileError(f"--from-parquet {self._folder}: user_id is {said}: make it one kind")
        n_ratings, n_events = 0, 0
        if rated is not None:
            rated, n_ratings = self._usable(ratings.name, rated, "rating", left_out)
            self._refuse_repeats("ratings", rated, "product_id")
        if events is not None:
            events, n_events = self._usable(interactions.name, events, "interaction_type", left_out)
        fit_shuffles(self._spark, n_ratings + n_events)
        if people is not None:
            people = people.where("user_id IS NOT NULL")
            self._refuse_repeats("users", people)
        frames = self._frames(rated, events if n_events else None, people)
        return ShopFrames(frames, catalog, n_ratings, self._scale, left_out={**left_out, **catalog.left_out})

    def _file(self, name: str, needed: Mapping[str, str], optional: Mapping[str, str]) -> DataFrame | None:
        """Return the columns of a file, NULL for optional ones that it lacks; None without the file."""
        path = f"{self._folder}/{name}.parquet"
        files, place = place_of(self._spark, path)
        if not files.exists(place):
            return None
        frame = self._opened(path, place.toString())
        found = {field.name: field.dataType.typeName().partition("(")[0] for field in frame.schema}
        found = {column: _SPELLED.get(kind, kind) for column, kind in found.items()}
        if missing := [column for column in needed if column not in found]:
            raise InputFileError(f"{path} has no column {' and '.join(missing)}; it has {', '.join(found) or 'none'}")
        for column, wanted in {**needed, **optional}.items():
            if column in found and found[column] not in _KINDS[wanted]:
                raise InputFileError(f"{path}: column {column} is of type {found[column]}: make it {wanted}")
        if "user_id" in found:
            self._kinds[f"{name}.parquet"] = TEXT if found["user_id"] == "string" else NUMBER
        absent = [f"CAST(NULL AS STRING) AS {column}" for column in optional if column not in found]
        return frame.selectExpr(*needed, *(column for column in optional if column in found), *absent)

    def _opened(self, path: str, place: str) -> DataFrame:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        try:
            return self._spark.read.parquet(place)
        except (PySparkException, Py4JError) as error:
            said = cause_in(error)
            reason = next((words for sign, words in _UNREADABLE.items() if sign in said), said)
            raise InputFileError(f"{path} cannot be read: {reason}") from error

    def _usable(self, table: str, rows: DataFrame, what: str, left_out: dict[str, int]) -> tuple[DataFrame, int]:
        """Return the usable rows, kept by the executors, with the fault of none, and their number. RatingError."""
        text = TEXT in self._kinds.values()
        user = "CAST(user_id AS STRING)" if text else "CAST(user_id AS BIGINT)"
        value = "CAST(rating AS DOUBLE)" if what == "rating" else what
        given = rows.selectExpr(f"{user} AS user_id", "product_id", f"{value} AS value", f"{_MICROSECONDS} AS time")
        kind = "string" if text else "long"
        schema = f"user_id {kind}, product_id string, code byte, time long, fault string"
        checked = given.mapInArrow(of_one_version(partial(_checked, self._scale, what)), schema).persist()
        counts = {row["fault"]: int(row["count"]) for row in checked.groupBy("fault").count().collect()}
        n_usable = counts.pop(None, 0)
        if too_faulty(n_faulty := sum(counts.values()), n_usable):
            reasons = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            raise RatingError(
                f"{self._folder}: {n_faulty:,} of the {n_faulty + n_usable:,} rows of {table} cannot be used "
                f"({reasons}): correct or leave out these rows"
            )
        left_out |= {f"{table}.{name}": count for name, count in counts.items()}
        return checked.where("fault IS NULL").drop("fault"), n_usable

    def _refuse_repeats(self, name: str, rows: DataFrame, *beside: str) -> None:
        """Raise InputFileError if a user, with what stands ``beside``, has two rows: they may say different things."""
        twice = rows.groupBy("user_id", *beside).count().where("count > 1").limit(1).collect()
        if twice:
            who = f"user {twice[0]['user_id']}" + "".join(f" and product {twice[0][column]}" for column in beside)
            each, n = "pair" if beside else "user", twice[0]["count"]
            raise InputFileError(f"{self._folder}/{name}.parquet has {who} {n} times: leave one row of each {each}")

    def _frames(self, rated: DataFrame | None, events: DataFrame | None, people: DataFrame | None) -> Frames:
        """Return the frames."""
        names = None
        if TEXT in self._kinds.values():
            texts = None
            for frame in (rated, events, people):
                if frame is not None:
                    column = frame.selectExpr("user_id AS text")
                    texts = column if texts is None else texts.union(column)
            assert texts is not None
            names = numbered(texts)
        made = [_numbered(frame, names) for frame in (rated, events, people)]
        rated = None if made[0] is None else made[0].withColumnsRenamed({"code": "steps", "time": "rated_at"})
        events = None if made[1] is None else made[1].withColumnRenamed("code", "kind")
        nothing = self._spark.createDataFrame([], RATINGS)
        return Frames(
            nothing if rated is None else as_frame(rated, RATINGS),
            None if events is None else as_frame(events, INTERACTIONS),
            None if made[2] is None else as_frame(made[2].where("user_id >= 0"), PEOPLE),
            names,
        )

    def _catalog(self) -> ProductCatalog:
        path = f"{self._folder}/products.parquet"
        frame = self._file("products", {}, dict.fromkeys(("product_id", "asin", "title"), TEXT) | _NUMBERS)
        if frame is None:
            raise InputFileError(f"{path} is missing: it has the products that may be recommended")
        facts = [f"CAST({name} AS {kind}) AS {name}" for name, kind in _FACTS.items()]
        table = frame.selectExpr("COALESCE(product_id, asin) AS asin", *facts, "in_stock").toArrow()
        texts = table["asin"].combine_chunks()
        usable = _are_product_ids(texts)
        if not usable.any():
            raise InputFileError(f"{path} has no usable product_id (or asin)")
        left_out = {f"{products.name}.asin": int((~usable).sum())} if not usable.all() else {}
        table = table.filter(pa.array(usable))
        ids = product_id_bytes(table["asin"].combine_chunks())
        assert ids is not None
        if len(np.unique(ids)) < len(ids):
            ordered = np.sort(ids)
            twice = ordered[1:][ordered[1:] == ordered[:-1]][0].decode()
            raise InputFileError(f"{path} has the product {twice} twice: leave one row")
        stock = table["in_stock"]
        table = table.drop_columns(["in_stock"])
        if stock.null_count < len(stock):
            table = table.append_column("in_stock", pc.fill_null(stock.cast(pa.float64()), 0.0))
        return catalog_of(table, ids, left_out)


_UNREADABLE = {
    "UNABLE_TO_INFER_SCHEMA": "it has no Parquet file in it",
    "TIMESTAMP(NANOS": "it has times in nanoseconds: write them in microseconds",
}
_SPELLED = {"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint"}
_NUMBERS = {"price": REAL, "stars": REAL, "category_id": NUMBER, "in_stock": FLAG}


def _numbered(frame: DataFrame | None, names: DataFrame | None) -> DataFrame | None:
    if frame is None or names is None:
        return frame
    return frame.withColumnRenamed("user_id", "text").join(names, "text").drop("text")


def _checked(scale: Scale, what: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows with their number of steps or their kind, and the column at fault, NULL for a usable row."""
    for batch in batches:
        user_ids, names, values = (batch.column(name) for name in ("user_id", "product_id", "value"))
        codes, good = _ratings(scale, values) if what == "rating" else _kinds(values)
        fault = np.full(batch.num_rows, None, object)
        fault[~good] = what
        fault[~_are_product_ids(names)] = "product_id"
        fault[~_are_user_ids(user_ids)] = "user_id"
        columns = [user_ids, names, pa.array(codes), batch.column("time"), pa.array(fault, pa.string())]
        yield pa.record_batch(columns, ["user_id", "product_id", "code", "time", "fault"])


def _ratings(scale: Scale, values: pa.Array) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    given = values.to_numpy(zero_copy_only=False)  # NULL is NaN
    good = scale.holds(given)
    steps = scale.steps_of(np.where(good, given, scale.ends[0]))
    assert steps is not None
    return steps, good


def _kinds(values: pa.Array) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    codes = pc.index_in(values, pa.array(INTERACTION_TYPES)).fill_null(-1).to_numpy(zero_copy_only=False)
    return np.maximum(codes, 0).astype(np.int8), codes >= 0


def _are_user_ids(user_ids: pa.Array) -> NDArray[np.bool_]:
    if pa.types.is_integer(user_ids.type):
        return _true(pc.greater_equal(user_ids, 0))
    lengths = pc.utf8_length(user_ids)
    wrong: Callable[..., Any] = pc.or_
    faulty = wrong(pc.match_substring_regex(user_ids, _CONTROL), pc.is_in(user_ids, pa.array(DOTS)))
    faulty = wrong(faulty, pc.not_equal(pc.utf8_trim_whitespace(user_ids), user_ids))
    faulty = wrong(faulty, wrong(pc.equal(lengths, 0), pc.greater(lengths, LONGEST_USER_ID)))
    return _true(pc.invert(faulty))


def _are_product_ids(texts: pa.Array) -> NDArray[np.bool_]:
    """Tell which texts (n,) are product ids; NULL is none."""
    encoded = texts.dictionary_encode()
    if all_are_ids(encoded.dictionary):
        return np.asarray(texts.is_valid().to_numpy(zero_copy_only=False))
    good = [is_product_id(text) for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(good)).to_numpy(zero_copy_only=False)
    flags: NDArray[np.bool_] = np.array([*good, False])[codes]
    return flags


def _true(flags: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(flags, False).to_numpy(zero_copy_only=False))
