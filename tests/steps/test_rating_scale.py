"""A shop with another scale of ratings than half stars up to 5: all steps and the service speak it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

import load_recommendation_data as step2
import recommendation_engine as step3
from recommender.database import connect, read_ratings, read_snapshot, token_of
from recommender.database.schema import ratings
from recommender.errors import RatingError, SettingError
from recommender.settings import Settings
from recommender.shop import HALF_STARS, Scale
from tests.support.shop import fill

ASINS = [f"B{number:09d}" for number in range(1, 10)]
ONE_TO_TEN = Scale.of(1, 10, 1)

Make = Callable[..., Settings]


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A catalog without people, and the environment of the steps."""
    fill(engine, {}, ASINS)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return engine


def write(rated: Callable[[int], object], rows: int = 120, name: str = "mine.csv") -> None:
    lines = [f"{1 + number // 6},{ASINS[number % 6 + number // 6 % 3]},{rated(number)}" for number in range(rows)]
    Path(name).write_text("\n".join(["user_id,product_id,rating", *lines, ""]))


def stored(engine: Engine) -> list[float]:
    with engine.connect() as connection:
        rows = connection.execute(select(ratings.c.rating).order_by("user_id", "product_id"))
        return [float(row.rating) for row in rows]


def to_ten(number: int) -> int:
    return 1 + number * 7 % 10


def test_a_file_of_1_to_10_keeps_its_better_half(shop: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    write(to_ten)
    assert step2.main(["--ratings", "mine.csv"]) == 0
    shown = capsys.readouterr().out
    assert "comma-separated: user_id, product_id, rating (1 to 10 in whole steps); 120 rows" in shown
    assert "120 rows = 120 loaded + 0 replaced by a later row + 0 rejected" in shown
    assert stored(shop) == [to_ten(number) for number in range(120)]
    assert step3.main([]) == 0
    matrix = read_snapshot(shop).ratings
    assert (matrix.scale, matrix.n_ratings, matrix.left_out) == (ONE_TO_TEN, 120, {})
    assert matrix.mean_rating == sum(to_ten(number) for number in range(120)) / 120
    assert step2.main(["--ratings", "mine.csv"]) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scale", "rated"),
    [
        (Scale.of(1, 100, 1), lambda number: 1 + number * 37 % 100),
        (Scale.of(1, 1, 1), lambda number: 1),
        (Scale.of("0.1", 5, "0.1"), lambda number: (1 + number * 7 % 50) / 10),
        (Scale.of(10, 1000, 10), lambda number: 10 + 10 * (number * 7 % 100)),
        (Scale.of("0.25", "2.5", "0.25"), lambda number: (1 + number * 7 % 10) / 4),
    ],
    ids=["100", "likes", "tenths", "tens", "quarters"],
)
def test_any_scale_comes_back_by_every_way_of_reading(
    shop: Engine, make_settings: Make, scale: Scale, rated: Callable[[int], float]
) -> None:
    write(rated)
    low, high, step = scale.to_json().values()
    options = ["--rating-min", low, "--rating-max", high, "--rating-step", step]
    assert step2.main(["--ratings", "mine.csv", *options]) == 0
    assert stored(shop) == [rated(number) for number in range(120)]
    wanted = sorted(round(rated(number) / scale.unit) for number in range(120))
    for way in (None, "packed", "streamed"):
        read: Any = read_ratings(shop, scale=scale, way=way)
        assert sorted(read.steps.tolist()) == wanted
        assert read.left_out == {}
    assert read_snapshot(shop).ratings.scale == scale
    with connect(make_settings(RATING_MAX=7)).connect() as connection, pytest.raises(SettingError) as caught:
        read_snapshot(connection.engine)
    assert f"are {scale.text()}: leave these settings out" in str(caught.value)
    connection.engine.dispose()


