"""The tables over JDBC are what the local reader reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert

from recommender.database import read_snapshot, writing
from recommender.database.schema import interactions, ratings, user_id_map, users
from recommender.errors import RatingError
from recommender.settings import Settings
from recommender.shop import NO_TIME, Snapshot
from recommender.spark.id_ranges import has_at_most
from recommender.spark.jdbc_source import JdbcSource
from recommender.spark.session import MARIADB_DRIVER
from recommender.spark.shop_frames import ShopFrames
from tests.support.shop import WHEN, fill


@pytest.fixture(params=["mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    """Executors read only from a server."""
    return str(request.param)


Read = Callable[[], ShopFrames]


@pytest.fixture
def read(spark: Any, engine: Engine, settings: Settings) -> Read:
    return lambda: JdbcSource(spark, engine, settings, MARIADB_DRIVER).read()


def rows(frame: Any) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, frame.collect()), key=repr)


def rated(shop: Snapshot) -> list[tuple[Any, ...]]:
    """What the local reader has of the ratings, in the columns of the frame."""
    matrix = shop.ratings
    assert matrix.rated_at is not None
    users_ = np.repeat(matrix.user_ids, np.diff(matrix.steps.indptr)).tolist()
    names = matrix.products(matrix.steps.indices)
    return sorted(zip(users_, names, matrix.steps.data.tolist(), matrix.rated_at.tolist(), strict=True), key=repr)


def test_a_shop_is_small_by_the_rows_of_the_tables_that_it_has(engine: Engine) -> None:
    tables = (ratings, interactions, users)
    fill(engine, {1: {"a": 4, "b": 5}, 7: {"b": 3.5}, -1: {"a": 1}}, ["a", "b"])  # 4 ratings of 3 users
    assert has_at_most(engine, tables, 7)
    assert not has_at_most(engine, tables, 6)
    assert not has_at_most(engine, tables, 0)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE users")
    assert has_at_most(engine, tables, 4)
    assert has_at_most(engine, (users,), 0)


def test_ratings_are_those_of_the_local_reader(engine: Engine, read: Read) -> None:
    fill(engine, {1: {"a": 0.5, "b": 5}, 7: {"b": 3.5}, 2**63 - 1: {"é": 4}}, ["a", "b"])
    with writing(engine) as connection:
        connection.exec_driver_sql(
            "UPDATE product_ratings SET created_at = CASE product_id WHEN 'a' THEN '2024-02-29 23:59:59.999999' "
            "WHEN 'b' THEN '1969-12-31 23:59:59.000001' END"
        )
    shop = read()
    assert rows(shop.frames.ratings) == rated(read_snapshot(engine))
    assert (1, "a", 1, 1_709_251_199_999_999) in rows(shop.frames.ratings)
    assert (2**63 - 1, "é", 8, NO_TIME) in rows(shop.frames.ratings)
    assert shop.n_ratings == 4
    assert shop.cursor.updated_at > 1_704_067_200_000_000  # the UPDATE above


def test_rows_that_are_not_usable_are_left_out_and_counted(engine: Engine, read: Read) -> None:
    fill(engine, {user: {"a": 4, "b": 2} for user in range(1, 60)}, ["a", "b"])
    with writing(engine) as connection:
        connection.exec_driver_sql(
            "UPDATE product_ratings SET rating = 4.3 WHERE user_id IN (3, 4) AND product_id = 'a'"
        )
        connection.exec_driver_sql(
            "UPDATE product_ratings SET product_id = ' b' WHERE user_id = 5 AND product_id = 'b'"
        )
        connection.exec_driver_sql("UPDATE product_ratings SET user_id = -1 WHERE user_id = 6 AND product_id = 'b'")
        events = [(1, "a", "view"), (-3, "a", "click"), (9, "..", "purchase"), (9, "q", "purchase")]
        for user, product, kind in events:
            event = {"user_id": user, "product_id": product, "interaction_type": kind, "created_at": WHEN}
            connection.execute(insert(interactions).values(event))
        connection.execute(insert(users).values(user_id=-8))
    shop, local = read(), read_snapshot(engine)
    assert local.log is not None
    assert shop.left_out == {**local.ratings.left_out, **local.log.left_out, **local.people.left_out}
    assert rows(shop.frames.ratings) == rated(local)
    assert rows(shop.frames.interactions) == [(1, "a", 0, 1_704_067_200_000_000), (9, "q", 3, 1_704_067_200_000_000)]
    assert [row[0] for row in rows(shop.frames.people)] == sorted(local.people.user_ids.tolist(), key=repr)


def test_a_table_that_is_mostly_faulty_is_refused(engine: Engine, read: Read) -> None:
    fill(engine, {user: {"a": 4} for user in range(1, 150)}, ["a"])
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE product_ratings SET rating = 4.3 WHERE user_id > 40")
    with pytest.raises(RatingError, match=r"109 of the 149 rows of product_ratings cannot be used \(rating 109\)"):
        read()


def test_a_shop_of_texts_has_a_name_for_everybody(engine: Engine, read: Read) -> None:
    fill(engine, {1: {"a": 4}, 2: {"a": 3}, 3: {"a": 2}, 5: {"a": 1}}, ["a"])
    with writing(engine) as connection:
        for number, name in ((1, "zoé"), (2, "3"), (9, "gone")):
            connection.execute(insert(user_id_map).values(user_id=number, external_id=name))
    assert rows(read().frames.names) == [(1, "zoé"), (2, "3"), (3, "#3"), (5, "5"), (9, "gone")]
    ids = read_snapshot(engine).ratings.ids
    assert [ids.of(number) for number in (1, 2, 3, 5, 9)] == ["zoé", "3", "#3", "5", "gone"]


def test_a_shop_without_ratings_has_its_interactions(engine: Engine, read: Read) -> None:
    fill(engine, {}, ["a"])
    with writing(engine) as connection:
        connection.execute(insert(interactions).values(user_id=4, product_id="a", interaction_type="click"))
    shop = read()
    assert shop.n_ratings == 0
    assert rows(shop.frames.ratings) == []
    assert rows(shop.frames.interactions) == [(4, "a", 1, NO_TIME)]


def test_the_password_is_in_no_plan_and_no_setting(engine: Engine, read: Read, settings: Settings, spark: Any) -> None:
    fill(engine, {1: {"a": 4}}, ["a"])
    frame = read().frames.ratings
    plans = frame._jdf.queryExecution().toString() + frame._jdf.queryExecution().simpleString()
    assert "product_ratings" in plans
    told = plans + str(spark.sparkContext.getConf().getAll()) + repr(frame)
    assert settings.db_password not in told


def test_far_ids_are_read_in_parts_of_about_the_same_size(engine: Engine, spark: Any, read: Read) -> None:
    del spark
    fill(engine, {user: {"a": 4, "b": 3} for user in [*range(1, 60), 10**15, 10**18]}, ["a", "b"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recommender.spark.id_ranges.LEAST_ROWS", 30)
        frame = read().frames.ratings
        sizes = frame.rdd.mapPartitions(lambda part: [sum(1 for _ in part)]).collect()
    assert sum(sizes) == 122
    assert 4 <= len(sizes) <= 10
    assert max(sizes) <= 36
    assert min(sizes) > 0
    assert len(rows(frame)) == len(rated(read_snapshot(engine))) == 122
