"""A CSV file of users and products becomes a rating matrix: ids, defaults, times, repeated pairs, faults by line."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from benchmarks.datasets import load_dataset
from recommender.database import read_rating_matrix, schema, writing
from recommender.errors import InputFileError
from recommender.fallback.decayed_popularity import decayed
from recommender.files import read_evaluation_file
from recommender.shop import RatingMatrix, Scale, build_profiles
from tests.conftest import REAL_DATA, needs_real_data
from tests.support.shop import fill

NOON = 1_717_243_200  # 2024-06-01 12:00 UTC, seconds
DAY = 86_400

Read = Callable[[str], RatingMatrix]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a file with this text."""

    def reader(text: str) -> RatingMatrix:
        path = tmp_path / "ratings.csv"
        path.write_text(text, encoding="utf-8")
        return read_evaluation_file(path)

    return reader


def entries(matrix: RatingMatrix) -> list[tuple[int, str, float]]:
    """(user, product, stars) of every rating, by user and product."""
    rows, columns = matrix.steps.tocoo().coords
    names = [product.decode() for product in matrix.product_ids.tolist()]
    return [
        (int(matrix.user_ids[row]), names[column], stars / 2)
        for row, column, stars in zip(rows, columns, matrix.steps.data.tolist(), strict=True)
    ]


def test_columns_are_found_by_name_in_any_order_and_others_are_ignored(read: Read) -> None:
    matrix = read("rating,color,product_id,user_id\n4.5,red,B,7\n0.5,,A,30\n5,blue,A,7\n")
    assert entries(matrix) == [(7, "A", 5.0), (7, "B", 4.5), (30, "A", 0.5)]
    assert matrix.steps.data.dtype == np.int8
    assert matrix.recommendable.tolist() == [True, True]
    assert matrix.rated_at is None


def test_columns_may_be_named_and_the_file_may_have_any_form(tmp_path: Path) -> None:
    (tmp_path / "plays.tsv").write_text("anna\tmug\t12\nben\tcup\t7\n")
    matrix = read_evaluation_file(tmp_path / "plays.tsv", "user,product,_")
    assert entries(matrix) == [(1, "mug", 5.0), (2, "cup", 5.0)]


def test_every_row_of_a_file_without_ratings_is_five_stars(read: Read) -> None:
    assert entries(read("user_id,product_id\nben,mug\nanna,mug\nanna,cup\n")) == [
        (1, "cup", 5.0),  # anna, the first in sorted order
        (1, "mug", 5.0),
        (2, "mug", 5.0),
    ]


def test_product_ids_are_those_that_an_import_takes(read: Read) -> None:
    names = ["a", "Ä" * 64, "B07J3GH1W1", "red, large", "日本", "x y"]
    lines = "".join(f'1,"{name}"\n' for name in names)
    matrix = read(f"user_id,product_id\n{lines}")
    assert [product for _, product, _ in entries(matrix)] == sorted(names)  # code points and UTF-8 have the same order
    assert matrix.product_ids.tolist() == sorted(name.encode() for name in names)


def test_the_last_of_a_repeated_pair_wins_with_its_time(read: Read) -> None:
    matrix = read("user_id,product_id,rating,timestamp\n1,B,1,50\n1,A,2,40\n1,B,3,30\n2,B,5,10\n1,B,4,20\n")
    assert entries(matrix) == [(1, "A", 2.0), (1, "B", 4.0), (2, "B", 5.0)]
    assert matrix.rated_at is not None
    assert matrix.rated_at.tolist() == [40_000_000, 20_000_000, 10_000_000]


@pytest.mark.parametrize(
    "text", [f"{NOON}", f"{NOON}.5", "2024-06-01 12:00:00", "2024-06-01T14:00:00+02:00", "2024-06-01T12:00:00.5Z"]
)
def test_times_are_seconds_or_iso_and_become_whole_seconds_in_microseconds(read: Read, text: str) -> None:
    matrix = read(f"user_id,product_id,timestamp\n1,A,{text}\n1,B,{NOON + 1}\n")
    assert matrix.rated_at is not None
    assert matrix.rated_at.tolist() == [NOON * 1_000_000, (NOON + 1) * 1_000_000]


def test_times_in_milliseconds_become_whole_seconds_in_microseconds(read: Read) -> None:
    matrix = read(f"user_id,product_id,timestamp\n1,A,{NOON}987\n1,B,{NOON + 1}000\n")
    assert matrix.rated_at is not None
    assert matrix.rated_at.tolist() == [NOON * 1_000_000, (NOON + 1) * 1_000_000]


