"""Filters take products out of the whole list, by every ranking, and pages are parts of that list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from recommender.fallback import Near, PopularProducts, popular_list
from recommender.model import Answer, Categories, ListRequest, ServedModel
from recommender.ranking import CLASSIC, TASTE
from recommender.shop import PRODUCT_ID_RULE, Product, ProductCatalog, Products
from tests.conftest import BACKENDS
from tests.support.saved_model import build
from tests.support.service import read_only_service
from tests.support.shop import fill, product_row

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
    return build(stars, catalog, others=[99], taste=True, n_categories=9)


def everything(model: ServedModel, user: int, ranking: str) -> list[Any]:
    """The whole list, in the same order as any shorter one."""
    return model.recommend(user, len(model.products) + 5, ranking).recommendations


def kept(model: ServedModel, items: list[Any], request: ListRequest) -> list[Any]:
    """The items that pass, by a plain reading of the rules."""
    out = []
    for item in items:
        product = model.products.facts(item.column)
        price, stars = product.price, product.stars or 0.0
        fits = (
            (not request.category_ids or product.category_id in request.category_ids)
            and (request.min_price is None or (price is not None and price >= request.min_price))
            and (request.max_price is None or (price is not None and price <= request.max_price))
            and (request.min_stars is None or stars >= request.min_stars)
            and model.products.id_of(item.column) not in request.exclude
        )
        if fits:
            out.append(item)
    return out


WISHES = st.builds(
    ListRequest,
    limit=st.integers(1, 20),
    offset=st.integers(0, 12),
    category_ids=st.frozensets(st.integers(0, 9), max_size=6),
    min_price=st.none() | st.sampled_from([0.0, 2.0, 5.0]),
    max_price=st.none() | st.sampled_from([1.0, 4.0, 8.0]),
    min_stars=st.none() | st.sampled_from([0.0, 2.5, 10.0]),
    exclude=st.frozensets(st.sampled_from([*IDS, "B0000NEW01", "B000UNKNOW"]), max_size=10),
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.integers(1, 60) | st.just(99), WISHES)
def test_a_filtered_list_is_the_whole_list_without_the_filtered_products(
    model: ServedModel, user: int, request: ListRequest
) -> None:
    expected = kept(model, everything(model, user, CLASSIC), request)[request.offset : request.offset + request.limit]
    assert model.select(user, request, CLASSIC).recommendations == expected


def by_the_rules(model: ServedModel, user: int, request: ListRequest, ranking: str) -> list[Any]:
    """The whole list by a plain reading of the rules: filtered, capped, with the new product at its place."""
    plain = kept(model, everything(replace(model, new_product_percent=0), user, ranking), request)
    uncapped = model.select(user, replace(request, diversity=None, offset=0, limit=1_000), ranking).recommendations
    new = [item for item in uncapped if item.source == "new"]  # the hash decides which product it is
    out: list[Any] = []
    had: Counter[int | None] = Counter()

    def take(item: Any) -> None:
        category = model.products.facts(item.column).category_id
        if request.diversity is None or had[category] < request.diversity:
            had[category] += 1
            out.append(item)

    for item in plain:
        if new and len(out) == request.new_rank - 1 > 0:
            take(new.pop())
        take(item)
    if new and out:
        take(new.pop())
    return out[request.offset : request.offset + request.limit]


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.integers(1, 60) | st.just(99), WISHES, st.none() | st.integers(1, 5), st.integers(2, 12))
def test_a_new_product_has_one_place_in_the_whole_list_for_any_request(
    model: ServedModel, user: int, request: ListRequest, most: int | None, rank: int
) -> None:
    asked = replace(request, diversity=most, new_rank=rank)
    for ranking in (TASTE, CLASSIC):
        assert model.select(user, asked, ranking).recommendations == by_the_rules(model, user, asked, ranking)


def test_pages_are_parts_of_one_list_for_everybody(model: ServedModel) -> None:
    n_new: Counter[int | None] = Counter()
    for user in [*range(1, 61), 99]:
        for ranking in (CLASSIC, TASTE):
            for most in (None, 1, 3):
                for asked in (
                    ListRequest(60, diversity=most),
                    ListRequest(60, 0, frozenset(range(6)), max_price=8.0, diversity=most),
                ):
                    whole = model.select(user, asked, ranking).recommendations
                    columns = [item.column for item in whole]
                    assert len(set(columns)) == len(columns)
                    n_new[most] += [item.source for item in whole].count("new")
                    deep = model.select(user, replace(asked, limit=100, offset=20), ranking).recommendations
                    assert deep == whole[20:]  # computed in another way than short lists
                    for limit in (3, 10):
                        pages = [
                            model.select(user, replace(asked, limit=limit, offset=offset), ranking).recommendations
                            for offset in range(0, 60, limit)
                        ]
                        assert [item for page in pages for item in page] == whole, (user, ranking, most, limit)
    assert min(n_new[None], n_new[3]) > 20  # a cap leaves out a product whose category is full before its place


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 5), st.integers(1, 3))
def test_a_cap_per_category_skips_further_products_of_the_category(
    model: ServedModel, user: int, limit: int, offset: int, most: int
) -> None:
    whole = everything(model, user, CLASSIC)
    seen: Counter[int | None] = Counter()
    expected = []
    for item in whole:
        category = model.products.facts(item.column).category_id
        seen[category] += 1
        if seen[category] <= most:
            expected.append(item)
    request = ListRequest(limit, offset, diversity=most)
    assert model.select(user, request, CLASSIC).recommendations == expected[offset : offset + limit]
    popular = [
        item for item in model.select_popular(ListRequest(1_000)) if item.column in {known.column for known in expected}
    ]
    assert {item.source for item in popular} <= {"popular"}


@pytest.mark.parametrize("ids", [[7, 0, 7, 2_000_000_000, 0], [5, 3, 5, 4], [], [0]])
def test_categories_are_codes_from_0_for_any_ids(ids: list[int]) -> None:
    catalog = ProductCatalog(
        np.array([b"B%09d" % at for at in range(len(ids))], "S10"),
        pa.array([None] * len(ids), pa.string()),
        np.ones(len(ids)),
        np.ones(len(ids)),
        np.array(ids, np.int32),
    )
    rows = np.array([-1, *range(len(ids))], np.int32)
    categories = Categories.of(Products(np.array(["A"], "S10"), catalog, rows))
    assert categories.ids.tolist() == sorted(set(ids))
    assert categories.codes.tolist() == [-1, *(sorted(set(ids)).index(one) for one in ids)]


def test_unknown_categories_are_never_capped_and_later_categories_are() -> None:
    categories = Categories(np.array([-1, -1, 0, 0], np.int32), np.array([7], np.int32))
    later = [Product(None, None, None, 7), None, Product(None, None, None, 9), Product(None, None, None, 9)]
    cap = categories.cap(1, categories.of_later(later))
    popular = PopularProducts(np.array([5, 0, 7, 2, 4, 1, 6, 3], np.int32), np.arange(8.0))
    found = popular_list(popular, Near.nothing(), 10, seen=np.empty(0, np.int32), without=None, cap=cap)
    assert found.columns.tolist() == [5, 0, 7, 2, 1]
    assert found.stars.tolist() == [0.0, 1.0, 2.0, 3.0, 5.0]


def test_a_filter_that_no_product_passes_gives_an_empty_list(model: ServedModel) -> None:
    for ranking in (CLASSIC, TASTE):
        for request in (
            ListRequest(5, min_price=3.5, max_price=3.4),
            ListRequest(5, category_ids=frozenset([999])),
            ListRequest(5, 1_000),
        ):
            assert model.select(1, request, ranking) == Answer([], "popular")


# --- over HTTP


@pytest.fixture(scope="module", params=BACKENDS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that the tests only read."""
    folder = tmp_path_factory.mktemp("shop")
    with read_only_service(request.param, folder, request, stock, MODEL_FILE="", RANKING="classic") as opened:
        yield opened


