"""CSV rows -> checked batches for the database; what cannot go in -> ``rejected_rows.csv``, with its line and reason.

The file is read in pieces that end where a row ends. A piece goes through pyarrow and the ``fast`` readers of its
columns; if anything in it is not plainly right, it is halved and halved again, and the rows around the fault go
through Python's csv module and the ``exact`` readers. So a clean file is read at full speed, and a faulty row costs
its neighborhood a millisecond. Memory is bounded by the piece, whatever the file's size.

What counts as a row: RFC 4180 as Python's csv module reads it with ``strict=True``; rows end with LF or CRLF; a byte
order mark is skipped; empty lines are no rows. A quote inside of an unquoted field is text, and so is a carriage
return that ends no line (Python's writer leaves it unquoted). Rejected as a whole are: text after a closing quote,
NUL, bytes that are not UTF-8, and a quote that is never closed. The last would swallow the rows behind it, so: where
a row of several lines is faulty and a good row begins at one of them, only the first line is rejected, and reading
goes on at the second.

``line`` is the physical line (counted by LF, as editors and ``sed -n`` do) on which the row begins.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as pa_csv

from recommender.errors import InputFileError, SettingError, TooManyRejectedError
from recommender.files.csv_columns import CsvColumn, stripped
from recommender.paths import new_text_file, open_input

READ_BYTES = 1 << 23  # a piece at most; 50,000 rows of the Kaggle file are 13 MB
LONGEST_ROW = 1 << 18  # bytes; the longest row that can be right (a title of 65,535 quotes) is shorter
ROWS_FOR_EXACT = 64  # a faulty piece of so few rows is read exactly at once
RAW_CHARACTERS = 1_000
SHARE_REJECTED, ROWS_REJECTED = 0.01, 100  # more than both: the wrong file
_TRIES_BEHIND_FAULT = 8
_WINDOW_AFTER_FAULT = 1 << 16  # bytes; row ends are looked for anew there, so do not look far at first
_LONE_CR = "\udc0d"
_BOM = b"\xef\xbb\xbf"


class RejectedRows:
    """The file of rejected rows; a context manager, and written anew, header first, as soon as it is entered.

    A link of that name is not followed (`recommender.paths`).
    """

    def __init__(self, path: Path = Path("rejected_rows.csv"), *, limit: int | None = None) -> None:
        """``limit``: rejected rows of one file that are still accepted; None: 1 % of its rows, or 100 if more."""
        self.path = path
        self.limit = limit

    def __enter__(self) -> RejectedRows:
        with self._writable():
            self._file = new_text_file(self.path)
            self._file.write("file,line,reason,raw\n")
        # quoted, as the writer itself would not quote a lone carriage return
        self._writer = csv.writer(self._file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._writable():
            self._file.close()

    def flush(self) -> None:
        """Write what is held back, so that a full disk is known before the tables are changed."""
        with self._writable():
            self._file.flush()

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self.path.absolute()
            raise SettingError(f"{where} cannot be written ({error.strerror}): mend that, or cd") from None

    def add(self, file: Path, line: int, reason: str, raw: bytes) -> None:
        """Note one row."""
        text = raw[: 4 * RAW_CHARACTERS].decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        with self._writable():
            self._writer.writerow([str(file), line, reason, text[:RAW_CHARACTERS]])


@dataclass(frozen=True)
class _Row:
    """One row found by the exact reader: its values, or the reason it is rejected; neither for an empty line."""

    values: tuple[Any, ...] | None
    reason: str
    end: int  # offset behind its last line


class CsvRows:
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
    ) -> None:
        """Open the file and read its header.

        ``optional`` columns may be absent. ``hint`` ends the message about a missing file. InputFileError: missing,
        unreadable, empty, not UTF-8, a column missing or named twice.
        """
        self.path, self.rejected_rows, self.rows_per_batch = path, rejected, rows_per_batch
        self.rows = self.good = self.rejected = 0
        self._first_reject = ""
        self._file = open_input(path, hint)
        self.size = os.fstat(self._file.fileno()).st_size
        try:
            self.header, self._line, self._rest = self._read_header()
            self._require(columns)
        except InputFileError:
            self._file.close()
            raise
        self.columns = [c for c in (*columns, *optional) if c.name in self.header]
        self.places = [self.header.index(column.name) for column in self.columns]
        self.ignored = [name for name in self.header if name not in {column.name for column in self.columns}]
        self.bytes_read = 0
        # bytes of a row that could be right: its texts, the commas, the line's end
        self._shortest_row = len(self.header) + sum(column.shortest for column in self.columns)

    def _require(self, columns: Sequence[CsvColumn]) -> None:
        missing = [column.name for column in columns if column.name not in self.header]
        if missing:
            shown = ", ".join(self.header)[:200]
            raise InputFileError(f"{self.path}: no column {', '.join(missing)} among {shown}: is it the right file?")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The good rows, in the file's order, columns named as in the header.

        TooManyRejectedError as soon as the limit is certain to be passed; InputFileError if the file has no rows.
        """
        with self._file:
            data, at_end = self._rest, False
            while not at_end:
                block = self._read(READ_BYTES)
                at_end = not block
                data = data + block if data else block
                used = 0
                for batch, used in self._pieces(data, at_end):
                    self.bytes_read = self._file.tell() - (len(data) - used)
                    self._check_limit(len(data) - used)
                    if batch.num_rows:
                        yield batch
                data = data[used:]
                if data.find(b"\n", LONGEST_ROW) < 0:
                    data = data[: 2 * LONGEST_ROW]  # a line far too long: its beginning is enough to reject it
        self._check_limit(0)
        if not self.rows:
            raise InputFileError(f"{self.path} has a header and no rows: is it the right file?")
        if not self.good:
            raise InputFileError(f"{self.path}: none of its {self.rows:,} rows is right ({self._first_reject})")

    def close(self) -> None:
        """Close a file whose rows are not wanted."""
        self._file.close()

    def _read(self, n_bytes: int) -> bytes:
        try:
            return self._file.read(n_bytes)
        except OSError as error:
            raise InputFileError(f"{self.path} cannot be read ({error.strerror}): is it the right file?") from None

    def _read_header(self) -> tuple[list[str], int, bytes]:
        """Names, the line after the header, and what was read behind it."""
        data = self._read(LONGEST_ROW).removeprefix(_BOM)
        if not data.strip():
            raise InputFileError(f"{self.path} is empty: is it the right file?")
        if b"\r" in data and b"\n" not in data:
            raise InputFileError(f"{self.path}: its lines end with CR alone: convert them to LF or CRLF")
        rows = _ExactReader(data, len(data) < LONGEST_ROW)
        try:
            fields, end = rows.next_fields(0)
            while not fields:
                fields, end = rows.next_fields(end)
            names = [field.encode("utf-8", "surrogateescape").decode().strip() for field in fields]
        except (csv.Error, UnicodeError, _NeedMoreError):
            raise InputFileError(f"{self.path}: the first line is no CSV header in UTF-8: wrong file?") from None
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputFileError(f"{self.path}: the header names the column {twice[0]!r} twice: rename one")
        return names, 1 + data.count(b"\n", 0, end), data[end:]

    def _pieces(self, data: bytes, at_end: bool) -> Iterator[tuple[pa.RecordBatch, int]]:
        """The rows of ``data`` (it begins with a row) in batches, each with the offset behind it."""
        start, window = 0, READ_BYTES
        while start < len(data):
            reach = min(start + window, len(data))
            ends = _row_ends(data, start, reach, at_end and reach == len(data))
            if not len(ends):
                if reach < len(data) and window < READ_BYTES:
                    window *= 4
                    continue
                if not at_end and len(data) - start < LONGEST_ROW:
                    return  # the row goes on in the next piece; what there is of it may look like a whole one
                ends = np.array([min(start + LONGEST_ROW, len(data))])  # no end in sight: for the exact reader
            window = min(4 * window, READ_BYTES)
            for at in range(0, len(ends), self.rows_per_batch):
                wanted = ends[at : at + self.rows_per_batch]
                try:
                    for batch in self._checked(data, start, wanted, at_end):
                        start = self._reached
                        yield batch, start
                except _NeedMoreError:
                    return
                if self._astray:
                    window = _WINDOW_AFTER_FAULT
                    break

    def _checked(self, data: bytes, start: int, ends: npt.NDArray[np.int64], at_end: bool) -> Iterator[pa.RecordBatch]:
        """The rows from ``start`` that should end at ``ends``; ``_reached`` tells where they did, ``_astray`` whether
        the quotes among them make the rows behind them end elsewhere than it seemed."""
        self._astray = False
        batch = self._fast(data, start, ends)
        if batch is not None:
            self._line += data.count(b"\n", start, ends[-1])
            self._count(len(ends), len(ends))
            self._reached = int(ends[-1])
            yield batch
        elif len(ends) <= ROWS_FOR_EXACT:
            yield self._exactly(data, start, int(ends[-1]), at_end)
            self._astray = self._reached != ends[-1] or data.count(b'"', start, self._reached) % 2 == 1
        else:
            part = max(ROWS_FOR_EXACT, len(ends) // 8)
            for at in range(0, len(ends), part):
                yield from self._checked(data, start, ends[at : at + part], at_end)
                if self._astray:
                    return
                start = self._reached

    def _fast(self, data: bytes, start: int, ends: npt.NDArray[np.int64]) -> pa.RecordBatch | None:
        """The rows as a batch; None if anything wants a closer look."""
        end = int(ends[-1])
        if not _plain_bytes(data, start, end):
            return None
        if np.diff(ends, prepend=start).max() > LONGEST_ROW:
            return None
        if data.count(b"\n", start, end) > len(ends) and self._may_swallow_rows(data, start, ends):
            return None
        piece = pa.py_buffer(data)[start:end]
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(piece),
                pa_csv.ReadOptions(column_names=self.header, block_size=end - start + 1, use_threads=False),
                pa_csv.ParseOptions(newlines_in_values=True),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(self.header, pa.string()), strings_can_be_null=False, check_utf8=True
                ),
            )
            if table.num_rows != len(ends):
                return None
            values = []
            for column in self.columns:
                array = column.fast(stripped(table[column.name].chunk(0)))
                if array is None:
                    return None
                values.append(array)
        except pa.ArrowInvalid:
            return None
        return pa.record_batch(values, names=[column.name for column in self.columns])

    def _may_swallow_rows(self, data: bytes, start: int, ends: npt.NDArray[np.int64]) -> bool:
        """Has a row of several lines a first line with commas for a whole row? Then a quote may be left open in it."""
        starts = np.concatenate([[start], ends[:-1]])
        lines = np.flatnonzero(np.frombuffer(data, np.uint8)[start : ends[-1]] == ord("\n")) + start + 1
        lines = np.append(lines, ends[-1])  # the last row may have no line feed
        first_ends = lines[np.searchsorted(lines, starts, side="right")]
        several = first_ends < ends
        commas = len(self.header) - 1
        pairs = zip(starts[several].tolist(), first_ends[several].tolist(), strict=True)
        return any(data.count(b",", begin, first_end) >= commas for begin, first_end in pairs)

    def _exactly(self, data: bytes, start: int, stop: int, at_end: bool) -> pa.RecordBatch:
        """The rows from ``start`` on, one at a time, until ``stop`` is reached or passed."""
        good: list[tuple[Any, ...]] = []
        reader, position = _ExactReader(data, at_end), start
        while position < stop:
            try:
                row = self._exact_row(reader, position)
            except _NeedMoreError:
                if position == start:
                    raise
                break
            if row.values is not None:
                good.append(row.values)
                self._count(1, 1)
            elif row.reason:
                self._reject(row.reason, data[position : row.end])
            self._line += data.count(b"\n", position, row.end)
            position = row.end
        self._reached = position
        columns = zip(*good, strict=True) if good else ([] for _ in self.columns)
        arrays = [pa.array(list(texts), c.type) for c, texts in zip(self.columns, columns, strict=True)]
        return pa.record_batch(arrays, names=[column.name for column in self.columns])

    def _exact_row(self, reader: _ExactReader, start: int) -> _Row:
        """The row that begins at ``start``."""
        values, broken = None, True
        try:
            fields, end = reader.next_fields(start)
        except csv.Error as error:
            reason, end = _explained(error), reader.position
        else:
            if not fields:
                return _Row(None, "", end)
            values, reason = self._values(fields)
            broken = len(fields) != len(self.header)
        first_end = reader.line_end(start)
        if first_end < end and self._left_open(reader, start, first_end, end, broken):
            return _Row(None, "a quote is not closed", first_end)
        if end - start > LONGEST_ROW:
            return _Row(None, f"the row is longer than {LONGEST_ROW:,} bytes", end)
        return _Row(values, reason, end)

    def _left_open(self, reader: _ExactReader, start: int, first_end: int, end: int, broken: bool) -> bool:
        """Is the row of several lines a row with an open quote, and good ones behind it?

        Several lines are legal inside of quotes; so unless the row is broken anyway, its first line must have
        commas for a whole row.
        """
        if not broken and reader.data.count(b",", start, first_end) < len(self.header) - 1:
            return False
        position, tries = first_end, 0
        while position < end:
            line_end = reader.line_end(position)
            try:
                fields = next(csv.reader([reader.text(position, line_end)], strict=True), [])
            except csv.Error:
                fields, tries = [], tries + 1
                if tries <= _TRIES_BEHIND_FAULT:  # a good row of several lines?
                    fields = self._fields_at(_ExactReader(reader.data, reader.at_end), position)
            if fields and line_end - position <= LONGEST_ROW and self._values(fields)[0] is not None:
                return True
            position = line_end
        return False

    def _fields_at(self, reader: _ExactReader, start: int) -> list[str]:
        try:
            return reader.next_fields(start)[0]
        except csv.Error:
            return []

    def _values(self, fields: list[str]) -> tuple[tuple[Any, ...] | None, str]:
        """The values of a row, or None and the reason."""
        if any("\udc80" <= character <= "\udcff" for field in fields if not field.isascii() for character in field):
            return None, "is not valid UTF-8"
        if any("\0" in field for field in fields):
            return None, "holds a NUL byte"
        if len(fields) != len(self.header):
            return None, f"{len(fields)} fields instead of {len(self.header)}"
        values = []
        for column, place in zip(self.columns, self.places, strict=True):
            try:
                values.append(column.exact(fields[place].replace(_LONE_CR, "\r").strip()))
            except ValueError as error:
                return None, f"{column.name} {error}"
        return tuple(values), ""

    def _reject(self, reason: str, raw: bytes) -> None:
        raw = raw.removesuffix(b"\n").removesuffix(b"\r")
        self.rejected_rows.add(self.path, self._line, reason, raw)
        self._first_reject = self._first_reject or f"line {self._line}: {reason}"
        self.rejected += 1
        self._count(1, 0)

    def _count(self, rows: int, good: int) -> None:
        self.rows += rows
        self.good += good

    def _check_limit(self, bytes_left: int) -> None:
        """Raise TooManyRejectedError if the limit is passed whatever the rest of the file holds.

        A share can still fall as long as good rows may follow: as many as the bytes have room for.
        """
        limit = self.rejected_rows.limit
        if limit is None:
            unread = self.size - self._file.tell() if not self._file.closed else 0
            most_rows = self.rows + (bytes_left + max(unread, 0)) // self._shortest_row
            limit = max(ROWS_REJECTED, int(SHARE_REJECTED * most_rows))
        if self.rejected > limit:
            raise TooManyRejectedError(
                f"{self.path}: {self.rejected:,} of {self.rows:,} rows were rejected, more than the allowed {limit:,} "
                f"(the first: {self._first_reject}); see {self.rejected_rows.path}, then mend the file or give "
                "--max-rejected; the tables are as they were"
            )


