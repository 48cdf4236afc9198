"""Every statement is checked for MySQL 8, which users have but which cannot be started here.

The private MariaDB notes all statements in its general log while all steps run. Each statement must parse with MySQL's
grammar. It must use no reserved word of MySQL 8.4 as a bare name, and nothing that only MariaDB knows.
"""

from __future__ import annotations

import re

import pytest
import sqlglot
from sqlalchemy import Engine, select
from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

import load_recommendation_data
import recommendation_engine
from recommender.database import connect, read_catalog, read_interactions, read_ratings, writing
from recommender.database.cursor_reader import read_cursor
from recommender.database.schema import products, ratings, recommendations
from recommender.database.usable_rows import count_left_out, refuse_faulty_table
from recommender.errors import RatingError
from recommender.live import LiveModel
from recommender.publishing import published_number
from recommender.publishing.erasures import drop_erased
from recommender.service import session
from recommender.service.pages import cards
from recommender.service.routes import figures, search
from recommender.settings import load_settings
from recommender.shop import HALF_STARS, Scale
from recommender.synthetic import write_sample_catalog
from recommender.updates import (
    TrainedModel,
    delete_rating,
    erase_user,
    optional_tables,
    prepare,
    read_facts,
    read_records,
    store_interaction,
    store_rating,
)
from recommender.updates.change_feed import ChangeFeed
from recommender.updates.reconciliation import Reconciliation
from tests.support import steps
from tests.support.mariadb_server import MariaDBServer

# reserved in MySQL 8.4, not in MariaDB or MySQL 5.7
# (MySQL 8.4 Reference Manual, 11.3 Keywords and Reserved Words)
_WORDS = """
    cube cume_dist dense_rank empty except first_value function grouping groups intersect json_table lag last_value
    lateral lead manual nth_value ntile of over parallel percent_rank qualify rank recursive row row_number rows
    system tablesample window
"""
RESERVED = set(_WORDS.split())
MARIADB_ONLY = re.compile(
    r"\bCREATE OR REPLACE\b|\bRETURNING\b|\bSEQUENCE\b|\bDELETE HISTORY\b|\bIF EXISTS\b.*\bINDEX\b", re.I
)


