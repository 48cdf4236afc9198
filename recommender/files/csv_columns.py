"""The kinds of columns of a CSV file, each with two readers that agree: one of single texts, one of blocks.

``exact`` takes one stripped text and returns its value or raises ValueError with the reason. ``fast`` takes a block of
stripped texts and returns their values, or None if any of them needs a closer look; it never gives a value that
``exact`` would not give (tests/files/test_csv_rows.py holds this with generated input).

Numbers are plain decimals: digits, at most one point, a minus sign, an exponent (``4.5``, ``.5``, ``1e3``). No
currency, no thousands separator, no ``+`` sign, no ``inf``, ``nan``, underscore, or digits outside of ASCII.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender.shop import PRODUCT_ID_LENGTH, PRODUCT_ID_RULE, all_are_ids, is_product_id

# the characters that str.strip() strips, so that both readers strip the same
WHITESPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE_NUMBER = re.compile(r"-?[0-9]+")
_ZEROS = re.compile(r"[0-9]+\.0*")
_NEXT_ADDRESS = re.compile(r"(?:\s*[,;|]\s*|\s+)(?:https?:)?//")
_QUOTED_ADDRESS = re.compile(r'"((?:https?:)?//[^"\\]+)"')
_SHOWN = 40  # characters of a faulty value in a reason; the file has the whole row

Exact = Callable[[str], Any]
Fast = Callable[[pa.StringArray], "pa.Array | None"]


@dataclass(frozen=True)
class CsvColumn:
    """One column: its name in the header, the type of its values, the two readers, the shortest text (bytes)."""

    name: str
    type: pa.DataType
    exact: Exact
    fast: Fast
    shortest: int = 1


def text_column(name: str, *, max_bytes: int | None = None, max_characters: int | None = None) -> CsvColumn:
    """Return a column of any text up to a length; empty is NULL."""

    def exact(text: str) -> str | None:
        if max_bytes is not None and len(text.encode()) > max_bytes:
            raise ValueError(f"is longer than {max_bytes:,} bytes")
        if max_characters is not None and len(text) > max_characters:
            raise ValueError(f"is longer than {max_characters:,} characters")
        return text or None

    def fast(texts: pa.StringArray) -> pa.Array | None:
        lengths = _lengths(texts)
        if lengths.max() > (max_characters or max_bytes or math.inf):  # a character is one byte or more
            return None
        return pc.if_else(pa.array(lengths == 0), None, texts) if (lengths == 0).any() else texts

    return CsvColumn(name, pa.string(), exact, fast, shortest=0)


def required_text_column(name: str, *, max_characters: int) -> CsvColumn:
    """Return a column of text that must not be empty."""
    optional = text_column(name, max_characters=max_characters)

    def exact(text: str) -> Any:
        return optional.exact(_not_empty(text))

    def fast(texts: pa.StringArray) -> pa.Array | None:
        return None if (_lengths(texts) == 0).any() else optional.fast(texts)

    return CsvColumn(name, pa.string(), exact, fast)


def code_column(name: str, length: int) -> CsvColumn:
    """Return a column of identifiers of exactly ``length`` characters A-Z and 0-9."""
    pattern = re.compile(rf"[A-Z0-9]{{{length}}}")
    allowed = _byte_set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")

    def exact(text: str) -> str:
        if not pattern.fullmatch(_not_empty(text)):
            raise ValueError(f"{_shown(text)} is not {length} characters A-Z 0-9")
        return text

    def fast(texts: pa.StringArray) -> pa.Array | None:
        return texts if (_lengths(texts) == length).all() and allowed[_bytes(texts)].all() else None

    return CsvColumn(name, pa.string(), exact, fast, shortest=length)


def product_id_column(name: str, pattern: str = "") -> CsvColumn:
    """Return a column of product ids; ``pattern``: a regular expression that all of an id matches, "" for any id."""
    wanted = re.compile(pattern) if pattern else None

    def exact(text: str) -> str:
        if not is_product_id(_not_empty(text)):
            long = f"has {len(text):,} characters and " if len(text) > PRODUCT_ID_LENGTH else ""
            raise ValueError(f"{_shown(text)} {long}is not {PRODUCT_ID_RULE}")
        if wanted and not wanted.fullmatch(text):
            raise ValueError(f"{_shown(text)} does not match PRODUCT_ID_PATTERN={pattern}")
        return text

    def fast(texts: pa.StringArray) -> pa.Array | None:
        good = all_are_ids(texts) and (wanted is None or all(map(wanted.fullmatch, texts.to_pylist())))
        return texts if good else None

    return CsvColumn(name, pa.string(), exact, fast)


def number_column(name: str, *, lowest: float, highest: float = math.inf) -> CsvColumn:
    """Return a column of finite decimal numbers."""
    allowed = _byte_set(b"0123456789.-eE")  # no plus sign: pyarrow would accept +1

    def exact(text: str) -> float:
        if not _NUMBER.fullmatch(_not_empty(text)):
            raise ValueError(f"{_shown(text)} is not a number")
        value = float(text) + 0.0  # -0.0 becomes 0.0
        if not lowest <= value <= highest or math.isinf(value):
            raise ValueError(f"{_shown(text)} is out of range ({_span(lowest, highest)})")
        return value

    def fast(texts: pa.StringArray) -> pa.Array | None:
        if not allowed[_bytes(texts)].all():
            return None
        values = pc.cast(texts, pa.float64()).to_numpy() + 0.0
        good = (values >= lowest) & (values <= highest) & np.isfinite(values)
        return pa.array(values) if good.all() else None

    return CsvColumn(name, pa.float64(), exact, fast)


def with_decimal_comma(column: CsvColumn) -> CsvColumn:
    """Return the column for texts with a decimal comma, as 4,5; a point stays a point."""

    def exact(text: str) -> Any:
        return column.exact(text.replace(",", ".", 1) if "." not in text else text)

    def fast(texts: pa.StringArray) -> pa.Array | None:
        if pc.any(pc.match_substring_regex(texts, r"\..*,|,.*[.,]")).as_py():
            return None
        return column.fast(pc.replace_substring(texts, ",", "."))

    return replace(column, exact=exact, fast=fast)


def whole_number_column(
    name: str, *, lowest: int, highest: int, known: Collection[int] | None = None, unknown: str = "is unknown"
) -> CsvColumn:
    """Return a column of whole numbers that fit the database's INTEGER; with ``known``, only these numbers."""
    allowed = _byte_set(b"0123456789-")
    values_known = None if known is None else pa.array(sorted(known), pa.int32())

    def exact(text: str) -> int:
        if not _WHOLE_NUMBER.fullmatch(_not_empty(text)):
            raise ValueError(f"{_shown(text)} is not a whole number")
        if len(text) > 1_000 or not lowest <= int(text) <= highest:  # int() of 5,000 digits raises another error
            raise ValueError(f"{_shown(text)} is out of range ({_span(lowest, highest)})")
        if known is not None and int(text) not in known:
            raise ValueError(f"{_shown(text)} {unknown}")
        return int(text)

    def fast(texts: pa.StringArray) -> pa.Array | None:
        if not allowed[_bytes(texts)].all():
            return None
        values = pc.cast(texts, pa.int32())
        array = values.to_numpy()
        if array.min() < lowest or array.max() > highest:
            return None
        if values_known is not None and not pc.all(pc.is_in(values, value_set=values_known)).as_py():
            return None
        return values

    return CsvColumn(name, pa.int32(), exact, fast)


