"""An announcement that the user_ids are about to mean other people, so that no service answers for them meanwhile.

Step 2 takes a lock, waits for ``WAIT`` seconds, swaps the tables and lets go of the lock. A service asks for the lock
every ``INTERVAL`` seconds, and before it reads whom the user_ids mean. While the lock is held, the service answers
nobody by user_id. So before the swap each service has stopped to do so, and it goes on once it knows the new people.

It is a lock, not a row: it ends with the process that holds it, the question names no table that could be locked, and
it takes no right to any. A service on another server than step 2 (a replica) does not see it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, exc, func, select

from recommender.database.connection import is_mysql, label
from recommender.database.staging._sqlite_lock import FileLock
from recommender.errors import WriteConflictError

INTERVAL = 0.4  # seconds between two questions of a service
WAIT = 2 * INTERVAL  # seconds between the announcement and the swap
_WHAT = "people"  # the name of the lock
_TAKING = 2  # seconds; only questions, which are short, can be in the way
_SILENT = 10  # seconds after which a server ends the session of a step whose machine is gone


def lock_name(engine: Engine, what: str) -> str:
    """Return the name of a lock on a server for ``what`` of this database; at most 64 characters."""
    where = f"{engine.url.database}.{what}"
    return f"recommender {hashlib.blake2b(where.encode(), digest_size=16).hexdigest()}"


def is_announced(connection: Connection) -> bool:
    """Tell whether other people are about to have the user_ids; read whom they mean only after that."""
    engine = connection.engine
    if not is_mysql(engine):
        connection.exec_driver_sql("SELECT 1")  # whether the file answers
        return FileLock(str(engine.url.database), _WHAT).is_held()
    return connection.execute(select(func.is_used_lock(lock_name(engine, _WHAT)))).scalar() is not None


@contextmanager
def announced(connection: Connection) -> Iterator[None]:
    """Announce other people, and wait until every service knows; swap the tables in the block. WriteConflictError.

    ``connection`` keeps the lock on a server, and is not to be silent for long in the block.
    """
    with _held_on_server(connection) if is_mysql(connection.engine) else _held_beside_file(connection.engine):
        time.sleep(WAIT)
        yield


@contextmanager
def _held_on_server(connection: Connection) -> Iterator[None]:
    name = lock_name(connection.engine, _WHAT)
    if connection.execute(select(func.get_lock(name, _TAKING))).scalar() != 1:
        raise _refused(connection.engine)
    restored = connection.exec_driver_sql("SELECT @@SESSION.wait_timeout").scalar()
    connection.exec_driver_sql(f"SET SESSION wait_timeout = {_SILENT}")
    try:
        yield
    finally:
        with suppress(exc.SQLAlchemyError):  # a broken connection has no lock
            connection.execute(select(func.release_lock(name)))
            connection.exec_driver_sql(f"SET SESSION wait_timeout = {restored}")


@contextmanager
def _held_beside_file(engine: Engine) -> Iterator[None]:
    lock = FileLock(str(engine.url.database), _WHAT)
    if not lock.taken(_TAKING):
        raise _refused(engine)
    try:
        yield
    finally:
        lock.release()


def _refused(engine: Engine) -> WriteConflictError:
    return WriteConflictError(f"{label(engine)}: another session holds the lock of an announcement; run the step again")
