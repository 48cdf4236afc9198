"""The tuning of `auto` on a shop's own data: taste, items or their fusion, and the parameters of each.

    tuned = tune(matrix)                         # of the ratings that may be trained on, and nothing else
    tuned.parameters                             # AutoParameters, what auto ranks by

The newest tenth of every user's ratings is hidden, as in an evaluation. All rivals rank for a sample of users and are
compared by nDCG@10, user by user, with a rule that chance does not move (`recommender.evaluation.choice`):

1. Within taste (`NEIGHBORS` x `DAMPINGS`) and within items (`RIDGES` x `HALF_LIVES` x `ITEM_DAMPINGS`), the default
   stays unless the best is clearly ahead of it.
2. Of this taste, this items and their fusions (`FUSIONS`), the first that is not clearly behind the best is chosen.
   Taste is the plainest, and a fusion costs as much as both.

Why a tenth, where an evaluation hides a fifth: what is chosen on few ratings is too smooth for many. On MovieLens
without times, the best ridge is 400 to 1,000 with a fifth hidden twice, and 100 to 200 with a fifth hidden once.

If everybody turns to the same few products, many neighbors are right, and damping costs a seventh of what is found. If
tastes are narrow, a high power finds a third more. If histories are long, items find a quarter more than taste.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product as every
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import at_least_one
from recommender.evaluation.choice import chosen_rival, plainest_rival, standard_errors
from recommender.evaluation.rivals import Family, Rivals
from recommender.evaluation.split import split_newest, turned_to, without_stars
from recommender.items import foresee
from recommender.ranking import (
    DAMPING,
    FUSION,
    ITEMS,
    N_NEIGHBORS,
    TASTE,
    AutoParameters,
    FusionParameters,
    ItemParameters,
    TasteParameters,
)
from recommender.shop import Interactions, Profiles, RatingMatrix

NEIGHBORS = (50, N_NEIGHBORS, 1_000)
DAMPINGS = (0.0, 0.1, DAMPING, 0.3, 0.4, 0.5, 0.6, 0.8)
PLAIN = ItemParameters()
RIDGES = (50.0, PLAIN.ridge, 1_000.0)
HALF_LIVES = (0.0, PLAIN.half_life, 10.0)
ITEM_DAMPINGS = (0.0, PLAIN.damping, 0.2, 0.3, 0.4, 0.5)
FUSIONS = tuple(FusionParameters(*pair) for pair in every((0.3, 0.5, 0.7), (10.0, 60.0)))
SHARE_HIDDEN = 0.1
MOST_USERS = 2_000
LEAST_USERS = 100  # differences of fewer users are worth nothing
MOST_SECONDS = 600.0  # of one core, for all ridges; where that is too little, the default ridge is the only one


class Tuned(NamedTuple):
    """The chosen parameters, and what they were chosen from; no families if there are too few users."""

    parameters: AutoParameters
    n_users: int
    families: Mapping[str, Family] = {}  # by kind; the fusions are those of the taste and the items that were chosen

    def difference(self, other: AutoParameters) -> tuple[float, float]:
        """Return how far the choice is ahead of another rival in nDCG@10: the mean of the users, its standard error."""
        ahead = self.families[self.parameters.kind].of(self.parameters) - self.families[other.kind].of(other)
        return float(ahead.mean()), float(standard_errors(ahead[None])[0])


def tune(
    matrix: RatingMatrix,
    log: Interactions | None = None,
    weights: NDArray[np.float64] | None = None,
    *,
    seed: int = 0,
    n_users: int = MOST_USERS,
    n_threads: int | None = None,
) -> Tuned:
    """Choose by the newest ratings of at most ``n_users`` users, drawn at random. If in doubt, keep the plainer one.

    ``log`` and ``weights`` as in `recommender.shop.profiles.build_profiles`. Events at a user's cut or later are not
    used. With fewer than `LEAST_USERS` users, it is taste with its defaults. The same arguments give the same answer
    on any number of threads, and on any machine where the weights between products are the same
    (`recommender.items.training`), as far as numpy's draws stay the same between its versions. SettingError for
    n_users or n_threads below 1.
    """
    rng = np.random.default_rng(seed)
    asked = matrix if matrix.n_ratings else turned_to(matrix, log, weights)
    split = split_newest(asked, share=SHARE_HIDDEN, rng=rng)
    if asked is not matrix:
        split = without_stars(split, matrix, log, weights)
    most = at_least_one("n_users", n_users)
    rows = split.test_rows
    if rows.size > most:
        rows = np.sort(rng.choice(rows, most, replace=False))
    if rows.size < LEAST_USERS:
        return Tuned(AutoParameters(), rows.size)
    rivals = Rivals(split, rows, log, weights, most_neighbors=max(NEIGHBORS), n_threads=n_threads)
    taste = rivals.taste([TasteParameters(*pair) for pair in every(NEIGHBORS, DAMPINGS)])
    items = rivals.items(_item_grid(rivals.profiles))
    near, liked = _best(taste, AutoParameters()), _best(items, AutoParameters(ITEMS))
    fusions = rivals.fusions(near.taste, liked.items, FUSIONS)
    last = [near, liked, *fusions.parameters]
    found = np.vstack([taste.of(near), items.of(liked), fusions.ndcg])
    chosen = last[plainest_rival(found, n_plain=2)]
    return Tuned(chosen, rows.size, {TASTE: taste, ITEMS: items, FUSION: fusions})


def _best(family: Family, default: AutoParameters) -> AutoParameters:
    """Return the best of a family, or the default if that is not clearly behind."""
    return family.parameters[chosen_rival(family.ndcg, family.parameters.index(default))]


def _item_grid(profiles: Profiles) -> list[ItemParameters]:
    """Return the parameters of items to try: one ridge if the others take too long, one half-life without times."""
    csr = profiles.confidences
    histories, n_products = np.diff(csr.indptr).astype(np.int64), np.unique(csr.indices).size
    seconds = foresee(histories[histories > 0], n_products).cpu_seconds
    ridges = RIDGES if seconds * len(RIDGES) <= MOST_SECONDS else (PLAIN.ridge,)
    half_lives = (PLAIN.half_life,) if profiles.times is None else HALF_LIVES
    return [
        PLAIN._replace(ridge=ridge, half_life=half_life, damping=damping)
        for ridge, half_life, damping in every(ridges, half_lives, ITEM_DAMPINGS)
    ]
