"""The in-stock filter, if the shop's table has the column: before the cut, on both databases, in model files, live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

import api
from recommender.database import read_catalog, writing
from recommender.live import LiveModel
from recommender.model import ListRequest
from recommender.model.list_request import fits
from recommender.publishing import open_model, save_model
from recommender.shop import Product
from tests.support.model_built_anew import build
from tests.support.saved_model import version_of
from tests.support.shop import fill

A, B, C, D, E, F = (f"B00000000{letter}" for letter in "ABCDEF")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 3.0, D: 5.0}, 3: {A: 4.0, B: 2.0}}
Serve = Callable[[], AbstractContextManager[TestClient]]


@pytest.fixture
def shop(engine: Engine) -> Engine:
    fill(engine, STARS, [A, B, C, D, E, F])
    return engine


@pytest.fixture
def serve(shop: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Serve:
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    @contextmanager
    def serving() -> Iterator[TestClient]:
        with TestClient(api.create_app()) as client:
            yield client

    return serving


def stock(engine: Engine, kind: str = "INTEGER", name: str = "in_stock") -> None:
    """B has 3 pieces, C none, D is unknown, E has 1; A and F have none."""
    with writing(engine) as connection:
        connection.execute(text(f"ALTER TABLE amazon_products ADD COLUMN {name} {kind}"))
        for product, pieces in ((A, 0), (B, 3), (C, 0), (E, 1), (F, 0)):
            values = {"pieces": bool(pieces) if kind == "BOOLEAN" else pieces, "asin": product}
            connection.execute(text(f"UPDATE amazon_products SET {name} = :pieces WHERE asin = :asin"), values)


def listed(client: TestClient, path: str) -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    items = answer.json()
    return [item["product_id"] for item in items.get("recommendations", items.get("popular"))]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("INTEGER", "in_stock"), ("BOOLEAN", "in_stock"), ("DOUBLE", "In_Stock"), ("DECIMAL(9,2)", "in_stock")],
)
def test_only_products_in_stock_are_listed_and_the_filter_acts_before_the_cut(
    shop: Engine, serve: Serve, kind: str, name: str
) -> None:
    stock(shop, kind, name)
    with serve() as client:
        everything = listed(client, "/recommendations/1?limit=1")
        assert everything == [D]
        for ranking in ("classic", "taste"):
            found = listed(client, f"/recommendations/1?in_stock_only=true&ranking={ranking}")
            assert set(found) <= {B, E}
            assert found[0] == B
        assert listed(client, "/recommendations/1?limit=1&in_stock_only=true") == [B]
        assert listed(client, "/recommendations/1?limit=1&in_stock_only=false") == everything
        assert listed(client, "/popular?in_stock_only=true&limit=1") == [B]


def test_a_table_without_the_column_is_a_409_that_says_so(serve: Serve) -> None:
    with serve() as client:
        for path in ("/recommendations/1", "/popular"):
            refused = client.get(f"{path}?in_stock_only=true")
            assert refused.status_code == 409
            assert "amazon_products had no column in_stock" in refused.json()["detail"]
            assert client.get(f"{path}?in_stock_only=false").status_code == 200
            for query in ("in_stock_only=yes", "in_stock_only=", "in_stock_only=true&in_stock_only=true"):
                assert client.get(f"{path}?{query}").json()["errors"][0]["parameter"] == "in_stock_only"


def test_a_model_file_holds_the_stock_if_it_is_known(shop: Engine, tmp_path: Path) -> None:
    for number in (1, 2):
        file = tmp_path / f"{number}.model"
        model = build(shop)
        save_model(file, model, version_of(model, number))
        opened, _ = open_model(file)
        if number == 1:
            assert opened.products.catalog.in_stock is None
            stock(shop)
        else:
            assert opened.products.catalog.in_stock is not None
            assert opened.products.catalog.in_stock.tolist() == [False, True, False, False, True, False]


def test_a_live_model_filters_by_stock_too_and_leaves_out_later_products(shop: Engine) -> None:
    stock(shop)
    live = LiveModel.of(build(shop))
    request = ListRequest(10, in_stock_only=True)
    assert {live.products.id_of(item.column) for item in live.select(1, request, "classic").recommendations} <= {B, E}
    assert not fits(request, b"B00000000Z", Product(None, 1.0, 4.0, 1))
    assert fits(ListRequest(10), b"B00000000Z", Product(None, 1.0, 4.0, 1))
    assert np.array_equal(read_catalog(shop).in_stock, [False, True, False, False, True, False])  # type: ignore[arg-type]
