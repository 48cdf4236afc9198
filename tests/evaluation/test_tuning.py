"""The choice among taste, items and fusion agrees with the evaluation, and is right on data with a known answer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.evaluation import NDCG, evaluate, split_newest, tune
from recommender.evaluation.tuning import (
    DAMPINGS,
    FUSIONS,
    HALF_LIVES,
    ITEM_DAMPINGS,
    LEAST_USERS,
    NEIGHBORS,
    RIDGES,
    SHARE_HIDDEN,
    Tuned,
)
from recommender.ranking import (
    DAMPING,
    FUSION,
    ITEMS,
    N_NEIGHBORS,
    TASTE,
    AutoParameters,
    ItemRanker,
    TasteRanker,
    chosen_ranker,
    train_item_weights,
)
from recommender.shop import Interactions, RatingMatrix, build_profiles

DEFAULT = AutoParameters()


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


def one_taste(n_users: int = 1_200) -> RatingMatrix:
    """Everybody draws from the same 100 products with the same chances, so all neighbors are equally good."""
    rng = np.random.default_rng(6)
    chances = 0.02 + 0.5 * np.linspace(1.0, 0.0, 100) ** 5
    return matrix_of([rng.permutation(np.flatnonzero(rng.random(100) < chances)).tolist() for _ in range(n_users)], 100)


def pairs(n_users: int = 200) -> RatingMatrix:
    """Each user has 20 of 40 pairs of products, and the second products of four pairs come last of all.

    Any 20 pairs are as likely as any others. So all users are nearly equally near, and only the pairs say what comes.
    """
    rng = np.random.default_rng(8)
    owned = []
    for _ in range(n_users):
        first = 2 * rng.permutation(40)[:20]
        owned.append([*rng.permutation([*first, *(first[4:] + 1)]).tolist(), *(first[:4] + 1).tolist()])
    return matrix_of(owned, 80)


def both_kinds() -> RatingMatrix:
    """The users of `niches` and of `pairs`, in one shop, with nothing in common."""
    parts = niches(400), pairs(200)
    csr = sp.csr_array(sp.block_diag([part.steps for part in parts], format="csr", dtype=np.int8))
    ids = np.array([f"P{column:04}" for column in range(csr.shape[1])], np.bytes_)
    times = np.concatenate([part.rated_at for part in parts if part.rated_at is not None])
    return RatingMatrix(csr, np.arange(1, 601), ids, np.ones(csr.shape[1], np.bool_), times)


def at_random(n_users: int = 120) -> RatingMatrix:
    rng = np.random.default_rng(7)
    return matrix_of([rng.permutation(40)[:6].tolist() for _ in range(n_users)], 40)


def best_of(tuned: Tuned, kind: str) -> AutoParameters:
    family = tuned.families[kind]
    return family.parameters[int(np.argmax(family.ndcg.mean(axis=1)))]


def test_the_figures_equal_those_of_an_evaluation_of_each_rival() -> None:
    matrix = niches(120)
    matrix = replace(matrix, recommendable=np.arange(matrix.shape[1]) % 10 > 0)
    tuned = tune(matrix, seed=3)
    split = split_newest(matrix, share=SHARE_HIDDEN, rng=np.random.default_rng(3))
    assert tuned.n_users == len(split.test_rows) > LEAST_USERS
    train, profiles = split.train, build_profiles(split.train)
    taste = TasteRanker(profiles.confidences, train.steps, times=profiles.times, recommendable=train.recommendable)

    def items_beside(near: TasteRanker, parameters: AutoParameters) -> ItemRanker:
        weights = train_item_weights(profiles, parameters.items)
        return ItemRanker.of(near, weights, profiles, parameters.items, train.recommendable)

    for family in tuned.families.values():
        for parameters, found in list(zip(family.parameters, family.ndcg, strict=True))[::5]:
            beside = partial(items_beside, parameters=parameters)
            ranker = chosen_ranker(parameters, taste, beside, train.recommendable)
            expected = evaluate(split, {"": ranker}, seed=0, n_resamples=1).ranking("").figures[NDCG].mean
            assert found.mean() == pytest.approx(expected, abs=1e-9), parameters


def test_the_grids_are_complete_and_the_fusions_are_those_of_the_best_taste_and_items() -> None:
    tuned = tune(pairs(LEAST_USERS))
    sizes = {kind: len(family.parameters) for kind, family in tuned.families.items()}
    n_items = len(RIDGES) * len(HALF_LIVES) * len(ITEM_DAMPINGS)
    assert sizes == {TASTE: len(NEIGHBORS) * len(DAMPINGS), ITEMS: n_items, FUSION: len(FUSIONS)}
    assert all(family.ndcg.shape == (sizes[kind], LEAST_USERS) for kind, family in tuned.families.items())
    assert DEFAULT in tuned.families[TASTE].parameters
    assert AutoParameters(ITEMS) in tuned.families[ITEMS].parameters
    near, liked = best_of(tuned, TASTE).taste, best_of(tuned, ITEMS).items
    assert {(rival.taste, rival.items) for rival in tuned.families[FUSION].parameters} == {(near, liked)}


def test_narrow_tastes_raise_the_damping_and_a_common_taste_the_number_of_neighbors() -> None:
    narrow, broad = tune(niches()), tune(one_taste())
    assert narrow.parameters.taste.damping > DAMPING
    assert broad.parameters.taste.n_neighbors > N_NEIGHBORS
    for tuned in (narrow, broad):
        assert tuned.parameters.kind == TASTE
        assert tuned.parameters == best_of(tuned, TASTE)
        ahead, error = tuned.difference(DEFAULT)
        assert ahead > error > 0.0


def test_products_that_go_together_are_found_by_items_and_shops_of_both_kinds_get_the_fusion() -> None:
    tuned = tune(pairs())
    assert tuned.parameters == best_of(tuned, ITEMS)
    assert tuned.difference(best_of(tuned, TASTE))[0] > 0.4  # .96 to .37
    both = tune(both_kinds())
    assert both.parameters == best_of(both, FUSION)
    for kind in (TASTE, ITEMS):
        ahead, error = both.difference(best_of(both, kind))
        assert ahead > 3.0 * error


def test_the_default_stays_if_no_rival_is_clearly_better() -> None:
    tuned = tune(at_random())
    assert tuned.parameters == DEFAULT
    assert tuned.difference(best_of(tuned, ITEMS))[0] < 0.0  # ahead by chance
    same = tune(matrix_of([[0, 1, 2, 3, 4]] * LEAST_USERS, 5))  # the last is the only product left, whoever ranks
    assert same.parameters == DEFAULT
    assert same.difference(best_of(same, ITEMS)) == (0.0, 0.0)


def test_the_default_stays_if_too_few_users_have_a_rating_to_hide() -> None:
    few = pairs(LEAST_USERS - 1)
    assert tune(few) == (DEFAULT, LEAST_USERS - 1, {})
    assert tune(pairs(LEAST_USERS)).parameters.kind == ITEMS
    assert tune(matrix_of([[user] for user in range(50)], 50)).n_users == 0  # one rating each


def test_without_times_no_half_life_is_tried_and_where_a_ridge_takes_minutes_no_other_ridge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    untimed = tune(replace(pairs(LEAST_USERS), rated_at=None)).families[ITEMS].parameters
    assert {rival.items.half_life for rival in untimed} == {AutoParameters().items.half_life}
    monkeypatch.setattr("recommender.evaluation.tuning.MOST_SECONDS", 0.0)
    tried = tune(pairs(LEAST_USERS)).families[ITEMS].parameters
    assert {rival.items.ridge for rival in tried} == {AutoParameters().items.ridge}
    assert {rival.items.half_life for rival in tried} == set(HALF_LIVES)


def test_products_that_may_not_be_recommended_do_not_count_in_the_tuning() -> None:
    matrix = matrix_of([[user % 7, 7 + user % 3, 10] for user in range(60)], 11)  # of 3 one is hidden: the last
    gone = replace(matrix, recommendable=np.arange(11) < 10)
    assert tune(matrix).n_users == 60
    assert tune(gone).n_users == 0


def log_of(matrix: RatingMatrix, rows: NDArray[np.int64], columns: NDArray[np.int64], at: int) -> Interactions:
    """Purchases of these products by these users."""
    kinds, times = np.full(len(rows), 3, np.int8), np.full(len(rows), at, np.int64)
    return Interactions(matrix.user_ids[rows], columns.astype(np.int32), matrix.product_ids, kinds, times)


def assert_equal_figures(left: Tuned, right: Tuned) -> None:
    assert left.families.keys() == right.families.keys()
    for kind, family in left.families.items():
        assert family.parameters == right.families[kind].parameters
        np.testing.assert_array_equal(family.ndcg, right.families[kind].ndcg)


def test_interactions_with_hidden_products_or_after_the_cut_are_not_used() -> None:
    matrix, weights = niches(LEAST_USERS), np.array([0.2, 0.5, 1.0, 2.0])
    every = np.arange(LEAST_USERS)
    split = split_newest(matrix, share=SHARE_HIDDEN, rng=np.random.default_rng(0))
    hidden = split.hidden.tocoo()
    leak = log_of(matrix, hidden.coords[0], hidden.coords[1], at=0)  # bought earlier, but hidden
    late = log_of(matrix, every, np.full(LEAST_USERS, 39), at=1_000)
    early = log_of(matrix, every, np.full(LEAST_USERS, 39), at=0)
    without = tune(matrix)
    assert_equal_figures(tune(matrix, leak, weights), without)
    assert_equal_figures(tune(matrix, late, weights), without)
    counted = tune(matrix, early, weights)
    for kind in (TASTE, ITEMS):
        assert (counted.families[kind].ndcg != without.families[kind].ndcg).any()


def test_a_sample_of_users_is_drawn_by_the_seed_and_threads_change_nothing() -> None:
    matrix = niches()
    one = tune(matrix, seed=1, n_users=LEAST_USERS, n_threads=1)
    two = tune(matrix, seed=1, n_users=LEAST_USERS, n_threads=2)
    assert_equal_figures(one, two)
    assert one.parameters == two.parameters
    assert one.n_users == LEAST_USERS
    other = tune(matrix, seed=2, n_users=LEAST_USERS)
    assert (one.families[TASTE].ndcg != other.families[TASTE].ndcg).any()
    with pytest.raises(SettingError, match="n_users=0"):
        tune(matrix, n_users=0)
