"""Connections to MySQL, MariaDB, Amazon RDS or SQLite, their transactions, and their errors in one line.

``_engines`` has the settings of every connection. Driver errors become one-line ``DatabaseError``s that name host, port
and user, never the password.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pymysql import err
from pymysql.constants import CR, ER
from sqlalchemy import Connection, Engine, exc, text

from recommender.database._engines import CONNECT_TIMEOUT, server_engine, sqlite_engine, wanted_scale
from recommender.database.lock_wait import FileWatch, LockWatch, given_up, is_lock_error, patiently
from recommender.database.server_connection import UNTRUSTED
from recommender.errors import (
    DatabaseError,
    RecommenderError,
    SettingError,
    StepOrderError,
    WriteConflictError,
)
from recommender.settings import Settings

# caused by another transaction; 1020: what this one has read is out of date (MariaDB 11.6 and newer)
_CONFLICTS = (ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, ER.CHECKREAD, ER.TABLE_DEF_CHANGED)
# 0: the connection was lost before; 1053, 1152, 1927: the server stops, or ended the connection
_LOST = (CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR, CR.CR_CONN_HOST_ERROR, CR.CR_CONNECTION_ERROR, 0, 1053, 1152, 1927)
_PAUSE = 0.01  # seconds until a transaction is tried again
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

    ``create`` makes a missing database (or SQLite file). Time-outs are in seconds. A statement waits for a lock of
    others for LOCK_WAIT_SECONDS, and then has STATEMENT_TIMEOUT; a given ``statement_timeout`` bounds both together.
    Raises DatabaseError (wrong password, unknown host, refused port, ...), StepOrderError if the database is missing
    and ``create`` is not set.
    """
    if not settings.db_host:
        return _connect_sqlite(settings, create, statement_timeout)
    engine = server_engine(settings, settings.db_name, statement_timeout, connect_timeout)
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
    """Yield the engine of ``connect``, and close every connection properly at the end, also after an error.

    Otherwise the server counts an aborted client, and a program that goes on keeps the connection open.
    """
    engine = connect(settings, create=create)
    try:
        yield engine
    finally:
        engine.dispose()


def lock_watch(engine: Engine) -> LockWatch | FileWatch | None:
    """Return the watch over the statements of ``engine``; None if ``connect`` did not make the engine."""
    watch: LockWatch | FileWatch | None = engine.get_execution_options().get("watch")
    return watch


def _connect_sqlite(settings: Settings, create: bool, timeout: float | None) -> Engine:
    file = settings.sqlite_file
    engine = sqlite_engine(file, settings.lock_wait_seconds if timeout is None else timeout, wanted_scale(settings))
    if file.exists() and not file.is_file():
        raise SettingError(f"SQLITE_FILE={file} is no regular file: name another")
    if not create and not file.is_file():
        raise StepOrderError(f"there is no {label(engine)}: run python to_rds.py first")
    if not file.parent.is_dir():
        raise SettingError(f"SQLITE_FILE={file}: the folder {file.parent} does not exist; make it or name another")
    with database_errors(engine):
        _ping(engine)
    return engine


def _ping(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def _create_database(settings: Settings) -> None:
    server = server_engine(settings, None)
    name = server.dialect.identifier_preparer.quote_identifier(settings.db_name)
    with database_errors(server), server.begin() as connection:
        statement = f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        connection.exec_driver_sql(statement)
    server.dispose()


def is_mysql(engine: Engine) -> bool:
    """Return True for MySQL and MariaDB, False for SQLite."""
    return engine.dialect.name in ("mysql", "mariadb")


def label(engine: Engine) -> str:
    """Return a description of the database of ``engine``, without the password."""
    url = engine.url
    if is_mysql(engine):
        return f"MySQL database {url.database} at {url.host}:{url.port} as {url.username}"
    return f"SQLite file {url.database}"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in one transaction that writes: commit at the end, roll back on any error.

    On SQLite it takes the write lock at once, so that two writers wait for one another instead of failing midway.
    """
    with database_errors(engine), engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def retried(transaction: Callable[[], _T], deadline: float) -> _T:
    """Run ``transaction`` and return its result; after a deadlock or lock time-out run it again.

    It is tried until ``deadline`` (``time.monotonic()``), then WriteConflictError. It must begin and commit by itself,
    as a block of ``writing`` does.
    """
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
    """Run ``attempt`` and return its result; try again while a lock of others on one of ``tables`` stops it.

    The log says so, with ``why`` and the session ``holder()`` if it is known. WriteConflictError after
    LOCK_WAIT_SECONDS, or ``seconds``. On SQLite, whose writers wait before they begin, it is tried once.
    """
    watch = lock_watch(engine)
    if not isinstance(watch, LockWatch):
        return attempt()

    limit = watch.seconds if seconds is None else seconds

    def refused(error: Exception) -> bool:
        # writing() has translated it already
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
    """Return the server's (or the driver's) number of an error; None if it has none, as on SQLite."""
    arguments = getattr(getattr(error, "orig", error), "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def is_lost(error: BaseException) -> bool:
    """Tell whether an error means that the server was not reached, or went away."""
    return bool(getattr(error, "connection_invalidated", False)) or error_code(error) in _LOST


def is_conflict(error: BaseException) -> bool:
    """Tell whether another transaction was in the way, so that this one may be run again."""
    return error_code(error) in _CONFLICTS


def _translated(error: Exception, engine: Engine) -> RecommenderError:
    where, code = label(engine), error_code(error)
    cause = getattr(error, "orig", None) or error
    reason = str(cause.args[-1] if cause.args else cause).split("\n")[0][:300]
    reason = "".join(letter if letter.isprintable() else "?" for letter in reason)  # no terminal codes from a server
    if password := engine.url.password:
        reason = reason.replace(str(password), "***")
    if UNTRUSTED in reason:
        return DatabaseError(f"{where}: {reason}")
    if "insecure transport" in reason:
        return DatabaseError(f"{where}: the server takes TLS connections only; set DB_SSL_CA to the file of its CA")
    if isinstance(error, UnicodeError):  # the name cannot be resolved at all
        return DatabaseError(f"{where}: DB_HOST is no host name ({reason})")
    if code in (ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, 1698):
        # MariaDB also answers so if it takes TLS connections only
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
    if code == CR.CR_SERVER_LOST and "timed out" in reason:
        remedy = "check DB_HOST, DB_PORT, and that the server is not stuck, then run again"
        return DatabaseError(f"{where}: the server does not answer; {remedy}")
    if code in (CR.CR_SERVER_LOST, CR.CR_SERVER_GONE_ERROR, 0):  # 0: the connection was lost before
        return DatabaseError(f"{where}: the connection broke off ({reason}); run the step again, it starts clean")
    if re.search(r"file is not a database|malformed", reason):
        return DatabaseError(f"{where}: {reason}; move the file away and run python to_rds.py")
    if watch and watch.noted and "database is locked" in reason:
        return given_up(where, watch.noted, watch.seconds)
    if re.search(r"disk is full|database is locked|readonly|unable to open", reason):
        return DatabaseError(f"{where}: {reason}; free the disk, end the other writer or mend the rights, run again")
    return DatabaseError(f"{where}: {reason}")
