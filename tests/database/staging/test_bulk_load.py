"""Rows are loaded into tables unchanged, all or nothing, also after any failure."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Table, inspect, select, text

from recommender.database import LoadCount, Stage, connect, existing_tables, prepare_notes, staged, writing
from recommender.database.own_tables import OLD, STAGING, OwnTable, note
from recommender.database.schema import categories, own_tables, products, ratings, recommendations
from recommender.database.staging import _mysql as _server_stage
from recommender.errors import DatabaseError
from recommender.settings import load_settings
from tests.support.mariadb_server import MariaDBServer

on_a_server = pytest.mark.parametrize("backend", ["mariadb"], indirect=True)
EPOCH = dt.datetime(1970, 1, 1)


def named(*rows: tuple[int, str]) -> pa.RecordBatch:
    """Rows of amazon_categories."""
    ids, names = [row[0] for row in rows], [row[1] for row in rows]
    return pa.record_batch({"id": pa.array(ids, pa.int32()), "category_name": pa.array(names, pa.string())})


def catalog(asins: Sequence[str], title: str | list[str] = "t", **columns: list[Any]) -> pa.RecordBatch:
    """Rows of amazon_products with the given titles, or t0, t1, ..."""
    n = len(asins)
    values: dict[str, Any] = {
        "asin": list(asins),
        "title": [f"{title}{i}" for i in range(n)] if isinstance(title, str) else title,
        "imgUrl": pa.nulls(n, pa.string()),
        "productURL": pa.nulls(n, pa.string()),
        "stars": [4.5] * n,
        "reviews": [0] * n,
        "price": [9.99] * n,
        "listPrice": [0.0] * n,
        "category_id": [1] * n,
        "isBestSeller": [False] * n,
        "boughtInLastMonth": [50] * n,
    }
    return pa.record_batch(values | columns)


def rated(*keys: tuple[int, str, float]) -> pa.RecordBatch:
    """Rows of product_ratings."""
    times = pa.array([EPOCH] * len(keys), pa.timestamp("us"))
    users, asins, stars = ([key[n] for key in keys] for n in range(3))
    names = ("user_id", "product_id", "rating", "created_at", "updated_at")
    return pa.record_batch(dict(zip(names, (users, asins, stars, times, times), strict=True)))


def rows_of(engine: Engine, table: Table = categories) -> list[tuple[Any, ...]]:
    """The rows in the order of the primary key, without automatic numbers."""
    columns = [c for c in table.columns if not (table is products and c.name == "id")]
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(*table.primary_key.columns))]


def titles(engine: Engine) -> list[tuple[Any, ...]]:
    """(asin, title) of the products in the order they were loaded."""
    return [row[:2] for row in rows_of(engine, products)]


def tables_of(engine: Engine) -> set[str]:
    """All tables except the notes on the project's own tables."""
    return existing_tables(engine) - {own_tables.name}


def fill(engine: Engine, *rows: tuple[int, str]) -> None:
    """Load categories and publish them."""
    with staged(engine, [categories]) as stage:
        stage.load(categories, [named(*rows)])
        stage.publish()


@pytest.fixture
def refusing(engine: Engine, mariadb: MariaDBServer) -> Iterator[Engine]:
    """The engine while the server refuses LOAD DATA LOCAL."""
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL local_infile = OFF")
        yield engine
        cursor.execute("SET GLOBAL local_infile = ON")


ODD = [
    "",
    " ",
    "\\N",
    "NULL",
    "\\",
    "\\\\n",
    "\t",
    "a\nb\r\nc\rd",
    "\0",
    "'",
    '"',
    '""',
    "%s %(x)s %%",
    "😀",
    "\x1a",
    "é\u2028",
]
ALL_VALUES = catalog(
    [f"{n:010}" for n in range(len(ODD) + 1)],
    title="",
    productURL=[*ODD, None],
    stars=[0.1 + 0.2, 5e-324, 1e-7, 4.35, 0.0, *[1 / 3] * (len(ODD) - 4)],
    price=[1.7976931348623157e308, 123456789.12345678, 19731.81, *[0.07] * (len(ODD) - 2)],
    boughtInLastMonth=[2**31 - 1, *[0] * len(ODD)],
    isBestSeller=[True, *[False] * len(ODD)],
)


