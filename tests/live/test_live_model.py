"""After every change, the live model equals a model newly built from the tables, to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, delete, insert, text

from recommender.database import writing
from recommender.database.schema import INTERACTION_TYPES, interactions, metadata, products, ratings, user_id_map, users
from recommender.errors import UnknownProductError, UnknownRatingError, UnknownUserError
from recommender.live import LiveModel, UserRecord
from recommender.model import ListRequest, ServedModel, explain
from recommender.shop import HALF_STARS
from recommender.updates import (
    delete_rating,
    erase_user,
    optional_tables,
    prepare,
    read_facts,
    read_records,
    store_interaction,
    store_rating,
    with_names,
)
from tests.support.model_built_anew import as_seen, as_told, build
from tests.support.shop import WHEN, product_row

N_PRODUCTS = 40
RANKINGS = ("classic", "taste", "items", "auto")
FILTERED = ListRequest(4, offset=1, category_ids=frozenset({1, 2}), max_price=30.0, diversity=2)


def asin(number: int) -> str:
    return f"B{number:09d}"


@pytest.fixture
def shop(engine: Engine) -> Engine:
    """12 users and their 12 twins. Twins give half as many stars to the same products, so there are many ties.

    Only products of even numbers have ratings and interactions. So later products fall between and behind them.
    """
    draw = np.random.default_rng(5)
    metadata.create_all(engine)
    catalog = [
        product_row(asin(n), category_id=n % 3, price=float(n), stars=float(n % 5)) for n in range(N_PRODUCTS) if n % 7
    ]
    pairs = {(int(u), 2 * int(p)) for u, p in zip(draw.integers(1, 13, 80), draw.integers(0, 18, 80), strict=True)}
    stars = {pair: int(draw.integers(1, 6)) for pair in sorted(pairs)}
    rated = [
        {"user_id": user, "product_id": asin(p), "rating": given, "created_at": when, "updated_at": WHEN}
        for u, p in stars
        for when in [
            None if p % 3 == 0 or u % 4 == 0 else WHEN
        ]  # some ratings have no time; some users have no time at all
        for user, given in ((u, stars[u, p]), (u + 12, stars[u, p] / 2))
    ]
    log = [
        {
            "user_id": int(u),
            "product_id": asin(int(p)),
            "interaction_type": INTERACTION_TYPES[int(k)],
            "created_at": WHEN,
        }
        for u, p, k in zip(draw.integers(20, 30, 30), draw.integers(0, 18, 30), draw.integers(0, 4, 30), strict=True)
    ]
    people = [
        {"user_id": u, "created_at": WHEN, "country": "NL" if u % 2 else "BE", "age_group": "18-24" if u % 3 else "65+"}
        for u in range(1, 28)
    ]
    with writing(engine) as connection:
        for table, rows in ((products, catalog), (users, people), (ratings, rated), (interactions, log)):
            connection.execute(insert(table), rows)
    prepare(engine)
    return engine


class Service:
    """A live model on a database, changed in the same way as by the service."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.base = engine, build(engine)
        self.there = optional_tables(engine)
        self.model = LiveModel.of(self.base)
        self.n_listed = 0

    def write(self, user_id: int, job: Callable[[Connection], object]) -> None:
        with writing(self.engine) as connection:
            job(connection)
            records = read_records(connection, [user_id], self.there, HALF_STARS)
            records = with_names(connection, records) if self.model.ids.is_text else records
            facts = read_facts(connection, self.model.unknown_products(records))
        self.model = self.model.after(records, facts)

    def change_at_random(self, draw: np.random.Generator) -> str:
        user, product = int(draw.integers(1, 34)), asin(int(draw.integers(0, N_PRODUCTS + 6)))
        kind, stars = INTERACTION_TYPES[int(draw.integers(0, 4))], int(draw.integers(1, 11))
        what = draw.choice(["rate", "interact", "delete", "erase", "list", "spoil"], p=[0.5, 0.2, 0.1, 0.05, 0.05, 0.1])
        jobs: dict[str, Callable[[Connection], object]] = {
            "rate": lambda connection: store_rating(connection, user, product, stars),
            "interact": lambda connection: store_interaction(connection, user, product, kind),
            "delete": lambda connection: delete_rating(connection, user, product),
            "erase": lambda connection: erase_user(connection, self.engine, user),
            "spoil": lambda connection: self.spoil(connection, user, product, draw),
        }
        if what == "list":  # a product that the model does not know, to be rated
            self.n_listed += 1
            row = product_row(
                asin(N_PRODUCTS + self.n_listed),
                category_id=self.n_listed % 3,
                price=5.0 if self.n_listed % 2 else 50.0,
            )
            with writing(self.engine) as connection:
                connection.execute(insert(products).values(row))
            return "list"
        try:
            self.write(user, jobs[str(what)])
        except (UnknownProductError, UnknownRatingError, UnknownUserError):
            return "nothing"
        return f"{what} {user} {product} {stars} {kind}"

    def spoil(self, connection: Connection, user: int, product: str, draw: np.random.Generator) -> None:
        """Insert a row as another program might write it, without any knowledge of this project."""
        own = (ratings.c.user_id == user) & (ratings.c.product_id == product)
        on_sqlite = connection.dialect.name == "sqlite"
        values: list[Any] = [4.3, 0.0, -1.0, 9.9, *(["good", b"4.5", float("inf")] if on_sqlite else [])]
        value = values[int(draw.integers(len(values)))]
        connection.execute(delete(ratings).where(own))
        row = {"user": user, "product": product, "rating": value, "at": WHEN.isoformat(" ")}
        connection.execute(text("INSERT INTO product_ratings VALUES (:user, :product, :rating, :at, :at)"), row)
        if on_sqlite:
            row = {"user": user, "product": "caf\u00e9" if draw.integers(2) else product, "at": row["at"]}
            names = "user_id, product_id, interaction_type, created_at"
            connection.execute(
                text(f"INSERT INTO user_interactions ({names}) VALUES (:user, :product, 'wished', :at)"), row
            )


