"""Recommendations for many users, in blocks of bounded memory, as rows of the ``recommendations`` table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.popular import PopularProducts, rank_popular
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix
from recommender.scoring import RankedProducts, rank_products_for_rows

BLOCK_USERS = 4_096
BLOCK_CELLS = 4_000_000  # ranks, or neighbors, of one block: 100 MB
SOURCES = ("neighbors", "popular")


class NeighborSource(Protocol):
    """Anything that finds nearest rows: a ``CosineIndex``."""

    def top_k(self, k: int, *, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Neighbors and similarities, each (len(rows), k), padded with -1 and 0.0."""


def recommendation_batches(
    matrix: RatingMatrix,
    similarity: NeighborSource,
    rows: NDArray[np.int64],
    *,
    n_neighbors: int,
    n: int,
    generated_at: datetime,
) -> Iterator[pa.RecordBatch]:
    """Yield the ranked products of ``rows``, n a user where there are as many, a few thousand users at a time.

    A list that the neighbors leave short is topped up with popular products.
    """
    popular = rank_popular(matrix)
    n, n_neighbors = min(n, max(matrix.shape[1], 1)), min(n_neighbors, matrix.shape[0])
    users_per_block = max(1, min(BLOCK_USERS, BLOCK_CELLS // max(n, n_neighbors)))
    products = pa.array(matrix.product_ids.astype(str), pa.string())
    for start in range(0, len(rows), users_per_block):
        block = rows[start : start + users_per_block]
        neighbors, similarities = similarity.top_k(n_neighbors, rows=block)
        ranked = rank_products_for_rows(
            matrix.half_stars,
            block,
            neighbors,
            similarities,
            n=n,
            recommendable=matrix.recommendable,
            scale=STARS_PER_UNIT,
        )
        yield _as_rows(matrix, popular, block, ranked, products, generated_at)


def _as_rows(
    matrix: RatingMatrix,
    popular: PopularProducts,
    block: NDArray[np.int64],
    ranked: RankedProducts,
    products: pa.Array,
    generated_at: datetime,
) -> pa.RecordBatch:
    columns, predicted = ranked.columns.copy(), ranked.predicted.copy()  # (len(block), n)
    from_neighbors = columns >= 0
    for i in np.flatnonzero(~from_neighbors[:, -1]):  # short lists only
        found = int(from_neighbors[i].sum())
        excluded = np.concatenate([columns[i, :found], matrix.rated_columns(block[i])])
        more, shown = popular.beyond(excluded, columns.shape[1] - found)
        columns[i, found : found + len(more)] = more
        predicted[i, found : found + len(more)] = shown
    user, place = np.nonzero(columns >= 0)
    evident = from_neighbors[user, place]
    generated = np.full(len(user), np.datetime64(generated_at.replace(tzinfo=None), "us"))
    return pa.record_batch(
        {
            "user_id": pa.array(matrix.user_ids[block][user]),
            "rank": pa.array(place.astype(np.int32) + 1),
            "product_id": products.take(pa.array(columns[user, place])),
            "predicted_rating": pa.array(predicted[user, place]),
            "source": pa.array(np.where(evident, *SOURCES)),
            "support": pa.array(ranked.support[user, place], mask=~evident),
            "n_neighbors": pa.array(ranked.n_raters[user, place], mask=~evident),
            "generated_at": pa.array(generated),
        }
    )
