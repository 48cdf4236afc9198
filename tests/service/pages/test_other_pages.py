"""The pages of a basket, a product and the versions, and the pictures of products."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, update

import api
import recommendation_engine
from recommender.database import connect, writing
from recommender.database.schema import products
from recommender.publishing import Version
from recommender.service.pages.pictures import placeholder
from recommender.settings import load_settings
from tests.support.mariadb_server import MariaDBServer
from tests.support.service import KEY, WITH_KEY
from tests.support.shop import fill, product_row
from tests.support.site import PRODUCTS, SCRIPT, Site, serve_site, stars

RATED = PRODUCTS[5]


def rows(page: str, section: str) -> str:
    return page.partition(f'aria-labelledby="{section}"')[2].partition("</section>")[0]


def test_a_basket_without_a_key_gets_the_list_of_the_api(site: Site) -> None:
    chosen = PRODUCTS[4:6]
    query = "&".join(f"product={one}" for one in chosen)
    page = site.get(f"/basket?{query}", headers={"X-API-Key": ""})
    assert page.status_code == 200
    asked = {"ratings": [{"product_id": one} for one in chosen]}
    answer: Any = httpx2.post(f"{site.address}/recommendations", json=asked, timeout=60).json()["recommendations"]
    assert re.findall(r'data-product="(\w+)"', page.text) == [item["product_id"] for item in answer]
    assert rows(page.text, "chosen").count("Take out") == 2
    assert f'id="add-{chosen[0]}"' not in page.text


def test_an_empty_basket_shows_products_to_pick_from_by_category(site: Site) -> None:
    page = site.get("/basket?category_id=2").text
    popular: Any = site.get("/popular?category_id=2&limit=12").json()["popular"]
    assert re.findall(r'id="add-(\w+)"', page) == [item["product_id"] for item in popular]
    assert "The list stands here as soon as" in page
    assert site.get("/basket?product=B000000099").status_code == 404
    assert site.get("/basket?category_id=x").status_code == 422


def test_a_product_shows_the_figures_of_the_api(site: Site) -> None:
    page, facts = site.get(f"/p/{RATED}").text, site.get(f"/products/{RATED}").json()
    assert f"{facts['ratings']} people, {facts['mean_rating']:g} stars on average" in page
    figures = site.get(f"/products/{RATED}/figures").json()
    assert sum(row["ratings"] for row in figures["ratings_by_stars"]) == facts["ratings"]
    assert rows(page, "stars").count("<dt") == len(figures["ratings_by_stars"])
    assert figures["segments"] == [
        {"country": "DE", "age_group": "25-34", "ratings": facts["ratings"], "mean_rating": facts["mean_rating"]}
    ]
    similar: Any = site.get(f"/products/{RATED}/similar").json()["similar"]
    assert re.findall(r'href="/p/(\w+)"', rows(page, "similar")) == [item["product_id"] for item in similar]


def test_stars_of_few_people_are_shown_only_to_somebody_with_a_key(site: Site) -> None:
    assert site.get(f"/products/{RATED}").json()["ratings"] < 10
    without = {"X-API-Key": ""}
    figures = site.get(f"/products/{RATED}/figures", headers=without).json()
    assert figures["ratings_by_stars"] is None
    assert figures["segments"] == []
    page = site.get(f"/p/{RATED}", headers=without).text
    assert "Fewer than ten people have rated it" in page
    assert "<dt" not in rows(page, "stars")


def test_versions_can_be_rolled_back_after_being_asked_once_more(tmp_path: Path) -> None:
    with serve_site(tmp_path) as site:
        assert "No version yet" in site.get("/versions").text
        assert recommendation_engine.main([]) == 0
        assert recommendation_engine.main(["--top-n-recommendations", "5", "--force"]) == 0
        assert states(site) == {2: "published", 1: "kept"}
        listed = site.get(f"/products/{RATED}/figures").json()
        assert sum(row["lists"] for row in listed["lists"]) > 0
        assert "published list" in rows(site.get(f"/p/{RATED}").text, "lists")
        page = site.get("/versions?roll_back=1").text
        assert "Publish version 1 again?" in page
        assert "--rollback 1" in page
        assert "Publish version" not in site.get("/versions?roll_back=2").text
        address = f"{site.address}/versions/1/roll-back"
        assert httpx2.post(address, timeout=60).status_code == 401
        done = httpx2.post(address, headers={"X-API-Key": KEY}, timeout=60)
        assert (done.status_code, done.headers["location"]) == (303, "/versions?done=1")
        assert states(site) == {2: "kept", 1: "published"}
        assert "Version 1 is published again" in site.get("/versions?done=1").text
        assert 'role="status"' not in site.get("/versions?done=2").text
        missing = httpx2.post(f"{site.address}/versions/9/roll-back", headers={"X-API-Key": KEY}, timeout=60)
        assert missing.status_code == 409
        assert "--rollback 9" in missing.text


def test_a_version_that_the_gate_refused_stands_first_on_the_first_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"ranking": "taste", "n": 10}
    old = Version(1, datetime(2026, 1, 31, tzinfo=UTC), "x", 9, settings)
    refused = replace(old, number=2, state="kept", metrics={"verdict": "refused"})

    async def read(_job: object) -> list[Version]:
        return [old, refused]

    monkeypatch.setattr(site.app.state.updater, "read", read)
    main = site.get("/").text.partition("<main")[2]
    assert "Version 2 was not published: the gate refused it." in main.partition("<h1>")[0]


def states(site: Site) -> dict[int, str]:
    found: Any = site.get("/versions.json").json()["versions"]
    assert "fingerprint" not in json.dumps(found)
    return {one["version"]: one["state"] for one in found}


def test_pictures_of_the_catalog_come_only_with_the_setting_and_only_from_the_hosts_of_the_page(
    site: Site, tmp_path: Path
) -> None:
    page = site.get(f"/p/{PRODUCTS[4]}")
    assert "<img class" not in page.text
    assert "img-src 'self';" in page.headers["content-security-policy"]
    with serve_site(tmp_path, PRODUCT_IMAGES="1") as other:
        engine = connect(load_settings(environ={"SQLITE_FILE": str(tmp_path / "shop.db")}, env_file=tmp_path / "no"))
        urls = {PRODUCTS[4]: "javascript:alert(1)", PRODUCTS[5]: "https://a.example;script-src/x", PRODUCTS[6]: None}
        with writing(engine) as connection:
            for product, url in urls.items():
                connection.execute(update(products).where(products.c.asin == product).values(imgUrl=url))
        engine.dispose()
        shown = other.get(f"/p/{PRODUCTS[7]}")
        assert f'src="https://example.com/{PRODUCTS[7]}.jpg"' in shown.text
        assert "img-src 'self' https://example.com;" in shown.headers["content-security-policy"]
        for product in urls:
            page = other.get(f"/p/{product}")
            assert "javascript:" not in page.text
            assert "a.example" not in page.text + page.headers["content-security-policy"]
            assert 'class="picture large"><svg' in page.text


def test_a_drawing_is_the_same_each_time_differs_from_others_and_holds_no_text_of_the_title() -> None:
    assert placeholder(PRODUCTS[0], "A", 1) == placeholder(PRODUCTS[0], "A", 1)
    drawings = {str(placeholder(product, "A", 1)) for product in PRODUCTS}
    assert len(drawings) == len(PRODUCTS)
    assert "script" not in placeholder(PRODUCTS[0], SCRIPT, None).replace("<text", "")
    assert ">&amp;" not in placeholder(PRODUCTS[0], "&<", None)


@pytest.mark.parametrize("path", ["/p/B000000099", "/p/a%2Fb%3Fc", "/p/%3Cscript%3E"])
def test_an_unknown_product_is_told_as_text(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code in (404, 422)
    assert "<script>" not in answer.text


def test_the_metrics_of_all_versions_stand_as_lines_and_in_the_table(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [
        Version(number, datetime(2026, 1, number, tzinfo=UTC), "x", 9, {"ranking": "taste"}) for number in range(1, 5)
    ]
    figures = {1: (0.25, 0.5, 1.0), 2: None, 3: (0.5, 0.25, 0.75), 4: (0.125, 0.75, None)}
    names = ("ndcg@10", "coverage@10", "served")
    for at, version in enumerate(made):
        if (means := figures[version.number]) is not None:
            metrics = {name: {"mean": mean} for name, mean in zip(names, means, strict=True)}
            made[at] = replace(version, metrics=metrics)

    async def found(_request: object) -> list[Version]:
        return made

    monkeypatch.setattr("recommender.service.pages.versions.versions_of", found)
    page = site.get("/versions").text
    drawn = rows(page, "quality").split("<figcaption>")[1:]
    assert [part.partition("<br>")[0] for part in drawn] == ["nDCG@10", "Products shown", "Shoppers served"]
    assert [part.count('class="dot"') for part in drawn] == [3, 3, 2]
    assert [re.findall(r">(v\d)<", part) for part in drawn] == [["v1", "v3", "v4"], ["v1", "v3", "v4"], ["v1", "v3"]]
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn[0])]
    assert heights[1] < heights[0] < heights[2]  # 0.5 above 0.25 above 0.125
    table = re.findall(r'<td class="number">([^<]*)</td>', rows(page, "all"))
    assert [table[at : at + 3] for at in range(0, 20, 5)] == [
        ["0.1250", "75 %", "–"],
        ["0.5000", "25 %", "75 %"],
        ["–", "–", "–"],
        ["0.2500", "50 %", "100 %"],
    ]


@pytest.mark.parametrize("backend", ["mariadb"])
def test_an_account_that_may_not_rename_tables_is_shown_the_command_and_nothing_changes(
    backend: str, engine: Engine, env: dict[str, str], mariadb: MariaDBServer, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    fill(engine, stars(), [product_row(one) for one in PRODUCTS])
    monkeypatch.chdir(tmp_path)
    for name, value in (env | {"MODEL_FILE": "", "API_KEY": KEY, "RANKING": "classic"}).items():
        monkeypatch.setenv(name, value)
    assert recommendation_engine.main([]) == 0
    assert recommendation_engine.main(["--top-n-recommendations", "5", "--force"]) == 0
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER 'reader'@'127.0.0.1' IDENTIFIED BY 'readers password'")
        rights = "SELECT, INSERT, UPDATE, DELETE, CREATE"
        cursor.execute(f"GRANT {rights} ON `{env['DB_NAME']}`.* TO 'reader'@'127.0.0.1'")
    try:
        monkeypatch.setenv("DB_USER", "reader")
        monkeypatch.setenv("DB_PASSWORD", "readers password")
        with TestClient(api.create_app(), headers=WITH_KEY) as client:
            before = client.get("/versions.json").json()
            refused = client.post("/versions/1/roll-back")
            assert refused.status_code == 409
            assert "python recommendation_engine.py --rollback 1" in refused.text
            assert "denied" in refused.text
            assert "readers password" not in refused.text
            assert client.get("/versions.json").json() == before
            assert [one["state"] for one in before["versions"]] == ["published", "kept"]
    finally:
        with mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute("DROP USER 'reader'@'127.0.0.1'")
