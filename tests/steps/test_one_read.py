"""One run of step 3 reads the shop once, and makes lists, gate and model file from the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import Engine, Select, insert, update
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.util import find_tables

import recommendation_engine as re
from recommender.commands import batch, version_gate
from recommender.commands.self_check import self_check
from recommender.database import bulk_read, read_ratings, shop_reader, writing
from recommender.database._packed_ratings import packed_ratings
from recommender.database.schema import interactions, products, ratings, users
from recommender.publishing import open_model, read_versions
from recommender.shop import Scale
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
    """The number of times that each table was read whole, by any way."""
    counted: Counter[str] = Counter()

    def noted(way: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
        def read(*arguments: Any, **options: Any) -> Any:
            table = way(*arguments, **options)
            counted[name_of(*arguments)] += table is not None
            return table

        return read

    def of_statement(_engine: Engine, statement: Select[Any], _schema: pa.Schema) -> str:
        return "+".join(sorted(str(table) for table in find_tables(statement)))

    def of_ratings(_engine: Engine, _extra: list[Any], _condition: ColumnElement[bool] | None, _scale: Scale) -> str:
        return ratings.name

    for way in ("through_connectorx", "_streamed"):
        monkeypatch.setattr(bulk_read, way, noted(getattr(bulk_read, way), of_statement))
    monkeypatch.setattr(bulk_read, "packed_ratings", noted(packed_ratings, of_ratings))
    return counted


@pytest.mark.parametrize("ranking", ["classic", "taste", "auto"])
def test_one_run_reads_each_table_once(script: Callable[..., None], reads: Counter[str], ranking: str) -> None:
    script("--ranking", ranking, "--save-model", "model.rec", "--if-stale")
    assert +reads == WHOLE


def test_unchanged_classic_lists_need_neither_interactions_nor_times(
    script: Callable[..., None], reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script()
    reads.clear()
    asked: list[bool] = []

    def noted(engine: Engine, *, times: bool, scale: Scale) -> Any:
        asked.append(times)
        return read_ratings(engine, times=times, scale=scale)

    monkeypatch.setattr(shop_reader, "read_ratings", noted)
    script("--if-stale")
    assert +reads == {name: 1 for name in WHOLE if name != interactions.name}
    assert asked == [False]


def test_stale_classic_lists_and_their_gate_share_one_read(
    engine: Engine, script: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    script()
    with writing(engine) as connection:
        now = {"created_at": WHEN, "updated_at": WHEN}
        connection.execute(insert(ratings).values(user_id=3, product_id=D, rating=5.0, **now))
    judged: list[Any] = []
    gate, reader = version_gate.gate, shop_reader.read_snapshot

    def then_rate(engine: Engine, **options: bool) -> Any:
        """Read, then rate: after the first look there is one rating more."""
        found = reader(engine, **options)
        if not options["log"]:
            with writing(engine) as connection:
                connection.execute(insert(ratings).values(user_id=4, product_id=C, rating=5.0, **now))
        return found

    def judge(settings: Any, engine: Engine, shop: Any, *arguments: Any, **options: Any) -> Any:
        judged.append(shop)
        return gate(settings, engine, shop, *arguments, **options)

    monkeypatch.setattr(batch, "read_snapshot", then_rate)
    monkeypatch.setattr(version_gate, "gate", judge)
    script("--if-stale", "--save-model", "model.rec")
    model, version = open_model(Path("model.rec"))
    (shop,) = judged
    assert (shop.ratings.n_ratings, read_versions(engine)[-1].n_ratings, model.n_ratings) == (12, 12, 12)
    assert shop.ratings.rated_at is not None
    assert len(shop.log) == 1
    assert version.fingerprint == read_versions(engine)[-1].fingerprint


@pytest.mark.parametrize("ranking", ["classic", "taste"])
def test_a_rating_given_during_a_run_is_in_neither_gate_nor_lists_nor_file(
    engine: Engine, script: Callable[..., None], ranking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Any] = []
    check, gate = self_check, version_gate.gate

    def then_rate(*arguments: Any) -> Any:
        with writing(engine) as connection:
            now = {"created_at": WHEN, "updated_at": WHEN}
            connection.execute(insert(ratings).values(user_id=4, product_id=C, rating=5.0, **now))
            connection.execute(update(products).values(title="Renamed"))
        return check(*arguments)

    def judge(settings: Any, engine: Engine, shop: Any, *arguments: Any, **options: Any) -> Any:
        judged.append(shop)
        return gate(settings, engine, shop, *arguments, **options)

    monkeypatch.setattr(batch, "self_check", then_rate)
    monkeypatch.setattr(version_gate, "gate", judge)
    script("--ranking", ranking, "--save-model", "model.rec")
    (version,) = read_versions(engine)
    model, _ = open_model(Path("model.rec"))
    (shop,) = judged
    assert (shop.ratings.n_ratings, version.n_ratings, model.n_ratings) == (10, 10, 10)
    assert shop.ratings.steps.sum() == model.matrix.steps.sum() == 2 * 36
    assert set(model.products.catalog.titles.to_pylist()) == {f"Product {product}" for product in (A, B, C, D)}
