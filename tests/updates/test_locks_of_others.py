"""Other sessions hold locks: the service answers, reports its state, loses no change, and recovers by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pymysql
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert

import api
import recommendation_engine
from recommender.database import writing
from recommender.database.schema import ratings
from recommender.updates import updater as live_service
from tests.support.deadlines import as_released
from tests.support.mariadb_server import MariaDBServer
from tests.support.service import KEY, WITH_KEY, wait_until
from tests.support.shop import WHEN, fill
from tests.updates.test_updater import watch_of

A, B, C, D, E = (f"B00000000{letter}" for letter in "ABCDE")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}, 9: {E: 4.0}}
pytestmark = pytest.mark.parametrize("backend", ["mariadb"])


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, backend: str) -> Engine:
    fill(engine, STARS, [A, B, C, D, E])
    for name, value in (env | {"API_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    return engine


@contextmanager
def session(server: MariaDBServer, shop: Engine) -> Iterator[pymysql.cursors.Cursor]:
    """Another session on the shop's database."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"USE `{shop.url.database}`")
        yield cursor


def has_counted(client: TestClient, users: int) -> bool:
    return f"recommender_changed_users {users}.0" in client.get("/metrics").text


def post(client: TestClient, user_id: int, product_id: str) -> int:
    """Send a rating to the service; return the status."""
    return client.post("/ratings", json={"user_id": user_id, "product_id": product_id, "rating": 2}).status_code


@pytest.mark.parametrize("table", ["product_ratings", "users", "user_interactions"])
def test_a_locked_table_is_reported_and_holds_up_no_answer(
    shop: Engine, mariadb: MariaDBServer, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(live_service, "LATE", 1.5)
    with TestClient(api.create_app(), headers=WITH_KEY) as client, session(mariadb, shop) as other:
        wait_until(lambda: client.get("/health").json()["status"] == "ok")
        other.execute(f"LOCK TABLES {table} WRITE")
        with as_released():
            assert post(client, 1, B) == 503
        assert client.get("/recommendations/1").status_code == 200
        if table != "users":  # a look needs this table only if somebody has changed
            wait_until(lambda: client.get("/health").json()["status"] == "degraded")
            health = client.get("/health").json()
            assert health["reason"] == "the tables cannot be looked at: another session may hold a lock"
            assert health["degraded_since"] == health["changes_seen_at"]
            assert watch_of(client).is_up
            with as_released():
                assert post(client, 1, B) == 503
        other.execute("UNLOCK TABLES")
        wait_until(lambda: client.get("/health").json()["status"] == "ok")
        assert "reason" not in client.get("/health").json()
        wait_until(lambda: post(client, 1, B) == 201)


def test_a_swap_of_versions_that_waits_for_a_reader_stops_no_look_and_no_write(
    shop: Engine, mariadb: MariaDBServer
) -> None:
    assert recommendation_engine.main(["--force"]) == 0
    with (
        TestClient(api.create_app(), headers=WITH_KEY) as client,
        session(mariadb, shop) as reader,
        session(mariadb, shop) as swap,
    ):
        wait_until(lambda: watch_of(client).published == 1)
        reader.execute("START TRANSACTION")
        for table in ("recommendations", "model_versions"):
            reader.execute(f"SELECT COUNT(*) FROM {table}")
        names = "recommendations TO aside, model_versions TO beside, aside TO recommendations, beside TO model_versions"
        waiting = threading.Thread(target=swap.execute, args=(f"RENAME TABLE {names}",))
        waiting.start()
        try:
            with session(mariadb, shop) as watch:
                wait_until(lambda: watch.execute("SHOW PROCESSLIST") and "metadata lock" in str(watch.fetchall()))
            for user in (1, 4):  # both after the swap began to wait
                with writing(shop) as connection:
                    row = {"user_id": user, "product_id": C, "rating": 3.0, "created_at": WHEN}
                    connection.execute(insert(ratings).values(row))
                wait_until(partial(has_counted, client, 1 if user == 1 else 2))
            assert post(client, 3, D) == 201
            assert client.get("/health").json()["status"] == "ok"
            assert client.get("/recommendations/1").headers["x-model-version"] == "1"
        finally:
            reader.execute("ROLLBACK")
            waiting.join(60)
        assert recommendation_engine.main(["--force"]) == 0
        wait_until(lambda: client.get("/recommendations/1").headers["x-model-version"] == "2")
