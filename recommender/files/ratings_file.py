"""A reader of a shop's own ratings, of users, products, stars and times, for product_ratings and user_id_map.

What the file is, is found from its first lines (`file_form`); faulty rows go to ``rejected_rows.csv``.

- user_id: if all of them are whole numbers from 1 (``42`` or ``42.0``, not ``042``), they stay. Otherwise all are text:
  a known one keeps its number, new ones are numbered in the order of their code points (see
  `recommender.database.identities`), and the numbers are kept in user_id_map.
- product_id: any by the rule in `recommender.shop`; it need not be in the catalog (only its products are recommended).
- rating: on any scale (see `rating_scales`); with a decimal comma where a comma separates no columns.
- timestamp: see `times`; nothing after tomorrow. Empty or absent: the rating has no time (created_at is NULL), and
  updated_at is the time of the load, so that a running service notices the row.

If a pair of user and product comes twice, the last row of the file wins.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recommender.database import TEXT, Identities
from recommender.errors import InputFileError
from recommender.files.checked_rows import CheckedRows
from recommender.files.column_names import RATING_NAMES, ColumnTable, given_columns, guessed_rating_columns
from recommender.files.csv_columns import CsvColumn, product_id_column, required_text_column
from recommender.files.file_form import FileForm, understood
from recommender.files.rating_scales import WantedScale, read_rated
from recommender.files.rejected_rows import RejectedRows
from recommender.files.sources import listed
from recommender.files.times import TIME, UNITS, kinds_of, mostly_before_1995, time_column
from recommender.files.value_rows import rows_of
from recommender.settings import LARGEST_ID
from recommender.shop import HALF_STARS, Scale

HINT = "name the file with the columns user_id,product_id,rating[,timestamp]"
LONGEST_USER_ID = 255  # characters
SHOWN_ROWS = 10
TABLE = ColumnTable(RATING_NAMES)


@dataclass(frozen=True)
class ShopRatings:
    """The ratings of a file.

    ``ratings``: columns of product_ratings, one row for each user and product, in that order. ``user_ids``: the numbers
    of all known text ids, empty if the ids are numbers. ``rows`` = len(ratings) + ``repeated`` + ``rejected`` +
    ``unrated``, rows of 0 that are left out. ``understood``: what the file is, in one line. ``first``: its first good
    rows, with their ratings on the ``scale``. ``others``: the numbers of the user ids of the shop's other files.
    """

    ratings: pa.Table
    user_ids: dict[str, int]
    rows: int
    repeated: int
    rejected: int
    understood: str
    first: pa.Table
    others: tuple[npt.NDArray[np.int64], ...] = ()
    scale: Scale = HALF_STARS
    unrated: int = 0


def read_ratings_file(
    path: Path,
    rejected: RejectedRows,
    *,
    loaded_at: dt.datetime,
    known: Identities | None = None,
    columns: str | None = None,
    others: Sequence[pa.StringArray] = (),
    wanted: WantedScale | None = None,
) -> ShopRatings:
    """Read the whole file into memory.

    ``known``: the users that have a number already. ``loaded_at``: ``updated_at`` of ratings without a time, UTC
    without a zone. ``columns``: what ``--columns`` says. ``others``: the user ids of the shop's other files, which are
    numbered together with these. ``wanted``: what is known of the scale. InputFileError: missing, unreadable, empty, a
    column missing,
    no good row, times that no shop has; SettingError for ``columns``; TooManyRejectedError.
    """
    given = given_columns(columns, TABLE)

    def opened() -> FileForm:
        form = understood(path, TABLE, given, guess=guessed_rating_columns, hint=HINT)
        require_ratings(form)
        return form

    def reader(form: FileForm, rating: CsvColumn, rejected: RejectedRows) -> CheckedRows:
        return rows_of(form, [*_ids(), rating], rejected, [shop_times(form, loaded_at)])

    rated = read_rated(opened, reader, rejected, wanted)
    read, form, rows = rated.read, rated.form, rated.rows
    refuse_early_times(form, read)
    own = read["user_id"].combine_chunks()
    (users, *more), user_ids = numbered_together([own, *others], known or Identities())
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
    assert found == rows.rows, f"{path}: rows lost in silence"
    told, first = form.words(rows.rows), read.slice(0, SHOWN_ROWS)
    counts = rows.rows, repeated, rows.rejected
    return ShopRatings(ratings, user_ids, *counts, told, first, tuple(more), rated.scale, rated.unrated)


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


def shop_times(form: FileForm, now: dt.datetime) -> CsvColumn:
    """Return the column of times up to tomorrow, in the unit that the file's first rows show, which is noted."""
    kinds = kinds_of(form.values("timestamp"))
    form.notes.update({"timestamp": kinds[0]} if kinds else {})
    return time_column("timestamp", kinds, dt.datetime.combine(now.date(), dt.time()) + dt.timedelta(2), "tomorrow")


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


def _ids() -> list[CsvColumn]:
    return [
        required_text_column("user_id", max_characters=LONGEST_USER_ID),
        product_id_column("product_id"),
    ]


def numbered_together(
    files: Sequence[pa.StringArray], known: Identities
) -> tuple[list[npt.NDArray[np.int64]], dict[str, int]]:
    """Return the numbers of each file's user ids, (n,) each: one person has one number in all of them.

    Also return the numbers of all text ids (see `numbered`).
    """
    users, user_ids = numbered(pa.concat_arrays(list(files)), known)
    return np.split(users, np.cumsum([len(ids) for ids in files])[:-1]), user_ids


def numbered(ids: pa.StringArray, known: Identities) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
    """Return each row's user id as a number, and the numbers of all text ids, also of those ``known`` before."""
    encoded = ids.dictionary_encode()
    names = encoded.dictionary
    whole = pc.replace_substring_regex(names, r"^([0-9]+)\.0*\z", r"\1")  # 84.0, as pandas writes numbers with gaps
    if pc.all(pc.match_substring_regex(whole, r"^[1-9][0-9]{0,18}\z")).as_py() and _fit(whole):
        numbers = pc.cast(whole, pa.int64()).to_numpy()
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