def test_another_scale_stops_unless_all_ratings_are_replaced(shop: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    write(lambda number: 1 + number % 5)
    assert step2.main(["--ratings", "mine.csv"]) == 0
    before, people = stored(shop), token_of(shop)
    write(to_ten)
    capsys.readouterr()
    assert step2.main(["--ratings", "mine.csv"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "its ratings are 1 to 10 in whole steps, and those of the shop 0.5 to 5.0 in half steps (line 3: " in told
    assert "give --replace to replace all ratings and their scale; the tables are as they were" in told
    assert (stored(shop), token_of(shop)) == (before, people)
    assert step2.main(["--ratings", "mine.csv", "--replace"]) == 0
    assert read_snapshot(shop).ratings.scale == ONE_TO_TEN
    assert token_of(shop) not in (people, None), "a model of the old scale is served no longer"
    people = token_of(shop)
    write(lambda number: 1 + number % 5)
    assert step2.main(["--ratings", "mine.csv"]) == 0
    assert (read_snapshot(shop).ratings.scale, token_of(shop)) == (ONE_TO_TEN, people)


def test_what_0_is_has_to_be_said(shop: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    write(lambda number: number % 11)
    assert step2.main(["--ratings", "mine.csv"]) == 1
    assert "11 of its 120 ratings are 0, which means unrated here" in capsys.readouterr().err
    assert step2.main(["--ratings", "mine.csv", "--zero-is", "unrated"]) == 0
    assert "120 rows = 109 loaded + 0 replaced by a later row + 0 rejected + 11 of 0 left out" in (
        capsys.readouterr().out
    )
    assert stored(shop) == [number % 11 for number in range(120) if number % 11]
    assert step2.main(["--ratings", "mine.csv", "--zero-is", "lowest", "--replace"]) == 0
    assert "rating (1 to 11 in whole steps; moved up by 1: 0 has become 1)" in capsys.readouterr().out
    assert stored(shop) == [1 + number % 11 for number in range(120)]
    assert read_snapshot(shop).ratings.scale == Scale.of(1, 11, 1)
    write(lambda number: 1 + number % 10)  # no 0 in it, so nothing else asks what 0 is
    capsys.readouterr()
    assert step2.main(["--ratings", "mine.csv"]) == 1
    told = "the ratings of mine.csv were moved up by one step: give --zero-is lowest here, too; or give --replace"
    assert told in capsys.readouterr().err
    assert step2.main(["--ratings", "mine.csv", "--zero-is", "lowest"]) == 0
    assert stored(shop) == [2 + number % 10 for number in range(120)]
    assert step2.main(["--ratings", "mine.csv", "--replace"]) == 0
    assert stored(shop) == [1 + number % 10 for number in range(120)]
    capsys.readouterr()
    assert step2.main(["--ratings", "mine.csv", "--zero-is", "lowest"]) == 1
    assert "were not moved up by one step: leave out --zero-is lowest here, too" in capsys.readouterr().err


def test_a_shop_that_fills_the_tables_itself_names_its_scale_by_settings(
    engine: Engine, make_settings: Make, tmp_path: Path
) -> None:
    fill(engine, {1: {ASINS[0]: 4, ASINS[1]: 3.5}, 2: {ASINS[0]: 1}}, ASINS)
    assert read_snapshot(engine).ratings.scale == HALF_STARS
    named = connect(make_settings(RATING_MIN=1, RATING_STEP=1))
    matrix = read_snapshot(named).ratings
    assert (matrix.scale, matrix.steps.data.tolist()) == (Scale.of(1, 5, 1), [4, 1])
    assert matrix.left_out == {"product_ratings.rating": 1}
    with named.begin() as connection:
        connection.execute(text("UPDATE product_ratings SET rating = 3.5"))
    with pytest.raises(RatingError, match="rating is not 1 to 5 in whole steps"):
        read_snapshot(named)
    named.dispose()


def test_made_up_ratings_are_stars(shop: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert step2.main(["--rating-max", "10"]) == 1
    assert "made-up ones are 1 to 5 stars: leave these settings out" in capsys.readouterr().err
    assert step2.main(["--rating-max", "ten"]) == 1
    assert "RATING_STEP: a scale of ratings from '0.5' to 'ten' by '0.5' is not of numbers" in capsys.readouterr().err
