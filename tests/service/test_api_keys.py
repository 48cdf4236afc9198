"""API keys as a setting: which are accepted, which are refused at the start, and that none is ever shown."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

import api
from recommender.errors import SettingError
from recommender.service import ApiKeys
from recommender.settings import load_settings
from tests.support.shop import fill

KEY, OTHER = "first-key-of-the-shop", "second, no comma".replace(",", "") + " key"


@pytest.fixture
def backend() -> str:
    """Keys do not depend on the database."""
    return "sqlite"


def test_keys_are_split_at_commas_and_trimmed_and_empty_ones_ignored() -> None:
    keys = ApiKeys(f" {KEY} ,, {OTHER},")
    assert [keys.accept(given.encode()) for given in (KEY, OTHER)] == [True, True]
    wrong = ["", ",", KEY[:-1], KEY + "x", KEY.upper(), f" {KEY}", f"{KEY} ,, {OTHER}", "é", "\0"]
    assert not any(keys.accept(given.encode()) for given in wrong)
    assert not any(ApiKeys(text) for text in ("", " ", ",", " , ,\t"))
    assert not ApiKeys("").accept(b"")


def test_a_key_that_is_not_ascii_is_compared_as_utf_8() -> None:
    assert ApiKeys("schlüssel-der-bäckerei").accept("schlüssel-der-bäckerei".encode())


@pytest.mark.parametrize("text", ["tooshort", f"{KEY},fifteen-letters", "\x00" * 20, "two\nlines of a key"])
def test_an_unusable_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(SettingError) as refused:
        ApiKeys(text)
    said = str(refused.value)
    assert "API_KEY" in said
    assert "openssl rand" in said
    assert "\n" not in said
    assert not any(part.strip() in said for part in text.split(","))


def test_every_key_is_compared_by_compare_digest_also_after_a_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def watched(given: bytes, key: bytes) -> bool:
        compared.append(key)
        return hmac_compare(given, key)

    hmac_compare = hmac.compare_digest
    keys = ApiKeys(f"{KEY},{OTHER}")
    monkeypatch.setattr("recommender.service.api_keys.hmac.compare_digest", watched)
    for given in (KEY, OTHER, "x"):
        compared.clear()
        keys.accept(given.encode())
        assert compared == [KEY.encode(), OTHER.encode()]


def test_a_key_is_in_no_repr(tmp_path: Path) -> None:
    settings = load_settings(environ={"API_KEY": KEY}, env_file=tmp_path / "none")
    assert settings.api_key == KEY
    assert KEY not in repr(settings) + repr(ApiKeys(KEY)) + str(vars(ApiKeys))


def test_a_service_with_a_short_key_does_not_start_and_says_why(
    engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, {1: {"B00000000A": 5.0}}, ["B00000000A"])
    for name, value in (env | {"API_KEY": "sesame"}).items():
        monkeypatch.setenv(name, value)
    app = api.create_app()
    with pytest.raises(SettingError), TestClient(app):
        pass
    assert app.state.refused.startswith("API_KEY: the key has 6 characters")
    assert "sesame" not in app.state.refused
