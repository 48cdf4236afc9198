"""The scale of a file's ratings: found from all of its values, or refused with the first lines."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from recommender.errors import InputFileError, SettingError, TooManyRejectedError
from recommender.files import RejectedRows, ShopRatings, WantedScale, read_ratings_file
from recommender.shop import HALF_STARS, Scale

NOON = dt.datetime(2024, 6, 1, 12)
ONE_TO_TEN, ONE_TO_100, HALVES_TO_TEN = Scale.of(1, 10, 1), Scale.of(1, 100, 1), Scale.of("0.5", 10, "0.5")

Read = Callable[..., ShopRatings]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a file with these ratings."""

    def reader(ratings: Sequence[object], limit: int | None = None, **wanted: Any) -> ShopRatings:
        lines = [f"{user},A{user:09d},{rating}\n" for user, rating in enumerate(ratings, start=1)]
        path = tmp_path / "mine.csv"
        path.write_text("user_id,product_id,rating\n" + "".join(lines))
        with RejectedRows(tmp_path / "rejected_rows.csv", limit=limit) as rejected:
            return read_ratings_file(path, rejected, loaded_at=NOON, wanted=WantedScale(**wanted))

    return reader


def rejected(tmp_path: Path) -> list[tuple[str, str]]:
    with (tmp_path / "rejected_rows.csv").open(newline="") as file:
        return [(row["line"], row["reason"]) for row in csv.DictReader(file)]


def test_ratings_that_are_all_1_are_likes_if_there_are_20(read: Read) -> None:
    """Stars of 1 alone would say that nobody likes anything."""
    likes = Scale.of(1, 1, 1)
    shop = read([1] * 19 + ["1.0"])
    assert (shop.scale, shop.ratings["rating"].to_pylist()) == (likes, [1.0] * 20)
    assert "rating (likes: all are 1);" in shop.understood
    assert read([1] * 19).scale == read([1] * 19 + [2]).scale == read([1] * 20, held=HALF_STARS).scale == HALF_STARS
    zeros = read([0, 1] * 20, zero_is="unrated")
    assert (zeros.scale, zeros.unrated) == (likes, 20)
    assert read([0, 1] * 20, zero_is="lowest").scale != likes


@pytest.mark.parametrize(
    ("ratings", "scale"),
    [
        ([1, 2, 3, 4, 5], HALF_STARS),
        ([0.5, 4.5], HALF_STARS),
        ([1], HALF_STARS),
        ([5, 6], ONE_TO_TEN),
        ([1, 10, "7.0"], ONE_TO_TEN),
        ([0.5, 10], HALVES_TO_TEN),
        ([5.5, 4], HALVES_TO_TEN),
        ([11, 3], ONE_TO_100),
        ([100, 1, "1e1"], ONE_TO_100),
    ],
)
def test_the_first_scale_that_all_ratings_are_on_is_theirs(read: Read, ratings: list[object], scale: Scale) -> None:
    shop = read(ratings)
    assert (shop.scale, shop.rejected, shop.unrated) == (scale, 0, 0)
    assert shop.ratings["rating"].to_pylist() == [float(str(rating)) for rating in ratings]
    told = f"rating ({scale.text()})" if scale != HALF_STARS else "rating;"
    assert told in shop.understood


def test_a_file_of_1_to_10_loses_no_row(read: Read) -> None:
    shop = read([1 + number % 10 for number in range(120)])
    assert (shop.scale, shop.rows, shop.ratings.num_rows, shop.rejected) == (ONE_TO_TEN, 120, 120, 0)


def test_one_odd_rating_in_a_thousand_is_rejected_and_does_not_change_the_scale(read: Read, tmp_path: Path) -> None:
    shop = read([*[4] * 1_000, 9, *[5] * 999])
    assert (shop.scale, shop.rejected, shop.ratings.num_rows) == (HALF_STARS, 1, 1_999)
    assert rejected(tmp_path) == [("1002", "rating '9' is out of range (0.5 to 5)")]
    assert read([*[4] * 1_000, 9]).scale == HALF_STARS
    assert read([*[4] * 998, 9]).scale == ONE_TO_TEN


