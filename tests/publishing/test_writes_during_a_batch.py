"""The service writes while a batch runs, also on SQLite, which lets one writer in at a time. Batches take turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select, text

import recommendation_engine as re
from recommender.database import connect, existing_tables, staged, writing
from recommender.database.connection import lock_watch
from recommender.database.own_tables import STAGING, OwnTable, note
from recommender.database.schema import BATCH_TABLES, ratings, recommendations
from recommender.database.staging import _mysql as _server_stage
from recommender.database.staging import _sqlite as _sqlite_stage
from recommender.database.staging._sqlite import SqliteStageInTurns
from recommender.errors import DatabaseError
from recommender.publishing import BatchJob, Version, batch
from recommender.ranking import ClassicRanking
from recommender.settings import Settings
from recommender.updates import erase_user, prepare, store_rating
from tests.support.published import write_lists
from tests.support.shop import fill

PRODUCTS = [f"B{n:09}" for n in range(40)]
STARS = {user: {PRODUCTS[(user + n) % 40]: 3.0 + n % 3 for n in range(5)} for user in range(1, 61)}
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture
def service(engine: Engine, settings: Settings) -> Iterator[Engine]:
    """The service's connections, which do not wait long for a lock."""
    service = connect(settings, statement_timeout=1.5)
    yield service
    service.dispose()


@pytest.fixture
def run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Version]:
    """``run(progress)`` publishes everybody's lists in blocks of ten people."""
    monkeypatch.setattr(batch, "BLOCK_USERS", 10)
    fill(engine, STARS, PRODUCTS)
    prepare(engine)
    matrix, similarity = re.load_model(engine)
    job = BatchJob(np.arange(len(STARS)), 10, ClassicRanking(matrix, similarity, 20))

    def run(progress: Callable[[int], object] | None = None) -> Version:
        return write_lists(engine, matrix, similarity, job, keep_versions=2, progress=progress)

    return run


def test_a_write_between_the_blocks_of_a_batch_is_stored_at_once(
    engine: Engine, service: Engine, run: Callable[..., Version]
) -> None:
    stored = list[int]()

    def rate(_n_rows: int) -> None:
        with writing(service) as connection:
            store_rating(connection, 1_000 + len(stored), PRODUCTS[0], 9)
        stored.append(1)

    run()
    assert run(rate).number == 2
    assert len(stored) == 6
    with engine.connect() as connection:
        found = connection.execute(select(ratings.c.user_id).where(ratings.c.user_id >= 1_000)).scalars()
        assert sorted(found) == [1_000, 1_001, 1_002, 1_003, 1_004, 1_005]


@on_sqlite  # on a server the statement that loads the block still runs
def test_a_person_erased_between_the_blocks_of_a_batch_is_in_no_list(
    engine: Engine, service: Engine, run: Callable[..., Version]
) -> None:
    left = [5, 55]

    def erase(_n_rows: int) -> None:
        if left:
            with writing(service) as connection:
                erase_user(connection, service, left.pop())

    run()
    version = run(erase)
    with engine.connect() as connection:
        listed = connection.execute(select(recommendations.c.user_id)).scalars().all()
    assert set(listed) == set(STARS) - {5, 55}
    assert len(listed) == version.n_rows


@on_sqlite
def test_a_waiting_writer_gets_the_lock_between_two_transactions_of_a_batch(engine: Engine, settings: Settings) -> None:
    fill(engine, STARS, PRODUCTS)
    service = connect(settings, statement_timeout=60)
    begun, done = threading.Event(), threading.Event()

    def write() -> None:
        begun.wait()
        with writing(service) as connection:
            store_rating(connection, 1_000, PRODUCTS[0], 9)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    with staged(engine, BATCH_TABLES, in_turns=True) as stage:
        assert isinstance(stage, SqliteStageInTurns)
        for turn in range(1_000):  # noqa: B007  # of which one would do
            with stage._turn():
                begun.set()
                time.sleep(0.05)
            if done.is_set():
                break
    writer.join()
    service.dispose()
    assert turn < 300  # without a pause between the transactions it would be all of them


@on_sqlite
def test_leftovers_of_a_killed_batch_are_dropped_by_the_next(engine: Engine, run: Callable[..., Version]) -> None:
    run()
    clean = existing_tables(engine)
    left = "recommendations__new_0a1b2c3d"
    with writing(engine) as connection:
        note(connection, OwnTable(left, STAGING, recommendations.name))
        connection.execute(text(f"CREATE TABLE {left} AS SELECT * FROM recommendations"))
    run()
    assert existing_tables(engine) - clean == {"recommendations__v1"}


def test_batches_take_turns(engine: Engine, run: Callable[..., Version], monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in (_server_stage, _sqlite_stage):
        monkeypatch.setattr(stage, "NAMED_LOCK_WAIT", 0)
    monkeypatch.setattr(lock_watch(engine), "seconds", 0)
    refused = list[Any]()

    def run_another(_n_rows: int) -> None:
        with pytest.raises(DatabaseError, match="another run is filling it") as error:
            run()
        refused.append(error)

    assert run(run_another).number == 1
    assert len(refused) == 6
    assert run().number == 2
