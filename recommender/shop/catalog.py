"""The catalog of all products in arrays: ids, titles, prices, stars and categories."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.shop.ids import place_of, places_of

IN_STOCK = "in_stock"  # an optional column of amazon_products
NO_CATEGORY = -(2**31)  # the category id of a product whose category is not known


class Product(NamedTuple):
    """The facts of the catalog about one product."""

    title: str | None
    price: float | None
    stars: float | None
    category_id: int | None


NOT_IN_CATALOG = Product(None, None, None, None)


def known_prices(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return prices (n,) with NaN for each one that is not known; the array itself if there is nothing to change.

    The Kaggle file writes 0.0 for a price that is not known, and the table keeps it. A price is known if it is above 0
    and finite.

    >>> known_prices(np.array([29.99, 0.0, -1.0, np.inf]))
    array([29.99,   nan,   nan,   nan])
    """
    known = (prices > 0) & (prices < np.inf)
    return prices if (known | np.isnan(prices)).all() else np.where(known, prices, np.nan)


@dataclass(frozen=True, eq=False)
class ProductCatalog:
    """All n products by ascending id. A title becomes a Python string only when it is read.

    1.4 million products are about 220 MB.
    """

    product_ids: NDArray[np.bytes_]  # (n,)
    titles: pa.StringArray  # (n,) null where there is none
    prices: NDArray[np.float64]  # (n,) above 0; NaN: not known, see `known_prices`
    stars: NDArray[np.float64]  # (n,) 0.0: not known
    category_ids: NDArray[np.int32]  # (n,) NO_CATEGORY: not known
    in_stock: NDArray[np.bool_] | None = None  # (n,) None: the table has no such column
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows of the table that are not here, by fault

    def __len__(self) -> int:
        return len(self.product_ids)

    def arrays(self) -> list[NDArray[Any]]:
        """Return all arrays of the catalog; three for titles: where each begins, which are given, the bytes (UTF-8)."""
        titles = pa.concat_arrays([self.titles, pa.array([], pa.string())])  # without an offset into shared buffers
        _, offsets, characters = titles.buffers()
        starts = np.frombuffer(offsets or b"", np.int32)[: len(titles) + 1]
        text = np.frombuffer(characters or b"", np.uint8)[: starts[-1] if len(titles) else 0]
        stock = [] if self.in_stock is None else [self.in_stock]
        given = titles.is_valid().to_numpy(zero_copy_only=False)
        return [self.product_ids, self.prices, self.stars, self.category_ids, *stock, starts, given, text]

    def row_of(self, product_id: str) -> int | None:
        """Return the row of the catalog that holds this product; None if there is none."""
        return place_of(self.product_ids, product_id)

    def rows_of(self, product_ids: NDArray[np.bytes_]) -> NDArray[np.int32]:
        """Return the row of the catalog for each product (m,); -1: it is not in the catalog."""
        return places_of(self.product_ids, product_ids)

    def product(self, row: int) -> Product:
        """Return the product in a row. Return `NOT_IN_CATALOG` for row -1."""
        if row < 0:
            return NOT_IN_CATALOG
        price, stars, category = float(self.prices[row]), float(self.stars[row]), int(self.category_ids[row])
        known = None if category == NO_CATEGORY else category
        return Product(self.titles[row].as_py(), price if math.isfinite(price) else None, stars or None, known)

    def titles_of(self, rows: NDArray[np.int32]) -> pa.StringArray:
        """Return the titles in these rows (m,), null for row -1."""
        return self.titles.take(pa.array(rows, mask=rows < 0))
