"""Profiles: products with a user's ratings and interactions, compared with dictionaries; limits for an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.evaluation import before_the_cut
from recommender.shop import Interactions, Profiles, RatingMatrix, build_profiles, build_rating_matrix, widened

WEIGHTS = np.array([0.2, 0.5, 1.0, 2.0])
PRODUCTS = [3, 0, 5, 1, 4, 2, 6]  # in no particular order; 6 is among the log's names, but has no event
NAMES = np.array([f"B{number}" for number in PRODUCTS], "S10")
NEVER = np.iinfo(np.int64).max

Pair = tuple[int, int]  # user, product
Event = tuple[int, int, int, int]  # user, product, kind, time
ratings_of = st.dictionaries(st.tuples(st.integers(1, 5), st.integers(0, 5)), st.integers(0, 9), min_size=1)
events = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 3), st.integers(0, 9)))
weights_of = st.lists(st.sampled_from([0.0, 0.2, 1.0, 2.0]), min_size=4, max_size=4)


def matrix_of(rated: dict[Pair, int], *, timed: bool = True) -> RatingMatrix:
    """Ratings at these times; products with an even number are in the catalog."""
    pairs = list(rated)
    used = sorted({product for _, product in pairs})
    return build_rating_matrix(
        np.array([user for user, _ in pairs]),
        np.array([f"B{product}" for product in used], "S10"),
        np.array([used.index(product) for _, product in pairs]),
        np.array([1 + product for _, product in pairs], np.int8),
        in_catalog=np.array([product % 2 == 0 for product in used]),
        rated_at=np.array(list(rated.values())) if timed else None,
    )


def log_of(rows: list[Event]) -> Interactions:
    user, product, kind, time = np.array(rows, np.int64).reshape(-1, 4).T
    codes = np.array([PRODUCTS.index(number) for number in product.tolist()], np.int32)
    return Interactions(user, codes, NAMES, kind.astype(np.int8), time)


def widened_by(matrix: RatingMatrix, log: Interactions) -> RatingMatrix:
    return widened(matrix, log, np.array(PRODUCTS) % 2 == 0)


def by_pair(matrix: RatingMatrix, csr: Any, values: Any) -> dict[Pair, Any]:
    """The values of the stored entries by user and product."""
    rows, columns = csr.tocoo().coords
    return {
        (int(matrix.user_ids[row]), int(matrix.product_ids[column][1:])): value
        for row, column, value in zip(rows, columns, values.tolist(), strict=True)
    }


def confidences(matrix: RatingMatrix, profiles: Profiles) -> dict[Pair, float]:
    return by_pair(matrix, profiles.confidences, profiles.confidences.data)


def rows_of(log: Interactions) -> list[Event]:
    products = [int(name[1:]) for name in log.product_ids[log.product_codes].tolist()]
    return list(zip(log.user_ids.tolist(), products, log.kinds.tolist(), log.times.tolist(), strict=True))


def assert_well_formed(csr: Any) -> None:
    """Assert that offsets start at 0 and columns ascend in every row. Compiled code relies on both."""
    assert csr.indptr[0] == 0
    for start, stop in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):
        assert (np.diff(csr.indices[start:stop]) > 0).all()


# --- widened


@settings(deadline=None)
@given(ratings_of, events)
def test_users_and_products_only_in_the_log_get_empty_rows_and_columns(
    rated: dict[Pair, int], rows: list[Event]
) -> None:
    narrow = matrix_of(rated)
    matrix = widened_by(narrow, log_of(rows))
    assert matrix.user_ids.tolist() == sorted({user for user, _ in rated} | {row[0] for row in rows})
    products = sorted({product for _, product in rated} | {row[1] for row in rows})
    assert matrix.product_ids.tolist() == [b"B%d" % product for product in products]
    assert matrix.recommendable.tolist() == [product % 2 == 0 for product in products]
    assert matrix.rated_at is not None
    assert by_pair(matrix, matrix.steps, matrix.rated_at) == rated
    assert by_pair(matrix, matrix.steps, matrix.steps.data) == {(u, p): 1 + p for u, p in rated}
    assert_well_formed(matrix.steps)
    assert matrix.steps.data.dtype == np.int8
    if not rows:
        assert matrix.fingerprint() == narrow.fingerprint()


def test_the_log_does_not_change_which_rated_products_are_in_the_catalog() -> None:
    matrix = widened(matrix_of({(1, 2): 0}), log_of([(1, 2, 0, 0), (1, 4, 0, 0)]), np.zeros(len(PRODUCTS), bool))
    assert dict(zip(matrix.product_ids.tolist(), matrix.recommendable.tolist(), strict=True)) == {
        b"B2": True,
        b"B4": False,
    }


# --- build_profiles


@settings(deadline=None)
@given(ratings_of, events, weights_of)
def test_the_strongest_event_gives_the_confidence_and_the_newest_the_time(
    rated: dict[Pair, int], rows: list[Event], weights: list[float]
) -> None:
    log = log_of(rows)
    matrix = widened_by(matrix_of(rated), log)
    sure, newest = dict.fromkeys(rated, 1.0), dict(rated)
    for user, product, kind, time in rows:
        if weights[kind] > 0:  # weight 0: neither the event nor its time counts
            sure[user, product] = max(sure.get((user, product), 0.0), weights[kind])
            newest[user, product] = max(newest.get((user, product), 0), time)
    profiles = build_profiles(matrix, log, np.array(weights))
    assert confidences(matrix, profiles) == sure
    assert profiles.times is not None
    assert by_pair(matrix, profiles.confidences, profiles.times) == newest
    assert profiles.confidences.shape == matrix.shape
    assert_well_formed(profiles.confidences)


@settings(deadline=None)
@given(ratings_of, events, st.randoms())
def test_the_order_of_the_log_does_not_matter(rated: dict[Pair, int], rows: list[Event], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    matrix = widened_by(matrix_of(rated), log_of(rows))
    one, other = (build_profiles(matrix, log_of(order), WEIGHTS).arrays() for order in (rows, shuffled))
    for left, right in zip(one, other, strict=True):
        assert np.array_equal(left, right)


def test_a_profile_equals_a_worked_example() -> None:
    # user 1 rated product 0 at 1, viewed it at 5, bought it at 3, and clicked 4 twice; user 2 only viewed 3
    log = log_of([(1, 0, 0, 5), (1, 0, 3, 3), (1, 4, 1, 7), (1, 4, 1, 2), (2, 3, 0, 9)])
    matrix = widened_by(matrix_of({(1, 0): 1}), log)
    profiles = build_profiles(matrix, log, WEIGHTS)
    assert confidences(matrix, profiles) == {(1, 0): 2.0, (1, 4): 0.5, (2, 3): 0.2}
    assert profiles.times is not None
    assert by_pair(matrix, profiles.confidences, profiles.times) == {(1, 0): 5, (1, 4): 7, (2, 3): 9}
    assert [matrix.products(profiles.columns_of(row)) for row in (0, 1)] == [["B0", "B4"], ["B3"]]


@pytest.mark.parametrize("rows", [[], [(1, 0, 3, 9)], [(7, 4, 3, 9)]])
def test_a_profile_without_counted_interactions_holds_the_ratings(rows: list[Event]) -> None:
    log = log_of(rows)
    matrix = widened_by(matrix_of({(1, 0): 3, (2, 5): 4}), log)
    for given_log, weights in ((None, None), (log, None), (None, WEIGHTS), (log, np.zeros(4))):
        profiles = build_profiles(matrix, given_log, weights)
        assert confidences(matrix, profiles) == {(1, 0): 1.0, (2, 5): 1.0}
        assert profiles.times is not None
        assert profiles.times.tolist() == [3, 4]


@settings(deadline=None)
@given(ratings_of, events)
def test_a_profile_of_ratings_without_times_has_no_times(rated: dict[Pair, int], rows: list[Event]) -> None:
    log = log_of(rows)
    timed, untimed = (widened_by(matrix_of(rated, timed=timed), log) for timed in (True, False))
    profiles = build_profiles(untimed, log, WEIGHTS)
    assert profiles.times is None
    assert confidences(untimed, profiles) == confidences(timed, build_profiles(timed, log, WEIGHTS))
    assert [array.size for array in profiles.arrays()] == [untimed.shape[0] + 1, *[profiles.confidences.nnz] * 2]


# --- before_the_cut


@settings(deadline=None)
@given(ratings_of, events, st.booleans(), st.data())
def test_an_evaluation_sees_no_event_with_a_hidden_product_or_after_the_cut(
    rated: dict[Pair, int], rows: list[Event], wide: bool, data: st.DataObject
) -> None:
    log, matrix = log_of(rows), matrix_of(rated)
    if wide:
        matrix = widened_by(matrix, log)  # otherwise the log has users and products that it does not know
    secret = data.draw(st.sets(st.sampled_from(list(rated))))
    cuts = {user: data.draw(st.sampled_from([0, 3, 5, 8, NEVER])) for user in matrix.user_ids.tolist()}
    hidden = sp.csr_array(matrix.steps, copy=True)
    hidden.data[[pair not in secret for pair in by_pair(matrix, hidden, hidden.data)]] = 0
    hidden.eliminate_zeros()
    kept = before_the_cut(log, matrix, hidden, np.array(list(cuts.values())))
    assert rows_of(kept) == [
        (user, product, kind, time)
        for user, product, kind, time in rows
        if (user, product) not in secret and time < cuts.get(user, NEVER)
    ]


def test_a_view_of_a_hidden_product_is_dropped_at_any_time_and_others_views_are_kept() -> None:
    log = log_of([(1, 0, 0, 1), (1, 2, 0, 1), (2, 0, 0, 1), (1, 2, 0, 6), (1, 2, 0, 5), (1, 2, 0, 4)])
    matrix = widened_by(matrix_of({(1, 0): 5, (1, 4): 2, (2, 4): 1}), log)
    hidden = sp.csr_array(([9], ([0], [0])), shape=matrix.shape)  # user 1 rated product 0 at 5
    kept = before_the_cut(log, matrix, hidden, np.array([5, NEVER]))
    assert rows_of(kept) == [(1, 2, 0, 1), (2, 0, 0, 1), (1, 2, 0, 4)]
