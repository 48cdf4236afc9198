"""The rankings a shop can choose from, behind one face: ranked products with evidence for many rows, or for one.

classic  predicted stars of the nearest users, as the specification has it (`recommender.scoring`): the default
taste    what the nearest users by taste have in common (`recommender.taste_ranking`): finds several times more

Both leave a list short rather than make something up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.neighbors import CosineIndex
from recommender.profiles import Profiles
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix, fingerprint_of
from recommender.scoring import RankedProducts, rank_products_for_rows
from recommender.taste_ranking import TasteRanker

CLASSIC, TASTE = "classic", "taste"
RANKINGS = (CLASSIC, TASTE)
BLOCK_CELLS = 4_000_000  # neighbors held at a time: 48 MB


class Ranking(Protocol):
    """Ranked products of many rows."""

    @property
    def settings(self) -> dict[str, Any]:
        """What its lists depend on besides the data, JSON-able."""

    @property
    def seen(self) -> Any:
        """CSR (n_users, n_products): what it never recommends to whom."""

    def fingerprint(self) -> str:
        """32 hexadecimal digits that differ when the data do that it ranks by."""

    def rank_products(self, rows: NDArray[np.int64], n: int) -> RankedProducts:
        """The best n products of each row, (len(rows), n), padded with -1."""


class NeighborSource(Protocol):
    """Anything that finds nearest rows: a ``CosineIndex``."""

    def top_k(self, k: int, *, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Neighbors and similarities, each (len(rows), k), padded with -1 and 0.0."""


class ClassicRanking:
    """The classic ranking with so many neighbors."""

    def __init__(self, matrix: RatingMatrix, similarity: NeighborSource, n_neighbors: int) -> None:
        self._matrix, self._similarity, self._n_neighbors = matrix, similarity, n_neighbors

    @property
    def settings(self) -> dict[str, Any]:
        return {"ranking": CLASSIC, "n_neighbors": self._n_neighbors}

    @property
    def seen(self) -> Any:
        return self._matrix.half_stars

    def fingerprint(self) -> str:
        return self._matrix.fingerprint()

    def rank_products(self, rows: NDArray[np.int64], n: int) -> RankedProducts:
        k = min(self._n_neighbors, max(self._matrix.shape[0], 1))
        step = max(1, BLOCK_CELLS // k)
        parts = [self._rank(rows[start : start + step], k, n) for start in range(0, max(len(rows), 1), step)]
        return RankedProducts.stacked(parts)

    def _rank(self, rows: NDArray[np.int64], k: int, n: int) -> RankedProducts:
        neighbors, similarities = self._similarity.top_k(k, rows=rows)
        return rank_products_for_rows(
            self._matrix.half_stars,
            rows,
            neighbors,
            similarities,
            n=n,
            recommendable=self._matrix.recommendable,
            scale=STARS_PER_UNIT,
        )


class TasteRanking:
    """The taste ranking; ``predicted`` are stars, which the products are not ordered by."""

    def __init__(self, matrix: RatingMatrix, similarity: TasteSimilarity) -> None:
        self._matrix, self._profiles, self._similarity = matrix, similarity.profiles, similarity

    @property
    def settings(self) -> dict[str, Any]:
        return {"ranking": TASTE}

    @property
    def seen(self) -> Any:
        return self._profiles.confidences

    def fingerprint(self) -> str:
        return fingerprint_of(self._matrix.fingerprint(), *self._profiles.arrays())

    def rank_products(self, rows: NDArray[np.int64], n: int) -> RankedProducts:
        ranked = self._similarity.taste.rank_products(rows, n)
        return RankedProducts(ranked.columns, ranked.stars, ranked.support, ranked.n_raters)


class TasteSimilarity(CosineIndex):
    """What ``load_model`` returns for the taste ranking: the cosines, and the ranker by taste beside them.

    The ranker is prepared when it is first asked for: 1.4 s at 3.8 million ratings.
    """

    matrix: RatingMatrix
    profiles: Profiles

    @classmethod
    def of(
        cls, matrix: RatingMatrix, profiles: Profiles, arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> TasteSimilarity:
        """``arrays``: the cosines' own, where they were saved; None to prepare them now."""
        similarity = cls(matrix.half_stars) if arrays is None else cls.from_arrays(arrays)
        similarity.matrix, similarity.profiles = matrix, profiles
        return similarity

    @cached_property
    def taste(self) -> TasteRanker:
        """The ranker; two threads that ask first at the same time may both prepare it."""
        return TasteRanker(
            self.profiles.confidences,
            self.matrix.half_stars,
            times=self.profiles.times,
            recommendable=self.matrix.recommendable,
        )
