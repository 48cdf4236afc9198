"""Any product id through the API: in a path, a query, a body and an answer, and never as another one."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import Engine, select

import api
from recommender.database.schema import interactions, ratings
from recommender.service.json_body import ProductId, checked
from recommender.service.parameters import RequestReader
from recommender.service.slashes import as_sent, mark_slashes
from tests.support.product_ids import ODD, PRODUCT_IDS
from tests.support.service import KEY, WITH_KEY
from tests.support.shop import fill, product_row

TAKEN = [*ODD, "a/similar", "a", "a:b"]  # the last ones look like a path and a rating of the one between


class Body(BaseModel):
    product_id: ProductId


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three people have rated everything with four stars, and a fourth the first product."""
    stars = {user: dict.fromkeys(TAKEN, 4.0) for user in (1, 2, 3)} | {4: {TAKEN[0]: 4.0}}
    fill(engine, stars, [product_row(name, title=f"title of {name}") for name in TAKEN])
    for name, value in (env | {"MODEL_FILE": "", "RANKING": "classic", "API_KEY": KEY}).items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app(), headers=WITH_KEY) as opened:
        yield opened


def test_each_product_is_found_by_path_and_by_query(client: TestClient) -> None:
    for name in TAKEN:
        path, query = quote(name, safe=""), urlencode({"product_id": name})
        by_path, by_query = client.get(f"/products/{path}"), client.get(f"/products?{query}")
        assert by_path.json()["product_name"] == f"title of {name}"
        assert by_path.content == by_query.content
        alike, also = client.get(f"/products/{path}/similar?limit=100"), client.get(f"/similar?{query}&limit=100")
        assert alike.content == also.content
        others = [item["product_id"] for item in alike.json()["similar"]]
        if name != TAKEN[0]:
            assert others[:-1] == sorted(set(TAKEN) - {name, TAKEN[0]}), "equal cosines by the bytes of the id"


def test_lists_and_their_filters_know_any_product(client: TestClient) -> None:
    def listed(query: str = "") -> list[str]:
        items = client.get(f"/recommendations/4?limit=100{query}").json()["recommendations"]
        return [item["product_id"] for item in items]

    assert listed() == sorted(TAKEN[1:]), "all are predicted 4.0"
    some = [TAKEN[place] for place in range(2, len(TAKEN), 3)]
    assert listed("&" + urlencode({"exclude": some}, doseq=True)) == sorted(set(TAKEN[1:]) - set(some))
    for name in TAKEN:
        basket = client.post("/recommendations?limit=100", json={"ratings": [{"product_id": name, "rating": 4}]})
        assert [item["product_id"] for item in basket.json()["recommendations"]] == sorted(set(TAKEN) - {name})


def test_each_product_can_be_rated_viewed_and_unrated(client: TestClient, engine: Engine) -> None:
    for place, name in enumerate(TAKEN):
        assert client.post("/ratings", json={"user_id": 9, "product_id": name, "rating": 5}).status_code == 201
        view = {"user_id": 9, "product_id": name, "interaction_type": "view"}
        assert client.post("/interactions", json=view).status_code == 201
        if place % 3 == 0:
            assert client.delete(f"/users/9/ratings/{quote(name, safe='')}").status_code == 204
        elif place % 3 == 1:
            assert client.delete(f"/rating?{urlencode({'user_id': 9, 'product_id': name})}").status_code == 204
    with engine.connect() as connection:
        rated = connection.execute(select(ratings.c.product_id).where(ratings.c.user_id == 9)).scalars()
        viewed = connection.execute(select(interactions.c.product_id)).scalars()
        assert sorted(rated) == sorted(TAKEN[2::3])
        assert sorted(viewed) == sorted(TAKEN)
    told = client.get("/users/9/ratings").json()["ratings"]
    assert [item["product_id"] for item in told] == sorted(TAKEN[2::3])


