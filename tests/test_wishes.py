"""Filters of a list: the whole list less what they leave out, N products wherever there are N, by every ranking."""

from __future__ import annotations

from collections import Counter
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
from recommender.rankings import CLASSIC, TASTE
from recommender.serving import Answer, ServedModel
from recommender.wishes import Wish, capped
from tests.shop import fill, product_row
from tests.test_model_file import build

N_PRODUCTS = 40
IDS = [f"B{number:09d}" for number in range(N_PRODUCTS)]


@pytest.fixture(scope="module")
def model() -> ServedModel:
    """Sixty users and a catalog of 40 products and 5 that nobody rated; price, stars and category differ."""
    rng = np.random.default_rng(3)
    stars = {
        user: {IDS[product]: int(rng.integers(1, 11)) / 2 for product in rng.choice(N_PRODUCTS, 6, replace=False)}
        for user in range(1, 61)
    }
    catalog: dict[str, tuple[str | None, float]] = {
        product: (f"title {product}", float(place % 10)) for place, product in enumerate(IDS[3:])
    }
    catalog |= {f"B0000NEW{number:02d}": (None, 3.0) for number in range(5)}
    return build(stars, catalog, others=[99], taste=True)


def everything(model: ServedModel, user: int, ranking: str) -> list[Any]:
    """The whole list, in the order in which any shorter one has it."""
    return model.recommend(user, len(model.places) + 5, ranking).recommendations


def kept(model: ServedModel, items: list[Any], wish: Wish) -> list[Any]:
    """The items that a reader of the rules would leave in."""
    out = []
    for item in items:
        product = model.product(item.column)
        price, stars = product.price, product.stars or 0.0
        fits = (
            (not wish.category_ids or product.category_id in wish.category_ids)
            and (wish.min_price is None or (price is not None and price >= wish.min_price))
            and (wish.max_price is None or (price is not None and price <= wish.max_price))
            and (wish.min_stars is None or stars >= wish.min_stars)
            and model.product_id(item.column) not in wish.exclude
        )
        if fits:
            out.append(item)
    return out


WISHES = st.builds(
    Wish,
    limit=st.integers(1, 20),
    offset=st.integers(0, 12),
    category_ids=st.frozensets(st.integers(0, 44), max_size=30),
    min_price=st.none() | st.sampled_from([0.0, 2.0, 5.0]),
    max_price=st.none() | st.sampled_from([1.0, 4.0, 8.0]),
    min_stars=st.none() | st.sampled_from([0.0, 2.5, 10.0]),
    exclude=st.frozensets(st.sampled_from([*IDS, "B0000NEW01", "B000UNKNOW"]), max_size=10),
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.integers(1, 60) | st.just(99), WISHES)
def test_a_filtered_list_is_the_whole_list_less_what_the_filters_leave_out(
    model: ServedModel, user: int, wish: Wish
) -> None:
    expected = kept(model, everything(model, user, CLASSIC), wish)[wish.offset : wish.offset + wish.limit]
    assert model.select(user, wish, CLASSIC).recommendations == expected


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.integers(1, 60) | st.just(99), WISHES)
def test_by_taste_too_but_for_the_place_of_a_new_product(model: ServedModel, user: int, wish: Wish) -> None:
    whole = [item for item in everything(model, user, TASTE) if item.source != "new"]
    last = wish.offset + wish.limit
    answer = model.select(user, wish, TASTE).recommendations
    found = [item for item in answer if item.source != "new"]
    assert kept(model, answer, wish) == answer
    assert found == kept(model, whole, wish)[wish.offset : last][: len(found)]
    assert len(answer) - len(found) <= 1
    assert answer[len(found) :] == [item for item in answer if item.source == "new"]  # the last place, if any
    assert len(answer) >= len(kept(model, whole, wish)[wish.offset : last])


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 5), st.integers(1, 3))
def test_a_cap_per_category_passes_over_what_is_beyond_it(
    model: ServedModel, user: int, limit: int, offset: int, most: int
) -> None:
    whole = everything(model, user, CLASSIC)
    seen: Counter[int | None] = Counter()
    expected = []
    for item in whole:
        category = model.product(item.column).category_id
        seen[category] += 1
        if seen[category] <= most:
            expected.append(item)
    wish = Wish(limit, offset, diversity=most)
    assert model.select(user, wish, CLASSIC).recommendations == expected[offset : offset + limit]


