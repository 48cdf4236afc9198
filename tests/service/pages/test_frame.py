"""The frame of the pages: headers, policy, files, sign-in and sign-out, errors, and what is told of faults."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest

from recommender.errors import DatabaseError
from recommender.service.pages import assets
from recommender.service.session import COOKIE, LIFETIME
from tests.support.deadlines import as_released
from tests.support.service import KEY, wait_until
from tests.support.site import HOSTILE, LONG, PRODUCTS, SCRIPT, Site

PATHS = ["/", "/shoppers", "/shoppers?kind=heavy", "/shoppers/1", "/shoppers/1?beside=classic", "/sign-in"]
STATIC = Path(assets.__file__).parent / "static"


@pytest.fixture
def client(site: Site) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=site.address, timeout=60) as client:
        yield client


def signed_in(client: httpx2.Client, **data: str) -> httpx2.Response:
    return client.post("/sign-in", data={"key": KEY, **data})


@pytest.mark.parametrize("path", PATHS)
def test_a_page_may_load_nothing_but_its_own_files_and_holds_no_script_or_style(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "private, no-store"
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=", answer.text)
    addresses = re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
    assert addresses
    assert all(address.startswith(("/", "#")) and not address.startswith("//") for address in addresses)


@pytest.mark.parametrize("path", PATHS)
def test_every_json_that_a_page_links_answers(site: Site, path: str) -> None:
    footer = site.get(path).text.partition('<footer class="bottom">')[2]
    links = re.findall(r'href="([^"]*)"', footer)
    assert "/docs" in links
    assert (len(links) > 1) is (path != "/sign-in")
    for link in links:
        assert site.get(link.replace("&amp;", "&")).status_code == 200, link


def test_a_page_is_packed_for_browsers_that_ask_for_it(client: httpx2.Client) -> None:
    with client.stream("GET", "/", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        packed = b"".join(answer.iter_raw())
    plain = client.get("/", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(packed) < len(plain.content) / 2
    assert b"Your shop at a glance" in gzip.decompress(packed)


def test_the_first_view_takes_less_than_100_kb(client: httpx2.Client) -> None:
    page = client.get("/shoppers/1", headers={"X-API-Key": KEY})
    total = 0
    for path in ["/shoppers/1", *re.findall(r'(?:src|href)="(/assets/[^"]*)"', page.text)]:
        with client.stream("GET", path, headers={"X-API-Key": KEY, "Accept-Encoding": "gzip"}) as answer:
            total += len(b"".join(answer.iter_raw()))
    assert 10_000 < total < 100_000


def test_the_files_of_others_are_as_they_were_noted() -> None:
    noted = (STATIC / "VENDORED.md").read_text(encoding="utf-8")
    digest = sha256((STATIC / "htmx.min.js").read_bytes()).hexdigest()
    assert f"`{digest}`" in noted
    assert b'version:"2.0.11"' in (STATIC / "htmx.min.js").read_bytes()
    assert "2.0.11" in noted


def test_a_browser_keeps_a_file_for_good_only_under_the_address_of_its_content(client: httpx2.Client) -> None:
    assert client.get(assets.address("style.css")).headers["cache-control"] == assets.FOR_GOOD
    assert client.get("/assets/style.css?older").headers["cache-control"] == "no-cache"
    assert client.get("/assets/style.css").headers["content-type"] == "text/css; charset=utf-8"
    for path in ("/assets/VENDORED.md", "/assets/..%2Fframe.py", "/assets/x"):
        assert client.get(path).status_code == 404, path


def test_signing_in_gives_a_session_and_goes_on_to_the_page_that_was_wanted(client: httpx2.Client) -> None:
    closed = client.get("/shoppers/1?ranking=classic")
    assert closed.status_code == 401
    assert 'name="to" value="/shoppers/1?ranking=classic"' in closed.text
    wrong = client.post("/sign-in", data={"key": "not-the-key-of-the-shop", "to": "/shoppers"})
    assert wrong.status_code == 401
    assert "This key is not right." in wrong.text
    assert "not-the-key-of-the-shop" not in wrong.text
    assert COOKIE not in client.cookies
    right = signed_in(client, to="/shoppers/1?ranking=classic")
    assert (right.status_code, right.headers["location"]) == (303, "/shoppers/1?ranking=classic")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert f"Max-Age={LIFETIME}" in cookie
    assert "Secure" not in cookie
    assert KEY not in cookie
    assert client.get("/shoppers/1").status_code == 200


def test_over_tls_the_cookie_is_secure(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    client = TestClient(site.app, base_url="https://shop.example.com")  # without a lifespan: that of the site goes on
    answer = client.post("/sign-in", data={"key": KEY}, follow_redirects=False)
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "/a\nb", ""]
)
def test_signing_in_never_leads_to_another_site(client: httpx2.Client, to: str) -> None:
    assert signed_in(client, to=to).headers["location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_form_of_another_site_is_refused(client: httpx2.Client, headers: dict[str, str]) -> None:
    assert client.post("/sign-in", data={"key": KEY}, headers=headers).status_code == 403
    assert COOKIE not in client.cookies
    signed_in(client)
    token = token_of(client)
    assert client.post("/sign-out", data={"form_token": token}, headers=headers).status_code == 403
    assert client.get("/shoppers").status_code == 200


def token_of(client: httpx2.Client) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', client.get("/").text)
    assert found is not None
    return found.group(1)


def test_signing_out_needs_the_token_of_the_session_and_ends_it_everywhere(client: httpx2.Client) -> None:
    signed_in(client)
    cookie, token = client.cookies[COOKIE], token_of(client)
    for data in ({}, {"form_token": ""}, {"form_token": token[::-1]}):
        assert client.post("/sign-out", data=data).status_code == 403
    assert client.get("/shoppers").status_code == 200
    assert client.post("/sign-out", data={"form_token": token}).status_code == 303
    assert client.get("/shoppers").status_code == 401
    client.cookies.set(COOKIE, cookie)  # a copy of it
    assert client.get("/shoppers").status_code == 401


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/shoppers/99", 404, "User 99 is unknown"),
        ("/shoppers/x", 422, "user_id: must be a whole number"),
        ("/shoppers/1?ranking=items", 409, "Ranking items is not in this model"),
        ("/shoppers/1?min_price=abc", 422, "min_price: must be a number"),
        ("/shoppers/1?rate=B000000099:5", 404, "Product B000000099 is unknown"),
        (f"/shoppers/1?rate={PRODUCTS[0]}:5.3", 422, "rate: must be a product"),
        ("/shoppers/1?rate=5", 422, "rate: must be a product"),
        ("/shoppers?kind=x", 422, "kind: must be"),
        ("/shoppers/1?min_price=%3Cscript%3E", 422, "&lt;script&gt;"),
    ],
)
def test_a_page_that_cannot_be_made_says_why_and_what_to_do(site: Site, path: str, status: int, words: str) -> None:
    answer = site.get(path)
    assert answer.status_code == status
    assert words in answer.text
    assert "Search shoppers" in answer.text
    assert "<script>" not in answer.text


def test_hostile_titles_show_as_text(site: Site) -> None:
    pages = "".join(site.get(f"/shoppers/{person}?limit=20&beside=classic").text for person in (1, 2, 3, 4))
    assert "&lt;script&gt;document.title=&#39;broken&#39;&lt;/script&gt;&#34;&#39;&gt;&lt;b&gt;bold" in pages
    assert SCRIPT not in pages
    assert LONG in pages
    without_title = next(product for product, values in HOSTILE.items() if values["title"] is None)
    assert f'href="/p/{without_title}">{without_title}</a>' in pages
    assert "price not known" in pages
    assert "Shoes &amp; &lt;Socks&gt;" in pages


def test_a_database_that_went_away_is_told_on_every_page_and_lists_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    updater = site.app.state.updater
    assert updater is not None

    def away() -> None:
        raise DatabaseError("gone")

    with as_released(), monkeypatch.context() as patch:
        patch.setattr(updater, "_greet", away)
        patch.setattr(updater, "_look_for_changes", away)
        wait_until(lambda: not updater.is_up)
        for path in ("/", "/shoppers", "/shoppers/1"):
            answer = site.get(path)
            assert answer.status_code == 200
            assert "The database does not answer" in answer.text.partition("<h1>")[0]
            assert "Check the database" in answer.text.partition("<h1>")[0]
        assert 'class="products"' in site.get("/shoppers/1").text
        assert site.get(f"/shoppers/1?rate={PRODUCTS[0]}:5").status_code == 503
        assert site.get("/shoppers?country=DE").status_code == 503
    wait_until(lambda: updater.is_up)
    assert "The database does not answer" not in site.get("/").text.partition("<h1>")[0]


def test_no_page_of_people_is_shown_while_the_user_ids_mean_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(site.app.state), "means_others", lambda _state, model: model is not None)
    for path in ("/shoppers", "/shoppers/1"):
        answer = site.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "Step 2 replaced the people in the database" in answer.text
        assert "Shopper 1" not in answer.text
    assert site.get("/basket").status_code == 200


def test_people_who_are_replaced_while_a_page_is_made_are_not_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[bool] = []

    async def places(_request: object) -> dict[str, list[str]]:
        replaced.append(True)
        return {"country": [], "age_group": []}

    monkeypatch.setattr("recommender.service.pages.shopper.places_of", places)
    monkeypatch.setattr(type(site.app.state), "means_others", lambda *_: bool(replaced))
    assert site.get("/shoppers").status_code == 503


def test_a_newer_model_that_could_not_be_loaded_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.app.state.updater, "load_failure", "the file is <broken>")
    for path in ("/", "/shoppers/1", "/basket", "/versions", f"/p/{PRODUCTS[5]}"):
        first = site.get(path).text.partition("<h1")[0]
        assert "A newer model could not be loaded: the file is &lt;broken&gt;." in first, path
        assert "Mend the cause: loading is tried again by itself." in first


def test_an_unforeseen_fault_shows_no_trace(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recommender.service.pages.overview.charts.shares", lambda _: 1 / 0)
    answer = site.get("/")
    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert "An unforeseen error" in answer.text


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/basket/", 404, "/basket/"),
        ("/a%2Fb", 404, "/a%2Fb"),
        ("/%3Cscript%3E", 404, "/&lt;script&gt;"),
        ("/sign-out", 405, "/sign-out"),
        ("/versions/1/roll-back", 405, "/versions/1/roll-back"),
    ],
)
def test_a_browser_gets_a_page_where_nothing_is_and_a_program_a_problem(
    site: Site, path: str, status: int, said: str
) -> None:
    problem = site.get(path)
    assert (problem.status_code, problem.headers["content-type"]) == (status, "application/problem+json")
    page = site.get(path, headers={"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"})
    assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert page.headers.get("allow") == problem.headers.get("allow")
    assert f"There is no page {said}." in page.text
    assert "<script>" not in page.text
