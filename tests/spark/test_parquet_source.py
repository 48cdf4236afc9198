"""Parquet files give what the same rows in tables give; a file of another form is one line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.errors import InputFileError, RatingError, RecommenderError
from recommender.settings import load_settings
from recommender.shop import HALF_STARS, NO_TIME, id_fault, is_product_id
from recommender.spark.causes import explained
from recommender.spark.lists.plan import fit_shuffles
from recommender.spark.names import numbered
from recommender.spark.parquet_source import ParquetSource, _checked
from recommender.spark.shop_frames import ShopFrames
from tests.spark.test_jdbc_source import rows

PRODUCTS: dict[str, Any] = {"product_id": ["b", "a", "c"], "title": ["B", None, "C"], "price": [9.5, 0.0, None]}
RATINGS: dict[str, Any] = {"user_id": [1, 2, 2], "product_id": ["a", "a", "b"], "rating": [4.5, 1.0, 5.0]}
DAY = dt.datetime(2024, 2, 29, 23, 59, 59, 999_999)


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., None]:
    """Write files, each of columns."""

    def write(**files: Any) -> None:
        for name, columns in files.items():
            pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")

    return write


@pytest.fixture
def read(spark: Any, tmp_path: Path) -> Callable[..., ShopFrames]:
    def read_it(folder: str = str(tmp_path), **options: str) -> ShopFrames:
        settings = load_settings(options, environ={}, env_file=tmp_path / "no.env")
        return ParquetSource(spark, folder, settings).read()

    return read_it


def test_files_have_the_columns_of_the_tables(put: Any, read: Any) -> None:
    put(
        products=PRODUCTS | {"stars": [4.0, None, 2.5], "category_id": [3, None, 1], "in_stock": [True, False, None]},
        ratings=RATINGS | {"rating": [Decimal("4.5"), Decimal("1.0"), Decimal("5.0")], "created_at": [DAY, None, DAY]},
        interactions={
            "user_id": pa.array([7, 1], pa.int32()),
            "product_id": ["c", "a"],
            "interaction_type": ["purchase", "view"],
            "created_at": [dt.date(2024, 1, 1), dt.date(1970, 1, 1)],
            "more": [1, 2],
        },
        users={"user_id": [1, 2], "country": ["DE", None]},
    )
    shop = read()
    assert rows(shop.frames.ratings) == [
        (1, "a", 9, 1_709_251_199_999_999), (2, "a", 2, NO_TIME), (2, "b", 10, 1_709_251_199_999_999),
    ]  # fmt: skip
    assert rows(shop.frames.interactions) == [(1, "a", 0, NO_TIME), (7, "c", 3, 1_704_067_200_000_000)]
    assert rows(shop.frames.people) == [(1, "DE", None), (2, None, None)]
    assert (shop.n_ratings, shop.frames.names, shop.left_out) == (3, None, {})
    assert shop.catalog.product_ids.tolist() == [b"a", b"b", b"c"]
    assert shop.catalog.titles.to_pylist() == [None, "B", "C"]
    assert np.isnan(shop.catalog.prices).tolist() == [True, False, True]
    assert shop.catalog.in_stock is not None
    assert shop.catalog.in_stock.tolist() == [False, True, False]


def test_texts_have_numbers_in_their_order_in_every_file(put: Any, read: Any) -> None:
    """The numbers that step 2 gives them in an empty database, so that the same people get a new product."""
    texts = ["é", "x", "a b"]
    put(
        products={"asin": ["a"]},
        ratings=RATINGS | {"user_id": texts},
        interactions={"user_id": ["x", "new"], "product_id": ["a", "a"], "interaction_type": ["view", "click"]},
    )
    frames = read().frames
    assert rows(frames.names) == [(1, "a b"), (2, "new"), (3, "x"), (4, "é")]
    assert [row[:2] for row in rows(frames.ratings)] == [(1, "b"), (3, "a"), (4, "a")]
    assert [row[0] for row in rows(frames.interactions)] == [2, 3]


@pytest.mark.parametrize("n_parts", [1, 3, 50])
def test_the_numbers_of_texts_do_not_depend_on_the_parts_that_they_are_in(spark: Any, n_parts: int) -> None:
    texts = [f"{'zé'[n % 2]}{n * 7_919 % 1_000}" for n in range(300)]
    spark.conf.set("spark.sql.shuffle.partitions", str(n_parts))
    try:
        found = numbered(spark.createDataFrame([(text,) for text in texts * 2], "text string")).collect()
    finally:
        fit_shuffles(spark, 0)
    assert sorted(map(tuple, found)) == list(enumerate(sorted(texts), start=1))


def test_a_small_shop_has_as_many_parts_as_cores(put: Any, read: Any, spark: Any) -> None:
    put(products=PRODUCTS, ratings=RATINGS | {"user_id": ["é", "x", "a b"]})
    frames = read().frames
    assert spark.conf.get("spark.sql.shuffle.partitions") == "2"
    assert frames.names.rdd.getNumPartitions() <= 2
    fit_shuffles(spark, 10_000_000)
    assert spark.conf.get("spark.sql.shuffle.partitions") == "40"  # of 250,000 rows
    fit_shuffles(spark, 0)


def test_unusable_rows_are_left_out_and_counted(put: Any, read: Any) -> None:
    many = list(range(60))
    put(
        products={"product_id": [*PRODUCTS["product_id"], " d", None]},
        ratings={
            "user_id": [*many, -1, None, 61, 62, 63],
            "product_id": ["a"] * 63 + ["..", "a"],
            "rating": [3.0] * 62 + [4.3, 4.0, None],
        },
    )
    shop = read()
    assert shop.n_ratings == 60
    assert shop.left_out == {
        "product_ratings.user_id": 2,
        "product_ratings.rating": 2,
        "product_ratings.product_id": 1,
        "amazon_products.asin": 2,
    }


def test_a_folder_may_be_on_any_file_system_that_spark_knows(put: Any, read: Any, tmp_path: Path) -> None:
    put(products=PRODUCTS, ratings=RATINGS)
    assert read(f"file://{tmp_path}").n_ratings == 3
    (tmp_path / "ratings.parquet").unlink()
    for folder, line in (
        (f"file://{tmp_path}", f"--from-parquet file://{tmp_path}: neither ratings.parquet nor interactions.parquet"),
        (f"file://{tmp_path}/no", f"--from-parquet file://{tmp_path}/no is no folder"),
        ("nothing://host/shop", 'No FileSystem for scheme "nothing"'),
    ):
        with pytest.raises(RecommenderError) as error, explained():
            read(folder)
        assert line in str(error.value)


def test_another_scale_is_named_by_the_settings(put: Any, read: Any) -> None:
    put(products=PRODUCTS, ratings=RATINGS | {"rating": [4, 1, 10]})
    given = {"RATING_MIN": "1", "RATING_MAX": "10", "RATING_STEP": "1"}
    assert sorted(row[2] for row in rows(read(**given).frames.ratings)) == [1, 4, 10]


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"ratings": RATINGS}, "products.parquet is missing: it has the products that may be recommended"),
        ({"products": PRODUCTS}, "neither ratings.parquet nor interactions.parquet"),
        (
            {"products": PRODUCTS, "ratings": {"user_id": [1], "stars": [1.0]}},
            "ratings.parquet has no column product_id and rating; it has user_id, stars",
        ),
        (
            {"products": PRODUCTS, "ratings": RATINGS | {"user_id": [1.0, 2.0, 2.0]}},
            "ratings.parquet: column user_id is of type double: make it a whole number or text",
        ),
        (
            {"products": PRODUCTS, "ratings": RATINGS | {"created_at": ["2024", "", ""]}},
            "ratings.parquet: column created_at is of type string: make it a time or a date",
        ),
        (
            {"products": PRODUCTS, "ratings": RATINGS, "users": {"user_id": ["1"]}},
            "user_id is a whole number in ratings.parquet, text in users.parquet: make it one kind",
        ),
        (
            {"products": PRODUCTS, "ratings": {n: [*v, v[1]] for n, v in RATINGS.items()}},
            "ratings.parquet has user 2 and product a 2 times: leave one row of each pair",
        ),
        (
            {"products": PRODUCTS, "ratings": RATINGS, "users": {"user_id": [2, 3, 2], "country": ["DE", "DE", "FR"]}},
            "users.parquet has user 2 2 times: leave one row of each user",
        ),
        (
            {"products": {"product_id": ["a", "b", "a"]}, "ratings": RATINGS},
            "products.parquet has the product a twice: leave one row",
        ),
    ],
)
def test_a_file_of_another_form_is_one_line(put: Any, read: Any, files: Any, line: str, tmp_path: Path) -> None:
    put(**files)
    with pytest.raises(InputFileError) as error:
        read()
    assert line in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_mostly_faulty_and_a_folder_that_is_not_there_are_one_line(
    put: Any, read: Any, tmp_path: Path
) -> None:
    put(
        products=PRODUCTS,
        ratings={"user_id": range(150), "product_id": ["a"] * 150, "rating": [3.0] * 40 + [9.0] * 110},
    )
    with pytest.raises(RatingError, match=r"110 of the 150 rows of product_ratings cannot be used \(rating 110\)"):
        read()
    for file in tmp_path.iterdir():
        file.unlink()
    tmp_path.rmdir()
    with pytest.raises(RecommenderError, match="is no folder: name one with products.parquet in it"):
        read()
    tmp_path.mkdir()


def test_a_file_that_cannot_be_read_is_named_with_the_reason(put: Any, read: Any, tmp_path: Path) -> None:
    put(products=PRODUCTS, ratings=RATINGS)
    file = tmp_path / "ratings.parquet"
    whole = file.read_bytes()
    cut, damaged = whole[:-20], whole[:30] + b"\xff" * 40 + whole[70:]
    for content, reason in (
        (b"", "it has no Parquet file in it"),
        (b"no parquet, but of some length", "is not a Parquet file"),
        (cut, "is not a Parquet file"),
        (damaged, "TProtocolException"),
    ):
        file.write_bytes(content)
        assert_named(read, file, reason)
    put(ratings={name: pa.array(values) for name, values in RATINGS.items()} | {"created_at": nanoseconds([1, 2, 3])})
    assert_named(read, file, "it has times in nanoseconds: write them in microseconds")
    file.unlink()
    file.mkdir()
    assert_named(read, file, "it has no Parquet file in it")


def nanoseconds(values: list[int]) -> pa.Array:
    return pa.array(values, pa.timestamp("ns"))


def assert_named(read: Any, file: Path, reason: str) -> None:
    """The one line of an error names the file and the reason."""
    with pytest.raises(RecommenderError) as error, explained():
        read()
    line = str(error.value)
    assert str(file) in line
    assert reason in line
    assert "\n" not in line


@given(st.lists(st.tuples(st.text(max_size=70), st.text(max_size=66), st.floats(0, 6, width=16)), max_size=8))
def test_rows_are_usable_by_the_rules_of_the_shop(given_rows: list[tuple[str, str, float]]) -> None:
    kept = [row for row in given_rows if not any("\ud800" <= c <= "\udfff" for c in row[0] + row[1])]
    users, names, stars = [row[0] for row in kept], [row[1] for row in kept], [row[2] for row in kept]
    batch = pa.record_batch(
        [pa.array(users, pa.string()), pa.array(names, pa.string()), pa.array(stars, pa.float64()), [0] * len(kept)],
        ["user_id", "product_id", "value", "time"],
    )
    (found,) = _checked(HALF_STARS, "rating", iter([batch]))
    for fault, user, name, value in zip(found.column("fault").to_pylist(), users, names, stars, strict=True):
        if id_fault(user):
            assert fault == "user_id"
        elif not is_product_id(name):
            assert fault == "product_id"
        else:
            assert fault == (None if HALF_STARS.step_of(value) else "rating")
