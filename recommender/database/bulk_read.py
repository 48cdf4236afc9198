"""A reader of whole tables into arrays, at the database's own speed and without a Python object per value.

There are three ways, and the first that works is taken. All give equal arrays; a test compares them. **connectorx**
serves MySQL and MariaDB (see ``_connectorx``), **packed** serves ratings only (see ``_packed_ratings``), **streamed**
serves everything: the rows of the Python driver, a block at a time. Most of the time goes into the server's table scan.

None of the three can replace another. Seconds for 3 million ratings, with their times in brackets, medians of 5 rounds
in turn (``python -m benchmarks.read``); connectorx without the checks takes 2.0:

              connectorx    packed       streamed
    MariaDB   2.3 (3.0)     4.0 (5.1)    15.0 (16.2)
    SQLite    -             2.3 (4.5)    10.0 (11.6)

From MariaDB 1 million interactions take 0.8 s by connectorx, 4.6 s streamed; 500,000 products 0.65 s and 2.6 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Engine,
    Integer,
    Numeric,
    Select,
    String,
    case,
    func,
    select,
)
from sqlalchemy.sql.elements import ColumnElement

from recommender.database._connectorx import through_connectorx
from recommender.database._packed_ratings import packed_ratings
from recommender.database.clock import event_time
from recommender.database.connection import database_errors, is_mysql, label
from recommender.database.schema import ratings
from recommender.database.usable_rows import LeftOut, count_left_out, refuse_faulty_table, usable
from recommender.errors import DatabaseError
from recommender.shop import HALF_STARS, Scale, all_are_ids

Way = Literal["connectorx", "packed", "streamed"]
# rows of a streamed result that are Python objects at a time: fetching and converting them are calls that stop every
# other thread, such as the event loop of a service that makes a new model: for 1 ms with these, 80 ms with 50,000
FETCH_ROWS = 1_000
_KEY_LENGTH = 10  # characters of the ids that `_keys` makes numbers of


@dataclass(frozen=True, eq=False)
class RatingColumns:
    """All n usable ratings (see `recommender.database.usable_rows`), rows in no particular order.

    ``user_ids`` (n,) int64; ``product_codes`` (n,) int32 into ``products``, an Arrow string array of the distinct
    product ids in no particular order; ``steps`` (n,) int8, steps of the scale; ``rated_at`` (n,) int64,
    microseconds since 1970, or `NO_TIME`, if requested. ``left_out``: the number of rows that are not usable.
    """

    user_ids: NDArray[np.int64]
    product_codes: NDArray[np.int32]
    products: pa.StringArray
    steps: NDArray[np.int8]
    rated_at: NDArray[np.int64] | None = None
    left_out: LeftOut = field(default_factory=dict)

    def where(self, chosen: NDArray[np.bool_]) -> RatingColumns:
        """Return the ratings that are chosen (n,)."""
        times = None if self.rated_at is None else self.rated_at[chosen]
        given = self.user_ids[chosen], self.product_codes[chosen], self.products, self.steps[chosen]
        return RatingColumns(*given, times, self.left_out)


def read_ratings(
    engine: Engine, *, scale: Scale = HALF_STARS, times: bool = False, way: Way | None = None
) -> RatingColumns:
    """Return all usable ratings, as of one moment; with ``times``, also when each was first given.

    All rows are read as they are and checked afterwards, which takes hardly any time. Only if one is not usable, the
    database counts such rows and leaves them out. Raises RatingError if they are too many, DatabaseError. ``way`` is
    for tests and benchmarks.
    """
    columns: list[Any] = [ratings.c.user_id, ratings.c.product_id, ratings.c.rating]
    extra = [event_time(engine, ratings.c.created_at, "rated_at")] if times else []
    found = _quickly(engine, columns, extra, way, None, scale)
    if found is not None:
        return found
    left_out, condition = count_left_out(engine, ratings, scale), usable(engine, ratings, scale)
    if left_out:
        found = _quickly(engine, columns, extra, way, condition, scale)
    if found is None and way in ("packed", "connectorx"):
        raise DatabaseError(f"{label(engine)}: the ratings cannot be read {way}; leave out `way`")
    if found is None:
        statement = select(*columns, *extra).where(condition)
        found = _rating_columns(_streamed(engine, statement, _schema([*columns, *extra])), scale)
    if found is None:
        raise DatabaseError(f"{label(engine)}: the rows of {ratings.name} changed while they were read; run it again")
    refuse_faulty_table(engine, ratings, left_out, len(found.user_ids), scale)
    return replace(found, left_out=left_out)


def _quickly(
    engine: Engine,
    columns: list[Any],
    extra: list[Any],
    way: Way | None,
    condition: ColumnElement[bool] | None,
    scale: Scale,
) -> RatingColumns | None:
    """Return the ratings by one of the two fast ways; None if neither works, or if one of the rows is not usable."""
    table = None
    if way in (None, "connectorx"):
        statement = select(*columns, *extra) if condition is None else select(*columns, *extra).where(condition)
        table = through_connectorx(engine, statement, _schema([*columns, *extra]), required=way is not None)
    if table is None and way in (None, "packed"):
        table = packed_ratings(engine, extra, condition, scale)
    return None if table is None else _rating_columns(table, scale)


def read_table(
    engine: Engine,
    columns: Sequence[ColumnElement[Any]],
    *,
    order_by: Column[Any] | None = None,
    where: ColumnElement[bool] | None = None,
    way: Way | None = None,
) -> pa.Table:
    """Return these columns of one table: whole numbers int64, DOUBLE and DECIMAL float64, text string.

    NULL stays NULL; a value of another kind than its column (SQLite allows it) becomes NULL. Raises DatabaseError.
    ``way`` (connectorx or streamed) is for tests and benchmarks.
    """
    typed = columns if is_mysql(engine) else [_whole(column) for column in columns]
    statement = select(*typed) if order_by is None else select(*typed).order_by(order_by)
    statement = statement if where is None else statement.where(where)
    table = None
    if way in (None, "connectorx"):
        table = through_connectorx(engine, statement, _schema(columns), required=way is not None)
    return _streamed(engine, statement, _schema(columns)) if table is None else table


def _schema(columns: Sequence[Any]) -> pa.Schema:
    return pa.schema([(column.name, _arrow_type(column)) for column in columns])


def _arrow_type(column: Any) -> pa.DataType:
    if isinstance(column.type, Double | Numeric):
        return pa.float64()
    if isinstance(column.type, String):
        return pa.string()
    return pa.bool_() if isinstance(column.type, Boolean) else pa.int64()


def _whole(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column as SQLite has to select it: in a column of whole numbers, NULL for any other value."""
    if not isinstance(column, Column) or not isinstance(column.type, Integer):
        return column
    return case((func.typeof(column) == "integer", column)).label(column.name)


