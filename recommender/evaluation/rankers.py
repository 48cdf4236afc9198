"""Rankings in the form that `evaluation.evaluate` compares: whole catalog, no seen products, short lists left short.

- `ClassicRanker`: the predicted rating of the nearest users, by the `recommender.ranking.rankings.ClassicRanking` that
  people are served by.
- `PopularRanker`: the products that most people rated, by `recommender.fallback.popular`. Any other ranking has to find
  more than this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import at_least_one
from recommender.fallback import rank_popular
from recommender.neighbors import CosineIndex
from recommender.ranking import ClassicRanking
from recommender.shop import RatingMatrix

Rows = NDArray[np.int64]
Columns = NDArray[np.int32]
Stars = NDArray[np.float64]


class ClassicRanker:
    """User-based collaborative filtering on the ratings of ``train``: candidates by predicted rating."""

    def __init__(self, train: RatingMatrix, *, n_neighbors: int = 20) -> None:
        """Train on ``train``. SettingError for n_neighbors below 1, RatingError as `CosineIndex`."""
        self.n_neighbors = min(at_least_one("n_neighbors", n_neighbors), max(train.shape[0], 1))
        self._train = train
        self._index = CosineIndex(train.steps)
        self._ranking = ClassicRanking(train, self._index, self.n_neighbors)

    def rank(self, rows: Rows, n: int) -> Columns:
        """Return the best n columns of each row, (len(rows), n), -1 where there are no more."""
        return self._ranking.rank_products(rows, n).columns

    def predict(self, rows: Rows, columns: NDArray[np.integer]) -> Stars:
        """Return the stars of each pair, (len(rows),): sum of cosine * rating / sum of cosine; NaN if none rated it.

        The sums run in neighbor order and are rounded to 9 decimals, so the stars equal those that the list shows.
        """
        users, user = np.unique(rows, return_inverse=True)  # user: (n_pairs,) index into users
        neighbors, similarities = self._index.top_k(self.n_neighbors, rows=users)
        weighted, support = np.zeros(len(rows)), np.zeros(len(rows))
        for place in range(neighbors.shape[1]):  # one neighbor of all pairs at a time: memory of the pairs only
            stars = self._train.scale.unit * self._steps(neighbors[user, place], columns)  # 0 where not rated
            rated = stars > 0
            weighted[rated] += similarities[user[rated], place] * stars[rated]
            support[rated] += similarities[user[rated], place]
        predicted = np.full(len(rows), np.nan)
        np.divide(weighted, support, out=predicted, where=support > 0)
        return np.rint(predicted * 1e9) / 1e9

    def _steps(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.int8]:
        """Return the rating of each pair, 0 where there is none or the row is -1."""
        found: NDArray[np.int8] = self._train.steps[np.maximum(rows, 0), columns]
        return np.where(rows >= 0, found, 0).astype(np.int8)


class PopularRanker:
    """The products that most people rated; for each user the same ones, less what ``seen`` has of the row.

    ``seen``: CSR array (n_users, n_products); None: the ratings of ``train``.
    """

    def __init__(self, train: RatingMatrix, seen: Any = None) -> None:
        self._popular, self._seen = rank_popular(train), train.steps if seen is None else seen
        self._predicted = np.full(train.shape[1], np.nan)  # (n_products,)
        self._predicted[self._popular.columns] = self._popular.predicted

    def rank(self, rows: Rows, n: int) -> Columns:
        """Return the best n columns of each row, (len(rows), n), -1 where there are no more."""
        shape = len(rows), n
        return self._popular.top_up(self._seen, rows, np.full(shape, -1, np.int32), np.zeros(shape))[0]

    def predict(self, rows: Rows, columns: NDArray[np.integer]) -> Stars:
        """Return the damped mean of each pair's product, (len(rows),); NaN if it is not rated or not recommendable."""
        assert len(rows) == len(columns), "one column for each row"
        predicted: Stars = self._predicted[columns]
        return predicted
