"""Names that break addresses and statements put together by hand, and tables of somebody else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy import Engine, exc, text

from recommender.database import connect, existing_tables, refuse_foreign_tables, staged, writing
from recommender.database.schema import categories, metadata
from recommender.errors import DatabaseError, ForeignDataError
from recommender.settings import load_settings
from tests.support.mariadb_server import MariaDBServer


def server_env(server: MariaDBServer, **changed: str) -> dict[str, str]:
    return server.environment("shop") | changed


@pytest.mark.parametrize("name", ["100%", "100%s", "a-b", "sel`ect", "naïve ☕", "a.b", "'; DROP"])
def test_a_database_of_any_name_is_created_under_that_name(mariadb: MariaDBServer, name: str, tmp_path: Path) -> None:
    engine = connect(load_settings(environ=server_env(mariadb, DB_NAME=name), env_file=tmp_path / "no"), create=True)
    metadata.create_all(engine)
    assert categories.name in existing_tables(engine)
    engine.dispose()
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = %s", (name,))
        assert cursor.fetchone() == (1,)
        cursor.execute(f"DROP DATABASE `{name.replace('`', '``')}`")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"DB_HOST": "a..b"}, "DB_HOST is no host name"),
        ({"DB_HOST": "x" * 70}, "DB_HOST is no host name|no connection"),
        ({"DB_PASSWORD": "пароль"}, "access denied"),
        ({"DB_NAME": "n" * 70}, "n" * 70),
    ],
    ids=["empty label", "long label", "password beyond Latin-1", "long name"],
)
def test_an_error_of_the_driver_is_one_line(
    mariadb: MariaDBServer, tmp_path: Path, changed: dict[str, str], message: str
) -> None:
    with pytest.raises(DatabaseError, match=message) as refused:
        connect(load_settings(environ=server_env(mariadb, **changed), env_file=tmp_path / "no"), create=True)
    assert "\n" not in str(refused.value)
    assert "пароль" not in str(refused.value)


def test_a_server_that_hangs_behind_an_open_port_is_told_from_a_broken_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        env = {"DB_HOST": "127.0.0.1", "DB_PORT": str(silent.getsockname()[1]), "DB_NAME": "shop", "DB_USER": "anna"}
        where = f"MySQL database shop at 127.0.0.1:{env['DB_PORT']} as anna"
        with pytest.raises(DatabaseError) as refused:
            connect(load_settings(environ=env, env_file=tmp_path / "no"), connect_timeout=0.2)
    remedy = "check DB_HOST, DB_PORT, and that the server is not stuck, then run again"
    assert str(refused.value) == f"{where}: the server does not answer; {remedy}"


@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "a%20b.db", "sp ace.db", "ünï.db"])
def test_a_sqlite_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    settings = load_settings(environ={"SQLITE_FILE": str(tmp_path / name)}, env_file=tmp_path / "no")
    engine = connect(settings, create=True)
    metadata.create_all(engine)
    engine.dispose()
    assert (tmp_path / name).is_file()
    connect(settings).dispose()


def test_a_commit_to_a_sqlite_file_is_on_the_disk_before_it_returns(tmp_path: Path) -> None:
    settings = load_settings(environ={"SQLITE_FILE": str(tmp_path / "shop.db")}, env_file=tmp_path / "no")
    engine = connect(settings, create=True)
    metadata.create_all(engine)
    with staged(engine, [categories]) as stage:  # its connection goes back to the pool
        stage.publish()
    with writing(engine) as connection:
        full, log = 2, "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == full
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == log
    engine.dispose()


def test_a_table_with_other_columns_is_refused_and_added_columns_may_stay(engine: Engine) -> None:
    metadata.create_all(engine)
    refuse_foreign_tables(engine, [categories])
    with writing(engine) as connection:
        connection.execute(text("ALTER TABLE amazon_categories ADD COLUMN parent INT"))
    with pytest.raises(ForeignDataError, match="amazon_categories has a column parent"):
        refuse_foreign_tables(engine, [categories])
    refuse_foreign_tables(engine, [categories], kept=True)
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE amazon_categories"))
        connection.execute(text("CREATE TABLE amazon_categories (id INT, parent INT)"))
    for kept in (False, True):
        with pytest.raises(ForeignDataError, match="amazon_categories has no column category_name"):
            refuse_foreign_tables(engine, [categories], kept=kept)


def test_a_view_of_a_foreign_sqlite_file_cannot_call_functions(tmp_path: Path) -> None:
    settings = load_settings(environ={"SQLITE_FILE": str(tmp_path / "shop.db")}, env_file=tmp_path / "no")
    engine = connect(settings, create=True)
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.create_function("harm", 0, lambda: "done")
        connection.execute(text("CREATE VIEW trap AS SELECT harm() AS x"))
        with pytest.raises(exc.OperationalError, match="unsafe use of harm"):
            connection.execute(text("SELECT x FROM trap"))
    engine.dispose()
