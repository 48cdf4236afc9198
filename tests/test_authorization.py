"""Who may do what: every route there is, without a key configured, without one, with a wrong and with a right one.

A new route makes these tests red until it has its line in ROUTES.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from starlette.routing import Route

import api
from tests.shop import fill

A, B = "B00000000A", "B00000000B"
KEY, SECOND = "the-first-key-of-the-shop", "the-second-key-of-the-shop"
HEADER = "X-API-Key"


class Case(NamedTuple):
    """A request that a route answers with ``status`` to whoever may ask."""

    path: str
    needs_key: bool = False
    status: int = 200
    body: Any = None


# method and template of each route -> a request to it
ROUTES: dict[tuple[str, str], Case] = {
    ("GET", "/recommendations/{user_id}"): Case("/recommendations/1?explain=true"),
    ("POST", "/recommendations/batch"): Case("/recommendations/batch", body={"user_ids": [1]}),
    ("GET", "/products/{product_id}/similar"): Case(f"/products/{A}/similar"),
    ("GET", "/products/{product_id}"): Case(f"/products/{A}"),
    ("GET", "/popular"): Case("/popular"),
    ("GET", "/users/{user_id}/neighbors"): Case("/users/1/neighbors", needs_key=True),
    ("GET", "/users/{user_id}/ratings"): Case("/users/1/ratings", needs_key=True),
    ("GET", "/recommendations/batch"): Case("/recommendations/batch", status=405),  # no user of that name
    ("POST", "/recommendations"): Case("/recommendations", body={"ratings": [{"product_id": A}]}),
    ("POST", "/ratings"): Case("/ratings", True, 201, {"user_id": 3, "product_id": A, "rating": 4.5}),
    ("POST", "/interactions"): Case(
        "/interactions", True, 201, {"user_id": 3, "product_id": A, "interaction_type": "view"}
    ),
    ("DELETE", "/users/{user_id}/ratings/{product_id}"): Case(f"/users/2/ratings/{A}", True, 204),
    ("DELETE", "/users/{user_id}"): Case("/users/2", True, 204),
    ("GET", "/health"): Case("/health"),
    ("GET", "/live"): Case("/live"),
    ("GET", "/ready"): Case("/ready"),
    ("GET", "/metrics"): Case("/metrics"),
    ("GET", "/openapi.json"): Case("/openapi.json"),
    ("GET", "/docs"): Case("/docs"),
    ("GET", "/docs/swagger-ui-bundle.js"): Case("/docs/swagger-ui-bundle.js"),
    ("GET", "/docs/swagger-ui.css"): Case("/docs/swagger-ui.css"),
}
# the framework answers HEAD for its own pages, ours for those that are read
ROUTES |= {("HEAD", template): case for (method, template), case in ROUTES.items() if method == "GET"}
CASES = [pytest.param(method, case, id=f"{method} {template}") for (method, template), case in ROUTES.items()]
CLOSED = [case for case in CASES if case.values[1].needs_key]  # type: ignore[union-attr]


@pytest.fixture
def backend() -> str:
    """Keys have nothing to do with the database."""
    return "sqlite"


@pytest.fixture
def environment(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(engine, {1: {A: 5.0}, 2: {A: 5.0, B: 4.0}}, [A, B])
    for name, value in env.items():
        monkeypatch.setenv(name, value)


@contextmanager
def service(monkeypatch: pytest.MonkeyPatch, keys: str) -> Iterator[TestClient]:
    monkeypatch.setenv("API_KEY", keys)
    with TestClient(api.create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def open_service(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Nobody configured a key."""
    with service(monkeypatch, "") as client:
        yield client


