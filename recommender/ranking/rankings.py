"""The rankings that a shop can choose from, behind one interface: ranked products with evidence for one or many rows.

classic  predicted stars of the nearest users, as the specification has it (`recommender.ranking.classic`): the default
taste    the products that the nearest users by taste have in common (`recommender.ranking.taste`): finds several times
         more
items    the products that go with the user's own (`recommender.ranking.items`): finds more where histories are long
auto     taste, items or their fusion (`recommender.ranking.fusion`), each with the parameters that served these ratings
         best (`recommender.evaluation.tuning`)

All of them leave a list short if they have no more products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.fallback import SOURCES
from recommender.items import ItemWeights
from recommender.neighbors import CosineIndex, TasteIndex, TasteStatistics, taste_statistics
from recommender.ranking.classic import RankedProducts, rank_products_for_rows
from recommender.ranking.fusion import FusedRanker
from recommender.ranking.items import ItemRanker
from recommender.ranking.parameters import AUTO, CLASSIC, FUSION, ITEMS, TASTE, AutoParameters, TasteParameters
from recommender.ranking.taste import ProfileRanker, TasteRanker
from recommender.ranking.taste_votes import TasteVotes
from recommender.shop import Profiles, RatingMatrix, fingerprint_of

BLOCK_CELLS = 4_000_000  # neighbors held at once: 48 MB


class Ranking(Protocol):
    """Ranked products of many rows."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the lists depend on, JSON-able."""

    @property
    def profiles(self) -> Profiles | None:
        """The profiles of the users; None if the ranking uses ratings alone."""

    @property
    def source(self) -> str:
        """The source of its products."""

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

    profiles, source = None, SOURCES[0]

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
            self._matrix.steps,
            rows,
            neighbors,
            similarities,
            n=n,
            recommendable=self._matrix.recommendable,
            scale=self._matrix.scale.unit,
        )


class ProfileRanking:
    """A ranking by profiles: taste, items or auto. ``predicted`` are stars; products are not ordered by them."""

    def __init__(self, matrix: RatingMatrix, similarity: TasteSimilarity, ranking: str = TASTE) -> None:
        self._matrix, self.profiles = matrix, similarity.profiles
        self._ranker = similarity.ranker(ranking)
        chosen = similarity.chosen(ranking)
        weighed = {"interaction_weights": list(similarity.weights)} if similarity.weights else {}
        self._settings = {"ranking": ranking} | (chosen.as_settings() if ranking != TASTE else {}) | weighed

    @property
    def source(self) -> str:
        return self._ranker.source

    @property
    def settings(self) -> dict[str, Any]:
        return self._settings

    def fingerprint(self) -> str:
        return fingerprint_of(self._matrix.fingerprint(), *self.profiles.arrays())

    def rank_products(self, rows: NDArray[np.int64], n: int) -> RankedProducts:
        ranked = self._ranker.rank_products(rows, n)
        return RankedProducts(ranked.columns, ranked.stars, ranked.support, ranked.n_raters)


