"""Explanations of recommendations: which neighbors have the product, how near they are, and what they share, in words.

Only callers who may know it see the neighbors' ids, their and the user's products, and single ratings. All others get
counts and coarse similarities (`recommender.model.coarse_figures`): no id of a person, no product but the explained
one, no rating of one or two people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.model.coarse_figures import coarse, mean_of_many
from recommender.model.neighborhood import Neighborhood
from recommender.model.served_model import Recommendation, ServedModel
from recommender.ranking import BY_TASTE

N_CLOSEST = 3
N_SHARED = 3
LONGEST_TITLE = 60


@dataclass(frozen=True)
class Closest:
    """One of the nearest neighbors who have the product; ``rating`` None: an interaction without a rating."""

    user_id: int
    similarity: float
    rating: float | None
    shared_products: list[str]  # ids of products that this neighbor and the user have, the rarest first


@dataclass(frozen=True)
class Somebody:
    """The facts about one such neighbor that everybody may know."""

    similarity: float  # coarse


@dataclass(frozen=True)
class Explanation:
    """The evidence for one product of a list."""

    source: str
    sentence: str
    support: float  # the sum of the similarities of the neighbors who have it
    n_neighbors: int  # neighbors who have it, of n_asked
    n_asked: int
    mean_rating: float | None  # of those neighbors, or of all users if the source is not neighbors; None: not shown
    closest: Sequence[Closest | Somebody]


def explain(
    model: ServedModel,
    user_id: int,
    recommendations: Sequence[Recommendation],
    ranking: str | None = None,
    *,
    named: bool = False,
) -> list[Explanation]:
    """Return one explanation for each product, in their order, as ``ranking`` found them.

    ``named``: with ids of people, shared products, and figures to the last digit.
    """
    wanted = ranking or model.ranking
    evident = [item.column for item in recommendations if item.source == "neighbors"]
    hood = model.neighborhood(user_id, wanted) if evident else Neighborhood.empty()
    stars = hood.stars_of(evident)
    return [
        _from_neighbors(model, hood, item, stars[item.column], wanted, named)
        if item.source == "neighbors"
        else _from_all(model, item, named)
        for item in recommendations
    ]


def _from_neighbors(
    model: ServedModel,
    hood: Neighborhood,
    item: Recommendation,
    stars: dict[int, float | None],
    ranking: str,
    named: bool,
) -> Explanation:
    places, given = list(stars), list(stars.values())
    rated = [rating for rating in given if rating is not None]
    mean = round(float(np.mean(rated)), 2) if rated else None
    whose = (
        "whose taste is nearest to yours have it"
        if ranking in BY_TASTE
        else "whose ratings are most like yours rated it"
    )
    sentence = f"{len(places)} of the {len(hood)} people {whose}"
    near: list[float] = hood.similarities[places].tolist()
    if not named:
        steps, mean = [coarse(similarity) for similarity in near], mean_of_many(mean, len(rated))
        somebody = [Somebody(step) for step in steps[:N_CLOSEST]]
        support = round(sum(steps), 1)
        return Explanation(item.source, f"{sentence}{_stars(mean)}.", support, len(places), len(hood), mean, somebody)
    closest = [
        Closest(int(hood.user_ids[place]), round(similarity, 3), rating, _shared(model, hood, place))
        for place, similarity, rating in zip(places[:N_CLOSEST], near, given, strict=False)
    ]
    sentence += _stars(mean)
    if closest and closest[0].shared_products:
        names = " and ".join(_name(model, product) for product in closest[0].shared_products[:2])
        sentence += f"; you and the closest of them both have {names}"
    return Explanation(item.source, f"{sentence}.", round(item.support, 3), len(places), len(hood), mean, closest)


def _from_all(model: ServedModel, item: Recommendation, named: bool) -> Explanation:
    """Return the explanation of a product that did not come from neighbors."""
    count, mean = model.raters_of(item.column)
    shown = None if mean is None else round(mean, 2)
    if not named:
        shown = mean_of_many(shown, count)
    if item.source == "segment":
        sentence = "It is popular with people of your country and age group"
    elif item.source == "new":
        sentence = "It is new" if count else "It is new: nobody has rated it yet"
    else:
        sentence = "It is popular"
    if count:
        people = "person has" if count == 1 else "people have"
        sentence += f": {count} {people} rated it{_stars(shown)}"
    return Explanation(item.source, f"{sentence}.", 0.0, 0, 0, shown, [])


def _stars(mean: float | None) -> str:
    return "" if mean is None else f", {mean:.1f} stars on average"


def _shared(model: ServedModel, hood: Neighborhood, place: int) -> list[str]:
    """Return the ids of products that both have, the rarest first: the fewer people have one, the more it says."""
    few = hood.rarest_shared(place, model.raters, N_SHARED).tolist()
    named = sorted((int(model.raters[column]), model.products.id_of(column)) for column in few)
    return [product for _, product in named[:N_SHARED]]


def _name(model: ServedModel, product_id: str) -> str:
    """Return the title in quotes, cut at a word, or the id if there is no title."""
    column = model.products.find(product_id)
    title = None if column is None else model.products.facts(column).title
    if not title:
        return product_id
    cut = title if len(title) <= LONGEST_TITLE else title[:LONGEST_TITLE].rsplit(" ", 1)[0] + " …"
    return f"“{cut}”"
