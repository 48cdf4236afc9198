"""Headers of an answer, and cached answers: version and age of the model, the same bytes, never another model's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import Response
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from starlette.types import Receive, Scope, Send

import api
from recommender.live import LiveModel
from recommender.model import ServedModel
from recommender.service.middleware.answer_cache import LET_GO, OVERHEAD, AnswerCache, CachedAnswer
from recommender.service.model_headers import etag_of, is_known
from tests.support.changed_model import renewed
from tests.support.shop import fill

A, B, C, D, E = (f"B00000000{letter}" for letter in "ABCDE")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}}
LIST, SIMILAR = "/recommendations/1", f"/products/{A}/similar"
PATHS = [LIST, f"{LIST}?limit=2", f"{LIST}?ranking=taste", "/recommendations/4", SIMILAR, f"{SIMILAR}?limit=1"]
PATHS += [f"/products/{A}", "/popular?category_id=1", f"{LIST}?explain=true&offset=1&diversity=2"]


@pytest.fixture
def backend() -> str:
    """These tests do not depend on the database."""
    return "sqlite"


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    fill(engine, STARS, [A, B, C, D, E])
    with TestClient(api.create_app(), raise_server_exceptions=False) as client:
        yield client


def app_of(client: TestClient) -> api.RecommendationApp:
    assert isinstance(client.app, api.RecommendationApp)
    return client.app


def model_of(client: TestClient) -> LiveModel:
    model = app_of(client).layer.model
    assert model is not None
    return model


@pytest.mark.parametrize("path", PATHS)
def test_a_cached_answer_has_the_bytes_and_headers_of_a_computed_one(client: TestClient, path: str) -> None:
    layer = app_of(client).layer
    layer.answers.capacity = 0
    computed = [client.get(path) for _ in range(2)]
    assert len(layer.answers) == 0
    layer.answers.capacity = 1_000_000
    first, kept = client.get(path), client.get(path)
    assert len(layer.answers) == 1
    layer.fast_path = None
    layer.answers.clear()
    by_the_framework = client.get(path)
    answers = [*computed, first, kept, by_the_framework]
    assert {answer.content for answer in answers} == {kept.content}
    without_times = [
        {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "x-model-age")}
        for answer in answers
    ]
    assert all(headers == without_times[0] for headers in without_times)
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_a_cached_answer_is_not_computed_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    before = client.get(LIST)
    monkeypatch.setattr("recommender.model.served_model.ServedModel.select", lambda *_: 1 / 0)
    assert client.get(LIST).content == before.content
    assert client.head(LIST).headers["content-length"] == str(len(before.content))
    assert client.get("/recommendations/2").status_code == 500


def test_a_new_model_never_gives_an_answer_of_the_old_model(client: TestClient) -> None:
    old = client.get(LIST)
    model = model_of(client)
    app_of(client).state.model = renewed(model, version=7, products=_renamed(model))
    new = client.get(LIST)
    assert "Renamed" in new.text
    assert new.headers["etag"] != old.headers["etag"]
    assert new.headers["x-model-version"] == "7"
    app_of(client).state.model = model
    again = client.get(LIST)
    assert again.content == old.content
    assert again.headers["x-model-version"] == "none"


def test_an_answer_of_a_model_that_was_just_replaced_is_not_cached(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = model_of(client)
    new, real = renewed(old, products=_renamed(old)), ServedModel.select

    def select(*arguments: Any, **options: Any) -> Any:
        app_of(client).state.model = new
        app_of(client).layer.answers.get(new, ("/recommendations/2", b""))  # as another request does meanwhile
        return real(*arguments, **options)

    monkeypatch.setattr("recommender.model.served_model.ServedModel.select", select)
    assert "Renamed" not in client.get(LIST).text
    assert "Renamed" in client.get(LIST).text


def _renamed(model: ServedModel) -> Any:
    import pyarrow as pa

    products = renewed(model).changes.model.products
    titles = pa.array([f"Renamed {n}" for n in range(len(products.catalog))])
    return replace(products, catalog=replace(products.catalog, titles=titles))


@pytest.mark.parametrize("path", PATHS)
def test_headers_tell_version_and_age_of_the_model(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["x-model-version"] == "none"
    assert 0 <= int(answer.headers["x-model-age"]) <= 60
    built = datetime.now(UTC) - timedelta(hours=2)
    app_of(client).state.model = renewed(model_of(client), version=12, built_at=built)
    for _ in range(2):
        answer = client.get(path)
        assert answer.headers["x-model-version"] == "12"
        assert 7_200 <= int(answer.headers["x-model-age"]) <= 7_260


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "computed"])
def test_a_client_that_has_the_answer_gets_304_without_a_body(client: TestClient, path: str, kept: bool) -> None:
    app_of(client).layer.answers.capacity = 1_000_000 if kept else 0
    full = client.get(path)
    etag = full.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    for tags in (etag, f"W/{etag}", f'"other", {etag}', f'W/"a,b",W/{etag} , "c"', "*"):
        answer = client.get(path, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content) == (304, b""), tags
        assert answer.headers["etag"] == etag
        assert "x-model-age" in answer.headers
        assert not {"content-type", "content-length"} & set(answer.headers)
    two_lines = [("If-None-Match", etag), ("If-None-Match", '"other"')]
    assert client.get(path, headers=two_lines).status_code == 304
    assert client.head(path, headers={"If-None-Match": etag}).status_code == 304
    for tags in ('"other"', etag.strip('"'), etag[:-1], f'"x{etag[1:]}', "", f"*{etag[:-1]}"):
        answer = client.get(path, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content) == (200, full.content), tags


def test_other_answers_have_no_tag_and_no_304(client: TestClient) -> None:
    for path, status in (("/health", 200), ("/recommendations/99", 404), ("/recommendations/x", 422)):
        answer = client.get(path, headers={"If-None-Match": "*"})
        assert answer.status_code == status
        assert not {"etag", "x-model-version", "x-recommendation-source"} & set(answer.headers)


def test_equal_bodies_have_equal_tags_and_different_bodies_different_tags() -> None:
    assert etag_of(b"a") == etag_of(b"a") != etag_of(b"b")
    assert not is_known(b"", etag_of(b"a"))


@pytest.mark.parametrize("path", ["/recommendations/1%3Flimit=2", "/recommendations/1%2F", "/recommendations/"])
def test_a_path_that_only_resembles_a_cached_one_is_not_answered_from_the_cache(client: TestClient, path: str) -> None:
    client.get(f"{LIST}?limit=2")
    client.get(LIST)
    assert client.get(path, follow_redirects=False).status_code in (404, 422)


def test_an_answer_that_must_not_be_cached_is_not_cached(client: TestClient) -> None:
    app = app_of(client)
    calls, lists = [], app.layer.fast_path

    async def secretly(scope: Scope, receive: Receive, send: Send) -> None:
        calls.append(1)
        scope["route"] = lists
        await Response(b"{}", headers={"Cache-Control": "private, no-store"})(scope, receive, send)

    app.layer._app, app.layer.fast_path = secretly, None
    assert [client.get(LIST).content for _ in range(2)] == [b"{}", b"{}"]
    assert len(calls) == 2


def test_the_cache_stays_within_its_bytes_and_drops_the_least_recent_answer_first(client: TestClient) -> None:
    model, answers = model_of(client), AnswerCache(3 * (OVERHEAD + 10))
    answer = CachedAnswer("/x", None, b'""', bytes(10), (), ())
    keys = [(f"/{number}", b"") for number in range(4)]
    assert answers.get(model, keys[0]) is None
    for key in (*keys[:3], keys[0]):  # once more: the same bytes are not counted twice
        answers.keep(model, key, answer)
    assert len(answers) == 3
    assert answers.get(model, keys[1]) is answer
    answers.keep(model, keys[3], answer)
    assert [answers.get(model, key) is not None for key in keys] == [True, True, False, True]
    answers.keep(model, ("/large", b""), answer._replace(body=bytes(4 * OVERHEAD)))
    answers.keep(model, ("/long", b"x" * 1_000), answer)
    answers.keep(renewed(model), ("/other-model", b""), answer)
    assert len(answers) == 3
    assert answers.get(renewed(model), keys[1]) is None
    assert len(answers) == 0


def test_answers_of_many_users_never_take_more_memory_than_the_setting_allows(client: TestClient) -> None:
    answers = app_of(client).layer.answers
    answers.capacity = 2 * OVERHEAD + 1_600
    for limit in range(1, 40):
        assert client.get(f"{LIST}?limit={limit}").status_code == 200
        assert answers._kept.currsize <= answers.capacity
    assert len(answers) >= 1


def test_the_answers_of_an_earlier_model_are_dropped_a_few_at_a_time(client: TestClient) -> None:
    answers = AnswerCache(10_000_000)
    old = model_of(client)
    new = renewed(old)
    answer = CachedAnswer("route", None, b"tag", b"body", (), ())
    answers.get(old, ("/", b""))
    for n in range(100):
        answers.keep(old, (f"/{n}", b""), answer)
    assert answers.get(new, ("/5", b"")) is None
    assert (len(answers), sum(map(len, answers._before))) == (0, 100)
    asked = 0
    while answers._before:
        assert answers.get(new, ("/5", b"")) is None
        asked += 1
        assert sum(map(len, answers._before)) == max(100 - LET_GO * asked, 0)
    assert asked == -(-100 // LET_GO)


def test_the_setting_turns_the_cache_off(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert app_of(client).layer.answers.capacity == 64_000_000
    monkeypatch.setenv("ANSWER_CACHE_MB", "0")
    with TestClient(api.create_app()) as without:
        assert [without.get(LIST).status_code for _ in range(2)] == [200, 200]
        assert len(app_of(without).layer.answers) == 0


def test_the_headers_are_documented(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    common = {"X-Model-Version", "X-Model-Age", "ETag"}
    lists = {"X-Recommendation-Source", "X-Recommendation-Sources"}
    none: set[str] = set()
    for path, more in (
        ("/recommendations/{user_id}", lists),
        (SIMILAR, none),
        (f"/products/{A}", none),
        ("/popular", none),
    ):
        template = path.replace(A, "{product_id}")
        responses = document["paths"][template]["get"]["responses"]
        assert set(responses["200"]["headers"]) == common | more
        assert set(responses["304"]["headers"]) == common


def test_the_shortcut_takes_the_requests_that_the_framework_would_route_to_lists(client: TestClient) -> None:
    fast_path = app_of(client).layer.fast_path
    assert fast_path is not None
    for path, taken in ((LIST, True), ("/recommendations/", False), ("/recommendations/1/2", False), (SIMILAR, False)):
        assert fast_path.takes({"method": "GET", "path": path}) is taken
    assert not fast_path.takes({"method": "POST", "path": LIST})
    assert not fast_path.takes({"method": "GET", "path": LIST, "root_path": "/shop"})
