"""Rankings as `evaluation.evaluate` compares them: whole catalog, seen products left out, short lists left short.

- `ClassicRanker`: the predicted rating of the nearest users, as `recommender.neighbors.cosine_index` and
  `recommender.ranking.classic` give it to people.
- `PopularRanker`: what most people rated, as `recommender.fallback.popular`; the floor that any other ranking has to
  beat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import at_least_one
from recommender.fallback.popular import rank_popular
from recommender.neighbors.cosine_index import CosineIndex
from recommender.ranking.classic import rank_products_for_rows
from recommender.shop.ratings import STARS_PER_UNIT, RatingMatrix

Rows = NDArray[np.int64]
Columns = NDArray[np.int32]
Stars = NDArray[np.float64]


class ClassicRanker:
    """User-based collaborative filtering on the ratings of ``train``: candidates by predicted rating."""

    name = "classic"

    def __init__(self, train: RatingMatrix, *, n_neighbors: int = 20) -> None:
        """SettingError for n_neighbors below 1, RatingError as `CosineIndex`."""
        self.n_neighbors = min(at_least_one("n_neighbors", n_neighbors), max(train.shape[0], 1))
        self._train = train
        self._index = CosineIndex(train.half_stars)

    def rank(self, rows: Rows, n: int) -> Columns:
        """The best n columns of each row, (len(rows), n), -1 where there are no more."""
        near = self._index.top_k(self.n_neighbors, rows=rows)
        recommendable = self._train.recommendable
        ratings = self._train.half_stars
        return rank_products_for_rows(
            ratings, rows, *near, n=n, recommendable=recommendable, scale=STARS_PER_UNIT
        ).columns

    def predict(self, rows: Rows, columns: NDArray[np.integer]) -> Stars:
        """Stars for each pair, (len(rows),): sum of cosine * rating / sum of cosine; NaN where no neighbor rated it.

        Summed in neighbor order and rounded to 9 decimals, so equal to what the list shows.
        """
        users, user = np.unique(rows, return_inverse=True)  # user: (n_pairs,) place among the users
        neighbors, similarities = self._index.top_k(self.n_neighbors, rows=users)
        weighted, support = np.zeros(len(rows)), np.zeros(len(rows))
        for place in range(neighbors.shape[1]):  # one neighbor of all pairs at a time: memory of the pairs alone
            stars = STARS_PER_UNIT * self._half_stars(neighbors[user, place], columns)  # 0 where not rated
            rated = stars > 0
            weighted[rated] += similarities[user[rated], place] * stars[rated]
            support[rated] += similarities[user[rated], place]
        predicted = np.full(len(rows), np.nan)
        np.divide(weighted, support, out=predicted, where=support > 0)
        return np.rint(predicted * 1e9) / 1e9

    def _half_stars(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.int8]:
        """The rating of each pair, 0 where there is none or the row is -1."""
        found: NDArray[np.int8] = self._train.half_stars[np.maximum(rows, 0), columns]
        return np.where(rows >= 0, found, 0).astype(np.int8)


class PopularRanker:
    """The products that most people rated; for each user the same ones, less what the user rated."""

    name = "popular"

    def __init__(self, train: RatingMatrix) -> None:
        self._train = train
        popular = rank_popular(train)
        self._columns = popular.columns  # (m,) most popular first
        self._place = np.full(train.shape[1], len(popular.columns), np.int64)  # (n_products,) unranked behind all
        self._place[popular.columns] = np.arange(len(popular.columns))
        self._predicted = np.full(train.shape[1], np.nan)  # (n_products,)
        self._predicted[popular.columns] = popular.predicted

    def rank(self, rows: Rows, n: int) -> Columns:
        """The best n columns of each row, (len(rows), n), -1 where there are no more."""
        out = np.full((len(rows), n), -1, np.int32)
        waiting, head = np.arange(len(rows)), 4 * n  # most people have not seen most of what is popular
        while waiting.size:
            head = min(head, len(self._columns))
            unseen = self._unseen(rows[waiting], head)  # (len(waiting), head)
            complete = (unseen.sum(axis=1) >= n) | (head == len(self._columns))
            place = np.cumsum(unseen, axis=1)
            user, column = np.nonzero(unseen & (place <= n) & complete[:, None])
            out[waiting[user], place[user, column] - 1] = self._columns[column]
            waiting, head = waiting[~complete], 4 * head
        return out

    def predict(self, rows: Rows, columns: NDArray[np.integer]) -> Stars:
        """The damped mean of each pair's product, (len(rows),); NaN for one that nobody rated or may be recommended."""
        assert len(rows) == len(columns), "one column for each row"
        predicted: Stars = self._predicted[columns]
        return predicted

    def _unseen(self, rows: Rows, head: int) -> NDArray[np.bool_]:
        """Which of the ``head`` most popular products each row has not rated."""
        seen = self._train.half_stars[rows]
        user = np.repeat(np.arange(len(rows)), np.diff(seen.indptr))
        place = self._place[seen.indices]
        unseen = np.ones((len(rows), head), np.bool_)
        unseen[user[place < head], place[place < head]] = False
        return unseen
