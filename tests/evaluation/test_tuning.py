"""The choice of neighbors and damping agrees with the evaluation, and is right on data with a known answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.evaluation import NDCG, evaluate, split_newest, tune
from recommender.evaluation.tuning import DAMPINGS, LEAST_USERS, NEIGHBORS
from recommender.ranking import DAMPING, N_NEIGHBORS, TasteRanker
from recommender.shop import Interactions, RatingMatrix, build_profiles

DEFAULT = (N_NEIGHBORS, DAMPING)


def matrix_of(owned: list[list[int]], n_products: int) -> RatingMatrix:
    """Users 1, 2, ... who rated these products 4 stars, in this order."""
    sizes = [len(columns) for columns in owned]
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    columns = np.concatenate([np.asarray(line, np.int32) for line in owned])
    order = np.lexsort((columns, np.repeat(np.arange(len(owned)), sizes)))
    times = np.concatenate([np.arange(size) for size in sizes])
    csr = sp.csr_array((np.full(len(columns), 8, np.int8), columns[order], indptr), shape=(len(owned), n_products))
    ids = np.array([f"P{column:04}" for column in range(n_products)], np.bytes_)
    return RatingMatrix(csr, np.arange(1, len(owned) + 1), ids, np.ones(n_products, np.bool_), times[order])


def niches(n_users: int = 240) -> RatingMatrix:
    """Eight users share a niche of five products, and all users share 40 bestsellers.

    Each user has 12 bestsellers and, last of all, a third product of the niche. Undamped votes give bestsellers, as
    users of the same niche own many of them.
    """
    rng = np.random.default_rng(5)
    owned = []
    for user in range(n_users):
        niche, hits = 40 + 5 * (user // 8) + rng.permutation(5), rng.permutation(40)
        owned.append([*hits[:6].tolist(), *niche[:2].tolist(), *hits[6:12].tolist(), int(niche[2])])
    return matrix_of(owned, 40 + 5 * -(-n_users // 8))


def one_taste(n_users: int = 600) -> RatingMatrix:
    """Everybody draws from the same 60 products with the same chances, so all neighbors are equally good."""
    rng = np.random.default_rng(6)
    chances = 0.02 + 0.5 * np.linspace(1.0, 0.02, 60) ** 3
    return matrix_of([rng.permutation(np.flatnonzero(rng.random(60) < chances)).tolist() for _ in range(n_users)], 60)


def at_random(n_users: int = 120) -> RatingMatrix:
    rng = np.random.default_rng(7)
    return matrix_of([rng.permutation(40)[:6].tolist() for _ in range(n_users)], 40)


def test_the_figures_equal_those_of_an_evaluation_of_each_pair() -> None:
    matrix = niches(80)
    matrix = replace(matrix, recommendable=np.arange(matrix.shape[1]) % 10 > 0)
    tuned = tune(matrix, seed=3)
    split = split_newest(matrix, rng=np.random.default_rng(3))
    profiles = build_profiles(split.train)
    for i, k in enumerate(NEIGHBORS):
        for j, damping in enumerate(DAMPINGS):
            ranker = TasteRanker(
                profiles.confidences, split.train.half_stars, times=profiles.times, n_neighbors=k, damping=damping,
                recommendable=split.train.recommendable,
            )  # fmt: skip
            expected = evaluate(split, {"taste": ranker}, seed=0, n_resamples=1).ranking("taste").figures[NDCG].mean
            assert tuned.ndcg[i, j] == pytest.approx(expected, abs=1e-9)
    assert tuned.n_users == len(split.test_rows) > 40


def test_narrow_tastes_raise_the_damping_and_a_common_taste_the_number_of_neighbors() -> None:
    narrow, broad = tune(niches()), tune(one_taste())
    assert narrow.parameters.taste.damping > DAMPING
    assert broad.parameters.taste.n_neighbors > N_NEIGHBORS
    for tuned in (narrow, broad):
        chosen = tuned.ndcg[
            NEIGHBORS.index(tuned.parameters.taste.n_neighbors), DAMPINGS.index(tuned.parameters.taste.damping)
        ]
        assert chosen == tuned.ndcg.max() > tuned.ndcg[NEIGHBORS.index(DEFAULT[0]), DAMPINGS.index(DEFAULT[1])]


def test_the_default_stays_if_no_pair_is_clearly_better() -> None:
    tuned = tune(at_random())
    assert (tuned.parameters.taste.n_neighbors, tuned.parameters.taste.damping) == DEFAULT
    assert tuned.ndcg.max() > tuned.ndcg[NEIGHBORS.index(DEFAULT[0]), DAMPINGS.index(DEFAULT[1])]  # ahead by chance


def test_the_default_stays_if_too_few_users_have_a_rating_to_hide() -> None:
    few = niches(LEAST_USERS - 1)
    tuned = tune(few)
    assert (tuned.parameters.taste.n_neighbors, tuned.parameters.taste.damping, tuned.n_users) == (
        *DEFAULT,
        LEAST_USERS - 1,
    )
    assert np.isnan(tuned.ndcg).all()
    enough = tune(niches(LEAST_USERS))
    assert enough.n_users == LEAST_USERS
    assert not np.isnan(enough.ndcg).any()
    assert tune(matrix_of([[user] for user in range(50)], 50)).n_users == 0  # one rating each


def test_products_that_may_not_be_recommended_do_not_count_in_the_tuning() -> None:
    matrix = matrix_of([[user % 7, 7 + user % 3, 10] for user in range(60)], 11)  # 20 % of 3: one, the last
    gone = replace(matrix, recommendable=np.arange(11) < 10)
    assert tune(matrix).n_users == 60
    assert tune(gone).n_users == 0


def log_of(matrix: RatingMatrix, rows: NDArray[np.int64], columns: NDArray[np.int64], at: int) -> Interactions:
    """Purchases of these products by these users."""
    kinds, times = np.full(len(rows), 3, np.int8), np.full(len(rows), at, np.int64)
    return Interactions(matrix.user_ids[rows], columns.astype(np.int32), matrix.product_ids, kinds, times)


def test_interactions_with_hidden_products_or_after_the_cut_are_not_used() -> None:
    matrix, weights = niches(80), np.array([0.2, 0.5, 1.0, 2.0])
    split = split_newest(matrix, rng=np.random.default_rng(0))
    hidden = split.hidden.tocoo()
    leak = log_of(matrix, hidden.coords[0], hidden.coords[1], at=0)  # bought earlier, but hidden
    late = log_of(matrix, np.arange(80), np.full(80, 39), at=1_000)
    early = log_of(matrix, np.arange(80), np.full(80, 39), at=0)
    without = tune(matrix).ndcg
    np.testing.assert_array_equal(tune(matrix, leak, weights).ndcg, without)
    np.testing.assert_array_equal(tune(matrix, late, weights).ndcg, without)
    assert (tune(matrix, early, weights).ndcg != without).any()


def test_a_sample_of_users_is_drawn_by_the_seed_and_threads_change_nothing() -> None:
    matrix = niches()
    one = tune(matrix, seed=1, n_users=60, n_threads=1)
    np.testing.assert_array_equal(one.ndcg, tune(matrix, seed=1, n_users=60, n_threads=2).ndcg)
    assert one.n_users == 60
    assert (one.ndcg != tune(matrix, seed=2, n_users=60).ndcg).any()
    with pytest.raises(SettingError, match="n_users=0"):
        tune(matrix, n_users=0)
