"""The user ids of a file: whole numbers or text. One rule decides for the whole file, so no odd row changes the others.

The kind is, in this order: the one that ``--user-ids`` names; the one of the ids in the tables; whole numbers if all
distinct ids are (``7`` or ``7.0``, not ``007`` or ``1e3``), but for one or one in a hundred; else text. In a file of
whole numbers each row with another id is rejected by name. In a file of texts every id stays as it is: ``7`` and
``7.0`` are two people.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender.database import NUMBERS, TEXT, Identities
from recommender.errors import InputFileError
from recommender.files.csv_columns import CsvColumn
from recommender.files.rejected_rows import RejectedRows
from recommender.settings import LARGEST_ID
from recommender.shop import LONGEST_KNOWN_ID, LONGEST_USER_ID, all_are_ids, id_fault

KINDS = {NUMBERS: "whole numbers", TEXT: "text"}  # in words
_WHOLE = re.compile(r"(0|[1-9][0-9]{0,18})(\.0*)?")
Files = TypeVar("Files")
_ODD_ONES = 100  # one in so many


@dataclass(frozen=True)
class DistinctIds:
    """The distinct ids of a file (k,): as texts, and as numbers; -1: not a whole number."""

    names: pa.StringArray
    numbers: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: pa.StringArray) -> DistinctIds:
        """Read distinct texts as numbers, as far as they are some."""
        digits = whole_numbers(names)
        whole = pc.match_substring_regex(digits, r"^(0|[1-9][0-9]{0,17})\z").to_numpy(zero_copy_only=False)
        numbers = np.full(len(names), -1, np.int64)
        if whole.any():
            numbers[whole] = pc.cast(digits.filter(pa.array(whole)), pa.int64()).to_numpy()
        for at in np.flatnonzero(~whole).tolist():
            text = digits[at].as_py()
            if len(text) == 19 and _WHOLE.fullmatch(text) and int(text) <= LARGEST_ID:
                numbers[at] = int(text)
        return cls(names, numbers)

    @property
    def odd(self) -> pa.StringArray:
        """The ids that are no whole numbers."""
        return self.names.filter(pa.array(self.numbers < 0))

    @property
    def kind(self) -> str:
        """NUMBERS or TEXT, by the rule for a file alone."""
        n_odd, n = len(self.odd), len(self.names)
        return NUMBERS if n_odd <= max(1, n // _ODD_ONES) and 2 * n_odd < n else TEXT


def whole_numbers(texts: Any) -> Any:
    """Return texts (n,) of Arrow without zeros behind a point: pandas writes 84 as 84.0."""
    return pc.replace_substring_regex(texts, r"^([0-9]+)\.0*\z", r"\1")


def kind_of(path: Path, ids: DistinctIds, known: Identities, wanted: str | None) -> str:
    """Return the kind of the file's ids; ``wanted``: by ``--user-ids``.

    InputFileError if most ids are text where those in the tables are whole numbers.
    """
    kind = wanted or (known.kind if known.kind in KINDS else ids.kind)
    if kind == NUMBERS and not wanted and 2 * len(ids.odd) > len(ids.names):
        raise InputFileError(
            f"{path}: its user ids are text, such as {ids.odd[0].as_py()!r:.60}, and those in the tables are whole "
            "numbers: give --user-ids text if other people are to take their place"
        )
    return kind


def numbered(
    encoded: pa.DictionaryArray, ids: DistinctIds, known: Identities, kind: str
) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
    """Return each row's user id as a stored number, and the numbers of all text ids, also of those ``known`` before.

    ``encoded``: the rows' ids, with those of ``ids`` as its dictionary. NUMBERS: no odd id is left.
    """
    user_ids: dict[str, int] = {}
    numbers = ids.numbers
    if kind == TEXT:
        texts = ids.names.to_pylist()
        user_ids = (known if known.kind == TEXT else Identities(highest=known.highest)).numbers_for(sorted(texts))
        numbers = np.array([user_ids[text] for text in texts], np.int64)
    return numbers[encoded.indices.to_numpy()], user_ids


@dataclass(frozen=True)
class Numbered:
    """The people of some files: of each file the stored number of every row's user, (n,).

    ``kind``: NUMBERS or TEXT. ``user_ids``: the numbers of all known text ids.
    """

    kind: str
    users: list[npt.NDArray[np.int64]]
    user_ids: dict[str, int]


def read_numbered(
    path: Path,
    rejected: RejectedRows,
    known: Identities,
    wanted: str | None,
    read: Callable[[CsvColumn], Files],
    ids_of: Callable[[Files], list[pa.StringArray]],
) -> tuple[Files, Numbered]:
    """Return what ``read`` returns, with a column of user ids, and the numbers of all its people.

    One person has one number in all files. ``ids_of``: the user ids of each file's rows. ``path``: the first file. If
    some ids are odd among whole numbers, all is read a second time, and their rows are rejected by name.
    """
    found = read(text_ids(known))
    encoded = pa.concat_arrays(ids_of(found)).dictionary_encode()
    ids = DistinctIds.of(encoded.dictionary)
    kind = kind_of(path, ids, known, wanted)
    if kind == NUMBERS and len(ids.odd):
        rejected.restart()
        found = read(number_ids())
        encoded = pa.concat_arrays(ids_of(found)).dictionary_encode()
        ids = DistinctIds.of(encoded.dictionary)
    users, user_ids = numbered(encoded, ids, known, kind)
    ends = np.cumsum([len(texts) for texts in ids_of(found)])
    return found, Numbered(kind, np.split(users, ends[:-1]), user_ids)


def text_ids(known: Identities | None = None) -> CsvColumn:
    """Return the column of any ids. An id among ``known`` may be longer than a new one."""
    names = known.known if known else {}

    def exact(text: str) -> str:
        if fault := id_fault(text, LONGEST_KNOWN_ID if text in names else LONGEST_USER_ID):
            raise ValueError(fault)
        return text

    def fast(texts: pa.StringArray) -> pa.Array | None:
        return texts if all_are_ids(texts) else None

    return CsvColumn("user_id", pa.string(), exact, fast)


def number_ids() -> CsvColumn:
    """Return the column of whole numbers, as texts: every other id is rejected."""

    def exact(text: str) -> str:
        found = _WHOLE.fullmatch(text)
        if not found or int(found[1]) > LARGEST_ID:
            raise ValueError(f"{text!r:.60} is no whole number from 0 to {LARGEST_ID}, as the other user ids are")
        return text

    def fast(texts: pa.StringArray) -> pa.Array | None:
        return texts if pc.all(pc.match_substring_regex(texts, r"^(0|[1-9][0-9]{0,17})(\.0*)?\z")).as_py() else None

    return replace(text_ids(), exact=exact, fast=fast)
