"""Whole tables into arrays, at the database's own speed and without a Python object per value.

Three ways, the first that works is taken; all give equal arrays, and a test compares them:

- **connectorx** (MySQL, MariaDB): a Rust driver that fills Arrow columns. It connects by itself, so it gets the
  engine's address, and verified TLS (``ssl-mode=verify_identity``) if the engine has a CA. It waits 30 seconds for a
  login that is refused and has no time-out for an answer, hence a short trial per engine, and a deadline kept from
  outside. Its messages may show the address, which holds the password: they are never passed on.
- **packed** (ratings only): the database joins thousands of ratings into one text, and Arrow parses the text, so that
  the Python driver sees few rows. The way for SQLite, and for servers that connectorx cannot log in to.
- **streamed**: rows of the Python driver, a block at a time. Serves everything.

The time goes into the server's table scan; for 3 million ratings see ``python -m benchmarks.read``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    Numeric,
    Select,
    String,
    cast,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.elements import ColumnElement

from recommender.database import CONNECT_TIMEOUT, STATEMENT_TIMEOUT, database_errors, is_mysql, label
from recommender.errors import DatabaseError, RatingError
from recommender.schema import ASIN_LENGTH, products, ratings

Way = Literal["connectorx", "packed", "streamed"]
FETCH_ROWS = 50_000  # rows of a streamed result held as Python objects at a time
PACKED_ROWS = 200_000  # ratings in one text of SQLite: 5 MB, far below its limit of 1 GB
_HALF_STEPS = [half / 2 for half in range(1, 11)]
_log = logging.getLogger(__name__)
_connectorx_serves: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class RatingColumns:
    """All n ratings, rows in no particular order.

    ``user_ids`` (n,) int64; ``product_codes`` (n,) int32 into ``products``, an Arrow string array of the distinct
    product ids in no particular order; ``half_stars`` (n,) int8, the rating doubled: 1..10.
    """

    user_ids: NDArray[np.int64]
    product_codes: NDArray[np.int32]
    products: pa.StringArray
    half_stars: NDArray[np.int8]


def read_ratings(engine: Engine, *, way: Way | None = None) -> RatingColumns:
    """Return all ratings, as they were at one moment.

    Raises RatingError naming user, product and value of a rating that is not 0.5 to 5.0 in half steps (others may
    write into the table too, and SQLite does not enforce DECIMAL), DatabaseError. ``way`` is for tests and benchmarks.
    """
    columns = [ratings.c.user_id, ratings.c.product_id, ratings.c.rating]
    table = None
    if way in (None, "connectorx"):
        table = _through_connectorx(engine, select(*columns), _schema(columns), required=way is not None)
    if table is None and way in (None, "packed"):
        table = _packed_ratings(engine)
        if table is None:
            _refuse_faulty_rating(engine)
            if way == "packed":
                raise DatabaseError(f"{label(engine)}: the ratings cannot be packed; read them streamed")
    if table is None:
        table = _streamed(engine, select(*columns), _schema(columns))
    return _rating_columns(table)


def read_table(
    engine: Engine,
    columns: Sequence[Column[Any]],
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
        table = _through_connectorx(engine, statement, _schema(columns), required=way is not None)
    return _streamed(engine, statement, _schema(columns)) if table is None else table


def read_product_details(engine: Engine) -> pa.Table:
    """Return ``asin``, ``title`` (NULL where unknown) and ``price`` of every product, one chunk per column.

    1.4 million products are about 170 MB of Arrow; a title becomes a Python string only when it is asked for.
    """
    return read_table(engine, [products.c.asin, products.c.title, products.c.price]).combine_chunks()


def _schema(columns: Sequence[Column[Any]]) -> pa.Schema:
    return pa.schema([(column.name, _arrow_type(column)) for column in columns])


def _arrow_type(column: Column[Any]) -> pa.DataType:
    if isinstance(column.type, Double | Numeric):
        return pa.float64()
    if isinstance(column.type, String):
        return pa.string()
    return pa.bool_() if isinstance(column.type, Boolean) else pa.int64()


# --- connectorx


def _through_connectorx(engine: Engine, statement: Select[Any], schema: pa.Schema, *, required: bool) -> Any:
    """The result of ``statement``, or None where connectorx cannot serve (``required``: DatabaseError)."""
    if engine not in _connectorx_serves:
        _connectorx_serves[engine] = _can_log_in(engine)
    if _connectorx_serves[engine]:
        sql = str(statement.compile(dialect=mysql.dialect(paramstyle="named")))
        try:
            return _within(STATEMENT_TIMEOUT, lambda: _ask_connectorx(engine, sql)).cast(schema)
        except TimeoutError:
            reason = f"no answer within {STATEMENT_TIMEOUT} seconds; see whether the server is alive, run again"
            raise DatabaseError(f"{label(engine)}: {reason}") from None
        except (RuntimeError, pa.ArrowInvalid) as error:
            # the other ways repeat the statement, and give the database's own reason if it is to blame
            _log.warning("%s: connectorx gave up (%s), reading with PyMySQL", label(engine), type(error).__name__)
    if required:
        raise DatabaseError(f"{label(engine)}: connectorx cannot read here; leave the choice of the way open")
    return None


def _can_log_in(engine: Engine) -> bool:
    """Try it once, after the Python driver, whose message is clear if the server is away or refuses."""
    if not is_mysql(engine) or "ssl_ca" not in engine.get_execution_options():
        return False  # an engine that connect() did not make: unknown whether it asks for TLS
    with database_errors(engine), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    try:
        _within(CONNECT_TIMEOUT, lambda: _ask_connectorx(engine, "SELECT 1 AS one"))
    except (ImportError, RuntimeError, TimeoutError) as error:
        reason = type(error).__name__
        _log.warning("%s: connectorx cannot log in (%s), reading with PyMySQL, slower", label(engine), reason)
        return False
    return True


def _ask_connectorx(engine: Engine, sql: str) -> pa.Table:
    # it prints refused logins to stderr, unless told otherwise before it is imported
    os.environ.setdefault("RUST_LOG", "off")
    import connectorx

    return connectorx.read_sql(_address(engine), sql, return_type="arrow")


def _address(engine: Engine) -> str:
    """The URL for connectorx, every part percent-encoded. Holds the password: never print it."""
    url, ca = engine.url, engine.get_execution_options()["ssl_ca"]
    user, password, database = (quote(str(part or ""), safe="") for part in (url.username, url.password, url.database))
    host = f"[{url.host}]" if ":" in str(url.host) else url.host
    # the local socket would be another account: 'user'@'localhost' instead of 'user'@'127.0.0.1'
    options = f"prefer_socket=false&tcp_connect_timeout_ms={CONNECT_TIMEOUT * 1000}"
    if ca:
        options += f"&ssl-mode=verify_identity&ssl-ca={quote(ca, safe='')}"
    return f"mysql://{user}:{password}@{host}:{url.port or 3306}/{database}?{options}"


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The value of ``call()``, or TimeoutError: a native call cannot be interrupted, only left behind in its thread."""
    outcome: list[T | BaseException] = []

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # a panic in Rust is a BaseException
            outcome.append(error)

    thread = threading.Thread(target=work, name="connectorx", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError
    if isinstance(outcome[0], BaseException):
        raise outcome[0] if isinstance(outcome[0], Exception) else RuntimeError("panic") from None
    return outcome[0]


# --- packed


def _packed_ratings(engine: Engine) -> Any:
    """user_id, product_id, half_stars of all ratings; None if one is not in half steps or a text was cut short."""
    texts, total = [], 0
    with database_errors(engine), _private_connection(engine) as connection:
        for packed, n, n_allowed in _mysql_packs(connection) if is_mysql(engine) else _sqlite_packs(connection):
            if n_allowed != n or not packed.endswith("\n"):
                return None
            texts.append(packed.encode())
            total += n
    if not texts:
        return None
    types = {"user_id": pa.int64(), "product_id": pa.string(), "half_stars": pa.int8()}
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(b"".join(texts)),
            read_options=pa.csv.ReadOptions(column_names=list(types)),
            parse_options=pa.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
    except pa.ArrowInvalid:  # a comma or a line end inside a product id
        return None
    return table if table.num_rows == total else None


def _pack(user_id: Any, product_id: Any, rating: Any) -> tuple[ColumnElement[Any], ...]:
    """``42,B08N5WRWNW,9`` and a line end per rating in one text; how many; how many of them in half steps."""
    line = cast(user_id, String) + "," + product_id + "," + cast(cast(rating * 2, Integer), String) + "\n"
    allowed = func.sum(func.coalesce(cast(rating.in_(_HALF_STEPS), Integer), 0))
    return func.aggregate_strings(line, ""), func.count(), allowed


def _refuse_faulty_rating(engine: Engine) -> None:
    """RatingError if there is a rating outside the half steps; SQLite may hold a text there."""
    faulty = ratings.c.rating.is_(None) | ratings.c.rating.not_in(_HALF_STEPS)
    columns = ratings.c.user_id, ratings.c.product_id, cast(ratings.c.rating, String).label("rating")
    with database_errors(engine), engine.connect() as connection:
        row = connection.execute(select(*columns).where(faulty).limit(1)).mappings().first()
    if row is not None:
        raise _rating_error(row)


def _mysql_packs(connection: Connection) -> Iterator[tuple[str, int, int]]:
    # one text per user: the primary key's order, so that nothing is sorted; max_allowed_packet limits a text as well
    connection.exec_driver_sql("SET SESSION group_concat_max_len = 1000000000")
    columns = ratings.c.user_id, ratings.c.product_id, ratings.c.rating
    statement = select(*_pack(*columns)).group_by(ratings.c.user_id)
    for packed, n, n_allowed in connection.execution_options(stream_results=True).execute(statement):
        yield packed or "", int(n), int(n_allowed)


def _sqlite_packs(connection: Connection) -> Iterator[tuple[str, int, int]]:
    row_id, last = literal_column("rowid", Integer).label("row_id"), -(2**63)
    columns = ratings.c.user_id, ratings.c.product_id, ratings.c.rating
    while True:
        block = select(row_id, *columns).where(row_id > last).order_by(row_id).limit(PACKED_ROWS).subquery()
        statement = select(*_pack(*(block.c[column.name] for column in columns)), func.max(block.c.row_id))
        packed, n, n_allowed, last = tuple(connection.execute(statement).one())
        if not n:
            return
        yield packed or "", n, n_allowed


@contextmanager
def _private_connection(engine: Engine) -> Iterator[Connection]:
    """A connection that is closed at the end, so that its session settings do not go back to the pool."""
    with engine.connect() as connection:
        connection.detach()
        yield connection


# --- streamed


def _streamed(engine: Engine, statement: Select[Any], schema: pa.Schema) -> pa.Table:
    batches = []
    with database_errors(engine), engine.connect().execution_options(stream_results=True) as connection:
        for rows in connection.execute(statement).partitions(FETCH_ROWS):
            columns = zip(zip(*rows, strict=True), schema, strict=True)
            batches.append(pa.record_batch([pa.array(values, field.type) for values, field in columns], schema))
    return pa.Table.from_batches(batches, schema)


# --- rows to arrays


def _rating_columns(table: pa.Table) -> RatingColumns:
    user_ids = table["user_id"].to_numpy()
    if "half_stars" in table.column_names:
        half_stars = table["half_stars"].to_numpy()
    else:
        doubled = table["rating"].to_numpy() * 2  # (n,) float64, NULL is NaN
        allowed = (doubled >= 1) & (doubled <= 10) & (doubled == np.floor(doubled))
        if not allowed.all():
            raise _rating_error(table.slice(int(np.argmin(allowed)), 1).to_pylist()[0])
        half_stars = doubled.astype(np.int8)
    return RatingColumns(user_ids, *_codes(table["product_id"]), half_stars)


def _rating_error(row: Mapping[Any, Any]) -> RatingError:
    where = f"table {ratings.name}, user_id {row['user_id']}, product_id {row['product_id']}"
    return RatingError(f"{where}: rating {row['rating']} is not 0.5 to 5.0 in half steps; correct or delete the row")


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