def same_answers(live: LiveModel, rebuilt: ServedModel, user_id: int) -> None:
    for ranking in RANKINGS:
        try:
            expected = rebuilt.recommend(user_id, 6, ranking)
        except UnknownUserError:
            with pytest.raises(UnknownUserError):
                live.recommend(user_id, 6, ranking)
            with pytest.raises(UnknownUserError):
                live.neighborhood(user_id, ranking)
            continue
        found = live.recommend(user_id, 6, ranking)
        assert as_told(live, found.recommendations) == as_told(rebuilt, expected.recommendations), (user_id, ranking)
        assert found.source == expected.source
        chosen, filtered = live.select(user_id, FILTERED, ranking), rebuilt.select(user_id, FILTERED, ranking)
        assert as_told(live, chosen.recommendations) == as_told(rebuilt, filtered.recommendations), (user_id, ranking)
        assert as_seen(live, user_id, ranking) == as_seen(rebuilt, user_id, ranking), (user_id, ranking)
        items = found.recommendations, expected.recommendations
        evidence = explain(live, user_id, items[0], ranking, named=True)
        assert evidence == explain(rebuilt, user_id, items[1], ranking, named=True), (user_id, ranking)


@pytest.mark.parametrize(("seed", "by_text"), [(0, False), (1, True), (2, False)])
def test_after_every_change_each_answer_equals_that_of_a_newly_built_model(
    shop: Engine, seed: int, by_text: bool
) -> None:
    """``by_text``: the shop calls its people by texts, in another order than their numbers, and a few by nothing."""
    if by_text:
        names = [{"user_id": user, "external_id": f"{'éZa'[user % 3]}{-user}"} for user in range(1, 30) if user % 5]
        with writing(shop) as connection:
            connection.execute(insert(user_id_map), names)
    draw, service = np.random.default_rng(seed), Service(shop)
    assert service.model.ids.is_text == by_text
    for _ in range(50):
        what = service.change_at_random(draw)
        rebuilt = build(shop, service.base)
        assert service.model.n_ratings == rebuilt.n_ratings, what
        assert service.model.known_users.tolist() == rebuilt.known_users.tolist(), what
        for user_id in draw.integers(1, 36, 6).tolist():
            same_answers(service.model, rebuilt, user_id)
        popular = service.model.select_popular(ListRequest(40))
        assert as_told(service.model, popular) == as_told(rebuilt, rebuilt.select_popular(ListRequest(40))), what
    for user_id in range(1, 36):
        same_answers(service.model, rebuilt, user_id)


