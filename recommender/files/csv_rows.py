"""A reader of CSV rows into checked batches for the database; faulty rows go to ``rejected_rows.csv``.

The file is read in pieces that end where a row ends. A piece goes through pyarrow and the ``fast`` readers of its
columns (``_fast_rows``). If anything in it is doubtful, the piece is split again and again, and the rows around the
fault go through Python's csv module and the ``exact`` readers (``_exact_rows``). So a clean file is read at full speed,
and a faulty row costs a millisecond. The piece bounds the memory, whatever the file's size.

Rows are those of RFC 4180 as Python's csv module reads it with ``strict=True``. Rows end with LF or CRLF; a byte order
mark is skipped; empty lines are no rows. A quote inside an unquoted field is text, and so is a carriage return that
ends no line (Python's writer leaves it unquoted). A row is rejected as a whole for text after a closing quote, NUL,
bytes that are not UTF-8, and a quote that is never closed (see ``_exact_rows``).

A rejected row is noted with the reason and its ``line``: the physical line (counted by LF, as editors and ``sed -n``
do) on which it begins.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recommender.errors import InputFileError
from recommender.files._exact_rows import ExactReader, ExactRows, NeedMoreError
from recommender.files._fast_rows import fast_batch, row_ends
from recommender.files.checked_rows import CheckedRows
from recommender.files.csv_columns import CsvColumn
from recommender.files.dialects import UNIT_SEPARATOR, Dialect
from recommender.files.file_form import FileForm
from recommender.files.rejected_rows import RejectedRows
from recommender.files.sources import Source

READ_BYTES = 1 << 23  # most bytes of a piece; 50,000 rows of the Kaggle file are 13 MB
LONGEST_ROW = 1 << 18  # bytes; the longest valid row (a title of 65,535 quotes) is shorter
ROWS_FOR_EXACT = 64  # a faulty piece of so few rows goes to the exact reader at once
_WINDOW_AFTER_FAULT = 1 << 16  # bytes; there the ends of rows are searched again, so the first search is short
_BOM = b"\xef\xbb\xbf"


class _Checked(NamedTuple):
    """Some rows of a piece."""

    batch: pa.RecordBatch
    end: int  # offset after them
    astray: bool  # their quotes show that the rows after them end elsewhere than expected


class CsvRows(CheckedRows):
    """The rows of one CSV file; iterate over ``batches()`` once, then read the counts."""

    def __init__(
        self,
        path: Path,
        columns: Sequence[CsvColumn],
        rejected: RejectedRows,
        *,
        optional: Sequence[CsvColumn] = (),
        rows_per_batch: int = 50_000,
        hint: str = "",
        form: FileForm | None = None,
    ) -> None:
        """Open the file and read its header.

        ``optional`` columns may be absent. ``hint`` ends the message about a missing file. ``form``: the file, open,
        and what it is; without, commas separate UTF-8 and the header has the columns' very names. InputFileError:
        missing, unreadable, empty, not UTF-8, a column missing or named twice.
        """
        source = form.source if form else Source(path, hint)
        super().__init__(source, rejected)
        self.rows_per_batch = rows_per_batch
        self._dialect = form.dialect if form else Dialect()
        try:
            self.header, self._line, self._rest = self._read_header(form)
            self._choose(columns, optional, self.header, form.header if form else ())
        except InputFileError:
            source.close()
            raise
        self.places = [self.header.index(column.name) for column in self.columns]
        self.bytes_read = 0
        # least bytes of a valid row: its texts, the delimiters, the end of the line
        self._shortest_row = len(self.header) + sum(column.shortest for column in self.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the good rows, in the file's order, columns named as in the header.

        TooManyRejectedError as soon as the limit is certain to be exceeded; InputFileError if the file has no rows.
        """
        with closing(self.source):
            data, at_end = self._rest, False
            while not at_end:
                block = self.source.read(READ_BYTES)
                at_end = not block
                data = data + block if data else block
                used = 0
                for batch, used in self._pieces(data, at_end):
                    self.bytes_read = self.source.consumed - (0 if self.source.packing else len(data) - used)
                    self._check_limit(len(data) - used)
                    if batch.num_rows:
                        yield batch
                data = data[used:]
                if data.find(b"\n", LONGEST_ROW) < 0:
                    data = data[: 2 * LONGEST_ROW]  # the line is far too long: its beginning is enough to reject it
        self._check_limit(0)
        self.require_rows()

    def _read_header(self, form: FileForm | None) -> tuple[list[str], int, bytes]:
        """Return the names, the number of the line after the header, and the bytes that were read after it."""
        if form and not form.has_header:
            return form.names, 1, b""
        data = self.source.read(LONGEST_ROW).removeprefix(_BOM)
        if not data.strip():
            raise InputFileError(f"{self.path} is empty: check that it is the right file")
        if b"\r" in data and b"\n" not in data:
            raise InputFileError(f"{self.path}: its lines end with CR alone: convert them to LF or CRLF")
        rows = ExactReader(data, len(data) < LONGEST_ROW, LONGEST_ROW, self._dialect)
        try:
            fields, end = rows.next_fields(0)
            while not fields:
                fields, end = rows.next_fields(end)
            names = [field.encode("utf-8", "surrogateescape").decode().strip() for field in fields]
        except (csv.Error, UnicodeError, NeedMoreError):
            raise InputFileError(f"{self.path}: the first line is no CSV header in UTF-8: wrong file?") from None
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice and not form:
            raise InputFileError(f"{self.path}: the header names the column {twice[0]!r} twice: rename one")
        return form.names if form else names, 1 + data.count(b"\n", 0, end), data[end:]

    def _pieces(self, data: bytes, at_end: bool) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield the rows of ``data`` (it begins with a row) in batches, each with the offset after it."""
        start, window = 0, READ_BYTES
        while start < len(data):
            reach = min(start + window, len(data))
            ends = row_ends(data, start, reach, at_end and reach == len(data), self._dialect.quoted)
            if not len(ends):
                if reach < len(data) and window < READ_BYTES:
                    window *= 4
                    continue
                if not at_end and len(data) - start < LONGEST_ROW:
                    return  # the row goes on in the next piece; its present part may look like a whole row
                ends = np.array([min(start + LONGEST_ROW, len(data))])  # no end found: for the exact reader
            window = min(4 * window, READ_BYTES)
            for at in range(0, len(ends), self.rows_per_batch):
                wanted = ends[at : at + self.rows_per_batch]
                astray = False
                try:
                    for found in self._checked(data, start, wanted, at_end):
                        start, astray = found.end, found.astray
                        yield found.batch, start
                except NeedMoreError:
                    return
                if astray:
                    window = _WINDOW_AFTER_FAULT
                    break

    def _checked(self, data: bytes, start: int, ends: npt.NDArray[np.int64], at_end: bool) -> Iterator[_Checked]:
        """Yield the rows from ``start`` with the expected ``ends``; after rows that went astray there are no more."""
        batch = fast_batch(data, start, ends, self.header, self.columns, LONGEST_ROW, self._dialect)
        if batch is not None:
            self._line += data.count(b"\n", start, ends[-1])
            self._count(len(ends), len(ends))
            yield _Checked(batch, int(ends[-1]), False)
        elif len(ends) <= ROWS_FOR_EXACT:
            batch, end = self._exactly(data, start, int(ends[-1]), at_end)
            odd_quotes = self._dialect.quoted and data.count(b'"', start, end) % 2 == 1
            yield _Checked(batch, end, end != ends[-1] or odd_quotes)
        else:
            part = max(ROWS_FOR_EXACT, len(ends) // 8)
            for at in range(0, len(ends), part):
                for found in self._checked(data, start, ends[at : at + part], at_end):
                    yield found
                    start = found.end
                    if found.astray:
                        return

    def _exactly(self, data: bytes, start: int, stop: int, at_end: bool) -> tuple[pa.RecordBatch, int]:
        """Return the rows from ``start`` on, read singly until ``stop`` is reached or passed, and their end."""
        good: list[tuple[Any, ...]] = []
        columns = list(zip(self.columns, self.places, strict=True))
        reader, position = ExactReader(data, at_end, LONGEST_ROW, self._dialect), start
        rows = ExactRows(reader, columns, len(self.header))
        while position < stop:
            try:
                row = rows.row_at(position)
            except NeedMoreError:
                if position == start:
                    raise
                break
            if row.values is not None:
                good.append(row.values)
                self._count(1, 1)
            elif row.reason:
                raw = data[position : row.end].removesuffix(b"\n").removesuffix(b"\r")
                raw = raw.replace(UNIT_SEPARATOR.encode(), b"::") if self._dialect.delimiter == UNIT_SEPARATOR else raw
                self._reject(self._line, row.reason, raw)
            self._line += data.count(b"\n", position, row.end)
            position = row.end
        values = zip(*good, strict=True) if good else ([] for _ in self.columns)
        arrays = [pa.array(list(held), column.type) for column, held in zip(self.columns, values, strict=True)]
        return pa.record_batch(arrays, names=[column.name for column in self.columns]), position
