"""A reader of any file of users, products and, if it has them, stars and times, into a rating matrix for evaluations.

What the file is, is found from its first lines (`file_form`). Unlike the import of a shop's ratings
(`recommender.files.ratings_file`) this reader skips no row: figures from a part of a file would look like those of the
whole file. So the first faulty row ends the reading with its line number.

- user_id, product_id: by the rules of an import. Whole numbers stay as they are, otherwise all users are numbered in
  sorted order. Every product may be recommended.
- rating: on any scale (see `rating_scales`); without the column every row counts as 5 stars (clicks, purchases).
- timestamp: see `times`; in every row or in none. Parts of a second are cut off.

If a pair of user and product comes twice, the last row of the file wins.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.database import NUMBERS, SECOND, TEXT, Identities
from recommender.errors import InputFileError
from recommender.files.checked_rows import CheckedRows
from recommender.files.column_names import given_columns, guessed_rating_columns
from recommender.files.csv_columns import CsvColumn, product_id_column
from recommender.files.file_form import FileForm, understood
from recommender.files.rating_scales import RatedRows, WantedScale, read_rated
from recommender.files.ratings_file import TABLE, last_of_each, time_kinds
from recommender.files.rejected_rows import RejectedRows
from recommender.files.times import time_column
from recommender.files.user_ids import DistinctIds, numbered, text_ids
from recommender.files.value_rows import rows_of
from recommender.shop import RatingMatrix, build_rating_matrix

LATEST = dt.datetime(2100, 1, 1)
HINT = "name a file with the columns user_id,product_id[,rating][,timestamp]"


class _FirstFault(RejectedRows):
    """A replacement of the file of rejected rows: the first rejected row is an error."""

    def __init__(self) -> None:
        super().__init__(Path("not written"), limit=0)

    def restart(self) -> None:
        """Do nothing: no row was rejected."""

    def add(self, file: Path, line: int, reason: str, raw: bytes) -> NoReturn:
        del raw
        raise InputFileError(f"{file}, line {line}: {reason}; correct or remove the line")


def read_evaluation_file(path: Path, columns: str | None = None, wanted: WantedScale | None = None) -> RatingMatrix:
    """Read the whole file into memory; ``rated_at`` (microseconds) is None if there is no timestamp column.

    ``columns``: what ``--columns`` says of the file. ``wanted``: what is known of the scale.

    InputFileError: missing, unreadable, empty, a column missing (the message names those that exist), a faulty row
    (with its line number).
    """
    ids = [text_ids(), product_id_column("product_id")]

    def opened() -> FileForm:
        return understood(path, TABLE, given_columns(columns, TABLE), guess=guessed_rating_columns, hint=HINT)

    def reader(form: FileForm, rating: CsvColumn, rejected: RejectedRows) -> CheckedRows:
        return rows_of(form, ids, rejected, [rating, _time_column(form, opened)])

    rated = read_rated(opened, reader, _FirstFault(), wanted)
    read = rated.read
    encoded = read["user_id"].combine_chunks().dictionary_encode()
    people = DistinctIds.of(encoded.dictionary)
    users, _ = numbered(encoded, people, Identities(), TEXT if len(people.odd) else NUMBERS)
    kept = last_of_each(users, read["product_id"])
    products, codes = _products(read["product_id"].take(kept))
    return build_rating_matrix(
        users[kept.to_numpy()],
        products,
        codes,
        _steps(rated, kept),
        in_catalog=np.ones(len(products), np.bool_),
        rated_at=_whole_seconds(read["timestamp"].take(kept)) if "timestamp" in read.column_names else None,
        scale=rated.scale,
    )


def _time_column(form: FileForm, opened: Callable[[], FileForm]) -> CsvColumn:
    """Return the loader's column, but refuse an empty time: some users would be split by time and some by chance."""
    column = time_column("timestamp", time_kinds(form, opened), LATEST, f"{LATEST.year - 1}")

    def exact(text: str) -> Any:
        if not text:
            raise ValueError("is empty: give every row a time, or leave the column out")
        return column.exact(text)

    def fast(texts: pa.StringArray) -> pa.Array | None:
        return None if pc.any(pc.equal(texts, "")).as_py() else column.fast(texts)

    return replace(column, exact=exact, fast=fast, shortest=1)


def _products(names: pa.ChunkedArray) -> tuple[NDArray[np.bytes_], NDArray[np.int32]]:
    """Return the distinct ids as bytes of UTF-8, and the index of each row's id among them."""
    encoded = names.combine_chunks().dictionary_encode()
    distinct = np.array(encoded.dictionary.cast(pa.binary()).to_pylist(), np.bytes_)
    codes: NDArray[np.int32] = encoded.indices.to_numpy()
    return distinct, codes


def _steps(rated: RatedRows, kept: pa.Array) -> NDArray[np.int8]:
    if "rating" not in rated.read.column_names:
        return np.full(len(kept), rated.scale.most, np.int8)
    steps = rated.scale.steps_of(rated.read["rating"].take(kept).to_numpy())
    assert steps is not None
    return steps


def _whole_seconds(times: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return microseconds since 1970, (n,), without the fraction of a second."""
    microseconds: NDArray[np.int64] = pc.cast(times, pa.int64()).to_numpy()
    return microseconds // SECOND * SECOND
