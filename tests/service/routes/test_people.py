"""Neighbors and ratings of a user, on the real service and on a live model: figures by hand, always up to date."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, update

import api
from recommender.database import writing
from recommender.database.schema import interactions, users
from recommender.errors import UnknownUserError
from recommender.live import LiveModel, UserRecord
from tests.support.model_built_anew import as_seen, build
from tests.support.shop import WHEN, fill, product_row

A, B, C, D, GONE = (f"B00000000{letter}" for letter in "ABCDZ")
STARS = {1: {A: 5.0, B: 4.0}, 2: {A: 5.0, B: 4.0, C: 4.5}, 3: {A: 4.0, GONE: 3.0}, 4: {D: 0.5}}
NO_RATINGS, TURNED_TO = 77, 78
KEY = {"X-API-Key": "a-key-for-the-tests"}
MAIL = "somebody@example.com"


@pytest.fixture
def shop(engine: Engine) -> Engine:
    fill(engine, STARS, [product_row(A, title="Green tea"), product_row(B, title=None), C, D])
    with writing(engine) as connection:
        connection.execute(insert(users), [{"user_id": user, "created_at": WHEN} for user in (NO_RATINGS, TURNED_TO)])
        connection.execute(update(users).where(users.c.user_id == 2).values(email=MAIL, name="Somebody"))
        row = {"user_id": TURNED_TO, "product_id": A, "interaction_type": "purchase", "created_at": WHEN}
        connection.execute(insert(interactions), [row])
    return engine


@pytest.fixture
def client(shop: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    for name, value in (env | {"API_KEY": KEY["X-API-Key"]}).items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app(), raise_server_exceptions=False, headers=KEY) as client:
        yield client


def test_neighbors_come_nearest_first_with_the_number_of_shared_products(client: TestClient) -> None:
    answer = client.get("/users/1/neighbors")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.json() == {
        "user_id": 1,
        "ranking": "classic",
        "neighbors": [
            # 41 / (sqrt(41) sqrt(61.25)) and 20 / (sqrt(41) 5)
            {"user_id": 2, "similarity": round(41 / (41 * 61.25) ** 0.5, 3), "shared_products": 2},
            {"user_id": 3, "similarity": round(20 / (41**0.5 * 5), 3), "shared_products": 1},
        ],
    }
    assert [one["user_id"] for one in client.get("/users/1/neighbors?limit=1").json()["neighbors"]] == [2]
    for lonely in (4, NO_RATINGS, TURNED_TO):
        assert client.get(f"/users/{lonely}/neighbors").json()["neighbors"] == []


def test_products_with_interactions_count_as_shared_by_taste(client: TestClient) -> None:
    answer = client.get(f"/users/{TURNED_TO}/neighbors?ranking=taste").json()
    assert answer["ranking"] == "taste"
    assert sorted((one["user_id"], one["shared_products"]) for one in answer["neighbors"]) == [(1, 1), (2, 1), (3, 1)]


def test_ratings_come_highest_first_also_of_products_that_left_the_catalog(client: TestClient) -> None:
    answer = client.get("/users/2/ratings")
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.json() == {
        "user_id": 2,
        "total": 3,
        "ratings": [
            {"product_id": A, "product_name": "Green tea", "rating": 5.0},
            {"product_id": C, "product_name": f"Product {C}", "rating": 4.5},
            {"product_id": B, "product_name": None, "rating": 4.0},
        ],
    }
    page = client.get("/users/2/ratings?limit=1&offset=1").json()
    assert (page["total"], [one["product_id"] for one in page["ratings"]]) == (3, [C])
    assert client.get("/users/2/ratings?offset=3").json() == {"user_id": 2, "total": 3, "ratings": []}
    assert client.get("/users/3/ratings").json()["ratings"][1] == {
        "product_id": GONE,
        "product_name": None,
        "rating": 3.0,
    }
    assert client.get(f"/users/{NO_RATINGS}/ratings").json() == {"user_id": NO_RATINGS, "total": 0, "ratings": []}


def test_no_name_and_no_address_is_shown(client: TestClient) -> None:
    for path in ("neighbors", "ratings"):
        for user in (1, 2):
            text = client.get(f"/users/{user}/{path}").text
            assert "@" not in text
            assert "Somebody" not in text


@pytest.mark.parametrize("route", ["neighbors", "ratings"])
def test_invalid_parameters_are_refused(client: TestClient, route: str) -> None:
    unknown = client.get(f"/users/4711/{route}")
    assert (unknown.status_code, "4711" in unknown.json()["detail"]) == (404, True)
    for user in ("-1", "042", "x", str(2**63), "1.0", "%D9%A1"):
        assert client.get(f"/users/{user}/{route}").status_code == 422
    wrong = client.get(f"/users/x/{route}?limit=0")
    assert [error["parameter"] for error in wrong.json()["errors"]] == ["user_id", "limit"]
    assert client.get(f"/users/1/{route}?limit=1&limit=2").status_code == 422
    get, head = client.get(f"/users/1/{route}"), client.head(f"/users/1/{route}")
    assert get.headers["x-model-version"] == "none"
    assert client.get(f"/users/1/{route}", headers={"If-None-Match": get.headers["etag"]}).status_code == 304
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert client.get("/users/1/neighbors?ranking=best").json()["errors"][0]["parameter"] == "ranking"
    assert client.get("/users/1/neighbors?ranking=auto").status_code == 409
    assert client.get("/users/1/ratings?offset=-1").json()["errors"][0]["parameter"] == "offset"


@pytest.mark.parametrize("ranking", ["classic", "taste"])
def test_a_live_model_shows_the_latest_ratings_and_neighbors(shop: Engine, ranking: str) -> None:
    base = build(shop)
    live = LiveModel.of(base)
    everybody = [*STARS, NO_RATINGS, TURNED_TO]
    assert [as_seen(live, user, ranking) for user in everybody] == [as_seen(base, user, ranking) for user in everybody]
    when = int(WHEN.timestamp() * 1_000_000)
    purchase = 3
    live = live.after(
        [
            UserRecord(3, ((A.encode(), 10, when), (B.encode(), 8, when), (C.encode(), 2, when)), listed=True),
            UserRecord(NO_RATINGS, ((A.encode(), 9, when),), ((D.encode(), purchase, when),), listed=True),
        ],
        {},
    )
    by_taste = ranking == "taste"
    asking = as_seen(live, NO_RATINGS, ranking)
    assert asking.rated == {A: 9}
    assert asking.own == ({A, D} if by_taste else {A})
    assert {user: near.shared for user, near in asking.near.items()} == {1: {A}, 2: {A}, 3: {A}}
    assert asking.near[3].owned == {A: 10, B: 8, C: 2}
    assert as_seen(live, 1, ranking).near[3].shared == {A, B}
    assert (NO_RATINGS in as_seen(live, 4, ranking).near) is by_taste  # an interaction with a product that 4 has rated


@pytest.mark.parametrize("ranking", ["classic", "taste"])
def test_an_erased_person_is_unknown_and_nobodys_neighbor(shop: Engine, ranking: str) -> None:
    live = LiveModel.of(build(shop)).after([UserRecord(2)], {})
    for ask in (lambda: live.neighborhood(2, ranking), lambda: live.ratings_of(2)):
        with pytest.raises(UnknownUserError):
            ask()
    with pytest.raises(UnknownUserError):
        live.neighborhood(4711, ranking)
    assert 2 not in live.neighborhood(1, ranking).user_ids
