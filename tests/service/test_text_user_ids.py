"""A shop whose user ids are texts speaks them everywhere outward: steps, tables, paths, queries, bodies, answers."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from fastapi.testclient import TestClient
from markupsafe import escape
from sqlalchemy import Engine, insert, select

import api
import load_recommendation_data as step2
import recommendation_engine as step3
from recommender.database import TEXT, writing
from recommender.database.schema import data_origin, lists_by_text, ratings, recommendations, user_id_map, users
from recommender.errors import SettingError, UnknownUserError
from recommender.publishing import open_model
from recommender.service.parameters import NO_TEXT_ID
from recommender.settings import load_settings
from recommender.updates import make_map
from tests.support.service import KEY, WITH_KEY, wait_until
from tests.support.shop import WHEN, fill

ASINS = [f"B{n:09d}" for n in range(8)]
ANN, BEN, ODD, SLASH = "C-0042", "042", "ben@example.com", "a/b%2Fc?d#e"
RTL, EMOJI, SQL, DOTS, LONG = "שלום,עולם", "🍵" * 64, "'; DROP TABLE users; --", "..x", "ÿ" * 64
NAMES = [ANN, BEN, ODD, SLASH, RTL, EMOJI, SQL, DOTS, LONG, "batch", "ratings", "Anna", "anna", "é", "e", "z"]


def taste(place: int) -> dict[str, int]:
    """Everybody shares a product with the neighbors in the list of names."""
    return {ASINS[place % 8]: 5, ASINS[(place + 1) % 8]: 4, ASINS[(place + 3) % 8]: 1 + place % 5}


PEOPLE = {name: taste(place) for place, name in enumerate(NAMES)}


def load(engine: Engine, people: Mapping[str, Mapping[str, int]], **options: object) -> None:
    with Path("mine.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [(who, product, stars) for who, given in people.items() for product, stars in given.items()]
        csv.writer(file).writerows([("user_id", "product_id", "rating"), *rows])
    step2.import_ratings(engine, Path("mine.csv"), replace=True, **options)  # type: ignore[arg-type]


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A catalog, text people and their lists, by the steps."""
    for name, value in (env | {"API_KEY": KEY, "RANKING": "classic"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    fill(engine, {}, ASINS)
    load(engine, PEOPLE)
    assert step3.main(["--users", "all", "--save-model", "shop.model"]) == 0
    assert step3.main(["--users", "all", "--user", ANN]) == 0
    return engine


@pytest.fixture
def client(shop: Engine) -> Iterator[TestClient]:
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        yield client


def lists(engine: Engine) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for row in connection.execute(select(lists_by_text(64)).order_by("user_id", "rank")):
            found.setdefault(row.user_id, []).append(row.product_id)
    return found


def numbers(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {row.external_id: row.user_id for row in connection.execute(select(user_id_map))}


def path(name: str) -> str:
    return quote(name, safe="")


def test_every_id_goes_out_as_it_came_in_on_every_way(client: TestClient, shop: Engine) -> None:
    written = lists(shop)
    assert list(written) == sorted(NAMES, key=str.encode)
    model, _ = open_model(Path("shop.model"))
    matrix, similarity = step3.load_model(shop)
    many = client.post("/recommendations/batch", json={"user_ids": [*NAMES, "nobody"]}).json()
    assert [one["user_id"] for one in many["results"]] == NAMES
    assert many["unknown"] == ["nobody"]
    for name, of_batch in zip(NAMES, many["results"], strict=True):
        by_query = client.get("/recommendations", params={"user_id": name})
        assert (by_query.status_code, by_query.json()["user_id"]) == (200, name)
        assert by_query.json() == of_batch
        assert [item["product_id"] for item in of_batch["recommendations"]] == written[name]
        if name != "batch":
            by_path = client.get(f"/recommendations/{path(name)}")
            assert (by_path.status_code, by_path.json()) == (200, of_batch)
            assert (
                client.get(f"/recommendations/{path(name)}?limit=1").json()["recommendations"]
                == (of_batch["recommendations"][:1])
            )
        saved = model.recommend(model.number_of(name), 10).recommendations
        assert [model.products.id_of(item.column) for item in saved] == written[name]
        alone = step3.get_recommendations(name, matrix, similarity)["product_id"].tolist()
        assert alone == written[name][: len(alone)]
        for what in ("neighbors", "ratings"):
            answer = client.get(f"/users/{path(name)}/{what}")
            assert (answer.status_code, answer.json()["user_id"]) == (200, name)
            assert client.get(f"/{what}", params={"user_id": name}).json() == answer.json()
        near = {one["user_id"] for one in client.get(f"/users/{path(name)}/neighbors").json()["neighbors"]}
        assert near <= set(NAMES) - {name}
        assert near
        told = client.get("/recommendations", params={"user_id": name, "explain": "true"}).json()
        closest = [one["user_id"] for item in told["recommendations"] for one in item["explanation"]["closest"]]
        assert set(closest) <= near


def test_a_new_person_has_at_most_64_characters_and_one_of_a_release_before_has_more(
    client: TestClient, shop: Engine
) -> None:
    known, new, row = "k" * 255, "n" * 65, {"product_id": ASINS[0]}
    with writing(shop) as connection:
        connection.execute(insert(user_id_map), {"user_id": 1_000, "external_id": known})
    for route, last in (("/ratings", {"rating": 4}), ("/interactions", {"interaction_type": "view"})):
        refused = client.post(route, json={"user_id": new} | row | last)
        assert (refused.status_code, refused.json()["errors"]) == (
            422,
            [{"parameter": "user_id", "value": new, "message": NO_TEXT_ID}],
        )
        for name in (known, "n" * 64):
            assert client.post(route, json={"user_id": name} | row | last).status_code == 201
    assert {known, "n" * 64} <= numbers(shop).keys()
    assert new not in numbers(shop)


def test_people_are_found_by_their_own_ids(client: TestClient, shop: Engine) -> None:
    found = client.get("/users?kind=heavy&limit=100").json()["users"]
    assert sorted(one["user_id"] for one in found) == sorted(NAMES)
    assert 'inputmode="numeric"' not in client.get("/shoppers").text, "a phone would show no letters to type an id"
    refused = client.patch("/users")
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET")


def test_ties_go_to_the_smaller_id_by_its_bytes(client: TestClient, shop: Engine) -> None:
    alike = ["10", "9", "Z", "a", "z", "é", "日", "🍵"]
    assert alike == sorted(alike, key=str.encode)
    load(shop, {name: {ASINS[0]: 5, ASINS[1]: 4} for name in ["m", *reversed(alike)]})
    matrix, _ = step3.load_model(shop)
    assert [matrix.user_of(row) for row in range(9)] == ["10", "9", "Z", "a", "m", "z", "é", "日", "🍵"]
    wait_until(lambda: client.get("/users/m/neighbors").status_code == 200 and neighbors_of(client, "m") == alike)
    # people who came later, in any order, are where their ids put them
    for name in ("y", "b", "0", "ç", "~"):
        body = {"user_id": name, "product_id": ASINS[0], "rating": 5}
        assert client.post("/ratings", json=body).status_code == 201
        assert client.post("/ratings", json=body | {"product_id": ASINS[1], "rating": 4}).status_code == 201
    everybody = sorted([*alike, "y", "b", "0", "ç", "~"], key=str.encode)
    assert neighbors_of(client, "m") == everybody
    assert neighbors_of(client, "b") == sorted({"m", *everybody} - {"b"}, key=str.encode)
    with TestClient(api.create_app(), headers=WITH_KEY) as anew:
        assert neighbors_of(anew, "m") == everybody


def neighbors_of(client: TestClient, name: str) -> list[str]:
    found = client.get(f"/users/{path(name)}/neighbors").json()["neighbors"]
    return [one["user_id"] for one in found]


def test_what_is_no_id_is_a_422_and_what_nobody_has_a_404(client: TestClient) -> None:
    for wrong in ("", " a", "a ", "a\x00b", "a\x1fb", ".", "..", "x" * 256):
        answers = [
            client.get("/recommendations", params={"user_id": wrong}),
            client.post("/recommendations/batch", json={"user_ids": [wrong]}),
            client.post("/ratings", json={"user_id": wrong, "product_id": ASINS[0], "rating": 5}),
        ]
        assert [answer.status_code for answer in answers] == [422] * 3
    for body in (5, None, True, "\ud800"):
        rating = json.dumps({"user_id": body, "product_id": ASINS[0], "rating": 5})
        assert client.post("/ratings", content=rating).status_code == 422
    for nobody in ("nobody", "42", "ANNA", "1"):
        answer = client.get(f"/recommendations/{nobody}")
        assert (answer.status_code, f"user {nobody} is unknown" in answer.json()["detail"]) == (404, True)
        assert client.delete("/users", params={"user_id": nobody}).status_code == 404
    assert client.get("/recommendations").status_code == 422
    assert client.get("/ratings?user_id=z&user_id=e").status_code == 422


def test_a_new_person_gets_the_next_number_which_is_never_given_again(client: TestClient, shop: Engine) -> None:
    before = numbers(shop)
    assert sorted(before.values()) == list(range(1, len(NAMES) + 1))
    new, last = "new/one", len(NAMES)
    body = {"user_id": new, "product_id": ASINS[0], "rating": 4.5}
    answer = client.post("/ratings", json=body)
    assert (answer.status_code, answer.json()) == (201, body)
    assert numbers(shop) == before | {new: last + 1}
    assert client.get("/recommendations", params={"user_id": new}).json()["user_id"] == new
    assert client.get(f"/users/{path(new)}/ratings").json()["ratings"][0]["rating"] == 4.5
    turned = {"user_id": "🛒", "product_id": ASINS[0], "interaction_type": "view"}
    assert client.post("/interactions", json=turned).json() == turned
    assert client.post("/interactions", json=turned).status_code == 201
    assert numbers(shop)["🛒"] == last + 2
    refused = client.delete(f"/users/{path(new)}/ratings/{ASINS[5]}")
    assert (refused.status_code, new in refused.json()["detail"]) == (404, True)
    assert client.delete(f"/ratings/{ASINS[0]}", params={"user_id": new}).status_code == 204
    assert client.delete(f"/users/{path('🛒')}").status_code == 204
    assert client.delete("/users", params={"user_id": ANN}).status_code == 204
    assert ANN not in lists(shop)
    with writing(shop) as connection:
        connection.exec_driver_sql("DELETE FROM live_deletions")
    for name in (ANN, "🛒"):
        assert client.get("/recommendations", params={"user_id": name}).status_code == 404
    assert client.post("/ratings", json=body | {"user_id": "🛒"}).status_code == 201
    assert numbers(shop)["🛒"] == last + 3
    load(shop, PEOPLE)  # as a new person
    assert numbers(shop) == before | {new: last + 1, "🛒": last + 3, ANN: last + 4}
    wait_until(lambda: client.get(f"/recommendations/{ANN}").status_code == 200)


def test_a_write_by_another_worker_names_the_person_here(client: TestClient, shop: Engine) -> None:
    with TestClient(api.create_app(), headers=WITH_KEY) as other:
        body = {"user_id": "later", "product_id": ASINS[0], "rating": 5}
        assert other.post("/ratings", json=body).status_code == 201
        wait_until(lambda: client.get("/recommendations/later").status_code == 200)
        assert client.post("/ratings", json=body | {"product_id": ASINS[1]}).status_code == 201
        assert len([name for name in numbers(shop) if name == "later"]) == 1


def test_two_workers_that_enter_the_same_people_at_once_give_each_one_number(client: TestClient, shop: Engine) -> None:
    names, before = [f"new-{place}" for place in range(6)], numbers(shop)
    with TestClient(api.create_app(), headers=WITH_KEY) as other, ThreadPoolExecutor(4) as pool:
        bodies = [{"user_id": name, "product_id": ASINS[0], "rating": 5} for name in names]
        answers = [pool.submit(each.post, "/ratings", json=body) for body in bodies for each in (client, other)]
        statuses = [answer.result().status_code for answer in answers]
        assert statuses == [201] * len(statuses)
        after = numbers(shop)
        assert after.keys() == before.keys() | set(names)
        assert len(set(after.values())) == len(after)
        for name in names:
            assert [each.get(f"/recommendations/{name}").status_code for each in (client, other)] == [200, 200]


def test_lists_by_number_of_the_release_before_are_taken_over(
    engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (env | {"API_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    long = "k" * 255
    fill(
        engine,
        {7: {ASINS[0]: 5, ASINS[1]: 3}, 3: {ASINS[0]: 4, ASINS[2]: 5}, 40: {ASINS[1]: 5}, 9: {ASINS[0]: 1}},
        ASINS,
    )
    with writing(engine) as connection:  # 40 came through the API, which gave no texts then
        named = {7: "ann", 3: long, 9: "0"}
        rows = [{"user_id": number, "external_id": name} for number, name in named.items()]
        connection.execute(insert(user_id_map), rows)
        connection.execute(
            insert(recommendations),
            {"user_id": 7, "rank": 1, "product_id": ASINS[2], "predicted_rating": 4.0, "source": "popular"}
            | {"generated_at": WHEN},
        )
        connection.exec_driver_sql(
            "INSERT INTO model_versions VALUES (1, 'published', '2024-01-01', 'x', 4, 1, '{}', NULL)"
        )
    with pytest.raises(SettingError, match="lists by number"):
        step3.save_recommendations("ann", step3.get_recommendations("ann", *step3.load_model(engine)), engine)
    assert step3.main(["--force"]) == 0
    assert list(lists(engine)) == ["0", "40", "ann", long]
    frame = step3.get_recommendations("ann", *step3.load_model(engine))
    step3.save_recommendations("ann", frame, engine)
    assert lists(engine)["ann"] == frame["product_id"].tolist()
    for user in (7, "", " "):
        with pytest.raises(SettingError):
            step3.save_recommendations(user, frame, engine)
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        for name in ("ann", long, "40", "0"):
            assert client.get(f"/recommendations/{name}").json()["user_id"] == name
        assert client.get("/recommendations/7").status_code == 404
        body = {"user_id": "40", "product_id": ASINS[2], "rating": 5}
        assert client.post("/ratings", json=body).status_code == 201
        assert client.post("/ratings", json=body | {"user_id": "new"}).status_code == 201
        assert numbers(engine) == {"ann": 7, long: 3, "0": 9, "40": 40, "new": 41}
        assert client.get("/users/40/ratings").json()["total"] == 2
    load(engine, {"ann": taste(0), "40": taste(1), "zoe": taste(2)})
    assert numbers(engine) == {"ann": 7, long: 3, "0": 9, "40": 40, "new": 41, "zoe": 42}


def test_a_matrix_of_texts_takes_no_number_for_a_user(shop: Engine) -> None:
    matrix, similarity = step3.load_model(shop)
    for wrong in (1, "1", "nobody", None, 1.5, "x" * 1_000, "\ud800"):
        with pytest.raises(UnknownUserError):
            step3.get_recommendations(wrong, matrix, similarity)
    assert step3.main(["--user", "nobody"]) == 1


def test_the_kind_is_noted_with_the_data_and_the_document_says_it(client: TestClient, shop: Engine) -> None:
    with shop.connect() as connection:
        noted = connection.execute(select(data_origin.c.value).where(data_origin.c.name == "identities")).scalar_one()
        assert connection.execute(select(users.c.user_id)).scalars().all() == list(range(1, len(NAMES) + 1))
        assert len(connection.execute(select(ratings.c.user_id).distinct()).all()) == len(NAMES)
    assert json.loads(noted)["kind"] == TEXT
    document = client.get("/openapi.json").json()
    shown = document["paths"]["/recommendations/{user_id}"]["get"]["parameters"][0]["schema"]
    assert (shown["type"], shown["maxLength"]) == ("string", 64)


def test_the_taste_map_finds_people_by_their_texts(
    shop: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SQLITE_FILE", os.environ.get("SQLITE_FILE") or str(tmp_path / "shop.db"))
    make_map(load_settings())
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        wait_until(lambda: client.get("/map.json").status_code == 200)
        for name in NAMES:
            found = client.get(f"/map/shopper?user_id={path(name)}").json()
            assert (found["user_id"], found["place"] is None) == (name, False)
            near = client.get(f"/neighbors?user_id={path(name)}").json()["neighbors"]
            assert [one["user_id"] for one in found["neighbors"]] == [one["user_id"] for one in near]
            page = client.get(f"/map?shopper={path(name)}")
            assert page.status_code == 200
            assert f'value="{escape(name)}"' in page.text
            links = re.findall(r'href="(/map\?shopper=[^"]+)"', page.text)
            assert [unquote(link.removeprefix("/map?shopper=")) for link in links] == [one["user_id"] for one in near]
            at = client.get(f"/map?point={found['place']['point']}", follow_redirects=False)
            assert (at.status_code, client.get(at.headers["location"]).text) == (303, page.text)
