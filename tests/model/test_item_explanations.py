"""Explanations by a person's own products: shares equal hand arithmetic, and nobody without a key sees one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine

import api
from recommender.evaluation.tuning import Tuned
from recommender.live import LiveModel, UserRecord
from recommender.model import ListRequest, ServedModel, explain
from recommender.model.explanations import N_SPEAKING, ItemExplanation
from recommender.ranking import AUTO, FUSION, ITEMS, AutoParameters, FusionParameters, ItemParameters, TasteSimilarity
from tests.ranking.test_items import ONE, weights_of
from tests.support.saved_model import build
from tests.support.service import KEY, WITH_KEY
from tests.support.shop import fill, product_row

A, B, C, D, E, F, G = (f"B00000000{letter}" for letter in "ABCDEFG")
PRODUCTS = [A, B, C, D, E, F]
TITLES: dict[str, str | None] = {
    A: "Green tea in bags", B: "Kettle", C: "Rice cooker", D: None, E: "Garden hose", F: "Stapler",
}  # fmt: skip
OWN = {1: {A: 5.0, B: 4.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 4.0, C: 3.0}, 4: {D: 2.0, E: 3.0}, 5: {D: 4.0, F: 4.0}}


def with_weights(pairs: dict[tuple[str, str], float], *, half_life: float = 0.0) -> ServedModel:
    """User 1 is near 2 and 3, who have C; D, E and F are of others. ``pairs``: B of pairs of products."""
    parameters = AutoParameters(
        FUSION, items=ItemParameters(half_life=half_life, damping=0.0), fusion=FusionParameters(0.5, 10.0)
    )
    return weighed(build(OWN, {p: (title, 1.0) for p, title in TITLES.items()}, taste=True), parameters, pairs)


def weighed(model: ServedModel, parameters: AutoParameters, pairs: dict[tuple[str, str], float]) -> ServedModel:
    """The model with B of these pairs of products."""
    assert isinstance(model.similarity, TasteSimilarity)
    matrix, dense = model.matrix, np.zeros((model.matrix.shape[1],) * 2)
    names = matrix.products(np.arange(matrix.shape[1]))
    for (one, other), weight in pairs.items():
        dense[names.index(one), names.index(other)] = weight
    weights = weights_of(np.rint(dense * ONE).astype(np.int64))
    given = matrix, model.similarity.profiles
    return replace(model, similarity=TasteSimilarity.of(*given, parameters=parameters, item_weights=weights))


PAIRS = {(A, C): 0.375, (B, C): 0.125, (A, E): -0.25, (B, E): 0.5, (B, F): 0.0625, (D, F): 9.0}


def explained(model: ServedModel, ranking: str, *, named: bool, user: int = 1) -> dict[str, Any]:
    """What is said of each product of the user's list."""
    items = model.recommend(user, 6, ranking).recommendations
    reasons = explain(model, user, items, ranking, named=named)
    return {model.products.id_of(item.column): reason for item, reason in zip(items, reasons, strict=True)}


def test_shares_and_sentences_equal_hand_arithmetic() -> None:
    found = explained(with_weights(PAIRS), ITEMS, named=True)
    # user 1 gave A 5 stars of 5 and B 4: supports .375 + .8 * .125 = .475, .8 * .5 - .25 = .15 and .8 * .0625 = .05
    assert list(found)[:3] == [C, E, F]
    assert [asdict(found[product])["because"] for product in (C, E, F)] == [
        [{"product_id": A, "share": 0.789}, {"product_id": B, "share": 0.211}],  # .375 / .475 and .1 / .475
        [{"product_id": B, "share": 1.0}],  # A speaks against it
        [{"product_id": B, "share": 1.0}],
    ]
    assert [found[product].support for product in (C, E, F)] == [0.475, 0.15, 0.05]
    assert [found[product].source for product in (C, E, F)] == [ITEMS] * 3
    near = (
        "2 of the 2 people whose taste is nearest to yours have it, 4.0 stars on average; you and the closest of them"
    )
    assert found[C].sentence.startswith(f"It goes with “Green tea in bags” and “Kettle”; {near}")
    assert found[E].sentence == "It goes with “Kettle”."
    assert (found[C].n_neighbors, found[C].n_asked, found[E].n_neighbors) == (2, 2, 0)
    assert not isinstance(found[D], ItemExplanation)  # a popular product


