"""The pages in a real browser: what a shop owner does with them, by mouse and by keyboard, and how they look."""

from __future__ import annotations

import re
import signal
import threading
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from recommender.model import ServedModel
from recommender.publishing import Version
from recommender.service.routes import overview
from tests.conftest import require_mariadb
from tests.support.browser import opened, sign_in, violations
from tests.support.deadlines import as_released
from tests.support.mariadb_server import MariaDBServer
from tests.support.service import KEY, WITH_KEY, wait_until
from tests.support.site import PRODUCTS, WITHOUT_RATINGS, Site, serve_site

PAGES = [
    f"/shoppers/1?rate={PRODUCTS[0]}:1&save=1&undo={PRODUCTS[1]}:2",
    *(
        "/",
        "/shoppers?kind=heavy",
        "/shoppers?country=XX",
        "/basket?title=nothing",
        "/versions?roll_back=1",
        "/shoppers/1?beside=classic&limit=12",
        f"/shoppers/{WITHOUT_RATINGS}",
        "/versions",
    ),
    "/map",  # without a version
    *(f"/basket?product={PRODUCTS[5]}&product={PRODUCTS[1]}", *(f"/p/{product}" for product in PRODUCTS[:4])),
]


def listed(page: Page, ranking: str = "taste") -> list[str]:
    rows = page.locator(f"section.list[aria-labelledby='list-{ranking}'] > ol.products > li")
    return [str(row.get_attribute("data-product")) for row in rows.all()]


def by_api(site: Site, query: str = "", user: int = 1) -> list[str]:
    found: Any = site.get(f"/recommendations/{user}{query}").json()["recommendations"]
    return [item["product_id"] for item in found]


def test_a_shopper_is_found_and_the_list_is_that_of_the_api(page: Page, site: Site) -> None:
    page.goto("/shoppers")
    page.get_by_label("Shopper id").fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Shopper 1")
    assert listed(page) == by_api(site)
    assert page.locator("section[aria-labelledby='rated'] li").count() == 6


def test_a_why_shows_the_stars_of_all_neighbors_and_names_the_nearest(page: Page, site: Site) -> None:
    page.goto("/shoppers/1")
    first = page.locator("#taste-1")
    first.locator("summary").click()
    why: Any = site.get("/recommendations/1?explain=all").json()["recommendations"][0]["explanation"]
    expect(first.locator(".why > p").first).to_have_text(why["sentence"])
    strip = first.locator(".stars-strip a")
    assert strip.all_text_contents() == [f"{one['rating']:g}" for one in why["closest"]]
    assert strip.count() == why["n_neighbors"] > 3
    nearest = why["closest"][0]
    expect(strip.first).to_have_accessible_name(f"Shopper {nearest['user_id']}: {nearest['rating']:g} stars")
    names = first.locator(".strip a").all_text_contents()
    assert names == [f"Shopper {one['user_id']}" for one in why["closest"][:3]]
    said = first.locator(".strip .small").first.text_content() or ""
    assert f"similarity {nearest['similarity']:g}; both have" in said
    assert said.count(";") == len(nearest["shared_products"])
    expect(first.get_by_text(f"support {why['support']:g}, the sum of their similarities")).to_be_visible()
    page.get_by_text("How it is computed").click()
    expect(page.locator(".formula")).to_contain_text("Σ similarity over the nearest people")
    strip.nth(3).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Shopper {why['closest'][3]['user_id']}")


def test_rankings_switch_in_place_stand_side_by_side_and_the_back_button_undoes_it(page: Page, site: Site) -> None:
    page.goto("/shoppers/1")
    page.evaluate("window.sameDocument = true")
    page.locator("#by-classic").click()
    expect(page.locator("#by-classic")).to_have_attribute("aria-current", "true")
    assert page.evaluate("window.sameDocument")
    assert listed(page, "classic") == by_api(site, "?ranking=classic")
    page.locator("#beside-taste").click()
    expect(page.locator("section.list")).to_have_count(2)
    both = set(by_api(site)) & set(by_api(site, "?ranking=classic"))
    assert page.locator(".badge.both").count() == 2 * len(both)
    page.reload()
    expect(page.locator("section.list")).to_have_count(2)
    page.go_back()
    expect(page.locator("section.list")).to_have_count(1)
    expect(page.locator("#by-classic")).to_have_attribute("aria-current", "true")


