"""Explanations: the evidence equals hand arithmetic and brute force, in words, without anybody's id."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine

import api
from recommender.model import ServedModel, explain
from recommender.model.explanations import N_CLOSEST, N_SHARED, Closest
from recommender.ranking import CLASSIC, TASTE
from recommender.service import ApiKeys
from tests.support.saved_model import build
from tests.support.shop import fill, product_row

A, B, C, D, E, F, G = (f"B00000000{letter}" for letter in "ABCDEFG")
CATALOG: dict[str, tuple[str | None, float]] = {
    A: ("Green tea in bags", 3.0),
    B: ("A kettle with a very long title that goes on and on until nobody would read it any further", 20.0),
    C: ("Rice cooker", 30.0),
    D: (None, 4.0),
    E: ("Garden hose", 12.0),
}


def kitchen() -> ServedModel:
    """User 1 is similar to 2 and 3, who have C. User 4 has nothing in common with anybody."""
    stars = {1: {A: 5.0, B: 4.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 4.0, C: 3.0}, 4: {D: 2.0}, 5: {D: 4.0, E: 1.0}}
    return build(stars, CATALOG, others=[9], taste=True)


def test_an_explanation_equals_a_worked_example() -> None:
    model = kitchen()
    answer = model.recommend(1, 3, CLASSIC)
    assert [model.products.id_of(item.column) for item in answer.recommendations] == [C, D, E]
    first, second, third = explain(model, 1, answer.recommendations, CLASSIC, named=True)
    # cosine(1, 2) = 41 / (sqrt(41) sqrt(66)) = 0.788, cosine(1, 3) = 20 / (sqrt(41) * 5) = 0.625
    assert asdict(first) == {
        "source": "neighbors",
        "sentence": "2 of the 2 people whose ratings are most like yours rated it, 4.0 stars on average; you and the "
        "closest of them both have “A kettle with a very long title that goes on and on until …” and “Green tea in "
        "bags”.",
        "support": round(41 / (41 * 66) ** 0.5 + 20 / (41**0.5 * 5), 3),
        "n_neighbors": 2,
        "n_asked": 2,
        "mean_rating": 4.0,
        "closest": [
            {"user_id": 2, "similarity": 0.788, "rating": 5.0, "shared_products": [B, A]},  # fewer people have B
            {"user_id": 3, "similarity": 0.625, "rating": 3.0, "shared_products": [A]},
        ],
    }
    assert second.sentence == "It is popular: 2 people have rated it, 3.0 stars on average."
    assert third.sentence == "It is popular: 1 person has rated it, 1.0 stars on average."
    assert (second.n_neighbors, second.closest, second.mean_rating) == (0, [], 3.0)


def test_a_request_without_a_key_gets_counts_and_coarse_similarities() -> None:
    """The evidence has no mean of fewer than three people and no other product of theirs."""
    model = kitchen()
    first, second, third = explain(model, 1, model.recommend(1, 3, CLASSIC).recommendations, CLASSIC)
    assert asdict(first) == {
        "source": "neighbors",
        "sentence": "2 of the 2 people whose ratings are most like yours rated it.",
        "support": 1.0,  # 0.788 and 0.625 are both at least 0.5
        "n_neighbors": 2,
        "n_asked": 2,
        "mean_rating": None,
        "closest": [{"similarity": 0.5}, {"similarity": 0.5}],
    }
    assert second.sentence == "It is popular: 2 people have rated it."
    assert third.sentence == "It is popular: 1 person has rated it."
    model = build({1: {A: 5.0}, 2: {A: 5.0, C: 5.0}, 3: {A: 4.0, C: 3.0}, 4: {A: 1.0, C: 5.0}}, CATALOG)
    (only,) = explain(model, 1, model.recommend(1, 1, CLASSIC).recommendations, CLASSIC)
    assert (only.mean_rating, only.support) == (4.33, 1.1)  # cosines 0.707, 0.8 and 0.196
    assert only.sentence == "3 of the 3 people whose ratings are most like yours rated it, 4.3 stars on average."


def test_one_person_is_told_as_one() -> None:
    others = {2: {A: 5.0, C: 5.0}, 3: {A: 4.0}, 4: {A: 3.0, D: 2.0}}
    for ranking, did, nearest, near in (
        (CLASSIC, "rated it", "whose ratings are most like yours", "whose ratings are like yours"),
        (TASTE, "has it", "whose taste is nearest to yours", "whose taste is near yours"),
    ):
        both = "5.0 stars on average; you both have “Green tea in bags”."
        told = [f"1 of the 2 people {nearest} {did}, {both}", f"The only person {near} {did}, {both}"]
        for n_others, sentence in ((3, told[0]), (1, told[1])):
            model = build({1: {A: 5.0}} | dict(list(others.items())[:n_others]), CATALOG, taste=True)
            items = model.recommend(1, 1, ranking).recommendations
            assert [model.products.id_of(item.column) for item in items] == [C]
            (only,) = explain(model, 1, items, ranking, named=True)
            if ranking == CLASSIC:  # asks also those who have no other product
                sentence = sentence.replace("of the 2", "of the 3")
            assert only.sentence == sentence


def test_each_source_has_its_own_sentence() -> None:
    model = build({1: {A: 5.0}, 2: {A: 4.0}}, CATALOG, others=[9, 10, 11, 12, 13, 14, 15, 16, 17, 18], taste=True)
    found: dict[str, str] = {}
    for user in model.known_users.tolist():
        items = model.recommend(user, 3, TASTE).recommendations
        found |= {reason.source: reason.sentence for reason in explain(model, user, items, TASTE, named=True)}
    assert (
        found["segment"]
        == "It is popular with people of your country and age group: 2 people have rated it, 4.5 stars on average."
    )
    assert found["new"] == "It is new: nobody has rated it yet."
    assert found["popular"] == "It is popular: 2 people have rated it, 4.5 stars on average."


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([CLASSIC, TASTE]))
def test_the_evidence_equals_that_of_the_neighbors(seed: int, ranking: str) -> None:
    rng = np.random.default_rng(seed)
    ids = [f"B{number:09d}" for number in range(12)]
    stars = {
        user: {ids[p]: int(rng.integers(1, 11)) / 2 for p in rng.choice(12, int(rng.integers(1, 6)), replace=False)}
        for user in range(1, 15)
    }
    model = build(stars, dict.fromkeys(ids, (None, 1.0)), k=5, taste=True)
    raters = {product: sum(product in theirs for theirs in stars.values()) for product in ids}
    for user in stars:
        items = model.recommend(user, 6, ranking).recommendations
        row = model.matrix.row_of(user)
        near, close = model.neighbors_of(row, ranking)
        neighbors = [(int(model.matrix.user_ids[v]), s) for v, s in zip(near.tolist(), close.tolist(), strict=True)]
        everybody = explain(model, user, items, ranking, named=True, everybody=True)
        assert explain(model, user, items, ranking, everybody=True) == explain(model, user, items, ranking)
        for item, reason, whole in zip(items, explain(model, user, items, ranking, named=True), everybody, strict=True):
            assert replace(whole, closest=whole.closest[:N_CLOSEST]) == reason
            assert reason.source == item.source
            if item.source != "neighbors":
                continue
            product = model.products.id_of(item.column)
            having = [(v, s) for v, s in neighbors if product in stars[v]]
            assert (reason.n_neighbors, reason.n_asked) == (len(having), len(neighbors))
            assert reason.n_neighbors == item.n_neighbors
            assert reason.support == pytest.approx(sum(s for _, s in having), abs=6e-4)
            assert reason.mean_rating == round(float(np.mean([stars[v][product] for v, _ in having])), 2)
            assert len(reason.closest) == min(N_CLOSEST, len(having))
            for closest, (v, s) in zip(whole.closest, having, strict=True):
                assert isinstance(closest, Closest)
                shared = sorted(set(stars[user]) & set(stars[v]), key=lambda p: (raters[p], p))
                assert closest.shared_products == shared[:N_SHARED]
                assert (closest.similarity, closest.rating) == (round(s, 3), stars[v][product])


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    stars = {7_000_001: {A: 5.0, B: 4.0}, 7_000_002: {A: 5.0, B: 4.0, C: 5.0}, 7_000_003: {D: 3.0}}
    fill(engine, stars, [product_row(product, title=f"<{product}>") for product in (A, B, C, D)])
    for name, value in (env | {"MODEL_FILE": "", "RANKING": "classic"}).items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app()) as opened:
        yield opened


def test_an_answer_explains_only_on_request_and_names_nobody(client: TestClient) -> None:
    plain = client.get("/recommendations/7000001").json()
    assert client.get("/recommendations/7000001?explain=false").json() == plain
    for ranking in ("classic", "taste"):
        answer = client.get(f"/recommendations/7000001?explain=true&limit=2&ranking={ranking}")
        items = answer.json()["recommendations"]
        assert [item["explanation"]["source"] for item in items] == ["neighbors", "popular"]
        assert "7000002" not in answer.text
        assert [sorted(entry) for entry in items[0]["explanation"]["closest"]] == [["similarity"]]
        everybody = client.get(f"/recommendations/7000001?explain=all&limit=2&ranking={ranking}")
        assert everybody.content == answer.content
    for item, without in zip(
        items, client.get("/recommendations/7000001?limit=2&ranking=taste").json()["recommendations"], strict=True
    ):
        assert {name: value for name, value in item.items() if name != "explanation"} == without
    refused = client.get("/recommendations/7000001?explain=yes")
    assert (refused.status_code, refused.json()["errors"][0]["message"]) == (422, "must be true or false or all")
    assert json.loads(answer.text)["user_id"] == 7_000_001


KEY = {"X-API-Key": "a-key-for-the-tests"}
PATH = "/recommendations/7000001?explain=true&limit=2"


@pytest.fixture
def keyed(client: TestClient) -> Any:
    client.app.state.api_keys = ApiKeys(KEY["X-API-Key"])  # type: ignore[attr-defined]
    return client


def test_the_closest_neighbors_are_named_only_with_a_right_key(keyed: TestClient) -> None:
    plain = keyed.get(PATH)
    for key in ("wrong", "", KEY["X-API-Key"] + "x"):
        wrong = keyed.get(PATH, headers={"X-API-Key": key})
        assert (wrong.status_code, wrong.content) == (200, plain.content)
        assert wrong.headers["cache-control"] == "private"
    named = keyed.get(PATH, headers=KEY)
    assert named.headers["cache-control"] == "private, no-store"
    items = named.json()["recommendations"]
    (closest,) = items[0]["explanation"]["closest"]
    assert closest == {"user_id": 7_000_002, "similarity": 0.788, "rating": 5.0, "shared_products": [A, B]}
    assert plain.json()["recommendations"][0]["explanation"]["closest"] == [{"similarity": 0.5}]
    unexplained = keyed.get("/recommendations/7000001", headers=KEY)
    assert unexplained.headers["cache-control"] == "private"
    assert unexplained.content == keyed.get("/recommendations/7000001").content


def test_an_answer_that_names_people_is_never_given_without_a_key(keyed: TestClient) -> None:
    answers = keyed.app.layer.answers  # type: ignore[attr-defined]
    for first, second in ((KEY, {}), ({}, KEY), (KEY, {"X-API-Key": "wrong"})):
        answers.clear()
        for headers in (first, second, first, second):
            assert ("7000002" in keyed.get(PATH, headers=headers).text) is (headers == KEY)
    answers.clear()
    for headers in (KEY, {"X-API-Key": "wrong"}):
        for path in (PATH, "/recommendations/7000001", "/popular"):
            assert keyed.get(path, headers=headers).status_code == 200
            assert keyed.head(path, headers=headers).status_code == 200
    assert len(answers) == 0
    keyed.get(PATH)
    assert len(answers) == 1


def test_nobody_is_named_without_a_configured_key(client: TestClient) -> None:
    assert "7000002" not in client.get(PATH, headers=KEY).text
    assert "7000002" not in client.get(PATH, headers={"X-API-Key": ""}).text
