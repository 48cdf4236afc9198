"""The taste map in a real browser: what is drawn is what the API says, by mouse, by keyboard, and without a key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import opened, sign_in, violations
from tests.support.map_site import serve_map
from tests.support.service import KEY
from tests.support.site import PEOPLE, WITHOUT_RATINGS, Site

INKED = """() => {
  const map = document.getElementById("map"), [wide, high] = [map.width, map.height];
  const of = map.getContext("2d").getImageData(0, 0, wide, high).data;
  let n = 0;
  for (let at = 3; at < of.length; at += 4) n += of[at] > 0;
  return n / (wide * high);
}"""

# the first and the last column and row of pixels in the tone of region 9, which has no name
EDGES = """() => {
  const map = document.getElementById("map"), context = map.getContext("2d");
  const { data, width } = context.getImageData(0, 0, map.width, map.height);
  const tone = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--tone-9").trim().slice(1), 16);
  const [xs, ys] = [[], []];
  for (let at = 0; at < data.length; at += 4) {
    const near = [16, 8, 0].every((by, part) => Math.abs(data[at + part] - ((tone >> by) & 255)) < 3);
    if (!near || data[at + 3] < 250) continue;
    xs.push((at / 4) % width);
    ys.push(Math.floor(at / 4 / width));
  }
  const ends = (all) => all.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [1e9, -1]);
  return [...ends(xs), ...ends(ys)];
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_map(tmp_path_factory.mktemp("site")) as site:
        yield site


def show(page: Page, path: str = "/map") -> None:
    """Open the map and wait until all is drawn."""
    page.goto(path)
    expect(page.locator("#map")).to_have_attribute("data-drawn", str(len(PEOPLE)))


def expect_lines(page: Page, to: list[str]) -> None:
    """Expect lines to exactly these people, nearest first."""
    expect(page.locator("#map")).to_have_attribute("data-lines", ",".join(to))


def neighbors(site: Site, user: int) -> list[str]:
    found: Any = site.get(f"/users/{user}/neighbors").json()["neighbors"]
    return [str(one["user_id"]) for one in found]


def test_a_shopper_who_is_searched_has_the_neighbors_of_the_api_in_the_drawing_and_in_the_table(
    page: Page, site: Site
) -> None:
    show(page)
    page.get_by_label("Shopper id").fill("5")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Shopper 5")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/map\?shopper=5$"))
    near: Any = site.get("/users/5/neighbors").json()["neighbors"]
    expect_lines(page, neighbors(site, 5))
    rows = page.locator("#near tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        ["Shopper", str(one["user_id"]), f"{one['similarity']:.3f}", str(one["shared_products"])] for one in near
    ]
    page.get_by_role("link", name=f"Shopper {near[0]['user_id']}", exact=True).click()
    expect(page.get_by_role("heading", name=f"Shopper {near[0]['user_id']}")).to_be_focused()
    expect_lines(page, neighbors(site, near[0]["user_id"]))
    page.go_back()
    expect(page.get_by_role("heading", name="Shopper 5")).to_be_visible()
    expect_lines(page, neighbors(site, 5))
    page.get_by_role("link", name="See the list of shopper 5").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Shopper 5")


def test_a_click_on_a_point_chooses_that_shopper_and_a_drag_moves_the_map(page: Page, site: Site) -> None:
    show(page)
    places = np.frombuffer(site.get("/map/points").content, "<u2", 2 * len(PEOPLE)).reshape(2, -1).T / 65_534
    lonely = int(np.argmax([np.partition(np.hypot(*(places - one).T), 1)[1] for one in places]))
    box = page.locator("#map").bounding_box()
    assert box is not None
    x, y = ((places[lonely] - 0.5) * min(box["width"], box["height"]) * 0.92).tolist()
    page.mouse.click(box["x"] + box["width"] / 2 + x, box["y"] + box["height"] / 2 + y)
    expect(page.locator("#chosen-name")).to_have_text(f"Shopper {PEOPLE[lonely]}")
    expect(page).to_have_url(re.compile(rf"/map\?shopper={PEOPLE[lonely]}$"))
    expect_lines(page, neighbors(site, PEOPLE[lonely]))
    before = view(page)
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 230)
    page.mouse.up()
    assert view(page) != before
    expect(page.locator("#chosen-name")).to_have_text(f"Shopper {PEOPLE[lonely]}")


