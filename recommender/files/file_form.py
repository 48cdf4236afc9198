"""What a file is, found from its first bytes and lines before any row is read, and told in one line.

Packing and encoding (`sources`), delimiter and quotes (`dialects`), header or none, and which column is which
(`column_names`). Without a header and without ``--columns`` the columns are told apart by what they hold, if that is
plain (`column_kinds`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from recommender.errors import InputFileError
from recommender.files.column_names import ColumnTable, GivenColumns, found_columns
from recommender.files.dialects import UNIT_SEPARATOR, Dialect, dialect_of, first_rows, has_header
from recommender.files.sources import Source, listed

DELIMITED, JSON_LINES, PARQUET = "delimited", "JSON lines", "Parquet"
SAMPLE_ROWS = 1_000
_SHOWN = 200  # characters
DECIMAL_COMMA = re.compile(r"-?[0-9]*,[0-9]{1,2}")
_JSON = re.compile(r"\s*(?:\{\s*[\"'}]|\{\s*$|\[)")


@dataclass(frozen=True)
class FileForm:
    """An open file and what it is. ``places``: where our columns are among those of ``header``."""

    source: Source
    kind: str
    header: tuple[str, ...]
    places: dict[str, int]
    sample: Sequence[Sequence[str]]  # the first rows, stripped texts; some may be of another width
    dialect: Dialect = field(default_factory=Dialect)
    has_header: bool = True
    parquet: pq.ParquetFile | None = None
    notes: dict[str, str] = field(default_factory=dict)  # our name: what was found of its values, as "seconds"

    @property
    def names(self) -> list[str]:
        """Our names of our columns, and names for the others; all different."""
        ours = {place: name for name, place in self.places.items()}
        return [ours.get(place, f"{place + 1}: {name}") for place, name in enumerate(self.header)]

    @property
    def ignored(self) -> list[str]:
        """The file's names of the other columns."""
        return [name for place, name in enumerate(self.header) if place not in self.places.values()]

    def values(self, ours: str) -> list[str]:
        """Return the first values of one of our columns, without the empty ones; none if the file lacks it."""
        place = self.places.get(ours)
        if place is None:
            return []
        return [row[place] for row in self.sample if len(row) == len(self.header) and row[place]]

    def has_decimal_comma(self, ours: str) -> bool:
        """Tell whether one of the first numbers of a column has a decimal comma, and no comma separates columns."""
        return self.dialect.delimiter != "," and any(DECIMAL_COMMA.fullmatch(value) for value in self.values(ours))

    def words(self, rows: int) -> str:
        """Return one line that tells all that was understood, and the number of rows."""
        form = self.dialect.words if self.kind == DELIMITED else self.kind
        parts = [self.source.packing, form, "" if self.has_header else "no header", self._encoding()]
        columns = []
        for ours, place in sorted(self.places.items(), key=lambda item: item[1]):
            theirs = f" = {listed([self.header[place]])}" if self.has_header and self.header[place] != ours else ""
            columns.append(ours + theirs + (f" ({self.notes[ours]})" if ours in self.notes else ""))
        ignored = f"; columns ignored: {listed(self.ignored)}" if self.ignored else ""
        return f"{', '.join(filter(None, parts))}: {', '.join(columns)}; {rows:,} rows{ignored}"

    def _encoding(self) -> str:
        return self.source.encoding if self.source.encoding not in ("", "UTF-8") else ""


def understood(
    path: Path,
    table: ColumnTable,
    given: GivenColumns,
    *,
    guess: Callable[..., dict[str, int]] | None = None,
    hint: str,
) -> FileForm:
    """Open a file and find what it is.

    ``guess`` tells the columns of a file without a header apart. InputFileError in one line: missing, unreadable,
    empty, of a kind that is not read, a column of ``given`` missing, no header and nothing that tells the columns.
    """
    source = Source(path, hint)
    try:
        source.unpack()
        if source.is_parquet():
            return _parquet(source, table, given)
        source.as_utf8()
        head, whole = source.peek()
        if b"\r" in head and b"\n" not in head:
            raise InputFileError(f"{path}: its lines end with CR alone: convert them to LF or CRLF")
        text = head[: len(head) if whole else head.rfind(b"\n") + 1].decode("utf-8", "replace")
        if not text.strip():
            what = "is empty" if whole else f"has a first line of over {len(head):,} bytes"
            raise InputFileError(f"{path} {what}: check that it is the right file")
        if _JSON.match(text):
            return _json_lines(source, text, table, given)
        return _delimited(source, text, table, given, guess)
    except BaseException:
        source.close()
        raise