@pytest.mark.parametrize("backend", ["sqlite"])
def test_what_is_no_id_is_refused_with_the_rule(client: TestClient) -> None:
    for text in ("%20x", "x%00", "%FF", "x" * 65, "%EF%BF%BF"):
        for path in (f"/products/{text}", f"/similar?product_id={text}", f"/popular?exclude={text}"):
            answer = client.get(path)
            assert answer.status_code == 422
            assert "must be 1 to 64 characters without control characters" in answer.json()["detail"]
    for path in ("/products", "/similar", "/products?product_id="):
        assert client.get(path).status_code == 422
    missing = client.delete("/rating").json()["detail"]
    assert missing == "user_id: is missing; product_id: is missing"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_slash_in_any_other_path_is_told_as_it_was_sent(client: TestClient) -> None:
    assert client.get("/a%2fb").json()["detail"] == "there is no page /a%2Fb; see /docs"
    answer = client.get("/recommendations/4%2F2")
    assert (answer.status_code, answer.json()["errors"][0]["value"]) == (422, "4/2")
    assert client.get("/products/a%2Fsimilar").json()["product_id"] == "a/similar"
    assert client.get("/products/a/similar").json()["product_id"] == "a"


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_page_of_any_id_leads_to_sign_in_and_back(client: TestClient) -> None:
    stranger = TestClient(client.app, follow_redirects=False)
    for name in TAKEN:
        product, person = f"/p/{quote(name, safe='')}", f"/shoppers/{quote(name, safe='')}"
        page = stranger.get(product)
        assert page.status_code == 200
        assert f"/sign-in?to={quote(product)}" in page.text, "the stars of three people are hidden"
        asked = stranger.get(f"{person}?ranking=classic")
        assert asked.status_code == 401
        assert f'name="to" value="{person}?ranking=classic"' in asked.text
        sent = TestClient(client.app, follow_redirects=False).post("/sign-in", data={"key": KEY, "to": product})
        assert sent.headers["location"] == product


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_what_if_leaves_the_ratings_of_products_whose_ids_begin_alike(client: TestClient) -> None:
    page = client.get("/shoppers/4?" + urlencode([("rate", "a:4"), ("rate", "a:b:5")])).text
    links = re.findall(r'href="[^"?]*[?]([^"]*)" aria-label="Take the rating of title of (a|a:b) away"', page)
    kept = {name: parse_qs(query.replace("&amp;", "&"))["rate"] for query, name in links}
    assert kept == {"a": ["a:b:5"], "a:b": ["a:4"]}


@given(PRODUCT_IDS)
def test_any_id_comes_through_path_query_and_body(product_id: str) -> None:
    scope = {"raw_path": b"/products/" + quote(product_id, safe="").encode() + b"/similar", "path": "not used"}
    scope["path"] = f"/products/{product_id}/similar"
    scope = dict(mark_slashes(scope))
    head, tail = str(scope["path"])[: len("/products/")], str(scope["path"])[-len("/similar") :]
    middle = str(scope["path"])[len(head) : -len(tail)]
    assert (head, tail, "/" in middle) == ("/products/", "/similar", False)
    by_path = RequestReader(b"", {"product_id": middle})
    assert (by_path.product_id(), by_path.errors) == (product_id, [])
    by_query = RequestReader(urlencode({"product_id": product_id}).encode())
    assert (by_query.product_id(), by_query.errors) == (product_id, [])
    assert checked(json.loads(json.dumps({"product_id": product_id})), Body).product_id == product_id
    assert "/" not in as_sent(middle)


@given(st.text(st.sampled_from("a/%2Ffé"), max_size=8))
def test_a_path_without_encoded_slashes_stays_as_the_server_decoded_it(path: str) -> None:
    scope: dict[str, Any] = {"raw_path": quote(path, safe="/").encode(), "path": path}
    assert mark_slashes(scope)["path"] == path


@pytest.mark.parametrize("backend", ["sqlite"])
def test_the_document_lets_every_product_id_in(client: TestClient) -> None:
    """Everywhere, not only where the Kaggle file's ten characters were the rule."""
    found: list[dict[str, Any]] = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("name") == "product_id":
                found.append(node["schema"])
            found.extend([node["product_id"]] if "type" in node.get("product_id", {}) else [])
            for part in node.values():
                look(part)
        for part in node if isinstance(node, list) else ():
            look(part)

    look(client.get("/openapi.json").json())
    assert len(found) > 10
    for schema in found:
        assert (schema.get("minLength", 1), schema.get("maxLength", 64)) == (1, 64)
        assert "pattern" not in schema
