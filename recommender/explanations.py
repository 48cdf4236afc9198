"""Why a product was recommended: who of the neighbors has it, how near they are, what is shared with them, in words.

Nothing here tells who the neighbors are: counts, similarities, ratings and products in common, no ids of people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.rankings import BY_TASTE
from recommender.rating_matrix import STARS_PER_UNIT
from recommender.serving import Recommendation, ServedModel

N_CLOSEST = 3
N_SHARED = 3
LONGEST_TITLE = 60


@dataclass(frozen=True)
class Closest:
    """One of the nearest neighbors who have the product; ``rating`` None: they turned to it without rating it."""

    similarity: float
    rating: float | None
    shared_products: list[str]  # ids of what this neighbor and the user both have, the rarest first


@dataclass(frozen=True)
class Explanation:
    """The evidence for one product of a list."""

    source: str
    sentence: str
    support: float
    n_neighbors: int  # who have it, of n_asked
    n_asked: int
    mean_rating: float | None  # of those neighbors, or of everybody where the source is not neighbors
    closest: list[Closest]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Neighborhood:
    """The neighbors of one row, nearest first, and what they have."""

    near: NDArray[np.int32]  # (k,)
    close: NDArray[np.float64]  # (k,)
    owned: Any  # CSR (n_users, n_products): what counts as having a product
    mine: NDArray[np.int32]  # columns of the asking row, ascending
    theirs: NDArray[np.int32]  # columns of all neighbors, one after the other
    owners: NDArray[np.int64]  # the place in ``near`` of each

    def who_has(self, column: int) -> NDArray[np.int64]:
        """Places in ``near`` of those who have the column, ascending."""
        places: NDArray[np.int64] = self.owners[self.theirs == column]
        return places


def explain(
    model: ServedModel, user_id: int, recommendations: Sequence[Recommendation], ranking: str | None = None
) -> list[Explanation]:
    """One explanation for each product, in their order, as ``ranking`` found them."""
    wanted = ranking or model.ranking
    hood = _neighborhood(model, user_id, wanted) if any(r.source == "neighbors" for r in recommendations) else None
    return [
        _from_neighbors(model, hood, item, wanted) if hood and item.source == "neighbors" else _from_all(model, item)
        for item in recommendations
    ]


def _neighborhood(model: ServedModel, user_id: int, ranking: str) -> _Neighborhood:
    row = model.matrix.row_of(user_id)
    near, close, owned = model.neighbors_of(row, ranking)
    lists = [_columns(owned, neighbor) for neighbor in near.tolist()]
    owners = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    return _Neighborhood(near, close, owned, _columns(owned, row), np.concatenate(lists), owners)


def _from_neighbors(model: ServedModel, hood: _Neighborhood, item: Recommendation, ranking: str) -> Explanation:
    places = hood.who_has(item.column)
    given = [_rating(model, int(hood.near[place]), item.column) for place in places]
    rated = [rating for rating in given if rating is not None]
    closest = [
        Closest(round(float(hood.close[place]), 3), rating, _shared(model, hood, int(hood.near[place])))
        for place, rating in zip(places[:N_CLOSEST].tolist(), given, strict=False)
    ]
    mean = round(float(np.mean(rated)), 2) if rated else None
    whose = (
        "whose taste is nearest to yours have it"
        if ranking in BY_TASTE
        else "whose ratings are most like yours rated it"
    )
    sentence = f"{len(places)} of the {len(hood.near)} people {whose}"
    sentence += f", {mean:.1f} stars on average" if mean is not None else ""
    if closest and closest[0].shared_products:
        names = " and ".join(_name(model, product) for product in closest[0].shared_products[:2])
        sentence += f"; you and the closest of them both have {names}"
    return Explanation(item.source, f"{sentence}.", round(item.support, 3), len(places), len(hood.near), mean, closest)


def _from_all(model: ServedModel, item: Recommendation) -> Explanation:
    """What neighbors had no say in."""
    count, mean = model.raters_of(item.column)
    shown = None if mean is None else round(mean, 2)
    if item.source == "segment":
        sentence = "People of your country and age group turn to it"
    elif item.source == "new":
        sentence = "It is new: nobody has rated it yet"
    else:
        sentence = "It is popular"
    if shown is not None:
        people = "person has" if count == 1 else "people have"
        sentence += f": {count} {people} rated it, {shown:.1f} stars on average"
    return Explanation(item.source, f"{sentence}.", 0.0, 0, 0, shown, [])


def _shared(model: ServedModel, hood: _Neighborhood, row: int) -> list[str]:
    """What both have, the rarest first: few people having it says more."""
    both = np.intersect1d(hood.mine, _columns(hood.owned, row))
    order = np.lexsort((both, model.raters[both]))
    return [model.product_id(column) for column in both[order][:N_SHARED].tolist()]


def _rating(model: ServedModel, row: int, column: int) -> float | None:
    """The stars the row gave the column; None if it did not rate it."""
    ratings = model.matrix.half_stars
    start, stop = int(ratings.indptr[row]), int(ratings.indptr[row + 1])
    at = start + int(np.searchsorted(ratings.indices[start:stop], column))  # columns ascend
    given = at < stop and ratings.indices[at] == column
    return float(ratings.data[at]) * STARS_PER_UNIT if given else None


def _columns(csr: Any, row: int) -> NDArray[np.int32]:
    columns: NDArray[np.int32] = csr.indices[csr.indptr[row] : csr.indptr[row + 1]]
    return columns


def _name(model: ServedModel, product_id: str) -> str:
    """The title in quotes, cut at a word; the id where there is none."""
    column = model.column_of(product_id)
    title = None if column is None else model.product(column).title
    if not title:
        return product_id
    cut = title if len(title) <= LONGEST_TITLE else title[:LONGEST_TITLE].rsplit(" ", 1)[0] + " …"
    return f"“{cut}”"
