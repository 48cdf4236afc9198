"""The service follows the tables: its own writes at once, others' within a second, newer models without a gap."""

from __future__ import annotations

import datetime as dt
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, delete, insert, select, update

import api
import recommendation_engine
from recommender.database import connected, existing_tables, writing
from recommender.database.schema import deletions, interactions, products, ratings, recommendations, user_id_map, users
from recommender.errors import DatabaseError, WriteConflictError
from recommender.live import UserRecord
from recommender.live import users as live_users
from recommender.live.changes import Changes
from recommender.live.users import Profile
from recommender.model import ServedModel
from recommender.settings import load_settings
from recommender.updates import read_records, store_rating
from recommender.updates import updater as live_service
from tests.conftest import require_mariadb
from tests.support.deadlines import as_released
from tests.support.mariadb_server import MariaDBServer
from tests.support.service import KEY, WITH_KEY, fetch, uvicorn, wait_until
from tests.support.shop import WHEN, fill, product_row

A, B, C, D, E, NEW = (f"B00000000{letter}" for letter in "ABCDEN")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}, 9: {E: 4.0}}


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Engine:
    fill(engine, STARS, [A, B, C, D, E])
    for name, value in (env | {"API_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    return engine


@pytest.fixture
def client(shop: Engine) -> Iterator[TestClient]:
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        yield client


def listed(client: TestClient, user_id: int) -> list[tuple[str, float]]:
    answer = client.get(f"/recommendations/{user_id}?ranking=classic")
    assert answer.status_code == 200, answer.text
    return [(item["product_id"], item["predicted_rating"]) for item in answer.json()["recommendations"]]


def anew(user_id: int) -> list[tuple[str, float]]:
    """The answer of a service that starts now."""
    with TestClient(api.create_app()) as client:
        return listed(client, user_id)


def is_listed(client: TestClient, wanted: list[tuple[str, float]]) -> bool:
    return listed(client, 1) == wanted


def serves(client: TestClient, version: str) -> bool:
    return bool(client.get("/recommendations/1").headers["x-model-version"] == version)


def rate(client: TestClient, user_id: int, product_id: str, rating: float) -> None:
    body = {"user_id": user_id, "product_id": product_id, "rating": rating}
    answer = client.post("/ratings", json=body)
    assert (answer.status_code, answer.json()) == (201, body), answer.text


def test_a_rating_is_stored_and_counts_in_the_next_answer(client: TestClient, shop: Engine) -> None:
    before = listed(client, 1)
    rate(client, 1, B, 4.5)
    with shop.connect() as connection:
        stored = select(ratings.c.rating, ratings.c.created_at).where(
            (ratings.c.user_id == 1) & (ratings.c.product_id == B)
        )
        assert connection.execute(stored).one().rating == 4.5
    assert listed(client, 1) == anew(1) != before
    assert [product for product, _ in before].count(B) == 1
    assert B not in [product for product, _ in listed(client, 1)]
    assert client.get("/health").json()["ratings"] == 9


def test_a_changed_rating_keeps_the_time_when_it_was_first_given(client: TestClient, shop: Engine) -> None:
    rate(client, 2, A, 1.0)
    with shop.connect() as connection:
        row = connection.execute(select(ratings).where((ratings.c.user_id == 2) & (ratings.c.product_id == A))).one()
    assert (row.rating, row.created_at) == (1.0, WHEN)
    assert row.updated_at > WHEN
    assert listed(client, 1) == anew(1)


def test_a_new_user_counts_at_once(client: TestClient) -> None:
    assert client.get("/recommendations/500").status_code == 404
    rate(client, 500, A, 5.0)
    assert listed(client, 500) == anew(500)
    assert listed(client, 1) == anew(1)


def test_a_product_that_came_after_the_start_can_be_rated_and_is_recommended(client: TestClient, shop: Engine) -> None:
    assert client.post("/ratings", json={"user_id": 2, "product_id": NEW, "rating": 5}).status_code == 404
    with writing(shop) as connection:
        connection.execute(insert(products).values(product_row(NEW, title="Brand new", price=3.5)))
    rate(client, 2, NEW, 5.0)
    assert (NEW, 5.0) in listed(client, 1) == anew(1)
    assert client.get(f"/products/{NEW}").json()["product_name"] == "Brand new"
    similar = client.get(f"/products/{NEW}/similar")  # these figures change only with the next model
    assert (similar.status_code, similar.json()) == (200, {"product_id": NEW, "similar": []})
    for path in ("", "/similar"):
        assert client.get(f"/products/B0000NOONE{path}").status_code == 404


def test_a_price_of_0_of_a_product_that_came_later_is_not_known(client: TestClient, shop: Engine) -> None:
    with writing(shop) as connection:
        connection.execute(insert(products).values(product_row(NEW, price=0.0)))
    rate(client, 2, NEW, 5.0)
    path = "/recommendations/1?ranking=classic"
    prices = {item["product_id"]: item["price"] for item in client.get(path).json()["recommendations"]}
    assert (prices[NEW], prices[B]) == (None, 9.99)
    assert client.get(f"/products/{NEW}").json()["price"] is None
    for bound in ("min_price=0", "max_price=1000"):
        found = [item["product_id"] for item in client.get(f"{path}&{bound}").json()["recommendations"]]
        assert B in found
        assert NEW not in found


def test_an_interaction_makes_a_user_known_and_counts_by_taste(client: TestClient, shop: Engine) -> None:
    body = {"user_id": 600, "product_id": A, "interaction_type": "purchase"}
    answer = client.post("/interactions", json=body)
    assert (answer.status_code, answer.json()) == (201, body)
    found = client.get("/recommendations/600?ranking=taste")
    assert found.headers["x-recommendation-source"] in ("neighbors", "mixed")
    assert A not in [item["product_id"] for item in found.json()["recommendations"]]
    with shop.connect() as connection:
        assert connection.execute(select(interactions.c.user_id)).scalars().all() == [600]


def test_a_deleted_rating_no_longer_counts(client: TestClient) -> None:
    assert client.delete(f"/users/2/ratings/{A}").status_code == 204
    assert listed(client, 1) == anew(1)
    again = client.delete(f"/users/2/ratings/{A}")
    assert (again.status_code, again.json()["detail"]) == (404, f"user 2 has not rated product {A}")


def test_a_person_is_erased_from_every_table_the_model_and_all_lists(client: TestClient, shop: Engine) -> None:
    for _ in range(2):
        assert recommendation_engine.main(["--force"]) == 0
    client.post("/interactions", json={"user_id": 2, "product_id": D, "interaction_type": "view"})
    assert client.delete("/users/2").status_code == 204
    with shop.connect() as connection:
        for table in (ratings, interactions, users, user_id_map, recommendations):
            if table.name in existing_tables(shop):
                assert 2 not in connection.execute(select(table.c.user_id)).scalars().all(), table.name
        kept = [name for name in existing_tables(shop) if name.startswith("recommendations__v")]
        assert len(kept) == 1
        assert connection.exec_driver_sql(f"SELECT COUNT(*) FROM {kept[0]} WHERE user_id = 2").scalar() == 0
        assert connection.exec_driver_sql(f"SELECT COUNT(*) FROM {kept[0]} WHERE user_id = 1").scalar() != 0
    assert client.get("/recommendations/2").status_code == 404
    assert listed(client, 1) == anew(1)
    assert client.delete("/users/2").status_code == 404


def test_rows_that_others_write_into_the_tables_are_counted(client: TestClient, shop: Engine) -> None:
    listed(client, 1)
    for change in (
        insert(ratings).values(user_id=1, product_id=C, rating=3.0, created_at=WHEN),
        update(ratings).where(ratings.c.user_id == 3).values(rating=2.0, updated_at=_now()),
    ):
        with writing(shop) as connection:
            connection.execute(change)
        wanted = anew(1)
        wait_until(partial(is_listed, client, wanted))


def test_very_many_changes_by_others_lead_to_a_new_model(
    client: TestClient, shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recommender.updates.newest_model.MOST_CHANGED", 40)
    built = client.get("/health").json()["model_built_at"]
    time.sleep(1.1)  # build times are whole seconds
    with writing(shop) as connection:
        many = [{"user_id": 100 + n, "product_id": A, "rating": 4.0, "created_at": WHEN} for n in range(300)]
        connection.execute(insert(ratings), many)
    wait_until(lambda: client.get("/health").json()["ratings"] == 308)
    wait_until(lambda: client.get("/health").json()["model_built_at"] != built)
    wait_until(lambda: "recommender_changed_users 0.0" in client.get("/metrics").text)
    assert listed(client, 1) == anew(1)
    assert listed(client, 399) == anew(399)


def counted_loads(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moments when the service begins to make a new model, from now on."""
    source, started = watch_of(client)._source, list[float]()
    load = source.load

    def counting() -> ServedModel:
        started.append(time.monotonic())
        return load()

    monkeypatch.setattr(source, "load", counting)
    return started


def read_pieces(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The users whose rows the service reads, from now on."""
    pieces: list[set[int]] = []

    def reading(connection: Connection, user_ids: set[int], *rest: Any) -> list[UserRecord]:
        pieces.append(set(user_ids))
        return read_records(connection, user_ids, *rest)

    monkeypatch.setattr("recommender.updates.newest_model.read_records", reading)
    return pieces


def test_one_change_of_very_many_rows_makes_one_new_model_and_reads_no_single_user(
    client: TestClient, shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recommender.updates.newest_model.MOST_CHANGED", 40)
    pieces = read_pieces(monkeypatch)
    loads = counted_loads(client, monkeypatch)
    with writing(shop) as connection:
        many = [{"user_id": 100 + n, "product_id": A, "rating": 4.0, "created_at": WHEN} for n in range(300)]
        connection.execute(insert(ratings), many)
    wait_until(lambda: client.get("/health").json()["ratings"] == 308)
    rate(client, 1, D, 2.0)
    with writing(shop) as connection:
        connection.execute(insert(ratings).values(user_id=4, product_id=A, rating=4.0, created_at=WHEN))
    wait_until(lambda: any(4 in piece for piece in pieces))
    time.sleep(1.0)  # the service reads the changes again
    assert len(loads) == 1
    assert set().union(*pieces) <= {1, 4}
    assert client.get("/health").json()["status"] == "ok"
    for user in (1, 4, 399):
        assert listed(client, user) == anew(user)


def test_very_many_changes_are_counted_in_pieces_with_a_model_file(
    shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recommender.updates.newest_model.MOST_CHANGED", 40)
    monkeypatch.setattr("recommender.updates.following.PEOPLE", 50)
    file = tmp_path / "model"
    monkeypatch.setenv("MODEL_FILE", str(file))
    assert recommendation_engine.main(["--save-model", "--force"]) == 0
    pieces = read_pieces(monkeypatch)
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        with writing(shop) as connection:
            many = [{"user_id": 100 + n, "product_id": A, "rating": 4.0, "created_at": WHEN} for n in range(300)]
            connection.execute(insert(ratings), many)
        wait_until(lambda: client.get("/health").json()["ratings"] == 308)
        rate(client, 1, B, 4.5)
        assert max(map(len, pieces)) <= 50
        wanted = listed(client, 1)
    monkeypatch.delenv("MODEL_FILE")
    assert wanted == anew(1)


@pytest.mark.parametrize("backend", ["mariadb"])
def test_a_transaction_that_lasts_longer_than_the_overlap_of_looks_is_seen(
    client: TestClient, shop: Engine, backend: str
) -> None:
    long_ago = _now() - dt.timedelta(seconds=60)  # as if it had lasted a minute
    with connected(load_settings()) as others, others.connect() as connection, connection.begin():
        row = {"user_id": 1, "product_id": C, "rating": 3.0, "created_at": WHEN, "updated_at": long_ago}
        connection.execute(insert(ratings).values(row))
        event = {"user_id": 4, "product_id": A, "interaction_type": "purchase", "created_at": long_ago}
        connection.execute(insert(interactions).values(event))
        for user in (2, 3):
            rate(client, user, D, 2.0)
            client.post("/interactions", json={"user_id": user, "product_id": E, "interaction_type": "view"})
        with writing(shop) as beside:
            beside.execute(insert(interactions).values(event | {"user_id": 9}))
        wait_until(lambda: 9 in watch_of(client).model.changes.users)
        connection.commit()
    wanted = anew(1)
    wait_until(partial(is_listed, client, wanted))
    wait_until(lambda: 4 in watch_of(client).model.changes.users)


def test_rows_that_others_delete_no_longer_count(client: TestClient, shop: Engine) -> None:
    with writing(shop) as connection:
        connection.execute(delete(ratings).where(ratings.c.user_id == 2, ratings.c.product_id == C))
    wanted = anew(1)
    wait_until(partial(is_listed, client, wanted))
    assert client.get("/health").json()["ratings"] == 7


def test_a_profile_is_built_on_another_thread_than_the_event_loop(
    client: TestClient, shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def noted(record: UserRecord, weights: tuple[float, ...]) -> Profile:
        threads.append(threading.current_thread().name)
        return make(record, weights)

    make = live_users._profile
    monkeypatch.setattr(live_users, "_profile", noted)
    rate(client, 1, B, 4.5)
    with writing(shop) as connection:
        connection.execute(insert(ratings), RATED)
    wait_until(lambda: 4 in watch_of(client).model.changes.users)
    assert len(threads) >= 2
    assert all(name.startswith("changes") for name in threads), threads


def watch_of(client: TestClient) -> live_service.ModelUpdater:
    """The object that takes changes of the tables over into the served model."""
    assert isinstance(client.app, FastAPI)
    watch = client.app.state.updater
    assert isinstance(watch, live_service.ModelUpdater)
    return watch


def failing_once(error: Exception, function: Any) -> Any:
    """Replace the function by one that raises at its first call."""
    errors = [error]

    def call(*given: Any) -> Any:
        if errors:
            raise errors.pop()
        return function(*given)

    return call


RATED = [{"user_id": user, "product_id": C, "rating": 3.0, "created_at": WHEN} for user in (1, 4)]


@pytest.fixture
def wanted(shop: Engine) -> list[tuple[str, float]]:
    """The answer to user 1 after RATED is in the tables, where it is not yet. Ask before anything is patched."""
    with writing(shop) as connection:
        connection.execute(insert(ratings), RATED)
    found = anew(1)
    with writing(shop) as connection:
        connection.execute(delete(ratings).where(ratings.c.product_id == C, ratings.c.user_id.in_([1, 4])))
    return found


@pytest.mark.parametrize("error", [DatabaseError("away in the middle"), TypeError("a fault of ours")], ids=repr)
def test_a_look_at_the_tables_that_fails_midway_loses_no_change(
    wanted: list[tuple[str, float]],
    client: TestClient,
    shop: Engine,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    assert not is_listed(client, wanted)
    monkeypatch.setattr("recommender.updates.newest_model.read_records", failing_once(error, read_records))
    with writing(shop) as connection:
        connection.execute(insert(ratings), RATED)
    wait_until(partial(is_listed, client, wanted))
    assert "recommender_database_errors_total 1.0" in client.get("/metrics").text
    rate(client, 1, D, 2.0)
    assert listed(client, 1) == anew(1)


def test_a_change_that_cannot_be_counted_leads_to_a_new_model_that_contains_it(
    wanted: list[tuple[str, float]], client: TestClient, shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = client.get("/health").json()["model_built_at"]
    time.sleep(1.1)  # build times are whole seconds
    faults = iter(("with others", "alone"))
    after = Changes.after

    def failing(self: Changes, records: list[UserRecord], facts: Any) -> Changes:
        if any(record.user_id == 1 for record in records) and next(faults, None):
            raise IndexError("a fault of ours")
        return after(self, records, facts)

    monkeypatch.setattr(Changes, "after", failing)
    with writing(shop) as connection:
        connection.execute(insert(ratings), RATED)
    wait_until(lambda: client.get("/health").json()["model_built_at"] != built)
    wait_until(partial(is_listed, client, wanted))
    rate(client, 1, D, 2.0)
    assert listed(client, 1) == anew(1)


@pytest.mark.parametrize("look", ["_greet", "_look_for_changes", "_look_for_version", "_load_if_newer"])
def test_an_unforeseen_error_of_a_look_is_logged_once_and_the_looks_go_on(
    shop: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, look: str
) -> None:
    real, looks = getattr(live_service.ModelUpdater, look), list[object]()

    def failing(watch: live_service.ModelUpdater) -> None:
        looks.append(watch)
        if len(looks) <= 3:
            raise LookupError("a fault of ours")
        real(watch)

    monkeypatch.setattr(live_service.ModelUpdater, look, failing)
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        wait_until(lambda: len(looks) > 4)
        wait_until(lambda: client.get("/health").json()["status"] == "ok")
        assert recommendation_engine.main(["--force"]) == 0
        wait_until(partial(serves, client, "1"))
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_a_service_that_stops_while_it_reads_the_tables_ends_without_a_message(
    shop: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looking, stopped = threading.Event(), threading.Event()

    def read_slowly(*given: Any) -> list[UserRecord]:
        looking.set()
        assert stopped.wait(60)
        return read_records(*given)

    with TestClient(api.create_app()) as client:
        monkeypatch.setattr("recommender.updates.newest_model.read_records", read_slowly)
        with writing(shop) as connection:
            connection.execute(insert(ratings), RATED)
        assert looking.wait(60)
        watch = watch_of(client)
    assert watch._loop
    assert watch._loop.is_closed()
    stopped.set()
    watch._thread.shutdown(wait=True)
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_a_write_that_the_database_rolled_back_for_a_conflict_is_run_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone = WriteConflictError("deadlock found")
    monkeypatch.setattr("recommender.service.routes.writes.store_rating", failing_once(undone, store_rating))
    rate(client, 1, B, 4.5)
    assert listed(client, 1) == anew(1)


def test_a_write_counts_between_two_pieces_of_others_changes_and_still_counts_after_them(
    client: TestClient, shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, written, pieces = watch_of(client), threading.Event(), list[set[int]]()
    statuses: list[int] = []

    def write() -> None:
        rate(client, 1, B, 4.5)
        statuses.append(client.get("/recommendations/1299").status_code)
        written.set()

    def read(connection: Any, user_ids: set[int], *rest: Any) -> list[UserRecord]:
        if user_ids != {1}:  # a piece of the others' changes
            pieces.append(user_ids)
            if len(pieces) == 1:
                writer.start()
                wait_until(lambda: not watch._thread._work_queue.empty())
            else:
                assert written.wait(60)
        return read_records(connection, user_ids, *rest)

    writer = threading.Thread(target=write)
    monkeypatch.setattr("recommender.updates.following.PEOPLE", 50)
    monkeypatch.setattr("recommender.updates.newest_model.read_records", read)
    users = *range(1000, 1300), 1
    rows = [{"user_id": user, "product_id": C, "rating": 1.0, "created_at": WHEN} for user in users]
    with writing(shop) as connection:
        connection.execute(insert(ratings), rows)
    wait_until(lambda: client.get("/recommendations/1299").status_code == 200)
    writer.join()
    assert statuses == [404]  # answered before all of the others' changes were read
    assert sum(map(len, pieces)) >= 300
    found = {item["product_id"]: item["rating"] for item in client.get("/users/1/ratings").json()["ratings"]}
    assert found == {A: 5.0, B: 4.5, C: 1.0}


def _now() -> Any:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def test_a_deletion_by_another_worker_is_counted(client: TestClient, shop: Engine) -> None:
    with TestClient(api.create_app(), headers=WITH_KEY) as other:
        assert (C, 5.0) in listed(client, 1)
        assert other.delete(f"/users/2/ratings/{C}").status_code == 204
        wait_until(lambda: listed(client, 1) == listed(other, 1))
        assert other.delete("/users/3").status_code == 204
        wait_until(lambda: client.get("/recommendations/3").status_code == 404)
    with shop.connect() as connection:
        assert connection.execute(select(deletions.c.user_id)).scalars().all() == [2, 3]


def test_a_newer_version_is_served_as_soon_as_it_is_published(client: TestClient, shop: Engine) -> None:
    assert client.get("/recommendations/1").headers["x-model-version"] == "none"
    rate(client, 1, B, 4.5)
    for version in ("1", "2"):
        assert recommendation_engine.main(["--force"]) == 0
        wait_until(partial(serves, client, version))
        assert listed(client, 1) == anew(1)


def test_a_roll_back_without_a_file_names_no_version(
    client: TestClient, shop: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert recommendation_engine.main(["--force"]) == 0
    wait_until(partial(serves, client, "1"))
    first = listed(client, 1)
    rate(client, 2, D, 5.0)
    assert recommendation_engine.main(["--force"]) == 0
    wait_until(partial(serves, client, "2"))
    caplog.set_level("INFO")
    assert recommendation_engine.main(["--rollback", "1"]) == 0
    wait_until(partial(serves, client, "none"))
    assert listed(client, 1) == anew(1) != first  # from the present ratings
    assert client.get("/health").json()["model_version"] is None
    assert any("serving a model of the tables as they are" in record.getMessage() for record in caplog.records)
    loads = [record for record in caplog.records if "serving" in record.getMessage()]
    time.sleep(0.6)  # it is loaded once, not again and again
    assert [record for record in caplog.records if "serving" in record.getMessage()] == loads
    with TestClient(api.create_app()) as new:
        assert serves(new, "none")
    assert recommendation_engine.main(["--force"]) == 0
    wait_until(partial(serves, client, "3"))
    assert client.get("/health").json()["model_version"] == 3


@pytest.mark.parametrize("constant", [("RANKING", "taste"), ("TOP_N_SIMILAR_USERS", "3")], ids=lambda pair: pair[0])
def test_a_model_made_by_other_settings_than_the_published_lists_names_no_version(
    shop: Engine, monkeypatch: pytest.MonkeyPatch, constant: tuple[str, str]
) -> None:
    assert recommendation_engine.main(["--force"]) == 0
    monkeypatch.setenv(*constant)
    with TestClient(api.create_app()) as client:
        assert serves(client, "none")
    assert recommendation_engine.main(["--force"]) == 0
    with TestClient(api.create_app()) as client:
        assert serves(client, "2")


def test_a_newer_file_is_served_with_later_changes_and_a_damaged_file_is_not(
    shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model"
    monkeypatch.setenv("MODEL_FILE", str(file))
    monkeypatch.setenv("RANKING", "taste")
    assert recommendation_engine.main(["--save-model", "--force"]) == 0
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        rate(client, 1, B, 4.5)
        expected = listed(client, 1)
        assert recommendation_engine.main(["--save-model", "--force"]) == 0
        wait_until(lambda: client.get("/recommendations/1").headers["x-model-version"] == "2")
        assert listed(client, 1) == expected
        (tmp_path / "damaged").write_bytes(file.read_bytes()[:-100])
        (tmp_path / "damaged").replace(file)
        wait_until(lambda: "recommender_failed_loads_total 1.0" in client.get("/metrics").text)
        assert client.get("/recommendations/1").headers["x-model-version"] == "2"
        assert listed(client, 1) == expected


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"user_id": -1, "product_id": A, "rating": 3}, "user_id"),
        ({"user_id": True, "product_id": A, "rating": 3}, "user_id"),
        ({"user_id": 1, "product_id": "x ", "rating": 3}, "product_id"),
        ({"user_id": 1, "product_id": A, "rating": 5.5}, "rating"),
        ({"user_id": 1, "product_id": A, "rating": 4.25}, "rating"),
        ({"user_id": 1, "product_id": A, "rating": "5"}, "rating"),
        ({"user_id": 1, "product_id": A}, "rating"),
        ({"user_id": 1, "product_id": A, "rating": 3, "note": 1}, "note"),
    ],
)
def test_an_invalid_rating_is_refused_and_not_stored(client: TestClient, shop: Engine, body: Any, wrong: str) -> None:
    answer = client.post("/ratings", json=body)
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == [wrong]
    with shop.connect() as connection:
        assert len(connection.execute(select(ratings)).all()) == 8


def test_a_basket_is_answered_as_a_user_with_these_ratings_and_leaves_no_trace(
    client: TestClient, shop: Engine
) -> None:
    asked = {"ratings": [{"product_id": A, "rating": 2}, {"product_id": D}]}
    answer = client.post("/recommendations?ranking=classic&limit=3", json=asked)
    assert answer.status_code == 200
    assert (answer.headers["x-model-version"], answer.headers["x-recommendation-source"]) == ("none", "mixed")
    found = [(item["product_id"], item["predicted_rating"]) for item in answer.json()["recommendations"]]
    with shop.connect() as connection:
        assert len(connection.execute(select(ratings)).all()) == 8
    rate(client, 700, A, 2.0)
    rate(client, 700, D, 5.0)
    assert found[:2] == listed(client, 700)[:2]  # the neighbors' part; the mean of all ratings has changed
    unknown = client.post("/recommendations", json={"ratings": [{"product_id": "B0000000ZZ"}]})
    assert (unknown.status_code, "B0000000ZZ" in unknown.json()["detail"]) == (404, True)


def test_a_product_in_a_basket_without_a_rating_counts_as_five_stars(client: TestClient) -> None:
    def answer(**rating: float) -> bytes:
        asked = {"ratings": [{"product_id": C, "rating": 1}, {"product_id": B, **rating}]}
        return client.post("/recommendations?ranking=classic", json=asked).content

    assert answer() == answer(rating=5) != answer(rating=4.5)


def test_a_faulty_basket_is_refused_by_its_first_faulty_product_after_the_parameters(client: TestClient) -> None:
    asked = {"ratings": [{"product_id": A}, {"product_id": "x ", "rating": 0}, {"product_id": "y "}, 1]}
    answer = client.post("/recommendations?limit=0", json=asked)
    named = [(error["parameter"], error["value"]) for error in answer.json()["errors"]]
    assert (answer.status_code, named) == (422, [("limit", "0"), ("product_id", "x "), ("rating", "0")])


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MariaDBServer]:
    """A separate MariaDB server with the shop, to be stopped and frozen."""
    require_mariadb()
    server = MariaDBServer(tmp_path)
    server.start()
    for name, value in (server.environment("shop") | {"API_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    with connected(load_settings(), create=True) as engine:
        fill(engine, STARS, [A, B, C, D, E])
    yield server
    if server.process is not None:
        server.process.send_signal(signal.SIGCONT)
    server.stop()


def test_a_frozen_database_holds_up_no_answer(own_server: MariaDBServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_server.process is not None
    rating = {"user_id": 1, "product_id": C, "rating": 1}
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        rate(client, 1, B, 4.5)
        expected, asked = listed(client, 1), list[object]()
        own_server.process.send_signal(signal.SIGSTOP)
        with as_released(), monkeypatch.context() as patch:
            answer = client.post("/ratings", json=rating)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            wait_until(lambda: client.get("/health").json()["status"] == "degraded")
            patch.setattr(watch_of(client)._newest, "store", lambda *given, **_: asked.append(given))
            for _ in range(100):
                assert listed(client, 1) == expected
                assert client.post("/ratings", json=rating).status_code == 503
        own_server.process.send_signal(signal.SIGCONT)
        assert asked == []  # nobody waited for the database
        wait_until(lambda: client.get("/health").json()["status"] == "ok")
        rate(client, 1, C, 2.0)
        assert listed(client, 1) == anew(1)


def test_writes_go_on_after_a_killed_database_came_back(own_server: MariaDBServer) -> None:
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        expected = listed(client, 1)
        with as_released():
            own_server.stop(signal.SIGKILL)
            assert client.post("/ratings", json={"user_id": 1, "product_id": C, "rating": 1}).status_code == 503
            assert listed(client, 1) == expected
            wait_until(lambda: client.get("/health").json()["status"] == "degraded")
            own_server.start()
            wait_until(lambda: client.get("/health").json()["status"] == "ok")
        rate(client, 1, C, 2.0)
        assert listed(client, 1) == anew(1)


def test_two_workers_see_each_others_writes(
    shop: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model"
    monkeypatch.setenv("MODEL_FILE", str(file))
    assert recommendation_engine.main(["--save-model", "--force"]) == 0
    monkeypatch.delenv("MODEL_FILE")
    with uvicorn(env | {"MODEL_FILE": str(file)}, tmp_path / "log", "--workers", "2") as (port, _):
        for rating in (4.5, 1.0):
            body = {"user_id": 1, "product_id": B, "rating": rating}
            wait_until(partial(is_stored, port, body))
            wanted = anew(3)
            wait_until(partial(all_workers_list, port, wanted))


def is_stored(port: int, body: dict[str, Any]) -> bool:
    """Whether the service has stored the rating; on a busy machine it may take the database to be away."""
    status, _, answer = fetch(port, "/ratings", body)
    assert (status, answer) == (201, body) or status == 503, answer
    return status == 201


def all_workers_list(port: int, wanted: list[tuple[str, float]]) -> bool:
    for _ in range(40):  # each on its own connection, which either worker may accept
        found = fetch(port, "/recommendations/3?ranking=classic")[2]["recommendations"]
        if [(item["product_id"], item["predicted_rating"]) for item in found] != wanted:
            return False
    return True
