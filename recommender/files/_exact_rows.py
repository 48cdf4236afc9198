"""The exact reader of the rows around a fault: one at a time, by Python's csv module.

A row is what ``csv.reader(strict=True)`` reads. An unclosed quote would swallow the rows after it. So, if a faulty row
spans several lines and a good row begins on one of them, only its first line is rejected, and reading goes on with the
second.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recommender.files.csv_columns import CsvColumn
from recommender.files.dialects import Dialect

_TRIES_BEHIND_FAULT = 8
_LONE_CR = "\udc0d"


class NeedMoreError(Exception):
    """The row continues after the bytes at hand."""


class ExactReader:
    """A reader by Python's csv module, one row at a time from any offset."""

    def __init__(self, data: bytes, at_end: bool, longest: int, dialect: Dialect) -> None:
        """Begin at the start of ``data``; ``longest``: the most bytes of a row that are read."""
        self.data, self.at_end, self.longest, self.dialect = data, at_end, longest, dialect
        self.position = self._start = 0
        self._starved = False
        csv.field_size_limit(max(csv.field_size_limit(), longest))  # only the row's length is limited

    def next_fields(self, start: int) -> tuple[list[str], int]:
        """Return the fields of the row at ``start`` (none for an empty line) and the offset after it.

        csv.Error if it is malformed; ``position`` is then after the last line that was read.
        """
        self.position = self._start = start
        self._starved = False
        # a csv.reader that has reached its end stays there, so each row has its own
        rows = self.dialect.rows(iter(self._next_line, None))
        try:
            return next(rows), self.position
        except (csv.Error, StopIteration):
            if self._starved:
                raise NeedMoreError from None
            raise

    def line_end(self, start: int) -> int:
        """Return the offset after the physical line at ``start``."""
        return self.data.find(b"\n", start) + 1 or len(self.data)

    def text(self, start: int, end: int) -> str:
        """Return one line as text, with lone surrogates for bytes that are not UTF-8.

        A lone carriage return, which the csv module would take for the end of a line, becomes one too (`ExactRows`
        handles both).
        """
        text = self.data[start:end].decode("utf-8", "surrogateescape")
        body = text.removesuffix("\n").removesuffix("\r")
        return body.replace("\r", _LONE_CR) + text[len(body) :] if "\r" in body else text

    def _next_line(self) -> str | None:
        start, end = self.position, self.line_end(self.position)
        if start - self._start > self.longest:
            return None
        if not self.data.endswith(b"\n", start, end):
            self._starved = not self.at_end
            if self._starved or start == end:
                return None
        self.position = end
        return self.text(start, end)


@dataclass(frozen=True)
class Row:
    """One row: its values, or the reason why it is rejected; neither for an empty line."""

    values: tuple[Any, ...] | None
    reason: str
    end: int  # offset after its last line


class ExactRows:
    """The rows of ``reader`` as values of the columns, or the reasons why they are rejected."""

    def __init__(self, reader: ExactReader, columns: Sequence[tuple[CsvColumn, int]], n_fields: int) -> None:
        """Read rows of ``n_fields`` fields; ``columns``: each with its position among them."""
        self._reader, self._columns, self._n_fields = reader, columns, n_fields

    def row_at(self, start: int) -> Row:
        """Return the row that begins at ``start``. NeedMoreError."""
        reader = self._reader
        values, broken = None, True
        try:
            fields, end = reader.next_fields(start)
        except csv.Error as error:
            reason, end = _explained(error), reader.position
        else:
            if not fields:
                return Row(None, "", end)
            values, reason = self._values(fields)
            broken = len(fields) != self._n_fields
        first_end = reader.line_end(start)
        if first_end < end and self._left_open(start, first_end, end, broken):
            return Row(None, "a quote is not closed", first_end)
        if end - start > reader.longest:
            return Row(None, f"the row is longer than {reader.longest:,} bytes", end)
        return Row(values, reason, end)

    def _left_open(self, start: int, first_end: int, end: int, broken: bool) -> bool:
        """Tell whether a row of several lines has an open quote and swallows good rows.

        Quoted fields may have several lines. So unless the row is broken anyway, its first line must have delimiters
        for a whole row.
        """
        reader = self._reader
        if not broken and reader.data.count(reader.dialect.delimiter.encode(), start, first_end) < self._n_fields - 1:
            return False
        position, tries = first_end, 0
        while position < end:
            line_end = reader.line_end(position)
            try:
                fields = next(reader.dialect.rows([reader.text(position, line_end)]), [])
            except csv.Error:
                fields, tries = [], tries + 1
                if tries <= _TRIES_BEHIND_FAULT:  # it may be a good row of several lines
                    fields = self._fields_at(position)
            if fields and line_end - position <= reader.longest and self._values(fields)[0] is not None:
                return True
            position = line_end
        return False

    def _fields_at(self, start: int) -> list[str]:
        reader = ExactReader(self._reader.data, self._reader.at_end, self._reader.longest, self._reader.dialect)
        try:
            return reader.next_fields(start)[0]
        except csv.Error:
            return []

    def _values(self, fields: list[str]) -> tuple[tuple[Any, ...] | None, str]:
        """Return the values of a row, or None and the reason."""
        if any("\udc80" <= character <= "\udcff" for field in fields if not field.isascii() for character in field):
            return None, "is not valid UTF-8"
        if any("\0" in field for field in fields):
            return None, "holds a NUL byte"
        if len(fields) != self._n_fields:
            return None, f"{len(fields)} fields instead of {self._n_fields}"
        values = []
        for column, place in self._columns:
            try:
                values.append(column.exact(fields[place].replace(_LONE_CR, "\r").strip()))
            except ValueError as error:
                return None, f"{column.name} {error}"
        return tuple(values), ""


def _explained(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text:
        return "a quote is not closed"
    if "expected after" in text:
        return "text after a closing quote"
    return text