def test_filters_act_and_stay_in_the_address(page: Page, site: Site) -> None:
    page.goto("/shoppers/1")
    page.get_by_text("Filters").click()
    page.locator("select[name=category_id]").select_option(label="Kitchen")
    page.get_by_label("Products", exact=True).fill("3")
    page.locator("#filter").click()
    expect(page).to_have_url(re.compile("category_id=2.*limit=3"))
    assert listed(page) == by_api(site, "?category_id=2&limit=3")
    page.get_by_role("link", name="Show all").click()
    expect(page).to_have_url(re.compile("^(?!.*category_id)"))
    assert listed(page) == by_api(site)
    page.goto("/shoppers/1?min_price=100000")
    expect(page.locator(".list .empty")).to_contain_text("No product fits")


def test_a_rating_that_is_tried_shows_what_moved_and_stores_nothing(page: Page, site: Site) -> None:
    before = by_api(site)
    page.goto("/shoppers/1")
    page.locator("#taste-1 summary").click()
    page.locator(f"[data-product='{before[0]}'] .whatif a").first.click()
    expect(page.get_by_role("heading", name="What if")).to_be_visible()
    asked = {"ratings": [{"product_id": before[0], "rating": 1}]}
    supposed = page.request.post(f"{site.address}/users/1/what-if", data=asked, headers=WITH_KEY)
    after = [item["product_id"] for item in supposed.json()["recommendations"]]
    assert listed(page) == after
    assert before[0] not in after
    expect(page.locator(".badge.gone").first).to_have_text("rated")
    moved = [one for at, one in enumerate(after) if one not in before[at : at + 1]]
    assert page.locator("ol .badge.up, ol .badge.down, ol .badge.new").count() == len(moved) > 0
    assert by_api(site) == before
    page.reload()
    assert listed(page) == after
    page.go_back()
    expect(page.get_by_role("heading", name="What if")).to_have_count(0)
    assert listed(page) == before
    page.go_forward()
    expect(page.get_by_role("heading", name="What if")).to_be_visible()
    page.get_by_role("link", name="Take the rating").click()
    expect(page.get_by_role("heading", name="What if")).to_have_count(0)
    assert listed(page) == before


def test_a_rated_product_can_be_rated_anew_in_a_what_if(page: Page, site: Site) -> None:
    page.goto("/shoppers/1")
    rated = site.get("/users/1/ratings").json()["ratings"][0]
    row = page.locator("section[aria-labelledby='rated'] li").first
    row.locator("summary").click()
    row.get_by_role("link", name="1 star", exact=True).click()
    expect(page.get_by_role("heading", name="What if")).to_be_visible()
    assert page.url.split("?")[1].split("&")[-1] == f"rate={rated['product_id']}%3A1"
    given = {"ratings": [{"product_id": rated["product_id"], "rating": 1}]}
    wanted: Any = httpx2.post(f"{site.address}/users/1/what-if", json=given, headers=WITH_KEY, timeout=60).json()
    assert listed(page) == [item["product_id"] for item in wanted["recommendations"]]
    row.locator("summary").click()
    expect(row.locator("a[aria-current]")).to_have_text("1")
    assert site.get("/users/1/ratings").json()["ratings"][0] == rated
    assert violations(page) == []


