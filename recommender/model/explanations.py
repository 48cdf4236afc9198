"""Explanations of recommendations, in words and figures.

Of neighbors: which have the product, how near they are, and what they share. Of items: which of the user's own products
speak for it, and their share. Of a fusion: both.

Only callers who may know it see the neighbors' ids, their and the user's products, and single ratings. All others get
counts and coarse similarities (`recommender.model.coarse_figures`): no id of a person, no product but the explained
one, no rating of one or two people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.model.answers import EVIDENT, Recommendation
from recommender.model.coarse_figures import coarse, mean_of_many
from recommender.model.neighborhood import Neighborhood
from recommender.model.served_model import ServedModel
from recommender.ranking import BY_TASTE, FUSION, ITEMS
from recommender.shop import UserId

N_CLOSEST = 3
N_SHARED = 3
N_SPEAKING = 3
LONGEST_TITLE = 60


@dataclass(frozen=True)
class Closest:
    """One of the nearest neighbors who have the product; ``rating`` None: an interaction without a rating."""

    user_id: UserId
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


@dataclass(frozen=True)
class Speaking:
    """One of the user's own products that speak for the explained one."""

    product_id: str
    share: float  # of all that the user's products add to its score


@dataclass(frozen=True)
class ItemExplanation(Explanation):
    """The evidence for a product that the item model ranked; ``because`` is empty for callers who may not know it."""

    because: Sequence[Speaking] = ()


def explain(
    model: ServedModel,
    user_id: int,
    recommendations: Sequence[Recommendation],
    ranking: str | None = None,
    *,
    named: bool = False,
    everybody: bool = False,
) -> list[Explanation]:
    """Return one explanation for each product, in their order, as ``ranking`` found them.

    ``named``: with ids of people, shared products, and figures to the last digit; ``everybody``: then with all
    neighbors who have the product, not only the nearest `N_CLOSEST`.
    """
    wanted = ranking or model.ranking
    evident = [item.column for item in recommendations if item.source in EVIDENT]
    hood = model.neighborhood(user_id, wanted) if evident else Neighborhood.empty()
    stars = hood.stars_of(evident, model.matrix.scale)
    found, most = [], None if everybody else N_CLOSEST
    for item in recommendations:
        if item.source not in EVIDENT:
            found.append(_from_all(model, item, named))
            continue
        near = _from_neighbors(model, hood, item, stars[item.column], wanted, named, most)
        by_items = item.source in (ITEMS, FUSION)
        found.append(_from_items(model, user_id, item, near, wanted, named) if by_items else near)
    return found


def _from_items(
    model: ServedModel, user_id: int, item: Recommendation, near: Explanation, ranking: str, named: bool
) -> Explanation:
    """Return the explanation by the user's own products; ``near``: the one by neighbors."""
    columns, shares = model.speaking_for(user_id, item.column, ranking)
    pairs = zip(columns[:N_SPEAKING].tolist(), shares.tolist(), strict=False)
    because = [Speaking(model.products.id_of(column), round(share, 3)) for column, share in pairs]
    support = round(item.support, 4) if named else round(item.support, 1)
    evidence = {name: value for name, value in vars(near).items() if name not in ("sentence", "support")}
    if not because:  # only the neighbors of a fusion speak for it
        return ItemExplanation(sentence=near.sentence, support=support, **evidence)
    names = " and ".join(_name(model, one.product_id) for one in because[:2]) if named else "products that you have"
    sentence = f"It goes with {names}"
    if near.n_neighbors:
        sentence += f"; {near.sentence[0].lower()}{near.sentence[1:]}"
    else:
        sentence += "."
    return ItemExplanation(sentence=sentence, support=support, because=because if named else (), **evidence)


def _from_neighbors(
    model: ServedModel,
    hood: Neighborhood,
    item: Recommendation,
    stars: dict[int, float | None],
    ranking: str,
    named: bool,
    most: int | None,
) -> Explanation:
    places, given = list(stars), list(stars.values())
    rated = [rating for rating in given if rating is not None]
    mean = round(float(np.mean(rated)), 2) if rated else None
    sentence = _counted(len(places), len(hood), ranking)
    near: list[float] = hood.similarities[places].tolist()
    if not named:
        steps, mean = [coarse(similarity) for similarity in near], mean_of_many(mean, len(rated))
        somebody = [Somebody(step) for step in steps[:N_CLOSEST]]
        support = round(sum(steps), 1)
        return Explanation(
            item.source, f"{sentence}{_stars(model, mean)}.", support, len(places), len(hood), mean, somebody
        )
    closest = [
        Closest(model.ids.of(int(hood.user_ids[place])), round(similarity, 3), rating, _shared(model, hood, place))
        for place, similarity, rating in zip(places[:most], near, given, strict=False)
    ]
    sentence += _stars(model, mean)
    if closest and closest[0].shared_products:
        names = " and ".join(_name(model, product) for product in closest[0].shared_products[:2])
        sentence += f"; you {'both' if len(places) == 1 else 'and the closest of them both'} have {names}"
    return Explanation(item.source, f"{sentence}.", round(item.support, 3), len(places), len(hood), mean, closest)


def _counted(n: int, n_asked: int, ranking: str) -> str:
    """Return in words how many of the neighbors have a product."""
    if ranking in BY_TASTE:
        like, most, did = "taste is near", "taste is nearest to", "has it" if n == 1 else "have it"
    else:
        like, most, did = "ratings are like", "ratings are most like", "rated it"
    who = f"{n} of the {n_asked} people whose {most}" if n_asked > 1 else f"The only person whose {like}"
    return f"{who} yours {did}"


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
        sentence += f": {count} {people} rated it{_stars(model, shown)}"
    return Explanation(item.source, f"{sentence}.", 0.0, 0, 0, shown, [])


def _stars(model: ServedModel, mean: float | None) -> str:
    return "" if mean is None else f", {mean:.1f} {model.matrix.scale.noun} on average"


def _shared(model: ServedModel, hood: Neighborhood, place: int) -> list[str]:
    """Return the ids of products that both have, the rarest first: the fewer people have one, the more it says."""
    people = model.raters if model.matrix.n_ratings else model.owners
    few = hood.rarest_shared(place, people, N_SHARED).tolist()
    named = sorted((int(people[column]), model.products.id_of(column)) for column in few)
    return [product for _, product in named[:N_SHARED]]


def _name(model: ServedModel, product_id: str) -> str:
    """Return the title in quotes, cut at a word, or the id if there is no title."""
    column = model.products.find(product_id)
    title = None if column is None else model.products.facts(column).title
    if not title:
        return product_id
    cut = title if len(title) <= LONGEST_TITLE else title[:LONGEST_TITLE].rsplit(" ", 1)[0] + " …"
    return f"“{cut}”"