def view(page: Page) -> list[float]:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return [float(one) for one in str(page.locator("#map").get_attribute("data-view")).split()]


def test_the_map_moves_and_zooms_by_keyboard_wheel_and_buttons(page: Page) -> None:
    show(page)
    assert view(page) == [0.5, 0.5, 1.0]
    page.locator("#map").focus()
    page.keyboard.press("+")
    x, y, zoom = view(page)
    assert (x, y, zoom) == (0.5, 0.5, 1.5)
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowLeft", 0, -1), ("ArrowDown", 1, 1), ("ArrowUp", 1, -1)):
        before = view(page)
        page.keyboard.press(key)
        assert (view(page)[axis] - before[axis]) * sign > 0.01, key
    page.keyboard.press("-")
    assert view(page)[2] == 1.0
    page.locator("#map").hover(position={"x": 100, "y": 100})
    page.mouse.wheel(0, -500)
    x, y, zoom = view(page)
    assert zoom > 2
    assert (x < 0.5, y < 0.5) == (True, True)  # what is under the pointer stays there
    page.get_by_role("button", name="All").click()
    assert view(page) == [0.5, 0.5, 1.0]
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom out").click()
    assert view(page)[2] == 1.5


def test_two_fingers_zoom_the_map_and_one_moves_it(browser: Browser, site: Site) -> None:
    with opened(browser, site.address, width=360, has_touch=True) as page:
        page.goto("/map")
        box = page.locator("#map").bounding_box()
        assert box is not None
        fingers, middle = page.context.new_cdp_session(page), (box["x"] + box["width"] / 2, box["y"] + 100)

        def touch(kind: str, *apart: tuple[float, float]) -> None:
            points = [{"x": middle[0] + x, "y": middle[1] + y, "id": at} for at, (x, y) in enumerate(apart)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", (-20, 0), (20, 0))
        touch("touchMove", (-40, 0), (20, 0))
        touch("touchMove", (-40, 0), (40, 0))
        touch("touchEnd")
        x, y, zoom = view(page)
        assert (x, zoom) == pytest.approx((0.5, 2.0), abs=0.02)
        touch("touchStart", (0, 0))
        touch("touchMove", (-30, 0))
        touch("touchEnd")
        assert view(page)[0] > x + 0.02
        assert view(page)[1:] == [y, zoom]


def test_without_a_key_there_are_regions_and_no_request_for_people(browser: Browser, site: Site) -> None:
    with opened(browser, site.address) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.removeprefix(site.address)))
        page.goto("/map")
        expect(page.locator("#map")).to_be_visible()
        assert view(page) == [0.5, 0.5, 1.0]
        assert page.evaluate(INKED) > 0.01
        assert not [path for path in asked if "point" in path or "shopper" in path]
        regions: Any = site.get("/map.json", headers={"X-API-Key": ""}).json()["regions"]
        assert page.locator("#regions tbody tr").count() == len(regions) > 0
        assert not re.search(r"Shopper \d|shopper=\d|/shoppers/\d", page.content())
        page.get_by_role("link", name="Sign in").last.click()
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        page.wait_for_url("**/map")


