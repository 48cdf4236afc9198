"""Nobody gets another person's list while step 2 replaces the people: of a real worker that is asked all the time."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

import load_recommendation_data as step2
from recommender.commands import shop_import
from recommender.database import INTERVAL, TEXT, WAIT, announced, is_announced, token_of
from recommender.errors import DatabaseError, WriteConflictError
from recommender.settings import Settings
from recommender.updates import Served
from recommender.updates.people_watch import PeopleWatch
from tests.conftest import ROOT
from tests.support.deadlines import PATIENT
from tests.support.service import fetch, uvicorn, wait_until
from tests.support.shop import fill

ASINS = [f"B{n:09d}" for n in range(6)]
OLD = {"1": {ASINS[0]: 5, ASINS[1]: 4}, "2": {ASINS[0]: 5, ASINS[2]: 5}, "3": {ASINS[0]: 4, ASINS[5]: 5}}
NEW = {"1": {ASINS[3]: 5, ASINS[2]: 2}, "cem": {ASINS[3]: 5, ASINS[4]: 5}, "eve": {ASINS[3]: 5, ASINS[1]: 1}}
Answer = tuple[int, list[str]]


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A catalog with the old people, and the environment of the steps."""
    fill(engine, {}, ASINS)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    load(engine, OLD)
    return engine


def load(engine: Engine, people: dict[str, dict[str, int]]) -> None:
    rows = [f"{who},{product},{stars}" for who, given in people.items() for product, stars in given.items()]
    Path("mine.csv").write_text("\n".join(["user_id,product_id,rating", *rows, ""]), encoding="utf-8")
    user_ids = TEXT if people.keys() > {"cem"} else None  # 1 is somebody among these, too
    step2.import_ratings(engine, Path("mine.csv"), replace=True, user_ids=user_ids)


def asked(connection: http.client.HTTPConnection) -> Answer:
    """Return status and products of the list of user 1."""
    connection.request("GET", "/recommendations/1")
    answer = connection.getresponse()
    body = json.loads(answer.read())
    return answer.status, [item["product_id"] for item in body.get("recommendations", [])]


def is_swapped(engine: Engine, before: str | None) -> bool:
    with suppress(DatabaseError, WriteConflictError):  # at the moment of the swap
        return token_of(engine) != before
    return False


@contextmanager
def asked_all_the_time(port: int, engine: Engine) -> Iterator[list[tuple[bool, Answer]]]:
    """Ask for the list of user 1 again and again; give the answers, each with whether the swap was seen before it."""
    seen, before, ended = list[tuple[bool, Answer]](), token_of(engine), threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not ended.is_set():
            swapped = is_swapped(engine, before)
            seen.append((swapped, asked(connection)))
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def answer_of(port: int) -> Answer:
    status, _, body = fetch(port, "/recommendations/1")
    return status, [item["product_id"] for item in body.get("recommendations", [])]


