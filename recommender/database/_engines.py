"""Engines for MySQL, MariaDB and SQLite, and the settings of each of their connections.

A server's session is in strict mode and UTC, so nothing is truncated or shifted silently. Every connection has
time-outs and a limit for waiting for locks of others. No connection hands over a file of this machine (see
``server_connection``).
"""

from __future__ import annotations

import sqlite3
import ssl
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pymysql import err
from pymysql.constants import CLIENT
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from recommender.database.lock_wait import NOTICE, FileWatch, LockWatch
from recommender.database.schema import metadata
from recommender.database.server_connection import Server
from recommender.errors import SettingError
from recommender.settings import Settings
from recommender.shop import HALF_STARS, Scale

CONNECT_TIMEOUT = 5  # seconds; the login has as many again
STATEMENT_TIMEOUT = 600  # seconds; a bulk load of some millions of rows is one statement
_ASK_AGAIN = 0.003  # seconds; a batch gives up SQLite's write lock for 0.01 between its transactions
# SQLite may hold texts that are not UTF-8: they must not stop the reading of a table
_TEXT = partial(str, encoding="utf-8", errors="replace")
_SESSION = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'"
_ROW_LOCK_WAIT = 2  # seconds; then a statement that meets a locked row is undone, and its caller tries again


def server_engine(
    settings: Settings,
    database: str | None,
    statement_timeout: float | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
) -> Engine:
    """Return an engine for a server; ``database`` None: without a database. Time-outs as in ``connection.connect``."""
    url = URL.create(
        "mysql+pymysql",
        username=settings.db_user,
        password=settings.db_password or None,
        host=settings.db_host,
        port=settings.db_port,
        database=database,
    )
    lock_wait = settings.lock_wait_seconds
    if statement_timeout is None:
        statement_timeout = STATEMENT_TIMEOUT + lock_wait
    else:  # the server must give up before the driver, or the connection is lost
        lock_wait = max(1, min(lock_wait, int(statement_timeout * 2 / 3)))
    waits = f"lock_wait_timeout = {lock_wait}, innodb_lock_wait_timeout = {min(lock_wait, _ROW_LOCK_WAIT)}"
    arguments: dict[str, Any] = {
        "host": settings.db_host,
        "port": settings.db_port,
        "user": settings.db_user,
        "password": settings.db_password.encode(),  # of a text the driver accepts Latin-1 only
        "database": database,
        "charset": "utf8mb4",
        "client_flag": CLIENT.FOUND_ROWS,  # an unchanged row of an UPDATE counts too, as SQLAlchemy expects
        "connect_timeout": connect_timeout,
        "read_timeout": connect_timeout,
        "write_timeout": statement_timeout,
        "init_command": f"{_SESSION}, {waits}",
        # without a CA newer versions of the driver would encrypt if possible, and trust any certificate
        "ssl_disabled": not settings.db_ssl_ca,
    }
    if settings.db_ssl_ca:
        _check_ca(settings.db_ssl_ca)
        arguments["ssl"] = {"ca": settings.db_ssl_ca, "check_hostname": True, "verify_mode": True}
    server = Server(arguments, statement_timeout)
    options = {
        "server": server,
        "watch": LockWatch(server.connect, metadata.tables, lock_wait),
        "rating_scale": wanted_scale(settings),
        "ssl_ca": settings.db_ssl_ca,  # bulk_read's own connection needs the same TLS
    }
    return _pooled(url, options)


def _pooled(url: URL, options: dict[str, Any], *, offers_rows: bool = False) -> Engine:
    server, watch = options["server"], options["watch"]
    # pool_pre_ping: after a restart of the server there is a reconnect, not an error
    pool: dict[str, Any] = {"poolclass": NullPool} if offers_rows else {"pool_pre_ping": True}
    engine = create_engine(
        url,
        creator=lambda: server.connect(offers_rows=offers_rows),
        hide_parameters=True,
        execution_options=options,
        pool_reset_on_return=None,
        **pool,
    )
    event.listen(engine, "reset", _roll_back)
    if watch.seconds > NOTICE:
        event.listen(engine, "connect", lambda connection, _record: watch.follow(connection))
    return engine


def _roll_back(connection: Any, _record: object, state: Any) -> None:
    """Roll back what a connection left open when it goes back to the pool; the server does it for a lost connection."""
    if not state.transaction_was_reset:
        with suppress(err.MySQLError):  # the pool would write a stack trace
            connection.rollback()


def loading_engine(engine: Engine) -> Engine:
    """Return ``engine`` for connections that allow LOAD DATA LOCAL and are closed when they are given back.

    An engine that ``connect`` did not make is returned unchanged.
    """
    options = engine.get_execution_options()
    return _pooled(engine.url, dict(options), offers_rows=True) if "server" in options else engine


def _check_ca(file: str) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError):  # the driver would pass these errors on as they are
        raise SettingError(f"DB_SSL_CA={file} is not a readable PEM file of certificates: name the CA's file") from None


def wanted_scale(settings: Settings) -> Scale | None:
    """Return the scale of RATING_*; None if none of them is set. SettingError for a scale that is none."""
    given = settings.rating_min, settings.rating_max, settings.rating_step
    if not any(given):
        return None
    return Scale.of(*(value or usual for value, usual in zip(given, HALF_STARS.to_json().values(), strict=True)))


def sqlite_engine(file: Path, lock_wait: float, scale: Scale | None = None) -> Engine:
    """Return an engine for a SQLite file; a writer waits for another for ``lock_wait`` seconds.

    ``scale``: that of RATING_*.
    """
    watch = FileWatch(file, lock_wait)
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        connect_args={"timeout": min(watch.seconds, NOTICE)},
        hide_parameters=True,
        execution_options={"watch": watch, "rating_scale": scale},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.text_factory = _TEXT
        connection.isolation_level = None  # with the driver's own BEGIN, DDL is outside of the transaction
        cursor = connection.cursor()
        # a file may come from elsewhere: its views and triggers may call only harmless functions
        cursor.execute("PRAGMA trusted_schema = OFF")
        cursor.execute("PRAGMA cell_size_check = ON")
        # readers can read while a step writes
        watch.patiently(lambda: cursor.execute("PRAGMA journal_mode = WAL"))
        # with NORMAL a commit reaches the disk at the next checkpoint: a power cut could undo acknowledged writes
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes", False):
            watch.patiently(lambda: _begin_writing(connection))
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: Connection) -> None:
    """Take the write lock of a SQLite file, within the time-out of the connection.

    SQLite's own waiting asks ten times a second, and misses the moments between the short transactions of a batch.
    """
    raw: Any = connection.connection.dbapi_connection
    patience = raw.execute("PRAGMA busy_timeout").fetchone()[0]
    deadline = time.monotonic() + patience / 1000
    raw.execute("PRAGMA busy_timeout = 0").close()
    try:
        while time.monotonic() < deadline:
            with suppress(sqlite3.OperationalError):  # locked, or an error that the BEGIN below reports
                raw.execute("BEGIN IMMEDIATE").close()
                return
            time.sleep(_ASK_AGAIN)
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience}").close()