def test_older_products_have_smaller_shares() -> None:
    model = with_weights({(A, C): 0.5, (B, C): 0.5}, half_life=1.0)
    assert isinstance(model.similarity, TasteSimilarity)
    assert model.similarity.profiles.times is not None
    first, second = model.similarity.profiles.times[:2].tolist()  # of A and B of user 1
    assert first > second  # so B is one product older
    because = asdict(explained(model, ITEMS, named=True)[C])["because"]
    # 1 and 0.5 * 0.8, as user 1 gave B 4 stars
    assert because == [{"product_id": A, "share": 0.714}, {"product_id": B, "share": 0.286}]


def test_a_fusion_tells_of_neighbors_of_products_or_of_both() -> None:
    model = with_weights({(A, E): 0.5})
    found = explained(model, AUTO, named=True)
    assert list(found)[:2] == [C, E]  # both have the first place of one list
    assert [found[product].source for product in (C, E)] == [FUSION] * 2
    assert len(asdict(found[C])["because"]) == 0  # by neighbors alone
    assert found[C].sentence.startswith("2 of the 2 people whose taste is nearest to yours have it")
    assert asdict(found[E])["because"] == [{"product_id": A, "share": 1.0}]
    assert (found[E].sentence, found[E].n_neighbors) == ("It goes with “Green tea in bags”.", 0)
    assert found[C].support == found[E].support == round(0.5 / 11, 4)
    both = explained(with_weights(PAIRS), AUTO, named=True)[C]
    assert both.sentence.startswith("It goes with “Green tea in bags” and “Kettle”; 2 of the 2 people")
    assert both.support == round(0.5 / 11 + 0.5 / 11, 4)


@pytest.mark.parametrize("ranking", [ITEMS, AUTO])
def test_without_a_key_no_product_of_the_person_is_in_any_field(ranking: str) -> None:
    model = with_weights(PAIRS)
    found = explained(model, ranking, named=False)
    assert {reason.source for reason in found.values()} >= {ITEMS if ranking == ITEMS else FUSION}
    for product, reason in found.items():
        text = json.dumps(asdict(reason), ensure_ascii=False)
        assert not [other for other in PRODUCTS if other in text or f"“{TITLES[other]}”" in text]
        assert len(asdict(reason).get("because", [])) == 0
        assert reason.support == round(reason.support, 1), product
    said = "It goes with products that you have"
    assert found[C].sentence == f"{said}; 2 of the 2 people whose taste is nearest to yours have it."
    assert found[E].sentence == f"{said}."  # also if it is one product


@pytest.mark.parametrize("n_own", [1, 2, 3, 5])
def test_the_sentence_without_a_key_does_not_tell_how_many_products_speak(n_own: int) -> None:
    own = [f"B{number:09d}" for number in range(5)]
    stars = {1: dict.fromkeys(own, 4.0), 2: {own[0]: 4.0, F: 4.0}}
    model = weighed(
        build(stars, dict.fromkeys([*own, F], (None, 1.0)), taste=True),
        AutoParameters(ITEMS, items=ItemParameters(half_life=0.0, damping=0.0)),
        {(mine, F): 0.25 for mine in own[:n_own]},
    )
    plain, named = (explained(model, ITEMS, named=named)[F] for named in (False, True))
    assert plain.sentence.startswith("It goes with products that you have; the only person")
    assert len(asdict(named)["because"]) == min(n_own, N_SPEAKING)
    assert [entry["share"] for entry in asdict(named)["because"]] == [round(1 / n_own, 3)] * min(n_own, N_SPEAKING)