def test_every_value_comes_back_unchanged(engine: Engine) -> None:
    with staged(engine, [products, ratings, recommendations]) as stage:
        assert stage.load(products, [ALL_VALUES]) == LoadCount(len(ODD) + 1, len(ODD) + 1)
        late = dt.datetime(2099, 12, 31, 23, 59, 59, 999_999)
        one = {"user_id": [2**63 - 1], "rank": [1], "product_id": ["0000000001"], "predicted_rating": [4.712]}
        two = {"source": ["neighbors"], "generated_at": pa.array([late], pa.timestamp("us", "UTC"))}
        stage.load(recommendations, [pa.record_batch(one | two)])
        stage.publish()
    assert rows_of(engine, products) == [tuple(row.values()) for row in ALL_VALUES.to_pylist()]
    expected = (2**63 - 1, 1, "0000000001", None, 4.712, "neighbors", None, None, late)
    assert rows_of(engine, recommendations) == [expected]


@on_a_server
def test_insert_instead_of_load_data_gives_the_same_rows(
    refusing: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server_stage, "ROWS_PER_INSERT", 5)
    with caplog.at_level(logging.WARNING), staged(refusing, [products, ratings]) as stage:
        stage.load(products, [ALL_VALUES])
        twice = rated((1, "A", 5), (1, "A", 4), (1, "B", 3))
        assert stage.load(ratings, [twice], skip_duplicates=True) == LoadCount(3, 2)
        stage.publish()
    assert len(caplog.messages) == 1
    assert "refuses LOAD DATA LOCAL" in caplog.messages[0]
    assert rows_of(refusing, products) == [tuple(row.values()) for row in ALL_VALUES.to_pylist()]
    assert rows_of(refusing, ratings) == [(1, "A", 5.0, EPOCH, EPOCH), (1, "B", 3.0, EPOCH, EPOCH)]


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=300, max_size=500))
def test_any_text_comes_back_unchanged(engine: Engine, texts: list[str]) -> None:
    with staged(engine, [products]) as stage:
        stage.load(products, [catalog([f"{n:010}" for n in range(len(texts))], title=texts)])
        stage.publish()
    assert [title for _, title in titles(engine)] == texts


def test_the_first_of_several_rows_with_the_same_unique_key_stays(engine: Engine) -> None:
    with staged(engine, [products, ratings]) as stage:
        batches = [catalog(["B", "A", "B"], "first "), catalog(["C", "A", "B", "D"], "second ")]
        assert stage.load(products, batches, skip_duplicates=True) == LoadCount(7, 4)
        assert stage.load(products, [catalog(["D", "E"], "third ")], skip_duplicates=True) == LoadCount(2, 1)
        twice = [rated((2, "A", 5), (1, "A", 4)), rated((2, "A", 3))]
        assert stage.load(ratings, twice, skip_duplicates=True) == LoadCount(3, 2)
        stage.publish()
    first = [("B", "first 0"), ("A", "first 1"), ("C", "second 0"), ("D", "second 3"), ("E", "third 1")]
    assert titles(engine) == first
    assert rows_of(engine, ratings) == [(1, "A", 4.0, EPOCH, EPOCH), (2, "A", 5.0, EPOCH, EPOCH)]


def test_ten_thousand_repeats_are_counted(engine: Engine) -> None:
    asins = [f"{n % 15_000:010}" for n in range(25_000)]
    with staged(engine, [products]) as stage:
        assert stage.load(products, [catalog(asins)], skip_duplicates=True) == LoadCount(25_000, 15_000)
        stage.publish()
    assert titles(engine) == [(f"{n:010}", f"t{n}") for n in range(15_000)]


