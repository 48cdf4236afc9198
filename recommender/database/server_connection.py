"""A connection to MySQL or MariaDB: PyMySQL's, with no more power than its user needs.

A server may answer any statement with a request for a file of the client's machine (that is how LOAD DATA LOCAL works),
and may ask for the password as plain text at the login. This connection never gives it a file: it sends only rows that
were handed over for that statement, under the name that was given with them. It sends the plain password over verified
TLS only. If a server breaks off, or sends an invalid answer, the error is one of the driver's own kind, whatever part
of the driver failed.

https://dev.mysql.com/doc/refman/8.4/en/load-data-local-security.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pymysql import err
from pymysql.connections import Connection, LoadLocalPacketWrapper, MySQLResult
from pymysql.constants import CR
from pymysql.cursors import SSCursor

UNTRUSTED = "do not trust that server"
# of rows; with 16 KB a load into MariaDB took 1.4 times as long, with 64 KB twice as long (on a busy machine)
BYTES_PER_PACKET = 4 * 1024
# plain text, or a hash that is easily broken
_PLAIN_PASSWORD = (b"mysql_clear_password", b"dialog", b"mysql_old_password")
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Server:
    """A way to connect to a server.

    ``arguments``: the driver's, which hold the password. ``read_timeout``: the time-out (seconds) of its answers after
    the login.
    """

    arguments: Mapping[str, Any] = field(repr=False)
    read_timeout: float

    def connect(self, *, offers_rows: bool = False) -> ServerConnection:
        """Return a new connection, logged in; see ServerConnection."""
        connection = ServerConnection(offers_rows=offers_rows, **self.arguments)
        # the driver has one time-out for both: a server that accepts and never answers would hold a login for minutes
        connection._read_timeout = self.read_timeout
        return connection


class ServerConnection(Connection):  # type: ignore[misc]  # the driver has no types
    """A connection of PyMySQL's; ``asked_at`` is when its unanswered statement was sent (``time.monotonic()``).

    ``offers_rows``: it declares at the login that it takes part in LOAD DATA LOCAL (see ``offering``).
    """

    def __init__(self, *, offers_rows: bool = False, **arguments: Any) -> None:
        self.asked_at: float | None = None
        self._offer: tuple[bytes, Iterable[bytes | memoryview]] | None = None
        super().__init__(local_infile=offers_rows, **arguments)

    @contextmanager
    def offering(self, name: str, pieces: Iterable[bytes | memoryview]) -> Iterator[None]:
        """Answer one LOAD DATA LOCAL INFILE of that ``name`` within the block with ``pieces``."""
        self._offer = (name.encode(), pieces)
        try:
            yield
        finally:
            self._offer = None

    def send_offered(self, name: bytes) -> None:
        """Send what the server requests as ``name`` if it is on offer; else close the connection. OperationalError."""
        offer, self._offer = self._offer, None
        if offer is None or offer[0] != name:
            self._force_close()
            shown = name[:200].decode(errors="replace")
            reason = f"the server asked for this machine's file {shown!r} and got nothing; {UNTRUSTED}"
            raise err.OperationalError(CR.CR_SERVER_LOST, reason)  # the pool must not use it again
        for piece in offer[1]:
            view = memoryview(piece)
            for start in range(0, len(view), BYTES_PER_PACKET):
                self.write_packet(view[start : start + BYTES_PER_PACKET])
        self.write_packet(b"")

    def connect(self, sock: Any = None) -> None:
        try:
            self._faithfully(lambda: super(ServerConnection, self).connect(sock))
        finally:
            self.asked_at = None

    def query(self, sql: str | bytes, unbuffered: bool = False) -> Any:
        return self._faithfully(lambda: super(ServerConnection, self).query(sql, unbuffered))

    def ping(self, reconnect: bool = False) -> None:
        self._faithfully(lambda: super(ServerConnection, self).ping(reconnect))

    def commit(self) -> None:
        self._faithfully(super().commit)

    def rollback(self) -> None:
        self._faithfully(super().rollback)

    def autocommit(self, value: bool) -> None:
        self._faithfully(lambda: super(ServerConnection, self).autocommit(value))

    def cursor(self, cursor: type[Any] | None = None) -> Any:
        return _StreamCursor(self) if cursor is SSCursor else super().cursor(cursor)

    def _execute_command(self, command: int, sql: str | bytes) -> None:
        self.asked_at = time.monotonic()
        super()._execute_command(command, sql)

    def _read_ok_packet(self) -> Any:
        try:
            return super()._read_ok_packet()
        finally:
            self.asked_at = None

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        self._result = None
        result = _Result(self)
        try:
            result.init_unbuffered_query() if unbuffered else result.read()
        finally:
            self.asked_at = None
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows

    def _process_auth(self, plugin_name: bytes, auth_packet: Any, handler: Any = None) -> Any:
        if plugin_name in _PLAIN_PASSWORD and not self._secure:
            kind = plugin_name.decode()
            reason = f"the server asks for the password in the clear ({kind}), over a connection without TLS"
            raise err.OperationalError(CR.CR_AUTH_PLUGIN_ERR, f"{reason}; set DB_SSL_CA, or {UNTRUSTED}")
        return super()._process_auth(plugin_name, auth_packet, handler)

    def _faithfully(self, call: Callable[[], _T]) -> _T:
        """Return the result of ``call``; turn an error that is not one of the driver's into one."""
        try:
            return call()
        except (err.MySQLError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, UnicodeError) and not isinstance(error, UnicodeDecodeError):
                raise  # a host name or a text of ours that cannot be sent
            raise self.lost(error) from error

    def lost(self, error: Exception) -> err.OperationalError:
        """Return the driver's error for ``error``, caused by an invalid or missing answer; close the socket."""
        self._force_close()
        self.asked_at = None
        return err.OperationalError(CR.CR_SERVER_LOST, f"no answer of a server's, {type(error).__name__}")


class _StreamCursor(SSCursor):  # type: ignore[misc]
    """A cursor of rows that are read as they come.

    Closing it reads the remaining rows. On a lost connection there are none, and this must not be an error: otherwise
    the pool, or Python when the cursor is freed, would write a stack trace.
    """

    def close(self) -> None:
        with suppress(err.MySQLError):
            super().close()
        self.connection = None

    __del__ = close


class _Result(MySQLResult):  # type: ignore[misc]
    """A result that asks its connection before anything is sent, and whose end neither hides nor prints an error."""

    def _read_load_local_packet(self, first_packet: Any) -> None:
        self.connection.send_offered(LoadLocalPacketWrapper(first_packet).filename)
        answer = self.connection._read_packet()
        if not answer.is_ok_packet():
            raise err.OperationalError(CR.CR_COMMANDS_OUT_OF_SYNC, "Commands Out of Sync")
        self._read_ok_packet(answer)

    def _read_rowdata_packet_unbuffered(self) -> Any:
        connection = self.connection
        try:
            return super()._read_rowdata_packet_unbuffered()
        except (err.MySQLError, MemoryError):
            raise
        except Exception as error:
            raise connection.lost(error) from error

    def _finish_unbuffered_query(self) -> None:
        connection = self.connection
        try:
            super()._finish_unbuffered_query()
        except (err.MySQLError, MemoryError):
            raise
        except Exception as error:
            raise connection.lost(error) from error
        finally:
            self.unbuffered_active = False

    def __del__(self) -> None:
        # nobody is left to receive an error
        with suppress(Exception):
            super().__del__()
