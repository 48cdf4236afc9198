"""One run of step 3 reads the shop once, and lists, gate and model file are of what it read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import Engine, Select, insert, update
from sqlalchemy.sql.elements import ColumnElement

import recommendation_engine as re
from recommender.commands import engine as commands
from recommender.commands.self_check import self_check
from recommender.database import bulk_read
from recommender.database._packed_ratings import packed_ratings
from recommender.database.connection import writing
from recommender.database.schema import interactions, products, ratings, users
from recommender.publishing.model_file import open_model
from recommender.publishing.versions import read_versions
from tests.support.shop import WHEN, fill

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
STARS = {1: {A: 5.0, B: 4.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0, C: 2.0}, 4: {D: 3.0, A: 2.0}}
WHOLE = dict.fromkeys(("amazon_products", "product_ratings", "user_interactions", "users"), 1)


@pytest.fixture
def script(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``script("--ranking", "taste")`` runs step 3 on a small shop."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    fill(engine, STARS, [A, B, C, D])
    with writing(engine) as connection:
        connection.execute(update(users).values(country="Spain", age_group="65+"))
        event = {"user_id": 4, "product_id": B, "interaction_type": "purchase", "created_at": WHEN}
        connection.execute(insert(interactions).values(event))

    def run(*arguments: str) -> None:
        assert re.main(["--force", *arguments]) == 0

    return run


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each table was read whole, whichever way served."""
    counted: Counter[str] = Counter()

    def noted(way: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
        def read(*arguments: Any, **options: Any) -> Any:
            table = way(*arguments, **options)
            counted[name_of(*arguments)] += table is not None
            return table

        return read

    def of_statement(_engine: Engine, statement: Select[Any], _schema: pa.Schema) -> str:
        return "+".join(sorted(table.name for table in statement.get_final_froms()))  # type: ignore[attr-defined]

    def of_ratings(_engine: Engine, _extra: list[Any], _condition: ColumnElement[bool] | None) -> str:
        return ratings.name

    for way in ("through_connectorx", "_streamed"):
        monkeypatch.setattr(bulk_read, way, noted(getattr(bulk_read, way), of_statement))
    monkeypatch.setattr(bulk_read, "packed_ratings", noted(packed_ratings, of_ratings))
    return counted


@pytest.mark.parametrize("ranking", ["classic", "taste", "auto"])
def test_one_run_reads_each_table_once(script: Callable[..., None], reads: Counter[str], ranking: str) -> None:
    script("--ranking", ranking, "--save-model", "model.rec", "--if-stale")
    assert +reads == WHOLE


def test_unchanged_classic_lists_need_no_interactions(script: Callable[..., None], reads: Counter[str]) -> None:
    script()
    reads.clear()
    script("--if-stale")
    assert +reads == {name: 1 for name in WHOLE if name != interactions.name}


@pytest.mark.parametrize("ranking", ["classic", "taste"])
def test_what_comes_while_it_runs_is_in_neither_gate_nor_lists_nor_file(
    engine: Engine, script: Callable[..., None], ranking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Any] = []
    check, gate = self_check, commands.gate

    def then_rate(*arguments: Any) -> Any:
        with writing(engine) as connection:
            now = {"created_at": WHEN, "updated_at": WHEN}
            connection.execute(insert(ratings).values(user_id=4, product_id=C, rating=5.0, **now))
            connection.execute(update(products).values(title="Renamed"))
        return check(*arguments)

    def judge(settings: Any, engine: Engine, shop: Any, *arguments: Any, **options: Any) -> Any:
        judged.append(shop)
        return gate(settings, engine, shop, *arguments, **options)

    monkeypatch.setattr(re, "self_check", then_rate)
    monkeypatch.setattr(commands, "gate", judge)
    script("--ranking", ranking, "--save-model", "model.rec")
    (version,) = read_versions(engine)
    model, _ = open_model(Path("model.rec"))
    (shop,) = judged
    assert (shop.ratings.n_ratings, version.n_ratings, model.n_ratings) == (10, 10, 10)
    assert shop.ratings.half_stars.sum() == model.matrix.half_stars.sum() == 2 * 36
    assert set(model.catalog.titles.to_pylist()) == {f"Product {product}" for product in (A, B, C, D)}
