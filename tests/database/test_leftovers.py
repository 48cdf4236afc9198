"""Leftovers of a run that was killed between putting its tables in place and dropping the old ones.

The next run finds nothing else to do, and must still drop them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, Table, text

import load_recommendation_data
import recommendation_engine
import to_rds
from recommender.database import existing_tables, staged, writing
from recommender.database.own_tables import KEPT, NEW_END, OLD, OLD_END, STAGING, OwnTable, kept_table, note
from recommender.database.schema import BATCH_TABLES, CATALOG_TABLES, SHOPPER_TABLES, recommendations
from recommender.database.staging import _mysql as _server_stage
from recommender.sample_catalog import main as make_sample

FILES = ["--products", "amazon_products.csv", "--categories", "amazon_categories.csv"]
STEP_2 = ["--num-users", "40", "--num-interactions", "200", "--num-ratings", "120"]
STEPS: dict[str, tuple[Callable[[list[str]], int], list[str], tuple[Table, ...]]] = {
    "1": (to_rds.main, [*FILES, "--if-changed"], CATALOG_TABLES),
    "2": (load_recommendation_data.main, STEP_2, SHOPPER_TABLES),
    "3": (recommendation_engine.main, ["--if-stale", "--keep-versions", "1"], BATCH_TABLES),
}


@pytest.fixture
def backend() -> str:
    """SQLite puts its tables in place in one transaction, so nothing is left over."""
    return "mariadb"


@pytest.fixture
def shop(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """All three steps are done, the last one twice, so version 1 has expired."""
    for name, value in (env | {"MODEL_FILE": ""}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    make_sample(["--products", "60", "--out", str(tmp_path)])
    assert to_rds.main(FILES) == 0
    assert load_recommendation_data.main(STEP_2) == 0
    for _ in range(2):
        assert recommendation_engine.main(["--keep-versions", "1", "--force"]) == 0
    return engine


def leave(engine: Engine, tables: list[OwnTable]) -> None:
    with writing(engine) as connection:
        note(connection, *tables)
        for table in tables:
            lists = table.made_for == recommendations.name
            columns = f"LIKE {recommendations.name}" if lists else "(a INTEGER)"
            connection.execute(text(f"CREATE TABLE `{table.name}` {columns}"))


@pytest.mark.parametrize("step", STEPS)
def test_a_step_with_nothing_to_do_drops_leftovers_of_a_killed_run(
    shop: Engine, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main, options, tables = STEPS[step]
    clean = existing_tables(shop)
    ends = {OLD: OLD_END, STAGING: NEW_END}
    left = [OwnTable(f"{t.name}{end}_0a1b2c3d", purpose, t.name) for t in tables for purpose, end in ends.items()]
    leave(shop, [*left, *([OwnTable(kept_table(1), KEPT, recommendations.name, 1)] if step == "3" else [])])
    capsys.readouterr()
    assert main(options) == 0
    out = capsys.readouterr().out
    assert "nothing to do" in out or "unchanged" in out
    assert existing_tables(shop) == clean


@pytest.mark.parametrize("step", STEPS)
def test_tables_that_another_run_is_filling_are_left_alone(
    shop: Engine, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server_stage, "GONE_WAIT", 0)
    main, options, tables = STEPS[step]
    with staged(shop, tables) as stage:
        during = existing_tables(shop)
        assert {filled.name for filled in stage.tables.values()} <= during
        assert main(options) == 0
        assert existing_tables(shop) == during
