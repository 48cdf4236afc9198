"""Connections to MySQL, MariaDB, Amazon RDS or SQLite, and the few statements on which they differ.

A server's session is put into strict mode and UTC, so that nothing is truncated or shifted in silence. Every
connection has time-outs, and a limit for waiting for locks of others. No connection hands over a file of this machine
(see ``server_connection``). Driver errors become one-line ``DatabaseError``s that name host, port and user, never the
password.
"""

from __future__ import annotations

import re
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from pymysql import err
from pymysql.constants import CLIENT, CR, ER
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, exc, text

from recommender.database.lock_wait import NOTICE, FileWatch, LockWatch, given_up, is_lock_error, patiently
from recommender.database.schema import metadata
from recommender.database.server_connection import UNTRUSTED, Server
from recommender.errors import (
    DatabaseError,
    RecommenderError,
    SettingError,
    StepOrderError,
    WriteConflictError,
)
from recommender.settings import Settings

CONNECT_TIMEOUT = 5  # seconds; as long again for the login
STATEMENT_TIMEOUT = 600  # seconds; a bulk load of some millions of rows is one statement
# another transaction's doing; 1020: what this one has read is out of date (MariaDB 11.6 and newer ask for it)
_CONFLICTS = (ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, ER.CHECKREAD, ER.TABLE_DEF_CHANGED)
_ASK_AGAIN = 0.003  # seconds; a batch leaves SQLite's write lock for 0.01 between its transactions
_PAUSE = 0.01  # seconds until a transaction is tried again
# SQLite keeps texts that are not UTF-8: one of them must not end the reading of a table
_TEXT = partial(str, encoding="utf-8", errors="replace")
_SESSION = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'"
_ROW_LOCK_WAIT = 2  # seconds; a statement that meets a locked row is undone then, and tried again by who sent it
_T = TypeVar("_T")
DRIVER_ERRORS = (exc.SQLAlchemyError, err.MySQLError, sqlite3.Error)


def connect(
    settings: Settings,
    *,
    create: bool = False,
    statement_timeout: float | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
) -> Engine:
    """Return an engine whose connection was tried once.

    ``create`` makes a missing database (or SQLite file). Time-outs in seconds. A statement waits for a lock of others
    for LOCK_WAIT_SECONDS, and ``statement_timeout`` is STATEMENT_TIMEOUT after that; one that is given holds for both.
    Raises DatabaseError (wrong password, unknown host, refused port, ...), StepOrderError if the database is missing
    and ``create`` is not set.
    """
    if not settings.db_host:
        return _connect_sqlite(settings, create, statement_timeout)
    engine = _mysql_engine(settings, settings.db_name, statement_timeout, connect_timeout)
    try:
        _ping(engine)
    except (exc.DBAPIError, UnicodeError) as error:
        engine.dispose()
        if error_code(error) != ER.BAD_DB_ERROR:
            raise _translated(error, engine) from None
        if not create:
            raise StepOrderError(f"there is no {label(engine)}: run python to_rds.py first") from None
        _create_database(settings)
        with database_errors(engine):
            _ping(engine)
    return engine


@contextmanager
def connected(settings: Settings, *, create: bool = False) -> Iterator[Engine]:
    """``connect`` for a block: when it ends, however it ends, every connection is closed as the server wants it (else
    it counts an aborted client, and a program that goes on keeps the connection for who knows how long)."""
    engine = connect(settings, create=create)
    try:
        yield engine
    finally:
        engine.dispose()


def _mysql_engine(
    settings: Settings,
    database: str | None,
    statement_timeout: float | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
) -> Engine:
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
    else:  # the server must give up before the driver does, or the connection is lost
        lock_wait = max(1, min(lock_wait, int(statement_timeout * 2 / 3)))
    waits = f"lock_wait_timeout = {lock_wait}, innodb_lock_wait_timeout = {min(lock_wait, _ROW_LOCK_WAIT)}"
    arguments: dict[str, Any] = {
        "host": settings.db_host,
        "port": settings.db_port,
        "user": settings.db_user,
        "password": settings.db_password.encode(),  # as text the driver takes Latin-1 only
        "database": database,
        "charset": "utf8mb4",
        "client_flag": CLIENT.FOUND_ROWS,  # a row that is set to what it was counts as found, which SQLAlchemy goes by
        "connect_timeout": connect_timeout,
        "read_timeout": connect_timeout,
        "write_timeout": statement_timeout,
        "init_command": f"{_SESSION}, {waits}",
        # without a CA the driver's newer versions would encrypt where they can, and trust anybody's certificate
        "ssl_disabled": not settings.db_ssl_ca,
    }
    if settings.db_ssl_ca:
        _check_ca(settings.db_ssl_ca)
        arguments["ssl"] = {"ca": settings.db_ssl_ca, "check_hostname": True, "verify_mode": True}
    server = Server(arguments, statement_timeout)
    options = {
        "server": server,
        "watch": LockWatch(server.connect, metadata.tables, lock_wait),
        "ssl_ca": settings.db_ssl_ca,  # bulk_read's own connection has to ask for the same TLS
    }
    return _server_engine(url, options)


