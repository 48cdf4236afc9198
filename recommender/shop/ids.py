"""The only place that spells the rule for ids that are texts: of products, and of users in a shop of texts.

Such an id is text of 1 to 64 characters, compared exactly: case, accents and leading zeros count. Refused are
control characters, a blank at either end, and ``.`` and ``..``, which a path of HTTP loses. Refused is also what is no
character: halves of surrogate pairs, U+FFFE, U+FFFF, and U+FFFD, which stands for bytes that could not be read.
Below is the form of product ids in arrays, too.

In arrays the ids are bytes of UTF-8, numpy's ``S<width>`` with the width of the longest there. numpy compares them byte
by byte, which is the tie rule. Python compares texts by code point, and the databases do the same by their binary
collations. This is the same order, since UTF-8 keeps the order of code points.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ID_LENGTH = PRODUCT_ID_LENGTH = 64  # characters
CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
BLANKS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and chr(code) not in CONTROLS)
NO_CHARACTERS = "\ufffd\ufffe\uffff"
DOTS = (".", "..")
PRODUCT_ID_RULE = f"1 to {ID_LENGTH} characters without control characters or blanks at the ends, not . or .."


def _spans(characters: str, form: str) -> str:
    """Return ascending characters as a class of a regular expression; ``form``: how it writes a code point."""
    codes = [ord(character) for character in characters]
    firsts, lasts = ([code for code in codes if code + step not in codes] for step in (-1, 1))
    return "".join(f"{form.format(first)}-{form.format(last)}" for first, last in zip(firsts, lasts, strict=True))


def _fault(form: str) -> str:
    never, blank = _spans(CONTROLS + NO_CHARACTERS, form), _spans(BLANKS, form)
    return rf"[{never}]|^[{blank}]|[{blank}]$|^\.{{1,2}}$"


PRODUCT_ID_FAULT = _fault(
    r"\u{:04x}"
)  # what is found in a text of 1 to 64 characters that is no id; for JSON Schema too
_FAULT_OF_TEXT, _FAULT_FOR_ARROW = re.compile(rf"{PRODUCT_ID_FAULT}|[\ud800-\udfff]"), _fault(r"\x{{{:04x}}}")

Ids = NDArray[np.bytes_]


def id_fault(text: str, longest: int = ID_LENGTH) -> str | None:
    """Return what keeps a text from being an id, in words after its name; None if it is one.

    >>> id_fault("C-0042"), id_fault(" C"), id_fault("..")
    (None, 'begins or ends with a blank', 'must not be . or ..')
    """
    if not text:
        return "is empty"
    if len(text) > longest:
        return f"is longer than {longest} characters"
    if text.isascii() and text.isprintable() and " " not in (text[0], text[-1]):  # nearly all
        return "must not be . or .." if text in DOTS else None
    found = _FAULT_OF_TEXT.search(text)
    if found is None:
        return None
    if found[0] in CONTROLS:
        return "holds a control character"
    if found[0] in BLANKS:
        return "begins or ends with a blank"
    return "holds what is no character"


def is_product_id(text: str) -> bool:
    """Tell whether a text may be a product id.

    >>> [is_product_id(text) for text in ("B08N5WRWNW", "7", "A/b, é", "", " 7", "..", "a\\tb", "x" * 65)]
    [True, True, True, False, False, False, False, False]
    """
    return id_fault(text) is None


def checked_product_id(text: str) -> str:
    """Return the text if it may be a product id. ValueError with the rule."""
    if not is_product_id(text):
        raise ValueError(f"is not {PRODUCT_ID_RULE}")
    return text


def all_are_ids(texts: pa.StringArray) -> bool:
    """Tell whether all texts (n,), without NULL, may be ids of up to 64 characters."""
    held, lengths = _held(texts)
    if not len(lengths):
        return True
    shortest, longest = int(lengths.min()), int(lengths.max())
    if not shortest:
        return False
    if longest <= PRODUCT_ID_LENGTH and int(held.min()) > ord(" ") and int(held.max()) < 0x7F:  # no more than ASCII
        return shortest > max(map(len, DOTS)) or not pc.any(pc.is_in(texts, pa.array(DOTS))).as_py()
    if pc.max(pc.utf8_length(texts)).as_py() > PRODUCT_ID_LENGTH:
        return False
    return not pc.any(pc.match_substring_regex(texts, _FAULT_FOR_ARROW)).as_py()


def product_id_bytes(texts: pa.StringArray) -> Ids | None:
    """Return product ids (n,) as they are in arrays; None if one of the texts, or a NULL, is no product id."""
    if texts.null_count or not all_are_ids(texts):
        return None
    held, lengths = _held(texts)
    width = int(lengths.max(initial=1))
    if (lengths == width).all():
        return held.view(f"S{width}")
    padded = np.zeros((len(lengths), width), np.uint8)
    padded[np.arange(width) < lengths[:, np.newaxis]] = held
    return padded.view(f"S{width}")[:, 0]


def product_id_texts(ids: Ids) -> pa.StringArray:
    """Return product ids (n,) as texts."""
    width = ids.dtype.itemsize
    held = np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), width)
    filled = held != 0
    starts, whole = np.arange(len(ids) + 1, dtype=np.int32) * np.int32(width), bool(filled.all())
    if not whole:
        np.cumsum(filled.sum(axis=1), out=starts[1:])
    return pa.StringArray.from_buffers(len(ids), pa.py_buffer(starts), pa.py_buffer(held if whole else held[filled]))


def number_before(ids: Ids, names: Ids) -> NDArray[np.int64]:
    """Return how many of ``ids`` (n,), which ascend, are smaller than each of the names (m,).

    `numpy.searchsorted` would copy all ids if a name is longer than they are.
    """
    width = ids.dtype.itemsize
    if names.dtype.itemsize <= width:
        return np.searchsorted(ids, names)
    heads = names.astype(f"S{width}")
    return np.where(heads == names, np.searchsorted(ids, heads), np.searchsorted(ids, heads, side="right"))


def places_of(ids: Ids, names: Ids) -> NDArray[np.int32]:
    """Return the place of each of the names (m,) among ``ids`` (n,), which ascend; -1: it is not there."""
    at = number_before(ids, names)
    there = at < len(ids)
    there[there] = ids[at[there]] == names[there]
    return np.where(there, at, -1).astype(np.int32)


def place_of(ids: Ids, product_id: str) -> int | None:
    """Return the place of a product among ``ids`` (n,), which ascend; None: it is not there."""
    name = product_id.encode("utf-8", "surrogatepass")
    if len(name) > ids.dtype.itemsize:
        return None
    place = int(np.searchsorted(ids, name))
    return place if place < len(ids) and ids[place] == name else None


def _held(texts: pa.StringArray) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the bytes of all texts (n,), one after the other, and how many are of each (n,)."""
    _, offsets, characters = texts.buffers()
    if not len(texts):
        return np.empty(0, np.uint8), np.empty(0, np.int32)
    starts = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    held = np.frombuffer(characters, np.uint8) if characters else np.empty(0, np.uint8)
    return held[starts[0] : starts[-1]], np.diff(starts)
