"""A reader of a shop's own interactions, of users, products, types and times, for user_interactions.

Files of any form, as for ratings (`file_form`); faulty rows go to ``rejected_rows.csv``.

- interaction_type: view, click, add_to_cart or purchase, or another known word for one of them (`TYPE_WORDS`), case and
  all but letters aside. Without such a column all rows are of one type: purchases, as in a file of orders, unless the
  caller names another. The first line says so.
- timestamp: see `times`; nothing after tomorrow. Empty or absent: not known.
- order_id, session_id (up to 64 characters), quantity (a whole number from 1), value (as a price): optional, and kept
  in the table.

Every row is an event of its own: none is merged with another.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.database.schema import EVENT_ID_LENGTH, INTERACTION_TYPES, LARGEST_INT
from recommender.errors import InputFileError, SettingError
from recommender.files.catalog_files import priced_column
from recommender.files.column_names import PRODUCT, TIME, USER, ColumnTable, Names, given_columns
from recommender.files.csv_columns import CsvColumn, number_column, product_id_column, text_column
from recommender.files.file_form import FileForm, understood
from recommender.files.ratings_file import SHOWN_ROWS, refuse_early_times, shop_times
from recommender.files.rejected_rows import RejectedRows
from recommender.files.sources import listed
from recommender.files.times import TIME as TIME_TYPE
from recommender.files.user_ids import text_ids
from recommender.files.value_rows import rows_of

HINT = "name the file with the columns user_id,product_id,interaction_type,timestamp"
TYPE_WORDS = {
    "view": "view viewed views pageview productview viewitem itemview viewproduct pv visit detail play played listen",
    "click": "click clicked clicks clk clickitem selectitem productclick",
    "add_to_cart": "addtocart addedtocart cart cartadd addcart addtobasket basket",
    "purchase": "purchase purchased purchases transaction buy buys bought order ordered sale paid conversion",
}
NAMES: Names = {
    "user_id": USER,
    "product_id": f"{PRODUCT} musicbrainz_artist_id artist_mbid artist",
    "interaction_type": "type event event_type event_name action action_type behavior behaviour behavior_type activity",
    "timestamp": f"{TIME} invoice_date order_date order_purchase_timestamp purchased_at paid_at date_created",
    "order_id": "transaction_id order order_number invoice invoice_no invoice_id receipt_id basket_id",
    "session_id": "session user_session visit_id",
    "quantity": "qty lineitem_quantity units plays play_count weight count",
    "value": "price unit_price lineitem_price item_cost amount revenue sales_price line_total",
}
TABLE = ColumnTable(NAMES)
OPTIONAL = ("order_id", "session_id", "quantity", "value")
_WORDS = {word: ours for ours, words in TYPE_WORDS.items() for word in (ours.replace("_", ""), *words.split())}


@dataclass(frozen=True)
class ShopInteractions:
    """The interactions of a file: ``events`` (n rows) as columns of user_interactions, ``user_ids`` (n,) as texts.

    ``rows`` = n + ``rejected``. ``understood``: what the file is, in one line. ``first``: its first good rows.
    """

    events: pa.Table
    user_ids: pa.StringArray
    rows: int
    rejected: int
    understood: str
    first: pa.Table


def read_interactions_file(
    path: Path,
    rejected: RejectedRows,
    *,
    loaded_at: dt.datetime,
    columns: str | None = None,
    kind: str | None = None,
    user_ids: CsvColumn | None = None,
) -> ShopInteractions:
    """Read the whole file into memory.

    ``columns``: what the option for its columns says. ``kind``: the type of all rows of a file without types.
    ``user_ids``: the column of users; None: any.
    InputFileError: missing, unreadable, empty, a column missing, no good row, times that no shop has; SettingError for
    ``columns`` and ``kind``; TooManyRejectedError.
    """
    given = given_columns(columns, TABLE)

    def opened() -> FileForm:
        return understood(path, TABLE, given, hint=HINT)

    form = opened()
    _require(form)
    if kind is not None and ("interaction_type" in form.places or kind not in INTERACTION_TYPES):
        form.source.close()
        raise SettingError(_wrong_kind(path, kind, form))
    wanted = [
        user_ids or text_ids(),
        product_id_column("product_id"),
    ]
    rows = rows_of(form, wanted, rejected, [*_optional(form), shop_times(form, loaded_at, opened)])
    batches = list(rows.batches())
    read = pa.Table.from_batches(batches, batches[0].schema)
    if "timestamp" in read.column_names:
        refuse_early_times(form, read)
    all_of = kind or "purchase"
    events = {
        "product_id": read["product_id"],
        "interaction_type": _column(read, "interaction_type", pa.scalar(all_of)),
        "created_at": _column(read, "timestamp", pa.scalar(None, TIME_TYPE)),
        **{name: read[name] for name in OPTIONAL if name in read.column_names},
    }
    assert read.num_rows + rows.rejected == rows.rows, f"{path}: rows lost in silence"
    told = form.words(rows.rows)
    if "interaction_type" not in form.places:
        told += f"; it has no column of types: all are of the type {all_of}"
    users = read["user_id"].combine_chunks()
    return ShopInteractions(pa.table(events), users, rows.rows, rows.rejected, told, read.slice(0, SHOWN_ROWS))


def _wrong_kind(path: Path, kind: str, form: FileForm) -> str:
    if "interaction_type" in form.places:
        return (
            f"--interaction-type {kind}: {path} has a column of types, {form.header[form.places['interaction_type']]}"
        )
    return f"--interaction-type {kind!r} is none of {', '.join(INTERACTION_TYPES)}"


def _require(form: FileForm) -> None:
    """Raise InputFileError if users or products are missing; the file is then closed."""
    missing = [name for name in ("user_id", "product_id") if name not in form.places]
    if not missing:
        return
    form.source.close()
    if missing == ["user_id"] and "session_id" in form.places:
        why = f"if nobody is known, take the sessions: user_id={form.header[form.places['session_id']]} in the option "
        why += "for its columns"
    elif len(missing) == 1 and "order_id" in form.places:
        other = "users" if missing == ["user_id"] else "products"
        order = form.header[form.places["order_id"]]
        why = (
            f"name it, as --columns {missing[0]}=NAME; if the {other} of its orders are in another file, join the two "
        )
        why += f"by {order} first (docs/data.md shows how)"
    else:
        why = "name them, as --columns " + ",".join(f"{name}=NAME" for name in missing)
    raise InputFileError(f"{form.source.path}: no column {', '.join(missing)} among {listed(form.header)}: {why}")


def _optional(form: FileForm) -> list[CsvColumn]:
    value = priced_column(number_column("value", lowest=0.0), form)
    ids = (text_column(name, max_characters=EVENT_ID_LENGTH) for name in ("order_id", "session_id"))
    return [type_column(), *ids, or_null(count_column("quantity")), or_null(value)]


def type_column() -> CsvColumn:
    """Return the column of types, in our words."""

    def exact(text: str) -> str:
        ours = _WORDS.get("".join(character for character in text.casefold() if character.isalpha()))
        if ours is None:
            raise ValueError(f"{text[:40]!r} is none of {', '.join(INTERACTION_TYPES)}, nor a known word for one")
        return ours

    def fast(texts: pa.StringArray) -> pa.Array | None:
        encoded = texts.dictionary_encode()
        try:
            ours = pa.array([exact(text) for text in encoded.dictionary.to_pylist()], pa.string())
        except ValueError:
            return None
        return ours.take(encoded.indices)

    return CsvColumn("interaction_type", pa.string(), exact, fast)


def count_column(name: str) -> CsvColumn:
    """Return a column of whole numbers from 1, as 2 or 2.0."""
    number = number_column(name, lowest=1, highest=LARGEST_INT)

    def exact(text: str) -> int:
        value = float(number.exact(text))
        if value % 1:
            raise ValueError(f"{text[:40]!r} is not a whole number")
        return int(value)

    def fast(texts: pa.StringArray) -> pa.Array | None:
        values = number.fast(texts)
        whole = None if values is None else values.to_numpy()
        return None if whole is None or (whole % 1).any() else pa.array(whole.astype(np.int32))

    return CsvColumn(name, pa.int32(), exact, fast)


def or_null(column: CsvColumn) -> CsvColumn:
    """Return the column, in which an empty text is NULL."""

    def exact(text: str) -> Any:
        return column.exact(text) if text else None

    def fast(texts: pa.StringArray) -> pa.Array | None:
        empty = pc.equal(texts, "")
        values = column.fast(pc.if_else(empty, "1", texts))
        return None if values is None else pc.if_else(empty, pa.scalar(None, column.type), values)

    return replace(column, exact=exact, fast=fast, shortest=0)


def _column(read: pa.Table, name: str, otherwise: pa.Scalar) -> Any:
    """Return a column of the file, or one value in all rows where it has none."""
    return read[name] if name in read.column_names else pa.repeat(otherwise, read.num_rows)
