"""The classic ranking for a notebook, from a DataFrame users x products and a dense similarity.

The answers are those of the sparse model.

A dense similarity is rounded to 12 decimals before it is ordered. Float64 cosines of equal users differ in the last
bits: without rounding, scikit-learn's misordered 17 % of the lists of short histories; with it, none.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import RatingError, SettingError, UnknownUserError
from recommender.neighbors import CosineIndex
from recommender.ranking.classic import RankedProducts, rank_products

SIMILARITY_DECIMALS = 12


def rank_frame(
    user_id: object, frame: pd.DataFrame, similarity: Any, *, n_neighbors: int, n: int
) -> tuple[list[Any], RankedProducts]:
    """Rank the products for one user of ``frame`` (users x products, unrated = 0). Return product ids and figures.

    ``similarity``: as in ``nearest``. UnknownUserError, RatingError, SettingError.
    """
    row = dense_row(frame, user_id)
    neighbors, similarities = find_neighbors(similarity, frame.index, row, n_neighbors)
    values, places, product_ids = rows_of(frame, row, neighbors)
    ranked = rank_products(values, 0, places, similarities, n=n)
    return [product_ids[column] for column in ranked.columns], ranked


def dense_row(matrix: pd.DataFrame, user_id: object) -> int:
    """Return the position of the user in the DataFrame's index. UnknownUserError if it is not there."""
    # not by lookup in the index: True equals 1, and a list would be compared element by element
    known = isinstance(user_id, Hashable) and not isinstance(user_id, bool)
    found = [place for place, label in enumerate(matrix.index) if known and label == user_id]
    if len(found) == 0:
        raise UnknownUserError(user_id, "is unknown: it is not in the index of the DataFrame")
    if len(found) > 1:
        raise RatingError(f"user {user_id} has {len(found)} rows in the DataFrame: keep one row per user")
    return int(found[0])


def find_neighbors(
    similarity: Any, user_ids: NDArray[Any] | pd.Index[Any], row: int, k: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the k nearest users to the one at ``row``: positions in ``user_ids`` and similarities, both (<= k,).

    ``similarity``: the result of ``load_model``, whose users ascend, so ``user_ids`` must; or as in ``nearest``.
    """
    ids = pd.Index(user_ids)
    if getattr(similarity, "shape", None) != (len(ids), len(ids)):
        shape = getattr(similarity, "shape", type(similarity).__name__)
        raise SettingError(f"the similarity has shape {shape}: it must be users x users, ({len(ids)}, {len(ids)})")
    if not isinstance(similarity, CosineIndex):
        return nearest(similarity, ids, row, k)
    if not ids.is_monotonic_increasing:
        raise SettingError("the similarity of load_model is of users by ascending id: sort the DataFrame's index")
    return similarity.neighbors(row, k)


def nearest(
    similarity: Any, user_ids: pd.Index[Any], row: int, k: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the k users of highest similarity > 0 to the user at ``row``, without that user.

    A tie goes to the smaller id. ``similarity``: (n_users, n_users) array, scipy sparse matrix or DataFrame. A
    DataFrame is aligned by its labels, which must be the user ids. Labeled 0..n-1 on both sides, it is taken by
    position. Returns positions and unrounded similarities, both (<= k,). SettingError for foreign labels and for a
    number that is not finite.
    """
    if isinstance(similarity, pd.DataFrame):
        values = _aligned_row(similarity, user_ids, row)
    elif sp.issparse(similarity):
        values = sp.csr_array(similarity)[[row]].toarray().ravel().astype(np.float64)
    else:
        values = np.asarray(similarity[row], np.float64).ravel()
    if not np.isfinite(values).all():
        other = user_ids[np.flatnonzero(~np.isfinite(values))[0]]
        raise SettingError(f"the similarity of users {user_ids[row]} and {other} is not a finite number")
    rounded = np.round(values, SIMILARITY_DECIMALS)
    rounded[row] = 0.0
    candidates = np.flatnonzero(rounded > 0)
    order = np.lexsort((_places(user_ids)[candidates], -rounded[candidates]))[:k]
    chosen = candidates[order]
    return chosen.astype(np.int32), values[chosen]


def _aligned_row(similarity: pd.DataFrame, ids: pd.Index[Any], row: int) -> NDArray[np.float64]:
    """Return the similarities (n_users,) of the user at ``row`` in the order of ``ids``."""
    axes = similarity.index, similarity.columns
    if all(set(axis) == set(ids) for axis in axes):
        return np.array(similarity.loc[ids[row], ids], np.float64)
    if all(axis.equals(pd.RangeIndex(len(ids))) for axis in axes):
        return np.array(similarity.iloc[row], np.float64)
    raise SettingError("the similarity's labels are not the user ids: label both sides of it with them")


def rows_of(
    matrix: pd.DataFrame, row: int, neighbors: NDArray[np.integer]
) -> tuple[sp.csr_array, NDArray[np.int32], list[Any]]:
    """Return the user's row and then the neighbors' rows as CSR, the neighbors' new positions, and the product ids.

    CSR (1 + m, n_products); new positions 1..m; product ids of the columns, ascending. RatingError for a rating that
    is NaN, infinite or negative.
    """
    part = matrix.iloc[np.concatenate([[row], neighbors])]
    order = np.argsort(_places(part.columns))
    try:
        values = part.to_numpy(np.float64)[:, order]  # (1 + m, n_products)
    except (TypeError, ValueError) as error:
        raise RatingError(f"the DataFrame holds something that is no rating ({error}): unrated is 0") from None
    products = part.columns[order]
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        at, column = np.argwhere(wrong)[0]
        raise RatingError(
            f"user {part.index[at]}, product {products[column]}: rating {values[at, column]} is not a number >= 0; "
            "unrated is 0, so use .fillna(0)"
        )
    return sp.csr_array(values), np.arange(1, len(neighbors) + 1, dtype=np.int32), products.tolist()


def _places(ids: pd.Index[Any]) -> NDArray[np.int64]:
    """Return the rank of each id in ascending order. Ids of mixed types are compared as text."""
    try:
        order = np.argsort(ids.to_numpy(), kind="stable")
    except TypeError:
        order = np.argsort(ids.astype(str).to_numpy(), kind="stable")
    places = np.empty(len(ids), np.int64)
    places[order] = np.arange(len(ids))
    return places
