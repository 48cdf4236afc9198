"""Readers of CSV files, which give checked rows.

csv_columns      kinds of columns, and checks of their values
csv_rows         reads a file as checked blocks of rows
rejected_rows    the file of rejected rows, with line and reason
catalog_files    the two files of the catalog
ratings_file     a shop's own ratings
evaluation_file  any ratings, to evaluate rankings on
"""

from recommender.files.catalog_files import category_rows, product_rows
from recommender.files.csv_rows import CsvRows
from recommender.files.evaluation_file import read_evaluation_file
from recommender.files.ratings_file import HINT, read_ratings_file
from recommender.files.rejected_rows import RejectedRows

__all__ = [
    "HINT",
    "CsvRows",
    "RejectedRows",
    "category_rows",
    "product_rows",
    "read_evaluation_file",
    "read_ratings_file",
]
