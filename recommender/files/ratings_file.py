"""A reader of a shop's own ratings, of users, products, stars and times, for product_ratings and user_id_map.

What the file is, is found from its first lines (`file_form`); faulty rows go to ``rejected_rows.csv``.

- user_id: whole numbers from 0, which stay as they are, or text of 1 to 64 characters (`user_ids` decides). A known
  text keeps its number, new ones are numbered in the order of their code points (`recommender.database.identities`),
  and the numbers are kept in user_id_map.
- product_id: any by the rule in `recommender.shop`; it need not be in the catalog (only its products are recommended).
- rating: on any scale (see `rating_scales`); with a decimal comma where a comma separates no columns.
- timestamp: see `times`; nothing after tomorrow. Empty or absent: the rating has no time (created_at is NULL), and
  updated_at is the time of the load, so that a running service notices the row.

If a pair of user and product comes twice, the last row of the file wins.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender.database import Identities
from recommender.errors import InputFileError
from recommender.files.checked_rows import CheckedRows
from recommender.files.column_names import RATING_NAMES, ColumnTable, given_columns, guessed_rating_columns
from recommender.files.csv_columns import CsvColumn, product_id_column, text_column
from recommender.files.file_form import FileForm, understood
from recommender.files.rating_scales import RatedRows, WantedScale, read_rated
from recommender.files.rejected_rows import RejectedRows, UnwrittenRejectedRows
from recommender.files.sources import listed
from recommender.files.times import EITHER, TIME, UNITS, day_or_month_first, kinds_of, mostly_before_1995, time_column
from recommender.files.user_ids import Numbered, read_numbered
from recommender.files.value_rows import rows_of
from recommender.shop import HALF_STARS, Scale

HINT = "name the file with the columns user_id,product_id,rating[,timestamp]"
SHOWN_ROWS = 10
_LONGEST_TIME = 100  # characters
TABLE = ColumnTable(RATING_NAMES)


@dataclass(frozen=True)
class ShopRatings:
    """The ratings of a file.

    ``ratings``: columns of product_ratings, one row for each user and product, in that order. ``kind``: of the user
    ids, NUMBERS or TEXT. ``user_ids``: the numbers of all known text ids. ``rows`` = len(ratings) + ``repeated`` +
    ``rejected`` + ``unrated``, rows of 0 that are left out. ``understood``: what the file is, in one line. ``first``:
    its first good rows, with their ratings on the ``scale``.
    """

    ratings: pa.Table
    kind: str
    user_ids: dict[str, int]
    rows: int
    repeated: int
    rejected: int
    understood: str
    first: pa.Table
    scale: Scale = HALF_STARS
    unrated: int = 0


def read_ratings_file(
    path: Path,
    rejected: RejectedRows,
    *,
    loaded_at: dt.datetime,
    known: Identities | None = None,
    columns: str | None = None,
    user_ids: str | None = None,
    wanted: WantedScale | None = None,
) -> ShopRatings:
    """Read the whole file into memory.

    ``known``: the users that have a number already. ``loaded_at``: ``updated_at`` of ratings without a time, UTC
    without a zone. ``columns``: what ``--columns`` says; ``user_ids``: what ``--user-ids`` does; ``wanted``: what is
    known of the scale. InputFileError: missing, unreadable, empty, a column missing, no good row, times that no shop
    has, ids of another kind than those in the tables; SettingError for ``columns``; TooManyRejectedError.
    """

    def read(column: CsvColumn) -> RatedRows:
        return read_rating_rows(path, rejected, column, loaded_at=loaded_at, columns=columns, wanted=wanted)

    rated, people = read_numbered(path, rejected, known or Identities(), user_ids, read, lambda rows: [rows.user_ids])
    return ratings_of(rated, people.users[0], people, loaded_at=loaded_at)


def read_rating_rows(
    path: Path,
    rejected: RejectedRows,
    user_ids: CsvColumn,
    *,
    loaded_at: dt.datetime,
    columns: str | None,
    wanted: WantedScale | None,
) -> RatedRows:
    """Return the good rows of the file, with users as texts that the column ``user_ids`` lets in."""
    given = given_columns(columns, TABLE)

    def opened() -> FileForm:
        form = understood(path, TABLE, given, guess=guessed_rating_columns, hint=HINT)
        require_ratings(form)
        return form

    def reader(form: FileForm, rating: CsvColumn, rejected: RejectedRows) -> CheckedRows:
        wanted_columns = [user_ids, product_id_column("product_id"), rating]
        return rows_of(form, wanted_columns, rejected, [shop_times(form, loaded_at, opened)])

    rated = read_rated(opened, reader, rejected, wanted)
    refuse_early_times(rated.form, rated.read)
    return rated


def ratings_of(
    rated: RatedRows, users: npt.NDArray[np.int64], people: Numbered, *, loaded_at: dt.datetime
) -> ShopRatings:
    """Return the rows as ratings by ``users`` (n,), who are among ``people``."""
    read, form, rows = rated.read, rated.form, rated.rows
    kept = last_of_each(users, read["product_id"])
    times = _times(read).take(kept)
    ratings = pa.table(
        {
            "user_id": pa.array(users[kept.to_numpy()]),
            "product_id": read["product_id"].take(kept),
            "rating": read["rating"].take(kept),
            "created_at": times,
            "updated_at": pc.fill_null(times, pa.scalar(loaded_at, TIME)),
        }
    )
    repeated = read.num_rows - ratings.num_rows
    found = ratings.num_rows + repeated + rows.rejected + rated.unrated
    assert found == rows.rows, f"{form.source.path}: rows lost in silence"
    told, first = form.words(rows.rows), read.slice(0, SHOWN_ROWS)
    counts = rows.rows, repeated, rows.rejected
    return ShopRatings(ratings, people.kind, people.user_ids, *counts, told, first, rated.scale, rated.unrated)


def require_ratings(form: FileForm) -> None:
    """Raise InputFileError if users, products or ratings are missing; the file is then closed."""
    missing = [name for name in ("user_id", "product_id", "rating") if name not in form.places]
    if not missing:
        return
    form.source.close()
    if missing == ["rating"]:
        why = f"if these are clicks or orders, python load_recommendation_data.py --interactions {form.source.path}"
        why += " imports them; if it has stars, name them, as --columns rating=NAME"
    else:
        why = "name them, as --columns " + ",".join(f"{name}=NAME" for name in missing)
    raise InputFileError(f"{form.source.path}: no column {', '.join(missing)} among {listed(form.header)}: {why}")


def shop_times(form: FileForm, now: dt.datetime, opened: Callable[[], FileForm]) -> CsvColumn:
    """Return the column of times up to tomorrow, in the unit or order that the file shows, which is noted."""
    kinds = time_kinds(form, opened)
    form.notes.update({"timestamp": kinds[0]} if kinds else {})
    return time_column("timestamp", kinds, dt.datetime.combine(now.date(), dt.time()) + dt.timedelta(2), "tomorrow")


def time_kinds(form: FileForm, opened: Callable[[], FileForm]) -> list[str]:
    """Return `kinds_of` the times. If the first dates may have day or month first, the whole file is looked at.

    ``opened`` opens it once more.
    """
    kinds = kinds_of(form.values("timestamp"))
    if EITHER not in kinds:
        return kinds
    sink = UnwrittenRejectedRows(limit=1 << 62)
    rows = rows_of(opened(), [text_column("timestamp", max_characters=_LONGEST_TIME)], sink)
    order = day_or_month_first(batch["timestamp"].drop_null() for batch in rows.batches())
    return [order if kind == EITHER else kind for kind in kinds]


def refuse_early_times(form: FileForm, read: pa.Table) -> None:
    """Raise InputFileError if most of the times are numbers that fall before 1995."""
    unit = form.notes.get("timestamp", "")
    early = mostly_before_1995(read["timestamp"]) if unit in UNITS else 0
    if early:
        shown = listed(form.values("timestamp")[:3])
        raise InputFileError(
            f"{form.source.path}: {early:,} of {read.num_rows:,} times would be before 1995 if they are {unit} since "
            f"1970 ({shown}): give --columns timestamp= to import without times, or write them as 2024-12-31 23:59:59"
        )


def last_of_each(users: npt.NDArray[np.int64], products: pa.ChunkedArray) -> pa.Array:
    """Return the rows that are the last of their user and product, in the order of user and product."""
    encoded = products.combine_chunks().dictionary_encode()
    order_of_names = pc.sort_indices(encoded.dictionary).to_numpy()
    rank: npt.NDArray[np.int32] = np.empty(len(order_of_names), np.int32)
    rank[order_of_names] = np.arange(len(order_of_names), dtype=np.int32)
    codes = rank[encoded.indices.to_numpy()]
    order = np.lexsort((codes, users))  # stable: rows of a pair stay in the file's order
    last = np.zeros(len(order), np.bool_)
    last[-1:] = True
    for values in (users, codes):  # one at a time: each copy of a column is memory
        ordered = values[order]
        last[:-1] |= ordered[1:] != ordered[:-1]
    return pa.array(order[last])


def _times(read: pa.Table) -> pa.ChunkedArray:
    if "timestamp" in read.column_names:
        return read["timestamp"]
    return pa.chunked_array([pa.nulls(read.num_rows, TIME)])