def also_with_zeros(column: CsvColumn) -> CsvColumn:
    """Return the column of whole numbers for texts that may have zeros behind a point: ``84.0`` is 84."""

    def exact(text: str) -> Any:
        return column.exact(text.partition(".")[0] if _ZEROS.fullmatch(text) else text)

    def fast(texts: pa.StringArray) -> pa.Array | None:
        return column.fast(pc.replace_substring_regex(texts, r"^([0-9]+)\.0*\z", r"\1"))

    return replace(column, exact=exact, fast=fast)


def first_address(column: CsvColumn) -> CsvColumn:
    """Return the column of addresses for texts that may hold several: the first one counts."""

    def first(text: str) -> str:
        if text.startswith(("[", "{")):  # a list or object of JSON
            found = _QUOTED_ADDRESS.search(text)
            return found[1] if found else text
        return _NEXT_ADDRESS.split(text, maxsplit=1)[0]

    def fast(texts: pa.StringArray) -> pa.Array | None:
        if pc.any(pc.match_substring_regex(texts, rf"^[\[{{]|{_NEXT_ADDRESS.pattern}")).as_py():
            texts = pa.array([first(text) for text in texts.to_pylist()], pa.string())
        return column.fast(texts)

    return replace(column, exact=lambda text: column.exact(first(text)), fast=fast)


