"""Changes that no time shows are found by comparing sums: late commits, deletions by others, restored rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, delete, insert, text, update

from recommender.database import connect, is_mysql, writing
from recommender.database.schema import ratings, user_id_map
from recommender.live import LiveModel
from recommender.settings import Settings
from recommender.updates import TrainedModel, optional_tables, read_facts, read_records, reconciliation
from recommender.updates.reconciliation import Reconciliation
from tests.support.shop import WHEN, fill

A, B, C = "B00000000A", "B0é", "🎁"
STARS = {user: {A: 1.0 + user % 5 / 2, B: 4.0} for user in (1, 2, 3, 5, 8, 13, 21)}


class Compared:
    """A model that is compared with its shop's tables and takes over the differences."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.there = engine, optional_tables(engine)
        self.model = LiveModel.of(TrainedModel(settings, lambda: None).load())
        self.comparing = Reconciliation(self.model.matrix)

    def round(self) -> list[int]:
        """Compare all users; return those that were named, in this order."""
        named: list[int] = []
        before = self.comparing.rounds
        while self.comparing.rounds == before:
            assert len(named) < 100, "the same people are named for ever"
            with self.engine.connect() as connection:
                found = self.comparing.look(connection, self.model)
                records = read_records(connection, found.users, self.there, self.model.matrix.scale)
                self.model = self.model.after(records, read_facts(connection, self.model.unknown_products(records)))
            self.comparing.keep(found)
            named += found.users
        return named


@pytest.fixture
def compared(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Compared:
    """A shop; with the parameter ``by_text`` its ids are texts, in another order than the stored numbers."""
    monkeypatch.setattr(reconciliation, "RANGE", 4)
    monkeypatch.setattr(reconciliation, "MOST_PEOPLE", 2)
    fill(engine, STARS, [A, B, C])
    if by_text := getattr(request, "param", "") == "by_text":
        with writing(engine) as connection:
            names = [{"user_id": user, "external_id": f"{user % 3}-{user}"} for user in STARS]
            connection.execute(insert(user_id_map), names)
    compared = Compared(engine, settings)
    assert compared.model.ids.is_text == by_text
    assert len(compared.comparing._bounds) == 1 + 4
    assert compared.round() == []
    return compared


def rate(engine: Engine, user_id: int, product_id: str, rating: float) -> None:
    """Insert a row that becomes visible long after it was written."""
    row = {"user_id": user_id, "product_id": product_id, "rating": rating, "created_at": WHEN, "updated_at": WHEN}
    with writing(engine) as connection:
        connection.execute(insert(ratings).values(row))


def test_ratings_of_another_scale_are_summed_in_its_steps(
    engine: Engine, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(RATING_MIN="0.1", RATING_STEP="0.1")
    fill(engine, STARS | {30: {A: 0.3, B: 4.7}}, [A, B, C])  # 3 * 0.1 is not 0.3
    named = connect(settings)
    compared = Compared(named, settings)
    assert compared.round() == []
    rate(engine, 2, C, 4.3)
    rate(engine, 3, C, 0.7)
    assert compared.round() == [2, 3]
    assert compared.round() == []
    assert compared.model.ratings_of(2)[1].tolist() == [20, 40, 43]
    named.dispose()


def test_rows_that_became_visible_late_are_found_for_any_user(compared: Compared, engine: Engine) -> None:
    for user in (2, 4, 13, 22, 2**62):  # a known user, one between two, a known user, one after the last
        rate(engine, user, C, 3.0)
    assert compared.round() == [2, 4, 13, 22, 2**62]
    assert compared.round() == []
    assert compared.model.n_ratings == 14 + 5


def test_unusable_rows_are_no_difference(compared: Compared, engine: Engine) -> None:
    rate(engine, -7, C, 3.0)
    rate(engine, 2, C, 4.3)
    rate(engine, 3, "", 3.0)
    assert compared.round() == []


@pytest.mark.parametrize("compared", ["by_number", "by_text"], indirect=True)
def test_a_rating_that_was_silently_changed_moved_or_deleted_is_found(compared: Compared, engine: Engine) -> None:
    mine = [ratings.c.user_id == 1, ratings.c.user_id == 3, ratings.c.user_id == 8, ratings.c.user_id == 21]
    with writing(engine) as connection:
        connection.execute(update(ratings).where(mine[0], ratings.c.product_id == A).values(rating=5, updated_at=WHEN))
        connection.execute(update(ratings).where(mine[1], ratings.c.product_id == A).values(product_id=C))
        connection.execute(delete(ratings).where(mine[2]))
        swapped = {A: 4.0, B: 1.0 + 21 % 5 / 2}  # as many ratings, and the same sum
        for product, stars in swapped.items():
            connection.execute(update(ratings).where(mine[3], ratings.c.product_id == product).values(rating=stars))
    assert compared.round() == [1, 3, 8, 21]
    assert compared.round() == []
    assert compared.model.n_ratings == 14 - 2
    assert compared.model.ratings_of(21)[1].tolist() == [8, 3]


def test_changes_that_the_model_has_counted_are_no_difference(compared: Compared, engine: Engine) -> None:
    rate(engine, 4, C, 3.0)
    assert compared.round() == [4]
    rate(engine, 4, "B0000NEVER", 2.5)  # in no catalog, and new to the model
    rate(engine, 1, C, 2.5)
    assert compared.round() == [1, 4]
    assert compared.round() == []


def test_many_new_people_in_one_range_are_named_a_few_at_a_time(compared: Compared, engine: Engine) -> None:
    for user in range(1_000, 1_030):  # several times what one look counts
        rate(engine, user, A, 3.0)
        rate(engine, user, B, 3.0)
    assert compared.round() == list(range(1_000, 1_030))
    assert compared.round() == []


def test_a_row_that_no_model_takes_is_not_named_again_and_again(compared: Compared, engine: Engine) -> None:
    rate(engine, 5, C, 4.5)
    with writing(engine) as connection:
        connection.execute(
            text("UPDATE product_ratings SET rating = 4.3 WHERE user_id = 5 AND product_id = 'B00000000C'")
        )
        if not is_mysql(engine):
            connection.execute(text("UPDATE product_ratings SET created_at = 'never' WHERE user_id = 2"))
    named = compared.round()
    assert set(named) <= {2, 5}
    assert compared.round() == []
    rate(engine, 5, "B0000OTHER", 1.5)
    assert compared.round() == [5]
