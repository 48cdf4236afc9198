"""Sessions: which cookies open them, until when, and what a cookie reveals."""

from __future__ import annotations

import hashlib
import hmac

from recommender.service.api_keys import ApiKeys
from recommender.service.session import LIFETIME, Sessions

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
    session = sessions.read(cookie, NOW)
    assert session is not None
    assert other is not None
    sessions.end(session, NOW)
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