def stock(engine: Engine) -> None:
    catalog = [
        product_row(product, category_id=place % 3, price=float(place), stars=(place % 5) + 0.5)
        for place, product in enumerate(IDS[:12])
    ]
    fill(engine, {user: {IDS[user % 12]: 4.0, IDS[(user * 5) % 12]: 3.5} for user in range(1, 30)}, catalog)


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
    assert len(whole) == 11  # user 3 has rated one of the twelve
    assert ids(client, "limit=4&offset=3") == whole[3:7]
    for category in range(3):  # 0 is a category like the others
        mine = [product for product in whole if place[product] % 3 == category]
        assert ids(client, f"limit=100&category_id={category}") == mine
    either = [product for product in whole if place[product] % 3 != 1]
    assert ids(client, "limit=100&category_id=0&category_id=2") == either
    assert ids(client, "limit=100&min_price=4&max_price=9.5") == [p for p in whole if 4 <= place[p] <= 9]
    assert ids(client, "limit=100&min_stars=3.5") == [p for p in whole if place[p] % 5 >= 3]
    assert ids(client, f"limit=100&exclude={whole[0]}&exclude={whole[2]}") == [whole[1], *whole[3:]]
    firsts = [next(p for p in whole if place[p] % 3 == category) for category in range(3)]
    assert ids(client, "limit=100&diversity=1") == sorted(firsts, key=whole.index)
    assert ids(client, "limit=2&category_id=1") == [p for p in whole if place[p] % 3 == 1][:2]  # before the cut