@pytest.mark.parametrize(
    ("table", "batch"),
    [
        (products, catalog(["A", "A"])),
        (ratings, rated((1, "A", 5), (1, "A", 5))),
        (categories, named((1, "a"), (1, "b"))),
    ],
    ids=["unique key", "two columns", "primary key"],
)
def test_an_unexpected_repeat_is_an_error_and_nothing_changes(
    engine: Engine, table: Table, batch: pa.RecordBatch
) -> None:
    fill(engine, (7, "stays"))
    tables = [categories, products, ratings]

    def load() -> None:
        with staged(engine, tables) as stage:
            stage.load(table, [batch])
            stage.publish()

    with pytest.raises(DatabaseError, match=r"(?i)unique|duplicate") as error:
        load()
    assert "\n" not in str(error.value)
    assert rows_of(engine) == [(7, "stays")]
    assert tables_of(engine) == {"amazon_categories"}


@pytest.mark.parametrize(
    ("column", "value"),
    [("imgUrl", "x" * 1_001), ("title", "é" * 40_000), ("asin", "é" * 65), ("reviews", 2**31)],
)
@pytest.mark.parametrize("skip", [False, True])
@on_a_server  # SQLite has no lengths: the caller checks them
def test_a_value_that_does_not_fit_is_an_error_and_is_not_cut_short(
    engine: Engine, column: str, value: Any, skip: bool
) -> None:
    batch = catalog(["A", "B"]).drop_columns([column])
    batch = batch.append_column(column, pa.array([value, value]))
    with pytest.raises(DatabaseError, match=column), staged(engine, [products]) as stage:
        stage.load(products, [batch], skip_duplicates=skip)
    assert tables_of(engine) == set()


def test_a_forbidden_null_and_a_number_that_is_not_finite_are_errors(engine: Engine) -> None:
    fill(engine, (7, "stays"))
    for batch in (catalog(["A"], stars=[float("nan")]), catalog(["A"], stars=[float("inf")])):
        with pytest.raises(DatabaseError, match=r"amazon_products\.stars"), staged(engine, [products]) as stage:
            stage.load(products, [batch])
    with pytest.raises(DatabaseError, match="price"), staged(engine, [products]) as stage:
        stage.load(products, [catalog(["A"], price=[None])])
    assert tables_of(engine) == {"amazon_categories"}


def failing_batches() -> Iterator[pa.RecordBatch]:
    """One batch, then an error of the caller."""
    yield named((1, "new"))
    raise ZeroDivisionError("mine")


def test_an_error_of_the_caller_is_raised_unchanged_and_nothing_changes(engine: Engine) -> None:
    fill(engine, (7, "stays"))
    with pytest.raises(ZeroDivisionError, match="mine"), staged(engine, [categories]) as stage:
        stage.load(categories, failing_batches())
    with staged(engine, [categories]) as stage:
        stage.load(categories, [named((1, "never published"))])
    assert rows_of(engine) == [(7, "stays")]
    assert tables_of(engine) == {"amazon_categories"}


def test_readers_see_the_old_tables_until_all_are_published(engine: Engine) -> None:
    fill(engine, (1, "old"))
    with staged(engine, [categories, products]) as stage:
        stage.load(categories, [named((1, "new"))])
        stage.load(products, [catalog(["A"])])
        assert rows_of(engine) == [(1, "old")]
        assert stage.connection.execute(select(stage.tables[categories].c.category_name)).scalars().all() == ["new"]
        stage.publish()
    assert rows_of(engine) == [(1, "new")]
    assert titles(engine) == [("A", "t0")]


def test_published_tables_have_their_keys_under_their_own_names(engine: Engine) -> None:
    for _ in range(2):
        with staged(engine, [products]) as stage:
            stage.load(products, [catalog(["A"])])
            stage.publish()
        found = inspect(engine).get_indexes("amazon_products")
        assert {index["name"]: (index["column_names"], bool(index["unique"])) for index in found} == {
            "uq_amazon_products_asin": (["asin"], True),
            "ix_amazon_products_category_id": (["category_id"], False),
        }


