"""Slow answers are made on another thread, and equal those made on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from starlette.types import Message

import api
from recommender.errors import OtherPeopleError
from recommender.live import LiveModel
from recommender.model import ServedModel, allowed_products
from recommender.service import beside
from recommender.service.state import ServiceState
from tests.service.test_api import CATALOG, STARS
from tests.support.changed_model import renewed
from tests.support.shop import fill, product_row

QUERIES = ("min_price=5", "max_price=30&ranking=taste", "category_id=1&diversity=1", "exclude=B00000000A&limit=2")
BASKET = {"ratings": [{"product_id": "B00000000A"}]}


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    fill(engine, STARS, [*CATALOG, product_row("B00000000F")])
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app()) as client:
        yield client


def answers(client: TestClient) -> list[Any]:
    found = []
    for query in QUERIES:
        found += [client.get(f"/recommendations/{user}?{query}") for user in (1, 2, 77)]
        found.append(client.post(f"/recommendations?{query}", json=BASKET))
        found.append(client.get(f"/popular?{query.replace('&ranking=taste', '')}"))
    return [(answer.status_code, answer.json()) for answer in found]


def test_a_filter_of_a_large_catalog_is_made_once_on_another_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(client)
    app = client.app
    assert isinstance(app, api.RecommendationApp)
    assert app.state.model is not None
    app.state.model = renewed(app.state.model)  # without filters and answers
    threads: list[int] = []

    def noted(*given: Any) -> Any:
        threads.append(threading.get_ident())
        return allowed_products(*given)

    monkeypatch.setattr(beside, "LARGE", 1)
    monkeypatch.setattr("recommender.live.live_model.allowed_products", noted)
    assert answers(client) == expected
    assert len(threads) == len(QUERIES)
    assert client.portal is not None
    assert client.portal.call(threading.get_ident) not in threads


@pytest.mark.parametrize("query", ["limit=100&offset=101", "limit=21&explain=true", "offset=191&diversity=1"])
def test_a_page_far_down_and_many_explanations_are_made_on_another_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    threads: list[int] = []
    select = ServedModel.select

    def noted(self: ServedModel, *given: Any) -> Any:
        threads.append(threading.get_ident())
        return select(self, *given)

    monkeypatch.setattr(ServedModel, "select", noted)
    assert client.portal is not None
    loop = client.portal.call(threading.get_ident)
    assert client.get(f"/recommendations/1?{query}").status_code == 200
    assert client.get("/recommendations/2?limit=20&offset=180").status_code == 200
    assert client.get("/recommendations/2?limit=20&explain=true").status_code == 200
    assert [thread == loop for thread in threads] == [False, True, True]


def test_a_slow_answer_comes_from_the_model_that_was_asked_and_is_not_cached_for_a_newer_one(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, app = "/recommendations/1?offset=201&limit=9", client.app
    assert isinstance(app, api.RecommendationApp)
    assert app.state.model is not None
    app.state.model = renewed(app.state.model, version=1)
    select = ServedModel.select

    def meanwhile(self: ServedModel, *given: Any) -> Any:
        answer = select(self, *given)
        monkeypatch.setattr(ServedModel, "select", select)
        assert isinstance(self, LiveModel)
        app.state.model = renewed(self, version=2)
        return answer

    monkeypatch.setattr(ServedModel, "select", meanwhile)
    versions = [client.get(path).headers["x-model-version"] for _ in range(3)]
    assert versions == ["1", "2", "2"]


def request(path: str, state: ServiceState, *, gone: bool = False) -> Request:
    async def receive() -> Message:
        if not gone:
            await asyncio.sleep(20)
        return {"type": "http.disconnect"}

    app = SimpleNamespace(state=state)
    return Request({"type": "http", "method": "GET", "path": path, "headers": [], "app": app}, receive)


def test_slow_requests_wait_their_turn_and_too_many_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "MOST_WAITING", 2)
    begun, go_on, running, most = threading.Event(), threading.Event(), 0, 0

    def make() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        begun.set()
        assert go_on.wait(60)
        running -= 1
        return "made"

    async def three() -> list[Any]:
        turns, state, model = beside.Turns(1), ServiceState(), cast("ServedModel", None)
        first = [asyncio.ensure_future(turns.make(request("/popular", state), model, make)) for _ in range(2)]
        while not begun.is_set():
            await asyncio.sleep(0.01)
        with pytest.raises(HTTPException) as refused:
            await turns.make(request("/popular", state), model, make)
        go_on.set()
        answers = [await answer for answer in first]
        return [refused.value.status_code, *answers, await turns.make(request("/popular", state), model, make)]

    assert asyncio.run(three()) == [503, "made", "made", "made"]
    assert most == 1


def test_nothing_is_made_for_a_caller_who_has_gone_or_for_other_people(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, api.RecommendationApp)
    model, state, made = app.state.model, replace(app.state, people="another token"), list[str]()
    assert model is not None

    async def ask() -> None:
        turns = beside.Turns(1)
        with pytest.raises(HTTPException) as gone:
            await turns.make(request("/popular", state, gone=True), model, lambda: made.append("gone"))
        assert gone.value.status_code == 400
        with pytest.raises(OtherPeopleError):
            await turns.make(request("/recommendations/1", state), model, lambda: made.append("others"))
        await turns.make(request("/popular", state), model, lambda: made.append("of nobody"))

    asyncio.run(ask())
    assert made == ["of nobody"]
