"""The changed users, read from the tables: every change is found, and no user is named again and again."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, insert, text, update

from recommender.database import OVERLAP, connect, cursor_reader, read_clocks, writing
from recommender.database.cursor_reader import read_cursor
from recommender.database.schema import deletions, interactions, ratings
from recommender.settings import Settings
from recommender.shop import Cursor
from recommender.updates import change_feed, followed_ids, followed_ratings, optional_tables, prepare
from recommender.updates.change_feed import ChangeFeed
from tests.support.mariadb_server import MariaDBServer
from tests.support.shop import WHEN, fill

A, B = "B00000000A", "B00000000B"
FAR = dt.datetime(2100, 1, 1)


@pytest.fixture
def shop(engine: Engine) -> Engine:
    fill(engine, {1: {A: 5.0}, 2: {A: 5.0, B: 4.0}}, [A, B])
    prepare(engine)
    with writing(engine) as connection:  # rated long ago
        connection.execute(update(ratings).values(updated_at=WHEN))
    return engine


def feed(engine: Engine) -> ChangeFeed:
    return ChangeFeed(read_cursor(engine), optional_tables(engine))


def look(feed: ChangeFeed, engine: Engine) -> set[int]:
    with engine.connect() as connection:
        found = feed.look(connection)
    feed.keep(found)
    return found.users


def rate(engine: Engine, user_id: int, product_id: str = A, updated_at: dt.datetime | None = None) -> None:
    row = {"user_id": user_id, "product_id": product_id, "rating": 3.0, "created_at": WHEN}
    with writing(engine) as connection:
        connection.execute(insert(ratings).values(row | ({"updated_at": updated_at} if updated_at else {})))


def note(engine: Engine, user_id: int, number: int, created_at: dt.datetime = WHEN) -> None:
    row = {"interaction_id": number, "user_id": user_id, "product_id": A, "interaction_type": "view"}
    with writing(engine) as connection:
        connection.execute(insert(interactions).values(row | {"created_at": created_at}))


def test_a_changed_user_is_named_once(shop: Engine) -> None:
    changes = feed(shop)
    assert look(changes, shop) == set()
    rate(shop, 3)
    assert look(changes, shop) == {3}
    assert look(changes, shop) == set()
    with writing(shop) as connection:
        connection.execute(insert(deletions).values(user_id=4, deleted_at=WHEN))
    note(shop, 5, 1)
    rate(shop, 6)
    assert look(changes, shop) == {4, 5, 6}
    assert look(changes, shop) == set()


def test_a_look_that_failed_is_repeated(shop: Engine) -> None:
    changes = feed(shop)
    rate(shop, 3)
    note(shop, 5, 1)
    for _ in range(2):  # reading those users failed
        with shop.connect() as connection:
            assert changes.look(connection).users == {3, 5}
    assert look(changes, shop) == {3, 5}
    assert look(changes, shop) == set()


@pytest.mark.parametrize("before", [True, False], ids=["before the model", "after the model"])
def test_a_rating_dated_far_ahead_hides_no_user_and_is_not_repeated(shop: Engine, before: bool) -> None:
    if before:
        rate(shop, 7, updated_at=FAR)
    changes = feed(shop)
    if not before:
        rate(shop, 7, updated_at=FAR)
    assert look(changes, shop) == (set() if before else {7})
    for user in (8, 9):
        rate(shop, user)
        assert look(changes, shop) == {user}
        assert look(changes, shop) == set()
    rate(shop, 7, B, FAR + dt.timedelta(seconds=1))
    assert look(changes, shop) == {7}


def test_a_rating_that_becomes_visible_late_is_found_and_an_old_one_is_not_named(shop: Engine) -> None:
    changes = feed(shop)
    rate(shop, 3)
    assert look(changes, shop) == {3}
    with shop.connect() as connection:
        now = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=read_clocks(connection)[0])
    rate(shop, 4, updated_at=now - dt.timedelta(seconds=OVERLAP - 2))
    rate(shop, 5, updated_at=now - dt.timedelta(seconds=10 * OVERLAP))
    assert look(changes, shop) == {4}


def test_changes_during_a_pause_of_any_length_are_found(shop: Engine) -> None:
    start = read_cursor(shop)
    hour = 3_600_000_000
    changes = ChangeFeed(start._replace(read_at=start.read_at - hour), optional_tables(shop))
    since = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=start.read_at)
    for user, minutes in ((3, 50), (4, 20), (5, 70)):  # this rating is newer than all ratings of the model
        rate(shop, user, updated_at=since - dt.timedelta(minutes=minutes))
    rate(shop, 6, updated_at=FAR)
    assert look(changes, shop) == {3, 4, 5, 6}
    assert look(changes, shop) == set()


def test_a_clock_that_is_set_back_hides_no_change(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = feed(shop)
    rate(shop, 3)
    assert look(changes, shop) == {3}
    with shop.connect() as connection:
        back = [clock - 60_000_000 for clock in read_clocks(connection)]
    monkeypatch.setattr(change_feed, "read_clocks", lambda connection: back)
    rate(shop, 4, updated_at=dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=back[0]))
    assert look(changes, shop) == {4}


def test_a_row_with_a_reused_id_is_found(shop: Engine) -> None:
    note(shop, 1, 100)
    changes = feed(shop)
    assert look(changes, shop) == set()
    note(shop, 7, 101)
    assert look(changes, shop) == {7}
    with writing(shop) as connection:
        connection.execute(delete(interactions).where(interactions.c.interaction_id == 101))
    note(shop, 8, 101)
    assert look(changes, shop) == {8}
    with writing(shop) as connection:  # restored, emptied, swapped
        connection.execute(delete(interactions))
    assert look(changes, shop) == set()
    note(shop, 9, 1)
    assert look(changes, shop) == {9}
    note(shop, 1, 2)
    assert look(changes, shop) == {1}


def test_a_log_with_smaller_ids_than_the_model_knows_is_followed(shop: Engine) -> None:
    note(shop, 1, 500)
    start = read_cursor(shop)
    changes = ChangeFeed(start._replace(interaction_id=30_000), optional_tables(shop))
    assert look(changes, shop) == set()
    note(shop, 2, 501)
    assert look(changes, shop) == {2}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_an_unreadable_time_is_no_change_and_hides_no_user(shop: Engine, backend: str) -> None:
    with writing(shop) as connection:
        connection.execute(text("UPDATE product_ratings SET updated_at = '31.01.2026' WHERE user_id = 1"))
    assert read_cursor(shop).updated_at == int(WHEN.replace(tzinfo=dt.UTC).timestamp() * 1e6)
    changes = feed(shop)
    assert look(changes, shop) == set()
    rate(shop, 3)
    assert look(changes, shop) == {3}


@pytest.fixture(params=["-05:00", "+02:00"])
def zone(request: pytest.FixtureRequest, mariadb: MariaDBServer) -> Iterator[str]:
    """A server with another default time zone."""
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL time_zone = %s", (request.param,))
        yield request.param
        cursor.execute("SET GLOBAL time_zone = SYSTEM")


@pytest.mark.parametrize("backend", ["mariadb"])
def test_the_servers_time_zone_hides_no_user(zone: str, shop: Engine, settings: Settings, backend: str) -> None:
    changes = feed(shop)
    others = connect(settings)
    with others.connect() as connection:
        utc, here = read_clocks(connection)
    assert round((here - utc) / 3.6e9) == int(zone[:3])
    for user in (3, 4):
        with writing(shop) as connection:  # another program's session leaves the column out
            connection.execute(text("SET SESSION time_zone = @@global.time_zone"))
            row = {"user_id": user, "product_id": A, "rating": 3.0, "created_at": WHEN}
            connection.execute(insert(ratings).values(row))
            connection.execute(text("SET SESSION time_zone = '+00:00'"))
        assert look(changes, shop) == {user}
        assert look(changes, shop) == set()
        rate(shop, 10 + user)
        assert look(changes, shop) == {10 + user}
    others.dispose()


def test_a_model_that_never_saw_the_tables_is_given_everybody(shop: Engine) -> None:
    assert look(ChangeFeed(Cursor(), optional_tables(shop)), shop) == {1, 2}


def test_an_interaction_that_becomes_visible_late_is_found_in_the_gap_it_left(shop: Engine) -> None:
    note(shop, 1, 5)
    note(shop, 1, 9)
    changes = feed(shop)  # the model knows 1 to 4 and 6 to 8 as gaps
    assert look(changes, shop) == set()
    note(shop, 2, 7)
    assert look(changes, shop) == {2}
    note(shop, 3, 20)
    assert look(changes, shop) == {3}
    for user, number in ((4, 15), (5, 8), (6, 6)):  # their times are long ago
        note(shop, user, number)
        assert look(changes, shop) == {user}
    assert look(changes, shop) == set()


def test_gaps_are_searched_in_turn_and_not_for_ever(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_ids, "YOUNG", 0.0)
    monkeypatch.setattr(followed_ids, "GAPS_AT_A_TIME", 2)
    for number in range(2, 22, 2):
        note(shop, 1, number)
    changes = feed(shop)
    for user, number in ((3, 3), (4, 19), (5, 11)):
        note(shop, user, number)
    found = set[int]()
    for _ in range(6):  # ten gaps, two at a time
        found |= look(changes, shop)
    assert found == {3, 4, 5}
    monkeypatch.setattr(followed_ids, "LIFE", 0.0)
    look(changes, shop)
    note(shop, 6, 5)
    assert look(changes, shop) == set()


@pytest.mark.parametrize("backend", ["mariadb"])
def test_a_transaction_that_began_before_the_model_was_made_is_found(
    shop: Engine, settings: Settings, backend: str
) -> None:
    others = connect(settings)
    with others.connect() as connection, connection.begin() as transaction:
        event = {"user_id": 40, "product_id": A, "interaction_type": "view", "created_at": WHEN}
        connection.execute(insert(interactions).values(event))
        with writing(shop) as beside:
            beside.execute(insert(interactions).values(event | {"user_id": 41}))
        changes = feed(shop)
        assert look(changes, shop) == set()
        transaction.commit()
    assert look(changes, shop) == {40}
    others.dispose()


def crowd(engine: Engine, n_users: int, updated_at: dt.datetime | None = None) -> None:
    """Insert many ratings, all of one moment, or of moments a second apart."""
    rows = [
        {"user_id": 100 + user, "product_id": A, "rating": 3.0, "created_at": WHEN}
        | ({"updated_at": updated_at + dt.timedelta(seconds=user)} if updated_at else {})
        for user in range(n_users)
    ]
    with writing(engine) as connection:
        connection.execute(insert(ratings), rows)


def test_the_rows_of_a_bulk_change_are_read_once_also_if_changes_follow(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counting(*given: Any) -> Any:
        found = real(*given)
        read.append(sum(len(rows) for rows in found.values()))
        return found

    real = followed_ratings._read_rows
    monkeypatch.setattr(followed_ratings, "_read_rows", counting)
    changes = feed(shop)
    crowd(shop, 200)
    time.sleep(0.11)  # the next rating is in another tenth of a second
    assert look(changes, shop) == set(range(100, 300))
    for user in range(10, 15):
        rate(shop, user)
        assert look(changes, shop) == {user}
    assert sum(read) < 2 * 205  # 5 more, and the others of the same tenth of a second
    assert look(feed(shop), shop) == set()  # a cursor that was read just after it contains it


def test_very_many_changes_are_reported_and_either_skipped_or_named_at_once(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursor_reader, "MOST_RATINGS", 50)
    start = read_cursor(shop)
    with shop.connect() as connection:
        now = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=read_clocks(connection)[0])
    moment = now - dt.timedelta(seconds=1)
    with writing(shop) as connection:
        rows = [
            {"user_id": 100 + user, "product_id": A, "rating": 3.0, "created_at": WHEN, "updated_at": moment}
            for user in range(200)
        ]
        connection.execute(insert(ratings), rows)
    there = optional_tables(shop)
    passing, naming = ChangeFeed(start, there, name_crowds=False), ChangeFeed(start, there)
    with shop.connect() as connection:
        found = passing.look(connection)
        assert (found.ratings.crowd, found.rest, found.users) == (True, True, set())
    passing.keep(found)
    assert look(naming, shop) == set(range(100, 300))
    for changes in (passing, naming, feed(shop)):
        assert look(changes, shop) == set()
    rate(shop, 7, B)
    for changes in (passing, naming):
        assert look(changes, shop) == {7}
        assert look(changes, shop) == set()


def test_changes_that_are_too_many_for_one_look_are_named_by_several(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursor_reader, "MOST_RATINGS", 50)
    start = read_cursor(shop)
    day = 24 * 3_600_000_000
    changes = ChangeFeed(start._replace(read_at=start.read_at - day), optional_tables(shop))
    crowd(shop, 200, dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=start.read_at - day))
    found: list[int] = []
    for _ in range(5):
        named = look(changes, shop)
        assert len(named) <= 50
        found += named
    assert sorted(found) == list(range(100, 300))
    assert look(changes, shop) == set()
    rate(shop, 7, B)
    assert look(changes, shop) == {7}


def test_a_cursor_is_the_same_after_it_was_written_and_read(shop: Engine) -> None:
    note(shop, 1, 5)
    rate(shop, 3)
    cursor = read_cursor(shop)
    assert cursor.interaction_gaps == ((1, 4),)
    assert Cursor.from_json(json.loads(json.dumps(cursor))) == cursor
    assert Cursor.from_json(json.loads(json.dumps(cursor))[:4]) == Cursor(*cursor[:4])  # of an earlier release
    for wrong in ([1, 2, 3], [1, 2, 3, "x"], [*cursor[:4], [[1]], [], [], []], [*cursor[:4], [], [], [[1, 2]], []]):
        with pytest.raises((TypeError, ValueError, LookupError)):
            Cursor.from_json(wrong)


def test_a_look_begins_at_the_end_of_the_last_one_and_scans_no_old_rating(shop: Engine, backend: str) -> None:
    following, asked = feed(shop), list[tuple[str, Any]]()
    look(following, shop)
    with shop.connect() as connection:

        @event.listens_for(connection, "before_cursor_execute")
        def note_statement(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        following.look(connection)
        event.remove(connection, "before_cursor_execute", note_statement)
        (counting,) = [one for one in asked if "updated_at" in one[0]]
        if backend == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {counting[0]}", counting[1]).all()
            assert "SEARCH product_ratings USING" in str(plan)
            assert "(updated_at>?)" in str(plan)
        else:
            plan = connection.exec_driver_sql(f"EXPLAIN {counting[0]}", counting[1]).all()
            assert "ix_product_ratings_updated_at" in str(plan)
            assert "'range'" in str(plan)
