"""Files into checked rows.

csv_columns      kinds of columns, and what their values must be
csv_rows         a file as checked blocks of rows
rejected_rows    the rows that could not go in, with line and reason
catalog_files    the two files of the catalog
ratings_file     a shop's own ratings
evaluation_file  any ratings, to evaluate rankings on
"""
