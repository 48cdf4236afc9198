"""Seven seconds of load, an outage and new versions, on two shops whose user ids are texts, both on one server.

One shop has ratings from 1 to 10, the other interactions alone. Every answer is checked. Every acknowledged write must
be stored under the person's own text. At the end each answer must equal that of a newly started service.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Table, insert, select

import api
import recommendation_engine
from recommender.database import connected, writing
from recommender.database.schema import INTERACTION_TYPES, interactions, metadata, ratings, user_id_map
from recommender.settings import load_settings
from tests.conftest import require_mariadb
from tests.steps.test_soak import MARGIN, Load, asin, first_stored, until
from tests.support.mariadb_server import MariaDBServer
from tests.support.service import fetch, uvicorn, wait_until
from tests.support.shop import WHEN, fill

N_USERS, N_PRODUCTS, N_NEW = 150, 120, 10
KILLED_AT, BACK_AT, VERSION_AT, SECONDS = 1.5, 2.8, 5.0, 7.0
TENS = {"DB_NAME": "tens", "RATING_MIN": "1", "RATING_MAX": "10", "RATING_STEP": "1", "RANKING": "classic"}
ALONE = {"DB_NAME": "alone", "RATING_MIN": "", "RATING_MAX": "", "RATING_STEP": "", "RANKING": "taste"}


def name_of(number: int) -> str:
    """A text id, in another order than the numbers, with what has to be escaped in a path."""
    return f"{'éZa🍵'[number % 4]}/{-number}%2F"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MariaDBServer]:
    require_mariadb()
    server = MariaDBServer(tmp_path)
    server.start()
    env = {"DB_HOST": server.host, "DB_PORT": str(server.port), "DB_USER": server.user, "DB_PASSWORD": server.password}
    for name, value in (env | {"DB_SSL_CA": "", "MODEL_FILE": ""}).items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()


@dataclass
class Shop:
    """A shop, its service, the load on it, and what must be stored."""

    env: dict[str, str]
    rows: Counter[tuple[str, str, Any]] = field(default_factory=Counter)  # acknowledged interactions
    stars: dict[tuple[str, str], float] = field(default_factory=dict)  # acknowledged ratings
    unsure: set[tuple[str, str]] = field(default_factory=set)  # 503 or no answer: may be stored or not
    port: int = 0

    def stock(self, patch: pytest.MonkeyPatch) -> None:
        """Fill its database and make the first version."""
        draw, log = random.Random(3), []
        stars = {
            user: {asin(product): float(draw.randint(1, 10)) for product in draw.sample(range(N_PRODUCTS), 8)}
            for user in range(1, N_USERS + 1)
        }
        self.turn_to(patch)
        with connected(load_settings(), create=True) as engine:
            metadata.create_all(engine)
            with writing(engine) as connection:
                connection.exec_driver_sql("ALTER TABLE product_ratings MODIFY rating DECIMAL(2,0) NOT NULL")
            fill(engine, stars if self.env is TENS else {user: {} for user in stars}, map(asin, range(N_PRODUCTS)))
            log = [
                {"user_id": user, "product_id": product, "interaction_type": INTERACTION_TYPES[user % 4]}
                for user, theirs in stars.items()
                for product in theirs
            ]
            with writing(engine) as connection:
                connection.execute(
                    insert(user_id_map), [{"user_id": user, "external_id": name_of(user)} for user in stars]
                )
                if self.env is ALONE:
                    connection.execute(insert(interactions), [row | {"created_at": WHEN} for row in log])
        self.make_version(patch)

    def turn_to(self, patch: pytest.MonkeyPatch) -> None:
        for name, value in self.env.items():
            patch.setenv(name, value)

    def make_version(self, patch: pytest.MonkeyPatch) -> None:
        self.turn_to(patch)
        assert recommendation_engine.main(["--force"]) == 0

    def read(self, load: Load) -> None:
        draw, allowed = random.Random(1), {None} if self.env is ALONE else None
        while not load.stop.is_set():
            name = name_of(draw.randint(1, N_USERS))
            status, _, body = fetch(self.port, path_of(name))
            load.check(status == 200 and body["user_id"] == name, f"{status} for {name}: {body}")
            if status == 200:
                listed = body["recommendations"]
                load.check(len({item["product_id"] for item in listed}) == 10, f"{name} got {listed}")
                given = {item["predicted_rating"] for item in listed}
                right = given == allowed if allowed else all(1 <= stars <= 10 for stars in given)
                load.check(right, f"{name} got the stars {given}")
            load.n_answers += 1

    def write(self, load: Load) -> None:
        """Rate or turn to products, also as people who are new."""
        draw = random.Random(2)
        while not load.stop.is_set():
            who, product = name_of(draw.randint(1, N_USERS + N_NEW)), asin(draw.randrange(N_PRODUCTS))
            what = draw.choice(INTERACTION_TYPES) if self.env is ALONE else draw.randint(1, 10)
            path, key = ("/interactions", "interaction_type") if self.env is ALONE else ("/ratings", "rating")
            status, _, body = fetch(self.port, path, {"user_id": who, "product_id": product, key: what})
            if status == 201:
                self.rows[who, product, what] += 1
                load.stored_at = load.age()
                self.stars[who, product] = float(what) if self.env is TENS else 0.0
                self.unsure.discard((who, product))
            else:
                load.check(status == 503, f"{status} for {who}, {product}, {what}: {body}")
                load.refused.append(load.age())
                self.unsure.add((who, product))
                time.sleep(0.05)

    def lost(self) -> list[Any]:
        """What was acknowledged and is not stored under the person's text."""
        if self.env is ALONE:
            return list((self.rows - Counter(stored(interactions, "interaction_type"))).items())[:5]
        kept = {(name, product): float(stars) for name, product, stars in stored(ratings, "rating")}
        wrong = {key for key, stars in self.stars.items() if kept.get(key) != stars}
        return sorted(wrong - self.unsure)[:5]


