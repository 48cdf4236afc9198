"""Classic: the compiled ranking equals the formulas in plain Python, also in order and evidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recommender.errors import SettingError
from recommender.fallback import PopularProducts
from recommender.neighbors import CosineIndex, top_k_cosine
from recommender.ranking import RankedProducts, rank_products, rank_products_for_rows

HALF_STARS = st.sampled_from([0.0, 0.0, *(i / 2 for i in range(1, 11))])

RATINGS = sp.csr_array(
    np.array(
        [
            [5.0, 0.0, 0.0, 0.0, 0.0],
            [4.0, 3.0, 5.0, 0.0, 0.0],
            [2.0, 5.0, 5.0, 4.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 1.0],
        ]
    )
)
NEIGHBORS, SIMILARITIES = np.array([1, 2], np.int32), np.array([0.75, 0.25])


def by_definition(
    dense: np.ndarray, row: int, neighbors: Any, similarities: Any, mask: Any, scale: float
) -> list[tuple[int, float, float, int]]:
    ranked = []
    for column in range(dense.shape[1]):
        weighted = support = 0.0
        raters = 0
        for v, similarity in zip(neighbors, similarities, strict=True):
            if v >= 0 and dense[v, column] > 0:
                weighted += float(similarity) * (float(dense[v, column]) * scale)
                support += float(similarity)
                raters += 1
        if raters and dense[row, column] == 0 and (mask is None or mask[column]):
            predicted = float(np.rint(weighted / support * 1e9) / 1e9)
            ranked.append((column, predicted, float(np.rint(support * 1e9) / 1e9), raters))
    return sorted(ranked, key=lambda entry: (-entry[1], -entry[2], entry[0]))


def entries(ranked: RankedProducts) -> list[tuple[int, float, float, int]]:
    columns = (array.tolist() for array in ranked)
    return list(zip(*columns, strict=True))


def test_predicted_ratings_are_the_weighted_averages_computed_by_hand() -> None:
    ranked = rank_products(RATINGS, 0, NEIGHBORS, SIMILARITIES, n=10)
    assert entries(ranked) == [
        (2, (0.75 * 5 + 0.25 * 5) / (0.75 + 0.25), 1.0, 2),
        (3, (0.25 * 4) / 0.25, 0.25, 1),
        (1, (0.75 * 3 + 0.25 * 5) / (0.75 + 0.25), 1.0, 2),
    ]
    assert [array.dtype for array in ranked] == [np.int32, np.float64, np.float64, np.int32]


def test_equal_predictions_go_by_support_then_by_smaller_column() -> None:
    ratings = sp.csr_array(np.array([[1, 0, 0, 0], [0, 4, 0, 4], [0, 0, 4, 0]], np.float64))
    ranked = rank_products(ratings, 0, [1, 2], [0.5, 0.75], n=None)
    assert ranked.columns.tolist() == [2, 1, 3]
    assert ranked.support.tolist() == [0.75, 0.5, 0.5]


def test_numbers_equal_to_9_decimals_are_equal() -> None:
    ratings = sp.csr_array(np.array([[1, 0, 0], [0, 4, 0], [0, 0, 4]], np.float64))
    ranked = rank_products(ratings, 0, [1, 2], [0.5, 0.5 + 1e-11], n=2)
    assert ranked.columns.tolist() == [1, 2]
    assert ranked.support.tolist() == [0.5, 0.5]


def test_doubled_ratings_with_scale_one_half_are_the_same() -> None:
    doubled = sp.csr_array((RATINGS.data * 2, RATINGS.indices, RATINGS.indptr), shape=RATINGS.shape).astype(np.int8)
    assert entries(rank_products(doubled, 0, NEIGHBORS, SIMILARITIES, n=10, scale=0.5)) == entries(
        rank_products(RATINGS, 0, NEIGHBORS, SIMILARITIES, n=10)
    )


def test_the_mask_applies_before_the_cut() -> None:
    mask = np.array([True, True, False, True, True])
    assert rank_products(RATINGS, 0, NEIGHBORS, SIMILARITIES, n=1, recommendable=mask).columns.tolist() == [3]


def test_a_short_list_stays_short() -> None:
    assert entries(rank_products(RATINGS, 0, [], [], n=10)) == []
    assert entries(rank_products(RATINGS, 0, [-1, -1], [0.0, 0.0], n=10)) == []
    assert entries(rank_products(RATINGS, 0, [3, -1], [0.5, 0.0], n=10)) == [(4, 1.0, 0.5, 1)]
    assert entries(rank_products(RATINGS, 0, [], [], n=None)) == []


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_ranking_agrees_with_the_definition_for_one_row_or_many(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 10), st.integers(1, 8)))
    dense = data.draw(hnp.arrays(np.float64, shape, elements=HALF_STARS))
    mask = data.draw(st.none() | hnp.arrays(np.bool_, shape[1]))
    k, n = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 9))
    ratings = sp.csr_array(dense)
    indices, similarities = top_k_cosine(ratings, k)
    many = rank_products_for_rows(
        ratings, np.arange(shape[0]), indices, similarities, n=n, recommendable=mask, n_threads=1
    )
    for row in range(shape[0]):
        expected = by_definition(dense, row, indices[row], similarities[row], mask, 1.0)
        everything = rank_products(ratings, row, indices[row], similarities[row], n=None, recommendable=mask)
        assert entries(everything) == expected
        one = rank_products(ratings, row, *CosineIndex(ratings).neighbors(row, k), n=n, recommendable=mask)
        assert entries(one) == expected[:n]
        found = len(expected[:n])
        line = [array[row] for array in many]
        assert list(zip(*(array[:found].tolist() for array in line), strict=True)) == expected[:n]
        assert [array[found:].tolist() for array in line] == [[-1] * (n - found)] + [[0] * (n - found)] * 3


def random_ratings(n_rows: int, n_columns: int, density: float, dtype: Any = np.float64) -> Any:
    generator = np.random.default_rng(11)
    ratings = sp.random_array((n_rows, n_columns), density=density, rng=generator, format="csr")
    ratings.data = generator.integers(1, 6, ratings.nnz).astype(np.float64)
    return ratings.astype(dtype)


def test_threads_rows_and_dtypes_do_not_change_a_byte() -> None:
    ratings = random_ratings(3000, 800, 0.02)
    indices, similarities = top_k_cosine(ratings, 20)
    rows = np.arange(3000)
    expected = rank_products_for_rows(ratings, rows, indices, similarities, n=10, n_threads=1)
    for n_threads in (2, 4):
        got = rank_products_for_rows(ratings, rows, indices, similarities, n=10, n_threads=n_threads)
        assert [array.tobytes() for array in got] == [array.tobytes() for array in expected]
    some = np.array([2999, 5, 5, 17])
    got = rank_products_for_rows(ratings.astype(np.int8), some, indices[some], similarities[some], n=10)
    assert [array.tobytes() for array in got] == [array[some].tobytes() for array in expected]


def test_many_candidates_keep_their_order() -> None:
    ratings = random_ratings(60, 5000, 0.2)
    indices, similarities = top_k_cosine(ratings, 50)
    dense = ratings.toarray()
    for row in (0, 31, 59):
        expected = by_definition(dense, row, indices[row], similarities[row], None, 1.0)
        assert len(expected) > 3000
        for n in (1, 10, 2000):
            assert entries(rank_products(ratings, row, indices[row], similarities[row], n=n)) == expected[:n]
        assert entries(rank_products(ratings, row, indices[row], similarities[row], n=None)) == expected


# ---- refusals: compiled code checks no bounds, so these would read foreign memory ------------------------------


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "row": (lambda: rank_products(RATINGS, 4, NEIGHBORS, SIMILARITIES, n=1), "row 4 does not exist"),
    "negative row": (lambda: rank_products(RATINGS, -1, NEIGHBORS, SIMILARITIES, n=1), "row -1 does not exist"),
    "neighbor": (lambda: rank_products(RATINGS, 0, [9], [0.5], n=1), "neighbor 9 does not exist"),
    "negative neighbor": (lambda: rank_products(RATINGS, 0, [-2], [0.5], n=1), "neighbor -2 does not exist"),
    "lengths": (lambda: rank_products(RATINGS, 0, [1, 2], [0.5], n=1), "one list per row"),
    "n": (lambda: rank_products(RATINGS, 0, NEIGHBORS, SIMILARITIES, n=0), "n=0"),
    "mask": (
        lambda: rank_products(RATINGS, 0, NEIGHBORS, SIMILARITIES, n=1, recommendable=np.ones(3, np.bool_)),
        "recommendable has shape",
    ),
    "rows and lists": (lambda: rank_products_for_rows(RATINGS, [0, 1], [[1]], [[0.5]], n=1), "one list per row"),
    "n of many": (lambda: rank_products_for_rows(RATINGS, [0], [[1]], [[0.5]], n=-1), "n=-1"),
    "threads": (lambda: rank_products_for_rows(RATINGS, [0], [[1]], [[0.5]], n=1, n_threads=0), "n_threads=0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arguments_that_do_not_fit_are_refused_in_one_line(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(SettingError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.data())
def test_filling_up_equals_the_plain_definition(data: st.DataObject) -> None:
    n_users, n_products, n = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 7)), data.draw(st.integers(1, 8))
    dense = np.array(
        [[data.draw(st.sampled_from([0, 0, 9])) for _ in range(n_products)] for _ in range(n_users)], np.int8
    )
    ratings = sp.csr_array(dense)
    order = data.draw(st.permutations(range(n_products)))[: data.draw(st.integers(0, n_products))]
    popular = PopularProducts(np.array(order, np.int32), np.arange(0.5, len(order), 1.0))
    columns, predicted = np.full((n_users, n), -1, np.int32), np.zeros((n_users, n))
    for row in range(n_users):
        unrated = np.flatnonzero(dense[row] == 0)
        found = data.draw(st.permutations(unrated.tolist()))[: data.draw(st.integers(0, n))]
        columns[row, : len(found)], predicted[row, : len(found)] = found, 4.0
    full, stars = popular.top_up(ratings, np.arange(n_users), columns, predicted)
    for row in range(n_users):
        found = [column for column in columns[row].tolist() if column >= 0]
        more = [c for c in order if c not in found and dense[row, c] == 0][: n - len(found)]
        assert full[row].tolist() == found + more + [-1] * (n - len(found) - len(more))
        expected = [4.0] * len(found) + [order.index(c) + 0.5 for c in more]
        assert stars[row, : len(expected)].tolist() == expected
        assert popular.beyond(np.array(found + np.flatnonzero(dense[row]).tolist()), n - len(found))[0].tolist() == more