def flag_column(name: str) -> CsvColumn:
    """Return a column of exactly ``True`` or ``False``, as in the Kaggle file."""

    def exact(text: str) -> bool:
        if _not_empty(text) not in ("True", "False"):
            raise ValueError(f"{_shown(text)} is neither True nor False")
        return text == "True"

    def fast(texts: pa.StringArray) -> pa.Array | None:
        values = pc.equal(texts, "True")
        return values if pc.all(pc.or_(values, pc.equal(texts, "False"))).as_py() else None

    return CsvColumn(name, pa.bool_(), exact, fast, shortest=len("True"))


def any_flag_column(name: str) -> CsvColumn:
    """Return a column of true or false in any case, yes or no, 1 or 0."""
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

    def exact(text: str) -> bool:
        if (value := values.get(_not_empty(text).lower())) is None:
            raise ValueError(f"{_shown(text)} is neither true nor false")
        return value

    def fast(texts: pa.StringArray) -> pa.Array | None:
        found = pa.array([values.get(text.lower()) for text in texts.to_pylist()], pa.bool_())
        return None if found.null_count else found

    return CsvColumn(name, pa.bool_(), exact, fast)


def or_unknown(column: CsvColumn, unknown: str) -> CsvColumn:
    """Return the column, in which an empty text means the text ``unknown``."""

    def exact(text: str) -> Any:
        return column.exact(text or unknown)

    def fast(texts: pa.StringArray) -> pa.Array | None:
        return column.fast(pc.if_else(pc.equal(texts, ""), unknown, texts))

    return replace(column, exact=exact, fast=fast, shortest=0)


def stripped(texts: pa.StringArray) -> pa.StringArray:
    """Return ``texts`` without white space at either end, like ``str.strip``."""
    data, offsets = _bytes(texts), _offsets(texts)
    starts, ends = offsets[:-1], offsets[1:]
    filled = starts < ends
    edges = np.concatenate([data[starts[filled] - offsets[0]], data[ends[filled] - 1 - offsets[0]]])
    # white space beyond ASCII begins and ends with a byte above 127
    if ((edges <= ord(" ")) | (edges > 127)).any():
        return pc.utf8_trim(texts, WHITESPACE)
    return texts


def _offsets(texts: pa.StringArray) -> npt.NDArray[np.int32]:
    return np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]


def _lengths(texts: pa.StringArray) -> npt.NDArray[np.int32]:
    return np.diff(_offsets(texts))


def _bytes(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    offsets, data = _offsets(texts), texts.buffers()[2]
    if data is None:
        return np.zeros(0, np.uint8)
    return np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]


def _byte_set(allowed: bytes) -> npt.NDArray[np.bool_]:
    return np.isin(np.arange(256), list(allowed))


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _span(lowest: float, highest: float) -> str:
    return f"{lowest:,} or more" if math.isinf(highest) else f"{lowest:,} to {highest:,}"