def test_a_tried_rating_can_be_saved_after_a_question_and_undone(page: Page, site: Site) -> None:
    before = by_api(site, user=3)
    page.goto(f"/shoppers/3?rate={before[0]}:2")
    page.locator("#ask-to-save").click()
    expect(page.get_by_text("Store this rating in the database")).to_be_visible()
    assert by_api(site, user=3) == before
    page.locator("#save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved: 1 rating.")
    rated: Any = site.get("/users/3/ratings").json()["ratings"]
    assert {one["product_id"]: one["rating"] for one in rated}[before[0]] == 2.0
    assert listed(page) == by_api(site, user=3) != before
    page.locator("#undo").click()
    expect(page.get_by_role("status")).to_have_text("Undone. The ratings are as they were before.")
    expect(page.locator("#undo")).to_have_count(0)
    assert before[0] not in str(site.get("/users/3/ratings").json())
    assert by_api(site, user=3) == before


def test_a_database_or_a_service_that_goes_away_is_told_on_a_page_that_is_open(
    browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(browser, site.address, may_fail="ERR_INTERNET_DISCONNECTED|htmx:(sendError|afterRequest)") as page:
        page.clock.install()
        page.goto("/basket")
        monkeypatch.setattr(type(site.app.state.updater), "fault", ("the database does not answer", datetime.now(UTC)))
        _told(page, "The database does not answer")
        assert violations(page) == []
        monkeypatch.undo()
        _told(page, "")
        page.context.set_offline(True)
        _told(page, "The service does not answer")
        page.context.set_offline(False)
        _told(page, "")


def test_a_server_that_is_killed_and_comes_back_is_told_on_a_page_that_is_open(
    browser: Browser, tmp_path: Path
) -> None:
    require_mariadb()
    server = MariaDBServer(tmp_path / "server")
    server.start()
    try:
        with serve_site(tmp_path, **server.environment("page")) as site, opened(browser, site.address) as page:
            sign_in(page)
            page.goto("/shoppers/1")
            before = listed(page)
            with as_released():
                server.stop(signal.SIGKILL)
                expect(page.get_by_role("alert")).to_contain_text("The database does not answer")
                page.reload()
                assert listed(page) == before == by_api(site)
                server.start()
                expect(page.get_by_role("alert")).to_have_count(0)
    finally:
        server.stop()


def test_what_a_proxy_says_in_the_place_of_the_service_takes_no_part_of_the_page(page: Page) -> None:
    page.clock.install()
    page.goto("/shoppers/1")
    before = listed(page)
    page.route("**/*", lambda route: route.fulfill(content_type="text/html", body="<h1>Bad Gateway</h1>"))
    _told(page, "The service does not answer")
    with page.expect_response(lambda answer: "ranking=classic" in answer.url):
        page.locator("#by-classic").click()
    assert page.get_by_role("heading", level=1).all_text_contents() == ["Shopper 1"]
    assert listed(page) == before
    page.unroute_all()
    _told(page, "")
    page.locator("#by-classic").click()
    expect(page.locator("#list-classic")).to_be_visible()


def test_with_a_key_for_everything_a_page_that_is_open_stays_as_it_is(browser: Browser, tmp_path: Path) -> None:
    with (
        serve_site(tmp_path, REQUIRE_KEY="all") as site,
        opened(browser, site.address, may_fail="status of 401") as page,
    ):
        page.clock.install()
        for path, heading in (("/sign-in", "Sign in"), ("/shoppers/1", "Shopper 1")):
            sign_in(page)
            page.goto(path)
            page.context.clear_cookies()
            if path == "/sign-in":
                page.goto(path)
                expect(page.get_by_text("This service answers only with a key.")).to_be_visible()
                expect(page.get_by_text("Without a key")).to_have_count(0)
                expect(page.get_by_role("link", name="All routes of the API")).to_have_count(0)
            for _ in range(4):
                page.clock.fast_forward(5_100)
                page.wait_for_timeout(100)
            assert page.get_by_role("heading", level=1).all_text_contents() == [heading]
            expect(page.locator("main")).to_have_count(1)
        page.locator("#by-classic").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def _told(page: Page, words: str) -> None:
    """Let the time of the page go on until it tells exactly this fault; no words: no fault."""

    def is_told() -> bool:
        page.clock.fast_forward(5_100)
        page.wait_for_timeout(50)
        told = page.get_by_role("alert").all_text_contents()
        return len(told) == (1 if words else 0) and words in "".join(told)

    wait_until(is_told)


def test_figures_that_take_long_do_not_keep_the_first_page_waiting(
    page: Page, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, made = threading.Event(), overview._figures

    def slowly(model: ServedModel, n: int) -> dict[str, Any]:
        go_on.wait(60)
        return made(model, n)

    monkeypatch.setattr(overview, "_figures", slowly)
    monkeypatch.setattr(site.app.state, "figures", None)
    page.goto("/")
    for heading in ("How people rate", "The long tail", "Where the products come from"):
        section = page.locator("section", has=page.get_by_role("heading", name=heading))
        expect(section.get_by_text("Being counted …")).to_be_visible()
    assert violations(page) == []
    expect(page.get_by_text("version of the model")).to_be_visible()
    go_on.set()
    expect(page.get_by_text("Being counted …")).to_have_count(0)
    expect(page.get_by_text("5 ★")).to_be_visible()
    assert site.get("/overview.json").json()["served_by"]["shoppers"] > 0


def test_a_picture_that_does_not_load_gives_way_to_the_drawing(browser: Browser, tmp_path: Path) -> None:
    loads, pixel = (
        PRODUCTS[5],
        b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="),
    )
    with (
        serve_site(tmp_path, PRODUCT_IMAGES="1") as site,
        opened(browser, site.address, may_fail=r"https://example\.com/|ERR_FAILED") as page,
    ):
        page.route(
            f"https://example.com/{loads}.jpg", lambda route: route.fulfill(body=pixel, content_type="image/png")
        )
        page.route(lambda url: "example.com" in url and loads not in url, lambda route: route.abort())
        page.goto(f"/basket?product={loads}&product={PRODUCTS[1]}")
        shown, gone = page.locator("section[aria-labelledby='chosen'] li .picture.over > img").all()
        expect(shown).to_be_visible()
        expect(gone).to_be_hidden()
        drawings = page.locator("section[aria-labelledby='chosen'] li .picture.over > svg")
        expect(drawings).to_have_count(2)
        none_loads = r"https://example\.com/|ERR_FAILED"
        with opened(browser, site.address, java_script_enabled=False, may_fail=none_loads) as bare:
            bare.route(lambda url: "example.com" in url, lambda route: route.abort())
            bare.goto(f"/basket?product={PRODUCTS[1]}")  # nothing could take a broken picture away
            expect(bare.locator("section[aria-labelledby='chosen'] .picture.over > svg")).to_be_visible()
            expect(bare.locator("section[aria-labelledby='chosen'] .picture.over > img")).to_be_hidden()


def test_a_version_is_rolled_back_after_a_question(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    versions = [Version(number, datetime(2026, 1, number, tzinfo=UTC), "x", 9, {}) for number in (1, 2)]
    versions[0] = replace(versions[0], state="kept")

    async def found(_request: object) -> list[Version]:
        return versions

    def roll_back(_engine: object, number: int) -> None:
        asked.append(number)
        versions[:] = [replace(one, state="published" if one.number == number else "kept") for one in versions]

    monkeypatch.setattr("recommender.service.pages.versions.versions_of", found)
    monkeypatch.setattr("recommender.service.pages.versions.roll_back", roll_back)
    page.goto("/versions")
    page.get_by_role("link", name="Roll back to version 1").click()
    page.get_by_role("link", name="Leave it").click()
    assert asked == []
    page.get_by_role("link", name="Roll back to version 1").click()
    page.get_by_role("button", name="Roll back to version 1").click()
    expect(page.get_by_role("status")).to_have_text("Version 1 is published again. Readers see it at once.")
    assert asked == [1]


def test_signing_in_with_a_wrong_key_and_a_right_one_and_out_again(browser: Browser, site: Site) -> None:
    with opened(browser, site.address, may_fail="status of 401") as page:
        page.goto("/shoppers/1")
        page.fill("#key", "not-the-key-of-the-shop")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("This key is not right.")
        expect(page.get_by_label("API key")).to_have_value("")
        expect(page.get_by_label("API key")).to_have_attribute("type", "password")
        page.fill("#key", KEY)
        with page.expect_navigation():
            page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Shopper 1")
        kept = page.evaluate("[document.cookie, {...localStorage}, {...sessionStorage}, location.href]")
        assert kept[:2] == ["", {}]
        assert KEY not in str(kept)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_a_basket_is_filled_and_emptied_without_a_key(browser: Browser, site: Site) -> None:
    with opened(browser, site.address) as page:
        page.goto("/basket")
        first = page.locator("a[id^='add-']").first
        product = str(first.get_attribute("id")).removeprefix("add-")
        first.click()
        expect(page.locator(f"#drop-{product}")).to_be_visible()
        assert page.locator("section.list ol > li").count() > 0
        page.reload()
        page.locator(f"#drop-{product}").click()
        expect(page.get_by_text("The list stands here")).to_be_visible()


def test_three_products_are_found_by_their_titles_and_give_the_list_of_the_api(browser: Browser, site: Site) -> None:
    with opened(browser, site.address) as page:
        page.goto("/basket")
        for words in (f"{PRODUCTS[7]}", "<SCRIPT> bold", "gnp"):
            page.get_by_label("Title or product id").fill(words)
            page.keyboard.press("Enter")
            expect(page.locator("a[id^='add-']")).to_have_count(1)
            page.locator("a[id^='add-']").click()
            expect(page.locator("a[id^='add-']")).to_have_count(0)
            page.get_by_role("link", name="All products").click()
            expect(page.get_by_label("Title or product id")).to_have_value("")
        chosen = [PRODUCTS[7], PRODUCTS[0], PRODUCTS[2]]
        expect(page.locator("a[id^='drop-']")).to_have_count(3)
        asked = {"ratings": [{"product_id": one} for one in chosen]}
        answer: Any = page.request.post(f"{site.address}/recommendations", data=asked).json()["recommendations"]
        rows = page.locator("section.list ol > li").all()
        assert [row.get_attribute("data-product") for row in rows] == [one["product_id"] for one in answer]
        page.get_by_label("Title or product id").fill("nothing is called so")
        page.keyboard.press("Enter")
        expect(page.get_by_text("No other title holds “nothing is called so”")).to_be_visible()
        page.go_back()
        expect(page.locator("a[id^='add-']").nth(1)).to_be_visible()
        expect(page.locator("a[id^='drop-']")).to_have_count(3)


def test_a_product_of_a_list_leads_to_its_page_to_others_and_to_a_basket(page: Page, site: Site) -> None:
    page.goto("/shoppers/1")
    product = by_api(site)[0]
    page.locator("#taste-1 a.title").click()
    expect(page).to_have_url(f"{site.address}/p/{product}")
    figures: Any = site.get(f"/products/{product}/figures").json()
    stars = page.locator("section[aria-labelledby='stars'] .bars")
    assert stars.locator("dt").all_text_contents() == [
        f"{row['stars']:g} ★" for row in figures["ratings_by_stars"][::-1]
    ]
    assert stars.locator("dd.number").all_text_contents() == [
        str(row["ratings"]) for row in figures["ratings_by_stars"][::-1]
    ]
    similar: Any = site.get(f"/products/{product}/similar").json()["similar"]
    first = page.locator("section[aria-labelledby='similar'] li").first
    expect(first).to_contain_text(f"{similar[0]['users_in_common']} people rated both")
    expect(first).to_contain_text(f"similarity {similar[0]['similarity']:g}")
    expect(page.locator("section[aria-labelledby='lists']")).to_contain_text("No lists are published")
    first.locator("a.title").click()
    expect(page).to_have_url(f"{site.address}/p/{similar[0]['product_id']}")
    page.get_by_role("link", name="Try it in a basket").click()
    expect(page.locator(f"#drop-{similar[0]['product_id']}")).to_be_visible()


def test_everything_can_be_done_by_keyboard_from_end_to_end(browser: Browser, site: Site) -> None:
    """Sign in, find a shopper, read a reason, rate, save, undo, look at a product, fill a basket, sign out."""
    with opened(browser, site.address, may_fail="status of 401") as page:
        page.goto("/")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        _press(page, "nav a >> text=Shoppers")
        expect(page.get_by_label("API key")).to_be_visible()
        _tab_to(page, "#key")
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        _tab_to(page, "input[name=id]")
        page.keyboard.type("5")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Shopper 5")
        before = by_api(site, user=5)
        _press(page, "#by-classic")
        expect(page.locator("#by-classic")).to_be_focused()  # the list changed in place
        _press(page, "#by-taste")
        _press(page, "#taste-1 summary")
        expect(page.locator("#taste-1 .stars-strip")).to_be_visible()
        _press(page, "#taste-1 .whatif a >> nth=4")
        expect(page.get_by_role("heading", name="What if")).to_be_visible()
        _press(page, "#ask-to-save")
        _press(page, "#save")
        expect(page.get_by_role("status")).to_contain_text("Saved: 1 rating.")
        assert by_api(site, user=5) != before
        _press(page, "#undo")
        expect(page.get_by_role("status")).to_have_text("Undone. The ratings are as they were before.")
        assert by_api(site, user=5) == before
        _press(page, "#taste-1 a.title")
        expect(page.get_by_role("link", name="Try it in a basket")).to_be_visible()
        _press(page, "a >> text=Try it in a basket")
        _press(page, "a[id^='add-']")
        expect(page.locator("a[id^='drop-']")).to_have_count(2)
        _press(page, "button >> text=Sign out")
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def _press(page: Page, wanted: str) -> None:
    _tab_to(page, wanted)
    page.keyboard.press("Enter")


def _tab_to(page: Page, wanted: str) -> None:
    target = page.locator(wanted).first
    expect(target).to_be_visible()
    for _ in range(90):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by the tabulator")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_fault_of_accessibility_in_either_theme(browser: Browser, site: Site, scheme: str) -> None:
    with opened(browser, site.address, color_scheme=scheme) as page:
        page.goto("/sign-in")
        assert violations(page) == []
        sign_in(page)
        for path in PAGES[:-3]:  # of products one is enough
            page.goto(path)
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert violations(page) == [], path


@pytest.mark.parametrize("width", [360, 3840])
def test_no_title_breaks_the_layout_on_a_phone_or_a_wide_screen(browser: Browser, site: Site, width: int) -> None:
    with opened(browser, site.address, width=width) as page:
        sign_in(page)
        for path in [*PAGES, "/shoppers/2?limit=20"]:
            page.goto(path)
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert page.title() != "broken"


def test_without_javascript_lists_rankings_and_what_ifs_still_work(browser: Browser, site: Site) -> None:
    with opened(browser, site.address, java_script_enabled=False) as page:
        sign_in(page)
        page.goto("/shoppers/1")
        assert listed(page) == by_api(site)
        page.locator("#by-classic").click()
        assert listed(page, "classic") == by_api(site, "?ranking=classic")
        rated = by_api(site)[0]
        page.goto("/shoppers/1")
        page.locator("#taste-1 summary").click()
        page.locator("#taste-1 .whatif a").first.click()
        expect(page.get_by_role("heading", name="What if")).to_be_visible()
        assert rated not in listed(page)
        page.locator("#ask-to-save").click()
        expect(page.locator("#save")).to_be_visible()
        page.get_by_text("Filters").click()
        page.get_by_label("Products", exact=True).fill("2")
        page.locator("#filter").click()
        expect(page.get_by_role("heading", name="What if")).to_be_visible()
        assert len(listed(page)) == 2
        page.goto("/basket?title=WWW")
        page.locator("a[id^='add-']").click()
        assert page.locator("section.list ol > li").count() > 0
        page.goto("/")
        expect(page.get_by_role("heading", name="The long tail")).to_be_visible()