def stored(table: Table, column: str) -> list[tuple[str, str, Any]]:
    """The rows of a table, by the texts of its users."""
    named = table.join(user_id_map, user_id_map.c.user_id == table.c.user_id)
    columns = user_id_map.c.external_id, table.c.product_id, table.c[column]
    with connected(load_settings()) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).select_from(named))]


def serves(port: int, version: int) -> bool:
    return bool(fetch(port, "/health")[2]["model_version"] == version)


def path_of(name: str) -> str:
    return f"/recommendations/{quote(name, safe='')}"


def test_shops_of_texts_survive_load_an_outage_and_new_versions(
    server: MariaDBServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shops = [Shop(TENS), Shop(ALONE)]
    logs = [tmp_path / f"{shop.env['DB_NAME']}.log" for shop in shops]
    with ExitStack() as stack:
        for shop, log in zip(shops, logs, strict=True):
            shop.stock(monkeypatch)
            shop.port, _ = stack.enter_context(uvicorn(shop.env, log, is_patient=True))
        loads = [Load(shop.port) for shop in shops]
        threads = [
            threading.Thread(target=work, args=(load,))
            for shop, load in zip(shops, loads, strict=True)
            for work in (shop.read, shop.write)
        ]
        for thread in threads:
            thread.start()
        until(loads[0], KILLED_AT)
        killed_at = loads[0].age()
        server.stop(signal.SIGKILL)
        until(loads[0], BACK_AT)
        server.start()
        back_at = max(first_stored(load) for load in loads)
        until(loads[0], VERSION_AT)
        for shop in shops:
            shop.make_version(monkeypatch)
        until(loads[0], SECONDS)
        wait_until(lambda: all(load.n_answers > 100 for load in loads) and all(len(shop.rows) > 20 for shop in shops))
        for load in loads:
            load.stop.set()
        for thread in threads:
            thread.join(60)
        for shop, load in zip(shops, loads, strict=True):
            assert not load.wrong, load.wrong[:5]
            assert not [at for at in load.refused if not killed_at <= at <= back_at + MARGIN]
            shop.make_version(monkeypatch)  # with all that was written
            assert not shop.lost(), "acknowledged and lost"
            wait_until(partial(serves, shop.port, 3))
            with TestClient(api.create_app()) as new:
                for user in [*range(1, N_USERS, 5), *range(N_USERS + 1, N_USERS + N_NEW + 1)]:
                    served = fetch(shop.port, path_of(name_of(user)))[2]
                    assert served == new.get(path_of(name_of(user))).json()
    assert not [log for log in logs if "Traceback" in log.read_text()]
