"""Profiles: what a user rated or turned to, against plain dictionaries; what an evaluation may not see."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.profiles import Interactions, before_the_cut, build_profiles, widened
from recommender.rating_matrix import RatingMatrix, build_rating_matrix

WEIGHTS = np.array([0.2, 0.5, 1.0, 2.0])
PRODUCTS = np.array([f"B{number}" for number in range(6)], "S10")

ratings_of = st.dictionaries(st.tuples(st.integers(1, 5), st.integers(0, 5)), st.integers(0, 9), min_size=1)
events = st.lists(st.tuples(st.integers(1, 7), st.integers(0, 5), st.integers(0, 3), st.integers(0, 9)))


def matrix_of(rated: dict[tuple[int, int], int]) -> RatingMatrix:
    pairs = list(rated)
    used = sorted({product for _, product in pairs})
    return build_rating_matrix(
        np.array([user for user, _ in pairs]),
        PRODUCTS[used],
        np.array([used.index(product) for _, product in pairs]),
        np.full(len(pairs), 9, np.int8),
        in_catalog=np.array([product % 2 == 0 for product in used]),
        rated_at=np.array(list(rated.values())),
    )


def log_of(rows: list[tuple[int, int, int, int]]) -> Interactions:
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Interactions(columns[0], columns[1].astype(np.int32), PRODUCTS, columns[2].astype(np.int8), columns[3])


def as_dictionary(matrix: RatingMatrix, csr: Any, values: Any) -> dict[tuple[int, int], Any]:
    rows, columns = csr.tocoo().coords
    names = [int(product[1:]) for product in matrix.product_ids]
    return {
        (int(matrix.user_ids[row]), names[column]): value
        for row, column, value in zip(rows, columns, values.tolist(), strict=True)
    }


@settings(deadline=None)
@given(ratings_of, events)
def test_the_strongest_event_gives_the_confidence_and_the_newest_the_time(
    rated: dict[tuple[int, int], int], rows: list[tuple[int, int, int, int]]
) -> None:
    log = log_of(rows)
    matrix = widened(matrix_of(rated), log, np.arange(6) % 2 == 0)
    confidences = dict.fromkeys(rated, 1.0)
    times = dict(rated)
    for user, product, kind, time in rows:
        confidences[user, product] = max(confidences.get((user, product), 0.0), float(WEIGHTS[kind]))
        times[user, product] = max(times.get((user, product), 0), time)
    profiles = build_profiles(matrix, log, WEIGHTS)
    assert profiles.times is not None
    assert as_dictionary(matrix, profiles.confidences, profiles.confidences.data) == confidences
    assert as_dictionary(matrix, profiles.confidences, profiles.times) == times
    assert matrix.user_ids.tolist() == sorted({user for user, _ in confidences})
    # the ratings are where they were, with their times
    assert matrix.rated_at is not None
    assert as_dictionary(matrix, matrix.half_stars, matrix.rated_at) == rated
    assert matrix.recommendable.tolist() == [int(product[1:]) % 2 == 0 for product in matrix.product_ids]


def test_an_interaction_of_weight_0_does_not_count() -> None:
    log = log_of([(1, 3, 0, 5), (1, 4, 3, 6)])
    matrix = widened(matrix_of({(1, 0): 1}), log, np.ones(6, bool))
    profiles = build_profiles(matrix, log, np.array([0.0, 0.5, 1.0, 2.0]))
    assert as_dictionary(matrix, profiles.confidences, profiles.confidences.data) == {(1, 0): 1.0, (1, 4): 2.0}


def test_without_a_log_the_profile_is_what_was_rated() -> None:
    matrix = matrix_of({(1, 0): 3, (2, 5): 4})
    profiles = build_profiles(matrix)
    assert profiles.times is matrix.rated_at
    assert as_dictionary(matrix, profiles.confidences, profiles.confidences.data) == {(1, 0): 1.0, (2, 5): 1.0}
    assert profiles.columns_of(1).tolist() == [1]


@settings(deadline=None)
@given(ratings_of, events, st.randoms())
def test_an_evaluation_sees_no_event_with_a_hidden_product_and_none_after_the_cut(
    rated: dict[tuple[int, int], int], rows: list[tuple[int, int, int, int]], random: Any
) -> None:
    log = log_of(rows)
    matrix = widened(matrix_of(rated), log, np.ones(6, bool))
    secret = {pair for pair in rated if random.random() < 0.4}
    cuts = {user: random.randint(0, 10) for user in matrix.user_ids.tolist()}
    mask = np.array([pair in secret for pair in as_dictionary(matrix, matrix.half_stars, matrix.half_stars.data)])
    hidden = matrix.half_stars.copy()
    hidden.data = np.where(mask, hidden.data, 0).astype(np.int8)
    hidden.eliminate_zeros()
    kept = before_the_cut(log, matrix, hidden, np.array([cuts[user] for user in matrix.user_ids.tolist()]))
    expected = [row for row in rows if (row[0], row[1]) not in secret and row[3] < cuts[row[0]]]
    found = zip(kept.user_ids, kept.product_codes, kept.kinds, kept.times, strict=True)
    assert [tuple(map(int, row)) for row in found] == expected