class _NeedMoreError(Exception):
    """The row goes on behind the bytes at hand."""


class _ExactReader:
    """Python's csv module, one row at a time from any offset."""

    def __init__(self, data: bytes, at_end: bool) -> None:
        self.data, self.at_end = data, at_end
        self.position = self._start = 0
        self._starved = False
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))  # the row's length is what counts

    def next_fields(self, start: int) -> tuple[list[str], int]:
        """The fields of the row at ``start`` (none: an empty line) and the offset behind it.

        csv.Error if it is malformed; ``position`` is then behind the last line looked at.
        """
        self.position = self._start = start
        self._starved = False
        # a reader that has met its end stays there, so each row has its own
        rows = csv.reader(iter(self._next_line, None), strict=True)
        try:
            return next(rows), self.position
        except (csv.Error, StopIteration):
            if self._starved:
                raise _NeedMoreError from None
            raise

    def line_end(self, start: int) -> int:
        """The offset behind the physical line at ``start``."""
        return self.data.find(b"\n", start) + 1 or len(self.data)

    def text(self, start: int, end: int) -> str:
        """One line as text; what is not UTF-8 becomes lone surrogates, and so does a lone carriage return, which the
        csv module would take for the end of a line (``_values`` sees to both)."""
        text = self.data[start:end].decode("utf-8", "surrogateescape")
        body = text.removesuffix("\n").removesuffix("\r")
        return body.replace("\r", _LONE_CR) + text[len(body) :] if "\r" in body else text

    def _next_line(self) -> str | None:
        start, end = self.position, self.line_end(self.position)
        if start - self._start > LONGEST_ROW:
            return None
        if not self.data.endswith(b"\n", start, end):
            self._starved = not self.at_end
            if self._starved or start == end:
                return None
        self.position = end
        return self.text(start, end)


