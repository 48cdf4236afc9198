"""The model as the service holds it: ratings, cosines, popular products and product details, all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.bulk_read import read_table
from recommender.errors import SettingError, UnknownUserError
from recommender.neighbors import CosineIndex
from recommender.popular import PopularProducts, rank_popular
from recommender.product_catalog import Product, ProductCatalog, read_catalog
from recommender.rankings import BY_TASTE, CLASSIC, RANKINGS, TASTE, TasteSimilarity
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix
from recommender.schema import users
from recommender.scoring import RankedProducts, rank_products
from recommender.similar_products import SimilarProducts


@dataclass(frozen=True)
class Recommendation:
    """One ranked product of an answer."""

    column: int
    predicted_rating: float
    support: float
    n_neighbors: int


@dataclass(frozen=True)
class Answer:
    """What one user is recommended, best first, and where it came from: neighbors, mixed or popular."""

    recommendations: list[Recommendation]
    source: str


@dataclass(frozen=True, eq=False)
class ServedModel:
    """Everything an answer needs; nothing here touches the database or changes after it was built."""

    matrix: RatingMatrix
    similarity: CosineIndex
    similar_products: SimilarProducts  # prepared when first asked for
    popular: PopularProducts
    catalog: ProductCatalog
    places: NDArray[np.int32]  # (n_products,) of the matrix's columns in the catalog, -1: it has left
    known_users: NDArray[np.int64]  # ascending: users with a row in users or a rating
    built_at: datetime
    n_neighbors: int  # of the classic ranking
    ranking: str  # the one that is used unless a request asks for another
    version: int | None  # the one it belongs to, or that was published when it was built; None: there was none

    @property
    def rankings(self) -> tuple[str, ...]:
        """The rankings that this model can answer with."""
        if not isinstance(self.similarity, TasteSimilarity):
            return (CLASSIC,)
        return (CLASSIC, TASTE) if self.similarity.parameters is None else RANKINGS

    def prepare(self) -> None:
        """Do now what the first questions would have to wait for."""
        self.similar_products.prepare()
        if isinstance(self.similarity, TasteSimilarity):
            self.similarity.ranker(self.ranking if self.ranking in BY_TASTE else TASTE)

    def column_of(self, product_id: str) -> int | None:
        """The matrix's column of a product; None if nobody has rated it."""
        ids = self.matrix.product_ids
        column = int(np.searchsorted(ids, product_id.encode()))
        return column if column < len(ids) and ids[column] == product_id.encode() else None

    def product(self, column: int) -> Product:
        """What the catalog says about the product of a column."""
        return self.catalog.product(int(self.places[column]))

    def recommend(self, user_id: int, n: int, ranking: str | None = None) -> Answer:
        """Return n products for a known user: the neighbors' first, then popular ones if those are too few.

        Raises UnknownUserError. Shorter than n only if the user has rated nearly everything.
        """
        place = int(np.searchsorted(self.known_users, user_id))
        if place == len(self.known_users) or self.known_users[place] != user_id:
            raise UnknownUserError(user_id)
        try:
            row = self.matrix.row_of(user_id)
        except UnknownUserError:
            return Answer(list(self._popular(np.empty(0, np.int32), n)), "popular")
        ranked, seen = self._ranked(row, n, ranking or self.ranking)
        chosen = [Recommendation(*values) for values in zip(*(array.tolist() for array in ranked), strict=True)]
        if len(chosen) == n:
            return Answer(chosen, "neighbors")
        excluded = np.concatenate([ranked.columns, seen])
        more = list(self._popular(excluded, n - len(chosen)))
        return Answer(chosen + more, ("mixed" if more else "neighbors") if chosen else "popular")

    def _ranked(self, row: int, n: int, ranking: str) -> tuple[RankedProducts, NDArray[np.int32]]:
        """The list of the row, and the columns that must not be added to it."""
        if ranking in BY_TASTE:
            if not isinstance(self.similarity, TasteSimilarity):
                raise SettingError(f"the {ranking} ranking is not loaded: start the service with RANKING={ranking}")
            found = self.similarity.ranker(ranking).rank_products(np.array([row]), n)
            lists = RankedProducts(found.columns, found.stars, found.support, found.n_raters)
            return lists.of(0), self.similarity.profiles.columns_of(row)
        neighbors, similarities = self.similarity.neighbors(row, self.n_neighbors)
        ranked = rank_products(
            self.matrix.half_stars,
            row,
            neighbors,
            similarities,
            n=n,
            recommendable=self.matrix.recommendable,
            scale=STARS_PER_UNIT,
        )
        return ranked, self.matrix.rated_columns(row)

    def _popular(self, excluded: NDArray[np.integer], n: int) -> Iterator[Recommendation]:
        columns, predicted = self.popular.beyond(excluded, n)
        for column, stars in zip(columns.tolist(), predicted.tolist(), strict=True):
            yield Recommendation(column, stars, 0.0, 0)


def build_served_model(
    engine: Engine,
    matrix: RatingMatrix,
    similarity: CosineIndex,
    *,
    n_neighbors: int,
    built_at: datetime,
    ranking: str = CLASSIC,
    version: int | None = None,
) -> ServedModel:
    """Add to the trained model what answers need from the tables: known users, titles, prices."""
    catalog = read_catalog(engine)
    listed = read_table(engine, [users.c.user_id]).column(0).to_numpy()
    return ServedModel(
        matrix=matrix,
        similarity=similarity,
        similar_products=SimilarProducts(matrix),
        popular=rank_popular(matrix),
        catalog=catalog,
        places=catalog.places(matrix.product_ids),
        known_users=np.union1d(matrix.user_ids[np.diff(matrix.half_stars.indptr) > 0], listed),
        built_at=built_at,
        n_neighbors=n_neighbors,
        ranking=ranking,
        version=version,
    )
