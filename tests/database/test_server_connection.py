"""A connection hands over no file, no unencrypted password and no second statement."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, exc, select, text

from recommender.database import connect, read_ratings, staged
from recommender.database._connectorx import through_connectorx
from recommender.database.bulk_read import _schema
from recommender.database.schema import categories, metadata, ratings
from recommender.database.staging import _mysql as _server_stage
from recommender.errors import DatabaseError
from recommender.settings import Settings, load_settings
from tests.database.staging.test_bulk_load import named
from tests.support.hostile_server import HostileServer
from tests.support.mariadb_server import MariaDBServer

SECRET = "the-secret-of-this-machine"
on_a_server = pytest.mark.parametrize("backend", ["mariadb"], indirect=True)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    file = tmp_path / "secrets.txt"
    file.write_text(SECRET * 10)
    return file


@pytest.fixture
def through(env: dict[str, str], engine: Engine, tmp_path: Path) -> Callable[[HostileServer], Settings]:
    """``through(hostile)``: the settings for the test's database through that server."""
    metadata.create_all(engine)

    def settings(hostile: HostileServer) -> Settings:
        return load_settings(environ=env | {"DB_PORT": str(hostile.port)}, env_file=tmp_path / "no.env")

    return settings


def use_engine(settings: Settings) -> None:
    engine = connect(settings)
    try:
        read_ratings(engine, way="streamed")
    finally:
        engine.dispose()


def use_services_engine(settings: Settings) -> None:
    connect(settings, statement_timeout=1.5, connect_timeout=1).dispose()


def load_rows(settings: Settings) -> None:
    engine = connect(settings)
    try:
        with staged(engine, [categories]) as stage:
            stage.load(categories, [named((1, "a row of ours"))])
            stage.publish()
    finally:
        engine.dispose()


@on_a_server
@pytest.mark.parametrize(
    ("use", "when"),
    [
        (use_engine, "SET SESSION"),
        (use_engine, "SELECT 1"),
        (use_engine, "FROM product_ratings"),
        (use_services_engine, "SELECT 1"),
        (load_rows, "GET_LOCK|get_lock"),
        (load_rows, "CREATE TABLE"),
        (load_rows, "LOAD DATA.*__new_[0-9a-f]+`?$"),
        (load_rows, "LOAD DATA.*id"),
        (load_rows, "SHOW COUNT"),
        (load_rows, "RENAME TABLE"),
    ],
)
def test_a_server_that_asks_for_a_file_gets_no_byte_of_it(
    mariadb: MariaDBServer,
    through: Callable[[HostileServer], Settings],
    secrets: Path,
    use: Callable[[Settings], None],
    when: str,
) -> None:
    with HostileServer(mariadb.host, mariadb.port, when=when, wanted=str(secrets)) as hostile:
        with pytest.raises(DatabaseError, match="asked for this machine's file .*secrets.txt") as refused:
            use(through(hostile))
        assert hostile.asked
    assert "\n" not in str(refused.value)
    assert SECRET.encode() not in hostile.got


@on_a_server
def test_the_offered_rows_are_sent_only_for_their_own_statement(
    mariadb: MariaDBServer, through: Callable[[HostileServer], Settings]
) -> None:
    wanted = _server_stage.ROWS_NAME
    refused = pytest.raises(DatabaseError, match="asked for this machine's file")
    with HostileServer(mariadb.host, mariadb.port, when="SHOW COUNT", wanted=wanted) as hostile, refused:
        load_rows(through(hostile))
    assert hostile.asked == 1
    assert b"a row of ours" not in hostile.got


@on_a_server
def test_connectorx_gives_no_file_to_such_a_server(
    mariadb: MariaDBServer, through: Callable[[HostileServer], Settings], secrets: Path
) -> None:
    columns: list[Any] = [ratings.c.user_id, ratings.c.product_id]
    with HostileServer(mariadb.host, mariadb.port, when="FROM product_ratings", wanted=str(secrets)) as hostile:
        engine = connect(through(hostile))
        with pytest.raises(DatabaseError):
            through_connectorx(engine, select(*columns), _schema(columns), required=True)
        engine.dispose()
        assert hostile.asked
    assert SECRET.encode() not in hostile.got


@on_a_server
@pytest.mark.parametrize("plugin", ["mysql_clear_password", "dialog", "mysql_old_password"])
def test_a_server_without_tls_that_asks_for_the_plain_password_does_not_get_it(
    mariadb: MariaDBServer, through: Callable[[HostileServer], Settings], plugin: str
) -> None:
    with HostileServer(mariadb.host, mariadb.port, plugin=plugin) as hostile:
        with pytest.raises(DatabaseError, match=f"password in the clear \\({plugin}\\).*DB_SSL_CA"):
            connect(through(hostile))
        assert hostile.asked
    assert hostile.got == b""


@on_a_server
def test_one_statement_cannot_carry_a_second(engine: Engine) -> None:
    metadata.create_all(engine)
    with engine.connect() as connection, pytest.raises(exc.ProgrammingError):
        connection.execute(text("SELECT 1; DELETE FROM product_ratings"))


def test_a_server_that_sends_nonsense_is_refused_in_one_line(tmp_path: Path, noise: tuple[int, bytes]) -> None:
    port, sent = noise
    environ = {"DB_HOST": "127.0.0.1", "DB_PORT": str(port), "DB_NAME": "x", "DB_SSL_CA": ""}
    with pytest.raises(DatabaseError) as refused:
        connect(load_settings(environ=environ, env_file=tmp_path / "no.env"))
    assert str(refused.value).isprintable(), sent


NOISE = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a greeting cut short": b"\x05\x00\x00\x00\x0a8.0.",
    "a greeting of no sense": b"\x20\x00\x00\x00\x0ano.version\x00" + bytes(20),
    "nothing in a packet": b"\x00\x00\x00\x00",
    "an error with codes for the terminal": b"\x20\x00\x00\x00\xff\x15\x04#28000\x1b[2J\x07 go away, you are late  "[
        :36
    ],
}


@pytest.fixture(params=list(NOISE.values()), ids=list(NOISE))
def noise(request: pytest.FixtureRequest) -> Iterator[tuple[int, bytes]]:
    """The port of a server that greets with nonsense and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.sendall(request.param)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1], request.param
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
