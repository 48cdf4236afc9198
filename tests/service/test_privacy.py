"""Explanations tell a stranger who asks for every page of everybody nothing of people's products.

The shop has 60 people with known histories. It is asked for everything that it answers without a key. Then the
answers are searched for products of a person: for their names, in every field and sentence, and for figures that are
the same in the answers of two people. Such a figure would show that the two are neighbors.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, update

import api
from recommender.database import writing
from recommender.database.schema import interactions, users
from recommender.evaluation.tuning import Tuned
from recommender.model import EVIDENT, FEWEST, STEPS
from recommender.ranking import AUTO, FUSION, ITEMS, RANKINGS, TASTE, AutoParameters, ItemParameters
from recommender.service.routes import figures
from tests.support.shop import WHEN, fill, product_row

PEOPLE = range(1, 61)
CATALOG = [f"B{number:09d}" for number in range(120)]
GONE = [f"G{number:09d}" for number in range(10)]  # rated, but no longer in the catalog
BOUGHT_BY_ONE_IN_THREE = 4  # products, without a rating
TITLES = {product: f"Planted thing {number}" for number, product in enumerate(CATALOG)}
KEY = {"X-API-Key": "a-key-for-the-shopkeeper"}
Item = dict[str, Any]


def histories() -> dict[int, dict[str, float]]:
    """Six groups of taste, each with 20 products and 2 that left the catalog; everybody also rates a few others."""
    rng = np.random.default_rng(20)
    stars: dict[int, dict[str, float]] = {}
    for person in PEOPLE:
        group = person % 6
        mine = [*CATALOG[20 * group : 20 * group + 20], *GONE[group : group + 2]]
        chosen = [*rng.choice(mine, 6, replace=False), *rng.choice(CATALOG[:115], 2, replace=False)]
        stars[person] = {str(product): int(rng.integers(2, 11)) / 2 for product in chosen}
    return stars


RATED = histories()
BOUGHT = {
    person: [CATALOG[(7 * person + 31 * turn) % 115] for turn in range(BOUGHT_BY_ONE_IN_THREE)]
    for person in PEOPLE
    if person % 3 == 0
}


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def client(engine: Engine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    fill(engine, RATED, [product_row(product, title=TITLES[product]) for product in CATALOG])
    events = [
        {"user_id": person, "product_id": product, "interaction_type": "purchase", "created_at": WHEN}
        for person, bought in BOUGHT.items()
        for product in bought
    ]
    with writing(engine) as connection:
        connection.execute(insert(interactions), events)
        connection.execute(insert(users), [{"user_id": person, "created_at": WHEN} for person in (101, 102)])
        for person in (*PEOPLE, 101):
            segment = {"country": "DE" if person % 2 else "FR", "age_group": "25-34"}
            connection.execute(update(users).where(users.c.user_id == person).values(segment))
    both = AutoParameters(FUSION, items=ItemParameters(ridge=2.0))
    monkeypatch.setattr("recommender.model.training.tune", lambda *_: Tuned(both, len(PEOPLE)))
    for name, value in (env | {"RANKING": "auto", "API_KEY": KEY["X-API-Key"], "REQUEST_LOG": "0"}).items():
        monkeypatch.setenv(name, value)
    with TestClient(api.create_app()) as opened:
        yield opened


def whole_list(client: TestClient, person: int, query: str, headers: dict[str, str] | None = None) -> list[Item]:
    """All pages of a person's list."""
    items: list[Item] = []
    while True:
        path = f"/recommendations/{person}?limit=100&offset={len(items)}{query}"
        page = client.get(path, headers=headers or {})
        assert page.status_code == 200
        items += page.json()["recommendations"]
        if len(page.json()["recommendations"]) < 100:
            return items


def explained(client: TestClient, headers: dict[str, str] | None = None) -> dict[tuple[int, str], list[Item]]:
    """Everybody's whole list by each ranking, with explanations."""
    return {
        (person, ranking): whole_list(client, person, f"&ranking={ranking}&explain=true", headers)
        for person in (*PEOPLE, 101, 102)
        for ranking in RANKINGS
    }


def named_in(lists: dict[tuple[int, str], list[Item]]) -> set[tuple[int, str]]:
    """Pairs of person and product: the products that an explanation names by id or title."""
    names = {product: product for product in (*CATALOG, *GONE)} | {title: p for p, title in TITLES.items()}
    found = set()
    for (person, _), items in lists.items():
        for item in items:
            text = json.dumps(item["explanation"])
            found |= {
                (person, product) for name, product in names.items() if f'"{name}"' in text or f"“{name}”" in text
            }
    return found


def linked(lists: dict[tuple[int, str], list[Item]]) -> set[tuple[int, str]]:
    """Pairs of person and product: a similarity that only two people's classic lists show makes them neighbors."""
    shown: defaultdict[float, set[int]] = defaultdict(set)
    said: list[tuple[int, str, float]] = []
    for (person, ranking), items in lists.items():
        for item in items if ranking == "classic" else ():
            for entry in item["explanation"]["closest"]:
                shown[entry["similarity"]].add(person)
                said.append((person, item["product_id"], entry["similarity"]))
    two = {similarity: people for similarity, people in shown.items() if len(people) == 2}
    return {(other, product) for asked, product, s in said if s in two for other in two[s] - {asked}}


def theirs(person: int) -> set[str]:
    return {*RATED[person], *BOUGHT.get(person, [])} if person in RATED else set()