def test_popularity_decays_the_same_for_a_file_and_for_tables(engine: Engine, read: Read) -> None:
    days_ago = {"B000000001": 0, "B000000002": 30, "B000000003": 90}
    fill(engine, {7: dict.fromkeys(days_ago, 4.0)}, days_ago)
    rows = schema.ratings
    with writing(engine) as connection:
        for product, days in days_ago.items():
            time = dt.datetime(2024, 6, 1, 12) - dt.timedelta(days=days)
            connection.execute(update(rows).where(rows.c.product_id == product).values(created_at=time))
    lines = [f"7,{product},4,{NOON - days * DAY}" for product, days in days_ago.items()]
    from_file = read("\n".join(["user_id,product_id,rating,timestamp", *lines, ""]))
    for matrix in (from_file, read_rating_matrix(engine, times=True)):
        assert decayed(build_profiles(matrix), half_life=30).tolist() == [1.0, 0.5, 0.125]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,A,four,1", "rating 'four' is not a number"),
        ("1,A,,1", "rating is empty"),
        ("1,A,5,yesterday", "timestamp 'yesterday' is neither a number nor a date"),
        ("1,A,5,", "timestamp is empty: give every row a time, or leave the column out"),
        ("1,A,5,-1", "timestamp '-1' is before 1970"),
        (",A,5,1", "user_id is empty"),
        ("1,,5,1", "product_id is empty"),
        (f"1,{'x' * 65},5,1", "product_id '.*' has 65 characters and is not 1 to 64 characters without control"),
        (f"{'x' * 65},a,5,1", "user_id is longer than 64 characters"),
        ("1,A,5", "3 fields instead of 4"),
    ],
)
def test_the_first_faulty_row_is_an_error_with_its_line(read: Read, line: str, reason: str, tmp_path: Path) -> None:
    good = "".join(f"1,P{i},5,{i}\n" for i in range(200))
    with pytest.raises(
        InputFileError, match=rf"ratings.csv, line 202: {reason}.*; correct or remove the line"
    ) as error:
        read(f"user_id,product_id,rating,timestamp\n{good}{line}\n{good}1,A,nan,1\n")
    assert "\n" not in str(error.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ratings.csv"]  # nothing is written


def test_a_rating_off_the_scale_is_an_error_with_its_line(read: Read) -> None:
    good = "".join(f"1,P{i},5\n" for i in range(200))
    with pytest.raises(InputFileError, match=r"ratings.csv, line 202: rating '4.2' is not a whole or half number"):
        read(f"user_id,product_id,rating\n{good}1,A,4.2\n{good}")


def test_the_scale_is_found_and_the_whole_of_it_used(read: Read) -> None:
    matrix = read("user_id,product_id,rating\n1,A,80\n1,B,7\n2,A,100\n")
    assert (matrix.scale, matrix.steps.data.tolist()) == (Scale.of(1, 100, 1), [80, 7, 100])
    assert matrix.mean_rating == (80 + 7 + 100) / 3


def test_a_missing_column_is_named_with_the_existing_ones(read: Read) -> None:
    with pytest.raises(InputFileError, match="no column product_id among user_id, thing, rating"):
        read("user_id,thing,rating\n1,A,5\n")
    with pytest.raises(InputFileError, match="no column user_id, product_id among who, what"):
        read("who,what\n1,2\n")


def test_a_file_that_is_missing_or_empty_is_an_error(read: Read, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none.csv does not exist: name a file with the columns user_id,"):
        read_evaluation_file(tmp_path / "none.csv")
    with pytest.raises(InputFileError, match="is empty"):
        read("")
    with pytest.raises(InputFileError, match="has a header and no rows"):
        read("user_id,product_id\n")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y,z", "ü"]), st.integers(1, 10), st.integers(0, 99)),
        min_size=1,
        max_size=20,
    )
)
def test_any_rows_give_the_ratings_of_a_plain_dictionary(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "r.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "product_id", "rating", "timestamp"])
        writer.writerows((user, product, half / 2, time) for user, product, half, time in rows)
    last = {(user, product): (half / 2, time) for user, product, half, time in rows}
    numbers = {name: number for number, name in enumerate(sorted({user for user, *_ in rows}), start=1)}
    ordered = sorted((numbers[user], product, *value) for (user, product), value in last.items())
    matrix = read_evaluation_file(path)
    assert entries(matrix) == [(user, product, stars) for user, product, stars, _ in ordered]
    assert matrix.rated_at is not None
    assert matrix.rated_at.tolist() == [time * 1_000_000 for *_, time in ordered]


@needs_real_data
def test_movielens_from_its_csv_equals_movielens_from_the_loader(tmp_path: Path) -> None:
    text = (REAL_DATA / "movielens_small" / "ratings.csv").read_text()
    path = tmp_path / "ratings.csv"
    path.write_text(text.replace("userId,movieId", "user_id,product_id", 1))
    one, other = read_evaluation_file(path), load_dataset("movielens_small", REAL_DATA)
    assert one.n_ratings == 100_836
    assert one.fingerprint() == other.fingerprint()
