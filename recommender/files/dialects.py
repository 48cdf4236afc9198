"""How the lines of a text file are cut into fields, and whether the first of them names the columns.

Both are found from the first lines: the delimiter is the one that cuts them into the most columns of known names, or
into lines of the same number of fields, the more the better.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

_LINES = 1_000
_SAME_WIDTH = 0.9  # of the lines; some may be faulty
# stands for "::", since the csv module and pyarrow take a delimiter of one character; no text holds it
UNIT_SEPARATOR = "\x1f"
NUMBER = re.compile(r"-?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|", UNIT_SEPARATOR: "::"}

Known = Callable[[str], str]  # our name of a column, "" for an unknown one


class Dialect(NamedTuple):
    """The delimiter of the fields, and whether quotes may enclose a field. Without, quotes are text."""

    delimiter: str = ","
    quoted: bool = True

    @property
    def words(self) -> str:
        """Its name for people."""
        return f"{_NAMES[self.delimiter]}-separated"

    def rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Return the csv module's reader of these lines. It is strict: it raises csv.Error for a malformed row."""
        if self.quoted:
            return csv.reader(lines, delimiter=self.delimiter, strict=True)
        return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE, strict=True)


# where a comma or semicolon separates, quotes are needed for titles; elsewhere many files have quotes as text
_DIALECTS = [
    *(Dialect(","), Dialect("\t"), Dialect(";"), Dialect("|")),
    *(Dialect("\t", quoted=False), Dialect("|", quoted=False), Dialect(UNIT_SEPARATOR, quoted=False)),
]


def first_rows(text: str, dialect: Dialect) -> list[list[str]]:
    """Return the fields, stripped, of the first rows of ``text``; none for a malformed row, empty lines left out."""
    if dialect.delimiter == UNIT_SEPARATOR:
        text = text.replace("::", UNIT_SEPARATOR)
    reader, rows = dialect.rows(line + "\n" for line in islice(text.split("\n"), _LINES)), list[list[str]]()
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return rows
        except csv.Error:
            rows.append([])
        else:
            rows += [[field.strip() for field in row]] if row else []


def dialect_of(text: str, known: Known) -> Dialect:
    """Return the dialect of a file that begins with ``text``: its first whole lines."""

    def merit(dialect: Dialect) -> tuple[int, bool, int]:
        rows = first_rows(text, dialect)
        width = len(rows[0]) if rows else 0
        named = len({known(name) for name in rows[0]} - {""}) if rows else 0
        even = width > 1 and sum(len(row) == width for row in rows) >= _SAME_WIDTH * len(rows)
        return named if named > 1 else 0, even, width

    return max(_DIALECTS, key=merit)  # the first of equals


def has_header(rows: Sequence[Sequence[str]], known: Known) -> bool:
    """Tell whether the first row names the columns.

    It does if it has a known name, or no number where all the other rows of a column have one.
    """
    first, others = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    if any(known(name) for name in first):
        return True
    if any(NUMBER.fullmatch(name) for name in first):
        return False
    columns = [[row[place] for row in others] for place in range(len(first))]
    return not others or any(all(NUMBER.fullmatch(value) for value in column) for column in columns)
