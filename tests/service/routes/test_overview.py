"""The routes behind the pages: the shop at a glance, versions, search, and the what-if."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, update

import api
import recommendation_engine
from recommender.database import writing
from recommender.database.schema import interactions, model_versions, users
from tests.support.service import KEY, WITH_KEY
from tests.support.shop import WHEN, fill

A, B, C, D, E = (f"B00000000{letter}" for letter in "ABCDE")
UNRATED = "B00000000Z"
STARS = {1: {A: 5.0, B: 4.0}, 2: {A: 5.0, C: 4.5}, 3: {B: 4.0, C: 1.0, D: 3.0}, 4: {D: 5.0, E: 2.0}}


@pytest.fixture
def client(
    engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[TestClient]:
    fill(engine, STARS, [A, B, C, D, E, UNRATED])
    with writing(engine) as connection:
        connection.execute(insert(users), [{"user_id": user, "created_at": WHEN} for user in (8, 9)])
        for user, place in {1: ("DE", "25-34"), 3: ("DE", "35-44"), 9: ("FR", "25-34")}.items():
            segment = {"country": place[0], "age_group": place[1]}
            connection.execute(update(users).where(users.c.user_id == user).values(segment))
    for name, value in (env | {"RANKING": "taste", "API_KEY": KEY, "REQUEST_LOG": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with TestClient(api.create_app()) as client:
        yield client


def ids(answer: Any) -> list[int]:
    return [person["user_id"] for person in answer.json()["users"]]


def test_the_overview_counts_ratings_by_stars_and_products_by_ratings(client: TestClient) -> None:
    assert client.get("/overview.json").json()["ratings_by_stars"] is None  # of few people only with a key
    found = client.get("/overview.json", headers=WITH_KEY).json()
    assert found["shop"]["users"] == 6
    assert found["shop"]["products"] == 6
    assert found["shop"]["ratings"] == 9
    by_stars = {row["stars"]: row["ratings"] for row in found["ratings_by_stars"]}
    assert by_stars == {1.0: 1, 2.0: 1, 3.0: 1, 4.0: 2, 4.5: 1, 5.0: 3}
    # four products have two ratings, E has one
    assert [(row["rank"], row["ratings"]) for row in found["popularity"]] == [(1, 2), (2, 2), (3, 2), (4, 2), (5, 1)]
    assert found["served_by"]["shoppers"] == sum(found["served_by"]["sources"].values()) == 6
    assert found["faults"] == []
    assert found["gate"] is None
    assert found["rejected_rows"] is None


def test_the_overview_counts_rejected_rows_by_reason(client: TestClient, tmp_path: Path) -> None:
    rows = ["price 'x' is not a number", "price 'y' is not a number", "title is longer than 65,535 bytes"]
    lines = [f'"p.csv",{line},"{reason}","raw"\n' for line, reason in enumerate(rows, start=2)]
    (tmp_path / "rejected_rows.csv").write_text("file,line,reason,raw\n" + "".join(lines))
    reasons = client.get("/overview.json").json()["rejected_rows"]["reasons"]
    assert reasons == {"price … is not a number": 2, "title is longer than 65,535 bytes": 1}


def test_versions_are_listed_newest_first_and_a_refused_one_is_a_fault(client: TestClient, engine: Engine) -> None:
    assert client.get("/versions.json").json() == {"versions": []}
    assert recommendation_engine.main([]) == 0
    with writing(engine) as connection:
        refused = {"version": 2, "state": "kept", "made_at": WHEN, "fingerprint": "secret", "n_ratings": 9, "n_rows": 0}
        json = {"settings": '{"people": "token", "n": 10}', "metrics": '{"verdict": "refused"}'}
        connection.execute(insert(model_versions), [refused | json])
    versions = client.get("/versions.json").json()["versions"]
    assert [(version["version"], version["state"]) for version in versions] == [(2, "kept"), (1, "published")]
    assert versions[0]["settings"] == {"n": 10}
    assert "secret" not in client.get("/versions.json").text
    (fault,) = client.get("/overview.json").json()["faults"]
    assert fault["what"] == "Version 2 was not published: the gate refused it."
    assert "Version 1 stays published" in fault["remedy"]


def test_figures_tell_the_ranks_of_a_product_in_published_lists_or_why_it_is_in_none(client: TestClient) -> None:
    assert client.get(f"/products/{A}/figures", headers=WITH_KEY).json()["lists"] is None  # there are no lists yet
    assert recommendation_engine.main([]) == 0
    rows = client.get(f"/products/{A}/figures", headers=WITH_KEY).json()
    lists = {user: client.get(f"/recommendations/{user}").json()["recommendations"] for user in (3, 4)}
    ranks = [item["rank"] for items in lists.values() for item in items if item["product_id"] == A]
    assert {row["rank"]: row["lists"] for row in rows["lists"]} == {rank: ranks.count(rank) for rank in ranks}
    assert rows["ratings_by_stars"] == [{"stars": 5.0, "ratings": 2}]
    assert rows["segments"] == [{"country": "DE", "age_group": "25-34", "ratings": 1, "mean_rating": 5.0}]
    assert rows["reason"] is None
    unrated = client.get(f"/products/{UNRATED}/figures").json()
    assert (unrated["lists"], unrated["ratings_by_stars"]) == ([], [])
    assert unrated["reason"] == NOBODY


NOBODY = "Nobody has rated, viewed or bought it. A list holds one such product at most, and others were chosen."
VIEWED, BEATEN, GONE = "B00000000V", "B00000000W", "B00000000X"


@pytest.mark.parametrize(
    ("ranking", "reasons"),
    [
        (
            "taste",
            {
                UNRATED: NOBODY,
                VIEWED: "Nobody has rated it. People have viewed or bought it, but in every published list other "
                "products come first.",
            },
        ),
        ("classic", dict.fromkeys((UNRATED, VIEWED), "Nobody has rated it, and lists hold what somebody has rated.")),
    ],
)
def test_a_product_in_no_list_has_the_reason_that_is_true_for_the_ranking(
    ranking: str, reasons: dict[str, str], engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    fill(engine, STARS | {7: {BEATEN: 1.0, GONE: 5.0}}, [A, B, C, D, E, UNRATED, VIEWED, BEATEN])
    with writing(engine) as connection:
        view = {"user_id": 8, "product_id": VIEWED, "interaction_type": "view", "created_at": WHEN}
        connection.execute(insert(interactions), [view])
    more = {"RANKING": ranking, "API_KEY": KEY, "TOP_N_RECOMMENDATIONS": "1", "NEW_PRODUCT_PERCENT": "0"}
    for name, value in (env | more).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert recommendation_engine.main([]) == 0
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        told = {product: client.get(f"/products/{product}/figures").json() for product in (*reasons, BEATEN, GONE)}
    assert {product: told[product]["reason"] for product in reasons} == reasons
    assert told[BEATEN]["reason"] == "People have rated it, but in every published list other products come first."
    assert told[GONE]["reason"] == "It has left the catalog, so no list may hold it."
    assert [figures["lists"] for figures in told.values()] == [[]] * 4


def test_people_are_found_by_place_by_chance_and_by_their_number_of_ratings(client: TestClient) -> None:
    assert client.get("/users?country=DE").status_code == 401
    assert ids(client.get("/users?country=DE", headers=WITH_KEY)) == [1, 3]
    assert ids(client.get("/users?country=DE&age_group=35-44", headers=WITH_KEY)) == [3]
    assert ids(client.get("/users?country=XX", headers=WITH_KEY)) == []
    heavy = client.get("/users?kind=heavy&limit=2", headers=WITH_KEY).json()["users"]
    assert heavy == [{"user_id": 3, "ratings": 3}, {"user_id": 1, "ratings": 2}]
    assert ids(client.get("/users?kind=without_ratings", headers=WITH_KEY)) == [8, 9]
    (somebody,) = ids(client.get("/users?kind=somebody", headers=WITH_KEY))
    assert somebody in STARS
    for query in ("kind=x", f"country={'x' * 65}", "limit=0"):
        assert client.get(f"/users?{query}", headers=WITH_KEY).status_code == 422


@pytest.mark.parametrize("ranking", ["classic", "taste"])
def test_a_what_if_answers_what_the_list_is_after_the_rating_was_stored(client: TestClient, ranking: str) -> None:
    path = f"/recommendations/3?ranking={ranking}&explain=true"
    before = client.get(path, headers=WITH_KEY).json()
    asked = {"ratings": [{"product_id": A, "rating": 5}, {"product_id": B, "rating": 1.5}]}
    supposed = client.post(f"/users/3/what-if?ranking={ranking}&explain=true", json=asked, headers=WITH_KEY)
    assert supposed.status_code == 200
    assert supposed.headers["cache-control"] == "private, no-store"
    assert supposed.json() != before
    assert client.get(path, headers=WITH_KEY).json() == before  # nothing was stored
    assert client.get("/users/3/ratings", headers=WITH_KEY).json()["total"] == 3
    for item in asked["ratings"]:
        assert client.post("/ratings", json={"user_id": 3, **item}, headers=WITH_KEY).status_code == 201
    assert client.get(path, headers=WITH_KEY).json() == supposed.json()


def test_a_what_if_is_refused_with_the_reason(client: TestClient) -> None:
    one = {"ratings": [{"product_id": D, "rating": 5}]}
    assert client.post("/users/1/what-if", json=one).status_code == 401
    assert client.post("/users/99/what-if", json=one, headers=WITH_KEY).status_code == 404
    unknown = {"ratings": [{"product_id": "B000000099", "rating": 5}]}
    refused = client.post("/users/1/what-if", json=unknown, headers=WITH_KEY)
    assert (refused.status_code, "product B000000099 is unknown" in refused.json()["detail"]) == (404, True)
    faulty: list[Any] = [
        [],
        [{"product_id": D}],
        [{"product_id": D, "rating": 0}],
        [{"product_id": " x", "rating": 5}],
        5,
    ]
    for ratings in faulty:
        assert client.post("/users/1/what-if", json={"ratings": ratings}, headers=WITH_KEY).status_code == 422, ratings
