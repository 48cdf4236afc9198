"""A reader of a server's tables through connectorx, a Rust driver that fills Arrow columns; one way of ``bulk_read``.

connectorx makes its own connections, so it gets the engine's address, and verified TLS (``ssl-mode=verify_identity``)
if the engine has a CA. It waits 30 seconds for a refused login and has no time-out for an answer, so each engine gets a
short trial, and each statement a deadline from outside. Its messages may show the address, which holds the password, so
they are never passed on. Its sessions wait for locks as long as the server's setting allows, so a session with a
shorter limit first checks whether the table is locked.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

import pyarrow as pa
from sqlalchemy import Engine, Select, text
from sqlalchemy.dialects import mysql

from recommender.database._engines import CONNECT_TIMEOUT, STATEMENT_TIMEOUT
from recommender.database.connection import database_errors, is_mysql, label, lock_watch
from recommender.database.lock_wait import LockWatch, given_up
from recommender.errors import DatabaseError

_log = logging.getLogger(__name__)
_serves: WeakKeyDictionary[Engine, bool] = WeakKeyDictionary()
T = TypeVar("T")


def through_connectorx(engine: Engine, statement: Select[Any], schema: pa.Schema, *, required: bool) -> Any:
    """Return the result of ``statement``; None if connectorx cannot read it (``required``: DatabaseError)."""
    if engine not in _serves:
        _serves[engine] = _can_log_in(engine)
    if _serves[engine]:
        with database_errors(engine), engine.connect() as connection:
            connection.execute(statement.limit(0))
        sql = str(statement.compile(dialect=mysql.dialect(paramstyle="named")))
        watch = lock_watch(engine)
        assert isinstance(watch, LockWatch)
        watch.asking(sql)
        try:
            return _within(STATEMENT_TIMEOUT, lambda: _ask_connectorx(engine, sql)).cast(schema)
        except TimeoutError:
            if watch.noted:
                raise given_up(label(engine), watch.noted, STATEMENT_TIMEOUT) from None
            reason = f"no answer within {STATEMENT_TIMEOUT} seconds; see whether the server is alive, run again"
            raise DatabaseError(f"{label(engine)}: {reason}") from None
        except (RuntimeError, pa.ArrowInvalid) as error:
            # the other ways repeat the statement, and report the database's own reason if the fault is there
            _log.warning("%s: connectorx gave up (%s), reading with PyMySQL", label(engine), type(error).__name__)
        finally:
            watch.answered(sql)
    if required:
        raise DatabaseError(f"{label(engine)}: connectorx cannot read here; leave out `way`")
    return None


def _can_log_in(engine: Engine) -> bool:
    """Tell whether connectorx can log in; the Python driver, whose messages are clear, tries first."""
    if not is_mysql(engine) or "ssl_ca" not in engine.get_execution_options():
        return False  # connect() did not make this engine: unknown whether it needs TLS
    with database_errors(engine), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    try:
        _within(CONNECT_TIMEOUT, lambda: _ask_connectorx(engine, "SELECT 1 AS one"))
    except (ImportError, RuntimeError, TimeoutError) as error:
        reason = type(error).__name__
        _log.warning("%s: connectorx cannot log in (%s), reading with PyMySQL, slower", label(engine), reason)
        return False
    return True


def _ask_connectorx(engine: Engine, sql: str) -> pa.Table:
    # it prints refused logins to stderr unless this is set before the import
    os.environ.setdefault("RUST_LOG", "off")
    import connectorx

    return connectorx.read_sql(_address(engine), sql, return_type="arrow")


def _address(engine: Engine) -> str:
    """Return the URL for connectorx, every part percent-encoded. It holds the password: never print it."""
    url, ca = engine.url, engine.get_execution_options()["ssl_ca"]
    user, password, database = (quote(str(part or ""), safe="") for part in (url.username, url.password, url.database))
    host = f"[{url.host}]" if ":" in str(url.host) else url.host
    # over the local socket the account would be 'user'@'localhost' instead of 'user'@'127.0.0.1'
    options = f"prefer_socket=false&tcp_connect_timeout_ms={CONNECT_TIMEOUT * 1000}"
    if ca:
        options += f"&ssl-mode=verify_identity&ssl-ca={quote(ca, safe='')}"
    return f"mysql://{user}:{password}@{host}:{url.port or 3306}/{database}?{options}"


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Return the value of ``call()``, or raise TimeoutError: a native call cannot be interrupted, only left behind."""
    outcome: list[T | BaseException] = []

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # a panic in Rust is a BaseException
            outcome.append(error)

    thread = threading.Thread(target=work, name="connectorx", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError
    if isinstance(outcome[0], BaseException):
        raise outcome[0] if isinstance(outcome[0], Exception) else RuntimeError("panic") from None
    return outcome[0]
