"""Load the compiled code before it is needed; on its first use on a machine that means to compile it.

Compiling takes some 30 seconds, once: the machine code is kept beside the modules, or in the user's cache folder where
that is not writable (or in NUMBA_CACHE_DIR). Loading it later takes less than a second, which no request should wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.caps import first_under_cap
from recommender.cold_start import build_cold_start
from recommender.neighbors import CosineIndex
from recommender.popular import PopularProducts
from recommender.product_catalog import ProductCatalog
from recommender.profiles import build_profiles
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix
from recommender.scoring import candidates_of_row, rank_products, rank_products_for_rows
from recommender.taste_ranking import SHALLOW, TasteRanker
from recommender.wishes import Categories, Wish, allowed_products

PATIENCE = 2.0  # seconds until it is worth a message


def warm_up(notify: Callable[[], object]) -> None:
    """Run every compiled function once, on ratings as ``load_model`` makes them.

    ``notify`` is called, from another thread, if that takes longer than ``PATIENCE``.
    """
    timer = threading.Timer(PATIENCE, notify)
    timer.start()
    try:
        half_stars = np.zeros((4, 500), np.int8)
        half_stars[:2] = 10  # long histories take another path than short ones
        half_stars[2:, :2] = 9
        half_stars[1, 7] = 0
        ratings = sp.csr_array(half_stars)
        ratings.indptr, ratings.indices = ratings.indptr.astype(np.int32), ratings.indices.astype(np.int32)
        index, everything = CosineIndex(ratings), np.ones(500, bool)
        rows = np.arange(4)
        neighbors, similarities = index.top_k(2)
        index.neighbors(1, 2)
        index.similarities(1)
        rank = partial(rank_products, recommendable=everything, scale=STARS_PER_UNIT)
        rank_rows = partial(rank_products_for_rows, recommendable=everything, scale=STARS_PER_UNIT)
        rank(ratings, 1, neighbors[1], similarities[1], n=2)
        lists = rank_rows(ratings, rows, neighbors, similarities, n=2)
        none = np.empty(0, np.int32), np.empty(0)
        PopularProducts(*none).top_up(ratings, rows, lists.columns, lists.predicted)
        confidences = sp.csr_array((np.ones(ratings.nnz), ratings.indices, ratings.indptr), shape=ratings.shape)
        taste = TasteRanker(confidences, ratings, times=np.arange(ratings.nnz), recommendable=everything)
        taste.rank(rows, 2)
        taste.predict(rows, rows)
        matrix = RatingMatrix(ratings, rows, np.arange(500).astype(np.bytes_), everything)
        cold = build_cold_start(matrix, build_profiles(matrix))
        cold.top_up(rows, lists.columns, lists.predicted)
        cold.for_segment(-1, [], 2, user_id=1)
        _under_caps(matrix, neighbors, similarities, taste)
    finally:
        timer.cancel()


def _under_caps(
    matrix: RatingMatrix, neighbors: NDArray[np.int32], similarities: NDArray[np.float64], taste: TasteRanker
) -> None:
    """What caps and filters of lists need."""
    n, places = matrix.shape[1], np.arange(matrix.shape[1], dtype=np.int32)
    categories = Categories(places, places)
    cap = categories.cap(1)
    given = matrix.half_stars, 1, neighbors[1], similarities[1]
    candidates = candidates_of_row(*given, recommendable=matrix.recommendable, scale=STARS_PER_UNIT)
    first_under_cap(*candidates[:3], cap, 2)
    taste.rank_near(taste.near(1), SHALLOW + 1, taste.votes.bars(None), cap)
    catalog = ProductCatalog(matrix.product_ids, pa.nulls(n, pa.string()), np.ones(n), np.ones(n), places)
    allowed_products(Wish(1, min_price=1.0), catalog, places, categories)