def _explained(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text:
        return "a quote is not closed"
    if "expected after" in text:
        return "text after a closing quote"
    return text


def _row_ends(data: bytes, start: int, reach: int, at_end: bool) -> npt.NDArray[np.int64]:
    """Offsets behind the rows in ``start..reach``, if every quote in them is in its place: a line ends a row where
    the number of quotes so far is even. ``at_end``: the last row needs no line feed."""
    held = np.frombuffer(data, np.uint8)[start:reach]
    lines = np.flatnonzero(held == ord("\n"))
    quotes = np.flatnonzero(held == ord('"'))
    if len(quotes):
        lines = lines[np.searchsorted(quotes, lines) % 2 == 0]
    ends = lines + (start + 1)
    if at_end and (not len(ends) or ends[-1] < reach):
        ends = np.append(ends, reach)
    return ends


def _plain_bytes(data: bytes, start: int, end: int) -> bool:
    """No NUL, no carriage return but before a line feed, no empty line, every quote in its place?"""
    if data.find(b"\0", start, end) >= 0 or data[start] in b"\r\n" or data.find(b"\n\n", start, end) >= 0:
        return False
    if data.find(b"\r", start, end) >= 0:
        lone = data.count(b"\r", start, end) != data.count(b"\r\n", start, end)
        if lone or data.find(b"\n\r\n", start, end) >= 0:
            return False
    held = np.frombuffer(data, np.uint8)[start:end]
    quotes = np.flatnonzero(held == ord('"'))
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = held[opening[opening > 0] - 1]
    behind = held[closing[closing < len(held) - 1] + 1]
    return bool(_MAY_OPEN[before].all() and _MAY_CLOSE[behind].all())


def _among(characters: bytes) -> npt.NDArray[np.bool_]:
    found = np.zeros(256, np.bool_)
    found[list(characters)] = True
    return found


# a doubled quote is one that closes and one that opens again
_MAY_OPEN, _MAY_CLOSE = _among(b',\n"'), _among(b',\r\n"')
