"""The rankings that a shop can choose from, behind one interface: ranked products with evidence for one or many rows.

classic  predicted stars of the nearest users, as the specification has it (`recommender.ranking.classic`): the default
taste    the products that the nearest users by taste have in common (`recommender.ranking.taste`): finds several times
         more
auto     taste, with the number of neighbors and the damping of popular products that served these ratings best
         (`recommender.evaluation.tuning`)

All of them leave a list short if the neighbors have no more products.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.neighbors import CosineIndex, TasteIndex, TasteStatistics
from recommender.ranking.classic import RankedProducts, rank_products_for_rows
from recommender.ranking.taste import TasteParameters, TasteRanker
from recommender.ranking.taste_votes import TasteVotes
from recommender.shop import STARS_PER_UNIT, Profiles, RatingMatrix, fingerprint_of

CLASSIC, TASTE, AUTO = "classic", "taste", "auto"
RANKINGS = (CLASSIC, TASTE, AUTO)
BY_TASTE = (TASTE, AUTO)
BLOCK_CELLS = 4_000_000  # neighbors held at once: 48 MB


class Ranking(Protocol):
    """Ranked products of many rows."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the lists depend on, JSON-able."""

    @property
    def profiles(self) -> Profiles | None:
        """The profiles of the users; None if the ranking uses ratings alone."""

    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that differ when the data behind the ranking do."""

    def rank_products(self, rows: NDArray[np.int64], n: int) -> RankedProducts:
        """Return the best n products of each row, (len(rows), n), padded with -1."""


class NeighborSource(Protocol):
    """A source of nearest rows, such as a ``CosineIndex``."""

    def top_k(self, k: int, *, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return neighbors and similarities, each (len(rows), k), padded with -1 and 0.0."""


class ClassicRanking:
    """The classic ranking with a number of neighbors."""

    def __init__(self, matrix: RatingMatrix, similarity: NeighborSource, n_neighbors: int) -> None:
        self._matrix, self._similarity, self._n_neighbors = matrix, similarity, n_neighbors

    @property
    def settings(self) -> dict[str, Any]:
        return {"ranking": CLASSIC, "n_neighbors": self._n_neighbors}

    profiles = None

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
    """The taste ranking, or auto. ``predicted`` are stars; products are not ordered by them."""

    def __init__(self, matrix: RatingMatrix, similarity: TasteSimilarity, ranking: str = TASTE) -> None:
        self._matrix, self.profiles = matrix, similarity.profiles
        self._ranker = similarity.ranker(ranking)
        chosen = similarity.parameters if ranking == AUTO else None
        weighed = {"interaction_weights": list(similarity.weights)} if similarity.weights else {}
        self._settings = {"ranking": ranking} | (chosen._asdict() if chosen else {}) | weighed

    @property
    def settings(self) -> dict[str, Any]:
        return self._settings

    def fingerprint(self) -> str:
        return fingerprint_of(self._matrix.fingerprint(), *self.profiles.arrays())

    def rank_products(self, rows: NDArray[np.int64], n: int) -> RankedProducts:
        ranked = self._ranker.rank_products(rows, n)
        return RankedProducts(ranked.columns, ranked.stars, ranked.support, ranked.n_raters)


def chosen_parameters(settings: Mapping[str, Any]) -> TasteParameters | None:
    """Return the parameters in the settings of a version that auto ranked; None for another ranking."""
    if settings.get("ranking") != AUTO:
        return None
    return TasteParameters(int(settings["n_neighbors"]), float(settings["damping"]))


class TasteSimilarity(CosineIndex):
    """The result of ``load_model`` for the rankings by taste: the cosines and the rankers by taste.

    The rankers are prepared when they are first used: 0.8 s at 3.8 million ratings. ``parameters``: those of auto.
    ``weights``: the weight of each kind of interaction in the profiles, if known, for the record.
    """

    matrix: RatingMatrix
    profiles: Profiles
    parameters: TasteParameters | None
    statistics: TasteStatistics | None
    weights: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        matrix: RatingMatrix,
        profiles: Profiles,
        *,
        parameters: TasteParameters | None = None,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        statistics: TasteStatistics | None = None,
    ) -> TasteSimilarity:
        """Return the similarity for these profiles.

        ``statistics``: those of another time than the profiles; None: those of the profiles.
        ``arrays``: those of an earlier one on the same matrix and profiles; None to prepare everything from scratch.
        Raises SettingError for arrays that are damaged or belong to others.
        """
        if arrays is None:
            similarity = cls(matrix.half_stars)
        else:
            similarity = cls.from_arrays(under("cosine.", arrays))
            index = TasteIndex.from_arrays(under("taste.", arrays))
            if index.shape != matrix.shape or similarity.shape[0] != matrix.shape[0]:
                raise SettingError(f"arrays for {index.shape} users and products do not belong to {matrix.shape}")
            similarity.taste = TasteRanker.of(TasteVotes.from_arrays(index, under("votes.", arrays)))
        similarity.matrix, similarity.profiles, similarity.parameters = matrix, profiles, parameters
        similarity.statistics = statistics
        return similarity

    def prepared_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all prepared arrays by name, not copied, to be saved and given back as ``arrays``."""
        parts = {"cosine": self.arrays(), "taste": self.taste.index.arrays(), "votes": self.taste.votes.arrays()}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def ranker(self, ranking: str) -> TasteRanker:
        """Return the ranker of a ranking by taste. SettingError for auto if it was not loaded."""
        return self.auto if ranking == AUTO else self.taste

    @cached_property
    def taste(self) -> TasteRanker:
        """The ranker of `taste`. Two threads that use it first at the same time may both prepare it."""
        return TasteRanker(
            self.profiles.confidences,
            self.matrix.half_stars,
            times=self.profiles.times,
            statistics=self.statistics,
            recommendable=self.matrix.recommendable,
        )

    @cached_property
    def auto(self) -> TasteRanker:
        """The ranker with the parameters chosen for these ratings."""
        if self.parameters is None:
            raise SettingError('the auto ranking needs what load_model(engine, ranking="auto") returned')
        if self.parameters == TasteParameters():
            return self.taste
        votes = self.taste.votes.damped(self.parameters.damping, self.matrix.recommendable)
        return TasteRanker.of(votes, n_neighbors=self.parameters.n_neighbors)


def under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with ``prefix``, without it in their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
