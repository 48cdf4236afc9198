"""Writes of the service: two workers may write at once, and times come from the database's clock."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select

from recommender.database import connect, deletions_log, existing_tables, writing
from recommender.database.schema import deletions, interactions, ratings, users
from recommender.settings import Settings
from recommender.updates import delete_rating, prepare, store_interaction, store_rating
from tests.support.shop import WHEN, fill


def test_two_workers_start_at_once_without_a_table_of_deletions(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_too_early(engine: Engine) -> set[str]:
        found = existing_tables(engine)
        deletions.create(engine)  # by the other worker
        with writing(engine) as connection:
            connection.execute(insert(deletions).values(user_id=7, deleted_at=WHEN))
        return found

    monkeypatch.setattr(deletions_log, "existing_tables", looked_too_early)
    prepare(engine)
    monkeypatch.undo()
    prepare(engine)
    with engine.connect() as connection:
        assert connection.execute(select(deletions.c.user_id)).scalars().all() == [7]


@pytest.mark.parametrize("backend", ["mariadb"])  # SQLite lets one writer in at a time
def test_two_workers_store_writes_of_the_same_unknown_person_at_once(engine: Engine, settings: Settings) -> None:
    fill(engine, {1: {"B00000000A": 5.0}}, ["B00000000A"])
    other, entered = connect(settings), list[int]()

    def enter_before(_connection: Any, _cursor: Any, statement: str, *_rest: object) -> None:
        if statement.startswith("INSERT INTO users") and not entered:
            entered.append(500)
            with writing(other) as connection:
                store_interaction(connection, 500, "B00000000A", "view")

    event.listen(engine, "before_cursor_execute", enter_before)
    with writing(engine) as connection:
        store_interaction(connection, 500, "B00000000A", "click")
    other.dispose()
    with engine.connect() as connection:
        assert connection.execute(select(users.c.user_id)).scalars().all() == [1, 500]
        told = select(interactions.c.interaction_type).where(interactions.c.user_id == 500)
        assert sorted(connection.execute(told).scalars()) == ["click", "view"]


@pytest.mark.parametrize("backend", ["mariadb"])
def test_every_time_comes_from_the_clock_of_the_database(engine: Engine) -> None:
    fill(engine, {1: {"B00000000A": 5.0}}, ["B00000000A"])
    prepare(engine)
    told = dt.datetime(2031, 5, 17, 12, 30, 15, 250_000)  # a clock years ahead of ours, in another time zone
    with writing(engine) as connection:
        connection.exec_driver_sql("SET time_zone = '-05:00', timestamp = 1936787415.25")
        delete_rating(connection, 1, "B00000000A")
        store_rating(connection, 500, "B00000000A", 9)
        store_interaction(connection, 600, "B00000000A", "click")
        connection.exec_driver_sql("SET timestamp = 1936787475.25")
        store_rating(connection, 500, "B00000000A", 2)
        connection.exec_driver_sql("SET time_zone = DEFAULT, timestamp = DEFAULT")
    later = told + dt.timedelta(minutes=1)
    with engine.connect() as connection:
        rated = connection.execute(select(ratings.c.rating, ratings.c.created_at, ratings.c.updated_at)).one()
        assert tuple(rated) == (1.0, told, later)
        assert connection.execute(select(deletions.c.deleted_at)).scalars().all() == [told]
        assert connection.execute(select(interactions.c.created_at)).scalars().all() == [told]
        assert connection.execute(select(users.c.created_at).where(users.c.user_id == 600)).scalars().all() == [told]
