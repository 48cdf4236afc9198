"""The oracle of the tests: the specification computed plainly, with dictionaries and fractions, without arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from heapq import nsmallest
from math import sqrt
from typing import NamedTuple

Ratings = Mapping[int, Mapping[str, float]]  # user -> product -> stars


class Expected(NamedTuple):
    """One row of the answer."""

    product_id: str
    predicted_rating: float
    support: float
    n_neighbors: int


class Oracle:
    """The answers for one set of ratings."""

    def __init__(self, ratings: Ratings, *, unit: float = 0.5) -> None:
        """``unit``: one step of the scale."""
        self.ratings = ratings
        self.steps = {user: {product: round(r / unit) for product, r in rs.items()} for user, rs in ratings.items()}
        self.norm = {user: sum(r * r for r in theirs.values()) for user, theirs in self.steps.items()}

    def neighbors(self, user: int, k: int) -> list[tuple[int, float]]:
        """The k others with the highest cosine > 0, equal ones by smaller id; decided in fractions."""
        mine, found = self.steps[user], []
        for other, theirs in self.steps.items():
            dot = sum(mine[product] * theirs[product] for product in mine.keys() & theirs.keys())
            if other != user and dot > 0:
                found.append((Fraction(dot * dot, self.norm[other]), other, dot))
        nearest = nsmallest(k, found, key=lambda entry: (-entry[0], entry[1]))
        return [(other, dot / sqrt(self.norm[user] * self.norm[other])) for _, other, dot in nearest]

    def recommend(self, user: int, *, k: int, n: int | None, catalog: Iterable[str]) -> list[Expected]:
        """The first n products (None: all) for ``user``."""
        allowed, ratings = set(catalog), self.ratings
        sums: dict[str, tuple[float, float, int]] = {}
        for other, cosine in self.neighbors(user, k):
            for product, stars in ratings[other].items():
                if product in allowed and product not in ratings[user]:
                    weighted, support, raters = sums.get(product, (0.0, 0.0, 0))
                    sums[product] = (weighted + cosine * stars, support + cosine, raters + 1)
        rows = [
            Expected(product, round(weighted / support, 9), round(support, 9), raters)
            for product, (weighted, support, raters) in sums.items()
        ]
        rows.sort(key=lambda row: (-row.predicted_rating, -row.support, row.product_id))
        return rows[:n]
