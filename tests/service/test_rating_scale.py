"""A service whose shop rates from 1 to 10, or to 100: requests, answers and the document speak that scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select, text

import api
from recommender.database import connect, writing
from recommender.database.schema import ratings
from recommender.live import LiveModel
from recommender.model import ListRequest
from recommender.settings import Settings
from recommender.shop import Scale
from tests.support.brute_force import Oracle
from tests.support.model_built_anew import as_seen, as_told, build
from tests.support.service import WITH_KEY
from tests.support.shop import fill

A, B, C, D, E = (f"B00000000{letter}" for letter in "ABCDE")
SHARES = {
    1: {A: 1.0, B: 0.7},
    2: {A: 1.0, B: 0.8, C: 0.9},
    3: {A: 0.3, D: 0.6, E: 0.2},
    4: {B: 0.8, D: 1.0},
    5: {C: 0.1},
}
SCALES = [Scale.of(1, 10, 1), Scale.of(1, 100, 1), Scale.of("0.1", 10, "0.1")]


@pytest.fixture(params=SCALES, ids=["1 to 10", "1 to 100", "tenths to 10"])
def scale(request: pytest.FixtureRequest) -> Scale:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def stars(scale: Scale) -> dict[int, dict[str, float]]:
    """The ratings of the shop."""
    return {
        user: {product: scale.stars_of(round(share * scale.most)) for product, share in theirs.items()}
        for user, theirs in SHARES.items()
    }


@pytest.fixture
def shop(
    make_settings: Callable[..., Settings], env: dict[str, str], scale: Scale, stars: Any, monkeypatch: Any
) -> Iterator[Engine]:
    """Tables that the shop has filled itself, and the settings that name its scale."""
    low, high, step = scale.to_json().values()
    named = {"RATING_MIN": low, "RATING_MAX": high, "RATING_STEP": step}
    for name, value in (env | named | {"API_KEY": WITH_KEY["X-API-Key"]}).items():
        monkeypatch.setenv(name, value)
    engine = connect(make_settings(**named), create=True)
    fill(engine, {}, [A, B, C, D, E])
    with writing(engine) as connection:
        if engine.dialect.name != "sqlite":
            connection.execute(text("ALTER TABLE product_ratings MODIFY rating DECIMAL(5,2) NOT NULL"))
    fill(engine, stars, [])
    yield engine
    engine.dispose()


@pytest.fixture
def client(shop: Engine) -> Iterator[TestClient]:
    with TestClient(api.create_app(), raise_server_exceptions=False, headers=WITH_KEY) as client:
        yield client


def test_answers_are_on_the_scale_and_equal_brute_force(
    client: TestClient, stars: dict[int, dict[str, float]], scale: Scale
) -> None:
    for user in stars:
        items = client.get(f"/recommendations/{user}").json()["recommendations"]
        expected = Oracle(stars, unit=scale.unit).recommend(user, k=20, n=10, catalog=[A, B, C, D, E])
        found = [(item["product_id"], item["predicted_rating"]) for item in items[: len(expected)]]
        assert found == [(row.product_id, round(row.predicted_rating, 3)) for row in expected]
    assert client.get("/users/2/ratings").json()["ratings"] == [
        {"product_id": product, "product_name": f"Product {product}", "rating": stars[2][product]}
        for product in (A, C, B)
    ]
    mean = sum(theirs[A] for theirs in stars.values() if A in theirs) / 3
    assert client.get(f"/products/{A}").json()["mean_rating"] == round(mean, 2)
    first = client.get("/recommendations/1?explain=true&ranking=classic").json()["recommendations"][0]
    assert "points on average" in first["explanation"]["sentence"]


def test_ratings_come_and_go_on_the_scale(client: TestClient, shop: Engine, scale: Scale) -> None:
    low, high = scale.ends
    for rating in (low, high, scale.stars_of(scale.most // 2)):
        given = {"user_id": 1, "product_id": C, "rating": rating}
        assert (client.post("/ratings", json=given).status_code, client.post("/ratings", json=given).json()) == (
            201,
            given,
        )
        with shop.connect() as connection:
            stored = select(ratings.c.rating).where(ratings.c.user_id == 1, ratings.c.product_id == C)
            assert float(connection.execute(stored).scalar_one()) == rating
        assert {"product_id": C, "product_name": f"Product {C}", "rating": rating} in (
            client.get("/users/1/ratings").json()["ratings"]
        )
    model = client.app.state.model  # type: ignore[attr-defined]
    assert isinstance(model, LiveModel)
    anew = build(shop)
    for user in SHARES:
        now, then = (one.first(user, one.cut(ListRequest(10)), "classic") for one in (model, anew))
        assert as_told(model, now) == as_told(anew, then)
        assert as_seen(model, user, "classic") == as_seen(anew, user, "classic")
    for wrong in (0, low / 2, high + scale.unit, high - scale.unit / 2, True, str(high), None):
        for path, body in (
            ("/ratings", {"user_id": 1, "product_id": C, "rating": wrong}),
            ("/recommendations", {"ratings": [{"product_id": C, "rating": wrong}]}),
        ):
            answer = client.post(path, json=body)
            assert answer.status_code == 422, wrong
            assert answer.json()["errors"][0]["message"] == f"must be {scale.text()}"


def test_a_basket_without_ratings_likes_its_products_most(client: TestClient, scale: Scale) -> None:
    bare = client.post("/recommendations", json={"ratings": [{"product_id": A}]})
    said = client.post("/recommendations", json={"ratings": [{"product_id": A, "rating": scale.ends[1]}]})
    less = client.post("/recommendations", json={"ratings": [{"product_id": A, "rating": scale.ends[0]}]})
    assert bare.json() == said.json()
    assert less.status_code == 200
    assert bare.json()["recommendations"][0]["predicted_rating"] <= scale.ends[1]


def test_the_document_speaks_the_scale(client: TestClient, scale: Scale) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/ratings"]["post"]["requestBody"]["content"]["application/json"]
    low, high = scale.ends
    assert body["schema"]["properties"]["rating"] == {
        "type": "number",
        "minimum": low,
        "maximum": high,
        "multipleOf": scale.unit,
    }
    assert body["example"]["rating"] == high
    basket = document["paths"]["/recommendations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert basket["properties"]["ratings"]["items"]["properties"]["rating"]["default"] == high
    assert scale.text() in document["paths"]["/ratings"]["post"]["description"]
    told = str(document)
    assert "half steps" not in told
    assert "5 stars" not in told
    assert "'minimum': 0.5" not in told
