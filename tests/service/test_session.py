"""Sessions: which cookies open them, until when, and what a cookie reveals."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select

import api
from recommender.database.schema import sign_outs
from recommender.errors import DatabaseError
from recommender.service import session
from recommender.service.api_keys import ApiKeys
from recommender.service.session import COOKIE, LIFETIME, Session, Sessions
from tests.support.shop import fill, product_row

KEY, OTHER = "the-first-key-of-the-shop", "the-second-key-of-the-shop"
NOW = 1_800_000_000.0


def begun(keys: str = KEY, key: str = KEY) -> tuple[Sessions, str]:
    sessions = Sessions(ApiKeys(keys))
    cookie = sessions.begin(key, NOW)
    assert cookie is not None
    return sessions, cookie


def test_only_a_right_key_begins_a_session() -> None:
    sessions = Sessions(ApiKeys(f"{KEY},{OTHER}"))
    assert [sessions.begin(key, NOW) for key in ("", "x", KEY[:-1], f"{KEY},{OTHER}", KEY.upper())] == [None] * 5
    assert sessions.begin(f" {OTHER}\n", NOW) is not None  # as it is pasted
    assert Sessions().begin("", NOW) is None


def test_a_session_holds_until_its_end_on_every_worker_with_the_key() -> None:
    _, cookie = begun()
    worker = Sessions(ApiKeys(f"{OTHER},{KEY}"))
    found = worker.read(cookie, NOW + LIFETIME - 1)
    assert found is not None
    assert found.ends == NOW + LIFETIME
    assert worker.read(cookie, NOW + LIFETIME) is None


def test_a_key_that_is_no_longer_there_takes_its_sessions_with_it() -> None:
    _, cookie = begun()
    assert Sessions(ApiKeys(OTHER)).read(cookie, NOW) is None
    assert Sessions().read(cookie, NOW) is None


def test_no_changed_cookie_is_accepted() -> None:
    sessions, cookie = begun()
    end, nonce, mac = cookie.split(".")
    later = str(int(end) + 1)
    flipped = ("0" if mac[0] != "0" else "1") + mac[1:]
    changed = [f"{later}.{nonce}.{mac}", f"{end}.{nonce[::-1]}.{mac}", f"{end}.{nonce}.{flipped}", f"{end}.{nonce}."]
    changed += [cookie + "0", cookie.upper(), f" {cookie}", "", "..", f"{end}.{nonce}", "é" * 107]
    assert [sessions.read(one, NOW) for one in changed] == [None] * len(changed)
    assert sessions.read(cookie, NOW) is not None


def test_a_session_that_was_ended_stays_ended_and_others_go_on() -> None:
    sessions, cookie = begun()
    other = sessions.begin(KEY, NOW)
    found = sessions.read(cookie, NOW)
    assert found is not None
    assert other is not None
    sessions.end(found, NOW)
    assert sessions.read(cookie, NOW) is None
    assert sessions.read(other, NOW) is not None


def test_a_cookie_holds_neither_the_key_nor_a_plain_hash_of_it() -> None:
    _, cookie = begun()
    end, nonce, mac = cookie.split(".")
    assert KEY not in cookie
    assert mac != hmac.digest(KEY.encode(), f"{end}.{nonce}".encode(), "sha256").hex()
    assert mac != hashlib.sha256(f"{KEY}{end}.{nonce}".encode()).hexdigest()


def test_the_token_of_a_form_is_that_of_its_session_alone() -> None:
    sessions, cookie = begun()
    again = sessions.begin(KEY, NOW)
    assert again is not None
    first, second = sessions.read(cookie, NOW), sessions.read(again, NOW)
    assert first is not None
    assert second is not None
    assert first.form_token != second.form_token
    assert first.form_token not in cookie


@pytest.fixture
def workers(
    engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[TestClient, TestClient]]:
    """Two workers on one database."""
    fill(engine, {1: {"B000000001": 5.0}}, [product_row("B000000001")])
    for name, value in (env | {"API_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with TestClient(api.create_app()) as first, TestClient(api.create_app()) as second:
        yield first, second


def signed_in(worker: TestClient) -> tuple[dict[str, str], str]:
    """Return the header of a new session, and the token of its forms."""
    cookie = worker.post("/sign-in", data={"key": KEY}, follow_redirects=False).cookies[COOKIE]
    worker.cookies.clear()
    header = {"Cookie": f"{COOKIE}={cookie}"}
    return header, re.findall(r'name="form_token" value="(\w+)"', worker.get("/", headers=header).text)[0]


def test_a_session_that_was_ended_on_one_worker_is_ended_on_all(
    workers: tuple[TestClient, TestClient], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOOK", 0.0)
    first, second = workers
    (copied, token), (other, _) = signed_in(first), signed_in(second)
    for one in workers:
        assert one.get("/shoppers/1", headers=copied).status_code == 200
    ended = first.post("/sign-out", data={"form_token": token}, headers=copied, follow_redirects=False)
    assert ended.status_code == 303
    for one in workers:
        for path in ("/shoppers/1", "/json/users/1/ratings"):
            assert one.get(path, headers=copied).status_code == 401
            assert one.get(path, headers=other).status_code == 200
    with engine.connect() as connection:
        (row,) = connection.execute(select(sign_outs)).all()
    assert row.nonce == copied["Cookie"].split(".")[1]
    assert 0 < row.ends - time.time() <= LIFETIME


def test_the_notes_of_sessions_that_are_over_are_deleted(engine: Engine) -> None:
    for ends, now in ((100, 50), (200, 99), (200, 99), (300, 150)):
        session._note(engine, Session(ends, f"{ends:032}", ""), now)
    assert session._noted(engine, 150) == {f"{ends:032}": ends for ends in (200, 300)}
    assert session._noted(engine, 200) == {f"{300:032}": 300}


def test_workers_look_once_a_second_and_only_for_somebody_with_a_cookie(
    workers: tuple[TestClient, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = list[float]()

    def noted(_engine: Engine, now: float) -> dict[str, int]:
        looks.append(now)
        return {}

    monkeypatch.setattr(session, "_noted", noted)
    first, _ = workers
    for _ in range(3):
        assert first.get("/").status_code == 200
    assert looks == []
    for _ in range(3):
        first.get("/", headers={"Cookie": f"{COOKIE}=x"})
    assert len(looks) == 1


def test_signing_out_while_the_database_is_away_says_that_other_workers_do_not_know_it(
    workers: tuple[TestClient, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = workers
    copied, token = signed_in(first)

    async def away(_job: object) -> None:
        raise DatabaseError("the database is away")

    monkeypatch.setattr(first.app.state.updater, "read", away)  # type: ignore[attr-defined]
    answer = first.post("/sign-out", data={"form_token": token}, headers=copied)
    assert answer.status_code == 503
    assert "You are signed out in this browser. The database does not answer" in answer.text
    assert f'{COOKIE}=""' in answer.headers["set-cookie"]
    assert first.get("/shoppers/1", headers=copied).status_code == 401
    assert second.get("/shoppers/1", headers=copied).status_code == 200
