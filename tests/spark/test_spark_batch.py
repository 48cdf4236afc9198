"""Step 3 with --spark: the table of the local run, its options, and its one-line errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, insert, inspect

from recommender.database import connect, read_snapshot, writing
from recommender.database.schema import user_id_map
from recommender.publishing import read_versions
from recommender.settings import Settings, load_settings
from recommender.shop import MOST_SAMPLED, sampled
from recommender.spark.jdbc_source import JdbcSource
from recommender.spark.session import MARIADB_DRIVER
from recommender.spark.shop_facts import ShopFacts
from tests.spark.conftest import table
from tests.support.shop import fill, made_up, product_row
from tests.support.steps import do, refuse

SCRIPT = "recommendation_engine.py"


@pytest.fixture(params=["mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.usefixtures("on_this_session")
def test_the_table_is_that_of_the_local_run(
    engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, made_up(150, 60), [f"p{product:03d}" for product in range(50)])
    do(env, tmp_path, SCRIPT, "--users", "all")
    local = table(engine)
    assert "user 1000 is unknown" in refuse(env, tmp_path, SCRIPT, "--spark", "local[2]", "--user", "1000")
    said = do(env, tmp_path, SCRIPT, "--users", "all", "--spark", "local[2]", "--user", "7")
    theirs = next(row for row in local if row[0] == 7)
    assert "\nRecommendations for user 7:\n" in said
    assert re.search(rf"^ +1 +{theirs[2]} +{theirs[4]:.3f} ", said, re.MULTILINE)
    assert table(engine) == local
    first, second = read_versions(engine)
    assert second.settings == first.settings
    assert (second.n_rows, second.n_ratings, second.state) == (first.n_rows, first.n_ratings, "published")
    assert second.metrics is not None
    assert set(second.metrics) - set(first.metrics or {}) == {"spark"}
    cost = second.metrics["spark"]
    assert set(cost) == {"seconds", "executors", "tasks", "task_seconds", "shuffled_bytes"}
    assert cost["tasks"] > 0
    assert f"batch    {len(local):,} rows for 150 users into recommendations in " in said
    assert [name for name in inspect(engine).get_table_names() if "__new" in name or "__old" in name] == []

    said = do(env, tmp_path, SCRIPT, "--users", "all", "--spark", "local[2]", "--if-stale")
    assert "batch    unchanged: version 2 (published) holds the lists of this data" in said
    assert len(read_versions(engine)) == 2
    do(env, tmp_path, SCRIPT, "--users", "7")
    local = table(engine)
    said = do(env, tmp_path, SCRIPT, "--users", "7", "--spark", "local[2]", "--if-stale")
    assert "batch    unchanged: version 3 (published) holds the lists of this data" in said

    monkeypatch.setattr(
        "recommender.spark.makers.worker_holds", lambda *_whole: False
    )  # trained on the driver, then divided
    do(env, tmp_path, SCRIPT, "--users", "7", "--spark", "local[2]")
    assert table(engine) == local
    assert len({row[0] for row in local}) == 7
    said = do(env, tmp_path, SCRIPT, "--users", "7", "--spark", "local[2]", "--if-stale", "--to-parquet", "lists")
    found = pq.read_table(tmp_path / "lists").drop_columns("generated_at").to_pylist()
    assert sorted(tuple(row.values()) for row in found) == local
    assert "gate     " not in said
    assert len(read_versions(engine)) == 4


@pytest.mark.usefixtures("on_this_session")
def test_from_files_to_files_a_shop_of_texts_gets_the_lists_of_the_local_run(tmp_path: Path) -> None:
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db")}
    stars, catalog = made_up(60, 30), [f"p{product:03d}" for product in range(25)]
    titles = {product: f"Product {product}" if number % 2 else None for number, product in enumerate(catalog)}
    engine = connect(load_settings(environ=env, env_file=tmp_path / "no.env"), create=True)
    fill(engine, stars, [product_row(product, title=title) for product, title in titles.items()])
    with writing(engine) as connection:
        names = [{"user_id": user, "external_id": f"é{user % 7}-{user}"} for user in stars]
        connection.execute(insert(user_id_map), names)
    do(env, tmp_path, SCRIPT, "--users", "all")
    local = table(engine)
    engine.dispose()
    rated = [(f"é{user % 7}-{user}", *pair) for user, theirs in stars.items() for pair in theirs.items()]
    files = {
        "ratings": {name: [row[at] for row in rated] for at, name in enumerate(("user_id", "product_id", "rating"))},
        "products": {"product_id": catalog, "title": list(titles.values())},
    }
    (tmp_path / "shop").mkdir()
    for name, columns in files.items():
        pq.write_table(pa.table(columns), tmp_path / "shop" / f"{name}.parquet")
    options = ["--spark", "local[2]", "--from-parquet", "shop", "--to-parquet", "lists", "--user", "é3-3"]
    said = do({"DB_HOST": ""}, tmp_path, SCRIPT, "--users", "all", *options)
    found = pq.read_table(tmp_path / "lists").drop_columns("generated_at").to_pylist()
    assert sorted(tuple(row.values()) for row in found) == sorted(local)
    assert f"batch    {len(local):,} rows for 60 users into lists in " in said
    assert "\nRecommendations for user é3-3:\n" in said
    assert "(no title)" in said


@pytest.mark.usefixtures("on_this_session")
def test_an_empty_database_is_told_what_to_run_first(engine: Engine, env: dict[str, str], tmp_path: Path) -> None:
    for table_name in inspect(engine).get_table_names():
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP TABLE `{table_name}`")
    for options in ((), ("--to-parquet", "lists")):
        said = refuse(env, tmp_path, SCRIPT, "--spark", "local[2]", *options)
        assert said.rstrip().endswith("run python to_rds.py first")


def test_the_sample_on_the_driver_is_that_of_the_local_run(spark: Any, engine: Engine, settings: Settings) -> None:
    fill(engine, made_up(80, 30), [f"p{product:03d}" for product in range(25)])
    local = read_snapshot(engine)
    facts = ShopFacts(JdbcSource(spark, engine, settings, MARIADB_DRIVER).read(), by_taste=True)
    for most in (MOST_SAMPLED, 100):
        (matrix, _), found = sampled(local.ratings, local.log, most=most), facts.sample(most).ratings
        assert found.fingerprint() == matrix.fingerprint()
        assert found.cursor._replace(read_at=0) == matrix.cursor._replace(read_at=0)
    assert 0 < matrix.shape[0] < 80


def test_a_fingerprint_differs_with_the_data(spark: Any, engine: Engine, settings: Settings) -> None:
    fill(engine, made_up(20, 9), ["p001"])

    def fingerprint() -> str:
        return ShopFacts(JdbcSource(spark, engine, settings, MARIADB_DRIVER).read(), by_taste=False).fingerprint()

    before = fingerprint()
    assert fingerprint() == before
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE product_ratings SET rating = 5.5 - rating WHERE user_id = 3 LIMIT 1")
    assert fingerprint() != before


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--save-model", "m.rec"], "--save-model is not for --spark: a model file holds everybody in the memory of"),
        (["--jdbc-jar", "no.jar"], "--jdbc-jar no.jar is no file: name the jar of MariaDB Connector/J or MySQL"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    env: dict[str, str], tmp_path: Path, options: list[str], line: str
) -> None:
    assert line in refuse(env, tmp_path, SCRIPT, "--spark", "local[2]", *options)


@pytest.mark.parametrize(
    "other",
    [("--check-data",), ("--evaluate",), ("--list-versions",), ("--rollback", "1"), ("--export", "a.csv"), ("--map",)],
)
def test_work_that_makes_no_lists_is_not_for_spark(tmp_path: Path, other: tuple[str, ...]) -> None:
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db")}
    for option in ("--spark", "--from-parquet", "--to-parquet", "--jdbc-jar"):
        line = f"{option} is for making lists on Spark, and {other[0]} does not: give one of the two"
        assert line in refuse(env, tmp_path, SCRIPT, *other, option, "local[2]")


def test_without_a_server_spark_needs_files_to_read_and_to_write(tmp_path: Path) -> None:
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db")}
    reads = "--spark reads a server, and DB_HOST is not set: set it, or give --from-parquet FOLDER"
    assert reads in refuse(env, tmp_path, SCRIPT, "--spark", "local[2]")
    writes = "--spark writes to a server, and DB_HOST is not set: set it, or give --to-parquet FOLDER"
    assert writes in refuse(env, tmp_path, SCRIPT, "--spark", "local[2]", "--from-parquet", "shop")
    for option in ("--from-parquet", "--to-parquet", "--jdbc-jar"):
        assert f"{option} x is for --spark MASTER: give both" in refuse(env, tmp_path, SCRIPT, option, "x")