def test_the_explanations_of_all_lists_name_nobodys_products(client: TestClient) -> None:
    lists = explained(client)
    assert sum(len(items) for items in lists.values()) > 20_000
    assert {item["explanation"]["source"] for items in lists.values() for item in items} >= {"neighbors", ITEMS, FUSION}
    assert named_in(lists) == set()
    assert linked(lists) == set()


def test_both_ways_of_searching_find_the_products_that_a_key_may_see(client: TestClient) -> None:
    """So the test above can fail."""
    lists = explained(client, KEY)
    named = {(person, product) for person, product in named_in(lists) if product in theirs(person)}
    whole = {(person, product) for person in PEOPLE for product in theirs(person)}
    assert len(named) > 0.8 * len(whole)
    found = linked(lists)
    right = {(person, product) for person, product in found if product in theirs(person)}
    assert len(right) > 50
    assert len(right) > 0.8 * len(found)


def test_figures_are_counts_coarse_similarities_and_means_of_three_or_more(client: TestClient) -> None:
    sentences: defaultdict[tuple[Any, ...], set[str]] = defaultdict(set)
    raters: dict[str, int] = {}
    for (_, ranking), items in explained(client).items():
        for item in items:
            why, product = item["explanation"], item["product_id"]
            if product not in raters:
                raters[product] = client.get(f"/products/{product}").json()["ratings"]
            by_items = why["source"] in (ITEMS, FUSION)
            assert set(why) == {
                *("source", "sentence", "support", "n_neighbors", "n_asked", "mean_rating", "closest"),
                *(("because",) if by_items else ()),
            }
            assert why.get("because", []) == []
            assert all(entry.keys() == {"similarity"} and entry["similarity"] in STEPS for entry in why["closest"])
            assert len(why["closest"]) == min(3, why["n_neighbors"])
            assert why["support"] == round(why["support"], 1)
            if len(why["closest"]) == why["n_neighbors"] and not by_items:
                assert why["support"] == pytest.approx(sum(entry["similarity"] for entry in why["closest"]))
            people = why["n_neighbors"] if why["source"] in EVIDENT else raters[product]
            assert why["mean_rating"] is None or people >= FEWEST
            counted = None if why["source"] in EVIDENT else raters[product]
            figures = ranking, why["source"], why["n_neighbors"], why["n_asked"], why["mean_rating"], counted
            said = why["sentence"].removeprefix("It goes with products that you have")
            goes_with = said != why["sentence"]
            assert goes_with or why["source"] != ITEMS
            sentences[(*figures, goes_with)].add(said)
    # the sentence says no more than the figures
    assert {len(said) for said in sentences.values()} == {1}


def test_an_explained_list_holds_the_same_products_as_the_plain_list(client: TestClient) -> None:
    """The same products are missing from both. An open list does tell something by that, see docs/privacy.md."""
    seen = 0
    for person, ranking in itertools.product(PEOPLE, (TASTE, ITEMS, AUTO)):
        with_reasons = whole_list(client, person, f"&ranking={ranking}&explain=true")
        plain = whole_list(client, person, f"&ranking={ranking}")
        assert [{name: item[name] for name in plain[0]} for item in with_reasons] == plain
        rated_by_anybody = {product for stars in RATED.values() for product in stars} & set(CATALOG)
        missing = rated_by_anybody - {item["product_id"] for item in plain}
        assert theirs(person) & rated_by_anybody <= missing
        seen += len(missing)
    assert seen >= 3 * sum(len(set(stars) & set(CATALOG)) for stars in RATED.values())


def test_figures_and_open_pages_tell_no_rating_of_few_people_and_name_nobody(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert figures.MANY == 10
    monkeypatch.setattr(figures, "MANY", 4)  # no product of this shop has so many ratings
    counts = {len([stars for stars in RATED.values() if product in stars]): product for product in CATALOG}
    assert min(counts) == 0
    assert {1, 2, 3, 4} <= set(counts)
    for count, product in counts.items():
        told = client.get(f"/products/{product}/figures").json()
        assert (told["ratings_by_stars"] is None) is (0 < count < 4)
        assert all(segment["ratings"] >= 4 for segment in told["segments"])
        with_key = client.get(f"/products/{product}/figures", headers=KEY).json()["ratings_by_stars"]
        assert sum(row["ratings"] for row in with_key) == count
    paths = ["/", "/basket", "/versions", "/overview.json", "/versions.json"]
    for path in [*paths, *(f"/p/{product}" for product in counts.values()), f"/basket?product={CATALOG[0]}"]:
        answer = client.get(path)
        assert answer.status_code == 200
        assert not re.search(r"/shoppers/\d|Shopper \d|user_id", answer.text), path


def test_the_page_of_a_product_does_not_tell_the_rating_of_one_person(client: TestClient) -> None:
    counts = {}
    for product in {*CATALOG, *(product for stars in RATED.values() for product in stars)}:
        answer = client.get(f"/products/{product}").json()
        counts[product] = answer["ratings"]
        given = [stars[product] for stars in RATED.values() if product in stars]
        assert answer["ratings"] == len(given)
        mean = round(float(np.mean(given)), 2) if given else None
        assert answer["mean_rating"] == (mean if len(given) >= FEWEST else None)
        assert client.get(f"/products/{product}", headers=KEY).json()["mean_rating"] == mean
    assert {1, 2} < set(counts.values())
