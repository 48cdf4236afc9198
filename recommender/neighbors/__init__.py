"""Exact nearest neighbors of users and of products.

cosine_index      users by the cosine of their ratings; `top_k_cosine`
precomputed       the same answers, computed once for all rows
block_neighbors   the same answers, found block by block
entries           a number and a rating in one word, for compiled code
taste_index       users by taste: a weighted similarity of profiles
shop_statistics   the statistics of a whole shop behind that similarity
similar_products  products by the cosine of their raters
"""

from recommender.neighbors._cosine_kernels import CosineQueries, squared_norms
from recommender.neighbors._taste_kernels import KEY_HALF, KEY_MASK, PackedProfiles, TasteQueries, weigh
from recommender.neighbors.block_neighbors import NearestByCosine, NearestByTaste, TasteGround
from recommender.neighbors.cosine_index import CosineIndex, top_k_cosine
from recommender.neighbors.entries import Entries, bits_of, entries_of, entry_type, numbers_of, steps_of
from recommender.neighbors.precomputed import PrecomputedIndex
from recommender.neighbors.shop_statistics import (
    TasteStatistics,
    damping_divisors,
    fifth_root,
    item_weights,
    taste_statistics,
)
from recommender.neighbors.similar_products import SimilarProducts
from recommender.neighbors.taste_index import BLOCK_ROWS, LEAST_CONFIDENCE, TasteIndex

__all__ = [
    "BLOCK_ROWS",
    "KEY_HALF",
    "KEY_MASK",
    "LEAST_CONFIDENCE",
    "CosineIndex",
    "CosineQueries",
    "Entries",
    "NearestByCosine",
    "NearestByTaste",
    "PackedProfiles",
    "PrecomputedIndex",
    "SimilarProducts",
    "TasteGround",
    "TasteIndex",
    "TasteQueries",
    "TasteStatistics",
    "bits_of",
    "damping_divisors",
    "entries_of",
    "entry_type",
    "fifth_root",
    "item_weights",
    "numbers_of",
    "squared_norms",
    "steps_of",
    "taste_statistics",
    "top_k_cosine",
    "weigh",
]
