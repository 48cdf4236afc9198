"""The numbering of all products with later ones: the model's products, then those that came after it was built.

Entries of users are kept in the order of product ids, in which the formulas add up and ties are decided. `keys` returns
that order for columns.
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from recommender.model import Categories, LaterCategories
from recommender.shop import NOT_IN_CATALOG, Product, Products, number_before, places_of

_LATER_BITS = 20  # bits for the number of products that came later
_LAST = (1 << _LATER_BITS) - 1

Later = tuple[bytes, Product | None]  # a product id, and the facts of the catalog; None: it is not in the catalog


class LiveColumns(Products):
    """The columns of all products. They never change: `added` returns new ones with more products."""

    def __init__(self, products: Products, recommendable: NDArray[np.bool_]) -> None:
        """Take the model's ``products``; ``recommendable`` (n_in_matrix,): which of its columns the catalog has."""
        super().__init__(products.matrix_ids, products.catalog, products.catalog_rows)
        self._recommendable = recommendable
        self.came_later: Sequence[Later] = ()
        self._later: dict[str, int] = {}
        self._later_names: list[bytes] = []  # ascending
        self._categories: LaterCategories | None = None  # made when first asked for

    def __len__(self) -> int:
        return len(self.catalog_rows) + len(self.came_later)

    def find(self, product_id: str) -> int | None:
        """Return the product's column; None if it has none."""
        column = super().find(product_id)
        return self._later.get(product_id) if column is None else column

    def facts(self, column: int) -> Product:
        """Return the facts of the catalog about the product of any column."""
        if column < len(self.catalog_rows):
            return super().facts(column)
        return self.came_later[column - len(self.catalog_rows)][1] or NOT_IN_CATALOG

    def id_of(self, column: int) -> str:
        """Return the product id of any column."""
        if column < len(self.catalog_rows):
            return super().id_of(column)
        return self.came_later[column - len(self.catalog_rows)][0].decode()

    def columns_of(self, product_ids: NDArray[np.bytes_]) -> NDArray[np.int32]:
        """Return the columns of these products (m,); -1: no column."""
        found = places_of(self.matrix_ids, product_ids)
        for at in np.flatnonzero(found < 0).tolist():
            column = self.find(bytes(product_ids[at]).decode())
            found[at] = -1 if column is None else column
        return found

    def added(self, more: Iterable[Later]) -> LiveColumns:
        """Return the numbering with columns for products that have none."""
        new, came = copy.copy(self), list(more)
        new.came_later, new._categories = [*self.came_later, *came], None
        new._later = self._later | {name.decode(): len(self) + at for at, (name, _) in enumerate(came)}
        new._later_names = sorted([*self._later_names, *(name for name, _ in came)])
        return new

    def later_categories(self, categories: Categories) -> LaterCategories:
        """Return the categories of the products that came later, in the codes of the others."""
        if (found := self._categories) is None:
            found = self._categories = categories.of_later([facts for _, facts in self.came_later])
        return found

    def keys(self, columns: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return two numbers for each of the columns (m,): sorted by the pair, columns are in the order of product ids.

        First: twice the number of the matrix's products with a smaller id, plus 1 for a product of the matrix. Second:
        the order of the products that lie between two of these.
        """
        n_in_matrix = len(self.matrix_ids)
        between, within = columns.astype(np.int64) * 2 + 1, np.zeros(len(columns), np.int64)
        others = np.flatnonzero(columns >= n_in_matrix)
        if len(others):
            names = np.array([self._name(int(column)) for column in columns[others]], np.bytes_)
            between[others] = 2 * number_before(self.matrix_ids, names)
            within[others] = [self._within(int(column)) for column in columns[others]]
        return between, within

    def _name(self, column: int) -> bytes:
        if column < len(self.catalog_rows):
            return bytes(self.catalog.product_ids[self.catalog_rows[column]])
        return self.came_later[column - len(self.catalog_rows)][0]

    def _within(self, column: int) -> int:
        """Return the order of a column among all that the matrix does not have: the catalog's before later ones."""
        if column < len(self.catalog_rows):
            return (column - len(self.matrix_ids)) << _LATER_BITS | _LAST
        name = self.came_later[column - len(self.catalog_rows)][0]
        before = self.n_others_before(int(number_before(self.catalog.product_ids, np.array([name]))[0]))
        return before << _LATER_BITS | bisect_left(self._later_names, name)

    def recommendable(self, columns: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which of the columns (m,) the catalog has."""
        n_in_matrix, n_known = len(self.matrix_ids), len(self.catalog_rows)
        inside = columns < n_in_matrix
        found = np.zeros(len(columns), np.bool_)
        found[inside] = self._recommendable[columns[inside]]
        found[~inside & (columns < n_known)] = True
        for at in np.flatnonzero(columns >= n_known).tolist():
            found[at] = self.came_later[int(columns[at]) - n_known][1] is not None
        return found
