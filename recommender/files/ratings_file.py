"""A reader of a shop's own ratings, ``user_id,product_id,rating[,timestamp]``, for product_ratings and user_id_map.

Columns are found by name, in any order; faulty rows go to ``rejected_rows.csv`` as in ``csv_rows``.

- user_id: if all of them are whole numbers from 1 (``42``, not ``042``), they stay as they are. Otherwise all are text:
  a known one keeps its number, new ones are numbered in the order of their code points (see
  `recommender.database.identities`), and the numbers are kept in user_id_map.
- product_id: 10 characters A-Z 0-9; it need not be in the catalog (only products of the catalog are recommended).
- rating: 0.5 to 5 in half steps.
- timestamp: seconds or milliseconds since 1970, or ISO 8601; without a zone it is UTC. Empty or absent: the rating has
  no time (created_at is NULL), and updated_at is the time of the load, so that a running service notices the row.

If a pair of user and product comes twice, the last row of the file wins.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender.database import TEXT, Identities
from recommender.database.schema import ASIN_LENGTH
from recommender.files.csv_columns import CsvColumn, code_column, number_column, required_text_column
from recommender.files.csv_rows import CsvRows
from recommender.files.rejected_rows import RejectedRows
from recommender.settings import LARGEST_ID

HINT = "name the CSV file with the columns user_id,product_id,rating[,timestamp]"
LONGEST_USER_ID = 255  # characters
LATEST = dt.datetime(2100, 1, 1)
_MILLISECONDS_FROM = 10**11  # as seconds that is the year 5138, as milliseconds 1973
_TIME = pa.timestamp("us")


@dataclass(frozen=True)
class ShopRatings:
    """The ratings of a file.

    ``ratings``: columns of product_ratings, one row for each user and product, in that order. ``user_ids``: the numbers
    of all known text ids, empty if the ids are numbers. ``rows`` = len(ratings) + ``repeated`` + ``rejected``.
    """

    ratings: pa.Table
    user_ids: dict[str, int]
    rows: int
    repeated: int
    rejected: int


def read_ratings_file(
    path: Path, rejected: RejectedRows, *, loaded_at: dt.datetime, known: Identities | None = None
) -> ShopRatings:
    """Read the whole file into memory.

    ``known``: the users that have a number already. ``loaded_at``: ``updated_at`` of ratings without a time, UTC
    without a zone. InputFileError: missing, unreadable, empty, a column missing, no good row; TooManyRejectedError.
    """
    rows = CsvRows(path, _columns(), rejected, optional=[timestamp_column()], hint=HINT)
    batches = list(rows.batches())
    read = pa.Table.from_batches(batches, batches[0].schema)
    users, user_ids = numbered(read["user_id"].combine_chunks(), known or Identities())
    kept = last_of_each(users, read["product_id"])
    times = _times(read).take(kept)
    ratings = pa.table(
        {
            "user_id": pa.array(users[kept.to_numpy()]),
            "product_id": read["product_id"].take(kept),
            "rating": read["rating"].take(kept),
            "created_at": times,
            "updated_at": pc.fill_null(times, pa.scalar(loaded_at, _TIME)),
        }
    )
    repeated = read.num_rows - ratings.num_rows
    assert ratings.num_rows + repeated + rows.rejected == rows.rows, f"{path}: rows lost in silence"
    return ShopRatings(ratings, user_ids, rows.rows, repeated, rows.rejected)


def _columns() -> list[CsvColumn]:
    return [
        required_text_column("user_id", max_characters=LONGEST_USER_ID),
        code_column("product_id", ASIN_LENGTH),
        rating_column(),
    ]


def rating_column() -> CsvColumn:
    number = number_column("rating", lowest=0.5, highest=5)

    def exact(text: str) -> float:
        value = float(number.exact(text))
        if (value * 2) % 1:
            raise ValueError(f"{text!r} is not a whole or half number")
        return value

    def fast(texts: pa.StringArray) -> pa.Array | None:
        values = number.fast(texts)
        return None if values is None or ((values.to_numpy() * 2) % 1).any() else values

    return replace(number, exact=exact, fast=fast)


def timestamp_column() -> CsvColumn:
    latest = int(LATEST.replace(tzinfo=dt.UTC).timestamp()) * 1_000_000

    def exact(text: str) -> int | None:
        if not text:
            return None
        value = _microseconds(text)
        if not 0 <= value < latest:
            raise ValueError(f"{text[:40]!r} is not between 1970 and {LATEST.year}")
        return value

    def fast(texts: pa.StringArray) -> pa.Array | None:
        if pc.all(pc.utf8_is_digit(texts)).as_py() and pc.all(pc.string_is_ascii(texts)).as_py():
            numbers = pc.cast(texts, pa.int64()).to_numpy()
            if numbers.max() > _MILLISECONDS_FROM * 1_000:
                return None
            values = pa.array(np.where(numbers < _MILLISECONDS_FROM, numbers * 1_000_000, numbers * 1_000), _TIME)
        else:
            values = pc.cast(texts, _TIME)
        held = values.cast(pa.int64()).to_numpy()
        return values if held.min() >= 0 and held.max() < latest else None

    return CsvColumn("timestamp", _TIME, exact, fast, shortest=0)


def _microseconds(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 18:
        return int(text) * (1_000_000 if int(text) < _MILLISECONDS_FROM else 1_000)
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        message = f"{text[:40]!r} is neither seconds, milliseconds nor a date as 2024-12-31 23:59:59"
        raise ValueError(message) from None
    since = time.replace(tzinfo=time.tzinfo or dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return since // dt.timedelta(microseconds=1)


def numbered(ids: pa.StringArray, known: Identities) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
    """Return each row's user id as a number, and the numbers of all text ids, also of those ``known`` before."""
    encoded = ids.dictionary_encode()
    names = encoded.dictionary
    if pc.all(pc.match_substring_regex(names, r"^[1-9][0-9]{0,18}\z")).as_py() and _fit(names):
        numbers = pc.cast(names, pa.int64()).to_numpy()
        user_ids = {}
    else:
        texts = names.to_pylist()
        user_ids = (known if known.kind == TEXT else Identities(highest=known.highest)).numbers_for(sorted(texts))
        numbers = np.array([user_ids[text] for text in texts], np.int64)
    return numbers[encoded.indices.to_numpy()], user_ids


def _fit(names: pa.StringArray) -> bool:
    return max(int(name) for name in names.to_pylist()) <= LARGEST_ID


def last_of_each(users: npt.NDArray[np.int64], products: pa.ChunkedArray) -> pa.Array:
    """Return the rows that are the last of their user and product, in the order of user and product."""
    encoded = products.combine_chunks().dictionary_encode()
    order_of_names = pc.sort_indices(encoded.dictionary).to_numpy()
    rank: npt.NDArray[np.int64] = np.empty(len(order_of_names), np.int64)
    rank[order_of_names] = np.arange(len(order_of_names))
    codes = rank[encoded.indices.to_numpy()]
    order = np.lexsort((codes, users))  # stable: rows of a pair stay in the file's order
    last = np.ones(len(order), np.bool_)
    last[:-1] = (np.diff(users[order]) != 0) | (np.diff(codes[order]) != 0)
    return pa.array(order[last])


def _times(read: pa.Table) -> pa.ChunkedArray:
    if "timestamp" in read.column_names:
        return read["timestamp"]
    return pa.chunked_array([pa.nulls(read.num_rows, _TIME)])
