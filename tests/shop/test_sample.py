"""The sample of a large shop: its users of lowest hash, the same in any order and in any parts, and nested."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recommender.shop import Interactions, RatingMatrix, cut_of, hash_bins, in_sample, sampled
from recommender.shop.sample import N_BINS

N_PRODUCTS = 6
_64 = 2**64 - 1


def bin_of(user_id: int) -> int:
    """The upper 16 bits of splitmix64, in Python's own numbers."""
    x = (user_id + 0x9E3779B97F4A7C15) & _64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _64
    return (x ^ (x >> 31)) >> 48


def shop_of(user_ids: list[int], seed: int = 0) -> tuple[RatingMatrix, Interactions]:
    """Up to five ratings a user, some of them none, and three interactions for each user on average."""
    rng, n_users = np.random.default_rng(seed), len(user_ids)
    dense = np.where(rng.random((n_users, N_PRODUCTS)) < 0.5, rng.integers(1, 11, (n_users, N_PRODUCTS)), 0)
    steps, numbers = sp.csr_array(dense.astype(np.int8)), np.sort(np.array(user_ids, np.int64))
    ids, everything = np.array([f"P{at}" for at in range(N_PRODUCTS)], np.bytes_), np.ones(N_PRODUCTS, np.bool_)
    n_events = 3 * n_users
    log = Interactions(
        rng.choice(numbers, n_events), rng.integers(0, N_PRODUCTS, n_events).astype(np.int32), ids,
        np.zeros(n_events, np.int8), np.arange(n_events),
    )  # fmt: skip
    return RatingMatrix(steps, numbers, ids, everything, np.arange(steps.nnz) * 10), log


def held(matrix: RatingMatrix, log: Interactions) -> dict[int, int]:
    """The number of ratings and interactions of each user."""
    counts = dict(zip(matrix.user_ids.tolist(), np.diff(matrix.steps.indptr).tolist(), strict=True))
    for user in log.user_ids.tolist():
        counts[user] += 1
    return counts


users_of = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=60, unique=True)


@settings(deadline=None)
@given(users_of, st.integers(0, 400), st.integers(0, 400))
def test_the_sample_is_the_lowest_hashes_that_hold_no_more_and_smaller_ones_are_part_of_it(
    user_ids: list[int], most: int, other: int
) -> None:
    matrix, log = shop_of(user_ids)
    counts = held(matrix, log)
    some, theirs = sampled(matrix, log, most=most)
    assert theirs is not None
    if sum(counts.values()) <= most:
        assert (some, theirs) == (matrix, log)
        return
    expected: set[int] = set()
    total = 0
    for bin_ in sorted({bin_of(user) for user in user_ids}):
        members = {user for user in user_ids if bin_of(user) == bin_}
        total += sum(counts[user] for user in members)
        if total > most and any(counts[user] for user in expected):
            break
        expected |= members
    assert {user for user in some.user_ids.tolist() if counts[user]} == {user for user in expected if counts[user]}
    rows = np.isin(matrix.user_ids, some.user_ids)
    assert some.steps.toarray().tolist() == matrix.steps.toarray()[rows].tolist()
    assert matrix.rated_at is not None
    assert some.rated_at is not None
    assert some.rated_at.tolist() == matrix.rated_at[np.repeat(rows, np.diff(matrix.steps.indptr))].tolist()
    assert theirs.times.tolist() == log.times[np.isin(log.user_ids, some.user_ids)].tolist()
    assert set(sampled(matrix, log, most=min(most, other))[0].user_ids) <= set(some.user_ids)


@settings(deadline=None)
@given(users_of, st.integers(0, 400), st.randoms(use_true_random=False))
def test_a_stream_of_parts_in_any_order_finds_the_same_sample(user_ids: list[int], most: int, chance: object) -> None:
    matrix, log = shop_of(user_ids)
    counts = held(matrix, log)
    order: list[int] = list(user_ids)
    chance.shuffle(order)  # type: ignore[attr-defined]
    parts = [np.array(order[start : start + 7], np.int64) for start in range(0, len(order), 7)]
    bins: NDArray[np.int64] = np.zeros(N_BINS, np.int64)
    for part in parts:
        bins += hash_bins(part, np.array([counts[user] for user in part.tolist()]))
    cut = cut_of(bins, most)
    found = np.sort(np.concatenate([part[in_sample(part, cut)] for part in parts]))
    assert found.tolist() == sampled(matrix, log, most=most)[0].user_ids.tolist()


@pytest.mark.parametrize("most", [10_000, 100_000])
def test_a_sample_holds_nearly_as_many_as_it_may(most: int) -> None:
    users = np.arange(50_000)
    cut = cut_of(hash_bins(users, np.full(50_000, 4)), most)
    assert most - 40 < 4 * np.count_nonzero(in_sample(users, cut)) <= most


def test_a_shop_without_a_log_is_sampled_by_its_ratings() -> None:
    matrix, _ = shop_of(list(range(100)))
    some, log = sampled(matrix, most=matrix.n_ratings // 2)
    assert log is None
    assert matrix.n_ratings // 2 - 6 < some.n_ratings <= matrix.n_ratings // 2
