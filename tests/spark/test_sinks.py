"""Lists that executors write are all in the table once, whoever wrote how often; a folder is whole or as before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql import err
from pymysql.constants import CR
from sqlalchemy import Engine, inspect, text

from recommender.database import BlockWriter, read_cursor, staged
from recommender.database.schema import BATCH_TABLES, recommendations
from recommender.errors import DatabaseError, SettingError
from recommender.publishing import Version, publish_lists, read_versions
from recommender.settings import Settings
from recommender.shop import NOTHING_READ
from recommender.spark.sinks import Make, check_folder, publish_frame, whole_lists, write_folder
from tests.support.shop import fill

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
SCHEMA = (
    "user_id {}, rank int, product_id string, product_name string, predicted_rating double, source string, "
    "support double, n_neighbors int, generated_at timestamp_ntz"
)


@pytest.fixture(params=["mariadb"])
def backend(request: pytest.FixtureRequest) -> str:
    """Executors write only into a server."""
    return str(request.param)


def block(lists: dict[Any, list[str]], *, stars: float = 4.25) -> pa.RecordBatch:
    """The lists of users as a batch produces them."""
    rows = [(user, rank, product) for user, theirs in lists.items() for rank, product in enumerate(theirs, start=1)]
    n = len(rows)
    return pa.record_batch(
        {
            "user_id": pa.array([row[0] for row in rows]),
            "rank": pa.array([row[1] for row in rows], pa.int32()),
            "product_id": pa.array([row[2] for row in rows]),
            "product_name": pa.array([f"\\ {row[2]}\t\n" for row in rows]),
            "predicted_rating": pa.array([stars] * n),
            "source": pa.array(["neighbors"] * n),
            "support": pa.array([None if row[1] == 2 else 0.1 + 0.2 for row in rows], pa.float64()),
            "n_neighbors": pa.array([3] * n, pa.int32()),
            "generated_at": pa.array([NOW.replace(tzinfo=None)] * n, pa.timestamp("us")),
        }
    )


def stored(engine: Engine, table: str = "recommendations") -> dict[Any, list[str]]:
    found: dict[Any, list[str]] = {}
    with engine.connect() as connection:
        for user, product in connection.execute(text(f"SELECT user_id, product_id FROM `{table}` ORDER BY 1, `rank`")):
            found.setdefault(user, []).append(product)
    return found


def test_a_block_takes_the_place_of_all_rows_of_its_users(engine: Engine) -> None:
    fill(engine, {}, ["a"])
    with staged(engine, BATCH_TABLES) as stage:
        name = stage.tables[recommendations].name
        first, second = (BlockWriter(engine, recommendations, name) for _ in range(2))
        first.write(block({1: ["a", "b", "c"], 2: ["a"]}))
        first.write(block({3: ["d"]}))
        second.write(block({1: ["b", "a"], 2: ["a"]}))  # the same task again, after a change in the tables
        assert stored(engine, name) == {1: ["b", "a"], 2: ["a"], 3: ["d"]}
        first.leave()
        second.leave()


def test_a_block_waits_for_the_locks_of_another_transaction(engine: Engine) -> None:
    fill(engine, {}, ["a"])
    with staged(engine, BATCH_TABLES) as stage, engine.connect() as other:
        name = stage.tables[recommendations].name
        writer = BlockWriter(engine, recommendations, name)
        writer.write(block({1: ["a"]}))
        other.exec_driver_sql(f"SELECT * FROM `{name}` FOR UPDATE")
        writer._patience = 0.0
        with pytest.raises(Exception, match="another transaction was in the way"):
            writer.write(block({1: ["b"]}))
        other.rollback()
        writer.write(block({1: ["b"]}))
        assert stored(engine, name) == {1: ["b"]}
        writer.leave()


@given(st.lists(st.integers(1, 4), max_size=12), st.integers(1, 9), st.integers(1, 7))
def test_a_list_is_never_cut(lengths: list[int], n_rows: int, step: int) -> None:
    whole = block({user: ["a", "b", "c", "d"][:length] for user, length in enumerate(lengths)})
    batches = [whole.slice(start, step) for start in range(0, whole.num_rows, step)]
    blocks = list(whole_lists(iter(batches), n_rows))
    assert pa.Table.from_batches([*blocks, whole.slice(0, 0)]).equals(pa.Table.from_batches([whole]))
    for one in blocks:
        assert one.column("rank")[0].as_py() == 1
        assert one.num_rows < 2 * n_rows + 4
    users = [set(one.column("user_id").to_pylist()) for one in blocks]
    assert sum(map(len, users)) == len(lengths)


def frame_of(spark: Any, lists: dict[Any, list[str]], parts: int) -> Any:
    """A frame that Spark cuts in two for each part: its rows are of one user or several."""
    kind = "string" if isinstance(next(iter(lists)), str) else "long"
    users = list(lists)

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield block({users[number]: lists[users[number]]})

    return spark.range(len(users), numPartitions=parts).mapInArrow(make, SCHEMA.format(kind))


def writing_as(frame: Any) -> Make:
    """A maker whose lists are the rows of ``frame``."""
    return lambda last=None: frame if last is None else frame.mapInArrow(last.work, last.schema)


def test_executors_write_and_the_driver_publishes(spark: Any, engine: Engine, settings: Settings) -> None:
    lists = {user: [f"p{user}", "a", "b"][: 1 + user % 3] for user in range(50)}
    fill(engine, {user: {"a": 4} for user in lists}, ["a"])
    version = Version(0, NOW, "f", 1, {"users": 50, "n": 3}, metrics={"before": 1})

    def published(frame: Any) -> Version:
        return publish_frame(
            engine,
            settings,
            writing_as(frame),
            version,
            names=None,
            since=read_cursor(engine),
            keep=2,
            publish=True,
            judge=None,
            noted=lambda: {"spark": {"tasks": 3}},
        )

    found = published(frame_of(spark, lists, 5))
    assert (found.number, found.n_rows, found.state) == (1, sum(map(len, lists.values())), "published")
    assert stored(engine) == lists
    assert read_versions(engine)[0].metrics == {"before": 1, "spark": {"tasks": 3}}
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM recommendations WHERE user_id = 2 ORDER BY `rank`")).all()
    assert row[0] == (2, 1, "p2", "\\ p2\t\n", 4.25, "neighbors", 0.1 + 0.2, 3, NOW.replace(tzinfo=None))
    assert row[1][6] is None

    def broken(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            if 40 in batch.column(0).to_pylist():
                raise ValueError("broken")

    frame = frame_of(spark, lists, 5)
    with pytest.raises(Exception, match="broken"):
        published(frame.mapInArrow(broken, frame.schema))
    assert stored(engine) == lists
    assert [version.number for version in read_versions(engine)] == [1]
    assert [name for name in inspect(engine).get_table_names() if "__" in name] == []


def test_lists_of_texts_have_a_column_of_text(spark: Any, engine: Engine, settings: Settings) -> None:
    fill(engine, {1: {"a": 4}}, ["a"])
    lists = {"é": ["a"], "x" * 100: ["b", "a"]}
    names = spark.createDataFrame([(1, "é"), (2, "x" * 100)], "user_id long, text string")
    version = Version(0, NOW, "f", 1, {"users": 2, "n": 3})
    given: dict[str, Any] = {"since": NOTHING_READ, "keep": 2, "publish": True, "judge": None}
    publish_frame(engine, settings, writing_as(frame_of(spark, lists, 1)), version, names=names, **given)
    assert stored(engine) == lists
    kinds = {column["name"]: column["type"] for column in inspect(engine).get_columns("recommendations")}
    assert str(kinds["user_id"]).startswith("VARCHAR(255)")


def unreachable() -> None:
    raise err.OperationalError(CR.CR_CONN_HOST_ERROR, "Can't connect")


def test_the_driver_goes_on_after_its_connection_was_cut(engine: Engine) -> None:
    fill(engine, {1: {"a": 4}}, ["a"])
    with staged(engine, BATCH_TABLES) as stage:
        writer = BlockWriter(engine, recommendations, stage.tables[recommendations].name)
        writer.write(block({1: ["a"]}))
        writer.leave()
        with engine.connect() as other:
            other.exec_driver_sql(f"KILL {stage.connection.exec_driver_sql('SELECT CONNECTION_ID()').scalar()}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stage, "_connect", unreachable)
            for _ in range(2):
                with pytest.raises(DatabaseError, match="no connection"):
                    stage.keep()
        stage.keep()
        stage.keep()
        version = Version(0, NOW, "f", 1, {"users": 1, "n": 1})
        publish_lists(stage, version, keep=1, since=NOTHING_READ)
    assert stored(engine) == {1: ["a"]}


def test_a_folder_is_replaced_only_by_a_whole_one(spark: Any, tmp_path: Path) -> None:
    folder, lists = tmp_path / "lists", {user: ["a", "b"] for user in range(9)}
    assert write_folder(spark, frame_of(spark, lists, 2), str(folder)).count() == 18
    found = write_folder(spark, frame_of(spark, {3: ["q"]}, 1), str(folder))
    assert [tuple(row)[:3] for row in found.collect()] == [(3, 1, "q")]
    assert found.schema["generated_at"].dataType.simpleString() == "timestamp_ntz"

    def broken(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            raise ValueError("broken")
        yield from ()

    frame = frame_of(spark, lists, 2)
    with pytest.raises(Exception, match="broken"):
        write_folder(spark, frame.mapInArrow(broken, frame.schema), str(folder))
    assert spark.read.parquet(str(folder)).count() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["lists"]


def test_a_folder_of_something_else_is_refused(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ratings = spark.createDataFrame([(1, "a", 4.5)], "user_id long, product_id string, rating double")
    ratings.write.parquet(str(tmp_path / "ratings.parquet"))
    ratings.write.csv(str(tmp_path / "ratings.csv"))
    for taken in (tmp_path, *tmp_path.iterdir()):
        with pytest.raises(SettingError, match="is there, and is no folder of lists of this step: name another"):
            write_folder(spark, frame_of(spark, {1: ["a"]}, 1), str(taken))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "ratings.csv", "ratings.parquet"]
    assert spark.read.parquet(str(tmp_path / "ratings.parquet")).count() == 1


def test_a_folder_that_cannot_be_made_is_told_before_any_work(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for name in (f"{tmp_path}/file/lists", "/proc/lists", "nothing://host/lists"):
        with pytest.raises(SettingError) as error:
            check_folder(spark, name)
        assert str(error.value).startswith(f"--to-parquet {name} cannot be written")
        assert "\n" not in str(error.value)
    check_folder(spark, f"{tmp_path}/lists")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
