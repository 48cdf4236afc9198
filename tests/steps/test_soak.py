"""Half a minute at full load, with writes, a database that is killed and comes back, and a newer version in the middle.

Meanwhile others make a bulk change, write a rating of 4.3, keep a transaction with a rating and an interaction open for
12 s, and hold a reader of `recommendations` while a version is published. Every answer is checked. Every acknowledged
write must be stored. At the end each answer must equal that of a newly started service on the same tables.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json
import random
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, case, func, insert, select, update

import api
import recommendation_engine
from recommender.database import OVERLAP, connect, connected
from recommender.database.schema import interactions, ratings, recommendations
from recommender.settings import load_settings
from tests.conftest import require_mariadb
from tests.support.mariadb_server import MariaDBServer
from tests.support.service import WITH_KEY, fetch, uvicorn, wait_until
from tests.support.shop import fill

SECONDS, KILLED_AT, BACK_AT, VERSION_AT = 35.0, 6.0, 10.0, 19.0
BULK_AT, LONG_AT, READER = 13.0, 18.5, 4.0  # the reader and the transaction begin just before the version
LONG = OVERLAP + 2.0  # the service has read beyond its rows when they become visible
MARGIN = 4.0  # writes may be refused for these seconds around the outage and after the bulk change
LATE_USER, LATE_PRODUCT = 10_000, 0  # of the long transaction
BULK_FROM = 200  # the bulk change changes ratings of users from here on; the load writes users below
N_USERS, N_PRODUCTS, READERS = 400, 300, 3
GROWTH = 20e6  # bytes


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MariaDBServer]:
    require_mariadb()
    server = MariaDBServer(tmp_path)
    server.start()
    for name, value in (server.environment("shop") | {"MODEL_FILE": ""}).items():
        monkeypatch.setenv(name, value)
    draw = random.Random(3)
    stars = {
        user: {asin(product): draw.randint(1, 10) / 2 for product in draw.sample(range(N_PRODUCTS), 8)}
        for user in range(1, N_USERS + 1)
    }
    engine = connect(load_settings(), create=True)
    fill(engine, stars, [asin(product) for product in range(N_PRODUCTS)])
    engine.dispose()
    yield server
    server.stop()


def asin(number: int) -> str:
    return f"B{number:09d}"


class Load:
    """Threads that ask and write until told to stop, and the faults that they saw."""

    def __init__(self, port: int) -> None:
        self.port, self.started, self.stop = port, time.monotonic(), threading.Event()
        self.wrong: list[str] = []
        self.refused: list[float] = []  # the times of writes
        self.stored_at = 0.0  # the time of the last write
        self.acknowledged: dict[tuple[int, str], float] = {}
        self.unsure: set[tuple[int, str]] = set()  # 503 or no answer: may be stored or not
        self.n_answers = 0
        self.bulk_ended = 0.0  # the time
        self.others = 0  # how many of the others' acts are done
        self.taken_over = threading.Event()  # the service serves the newer version

    def age(self) -> float:
        return time.monotonic() - self.started

    def check(self, what: bool, message: str) -> None:
        if not what:
            self.wrong.append(f"{self.age():.1f} s: {message}")

    def read(self, seed: int) -> None:
        draw, line = random.Random(seed), http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.stop.is_set():
            user, ranking = draw.randint(1, N_USERS), draw.choice(["classic", "taste"])
            line.request("GET", f"/recommendations/{user}?ranking={ranking}")
            answer = line.getresponse()
            body = json.loads(answer.read())
            self.check(answer.status == 200, f"{answer.status} for user {user}: {body}")
            if answer.status == 200:
                products = [item["product_id"] for item in body["recommendations"]]
                self.check(len(set(products)) == 10 and body["user_id"] == user, f"user {user} got {products}")
            self.n_answers += 1
        line.close()

    def write(self) -> None:
        draw, line = random.Random(99), http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = WITH_KEY | {"Content-Type": "application/json"}
        while not self.stop.is_set():
            user, product, stars = (
                draw.randint(1, BULK_FROM - 1),
                asin(draw.randrange(N_PRODUCTS)),
                draw.randint(1, 10) / 2,
            )
            line.request(
                "POST", "/ratings", json.dumps({"user_id": user, "product_id": product, "rating": stars}), headers
            )
            answer = line.getresponse()
            text = answer.read().decode()
            if answer.status == 201:
                self.acknowledged[user, product] = stars
                self.stored_at = self.age()
                self.unsure.discard((user, product))
                line.request("GET", f"/recommendations/{user}?limit=100")
                seen = line.getresponse().read().decode()
                self.check(f'"{product}"' not in seen, f"user {user} is offered {product}, rated before")
            else:
                self.check(answer.status == 503 and answer.headers["Retry-After"] == "1", f"{answer.status}: {text}")
                self.refused.append(self.age())
                self.unsure.add((user, product))
                time.sleep(0.05)
        line.close()


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


def is_well(port: int) -> bool:
    return bool(fetch(port, "/health")[2]["status"] == "ok")


def first_stored(load: Load) -> float:
    """Wait until a write is stored; return the time."""
    now = load.age()
    wait_until(lambda: load.stored_at > now)
    return load.age()


def until(load: Load, age: float) -> None:
    time.sleep(max(0.0, age - load.age()))


def test_a_service_survives_half_a_minute_of_full_load_and_every_event(server: MariaDBServer, tmp_path: Path) -> None:
    assert recommendation_engine.main(["--force"]) == 0
    with uvicorn({}, tmp_path / "service.log", is_patient=True) as (port, process):
        load = Load(port)
        threads = [threading.Thread(target=load.read, args=(seed,)) for seed in range(READERS)]
        threads.append(threading.Thread(target=load.write))
        for thread in threads:
            thread.start()
        until(load, KILLED_AT - 2.0)
        early = resident(process.pid)
        until(load, KILLED_AT)
        killed_at = load.age()
        server.stop(signal.SIGKILL)
        until(load, BACK_AT)
        server.start()
        back_at = first_stored(load)
        until(load, BULK_AT)
        bulk_at = load.age()
        others = [threading.Thread(target=run, args=(load,)) for run in (change_in_bulk, transact_for_long)]
        for thread in others:
            thread.start()
        until(load, VERSION_AT)
        others.append(threading.Thread(target=read_for_long, args=(load,)))
        others[-1].start()
        time.sleep(0.5)
        assert recommendation_engine.main(["--force"]) == 0
        wait_until(lambda: fetch(port, "/health")[2]["model_version"] == 2)
        load.taken_over.set()
        for thread in others:
            thread.join(60)
        until(load, SECONDS)
        wait_until(lambda: load.n_answers > 1_000)
        wait_until(partial(is_well, port))
        health = fetch(port, "/health")[2]
        load.check(health["rows_left_out"] == {"product_ratings.rating": 1}, f"{health}")
        late = resident(process.pid)
        load.stop.set()
        for thread in threads:
            thread.join(60)
        assert not load.wrong, load.wrong[:5]
        assert load.others == 3, "what others do did not go through"
        assert fetch(port, "/recommendations/1")[1]["x-model-version"] == "2"
        spans = [(killed_at, back_at + MARGIN), (bulk_at, load.bulk_ended + MARGIN)]
        outside = [at for at in load.refused if not any(start <= at <= end for start, end in spans)]
        assert not outside, f"writes were refused at {outside[:5]}"
        assert late - early < GROWTH, f"memory grew from {early / 1e6:.0f} to {late / 1e6:.0f} MB"
        same_as_a_new_service(port, load)
    assert "Traceback" not in (tmp_path / "service.log").read_text()


def change_in_bulk(load: Load) -> None:
    """Change the ratings of half of the people in one statement, and one rating to no half step."""
    with connected(load_settings()) as engine, engine.begin() as connection:
        stars = case((ratings.c.rating > 2.5, ratings.c.rating - 1), else_=ratings.c.rating + 1)
        connection.execute(update(ratings).where(ratings.c.user_id >= BULK_FROM).values(rating=stars))
        odd = {"user_id": BULK_FROM, "product_id": asin(N_PRODUCTS), "rating": 4.3}  # the column lets this in
        connection.execute(insert(ratings).values(odd | {"created_at": dt.datetime(2024, 1, 1)}))
    load.bulk_ended = load.age()
    load.others += 1


def transact_for_long(load: Load) -> None:
    """Write a rating and an interaction that become visible after 12 s."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    mine = {"user_id": LATE_USER, "product_id": asin(LATE_PRODUCT)}
    until(load, LONG_AT)
    with connected(load_settings()) as engine, engine.begin() as connection:
        connection.execute(insert(ratings).values(mine | {"rating": 5.0, "created_at": now}))
        event = {"interaction_type": "purchase", "created_at": now}
        connection.execute(
            insert(interactions).values(mine | {"user_id": 1} | event)
        )  # each has to be found separately
        until(load, LONG_AT + LONG)
        assert load.taken_over.wait(60)  # the newer model does not contain it
    load.others += 1


def read_for_long(load: Load) -> None:
    """Read the lists and keep the transaction open for a while, as a report does."""
    with connected(load_settings()) as engine, engine.connect() as connection, connection.begin():
        connection.execute(select(func.count()).select_from(recommendations))
        until(load, VERSION_AT + READER)
    load.others += 1


def same_as_a_new_service(port: int, load: Load) -> None:
    engine: Engine = connect(load_settings())
    with engine.connect() as connection:
        rows = connection.execute(select(ratings.c.user_id, ratings.c.product_id, ratings.c.rating)).all()
    stored = {(user, product): float(rating) for user, product, rating in rows}
    engine.dispose()
    lost = {key for key, stars in load.acknowledged.items() if stored.get(key) != stars and key not in load.unsure}
    assert not lost, f"acknowledged and lost: {sorted(lost)[:5]}"
    with TestClient(api.create_app()) as new:
        for user in (*range(1, N_USERS + 1, 3), LATE_USER):
            path = f"/recommendations/{user}?ranking=classic"
            wanted: Any = new.get(path).json()
            wait_until(partial(answers, port, path, wanted))


def answers(port: int, path: str, wanted: Any) -> bool:
    return bool(fetch(port, path)[2] == wanted)