@pytest.mark.parametrize("bound", ["min_stars=0", "offset=0", "diversity=12"])
def test_filters_with_the_widest_values_leave_no_product_out(client: TestClient, bound: str) -> None:
    assert ids(client, f"limit=100&{bound}") == ids(client, "limit=100")


@pytest.mark.parametrize("bound", ["min_price=0", "max_price=9999999.99", "min_price=0&min_stars=0.0", "max_price=11"])
def test_a_price_that_is_not_known_fails_every_bound(client: TestClient, bound: str) -> None:
    whole = ids(client, "limit=100")
    assert IDS[0] in whole  # its price is 0.0 in the table: not known
    assert ids(client, f"limit=100&{bound}") == [product for product in whole if product != IDS[0]]


def test_a_product_exactly_at_equal_bounds_passes(client: TestClient) -> None:
    place = {product: number for number, product in enumerate(IDS[:12])}
    found = [ids(client, f"limit=100&min_price={price}&max_price={price}") for price in range(12)]
    # the price of the first is not known, and user 3 has rated the fourth
    assert [[place[product] for product in products] for products in found] == [
        [] if price in (0, 3) else [price] for price in range(12)
    ]


@pytest.mark.parametrize(
    ("query", "parameter", "message"),
    [
        ("offset=-1", "offset", "must be a whole number from 0 to 1000"),
        ("offset=1001", "offset", "must be a whole number from 0 to 1000"),
        ("offset=1&offset=2", "offset", "must be given once"),
        ("category_id=00", "category_id", "must be a whole number from 0 to 2147483647"),
        ("offset=00", "offset", "must be a whole number from 0 to 1000"),
        ("category_id=1&category_id=x", "category_id", "must be a whole number from 0 to 2147483647"),
        ("min_price=-1", "min_price", "must be a number from 0 to 9999999.99, such as 4.5"),
        ("max_price=1x3", "max_price", "must be a number from 0 to 9999999.99, such as 4.5"),
        ("max_price=", "max_price", "must be a number from 0 to 9999999.99, such as 4.5"),
        ("min_stars=5.1", "min_stars", "must be a number from 0 to 5, such as 4.5"),
        ("min_stars=nan", "min_stars", "must be a number from 0 to 5, such as 4.5"),
        ("exclude=%20x", "exclude", f"must be {PRODUCT_ID_RULE}"),
        ("diversity=0", "diversity", "must be a whole number from 1 to 100"),
        ("&".join(["category_id=1"] * 101), "category_id", "must be given 100 times at most"),
    ],
)
def test_invalid_parameters_are_named(client: TestClient, query: str, parameter: str, message: str) -> None:
    refused = client.get(f"/recommendations/3?{query}")
    assert refused.status_code == 422
    assert [(e["parameter"], e["message"]) for e in refused.json()["errors"]] == [(parameter, message)]


def test_all_faults_of_a_request_are_named_at_once(client: TestClient) -> None:
    refused = client.get("/recommendations/3?offset=x&min_price=y&limit=0&ranking=best")
    assert {entry["parameter"] for entry in refused.json()["errors"]} == {"offset", "min_price", "limit", "ranking"}
