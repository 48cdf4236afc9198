"""Synthetic shoppers whose tastes are known: ratings and interactions from a documented model, streamed in blocks.

Popularity.  The products are ranked by what the catalog says of demand (``popularity_score``). The product of rank
    r = 0, 1, ... has base probability q(i) ∝ (r + 10)^-0.8: Zipf-Mandelbrot, the long tail of shops (Brynjolfsson,
    Hu, Smith, "From Niches to Riches", 2006).
Taste groups.  There are 150, whatever the size of the catalog. A group covers two categories and, if brands are
    given, likes one brand in four. It ranks its products by popularity score + N(0, 2) + 1.5 for a liked brand, and
    the r-th has appeal a_g(i) ∝ (r + 1)^-1.8, over the first 1,000.
Users.  A user has one or two groups G(u), evenly; group g = 0, 1, ... is drawn with weight (g + 1)^-0.4. With
    segments (country and age, say) a segment multiplies these weights by exp(N(0, 1)), once for each group. Activity
    is lognormal with σ = 0.7 and divides the exact numbers of ratings and interactions among the users; at least 3
    ratings a user, if there are enough.
Appeal.  p(i | u) = 0.1 q(i) + 0.9 · mean over G(u) of a_g(i). This is the truth that ``TasteModel.appeal`` returns.
Rated products.  Drawn one after the other from p(. | u) without those drawn before, oldest first. Given what a user
    has rated so far, the next product is i with probability ∝ p(i | u) over the rest. So ranking the rest by appeal is
    the best a recommender can do, and an evaluation can state its figures as a share of that.
Stars.  round(4.7 + b_u + b_i + m + N(0, 0.9)), cut to 1..5, with b_u ~ N(0, 0.5), b_i = 0.8 · (catalog's stars of i -
    their mean), m = 0.1 for a product of the user's groups, else -0.3. 8 % of the ratings are disappointments of one
    or two stars instead: the J shape of Hu, Pavlou, Zhang, "Overcoming the J-shaped Distribution of Product Reviews"
    (2009).
Interactions, and all times: see ``recommender.synthetic._shopper_events``.

The results at 5,000 users, 100,000 interactions, 30,000 ratings (``tests/synthetic/test_shoppers.py`` holds them): view
63 %, click 24 %, add_to_cart 10 %, purchase 3 %; stars from 5 to 1: 55, 26, 9, 4, 5 %; ratings by popularity rank fall
as rank^-0.6 from the 10th to the 1,000th product; of 2,480 products the first fifth has 72 % of the ratings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recommender.errors import SettingError
from recommender.synthetic._shopper_events import (
    LOG_START,
    TIMELINE_END,
    TIMELINE_START,
    Interactions,
    Ratings,
    make_events,
)
from recommender.synthetic._taste_groups import N_GROUPS, CatalogFacts, Tastes, plant_groups, popularity_score

__all__ = [
    "LOG_START",
    "TIMELINE_END",
    "TIMELINE_START",
    "CatalogFacts",
    "Interactions",
    "Ratings",
    "TasteBlock",
    "TasteModel",
    "plant_tastes",
    "popularity_score",
]

GROUP_WEIGHT_POWER = 0.4
SEGMENT_SIGMA = 1.0
ACTIVITY_SIGMA = 0.7
LEAST_RATINGS = 3
USERS_PER_CHUNK = 1_000  # users who share one random stream: results never depend on the caller's block size

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TasteBlock:
    """The ratings and interactions of the users ``first_user`` to ``first_user + n_users - 1`` (0-based indices)."""

    first_user: int
    n_users: int
    joined: npt.NDArray[np.datetime64]  # (n_users,) datetime64[us], before anything the user did
    ratings: Ratings
    interactions: Interactions


@dataclass(frozen=True)
class TasteModel:
    """The planted truth, and the generator of its events. Made by ``plant_tastes``."""

    n_users: int
    n_products: int
    n_interactions: int
    n_ratings: int
    seed: int
    tastes: Tastes
    groups_of_user: _Ints  # (n_users, 2); twice the same group for a user of one group
    ratings_per_user: _Ints  # (n_users,), sums up to n_ratings
    interactions_per_user: _Ints  # (n_users,), sums up to n_interactions

    def appeal(self, user_rows: npt.ArrayLike) -> _Floats:
        """Return p(i | u), the chance that product i is user u's next product, shape (len(user_rows), n_products).

        Rows sum to 1, no entry is 0. The best ranking of unseen products is by descending appeal. Dense, 8 bytes an
        entry: call it for some users at a time. IndexError for a row that is no user.
        """
        rows = np.atleast_1d(np.asarray(user_rows, dtype=np.int64))
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.n_users:
            raise IndexError(f"user rows {rows.min()} to {rows.max()}: there are the users 0 to {self.n_users - 1}")
        result = np.empty((len(rows), self.n_products))
        for row, user in enumerate(rows):
            result[row] = self.tastes.appeal_row(self.groups_of_user[user])
        return result

    def blocks(self, users_per_block: int = 50_000) -> Iterator[TasteBlock]:
        """Yield all events, users in ascending order; the block bounds the memory and does not change the results.

        Together the blocks hold exactly n_ratings ratings, unique by (user, product), and n_interactions interactions.
        Work is done in chunks of 1,000 users, so blocks much smaller than that repeat it several times. SettingError
        for a block size below 1.
        """
        if users_per_block < 1:
            raise SettingError(f"users_per_block={users_per_block}: a block holds at least 1 user")
        return self._cut_blocks(users_per_block)

    def _cut_blocks(self, users_per_block: int) -> Iterator[TasteBlock]:
        for start in range(0, self.n_users, users_per_block):
            stop = min(start + users_per_block, self.n_users)
            chunks = range(start // USERS_PER_CHUNK, (stop - 1) // USERS_PER_CHUNK + 1)
            parts = [_slice_users(self._make_chunk(chunk), start, stop) for chunk in chunks]
            yield TasteBlock(
                start,
                stop - start,
                np.concatenate([part.joined for part in parts]),
                Ratings.concatenate([part.ratings for part in parts]),
                Interactions.concatenate([part.interactions for part in parts]),
            )

    def _make_chunk(self, chunk: int) -> TasteBlock:
        """Make the users of one fixed chunk from its own random stream."""
        first = chunk * USERS_PER_CHUNK
        users = slice(first, min(first + USERS_PER_CHUNK, self.n_users))
        joined, ratings, interactions = make_events(
            self.tastes,
            self.groups_of_user[users],
            ratings_per_user=self.ratings_per_user[users],
            interactions_per_user=self.interactions_per_user[users],
            first_user=first,
            rng=_stream(self.seed, 1, chunk),
        )
        return TasteBlock(first, len(joined), joined, ratings, interactions)


def plant_tastes(
    catalog: CatalogFacts,
    *,
    n_users: int,
    n_interactions: int,
    n_ratings: int,
    seed: int,
    segments: npt.NDArray[np.integer] | None = None,
) -> TasteModel:
    """Return the model for ``catalog``. The same arguments give the same model and the same events.

    ``segments`` (n_users,), small whole numbers: users of one segment (country and age group, say) tend to the same
    taste groups. Takes O(n_products + n_users) memory. Raises SettingError, naming the setting and the remedy, for an
    empty catalog, n_users < 1, a negative count or seed, or more ratings than there are pairs of a user and a product.
    """
    _check_sizes(catalog, n_users, n_interactions, n_ratings)
    if seed < 0:
        raise SettingError(f"--seed={seed}: give 0 or more")
    rng = _stream(seed, 0)
    tastes = plant_groups(catalog, rng)
    activity = rng.lognormal(0.0, ACTIVITY_SIGMA, n_users)
    segments = np.zeros(n_users, dtype=np.int64) if segments is None else np.asarray(segments)
    return TasteModel(
        n_users=n_users,
        n_products=catalog.n_products,
        n_interactions=n_interactions,
        n_ratings=n_ratings,
        seed=seed,
        tastes=tastes,
        groups_of_user=_choose_groups(segments, rng),
        ratings_per_user=_share_out(n_ratings, activity, least=LEAST_RATINGS, most=catalog.n_products),
        interactions_per_user=_share_out(n_interactions, activity, least=0, most=max(n_interactions, 1)),
    )


def _choose_groups(segments: npt.NDArray[np.integer], rng: np.random.Generator) -> _Ints:
    """Return the two groups of every user, (n_users, 2); half of the users have the same group twice."""
    groups = np.empty((len(segments), 2), dtype=np.int64)
    names = np.unique(segments)
    for segment in names:
        weights = (1.0 + np.arange(N_GROUPS)) ** -GROUP_WEIGHT_POWER
        if len(names) > 1:
            weights *= np.exp(rng.normal(0.0, SEGMENT_SIGMA, N_GROUPS))
        members = np.flatnonzero(segments == segment)
        groups[members] = rng.choice(N_GROUPS, (len(members), 2), p=weights / weights.sum())
    groups[:, 1] = np.where(rng.random(len(groups)) < 0.5, groups[:, 0], groups[:, 1])
    return groups


def _share_out(total: int, activity: _Floats, *, least: int, most: int) -> _Ints:
    """Split ``total`` into whole numbers, one for each user: ``least`` each if possible, the rest by activity.

    No number is above ``most``; total must not be above most * len(activity). Shape (n_users,).
    """
    n = len(activity)
    counts = np.full(n, min(least, total // n, most), dtype=np.int64)
    while (left := total - int(counts.sum())) > 0:
        open_users = np.flatnonzero(counts < most)
        share = activity[open_users] / activity[open_users].sum() * left
        extra = np.floor(share * (1 - 1e-12)).astype(np.int64)  # rounding must not give out more than is left
        short = left - int(extra.sum())  # the largest remainders get one more each
        extra[np.argsort(extra - share, kind="stable")[:short]] += 1
        counts[open_users] = np.minimum(counts[open_users] + extra, most)
    return counts


def _check_sizes(catalog: CatalogFacts, n_users: int, n_interactions: int, n_ratings: int) -> None:
    """Raise SettingError for sizes that no data can have."""
    n_products = catalog.n_products
    if n_products < 1:
        raise SettingError("the catalog has no products to rate: load one first with python to_rds.py")
    if n_users < 1:
        raise SettingError(f"NUM_USERS={n_users}: give 1 or more")
    if n_interactions < 0:
        raise SettingError(f"NUM_INTERACTIONS={n_interactions}: give 0 or more")
    if n_ratings < 0:
        raise SettingError(f"NUM_RATINGS={n_ratings}: give 0 or more")
    if n_ratings > n_users * n_products:
        raise SettingError(
            f"NUM_RATINGS={n_ratings}: {n_users} users and {n_products} products make only {n_users * n_products}"
            " different ratings; lower NUM_RATINGS, raise NUM_USERS or load more products"
        )


def _stream(seed: int, *key: int) -> np.random.Generator:
    """Return the random stream ``key`` of ``seed``, independent of all others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _slice_users(block: TasteBlock, start: int, stop: int) -> TasteBlock:
    """Return the part of ``block`` with users in start..stop-1."""
    low, high = max(start - block.first_user, 0), min(stop - block.first_user, block.n_users)
    if (low, high) == (0, block.n_users):
        return block
    first, last = block.first_user + low, block.first_user + high
    ratings, interactions = block.ratings.of_users(first, last), block.interactions.of_users(first, last)
    return TasteBlock(first, high - low, block.joined[low:high], ratings, interactions)