class TasteSimilarity(CosineIndex):
    """The result of ``load_model`` for the rankings by profiles: the cosines and the rankers.

    The rankers are prepared when they are first used: 0.8 s at 3.8 million ratings. ``parameters``: those of auto.
    ``item_weights``: B of items, and of auto if it needs them; None: they were not trained.
    ``weights``: the weight of each kind of interaction in the profiles, if known, for the record.
    """

    matrix: RatingMatrix
    profiles: Profiles
    parameters: AutoParameters | None
    statistics: TasteStatistics | None
    item_weights: ItemWeights | None
    weights: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        matrix: RatingMatrix,
        profiles: Profiles,
        *,
        parameters: AutoParameters | None = None,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        statistics: TasteStatistics | None = None,
        item_weights: ItemWeights | None = None,
    ) -> TasteSimilarity:
        """Return the similarity for these profiles.

        ``statistics``: those of another time than the profiles; None: those of the profiles.
        ``arrays``: those of an earlier one on the same matrix and profiles, with its weights between products; None to
        prepare everything from scratch. Raises SettingError for arrays that are damaged or belong to others.
        """
        if arrays is None:
            similarity = cls(matrix.steps, most=matrix.scale.most)
        else:
            similarity = cls.from_arrays(under("cosine.", arrays))
            index = TasteIndex.from_arrays(under("taste.", arrays))
            if index.shape != matrix.shape or similarity.shape[0] != matrix.shape[0]:
                raise SettingError(f"arrays for {index.shape} users and products do not belong to {matrix.shape}")
            similarity.taste = TasteRanker.of(TasteVotes.from_arrays(index, under("votes.", arrays), matrix.scale))
            if saved := {name: array for name, array in arrays.items() if name.startswith("items.")}:
                item_weights = ItemWeights.from_arrays(saved)
        similarity.matrix, similarity.profiles, similarity.parameters = matrix, profiles, parameters
        similarity.statistics, similarity.item_weights = statistics, item_weights
        if item_weights is not None or (arrays is not None and parameters is not None and parameters.needs_items):
            _ = similarity.items  # checks that they are there and belong to these products
        return similarity

    def prepared_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all prepared arrays by name, not copied, to be saved and given back as ``arrays``."""
        parts = {"cosine": self.arrays(), "taste": self.taste.index.arrays(), "votes": self.taste.votes.arrays()}
        found = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return found if self.item_weights is None else found | self.item_weights.arrays()

    @property
    def rankings(self) -> tuple[str, ...]:
        """The rankings by profiles that can be asked for."""
        items = () if self.item_weights is None else (ITEMS,)
        return (TASTE, *items) if self.parameters is None else (TASTE, *items, AUTO)

    def chosen(self, ranking: str) -> AutoParameters:
        """Return what a ranking ranks by, and its parameters."""
        if ranking == AUTO and self.parameters is not None:
            return self.parameters
        parameters = (
            self.parameters if self.parameters is not None and self.parameters.needs_items else AutoParameters()
        )
        return AutoParameters(ITEMS, items=parameters.items) if ranking == ITEMS else AutoParameters()

    def ranker(self, ranking: str) -> ProfileRanker:
        """Return the ranker of a ranking by profiles. SettingError for one that was not loaded."""
        if ranking == AUTO:
            return self.auto
        return self.items if ranking == ITEMS else self.taste

    @cached_property
    def taste(self) -> TasteRanker:
        """The ranker of `taste`. Two threads that use it first at the same time may both prepare it.

        In a shop without ratings no stars can be predicted: they are NaN.
        """
        statistics = self.statistics
        if statistics is None and not self.matrix.n_ratings:
            statistics = replace(taste_statistics(self.profiles.confidences, scale=self.matrix.scale), mu=math.nan)
        return TasteRanker(
            self.profiles.confidences,
            self.matrix.steps,
            times=self.profiles.times,
            statistics=statistics,
            recommendable=self.matrix.recommendable,
            scale=self.matrix.scale,
        )

    @cached_property
    def items(self) -> ItemRanker:
        """The ranker of `items`."""
        return self._items_beside(self.taste)

    def _items_beside(self, taste: TasteRanker) -> ItemRanker:
        if self.item_weights is None:
            raise SettingError('the items ranking needs what load_model(engine, ranking="items") returned')
        given = self.item_weights, self.profiles, self.chosen(ITEMS).items, self.matrix.recommendable
        return ItemRanker.of(taste, *given)

    @cached_property
    def auto(self) -> ProfileRanker:
        """The ranker that was chosen for these ratings."""
        if self.parameters is None:
            raise SettingError('the auto ranking needs what load_model(engine, ranking="auto") returned')
        return chosen_ranker(self.parameters, self.taste, self._items_beside, self.matrix.recommendable)


def chosen_ranker(
    parameters: AutoParameters,
    taste: TasteRanker,
    items_beside: Callable[[TasteRanker], ItemRanker],
    recommendable: NDArray[np.bool_] | None,
) -> ProfileRanker:
    """Return the ranker that auto chose. ``taste``: the one with the default parameters."""
    if parameters.kind == ITEMS:
        return items_beside(taste)
    tuned = taste
    if parameters.taste != TasteParameters():
        votes = taste.votes.damped(parameters.taste.damping, recommendable)
        tuned = TasteRanker.of(votes, n_neighbors=parameters.taste.n_neighbors)
    return FusedRanker(tuned, items_beside(tuned), parameters.fusion) if parameters.kind == FUSION else tuned


def under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with ``prefix``, without it in their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
