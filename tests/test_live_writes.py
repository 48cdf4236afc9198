"""What the service writes, where two write at once."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, insert, select

from recommender import live_writes
from recommender.database import existing_tables, writing
from recommender.live_writes import prepare
from recommender.schema import deletions
from tests.shop import WHEN


def test_of_two_workers_that_find_no_table_of_deletions_both_start(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_too_early(engine: Engine) -> set[str]:
        found = existing_tables(engine)
        deletions.create(engine)  # by the other worker
        with writing(engine) as connection:
            connection.execute(insert(deletions).values(user_id=7, deleted_at=WHEN))
        return found

    monkeypatch.setattr(live_writes, "existing_tables", looked_too_early)
    prepare(engine)
    monkeypatch.undo()
    prepare(engine)
    with engine.connect() as connection:
        assert connection.execute(select(deletions.c.user_id)).scalars().all() == [7]
