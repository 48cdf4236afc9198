"""The person behind a user_id: known people keep their numbers, and nobody gets another person's list."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, delete, select

import api
import load_recommendation_data as step2
import recommendation_engine as step3
from recommender.commands import shop_import
from recommender.database import (
    NUMBERS,
    TEXT,
    Identities,
    existing_tables,
    newest_deletion,
    read_identities,
    token_of,
    writing,
)
from recommender.database.schema import data_origin, ratings, recommendations, user_id_map, users
from recommender.database.staging._stage import Stage
from recommender.errors import OtherPeopleError, WriteConflictError
from recommender.publishing import roll_back
from recommender.settings import Settings
from recommender.updates import erase_user, prepare
from tests.support.service import KEY, WITH_KEY, wait_until
from tests.support.shop import fill

ASINS = [f"B{n:09d}" for n in range(6)]
PEOPLE = {
    "ann": {ASINS[0]: 5, ASINS[1]: 4},
    "cem": {ASINS[0]: 5, ASINS[2]: 5},
    "eve": {ASINS[3]: 5, ASINS[4]: 2},
    "zoe": {ASINS[3]: 5, ASINS[5]: 5},
}
# her nearest is Cem, and her id sorts between the others
BEA = {"bea": {ASINS[0]: 5, ASINS[2]: 4}}


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A catalog without people, and the environment of the steps."""
    fill(engine, {}, ASINS)
    for name, value in (env | {"API_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return engine


def load(
    engine: Engine, people: dict[str, dict[str, int]], *, replace: bool = False, user_ids: str | None = None
) -> bool:
    """Import these ratings."""
    rows = [f"{who},{product},{stars}" for who, given in people.items() for product, stars in given.items()]
    Path("mine.csv").write_text("\n".join(["user_id,product_id,rating", *rows, ""]), encoding="utf-8")
    return step2.import_ratings(engine, Path("mine.csv"), replace=replace, user_ids=user_ids)


def numbers(engine: Engine) -> dict[str, int]:
    """The number of each person."""
    with engine.connect() as connection:
        return {row.external_id: row.user_id for row in connection.execute(select(user_id_map))}


def lists(engine: Engine) -> dict[int | str, list[str]]:
    """The published lists."""
    found: dict[int | str, list[str]] = {}
    with engine.connect() as connection:
        for row in connection.execute(select(recommendations).order_by("user_id", "rank")):
            found.setdefault(row.user_id, []).append(row.product_id)
    return found


def answered(client: TestClient, user_id: int | str) -> list[str]:
    answer = client.get(f"/recommendations/{user_id}")
    assert answer.status_code == 200, answer.text
    return [item["product_id"] for item in answer.json()["recommendations"]]


def erase(engine: Engine, user_id: int) -> None:
    prepare(engine)
    with writing(engine) as connection:
        erase_user(connection, engine, user_id)


def test_a_new_customer_in_the_middle_changes_nobodys_number(shop: Engine) -> None:
    load(shop, PEOPLE)
    first, token = numbers(shop), token_of(shop)
    assert first == {"ann": 1, "cem": 2, "eve": 3, "zoe": 4}
    assert step3.main([]) == 0
    with TestClient(api.create_app()) as client:
        before = {name: answered(client, name) for name in first}
        assert before == lists(shop)
        load(shop, PEOPLE | BEA)
        assert numbers(shop) == first | {"bea": 5}
        assert token_of(shop) == token
        watch = client.app.state.updater  # type: ignore[attr-defined]
        swapped = time.time()
        wait_until(lambda: watch.changes_seen_at.timestamp() > swapped)
        for name in ("eve", "zoe"):  # people who share nothing with the new customer
            assert answered(client, name) == before[name] == lists(shop)[name]
        assert step3.main([]) == 0
        wait_until(lambda: client.get("/recommendations/bea").status_code == 200)
        assert answered(client, "bea")[0] == lists(shop)["bea"][0] == ASINS[1], "Ann's other product, from Ann"


def test_a_person_missing_from_one_import_keeps_the_number(shop: Engine) -> None:
    load(shop, PEOPLE)
    load(shop, {name: given for name, given in PEOPLE.items() if name != "cem"} | BEA)
    load(shop, PEOPLE | BEA)
    assert numbers(shop) == {"ann": 1, "cem": 2, "eve": 3, "zoe": 4, "bea": 5}


@pytest.mark.parametrize("who", ["cem", "zoe"])
def test_the_number_of_an_erased_person_is_not_given_again(shop: Engine, who: str) -> None:
    load(shop, PEOPLE)
    first = numbers(shop)
    erase(shop, first[who])
    rest = {name: given for name, given in PEOPLE.items() if name != who}
    load(shop, rest | BEA, replace=True)
    assert numbers(shop) == {name: first[name] for name in rest} | {"bea": 5}
    load(shop, PEOPLE | BEA, replace=True)  # the same name again: a new person
    assert numbers(shop) == {name: first[name] for name in rest} | {"bea": 5, who: 6}


def test_the_highest_number_is_remembered_when_nothing_else_tells_it(shop: Engine) -> None:
    load(shop, PEOPLE)
    erase(shop, 4)
    load(shop, {"ann": PEOPLE["ann"]}, replace=True)
    with writing(shop) as connection:
        connection.exec_driver_sql("DELETE FROM live_deletions")
    load(shop, {"ann": PEOPLE["ann"]} | BEA, replace=True)
    assert numbers(shop)["bea"] == 5


def test_a_number_that_came_through_the_api_is_given_to_nobody_else(shop: Engine) -> None:
    load(shop, PEOPLE)
    with writing(shop) as connection:
        row = {"user_id": 40, "product_id": ASINS[0], "rating": 5}
        connection.execute(ratings.insert(), [row | {"created_at": None}])
    load(shop, PEOPLE | BEA, replace=True)
    assert numbers(shop)["bea"] == 41


def test_whole_number_ids_stay_unchanged_and_mean_the_same_people(shop: Engine) -> None:
    load(shop, {"42": PEOPLE["ann"], "7": PEOPLE["cem"]})
    token = token_of(shop)
    load(shop, {"42": PEOPLE["ann"], "8": PEOPLE["cem"]})
    assert token_of(shop) == token is not None
    assert numbers(shop) == {}


def test_each_change_of_the_kind_of_ids_means_other_people(
    shop: Engine, make_settings: Callable[..., Settings]
) -> None:
    made_up = make_settings(NUM_USERS=5, NUM_RATINGS=20, NUM_INTERACTIONS=5)
    tokens = []
    for _ in range(2):
        load(shop, {"1": PEOPLE["ann"], "2": PEOPLE["cem"]}, replace=True)
        tokens.append(token_of(shop))
        load(shop, PEOPLE, replace=True, user_ids=TEXT)
        tokens.append(token_of(shop))
        step2.generate(shop, made_up, seed=1, replace=True)
        tokens.append(token_of(shop))
    assert None not in tokens
    assert len(set(tokens)) == 6
    load(shop, PEOPLE, replace=True)
    assert min(numbers(shop).values()) == 9, "numbers that were given to texts twice before"


def test_nobody_is_answered_until_a_model_of_the_new_people_is_served(shop: Engine) -> None:
    load(shop, {str(number): given for number, given in zip((1, 2, 3, 4), PEOPLE.values(), strict=True)})
    assert step3.main(["--save-model", "shop.model"]) == 0
    assert step3.main([]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_FILE", str(Path("shop.model").absolute()))
        with TestClient(api.create_app(), headers=WITH_KEY) as client:
            assert client.get("/recommendations/1").status_code == 200
            load(shop, {"1": PEOPLE["ann"], "yan": PEOPLE["eve"], "ann": PEOPLE["zoe"]}, user_ids=TEXT)
            wait_until(lambda: client.get("/recommendations/1").status_code == 503)
            rating = {"user_id": 1, "product_id": ASINS[0], "rating": 5}
            for answer in (
                client.get("/recommendations/1"),
                client.get("/users/1/ratings"),
                client.post("/recommendations/batch", json={"user_ids": [1]}),
                client.post("/ratings", json=rating),
                client.post("/interactions", json=rating),
                client.delete("/users/1"),
                *(client.get(path, params={"user_id": 1}) for path in ("/recommendations", "/neighbors", "/ratings")),
                *(client.delete(path, params={"user_id": 1}) for path in ("/users", f"/ratings/{ASINS[0]}", "/rating")),
            ):
                assert (answer.status_code, "somebody else" in answer.json()["detail"]) == (503, True)
            assert client.get("/popular").status_code == 200
            assert client.post("/recommendations", json={"ratings": [{"product_id": ASINS[0]}]}).status_code == 200
            health = client.get("/health").json()
            assert (health["status"], health["other_people"]) == ("degraded", True)
            assert "recommender_other_people 1.0" in client.get("/metrics").text
            with pytest.raises(OtherPeopleError, match="version 1 is of other people"):
                roll_back(shop, 1)
            assert step3.main(["--rollback", "1"]) == 1
            assert step3.main(["--save-model", "shop.model"]) == 0
            wait_until(lambda: client.get("/recommendations/1").status_code == 200)
            assert answered(client, "1") == lists(shop)["1"]
        with TestClient(api.create_app()) as client:
            assert client.get("/recommendations/1").status_code == 200


def test_a_model_file_of_other_people_is_not_served_at_the_start(shop: Engine) -> None:
    load(shop, {"1": PEOPLE["ann"], "2": PEOPLE["cem"]})
    assert step3.main(["--save-model", "shop.model"]) == 0
    load(shop, PEOPLE, user_ids=TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_FILE", str(Path("shop.model").absolute()))
        with TestClient(api.create_app()) as client:
            assert client.get("/recommendations/1").status_code == 503


def test_a_service_without_a_file_makes_a_model_of_the_new_people_by_itself(shop: Engine) -> None:
    load(shop, {"1": PEOPLE["ann"], "2": PEOPLE["cem"]})
    with TestClient(api.create_app()) as client:
        assert client.get("/recommendations/zoe").status_code == 422
        load(shop, PEOPLE, user_ids=TEXT)
        wait_until(lambda: client.get("/recommendations/zoe").status_code == 200)
        assert "other_people" not in client.get("/health").json()


def test_a_batch_of_other_people_is_not_published(shop: Engine) -> None:
    load(shop, {"1": PEOPLE["ann"], "2": PEOPLE["cem"]})
    model = step3.load_model(shop)
    assert step3.batch_generate(*model, shop)
    before = lists(shop)
    load(shop, PEOPLE, user_ids=TEXT)
    with pytest.raises(OtherPeopleError, match="replaced all people meanwhile"):
        step3.batch_generate(*model, shop)
    assert lists(shop) == before


def test_a_database_of_the_previous_release_keeps_its_numbers(shop: Engine) -> None:
    load(shop, PEOPLE)
    with writing(shop) as connection:
        connection.execute(delete(data_origin).where(data_origin.c.name == "identities"))
    assert token_of(shop) is None
    assert step3.main([]) == 0
    load(shop, PEOPLE | BEA)
    assert numbers(shop) == {"ann": 1, "cem": 2, "eve": 3, "zoe": 4, "bea": 5}
    assert token_of(shop) is None, "the same people"
    roll_back(shop, 1)
    load(shop, {"1": PEOPLE["ann"]}, user_ids=NUMBERS)
    assert token_of(shop) is not None


def test_an_import_that_ends_before_the_swap_gives_no_number(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    load(shop, PEOPLE)

    def before() -> Identities:
        with shop.connect() as connection:
            return read_identities(connection, existing_tables(shop))

    held = before()
    with monkeypatch.context() as patch:
        patch.setattr(Stage, "publish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            load(shop, PEOPLE | BEA)
    assert before() == held
    load(shop, PEOPLE | BEA)
    assert numbers(shop)["bea"] == 5


def test_an_import_is_refused_if_somebody_is_erased_meanwhile(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    load(shop, PEOPLE)
    prepare(shop)
    asked = iter([0, 1])
    monkeypatch.setattr(shop_import, "newest_deletion", lambda *_: next(asked))
    with pytest.raises(WriteConflictError, match="a user was erased"):
        load(shop, PEOPLE | BEA)
    assert "bea" not in numbers(shop)
    with shop.connect() as connection:
        assert newest_deletion(connection, existing_tables(shop)) == 0
        assert connection.execute(select(users.c.user_id)).scalars().all() == [1, 2, 3, 4]


def test_user_0_goes_through_all_four_steps_and_changes_no_other(shop: Engine) -> None:
    load(shop, dict(zip(("0", "1", "2", "10"), PEOPLE.values(), strict=True)))
    assert numbers(shop) == {}
    assert step3.main(["--user", "0"]) == 0
    expected = lists(shop)
    assert list(expected) == [0, 1, 2, 10]
    with TestClient(api.create_app(), headers=WITH_KEY) as client:
        assert {number: answered(client, number) for number in expected} == expected
        assert client.get("/users/1/neighbors").json()["neighbors"][0]["user_id"] == 0
        many = client.post("/recommendations/batch", json={"user_ids": [0, 10]}).json()["results"]
        assert [one["user_id"] for one in many] == [0, 10]
        rating = {"user_id": 0, "product_id": ASINS[2], "rating": 5.0}
        assert client.post("/ratings", json=rating).json() == rating
        assert client.get("/users/0/ratings").json()["total"] == 3
        basket = client.post("/recommendations", json={"ratings": [{"product_id": ASINS[1]}]})
        assert basket.headers["x-recommendation-source"] == "mixed", "user 0, who alone has the product, is asked"
        assert client.delete("/users/0").status_code == 204
        assert client.get("/recommendations/0").status_code == 404
