"""The routes of the taste map: regions for everybody, people only for a key, and nobody who has gone."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import recommendation_engine
from recommender.model import Region
from recommender.publishing import SavedMap
from recommender.service.routes import taste_map as routes
from recommender.settings import load_settings
from recommender.updates import make_map
from tests.conftest import ROOT
from tests.support.map_site import serve_map
from tests.support.service import WITH_KEY, wait_until
from tests.support.site import PEOPLE, PRODUCTS, WITHOUT_RATINGS, Site, serve_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_map(tmp_path_factory.mktemp("site")) as site:
        yield site


def saved_of(site: Site) -> SavedMap:
    maps, model = site.app.state.maps, site.app.state.model
    assert maps is not None
    assert model is not None
    saved = maps.find(1, model.people)
    assert saved is not None
    return saved


def points_of(site: Site) -> np.ndarray:
    """Return x, y and region of each point, (n, 3), as a client reads them."""
    answer = site.get("/map/points")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    n, left = divmod(len(answer.content), 5)
    assert left == 0
    x, y = (np.frombuffer(answer.content, "<u2", n, 2 * n * at) for at in (0, 1))
    return np.stack([x, y, np.frombuffer(answer.content, np.uint8, n, 4 * n)], axis=1)


def test_regions_are_open_and_tell_nobodys_place(site: Site) -> None:
    answer: Any = httpx2.get(f"{site.address}/map.json", timeout=60)
    assert answer.headers["cache-control"] == "private, no-store"
    found = answer.json()
    assert (found["version"], found["is_newest"], found["people"]) == (1, True, len(PEOPLE))
    assert [region["people"] for region in found["regions"]] == [len(PEOPLE)]
    assert {one["category"] for one in found["regions"][0]["categories"]} == {"Shoes & <Socks>", "Kitchen", "Toys"}
    assert "user" not in answer.text
    assert "shopper" not in answer.text


def test_regions_of_few_people_need_a_key(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = saved_of(site)
    regions = [Region(1, 2, 3, people, []) for people in (30, 10, 9)]
    found = replace(saved, tastes=replace(saved.tastes, regions=regions))
    monkeypatch.setattr(site.app.state.maps, "find", lambda *_: found)
    without: Any = httpx2.get(f"{site.address}/map.json", timeout=60).json()
    assert [region["people"] for region in without["regions"]] == [30, 10]
    assert [region["people"] for region in site.get("/map.json").json()["regions"]] == [30, 10, 9]


def test_the_first_view_takes_less_than_100_kb(site: Site) -> None:
    page, total = site.get("/map?shopper=5"), 0
    scripts = re.findall(r'(?:src|href)="(/assets/[^"]*)"', page.text)
    assert any("map.js" in path for path in scripts)
    for path in ("/map?shopper=5", *scripts):
        with httpx2.stream("GET", site.address + path, headers=WITH_KEY | {"Accept-Encoding": "gzip"}) as answer:
            total += len(b"".join(answer.iter_raw()))
    assert 10_000 < total < 100_000
    links = re.findall(r'href="([^"]*)"', page.text.partition('<footer class="bottom">')[2])
    assert links == ["/map.json", "/map/shopper?user_id=5", "/docs"]
    assert all(site.get(link).status_code == 200 for link in links)
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=", page.text)


def test_the_map_of_a_service_with_a_model_file_is_that_of_its_version(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = site.app.state
    assert state.model is not None
    monkeypatch.setattr(state, "model", replace(state.model, version=7))
    assert state.published == 1
    monkeypatch.setattr(state, "model_file", tmp_path / "shop.model")
    assert state.published == 7


def test_points_are_the_places_of_the_map_in_its_order(site: Site) -> None:
    tastes = saved_of(site).tastes
    assert tastes.user_ids.tolist() == list(PEOPLE)
    found = points_of(site)
    assert found[:, :2].tolist() == tastes.places.tolist()
    assert found[:, 2].tolist() == (tastes.regions_of + 1).tolist()
    assert site.get("/map/points").headers["content-encoding"] == "gzip"
    plain = site.get("/map/points", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(plain.content) == 5 * len(PEOPLE)


@pytest.mark.parametrize("path", ["/map/shopper?user_id=5", "/map/points/4"])
def test_a_shopper_has_the_neighbors_of_the_api_with_their_places(site: Site, path: str) -> None:
    found: Any = site.get(path).json()
    near: Any = site.get("/users/5/neighbors").json()
    points = points_of(site)
    assert (found["user_id"], found["ranking"]) == (5, near["ranking"])
    assert [{name: one[name] for name in near["neighbors"][0]} for one in found["neighbors"]] == near["neighbors"]
    assert len(near["neighbors"]) > 5
    for one in [found, *found["neighbors"]]:
        place = one["place"]
        assert place["point"] == one["user_id"] - 1
        assert [place["x"], place["y"], place["region"]] == points[place["point"]].tolist()


def test_somebody_who_came_after_the_map_has_neighbors_and_no_place(site: Site) -> None:
    rated = {"user_id": WITHOUT_RATINGS, "product_id": PRODUCTS[0], "rating": 5}
    stored = httpx2.post(f"{site.address}/ratings", json=rated, headers=WITH_KEY, timeout=60)
    assert stored.status_code == 201
    found: Any = site.get(f"/map/shopper?user_id={WITHOUT_RATINGS}").json()
    assert found["place"] is None
    assert found["neighbors"]
    assert all(one["place"] is not None for one in found["neighbors"])


def test_who_has_been_erased_is_nowhere(site: Site) -> None:
    before = points_of(site)
    assert httpx2.delete(f"{site.address}/users/24", headers=WITH_KEY).status_code == 204
    after = points_of(site)
    assert after[23, :2].tolist() == [routes.NOWHERE, routes.NOWHERE]
    assert after[:23].tolist() == before[:23].tolist()
    for path in ("/map/points/23", "/map/shopper?user_id=24", "/map/points/24", "/map/points/2147483647"):
        assert site.get(path).status_code == 404, path


def test_a_faulty_parameter_is_told(site: Site) -> None:
    for path in ("/map/points/x", "/map/points/-1", "/map/points/2147483648", "/map/shopper?user_id=x", "/map/shopper"):
        assert site.get(path).status_code == 422, path


def test_no_place_is_told_while_the_user_ids_mean_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(site.app.state), "means_others", lambda _state, model: model is not None)
    for path in ("/map/points", "/map/points/1", "/map/shopper?user_id=1", "/map/own-points"):
        answer = site.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), path


def test_the_service_has_a_missing_map_made_by_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_site(tmp_path) as site:
        maps = site.app.state.maps
        assert maps is not None
        assert maps._command == (sys.executable, str(ROOT / "recommendation_engine.py"), "--map")
        # in its place one that takes as long as this test wants
        made, wanted = tmp_path / "made", tmp_path / "shop.db.map.v1"
        take = f"import os, time\nwhile not os.path.exists('{made}'): time.sleep(0.01)\nos.rename('{made}', '{wanted}')"
        maps._command = (sys.executable, "-c", take)
        for path, status in (("/map.json", 404), ("/map/points", 404), ("/map", 200)):
            assert site.get(path).status_code == status
        assert "No version is published yet" in site.get("/map").text
        assert recommendation_engine.main(["--force"]) == 0
        wait_until(lambda: site.app.state.published == 1)
        make_map(load_settings())[0].rename(tmp_path / "later")
        waiting = site.get("/map.json")
        assert (waiting.status_code, waiting.headers["retry-after"]) == (503, "5")
        assert "is being made" in waiting.json()["detail"]
        assert "The map is being drawn" in site.get("/map").text
        (tmp_path / "later").rename(made)
        wait_until(lambda: site.get("/map.json").status_code == 200)
        assert site.get("/map.json").json()["people"] == len(PEOPLE)
        # another version: the map of the one before stands in for it
        asked: list[int] = []
        monkeypatch.setattr(maps, "ask", asked.append)
        assert recommendation_engine.main(["--force", "--top-n-recommendations", "5"]) == 0
        wait_until(lambda: site.app.state.published == 2)
        found = site.get("/map.json").json()
        assert (found["version"], found["is_newest"], asked) == (1, False, [2])
        assert "This is the map of version 1. That of version 2 is being drawn" in site.get("/map").text
        maps.failure = "it <broke>"
        assert "The map of version 2 could not be made: it &lt;broke&gt;" in site.get("/map").text
        monkeypatch.setattr(maps, "find", lambda *_: None)
        assert "The map could not be made: it &lt;broke&gt;" in site.get("/map").text
        assert site.get("/map.json").json()["detail"] == "it <broke>"
