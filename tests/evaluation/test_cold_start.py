"""Each step of the cold start on planted shops: what it must find, what it must not know, when it is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import NothingToEvaluateError, SettingError
from recommender.evaluation import NDCG, Evaluation, Split, before_the_cut, cold_start, evaluate_cold_start
from recommender.evaluation.cold_start import DECAYED, OWN_INTERACTIONS, OWN_RATINGS, POPULAR, SEGMENT
from recommender.fallback import MICROSECONDS_PER_DAY
from recommender.ranking import TasteRanker
from recommender.shop import Interactions, RatingMatrix, build_profiles, widened
from recommender.synthetic import segments as segments_of_people
from tests.evaluation.test_comparison import (
    WEIGHTS,
    Planted,
    default_catalog,
    default_shoppers,
    leaky_and_fair,
    ndcg,
    small_shop,
)
from tests.support.compared_rankers import compared_by

STEPS = [OWN_RATINGS, OWN_INTERACTIONS, SEGMENT, DECAYED, POPULAR]


@pytest.fixture(scope="module")
def shop() -> Planted:
    return small_shop()


def names(evaluation: Evaluation) -> list[str]:
    return [ranking.name for ranking in evaluation.rankings]


def in_turn(n_users: int) -> NDArray[np.int32]:
    """Segments 0, 1, 2, 0, 1, ..."""
    return (np.arange(n_users) % 3).astype(np.int32)


# --- planted answers


def two_countries(n_users: int = 200) -> tuple[RatingMatrix, NDArray[np.int32]]:
    """The people of two segments rated three of their four products each, the last one a year after the others.

    The 120 users of segment 0 have products 0 to 3, the 80 users of segment 1 have products 4 to 7.
    """
    segments = (np.arange(n_users) % 5 >= 3).astype(np.int32)
    dense = np.zeros((n_users, 8), np.int8)
    times = np.zeros((n_users, 8), np.int64)
    for user, segment in enumerate(segments.tolist()):
        for place in range(3):
            column = 4 * segment + (user + place) % 4
            dense[user, column], times[user, column] = 8, (365 * (place == 2) + 1) * MICROSECONDS_PER_DAY
    ratings = sp.csr_array(dense)
    ids = np.array([f"P{column}" for column in range(8)], np.bytes_)
    at = times[dense > 0]
    return RatingMatrix(ratings, np.arange(1, n_users + 1), ids, np.ones(8, np.bool_), at), segments


def test_a_segment_finds_its_own_products_and_popularity_only_everybodys() -> None:
    matrix, segments = two_countries()
    found = evaluate_cold_start(matrix, segments=segments, share=0.5)
    assert names(found) == [OWN_RATINGS, SEGMENT, DECAYED, POPULAR]
    assert found.n_test_users == 100
    # users know two of four products, so one of the first two places is right: 1 or 1 / log2(3), nothing else
    assert 0.63 <= ndcg(found, SEGMENT) <= 1.0
    assert found.ranking(SEGMENT).figures["recall@10"].mean == 1.0
    # popularity puts the larger segment's products first: 40 % of users find theirs in the fifth place or later
    assert ndcg(found, POPULAR) < ndcg(found, SEGMENT) - 0.1
    assert ndcg(found, DECAYED) < ndcg(found, SEGMENT) - 0.1


def test_each_step_finds_more_than_the_next_one_on_planted_shoppers(tmp_path: Path) -> None:
    planted = default_shoppers(*default_catalog(tmp_path))
    mine = segments_of_people(5_000, 42)[planted.matrix.user_ids - 1].astype(np.int32)
    found = evaluate_cold_start(planted.matrix, planted.log, WEIGHTS, mine)
    assert names(found) == STEPS
    assert found.n_test_users == 1_000
    assert ndcg(found, OWN_RATINGS) > 4 * ndcg(found, OWN_INTERACTIONS) > 4 * ndcg(found, SEGMENT)
    assert ndcg(found, SEGMENT) > 2 * ndcg(found, DECAYED) > ndcg(found, POPULAR)
    # three in four of these users have no event before their cut; lists of the others find half as much as by
    # their ratings
    served = found.ranking(OWN_INTERACTIONS).figures["served"].mean
    assert served is not None
    assert 0.2 < served < 0.3
    assert ndcg(found, OWN_INTERACTIONS) / served > 0.6 * ndcg(found, OWN_RATINGS)


# --- what is compared


def test_a_step_without_data_in_the_shop_is_left_out(shop: Planted) -> None:
    segments = in_turn(shop.matrix.shape[0])
    nobody = np.full(shop.matrix.shape[0], -1, np.int32)
    timeless = replace(shop.matrix, rated_at=None)
    plain = [OWN_RATINGS, DECAYED, POPULAR]
    for matrix, log, weights, mine, expected in (
        (shop.matrix, shop.log, WEIGHTS, segments, STEPS),
        (shop.matrix, shop.log, WEIGHTS, None, [OWN_RATINGS, OWN_INTERACTIONS, DECAYED, POPULAR]),
        (shop.matrix, shop.log, WEIGHTS, nobody, [OWN_RATINGS, OWN_INTERACTIONS, DECAYED, POPULAR]),
        (shop.matrix, shop.log, np.zeros(4), None, plain),
        (shop.matrix, shop.log, None, None, plain),
        (shop.matrix, None, WEIGHTS, None, plain),
        (shop.matrix, shop.log.where(np.zeros(len(shop.log), np.bool_)), WEIGHTS, None, plain),
        (timeless, None, None, segments, [OWN_RATINGS, SEGMENT, POPULAR]),
        (timeless, None, None, None, [OWN_RATINGS, POPULAR]),
    ):
        assert names(evaluate_cold_start(matrix, log, weights, mine)) == expected


def compared(*arguments: Any, **options: Any) -> tuple[Split, dict[str, Any]]:
    """The split and the named rankers that are compared."""
    found: tuple[Split, dict[str, Any]] = compared_by(cold_start, evaluate_cold_start, *arguments, **options)
    return found


def test_a_fifth_of_the_users_is_drawn_by_the_seed_and_their_number_is_noted(shop: Planted) -> None:
    split, _ = compared(shop.matrix, seed=1)
    assert len(split.test_rows) == 40
    assert split.description == (
        "newest 20% of each user's ratings hidden (40 users drawn at random), ranked as if they had no ratings"
    )
    other, _ = compared(shop.matrix, seed=2)
    assert set(split.test_rows.tolist()) != set(other.test_rows.tolist())
    assert evaluate_cold_start(shop.matrix, shop.log, WEIGHTS) == evaluate_cold_start(shop.matrix, shop.log, WEIGHTS)
    everyone, _ = compared(shop.matrix, share=1.0)
    assert len(everyone.test_rows) == 200


def test_the_step_of_own_ratings_is_the_served_taste_ranking(shop: Planted) -> None:
    split, rankers = compared(shop.matrix)
    profiles = build_profiles(split.train)
    taste = TasteRanker(profiles.confidences, split.train.steps, times=profiles.times)
    assert np.array_equal(rankers[OWN_RATINGS].rank(split.test_rows, 20), taste.rank(split.test_rows, 20))


def test_the_step_of_own_interactions_is_taste_without_ratings_and_without_rated_products(shop: Planted) -> None:
    split, rankers = compared(shop.matrix, shop.log, WEIGHTS)
    train, rows = split.train, split.test_rows
    lists = rankers[OWN_INTERACTIONS].rank(rows, 5)
    cold, _ = cold_start.strangers(split, shop.log, WEIGHTS)
    known = before_the_cut(shop.log, train, split.hidden, split.cut_times)
    profiles = build_profiles(cold, known, WEIGHTS)
    taste = TasteRanker(profiles.confidences, cold.steps, times=profiles.times)
    everything = taste.rank(rows, cold.shape[1])
    shortened = 0
    for place, row in enumerate(rows.tolist()):
        seen = set(train.rated_columns(row).tolist())
        expected = [column for column in everything[place].tolist() if column >= 0 and column not in seen]
        shortened += len(seen & set(everything[place, :5].tolist()))
        assert [column for column in lists[place].tolist() if column >= 0] == expected[:5]
    assert shortened > 0  # without the last step these lists would hold rated products
    # a heavy user among the others does not change their lists
    turned = rankers[OWN_INTERACTIONS].rank(rows[::-1], 5)
    assert np.array_equal(turned[::-1], lists)


def test_lower_steps_know_nothing_of_the_users_they_are_tested_on(shop: Planted) -> None:
    split, _ = compared(shop.matrix, shop.log, WEIGHTS)
    cold, others = cold_start.strangers(split, shop.log, WEIGHTS)
    rows = split.test_rows
    assert cold.steps[rows].nnz == others.confidences[rows].nnz == 0
    kept = np.setdiff1d(np.arange(cold.shape[0]), rows)
    assert (cold.steps[kept] != split.train.steps[kept]).nnz == 0
    assert (split.train.steps[kept] != shop.matrix.steps[kept]).nnz == 0  # their ratings are not hidden
    assert cold.rated_at is not None
    assert len(cold.rated_at) == cold.n_ratings == shop.matrix.steps[kept].nnz
    # the others' interactions are all in their profiles
    log = shop.log.where(np.isin(shop.log.user_ids, cold.user_ids[kept]))
    assert (build_profiles(cold, log, WEIGHTS).confidences != others.confidences).nnz == 0


def test_events_after_the_cut_and_of_hidden_products_are_not_trained_on(shop: Planted) -> None:
    """No figure changes by purchases of hidden products at any time, or of any product at the cut or later."""
    segments = in_turn(shop.matrix.shape[0])
    split, _ = compared(shop.matrix)
    logs = shop.log, *leaky_and_fair(shop, split)
    plain, leaky, fair = (evaluate_cold_start(shop.matrix, log, WEIGHTS, segments) for log in logs)
    assert leaky == plain
    for step in (OWN_RATINGS, OWN_INTERACTIONS):
        assert fair.ranking(step) != plain.ranking(step)  # so these figures do use the permitted interactions
    for step in (SEGMENT, DECAYED, POPULAR):
        assert fair.ranking(step) == plain.ranking(step)


def test_predicted_stars_are_the_damped_means_of_the_others(shop: Planted) -> None:
    split, rankers = compared(shop.matrix, segments=in_turn(shop.matrix.shape[0]))
    cold, _ = cold_start.strangers(split, None, None)
    csr, mu = cold.steps.tocsc(), cold.mean_rating
    columns = np.arange(cold.shape[1])
    for step in (SEGMENT, DECAYED, POPULAR):
        predicted = rankers[step].predict(np.zeros(len(columns), np.int64), columns)
        for column in columns.tolist():
            stars = csr.data[csr.indptr[column] : csr.indptr[column + 1]] / 2
            if len(stars) or step != POPULAR:
                assert predicted[column] == round((float(stars.sum()) + 10 * mu) / (len(stars) + 10), 9)
            else:
                assert np.isnan(predicted[column])


def test_all_users_can_be_tested_without_ratings() -> None:
    """Then nobody else is left: the steps that need others have nothing, and say so."""
    matrix, segments = two_countries(20)
    log = Interactions(
        np.array([3, 4]), np.array([0, 1], np.int32), matrix.product_ids, np.zeros(2, np.int8), np.ones(2, np.int64)
    )
    matrix = widened(matrix, log, np.ones(8, np.bool_))
    found = evaluate_cold_start(matrix, log, WEIGHTS, segments, share=1.0)
    for step in (SEGMENT, DECAYED, POPULAR):
        assert found.ranking(step).figures["served"].mean == 0.0
        assert ndcg(found, step) == 0.0
    assert found.notes[0] == "only 20 users could be tested, fewer than 100: go by the intervals, not the means"


def test_a_shop_that_cannot_be_evaluated_is_refused_with_the_reason(shop: Planted) -> None:
    for share in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(SettingError, match=f"^share={share} of the users cannot be tested: pass one above 0, at m"):
            evaluate_cold_start(shop.matrix, share=share)
    with pytest.raises(SettingError, match="^3 segments for 200 users: pass one for each row$"):
        evaluate_cold_start(shop.matrix, segments=np.zeros(3, np.int32))
    with pytest.raises(SettingError, match="^seed=-1 cannot be used"):
        evaluate_cold_start(shop.matrix, seed=-1)
    single = replace(two_countries()[0], steps=sp.csr_array(np.eye(8, dtype=np.int8)), rated_at=None)
    lonely = replace(single, user_ids=np.arange(8))
    with pytest.raises(NothingToEvaluateError, match="^nothing to evaluate: of 8 users none"):
        evaluate_cold_start(lonely)


def test_progress_counts_every_list(shop: Planted) -> None:
    done: list[int] = []
    found = evaluate_cold_start(shop.matrix, shop.log, WEIGHTS, progress=done.append, clock=iter(range(10**6)).__next__)
    assert sum(done) == 4 * 40
    assert all((ranking.seconds or 0) > 0 for ranking in found.rankings)
    assert found.ranking(POPULAR).figures[NDCG].n == 40
