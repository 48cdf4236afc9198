"""Lists for many users by one request: each equals the single list, unknown ids are separate, others do not wait."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from time import perf_counter
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

import api
from recommender.live import LiveModel, UserRecord
from recommender.model import Answer, ServedModel
from recommender.service.routes import batch as batch_routes
from recommender.service.state import BATCHES_AT_A_TIME
from tests.conftest import BACKENDS
from tests.support.changed_model import renewed
from tests.support.service import read_only_service
from tests.support.shop import fill, product_row

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 2**63 - 1: {D: 4.0}}
PATH = "/recommendations/batch"


def stock(engine: Engine) -> None:
    fill(engine, STARS, [product_row(A, title="Ångström 🍵"), product_row(B, title=None), C, D])


@pytest.fixture(scope="module", params=BACKENDS)
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service on the shop that the tests only read."""
    with read_only_service(request.param, tmp_path_factory.mktemp("shop"), request, stock) as client:
        yield client


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    stock(engine)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("more", [{}, {"limit": 2}, {"ranking": "taste"}, {"limit": 1, "ranking": "classic"}])
def test_each_list_of_a_batch_equals_the_list_of_that_user(reading: TestClient, more: dict[str, Any]) -> None:
    ids = [3, 2**63 - 1, 4711, 1, 99, 2]
    answer = reading.post(PATH, json={"user_ids": ids, **more})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-model-version"] == "none"
    assert int(answer.headers["x-model-age"]) < 60
    query = "&".join(f"{name}={value}" for name, value in more.items())
    known = [user for user in ids if user in STARS]
    assert answer.json() == {
        "results": [reading.get(f"/recommendations/{user}?{query}").json() for user in known],
        "unknown": [4711, 99],
    }


def test_a_thousand_of_the_longest_ids_fit(reading: TestClient) -> None:
    ids = [2**63 - 1 - n for n in range(1_000)]
    answer = reading.post(PATH, json={"user_ids": ids}).json()
    assert [one["user_id"] for one in answer["results"]] == ids[:1]
    assert answer["unknown"] == ids[1:]


IDS = "must be a list of 1 to 1000 ids"
NOT_AUTO = "ranking auto is not in this model: make it with RANKING=auto"
ONE = f"must hold whole numbers from 0 to {2**63 - 1}"


NO_LISTS: list[tuple[Any, str]] = [
    ([], "a list of 0"),
    (list(range(1, 1_002)), "a list of 1001"),
    (1, "1"),
    ("12", "12"),
]
NO_LISTS += [(None, "null"), ({"1": 1}, "{...}")]
NO_IDS: list[tuple[Any, str]] = [(-1, "-1"), (True, "true"), (1.5, "1.5"), ("1", "1"), (None, "null")]
NO_IDS += [([1], "[...]"), (2**63, str(2**63))]


@pytest.mark.parametrize(
    ("ids", "value", "message"),
    [
        *((ids, value, IDS) for ids, value in NO_LISTS),
        *(([1, wrong], value, ONE) for wrong, value in NO_IDS),
        ([3, 1, 2, 1], "1", "must hold each id once"),
    ],
)
def test_a_body_without_a_valid_list_of_ids_is_refused(reading: TestClient, ids: Any, value: str, message: str) -> None:
    answer = reading.post(PATH, json={"user_ids": ids})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"] == [{"parameter": "user_ids", "value": value, "message": message}]


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (PATH, "user_ids", "\ud800"),
        ("/recommendations", "ratings", "\ud800"),
        ("/recommendations", "ratings", ["\ud800"]),
    ],
)
def test_half_a_surrogate_pair_in_place_of_a_list_is_refused(
    reading: TestClient, path: str, field: str, value: Any
) -> None:
    answer = reading.post(path, content=json.dumps({field: value}))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["value"] == "?"


def test_all_faults_are_named_up_to_a_readable_number(reading: TestClient) -> None:
    answer = reading.post(PATH, json={"user_ids": [-1] * 1_000, "limit": 101, "ranking": "best"})
    named = [error["parameter"] for error in answer.json()["errors"]]
    assert named == ["user_ids"] * 10 + ["limit", "ranking"]
    assert reading.post(PATH, json={"user_ids": [1], "n": 3}).json()["errors"][0]["parameter"] == "n"
    assert reading.post(PATH, json={"limit": 3}).json()["errors"][0]["message"] == "is missing"
    for body in ("", "x", "[1]", '{"user_ids": [NaN]}', '{"user_ids": [1], "user_ids": [2]}', "[" * 60_000):
        assert reading.post(PATH, content=body).status_code == 422
    refused = reading.post(PATH, json={"user_ids": [1], "ranking": "auto"})
    assert (refused.status_code, refused.json()["detail"]) == (409, NOT_AUTO)
    assert reading.post(PATH, content=b'{"user_ids": [' + b"1" * 66_000 + b"]}").status_code == 413


