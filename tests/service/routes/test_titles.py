"""GET /titles: products by words of their titles, or by an id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

import api
from tests.support.shop import fill, product_row

A, B, C = (f"B00000000{letter}" for letter in "ABC")


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    titles = {A: "Green tea", B: "Tea kettle", C: f"A cup for {A}"}
    fill(
        engine, {1: {B: 5.0}, 2: {B: 4.0}}, [product_row(one, title=title, price=2.5) for one, title in titles.items()]
    )
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with TestClient(api.create_app()) as opened:
        yield opened


def test_products_are_found_by_words_and_one_with_the_id_comes_first(client: TestClient) -> None:
    answer = client.get("/titles?title=TEA&limit=5").json()
    tea = {"rank": 2, "product_id": A, "product_name": "Green tea", "price": 2.5, "ratings": 0}
    kettle = {"rank": 1, "product_id": B, "product_name": "Tea kettle", "price": 2.5, "ratings": 2}
    assert answer == {"found": [kettle, tea]}
    assert ids(client, f"title={A}") == [A, C]
    assert ids(client, f"title={A}&limit=1") == [A]
    assert ids(client, "title=green+kettle") == []


@pytest.mark.parametrize("query", ["", "title=", "title=++", "title=" + "x" * 101, "title=" + "+a" * 9])
def test_a_search_without_words_or_with_too_many_is_refused(client: TestClient, query: str) -> None:
    refused = client.get(f"/titles?{query}")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["message"] == "must be 1 to 8 words of 100 characters at most"


def ids(client: TestClient, query: str) -> list[str]:
    return [one["product_id"] for one in client.get(f"/titles?{query}").json()["found"]]
