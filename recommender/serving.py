"""The model as the service holds it: ratings, cosines, popular products and product details, all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import islice, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.changes import AT_THE_START, Cursor
from recommender.cold_start import SOURCES, ColdStart, FilledLists
from recommender.errors import SettingError, UnknownUserError
from recommender.kept_masks import KeptMasks
from recommender.list_items import ListItems
from recommender.neighborhoods import Neighborhood, Owned, with_stars
from recommender.neighbors import CosineIndex
from recommender.popular import PopularProducts
from recommender.product_catalog import Product, ProductCatalog
from recommender.rankings import BY_TASTE, CLASSIC, RANKINGS, TASTE, TasteSimilarity
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix
from recommender.scoring import rank_row
from recommender.similar_products import SimilarProducts
from recommender.wishes import ROOM, Wish, allowed_products, capped


class Recommendation(NamedTuple):
    """One ranked product of an answer."""

    column: int
    predicted_rating: float
    support: float
    n_neighbors: int
    source: str  # one of cold_start.SOURCES


@dataclass(frozen=True)
class Answer:
    """What one user is recommended, best first, and where it came from: neighbors, mixed or popular."""

    recommendations: list[Recommendation]
    source: str

    @property
    def sources(self) -> str:
        """How many products each source gave: "neighbors=8, new=1"."""
        given = [item.source for item in self.recommendations]
        return ", ".join([f"{source}={given.count(source)}" for source in SOURCES if source in given])


@dataclass(frozen=True, eq=False)
class ServedModel:
    """Everything an answer needs; nothing here touches the database or changes after it was built."""

    matrix: RatingMatrix
    similarity: CosineIndex
    similar_products: SimilarProducts  # prepared when first asked for
    popular: PopularProducts
    catalog: ProductCatalog
    places: NDArray[np.int32]  # in the catalog: of the matrix's columns, -1: it has left; then of what only it has
    known_users: NDArray[np.int64]  # (n_known,) ascending: users with a row in users or a rating
    known_segments: NDArray[np.int32]  # (n_known,) country and age group, -1: not known; (0,) without a ladder
    ladder: ColdStart | None  # what lists by taste are topped up from; None: there are none
    built_at: datetime
    n_neighbors: int  # of the classic ranking
    ranking: str  # the one that is used unless a request asks for another
    version: int | None  # whose lists it gives, but for what has come since; None: those of none
    new_product_percent: int = 0  # of the lists by taste
    weights: tuple[float, ...] = ()  # what each kind of interaction counts in the profiles; (): none was read
    segment_names: tuple[tuple[str, str], ...] = ()  # country and age group of each segment
    cursor: Cursor = AT_THE_START  # of the tables when they were read

    @property
    def rankings(self) -> tuple[str, ...]:
        """The rankings that this model can answer with."""
        if not isinstance(self.similarity, TasteSimilarity):
            return (CLASSIC,)
        return (CLASSIC, TASTE) if self.similarity.parameters is None else RANKINGS

    def prepare(self) -> None:
        """Do now what the first questions would have to wait for."""
        self.similar_products.prepare()
        _ = self.masks, self.list_items  # a `LiveModel` shares what is there
        if isinstance(self.similarity, TasteSimilarity):
            self.similarity.ranker(self.ranking if self.ranking in BY_TASTE else TASTE)

    @cached_property
    def masks(self) -> KeptMasks:
        """What recent filters leave in."""
        return KeptMasks(self.matrix.recommendable)

    @cached_property
    def list_items(self) -> ListItems:
        """The JSON of recent products."""
        return ListItems(len(self.places))

    @cached_property
    def raters(self) -> NDArray[np.int64]:
        """How many people rated each product of the matrix, (n_products,); counted when first asked for."""
        return np.bincount(self.matrix.half_stars.indices, minlength=self.matrix.shape[1])

    @cached_property
    def _half_stars_given(self) -> NDArray[np.float64]:
        given = np.zeros(self.matrix.shape[1], np.float64)
        np.add.at(given, self.matrix.half_stars.indices, self.matrix.half_stars.data)
        return given

    def raters_of(self, column: int) -> tuple[int, float | None]:
        """How many people rated the product of a column, and their mean stars; None if nobody did."""
        count = int(self.raters[column]) if column < len(self.raters) else 0
        return count, float(self._half_stars_given[column]) * STARS_PER_UNIT / count if count else None

    @property
    def n_ratings(self) -> int:
        """How many ratings there are."""
        return self.matrix.n_ratings

    def neighbors_of(self, row: int, ranking: str) -> tuple[NDArray[np.int32], NDArray[np.float64], Any]:
        """The neighbors that a ranking asks, nearest first, their similarities, and what each user has (CSR)."""
        if ranking in BY_TASTE and isinstance(self.similarity, TasteSimilarity):
            ranker = self.similarity.ranker(ranking)
            return *ranker.index.neighbors(row, ranker.n_neighbors), self.similarity.profiles.confidences
        return *self.similarity.neighbors(row, self.n_neighbors), self.matrix.half_stars

    def column_of(self, product_id: str) -> int | None:
        """The matrix's column of a product; None if nobody has rated it."""
        ids = self.matrix.product_ids
        column = int(np.searchsorted(ids, product_id.encode()))
        return column if column < len(ids) and ids[column] == product_id.encode() else None

    def find(self, product_id: str) -> int | None:
        """The column of a product, the catalog's own after the matrix's; None if nobody has heard of it."""
        column, place = self.column_of(product_id), self.catalog.place_of(product_id)
        if column is None and place is not None:
            n_products = self.matrix.shape[1]
            column = n_products + int(np.searchsorted(self.places[n_products:], place))
        return column

    def product(self, column: int) -> Product:
        """What the catalog says about the product of a column, or of the catalog's own after them."""
        return self.catalog.product(int(self.places[column]))

    def product_id(self, column: int) -> str:
        """The id of the product of a column, or of the catalog's own after them."""
        ids = self.matrix.product_ids
        found: bytes = ids[column] if column < len(ids) else self.catalog.product_ids[self.places[column]]
        return found.decode("ascii")

    def recommend(
        self, user_id: int, n: int, ranking: str | None = None, *, allowed: NDArray[np.bool_] | None = None
    ) -> Answer:
        """Return n products for a known user: the neighbors' first, then others' if those are too few.

        ``allowed``: a flag for each of ``places``; None: all. Raises UnknownUserError. Shorter than n only if there are
        no more that the user has not rated.
        """
        place, row = self._place_and_row(user_id)
        wanted = ranking or self.ranking
        if wanted in BY_TASTE:
            return answer_of(self._by_taste(user_id, row, place, n, wanted, allowed))
        return answer_of(self._classic(row, n, allowed))

    def _place_and_row(self, user_id: int) -> tuple[int, int | None]:
        """Where a known user is among them, and in the matrix, None: nowhere. UnknownUserError."""
        known, raters = self.known_users, self.matrix.user_ids
        place = int(known.searchsorted(user_id))
        if place == len(known) or known[place] != user_id:
            raise UnknownUserError(user_id)
        row = int(raters.searchsorted(user_id))
        return place, row if row < len(raters) and raters[row] == user_id else None

    def select(self, user_id: int, wish: Wish, ranking: str | None = None) -> Answer:
        """The products a request asks for: filters act before the cut, so N come wherever there are N."""
        return self._select(lambda n, allowed: self.recommend(user_id, n, ranking, allowed=allowed), wish)

    def _select(self, recommend: Callable[[int, NDArray[np.bool_] | None], Answer], wish: Wish) -> Answer:
        allowed = self.allowed(wish)
        last = wish.offset + wish.limit
        if wish.diversity is None:
            answer = recommend(last, allowed)
            return answer_of(answer.recommendations[wish.offset :]) if wish.offset else answer
        n = last * ROOM
        while True:
            everything = recommend(n, allowed).recommendations
            found = capped(everything, self._category_of, wish.diversity)
            if len(found) >= last or len(everything) < n:
                return answer_of(found[wish.offset : last])
            n *= ROOM

    def select_popular(self, wish: Wish) -> list[Recommendation]:
        """The popular products a request asks for."""
        everything = self._popular(np.empty(0, np.int32), len(self.popular.columns), self.allowed(wish))
        if wish.diversity is None:
            return list(islice(everything, wish.offset, wish.offset + wish.limit))
        found = capped(everything, self._category_of, wish.diversity)
        return found[wish.offset : wish.offset + wish.limit]

    def allowed(self, wish: Wish) -> NDArray[np.bool_] | None:
        """A flag for each of ``places``; None if the wish leaves nothing out."""
        if not wish.filters:
            return None
        return self.masks.mask(wish, lambda: allowed_products(wish, self.catalog, self.places))

    def _category_of(self, item: Recommendation) -> int | None:
        if item.column >= len(self.places):
            return self.product(item.column).category_id
        place = int(self.places[item.column])
        return None if place < 0 else int(self.catalog.category_ids[place])

    def _classic(self, row: int | None, n: int, allowed: NDArray[np.bool_] | None) -> list[Recommendation]:
        """Neighbors' products, then the most often rated."""
        if row is None:
            return list(self._popular(np.empty(0, np.int32), n, allowed))
        neighbors, similarities = self.similarity.neighbors(row, self.n_neighbors)
        ranked = rank_row(
            self.matrix.half_stars,
            row,
            neighbors,
            similarities,
            n,
            recommendable=self._recommendable(allowed),
            scale=STARS_PER_UNIT,
        )
        if len(ranked.columns) == n:
            return _from_neighbors(ranked)
        return self._with_popular(ranked, self.matrix.rated_columns(row), n, allowed)

    def _with_popular(
        self,
        ranked: tuple[NDArray[Any], ...],
        seen: NDArray[np.int32],
        n: int,
        allowed: NDArray[np.bool_] | None,
    ) -> list[Recommendation]:
        """Neighbors' products, then the most often rated; ``ranked``: columns, stars, support, raters."""
        chosen = _from_neighbors(ranked)
        if len(chosen) == n:
            return chosen
        excluded = np.concatenate([ranked[0], seen])
        return chosen + list(self._popular(excluded, n - len(chosen), allowed))

    def _recommendable(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        return self.matrix.recommendable if allowed is None else self.masks.of(allowed).recommendable

    def _by_taste(
        self, user_id: int, row: int | None, place: int, n: int, ranking: str, allowed: NDArray[np.bool_] | None
    ) -> list[Recommendation]:
        """Neighbors' products by taste, then down the ladder."""
        ladder, chance = self._ladder_for(ranking), self._chance(allowed)
        assert isinstance(self.similarity, TasteSimilarity)
        if row is None:
            lists = ladder.for_segment(int(self.known_segments[place]), [], n, user_id=user_id, **chance)
            return as_recommendations(lists, np.zeros(n), np.zeros(n, np.int32))
        ranker = self.similarity.ranker(ranking)
        bars = ranker.votes.bars(None) if allowed is None else self.masks.of(allowed).bars(ranking, ranker)
        found = ranker.rank_row(row, n, bars)
        lists = ladder.top_up_row(row, found.columns, found.stars, **chance)
        return as_recommendations(lists, found.support[0], found.n_raters[0])

    def _ladder_for(self, ranking: str) -> ColdStart:
        if self.ladder is None or not isinstance(self.similarity, TasteSimilarity):
            raise SettingError(f"the {ranking} ranking is not loaded: start the service with RANKING={ranking}")
        return self.ladder

    def _chance(self, allowed: NDArray[np.bool_] | None) -> dict[str, Any]:
        """What the ladder must leave out, and its chance for new products."""
        without = None if allowed is None else self.masks.of(allowed).without
        return {"version": self.version or 0, "new_share": self.new_product_percent / 100, "without": without}

    def _popular(
        self, excluded: NDArray[np.integer], n: int, allowed: NDArray[np.bool_] | None
    ) -> Iterator[Recommendation]:
        popular = self.popular if allowed is None else self.masks.of(allowed).popular(self.popular, n + len(excluded))
        columns, predicted = popular.beyond(excluded, n)
        for column, stars in zip(columns.tolist(), predicted.tolist(), strict=True):
            yield Recommendation(column, stars, 0.0, 0, "popular")

    def ratings_of(self, user_id: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Columns and half stars of what a user rated. UnknownUserError."""
        _, row = self._place_and_row(user_id)
        return (np.empty(0, np.int32), np.empty(0, np.int8)) if row is None else self.matrix.ratings_of(row)

    def neighborhood(self, user_id: int, ranking: str) -> Neighborhood:
        """The neighbors that a ranking asks for a user, and what they have. UnknownUserError."""
        _, row = self._place_and_row(user_id)
        if row is None:
            return Neighborhood.empty()
        near, similarities, _ = self.neighbors_of(row, ranking)
        owned = [self._owned_by(other, ranking) for other in near.tolist()]
        return Neighborhood(self.matrix.user_ids[near], similarities, owned, self._owned_by(row, ranking)[0])

    def _owned_by(self, row: int, ranking: str) -> Owned:
        """What a row has, in the eyes of a ranking."""
        if ranking in BY_TASTE and isinstance(self.similarity, TasteSimilarity):
            return with_stars(self.similarity.profiles.columns_of(row), *self.matrix.ratings_of(row))
        return self.matrix.ratings_of(row)


def _from_neighbors(ranked: tuple[NDArray[Any], ...]) -> list[Recommendation]:
    values = zip(*[array.tolist() for array in ranked], repeat("neighbors"), strict=False)
    return list(map(Recommendation._make, values))


def as_recommendations(
    lists: FilledLists, support: NDArray[np.float64], n_neighbors: NDArray[np.int32]
) -> list[Recommendation]:
    """The first of the lists; ``support`` and ``n_neighbors`` are evidence for what neighbors gave."""
    values = lists.columns[0], lists.stars[0], support, n_neighbors, lists.sources[0]
    return [
        Recommendation(column, stars, 0.0 if source else sum_, 0 if source else k, SOURCES[source])
        for column, stars, sum_, k, source in zip(*[array.tolist() for array in values], strict=True)
        if column >= 0
    ]


def answer_of(chosen: list[Recommendation]) -> Answer:
    """Mixed if neighbors gave some of the products, and others the rest."""
    evident = [item.source for item in chosen].count("neighbors")
    source = "popular" if not evident else "neighbors" if evident == len(chosen) else "mixed"
    return Answer(chosen, source)
