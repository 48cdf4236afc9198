"""A shop's own table is never dropped, replaced or written to, under any name; notes tell which tables are ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, inspect, select, text

import recommendation_engine as re
from recommender.database import existing_tables, list_tables, writing
from recommender.database.own_tables import kept_table
from recommender.database.schema import BATCH_TABLES, CATALOG_TABLES, SHOPPER_TABLES, own_tables, recommendations
from recommender.errors import ForeignDataError
from recommender.publishing import BatchJob, Version, current_version, read_versions, roll_back
from recommender.ranking import ClassicRanking
from recommender.synthetic import write_sample_catalog
from recommender.updates import erase_user, prepare
from tests.support import steps
from tests.support.published import write_lists
from tests.support.shop import fill

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
STARS = {1: {A: 5.0}, 2: {A: 5.0, B: 4.0, C: 5.0}, 3: {A: 1.0, B: 5.0}, 4: {D: 3.0}}
CATALOG = ["--products", "p.csv", "--categories", "c.csv"]
SIZES = ["--num-users", "40", "--num-ratings", "200", "--num-interactions", "200"]
LIVE = {table.name for table in (*CATALOG_TABLES, *SHOPPER_TABLES, *BATCH_TABLES)}


@pytest.fixture
def batch(engine: Engine) -> Callable[..., Version]:
    """``batch()`` publishes everybody's lists and keeps three versions."""
    fill(engine, STARS, [A, B, C, D])
    recommendations.drop(engine)
    matrix, similarity = re.load_model(engine)
    job = BatchJob(np.arange(4), 10, ClassicRanking(matrix, similarity, 20))
    return lambda: write_lists(engine, matrix, similarity, job, keep_versions=3)


def make(engine: Engine, name: str, columns: str = "user_id BIGINT, note VARCHAR(20)", row: str = "2, 'mine'") -> None:
    """A table of the shop's own with one row."""
    quote = engine.dialect.identifier_preparer.quote
    with writing(engine) as connection:
        connection.execute(text(f"CREATE TABLE {quote(name)} ({columns})"))
        connection.execute(text(f"INSERT INTO {quote(name)} VALUES ({row})"))


def rows(engine: Engine, name: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))]


def like_lists(engine: Engine, name: str) -> None:
    """A copy of a person's list, made by somebody else."""
    with writing(engine) as connection:
        connection.execute(text(f"CREATE TABLE {name} AS SELECT * FROM recommendations WHERE user_id = 2"))


def lists_of(engine: Engine, name: str, user_id: int) -> int:
    return len([row for row in rows(engine, name) if row[0] == user_id])


def test_no_step_touches_a_table_of_the_shop_under_any_name(
    engine: Engine, env: dict[str, str], tmp_path: Path
) -> None:
    write_sample_catalog(tmp_path / "p.csv", tmp_path / "c.csv", n_products=60)
    names = [f"{live}{end}" for live in LIVE for end in ("__old", "__new")] + [kept_table(n) for n in (1, 2, 3)]
    for name in names:
        make(engine, name)
    for seed in ("1", "2"):  # the second time there is something to be replaced
        steps.do(env, tmp_path, "to_rds.py", *CATALOG)
        steps.do(env, tmp_path, "load_recommendation_data.py", *SIZES, "--seed", seed)
        steps.do(env, tmp_path, "recommendation_engine.py", "--keep-versions", "2", "--force")
    steps.do(env, tmp_path, "to_rds.py", *CATALOG, "--append")
    steps.do(env, tmp_path, "recommendation_engine.py", "--rollback", "1")
    prepare(engine)
    with writing(engine) as connection:
        erase_user(connection, engine, 2)
    assert {name: rows(engine, name) for name in names} == {name: [(2, "mine")] for name in names}
    with engine.connect() as connection:
        noted = set(connection.execute(select(own_tables.c.table_name)).scalars())
    assert noted == {"recommendations", f"{kept_table(2)}_2"}
    assert existing_tables(engine) == {*LIVE, *names, *noted, "recommender_tables", "live_deletions"}