@pytest.fixture
def worker(shop: Engine, env: dict[str, str], tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with uvicorn(env, tmp_path / "worker.log", is_patient=True) as running:
        yield running


def test_no_list_of_the_old_people_after_the_swap(shop: Engine, worker: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, _ = worker
    old = answer_of(port)
    with asked_all_the_time(port, shop) as seen:
        load(shop, NEW)
        wait_until(lambda: seen[-1][1][0] == 200 and seen[-1][1] != old)
    new = seen[-1][1]
    assert {status for status, _ in (old, new)} == {200}
    assert (True, old) not in seen, f"{seen.count((True, old))} lists of the old person 1"
    assert all(answer in (new, (503, [])) for swapped, answer in seen if swapped)
    assert (False, (503, [])) in seen, "closed before the swap"
    assert "other_people" not in fetch(port, "/health")[2]


def importing(*, wait: float = 600, silent: float = 600) -> subprocess.Popen[bytes]:
    """Start step 2 with the new people, which waits so long after the announcement."""
    code = f"""
import sys
from recommender.database import announcement
announcement.WAIT, announcement._SILENT = {wait}, {silent}
import load_recommendation_data
sys.exit(load_recommendation_data.main(["--ratings", "mine.csv", "--replace", "--user-ids", "text"]))
"""
    rows = [f"{who},{product},{stars}" for who, given in NEW.items() for product, stars in given.items()]
    Path("mine.csv").write_text("\n".join(["user_id,product_id,rating", *rows, ""]), encoding="utf-8")
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_a_killed_import_closes_and_the_service_goes_on_by_itself(
    shop: Engine, worker: tuple[int, subprocess.Popen[bytes]]
) -> None:
    port, _ = worker
    old, token = answer_of(port), token_of(shop)
    step = importing()
    try:
        wait_until(lambda: answer_of(port)[0] == 503)
        status, _, problem = fetch(port, "/users/1/ratings")
        assert (status, "is about to mean somebody else" in problem["detail"]) == (503, True)
        health = fetch(port, "/health")[2]
        assert (health["status"], health["other_people"]) == ("degraded", True)
        assert health["reason"] == "step 2 is replacing the people: the user_ids are about to mean others"
        assert fetch(port, "/popular")[0] == 200
        rating = {"user_id": 1, "product_id": ASINS[5], "rating": 5}
        assert fetch(port, "/ratings", rating, "POST")[0] == 503
    finally:
        step.kill()
        step.wait()
    wait_until(lambda: answer_of(port)[0] == 200)
    assert (answer_of(port), token_of(shop)) == (old, token)
    assert fetch(port, "/health")[2]["status"] == "ok"
    load(shop, NEW)
    assert token_of(shop) != token


@pytest.mark.parametrize("backend", ["mariadb"], indirect=True)
def test_an_import_that_the_server_lost_swaps_nothing(
    shop: Engine, worker: tuple[int, subprocess.Popen[bytes]]
) -> None:
    port, _ = worker
    old, token = answer_of(port), token_of(shop)
    step = importing(wait=6, silent=3)  # it is silent for longer than the server bears
    try:
        wait_until(lambda: answer_of(port)[0] == 503)
        wait_until(lambda: answer_of(port)[0] == 200)
        assert step.wait(60) == 1
    finally:
        step.kill()
        step.wait()
    assert (answer_of(port), token_of(shop)) == (old, token)


def stop_between_looks(server: subprocess.Popen[bytes], engine: Engine) -> None:
    """Stop a worker while it has no transaction that a swap would wait for."""

    def is_idle() -> bool:
        server.send_signal(signal.SIGSTOP)
        if engine.dialect.name == "sqlite":
            return True
        with engine.connect() as connection:
            if not connection.execute(text("SELECT COUNT(*) FROM information_schema.innodb_trx")).scalar():
                return True
        server.send_signal(signal.SIGCONT)
        return False

    wait_until(is_idle)


def test_a_worker_that_stood_still_meanwhile_asks_before_it_answers(
    shop: Engine, worker: tuple[int, subprocess.Popen[bytes]]
) -> None:
    port, server = worker
    old = answer_of(port)
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(5)]
    for connection in connections:
        assert asked(connection) == old
    stop_between_looks(server, shop)
    try:
        load(shop, NEW)
        for connection in connections:
            connection.request("GET", "/recommendations/1")
    finally:
        server.send_signal(signal.SIGCONT)
    for connection in connections:
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert (answer.status, [item["product_id"] for item in body.get("recommendations", [])]) != old
        connection.close()
    wait_until(lambda: answer_of(port)[0] == 200)


def test_only_people_in_the_place_of_others_are_announced(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings]
) -> None:
    fill(engine, {}, ASINS)
    monkeypatch.chdir(tmp_path)
    told: list[str | None] = []

    @contextmanager
    def noting(connection: object) -> Iterator[None]:
        told.append(token_of(engine))
        yield

    monkeypatch.setattr(shop_import, "announced", noting)
    made_up = make_settings(NUM_USERS=5, NUM_RATINGS=20, NUM_INTERACTIONS=5)
    step2.generate(engine, made_up, seed=1, replace=False)
    step2.generate(engine, made_up, seed=2, replace=False)
    assert told == [], "the first people, then others who are made up as well"
    first = token_of(engine)
    load(engine, OLD)
    second = token_of(engine)
    load(engine, {"1": OLD["1"], "2": OLD["3"]})
    assert told == [first], "whole numbers mean the same people in the next file"
    load(engine, NEW)
    third = token_of(engine)
    load(engine, NEW | {"zoe": NEW["1"]})
    assert told == [first, second], "known names keep their numbers"
    step2.generate(engine, made_up, seed=1, replace=True)
    assert told == [first, second, third]


def test_an_announcement_is_seen_until_its_end_also_after_an_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recommender.database.announcement.WAIT", 0)
    refused = pytest.raises(WriteConflictError, match="holds the lock of an announcement")
    with engine.connect() as mine, engine.connect() as other:
        assert not is_announced(other)
        with suppress(KeyboardInterrupt), announced(mine):
            assert is_announced(other)
            with refused, announced(other):
                pass
            raise KeyboardInterrupt
        assert not is_announced(other)


def test_the_wait_is_two_questions_long() -> None:
    assert 2 * INTERVAL <= WAIT <= 1


def test_a_request_waits_for_a_late_answer_but_not_for_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = Served(people="1-a", due=0.0)
    watch = PeopleWatch(state, lambda: (_ for _ in ()).throw(DatabaseError("away")), known_up=True)

    async def late() -> None:
        waiting = asyncio.ensure_future(watch.people_known())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        state.due = time.perf_counter() + PATIENT
        await waiting

    asyncio.run(late())
    assert state.due < inf
    state.due = 0.0
    monkeypatch.setattr("recommender.updates.people_watch.MOST_BEHIND", 0.01)
    asyncio.run(watch.people_known())
    assert state.due == inf
    state.due = 0.0
    assert not watch._ask()
    assert (state.due, state.people) == (inf, "1-a"), "answers from memory, of the people who were read last"
    watch.close()
