"""An erased person is in no list, also if a batch or a roll-back runs at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, Table, event, inspect, text

import recommendation_engine as re
from recommender.database import connect, existing_tables, writing
from recommender.database.schema import deletions
from recommender.publishing import BatchJob, Version, publication, roll_back
from recommender.publishing.erasures import drop_erased
from recommender.ranking import ClassicRanking
from recommender.settings import Settings
from recommender.shop import Cursor, UserIds
from recommender.updates import delete_rating, erase_user, prepare
from tests.support.mariadb_server import MariaDBServer
from tests.support.published import write_lists
from tests.support.service import wait_until
from tests.support.shop import fill

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
STARS = {1: {A: 5.0, D: 2.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}}
on_a_server = pytest.mark.parametrize("backend", ["mariadb"])  # a batch on SQLite is one transaction


@pytest.fixture
def other(engine: Engine, settings: Settings) -> Iterator[Engine]:
    """Connections of another process."""
    other = connect(settings)
    yield other
    other.dispose()


@pytest.fixture
def batch(engine: Engine) -> Callable[[], Version]:
    """A function that publishes lists made from the ratings before the test."""
    fill(engine, STARS, [A, B, C, D])
    prepare(engine)
    matrix, similarity = re.load_model(engine)
    job = BatchJob(np.arange(len(STARS)), 10, ClassicRanking(matrix, similarity, 20))
    return lambda: write_lists(engine, matrix, similarity, job, keep_versions=3)


def erase(engine: Engine, user_id: int) -> None:
    with writing(engine) as connection:
        erase_user(connection, engine, user_id)


def tables_with(engine: Engine, user_id: int) -> set[str]:
    """All tables with a row of the person, except the notes of deletions."""
    found = set()
    with engine.connect() as connection:
        for name in existing_tables(engine) - {deletions.name}:
            if any(column["name"] == "user_id" for column in inspect(engine).get_columns(name)):
                count = connection.execute(text(f"SELECT COUNT(*) FROM {name} WHERE user_id = {user_id}")).scalar_one()
                found |= {name} if count else set()
    return found


def test_a_person_erased_after_a_batch_has_read_the_ratings_is_not_published(
    engine: Engine, batch: Callable[[], Version]
) -> None:
    before = batch()
    with writing(engine) as connection:
        delete_rating(connection, 1, D)  # noted in the same table, but the person still exists
    erase(engine, 2)
    after = batch()
    assert tables_with(engine, 2) == set()
    assert tables_with(engine, 1) == {"recommendations", "recommendations__v1", "product_ratings", "users"}
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT COUNT(*) FROM recommendations")).scalar_one()
    assert after.n_rows == rows < before.n_rows


def test_a_batch_is_published_in_a_database_without_deletions(engine: Engine, batch: Callable[[], Version]) -> None:
    deletions.drop(engine)
    assert batch().n_rows > 0
    assert "recommendations" in tables_with(engine, 2)


def test_an_erased_person_is_in_no_version_for_a_roll_back(engine: Engine, batch: Callable[[], Version]) -> None:
    batch()
    batch()
    erase(engine, 2)
    assert tables_with(engine, 2) == set()
    roll_back(engine, 1)
    assert tables_with(engine, 2) == set()


@on_a_server
def test_a_person_erased_after_the_lists_are_complete_is_removed_from_them(
    engine: Engine, batch: Callable[[], Version], other: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_erase(connection: Connection, lists: Table, *since: Cursor, ids: UserIds) -> int:
        dropped = drop_erased(connection, lists, *since, ids=ids)
        erase(other, 2)
        return dropped

    monkeypatch.setattr(publication, "drop_erased", then_erase)
    batch()
    assert tables_with(engine, 2) == set()


@on_a_server
def test_a_batch_waits_for_an_erasure_that_is_not_committed(
    engine: Engine, batch: Callable[[], Version], other: Engine, mariadb: MariaDBServer
) -> None:
    with ThreadPoolExecutor(1) as thread, mariadb.connect() as root, root.cursor() as cursor:

        def waits() -> bool:
            asking = "info LIKE '%FROM live_deletions%'"
            cursor.execute(f"SELECT COUNT(*) FROM information_schema.processlist WHERE {asking}")
            return bool(cursor.fetchone() == (2,))  # one of the two is this query

        with writing(other) as connection:
            erase_user(connection, other, 2)
            published = thread.submit(batch)
            wait_until(lambda: published.done() or waits())
            assert not published.done()
        published.result()
    assert tables_with(engine, 2) == set()


@on_a_server
def test_an_erasure_finds_lists_that_are_renamed_meanwhile(
    engine: Engine, batch: Callable[[], Version], other: Engine
) -> None:
    batch()
    batch()
    renamed, statements = list[Version](), list[str]()

    def rename(_connection: Any, _cursor: Any, statement: str, *_rest: object) -> None:
        statements.append(statement)
        if statement.startswith("DELETE FROM recommendations") and not renamed:
            renamed.append(roll_back(other, 1))

    event.listen(engine, "before_cursor_execute", rename)
    erase(engine, 2)
    assert len(renamed) == 1
    assert statements[0].startswith("INSERT INTO live_deletions")  # a batch waits for this
    assert {"recommendations", "recommendations__v2"} <= tables_with(engine, 1)
    assert tables_with(engine, 2) == set()
