"""Planted tastes: exact counts, the stated shares, and data in which neighbors beat popularity at every size."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from scipy.stats import spearmanr

from recommender.errors import SettingError
from recommender.shop import INTERACTION_TYPES
from recommender.synthetic import CatalogFacts, TasteBlock, plant_tastes
from recommender.synthetic._shopper_events import INTERACTIONS_PER_LOGGED_RATING
from recommender.synthetic.shoppers import (
    LOG_START,
    TIMELINE_END,
    TIMELINE_START,
    Interactions,
    Ratings,
    TasteModel,
    popularity_score,
)

USERS, INTERACTIONS, RATINGS = 5_000, 100_000, 30_000  # the defaults of step 2
SIZES = (2_480, 20_000, 200_000)
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def make_catalog(n: int, seed: int = 5, n_categories: int = 248) -> CatalogFacts:
    """A catalog with the properties of the Kaggle file: mostly no reviews, 64 % not bought, 9.5 % without stars."""
    rng = np.random.default_rng(seed)
    bought = rng.choice([50, 100, 200, 500, 1000, 5000, 10_000, 50_000], n, p=np.array([8, 7, 6, 5, 4, 3, 2, 1]) / 36)
    return CatalogFacts(
        category_ids=rng.integers(1, n_categories + 1, n),
        stars=np.where(rng.random(n) < 0.095, 0.0, np.clip(rng.normal(4.4, 0.4, n), 1, 5).round(1)),
        reviews=np.where(rng.random(n) < 0.77, 0, rng.lognormal(5, 2, n)).astype(np.int64),
        bought_in_last_month=np.where(rng.random(n) < 0.636, 0, bought),
    )


def plain_catalog(n: int) -> CatalogFacts:
    """A catalog without facts about demand."""
    nothing = np.zeros(n, dtype=np.int64)
    return CatalogFacts(
        category_ids=np.arange(n) % 3, stars=nothing.astype(float), reviews=nothing, bought_in_last_month=nothing
    )


@dataclass(frozen=True)
class World:
    """Catalog, model and the data made from it."""

    catalog: CatalogFacts
    model: TasteModel
    joined: npt.NDArray[np.datetime64]
    ratings: Ratings
    interactions: Interactions


def unfold(catalog: CatalogFacts, model: TasteModel, users_per_block: int = 100_000) -> World:
    blocks = list(model.blocks(users_per_block))
    return World(
        catalog,
        model,
        np.concatenate([block.joined for block in blocks]),
        Ratings.concatenate([block.ratings for block in blocks]),
        Interactions.concatenate([block.interactions for block in blocks]),
    )


def grow(catalog: CatalogFacts, n_users: int, n_interactions: int, n_ratings: int, seed: int = 1) -> World:
    model = plant_tastes(catalog, n_users=n_users, n_interactions=n_interactions, n_ratings=n_ratings, seed=seed)
    return unfold(catalog, model)


@cache
def default_world(n_products: int) -> World:
    return grow(make_catalog(n_products), USERS, INTERACTIONS, RATINGS, seed=42)


def matrix(world: World, rows: npt.NDArray[np.bool_] | slice = slice(None)) -> sp.csr_array:
    """Ratings as users x products."""
    r = world.ratings
    shape = (world.model.n_users, world.model.n_products)
    return sp.csr_array((r.stars[rows].astype(float), (r.user[rows], r.product[rows])), shape=shape)


def cosines(ratings: sp.csr_array) -> Floats:
    """Similarities of all pairs of users by brute force, 0 with oneself. (n_users, n_users)"""
    norms = np.sqrt(np.asarray(ratings.multiply(ratings).sum(axis=1)).ravel())
    unit = sp.diags_array(1.0 / np.maximum(norms, 1e-9)) @ ratings
    result: Floats = (unit @ unit.T).toarray()
    np.fill_diagonal(result, 0.0)
    return result


def hidden_rows(ratings: Ratings, n_users: int) -> npt.NDArray[np.bool_]:
    """The newest 20 %, at least 1, of the ratings of users with 3 ratings or more; found by time, not by position."""
    order = np.lexsort((ratings.time, ratings.user))
    counts = np.bincount(ratings.user, minlength=n_users)
    n_hidden = np.where(counts >= 3, np.maximum(1, counts // 5), 0)
    place = np.arange(len(order)) - (np.cumsum(counts) - counts)[ratings.user[order]]
    result = np.zeros(len(order), dtype=np.bool_)
    result[order] = place >= (counts - n_hidden)[ratings.user[order]]
    return result


def top_unseen(scores: Floats, seen: Ints, n: int = 10) -> Ints:
    """The n unseen products with the highest positive score."""
    scores = scores.copy()
    scores[seen] = 0.0
    best = np.argpartition(-scores, min(n, len(scores) - 1))[:n]
    best = best[np.argsort(-scores[best], kind="stable")]
    return best[scores[best] > 0]


def hit_rates(world: World) -> dict[str, float]:
    """hit@10 on the hidden ratings by the summed similarity of 20 neighbors, by popularity and by the planted truth.

    The truth is used only for every tenth user, as it is as long as the catalog.
    """
    hidden = hidden_rows(world.ratings, world.model.n_users)
    known, secret = matrix(world, ~hidden), matrix(world, hidden)
    similarity, owned = cosines(known), (known > 0).astype(float)
    popularity = np.asarray(owned.sum(axis=0)).ravel()
    rated = np.flatnonzero(popularity)  # only the truth has scores above 0 elsewhere
    owned_rated = sp.csr_array(owned[:, rated])
    hits: dict[str, list[bool]] = {"neighbors": [], "popularity": [], "truth": []}
    for user in np.flatnonzero(np.diff(secret.indptr)):
        nearest = np.argsort(-similarity[user], kind="stable")[:20]
        seen, wanted = (m.indices[m.indptr[user] : m.indptr[user + 1]] for m in (known, secret))
        scores = {
            "neighbors": owned_rated[nearest].T @ similarity[user, nearest],
            "popularity": popularity[rated],
        }
        for name, score in scores.items():
            best = rated[top_unseen(score, np.searchsorted(rated, seen))]
            hits[name].append(bool(np.isin(best, wanted).any()))
        if user % 10 == 0:
            best = top_unseen(world.model.appeal([user])[0], seen)
            hits["truth"].append(bool(np.isin(best, wanted).any()))
    return {name: float(np.mean(found)) for name, found in hits.items()}


def positions(user: Ints) -> Ints:
    return np.arange(len(user)) - np.searchsorted(user, user)


# --- what the neighbors need -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_products", SIZES)
def test_nearly_all_users_have_20_neighbors_and_the_median_shares_2_products_with_the_nearest(n_products: int) -> None:
    ratings = matrix(default_world(n_products))
    similarity = cosines(ratings)
    assert ((similarity > 0).sum(axis=1) >= 20).mean() >= 0.95
    owned = (ratings > 0).astype(float)
    shared = np.asarray(owned.multiply(owned[similarity.argmax(axis=1)]).sum(axis=1)).ravel()
    assert np.median(shared) >= 2


@pytest.mark.parametrize("n_products", SIZES)
def test_neighbors_find_hidden_ratings_3_times_as_often_as_popularity_and_the_truth_is_best(n_products: int) -> None:
    rates = hit_rates(default_world(n_products))
    assert rates["popularity"] > 0.005  # with a rate of 0 any factor would be true
    assert rates["neighbors"] >= 3 * rates["popularity"]
    assert rates["neighbors"] > 0.2
    assert rates["truth"] > 1.2 * rates["neighbors"]


@pytest.mark.parametrize("n_products", SIZES)
def test_products_that_the_catalog_shows_as_popular_are_rated_most(n_products: int) -> None:
    world = default_world(n_products)
    score = popularity_score(world.catalog)
    percentile = np.argsort(np.argsort(score)) / n_products  # 0.5 on average for a product drawn uniformly
    raters = np.bincount(world.ratings.product, minlength=n_products)
    assert percentile[world.ratings.product].mean() > 0.63
    assert percentile[np.argsort(-raters)[:100]].mean() > 0.78
    if n_products == SIZES[0]:
        assert spearmanr(raters, score).statistic > 0.35


# --- stated marginals --------------------------------------------------------------------------------------------


def test_the_first_fifth_of_the_products_has_72_percent_of_the_ratings() -> None:
    raters = np.sort(np.bincount(default_world(2_480).ratings.product, minlength=2_480))[::-1]
    assert raters[: 2_480 // 5].sum() / RATINGS == pytest.approx(0.72, abs=0.03)


@pytest.mark.parametrize("n_products", SIZES)
def test_ratings_by_popularity_rank_have_the_stated_long_tail_slope(n_products: int) -> None:
    raters = np.sort(np.bincount(default_world(n_products).ratings.product))[::-1]
    ranks = np.unique(np.geomspace(10, 1_000, 40).astype(int))
    slope = np.polyfit(np.log(ranks), np.log(raters[ranks - 1]), 1)[0]
    assert slope == pytest.approx(-0.6, abs=0.1)


@pytest.mark.parametrize("n_products", SIZES)
def test_type_shares_are_the_stated_ones(n_products: int) -> None:
    counts = np.bincount(default_world(n_products).interactions.type, minlength=4)
    assert INTERACTION_TYPES == ("view", "click", "add_to_cart", "purchase")
    assert counts[0] > counts[1] > counts[2] > counts[3] > 0
    assert counts / INTERACTIONS == pytest.approx(np.array([0.63, 0.24, 0.10, 0.03]), abs=0.01)


@pytest.mark.parametrize("n_products", SIZES)
def test_stars_are_whole_and_follow_the_stated_j_shape(n_products: int) -> None:
    shares = np.bincount(default_world(n_products).ratings.stars, minlength=6) / RATINGS
    assert shares[0] == 0.0
    assert shares[1:] == pytest.approx(np.array([0.05, 0.04, 0.09, 0.26, 0.55]), abs=0.02)
    assert len(shares) == 6


def test_users_differ_in_how_they_rate() -> None:
    ratings = default_world(20_000).ratings
    counts = np.bincount(ratings.user)
    means = np.bincount(ratings.user, ratings.stars) / counts
    heavy = counts >= 10
    chance = ratings.stars.std() / np.sqrt(counts[heavy]).mean()  # the spread of the means if users did not differ
    assert means[heavy].std() > 1.15 * chance


def test_products_with_more_catalog_stars_get_more_stars() -> None:
    world = default_world(20_000)
    stars = world.catalog.stars[world.ratings.product]
    good, poor = (world.ratings.stars[flags].mean() for flags in (stars >= 4.7, (stars > 0) & (stars <= 4.1)))
    assert good > poor + 0.3


def test_activity_has_a_long_tail_above_three_ratings_each() -> None:
    counts = np.bincount(default_world(20_000).ratings.user, minlength=USERS)
    assert counts.min() == 3
    assert np.median(counts) == 5
    assert counts.max() > 5 * np.median(counts)


# --- exact counts, valid values, one seed one result -------------------------------------------------------------


@pytest.mark.parametrize("n_products", SIZES)
def test_counts_are_exact_and_pairs_are_unique_and_values_are_in_range(n_products: int) -> None:
    world = default_world(n_products)
    ratings, events = world.ratings, world.interactions
    assert (len(ratings), len(events)) == (RATINGS, INTERACTIONS)
    assert len(np.unique(ratings.user * n_products + ratings.product)) == RATINGS
    for rows in (ratings, events):
        assert (np.diff(rows.user) >= 0).all()
        assert 0 <= rows.user.min() <= rows.user.max() < USERS
        assert 0 <= rows.product.min() <= rows.product.max() < n_products
        assert rows.time.dtype == np.dtype("datetime64[us]")
    assert ratings.stars.dtype == np.int8
    assert events.type.dtype == np.int8


def assert_same(left: World, right: World) -> None:
    for a, b in ((left.ratings, right.ratings), (left.interactions, right.interactions)):
        for field in fields(a):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))
    np.testing.assert_array_equal(left.joined, right.joined)


@pytest.mark.parametrize("users_per_block", [1, 333, 1_000, 1_500, 2_500])
def test_the_block_size_changes_nothing(users_per_block: int) -> None:
    catalog = make_catalog(3_000)
    model = plant_tastes(catalog, n_users=2_345, n_interactions=30_000, n_ratings=9_000, seed=3)
    whole = unfold(catalog, model)
    assert len(whole.ratings) == 9_000
    if users_per_block == 1:  # each single user costs a whole chunk, so the first 30 are enough
        for user, block in zip(range(30), model.blocks(1), strict=False):
            assert (block.first_user, block.n_users) == (user, 1)
            np.testing.assert_array_equal(block.ratings.product, whole.ratings.product[whole.ratings.user == user])
    else:
        assert_same(unfold(catalog, model, users_per_block), whole)


def test_one_seed_gives_the_same_world_and_another_seed_another() -> None:
    first, again, other = (grow(make_catalog(2_000), 500, 5_000, 2_500, seed=seed) for seed in (8, 8, 9))
    assert_same(first, again)
    assert (first.ratings.product != other.ratings.product).mean() > 0.5


def test_no_two_chunks_of_users_make_the_same_draws() -> None:
    # one rating each and nothing else: chunks that shared a random stream would draw the same numbers from it
    world = grow(plain_catalog(50), 4_000, 0, 4_000)
    for first, second in ((0, 1_000), (1_000, 2_000), (2_000, 3_000)):
        assert (world.joined[first : first + 1_000] == world.joined[second : second + 1_000]).mean() < 0.01


def test_the_generator_leaves_global_random_state_alone() -> None:
    np.random.seed(4)
    expected = np.random.random()
    np.random.seed(4)
    grow(make_catalog(100), 10, 100, 30)
    assert np.random.random() == expected


# --- time and funnels --------------------------------------------------------------------------------------------


def test_times_lie_in_the_fixed_log_and_rise_within_a_user() -> None:
    world = default_world(20_000)
    events, ratings = world.interactions, world.ratings
    assert events.time.min() >= LOG_START
    assert events.time.max() < TIMELINE_END == np.datetime64("2024-01-01T00:00:00")
    same_user = events.user[1:] == events.user[:-1]
    assert (events.time[1:] > events.time[:-1])[same_user].all()
    same_user = ratings.user[1:] == ratings.user[:-1]
    assert (ratings.time[1:] >= ratings.time[:-1])[same_user].all()
    assert (world.joined >= TIMELINE_START).all()
    assert (world.joined <= LOG_START).all()
    assert (ratings.time >= world.joined[ratings.user]).all()
    assert ratings.time.max() <= TIMELINE_END


def test_every_interaction_except_a_view_follows_the_one_before_it_in_the_funnel() -> None:
    events = default_world(20_000).interactions
    later = np.flatnonzero(events.type > 0)
    assert (events.type[later - 1] == events.type[later] - 1).all()
    assert (events.product[later - 1] == events.product[later]).all()
    assert (events.user[later - 1] == events.user[later]).all()
    seconds = (events.time[later] - events.time[later - 1]).astype(np.int64) / 1e6
    assert seconds.min() >= 1.0
    assert 35 < seconds.mean() < 47  # 1 s + Exp(40 s)


def test_interactions_come_in_sessions() -> None:
    events = default_world(20_000).interactions
    same_user = events.user[1:] == events.user[:-1]
    gaps = (events.time[1:] - events.time[:-1])[same_user].astype(np.int64) / 1e6
    assert 0.8 < (gaps < 15 * 60).mean() < 0.95
    assert np.median(gaps[gaps >= 15 * 60]) > 86_400


@pytest.mark.parametrize("n_products", [*SIZES, 500])
def test_a_rating_in_the_log_follows_a_logged_purchase_of_the_product_by_the_user(n_products: int) -> None:
    # the fourth world has up to five logged ratings per user, so that their order counts too
    world = default_world(n_products) if n_products in SIZES else grow(make_catalog(500), 1_000, 50_000, 60_000)
    ratings, events = world.ratings, world.interactions
    bought = events.type == INTERACTION_TYPES.index("purchase")
    when: dict[tuple[int, int], np.datetime64] = {}
    for user, product, time_ in zip(events.user[bought], events.product[bought], events.time[bought], strict=True):
        when.setdefault((int(user), int(product)), time_)
    in_log = ratings.time >= LOG_START
    assert 0.04 < in_log.mean() < 0.09
    for row in np.flatnonzero(in_log):
        assert when[int(ratings.user[row]), int(ratings.product[row])] < ratings.time[row]
    # products rated before the log began are not bought in it again
    old = {(int(u), int(p)) for u, p in zip(ratings.user[~in_log], ratings.product[~in_log], strict=True)}
    assert not old & when.keys()
    assert len(when) > in_log.sum()  # some logged purchases are never rated


def test_ratings_from_the_log_leave_room_for_browsing() -> None:
    world = grow(make_catalog(500), 200, 2_000, 20_000)
    in_log = world.ratings.time >= LOG_START
    per_user = np.bincount(world.ratings.user[in_log], minlength=200)
    assert (per_user <= world.model.interactions_per_user // INTERACTIONS_PER_LOGGED_RATING).all()
    counts = np.bincount(world.interactions.type, minlength=4)
    assert counts[0] > counts[1] > counts[2] > counts[3] > 0


# --- the truth ---------------------------------------------------------------------------------------------------


def test_appeal_is_a_probability_for_every_product() -> None:
    appeal = default_world(2_480).model.appeal([0, 17, 4_999])
    assert appeal.shape == (3, 2_480)
    assert appeal.sum(axis=1) == pytest.approx(np.ones(3))
    assert appeal.min() > 0
    np.testing.assert_array_equal(default_world(2_480).model.appeal(17), appeal[1:2])


def test_the_appeal_of_an_unknown_user_is_an_error() -> None:
    for user in (USERS, -1):
        with pytest.raises(IndexError):
            default_world(2_480).model.appeal([user])


def test_first_ratings_of_users_follow_their_appeal() -> None:
    # users of the same groups have the same distribution, so pool the first ratings of the commonest pair of groups
    world = grow(make_catalog(400, n_categories=10), 30_000, 0, 30_000, seed=2)
    groups = np.sort(world.model.groups_of_user, axis=1)
    names, of_user, counts = np.unique(groups, axis=0, return_inverse=True, return_counts=True)
    commonest = np.flatnonzero(of_user.ravel() == counts.argmax())
    assert len(commonest) > 300
    expected = world.model.appeal(commonest[:1])[0]
    observed = np.bincount(world.ratings.product[commonest], minlength=400) / len(commonest)
    error = np.sqrt(expected * (1 - expected) / len(commonest))
    assert (np.abs(observed - expected) < 5 * error + 2 / len(commonest)).all()
    assert (names[counts.argmax()] >= 0).all()


@pytest.mark.parametrize(
    ("n_products", "n_users", "n_ratings", "rounds"), [(30, 4_000, 3, 8), (30, 4_000, 27, 8), (1_500, 300, 400, 0)]
)
def test_each_drawn_product_follows_the_appeal_of_the_remaining_ones(
    n_products: int, n_users: int, n_ratings: int, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # q is p(. | u) without what u drew before, scaled to sum 1; the next product i is drawn from it, so
    # E q(i) = sum of q^2. Without a round of drawing all of them come from the race that completes the draw.
    monkeypatch.setattr("recommender.synthetic._shopper_events._DRAWING_ROUNDS", rounds)
    world = grow(plain_catalog(n_products), n_users, 0, n_users * n_ratings, seed=5)
    left = world.model.appeal(np.arange(n_users))  # (n_users, n_products)
    place = positions(world.ratings.user)
    for step in range(min(n_ratings, 40)):
        rows = np.flatnonzero(place == step)
        users, products = world.ratings.user[rows], world.ratings.product[rows]
        q = left[users] / left[users].sum(axis=1, keepdims=True)
        surplus = q[np.arange(len(users)), products] - (q**2).sum(axis=1)
        if len(users) >= 300:
            assert abs(surplus.mean()) < 5 * surplus.std() / np.sqrt(len(users))
            assert (q**2).sum(axis=1).mean() > 1.1 / (n_products - step)  # without the factor 1.1 it is uniform
        left[users, products] = 0.0


def test_segments_make_users_of_one_segment_alike() -> None:
    catalog = make_catalog(5_000)
    segments = np.arange(3_000) % 6
    model = plant_tastes(catalog, n_users=3_000, n_interactions=0, n_ratings=18_000, seed=3, segments=segments)
    shares = np.array(
        [np.bincount(model.groups_of_user[segments == s].ravel(), minlength=150) / 1_000 for s in range(6)]
    )
    within_chance = np.sqrt(shares.mean(axis=0) / 1_000).mean()
    assert shares.std(axis=0).mean() > 2 * within_chance
    without = plant_tastes(catalog, n_users=3_000, n_interactions=0, n_ratings=18_000, seed=3)
    shares = np.array([np.bincount(without.groups_of_user[segments == s].ravel(), minlength=150) for s in range(6)])
    assert (shares / 1_000).std(axis=0).mean() < 1.3 * within_chance


def test_a_group_draws_on_two_categories() -> None:
    world = default_world(20_000)
    tastes = world.model.tastes
    for group in range(150):
        rows = slice(*tastes.offsets[group : group + 2])
        assert len(np.unique(world.catalog.category_ids[tastes.products[rows]])) == 2
        assert tastes.weights[rows].sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("with_brands", "lowest", "highest"), [(False, 5.0, 10.0), (True, 15.0, 1e9)])
def test_a_group_prefers_some_brands_if_brands_are_given(with_brands: bool, lowest: float, highest: float) -> None:
    catalog = make_catalog(2_000, n_categories=1)
    brands = np.arange(2_000) % 8
    model = plant_tastes(
        replace(catalog, brand_ids=brands if with_brands else None), n_users=1, n_interactions=0, n_ratings=1, seed=3
    )
    chi_squares = []  # brands of a group's first 200 products out of 25 each; 7 on average by chance
    for start in model.tastes.offsets[:-1]:
        counts = np.bincount(brands[model.tastes.products[start : start + 200]], minlength=8)
        chi_squares.append(((counts - 25) ** 2 / 25).sum())
    assert lowest < np.mean(chi_squares) < highest


# --- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_products", "n_users", "n_interactions", "n_ratings"),
    [
        (1, 1, 0, 0),
        (1, 1, 1, 1),
        (1, 1, 1_000, 1),
        (3, 2, 50, 6),  # everybody rates everything
        (5, 1, 3, 5),
        (5, 4, 0, 3),  # fewer ratings than users
        (40, 30, 1_000, 1_190),
        (2_000, 3, 500, 5_900),
        (10, 1, 300_000, 10),  # one user fills the log
        (3, 1_000, 10, 100),
    ],
)
def test_any_size_gives_exactly_the_asked_numbers(
    n_products: int, n_users: int, n_interactions: int, n_ratings: int
) -> None:
    world = grow(plain_catalog(n_products), n_users, n_interactions, n_ratings)
    ratings, events = world.ratings, world.interactions
    assert (len(world.joined), len(ratings), len(events)) == (n_users, n_ratings, n_interactions)
    assert len(set(zip(ratings.user, ratings.product, strict=True))) == n_ratings
    same_user = events.user[1:] == events.user[:-1]
    assert (events.time[1:] > events.time[:-1])[same_user].all()
    assert ((events.time >= LOG_START) & (events.time < TIMELINE_END)).all()
    assert ((ratings.stars >= 1) & (ratings.stars <= 5)).all()


@pytest.mark.parametrize(
    ("n_products", "sizes", "message"),
    [
        (0, (1, 0, 0), "the catalog has no products to rate: load one first with python to_rds.py"),
        (3, (0, 0, 0), "NUM_USERS=0: give 1 or more"),
        (3, (1, -1, 0), "NUM_INTERACTIONS=-1: give 0 or more"),
        (3, (1, 0, -1), "NUM_RATINGS=-1: give 0 or more"),
        (
            3,
            (2, 0, 7),
            "NUM_RATINGS=7: 2 users and 3 products make only 6 different ratings;"
            " lower NUM_RATINGS, raise NUM_USERS or load more products",
        ),
    ],
)
def test_an_impossible_size_is_one_line_with_the_setting_and_the_remedy(
    n_products: int, sizes: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(SettingError) as error:
        grow(plain_catalog(n_products), *sizes)
    assert str(error.value) == message


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(SettingError, match="--seed=-1: give 0 or more"):
        grow(plain_catalog(3), 1, 0, 1, seed=-1)


def test_an_impossible_block_size_is_refused_at_once() -> None:
    with pytest.raises(SettingError, match="users_per_block=0"):
        default_world(2_480).model.blocks(0)


def test_missing_facts_of_the_catalog_count_as_zero() -> None:
    catalog = replace(plain_catalog(4), stars=np.array([np.nan, 0.0, 4.0, 5.0]), reviews=np.array([0, -3, 0, 0]))
    # ln(1 + bought)/2 + ln(1 + reviews)/4 + (stars - 4.5)/2
    assert popularity_score(catalog) == pytest.approx(np.array([0.0, 0.0, -0.25, 0.25]))


def test_five_thousand_users_take_less_than_five_seconds_of_computing() -> None:
    catalog = make_catalog(20_000)
    start = time.process_time()
    grow(catalog, USERS, INTERACTIONS, RATINGS)
    assert time.process_time() - start < 5.0  # 0.15 s on two cores


def test_blocks_are_made_one_at_a_time() -> None:
    # 10 million interactions would take seconds and gigabytes, but their first block comes at once
    model = plant_tastes(make_catalog(2_000), n_users=500_000, n_interactions=10_000_000, n_ratings=1_500_000, seed=1)
    start = time.process_time()
    block = next(iter(model.blocks(1_000)))
    assert isinstance(block, TasteBlock)
    assert time.process_time() - start < 2.0
    assert (block.first_user, block.n_users, len(block.joined)) == (0, 1_000, 1_000)
    assert len(block.interactions) == model.interactions_per_user[:1_000].sum()
