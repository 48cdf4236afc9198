"""Logs that workers follow by id: a later row has a larger id, also after the newest row was deleted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import Engine, Table, delete, func, insert, select

from recommender.database import staged, writing
from recommender.database.schema import deletions, interactions, metadata
from tests.support.shop import WHEN

EVENT = {"product_id": "B00000000A", "interaction_type": "view", "created_at": WHEN}
LOGS: dict[str, tuple[Table, dict[str, Any]]] = {
    "interactions": (interactions, {"user_id": 1} | EVENT),
    "deletions": (deletions, {"user_id": 1, "deleted_at": WHEN}),
}


def newest_id(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.max(*table.primary_key))).scalar_one())


def replace_newest(engine: Engine, table: Table, row: dict[str, Any]) -> None:
    newest = newest_id(engine, table)
    with writing(engine) as connection:
        connection.execute(delete(table).where(*(column == newest for column in table.primary_key)))
    with writing(engine) as connection:
        connection.execute(insert(table).values(row))


@pytest.mark.parametrize("log", LOGS)
def test_the_id_of_a_deleted_row_is_not_given_again(engine: Engine, log: str) -> None:
    metadata.create_all(engine)
    table, row = LOGS[log]
    with writing(engine) as connection:
        connection.execute(insert(table), [row, row])
    replace_newest(engine, table, row)
    assert newest_id(engine, table) == 2 + 1


def test_the_id_of_a_deleted_row_is_not_given_again_after_a_bulk_load(engine: Engine) -> None:
    metadata.create_all(engine)
    batch = pa.RecordBatch.from_pylist([{"user_id": 1} | EVENT] * 5)
    for _ in range(2):  # the second time there is a table to be replaced
        with staged(engine, [interactions]) as stage:
            stage.load(interactions, [batch])
            stage.publish()
        assert newest_id(engine, interactions) == 5
        replace_newest(engine, interactions, {"user_id": 1} | EVENT)
        assert newest_id(engine, interactions) > 5
