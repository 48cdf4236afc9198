"""Bulk reads: every way gives the same arrays for any content of the tables; none hangs or shows a secret."""

from __future__ import annotations

import datetime
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, Integer, insert, literal_column, text

from recommender.database import (
    _connectorx,
    _packed_ratings,
    bulk_read,
    connect,
    read_catalog,
    read_interactions,
    read_ratings,
    read_table,
)
from recommender.database.bulk_read import RatingColumns, Way
from recommender.database.schema import metadata, products, ratings
from recommender.errors import DatabaseError
from recommender.settings import Settings, load_settings
from recommender.shop import NO_TIME, Product
from tests.support.mariadb_server import MariaDBServer

NOON = datetime.datetime(2024, 1, 1, 12)
RATING_WAYS: list[Way | None] = [None, "connectorx", "packed", "streamed"]
TABLE_WAYS: list[Way | None] = [None, "connectorx", "streamed"]
# the smallest and largest 64-bit ids, ASINs with leading zeros and a final X, all half stars
RATED = [
    (1, "B000000001", 0.5),
    (1, "B000000002", 1.0),
    (1, "0000000001", 1.5),
    (2, "000000000X", 2.0),
    (2, "0000000001", 2.5),
    (7, "ZZZZZZZZZZ", 3.0),
    (2**31, "B000000001", 3.5),
    (2**53 + 1, "B000000001", 4.0),
    (2**63 - 1, "B000000001", 4.5),
    (2**63 - 1, "000000000X", 5.0),
]
TITLES = [
    None,
    "",
    "plain",
    "emoji \U0001f381 and CJK 猫",
    "quotes \" and ' and `",
    "line one\nline two\r\nline three",
    "comma, tab\t, back\\slash, \\N, %s",
    "x" * 306,
]


def _rated(user_id: int, product_id: str, rating: float | None) -> dict[str, Any]:
    moments = {"created_at": NOON, "updated_at": NOON}
    return {"user_id": user_id, "product_id": product_id, "rating": rating, **moments}


def _facts(number: int, title: str | None) -> dict[str, Any]:
    facts = {"asin": f"{number:010d}", "title": title, "stars": 4.5, "reviews": number, "price": number + 0.99}
    return facts | {"listPrice": 1 / 3, "category_id": 2**31 - 1, "isBestSeller": number == 1, "boughtInLastMonth": 50}


def _triples(columns: RatingColumns) -> list[tuple[int, str, float]]:
    names = columns.products.take(pa.array(columns.product_codes)).to_pylist()
    return sorted(zip(columns.user_ids.tolist(), names, (columns.steps / 2).tolist(), strict=True))


@pytest.fixture
def tables(engine: Engine) -> Engine:
    """An engine on a database with all tables, which are empty."""
    metadata.create_all(engine)
    return engine


def _insert_ratings(engine: Engine, rows: list[tuple[int, str, float]]) -> None:
    with engine.begin() as connection:
        connection.execute(insert(ratings), [_rated(*row) for row in rows])


@pytest.mark.parametrize("way", RATING_WAYS)
def test_every_way_returns_the_ratings_unchanged(tables: Engine, way: Way | None) -> None:
    _insert_ratings(tables, RATED)
    columns = read_ratings(tables, way=way)
    assert _triples(columns) == sorted(RATED)
    assert (columns.user_ids.dtype, columns.steps.dtype, columns.product_codes.dtype) == (
        np.dtype(np.int64),
        np.dtype(np.int8),
        np.dtype(np.int32),
    )
    assert len(columns.products) == len({product for _, product, _ in RATED}), "products must be distinct"
    assert columns.products.type == pa.string()


