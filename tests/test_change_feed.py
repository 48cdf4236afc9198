"""Who has changed, asked of the tables: nobody is missed, nobody is named for ever."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, delete, insert, text, update

from recommender import change_feed
from recommender.change_feed import OVERLAP, ChangeFeed, read_clocks, read_cursor
from recommender.changes import Cursor
from recommender.database import connect, writing
from recommender.live_records import optional_tables
from recommender.live_writes import prepare
from recommender.schema import deletions, interactions, ratings
from recommender.settings import Settings
from tests.mariadb_server import MariaDBServer
from tests.shop import WHEN, fill

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


def test_whoever_changes_is_named_once(shop: Engine) -> None:
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


def test_a_look_that_came_to_nothing_is_repeated(shop: Engine) -> None:
    changes = feed(shop)
    rate(shop, 3)
    note(shop, 5, 1)
    for _ in range(2):  # reading those users failed
        with shop.connect() as connection:
            assert changes.look(connection).users == {3, 5}
    assert look(changes, shop) == {3, 5}
    assert look(changes, shop) == set()


@pytest.mark.parametrize("before", [True, False], ids=["before the model", "after the model"])
def test_a_rating_dated_far_ahead_hides_and_repeats_nobody(shop: Engine, before: bool) -> None:
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


def test_a_rating_that_becomes_visible_late_is_found_and_one_of_long_ago_is_the_models(shop: Engine) -> None:
    changes = feed(shop)
    rate(shop, 3)
    assert look(changes, shop) == {3}
    with shop.connect() as connection:
        now = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=read_clocks(connection)[0])
    rate(shop, 4, updated_at=now - dt.timedelta(seconds=OVERLAP - 2))
    rate(shop, 5, updated_at=now - dt.timedelta(seconds=10 * OVERLAP))
    assert look(changes, shop) == {4}


def test_what_came_while_nobody_looked_is_found_however_long_that_was(shop: Engine) -> None:
    start = read_cursor(shop)
    hour = 3_600_000_000
    changes = ChangeFeed(start._replace(read_at=start.read_at - hour), optional_tables(shop))
    since = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=start.read_at)
    for user, minutes in ((3, 50), (4, 20), (5, 70)):  # that one is newer than all that the model has
        rate(shop, user, updated_at=since - dt.timedelta(minutes=minutes))
    rate(shop, 6, updated_at=FAR)
    assert look(changes, shop) == {3, 4, 5, 6}
    assert look(changes, shop) == set()


def test_a_clock_that_is_set_back_hides_nothing(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = feed(shop)
    rate(shop, 3)
    assert look(changes, shop) == {3}
    with shop.connect() as connection:
        back = [clock - 60_000_000 for clock in read_clocks(connection)]
    monkeypatch.setattr(change_feed, "read_clocks", lambda connection: back)
    rate(shop, 4, updated_at=dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=back[0]))
    assert look(changes, shop) == {4}


def test_an_id_that_is_given_again_is_another_row(shop: Engine) -> None:
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


def test_a_log_that_is_younger_than_the_models_is_followed(shop: Engine) -> None:
    note(shop, 1, 500)
    start = read_cursor(shop)
    changes = ChangeFeed(start._replace(interaction_id=30_000), optional_tables(shop))
    assert look(changes, shop) == set()
    note(shop, 2, 501)
    assert look(changes, shop) == {2}


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_time_that_is_none_is_nobodys_change_and_hides_nobody(shop: Engine, backend: str) -> None:
    with writing(shop) as connection:
        connection.execute(text("UPDATE product_ratings SET updated_at = '31.01.2026' WHERE user_id = 1"))
    assert read_cursor(shop).updated_at == int(WHEN.replace(tzinfo=dt.UTC).timestamp() * 1e6)
    changes = feed(shop)
    assert look(changes, shop) == set()
    rate(shop, 3)
    assert look(changes, shop) == {3}


@pytest.fixture(params=["-05:00", "+02:00"])
def zone(request: pytest.FixtureRequest, mariadb: MariaDBServer) -> Iterator[str]:
    """A server whose default time zone is another one."""
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL time_zone = %s", (request.param,))
        yield request.param
        cursor.execute("SET GLOBAL time_zone = SYSTEM")


@pytest.mark.parametrize("backend", ["mariadb"])
def test_the_servers_time_zone_hides_nobody(zone: str, shop: Engine, settings: Settings, backend: str) -> None:
    changes = feed(shop)
    others = connect(settings)
    with others.connect() as connection:
        utc, here = read_clocks(connection)
    assert round((here - utc) / 3.6e9) == int(zone[:3])
    for user in (3, 4):
        with writing(shop) as connection:  # as somebody else's session leaves the column out
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
