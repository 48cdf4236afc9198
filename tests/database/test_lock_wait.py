"""Locks of other sessions are reported within seconds, waited for, and named at the end; readers are not held up."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine

from recommender.database import connect, existing_tables, lock_wait, read_ratings, staged, writing
from recommender.database.schema import categories, metadata
from recommender.database.staging import _mysql as _server_stage
from recommender.errors import DatabaseError, WriteConflictError
from recommender.publishing import read_versions, replace_list
from recommender.settings import Settings
from recommender.synthetic import write_sample_catalog
from tests.database.staging.test_bulk_load import fill, named, rows_of
from tests.support import steps
from tests.support.mariadb_server import MariaDBServer

on_a_server = pytest.mark.parametrize("backend", ["mariadb"], indirect=True)
STEP_1, STEP_2, STEP_3 = "to_rds.py", "load_recommendation_data.py", "recommendation_engine.py"
SIZES = ["--num-users", "60", "--num-ratings", "400", "--num-interactions", "100"]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report a wait after half a second."""
    monkeypatch.setattr(lock_wait, "NOTICE", 0.5)
    monkeypatch.setattr(lock_wait, "_LOOK", 0.1)
    monkeypatch.setattr("recommender.database._engines.NOTICE", 0.5)


@pytest.fixture
def catalog(tmp_path: Path) -> list[str]:
    write_sample_catalog(tmp_path / "p.csv", tmp_path / "c.csv", n_products=300)
    return ["--products", str(tmp_path / "p.csv"), "--categories", str(tmp_path / "c.csv")]


