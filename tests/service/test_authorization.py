"""Access to every route: with no key configured, and with a missing, a wrong and a right key in the request.

REQUIRE_KEY is people and all. A new route makes these tests red until it has its line in ROUTES.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from starlette.routing import Route

import api
from recommender.errors import SettingError
from recommender.service.session import COOKIE
from tests.support.service import read_only_service
from tests.support.shop import fill

A, B = "B00000000A", "B00000000B"
KEY, SECOND = "the-first-key-of-the-shop", "the-second-key-of-the-shop"
HEADER = "X-API-Key"


class Case(NamedTuple):
    """A request that a route answers with ``status`` if access is allowed."""

    path: str
    needs_key: bool = False
    status: int = 200
    body: Any = None
    always_open: bool = False  # with REQUIRE_KEY=all
    cached: str | None = None  # Cache-Control of the answer to a request without a key; None: no such header


# method and template of each route -> a request to it
ROUTES: dict[tuple[str, str], Case] = {
    ("GET", "/recommendations/{user_id}"): Case("/recommendations/1?explain=true", cached="private"),
    ("GET", "/recommendations"): Case("/recommendations?user_id=1&explain=true", cached="private"),
    ("GET", "/neighbors"): Case("/neighbors?user_id=1", needs_key=True),
    ("GET", "/ratings"): Case("/ratings?user_id=1", needs_key=True),
    ("DELETE", "/ratings/{product_id}"): Case(f"/ratings/{B}?user_id=2", True, 204),
    ("DELETE", "/users"): Case("/users?user_id=2", True, 204),
    ("POST", "/recommendations/batch"): Case("/recommendations/batch", body={"user_ids": [1]}, cached="private"),
    ("GET", "/products/{product_id}/similar"): Case(f"/products/{A}/similar"),
    ("GET", "/products/{product_id}/figures"): Case(f"/products/{A}/figures", cached="private, no-store"),
    ("GET", "/figures"): Case(f"/figures?product_id={A}", cached="private, no-store"),
    ("POST", "/what-if"): Case(
        "/what-if?user_id=1", needs_key=True, body={"ratings": [{"product_id": B, "rating": 4}]}
    ),
    ("GET", "/products/{product_id}"): Case(f"/products/{A}"),
    ("GET", "/similar"): Case(f"/similar?product_id={A}"),
    ("GET", "/products"): Case(f"/products?product_id={A}"),
    ("GET", "/popular"): Case("/popular"),
    ("GET", "/titles"): Case("/titles?title=e"),
    ("GET", "/users"): Case("/users?kind=heavy", needs_key=True),
    ("POST", "/users/{user_id}/what-if"): Case(
        "/users/1/what-if", needs_key=True, body={"ratings": [{"product_id": B, "rating": 4}]}
    ),
    ("GET", "/users/{user_id}/neighbors"): Case("/users/1/neighbors", needs_key=True),
    ("GET", "/users/{user_id}/ratings"): Case("/users/1/ratings", needs_key=True),
    ("GET", "/recommendations/batch"): Case(
        "/recommendations/batch", status=405, cached="private, no-store"
    ),  # the path is no user_id
    ("POST", "/recommendations"): Case("/recommendations", body={"ratings": [{"product_id": A}]}, cached="private"),
    ("POST", "/ratings"): Case("/ratings", True, 201, {"user_id": 3, "product_id": A, "rating": 4.5}),
    ("POST", "/interactions"): Case(
        "/interactions", True, 201, {"user_id": 3, "product_id": A, "interaction_type": "view"}
    ),
    ("DELETE", "/users/{user_id}/ratings/{product_id}"): Case(f"/users/2/ratings/{A}", True, 204),
    ("DELETE", "/rating"): Case(f"/rating?user_id=2&product_id={A}", True, 204),
    ("DELETE", "/users/{user_id}"): Case("/users/2", True, 204),
    ("GET", "/health"): Case("/health", always_open=True),
    ("GET", "/live"): Case("/live", always_open=True),
    ("GET", "/ready"): Case("/ready", always_open=True),
    ("GET", "/metrics"): Case("/metrics"),
    ("GET", "/overview.json"): Case("/overview.json"),
    ("GET", "/versions.json"): Case("/versions.json"),
    # no version of this shop is published, so there is no map
    ("GET", "/map.json"): Case("/map.json", status=404, cached="private, no-store"),
    ("GET", "/map/shopper"): Case("/map/shopper?user_id=1", needs_key=True, status=404),
    ("GET", "/map/points/{point}"): Case("/map/points/0", needs_key=True, status=404),
    ("GET", "/map/points"): Case("/map/points", needs_key=True, status=404),
    ("GET", "/openapi.json"): Case("/openapi.json"),
    ("GET", "/docs"): Case("/docs"),
    ("GET", "/docs/swagger-ui-bundle.js"): Case("/docs/swagger-ui-bundle.js"),
    ("GET", "/docs/swagger-ui.css"): Case("/docs/swagger-ui.css"),
}
# method and template of each page -> its path, and whether it shows people
PAGES: dict[tuple[str, str], tuple[str, bool]] = {
    ("GET", "/"): ("/", False),
    ("GET", "/faults"): ("/faults", False),
    ("GET", "/basket"): ("/basket?product=" + A, False),
    ("GET", "/p/{product_id:path}"): (f"/p/{A}", False),
    ("GET", "/map"): ("/map", False),
    ("GET", "/versions"): ("/versions", False),
    ("GET", "/shoppers"): ("/shoppers", True),
    ("GET", "/shoppers/{user_id:path}"): ("/shoppers/1", True),
    ("GET", "/json/{path:path}"): ("/json/users/1/ratings", True),
}
# what a page loads by itself about people -> its path, and the status if access is allowed (there is no map)
PARTS = {("GET", "/map/own-points"): ("/map/own-points", 404), ("HEAD", "/map/own-points"): ("/map/own-points", 404)}
# what a page's form does -> its path, and the status if access is allowed (there is nothing of that number)
ACTIONS = {
    ("POST", "/versions/{version}/roll-back"): ("/versions/99/roll-back", 409),
    ("POST", "/shoppers/{user_id:path}/ratings"): ("/shoppers/99/ratings", 404),
}
# these are open in any case: without them nobody could sign in
ENTRANCE: dict[tuple[str, str], tuple[str, int]] = {
    ("GET", "/assets/{name}"): ("/assets/style.css", 200),
    ("GET", "/sign-in"): ("/sign-in", 200),
    ("POST", "/sign-in"): ("/sign-in", 401),
    ("POST", "/sign-out"): ("/sign-out", 303),
}
WRONG = ["", "x", KEY[:-1], KEY + "x", KEY.upper(), f"{KEY}, {SECOND}", f"{KEY},", f"Bearer {KEY}", "None"]
NOT_RIGHT: list[list[str]] = [[], *([key] for key in WRONG), [KEY, "x"], ["x", KEY], [KEY, KEY]]
# HEAD: by the framework for its own pages, by the service for GET routes
ROUTES |= {("HEAD", template): case for (method, template), case in ROUTES.items() if method == "GET"}
for table in (PAGES, ENTRANCE):
    table |= {("HEAD", template): case for (method, template), case in table.items() if method == "GET"}
CASES = [pytest.param(method, case, id=f"{method} {template}") for (method, template), case in ROUTES.items()]
CLOSED = [case for case in CASES if case.values[1].needs_key]  # type: ignore[union-attr]


@pytest.fixture
def backend() -> str:
    """Keys do not depend on the database."""
    return "sqlite"


def stock(engine: Engine) -> None:
    fill(engine, {1: {A: 5.0}, 2: {A: 5.0, B: 4.0}}, [A, B])


@pytest.fixture
def environment(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    stock(engine)
    for name, value in env.items():
        monkeypatch.setenv(name, value)


Shared = Callable[[str, str], TestClient]


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Services that are only read, one for each pair of keys and REQUIRE_KEY."""
    with ExitStack() as running:

        @cache
        def started(keys: str, required: str) -> TestClient:
            folder, given = tmp_path_factory.mktemp("shop"), {"API_KEY": keys, "REQUIRE_KEY": required}
            return running.enter_context(read_only_service("sqlite", folder, request, stock, **given))

        yield started


