"""A shop with interactions and no rating, from the check of its data to lists, model file, service and versions."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, select

import api
import recommendation_engine as re
from recommender.database import writing
from recommender.database.schema import interactions, metadata, products, ratings, recommendations
from recommender.errors import StepOrderError
from tests.support.service import KEY, WITH_KEY, wait_until
from tests.support.shop import product_row
from tests.support.steps import do, refuse

PRODUCTS = [f"B{number:09d}" for number in range(45)]
KINDS = ("view", "click", "add_to_cart", "purchase")
START = dt.datetime(2024, 1, 1)
Env = dict[str, str]


def events() -> list[dict[str, Any]]:
    """600 events of 120 people. People of one remainder by 3 turn to the products of that remainder."""
    draw, found = random.Random(1), []
    for minute in range(600):
        person = draw.randrange(120)
        product = PRODUCTS[3 * draw.randrange(13) + person % 3]
        at = START + dt.timedelta(minutes=minute)
        kind = draw.choice(KINDS)
        found.append({"user_id": person + 1, "product_id": product, "interaction_type": kind, "created_at": at})
    return found


@pytest.fixture
def shop(engine: Engine, env: Env) -> Env:
    """Only a catalog and a log, as a shop would fill them: no ratings, and nobody in ``users``."""
    with writing(engine) as connection:
        metadata.create_all(connection, tables=[products, interactions])
        rows = [product_row(asin, category_id=at % 5, price=1.0 + at) for at, asin in enumerate(PRODUCTS)]
        connection.execute(insert(products), rows)
        connection.execute(insert(interactions), events())
    return env | {"MODEL_FILE": "", "API_KEY": KEY, "REQUEST_LOG": "0"}


@pytest.fixture
def client(shop: Env, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    for name, value in shop.items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        yield client


def listed(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(recommendations)).mappings())


def test_the_scripts_take_auto_and_publish_lists_without_stars(shop: Env, engine: Engine, tmp_path: Path) -> None:
    made_up = refuse(shop, tmp_path, "load_recommendation_data.py")
    assert "rows that this script did not make: step 3 works on them as they are; keep them and use another" in made_up
    out = do(shop, tmp_path, "recommendation_engine.py", "--users", "all")
    assert "ranking  auto: RANKING is not set, and there are interactions and no ratings, or were at first\n" in out
    assert "loaded   600 interactions of 120 users on 39 products" in out
    assert "newest 20% of each user's products hidden" in out
    rows = listed(engine)
    assert len(rows) == 1_200
    assert {row["predicted_rating"] for row in rows} == {None}
    near = [row for row in rows if row["source"] == "neighbors"]
    own = [(row["user_id"] - 1) % 3 == PRODUCTS.index(row["product_id"]) % 3 for row in near]
    assert len(near) > 900
    assert sum(own) > 0.9 * len(near)  # of the planted groups
    again = do(shop, tmp_path, "recommendation_engine.py", "--users", "all", "--if-stale")
    assert "unchanged: version 1 (published)" in again


@pytest.mark.parametrize("ranking", ["taste", "items"])
def test_the_other_rankings_and_a_roll_back_work_too(shop: Env, engine: Engine, tmp_path: Path, ranking: str) -> None:
    do(shop, tmp_path, "recommendation_engine.py")
    out = do(shop, tmp_path, "recommendation_engine.py", "--ranking", ranking)
    assert "against the published version's settings" in out
    assert {row["predicted_rating"] for row in listed(engine)} == {None}
    assert "version 1 of" in do(shop, tmp_path, "recommendation_engine.py", "--rollback", "1")


def test_the_first_ratings_do_not_turn_the_shop_to_classic(shop: Env, engine: Engine, tmp_path: Path) -> None:
    do(shop, tmp_path, "recommendation_engine.py", "--users", "all")
    metadata.create_all(engine, tables=[ratings])
    given = {"product_id": PRODUCTS[0], "rating": 4.0, "created_at": START, "updated_at": START}
    with writing(engine) as connection:
        connection.execute(insert(ratings), [given | {"user_id": user} for user in (1, 4)])
    out = do(shop, tmp_path, "recommendation_engine.py", "--users", "all")
    assert "ranking  auto: RANKING is not set" in out
    assert "loaded   2 ratings of 120 users" in out
    assert {row["predicted_rating"] is None for row in listed(engine)} == {False}
    assert "version 2, published" in out
    again = do(shop, tmp_path, "recommendation_engine.py", "--users", "all", "--if-stale")
    assert "unchanged: version 2" in again
    assert "ranking  auto" not in do(shop, tmp_path, "recommendation_engine.py", "--ranking", "classic", "--force")


def test_classic_says_what_it_needs_and_how_to_go_on(shop: Env, engine: Engine, tmp_path: Path) -> None:
    remedy = "leave RANKING empty, or set it to auto, taste or items"
    for given in (["--ranking", "classic"], ["--evaluate", "--ranking", "classic"]):
        assert refuse(shop, tmp_path, "recommendation_engine.py", *given).endswith(
            f"RANKING=classic needs ratings, and there are interactions alone: {remedy}"
        )
    with pytest.raises(StepOrderError, match="there are interactions and no ratings, which the classic ranking needs"):
        re.load_model(engine)


def test_the_data_are_checked_and_the_rankings_measured(shop: Env, tmp_path: Path) -> None:
    checked = do(shop, tmp_path, "recommendation_engine.py", "--check-data").splitlines()
    pairs = len({(event["user_id"], event["product_id"]) for event in events()})
    rows = {line[:22].strip(): line[22:].strip() for line in checked}
    assert rows["users"].split(None, 1) == ["120", "0 without interactions"]
    assert rows["pairs"].split(None, 1) == [str(pairs), "of a user and a product; no stars"]
    assert rows["products per user"].endswith("median of the users with interactions")
    assert checked[-1] == "good: enough users share enough products for recommendations from neighbors"
    out = do(shop, tmp_path, "recommendation_engine.py", "--evaluate")
    assert f"39 products ranked, {pairs} pairs of user and product" in out
    found = json.loads((tmp_path / "evaluation.json").read_text())
    by_name = {name: each["figures"]["ndcg@10"]["mean"] for name, each in found["modes"].items()}
    assert list(by_name) == ["taste", "items", "auto", "popular"]
    assert min(by_name["taste"], by_name["items"], by_name["auto"]) > 2 * by_name["popular"]
    assert "own interactions" in found["cold_start"]["modes"]
    assert "own ratings" not in found["cold_start"]["modes"]


def test_a_notebook_gets_lists_without_stars_and_can_store_them(shop: Env, engine: Engine) -> None:
    matrix, similarity = re.load_model(engine, ranking="taste")
    found = re.get_recommendations(1, matrix, similarity, ranking="taste")
    assert found["predicted_rating"].isna().all()
    assert (found["support"] > 0).all()
    re.save_recommendations(1, found, engine)
    assert [row["predicted_rating"] for row in listed(engine)] == [None] * len(found)
    re.batch_generate(matrix, similarity, engine, ranking="taste")
    assert {row["predicted_rating"] for row in listed(engine)} == {None}


def products_of(answer: Any) -> list[tuple[str, float | None]]:
    return [(item["product_id"], item["predicted_rating"]) for item in answer.json()["recommendations"]]


def test_the_service_answers_explains_and_learns(client: TestClient, shop: Env) -> None:
    health = client.get("/health").json()
    assert (health["status"], health["ratings"], health["users"]) == ("ok", 0, 120)
    for query in ("", "?ranking=taste", "?limit=40", "?min_price=5&diversity=3"):
        found = products_of(client.get(f"/recommendations/7{query}"))
        assert found
        assert {stars for _, stars in found} == {None}
    popular = client.get("/popular").json()["popular"]
    assert len(popular) == 10
    assert {(item["predicted_rating"], item["ratings"]) for item in popular} == {(None, 0)}
    reasons = [item["explanation"] for item in client.get("/recommendations/7?explain=true").json()["recommendations"]]
    near = next(reason for reason in reasons if reason["source"] == "neighbors")
    assert near["mean_rating"] is None
    assert "stars" not in near["sentence"]
    assert near["closest"][0]["rating"] is None
    shared = [one["shared_products"] for reason in reasons for one in reason["closest"]]
    owned = {(event["user_id"], event["product_id"]) for event in events()}
    n_owners = Counter(product for _, product in owned)
    assert max(map(len, shared)) > 1
    for both in shared:
        assert both == sorted(both, key=lambda product: (n_owners[product], product))  # the rarest first
    refused = client.get("/recommendations/7?ranking=classic")
    assert refused.status_code == 409
    assert client.get("/overview.json").json()["shop"]["rankings"] == ["taste", "auto"]  # so no page leads there
    page = client.get("/shoppers/7").text
    assert "10 by people of the same taste" in page
    assert "other sources than people of the same taste" not in page
    assert '<span class="hidden">predicted </span>' not in page, "no star stands where nothing is predicted"
    assert refused.json()["detail"] == "ranking classic needs ratings, and nobody has rated yet: leave ranking out"
    assert client.get("/recommendations/999").status_code == 404
    bought = {"user_id": 999, "product_id": PRODUCTS[3], "interaction_type": "purchase"}
    assert client.post("/interactions", json=bought).status_code == 201
    theirs = products_of(client.get("/recommendations/999"))
    assert {stars for _, stars in theirs} == {None}
    assert PRODUCTS[3] not in [product for product, _ in theirs]
    assert sum(PRODUCTS.index(product) % 3 == 0 for product, _ in theirs) >= 8
    rated = {"user_id": 999, "product_id": PRODUCTS[6], "rating": 4.5}
    assert client.post("/ratings", json=rated).status_code == 201
    assert client.get("/health").json()["ratings"] == 1
    assert {stars for _, stars in products_of(client.get("/recommendations/999"))} == {None}  # until a new model
    assert client.get("/recommendations/999?ranking=classic").status_code == 200
    assert client.get("/overview.json").json()["shop"]["rankings"] == ["classic", "taste", "auto"]
    assert client.delete("/users/999").status_code == 204
    assert client.get("/recommendations/999").status_code == 404


def test_all_routes_answer_as_they_are_documented(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    basket = {"ratings": [{"product_id": PRODUCTS[0]}, {"product_id": PRODUCTS[3], "rating": 4}]}
    for method, path, template, body in (
        ("GET", "/recommendations/7?explain=true&limit=20", "/recommendations/{user_id}", None),
        ("POST", "/recommendations", "/recommendations", basket),
        ("POST", "/recommendations/batch", "/recommendations/batch", {"user_ids": [1, 2, 999]}),
        ("GET", "/popular", "/popular", None),
        ("GET", f"/products/{PRODUCTS[0]}", "/products/{product_id}", None),
        ("GET", f"/products/{PRODUCTS[0]}/similar", "/products/{product_id}/similar", None),
        ("GET", "/users/7/neighbors", "/users/{user_id}/neighbors", None),
        ("GET", "/users/7/ratings", "/users/{user_id}/ratings", None),
        ("GET", "/health", "/health", None),
    ):
        answer = client.request(method, path, json=body)
        assert answer.status_code == 200, (path, answer.text)
        responses = document["paths"][template][method.lower()]["responses"]
        schema = responses["200"]["content"]["application/json"]["schema"]
        jsonschema_rs.validate(schema | {"components": document["components"]}, answer.json())
        assert '"predicted_rating":null' in answer.text or "recommend" not in path


def test_a_person_of_whom_another_program_writes_is_known_at_once(client: TestClient, engine: Engine) -> None:
    with writing(engine) as connection:
        row = {"user_id": 500, "product_id": PRODUCTS[0], "interaction_type": "view", "created_at": START}
        connection.execute(insert(interactions), row)
    wait_until(lambda: client.get("/recommendations/500").status_code == 200)


def test_a_saved_model_answers_as_the_tables_do(
    shop: Env, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    do(shop, tmp_path, "recommendation_engine.py", "--ranking", "taste", "--save-model", str(tmp_path / "model"))
    anew = [products_of(client.get(f"/recommendations/{user}?ranking=taste")) for user in range(1, 121)]
    monkeypatch.setenv("MODEL_FILE", str(tmp_path / "model"))
    with TestClient(api.create_app(), headers=WITH_KEY) as saved:
        kept = [products_of(saved.get(f"/recommendations/{user}")) for user in range(1, 121)]
    assert [[product for product, _ in found[:5]] for found in kept] == [
        [product for product, _ in found[:5]] for found in anew
    ]


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_log_of_dates_is_evaluated_and_published(shop: Env, engine: Engine, tmp_path: Path) -> None:
    """Most of a person's products are of the date at which the newest are hidden."""
    with writing(engine) as connection:
        connection.execute(interactions.update().values(created_at=START))
        late = interactions.c.interaction_id > 300
        connection.execute(interactions.update().where(late).values(created_at=START + dt.timedelta(days=1)))
    out = do(shop, tmp_path, "recommendation_engine.py", "--users", "all", "--ranking", "taste")
    assert "version 1, published" in out
