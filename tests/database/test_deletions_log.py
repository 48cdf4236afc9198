"""An erased person stays erased, also with old lists, an old model or an old worker, although the log is cut."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, inspect, select, text, update

import recommendation_engine as re
from api import create_app
from recommender.database import KEPT_DAYS, connect, cut_log, reaches_back, writing
from recommender.database.cursor_reader import read_cursor
from recommender.database.schema import deletions, recommendations, users
from recommender.errors import DatabaseError
from recommender.publishing import BatchJob, Version
from recommender.ranking import ClassicRanking
from recommender.settings import Settings
from recommender.shop import NOTHING_READ
from recommender.updates import delete_rating, erase_user, optional_tables, prepare, store_rating
from recommender.updates.change_feed import ChangeFeed
from recommender.updates.records import read_differing
from tests.support.published import model_of, write_lists
from tests.support.shop import WHEN, fill

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
STARS = {1: {A: 5.0, D: 2.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}}


@pytest.fixture
def shop(engine: Engine) -> Engine:
    fill(engine, STARS, [A, B, C, D])
    prepare(engine)
    return engine


@pytest.fixture
def batch(shop: Engine) -> Callable[[], Version]:
    """A function that publishes lists made from the ratings before the test."""
    matrix, similarity = re.load_model(shop)
    job = BatchJob(np.arange(len(STARS)), 10, ClassicRanking(matrix, similarity, 20))
    return lambda: write_lists(shop, matrix, similarity, job, keep_versions=3)


def erase(engine: Engine, user_id: int) -> None:
    with writing(engine) as connection:
        erase_user(connection, engine, user_id)


def age(engine: Engine, *numbers: int) -> None:
    """Make notes older than the time that they are kept."""
    old = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=KEPT_DAYS + 1)
    with writing(engine) as connection:
        connection.execute(update(deletions).where(deletions.c.deletion_id.in_(numbers)).values(deleted_at=old))


def noted(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(deletions.c.deletion_id).order_by(deletions.c.deletion_id)).scalars())


def listed(engine: Engine) -> set[int]:
    with engine.connect() as connection:
        return set(connection.execute(select(recommendations.c.user_id)).scalars())


@pytest.mark.parametrize("by", ["a rating", "a row in users"])
def test_a_person_erased_and_back_during_a_batch_has_no_list_of_the_erased_history(
    shop: Engine, batch: Callable[[], Version], by: str
) -> None:
    erase(shop, 2)
    with writing(shop) as connection:
        delete_rating(connection, 1, D)  # not erased
        if by == "a rating":
            store_rating(connection, 2, D, 9)
        else:
            connection.execute(insert(users).values(user_id=2, created_at=WHEN))
    assert batch().number == 1
    assert listed(shop) == {1, 3, 4}
    matrix, similarity = re.load_model(shop)  # of the new history
    rows = np.arange(matrix.shape[0])
    age_of_the_erasure(shop)
    write_lists(shop, matrix, similarity, BatchJob(rows, 10, ClassicRanking(matrix, similarity, 20)), keep_versions=3)
    assert listed(shop) == ({1, 2, 3, 4} if by == "a rating" else {1, 3, 4})


def age_of_the_erasure(engine: Engine) -> None:
    """Make the notes an hour old, which is longer than a note may come late."""
    before = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(hours=1)
    with writing(engine) as connection:
        connection.execute(update(deletions).values(deleted_at=before))


def test_the_log_is_cut_from_its_old_end_and_keeps_the_newest_old_note(shop: Engine) -> None:
    for user_id in (1, 2, 3, 4):
        erase(shop, user_id)
    cut_log(shop)
    assert noted(shop) == [1, 2, 3, 4]
    age(shop, 1, 2, 4)  # a clock was set back, so 3 is younger than 4
    cut_log(shop)
    assert noted(shop) == [2, 3, 4]
    with shop.connect() as connection:
        assert [reaches_back(connection, n) for n in (0, 1, 2, 3, 4, 5)] == [False, False, True, True, True, False]
    prepare(shop)  # as a service does when it starts
    assert noted(shop) == [2, 3, 4]


def test_a_log_with_gaps_that_was_never_cut_counts_as_complete(shop: Engine) -> None:
    with writing(shop) as connection:
        connection.execute(insert(deletions).values(deletion_id=7, user_id=1, deleted_at=dt.datetime(2100, 1, 1)))
    with shop.connect() as connection:
        assert reaches_back(connection, 0)


def test_a_published_batch_cuts_the_log_and_a_batch_older_than_the_log_is_refused(
    shop: Engine, batch: Callable[[], Version]
) -> None:
    for user_id in (1, 2):
        erase(shop, user_id)
    batch()
    age(shop, 1, 2)
    fresh, similarity = re.load_model(shop)
    job = BatchJob(np.arange(fresh.shape[0]), 10, ClassicRanking(fresh, similarity, 20))
    write_lists(shop, fresh, similarity, job, keep_versions=3)
    assert noted(shop) == [2]
    before = listed(shop)
    with pytest.raises(DatabaseError, match="the ratings were read before deletions that live_deletions no longer"):
        batch()
    assert listed(shop) == before == {3, 4}


def test_a_worker_older_than_the_log_compares_everybody_with_the_tables(shop: Engine) -> None:
    model = model_of(shop, *re.load_model(shop))
    feed = ChangeFeed(read_cursor(shop), optional_tables(shop))
    with shop.connect() as connection:
        assert not feed.look(connection).missed
    for user_id in (1, 2, 3):
        erase(shop, user_id)
    with writing(shop) as connection:
        store_rating(connection, 2, D, 9)  # back
    age(shop, 1, 2, 3)
    cut_log(shop)
    with shop.connect() as connection:
        look = feed.look(connection)
        assert look.missed
        assert read_differing(connection, model) == {1, 2, 3}
        feed.keep(look)
        assert not feed.look(connection).missed  # once is enough
        assert ChangeFeed(NOTHING_READ, optional_tables(shop)).look(connection).missed


@pytest.fixture
def service(settings: Settings, shop: Engine, tmp_path: Path) -> Iterator[Callable[[], TestClient]]:
    """A service that starts from a model file saved before the test."""
    file, patch = tmp_path / "shop.model", pytest.MonkeyPatch()
    for name, value in {"MODEL_FILE": str(file), "REQUEST_LOG": "0", "API_KEY": ""}.items():
        patch.setenv(name, value)
    for name in ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD", "SQLITE_FILE"):
        patch.setenv(name, str(getattr(settings, name.lower())))
    assert re.main(["--save-model"]) == 0
    yield lambda: TestClient(create_app())
    patch.undo()


@pytest.mark.parametrize("cut", [False, True])
def test_a_model_file_is_compared_with_the_present_people_before_it_is_served(
    service: Callable[[], TestClient], shop: Engine, cut: bool
) -> None:
    for user_id in (1, 2, 3):
        erase(shop, user_id)
    with writing(shop) as connection:
        store_rating(connection, 2, D, 9)  # back
    if cut:
        age(shop, 1, 2, 3)
        cut_log(shop)
    with service() as client:
        first = [client.get(f"/recommendations/{user_id}").status_code for user_id in (1, 3, 2, 4)]
        again = client.get("/recommendations/2").json()["recommendations"]
    assert first == [404, 404, 200, 200]
    assert D not in {item["product_id"] for item in again}


def test_a_log_of_the_previous_release_is_extended_and_its_notes_count_as_erasures(
    shop: Engine, batch: Callable[[], Version], settings: Settings
) -> None:
    deletions.drop(shop)
    number = "INTEGER PRIMARY KEY" if shop.dialect.name == "sqlite" else "BIGINT PRIMARY KEY AUTO_INCREMENT"
    with writing(shop) as connection:
        columns = f"deletion_id {number}, user_id BIGINT NOT NULL, deleted_at DATETIME NOT NULL"
        connection.execute(text(f"CREATE TABLE live_deletions ({columns})"))
    erase(shop, 2)  # by a service that may not alter tables
    with writing(shop) as connection:
        store_rating(connection, 2, D, 9)
    batch()
    assert listed(shop) == {1, 3, 4}
    prepare(shop)
    assert "erased" in {column["name"] for column in inspect(shop).get_columns("live_deletions")}
    other = connect(settings)
    prepare(other)
    other.dispose()
    with writing(shop) as connection:
        delete_rating(connection, 3, A)
    batch()
    assert listed(shop) == {1, 3, 4}