@pytest.mark.parametrize("way", RATING_WAYS)
def test_every_way_returns_the_microsecond_of_each_rating(tables: Engine, way: Way | None) -> None:
    epoch = datetime.datetime(1970, 1, 1)
    moments = [2, 1, 999_999, 1_000_000, 1_704_110_400_123_456, 4_102_444_799_999_999, 1_704_110_400_000_000]
    rows = [
        _rated(user, "B000000001", 4.5) | {"created_at": epoch + datetime.timedelta(microseconds=moment)}
        for user, moment in enumerate(moments, start=1)
    ]
    with tables.begin() as connection:
        connection.execute(insert(ratings), rows)
    columns = read_ratings(tables, times=True, way=way)
    assert columns.rated_at is not None
    assert dict(zip(columns.user_ids.tolist(), columns.rated_at.tolist(), strict=True)) == dict(enumerate(moments, 1))
    assert columns.steps.tolist() == [9] * 7
    assert read_ratings(tables, way=way).rated_at is None


@pytest.mark.parametrize("way", RATING_WAYS)
def test_every_way_returns_a_missing_time_as_missing(tables: Engine, way: Way | None) -> None:
    """It is NULL, or the first moment of 1970, which imports of the previous release wrote."""
    times = {1: NOON, 2: None, 3: datetime.datetime(1970, 1, 1), 4: datetime.datetime(1970, 1, 1, 0, 0, 1)}
    with tables.begin() as connection:
        connection.execute(
            insert(ratings), [_rated(user, "B000000001", 4.5) | {"created_at": time} for user, time in times.items()]
        )
    columns = read_ratings(tables, times=True, way=way)
    assert columns.rated_at is not None
    found = dict(zip(columns.user_ids.tolist(), columns.rated_at.tolist(), strict=True))
    noon = (NOON - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
    assert found == {1: noon, 2: NO_TIME, 3: NO_TIME, 4: 1_000_000}
    assert columns.steps.tolist() == [9] * 4


def test_an_unreadable_time_on_sqlite_counts_as_missing(tmp_path: Path) -> None:
    engine = connect(load_settings(environ={"SQLITE_FILE": str(tmp_path / "shop.db")}), create=True)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO product_ratings VALUES (1, 'B000000001', 4.5, 'soon', '2024-01-01')"))
        connection.execute(
            text(
                "INSERT INTO user_interactions (interaction_id, user_id, product_id, interaction_type, created_at) "
                "VALUES (1, 1, 'B000000001', 'view', 'soon')"
            )
        )
    columns = read_ratings(engine, times=True)
    assert columns.rated_at is not None
    assert (columns.rated_at.tolist(), read_interactions(engine).times.tolist()) == ([NO_TIME], [NO_TIME])
    engine.dispose()


def test_a_time_without_a_fraction_on_sqlite_is_a_whole_second(tmp_path: Path) -> None:
    engine = connect(load_settings(environ={"SQLITE_FILE": str(tmp_path / "shop.db")}), create=True)
    metadata.create_all(engine)
    with engine.begin() as connection:
        for user, moment in (
            (1, "2024-01-01 12:00:00"),
            (2, "2024-01-01 12:00:00.5"),
            (3, "2024-01-01 12:00:00.000007"),
        ):
            row = {"u": user, "m": moment}
            connection.execute(text("INSERT INTO product_ratings VALUES (:u, 'B000000001', 4.5, :m, :m)"), row)
    columns = read_ratings(engine, times=True)
    assert columns.rated_at is not None
    noon = 1_704_110_400_000_000
    assert sorted(columns.rated_at.tolist()) == [noon, noon + 7, noon + 500_000]
    engine.dispose()


@pytest.mark.parametrize("way", RATING_WAYS)
def test_many_users_with_many_ratings_are_read_whole_by_every_way(
    tables: Engine, way: Way | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_packed_ratings, "PACKED_ROWS", 1000)  # 12,000 ratings are many texts; the last one is not full
    monkeypatch.setattr(bulk_read, "FETCH_ROWS", 700)
    rows = [(user, f"B{product:09d}", 0.5 + (user * product % 10) / 2) for user in (1, 2, 3) for product in range(4001)]
    _insert_ratings(tables, rows)
    with tables.begin() as connection:  # a gap in SQLite's row numbers
        connection.execute(ratings.delete().where(ratings.c.user_id == 2, ratings.c.product_id < "B000002000"))
    expected = [row for row in rows if row[0] != 2 or row[1] >= "B000002000"]
    assert _triples(read_ratings(tables, way=way)) == sorted(expected)


def test_the_default_way_is_connectorx_on_a_server(mariadb_tables: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _insert_ratings(mariadb_tables, RATED)
    monkeypatch.setattr(bulk_read, "packed_ratings", lambda _: pytest.fail("packed"))
    monkeypatch.setattr(bulk_read, "_streamed", lambda *_: pytest.fail("streamed"))
    assert len(read_ratings(mariadb_tables).user_ids) == len(RATED)
    assert read_table(mariadb_tables, [ratings.c.user_id]).num_rows == len(RATED)


@pytest.mark.parametrize("way", [None, "connectorx", "streamed"])
def test_a_table_without_ratings_is_read_as_empty_arrays(tables: Engine, way: Way | None) -> None:
    columns = read_ratings(tables, way=way)
    assert [len(part) for part in (columns.user_ids, columns.product_codes, columns.steps)] == [0, 0, 0]
    assert len(columns.products) == 0
    assert (columns.user_ids.dtype, columns.steps.dtype) == (np.dtype(np.int64), np.dtype(np.int8))


@pytest.mark.parametrize("odd", ["short", "lowercase1", "space in  ", "a,b", 'q"uote', "\\N", "مرحبا/🎁%2F", "🎁" * 64])
@pytest.mark.parametrize("way", [None, "connectorx", "streamed"])
def test_product_ids_that_are_no_asins_are_read_too(tables: Engine, way: Way | None, odd: str) -> None:
    rows = [(1, odd.rstrip(), 4.0), (1, "B000000001", 5.0)]
    _insert_ratings(tables, rows)
    assert _triples(read_ratings(tables, way=way)) == sorted(rows)


@pytest.mark.parametrize("way", TABLE_WAYS)
def test_every_way_returns_catalog_facts_unchanged(tables: Engine, way: Way | None) -> None:
    facts = [_facts(number, title) for number, title in enumerate(TITLES)]
    with tables.begin() as connection:
        connection.execute(insert(products), facts)
    wanted = ["asin", "title", "price", "listPrice", "stars", "reviews", "category_id", "isBestSeller"]
    table = read_table(tables, [products.c[name] for name in wanted], order_by=products.c.asin, way=way)
    assert table.to_pylist() == [{name: fact[name] for name in wanted} for fact in facts]
    number, real, string = pa.int64(), pa.float64(), pa.string()
    assert table.schema.types == [string, string, real, real, real, number, number, pa.bool_()]


@pytest.mark.parametrize("way", TABLE_WAYS)
def test_an_empty_table_keeps_its_types_by_every_way(tables: Engine, way: Way | None) -> None:
    table = read_table(tables, [products.c.asin, products.c.price], way=way)
    assert (table.num_rows, table.schema.types) == (0, [pa.string(), pa.float64()])


def test_the_catalog_is_in_the_order_of_ids_and_a_missing_product_is_unknown(tables: Engine) -> None:
    with tables.begin() as connection:
        connection.execute(insert(products), [_facts(3, "three"), _facts(1, "one"), _facts(2, None)])
    catalog = read_catalog(tables)
    assert catalog.product_ids.tolist() == [b"0000000001", b"0000000002", b"0000000003"]
    assert [catalog.row_of(name) for name in ("0000000003", "0000000001", "B000000009", "", "é")] == [
        2,
        0,
        None,
        None,
        None,
    ]
    rows = catalog.rows_of(np.array(["0000000003", "B000000009", "0000000002", "0000000000"], "S10"))
    assert rows.tolist() == [2, -1, 1, -1]
    assert catalog.titles_of(rows).to_pylist() == ["three", None, None, None]
    assert [catalog.product(row) for row in rows.tolist()] == [
        Product("three", 3.99, 4.5, 2**31 - 1),
        Product(None, None, None, None),
        Product(None, 2.99, 4.5, 2**31 - 1),
        Product(None, None, None, None),
    ]


def test_an_empty_catalog_knows_no_product(tables: Engine) -> None:
    catalog = read_catalog(tables)
    assert (len(catalog), catalog.row_of("0000000001")) == (0, None)
    assert catalog.rows_of(np.array(["0000000001"], "S10")).tolist() == [-1]
    assert catalog.titles_of(np.array([-1], np.int32)).to_pylist() == [None]


def test_a_missing_table_is_an_error_of_one_line(engine: Engine) -> None:
    with pytest.raises(DatabaseError, match="product_ratings") as error:
        read_ratings(engine)
    assert "\n" not in str(error.value)
    assert MariaDBServer.password not in str(error.value)


@given(st.lists(st.text("0129AXYZ_ !", min_size=10, max_size=10), min_size=1, max_size=60))
def test_different_ids_have_different_keys_and_equal_ids_equal_ones(ids: list[str]) -> None:
    keys = bulk_read._keys(pa.array(ids))
    assert keys is not None
    assert len({(key, name) for key, name in zip(keys.tolist(), ids, strict=True)}) == len(set(ids)) == len(set(keys))


def test_each_of_the_60_bits_of_an_id_counts() -> None:
    base = bytearray(b"          ")  # ten spaces have all bits zero
    variants = [bytes(base)]
    for place in range(10):
        for bit in range(6):
            changed = bytearray(base)
            changed[place] += 1 << bit
            variants.append(bytes(changed))
    keys = bulk_read._keys(pa.array([variant.decode() for variant in variants]))
    assert keys is not None
    assert keys.tolist() == [0] + [2**bit for bit in range(60)]


@given(st.lists(st.text(max_size=12), max_size=30), st.integers(0, 5))
def test_any_text_is_recovered_from_its_codes(ids: list[str], skipped: int) -> None:
    chunks = pa.chunked_array([pa.array(ids, pa.string())[skipped:], pa.array(ids, pa.string())[:skipped]])
    codes, distinct = bulk_read.codes_of(chunks)
    assert distinct.take(pa.array(codes)).to_pylist() == chunks.to_pylist()
    assert len(set(distinct.to_pylist())) == len(distinct)


# --- if connectorx cannot be used


@pytest.fixture
def mariadb_tables(mariadb: MariaDBServer, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a MariaDB database with empty tables, dropped at the end."""
    engine = connect(_server_settings(mariadb.port, tmp_path), create=True)
    metadata.create_all(engine)
    yield engine
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP DATABASE `test-bulk-read`")
    engine.dispose()


def _server_settings(port: int, tmp_path: Path, **changes: str) -> Settings:
    environ = {"DB_HOST": MariaDBServer.host, "DB_PORT": str(port), "DB_NAME": "test-bulk-read"}
    environ |= {"DB_USER": MariaDBServer.user, "DB_PASSWORD": MariaDBServer.password} | changes
    return load_settings(environ=environ, env_file=tmp_path / "no.env")


def test_ratings_are_read_packed_without_connectorx_and_a_line_says_so(
    mariadb_tables: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _insert_ratings(mariadb_tables, RATED)
    monkeypatch.setitem(sys.modules, "connectorx", None)  # import raises ImportError
    with caplog.at_level(logging.WARNING):
        assert _triples(read_ratings(mariadb_tables)) == sorted(RATED)
        assert read_table(mariadb_tables, [ratings.c.user_id]).num_rows == len(RATED)
    messages = [record.getMessage() for record in caplog.records if record.name == "recommender.database._connectorx"]
    assert len(messages) == 1, "said once per engine"
    assert "connectorx" in messages[0]
    assert MariaDBServer.password not in caplog.text


def test_a_text_that_the_server_cut_short_is_noticed(
    mariadb: MariaDBServer, mariadb_tables: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(1, f"B{product:09d}", 4.5) for product in range(500)]
    _insert_ratings(mariadb_tables, rows)
    monkeypatch.setitem(sys.modules, "connectorx", None)
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@global.max_allowed_packet")
        (before,) = cursor.fetchone()
        try:
            for limit in range(1024, 4096, 1024):  # 500 lines are 7 kB; the limits cut inside a line and between lines
                cursor.execute("SET GLOBAL max_allowed_packet = %s", (limit,))
                mariadb_tables.dispose()  # new connections have the new limit
                with pytest.raises(DatabaseError, match="packed"):
                    read_ratings(mariadb_tables, way="packed")
                assert _triples(read_ratings(mariadb_tables)) == rows
        finally:
            cursor.execute("SET GLOBAL max_allowed_packet = %s", (before,))


def test_packing_leaves_no_setting_in_pooled_connections(mariadb_tables: Engine) -> None:
    _insert_ratings(mariadb_tables, RATED)
    with mariadb_tables.connect() as connection:
        before = connection.scalar(text("SELECT @@group_concat_max_len"))
    read_ratings(mariadb_tables, way="packed")
    with mariadb_tables.connect() as connection:
        assert connection.scalar(text("SELECT @@group_concat_max_len")) == before != 1_000_000_000


def test_connectorx_opens_no_second_connection_for_an_engine_made_elsewhere(
    mariadb_tables: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its TLS settings cannot be seen, and connectorx might send the password unencrypted."""
    from sqlalchemy import create_engine

    _insert_ratings(mariadb_tables, RATED)
    foreign = create_engine(mariadb_tables.url)
    monkeypatch.setattr(_connectorx, "_ask_connectorx", lambda *_: pytest.fail("asked"))
    assert _triples(read_ratings(foreign)) == sorted(RATED)
    foreign.dispose()


# --- servers that do not answer


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never sends a byte."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


def test_a_server_that_sends_no_greeting_is_given_up_within_seconds(silent_port: int, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(DatabaseError) as error:
        connect(_server_settings(silent_port, tmp_path))
    assert time.monotonic() - start < 60
    assert "\n" not in str(error.value)
    assert MariaDBServer.password not in str(error.value)


def test_a_login_that_connectorx_cannot_make_is_given_up_within_seconds(
    mariadb_tables: Engine, silent_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _insert_ratings(mariadb_tables, RATED)
    astray = _connectorx._address(mariadb_tables).replace(f":{mariadb_tables.url.port}/", f":{silent_port}/")
    monkeypatch.setattr(_connectorx, "_address", lambda _: astray)
    monkeypatch.setattr(_connectorx, "CONNECT_TIMEOUT", 1)
    start = time.monotonic()
    assert _triples(read_ratings(mariadb_tables)) == sorted(RATED)
    assert time.monotonic() - start < 25  # connectorx itself waits 30 s
    assert MariaDBServer.password not in caplog.text


def test_an_answer_that_does_not_come_is_given_up_at_the_deadline(
    mariadb_tables: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _insert_ratings(mariadb_tables, RATED)
    read_ratings(mariadb_tables)  # connectorx has proved itself
    monkeypatch.setattr(_connectorx, "STATEMENT_TIMEOUT", 1)
    before = set(threading.enumerate())
    column = literal_column("SLEEP(3)", Integer).label("slept")
    with pytest.raises(DatabaseError, match="within 1 seconds"):
        read_table(mariadb_tables, [column], way="connectorx")
    for thread in set(threading.enumerate()) - before:  # the abandoned read ends now, not under the next test
        thread.join(60)
        assert not thread.is_alive()