@contextmanager
def session(server: MariaDBServer, settings: Settings, *statements: str) -> Iterator[Any]:
    """Another session that has sent these statements."""
    with closing(server.connect(settings.db_name)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield cursor


def shop(env: dict[str, str], folder: Path, catalog: list[str]) -> None:
    steps.do(env, folder, STEP_1, *catalog)
    steps.do(env, folder, STEP_2, *SIZES)
    steps.do(env, folder, STEP_3)


LOCKS = {
    "step 1, the whole server": (STEP_1, "FLUSH TABLES WITH READ LOCK", ""),
    "step 2, its table": (STEP_2, "LOCK TABLES users WRITE", "users"),
    "step 3, what it reads": (STEP_3, "LOCK TABLES product_ratings WRITE", "product_ratings"),
    "step 3, what it writes": (STEP_3, "LOCK TABLES recommendations READ", "recommendations"),
}


@on_a_server
@pytest.mark.parametrize(("step", "lock", "named_table"), list(LOCKS.values()), ids=list(LOCKS))
def test_a_step_reports_a_lock_and_ends_with_that_reason(
    env: dict[str, str],
    settings: Settings,
    engine: Engine,
    mariadb: MariaDBServer,
    catalog: list[str],
    tmp_path: Path,
    soon: None,
    caplog: pytest.LogCaptureFixture,
    step: str,
    lock: str,
    named_table: str,
) -> None:
    shop(env, tmp_path, catalog)
    caplog.clear()
    options = {STEP_1: catalog, STEP_2: [*SIZES, "--seed", "5"], STEP_3: ["--users", "all"]}[step]
    with session(mariadb, settings, lock) as holder:
        number = holder.connection.thread_id()
        ended = steps.call(env | {"LOCK_WAIT_SECONDS": "2"}, tmp_path, step, *options)
    line = ended.stderr.splitlines()[-1]
    assert ended.returncode == 1
    assert line.startswith(f"{step}: ")
    assert "another session still holds a lock" in line
    assert "after 2 s (LOCK_WAIT_SECONDS)" in line
    assert "broke off" not in line
    told = [message for message in caplog.messages if "another session holds a lock" in message]
    assert told
    for said in (told[0], line):
        assert named_table in said
        assert f"session {number} (root@localhost" in said
        assert "SELECT" not in said


@on_a_server
def test_a_step_goes_on_as_soon_as_the_lock_is_gone(
    env: dict[str, str],
    settings: Settings,
    engine: Engine,
    mariadb: MariaDBServer,
    catalog: list[str],
    tmp_path: Path,
    soon: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps.do(env, tmp_path, STEP_1, *catalog)
    steps.do(env, tmp_path, STEP_2, *SIZES)
    with session(mariadb, settings, "LOCK TABLES users WRITE, product_ratings WRITE") as holder:

        def release() -> None:
            until(lambda: "another session holds a lock" in caplog.text)
            holder.execute("UNLOCK TABLES")

        thread = threading.Thread(target=release)
        thread.start()
        try:
            steps.do(env, tmp_path, STEP_2, *SIZES, "--seed", "5")
        finally:
            thread.join()


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@on_a_server
def test_readers_go_on_while_a_swap_waits_for_an_open_transaction(
    env: dict[str, str],
    settings: Settings,
    engine: Engine,
    mariadb: MariaDBServer,
    catalog: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop(env, tmp_path, catalog)
    assert [version.number for version in read_versions(engine)] == [1]
    done: list[str] = []
    publishing = threading.Thread(target=lambda: done.append(steps.do(env, tmp_path, STEP_3, "--users", "all")))
    reads = ("START TRANSACTION", "SELECT COUNT(*) FROM recommendations", "SELECT COUNT(*) FROM model_versions")
    with session(mariadb, settings, *reads) as reader, session(mariadb, settings) as other:
        publishing.start()
        until(lambda: "another session holds a lock on" in caplog.text)
        # without giving up this reader would never be answered: the one before it commits only after this loop
        other.execute("SET SESSION lock_wait_timeout = 30")
        for _ in range(20):
            other.execute("SELECT COUNT(*) FROM recommendations")
            assert other.fetchone() == (600,)
        assert not done
        reader.execute("COMMIT")
        publishing.join(60)
    assert done
    assert [version.number for version in read_versions(engine)] == [1, 2]
    assert "recommendations" in caplog.text


@on_a_server
def test_expired_lists_that_somebody_reads_are_left_to_the_next_run(
    env: dict[str, str],
    settings: Settings,
    engine: Engine,
    mariadb: MariaDBServer,
    catalog: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_server_stage, "DROP_WAIT", 0)
    shop(env, tmp_path, catalog)
    env |= {"KEEP_VERSIONS": "2"}
    steps.do(env, tmp_path, STEP_3)
    with session(mariadb, settings, "START TRANSACTION", "SELECT COUNT(*) FROM recommendations__v1"):
        steps.do(env, tmp_path, STEP_3)
    assert [version.state for version in read_versions(engine)] == ["expired", "kept", "published"]
    assert "recommendations__v1" in existing_tables(engine)
    assert "recommendations__v1: the next run drops what is left" in caplog.text
    steps.do(env, tmp_path, STEP_3)
    assert "recommendations__v1" not in existing_tables(engine)


@on_a_server
def test_adding_to_a_table_waits_for_rows_that_another_transaction_has_changed(
    engine: Engine,
    settings: Settings,
    make_settings: Callable[..., Settings],
    mariadb: MariaDBServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(engine, (1, "old"))
    hasty = connect(make_settings(LOCK_WAIT_SECONDS=1))

    def add(to: Engine) -> None:
        with staged(to, [categories], append=True) as stage:
            stage.load(categories, [named((1, "new"), (2, "more"))])
            stage.publish()

    changed = "START TRANSACTION", "UPDATE amazon_categories SET category_name = 'theirs'"
    with session(mariadb, settings, *changed) as holder:
        with pytest.raises(WriteConflictError, match="still holds a lock on amazon_categories"):
            add(hasty)
        hasty.dispose()
        assert rows_of(engine) == [(1, "old")]
        caplog.clear()
        adding = threading.Thread(target=add, args=(engine,))
        adding.start()
        until(lambda: "another session holds a lock" in caplog.text)
        assert f"session {holder.connection.thread_id()} (root@localhost" in caplog.text
        holder.execute("ROLLBACK")
        adding.join(60)
    assert rows_of(engine) == [(1, "new"), (2, "more")]


@on_a_server
def test_saving_a_list_waits_for_somebody_who_changes_it(
    engine: Engine, settings: Settings, make_settings: Callable[..., Settings], mariadb: MariaDBServer
) -> None:
    metadata.create_all(engine)
    frame = pd.DataFrame({"product_id": ["B000000001"], "predicted_rating": [4.0]})
    replace_list(1, frame, engine)
    hasty = connect(make_settings(LOCK_WAIT_SECONDS=1))
    refused = pytest.raises(WriteConflictError, match="still holds a lock on recommendations")
    changed = "START TRANSACTION", "UPDATE recommendations SET predicted_rating = 1"
    with session(mariadb, settings, *changed), refused:
        replace_list(1, frame, hasty)
    hasty.dispose()


@on_a_server
@pytest.mark.parametrize("way", ["connectorx", "packed", "streamed"])
def test_a_read_of_a_locked_table_ends_and_names_the_lock(
    engine: Engine,
    settings: Settings,
    make_settings: Callable[..., Settings],
    mariadb: MariaDBServer,
    way: Any,
    soon: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    metadata.create_all(engine)
    hasty = connect(make_settings(LOCK_WAIT_SECONDS=2))
    read_ratings(hasty, way="streamed")
    refused = pytest.raises(WriteConflictError, match="still holds a lock on product_ratings")
    with session(mariadb, settings, "LOCK TABLES product_ratings WRITE"), refused:
        read_ratings(hasty, way=way)
    hasty.dispose()
    assert "another session holds a lock on product_ratings (waiting for table metadata lock)" in caplog.text


def test_a_run_waits_for_another_run_that_fills_the_same_tables(
    engine: Engine,
    make_settings: Callable[..., Settings],
    soon: None,
    caplog: pytest.LogCaptureFixture,
    backend: str,
) -> None:
    patient = connect(make_settings(LOCK_WAIT_SECONDS=60))
    waiting = threading.Thread(target=lambda: fill(patient, (2, "second")))
    with staged(engine, [categories]) as stage:
        waiting.start()
        until(lambda: "another session holds" in caplog.text)
        stage.load(categories, [named((1, "first"))])
        stage.publish()
    waiting.join(60)
    patient.dispose()
    assert rows_of(engine) == [(2, "second")]
    assert "(LOCK_WAIT_SECONDS)" in caplog.text
    if backend == "mariadb":
        assert "amazon_categories (another run is filling it): session " in caplog.text


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_step_names_the_sqlite_file_that_another_process_writes(
    engine: Engine, make_settings: Callable[..., Settings], soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    hasty = connect(make_settings(LOCK_WAIT_SECONDS=6))  # a machine that stands still meanwhile asks a second time
    still = pytest.raises(DatabaseError, match=r"after 6 s .*still holds a lock on .*shop\.db")
    with writing(engine), still as refused:
        fill(hasty, (1, "a"))
    hasty.dispose()
    if Path("/proc/locks").exists():
        assert f"process {os.getpid()}" in str(refused.value)
