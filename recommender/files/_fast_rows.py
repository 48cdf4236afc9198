"""The fast reader: finds the ends of rows, and reads rows without any doubt through pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as pa_csv

from recommender.files.csv_columns import CsvColumn, stripped
from recommender.files.dialects import Dialect

Offsets = npt.NDArray[np.int64]


def row_ends(data: bytes, start: int, reach: int, at_end: bool, quoted: bool) -> Offsets:
    """Return the offsets after the rows in ``start..reach``, if every quote in them is in its place.

    A line ends a row if the number of quotes so far is even. ``at_end``: the last row needs no line feed. Not
    ``quoted``: quotes are text.
    """
    held = np.frombuffer(data, np.uint8)[start:reach]
    lines = np.flatnonzero(held == ord("\n"))
    quotes = np.flatnonzero(held == ord('"')) if quoted else held[:0]
    if len(quotes):
        lines = lines[np.searchsorted(quotes, lines) % 2 == 0]
    ends = lines + (start + 1)
    if at_end and (not len(ends) or ends[-1] < reach):
        ends = np.append(ends, reach)
    return ends


def fast_batch(
    data: bytes,
    start: int,
    ends: Offsets,
    header: Sequence[str],
    columns: Sequence[CsvColumn],
    longest: int,
    dialect: Dialect,
) -> pa.RecordBatch | None:
    """Return the rows from ``start`` to ``ends`` (n,) as a batch of ``columns``; None if any needs a closer look.

    ``ends``: the expected ends of the rows. No row may be longer than ``longest`` bytes.
    """
    end = int(ends[-1])
    if not _plain_bytes(data, start, end, dialect):
        return None
    if np.diff(ends, prepend=start).max() > longest:
        return None
    several = data.count(b"\n", start, end) > len(ends)
    if several and _may_swallow_rows(data, start, ends, len(header) - 1, dialect.delimiter.encode()):
        return None
    piece = pa.py_buffer(data)[start:end]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(piece),
            pa_csv.ReadOptions(column_names=header, block_size=end - start + 1, use_threads=False),
            pa_csv.ParseOptions(
                delimiter=dialect.delimiter, quote_char='"' if dialect.quoted else False, newlines_in_values=True
            ),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        )
        if table.num_rows != len(ends):
            return None
        values = []
        for column in columns:
            array = column.fast(stripped(table[column.name].chunk(0)))
            if array is None:
                return None
            values.append(array)
    except pa.ArrowInvalid:
        return None
    return pa.record_batch(values, names=[column.name for column in columns])


def _may_swallow_rows(data: bytes, start: int, ends: Offsets, delimiters: int, delimiter: bytes) -> bool:
    """Tell whether the first line of a row of several lines has ``delimiters`` for a whole row: a quote may be open."""
    starts = np.concatenate([[start], ends[:-1]])
    lines = np.flatnonzero(np.frombuffer(data, np.uint8)[start : ends[-1]] == ord("\n")) + start + 1
    lines = np.append(lines, ends[-1])  # the last row may have no line feed
    first_ends = lines[np.searchsorted(lines, starts, side="right")]
    several = first_ends < ends
    pairs = zip(starts[several].tolist(), first_ends[several].tolist(), strict=True)
    return any(data.count(delimiter, begin, first_end) >= delimiters for begin, first_end in pairs)


def _plain_bytes(data: bytes, start: int, end: int, dialect: Dialect) -> bool:
    """Tell whether there is no NUL, no lone carriage return and no empty line, and every quote is in its place."""
    if data.find(b"\0", start, end) >= 0 or data[start] in b"\r\n" or data.find(b"\n\n", start, end) >= 0:
        return False
    if data.find(b"\r", start, end) >= 0:
        lone = data.count(b"\r", start, end) != data.count(b"\r\n", start, end)
        if lone or data.find(b"\n\r\n", start, end) >= 0:
            return False
    if not dialect.quoted:
        return True
    held = np.frombuffer(data, np.uint8)[start:end]
    quotes = np.flatnonzero(held == ord('"'))
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = held[opening[opening > 0] - 1]
    behind = held[closing[closing < len(held) - 1] + 1]
    may_open, may_close = _beside_quotes(dialect.delimiter.encode())
    return bool(may_open[before].all() and may_close[behind].all())


@cache
def _beside_quotes(delimiter: bytes) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return what may stand before an opening quote, and what behind a closing one, by byte.

    A doubled quote counts as one that closes and one that opens again.
    """
    return _among(delimiter + b'\n"'), _among(delimiter + b'\r\n"')


def _among(characters: bytes) -> npt.NDArray[np.bool_]:
    found = np.zeros(256, np.bool_)
    found[list(characters)] = True
    return found
