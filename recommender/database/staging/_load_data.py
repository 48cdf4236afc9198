"""Rows as text for ``LOAD DATA LOCAL INFILE``, sent while they are made: the fast way into MySQL and MariaDB.

pyarrow makes the text a column at a time without blocking the interpreter, while a thread sends the previous rows and
the server works on its own core. There is no file: the driver sends what it is given (see ``server_connection``).

``LOAD DATA LOCAL`` turns every error in the data into a warning (the server cannot stop the sender), so the caller must
check the warnings: nothing may be cut short silently.

https://dev.mysql.com/doc/refman/8.4/en/load-data.html,
https://dev.mysql.com/doc/refman/8.4/en/load-data-local-security.html
"""

from __future__ import annotations

import queue
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# stated in full, so that no server setting can change it
FORMAT = r"FIELDS TERMINATED BY '\t' ENCLOSED BY '' ESCAPED BY '\\' LINES TERMINATED BY '\n' STARTING BY ''"
PIECES_AHEAD = 2
STUCK_SECONDS = 1.0
T = TypeVar("T")
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\0", "\\0"))


def as_text(column: pa.Array) -> pa.Array:
    """Return ``column`` as strings that both databases read back unchanged.

    True is 1, times are UTC to the microsecond, floats have the fewest digits that give the same float again.
    """
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz)).cast(pa.timestamp("us"))
    elif pa.types.is_floating(kind):
        column = column.cast(pa.float64())
    return column.cast(pa.string())


def as_lines(batch: pa.RecordBatch) -> bytes | memoryview:
    """Return the rows of ``batch`` in the FORMAT above, NULL as ``\\N``."""
    if not batch.num_rows:
        return b""
    fields = [_escaped(as_text(column)) if _is_text(column) else as_text(column) for column in batch.columns]
    rows = pc.binary_join_element_wise(*fields, "\t", null_handling="replace", null_replacement="\\N")
    lines = pc.binary_join_element_wise(rows, "", "\n")
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]]


def _is_text(column: pa.Array) -> bool:
    return not (pa.types.is_primitive(column.type) or pa.types.is_boolean(column.type))


def _escaped(column: pa.Array) -> pa.Array:
    data = column.buffers()[2]
    if data is None or column.null_count == len(column):
        return column
    held = np.frombuffer(data, np.uint8)
    for plain, escaped in _ESCAPES:
        # looking for the byte takes a tenth of the time of the replacement, and most blocks have none
        if (held == ord(plain)).any():
            column = pc.replace_substring(column, plain, escaped)
    return column


def give_up_if_hung_up(connection: Any) -> None:
    """Close the socket of a PyMySQL ``connection`` if the server has closed its end.

    If a server ends a connection in the middle of the data (KILL, a shutdown), the sender gets no error but waits for
    room in the server's buffer, for about 100 s on Linux.
    """
    hung_up = getattr(select, "POLLRDHUP", 0)
    connected = getattr(connection, "_sock", None)
    if connected is None or not hung_up:
        return
    poll = select.poll()
    # the other thread may close the socket at any moment; then it has no valid file number
    with suppress(OSError, ValueError):
        poll.register(connected, hung_up)
        if poll.poll(0):
            connected.shutdown(socket.SHUT_RDWR)


def send_while_made(
    pieces: Iterable[bytes | memoryview],
    run: Callable[[Iterator[bytes | memoryview]], T],
    when_stuck: Callable[[], None],
) -> T:
    """Call ``run(taken)`` in a thread and return its result; ``taken`` yields ``pieces`` one after the other.

    While it sends one, the next pieces are made. An error of ``run`` is raised here, however many pieces it has taken.
    So is an error from making the pieces, after ``run`` has ended (it gets no more pieces). ``when_stuck`` is called
    after every second without progress.
    """
    made: queue.Queue[bytes | memoryview | None] = queue.Queue(PIECES_AHEAD)
    ended = threading.Event()

    def taken() -> Iterator[bytes | memoryview]:
        while (piece := made.get()) is not None:
            yield piece

    def work() -> T:
        try:
            return run(taken())
        finally:
            ended.set()  # no more pieces are taken

    def put(piece: bytes | memoryview | None) -> None:
        while not ended.is_set():
            try:
                made.put(piece, timeout=STUCK_SECONDS)
            except queue.Full:
                when_stuck()
            else:
                return

    with ThreadPoolExecutor(1, thread_name_prefix="load-data") as thread:
        running = thread.submit(work)
        try:
            for piece in pieces:
                if ended.is_set():
                    break
                put(piece)
        finally:
            put(None)
            while not running.done():
                wait([running], timeout=STUCK_SECONDS)
                when_stuck()
        return running.result()
