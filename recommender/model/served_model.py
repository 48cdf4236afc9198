"""The model as the service holds it: ratings, cosines, popular products and product details, all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError, UnknownUserError
from recommender.fallback import NO_CAP, SOURCES, Cap, ColdStart, Near, OneList, Place, PopularProducts, popular_list
from recommender.model.filters import KeptMasks
from recommender.model.list_request import NEW_RANK, Categories, Cut, Wish, allowed_products
from recommender.model.neighborhood import Neighborhood, Owned, with_stars
from recommender.neighbors import CosineIndex, SimilarProducts
from recommender.ranking import BY_TASTE, CLASSIC, RANKINGS, TASTE, TasteRanker, TasteSimilarity, rank_near
from recommender.shop import AT_THE_START, STARS_PER_UNIT, Cursor, Products, RatingMatrix

NOBODYS = np.empty(0, np.int32)
NOTHING = NOBODYS, np.empty(0), np.empty(0), NOBODYS  # ranked


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
    products: Products  # of the matrix and of the catalog
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
    people: str | None = None  # token of whom the user_ids mean, see recommender.database.identities
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows that it was not made from, by what is wrong

    @property
    def rankings(self) -> tuple[str, ...]:
        """The rankings that this model can answer with."""
        if not isinstance(self.similarity, TasteSimilarity):
            return (CLASSIC,)
        return (CLASSIC, TASTE) if self.similarity.parameters is None else RANKINGS

    def prepare(self) -> None:
        """Do now what the first questions would have to wait for."""
        self.similar_products.prepare()
        _ = self.masks, self.categories  # a `LiveModel` shares what is there
        if isinstance(self.similarity, TasteSimilarity):
            self.similarity.ranker(self.ranking if self.ranking in BY_TASTE else TASTE)

    @cached_property
    def masks(self) -> KeptMasks:
        """What recent filters leave in."""
        return KeptMasks(self.matrix.recommendable)

    @cached_property
    def categories(self) -> Categories:
        """The category of each product."""
        return Categories.of(self.products)

    @cached_property
    def raters(self) -> NDArray[np.integer]:
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

    def recommend(
        self, user_id: int, n: int, ranking: str | None = None, *, allowed: NDArray[np.bool_] | None = None
    ) -> Answer:
        """The first n products of a known user's list: the neighbors' first, then others' if those are too few.

        ``allowed``: a flag for each product; None: all. Raises UnknownUserError. Shorter than n only if there are
        no more that somebody has rated and the user has not.
        """
        return answer_of(self.first(user_id, Cut(n, allowed, NO_CAP, NEW_RANK), ranking or self.ranking))

    def first(self, user_id: int, cut: Cut, ranking: str) -> list[Recommendation]:
        """The products of a known user's list, as far as they are wanted. UnknownUserError."""
        place, row = self._place_and_row(user_id)
        if ranking in BY_TASTE:
            return self._by_taste(user_id, row, place, ranking, cut)
        return self._classic(row, cut)

    def _place_and_row(self, user_id: int) -> tuple[int, int | None]:
        """Where a known user is among them, and in the matrix, None: nowhere. UnknownUserError."""
        known, raters = self.known_users, self.matrix.user_ids
        place = int(known.searchsorted(user_id))
        if place == len(known) or known[place] != user_id:
            raise UnknownUserError(user_id)
        row = int(raters.searchsorted(user_id))
        return place, row if row < len(raters) and raters[row] == user_id else None

    def select(self, user_id: int, wish: Wish, ranking: str | None = None) -> Answer:
        """The products a request asks for, a page of the whole list under its filters. UnknownUserError."""
        return self._page(self.first(user_id, self.cut(wish), ranking or self.ranking), wish)

    def _page(self, found: list[Recommendation], wish: Wish) -> Answer:
        return answer_of(found[wish.offset :] if wish.offset else found)

    def cut(self, wish: Wish) -> Cut:
        """What a wish wants of a list."""
        cap = NO_CAP if wish.diversity is None else self._cap(wish.diversity)
        return Cut(wish.offset + wish.limit, self.allowed(wish), cap, wish.new_rank)

    def _cap(self, most: int) -> Cap:
        return self.categories.cap(most)

    def select_popular(self, wish: Wish) -> list[Recommendation]:
        """The popular products a request asks for."""
        return self._with_popular(NOTHING, NOBODYS, self.cut(wish))[wish.offset :]

    def allowed(self, wish: Wish) -> NDArray[np.bool_] | None:
        """A flag for each product; None if the wish leaves nothing out."""
        if not wish.filters:
            return None
        return self.masks.mask(wish, lambda: allowed_products(wish, self.products, self.categories))

    def _classic(self, row: int | None, cut: Cut) -> list[Recommendation]:
        """Neighbors' products, then the most often rated."""
        if row is None:
            return self._with_popular(NOTHING, NOBODYS, cut)
        neighbors, similarities = self.similarity.neighbors(row, self.n_neighbors)
        return self._classic_near(row, neighbors, similarities, cut)

    def _classic_near(
        self, row: int, neighbors: NDArray[np.int32], similarities: NDArray[np.float64], cut: Cut
    ) -> list[Recommendation]:
        given = self.matrix.half_stars, row, neighbors, similarities
        ranked = rank_near(*given, cut.n, cut.cap, self._recommendable(cut.allowed), STARS_PER_UNIT)
        return self._with_popular(ranked, self.matrix.rated_columns(row), cut)

    def _with_popular(
        self, ranked: tuple[NDArray[Any], ...], seen: NDArray[np.int32], cut: Cut
    ) -> list[Recommendation]:
        """Neighbors' products, then the most often rated; ``ranked``: columns, stars, support, raters."""
        if cut.cap.most:
            without = None if cut.allowed is None else self.masks.of(cut.allowed).without
            near = Near(ranked[0][None], ranked[1][None])
            found = popular_list(self.popular, near, cut.n, seen=seen, without=without, cap=cut.cap)
            return as_recommendations(found, ranked[2], ranked[3])
        chosen = _from_neighbors(ranked)
        if len(chosen) == cut.n:
            return chosen
        excluded = np.concatenate([ranked[0], seen])
        return chosen + list(self._popular(excluded, cut.n - len(chosen), cut.allowed))

    def _recommendable(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        return self.matrix.recommendable if allowed is None else self.masks.of(allowed).recommendable

    def _by_taste(self, user_id: int, row: int | None, place: int, ranking: str, cut: Cut) -> list[Recommendation]:
        """Neighbors' products by taste, then down the ladder."""
        ladder, rules = self._ladder_for(ranking), self._rules(cut)
        assert isinstance(self.similarity, TasteSimilarity)
        if row is None:
            segment = int(self.known_segments[place])
            found = ladder.list_of(segment, NOBODYS, Near.nothing(), cut.n, user_id=user_id, **rules)
            return as_recommendations(found, NOTHING[2], NOTHING[3])
        ranker = self.similarity.ranker(ranking)
        return self._taste_near(row, ranker, ranker.near(row), cut, rules, self._bars(cut.allowed, ranking))

    def _taste_near(
        self, row: int, ranker: TasteRanker, near: Any, cut: Cut, rules: dict[str, Any], bars: Any
    ) -> list[Recommendation]:
        """What these neighbors of a row give, then down the ladder."""
        assert self.ladder is not None
        ranked = ranker.rank_near(near, cut.n, bars, cut.cap)
        found = self.ladder.list_of_row(row, Near(ranked.columns, ranked.stars), cut.n, **rules)
        return as_recommendations(found, ranked.support[0], ranked.n_raters[0])

    def _bars(self, allowed: NDArray[np.bool_] | None, ranking: str) -> Any:
        """What the ranker's kernel asks of scores under the mask."""
        assert isinstance(self.similarity, TasteSimilarity)
        ranker = self.similarity.ranker(ranking)
        return ranker.votes.bars(None) if allowed is None else self.masks.of(allowed).bars(ranking, ranker)

    def _ladder_for(self, ranking: str) -> ColdStart:
        if self.ladder is None or not isinstance(self.similarity, TasteSimilarity):
            raise SettingError(f"the {ranking} ranking is not loaded: start the service with RANKING={ranking}")
        return self.ladder

    def _rules(self, cut: Cut, share: float | None = None) -> dict[str, Any]:
        """What the ladder must leave out, its cap, and the place of a new product in so large a share of lists."""
        assert self.ladder is not None
        without = None if cut.allowed is None else self.masks.of(cut.allowed).without
        chance = self.new_product_percent / 100 if share is None else share
        if (place := self._places_of_new.get((cut.new_rank, chance))) is None:
            place = self.ladder.place(cut.new_rank, self.version or 0, chance)
            self._places_of_new[cut.new_rank, chance] = place
        return {"without": without, "cap": cut.cap, "place": place}

    @cached_property
    def _places_of_new(self) -> dict[tuple[int, float], Place]:
        """Those that were asked for, by rank and share; of a few default limits."""
        return {}

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
    found: OneList, support: NDArray[np.float64], n_neighbors: NDArray[np.integer]
) -> list[Recommendation]:
    """The list; ``support`` and ``n_neighbors`` are evidence for each of the products that neighbors gave."""
    sums, counts = support.tolist(), n_neighbors.tolist()
    return [
        Recommendation(column, stars, 0.0 if source else sums[at], 0 if source else counts[at], SOURCES[source])
        for column, stars, source, at in zip(*[array.tolist() for array in found], strict=True)
    ]


def answer_of(chosen: list[Recommendation]) -> Answer:
    """Mixed if neighbors gave some of the products, and others the rest."""
    evident = [item.source for item in chosen].count("neighbors")
    source = "popular" if not evident else "neighbors" if evident == len(chosen) else "mixed"
    return Answer(chosen, source)