def _server_engine(url: URL, options: dict[str, Any], *, offers_rows: bool = False) -> Engine:
    server, watch = options["server"], options["watch"]
    # pool_pre_ping: a server that was restarted meanwhile costs a reconnect, not an error
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
    """Undo what a connection left undone when it goes back to the pool; of one that is lost, the server does it."""
    if not state.transaction_was_reset:
        with suppress(err.MySQLError):  # the pool itself would write a stack trace
            connection.rollback()


def loading_engine(engine: Engine) -> Engine:
    """``engine``, but for connections that take part in LOAD DATA LOCAL and are closed when they are given back.

    An engine that ``connect`` did not make is returned as it is.
    """
    options = engine.get_execution_options()
    return _server_engine(engine.url, dict(options), offers_rows=True) if "server" in options else engine


def lock_watch(engine: Engine) -> LockWatch | FileWatch | None:
    """Who tells what a statement of ``engine`` waits for; None for an engine that ``connect`` did not make."""
    watch: LockWatch | FileWatch | None = engine.get_execution_options().get("watch")
    return watch


def _check_ca(file: str) -> None:
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError):  # the driver would let them through as they are
        raise SettingError(f"DB_SSL_CA={file} is not a readable PEM file of certificates: name the CA's file") from None


def _connect_sqlite(settings: Settings, create: bool, timeout: float | None) -> Engine:
    file = settings.sqlite_file
    url = URL.create("sqlite", database=str(file))
    if not create and not file.is_file():
        raise StepOrderError(f"there is no {_place(url)}: run python to_rds.py first")
    if file.exists() and not file.is_file():
        raise SettingError(f"SQLITE_FILE={file} is no regular file: name another")
    if not file.parent.is_dir():
        raise SettingError(f"SQLITE_FILE={file}: the folder {file.parent} does not exist; make it or name another")
    watch = FileWatch(file, settings.lock_wait_seconds if timeout is None else timeout)
    engine = create_engine(
        url,
        connect_args={"timeout": min(watch.seconds, NOTICE)},
        hide_parameters=True,
        execution_options={"watch": watch},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.text_factory = _TEXT
        connection.isolation_level = None  # the driver's own BEGIN leaves DDL outside of the transaction
        cursor = connection.cursor()
        # a file may come from elsewhere: what its views and triggers call is limited to what can do no harm
        cursor.execute("PRAGMA trusted_schema = OFF")
        cursor.execute("PRAGMA cell_size_check = ON")
        # readers go on while a step writes
        watch.patiently(lambda: cursor.execute("PRAGMA journal_mode = WAL"))
        # NORMAL would leave a commit to the next checkpoint: a power cut then takes back what was acknowledged
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes", False):
            watch.patiently(lambda: _begin_writing(connection))
        else:
            connection.exec_driver_sql("BEGIN")

    with database_errors(engine):
        _ping(engine)
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
            with suppress(sqlite3.OperationalError):  # locked, or something that is told below
                raw.execute("BEGIN IMMEDIATE").close()
                return
            time.sleep(_ASK_AGAIN)
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience}").close()


