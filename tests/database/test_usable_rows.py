"""A row that means nothing stops no step: every way into a model leaves it out, counts it and reports it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, text

import api
import load_recommendation_data
import recommendation_engine
from recommender.database import as_words, is_mysql, read_catalog, read_interactions, read_ratings, writing
from recommender.database.bulk_read import Way
from recommender.database.schema import interactions, products, ratings, users
from recommender.errors import RatingError
from recommender.live import LiveModel
from recommender.publishing import read_versions
from recommender.settings import Settings
from recommender.shop import HALF_STARS, NO_TIME, Product
from recommender.updates import optional_tables, read_facts, read_records
from tests.support.model_built_anew import build
from tests.support.shop import WHEN, fill, product_row

ASINS = [f"B{n:09d}" for n in range(8)]
GOOD: dict[int, dict[str, float]] = {
    user: {ASINS[(user + step) % 8]: 0.5 + (user * step % 10) / 2 for step in range(4)} for user in range(1, 25)
}
N_GOOD = sum(map(len, GOOD.values()))
WAYS: list[Way | None] = [None, "connectorx", "packed", "streamed"]
# rows that a server's columns let in, and more that SQLite lets in: (column at fault, user, product, rating)
ON_ANY = [
    ("rating", "5", "'B0BADBADBA'", "4.3"),
    ("rating", "5", "'B0BADBADBB'", "0.0"),
    ("rating", "5", "'B0BADBADBC'", "5.5"),
    ("rating", "6", "'B0BADBADBD'", "9.9"),
    ("rating", "7", "'B0BADBADBE'", "-4.5"),
    ("user_id", "-1", "'B000000001'", "4.5"),
    ("user_id", "-7", "'B000000001'", "4.5"),
    ("product_id", "8", "''", "4.5"),
    ("product_id", "8", "'..'", "4.5"),
    ("product_id", "8", "' B'", "4.5"),
    ("product_id", "8", "'B\u00a0'", "4.5"),
    ("product_id", "8", "'B\tC'", "4.5"),
    ("product_id", "8", "'B000000001\n'", "4.5"),  # where `$` of a regular expression would match
    ("product_id", "8", "'B\u0085C'", "4.5"),
    ("product_id", "8", "'B\ufffdC'", "4.5"),
    ("product_id", "8", "'B\uffff'", "4.5"),
]
ON_SQLITE = [
    ("rating", "9", "'B0BADBADBA'", "'good'"),
    ("rating", "9", "'B0BADBADBB'", "9e999"),
    ("rating", "9", "'B0BADBADBC'", "x'342e35'"),
    ("user_id", "'ann'", "'B000000001'", "4.5"),
    ("user_id", "4.5", "'B000000001'", "4.5"),
    ("user_id", "x'35'", "'B000000003'", "4.5"),
    ("product_id", "8", f"'{65 * 'é'}'", "4.5"),
    ("product_id", "8", "'B '", "4.5"),
    *(("product_id", "8", f"CAST(x'42{odd}' AS TEXT)", "4.5") for odd in ("ff42", "a042", "c1a042", "eda08042", "c3")),
    ("product_id", "8", "x'42303030303030303031'", "4.5"),
    ("product_id", "8", "'B' || char(0) || '1'", "4.5"),
]


def spoil(engine: Engine) -> dict[str, int]:
    """Insert every unusable row that this database lets in; return the number of each fault."""
    rows = ON_ANY if is_mysql(engine) else [*ON_ANY, *ON_SQLITE]
    counts: dict[str, int] = {}
    with writing(engine) as connection:
        for fault, *values in rows:
            insertion = f"INSERT INTO product_ratings VALUES ({', '.join(values)}, '2024-01-01', '2024-01-01')"
            connection.exec_driver_sql(insertion)
            counts[f"product_ratings.{fault}"] = counts.get(f"product_ratings.{fault}", 0) + 1
    return counts


def spoil_log(engine: Engine) -> dict[str, int]:
    """The same for the interactions."""
    rows = [("user_id", "-3", "'B000000001'", "'view'", "'2024-01-01'")]
    rows += [("product_id", "3", "''", "'view'", "'2024-01-01'")]
    if not is_mysql(engine):
        rows += [("interaction_type", "3", "'B000000001'", "'wished'", "'2024-01-01'")]
        rows += [("interaction_type", "3", "'B000000001'", "7", "'2024-01-01'")]
        rows += [("user_id", "3.5", "'B000000001'", "'view'", "'2024-01-01'")]
    counts: dict[str, int] = {}
    with writing(engine) as connection:
        for fault, *values in rows:
            names = "user_id, product_id, interaction_type, created_at"
            connection.exec_driver_sql(f"INSERT INTO user_interactions ({names}) VALUES ({', '.join(values)})")
            counts[f"user_interactions.{fault}"] = counts.get(f"user_interactions.{fault}", 0) + 1
    return counts


@pytest.fixture
def shop(engine: Engine) -> Engine:
    """24 users with four ratings each, some interactions, eight products."""
    fill(engine, GOOD, ASINS)
    log = [
        {"user_id": user, "product_id": ASINS[user % 8], "interaction_type": kind, "created_at": WHEN}
        for user in (1, 2, 30)
        for kind in ("view", "purchase")
    ]
    with writing(engine) as connection:
        connection.execute(insert(interactions), log)
    return engine


@pytest.mark.parametrize("way", WAYS)
def test_every_way_leaves_the_same_rows_out_and_keeps_the_others(shop: Engine, way: Way | None) -> None:
    expected = spoil(shop)
    columns = read_ratings(shop, times=True, way=way)
    names = columns.products.take(pa.array(columns.product_codes)).to_pylist()
    found = zip(columns.user_ids.tolist(), names, (columns.steps / 2).tolist(), strict=True)
    assert sorted(found) == sorted((u, p, stars) for u, given in GOOD.items() for p, stars in given.items())
    assert columns.left_out == expected
    assert read_ratings(shop, way=way).left_out == expected


@pytest.mark.parametrize("way", WAYS)
def test_a_table_without_faulty_rows_counts_none(shop: Engine, way: Way | None) -> None:
    assert read_ratings(shop, way=way).left_out == {}
    assert read_interactions(shop).left_out == {}


def test_interactions_are_left_out_by_the_same_rule(shop: Engine) -> None:
    expected = spoil_log(shop)
    log = read_interactions(shop)
    assert log.left_out == expected
    assert sorted(log.user_ids.tolist()) == [1, 1, 2, 2, 30, 30]


@pytest.mark.parametrize("backend", ["sqlite"])  # a server's DATETIME holds only times
@pytest.mark.parametrize("way", WAYS)
def test_a_rating_whose_time_cannot_be_read_counts(shop: Engine, way: Way | None) -> None:
    with writing(shop) as connection:
        connection.exec_driver_sql("UPDATE product_ratings SET created_at = 'yesterday' WHERE user_id = 3")
    columns = read_ratings(shop, times=True, way=way)
    assert (len(columns.user_ids), columns.left_out) == (N_GOOD, {})
    assert columns.rated_at is not None
    assert set(columns.rated_at[columns.user_ids == 3].tolist()) == {NO_TIME}


def test_a_null_in_a_table_without_constraints_is_left_out(shop: Engine) -> None:
    with writing(shop) as connection:
        connection.execute(text("DROP TABLE product_ratings"))
        columns = "user_id BIGINT, product_id CHAR(10), rating DECIMAL(2, 1), created_at TEXT, updated_at TEXT"
        connection.execute(text(f"CREATE TABLE product_ratings ({columns})"))
        for row in ("(1, 'B000000001', 4.5", "(3, 'B000000002', NULL", "(NULL, 'B000000002', 4", "(4, NULL, 4"):
            connection.execute(text(f"INSERT INTO product_ratings VALUES {row}, NULL, NULL)"))
    ways: list[Way | None] = [None, "streamed"]
    for way in ways:
        found = read_ratings(shop, way=way)
        assert (found.user_ids.tolist(), found.steps.tolist()) == ([1], [9])
        assert found.left_out == {f"product_ratings.{name}": 1 for name in ("user_id", "product_id", "rating")}


def test_the_catalog_leaves_out_unusable_ids_and_counts_unusable_facts_as_unknown(shop: Engine) -> None:
    odd = [
        product_row("", title="no id"),
        product_row("B00000TEXT"),
        product_row("B0000UTF-8"),
        product_row("B00000ZERO", price=0.0, stars=0.0),
        product_row("B000NEGATE", price=-3.5),
    ]
    with writing(shop) as connection:
        connection.execute(insert(products), odd)
        if not is_mysql(shop):
            connection.execute(insert(products), [product_row("café\n"), product_row("é" * 65)])
            connection.exec_driver_sql(
                "UPDATE amazon_products SET price = 'dear', stars = 9e999, category_id = 'odd', title = x'ff' "
                "WHERE asin = 'B00000TEXT'"
            )
            connection.exec_driver_sql(
                "UPDATE amazon_products SET title = CAST(x'c3a94142ff' AS TEXT), category_id = 1 << 40 "
                "WHERE asin = 'B0000UTF-8'"
            )
    catalog = read_catalog(shop)
    assert catalog.left_out == {"amazon_products.asin": 1 if is_mysql(shop) else 3}
    listed = [row["asin"].encode() for row in odd[1:]]
    assert catalog.product_ids.tolist() == sorted([*listed, *(asin.encode() for asin in ASINS)])
    wanted = [*listed, ASINS[0].encode()]
    with shop.connect() as connection:
        facts = read_facts(connection, wanted)
    places = [catalog.row_of(name.decode()) for name in wanted]
    assert [catalog.product(place) for place in places if place is not None] == [facts[name] for name in wanted]
    title = "Product B00000ZERO"
    assert facts[b"B00000ZERO"] == Product(title, None, None, 1)
    known = facts[b"B000NEGATE"], facts[ASINS[0].encode()]
    assert [product and product.price for product in known] == [None, 9.99]
    if not is_mysql(shop):
        assert facts[b"B00000TEXT"] == Product(None, None, None, None)
        assert facts[b"B0000UTF-8"] == Product("éAB\ufffd", 9.99, 4.5, None)


def test_a_live_model_leaves_out_the_same_rows_as_a_new_model(shop: Engine) -> None:
    base = build(shop)
    spoil(shop), spoil_log(shop)
    with writing(shop) as connection:
        connection.execute(insert(users), [{"user_id": -7, "created_at": WHEN}])
    with shop.connect() as connection:
        records = read_records(connection, range(-8, 12), optional_tables(shop), HALF_STARS)
        model = LiveModel.of(base)
        live = model.after(records, read_facts(connection, model.unknown_products(records)))
    anew = build(shop)
    assert live.n_ratings == anew.n_ratings == N_GOOD
    assert live.known_users.tolist() == anew.known_users.tolist() == [*range(1, 25), 30]  # 30 has only interactions
    assert anew.left_out["users.user_id"] == 1


def test_more_than_100_rows_and_1_percent_are_refused_in_one_line(shop: Engine) -> None:
    faulty = [
        {"user_id": 100 + n, "product_id": ASINS[0], "rating": 4.3, "created_at": WHEN, "updated_at": WHEN}
        for n in range(100)
    ]
    with writing(shop) as connection:
        connection.execute(insert(ratings), faulty)
    assert read_ratings(shop).left_out == {"product_ratings.rating": 100}
    with writing(shop) as connection:
        connection.execute(insert(ratings), [faulty[0] | {"user_id": 999}])
    with pytest.raises(RatingError) as error:
        read_ratings(shop)
    message = str(error.value)
    assert "\n" not in message
    assert f"101 of the {N_GOOD + 101} rows of product_ratings cannot be used (rating 101)" in message
    assert re.search(r"such as user_id \d+, product_id 'B000000000', rating .*4\.3", message)
    statement = message[message.index("SELECT *") : message.index(" finds")]
    with shop.connect() as connection:
        assert len(connection.exec_driver_sql(statement.replace("%", "%%")).all()) == 101


def test_a_table_without_one_usable_row_is_refused(shop: Engine) -> None:
    with writing(shop) as connection:
        connection.exec_driver_sql("UPDATE product_ratings SET rating = 4.3")
    with pytest.raises(RatingError, match=f"{N_GOOD} of the {N_GOOD} rows of product_ratings cannot be used"):
        read_ratings(shop)


def test_all_steps_work_with_faulty_rows_and_report_their_number(
    shop: Engine,
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = spoil(shop) | spoil_log(shop)
    monkeypatch.chdir(tmp_path)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert recommendation_engine.main(["--check-data"]) == 0
    words = as_words({name: counts[name] for name in sorted(counts, key=order)})
    assert f"left out, not usable: {words}" in capsys.readouterr().out
    for ranking in ("classic", "taste"):
        assert recommendation_engine.main(["--ranking", ranking]) == 0, capsys.readouterr().err
    noted = (read_versions(shop)[-1].metrics or {})["rows_left_out"]
    assert noted == counts
    with TestClient(api.create_app()) as client:
        health = client.get("/health").json()
        assert (health["ratings"], health["rows_left_out"]) == (N_GOOD, counts)
        metrics = client.get("/metrics").text
        for name, count in counts.items():
            table, column = name.split(".")
            assert f'recommender_rows_left_out{{column="{column}",table="{table}"}} {float(count)}' in metrics
        assert client.get("/recommendations/5").status_code == 200


def order(name: str) -> tuple[int, int]:
    """The rank of a fault in reports: by table, then in the order of the columns in the rule."""
    table, column = name.split(".")
    columns = ["user_id", "product_id", "rating", "interaction_type"]
    return ["product_ratings", "user_interactions"].index(table), columns.index(column)


def test_step_2_makes_shoppers_for_a_catalog_with_an_unusable_row(
    engine: Engine, make_settings: Callable[..., Settings]
) -> None:
    fill(engine, {}, ASINS)
    with writing(engine) as connection:
        connection.execute(insert(products), [product_row("")])
        if not is_mysql(engine):
            connection.exec_driver_sql("UPDATE amazon_products SET stars = 'many' WHERE asin = 'B000000001'")
    settings = make_settings(NUM_USERS=20, NUM_RATINGS=60, NUM_INTERACTIONS=40)
    assert load_recommendation_data.generate(engine, settings, seed=1, replace=True)
    assert read_ratings(engine).left_out == {}