def _streamed(engine: Engine, statement: Select[Any], schema: pa.Schema) -> pa.Table:
    batches = []
    with database_errors(engine), engine.connect().execution_options(stream_results=True) as connection:
        for rows in connection.execute(statement).partitions(FETCH_ROWS):
            columns = zip(zip(*rows, strict=True), schema, strict=True)
            batches.append(pa.record_batch([_array(values, kind.type) for values, kind in columns], schema))
    return pa.Table.from_batches(batches, schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return the values as an Arrow array; null for those of another kind."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, UnicodeError, OverflowError):
        return pa.array([fitting(value, kind) for value in values], kind)


def fitting(value: Any, kind: pa.DataType) -> Any:
    """Return the value, or None if it is of another kind than its column."""
    if pa.types.is_integer(kind) and not isinstance(value, int):
        return None  # 3.5 would become 3
    try:
        return pa.scalar(value, kind).as_py()
    except (pa.ArrowException, UnicodeError, OverflowError):
        return None


def _rating_columns(table: pa.Table, scale: Scale) -> RatingColumns | None:
    """Return the ratings as columns; None if one of the rows is not usable."""
    if table["user_id"].null_count or table["product_id"].null_count:
        return None
    user_ids = table["user_id"].to_numpy()
    if "steps" in table.column_names:
        steps = table["steps"].to_numpy()
    elif (steps := scale.steps_of(table["rating"].to_numpy())) is None:  # NULL is NaN
        return None
    codes, products = codes_of(table["product_id"])
    if (len(user_ids) and user_ids.min() < 0) or not all_are_ids(products):
        return None
    rated_at = table["rated_at"].to_numpy() if "rated_at" in table.column_names else None
    return RatingColumns(user_ids, codes, products, steps, rated_at)


def codes_of(product_ids: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.StringArray]:
    """Return each product id's code (n,) int32, and the distinct ids that the codes point into.

    The chunks stay apart: in one array, 60 million ids of 36 characters are more than its offsets of 32 bit can count.
    Ids of ten characters, as ASINs, fit into 60 bits, and finding distinct whole numbers takes a fifth of the time of
    texts.
    """
    chunk_keys = [_keys(chunk) for chunk in product_ids.chunks]
    keys = [key for key in chunk_keys if key is not None]
    if not keys or len(keys) < len(chunk_keys):
        encoded = product_ids.dictionary_encode()  # all chunks have one dictionary
        if not encoded.num_chunks:
            return np.empty(0, np.int32), pa.array([], product_ids.type)
        codes: NDArray[np.int32] = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
        return codes, encoded.chunk(encoded.num_chunks - 1).dictionary
    encoded = pa.array(np.concatenate(keys)).dictionary_encode()
    codes = encoded.indices.to_numpy()
    a_row_of = np.empty(len(encoded.dictionary), np.int64)
    a_row_of[codes] = np.arange(len(codes))
    return codes, pa.concat_arrays(product_ids.take(pa.array(a_row_of)).chunks)


def _keys(chunk: pa.StringArray) -> NDArray[np.uint64] | None:
    """Return a distinct number for each distinct id (n,); None unless all have ten characters from space to ``_``."""
    _, offsets, characters = chunk.buffers()
    starts = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    if len(chunk) == 0 or chunk.null_count or not (np.diff(starts) == _KEY_LENGTH).all():
        return None
    shape, strides = (len(chunk),), (_KEY_LENGTH,)
    head = np.ndarray(shape, "<u8", characters, int(starts[0]), strides) - np.uint64(0x2020_2020_2020_2020)
    tail = np.ndarray(shape, "<u2", characters, int(starts[0]) + 8, strides) - np.uint16(0x2020)
    if (head & np.uint64(0xC0C0_C0C0_C0C0_C0C0)).any() or (tail & np.uint16(0xC0C0)).any():
        return None
    # squeeze the two unused bits out of every byte: 8 x 6 bits, then 2 x 6 bits above them
    for shift, low in ((2, 0x003F_003F_003F_003F), (4, 0x0000_0FFF_0000_0FFF), (8, 0x0000_0000_00FF_FFFF)):
        head = (head & np.uint64(low)) | ((head & ~np.uint64(low)) >> np.uint64(shift))
    tail = (tail & np.uint16(0x3F)) | ((tail & np.uint16(0x3F00)) >> np.uint16(2))
    return head | (tail.astype(np.uint64) << np.uint64(48))
