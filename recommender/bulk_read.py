"""Whole tables into arrays, at the database's own speed and without a Python object per value.

Three ways, the first that works is taken; all give equal arrays, and a test compares them: **connectorx** (MySQL and
MariaDB, see ``_connectorx``), **packed** (ratings only, see ``_packed_ratings``), and **streamed**, the rows of the
Python driver, a block at a time, which serves everything. The time goes into the server's table scan; for 3 million
ratings see ``python -m benchmarks.read``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Engine,
    Numeric,
    Select,
    String,
    Table,
    literal_column,
    select,
)
from sqlalchemy.sql.elements import ColumnElement, Label

from recommender._connectorx import through_connectorx
from recommender._packed_ratings import packed_ratings, rating_error, refuse_faulty_rating
from recommender.database import database_errors, is_mysql, label
from recommender.errors import DatabaseError, RatingError
from recommender.profiles import Interactions
from recommender.schema import ASIN_LENGTH, INTERACTION_TYPES, interactions, ratings

Way = Literal["connectorx", "packed", "streamed"]
FETCH_ROWS = 50_000  # rows of a streamed result held as Python objects at a time


@dataclass(frozen=True, eq=False)
class RatingColumns:
    """All n ratings, rows in no particular order.

    ``user_ids`` (n,) int64; ``product_codes`` (n,) int32 into ``products``, an Arrow string array of the distinct
    product ids in no particular order; ``half_stars`` (n,) int8, the rating doubled: 1..10; ``rated_at`` (n,) int64,
    microseconds since 1970, if asked for.
    """

    user_ids: NDArray[np.int64]
    product_codes: NDArray[np.int32]
    products: pa.StringArray
    half_stars: NDArray[np.int8]
    rated_at: NDArray[np.int64] | None = None


def microseconds(engine: Engine, column: Column[Any], name: str) -> Label[int]:
    """A time as microseconds since 1970, selected under ``name``; whole numbers travel faster than times."""
    if is_mysql(engine):
        text = f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column.name})"
    else:  # a text, with six digits after the second or fewer; strftime would round to milliseconds, and up
        text = f"CAST(strftime('%s', substr({column.name}, 1, 19)) AS INTEGER) * 1000000 + "
        text += f"CAST(substr(substr({column.name}, 21) || '000000', 1, 6) AS INTEGER)"
    return literal_column(text, BigInteger).label(name)


def read_ratings(engine: Engine, *, times: bool = False, way: Way | None = None) -> RatingColumns:
    """Return all ratings, as they were at one moment; with ``times``, when each was first given.

    Raises RatingError naming user, product and value of a rating that is not 0.5 to 5.0 in half steps (others may
    write into the table too, and SQLite does not enforce DECIMAL), DatabaseError. ``way`` is for tests and benchmarks.
    """
    columns: list[Any] = [ratings.c.user_id, ratings.c.product_id, ratings.c.rating]
    extra = [microseconds(engine, ratings.c.created_at, "rated_at")] if times else []
    columns += extra
    table = None
    if way in (None, "connectorx"):
        table = through_connectorx(engine, select(*columns), _schema(columns), required=way is not None)
    if table is None and way in (None, "packed"):
        table = packed_ratings(engine, extra)
        if table is None:
            refuse_faulty_rating(engine)
            if way == "packed":
                raise DatabaseError(f"{label(engine)}: the ratings cannot be packed; read them streamed")
    if table is None:
        table = _streamed(engine, select(*columns), _schema(columns))
    return _rating_columns(table)


def read_table(
    engine: Engine,
    columns: Sequence[ColumnElement[Any]],
    *,
    order_by: Column[Any] | None = None,
    way: Way | None = None,
) -> pa.Table:
    """Return these columns of one table: whole numbers int64, DOUBLE and DECIMAL float64, text string.

    NULL stays NULL. Raises DatabaseError. ``way`` (connectorx or streamed) is for tests and benchmarks.
    """
    statement = select(*columns) if order_by is None else select(*columns).order_by(order_by)
    table = None
    if way in (None, "connectorx"):
        table = through_connectorx(engine, statement, _schema(columns), required=way is not None)
    return _streamed(engine, statement, _schema(columns)) if table is None else table


def read_interactions(engine: Engine) -> Interactions:
    """Return the whole log of interactions. Raises DatabaseError, RatingError for a product id that is no ASIN."""
    c = interactions.c
    # a number for each type, from 0: texts would take five times as long
    whens = " ".join(f"WHEN '{name}' THEN {kind}" for kind, name in enumerate(INTERACTION_TYPES))
    kind = literal_column(f"CASE interaction_type {whens} END", BigInteger).label("kind")
    table = read_table(engine, [c.user_id, c.product_id, kind, microseconds(engine, c.created_at, "time")])
    if unknown := table["kind"].null_count:
        raise RatingError(
            f"table {interactions.name}: interaction_type of {unknown:,} rows is none of "
            f"{', '.join(INTERACTION_TYPES)}; correct or delete them"
        )
    codes, names = _codes(table["product_id"])
    return Interactions(
        table["user_id"].to_numpy(),
        codes,
        as_fixed_bytes(names, interactions),
        table["kind"].to_numpy().astype(np.int8),
        table["time"].to_numpy(),
    )


def as_fixed_bytes(product_ids: pa.StringArray, table: Table = ratings) -> NDArray[np.bytes_]:
    """Product ids of ``table`` as ten bytes each (n,); RatingError for one that does not fit (SQLite lets them in)."""
    whole = pa.concat_arrays([product_ids, pa.array([], pa.string())])  # without an offset into shared buffers
    _, offsets, characters = whole.buffers()
    starts = np.frombuffer(offsets or b"", np.int32)[: len(whole) + 1]
    if len(whole) and not whole.null_count and (np.diff(starts) == ASIN_LENGTH).all():
        ids = np.frombuffer(characters, f"S{ASIN_LENGTH}", len(whole), int(starts[0]))
        if (ids.view(np.uint8) < 128).all():
            return ids
    texts = whole.to_pylist()
    for text in texts:
        if not text or not text.isascii() or len(text) > ASIN_LENGTH:
            raise RatingError(
                f"table {table.name}: product_id {str(text)[:40]!r} is not {ASIN_LENGTH} characters of ASCII; "
                "correct or delete its rows"
            )
    return np.array(texts, dtype=f"S{ASIN_LENGTH}")


def _schema(columns: Sequence[Any]) -> pa.Schema:
    return pa.schema([(column.name, _arrow_type(column)) for column in columns])


def _arrow_type(column: Any) -> pa.DataType:
    if isinstance(column.type, Double | Numeric):
        return pa.float64()
    if isinstance(column.type, String):
        return pa.string()
    return pa.bool_() if isinstance(column.type, Boolean) else pa.int64()


def _streamed(engine: Engine, statement: Select[Any], schema: pa.Schema) -> pa.Table:
    batches = []
    with database_errors(engine), engine.connect().execution_options(stream_results=True) as connection:
        for rows in connection.execute(statement).partitions(FETCH_ROWS):
            columns = zip(zip(*rows, strict=True), schema, strict=True)
            batches.append(pa.record_batch([pa.array(values, field.type) for values, field in columns], schema))
    return pa.Table.from_batches(batches, schema)


def _rating_columns(table: pa.Table) -> RatingColumns:
    user_ids = table["user_id"].to_numpy()
    if "half_stars" in table.column_names:
        half_stars = table["half_stars"].to_numpy()
    else:
        doubled = table["rating"].to_numpy() * 2  # (n,) float64, NULL is NaN
        allowed = (doubled >= 1) & (doubled <= 10) & (doubled == np.floor(doubled))
        if not allowed.all():
            raise rating_error(table.slice(int(np.argmin(allowed)), 1).to_pylist()[0])
        half_stars = doubled.astype(np.int8)
    rated_at = table["rated_at"].to_numpy() if "rated_at" in table.column_names else None
    return RatingColumns(user_ids, *_codes(table["product_id"]), half_stars, rated_at)


def _codes(product_ids: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.StringArray]:
    """Each product id's code (n,) int32, and the distinct ids that the codes point into.

    Ids of ten characters fit into 60 bits, and whole numbers are told apart in a fifth of the time of texts.
    """
    chunk_keys = [_keys(chunk) for chunk in product_ids.chunks]
    keys = [key for key in chunk_keys if key is not None]
    if not keys or len(keys) < len(chunk_keys):
        encoded = pa.concat_arrays([*product_ids.chunks, pa.array([], pa.string())]).dictionary_encode()
        return encoded.indices.to_numpy(), encoded.dictionary
    encoded = pa.array(np.concatenate(keys)).dictionary_encode()
    codes = encoded.indices.to_numpy()
    a_row_of = np.empty(len(encoded.dictionary), np.int64)
    a_row_of[codes] = np.arange(len(codes))
    return codes, pa.concat_arrays(product_ids.take(pa.array(a_row_of)).chunks)


def _keys(chunk: pa.StringArray) -> NDArray[np.uint64] | None:
    """A different number for each different id (n,); None unless all have ten characters from space to underscore."""
    _, offsets, characters = chunk.buffers()
    starts = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    if len(chunk) == 0 or chunk.null_count or not (np.diff(starts) == ASIN_LENGTH).all():
        return None
    shape, strides = (len(chunk),), (ASIN_LENGTH,)
    head = np.ndarray(shape, "<u8", characters, int(starts[0]), strides) - np.uint64(0x2020_2020_2020_2020)
    tail = np.ndarray(shape, "<u2", characters, int(starts[0]) + 8, strides) - np.uint16(0x2020)
    if (head & np.uint64(0xC0C0_C0C0_C0C0_C0C0)).any() or (tail & np.uint16(0xC0C0)).any():
        return None
    # squeeze the two unused bits out of every byte: 8 x 6 bits, then 2 x 6 bits above them
    for shift, low in ((2, 0x003F_003F_003F_003F), (4, 0x0000_0FFF_0000_0FFF), (8, 0x0000_0000_00FF_FFFF)):
        head = (head & np.uint64(low)) | ((head & ~np.uint64(low)) >> np.uint64(shift))
    tail = (tail & np.uint16(0x3F)) | ((tail & np.uint16(0x3F00)) >> np.uint16(2))
    return head | (tail.astype(np.uint64) << np.uint64(48))
