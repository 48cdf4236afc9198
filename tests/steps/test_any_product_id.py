"""Any product ids go through all steps as they are, on both databases, and put equal products in their order."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert, select

from recommender.database import read_catalog, read_ratings, writing
from recommender.database.schema import interactions, metadata, products, ratings, recommendations
from recommender.shop import HALF_STARS
from recommender.updates import optional_tables, read_facts, read_records
from tests.support.product_ids import ODD, PRODUCT_IDS
from tests.support.shop import WHEN, product_row
from tests.support.steps import do, refuse

BY_BYTES = sorted(ODD, key=str.encode)


def write(file: Path, *rows: tuple[object, ...]) -> str:
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, quoting=csv.QUOTE_ALL).writerows(rows)
    return file.name


@pytest.mark.parametrize("ranking", ["classic", "taste"])
def test_all_steps_keep_the_ids_and_order_equal_products_by_their_bytes(
    engine: Engine, env: dict[str, str], tmp_path: Path, ranking: str
) -> None:
    """Two people gave everything four stars, and a third one product: nothing but the id tells the others apart."""
    catalog = write(tmp_path / "catalog.csv", ("sku", "name"), *((name, f"title of {name}") for name in ODD))
    assert f"{len(ODD)} loaded + 0 duplicates + 0 rejected" in do(
        env, tmp_path, "to_rds.py", "--products", catalog, "--columns", "asin=sku,title=name"
    )
    rows = [(user, name, 4) for user in (1, 2) for name in ODD] + [(3, "B08N5WRWNW", 4)]
    given_ratings = write(tmp_path / "ratings.csv", ("user_id", "product_id", "rating"), *rows)
    do(env, tmp_path, "load_recommendation_data.py", "--ratings", given_ratings)
    options = "--ranking", ranking, "--top-n-recommendations", "100"
    do(env, tmp_path, "recommendation_engine.py", *options)
    c = recommendations.c
    with engine.connect() as connection:
        listed = connection.execute(
            select(c.product_id, c.product_name).where(c.user_id == 3).order_by(c["rank"])
        ).all()
    expected = [name for name in BY_BYTES if name != "B08N5WRWNW"]
    assert [tuple(row) for row in listed] == [(name, f"title of {name}") for name in expected]


def test_made_up_shoppers_turn_to_products_of_any_id(engine: Engine, env: dict[str, str], tmp_path: Path) -> None:
    """Each id whole: the table of ids in memory was once ten characters wide."""
    catalog = write(tmp_path / "catalog.csv", ("sku",), *((name,) for name in ODD))
    do(env, tmp_path, "to_rds.py", "--products", catalog, "--columns", "asin=sku")
    sizes = "--num-users", "30", "--num-ratings", "200", "--num-interactions", "300"
    do(env, tmp_path, "load_recommendation_data.py", *sizes)
    with engine.connect() as connection:
        for table in (ratings, interactions):
            found = set(connection.execute(select(table.c.product_id).distinct()).scalars())
            assert found <= set(ODD)
            assert max(map(len, found)) == 64


def test_a_kaggle_file_with_other_ids_needs_the_pattern_to_be_set(
    engine: Engine, env: dict[str, str], tmp_path: Path
) -> None:
    header = [column.name for column in products.columns if column.name != "id"]
    rows = [[product_row(name)[column] for column in header] for name in ODD]
    file = write(tmp_path / "amazon_products.csv", tuple(header), *map(tuple, rows))
    shelves = write(tmp_path / "amazon_categories.csv", ("id", "category_name"), (1, "Toys"))
    given_files = "--products", file, "--categories", shelves
    assert "asin '7' is not 10 characters A-Z 0-9" in refuse(env, tmp_path, "to_rds.py", *given_files)
    assert f"{len(ODD)} loaded" in do(env, tmp_path, "to_rds.py", *given_files, "--product-id-pattern", ".+")
    assert [name.decode() for name in read_catalog(engine).product_ids.tolist()] == BY_BYTES


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(PRODUCT_IDS, unique=True, min_size=1, max_size=40))
def test_any_ids_come_back_from_the_tables_as_they_went_in(engine: Engine, ids: list[str]) -> None:
    metadata.create_all(engine)
    rated = [{"user_id": 1, "product_id": name, "rating": 4.5, "created_at": WHEN, "updated_at": WHEN} for name in ids]
    with writing(engine) as connection:
        connection.execute(delete(products))
        connection.execute(delete(ratings))
        connection.execute(insert(products), [product_row(name, title=f"t {name}") for name in ids])
        connection.execute(insert(ratings), rated)
    catalog = read_catalog(engine)
    assert [name.decode() for name in catalog.product_ids.tolist()] == sorted(ids)
    assert catalog.titles.to_pylist() == [f"t {name}" for name in sorted(ids)]
    found = read_ratings(engine)
    assert (sorted(found.products.to_pylist()), found.left_out) == (sorted(ids), {})
    with engine.connect() as connection:
        (record,) = read_records(connection, [1], optional_tables(engine), HALF_STARS)
        facts = read_facts(connection, [name.encode() for name in ids])
    assert {name.decode() for name, *_ in record.ratings} == set(ids)
    assert {name.decode(): product and product.title for name, product in facts.items()} == {n: f"t {n}" for n in ids}