def service(request: pytest.FixtureRequest, keys: str, required: str = "people") -> Iterator[TestClient]:
    """A service for this test alone, or a shared one if the test is about one route that only reads."""
    method = request.node.callspec.params.get("method") if hasattr(request.node, "callspec") else None
    if method in ("GET", "HEAD"):
        yield request.getfixturevalue("shared")(keys, required)
        return
    request.getfixturevalue("environment")
    with own_service(request.getfixturevalue("monkeypatch"), keys, required) as client:
        yield client


@contextmanager
def own_service(monkeypatch: pytest.MonkeyPatch, keys: str, required: str) -> Iterator[TestClient]:
    """A service for one test, in the ``environment`` of that test."""
    monkeypatch.setenv("API_KEY", keys)
    monkeypatch.setenv("REQUIRE_KEY", required)
    with TestClient(api.create_app(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def open_service(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """A service without a configured key."""
    yield from service(request, "")


@pytest.fixture
def keyed_service(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    yield from service(request, f"{KEY}, {SECOND}")


@pytest.fixture
def closed_service(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """A service in which everything needs a key."""
    yield from service(request, f"{KEY}, {SECOND}", "all")


def ask(client: TestClient, method: str, case: Case, *given: str) -> Any:
    return client.request(method, case.path, json=case.body, headers=[(HEADER, key) for key in given])


def all_routes(routes: Iterable[object]) -> Iterator[Route]:
    for route in routes:
        if isinstance(route, Route):
            yield route
        else:  # only included routers: these tests would not see a mounted application
            yield from all_routes(route.original_router.routes)  # type: ignore[attr-defined]


def test_every_route_has_its_line_here() -> None:
    app = api.create_app()
    there = {(method, route.path) for route in all_routes(app.routes) for method in route.methods or ()}
    assert there == {*ROUTES, *PAGES, *PARTS, *ACTIONS, *ENTRANCE}
    documented = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    assert documented <= set(ROUTES)


@pytest.mark.parametrize(("method", "case"), CASES)
def test_protected_routes_are_closed_without_a_configured_key_and_say_how_to_open_them(
    open_service: TestClient, method: str, case: Case
) -> None:
    for given in ([], [KEY], [""]):
        answer = ask(open_service, method, case, *given)
        assert answer.status_code == (403 if case.needs_key else case.status)
        if case.needs_key:
            assert answer.headers["content-type"] == "application/problem+json"
            assert method == "HEAD" or "set API_KEY" in answer.json()["detail"]


@pytest.mark.parametrize(("method", "case"), CASES)
def test_protected_routes_open_only_to_a_right_key(keyed_service: TestClient, method: str, case: Case) -> None:
    for given in NOT_RIGHT:
        answer = ask(keyed_service, method, case, *given)
        assert answer.status_code == (401 if case.needs_key else case.status), given
        if case.needs_key:
            assert answer.headers["content-type"] == "application/problem+json"
            assert re.match(r"ApiKey ", answer.headers["www-authenticate"])
            assert method == "HEAD" or HEADER in answer.json()["detail"]
    for key in (KEY, SECOND):
        status = ask(keyed_service, method, case, key).status_code
        assert status == case.status or (
            method == "DELETE" and key == SECOND and status == 404
        )  # the route no longer exists


@pytest.mark.parametrize(("method", "case"), CASES)
def test_everything_except_live_ready_and_health_needs_a_key_with_all_required(
    closed_service: TestClient, method: str, case: Case
) -> None:
    for given in NOT_RIGHT:
        answer = ask(closed_service, method, case, *given)
        assert answer.status_code == (case.status if case.always_open else 401), given
        if not case.always_open:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["cache-control"] == "private, no-store"
            assert re.match(r"ApiKey ", answer.headers["www-authenticate"])
            assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", answer.headers["x-request-id"])
            assert method == "HEAD" or HEADER in answer.json()["detail"]
    for key in (KEY, SECOND):
        answer = ask(closed_service, method, case, key)
        assert answer.status_code == case.status or (method == "DELETE" and key == SECOND)
        # no cache in between may hand it to a request without a key
        assert answer.headers["cache-control"].startswith("private")
        assert ask(closed_service, method, case).status_code == (case.status if case.always_open else 401)


def test_a_missing_page_needs_a_key_with_all_required(closed_service: TestClient) -> None:
    for path in ("/nothing", "/live/", "/health/x", "/LIVE", "/live//", "/recommendations/99", "/docs/"):
        assert closed_service.get(path).status_code == 401, path
        assert closed_service.get(path, headers={HEADER: KEY}).status_code == 404, path
    assert closed_service.post("/live").status_code == 405


def test_health_without_a_key_tells_only_its_status_with_all_required(
    closed_service: TestClient, open_service: TestClient
) -> None:
    for given in ({}, {HEADER: "wrong"}):
        assert closed_service.get("/health", headers=given).json() == {"status": "ok"}
    whole = closed_service.get("/health", headers={HEADER: KEY}).json()
    assert {"status", "users", "products", "ratings", "model_built_at"} <= set(whole)
    assert set(whole) == set(open_service.get("/health").json())


def test_a_cached_answer_needs_a_key_with_all_required(closed_service: TestClient) -> None:
    answers = closed_service.app.layer.answers  # type: ignore[attr-defined]
    with_key = {HEADER: KEY}
    for path in ("/recommendations/1", "/popular", f"/products/{A}", f"/products/{A}/similar"):
        before = len(answers)
        first = closed_service.get(path, headers=with_key)
        assert len(answers) == before + 1
        kept = closed_service.get(path, headers=with_key)
        assert (kept.content, kept.headers["cache-control"]) == (first.content, "private")
        known = with_key | {"If-None-Match": first.headers["etag"]}
        assert closed_service.get(path, headers=known).status_code == 304
        for given in ({}, {HEADER: KEY + "x"}):
            for tag in ({}, {"If-None-Match": first.headers["etag"]}, {"If-None-Match": "*"}):
                assert closed_service.get(path, headers=given | tag).status_code == 401
    # names people, so it is not cached
    before = len(answers)
    for _ in range(2):
        named = closed_service.get("/recommendations/1?explain=true", headers=with_key)
        assert named.json()["recommendations"][0]["explanation"]["closest"][0]["user_id"] == 2
        assert named.headers["cache-control"] == "private, no-store"
    assert len(answers) == before


def test_a_service_with_all_required_and_no_key_does_not_start_and_says_why(
    environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for keys in ("", " , "):
        monkeypatch.setenv("API_KEY", keys)
        monkeypatch.setenv("REQUIRE_KEY", "all")
        app = api.create_app()
        with pytest.raises(SettingError), TestClient(app):
            pass
        assert re.match(r"REQUIRE_KEY=all needs a key: set API_KEY.*openssl rand", app.state.refused)
        assert "\n" not in app.state.refused
    monkeypatch.setenv("REQUIRE_KEY", "everybody")
    with pytest.raises(SettingError, match="REQUIRE_KEY='everybody' .* choose people or all"), TestClient(app):
        pass


@pytest.mark.parametrize(("method", "case"), CASES)
def test_answers_about_a_person_are_private_and_others_have_no_cache_control(
    keyed_service: TestClient, method: str, case: Case
) -> None:
    if not case.needs_key:
        first = ask(keyed_service, method, case)
        assert first.headers.get("cache-control") == case.cached
        assert ask(keyed_service, method, case).headers.get("cache-control") == case.cached  # maybe from the cache
        if "etag" in first.headers and method in ("GET", "HEAD") and "docs" not in case.path:
            known = {"If-None-Match": first.headers["etag"]}
            unchanged = keyed_service.request(method, case.path, headers=known)
            assert (unchanged.status_code, unchanged.headers.get("cache-control")) == (304, case.cached)
    assert ask(keyed_service, method, case, "wrong").headers["cache-control"].startswith("private")
    assert ask(keyed_service, method, case, KEY).headers["cache-control"].startswith("private")


COOKIES = ["", "x", KEY, f"9999999999.{'0' * 32}.{'0' * 64}"]


@pytest.mark.parametrize("required", ["people", "all"])
def test_a_page_of_people_opens_to_a_session_or_a_key_and_with_all_required_every_page_does(
    environment: None, monkeypatch: pytest.MonkeyPatch, required: str
) -> None:
    with own_service(monkeypatch, f"{KEY}, {SECOND}", required) as client:
        cookie = client.post("/sign-in", data={"key": SECOND}, follow_redirects=False).cookies[COOKIE]
        client.cookies.clear()
        refused = [{HEADER: "x" + KEY}, *({"Cookie": f"{COOKIE}={one}"} for one in (*COOKIES, cookie[:-1] + "g"))]
        for (method, _), (path, of_people) in PAGES.items():
            closed = of_people or required == "all"
            for headers in ({}, *refused):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == (401 if closed else 200), (path, headers)
                assert answer.headers["content-type"] == "text/html; charset=utf-8"
                assert answer.headers["cache-control"] == "private, no-store"
                assert method == "HEAD" or ('name="key"' in answer.text) is closed
            for headers in ({HEADER: SECOND}, {"Cookie": f"{COOKIE}={cookie}"}):
                assert client.request(method, path, headers=headers).status_code == 200, (path, headers)


@pytest.mark.parametrize("required", ["people", "all"])
def test_what_a_page_loads_about_people_opens_to_a_session_or_a_key(
    environment: None, monkeypatch: pytest.MonkeyPatch, required: str
) -> None:
    with own_service(monkeypatch, f"{KEY}, {SECOND}", required) as client:
        cookie = client.post("/sign-in", data={"key": SECOND}, follow_redirects=False).cookies[COOKIE]
        client.cookies.clear()
        for (method, _), (path, status) in PARTS.items():
            for headers in ({}, {HEADER: "x" + KEY}, *({"Cookie": f"{COOKIE}={one}"} for one in COOKIES)):
                assert client.request(method, path, headers=headers).status_code == 401, (path, headers)
            for headers in ({HEADER: SECOND}, {"Cookie": f"{COOKIE}={cookie}"}):
                assert client.request(method, path, headers=headers).status_code == status, (path, headers)
        for path in ("/map?shopper=1", "/map?point=0", "/map?shopper=99"):
            assert client.get(path).status_code == 401


@pytest.mark.parametrize("required", ["people", "all"])
def test_a_form_acts_only_for_a_key_or_for_a_session_with_its_token(
    environment: None, monkeypatch: pytest.MonkeyPatch, required: str
) -> None:
    with own_service(monkeypatch, KEY, required) as client:
        cookie = client.post("/sign-in", data={"key": KEY}, follow_redirects=False).cookies[COOKIE]
        page = client.get("/versions").text
        client.cookies.clear()
        token = re.findall(r'name="form_token" value="(\w+)"', page)[0]
        session = {"Cookie": f"{COOKIE}={cookie}"}
        for (method, _), (path, status) in ACTIONS.items():
            assert client.request(method, path).status_code == 401
            assert client.request(method, path, headers={HEADER: "x" + KEY}).status_code == 401
            assert client.request(method, path, headers=session).status_code == 403
            assert client.request(method, path, headers=session, data={"form_token": "x"}).status_code == 403
            foreign = session | {"Sec-Fetch-Site": "cross-site"}
            assert client.request(method, path, headers=foreign, data={"form_token": token}).status_code == 403
            assert client.request(method, path, headers=session, data={"form_token": token}).status_code == status
            assert client.request(method, path, headers={HEADER: KEY}).status_code == status


@pytest.mark.parametrize("required", ["people", "all"])
def test_the_entrance_is_open(environment: None, monkeypatch: pytest.MonkeyPatch, required: str) -> None:
    with own_service(monkeypatch, KEY, required) as client:
        for (method, _), (path, status) in ENTRANCE.items():
            assert client.request(method, path, follow_redirects=False).status_code == status, path


def test_without_a_configured_key_a_page_of_people_says_how_to_set_one(open_service: TestClient) -> None:
    for (method, _), (path, of_people) in PAGES.items():
        if of_people:
            answer = open_service.request(method, path)
            assert answer.status_code == 403
            assert method == "HEAD" or "API_KEY=" in answer.text
    assert open_service.post("/sign-in", data={"key": KEY}).status_code == 403


def test_a_session_opens_nothing_but_pages(keyed_service: TestClient) -> None:
    assert keyed_service.post("/sign-in", data={"key": KEY}, follow_redirects=False).status_code == 303
    assert keyed_service.cookies[COOKIE]
    for (method, _), case in ROUTES.items():
        if case.needs_key:
            assert ask(keyed_service, method, case).status_code == 401
    explained = keyed_service.get("/recommendations/1?explain=true").json()["recommendations"][0]["explanation"]
    assert "user_id" not in explained["closest"][0]


def test_no_error_may_be_cached(keyed_service: TestClient) -> None:
    for path in ("/recommendations/99", "/recommendations/x", "/products/B0000NOONE", "/nothing", "/users/1/ratings"):
        assert keyed_service.get(path).headers["cache-control"] == "private, no-store"


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
def test_a_refusal_is_the_same_for_known_and_unknown_people(keyed_service: TestClient, method: str, case: Case) -> None:
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
    keyed_service.app.layer.log.close()  # type: ignore[attr-defined]
    written = capfd.readouterr()
    assert "/users/{user_id}/ratings" in written.out  # the log is there
    for text in (*seen, written.out, written.err, keyed_service.get("/metrics").text):
        assert KEY not in text
        assert SECOND not in text


def test_protected_routes_are_documented_as_protected(keyed_service: TestClient) -> None:
    document = keyed_service.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {"ApiKey": {"type": "apiKey", "in": "header", "name": HEADER}}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            closed = ROUTES[method.upper(), path].needs_key
            assert ("security" in operation) is closed
            assert ({"401", "403"} <= set(operation["responses"])) is closed
    assert "REQUIRE_KEY=all" in document["info"]["description"]


def test_the_documentation_marks_every_route_as_protected_with_all_required(closed_service: TestClient) -> None:
    document = closed_service.get("/openapi.json", headers={HEADER: KEY}).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            closed = not ROUTES[method.upper(), path].always_open
            assert (operation.get("security") == [{"ApiKey": []}]) is closed
            assert ("401" in operation["responses"]) is closed
    assert api.create_app().openapi()["paths"]["/popular"]["get"].get("security") is None
