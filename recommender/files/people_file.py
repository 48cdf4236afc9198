"""A reader of a shop's people, for the table users: id, country, age and gender, and names and e-mails if wanted.

- Age: an age group of the table (18-24, 25-34, 35-44, 45-54, 55-64, 65+; under 18), an age in years, or a year or date
  of birth. What is none of these, or no age of a person, is not known, as in every file of ages.
- country, gender: texts as they are; empty is not known.
- name and email are read only if the caller wants them. Of a repeated e-mail the first person keeps it.

If an id comes twice, the last row wins. Files of any form, as for ratings (`file_form`).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.errors import InputFileError
from recommender.files.column_names import USER, ColumnTable, Names, given_columns
from recommender.files.csv_columns import CsvColumn, text_column
from recommender.files.file_form import understood
from recommender.files.ratings_file import SHOWN_ROWS
from recommender.files.rejected_rows import RejectedRows
from recommender.files.sources import listed
from recommender.files.user_ids import text_ids
from recommender.files.value_rows import rows_of

HINT = "name the file with the columns user_id,country,age_group"
AGES = {0: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-54", 55: "55-64", 65: "65+"}
OLDEST = 120
NAMES: Names = {
    "user_id": " ".join(name for name in f"{USER} id".split() if not ("mail" in name or "name" in name)),
    "country": "country_code country_name billing_country shipping_country default_address_country_code",
    "age_group": "age agegroup age_range age_bracket birth_year year_of_birth birthyear yob birth_date birthday "
    "birthdate date_of_birth dob",
    "gender": "sex",
    "name": "full_name first_name display_name user_name username",
    "email": "e_mail mail customer_email",
}
TABLE = ColumnTable(NAMES)
PRIVATE = ("name", "email")
_LENGTHS = {"country": 64, "gender": 16, "name": 255, "email": 255}
_GROUP = re.compile(r"([0-9]{1,3})\s*(?:-|–|to)\s*([0-9]{1,3})|(?:over|>=?)?\s*([0-9]{1,3})\s*\+?")
_YEAR = re.compile(r".*?((?:19|20)[0-9]{2}).*")


@dataclass(frozen=True)
class ShopPeople:
    """The people of a file: ``facts`` (n rows) as columns of users, ``user_ids`` (n,) as texts, each once.

    ``rows`` = n + ``repeated`` + ``rejected``. ``understood``: what the file is, in one line. ``first``: its first good
    rows.
    """

    facts: pa.Table
    user_ids: pa.StringArray
    rows: int
    repeated: int
    rejected: int
    understood: str
    first: pa.Table


def read_people_file(
    path: Path,
    rejected: RejectedRows,
    *,
    today: dt.date,
    columns: str | None = None,
    private: tuple[str, ...] = (),
    user_ids: CsvColumn | None = None,
) -> ShopPeople:
    """Read the whole file into memory.

    ``private``: those of name and email that are read. ``user_ids``: the column of ids; None: any. ``columns``:
    what the option for its columns says. InputFileError: missing, unreadable, empty, no column of ids, no good row;
    SettingError, TooManyRejectedError.
    """
    form = understood(path, TABLE, given_columns(columns, TABLE), hint=HINT)
    if "user_id" not in form.places:
        form.source.close()
        raise InputFileError(f"{path}: no column user_id among {listed(form.header)}: name it, as user_id=NAME")
    for name in PRIVATE:
        if name not in private:
            form.places.pop(name, None)
    optional = [text_column(name, max_characters=length) for name, length in _LENGTHS.items()]
    rows = rows_of(form, [user_ids or text_ids()], rejected, [age_column(today), *optional])
    batches = list(rows.batches())
    read = pa.Table.from_batches(batches, batches[0].schema)
    kept = _last_of_each(read["user_id"])
    facts = read.take(kept)
    if "email" in facts.column_names:
        place = facts.column_names.index("email")
        facts = facts.set_column(place, "email", _first_of_each(facts["email"]))
    assert read.num_rows + rows.rejected == rows.rows, f"{path}: rows lost in silence"
    return ShopPeople(
        facts.drop_columns("user_id"), facts["user_id"].combine_chunks(), rows.rows, read.num_rows - facts.num_rows,
        rows.rejected, form.words(rows.rows), read.slice(0, SHOWN_ROWS),
    )  # fmt: skip


def age_column(today: dt.date) -> CsvColumn:
    """Return the column of age groups; what cannot be an age is not known."""

    def exact(text: str) -> str | None:
        return age_group(text, today.year)

    def fast(texts: pa.StringArray) -> pa.Array:
        encoded = texts.dictionary_encode()
        return pa.array([exact(text) for text in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)

    return CsvColumn("age_group", pa.string(), exact, fast, shortest=0)


def age_group(text: str, year: int) -> str | None:
    """Return the age group of an age, a group or a birth, in the words of the table; None: not known.

    >>> [age_group(text, 2024) for text in ("35-44", "34.0", "1990", "1990-05-31", "65+", "-1337", "NULL", "Under 18")]
    ['35-44', '25-34', '25-34', '25-34', '65+', None, None, 'under 18']
    """
    plain = text.strip().lower().removesuffix(".0")
    if plain.startswith("under"):
        return AGES[0]
    if found := _GROUP.fullmatch(plain):
        age = int(found[1] or found[3])
    elif found := _YEAR.fullmatch(plain):
        age = year - int(found[1])
    else:
        return None
    if not 0 < age <= OLDEST:
        return None
    return AGES[max(least for least in AGES if least <= age)]


def _last_of_each(ids: pa.ChunkedArray) -> pa.Array:
    """Return the last row of each id, in the order of the rows."""
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()
    _, from_end = np.unique(codes[::-1], return_index=True)
    return pa.array(np.sort(len(codes) - 1 - from_end))


def _first_of_each(texts: pa.ChunkedArray) -> pa.Array:
    """Return the texts with NULL in place of each repetition: case and accents aside, as the unique key compares."""
    plain = pc.replace_substring_regex(pc.utf8_normalize(pc.utf8_lower(texts), "NFKD"), r"\p{M}", "")
    codes = plain.combine_chunks().dictionary_encode().indices
    known = codes.is_valid().to_numpy(zero_copy_only=False)
    _, firsts = np.unique(codes.fill_null(-1).to_numpy(), return_index=True)
    first = np.zeros(len(codes), np.bool_)
    first[firsts] = True
    return pc.if_else(pa.array(first & known), texts.combine_chunks(), None)
