"""A log of one line of JSON per request on the standard output.

    {"time":"2026-01-31T12:00:00.123Z","request_id":"6f1c...-2a","method":"GET","route":"/recommendations/{user_id}",
     "status":200,"duration_ms":0.084}

A line names the route, never the path: no user, no query string, no text of the caller except a request id of
``[A-Za-z0-9._-]``. Lines are handed over together, at most ``DELAY`` seconds later (a killed process loses those), in
pieces that are written whole, so that several workers can share a pipe or a file. A thread writes them, so a reader
that stops reading stops no request: 4 MB of lines wait for it, later ones are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import secrets
import select
import stat
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from logging.handlers import QueueHandler, QueueListener
from typing import Any

DELAY = 0.1  # seconds
WHOLE = 4_096  # bytes that a pipe takes at once (PIPE_BUF)
TOGETHER = 65_536  # bytes handed over at once: waking the thread takes time from requests
WAITING = 4_000_000  # bytes that a slow reader may be behind: some 25,000 lines
PATIENCE = 1.0  # seconds that the end of the service waits for a slow reader
STANDARD_OUTPUT = 1  # its file descriptor
_METHODS = {name: name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")}


def to_standard_output(lines: str) -> None:
    """Write the lines past ``sys.stdout``, whose lock a write that never ends would hold. OSError."""
    left = lines.encode()
    while left:
        try:
            left = left[os.write(STANDARD_OUTPUT, left) :]
        except BlockingIOError:  # somebody has made it non-blocking
            select.select([], [STANDARD_OUTPUT], [])


def written_whole(descriptor: int = STANDARD_OUTPUT) -> int:
    """Return the bytes that one write puts there with nothing of another process between them.

    A file takes any number. Few writes are better: the thread gives up the interpreter for each of them, and to get it
    back it stops a request.
    """
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:  # it is closed
        is_file = False
    return TOGETHER if is_file else WHOLE


class _Writer(logging.NullHandler):  # it has no lock for `logging.shutdown` to wait for
    """The handler that writes what the queue's listener gives to it."""

    def __init__(self, write: Callable[[str], object], whole: int) -> None:
        super().__init__()
        self._write, self._whole = write, whole
        self.done = self.dropped = 0  # bytes that no longer wait, lines that could not be written

    def handle(self, record: logging.LogRecord) -> bool:
        for piece in in_pieces(record.getMessage(), self._whole):
            try:
                self._write(piece)
            except OSError:  # the reader has gone, or the disk is full: the service goes on
                self.dropped += piece.count("\n")
            self.done += len(piece)
        return True


def in_pieces(lines: str, whole: int) -> Iterator[str]:
    """Yield the lines of ASCII in pieces of whole lines, of at most ``whole`` bytes.

    >>> list(in_pieces("one line\\n" * 500, 4_096)) == ["one line\\n" * 455, "one line\\n" * 45]
    True
    """
    begin = 0
    while begin < len(lines):
        end = lines.rindex("\n", begin, begin + whole) + 1
        yield lines[begin:end]
        begin = end


class RequestLog:
    """The log: collects lines on the event loop's thread, and lets another thread ``write`` them."""

    def __init__(self, write: Callable[[str], object] = to_standard_output, *, whole: int | None = None) -> None:
        """``write`` gets pieces of at most ``whole`` bytes (default: `written_whole`)."""
        self.enabled = True
        waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._writer, self._queue = _Writer(write, whole or written_whole()), QueueHandler(waiting)
        self._listener = QueueListener(waiting, self._writer)
        self._given = self._dropped = 0  # bytes handed over, lines that found no room
        self._is_listening = False
        self._lines: list[str] = []
        self._size = 0
        self._second, self._clock = -1, ""
        self._process, self._numbers = secrets.token_hex(8), count(1)

    @property
    def dropped(self) -> int:
        """The number of lines that were dropped because the reader was too slow."""
        return self._dropped + self._writer.dropped

    def new_id(self) -> str:
        """Return an id that no other request has, in this process or another."""
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
        if self._size + len(line) > TOGETHER:
            self.flush()
        if not self._lines:
            asyncio.get_running_loop().call_later(DELAY, self.flush)
        self._lines.append(line)
        self._size += len(line)

    def flush(self) -> None:
        """Hand over the collected lines."""
        if not self._lines:
            return
        text, n_lines = "".join(self._lines), len(self._lines)
        self._lines.clear()
        self._size = 0
        if self._given + len(text) - self._writer.done > WAITING:
            self._dropped += n_lines
            return
        if not self._is_listening:
            self._listener.start()
            self._is_listening = True
        self._given += len(text)
        self._queue.handle(logging.LogRecord("requests", logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        """Hand over the collected lines, and return once they are written, or after ``PATIENCE`` seconds."""
        self.flush()
        if self._is_listening:
            self._is_listening = False
            stopping = threading.Thread(target=self._listener.stop, daemon=True)
            stopping.start()
            stopping.join(PATIENCE)
