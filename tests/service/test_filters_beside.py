"""A filter that nobody asked for before is looked through beside the event loop; its answers are those of any other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

import api
from recommender.model import allowed_products
from recommender.service import filters_beside
from tests.service.test_api import CATALOG, STARS
from tests.support.shop import fill, product_row

QUERIES = ("min_price=5", "max_price=30&ranking=taste", "category_id=1&diversity=1", "exclude=B00000000A&limit=2")
BASKET = {"ratings": [{"product_id": "B00000000A"}]}


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    fill(engine, STARS, [*CATALOG, product_row("B00000000F")])
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app()) as client:
        yield client


def answers(client: TestClient) -> list[Any]:
    found = []
    for query in QUERIES:
        found += [client.get(f"/recommendations/{user}?{query}") for user in (1, 2, 77)]
        found.append(client.post(f"/recommendations?{query}", json=BASKET))
        found.append(client.get(f"/popular?{query.replace('&ranking=taste', '')}"))
    return [(answer.status_code, answer.json()) for answer in found]


def test_a_filter_of_a_large_catalog_is_made_by_another_thread_and_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(client)
    client.app.state.model.masks.__init__(client.app.state.model.matrix.recommendable)  # type: ignore[attr-defined]
    client.app.observation.answers.clear()  # type: ignore[attr-defined]
    threads: list[int] = []

    def noted(*given: Any) -> Any:
        threads.append(threading.get_ident())
        return allowed_products(*given)

    monkeypatch.setattr(filters_beside, "allowed_products", noted)
    monkeypatch.setattr(filters_beside, "LARGE", 1)
    for module in ("live.live_model", "model.served_model"):
        monkeypatch.setattr(f"recommender.{module}.allowed_products", lambda *_: pytest.fail("on the event loop"))
    assert answers(client) == expected
    assert len(threads) == len(QUERIES)
    assert client.portal is not None
    assert client.portal.call(threading.get_ident) not in threads
