"""The catalog's two CSV files: their columns, the checks of each value, and where to get them.

The files are those of the Kaggle "Amazon Products Dataset 2023 (1.4M Products)" by asaniczka. Columns are found by
name, in any order. Its product ids are ten characters A-Z 0-9, and any other is a fault of the file; a shop whose own
files have that form sets ``PRODUCT_ID_PATTERN``. A row is rejected if it has a value that the tables could not hold, or
that no recommendation could be made from. These look like faults and are valid: a missing title, price 0.0 (unknown),
stars 0.0 (unrated).

With ``--columns`` the products may be in a file of any form (`file_form`), with any ids. Only the id is required. What
the file lacks, or leaves empty, is unknown: 0 in the columns of numbers. The categories are those of the file
``--categories`` if there is a column of their ids, and otherwise the names in the file itself, numbered as they come.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recommender.database.schema import (
    CATEGORY_NAME_LENGTH,
    KEPT_LENGTH,
    LARGEST_INT,
    PRODUCT_COLUMNS,
    TITLE_BYTES,
    URL_LENGTH,
    products,
)
from recommender.errors import InputFileError, SettingError
from recommender.files.checked_rows import CheckedRows
from recommender.files.column_names import PRODUCT_NAMES, ColumnTable, given_columns
from recommender.files.csv_columns import (
    CsvColumn,
    also_with_zeros,
    any_flag_column,
    code_column,
    first_address,
    flag_column,
    number_column,
    or_unknown,
    product_id_column,
    required_text_column,
    text_column,
    whole_number_column,
    with_decimal_comma,
)
from recommender.files.csv_rows import CsvRows
from recommender.files.file_form import FileForm, understood
from recommender.files.rejected_rows import RejectedRows
from recommender.files.sources import listed
from recommender.files.value_rows import rows_of

WHERE_TO_GET_IT = (
    'get "Amazon Products Dataset 2023 (1.4M Products)" by asaniczka from '
    "kaggle.com/datasets/asaniczka/amazon-products-dataset-2023-1-4m-products, "
    "or make a sample: python -m recommender.sample_catalog"
)

KAGGLE_PATTERN = "[A-Z0-9]{10}"

_CURRENCY = "".join(sign for sign in map(chr, range(0x20D0)) if unicodedata.category(sign) == "Sc")  # $ and its like
_SIGN = rf"(?:[A-Z]{{3}}|[A-Z]{{0,2}}[{re.escape(_CURRENCY)}])"
_PRICE = re.compile(rf"({_SIGN})?\s*([0-9.,][0-9.,'\s]*?)\s*({_SIGN})?")
_CENTS = re.compile(r"(.*)([.,])([0-9]{1,2})")
_GROUPS = re.compile(r"[0-9]{1,3}(?:([.,'\s])[0-9]{3})(?:\1[0-9]{3})*")


def category_columns() -> list[CsvColumn]:
    """Return the columns of amazon_categories.csv."""
    return [
        whole_number_column("id", lowest=0, highest=LARGEST_INT),
        required_text_column("category_name", max_characters=CATEGORY_NAME_LENGTH),
    ]


def product_columns(known_categories: Collection[int], id_pattern: str = "") -> list[CsvColumn]:
    """Return the columns of amazon_products.csv; every product must be in one of ``known_categories``."""
    return [
        code_column("asin", 10) if id_pattern == KAGGLE_PATTERN else product_id_column("asin", id_pattern),
        text_column("title", max_bytes=TITLE_BYTES),
        text_column("imgUrl", max_characters=URL_LENGTH),
        text_column("productURL", max_characters=URL_LENGTH),
        number_column("stars", lowest=0, highest=5),
        whole_number_column("reviews", lowest=0, highest=LARGEST_INT),
        number_column("price", lowest=0),
        number_column("listPrice", lowest=0),
        whole_number_column(
            "category_id",
            lowest=0,
            highest=LARGEST_INT,
            known=known_categories,
            unknown="is no id of the categories file",
        ),
        flag_column("isBestSeller"),
        whole_number_column("boughtInLastMonth", lowest=0, highest=LARGEST_INT),
    ]


def category_rows(path: Path, rejected: RejectedRows, *, hint: str = WHERE_TO_GET_IT) -> CsvRows:
    """Return the rows of the categories file. InputFileError as in ``CsvRows``; ``hint``: what to do without it."""
    return CsvRows(path, category_columns(), rejected, hint=hint)


def product_rows(
    path: Path,
    rejected: RejectedRows,
    known_categories: Collection[int],
    *,
    rows_per_batch: int,
    id_pattern: str = KAGGLE_PATTERN,
) -> CsvRows:
    """Return the rows of the products file, ``rows_per_batch`` at a time. InputFileError as in ``CsvRows``."""
    columns = product_columns(known_categories, id_pattern)
    return CsvRows(path, columns, rejected, rows_per_batch=rows_per_batch, hint=WHERE_TO_GET_IT)


WITHOUT_CATEGORIES = "name the file of the categories, as --categories FILE, or go without: --columns category_id="
TABLE = ColumnTable(PRODUCT_NAMES)
UNCATEGORIZED = "Uncategorized"
MOST_KEPT = 20
_KEPT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_NUMBERS = ("stars", "reviews", "price", "listPrice", "boughtInLastMonth")


def kept_columns(text: str | None) -> tuple[str, ...]:
    """Return the columns that ``--keep`` names. SettingError for a name that a table cannot have beside its own.

    >>> kept_columns("brand, colour"), kept_columns(None)
    (('brand', 'colour'), ())
    """
    names = tuple(name.strip() for name in text.split(",")) if text else ()
    taken = {name.lower() for name in (*PRODUCT_COLUMNS, "id")}
    for name in names:
        if not _KEPT.fullmatch(name) or name.lower() in taken:
            raise SettingError(
                f"--keep {name[:80]!r}: give names of columns of letters, digits and _, 64 at most, that "
                f"{products.name} does not have: {', '.join(PRODUCT_COLUMNS)}"
            )
        taken.add(name.lower())
    if len(names) > MOST_KEPT:
        raise SettingError(f"--keep names {len(names)} columns: {MOST_KEPT} are the most")
    return names


def product_form(path: Path, columns: str | None, keep: Collection[str] = ()) -> FileForm:
    """Open a file of products of any form; ``columns``: what ``--columns`` says of it, ``keep``: `kept_columns`.

    SettingError; InputFileError as `understood`, and if no column has the products' ids, or one to keep is missing.
    """
    form = understood(path, TABLE, given_columns(columns, TABLE), hint="name the file of products")
    for name in keep:
        places = [place for place, other in enumerate(form.header) if other.lower() == name.lower()]
        if not places or places[0] in form.places.values():
            form.source.close()
            why = "it is taken for another column" if places else "it is not there"
            raise InputFileError(f"{path}: no column {name} to keep among {listed(form.header)}: {why}")
        form.places[name] = places[0]
    if "asin" not in form.places:
        form.source.close()
        raise InputFileError(
            f"{path}: no column of product ids among {listed(form.header)}: name it, as --columns asin=NAME"
        )
    return form


def any_product_rows(
    form: FileForm,
    rejected: RejectedRows,
    known_categories: Collection[int],
    *,
    rows_per_batch: int,
    keep: Collection[str] = (),
) -> CheckedRows:
    """Return the rows of a file of any form: the columns that it has; category_id is one of ``known_categories``.

    ``keep``: more columns, texts.
    """
    asin, *others = [_lenient(column, form) for column in product_columns(known_categories)]
    names = text_column("category_name", max_characters=CATEGORY_NAME_LENGTH)
    kept = [text_column(name, max_characters=KEPT_LENGTH) for name in keep]
    return rows_of(form, [asin], rejected, [*others, names, *kept], rows_per_batch=rows_per_batch)


def _lenient(column: CsvColumn, form: FileForm) -> CsvColumn:
    if column.name == "isBestSeller":
        return or_unknown(also_with_zeros(any_flag_column(column.name)), "False")
    if column.name in ("imgUrl", "productURL"):
        return first_address(column)
    if pa.types.is_integer(column.type):
        column = also_with_zeros(column)
    if column.name in ("price", "listPrice"):
        column = priced_column(column, form)
    elif form.has_decimal_comma(column.name):
        form.notes[column.name] = "decimal comma"
        column = with_decimal_comma(column)
    return or_unknown(column, "0") if column.name in _NUMBERS else column


def priced_column(column: CsvColumn, form: FileForm) -> CsvColumn:
    """Return the column for prices as shops write them, as ``$1,299.00``, ``1.299,00 €``, ``EUR 12``; tell it the form.

    One or two digits at the end are behind the decimal mark. Of one group of three digits at the end the other prices
    of the file decide: it is a thousand, unless they have this mark before their cents.
    """
    found = [price for value in form.values(column.name) if (price := _PRICE.fullmatch(value))]
    cents = {end[2] for price in found if (end := _CENTS.fullmatch(price[2]))}
    signs = sorted({sign for price in found for sign in (price[1], price[3]) if sign})
    mark = "," if cents == {","} else "."
    notes = ["decimal comma"] * (mark == ",") + [f"without {sign}" for sign in signs]
    if notes:
        form.notes[column.name] = ", ".join(notes)

    def plain(text: str) -> str:
        return plain_price(text, mark)

    def fast(texts: pa.StringArray) -> pa.Array | None:
        if not pc.all(pc.match_substring_regex(texts, r"^[0-9]*(?:\.[0-9]*)?\z")).as_py() or mark == ",":
            texts = pa.array([plain(text) for text in texts.to_pylist()], pa.string())
        return column.fast(texts)

    def exact(text: str) -> Any:
        return column.exact(plain(text))

    return replace(column, exact=exact, fast=fast)


def plain_price(text: str, mark: str) -> str:
    """Return a price as digits with a decimal point; ``mark``: the decimal mark where the price itself does not tell.

    >>> [plain_price(text, ".") for text in ("$1,299.00", "1.299,50 €", "1 299", "1,299", "1.299", "12,5", "1,29.00")]
    ['1299.00', '1299.50', '1299', '1299', '1.299', '12.5', '1,29.00']
    >>> plain_price("1.299", ","), plain_price("1,299", ","), plain_price("about 5", ".")
    ('1299', '1.299', 'about 5')
    """
    price = _PRICE.fullmatch(text)
    if price is None:
        return text
    cents = _CENTS.fullmatch(price[2])
    whole, end = (cents[1], f".{cents[3]}") if cents else (price[2], "")
    groups = _GROUPS.fullmatch(whole)
    if groups is not None and (cents is None or groups[1] != cents[2]):
        if groups[1] == mark and whole.count(mark) == 1 and not cents:
            return whole.replace(mark, ".")
        return whole.replace(groups[1], "") + end
    if not end and whole.count(mark) == 1:
        whole = whole.replace(mark, ".")
    return whole + end if whole.replace(".", "", 1).isdecimal() or not whole else text


def whole_products(
    batches: Iterable[pa.RecordBatch], numbers: dict[str, int], keep: Collection[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Yield the batches with every column of amazon_products, and those to ``keep``. What a file lacks is unknown.

    ``numbers``: the number of each category's name; new names are added.
    """
    types = {column.name: column.type for column in product_columns(())}
    for batch in batches:
        n, there = batch.num_rows, set(batch.schema.names)
        columns = {name: batch[name] for name in PRODUCT_COLUMNS if name in there}
        if "category_id" not in there:
            names = batch["category_name"] if "category_name" in there else pa.nulls(n, pa.string())
            columns["category_id"] = _numbered(names.fill_null(UNCATEGORIZED), numbers)
        for name in PRODUCT_COLUMNS:
            if name not in columns:
                text = pa.types.is_string(types[name])
                columns[name] = pa.nulls(n, types[name]) if text else pa.repeat(0, n).cast(types[name])
        yield pa.record_batch({name: columns[name] for name in PRODUCT_COLUMNS} | {name: batch[name] for name in keep})


def _numbered(names: pa.Array, numbers: dict[str, int]) -> pa.Array:
    encoded = names.dictionary_encode()
    for name in encoded.dictionary.to_pylist():
        numbers.setdefault(name, max(numbers.values(), default=0) + 1)
    ids = pa.array([numbers[name] for name in encoded.dictionary.to_pylist()], pa.int32())
    return ids.take(encoded.indices)


def category_table(numbers: dict[str, int]) -> pa.RecordBatch:
    """Return the rows of amazon_categories for the numbers of names."""
    return pa.record_batch({"id": pa.array(numbers.values(), pa.int32()), "category_name": pa.array(numbers.keys())})