@pytest.fixture
def keyed_service(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with service(monkeypatch, f"{KEY}, {SECOND}") as client:
        yield client


def ask(client: TestClient, method: str, case: Case, *given: str) -> Any:
    return client.request(method, case.path, json=case.body, headers=[(HEADER, key) for key in given])


def all_routes(routes: Iterable[object]) -> Iterator[Route]:
    for route in routes:
        if isinstance(route, Route):
            yield route
        else:  # a router that was included, and nothing else: of what is mounted nobody here would know
            yield from all_routes(route.original_router.routes)  # type: ignore[attr-defined]


def test_every_route_has_its_line_here() -> None:
    app = api.create_app()
    assert {(method, route.path) for route in all_routes(app.routes) for method in route.methods or ()} == set(ROUTES)
    documented = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    assert documented <= set(ROUTES)


@pytest.mark.parametrize(("method", "case"), CASES)
def test_without_a_configured_key_what_needs_one_is_closed_and_says_how_to_open_it(
    open_service: TestClient, method: str, case: Case
) -> None:
    for given in ([], [KEY], [""]):
        answer = ask(open_service, method, case, *given)
        assert answer.status_code == (403 if case.needs_key else case.status)
        if case.needs_key:
            assert answer.headers["content-type"] == "application/problem+json"
            assert method == "HEAD" or "set API_KEY" in answer.json()["detail"]


@pytest.mark.parametrize(("method", "case"), CASES)
def test_with_a_configured_key_what_needs_one_opens_to_a_right_one_alone(
    keyed_service: TestClient, method: str, case: Case
) -> None:
    wrong = ["", "x", KEY[:-1], KEY + "x", KEY.upper(), f"{KEY}, {SECOND}", f"{KEY},", f"Bearer {KEY}", "None"]
    for given in [[], *([key] for key in wrong), [KEY, "x"], ["x", KEY], [KEY, KEY]]:
        answer = ask(keyed_service, method, case, *given)
        assert answer.status_code == (401 if case.needs_key else case.status), given
        if case.needs_key:
            assert answer.headers["content-type"] == "application/problem+json"
            assert re.match(r"ApiKey ", answer.headers["www-authenticate"])
            assert method == "HEAD" or HEADER in answer.json()["detail"]
    for key in (KEY, SECOND):
        status = ask(keyed_service, method, case, key).status_code
        assert status == case.status or (method == "DELETE" and key == SECOND and status == 404)  # there no more


@pytest.mark.parametrize(("method", "case"), CLOSED)
def test_a_key_in_the_query_or_in_another_header_opens_nothing(
    keyed_service: TestClient, method: str, case: Case
) -> None:
    for query, headers in (
        (f"?X-API-Key={KEY}&api_key={KEY}", {}),
        ("", {"Authorization": f"Bearer {KEY}"}),
        ("", {"Cookie": f"{HEADER}={KEY}"}),
    ):
        answer = keyed_service.request(method, case.path + query, json=case.body, headers=headers)
        assert answer.status_code == 401


@pytest.mark.parametrize(("method", "case"), CLOSED)
def test_a_stranger_learns_nothing_from_how_it_is_refused(keyed_service: TestClient, method: str, case: Case) -> None:
    known = ask(keyed_service, method, case)
    for other in ("/users/999", "/users/x"):
        unknown = ask(keyed_service, method, case._replace(path=case.path.replace("/users/1", other)))
        assert (unknown.status_code, unknown.content) == (known.status_code, known.content)


def test_no_key_is_ever_shown(keyed_service: TestClient, capfd: pytest.CaptureFixture[str]) -> None:
    seen = []
    for method, template in ROUTES:
        for key in (KEY, "x" + KEY):
            answer = ask(keyed_service, method, ROUTES[method, template], key)
            seen.append(answer.text + str(answer.headers))
    keyed_service.app.observation.log.flush()  # type: ignore[attr-defined]
    written = capfd.readouterr()
    assert "/users/{user_id}/ratings" in written.out  # the log is there
    for text in (*seen, written.out, written.err, keyed_service.get("/metrics").text):
        assert KEY not in text
        assert SECOND not in text


def test_closed_routes_are_documented_as_such(keyed_service: TestClient) -> None:
    document = keyed_service.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"ApiKey": {"type": "apiKey", "in": "header", "name": HEADER}}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            closed = ROUTES[method.upper(), path].needs_key
            assert ("security" in operation) is closed
            assert ({"401", "403"} <= set(operation["responses"])) is closed