def test_categories_that_are_not_known_are_never_capped() -> None:
    assert capped([1, 2, 3, 4], lambda item: None if item % 2 else 7, 1) == [1, 2, 3]


def test_nothing_fits_nothing_comes(model: ServedModel) -> None:
    for ranking in (CLASSIC, TASTE):
        for wish in (Wish(5, min_price=3.5, max_price=3.4), Wish(5, category_ids=frozenset([999])), Wish(5, 1_000)):
            assert model.select(1, wish, ranking) == Answer([], "popular")


# --- over HTTP


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    catalog = [
        product_row(product, category_id=1 + place % 3, price=float(place), stars=(place % 5) + 0.5)
        for place, product in enumerate(IDS[:12])
    ]
    fill(engine, {user: {IDS[user % 12]: 4.0, IDS[(user * 5) % 12]: 3.5} for user in range(1, 30)}, catalog)
    for name, value in (env | {"MODEL_FILE": "", "RANKING": "classic"}).items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app()) as opened:
        yield opened


def ids(client: TestClient, query: str, user: int = 3) -> list[str]:
    answer = client.get(f"/recommendations/{user}?{query}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    first = 4 if "offset=3" in query else 1
    assert [item["rank"] for item in body["recommendations"]] == list(
        range(first, first + len(body["recommendations"]))
    )
    return [item["product_id"] for item in body["recommendations"]]


def test_each_parameter_is_read_and_acts(client: TestClient) -> None:
    whole = ids(client, "limit=100")
    place = {product: number for number, product in enumerate(IDS[:12])}
    assert len(whole) == 11  # of twelve, one is rated by user 3
    assert ids(client, "limit=4&offset=3") == whole[3:7]
    assert ids(client, "limit=100&category_id=2") == [product for product in whole if place[product] % 3 == 1]
    either = [product for product in whole if place[product] % 3 != 0]
    assert ids(client, "limit=100&category_id=2&category_id=3") == either
    assert ids(client, "limit=100&min_price=4&max_price=9.5") == [p for p in whole if 4 <= place[p] <= 9]
    assert ids(client, "limit=100&min_stars=3.5") == [p for p in whole if place[p] % 5 >= 3]
    assert ids(client, f"limit=100&exclude={whole[0]}&exclude={whole[2]}") == [whole[1], *whole[3:]]
    firsts = [next(p for p in whole if place[p] % 3 == category) for category in range(3)]
    assert ids(client, "limit=100&diversity=1") == sorted(firsts, key=whole.index)
    assert ids(client, "limit=2&category_id=2") == [p for p in whole if place[p] % 3 == 1][:2]  # before the cut


@pytest.mark.parametrize(
    ("query", "parameter", "message"),
    [
        ("offset=-1", "offset", "must be a whole number from 0 to 1000"),
        ("offset=1001", "offset", "must be a whole number from 0 to 1000"),
        ("offset=1&offset=2", "offset", "must be given once"),
        ("category_id=0", "category_id", "must be a whole number from 1 to 2147483647"),
        ("category_id=1&category_id=x", "category_id", "must be a whole number from 1 to 2147483647"),
        ("min_price=-1", "min_price", "must be a number from 0 to 9999999.99, such as 4.5"),
        ("max_price=1x3", "max_price", "must be a number from 0 to 9999999.99, such as 4.5"),
        ("max_price=", "max_price", "must be a number from 0 to 9999999.99, such as 4.5"),
        ("min_stars=5.1", "min_stars", "must be a number from 0 to 5, such as 4.5"),
        ("min_stars=nan", "min_stars", "must be a number from 0 to 5, such as 4.5"),
        ("exclude=b000000001", "exclude", "must be ten characters of 0-9 and A-Z"),
        ("diversity=0", "diversity", "must be a whole number from 1 to 100"),
        ("&".join(["category_id=1"] * 101), "category_id", "must be given 100 times at most"),
    ],
)
def test_what_cannot_be_used_is_named(client: TestClient, query: str, parameter: str, message: str) -> None:
    refused = client.get(f"/recommendations/3?{query}")
    assert refused.status_code == 422
    assert [(e["parameter"], e["message"]) for e in refused.json()["errors"]] == [(parameter, message)]


def test_all_faults_of_a_request_are_told_at_once(client: TestClient) -> None:
    refused = client.get("/recommendations/3?offset=x&min_price=y&limit=0&ranking=best")
    assert {entry["parameter"] for entry in refused.json()["errors"]} == {"offset", "min_price", "limit", "ranking"}