def test_ratings_off_every_scale_are_rejected_up_to_the_limit(read: Read, tmp_path: Path) -> None:
    shop = read([*[8] * 20, 7.3, 10])
    assert (shop.scale, shop.rejected, shop.ratings.num_rows) == (ONE_TO_TEN, 1, 21)
    assert rejected(tmp_path) == [("22", "rating '7.3' is not a whole number")]
    with pytest.raises(InputFileError, match="mine.csv: 3 of its 5 ratings are not on the scale nearest") as caught:
        read([4, 5, 1.1, 2.2, 3.3])
    assert "(line 4: rating '1.1' is not a whole or half number, line 5: rating '2.2' is" in str(caught.value)
    assert "RATING_MIN, RATING_MAX and RATING_STEP" in str(caught.value)
    with pytest.raises(TooManyRejectedError, match="the first: line 4: rating '1.1' is not a whole or half number"):
        read([4, 5, 1.1, 2.2, 3.3], limit=2)
    assert read([4, 5, 1.1, 2.2, 3.3], limit=3).rejected == 3


def test_settings_name_the_scale(read: Read, tmp_path: Path) -> None:
    tenths = Scale.of("0.1", 5, "0.1")
    shop = read([0.3, 4.7, 1.1], scale=tenths)
    assert (shop.scale, shop.ratings["rating"].to_pylist()) == (tenths, [0.3, 4.7, 1.1])
    assert read([1, 1], scale=Scale.of(1, 1, 1)).scale == Scale.of(1, 1, 1)
    with pytest.raises(TooManyRejectedError):
        read([1, 2, 3], scale=Scale.of(1, 1, 1))
    assert read([*[1] * 20, 2], scale=Scale.of(1, 1, 1)).rejected == 1
    assert rejected(tmp_path) == [("22", "rating '2' is out of range (1 to 1)")]


def test_the_scale_of_the_ratings_that_are_there_stands(read: Read) -> None:
    assert read([1, 2, 3], held=ONE_TO_TEN).scale == ONE_TO_TEN
    for held, odd in ((HALF_STARS, 9), (ONE_TO_TEN, 11)):
        there = f"those of the shop {held.text()}.*line 3: rating '{odd}'.*give --replace"
        with pytest.raises(InputFileError, match=there):
            read([3, odd], held=held)
    assert read([3, 9], held=HALF_STARS, scale=ONE_TO_TEN).scale == ONE_TO_TEN
    assert read([*[3] * 20, 4.3], held=HALF_STARS).rejected == 1  # no other scale has it


def test_ratings_of_0_stop_until_it_is_said_what_they_are(read: Read, tmp_path: Path) -> None:
    ratings = [0, 7, 10, 0, 1]
    with pytest.raises(InputFileError, match="2 of its 5 ratings are 0, .* --zero-is unrated .* --zero-is lowest"):
        read(ratings)
    shop = read(ratings, zero_is="unrated")
    assert (shop.scale, shop.unrated, shop.ratings["rating"].to_pylist()) == (ONE_TO_TEN, 2, [7.0, 10.0, 1.0])
    assert "rating (1 to 10 in whole steps; 2 of 0 left out)" in shop.understood
    shop = read(ratings, zero_is="lowest")
    moved = [1.0, 8.0, 11.0, 1.0, 2.0]
    assert (shop.scale, shop.unrated, shop.ratings["rating"].to_pylist()) == (Scale.of(1, 11, 1), 0, moved)
    assert "rating (1 to 11 in whole steps; moved up by 1: 0 has become 1)" in shop.understood
    halves = read([0, 4.5], zero_is="lowest")
    assert (halves.scale, halves.ratings["rating"].to_pylist()) == (Scale.of("0.5", "5.5", "0.5"), [0.5, 5.0])
    assert read([*[3] * 1_000, 0]).rejected == 1
    assert rejected(tmp_path) == [("1002", "rating '0' is out of range (0.5 to 5)")]
    with pytest.raises(SettingError, match="--zero-is 'none' is not known: give unrated or lowest"):
        read(ratings, zero_is="none")


def test_ratings_below_0_are_on_no_scale(read: Read) -> None:
    with pytest.raises(InputFileError, match="line 2: rating '-3'"):
        read([-3, -2, 4, 5])


def test_faults_of_both_readings_are_noted_once(read: Read, tmp_path: Path) -> None:
    shop = read(["", *[4] * 30, 4.3, "x"])
    assert (shop.rows, shop.rejected, shop.ratings.num_rows) == (33, 3, 30)
    assert rejected(tmp_path) == [
        ("2", "rating is empty"),
        ("33", "rating '4.3' is not a whole or half number"),
        ("34", "rating 'x' is not a number"),
    ]


@pytest.mark.parametrize("zero_is", ["", "unrated", "lowest"])
def test_ratings_below_0_are_refused_with_a_remedy_that_helps(read: Read, zero_is: str) -> None:
    with pytest.raises(
        InputFileError, match=r"20 of its 50 .* below 0, .* \(line 2: rating '-5' is below 0, .*\): leave"
    ):
        read([-5, -1, 0, 3, 5] * 10, zero_is=zero_is)