def test_a_product_rated_just_now_speaks_and_a_later_one_does_not() -> None:
    model = LiveModel.of(with_weights({(D, F): 0.25, (E, F): 0.75}))
    now = model.after([UserRecord(9, ((D.encode(), 8, 0), (E.encode(), 8, 0), (G.encode(), 8, 0)), listed=True)], {})
    assert asdict(explained(now, ITEMS, named=True, user=9)[F])["because"] == [
        {"product_id": E, "share": 0.75},
        {"product_id": D, "share": 0.25},
    ]
    items = now.select(9, ListRequest(6), ITEMS).recommendations
    assert len(explain(now, 9, items, ITEMS)) == len(items)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.tuples(st.sampled_from(PRODUCTS), st.sampled_from(PRODUCTS)), st.integers(-8, 8), max_size=20)
)
def test_shares_are_parts_of_all_that_speaks_for_a_product(eighths: dict[tuple[str, str], int]) -> None:
    pairs = {pair: weight / 8 for pair, weight in eighths.items() if pair[0] != pair[1]}
    model = with_weights(pairs)
    for user, ranking in ((user, ranking) for user in OWN for ranking in (ITEMS, AUTO)):
        for product, reason in explained(model, ranking, named=True, user=user).items():
            if not isinstance(reason, ItemExplanation):
                continue
            given = {mine: stars / 5 * pairs.get((mine, product), 0.0) for mine, stars in OWN[user].items()}
            added = {mine: weight for mine, weight in given.items() if weight > 0}
            wanted = sorted(added, key=lambda mine: (-added[mine], mine))[:N_SPEAKING]
            assert [entry.product_id for entry in reason.because] == wanted
            assert [entry.share for entry in reason.because] == [
                round(added[mine] / sum(added.values()), 3) for mine in wanted
            ]


# ---- over HTTP ---------------------------------------------------------------------------------------------------


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture(params=[ITEMS, FUSION])
def client(
    request: pytest.FixtureRequest, engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    fill(engine, OWN, [product_row(product, title=TITLES[product]) for product in PRODUCTS])
    chosen = AutoParameters(request.param, items=ItemParameters(ridge=0.5))
    monkeypatch.setattr("recommender.model.training.tune", lambda *_: Tuned(chosen, 5))
    for name, value in (env | {"MODEL_FILE": "", "RANKING": "auto", "API_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app()) as opened:
        yield opened


def test_every_answer_is_as_its_schema_says(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    answer = document["paths"]["/recommendations/{user_id}"]["get"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    checked = jsonschema_rs.Draft202012Validator(schema | {"components": document.get("components", {})})
    n_because = 0
    for user in OWN:
        for ranking in ("classic", "taste", "items", "auto"):
            for headers in ({}, WITH_KEY):
                given = client.get(f"/recommendations/{user}?ranking={ranking}&explain=true", headers=headers)
                checked.validate(given.json())
                told = json.dumps(given.json())
                reasons = [item["explanation"] for item in given.json()["recommendations"]]
                because = [entry for reason in reasons for entry in reason.get("because", [])]
                assert not because or headers
                n_because += len(because)
                if headers:
                    assert {entry["product_id"] for entry in because} <= set(OWN[user])
                    assert all(0.0 <= entry["share"] <= 1.0 for entry in because)
                else:
                    assert not [product for product in OWN[user] if f'"{product}"' in told]
                for name in ("X-Recommendation-Source", "X-Recommendation-Sources"):
                    described = answer["headers"][name]["schema"]
                    jsonschema_rs.Draft202012Validator(described).validate(given.headers[name])
    assert n_because > 5
    with pytest.raises(jsonschema_rs.ValidationError):
        checked.validate(given.json() | {"more": 1})
