"""One connection to MySQL or MariaDB, with no more power than its user needs: PyMySQL's, and less.

A server may answer any statement with the request for a file of the client's machine (that is how LOAD DATA LOCAL
works), and may ask for the password as plain text when it is logged in to. Here it gets no file at all: only rows that
were handed over for that very statement are sent, under the name that they were handed over with. The plain password
goes over verified TLS only. A server that breaks off, or answers what is no answer, is an error of the driver's own
kind, whatever part of the driver stumbled over it.
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
# of rows; with 16 KB a load into MariaDB took 1.4 times as long, with 64 KB twice (on a busy machine)
BYTES_PER_PACKET = 4 * 1024
# plain text, or a hash that is soon undone
_PLAIN_PASSWORD = (b"mysql_clear_password", b"dialog", b"mysql_old_password")
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Server:
    """How to connect to a server: the driver's ``arguments``, which hold the password, and the time-out (seconds) of
    its answers after the login."""

    arguments: Mapping[str, Any] = field(repr=False)
    read_timeout: float

    def connect(self, *, offers_rows: bool = False) -> ServerConnection:
        """A new connection, logged in; see ServerConnection."""
        connection = ServerConnection(offers_rows=offers_rows, **self.arguments)
        # the driver has one time-out for both: a server that accepts and never greets would hold a login for minutes
        connection._read_timeout = self.read_timeout
        return connection


class ServerConnection(Connection):  # type: ignore[misc]  # the driver has no types
    """A connection of PyMySQL's; ``asked_at`` is when it was asked what has no answer yet (``time.monotonic()``).

    ``offers_rows``: it says at the login that it takes part in LOAD DATA LOCAL (see ``offering``).
    """

    def __init__(self, *, offers_rows: bool = False, **arguments: Any) -> None:
        self.asked_at: float | None = None
        self._offer: tuple[bytes, Iterable[bytes | memoryview]] | None = None
        super().__init__(local_infile=offers_rows, **arguments)

    @contextmanager
    def offering(self, name: str, pieces: Iterable[bytes | memoryview]) -> Iterator[None]:
        """Within the block one LOAD DATA LOCAL INFILE of that ``name`` is answered with ``pieces``."""
        self._offer = (name.encode(), pieces)
        try:
            yield
        finally:
            self._offer = None

    def send_offered(self, name: bytes) -> None:
        """Send what the server asks for as ``name``, if it is on offer; else close. OperationalError."""
        offer, self._offer = self._offer, None
        if offer is None or offer[0] != name:
            self._force_close()
            shown = name[:200].decode(errors="replace")
            reason = f"the server asked for this machine's file {shown!r} and got nothing; {UNTRUSTED}"
            raise err.OperationalError(CR.CR_SERVER_LOST, reason)  # the pool must not go on with it
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
        """What ``call`` returns. What it raises that is not an error of the driver's becomes one."""
        try:
            return call()
        except (err.MySQLError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, UnicodeError) and not isinstance(error, UnicodeDecodeError):
                raise  # a host's name or a text of ours that cannot be sent
            raise self.lost(error) from error

    def lost(self, error: Exception) -> err.OperationalError:
        """The driver's error for ``error``, which came of what the server sent or did not send; closes the socket."""
        self._force_close()
        self.asked_at = None
        return err.OperationalError(CR.CR_SERVER_LOST, f"no answer of a server's, {type(error).__name__}")


class _StreamCursor(SSCursor):  # type: ignore[misc]
    """The cursor of rows that are read as they come. Its end reads the rest, of which a lost connection has none: it is
    no error then, or the pool writes a stack trace, or Python does when the cursor is forgotten."""

    def close(self) -> None:
        with suppress(err.MySQLError):
            super().close()
        self.connection = None

    __del__ = close


class _Result(MySQLResult):  # type: ignore[misc]
    """A result that asks its connection before anything is sent, and whose end cannot fail in silence or aloud."""

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
        # there is nobody left to tell
        with suppress(Exception):
            super().__del__()