def test_a_person_is_erased_from_our_lists_and_not_from_the_shops_copies(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    prepare(engine)
    batch()
    batch()
    copies = ["recommendations__old", "recommendations__new", kept_table(7), "recommendations__old_0a1b2c3d"]
    for name in copies:
        like_lists(engine, name)
    before = {name: rows(engine, name) for name in copies}
    with writing(engine) as connection:
        erase_user(connection, engine, 2)
    assert {name: rows(engine, name) for name in copies} == before
    assert all(before.values())
    assert lists_of(engine, "recommendations", 2) == lists_of(engine, kept_table(1), 2) == 0
    assert lists_of(engine, kept_table(1), 1) > 0


def test_lists_that_somebody_else_filled_are_neither_replaced_nor_changed_by_an_erasure(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    prepare(engine)
    recommendations.create(engine)
    values = "2, 1, 'B00000000A', NULL, 4.5, 'own', NULL, NULL, '2024-01-01 00:00:00'"
    with writing(engine) as connection:
        connection.execute(text(f"INSERT INTO recommendations VALUES ({values})"))
    before = rows(engine, "recommendations")
    with pytest.raises(ForeignDataError, match="recommendations holds rows that no batch of this project wrote"):
        batch()
    with pytest.raises(ForeignDataError, match="no batch of this project wrote"):
        re.save_recommendations(2, re.get_recommendations(2, *re.load_model(engine)), engine)
    with pytest.raises(ForeignDataError, match="no batch of this project wrote"):
        roll_back(engine, 1)
    with writing(engine) as connection:
        erase_user(connection, engine, 2)
    assert rows(engine, "recommendations") == before


def test_lists_saved_from_a_notebook_may_be_replaced(engine: Engine, batch: Callable[..., Version]) -> None:
    for _ in range(2):
        re.save_recommendations(1, re.get_recommendations(1, *re.load_model(engine)), engine)
    assert batch().number == 1
    assert lists_of(engine, "recommendations", 2) > 0


def test_kept_lists_of_the_previous_release_without_notes_are_known_by_their_versions(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    prepare(engine)
    for _ in range(3):
        batch()
    own_tables.drop(engine)  # as if it had never existed
    with writing(engine) as connection:
        connection.execute(text(f"DROP TABLE {kept_table(1)}"))
    make(engine, kept_table(1))  # put in its place by somebody else
    with engine.connect() as connection:
        assert list_tables(connection) == {"recommendations", kept_table(2)}
    with writing(engine) as connection:
        erase_user(connection, engine, 2)
    assert lists_of(engine, kept_table(2), 2) == lists_of(engine, "recommendations", 2) == 0
    assert rows(engine, kept_table(1)) == [(2, "mine")]
    assert roll_back(engine, 2).number == 2
    assert batch().number == 4
    assert {version.number: version.state for version in read_versions(engine)} == {
        1: "expired", 2: "kept", 3: "kept", 4: "published",
    }  # fmt: skip
    assert rows(engine, kept_table(1)) == [(2, "mine")]
    with engine.connect() as connection:
        assert list_tables(connection) == {"recommendations", kept_table(2), kept_table(3)}


def test_a_kept_version_is_found_and_rolled_back_to_although_its_name_was_taken(
    engine: Engine, batch: Callable[..., Version]
) -> None:
    first = batch()
    make(engine, kept_table(1))
    batch()
    assert current_version(engine, first.fingerprint, first.settings) is not None
    assert roll_back(engine, 1).number == 1
    assert rows(engine, kept_table(1)) == [(2, "mine")]
    assert existing_tables(engine) >= {"recommendations", kept_table(2)}
    assert f"{kept_table(1)}_2" not in existing_tables(engine)


def test_a_table_of_notes_that_is_not_ours_is_refused(engine: Engine, batch: Callable[..., Version]) -> None:
    own_tables.drop(engine)
    make(engine, own_tables.name)
    with pytest.raises(ForeignDataError, match="table recommender_tables has no column made_at"):
        batch()
    assert rows(engine, own_tables.name) == [(2, "mine")]


@pytest.mark.parametrize("backend", ["sqlite"])  # on SQLite names of indexes belong to the whole file
def test_a_shops_index_with_a_name_like_ours_stays(engine: Engine, env: dict[str, str], tmp_path: Path) -> None:
    write_sample_catalog(tmp_path / "p.csv", tmp_path / "c.csv", n_products=60)
    make(engine, "mine")
    name = "uq_amazon_products_asin"
    with writing(engine) as connection:
        connection.execute(text(f"CREATE INDEX {name.upper()} ON mine (note)"))
    for _ in range(2):
        steps.do(env, tmp_path, "to_rds.py", *CATALOG)
        assert [index["name"] for index in inspect(engine).get_indexes("mine")] == [name.upper()]
        found = {index["name"]: index["unique"] for index in inspect(engine).get_indexes("amazon_products")}
        assert found == {f"{name}_2": 1, "ix_amazon_products_category_id": 0}
