"""The JSON behind the pages, in a browser with a session: the same as the API's answer to a key, and only to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import httpx2
import pytest

from recommender.service.session import COOKIE
from tests.support.service import KEY, WITH_KEY
from tests.support.site import PRODUCTS, Site, serve_site


@pytest.fixture(scope="module", params=["people", "all"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_site(tmp_path_factory.mktemp("site"), REQUIRE_KEY=request.param) as site:
        yield site


@pytest.fixture
def client(site: Site) -> Iterator[httpx2.Client]:
    """A browser that has signed in."""
    with httpx2.Client(base_url=site.address, timeout=60) as client:
        client.post("/sign-in", data={"key": KEY})
        assert COOKIE in client.cookies
        yield client


PATHS = ["/", "/shoppers?kind=heavy", "/shoppers/1?beside=classic&limit=3", "/versions", f"/p/{PRODUCTS[5]}"]


@pytest.mark.parametrize("path", [*PATHS, "/basket?title=x", "/basket"])
def test_every_link_below_a_page_answers_what_the_api_answers_to_a_key(
    site: Site, client: httpx2.Client, path: str
) -> None:
    footer = client.get(path).text.partition('<footer class="bottom">')[2]
    links = [unescape(link) for link in re.findall(r'href="([^"]*)"', footer)]
    assert len(links) > 1
    for link in links:
        found = client.get(link)
        assert found.status_code == 200, link
        if link.endswith(("/docs", "/health", "/metrics", "/overview.json")):
            continue  # no JSON, or with times
        assert link.startswith("/json/")
        whole = httpx2.get(site.address + link.removeprefix("/json"), headers=WITH_KEY, timeout=60)
        assert (found.content, found.headers["content-type"]) == (whole.content, whole.headers["content-type"])
        assert found.headers["cache-control"] == "private, no-store"
        assert found.headers["x-content-type-options"] == "nosniff"


def test_the_documentation_can_be_read_with_a_session(client: httpx2.Client) -> None:
    docs = re.findall(r'href="([^"]*/docs)"', client.get("/").text)[0]
    page = client.get(docs)
    for part in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"docs/{part}" in page.text
        assert client.get(docs.removesuffix("docs") + f"docs/{part}").status_code == 200
    assert client.get(docs.removesuffix("docs") + "openapi.json").json()["paths"]
    assert "script-src" in page.headers["content-security-policy"]


def test_a_session_reads_and_nothing_else(site: Site, client: httpx2.Client) -> None:
    rating = {"user_id": 1, "product_id": PRODUCTS[0], "rating": 1}
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/json/ratings", json=rating).status_code == 405
        assert client.request(method, "/json/users/1").status_code == 405
    assert client.get("/users/1/ratings").status_code == 401  # the API itself takes no session
    for page in ("/json/", "/json/shoppers/1", "/json/json/users", "/json/sign-in", "/json//", "/json/nothing"):
        assert client.get(page).status_code == 404, page
    assert client.post("/json/users/1/what-if", json={"ratings": []}).status_code == 405


def test_errors_are_those_of_the_api(client: httpx2.Client) -> None:
    unknown = client.get("/json/users/99/ratings")
    assert unknown.status_code == 404
    assert unknown.json()["detail"].startswith("user 99 is unknown")
    assert unknown.headers["content-type"] == "application/problem+json"
    assert client.get("/json/recommendations/1?limit=x").json()["errors"][0]["parameter"] == "limit"
    assert client.get("/json/products/a%2Fb").json()["detail"].startswith("product a/b is unknown")


def test_nobody_reads_them_without_a_session(site: Site) -> None:
    for path in ("/json/users/1/ratings", "/json/overview.json", "/json/docs"):
        closed = httpx2.get(site.address + path, timeout=60)
        assert closed.status_code == 401
        assert 'name="key"' in closed.text
        assert 'name="to" value="/json/' in closed.text