def test_pages_are_parts_of_one_list_for_everybody_after_any_change(shop: Engine) -> None:
    draw, service = np.random.default_rng(11), Service(shop)
    for _ in range(40):
        service.change_at_random(draw)
    rebuilt, changed, n_new = build(shop, service.base), set(service.model.changes.users), 0
    assert len(changed) > 10
    for user in rebuilt.known_users.tolist():
        for ranking in RANKINGS:
            for whole in (ListRequest(45), ListRequest(45, diversity=4), replace(FILTERED, limit=45, offset=0)):
                found = as_told(service.model, service.model.select(user, whole, ranking).recommendations)
                assert found == as_told(rebuilt, rebuilt.select(user, whole, ranking).recommendations)
                assert len({product for product, *_ in found}) == len(found)
                pages = [
                    service.model.select(user, replace(whole, limit=9, offset=offset), ranking).recommendations
                    for offset in range(0, 45, 9)
                ]
                assert as_told(service.model, [item for page in pages for item in page]) == found, (user, ranking)
                n_new += user in changed and "new" in {source for _, _, _, _, source, *_ in found}
    assert n_new > 3


def told(model: ServedModel) -> list[Any]:
    """The answers for everybody whom the model knows, and the popular products."""
    lists = [
        as_told(model, model.select(user, request, ranking).recommendations)
        for user in model.known_users.tolist()
        for ranking in RANKINGS
        for request in (ListRequest(6), FILTERED)
    ]
    return [model.n_ratings, as_told(model, model.select_popular(ListRequest(40))), *lists]


def test_a_model_answers_as_before_after_later_changes(shop: Engine) -> None:
    draw, service = np.random.default_rng(7), Service(shop)
    models, answers = [service.model], [told(service.model)]
    for _ in range(6):
        for _ in range(10):
            service.change_at_random(draw)
        models.append(service.model)
        answers.append(told(build(shop, service.base)))
    assert [told(model) for model in models] == answers
    assert len(models[-1].changes.columns) > len(models[0].changes.columns)


def test_two_models_that_continue_the_same_model_are_independent(shop: Engine) -> None:
    first = LiveModel.of(build(shop))
    base = told(first)
    records = [UserRecord(3, ((asin(number).encode(), 9, 0),), listed=True) for number in range(5)]
    one, other = [first], [first]
    for number in (0, 1, 3):  # alternately, so that their rows lie one behind the other in memory
        one.append(one[-1].after([records[number]], {}))
        other.append(other[-1].after([records[number + 1]], {}))
    alone = [LiveModel.of(first.changes.model).after([records[number]], {}) for number in (0, 1, 3, 1, 2, 4)]
    assert [told(model) for model in (*one[1:], *other[1:])] == [told(model) for model in alone]
    assert told(first) == base


def test_a_shop_with_interactions_alone_is_followed_to_its_first_ratings(shop: Engine) -> None:
    with writing(shop) as connection:
        connection.execute(delete(ratings))
    service = Service(shop)
    assert service.base.n_ratings == 0
    for user, number, what in (
        (20, 8, "purchase"), (21, 1, "view"), (33, 8, "click"), (22, "", ""), (20, 1, "view"), (33, 4, 9), (25, 8, 3),
    ):  # fmt: skip
        job: Callable[[Connection], object] = partial(erase_user, engine=shop, user_id=user)
        if what:
            store = store_rating if isinstance(what, int) else store_interaction
            job = partial(lambda store, *given: store(given[-1], *given[:-1]), store, user, asin(int(number)), what)
        service.write(user, job)
        assert told(service.model) == told(build(shop, service.base)), (user, number, what)
    assert service.model.n_ratings == 2
