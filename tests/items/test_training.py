"""The item weights: equal to a plain inverse in both forms, cut, the same bytes on any thread count."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.items import GRID_BITS, ItemWeights, dense, foresee, local, train_items, training

STEP = 2.0**-GRID_BITS
CONFIDENCES = st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.25, 1.0])
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def csr_of(profiles: Any) -> sp.csr_array:
    return sp.csr_array(np.asarray(profiles, np.float64))


def dense_b(weights: ItemWeights) -> NDArray[np.float64]:
    parts = weights.weights * STEP, weights.columns, weights.indptr
    whole: NDArray[np.float64] = sp.csr_array(parts, shape=weights.shape).toarray()
    return whole


def by_definition(profiles: Any, ridge: float) -> NDArray[np.float64]:
    """B = I - P diag(1 / diag P), P = (X'X + ridge I)^-1."""
    x = np.asarray(profiles, np.float64)
    p = np.linalg.inv(x.T @ x + ridge * np.eye(x.shape[1]))
    return np.eye(len(p)) - p / np.diag(p)


def long_tail(n_users: int, n_products: int, n_entries: int, seed: int = 7) -> sp.csr_array:
    """Skewed activity and popularity; confidences 0.1, 0.4 and 1. Not every user or product has an entry."""
    generator = np.random.default_rng(seed)
    user = (generator.random(n_entries) ** 3 * n_users).astype(np.int64)
    product = generator.permutation(n_products)[(generator.random(n_entries) ** 3 * n_products).astype(np.int64)]
    keys = np.unique(user * n_products + product)
    values = generator.choice([0.1, 0.4, 1.0], keys.size)
    return sp.csr_array((values, (keys // n_products, keys % n_products)), shape=(n_users, n_products))


@pytest.fixture
def locally(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shop is beyond the dense form, and every product is near to every other."""
    monkeypatch.setattr(training, "MOST_DENSE", 0)
    monkeypatch.setattr(local, "N_NEAR", 10_000)


# ---- the definition --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most_dense", [100, 0], ids=["dense", "local"])
def test_weights_of_two_products_equal_hand_arithmetic(most_dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", most_dense)
    # users own both, both, the first, the first: X'X = [[4, 2], [2, 2]]. A ridge on the one other product:
    # B[1, 0] = 2 / (2 + 1), B[0, 1] = 2 / (4 + 1)
    weights = train_items(csr_of([[1, 1], [1, 1], [1, 0], [1, 0]]), ridge=1.0)
    assert weights.indptr.tolist() == [0, 1, 2]
    assert weights.columns.tolist() == [1, 0]
    assert weights.weights.tolist() == [round(2 / 5 * 2**24), round(2 / 3 * 2**24)]
    assert (weights.ridge, weights.local) == (1.0, most_dense == 0)
    assert [weights.indptr.dtype, weights.columns.dtype, weights.weights.dtype] == [np.int64, np.int32, np.int32]


@pytest.mark.parametrize("most_dense", [100, 0], ids=["dense", "local"])
def test_weights_of_three_products_equal_hand_arithmetic(most_dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", most_dense)
    # users own 0 and 1; 0 and 2: X'X + I = [[3, 1, 1], [1, 2, 0], [1, 0, 2]], its cofactors are
    # [[4, -2, -2], [-2, 5, 1], [-2, 1, 5]]. B[j, i] = -P[j, i] / P[i, i]: 2 speaks against 1, given 0
    expected = [[0, 2 / 5, 2 / 5], [2 / 4, 0, -1 / 5], [2 / 4, -1 / 5, 0]]
    weights = train_items(csr_of([[1, 1, 0], [1, 0, 1]]), ridge=1.0)
    if most_dense:
        np.testing.assert_allclose(dense_b(weights), expected, atol=STEP)
    else:  # 1 and 2 share no user, so neither is near to the other: B[0, 1] = 1 / 3
        np.testing.assert_allclose(dense_b(weights), [[0, 1 / 3, 1 / 3], [1 / 2, 0, 0], [1 / 2, 0, 0]], atol=STEP)


def test_the_dense_form_is_within_a_step_of_a_plain_inverse_for_any_profiles() -> None:
    @settings(max_examples=200, deadline=None)
    @given(
        SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=CONFIDENCES)), st.sampled_from([0.5, 20])
    )
    def check(profiles: NDArray[np.float64], ridge: float) -> None:
        weights = train_items(csr_of(profiles), ridge=ridge)
        np.testing.assert_allclose(dense_b(weights), by_definition(profiles, ridge), atol=STEP)
        assert weights.local is False

    check()


def test_the_local_form_with_all_products_is_near_a_plain_inverse(locally: None) -> None:
    # the first user owns everything, so that all products are near to each other
    elements = st.sampled_from([0.0, 0.0, 0.1, 0.25, 1.0])

    @settings(max_examples=200, deadline=None)
    @given(SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=elements)), st.sampled_from([0.5, 20]))
    def check(profiles: NDArray[np.float64], ridge: float) -> None:
        profiles[0] = 0.25
        weights = train_items(csr_of(profiles), ridge=ridge)
        np.testing.assert_allclose(dense_b(weights), by_definition(profiles, ridge), atol=1e-6)  # float32 sums
        assert weights.local is True

    check()


@pytest.mark.parametrize(("n_users", "n_products"), [(700, 500), (500, 900)], ids=["primal", "dual"])
def test_many_blocks_give_the_same_as_a_plain_inverse(n_users: int, n_products: int) -> None:
    profiles = long_tail(n_users, n_products, 9_000)
    assert min(n_users, n_products) > dense.SWEPT
    weights = train_items(profiles, ridge=3.0, n_entries=n_products)
    np.testing.assert_allclose(dense_b(weights), by_definition(profiles.toarray(), 3.0), atol=STEP)


def test_a_sweep_of_any_width_gives_minus_the_inverse() -> None:
    generator = np.random.default_rng(3)
    factor = generator.normal(size=(50, 90))
    for width in (1, 7, 50, 64):
        system = np.tril(factor @ factor.T)
        dense.sweep(system, 2, width)
        np.testing.assert_allclose(np.tril(system), np.tril(-np.linalg.inv(factor @ factor.T)), atol=1e-12)


def test_each_column_of_the_local_form_is_a_ridge_on_its_nearest_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", 0)
    monkeypatch.setattr(local, "N_NEAR", 5)
    profiles = long_tail(60, 40, 500)
    found = dense_b(train_items(profiles, ridge=2.0))
    gram, raters = (profiles.T @ profiles).toarray(), np.diff(profiles.tocsc().indptr)
    for target in range(40):
        gain = (gram[:, target] / (np.diag(gram) + 2.0)).astype(np.float32)
        others = [j for j in range(40) if j != target and gram[j, target] > 0]
        near = sorted(others, key=lambda j: (-gain[j], -raters[j], j))[:5]
        expected = np.zeros(40)
        expected[near] = np.linalg.solve(gram[np.ix_(near, near)] + 2.0 * np.eye(len(near)), gram[near, target])
        np.testing.assert_allclose(found[:, target], expected, atol=2 * STEP)


# ---- the cut ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most_dense", [10_000, 0], ids=["dense", "local"])
def test_a_cut_column_is_a_ridge_on_its_largest_of_equal_ones_the_first(
    most_dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", most_dense)
    profiles = long_tail(60, 50, 500)
    profiles = sp.csr_array(sp.hstack([profiles, profiles[:, 3:5], profiles[:, 3:5]]))  # copies: equal weights
    whole = dense_b(train_items(profiles, ridge=2.0, n_entries=53))
    gram = (profiles.T @ profiles).toarray() + 2.0 * np.eye(54)
    for n_entries in (1, 4, 20):
        weights = train_items(profiles, ridge=2.0, n_entries=n_entries)
        expected = np.zeros_like(whole)
        for column in range(54):
            best = np.argsort(-np.abs(whole[:, column]), kind="stable")[:n_entries]
            best = best[whole[best, column] != 0]
            expected[best, column] = np.linalg.solve(gram[np.ix_(best, best)], gram[best, column])
        np.testing.assert_allclose(dense_b(weights), expected, atol=1e-6)
        assert (weights.weights != 0).all()
        assert (np.diff(weights.columns)[np.diff(np.repeat(np.arange(54), np.diff(weights.indptr))) == 0] > 0).all()


def test_weights_that_round_to_zero_are_no_entries() -> None:
    # B[1, 0] = 1 / (1 + ridge) is half a step less than one for a ridge of 2^25
    assert train_items(csr_of([[1, 1]]), ridge=2.0**25).weights.tolist() == []
    assert train_items(csr_of([[1, 1]]), ridge=2.0**24).weights.tolist() == [1, 1]


# ---- planted structure -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("most_dense", [10_000, 0], ids=["dense", "local"])
def test_products_of_one_planted_group_speak_for_each_other(most_dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", most_dense)
    generator = np.random.default_rng(5)
    group = np.arange(16) % 4
    likes = generator.integers(0, 4, 3_000)
    profiles = generator.random((3_000, 16)) < np.where(likes[:, None] == group, 0.5, 0.05)
    weights = dense_b(train_items(csr_of(profiles), ridge=10.0))
    for target in range(16):
        best = np.argsort(-weights[:, target])[:3]
        assert (group[best] == group[target]).all()


# ---- the same bytes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most_dense", "n_users", "n_products"),
    [(10_000, 1500, 1300), (10_000, 900, 1400), (0, 750, 650), (0, 450, 700)],  # local: three blocks of products
    ids=["primal-dense", "dual-dense", "primal-local", "dual-local"],
)
def test_one_and_three_threads_give_the_same_bytes(
    most_dense: int, n_users: int, n_products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", most_dense)
    profiles = long_tail(n_users, n_products, 40_000 if most_dense else 20_000)
    one, three = (train_items(profiles, ridge=2.0, n_threads=n) for n in (1, 3))
    assert one.weights.size > 50_000
    for name, array in one.arrays().items():
        assert array.tobytes() == three.arrays()[name].tobytes()


def test_profiles_are_not_changed_and_progress_ends_with_all_products() -> None:
    profiles, done = long_tail(60, 50, 300), list[int]()
    before = [part.copy() for part in (profiles.data, profiles.indices, profiles.indptr)]
    train_items(profiles, ridge=2.0, progress=done.append)
    for part, was in zip((profiles.data, profiles.indices, profiles.indptr), before, strict=True):
        np.testing.assert_array_equal(part, was)
    assert done[-1] == np.count_nonzero(np.bincount(profiles.indices))


# ---- the edges -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (3, 4)])
def test_profiles_without_entries_give_no_weights(shape: tuple[int, int]) -> None:
    weights = train_items(sp.csr_array(shape, dtype=np.float64), ridge=1.0)
    assert weights.shape == (shape[1], shape[1])
    assert (weights.columns.size, weights.weights.size) == (0, 0)


@pytest.mark.parametrize("most_dense", [100, 0], ids=["dense", "local"])
def test_one_product_has_no_weights(most_dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", most_dense)
    assert train_items(csr_of([[1.0], [0.1]]), ridge=1.0).indptr.tolist() == [0, 0]


@pytest.mark.parametrize("most_dense", [100, 0], ids=["dense", "local"])
def test_users_and_products_without_entries_change_no_weight(most_dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", most_dense)
    profiles = long_tail(30, 20, 200).toarray()
    spread = np.zeros((35, 26))
    rows, columns = np.arange(30) + 2, np.arange(20) + np.arange(20) // 5
    spread[np.ix_(rows, columns)] = profiles
    expected = np.zeros((26, 26))
    expected[np.ix_(columns, columns)] = dense_b(train_items(csr_of(profiles), ridge=2.0))
    np.testing.assert_array_equal(dense_b(train_items(csr_of(spread), ridge=2.0)), expected)


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ridge_that_is_not_above_0_is_refused_in_one_line(ridge: float) -> None:
    with pytest.raises(SettingError, match=r"^ridge=.* cannot be used: pass a number above 0, such as 100$"):
        train_items(csr_of([[1.0]]), ridge=ridge)


@pytest.mark.parametrize("confidence", [0.0, -0.5, float("nan"), float("inf")])
def test_a_confidence_that_is_not_above_0_is_refused(confidence: float) -> None:
    profiles = sp.csr_array(([1.0, confidence], [0, 1], [0, 2]), shape=(1, 2))
    with pytest.raises(SettingError, match="a confidence that is not above 0 and finite"):
        train_items(profiles, ridge=1.0)


@pytest.mark.parametrize("wrong", [{"n_entries": 0}, {"n_threads": 0}, {"most_memory": 0}])
def test_a_count_below_one_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"^{next(iter(wrong))}=0 cannot be used"):
        train_items(csr_of([[1.0, 1.0]]), ridge=1.0, **wrong)


def test_more_entries_than_the_local_form_solves_are_refused_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", 0)
    monkeypatch.setattr(local, "N_NEAR", 4)
    profiles = csr_of(np.ones((3, 6)))
    with pytest.raises(
        SettingError, match=r"^n_entries=5 cannot be used: 6 products take the local form here.* most 4"
    ):
        train_items(profiles, ridge=1.0, n_entries=5)
    assert train_items(profiles, ridge=1.0, n_entries=4).weights.size == 6 * 4


def test_a_ridge_lost_in_rounding_is_refused_by_the_dense_form() -> None:
    with pytest.raises(SettingError, match=r"^ridge is too small for these profiles: choose a larger one"):
        train_items(csr_of(np.ones((9, 4))), ridge=1e-30)


def test_a_ridge_lost_in_rounding_leaves_copies_out_of_the_local_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", 0)
    weights = dense_b(train_items(csr_of(np.ones((9, 4))), ridge=1e-30))
    np.testing.assert_allclose(weights, [[0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], atol=STEP)


# ---- the form --------------------------------------------------------------------------------------------------


def test_the_form_is_the_one_foreseen_and_memory_decides() -> None:
    profiles = long_tail(400, 300, 5_000)
    histories = np.bincount(profiles.nonzero()[0])
    histories, n_products = histories[histories > 0].astype(np.int64), np.unique(profiles.indices).size
    needed = foresee(histories, n_products).n_bytes
    assert foresee(histories, n_products, most_memory=needed).local is False
    assert foresee(histories, n_products, most_memory=needed - 1).local is True
    assert train_items(profiles, ridge=2.0, most_memory=needed).local is False
    assert train_items(profiles, ridge=2.0, most_memory=needed - 1).local is True


@pytest.mark.parametrize(("most_memory", "fits"), [(10_000_000, False), (200_000_000, True), (1_000_000_000, True)])
def test_memory_decides_up_to_how_many_users_or_products_the_dense_form_goes(most_memory: int, fits: bool) -> None:
    def foreseen(side: int) -> training.Forecast:
        return foresee(np.full(side, 3, np.int64), 9_000, n_entries=20, most_memory=most_memory)

    least, most = 1, 9_000  # the largest dense one, by halves
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (least, middle - 1) if foreseen(middle).local else (middle, most)
    found = {side: foreseen(side) for side in (least, least + 1)}
    assert [each.local for each in found.values()] == [not fits, least < 9_000]
    assert [each.most_dense >= side for side, each in found.items()] == [fits, least == 9_000]
    assert foreseen(least).n_bytes <= most_memory or not fits


@pytest.mark.parametrize(
    ("most_dense", "n_users", "n_products", "n_entries"),
    [(10_000, 1500, 1300, 20), (10_000, 200, 6000, 20), (0, 900, 1400, 20), (10_000, 2500, 2000, None)],
    ids=["primal", "dual", "local", "all weights"],
)
def test_a_training_takes_no_more_memory_than_foreseen_and_not_far_less(
    most_dense: int, n_users: int, n_products: int, n_entries: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", most_dense)
    profiles = long_tail(n_users, n_products, 40_000)
    histories = np.bincount(profiles.nonzero()[0]).astype(np.int64)
    foreseen = foresee(histories[histories > 0], np.unique(profiles.indices).size, n_entries=n_entries).n_bytes
    train_items(profiles, ridge=2.0, n_entries=n_entries)  # so that the compiled code is loaded
    tracemalloc.start()
    train_items(profiles, ridge=2.0, n_entries=n_entries, n_threads=16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert foreseen / 6 < peak < foreseen


def test_each_product_has_as_many_near_ones_as_time_allows() -> None:
    assert [local.near_count(n) for n in (0, 1, 2, 400, 401, 100_000, 100_001)] == [1, 1, 1, 399, 400, 400, 300]


def test_a_column_keeps_what_is_asked_for_or_what_fits() -> None:
    assert training.column_length(5_000, 20) == 20
    assert training.column_length(5, 20) == 4
    assert [training.column_length(n) for n in (0, 1, 2, 3_000)] == [1, 1, 1, 2_999]
    assert [training.column_length(n) for n in (3_001, 20_000, 50_000, 1_400_000)] == [150, 100, 50, 50]


def test_the_dual_system_of_few_users_is_foreseen_smaller_than_that_of_many_products() -> None:
    few = foresee(np.full(100, 50, np.int64), 10_000)
    assert few.local is False
    assert few.n_bytes < 8 * 10_000**2


def test_the_local_form_cuts_profiles_so_that_pairs_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MOST_DENSE", 0)
    monkeypatch.setattr(training, "MOST_PAIRS", 12)  # of 13 pairs
    histories = np.array([2, 4, 4, 1])  # cut at 4: 1 + 6 + 6, at 3: 1 + 3 + 3
    assert local.pairs_of(histories, 4) == 13
    assert foresee(histories, 9).longest == 3
    # the products with the fewest users are kept: of the long profile 1, 2 and 3, not 0
    profiles = csr_of([[1, 1, 1, 1], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    found = train_items(profiles, ridge=1.0)
    cut = train_items(csr_of([[0, 1, 1, 1], [0, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]), ridge=1.0)
    np.testing.assert_array_equal(dense_b(found), dense_b(cut))
    assert found.weights.size == 2 + 6  # 0 with 1, and each pair of the others
