"""Steps run at the same time as other writers. A step checks at the swap itself which rows it may replace.

The moments are made by functions that a step calls between its first look and the swap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.engine.reflection import Inspector

import load_recommendation_data
import to_rds
from recommender.commands import shop_import
from recommender.database import connect, existing_tables, refuse_foreign_catalog, require_rows, writing
from recommender.database.schema import metadata, products, ratings, users
from recommender.errors import ForeignDataError
from recommender.files import RejectedRows
from recommender.settings import Settings, load_settings
from recommender.synthetic import write_sample_catalog
from recommender.updates import store_rating
from tests.support.shop import fill

A, B = "B00000000A", "B00000000B"
SIZES = {"NUM_USERS": 20, "NUM_INTERACTIONS": 50, "NUM_RATINGS": 30}
on_a_server = pytest.mark.parametrize("backend", ["mariadb"])  # on SQLite nobody else can write after the check


@pytest.fixture
def other(engine: Engine, settings: Settings) -> Iterator[Engine]:
    """Connections of another process."""
    other = connect(settings)
    yield other
    other.dispose()


@pytest.fixture
def generate(engine: Engine, env: dict[str, str], tmp_path: Path) -> Callable[[int], bool]:
    """``generate(seed)`` runs the generating step 2 on a catalog of two products."""
    fill(engine, {}, [A, B])
    settings = load_settings(SIZES, environ=env, env_file=tmp_path / "no.env")
    return lambda seed: load_recommendation_data.generate(engine, settings, seed=seed, replace=False)


def after(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, then: Callable[[], object]) -> None:
    """Let something happen as soon as the function of a module has been called for the first time."""
    real, calls = getattr(module, name), list[int]()

    def hooked(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        calls.append(1)
        if len(calls) == 1:
            then()
        return result

    monkeypatch.setattr(module, name, hooked)


def rate(engine: Engine) -> None:
    """Store a rating as the service does."""
    with writing(engine) as connection:
        store_rating(connection, 7_777, A, 9)


def rated(engine: Engine, table: str = "product_ratings") -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        statement = text(f"SELECT product_id, rating FROM {table} WHERE user_id = 7777")
        return [(product, float(stars)) for product, stars in connection.execute(statement)]


def test_made_up_shoppers_do_not_replace_ratings_imported_since_the_first_look(
    engine: Engine, other: Engine, generate: Callable[[int], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.csv"
    file.write_text(f"user_id,product_id,rating\n7777,{A},4.5\n")
    generate(1)
    imported = lambda: load_recommendation_data.import_ratings(other, file, replace=False)  # noqa: E731
    after(monkeypatch, load_recommendation_data, "plant_tastes", imported)
    with pytest.raises(ForeignDataError, match=r"the ratings were imported from mine\.csv"):
        generate(2)
    assert rated(engine) == [(A, 4.5)]
    with engine.connect() as connection:
        assert connection.execute(select(users.c.user_id)).scalars().all() == [7777]


def test_a_rating_given_while_shoppers_are_made_is_not_replaced(
    engine: Engine, other: Engine, generate: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(1)
    after(monkeypatch, load_recommendation_data, "plant_tastes", lambda: rate(other))
    with pytest.raises(ForeignDataError, match="product_ratings was changed since this script filled it"):
        generate(2)
    assert rated(engine) == [(A, 4.5)]


@on_a_server
@pytest.mark.parametrize("made_before", [True, False])
def test_a_rating_given_between_the_last_look_and_the_swap_is_kept_and_reported(
    engine: Engine,
    other: Engine,
    generate: Callable[[int], bool],
    monkeypatch: pytest.MonkeyPatch,
    made_before: bool,
) -> None:
    if made_before:
        generate(1)
    after(monkeypatch, shop_import, "refuse_foreign_rows", lambda: rate(other))
    with pytest.raises(ForeignDataError, match="somebody wrote to product_ratings at the moment") as told:
        generate(2)
    kept = next(name for name in existing_tables(engine) if name.startswith("product_ratings__old"))
    assert kept in str(told.value)
    assert rated(engine, kept) == [(A, 4.5)]
    monkeypatch.undo()
    with writing(engine) as connection:  # and no later run drops it
        connection.execute(text("DELETE FROM data_origin"))
    with pytest.raises(ForeignDataError, match="holds rows that this script did not make"):
        generate(3)
    assert rated(engine, kept) == [(A, 4.5)]


@pytest.mark.parametrize("kept", ["products", "origin"])
def test_a_catalog_that_step_1_did_not_load_can_be_extended_but_not_replaced(
    engine: Engine, tmp_path: Path, kept: str
) -> None:
    if kept == "products":
        fill(engine, {}, [A])
    else:
        metadata.create_all(engine)
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO catalog_origin VALUES ('mine', '1')"))
    load = loading(engine, tmp_path)
    before = existing_tables(engine)
    with pytest.raises(ForeignDataError, match="holds rows that this script did not load: add to them with --append"):
        load()
    if kept == "products":
        for _ in range(2):
            load(append=True)
        with pytest.raises(ForeignDataError, match="amazon_products holds rows that this script did not load"):
            load()
    with engine.connect() as connection:
        asins = set(connection.execute(select(products.c.asin)).scalars())
    assert (A in asins, len(asins)) == ((True, 21) if kept == "products" else (False, 0))
    assert existing_tables(engine) == before


def loading(engine: Engine, folder: Path) -> Callable[..., object]:
    """Step 1 with a catalog of 20 products."""
    files = folder / "p.csv", folder / "c.csv"
    write_sample_catalog(*files, n_products=20)

    def load(*, append: bool = False) -> object:
        with RejectedRows(folder / "rejected.csv") as rejected:
            return to_rds.load_catalog(engine, *files, rejected, rows_per_batch=100, append=append)

    return load


@pytest.mark.parametrize("moment", ["while the file is read", "between the last look and the swap"])
def test_a_product_added_to_an_empty_catalog_meanwhile_is_not_replaced(
    engine: Engine, other: Engine, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    if backend == "sqlite" and moment != "while the file is read":
        return  # nobody else can write then
    metadata.create_all(engine)
    load, add = loading(engine, tmp_path), lambda: fill(other, {}, [A])
    if moment == "while the file is read":
        after(monkeypatch, to_rds, "category_rows", add)
        with pytest.raises(ForeignDataError, match="amazon_products holds rows that this script did not load"):
            load()
        table = products.name
    else:
        after(monkeypatch, to_rds, "unchanged_catalog", add)
        with pytest.raises(ForeignDataError, match="somebody wrote to amazon_products at the moment"):
            load()
        table = next(name for name in existing_tables(engine) if name.startswith("amazon_products__old"))
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT asin FROM {table}")).scalars().all() == [A]


def test_a_table_missing_from_the_list_of_tables_during_a_swap_counts_as_existing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(engine, {1: {A: 5.0}}, [A])
    monkeypatch.setattr(
        Inspector, "get_table_names", lambda *_arguments, **_options: []
    )  # as MariaDB's list of tables may be then
    assert inspect(engine).get_table_names() == []
    require_rows(engine, products, "run python to_rds.py first")
    assert {products.name, ratings.name, users.name} <= existing_tables(engine)
    assert refuse_foreign_catalog(engine, kept=True) == {"others": True}
