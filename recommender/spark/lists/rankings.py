"""What a ranking does with rows of users: index a block, search for queries, make lists. No task needs pyspark.

The local kernels work on the rows at hand, with the sums of the whole shop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.fallback import SOURCES, ColdStart, FilledLists, Ladder, New, PopularProducts
from recommender.items import ItemWeights
from recommender.neighbors import (
    BLOCK_ROWS,
    CosineIndex,
    NearestByCosine,
    NearestByTaste,
    TasteGround,
    TasteIndex,
    TasteStatistics,
    entries_of,
    taste_statistics,
)
from recommender.publishing import from_cold_start, from_popular
from recommender.ranking import (
    AutoParameters,
    ProfileRanker,
    RankedProducts,
    TasteSimilarity,
    empty_lists,
    rank_products_for_rows,
)
from recommender.shop import Profiles, RatingMatrix, Scale, ShopSums
from recommender.spark.lists.user_rows import UserRows

Lists = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]  # rows (m,), neighbors and similarities (m, k)


class Ranks(Protocol):
    """A ranking of the shop."""

    @property
    def source(self) -> str:
        """The source of its own products."""

    def nearest(self, rows: UserRows, first: int, k: int) -> Any:
        """Return the search for the k nearest of rows ``first``, ``first`` + 1, ... of the whole."""

    def index(self, rows: UserRows) -> Any:
        """Return the index of a block."""

    def lists(self, users: UserRows, near: Lists, own: UserRows, n: int) -> tuple[RankedProducts, FilledLists]:
        """Return the lists of the last rows of ``users`` and what they are filled up to. ``own``: these with times."""


@dataclass(frozen=True, eq=False)
class Shop:
    """What all tasks know of the shop."""

    product_ids: NDArray[np.bytes_]  # of the columns
    recommendable: NDArray[np.bool_]  # (n_columns,)
    scale: Scale
    sums: ShopSums

    def matrix(self, users: UserRows) -> RatingMatrix:
        """Return the ratings of some users."""
        given = users.ratings(len(self.product_ids)), users.user_ids, self.product_ids, self.recommendable
        return RatingMatrix(*given, scale=self.scale, ids=users.ids())


@dataclass(frozen=True, eq=False)
class ByCosine:
    """The classic ranking."""

    shop: Shop
    popular: PopularProducts
    source = SOURCES[0]

    def nearest(self, rows: UserRows, first: int, k: int) -> NearestByCosine:
        return NearestByCosine(rows.ratings(len(self.shop.product_ids)), first, k, most=self.shop.scale.most)

    def index(self, rows: UserRows) -> CosineIndex:
        return CosineIndex(rows.ratings(len(self.shop.product_ids)), most=self.shop.scale.most)

    def lists(self, users: UserRows, near: Lists, own: UserRows, n: int) -> tuple[RankedProducts, FilledLists]:
        del own
        matrix = self.shop.matrix(users)
        unit, mask = matrix.scale.unit, matrix.recommendable
        ranked = rank_products_for_rows(matrix.steps, *near, n=n, recommendable=mask, scale=unit, n_threads=1)
        return ranked, from_popular(matrix, self.popular)(near[0], ranked)


@dataclass(frozen=True, eq=False)
class Filling:
    """What fills up lists by profiles."""

    ladder: Ladder
    mean: float
    new: New
    new_product_percent: int
    version: int


@dataclass(frozen=True, eq=False)
class ByProfiles:
    """A ranking by profiles: taste, items or auto."""

    shop: Shop
    ranking: str
    filling: Filling
    parameters: AutoParameters | None
    item_weights: ItemWeights | None

    @cached_property
    def base(self) -> ProfileRanker:
        """The ranker of a shop of the same products and nobody."""
        n_columns = len(self.shop.product_ids)
        nothing = sp.csr_array((0, n_columns), dtype=np.float64), np.empty(0, np.int64)
        steps = sp.csr_array((0, n_columns), dtype=np.int8)
        matrix = RatingMatrix(
            steps, np.empty(0, np.int64), self.shop.product_ids, self.shop.recommendable, scale=self.shop.scale
        )
        similarity = TasteSimilarity.of(
            matrix, Profiles(*nothing), parameters=self.parameters, item_weights=self.item_weights,
            statistics=self._statistics(nothing[0], steps),
        )  # fmt: skip
        return similarity.ranker(self.ranking)

    @cached_property
    def _ground(self) -> TasteGround:
        return TasteGround(self.base.taste.index.statistics, len(self.shop.product_ids))

    @property
    def _bars(self) -> Any:
        return self.base.bars(None)

    @property
    def source(self) -> str:
        return self.base.source

    @property
    def n_neighbors(self) -> int:
        """The number of neighbors by taste."""
        return self.base.n_neighbors

    def nearest(self, rows: UserRows, first: int, k: int) -> NearestByTaste:
        profiles = rows.profiles(len(self.shop.product_ids))
        return NearestByTaste(profiles.confidences, profiles.times, first, k, self._ground)

    def index(self, rows: UserRows) -> TasteIndex:
        profiles = rows.profiles(len(self.shop.product_ids))
        return TasteIndex(profiles.confidences, statistics=self._ground.statistics)

    def lists(self, users: UserRows, near: Lists, own: UserRows, n: int) -> tuple[RankedProducts, FilledLists]:
        base, n_columns = self.base, len(self.shop.product_ids)
        votes, profiles, steps = base.taste.votes, users.profiles(n_columns), users.ratings(n_columns)
        known = self._statistics(profiles.confidences, steps)
        entries = entries_of(base.taste.index.places[users.columns], users.steps, votes.packed.entries.dtype.type)
        values = profiles.confidences.data
        values = np.empty(0) if (values == 1).all() else values  # as in `TasteIndex`
        voters = votes.of_rows(users.indptr, entries, values, known.mu + known.user_bias)
        ranker = base.beside(voters, base.profiles_of(own.profiles(n_columns), own.steps))
        out, bars = empty_lists(len(own), n), self._bars
        for start in range(0, len(own), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            ranker.rank_lists((near[0][part], near[1][part], near[2][part]), bars, out.at(part))
        ranked = RankedProducts(out.columns, out.stars, out.support, out.n_raters)
        fill = self.filling
        cold = ColdStart(fill.ladder, fill.new, users.segments, fill.mean, profiles.confidences, users.user_ids)
        return ranked, from_cold_start(cold, fill.new_product_percent, fill.version)(near[0], ranked)

    def _statistics(self, profiles: Any, steps: Any) -> TasteStatistics:
        """Return the statistics of the shop with the biases of these users; without ratings no stars are predicted."""
        known = taste_statistics(profiles, steps, scale=self.shop.scale, sums=self.shop.sums)
        return known if self.shop.sums.n_ratings.any() else replace(known, mu=math.nan)
