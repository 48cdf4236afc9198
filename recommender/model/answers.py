"""What the model answers: ranked products, the evidence for each, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import SOURCES, OneList
from recommender.ranking import FUSION, ITEMS

EVIDENT = (SOURCES[0], ITEMS, FUSION)  # the sources of products with evidence: the rankings
PRODUCT_SOURCES = (*EVIDENT, *SOURCES[1:])


class Recommendation(NamedTuple):
    """One ranked product of an answer."""

    column: int
    predicted_rating: float
    support: float
    n_neighbors: int
    source: str  # one of `PRODUCT_SOURCES`


@dataclass(frozen=True)
class Answer:
    """The products recommended to one user, best first, and their source: one of `EVIDENT`, mixed or popular."""

    recommendations: list[Recommendation]
    source: str

    @property
    def sources(self) -> str:
        """The number of products from each source, as in "neighbors=8, new=1"."""
        given = [item.source for item in self.recommendations]
        return ", ".join([f"{source}={given.count(source)}" for source in PRODUCT_SOURCES if source in given])


def from_neighbors(ranked: tuple[NDArray[Any], ...]) -> list[Recommendation]:
    """Return the ranked products of the neighbors; ``ranked``: columns, stars, support, raters."""
    values = zip(*[array.tolist() for array in ranked], repeat("neighbors"), strict=False)
    return list(map(Recommendation._make, values))


def as_recommendations(
    found: OneList, support: NDArray[np.float64], n_neighbors: NDArray[np.integer], source: str = SOURCES[0]
) -> list[Recommendation]:
    """Return the products of a list; ``support`` and ``n_neighbors`` are the evidence for those of ``source``."""
    sums, counts, names = support.tolist(), n_neighbors.tolist(), (source, *SOURCES[1:])
    return [
        Recommendation(column, stars, 0.0 if place else sums[at], 0 if place else counts[at], names[place])
        for column, stars, place, at in zip(*[array.tolist() for array in found], strict=True)
    ]


def answer_of(chosen: list[Recommendation]) -> Answer:
    """Return the answer. Its source is mixed if the ranking gave some of the products, and others the rest."""
    evident = [item.source for item in chosen if item.source in EVIDENT]
    source = "popular" if not evident else evident[0] if len(evident) == len(chosen) else "mixed"
    return Answer(chosen, source)
