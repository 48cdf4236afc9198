"""One line of JSON per request on the standard output.

    {"time":"2026-01-31T12:00:00.123Z","request_id":"6f1c...-2a","method":"GET","route":"/recommendations/{user_id}",
     "status":200,"duration_ms":0.084}

It names the route, never the path: no user, no query string, nothing a caller wrote but a request id of
``[A-Za-z0-9._-]``. Lines are handed over together, at most ``DELAY`` seconds later (a killed process loses those), in
pieces that a pipe takes whole, so that several workers can share it.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Callable
from itertools import count

DELAY = 0.1  # seconds
WHOLE = 4_096  # bytes that a pipe takes at once (PIPE_BUF)
_METHODS = {name: name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")}


def to_standard_output(lines: str) -> None:
    """Write the lines; a reader that has gone away is no reason to stop serving."""
    try:
        sys.stdout.write(lines)
        sys.stdout.flush()
    except (OSError, ValueError):
        pass


class RequestLog:
    """Collects lines on the event loop's thread and hands them to ``write``."""

    def __init__(self, write: Callable[[str], object] = to_standard_output) -> None:
        self.enabled = True
        self._write = write
        self._lines: list[str] = []
        self._size = 0
        self._second, self._clock = -1, ""
        self._process, self._numbers = secrets.token_hex(8), count(1)

    def new_id(self) -> str:
        """An id that no other request has, of this process or another."""
        return f"{self._process}-{next(self._numbers):x}"

    def add(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Note one answered request."""
        if not self.enabled:
            return
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._clock = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line = (
            f'{{"time":"{self._clock}.{int((now - second) * 1000):03d}Z","request_id":"{request_id}",'
            f'"method":"{_METHODS.get(method, "other")}","route":"{route}","status":{status},'
            f'"duration_ms":{seconds * 1000:.3f}}}\n'
        )
        if self._size + len(line) > WHOLE:
            self.flush()
        if not self._lines:
            asyncio.get_running_loop().call_later(DELAY, self.flush)
        self._lines.append(line)
        self._size += len(line)

    def flush(self) -> None:
        """Hand over what has been collected."""
        if self._lines:
            text = "".join(self._lines)
            self._lines.clear()
            self._size = 0
            self._write(text)
