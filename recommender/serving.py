"""The model as the service holds it: ratings, cosines, popular products and product details, all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.bulk_read import read_table
from recommender.errors import UnknownUserError
from recommender.neighbors import CosineIndex
from recommender.popular import PopularProducts, rank_popular
from recommender.product_catalog import Product, ProductCatalog, read_catalog
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix
from recommender.schema import users
from recommender.scoring import rank_products


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
    popular: PopularProducts
    catalog: ProductCatalog
    places: NDArray[np.int32]  # (n_products,) of the matrix's columns in the catalog, -1: it has left
    known_users: NDArray[np.int64]  # ascending: users with a row in users or a rating
    built_at: datetime
    n_neighbors: int
    version: int | None  # the one it belongs to, or that was published when it was built; None: there was none

    def product(self, column: int) -> Product:
        """What the catalog says about the product of a column."""
        return self.catalog.product(int(self.places[column]))

    def recommend(self, user_id: int, n: int) -> Answer:
        """Return n products for a known user: the neighbors' first, then popular ones if those are too few.

        Raises UnknownUserError. Shorter than n only if the user has rated nearly everything.
        """
        try:
            row = self.matrix.row_of(user_id)
        except UnknownUserError:
            place = int(np.searchsorted(self.known_users, user_id))
            if place == len(self.known_users) or self.known_users[place] != user_id:
                raise
            return Answer(list(self._popular(np.empty(0, np.int32), n)), "popular")
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
        chosen = [Recommendation(*values) for values in zip(*(array.tolist() for array in ranked), strict=True)]
        if len(chosen) == n:
            return Answer(chosen, "neighbors")
        excluded = np.concatenate([ranked.columns, self.matrix.rated_columns(row)])
        more = list(self._popular(excluded, n - len(chosen)))
        return Answer(chosen + more, ("mixed" if more else "neighbors") if chosen else "popular")

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
    version: int | None = None,
) -> ServedModel:
    """Add to the trained model what answers need from the tables: known users, titles, prices."""
    catalog = read_catalog(engine)
    listed = read_table(engine, [users.c.user_id]).column(0).to_numpy()
    return ServedModel(
        matrix=matrix,
        similarity=similarity,
        popular=rank_popular(matrix),
        catalog=catalog,
        places=catalog.places(matrix.product_ids),
        known_users=np.union1d(matrix.user_ids, listed),
        built_at=built_at,
        n_neighbors=n_neighbors,
        version=version,
    )
