"""Title and price of the products of a rating matrix, as the catalog has them now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.bulk_read import read_table
from recommender.schema import products


@dataclass(frozen=True, eq=False)
class ProductDetails:
    """Title and price of each column of the matrix; both None where the catalog has no such product."""

    titles: pa.StringArray  # (n_products,)
    prices: pa.DoubleArray  # (n_products,)
    n_catalog: int  # products of the catalog, in the matrix or not

    def __getitem__(self, column: int) -> tuple[str | None, float | None]:
        return self.titles[column].as_py(), self.prices[column].as_py()


def read_product_details(engine: Engine, product_ids: NDArray[np.bytes_]) -> ProductDetails:
    """The details of these products, in their order; one pass over the catalog. DatabaseError."""
    catalog = read_table(engine, [products.c.asin, products.c.title, products.c.price])
    places = pc.index_in(pa.array(product_ids.astype(str), pa.string()), value_set=catalog["asin"])  # null: not there
    titles, prices = (
        pa.chunked_array(catalog[name].chunks, catalog[name].type).take(places) for name in ("title", "price")
    )
    return ProductDetails(_one_chunk(titles), _one_chunk(prices), catalog.num_rows)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([*column.chunks, pa.array([], column.type)])