def _ping(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _create_database(settings: Settings) -> None:
    server = _mysql_engine(settings, None)
    name = server.dialect.identifier_preparer.quote_identifier(settings.db_name)
    with database_errors(server), server.begin() as connection:
        statement = f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        connection.exec_driver_sql(statement)
    server.dispose()


def is_mysql(engine: Engine) -> bool:
    """True for MySQL and MariaDB, False for SQLite."""
    return engine.dialect.name in ("mysql", "mariadb")


def label(engine: Engine) -> str:
    """Where ``engine`` leads, without the password."""
    return _place(engine.url)


def _place(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"SQLite file {url.database}"
    return f"MySQL database {url.database} at {url.host}:{url.port} as {url.username}"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes: commits at the end, rolls back on any error. On SQLite it takes the write lock at
    once, so that two writers wait for one another instead of failing midway."""
    with database_errors(engine), engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def retried(transaction: Callable[[], _T], deadline: float) -> _T:
    """What ``transaction`` returns; run again while it is undone for another's sake, until ``time.monotonic()`` is at
    ``deadline``. It must begin and commit by itself, as a block of ``writing`` does. WriteConflictError."""
    while True:
        try:
            return transaction()
        except WriteConflictError:
            if time.monotonic() + _PAUSE >= deadline:
                raise
        time.sleep(_PAUSE)


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Turn a driver's error inside the block into a DatabaseError of one line."""
    try:
        yield
    except RecommenderError:
        raise
    except (*DRIVER_ERRORS, UnicodeError) as error:
        raise _translated(error, engine) from None


def waiting_for_locks(
    engine: Engine,
    tables: Sequence[str],
    attempt: Callable[[], _T],
    *,
    why: str = "it was refused, and is tried again",
    holder: Callable[[], int | None] = lambda: None,
    seconds: float | None = None,
) -> _T:
    """What ``attempt`` returns; tried again while a lock of others on one of ``tables`` stops it, which is told.

    ``why`` goes with it, and the session ``holder()``, if it is known. WriteConflictError after LOCK_WAIT_SECONDS, or
    ``seconds``. On SQLite, whose writers wait before they begin, it is tried once.
    """
    watch = lock_watch(engine)
    if not isinstance(watch, LockWatch):
        return attempt()

    limit = watch.seconds if seconds is None else seconds

    def refused(error: Exception) -> bool:
        # by writing() it was translated already
        return isinstance(error, WriteConflictError) or (is_lock_error(error_code(error)))

    try:
        value = patiently(attempt, refused, lambda: watch.refused(tables, why, holder()), limit)
    except (exc.DBAPIError, WriteConflictError) as error:
        if not refused(error):
            raise
        raise given_up(label(engine), watch.noted or f"on {' and '.join(tables)} ({why})", limit) from None
    watch.forget()
    return value


def error_code(error: BaseException) -> int | None:
    """The server's (or the driver's) number of an error; None if it has none, as on SQLite."""
    arguments = getattr(getattr(error, "orig", error), "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def _translated(error: Exception, engine: Engine) -> RecommenderError:
    where, code = label(engine), error_code(error)
    cause = getattr(error, "orig", None) or error
    reason = str(cause.args[-1] if cause.args else cause).split("\n")[0][:300]
    reason = "".join(letter if letter.isprintable() else "?" for letter in reason)  # whoever sent it: no terminal codes
    if password := engine.url.password:
        reason = reason.replace(str(password), "***")
    if UNTRUSTED in reason:
        return DatabaseError(f"{where}: {reason}")
    if "insecure transport" in reason:
        return DatabaseError(f"{where}: the server takes TLS connections only; set DB_SSL_CA to the file of its CA")
    if isinstance(error, UnicodeError):  # the name does not even reach the resolver
        return DatabaseError(f"{where}: DB_HOST is no host name ({reason})")
    if code in (ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, 1698):
        # MariaDB denies so, too, when it takes TLS connections only
        tls = "" if engine.get_execution_options().get("ssl_ca") else ", and set DB_SSL_CA if the server asks for TLS"
        remedy = f"check DB_USER, DB_PASSWORD and the user's rights on DB_NAME{tls}"
        return DatabaseError(f"{where}: access denied; {remedy}")
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return DatabaseError(f"{where}: the server's certificate was refused ({reason}); check DB_SSL_CA and DB_HOST")
    if code in (CR.CR_CONN_HOST_ERROR, CR.CR_CONNECTION_ERROR, CR.CR_UNKNOWN_HOST):
        return DatabaseError(f"{where}: no connection ({reason}); check DB_HOST, DB_PORT, and that the server runs")
    watch = lock_watch(engine)
    if watch and watch.noted and code == ER.LOCK_WAIT_TIMEOUT:
        return given_up(where, watch.noted, watch.seconds)
    if code in _CONFLICTS:
        return WriteConflictError(f"{where}: another transaction was in the way ({reason}); run the step again")
    if code in (CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR, 0):  # 0: it was lost before
        return DatabaseError(f"{where}: the connection broke off ({reason}); run the step again, it starts clean")
    if re.search(r"file is not a database|malformed", reason):
        return DatabaseError(f"{where}: {reason}; move the file away and run python to_rds.py")
    if watch and watch.noted and "database is locked" in reason:
        return given_up(where, watch.noted, watch.seconds)
    if re.search(r"disk is full|database is locked|readonly|unable to open", reason):
        return DatabaseError(f"{where}: {reason}; free the disk, end the other writer or mend the rights, run again")
    return DatabaseError(f"{where}: {reason}")