@pytest.fixture(scope="module")
def statements(mariadb: MariaDBServer, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """All statements that the server got while all steps and functions ran."""
    tmp_path = tmp_path_factory.mktemp("steps")
    name = "sql_for_mysql"
    env = mariadb.environment(name)
    write_sample_catalog(tmp_path / "p.csv", tmp_path / "c.csv", n_products=500)
    catalog = ["--products", str(tmp_path / "p.csv"), "--categories", str(tmp_path / "c.csv")]
    sizes = ["--num-users", "60", "--num-ratings", "300", "--num-interactions", "200"]
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL log_output = 'TABLE'")
        cursor.execute("TRUNCATE mysql.general_log")
        cursor.execute("SET GLOBAL general_log = ON")
        for local_infile in ("ON", "OFF"):
            cursor.execute(f"SET GLOBAL local_infile = {local_infile}")
            steps.do(env, tmp_path, "to_rds.py", *catalog)
            steps.do(env, tmp_path, "to_rds.py", *catalog, "--append")
            steps.do(env, tmp_path, "load_recommendation_data.py", *sizes, "--seed", str(len(local_infile)))
            steps.do(env, tmp_path, "recommendation_engine.py", "--users", "all")
        steps.do(env, tmp_path, "recommendation_engine.py", "--rollback", "1")
        engine = connect(load_settings(environ=env, env_file=tmp_path / "no.env"))
        recs = recommendation_engine.get_recommendations(1, *recommendation_engine.load_model(engine))
        read_ratings(engine, way="packed")
        read_ratings(engine, way="streamed")
        with writing(engine) as connection:  # rows that are counted, shown and left out
            connection.exec_driver_sql("UPDATE product_ratings SET rating = 4.3 WHERE user_id = 2")
            connection.exec_driver_sql("UPDATE user_interactions SET user_id = -1 WHERE user_id = 2")
            connection.exec_driver_sql(
                "INSERT INTO amazon_products SELECT 0, '', title, imgUrl, productURL, stars, "
                "reviews, price, listPrice, category_id, isBestSeller, boughtInLastMonth "
                "FROM amazon_products LIMIT 1"
            )
        assert read_ratings(engine).left_out.keys() == {"product_ratings.rating"}
        assert read_ratings(engine, way="packed").left_out.keys() == {"product_ratings.rating"}
        assert read_interactions(engine).left_out.keys() == {"user_interactions.user_id"}
        assert read_catalog(engine).left_out == {"amazon_products.asin": 1}
        with pytest.raises(RatingError, match="user_id 2"):
            refuse_faulty_table(engine, ratings, {"product_ratings.rating": 200}, 1, HALF_STARS)
        tenths = Scale.of("0.1", 10, "0.1")  # another scale, and one that a float64 does not hold exactly
        for way in ("packed", "streamed"):
            assert not read_ratings(engine, scale=tenths, way=way).left_out
        assert count_left_out(engine, ratings, Scale.of("0.1", "4.2", "0.1"))
        with writing(engine) as connection:
            connection.exec_driver_sql("DELETE FROM amazon_products WHERE asin = ''")
        recommendation_engine.save_recommendations(1, recs, engine)
        recommendation_engine.enrich_with_product_details(recs, engine)
        load_recommendation_data.report(engine, 0.0)
        write_and_follow(engine)
        model = LiveModel.of(
            TrainedModel(load_settings(environ=env, env_file=tmp_path / "no.env"), lambda: None).load()
        )
        with writing(engine) as connection:
            store_rating(connection, 2, model.products.id_of(0), 1)
            assert 2 in Reconciliation(model.matrix).look(connection, model).users
        engine.dispose()
        cursor.execute("SET GLOBAL general_log = OFF")
        cursor.execute("SET GLOBAL local_infile = ON")
        cursor.execute("SELECT DISTINCT argument FROM mysql.general_log WHERE command_type IN ('Query', 'Execute')")
        found = [str(row[0], "utf-8") if isinstance(row[0], bytes) else str(row[0]) for row in cursor.fetchall()]
        cursor.execute(f"DROP DATABASE {name}")
    return found


def write_and_follow(engine: Engine) -> None:
    """Write and read changes as the service does, so that its statements are sent."""
    cursor = read_cursor(engine)
    prepare(engine)
    with engine.connect() as connection:
        product = connection.execute(select(products.c.asin)).scalars().first()
        assert product
    with writing(engine) as connection:
        store_rating(connection, 1, product, 9)
        store_interaction(connection, 999, product, "view")
        read_facts(connection, [product.encode(), b"B000000000"])
    cards._categories(engine)
    assert cards._images(engine, [product]).keys() == {product}
    figures._lists(engine, product)
    session._note(engine, session.Session(2_000_000_000, "0" * 32, ""), 1.0)
    assert session._noted(engine, 2.0) == {"0" * 32: 2_000_000_000}
    search._places(engine)
    search._from(engine, {"country": "Germany", "age_group": "25-34"}, 20)
    there = optional_tables(engine)
    with writing(engine) as connection:
        published_number(connection)
        assert ChangeFeed(cursor, there).look(connection).users >= {1, 999}
        assert len(read_records(connection, [1, 999], there, HALF_STARS)) == 2
        delete_rating(connection, 1, product)
        erase_user(connection, engine, 999)
    with writing(engine) as connection:
        drop_erased(connection, recommendations)


def bare_names(statement: str) -> set[str]:
    """Words of a statement that are neither quoted nor known to the grammar as something else, except functions."""
    tokens = sqlglot.tokenize(statement, read="mysql")
    calls = {i for i, token in enumerate(tokens[:-1]) if tokens[i + 1].token_type == TokenType.L_PAREN}
    quoted = (TokenType.IDENTIFIER, TokenType.STRING, TokenType.NUMBER)
    return {t.text.lower() for i, t in enumerate(tokens) if t.token_type not in quoted and i not in calls}


def faults(statement: str) -> list[str]:
    """The faults of a statement for MySQL 8.4."""
    text = (
        re.sub(r"\) VALUES \(.*", ") VALUES (1)", statement, flags=re.S | re.I) if len(statement) > 5_000 else statement
    )
    found = [f"reserved word {word} as a name" for word in bare_names(text) & RESERVED]
    if match := MARIADB_ONLY.search(text):
        found.append(f"only MariaDB knows {match.group()}")
    if text.upper().startswith("LOAD DATA LOCAL INFILE"):
        return found  # not in the parser's grammar; its clauses are those of MySQL 5.7's manual
    try:
        parsed = sqlglot.parse_one(text, read="mysql")
    except sqlglot.ParseError as error:
        return [*found, str(error).splitlines()[0]]
    if isinstance(parsed, exp.Command) and not re.match(
        r"(?i)(SHOW|RENAME TABLE|ALTER TABLE|SET|KILL|LOCK|UNLOCK)\b", text
    ):
        found.append("the parser does not know this statement")
    return found


def test_mysql_accepts_every_statement(statements: list[str]) -> None:
    for kind in ("CREATE TABLE", "LOAD DATA", "INSERT", "RENAME TABLE", "SELECT", "DELETE"):
        assert any(kind in statement.upper() for statement in statements), f"no {kind} was seen"
    assert any("LOCK IN SHARE MODE" in statement for statement in statements)
    assert {statement[:300]: faults(statement) for statement in statements if faults(statement)} == {}


def test_every_created_table_states_its_character_set(statements: list[str]) -> None:
    created = [statement for statement in statements if statement.strip().upper().startswith("CREATE TABLE")]
    assert len(created) >= 8
    for statement in created:
        assert re.search(r"CHARSET=utf8mb4", statement, re.I), statement
        assert re.search(r"COLLATE[ =]utf8mb4_unicode_ci", statement, re.I), statement


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE r (rank INT)",
        "CREATE OR REPLACE TABLE r (a INT)",
        "INSERT INTO r (a) VALUES (1) RETURNING a",
        "SELECT a FROM r AS window",
        "SELEC a FROM r",
    ],
)
def test_the_check_itself_finds_faults(statement: str) -> None:
    assert faults(statement)


def test_no_password_reaches_a_log(statements: list[str]) -> None:
    assert not [statement for statement in statements if MariaDBServer.password in statement]
