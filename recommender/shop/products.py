"""The numbering of all products: the columns of the rating matrix first, then the products only the catalog has.

Column n_in_matrix + j is the j-th product of the catalog, by ascending id, that the matrix has no column for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.shop.catalog import Product, ProductCatalog
from recommender.shop.ids import place_of, product_id_texts


@dataclass(frozen=True, eq=False)
class Products:
    """All n products: the column of each, and the facts of the catalog about it."""

    matrix_ids: NDArray[np.bytes_]  # (n_in_matrix,) ids of the matrix's columns, ascending
    catalog: ProductCatalog
    catalog_rows: NDArray[np.int32]  # (n,) the row of each column, -1: not in the catalog; ascending after the matrix

    @classmethod
    def of(cls, matrix_ids: NDArray[np.bytes_], catalog: ProductCatalog) -> Products:
        """Return the numbering for a matrix with these columns and for a catalog."""
        rows = catalog.rows_of(matrix_ids)
        others = np.ones(len(catalog), np.bool_)
        others[rows[rows >= 0]] = False
        return cls(matrix_ids, catalog, np.concatenate([rows, np.flatnonzero(others).astype(np.int32)]))

    def __len__(self) -> int:
        return len(self.catalog_rows)

    @property
    def n_in_matrix(self) -> int:
        """Number of products that have a column of the matrix."""
        return len(self.matrix_ids)

    def column_of(self, product_id: str) -> int | None:
        """Return the product's column of the matrix; None if it has no rating and no interaction."""
        return place_of(self.matrix_ids, product_id)

    def find(self, product_id: str) -> int | None:
        """Return the product's column; None if there is no such product."""
        if (column := self.column_of(product_id)) is not None:
            return column
        row = self.catalog.row_of(product_id)
        return None if row is None else self.n_in_matrix + self.n_others_before(row)

    def n_others_before(self, row: int) -> int:
        """Count the products that only the catalog has and that stand above this row of the catalog."""
        # np.int32 as in the array: a number of another type makes numpy copy the array
        return int(self.catalog_rows[len(self.matrix_ids) :].searchsorted(np.int32(row)))

    def facts(self, column: int) -> Product:
        """Return the facts of the catalog about the product of a column."""
        return self.catalog.product(int(self.catalog_rows[column]))

    def id_of(self, column: int) -> str:
        """Return the product id of a column."""
        ids, rows = self.matrix_ids, self.catalog_rows
        found: bytes = ids[column] if column < len(ids) else self.catalog.product_ids[rows[column]]
        return found.decode()

    def ids(self, columns: NDArray[np.integer]) -> pa.StringArray:
        """Return the product ids of these columns (m,)."""
        return self._id_texts.take(pa.array(columns))

    def titles(self, columns: NDArray[np.integer]) -> pa.StringArray:
        """Return the titles of these columns (m,), null where the catalog has none."""
        return self.catalog.titles_of(self.catalog_rows[columns])

    def titled(self, columns: NDArray[np.int32], words: Sequence[str]) -> NDArray[np.int32]:
        """Return those of the columns whose titles hold all words, in either case, in the same order."""
        titles = self.titles(columns)
        for word in words:
            fits = pc.fill_null(pc.match_substring(titles, word, ignore_case=True), fill_value=False)
            titles, columns = titles.filter(fits), columns[fits.to_numpy(zero_copy_only=False)]
        return columns

    @cached_property
    def _id_texts(self) -> pa.StringArray:
        others = self.catalog.product_ids[self.catalog_rows[len(self.matrix_ids) :]]
        return product_id_texts(np.concatenate([self.matrix_ids, others]))
