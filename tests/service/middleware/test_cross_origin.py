"""Pages of other origins: only named ones may call."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

import api
from recommender.errors import SettingError
from tests.support.shop import fill

A, SHOP, OTHER = "B00000000A", "https://shop.example.com", "https://evil.example.com"
Start = Callable[[str], TestClient]


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def start(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Start:
    fill(engine, {1: {A: 5.0}}, [A])
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    def client(origins: str) -> TestClient:
        monkeypatch.setenv("CORS_ORIGINS", origins)
        return TestClient(api.create_app())

    return client


def test_no_origin_may_call_by_default(start: Start) -> None:
    with start("") as client:
        answer = client.get("/recommendations/1", headers={"Origin": SHOP})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_only_a_named_origin_may_call_also_for_a_cached_answer(start: Start) -> None:
    with start(f"{SHOP}, https://two.example.com") as client:
        for _ in range(2):
            answer = client.get("/recommendations/1", headers={"Origin": SHOP})
            assert answer.headers["access-control-allow-origin"] == SHOP
            assert "X-Model-Version" in answer.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in answer.headers
        other = client.get("/recommendations/1", headers={"Origin": OTHER})
        assert "access-control-allow-origin" not in other.headers
        asked = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "X-API-Key"}
        assert client.options("/users/1", headers={"Origin": SHOP, **asked}).status_code == 200
        assert client.options("/users/1", headers={"Origin": OTHER, **asked}).status_code == 400


def test_a_preflight_has_a_request_id_and_is_counted_and_logged_as_any_request(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "X-API-Key"}
    with start(SHOP) as client:
        named = client.options("/users/1", headers={"Origin": SHOP, "X-Request-ID": "mine-1", **asked})
        assert (named.status_code, named.headers["x-request-id"]) == (200, "mine-1")
        assert named.headers["access-control-allow-origin"] == SHOP
        refused = client.options("/users/1", headers={"Origin": OTHER, **asked})
        assert (refused.status_code, len(refused.headers["x-request-id"]) > 16) == (400, True)
        assert (
            client.options("/users/1", headers={"Origin": SHOP}).status_code == 405
        )  # without a requested method it is no preflight
        metrics = client.get("/metrics").text
    for status in (200, 400, 405):
        assert f'recommender_requests_total{{route="other",status="{status}"}} 1.0' in metrics
    logged = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    assert [(line["method"], line["route"], line["status"]) for line in logged[:3]] == [
        ("OPTIONS", "other", 200),
        ("OPTIONS", "other", 400),
        ("OPTIONS", "other", 405),
    ]
    assert [line["request_id"] for line in logged[:2]] == ["mine-1", refused.headers["x-request-id"]]


def test_a_preflight_needs_no_key_with_all_required_and_a_refusal_can_be_read(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_KEY", "all")
    monkeypatch.setenv("API_KEY", "a-key-for-the-pages")
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "X-API-Key"}
    with start(SHOP) as client:
        assert client.options("/recommendations/1", headers={"Origin": SHOP, **asked}).status_code == 200
        assert client.options("/recommendations/1", headers={"Origin": SHOP}).status_code == 401
        refused = client.get("/recommendations/1", headers={"Origin": SHOP})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, SHOP)
        with_key = client.get("/recommendations/1", headers={"Origin": SHOP, "X-API-Key": "a-key-for-the-pages"})
        assert (with_key.status_code, with_key.headers["access-control-allow-origin"]) == (200, SHOP)


@pytest.mark.parametrize("origins", ["shop.example.com", "https://shop.example.com/", "null", "https://a b"])
def test_a_setting_that_is_no_origin_is_refused_at_the_start(start: Start, origins: str) -> None:
    with pytest.raises(SettingError, match="CORS_ORIGINS"), start(origins):
        pass
