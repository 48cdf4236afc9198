"""A database of the release whose product ids had ten characters works on, and takes any ids after the next step."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

import api
from recommender.database import connect, read_catalog, read_ratings, tables, widen_product_ids, writing
from recommender.settings import load_settings
from tests.support.mariadb_server import MariaDBServer
from tests.support.service import KEY, WITH_KEY
from tests.support.shop import fill
from tests.support.steps import do

IDS = [f"B00000000{letter}" for letter in "0123456789ABCDEF"]
STARS = {user: {IDS[(user + step) % 16]: float(1 + (user * step) % 5) for step in range(6)} for user in range(1, 31)}
COLUMNS = {"amazon_products": "asin", "user_interactions": "product_id", "product_ratings": "product_id"}
OLD, NEW = "char(10) ascii_bin", "varchar(64) utf8mb4_bin"


@pytest.fixture
def backend() -> str:
    """SQLite's columns have no lengths."""
    return "mariadb"


@pytest.fixture
def old(engine: Engine) -> Engine:
    """A shop of the release before, with a column, a view, an index and a comment of its own."""
    fill(engine, STARS, IDS)
    with writing(engine) as connection:
        for table, column in [*COLUMNS.items(), ("recommendations", "product_id")]:
            narrow = "CHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
            connection.exec_driver_sql(f"ALTER TABLE {table} MODIFY {column} {narrow} COMMENT 'it''s {table}'")
        connection.exec_driver_sql("ALTER TABLE amazon_products ADD COLUMN brand VARCHAR(20) AFTER asin")
        connection.exec_driver_sql("UPDATE amazon_products SET brand = CONCAT('of ', asin)")
        connection.exec_driver_sql("CREATE INDEX ours ON product_ratings (product_id, rating)")
        joined = "SELECT r.user_id, p.brand FROM product_ratings r JOIN amazon_products p ON p.asin = r.product_id"
        connection.exec_driver_sql(f"CREATE VIEW rated_brands AS {joined}")
    return engine


def kinds(engine: Engine) -> list[str]:
    """The types of the columns with product ids."""
    asked = "SELECT CONCAT(column_type, ' ', collation_name) FROM information_schema.columns WHERE table_schema = "
    asked += "DATABASE() AND table_name = :t AND column_name = :c AND column_comment IN ('', CONCAT('it''s ', :t))"
    with engine.connect() as connection:
        rows = ({"t": table, "c": column} for table, column in COLUMNS.items())
        return [str(connection.execute(text(asked), row).scalar_one()) for row in rows]


def own(engine: Engine) -> list[int]:
    """How much there is of what the shop made: brands, rows of its view, columns of its index, comments."""
    asked = [
        "SELECT COUNT(*) FROM amazon_products WHERE brand = CONCAT('of ', asin)",
        "SELECT COUNT(*) FROM rated_brands WHERE brand LIKE 'of B%'",
        "SELECT COUNT(*) FROM information_schema.statistics WHERE index_name = 'ours' AND table_schema = DATABASE()",
        "SELECT COUNT(*) FROM information_schema.columns WHERE column_comment LIKE 'it''s %' "
        "AND table_schema = DATABASE() AND table_name IN ('amazon_products', 'product_ratings', 'user_interactions')",
    ]
    with engine.connect() as connection:
        return [int(connection.execute(text(statement)).scalar_one()) for statement in asked]


OWN = [16, 180, 2, 3]


def test_step_3_widens_the_columns_in_place_and_everything_of_the_shop_stays(
    old: Engine, env: dict[str, str], tmp_path: Path
) -> None:
    assert (kinds(old), own(old)) == ([OLD] * 3, OWN)
    before = read_ratings(old)
    assert before.left_out == {}
    assert "180 ratings of 30 users on 16 products" in do(env, tmp_path, "recommendation_engine.py")
    assert (kinds(old), own(old)) == ([NEW] * 3, OWN)
    assert read_ratings(old).steps.tolist() == before.steps.tolist()
    widen_product_ids(old)
    assert (kinds(old), own(old)) == ([NEW] * 3, OWN)


def test_step_1_appends_products_with_any_ids(old: Engine, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("sku,name\nSku,Mug\nsku,Pan\n0042,Pot\n" + "🎁" * 64 + ",Gift\n")
    do(env, tmp_path, "to_rds.py", "--append", "--products", "more.csv", "--columns", "asin=sku,title=name")
    assert (kinds(old), own(old)) == ([NEW] * 3, OWN)
    known = [*IDS, "Sku", "sku", "0042", "🎁" * 64]
    assert [name.decode() for name in read_catalog(old).product_ids.tolist()] == sorted(known)


def test_without_the_right_to_alter_everything_goes_on_with_the_old_columns(
    old: Engine, env: dict[str, str], mariadb: MariaDBServer, caplog: pytest.LogCaptureFixture, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER 'clerk'@'127.0.0.1' IDENTIFIED BY 'clerks password'")
        rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, CREATE TEMPORARY TABLES"
        cursor.execute(f"GRANT {rights} ON `{env['DB_NAME']}`.* TO 'clerk'@'127.0.0.1'")
    clerks = env | {"DB_USER": "clerk", "DB_PASSWORD": "clerks password"}
    engine = connect(load_settings(environ=clerks, env_file=tmp_path / "no.env"))
    try:
        with caplog.at_level(logging.WARNING):
            widen_product_ids(engine)
        said = [record.getMessage() for record in caplog.records if record.name == "recommender.database.tables"]
        assert len(said) == 1
        assert said[0].startswith("amazon_products.asin still holds ids of up to 10 characters of ASCII only: ")
        assert kinds(old) == [OLD] * 3
        for name, value in (clerks | {"MODEL_FILE": "", "API_KEY": KEY}).items():
            monkeypatch.setenv(name, value)
        with TestClient(api.create_app(), headers=WITH_KEY) as client:
            rated = client.post("/ratings", json={"user_id": 1, "product_id": IDS[15], "rating": 5})
            assert rated.status_code == 201
            for unknown in ("é", "x" * 64):
                refused = client.post("/ratings", json={"user_id": 1, "product_id": unknown, "rating": 5})
                assert (refused.status_code, refused.json()["detail"][:8]) == (404, "product ")
                assert client.delete(f"/users/1/ratings/{unknown}").status_code == 404
            assert client.get("/recommendations/1").status_code == 200
            assert client.delete(f"/users/1/ratings/{IDS[15]}").status_code == 204
    finally:
        engine.dispose()
        with mariadb.connect() as connection, connection.cursor() as cursor:
            cursor.execute("DROP USER 'clerk'@'127.0.0.1'")


def test_a_table_that_others_hold_stays_as_it_is_until_the_next_step(
    old: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tables, "_WIDENING_LOCK_WAIT", 0)
    monkeypatch.setattr(tables, "_WIDENING_WAIT", 0.0)
    with old.connect() as reader:
        reader.execute(text("SELECT COUNT(*) FROM product_ratings")).scalar_one()
        widen_product_ids(old)
    assert kinds(old) == [NEW, NEW, OLD]
    assert "product_ratings.product_id still holds" in caplog.text
    widen_product_ids(old)
    assert kinds(old) == [NEW] * 3