def test_batch_is_a_post_route_and_no_user_id(reading: TestClient) -> None:
    refused = reading.get(PATH)
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert reading.put(PATH, json={"user_ids": [1]}).status_code == 405


def test_others_do_not_wait_for_a_batch_and_all_its_lists_come_from_one_model(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each list takes 3 ms, so 200 lists would keep others waiting for 0.6 s.

    Halfway a newer model is served, right after a change that no answer has shown yet.
    """
    app, slow, asked = client.app, 0.003, list[LiveModel]()
    assert isinstance(app, api.RecommendationApp)
    select = ServedModel.select

    def slowly(self: LiveModel, *of: Any) -> Answer:
        until = perf_counter() + slow
        while perf_counter() < until:
            pass
        asked.append(self)
        return select(self, *of)

    monkeypatch.setattr(ServedModel, "select", slowly)
    assert app.state.model is not None
    app.state.model = renewed(app.state.model, version=1)
    first = app.state.model

    async def both() -> tuple[httpx2.Response, list[float]]:
        waits = []
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://shop") as asking:
            batch = asyncio.ensure_future(asking.post(PATH, json={"user_ids": list(range(1, 201)), "limit": 1}))
            await asyncio.sleep(0)
            while not batch.done():
                started = perf_counter()
                assert (await asking.get("/live")).status_code == 200
                await asyncio.sleep(0)
                waits.append(perf_counter() - started)
                record = UserRecord(1, ((A.encode(), 1 + len(waits) % 10, 0),))
                assert app.state.model is not None
                app.state.model = app.state.model.after([record], {})
                if len(asked) > 100 and app.state.model.version == 1:
                    app.state.model = renewed(app.state.model, version=2)
            return await batch, waits

    answer, waits = asyncio.run(both())
    assert answer.status_code == 200
    assert len(answer.json()["results"]) + len(answer.json()["unknown"]) == 200
    assert len(waits) > 10
    assert app.state.model.version == 2
    assert all(model is first for model in asked)
    assert answer.headers["x-model-version"] == "1"


@pytest.mark.parametrize(
    ("path", "body"), [(PATH, {"user_ids": [1]}), ("/recommendations", {"ratings": [{"product_id": A}]})]
)
def test_a_batch_names_the_model_that_made_its_lists(client: TestClient, path: str, body: dict[str, Any]) -> None:
    app = client.app
    assert isinstance(app, api.RecommendationApp)
    assert app.state.model is not None
    app.state.model = renewed(app.state.model, version=1)

    async def pieces() -> AsyncIterator[bytes]:
        assert app.state.model is not None
        assert app.state.model.version == 1
        yield b" "
        app.state.model = renewed(app.state.model, version=2)
        yield json.dumps(body).encode()

    async def post() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://shop") as asking:
            return await asking.post(path, content=pieces())

    answer = asyncio.run(post())
    assert (answer.status_code, answer.headers["x-model-version"]) == (200, "2")
    assert "etag" not in answer.headers


def test_two_batches_are_computed_at_a_time(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise all 50 would hold their lists until the end."""
    app, counted, pair = client.app, threading.Lock(), threading.Barrier(2)
    answered, computing, most = batch_routes._answer, 0, 0

    def watched(*of: Any) -> Any:
        nonlocal computing, most
        with counted:
            computing += 1
            most = max(most, computing)
        pair.wait(60)
        try:
            return answered(*of)
        finally:
            with counted:
                computing -= 1

    monkeypatch.setattr(batch_routes, "_answer", watched)

    async def all_at_once() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://shop") as asking:
            return await asyncio.gather(*[asking.post(PATH, json={"user_ids": [1, 2, 3]}) for _ in range(50)])

    assert {answer.status_code for answer in asyncio.run(all_at_once())} == {200}
    assert most == BATCHES_AT_A_TIME == 2


def test_the_documented_example_equals_the_real_answer(reading: TestClient) -> None:
    document = reading.get("/openapi.json").json()
    operation = document["paths"][PATH]["post"]
    sent = operation["requestBody"]["content"]["application/json"]["example"]
    shape = operation["responses"]["200"]["content"]["application/json"]["example"]
    answer = reading.post(PATH, content=json.dumps(sent | {"user_ids": [1, 4711]})).json()
    assert list(answer) == list(shape)
    assert list(answer["results"][0]["recommendations"][0]) == list(shape["results"][0]["recommendations"][0])
