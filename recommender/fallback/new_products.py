"""Products of the catalog that have no rating and no interaction, and the chance with which one is drawn.

A ranking that learns from people can never show them, so nobody would find them. They get a bounded share of the lists
(`recommender.fallback.cold_start`). Within its category a product is drawn with a chance proportional to the catalog's
stars, in tenths; if the stars are not known, to the mean of the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.fallback._cold_start_kernels import New

TENTHS = 10


def find_new_products(
    raters: NDArray[np.integer],
    recommendable: NDArray[np.bool_],
    catalog_rows: NDArray[np.int32],
    *,
    stars: NDArray[np.float64],
    category_ids: NDArray[np.integer],
) -> New:
    """Return the products of the catalog that are in no profile, by column.

    ``raters`` (n_products,): users who have the product in their profile; ``recommendable`` (n_products,);
    ``catalog_rows`` (n,): the catalog row of every column, as `recommender.shop.products` numbers them, -1: not in the
    catalog; ``stars`` (0: not known) and ``category_ids`` of the catalog (n_catalog,). SettingError if the lengths do
    not fit.
    """
    n_products, n_catalog, rows = len(raters), len(stars), catalog_rows
    if recommendable.shape != (n_products,) or len(rows) < n_products or category_ids.shape != (n_catalog,):
        raise SettingError(
            f"{recommendable.shape} flags, {rows.shape} rows and {category_ids.shape} categories do not fit "
            f"{n_products} products and a catalog of {n_catalog}: pass one flag and row per product, one category "
            "per product of the catalog"
        )
    is_new = rows >= 0  # (n,)
    is_new[:n_products] &= recommendable & (raters == 0)
    columns = np.flatnonzero(is_new).astype(np.int32)
    categories = category_ids[rows[columns]]  # (k,)
    order = np.lexsort((columns, categories))
    names, starts = np.unique(categories[order], return_index=True)  # categories that have a new product
    weights = _weights(stars[rows[columns[order]]])
    category_of = np.full(n_products, -1, np.int32)
    listed = np.flatnonzero(rows[:n_products] >= 0)
    if len(names):
        own = category_ids[rows[listed]]
        at = np.minimum(np.searchsorted(names, own), len(names) - 1)
        category_of[listed] = np.where(names[at] == own, at, -1)
    return New(columns[order], np.cumsum(weights), np.append(starts, len(columns)).astype(np.int64), category_of)


def no_new_products(n_products: int) -> New:
    """Return the `New` of a catalog without new products."""
    nothing = np.empty(0, np.int64)
    return New(nothing.astype(np.int32), nothing, np.zeros(1, np.int64), np.full(n_products, -1, np.int32))


def _weights(stars: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the stars in whole tenths, at least 1; where they are not known, the mean of the others."""
    tenths = np.rint(TENTHS * np.nan_to_num(stars)).astype(np.int64)
    known = tenths > 0
    mean = round(int(tenths[known].sum()) / int(known.sum())) if known.any() else 1
    return np.where(known, tenths, mean)
