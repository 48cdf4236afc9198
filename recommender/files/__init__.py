"""Readers of files of rows, of any packing, encoding and form, which give checked rows.

sources          the bytes of a file, unpacked and in UTF-8
dialects         delimiter, quotes, and whether there is a header
column_names     which column is which: by names, by --columns, by values
file_form        what a file is, in one line
csv_columns      kinds of columns, and checks of their values
times            the column of times
checked_rows     what the readers share: counts, and the limit of rejected rows
csv_rows         reads lines of delimited fields as checked blocks of rows
value_rows       the same for JSON lines and Parquet
rejected_rows    the file of rejected rows, with line and reason
catalog_files    the two files of the catalog, and one file of any form
rating_scales    the scale of a file's ratings
user_ids         the user ids of a file: whole numbers or text
ratings_file     a shop's own ratings
interactions_file  a shop's own interactions
people_file      a shop's people
evaluation_file  any ratings, to evaluate rankings on
"""

from recommender.files.catalog_files import (
    KAGGLE_PATTERN,
    WHERE_TO_GET_IT,
    WITHOUT_CATEGORIES,
    any_product_rows,
    category_rows,
    category_table,
    kept_columns,
    product_form,
    product_rows,
    whole_products,
)
from recommender.files.checked_rows import CheckedRows
from recommender.files.csv_columns import CsvColumn
from recommender.files.csv_rows import CsvRows
from recommender.files.evaluation_file import read_evaluation_file
from recommender.files.interactions_file import HINT as INTERACTIONS_HINT
from recommender.files.interactions_file import ShopInteractions, read_interactions_file
from recommender.files.people_file import HINT as PEOPLE_HINT
from recommender.files.people_file import ShopPeople, read_people_file
from recommender.files.rating_scales import LOWEST, RatedRows, WantedScale
from recommender.files.ratings_file import HINT, ShopRatings, ratings_of, read_rating_rows, read_ratings_file
from recommender.files.rejected_rows import RejectedRows, UnwrittenRejectedRows, rejected_by_reason
from recommender.files.user_ids import KINDS, Numbered, read_numbered, whole_numbers

__all__ = [
    "HINT",
    "INTERACTIONS_HINT",
    "KAGGLE_PATTERN",
    "KINDS",
    "LOWEST",
    "PEOPLE_HINT",
    "WHERE_TO_GET_IT",
    "WITHOUT_CATEGORIES",
    "CheckedRows",
    "CsvColumn",
    "CsvRows",
    "Numbered",
    "RatedRows",
    "RejectedRows",
    "ShopInteractions",
    "ShopPeople",
    "ShopRatings",
    "UnwrittenRejectedRows",
    "WantedScale",
    "any_product_rows",
    "category_rows",
    "category_table",
    "kept_columns",
    "product_form",
    "product_rows",
    "ratings_of",
    "read_evaluation_file",
    "read_interactions_file",
    "read_numbered",
    "read_people_file",
    "read_rating_rows",
    "read_ratings_file",
    "rejected_by_reason",
    "whole_numbers",
    "whole_products",
]
