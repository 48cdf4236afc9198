"""Readers of JSON lines and of Parquet into checked batches, as `csv_rows` reads text.

Each value becomes the text that a CSV file would have, so that the same columns check it. The ``line`` of a rejected
row of Parquet is its number, counted from 1, and its text is its columns as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from recommender.errors import InputFileError
from recommender.files.checked_rows import CheckedRows
from recommender.files.csv_columns import CsvColumn, stripped
from recommender.files.csv_rows import LONGEST_ROW, READ_BYTES, CsvRows
from recommender.files.file_form import DELIMITED, FileForm, json_text, parquet_texts
from recommender.files.rejected_rows import RejectedRows

_ROWS_FOR_EXACT = 64  # a faulty piece of so few rows is read singly
_EXACT = 2**53
_NOT_ONE = "is a list or an object, not one value"
_IDS = ("asin", "user_id", "product_id")  # each is one value, also where another text may hold a list
_ROWS_OF_PARQUET = 10_000  # a file with long texts has few


class _Block(NamedTuple):
    """Some rows: the texts of each column, (n,) each; the lines and raw texts of the rows."""

    texts: list[pa.StringArray]
    lines: Sequence[int]
    raw: Sequence[bytes]


class ValueRows(CheckedRows):
    """The rows of a file whose values have names."""

    def __init__(
        self, form: FileForm, columns: Sequence[CsvColumn], rejected: RejectedRows, optional: Sequence[CsvColumn] = ()
    ) -> None:
        """Choose the columns. InputFileError: one of ``columns`` is missing."""
        super().__init__(form.source, rejected)
        self.form = form
        try:
            self._choose(columns, optional, form.names, form.header)
            self._theirs = [form.header[form.places[column.name]] for column in self.columns]
            self._ids = [form.header[form.places[name]] for name in _IDS if name in form.places]
            self._refuse_nested_ids()
        except InputFileError:
            form.source.close()
            raise
        self._shortest_row = 2 + sum(column.shortest for column in self.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the good rows, as `CheckedRows.batches`."""
        with closing(self.source):
            for block in self._parquet_blocks() if self.form.parquet else self._json_blocks():
                self.bytes_read = self.source.consumed
                yield from self._checked(block, 0, len(block.lines))
                self._check_limit(0)
        self._check_limit(0)
        self.require_rows()

    def _refuse_nested_ids(self) -> None:
        if (file := self.form.parquet) is not None:
            for name in self._ids:
                if pa.types.is_nested(file.schema_arrow.field(name).type):
                    raise InputFileError(f"{self.path}: {name} {_NOT_ONE}: write the id into a column of its own")

    def _checked(self, block: _Block, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Yield the good rows of a part of a block, which is split as long as it has a fault."""
        batch = self._fast(block, start, stop) if stop > start else None
        if batch is not None:
            self._count(stop - start, stop - start)
            yield batch
        elif stop - start > _ROWS_FOR_EXACT:
            part = max(_ROWS_FOR_EXACT, (stop - start) // 8)
            for at in range(start, stop, part):
                yield from self._checked(block, at, min(at + part, stop))
        elif stop > start:
            yield self._exact(block, start, stop)

    def _fast(self, block: _Block, start: int, stop: int) -> pa.RecordBatch | None:
        values = []
        try:
            for column, texts in zip(self.columns, block.texts, strict=True):
                array = column.fast(stripped(texts[start:stop]))
                if array is None:
                    return None
                values.append(array)
        except pa.ArrowInvalid:
            return None
        return pa.record_batch(values, names=[column.name for column in self.columns])

    def _exact(self, block: _Block, start: int, stop: int) -> pa.RecordBatch:
        good = []
        for row in range(start, stop):
            name = ""
            try:
                values = []
                for column, texts in zip(self.columns, block.texts, strict=True):
                    name = column.name
                    values.append(column.exact(texts[row].as_py().strip()))
            except ValueError as error:
                self._reject(block.lines[row], f"{name} {error}", block.raw[row])
            else:
                good.append(values)
                self._count(1, 1)
        return pa.record_batch(
            [pa.array([row[place] for row in good], column.type) for place, column in enumerate(self.columns)],
            names=[column.name for column in self.columns],
        )

    def _json_blocks(self) -> Iterator[_Block]:
        line, rest, at_end = 1, b"", False
        while not at_end:
            data = self.source.read(READ_BYTES)
            at_end = not data
            lines = (rest + data).split(b"\n")
            rest = b"" if at_end else lines.pop()
            yield self._json_block(lines, line)
            line += len(lines)
            if len(rest) > LONGEST_ROW:
                rest = rest[: LONGEST_ROW + 1]  # its beginning is enough to reject it

    def _json_block(self, lines: list[bytes], first: int) -> _Block:
        rows: list[list[str]] = []
        numbers: list[int] = []
        raw: list[bytes] = []
        for number, text in enumerate(lines, first):
            if not text.strip():
                continue
            found, reason = _json_object(text, self._theirs, self._ids)
            if found is None:
                self._reject(number, reason, text.removesuffix(b"\r"))
                continue
            rows.append([json_text(found.get(name)) for name in self._theirs])
            numbers.append(number)
            raw.append(text)
        columns = zip(*rows, strict=True) if rows else ([] for _ in self._theirs)
        return _Block([pa.array(list(column), pa.string()) for column in columns], numbers, raw)

    def _parquet_blocks(self) -> Iterator[_Block]:
        file, first = self.form.parquet, 1
        assert file is not None
        try:
            for batch in file.iter_batches(_ROWS_OF_PARQUET, columns=self._theirs, use_threads=False):
                texts = [parquet_texts(batch[name]) for name in self._theirs]
                yield _Block(texts, range(first, first + batch.num_rows), _RawRows(batch))
                first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            what = f"{error}".split("\n")[0]
            raise InputFileError(f"{self.path} cannot be read ({what}): check that it is whole") from None


def rows_of(
    form: FileForm,
    columns: Sequence[CsvColumn],
    rejected: RejectedRows,
    optional: Sequence[CsvColumn] = (),
    *,
    rows_per_batch: int = 50_000,
) -> CheckedRows:
    """Return the rows of a file of any form. InputFileError: one of ``columns`` is missing."""
    if form.kind == DELIMITED:
        return CsvRows(form.source.path, columns, rejected, optional=optional, rows_per_batch=rows_per_batch, form=form)
    return ValueRows(form, columns, rejected, optional)


class _RawRows(Sequence[bytes]):
    """The rows of a batch as JSON, each made when it is asked for."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def __getitem__(self, row: Any) -> Any:
        return orjson.dumps(self._batch.slice(row, 1).to_pylist()[0], default=str)


def _json_object(text: bytes, names: Sequence[str], ids: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """Return the object, or None and the reason."""
    if len(text) > LONGEST_ROW:
        return None, f"the row is longer than {LONGEST_ROW:,} bytes"
    try:
        found = orjson.loads(text)
        if not isinstance(found, dict):
            return None, "is no JSON object"
        if any(isinstance(found.get(name), float) and abs(found[name]) >= _EXACT for name in names):
            found = json.loads(text)  # orjson makes 1e+20 of a whole number of 21 digits
    except (ValueError, RecursionError) as error:
        return None, f"is not JSON ({error})"
    nested = next((name for name in ids if found.get(name) and isinstance(found[name], dict | list)), None)
    return (found, "") if nested is None else (None, f"{nested} {_NOT_ONE}")