def test_an_unknown_shopper_and_one_without_a_place_are_told_beside_the_map(page: Page, site: Site) -> None:
    with opened(page.context.browser, site.address, may_fail="status of 404|Response Status Error Code 404") as other:  # type: ignore[arg-type]
        sign_in(other)
        show(other)
        for wanted, words in (("999", "User 999 is unknown"), ("<b>x", "“<b>x” is no id of a shopper.")):
            other.get_by_label("Shopper id").fill(wanted)
            other.get_by_role("button", name="Find").click()
            expect(other.locator("#chosen [role=alert]")).to_contain_text(words)
            assert other.locator("#map").is_visible()
        other.goto(f"/map?shopper={WITHOUT_RATINGS}")
        expect(other.locator("#chosen")).to_contain_text("No place on this map")


def test_fifty_thousand_points_are_drawn_each_in_its_place(page: Page) -> None:
    n = 50_000
    x = np.full(n, 0.25 * 65_534, "<u2")  # all on a line but one, who has been erased
    y = np.linspace(0.2 * 65_534, 0.8 * 65_534, n).astype("<u2")
    x[0] = y[0] = 65_535
    body = x.tobytes() + y.tobytes() + np.full(n, 9, np.uint8).tobytes()
    page.route("**/map/own-points", lambda route: route.fulfill(status=200, body=body))
    page.goto("/map")
    expect(page.locator("#map")).to_have_attribute("data-drawn", str(n))
    view(page)
    left, right, top, bottom = page.evaluate(EDGES)
    wide, high = page.evaluate("[map.width, map.height]")
    side = min(wide, high) * 0.92
    assert [left, right] == pytest.approx([wide / 2 - 0.25 * side] * 2, abs=2)
    assert [top, bottom] == pytest.approx([high / 2 - 0.3 * side, high / 2 + 0.3 * side], abs=2)


def test_points_that_cannot_be_loaded_are_told(browser: Browser, site: Site) -> None:
    with opened(browser, site.address, may_fail="ERR_FAILED") as page:
        sign_in(page)
        page.route("**/map/own-points", lambda route: route.abort())
        page.goto("/map")
        expect(page.locator("#map-state")).to_contain_text("could not be loaded")


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 360), ("light", 3840), ("dark", 1280)])
def test_the_map_has_no_fault_of_accessibility_and_fits_each_screen(
    browser: Browser, site: Site, scheme: str, width: int
) -> None:
    with opened(browser, site.address, width=width, color_scheme=scheme) as page:
        page.goto("/map")
        assert violations(page) == []
        sign_in(page)
        show(page, "/map?shopper=5")
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(INKED) > 0.002


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_table_of_versions_has_no_fault_of_accessibility(browser: Browser, site: Site, scheme: str) -> None:
    with opened(browser, site.address, color_scheme=scheme) as page:
        page.goto("/versions")
        expect(page.get_by_role("rowheader", name="1", exact=True)).to_be_visible()
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert violations(page) == []


def test_without_javascript_the_tables_tell_it(browser: Browser, site: Site) -> None:
    with opened(browser, site.address, java_script_enabled=False) as page:
        sign_in(page)
        page.goto("/map")
        expect(page.get_by_text("The drawing needs JavaScript")).to_be_visible()
        expect(page.locator("#map")).to_be_hidden()
        page.get_by_label("Shopper id").fill("5")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Shopper 5")).to_be_visible()
        found = [str(row.get_attribute("data-user")) for row in page.locator("#near tbody tr").all()]
        assert found == neighbors(site, 5)
        expect(page.locator("#regions")).to_be_visible()


def test_a_map_that_is_being_made_appears_by_itself(page: Page, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = site.app.state.maps
    assert maps is not None
    with monkeypatch.context() as patch:
        patch.setattr(maps, "find", lambda *_: None)
        patch.setattr(maps, "ask", lambda _version: None)
        page.goto("/map")
        expect(page.get_by_role("heading", name="The map is being drawn")).to_be_visible()
        assert violations(page) == []
    expect(page.locator("#map")).to_have_attribute("data-drawn", str(len(PEOPLE)))
    assert page.evaluate(INKED) > 0.001