def test_append_adds_and_updates_in_one_step(engine: Engine) -> None:
    for asins, title, expected in (
        (["A", "B"], "one ", [("A", "one 0"), ("B", "one 1")]),
        (["C", "B", "C"], "two ", [("A", "one 0"), ("B", "two 1"), ("C", "two 0")]),
    ):
        with staged(engine, [categories, products], append=True) as stage:
            stage.load(categories, [named((1, title))])
            assert stage.load(products, [catalog(asins, title)], skip_duplicates=True).sent == len(asins)
            stage.publish()
        assert titles(engine) == expected
        assert rows_of(engine) == [(1, title)]
        assert tables_of(engine) == {"amazon_categories", "amazon_products"}
    with pytest.raises(ZeroDivisionError), staged(engine, [categories], append=True) as stage:
        stage.load(categories, failing_batches())
    assert rows_of(engine) == [(1, "two ")]


def test_others_tables_with_names_like_ours_are_left_alone(engine: Engine) -> None:
    others = {
        f"amazon_categories{end}" for end in ("_old", "_new", "__old", "__new", "__old_0a1b2c3d", "__new_0a1b2c3d")
    }
    with writing(engine) as connection:
        for name in others:
            connection.execute(text(f"CREATE TABLE {name} (a INTEGER)"))
    fill(engine, (1, "a"))
    fill(engine, (1, "a"))
    with staged(engine, [categories]) as stage:
        stage.load(categories, [named((1, "never published"))])
    assert tables_of(engine) == {"amazon_categories"} | others


@on_a_server  # SQLite leaves none
def test_leftovers_of_a_killed_run_are_dropped(engine: Engine) -> None:
    ours = [
        OwnTable("amazon_categories__new_0a1b2c3d", STAGING, categories.name),
        OwnTable("amazon_categories__old_0a1b2c3d", OLD, categories.name),
        OwnTable("users__new_0a1b2c3d", STAGING, "users"),  # another step's table; the step may be running
    ]
    with writing(engine) as connection:
        prepare_notes(connection)
        note(connection, *ours)
        for table in ours[1:]:  # the first run was killed between the note and the table
            connection.execute(text(f"CREATE TABLE {table.name} (a INTEGER)"))
    fill(engine, (1, "a"))
    assert tables_of(engine) == {"amazon_categories", "users__new_0a1b2c3d"}
    with engine.connect() as connection:
        assert connection.execute(select(own_tables.c.table_name)).scalars().all() == ["users__new_0a1b2c3d"]
    assert rows_of(engine) == [(1, "a")]


def test_two_runs_at_once_do_not_mix(
    engine: Engine, backend: str, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server_stage, "NAMED_LOCK_WAIT", 0)
    other = connect(load_settings({"LOCK_WAIT_SECONDS": 1}, environ=env, env_file=tmp_path / "no.env"))
    with staged(engine, [categories]) as stage:
        stage.load(categories, [named((1, "first"))])
        message = "another run is filling it|database is locked"
        with pytest.raises(DatabaseError, match=message), staged(other, [categories]):
            pass
        stage.publish()
    assert rows_of(engine) == [(1, "first")]
    fill(other, (2, "second"))
    assert rows_of(engine) == [(2, "second")]
    other.dispose()


@on_a_server
def test_a_connection_that_breaks_midway_is_one_line_and_the_next_run_is_clean(
    engine: Engine, mariadb: MariaDBServer
) -> None:
    fill(engine, (7, "stays"))

    def endless(stage: Stage) -> Iterator[pa.RecordBatch]:
        number = stage.connection.connection.dbapi_connection.thread_id()  # type: ignore[union-attr]
        for n in range(10**6):
            yield named(*((n * 1_000 + m, "x" * 200) for m in range(1_000)))
            if n == 20:
                with mariadb.connect() as connection, connection.cursor() as cursor:
                    cursor.execute(f"KILL CONNECTION {number}")

    with pytest.raises(DatabaseError) as error, staged(engine, [categories]) as stage:
        stage.load(categories, endless(stage))
    assert "\n" not in str(error.value)
    assert "run the step again" in str(error.value)
    assert MariaDBServer.password not in str(error.value)
    assert rows_of(engine) == [(7, "stays")]
    fill(engine, (8, "again"))
    assert rows_of(engine) == [(8, "again")]
    assert tables_of(engine) == {"amazon_categories"}
