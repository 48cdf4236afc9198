"""The cold start in lists of the batch and in answers of the service, on real databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, delete, insert, select

import api
import recommendation_engine as re
from recommender.database import writing
from recommender.database.schema import interactions, recommendations, users
from tests.support.shop import WHEN, fill

A, B, C, D, E, F = (f"B00000000{letter}" for letter in "ABCDEF")
NEW = ["B0000NEW01", "B0000NEW02"]
PEOPLE: dict[int, tuple[str | None, str | None]] = {
    1: ("FR", "25-34"),
    2: ("FR", "25-34"),
    3: ("DE", "25-34"),
    4: ("DE", "25-34"),
    5: ("FR", "25-34"),
}
PEOPLE |= {6: ("DE", "25-34"), 7: ("IT", "65+"), 8: (None, None)}
# the French have A and B, the Germans C and D; two others, in no segment, have E and like it best
STARS = {1: {A: 4.0, B: 3.0}, 2: {A: 4.0, B: 3.0}, 3: {C: 4.0, D: 3.0}, 4: {C: 4.0, D: 3.0}}
STARS |= {user: {E: 5.0} for user in (11, 12)}


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A shop with people. Some of them never rated; user 6 only looked at C."""
    for name, value in (env | {"RANKING": "taste", "MODEL_FILE": ""}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    fill(engine, STARS, [A, B, C, D, E, *NEW])
    rows = [
        {"user_id": user, "country": country, "age_group": age, "created_at": WHEN}
        for user, (country, age) in PEOPLE.items()
    ]
    look = {"user_id": 6, "product_id": C, "interaction_type": "view", "created_at": WHEN}
    with writing(engine) as connection:
        connection.execute(delete(users))
        connection.execute(insert(users), rows)
        connection.execute(insert(interactions), [look])
    return engine


def products_of(client: TestClient, user: int, query: str = "") -> tuple[list[str], str, str]:
    answer = client.get(f"/recommendations/{user}{query}")
    assert answer.status_code == 200
    found = [item["product_id"] for item in answer.json()["recommendations"]]
    return found, answer.headers["X-Recommendation-Source"], answer.headers["X-Recommendation-Sources"]


def test_each_step_answers_the_users_that_the_step_before_cannot(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW_PRODUCT_PERCENT", "0")
    with TestClient(api.create_app()) as client:
        # own interactions: the others with C have D; then the Germans' products, then popular ones
        assert products_of(client, 6, "?limit=1") == ([D], "neighbors", "neighbors=1")
        assert products_of(client, 6) == ([D, E, A, B], "mixed", "neighbors=1, popular=3")
        # no ratings or interactions: people of the same country and age group; each product names its source
        assert products_of(client, 5, "?limit=2") == ([A, B], "popular", "segment=2")
        assert products_of(client, 5)[2] == "segment=2, popular=3"
        # an empty segment, and no segment at all: popular products
        for user in (7, 8):
            assert products_of(client, user) == ([C, E, A, B, D], "popular", "popular=5")
        # classic does none of this
        assert products_of(client, 5, "?ranking=classic")[2] == "popular=5"
        assert products_of(client, 6, "?ranking=classic")[1:] == ("popular", "popular=5")


def test_the_batch_writes_the_service_lists_with_sources_and_new_products(shop: Engine) -> None:
    assert re.main(["--users", "all", "--ranking", "taste", "--new-product-percent", "100"]) == 0
    with shop.connect() as connection:
        c = recommendations.c
        columns = (c.user_id, c.product_id, c.predicted_rating, c.source, c.support, c.n_neighbors, c.product_name)
        rows = connection.execute(select(*columns).order_by(c.user_id, c["rank"])).all()
    listed: dict[int, list[Any]] = {}
    for user, *rest in rows:
        listed.setdefault(user, []).append(rest)
    assert list(listed) == [1, 2, 3, 4, 6, 11, 12]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEW_PRODUCT_PERCENT", "100")
        with TestClient(api.create_app()) as client:
            for user, mine in listed.items():
                served = client.get(f"/recommendations/{user}").json()["recommendations"]
                assert [item["product_id"] for item in served] == [row[0] for row in mine]
                assert [item["predicted_rating"] for item in served] == [round(row[1], 3) for row in mine]
                assert [item["product_name"] for item in served] == [row[5] for row in mine]
            assert products_of(client, 5)[2] == "segment=2, popular=3, new=1"
    for user, mine in listed.items():
        sources = [row[2] for row in mine]
        assert sources[-1] == "new", user
        assert mine[-1][0] in NEW
        assert "new" not in sources[:-1]
        for _, _, source, support, n_neighbors, name in mine:
            assert (support is not None) == (n_neighbors is not None) == (source == "neighbors")
            assert name is not None


def test_nobody_sees_a_new_product_at_a_share_of_0_percent(shop: Engine) -> None:
    assert re.main(["--users", "all", "--ranking", "taste", "--new-product-percent", "0"]) == 0
    with shop.connect() as connection:
        found = connection.execute(select(recommendations.c.product_id, recommendations.c.source)).all()
    assert found
    assert not [row for row in found if row.source == "new" or row.product_id in NEW]
    assert re.main(["--new-product-percent", "101", "--ranking", "taste"]) == 1


def test_a_new_product_is_at_the_end_of_the_default_list_on_any_page(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEW_PRODUCT_PERCENT", "100")
    monkeypatch.setenv("TOP_N_RECOMMENDATIONS", "3")
    assert re.main(["--users", "all", "--ranking", "taste", "--new-product-percent", "100"]) == 0
    with shop.connect() as connection:
        c = recommendations.c
        batch = connection.execute(select(c.product_id).where(c.user_id == 6).order_by(c["rank"])).scalars().all()
    with TestClient(api.create_app()) as client:
        assert products_of(client, 6) == (batch, "mixed", "neighbors=1, popular=1, new=1")
        new = batch[2]
        assert new in NEW
        whole = [D, E, new, A, B]
        assert products_of(client, 6, "?limit=10")[0] == whole
        pages = [products_of(client, 6, f"?limit=2&offset={offset}") for offset in (0, 2, 4, 6)]
        assert [product for found, _, _ in pages for product in found] == whole
        assert [sources for _, _, sources in pages] == ["neighbors=1, popular=1", "popular=1, new=1", "popular=1", ""]
        body = {"user_ids": [6], "limit": 3}
        listed = client.post("/recommendations/batch", json=body).json()["results"][0]["recommendations"]
        assert [item["product_id"] for item in listed] == whole[:3]
        body["limit"] = 2
        listed = client.post("/recommendations/batch", json=body).json()["results"][0]["recommendations"]
        assert [item["product_id"] for item in listed] == whole[:2]
