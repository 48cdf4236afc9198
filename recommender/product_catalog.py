"""The catalog as answers and lists need it: ids, titles, prices, stars and categories of all products, in arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine, Integer, Label, case, column, literal_column, select

from recommender.bulk_read import as_fixed_bytes, read_table
from recommender.database import database_errors
from recommender.schema import products

IN_STOCK = "in_stock"  # a column of amazon_products that a shop may add


class Product(NamedTuple):
    """What the catalog says about one product."""

    title: str | None
    price: float | None
    stars: float | None
    category_id: int | None


UNKNOWN = Product(None, None, None, None)


@dataclass(frozen=True, eq=False)
class ProductCatalog:
    """All n products by ascending id. A title becomes a Python string only when it is asked for.

    1.4 million products are about 220 MB.
    """

    product_ids: NDArray[np.bytes_]  # (n,)
    titles: pa.StringArray  # (n,) null where there is none
    prices: NDArray[np.float64]  # (n,)
    stars: NDArray[np.float64]  # (n,) 0.0: not known
    category_ids: NDArray[np.int32]  # (n,)
    in_stock: NDArray[np.bool_] | None = None  # (n,) None: the table does not tell

    def __len__(self) -> int:
        return len(self.product_ids)

    def place_of(self, product_id: str) -> int | None:
        """Where the product is; None if the catalog has none of that id."""
        place = int(np.searchsorted(self.product_ids, product_id.encode()))
        found = place < len(self) and self.product_ids[place] == product_id.encode()
        return place if found else None

    def places(self, product_ids: NDArray[np.bytes_]) -> NDArray[np.int32]:
        """Where each product is (m,), -1 for those that are not in the catalog."""
        at = np.searchsorted(self.product_ids, product_ids)
        within = np.minimum(at, max(len(self) - 1, 0))
        found = self.product_ids[within] == product_ids if len(self) else np.zeros(len(product_ids), np.bool_)
        return np.where(found, at, -1).astype(np.int32)

    def product(self, place: int) -> Product:
        """The product at ``place``; all unknown at -1."""
        if place < 0:
            return UNKNOWN
        stars = float(self.stars[place])
        return Product(
            self.titles[place].as_py(), float(self.prices[place]), stars or None, int(self.category_ids[place])
        )

    def titles_of(self, places: NDArray[np.int32]) -> pa.StringArray:
        """The titles at these places (m,), null at -1."""
        return self.titles.take(pa.array(places, mask=places < 0))


def read_catalog(engine: Engine) -> ProductCatalog:
    """Read the whole catalog, in one pass over the table. DatabaseError, RatingError for an id that is no ASIN."""
    c, stock = products.c, _stock_column(engine)
    table = read_table(engine, [c.asin, c.title, c.price, c.stars, c.category_id, *stock])
    ids = as_fixed_bytes(_one_chunk(table["asin"]), products)
    order = np.argsort(ids)
    rows = pa.array(order)
    return ProductCatalog(
        ids[order],
        _one_chunk(table["title"]).take(rows),
        table["price"].to_numpy()[order],
        table["stars"].to_numpy()[order],
        table["category_id"].to_numpy()[order].astype(np.int32),
        table[IN_STOCK].to_numpy()[order] > 0 if stock else None,
    )


def _stock_column(engine: Engine) -> list[Label[int]]:
    """1 or 0 of the column that a shop may have added to the table, unknown being 0; empty if there is none."""
    with database_errors(engine), engine.connect() as connection:
        names = connection.execute(select(literal_column("*")).select_from(products).limit(0)).keys()
    return [case((column(name, Integer) > 0, 1), else_=0).label(IN_STOCK) for name in names if name.lower() == IN_STOCK]


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([*column.chunks, pa.array([], column.type)])
