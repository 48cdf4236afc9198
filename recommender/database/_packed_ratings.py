"""A reader of ratings that the database packs: thousands joined into one text for Arrow; one way of ``bulk_read``.

The Python driver then sees few rows. This is the way for SQLite, and for servers that connectorx cannot log in to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.csv
from sqlalchemy import Connection, Engine, Integer, String, cast, func, literal_column, select, true
from sqlalchemy.sql.elements import ColumnElement

from recommender.database.connection import database_errors, is_mysql
from recommender.database.rating_scale import steps_in_sql
from recommender.database.schema import ratings
from recommender.shop import HALF_STARS, Scale

PACKED_ROWS = 200_000  # ratings in one text of SQLite: 5 MB, far below its limit of 1 GB
BETWEEN = "\x1f"  # separates the values of a rating: a control character, which no usable product id holds


def packed_ratings(
    engine: Engine,
    extra: Sequence[Any] = (),
    condition: ColumnElement[bool] | None = None,
    scale: Scale = HALF_STARS,
) -> pa.Table | None:
    """Return user_id, product_id, steps of all ratings, and the ``extra`` whole numbers, which have no NULL.

    ``extra``: labeled columns. ``condition``: only of those rows. None if a rating is not on the scale, a value has
    another kind than its column, or a text was cut short.
    """
    texts, total = [], 0
    with database_errors(engine), _private_connection(engine) as connection:
        for packed, n, n_allowed in _packs(engine, connection, extra, condition, scale):
            if n_allowed != n or not packed.endswith("\n"):
                return None
            texts.append(packed.encode())
            total += n
    if not texts:
        return None
    types = {"user_id": pa.int64(), "product_id": pa.string(), "steps": pa.int8()}
    types |= {column.name: pa.int64() for column in extra}
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(b"".join(texts)),
            read_options=pa.csv.ReadOptions(column_names=list(types)),
            parse_options=pa.csv.ParseOptions(delimiter=BETWEEN, quote_char=False, ignore_empty_lines=False),
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
    except pa.ArrowInvalid:  # a separator or a line end inside a product id
        return None
    return table if table.num_rows == total else None


def _packs(
    engine: Engine, connection: Connection, extra: Sequence[Any], condition: ColumnElement[bool] | None, scale: Scale
) -> Iterator[tuple[str, int, int]]:
    packs = _mysql_packs if is_mysql(engine) else _sqlite_packs
    return packs(connection, extra, true() if condition is None else condition, scale)


def _pack(scale: Scale, user_id: Any, product_id: Any, rating: Any, *extra: Any) -> tuple[ColumnElement[Any], ...]:
    """Return SQL for the lines ``42 B08N5WRWNW 9`` in one text, the number of ratings, and of those on the scale."""
    line = cast(user_id, String) + BETWEEN + product_id + BETWEEN + cast(steps_in_sql(rating, scale), String)
    for number in extra:
        line = line + BETWEEN + cast(number, String)
    line = line + "\n"
    on_it = (rating if scale.is_binary else func.round(rating, 9)).in_([float(value) for value in scale.values])
    allowed = func.sum(func.coalesce(cast(on_it, Integer), 0))
    return func.aggregate_strings(line, ""), func.count(), allowed


def _mysql_packs(
    connection: Connection, extra: Sequence[Any], condition: ColumnElement[bool], scale: Scale
) -> Iterator[tuple[str, int, int]]:
    # one text per user, in the order of the primary key, so nothing is sorted; max_allowed_packet also limits a text
    connection.exec_driver_sql("SET SESSION group_concat_max_len = 1000000000")
    columns = ratings.c.user_id, ratings.c.product_id, ratings.c.rating, *(column.element for column in extra)
    statement = select(*_pack(scale, *columns)).where(condition).group_by(ratings.c.user_id)
    for packed, n, n_allowed in connection.execution_options(stream_results=True).execute(statement):
        yield packed or "", int(n), int(n_allowed)


def _sqlite_packs(
    connection: Connection, extra: Sequence[Any], condition: ColumnElement[bool], scale: Scale
) -> Iterator[tuple[str, int, int]]:
    row_id, last = literal_column("rowid", Integer).label("row_id"), -(2**63)
    columns = ratings.c.user_id, ratings.c.product_id, ratings.c.rating, *extra
    while True:
        block = select(row_id, *columns).where(row_id > last, condition).order_by(row_id).limit(PACKED_ROWS).subquery()
        statement = select(*_pack(scale, *(block.c[column.name] for column in columns)), func.max(block.c.row_id))
        packed, n, n_allowed, last = tuple(connection.execute(statement).one())
        if not n:
            return
        yield packed or "", n, n_allowed


@contextmanager
def _private_connection(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that is closed at the end, so its session settings do not go back to the pool."""
    with engine.connect() as connection:
        connection.detach()
        yield connection
