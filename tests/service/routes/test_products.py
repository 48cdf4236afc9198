"""One product, and the popular products: every field is compared with the tables, also with filters."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

import api
from tests.support.shop import fill, product_row

A, B, C, D, E, GONE = (f"B00000000{letter}" for letter in "ABCDEF")


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A has three ratings, B and C have two, GONE has four but no row in the catalog, E has none."""
    stars = {1: {A: 5.0, B: 4.0, GONE: 1.0}, 2: {A: 4.0, C: 2.0, GONE: 1.0}, 3: {A: 3.0, B: 5.0, GONE: 1.5}}
    stars |= {4: {C: 3.0, GONE: 2.0, D: 4.5}}
    catalog = [
        product_row(A, title="a kettle", price=10.0, stars=4.6, category_id=7),
        product_row(B, title="", price=20.0, stars=0.0, category_id=8),
        product_row(C, price=30.0, stars=3.0, category_id=7),
        product_row(D, price=40.0, stars=2.0, category_id=9),
        product_row(E, price=50.0, stars=1.0, category_id=9),
    ]
    fill(engine, stars, catalog)
    for name, value in (env | {"MODEL_FILE": "", "RANKING": "classic"}).items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app()) as opened:
        yield opened


def test_a_product_shows_the_facts_of_the_catalog_and_the_ratings(client: TestClient) -> None:
    assert client.get(f"/products/{A}").json() == {
        "product_id": A, "product_name": "a kettle", "price": 10.0, "currency": "USD", "stars": 4.6,
        "category_id": 7, "in_catalog": True, "ratings": 3, "mean_rating": 4.0,
    }  # fmt: skip
    assert client.get(f"/products/{GONE}").json() == {
        "product_id": GONE, "product_name": None, "price": None, "currency": "USD", "stars": None,
        "category_id": None, "in_catalog": False, "ratings": 4, "mean_rating": 1.38,
    }  # fmt: skip
    never_rated = client.get(f"/products/{E}").json()
    assert (never_rated["in_catalog"], never_rated["ratings"], never_rated["mean_rating"]) == (True, 0, None)
    assert client.get(f"/products/{B}").json()["stars"] is None  # 0: not known
    told = "product B0000NOONE is unknown: it is neither in the catalog nor rated"
    unknown = client.get("/products/B0000NOONE")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, told)
    assert client.get("/products/b00000000a%09").status_code == 422
    assert client.head(f"/products/{A}").status_code == 200


def popular(client: TestClient, query: str = "") -> list[tuple[int, str, int]]:
    answer = client.get(f"/popular{query}")
    assert answer.status_code == 200, answer.text
    return [(item["rank"], item["product_id"], item["ratings"]) for item in answer.json()["popular"]]


def test_popular_products_are_ordered_by_number_of_ratings_and_are_in_the_catalog(client: TestClient) -> None:
    # B and C have two ratings each, and those of B are better; GONE has the most but has left the catalog
    assert popular(client) == [(1, A, 3), (2, B, 2), (3, C, 2), (4, D, 1)]
    assert popular(client, "?category_id=7") == [(1, A, 3), (2, C, 2)]
    assert popular(client, "?limit=1&offset=1") == [(2, B, 2)]
    assert popular(client, "?diversity=1") == [(1, A, 3), (2, B, 2), (3, D, 1)]
    assert popular(client, f"?min_price=15&max_price=35&exclude={B}") == [(1, C, 2)]
    assert popular(client, "?min_stars=4.6") == [(1, A, 3)]
    # mu = 36 / 12; A has 12 stars from 3 people
    first = client.get("/popular?limit=1").json()["popular"][0]
    assert first["predicted_rating"] == round((12 + 10 * 36.0 / 12) / 13, 3)
    assert client.get("/popular?limit=0").status_code == 422
    assert client.head("/popular").status_code == 200


def test_the_currency_is_a_setting_and_is_shown_with_a_product_and_the_health(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/health").json()["currency"] == "USD"
    monkeypatch.setenv("CURRENCY", "EUR")
    with TestClient(api.create_app()) as european:
        assert european.get("/health").json()["currency"] == "EUR"
        assert european.get(f"/products/{A}").json()["currency"] == "EUR"
