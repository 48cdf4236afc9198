"""The catalog's two CSV files: their columns, the checks of each value, and where to get them.

The files are those of the Kaggle "Amazon Products Dataset 2023 (1.4M Products)" by asaniczka. Columns are found by
name, in any order. A row is rejected if it has a value that the tables could not hold, or that no recommendation could
be made from. These look like faults and are valid: a missing title, price 0.0 (unknown), stars 0.0 (unrated).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from recommender.database.schema import ASIN_LENGTH, CATEGORY_NAME_LENGTH, LARGEST_INT, TITLE_BYTES, URL_LENGTH
from recommender.files.csv_columns import (
    CsvColumn,
    code_column,
    flag_column,
    number_column,
    required_text_column,
    text_column,
    whole_number_column,
)
from recommender.files.csv_rows import CsvRows
from recommender.files.rejected_rows import RejectedRows

WHERE_TO_GET_IT = (
    'get "Amazon Products Dataset 2023 (1.4M Products)" by asaniczka from '
    "kaggle.com/datasets/asaniczka/amazon-products-dataset-2023-1-4m-products, "
    "or make a sample: python -m recommender.sample_catalog"
)


def category_columns() -> list[CsvColumn]:
    """Return the columns of amazon_categories.csv."""
    return [
        whole_number_column("id", lowest=0, highest=LARGEST_INT),
        required_text_column("category_name", max_characters=CATEGORY_NAME_LENGTH),
    ]


def product_columns(known_categories: Collection[int]) -> list[CsvColumn]:
    """Return the columns of amazon_products.csv; every product must be in one of ``known_categories``."""
    return [
        code_column("asin", ASIN_LENGTH),
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


def category_rows(path: Path, rejected: RejectedRows) -> CsvRows:
    """Return the rows of the categories file. InputFileError as in ``CsvRows``."""
    return CsvRows(path, category_columns(), rejected, hint=WHERE_TO_GET_IT)


def product_rows(
    path: Path, rejected: RejectedRows, known_categories: Collection[int], *, rows_per_batch: int
) -> CsvRows:
    """Return the rows of the products file, ``rows_per_batch`` at a time. InputFileError as in ``CsvRows``."""
    columns = product_columns(known_categories)
    return CsvRows(path, columns, rejected, rows_per_batch=rows_per_batch, hint=WHERE_TO_GET_IT)
