"""The model that the service holds in memory: ratings, cosines, popular products and product details."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError, UnknownUserError
from recommender.fallback import NO_CAP, Cap, ColdStart, Near, PopularProducts, popular_list
from recommender.model.answers import Answer, Recommendation, answer_of, as_recommendations, from_neighbors
from recommender.model.filters import Cut, FilterCache, ProductFilter
from recommender.model.list_request import NEW_RANK, Categories, ListRequest, allowed_products
from recommender.model.neighborhood import Neighborhood, Owned, with_stars
from recommender.neighbors import CosineIndex, SimilarProducts
from recommender.ranking import (
    BY_TASTE,
    CLASSIC,
    FusedRanker,
    ItemRanker,
    ProfileRanker,
    TasteSimilarity,
    rank_near,
)
from recommender.shop import NOTHING_READ, Cursor, Products, RatingMatrix, UserId, UserIds

NOBODYS = np.empty(0, np.int32)
NOTHING = NOBODYS, np.empty(0), np.empty(0), NOBODYS  # of a ranking without products


@dataclass(frozen=True, eq=False)
class ServedModel:
    """All data behind an answer. The model never reads the database, and never changes after it was built."""

    matrix: RatingMatrix
    similarity: CosineIndex
    similar_products: SimilarProducts  # prepared at the first use
    popular_when_built: PopularProducts
    products: Products  # of the matrix and of the catalog
    known_users: NDArray[np.int64]  # (n_known,) ascending: of users, ratings or the log that was read
    known_segments: NDArray[np.int32]  # (n_known,) segment of each, -1: not known; (0,) without a ladder
    cold_start: ColdStart | None  # the cold start, which fills up lists by taste; None: there are no lists by taste
    built_at: datetime
    n_neighbors: int  # of the classic ranking
    ranking: str  # the default of a request
    version: int | None  # the version whose lists it gives, apart from later changes; None: none
    new_product_percent: int = 0  # of lists by taste
    weights: tuple[float, ...] = ()  # of each kind of interaction in the profiles; (): none was read
    segment_names: tuple[tuple[str, str], ...] = ()  # country and age group of each segment
    cursor: Cursor = NOTHING_READ  # the position in the tables when they were read
    people: str | None = None  # token of the people whom the user_ids mean, see recommender.database.identities
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows of the tables that are not in the model, by fault

    @property
    def ids(self) -> UserIds:
        """What the shop calls the users. Everywhere else a ``user_id`` is the stored number."""
        return self.matrix.ids

    def number_of(self, user_id: UserId) -> int:
        """Return the stored number of the shop's id. UnknownUserError."""
        number = self.ids.number_of(user_id)
        if number is None:
            raise UnknownUserError(user_id)
        return number

    @property
    def popular(self) -> PopularProducts:
        """The recommendable products that somebody rated, most popular first."""
        return self.popular_when_built

    @property
    def rankings(self) -> tuple[str, ...]:
        """The rankings that this model can answer with; classic needs ratings."""
        more = self.similarity.rankings if isinstance(self.similarity, TasteSimilarity) else ()
        return (CLASSIC, *more) if self.n_ratings else more

    def prepare(self) -> None:
        """Do now what the first requests would have to wait for."""
        self.similar_products.prepare()
        _ = self.filters, self.categories
        if isinstance(self.similarity, TasteSimilarity):
            for ranking in self.similarity.rankings:
                self.similarity.ranker(ranking)

    @cached_property
    def filters(self) -> FilterCache:
        """The cache of recent filters."""
        return FilterCache(self.matrix.recommendable)

    @cached_property
    def categories(self) -> Categories:
        """The category of each product."""
        return Categories.of(self.products)

    @cached_property
    def raters(self) -> NDArray[np.integer]:
        """Number of people who rated each product of the matrix, (n_products,), counted at the first use."""
        return np.bincount(self.matrix.steps.indices, minlength=self.matrix.shape[1])

    @cached_property
    def owners(self) -> NDArray[np.integer]:
        """Number of people who had each product of the matrix when the model was made, by a rating or interaction."""
        if not isinstance(self.similarity, TasteSimilarity):
            return self.raters
        return np.bincount(self.similarity.profiles.confidences.indices, minlength=self.matrix.shape[1])

    @cached_property
    def _steps_given(self) -> NDArray[np.float64]:
        given = np.zeros(self.matrix.shape[1], np.float64)
        np.add.at(given, self.matrix.steps.indices, self.matrix.steps.data)
        return given

    def raters_of(self, column: int) -> tuple[int, float | None]:
        """Return the number of people who rated the product of a column, and their mean stars (or None)."""
        count = int(self.raters[column]) if column < len(self.raters) else 0
        return count, float(self._steps_given[column]) * self.matrix.scale.unit / count if count else None

    @property
    def n_ratings(self) -> int:
        """Number of ratings."""
        return self.matrix.n_ratings

    def neighbors_of(self, row: int, ranking: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the neighbors for a ranking, nearest first, and their similarities."""
        if ranking in BY_TASTE and isinstance(self.similarity, TasteSimilarity):
            ranker = self.similarity.ranker(ranking)
            return ranker.taste.index.neighbors(row, ranker.n_neighbors)
        return self.similarity.neighbors(row, self.n_neighbors)

    def recommend(self, user_id: int, n: int, ranking: str | None = None) -> Answer:
        """Return the first n products of a known user's list: the neighbors', then others if these are too few.

        Raises UnknownUserError. The list is shorter than n only if no other products remain that somebody has rated and
        the user has not.
        """
        return answer_of(self.first(user_id, Cut(n, None, NO_CAP, NEW_RANK), ranking or self.ranking))

    def first(self, user_id: int, cut: Cut, ranking: str) -> list[Recommendation]:
        """Return the wanted part of a known user's list. UnknownUserError."""
        place, row = self._place_and_row(user_id)
        if ranking in BY_TASTE:
            return self._by_taste(user_id, row, place, ranking, cut)
        return self._classic(row, cut)

    def _place_and_row(self, user_id: int) -> tuple[int, int | None]:
        """Return the index of a known user among known_users, and the row of the matrix or None. UnknownUserError."""
        known = self.known_users
        place = int(known.searchsorted(user_id))
        if place == len(known) or known[place] != user_id:
            raise UnknownUserError(self.ids.of(user_id))
        return place, self.matrix.row_of_number(user_id)

    def select(self, user_id: int, request: ListRequest, ranking: str | None = None) -> Answer:
        """Return the page of the user's whole list that a request asks for, under its filters. UnknownUserError."""
        return self._page(self.first(user_id, self.cut(request), ranking or self.ranking), request)

    def _page(self, found: list[Recommendation], request: ListRequest) -> Answer:
        return answer_of(found[request.offset :] if request.offset else found)

    def cut(self, request: ListRequest) -> Cut:
        """Return the part of a list that a request asks for."""
        cap = NO_CAP if request.diversity is None else self._cap(request.diversity)
        return Cut(request.offset + request.limit, self.filter_of(request), cap, request.new_rank)

    def _cap(self, most: int) -> Cap:
        return self.categories.cap(most)

    def select_popular(self, request: ListRequest) -> list[Recommendation]:
        """Return the page of popular products that a request asks for; without ratings those that people turn to."""
        if not self.n_ratings and self.cold_start is not None:
            rules = self._rules(cut := self.cut(request), 0.0)
            found = self.cold_start.list_of(-1, NOBODYS, Near.nothing(), cut.n, user_id=0, **rules)
            return as_recommendations(found, NOTHING[2], NOTHING[3])[request.offset :]
        return self._with_popular(NOTHING, NOBODYS, self.cut(request))[request.offset :]

    def filter_of(self, request: ListRequest) -> ProductFilter | None:
        """Return the filter of a request; None if it leaves nothing out."""
        if not request.filters:
            return None
        return self.filters.of(request, lambda: allowed_products(request, self.products, self.categories))

    def _classic(self, row: int | None, cut: Cut) -> list[Recommendation]:
        """Return the neighbors' products, then the most often rated."""
        if row is None:
            return self._with_popular(NOTHING, NOBODYS, cut)
        neighbors, similarities = self.similarity.neighbors(row, self.n_neighbors)
        return self._classic_near(row, neighbors, similarities, cut)

    def _classic_near(
        self, row: int, neighbors: NDArray[np.int32], similarities: NDArray[np.float64], cut: Cut
    ) -> list[Recommendation]:
        given = self.matrix.steps, row, neighbors, similarities
        ranked = rank_near(*given, cut.n, cut.cap, self._recommendable(cut), self.matrix.scale.unit)
        return self._with_popular(ranked, self.matrix.rated_columns(row), cut)

    def _with_popular(
        self, ranked: tuple[NDArray[Any], ...], seen: NDArray[np.int32], cut: Cut
    ) -> list[Recommendation]:
        """Return the neighbors' products, then the most often rated; ``ranked``: columns, stars, support, raters."""
        if cut.cap.most:
            near = Near(ranked[0][None], ranked[1][None])
            found = popular_list(self.popular, near, cut.n, seen=seen, without=cut.without, cap=cut.cap)
            return as_recommendations(found, ranked[2], ranked[3])
        chosen = from_neighbors(ranked)
        if len(chosen) == cut.n:
            return chosen
        excluded = np.concatenate([ranked[0], seen])
        return chosen + list(self._popular(excluded, cut.n - len(chosen), cut.filter))

    def _recommendable(self, cut: Cut) -> NDArray[np.bool_]:
        return self.matrix.recommendable if cut.filter is None else cut.filter.recommendable

    def _by_taste(self, user_id: int, row: int | None, place: int, ranking: str, cut: Cut) -> list[Recommendation]:
        """Return the neighbors' products by taste, then the ladder's."""
        ladder, rules = self._cold_start_for(ranking), self._rules(cut)
        assert isinstance(self.similarity, TasteSimilarity)
        if row is None:
            segment = int(self.known_segments[place])
            found = ladder.list_of(segment, NOBODYS, Near.nothing(), cut.n, user_id=user_id, **rules)
            return as_recommendations(found, NOTHING[2], NOTHING[3])
        ranker = self.similarity.ranker(ranking)
        return self._taste_near(row, ranker, ranker.near(row), cut, rules, self._bars(cut, ranking))

    def _taste_near(
        self, row: int, ranker: ProfileRanker, near: Any, cut: Cut, rules: dict[str, Any], bars: Any
    ) -> list[Recommendation]:
        """Return the ranker's products for a row with these neighbors, then the ladder's."""
        assert self.cold_start is not None
        ranked = ranker.rank_near(near, cut.n, bars, cut.cap)
        found = self.cold_start.list_of_row(row, Near(ranked.columns, ranked.stars), cut.n, **rules)
        return as_recommendations(found, ranked.support[0], ranked.n_raters[0], ranker.source)

    def _bars(self, cut: Cut, ranking: str) -> Any:
        """Return the factors of the ranker's scores under the mask."""
        assert isinstance(self.similarity, TasteSimilarity)
        ranker = self.similarity.ranker(ranking)
        return ranker.bars(None) if cut.filter is None else cut.filter.bars(ranking, ranker)

    def _cold_start_for(self, ranking: str) -> ColdStart:
        if self.cold_start is None or not isinstance(self.similarity, TasteSimilarity):
            raise SettingError(f"the {ranking} ranking is not loaded: start the service with RANKING={ranking}")
        return self.cold_start

    def _rules(self, cut: Cut, share: float | None = None) -> dict[str, Any]:
        """Return the ladder's mask and cap, and the place of a new product in this share of the lists."""
        assert self.cold_start is not None
        chance = self.new_product_percent / 100 if share is None else share
        place = self.cold_start.place(cut.new_rank, self.version or 0, chance)
        return {"without": cut.without, "cap": cut.cap, "place": place}

    def _popular(self, excluded: NDArray[np.integer], n: int, chosen: ProductFilter | None) -> Iterator[Recommendation]:
        popular = self.popular if chosen is None else chosen.popular(self.popular, n + len(excluded))
        columns, predicted = popular.beyond(excluded, n)
        for column, stars in zip(columns.tolist(), predicted.tolist(), strict=True):
            yield Recommendation(column, stars, 0.0, 0, "popular")

    def ratings_of(self, user_id: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Return the columns and the steps of the user's ratings. UnknownUserError."""
        _, row = self._place_and_row(user_id)
        return (np.empty(0, np.int32), np.empty(0, np.int8)) if row is None else self.matrix.ratings_of(row)

    def speaking_for(self, user_id: int, column: int, ranking: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the user's products that speak for a column, and the share of each in all that they add, most first.

        (m,) each, empty if the ranking does not rank by them. UnknownUserError.
        """
        assert isinstance(self.similarity, TasteSimilarity)
        ranker, profile = self.similarity.ranker(ranking), self._asking(user_id, ranking)
        if profile is None or not isinstance(ranker, ItemRanker | FusedRanker):
            return NOBODYS, np.empty(0)
        added = np.maximum(ranker.shares(column, profile), 0.0)
        order = np.lexsort((profile.columns, -added))[: np.count_nonzero(added)]
        return profile.columns[order], added[order] / added.sum()

    def _asking(self, user_id: int, ranking: str) -> Any:
        """Return the profile of a user as the item model is asked; None: it is not asked."""
        assert isinstance(self.similarity, TasteSimilarity)
        _, row = self._place_and_row(user_id)
        return None if row is None else self.similarity.ranker(ranking).profile_of_row(row)

    def neighborhood(self, user_id: int, ranking: str) -> Neighborhood:
        """Return the neighbors of a user for a ranking, and their products. UnknownUserError."""
        _, row = self._place_and_row(user_id)
        if row is None:
            return Neighborhood.empty()
        near, similarities = self.neighbors_of(row, ranking)
        owned = [self._owned_by(other, ranking) for other in near.tolist()]
        return Neighborhood(self.matrix.user_ids[near], similarities, owned, self._owned_by(row, ranking)[0])

    def _owned_by(self, row: int, ranking: str) -> Owned:
        """Return the products of a row, as a ranking sees them."""
        if ranking in BY_TASTE and isinstance(self.similarity, TasteSimilarity):
            return with_stars(self.similarity.profiles.columns_of(row), *self.matrix.ratings_of(row))
        return self.matrix.ratings_of(row)
