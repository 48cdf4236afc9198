"""Rows as text, and a pipe that takes them into ``LOAD DATA LOCAL INFILE``: the fast way into MySQL and MariaDB.

The text is made a column at a time by pyarrow, which leaves the interpreter free, while a thread sends the previous
rows and the server works on its own core. The driver opens the pipe by its name in /dev/fd; no file is written.
``LOAD DATA LOCAL`` turns every error in the data into a warning (the server cannot stop the sender), so whoever calls
must look at the warnings: nothing may be cut short in silence.
https://dev.mysql.com/doc/refman/8.4/en/load-data.html, https://dev.mysql.com/doc/refman/8.4/en/load-data-local-security.html
"""

from __future__ import annotations

import os
import queue
import select
import socket
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# stated in full, so that no server setting can change it
FORMAT = r"FIELDS TERMINATED BY '\t' ENCLOSED BY '' ESCAPED BY '\\' LINES TERMINATED BY '\n' STARTING BY ''"
PIECES_AHEAD = 2
STUCK_SECONDS = 1.0
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\0", "\\0"))


def as_text(column: pa.Array) -> pa.Array:
    """``column`` as strings both databases read back unchanged: true is 1, times are UTC to the microsecond, floats
    have the fewest digits that give the same float again."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz)).cast(pa.timestamp("us"))
    elif pa.types.is_floating(kind):
        column = column.cast(pa.float64())
    return column.cast(pa.string())


def as_lines(batch: pa.RecordBatch) -> bytes | memoryview:
    """The rows of ``batch`` in the FORMAT above, NULL as ``\\N``."""
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
        # looking for the byte costs a tenth of the replacement, and most blocks hold none
        if (held == ord(plain)).any():
            column = pc.replace_substring(column, plain, escaped)
    return column


def give_up_if_hung_up(connection: Any) -> None:
    """Close the socket of a PyMySQL ``connection`` if the server has closed its end.

    A server that ends a connection in the middle of the data (KILL, a shutdown) leaves the sender waiting for room in
    the server's buffer, for about 100 s on Linux, instead of an error.
    """
    hung_up = getattr(select, "POLLRDHUP", 0)
    connected = getattr(connection, "_sock", None)
    if connected is None or not hung_up:
        return
    poll = select.poll()
    poll.register(connected, hung_up)
    if poll.poll(0):
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)


def send_through_pipe(
    pieces: Iterable[bytes | memoryview], run: Callable[[str], Any], when_stuck: Callable[[], None]
) -> Any:
    """Call ``run(path)`` in a thread, with a path from which it can read ``pieces`` one after the other; its result.

    While it reads, the next pieces are made. What ``run`` raises is raised here, whatever it had read by then; so is
    what making the pieces raises, after ``run`` has come to its end (it sees the end of the file). ``when_stuck`` is
    called after every second without progress.
    """
    read_end, write_end = os.pipe()
    made: queue.Queue[bytes | memoryview | None] = queue.Queue(PIECES_AHEAD)
    broken = threading.Event()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(write_end, "wb", buffering=0) as pipe:
            while (piece := made.get()) is not None:
                view = memoryview(piece)
                while view:
                    view = view[pipe.write(view) :]
            return
        broken.set()
        while made.get() is not None:  # so that nobody waits for room in the queue
            pass

    def read() -> Any:
        try:
            return run(f"/dev/fd/{read_end}")
        finally:
            os.close(read_end)  # whoever still writes gets BrokenPipeError instead of waiting forever

    def put(piece: bytes | memoryview | None) -> None:
        while True:
            try:
                return made.put(piece, timeout=STUCK_SECONDS)
            except queue.Full:
                when_stuck()

    with ThreadPoolExecutor(2, thread_name_prefix="load-data") as threads:
        writer, reader = threads.submit(write), threads.submit(read)
        try:
            for piece in pieces:
                if broken.is_set():
                    break
                put(piece)
        finally:
            put(None)
        while not (writer.done() and reader.done()):
            wait([writer, reader], timeout=STUCK_SECONDS)
            when_stuck()
        writer.result()
        return reader.result()