def _delimited(
    source: Source,
    text: str,
    table: ColumnTable,
    given: GivenColumns,
    guess: Callable[..., dict[str, int]] | None,
) -> FileForm:
    named = set(given.named.values()) - {""}

    def known(name: str) -> str:
        return name if name in named else table.ours_of(name)

    dialect = dialect_of(text, known)
    if dialect.delimiter == UNIT_SEPARATOR:
        source.replace(b"::", UNIT_SEPARATOR.encode())
    rows = first_rows(text, dialect)
    first = rows[0]
    headed = has_header(rows, known)
    sample = rows[headed:SAMPLE_ROWS]
    if given.in_order:
        if len(given.in_order) != len(first):
            raise InputFileError(
                f"{source.path}: --columns names {len(given.in_order)} columns, and its first line has {len(first)}: "
                f"{_shown(text)}"
            )
        places = table.places(given.in_order)
        header = tuple(name or f"column {place + 1}" for place, name in enumerate(given.in_order))
    elif headed:
        header, places = tuple(first), found_columns(source.path, first, table, given)
    else:
        header = tuple(f"column {place + 1}" for place in range(len(first)))
        places = guess([row for row in sample if len(row) == len(first)]) if guess else {}
        if not places:
            raise InputFileError(
                f"{source.path} has no header, and its columns are not plainly {', '.join(table.ours)}; its first line "
                f"is {_shown(text)}: name all in their order, as --columns {','.join(table.ours[:4])} (_: ignored)"
            )
    return FileForm(source, DELIMITED, header, places, sample, dialect, headed)


def _json_lines(source: Source, text: str, table: ColumnTable, given: GivenColumns) -> FileForm:
    objects = []
    for line in text.split("\n")[:SAMPLE_ROWS]:
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        objects += [found] if isinstance(found, dict) else []
    if not objects or text.lstrip().startswith("["):
        raise InputFileError(f"{source.path} is not JSON with one object on each line; its first is {_shown(text)}")
    header = tuple(dict.fromkeys(name for found in objects for name in found))
    sample = [[json_text(found.get(name)) for name in header] for found in objects]
    return FileForm(source, JSON_LINES, header, _named(source, header, table, given), sample)


def _parquet(source: Source, table: ColumnTable, given: GivenColumns) -> FileForm:
    try:
        file = pq.ParquetFile(pa.PythonFile(source.file, mode="r"))
        header = tuple(file.schema_arrow.names)
        places = _named(source, header, table, given)
        chosen = [header[place] for place in places.values()]
        first = next(file.iter_batches(SAMPLE_ROWS, columns=chosen, use_threads=False), None)
    except (pa.ArrowException, OSError) as error:
        what = f"{error}".split("\n")[0]
        raise InputFileError(f"{source.path} is no sound Parquet file ({what}): check that it is whole") from None
    known = {name: parquet_texts(first[name]).to_pylist() for name in chosen} if first is not None else {}
    none = [""] * (first.num_rows if first is not None else 0)
    sample = list(zip(*(known.get(name, none) for name in header), strict=True))
    return FileForm(source, PARQUET, header, places, sample, parquet=file)


def _named(source: Source, header: Sequence[str], table: ColumnTable, given: GivenColumns) -> dict[str, int]:
    if given.in_order:
        raise InputFileError(
            f"{source.path} names its columns {listed(header)}: give --columns {table.ours[0]}=NAME,..."
        )
    return found_columns(source.path, header, table, given)


def json_text(value: Any) -> str:
    """Return a value of JSON as the text of a field; empty for null, an empty list and an empty object."""
    if isinstance(value, str):
        return value.strip()
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value).strip()
    return str(value) if isinstance(value, int | float) else orjson.dumps(value).decode()


def parquet_texts(values: pa.Array) -> pa.StringArray:
    """Return the values of a column of Parquet as the texts of fields; empty for null."""
    try:
        texts = values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = pa.array([json_text(value) for value in values.to_pylist()], pa.string())
    return texts.fill_null("")


def _shown(text: str) -> str:
    return repr(text.lstrip("\n").split("\n")[0].rstrip("\r")[:_SHOWN])
