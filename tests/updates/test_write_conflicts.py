"""A transaction is run again after the server rolled it back for a deadlock or lock; with real connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, select, text, update

from recommender.database import retried, writing
from recommender.database.schema import categories, metadata
from recommender.errors import WriteConflictError

LONG = 60.0  # seconds; no test waits that long


@pytest.fixture
def backend() -> str:
    """SQLite lets one writer in at a time."""
    return "mariadb"


@pytest.fixture
def rows(engine: Engine) -> Engine:
    metadata.create_all(engine)
    with writing(engine) as connection:
        connection.execute(categories.insert(), [{"id": n, "category_name": "-"} for n in (1, 2)])
    return engine


def add(connection: Connection, row: int, mark: str) -> None:
    name = categories.c.category_name
    connection.execute(update(categories).where(categories.c.id == row).values(category_name=name.concat(mark)))


def names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(categories.c.category_name).order_by(categories.c.id)).scalars())


def test_two_writes_that_wait_for_each_other_are_both_stored(rows: Engine) -> None:
    both_hold_one, tries = threading.Barrier(2), list[str]()

    def transaction(mark: str, first: int, second: int) -> str:
        tries.append(mark)
        with writing(rows) as connection:
            add(connection, first, mark)
            if tries.count(mark) == 1:
                both_hold_one.wait(timeout=LONG)
            add(connection, second, mark)
        return mark

    deadline = time.monotonic() + LONG
    with ThreadPoolExecutor(2) as threads:
        a = threads.submit(retried, lambda: transaction("a", 1, 2), deadline)
        b = threads.submit(retried, lambda: transaction("b", 2, 1), deadline)
        assert (a.result(), b.result()) == ("a", "b")
    assert [sorted(name) for name in names(rows)] == [["-", "a", "b"], ["-", "a", "b"]]
    assert len(tries) == 2 + 1


def wait_for_a_lock(mine: Connection, other: Connection) -> None:
    add(other, 1, "x")
    mine.execute(text("SET SESSION innodb_lock_wait_timeout = 0"))
    add(mine, 1, "y")


def read_before_another_writes(mine: Connection, other: Connection) -> None:
    mine.execute(text("SET SESSION innodb_snapshot_isolation = ON"))  # the default from MariaDB 11.6 on
    mine.execute(select(categories)).all()
    add(other, 1, "x")
    other.commit()
    add(mine, 1, "y")


def read_before_another_changes_a_table(mine: Connection, other: Connection) -> None:
    mine.execute(select(categories)).all()
    other.execute(text("ALTER TABLE users ENGINE = InnoDB"))
    mine.execute(text("SELECT name FROM users WHERE name = 'a'")).all()


@pytest.mark.parametrize("collide", [wait_for_a_lock, read_before_another_writes, read_before_another_changes_a_table])
def test_a_transaction_that_a_conflict_made_fail_is_run_again_until_it_succeeds(
    rows: Engine, collide: Callable[[Connection, Connection], None]
) -> None:
    tries = []

    def transaction() -> int:
        tries.append(1)
        with rows.connect() as other, writing(rows) as mine:
            add(mine, 2, "z")
            if len(tries) < 3:
                collide(mine, other)
            other.rollback()
        return len(tries)

    assert retried(transaction, time.monotonic() + LONG) == 3
    assert names(rows)[1] == "-z"


def test_a_transaction_is_not_run_again_after_the_deadline_and_stores_nothing(rows: Engine) -> None:
    tries = []

    def transaction() -> None:
        tries.append(1)
        with rows.connect() as other, writing(rows) as mine:
            add(mine, 2, "z")
            wait_for_a_lock(mine, other)

    with pytest.raises(WriteConflictError, match="another transaction was in the way"):
        retried(transaction, time.monotonic())
    assert (len(tries), names(rows)) == (1, ["-", "-"])
