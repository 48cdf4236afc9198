"""Limits on what clients can make one worker hold: the number of connections, their time, the bytes of each.

uvicorn closes only connections that stay idle after an answer (``--timeout-keep-alive``). It waits without limit for a
client that sends the head of a request byte by byte, or does not read the answer, and the application cannot see that.
So at its start the service finds the server that runs it and sets its class of connections (uvicorn takes any class,
``Config(http=...)``). Connections of this class

- hold at most ``LARGEST_HEAD`` of a head and ``LARGEST_REQUEST`` of a request with its body, including the framing of
  chunks (431, or closed if part of an answer is out);
- hold at most ``MOST_PIPELINED`` requests that came before the answer to an earlier one;
- are closed if the head of a request does not come within the time limit, or an answer is not read within
  ``TO_TAKE_IT`` times that limit (bodies have the same limit in `recommender.service.middleware.layer`, answered with
  408);
- are closed, those first that have waited longest for their client, if there are more connections than the setting
  allows, or more than ``MOST_UNTAKEN`` bytes of answers that clients do not read.

A server that is not uvicorn, or has another parser than uvicorn's two old ones, is left as it is, without these limits.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from typing import Any

from uvicorn import Server

LARGEST_HEAD = 32 * 1024
LARGEST_REQUEST = 256 * 1024  # a body of `limits.LARGEST_BODY` in small chunks is several times as large
MOST_PIPELINED = 32
MOST_UNTAKEN = 128 * 1024 * 1024  # bytes of answers
TO_TAKE_IT = 3
_PARSERS = {"HttpToolsProtocol", "H11Protocol"}
SPARE_FILES = 100  # open files reserved for the database, the model, the log
EVERY = 0.5  # seconds

_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_log = logging.getLogger("uvicorn.error")
Connection = Any  # a connection of uvicorn, which has several classes


class ConnectionLimits:
    """The limits of one worker: ``most`` connections, ``seconds`` for a request to come."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = min(most, _files_allowed() - SPARE_FILES), seconds
        self._servers: list[Server] = []
        self._waiting: list[Connection] = []  # connections that wait for their clients, the longest last
        self._looked, self._found = 0.0, True  # the time of the last look, and whether it found connections to close

    def apply(self, app: object) -> int:
        """Give the servers that are about to serve ``app`` the bounded connections; return the number of servers."""
        found = [one for one in gc.get_objects() if issubclass(type(one), Server) and _serves(one, app)]
        found = [one for one in found if _PARSERS & {kind.__name__ for kind in one.config.http_protocol_class.__mro__}]
        for server in found:
            server.config.http_protocol_class = bounded(server.config.http_protocol_class, self)
        self._servers += found
        return len(found)

    async def run(self) -> None:
        """Look at the connections again and again; a look that fails is logged once, and the next one follows."""
        logged = ""
        while self._servers:
            await asyncio.sleep(EVERY)
            try:
                self.look(asyncio.get_running_loop().time())
            except Exception as error:
                if repr(error) != logged:
                    logged = repr(error)
                    _log.exception("the limits of connections go on after an unforeseen error")

    def look(self, now: float) -> None:
        """Close connections that have waited too long for their client, and note the longest waiting ones."""
        self._looked = now
        connections: list[Connection] = [
            one for server in self._servers for one in server.server_state.connections if hasattr(one, "waits_for")
        ]
        waiting: list[tuple[float, int]] = []
        untaken = 0
        for place, one in enumerate(connections):
            what = _waits_for(one)
            if what != one.waits_for:
                one.waits_for, one.since = what, now
            if what is None:
                continue
            kind, _ = what
            limit = {"request": self._seconds, "taken": TO_TAKE_IT * self._seconds}.get(kind)
            if limit is not None and now - one.since > limit:
                one.transport.abort()
                continue
            untaken += one.transport.get_write_buffer_size()
            waiting.append((one.since, place))
        self._waiting = [connections[place] for _, place in sorted(waiting, reverse=True)]
        self._found = len(self._waiting) > 1
        self._make_room(untaken)

    def _make_room(self, untaken: int) -> None:
        for one in reversed(self._waiting):
            if untaken <= MOST_UNTAKEN:
                return
            if size := one.transport.get_write_buffer_size():
                untaken -= size
                one.transport.abort()

    def admit(self, newcomer: Connection) -> None:
        """Close the connection that has waited longest if there are too many; the new one if all are being answered."""
        if len(newcomer.connections) <= self._most:
            return
        now = newcomer.loop.time()
        if not self._waiting and (self._found or now - self._looked > EVERY / 10):
            self.look(now)  # no other look for as many new connections
        while self._waiting:
            one = self._waiting.pop()
            if one is not newcomer and not one.transport.is_closing() and _waits_for(one) is not None:
                one.transport.abort()
                return
        newcomer.transport.abort()


def bounded(protocol: type[Any], limits: ConnectionLimits) -> type[Any]:
    """Return a class of uvicorn's connections, for either parser, within the limits."""

    receive, begin = protocol.data_received, getattr(protocol, "on_message_begin", None)  # super() takes twice as long

    class Bounded(protocol):  # type: ignore[misc]
        waits_for: tuple[str, object] | None
        since: float

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.waits_for, self.since = _waits_for(self), self.loop.time()
            self._request, self._received = self.scope, 0
            limits.admit(self)

        def data_received(self, data: bytes) -> None:
            receive(self, data)
            scope = self.scope
            if scope is not self._request:
                self._request, self._received = scope, 0  # another request has begun
            self._received += len(data)
            if self._received > LARGEST_HEAD:
                _refuse_too_long(self)

        if begin is not None:  # the other parser stops reading at the second request

            def on_message_begin(self) -> None:
                if len(self.pipeline) >= MOST_PIPELINED:
                    self.transport.abort()
                    raise ValueError("too many requests that wait for the answer to the one before")
                begin(self)

        def send_400_response(self, msg: str) -> None:
            if not self.transport.is_closing():
                super().send_400_response(msg)

    return Bounded


def _refuse_too_long(one: Connection) -> None:
    """Refuse a request that is too long; the limit of a head is lower than that of a body."""
    if one.transport.is_closing():
        return
    answered = one.cycle is None or one.cycle.response_complete
    if answered and (one.cycle is None or one.scope is not one.cycle.scope):
        one.transport.write(_TOO_LONG)
        one.transport.close()
    elif one._received > LARGEST_REQUEST:
        one.transport.abort()


def _waits_for(one: Connection) -> tuple[str, object] | None:
    """Return what a connection waits for from its client, and since which request; None if the service has to act."""
    cycle = one.cycle
    if one.transport.is_closing() or one.transport.get_write_buffer_size():
        return "taken", cycle
    if cycle is None or cycle.response_complete:
        # after an answer uvicorn itself bounds the time until the next request begins
        return "request" if one.timeout_keep_alive_task is None else "another request", cycle
    return ("body", cycle) if cycle.more_body else None


def _serves(server: Server, app: object) -> bool:
    """Tell whether the server runs this application, perhaps inside a wrapper of uvicorn's."""
    inner = getattr(server.config, "loaded_app", None)
    while inner is not None and inner is not app:
        inner = getattr(inner, "app", None)
    return inner is app


def _files_allowed() -> int:
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft, 2 * SPARE_FILES)
