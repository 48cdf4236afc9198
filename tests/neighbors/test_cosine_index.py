"""Neighbors: the compiled kernels equal whole-number brute force, in exact order and bytes."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import njit

from recommender.arrays import run_blocks
from recommender.errors import RatingError, RecommenderError, SettingError
from recommender.neighbors import CosineIndex, _cosine_kernels, top_k_cosine
from recommender.neighbors import cosine_index as neighbors
from recommender.neighbors._cosine_kernels import Packed, Plain, Wide

# compiled again, callable from Python
compare_exactly = njit(_cosine_kernels.compare_exactly.py_func)
is_ahead = njit(_cosine_kernels._ahead.py_func)

STARS = st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
HALF_STARS = st.sampled_from([0.0, 0.0, 0.0, *(i / 2 for i in range(1, 11))])
EQUAL = st.sampled_from([0.0, 0.0, 4.0])
UP_TO_100 = st.sampled_from([0.0, 0.0, 0.0, 1.0, 15.0, 16.0, 50.0, 99.0, 100.0])
LARGE_WHOLE = st.one_of(st.just(0.0), st.integers(1, 2**24).map(float))
FLOATS = st.one_of(st.just(0.0), st.floats(0.0, 1e6, width=32))
SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 9))


def matrices(elements: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=elements))


@st.composite
def crowds(draw: st.DrawFn) -> np.ndarray:
    """Rows drawn from a few different rows, so that most have twins; some rows and columns are empty."""
    n_kinds, n_columns = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    kinds = draw(hnp.arrays(np.float64, (n_kinds, n_columns), elements=HALF_STARS))
    kinds[:, draw(st.lists(st.integers(0, n_columns - 1), max_size=2))] = 0.0
    chosen = draw(st.lists(st.integers(0, n_kinds), min_size=1, max_size=14))
    return np.vstack([kinds, np.zeros(n_columns)])[chosen]


SMALL = {
    "stars": matrices(STARS),
    "halves": matrices(HALF_STARS),
    "all equal": matrices(EQUAL),
    "up to 100": matrices(UP_TO_100),
    "large": matrices(LARGE_WHOLE),
    "twins, empty rows and columns": crowds(),
    "one user": hnp.arrays(np.float64, st.tuples(st.just(1), st.integers(1, 9)), elements=STARS),
    "one product": hnp.arrays(np.float64, st.tuples(st.integers(1, 14), st.just(1)), elements=HALF_STARS),
}


def exact_neighbors(dense: np.ndarray, row: int, k: int) -> list[int]:
    """Neighbors by definition, in fractions: cosine > 0, never itself, dot^2 / |v|^2 descending, then smaller row."""
    ratings = [[Fraction(value) for value in line] for line in dense.tolist()]
    keys = []
    for v, other in enumerate(ratings):
        dot = sum((a * b for a, b in zip(ratings[row], other, strict=True)), Fraction(0))
        if v != row and dot > 0:
            keys.append((-dot * dot / sum(value * value for value in other), v))
    return [v for _, v in sorted(keys)[:k]]


def as_csr(dense: np.ndarray, dtype: Any = np.float64) -> Any:
    return sp.csr_array(dense.astype(dtype))


def rows_of(indices: np.ndarray) -> list[list[int]]:
    return [[int(v) for v in line if v >= 0] for line in indices]


def long_tail(n_rows: int, n_columns: int, n_ratings: int, *, stars: int = 5, step: float = 1.0) -> Any:
    """Skewed activity and popularity, so that the lists have dense ends and the accumulator is scanned."""
    generator = np.random.default_rng(7)
    row = (generator.random(n_ratings) ** 3 * n_rows).astype(np.int64)
    column = (generator.random(n_ratings) ** 4 * n_columns).astype(np.int64)
    keys = np.unique(row * n_columns + column)
    values = generator.integers(1, stars + 1, keys.size) * step
    return sp.csr_array((values, (keys // n_columns, keys % n_columns)), shape=(n_rows, n_columns))


def brute_force(ratings: Any, k: int) -> np.ndarray:
    """Neighbors from scipy's whole-number dot products. float64 distinguishes ratios of numbers this small."""
    whole = (ratings * 2).astype(np.int64)
    dots = (whole @ whole.T).toarray().astype(np.float64)  # (n_rows, n_rows)
    norms = np.diag(dots).copy()
    np.fill_diagonal(dots, 0.0)
    key = np.divide(dots * dots, norms[None, :], out=np.zeros_like(dots), where=norms[None, :] > 0)
    order = np.lexsort((np.broadcast_to(np.arange(dots.shape[0]), dots.shape), -key), axis=1)[:, :k]
    return np.where(np.take_along_axis(key, order, axis=1) > 0, order, -1)


# ---- the definition --------------------------------------------------------------------------------------------


def test_neighbors_of_three_users_equal_hand_arithmetic() -> None:
    ratings = as_csr(np.array([[3, 4, 0], [4, 3, 0], [0, 1, 0]]))
    indices, similarities = top_k_cosine(ratings, 2)
    # |0| = |1| = 5, |2| = 1: cos(0,1) = (12 + 12) / 25, cos(0,2) = 4 / 5, cos(1,2) = 3 / 5
    assert indices.tolist() == [[1, 2], [0, 2], [0, 1]]
    assert similarities.tolist() == [[24 / 25, 4 / 5], [24 / 25, 3 / 5], [4 / 5, 3 / 5]]
    assert [indices.dtype, similarities.dtype] == [np.dtype(np.int32), np.dtype(np.float64)]


@pytest.mark.parametrize("small", SMALL)
def test_whole_and_half_stars_agree_with_fractions_also_in_order(small: str) -> None:
    @settings(max_examples=80, deadline=None)
    @given(SMALL[small], st.integers(1, 16))
    def check(dense: np.ndarray, k: int) -> None:
        index = CosineIndex(as_csr(dense))
        assert index.exact
        indices, similarities = index.top_k(k)
        assert rows_of(indices) == [exact_neighbors(dense, row, k) for row in range(len(dense))]
        for row, (line, values) in enumerate(zip(indices, similarities, strict=True)):
            found = int((line >= 0).sum())
            assert (line[found:] == -1).all()
            assert (values[found:] == 0.0).all()
            for v, similarity in zip(line[:found], values[:found], strict=True):
                norms = np.linalg.norm(dense[row]) * np.linalg.norm(dense[v])
                assert math.isclose(similarity, dense[row] @ dense[v] / norms, rel_tol=1e-13)

    check()


@settings(max_examples=150, deadline=None)
@given(matrices(FLOATS), st.integers(1, 16))
def test_float_ratings_are_ordered_by_cosine_rounded_to_12_decimals(dense: np.ndarray, k: int) -> None:
    indices, similarities = top_k_cosine(as_csr(dense), k)
    whole = CosineIndex(as_csr(dense))
    for row in range(len(dense)):
        cosines = whole.similarities(row)
        expected = [
            math.fsum(dense[row] * line) / math.sqrt(math.fsum(dense[row] ** 2) * math.fsum(line**2))
            if dense[row].any() and line.any()
            else 0.0
            for line in dense
        ]
        np.testing.assert_allclose(cosines, expected, rtol=1e-12, atol=1e-15)
        if not whole.exact:
            order = sorted((-round(float(c) * 1e12), v) for v, c in enumerate(cosines) if v != row and c > 0)
            assert rows_of(indices)[row] == [v for _, v in order[:k]]
            assert similarities[row, : len(order)].tolist() == [cosines[v] for _, v in order[:k]]


def test_float_ratings_of_any_magnitude_do_not_overflow() -> None:
    ratings = as_csr(np.array([[3e200, 4e200], [4e-200, 3e-200], [0.0, 7e300], [1.5e-320, 0.0]]))
    indices, similarities = top_k_cosine(ratings, 3)
    assert indices.tolist() == [[1, 2, 3], [0, 3, 2], [0, 1, -1], [1, 0, -1]]
    np.testing.assert_allclose(similarities[0], [24 / 25, 4 / 5, 3 / 5], rtol=1e-15)


def test_users_with_a_cosine_below_12_decimals_are_neighbors_too() -> None:
    ratings = as_csr(np.array([[3.0, 1e-14, 1e-14], [0.0, 1e-14, 1e-14], [0.0, 0.0, 1e-14], [3.0, 0.0, 0.0]]))
    assert top_k_cosine(ratings, 1)[0].tolist() == [[3], [2], [1], [0]]
    assert top_k_cosine(ratings, 3)[0].tolist() == [[3, 1, 2], [2, 0, -1], [1, 0, -1], [0, -1, -1]]


def test_identical_rows_have_a_cosine_of_exactly_1_with_whole_and_float_ratings() -> None:
    generator = np.random.default_rng(3)
    for line in (generator.integers(1, 11, 97) / 2, generator.random(97) * 1e3, generator.integers(1, 2**22, 97)):
        similarities = top_k_cosine(as_csr(np.array([line, line, line])), 2)[1]
        assert similarities.tolist() == [[1.0, 1.0]] * 3


# ---- ties ------------------------------------------------------------------------------------------------------


def test_equal_cosines_go_to_the_smaller_row_also_beyond_every_buffer() -> None:
    n_rows = 3000  # with one column every cosine is 1
    ratings = sp.csr_array(np.random.default_rng(1).integers(1, 6, (n_rows, 1)).astype(np.float64))
    for k in (1, 20, 200):
        indices, similarities = top_k_cosine(ratings, k)
        assert (similarities == 1.0).all()
        assert [indices[row].tolist() for row in (0, 1, 5, n_rows - 1)] == [
            [v for v in range(k + 1) if v != row][:k] for row in (0, 1, 5, n_rows - 1)
        ]


def test_ratios_that_round_to_one_float_are_distinguished() -> None:
    # With u = (1, 0), v = (a, b) has dot^2 / |v|^2 = a^2 / (a^2 + b^2). These two differ by 6e-17.
    near, nearer = (51_000_000, 1_001), (51_050_945, 1_002)
    first, second = (Fraction(a * a, a * a + b * b) for a, b in (near, nearer))
    assert first != second
    assert float(first) == float(second)
    best = 1 if first > second else 2
    for order, expected in (([0, 1, 2], best), ([0, 2, 1], 3 - best)):
        index = CosineIndex(as_csr(np.array([(1, 0), near, nearer], np.float64)[order]))
        assert index.exact
        assert index.top_k(2)[0][0].tolist() == [expected, 3 - expected]


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 2**53), st.integers(1, 2**53), st.integers(-3, 3), st.integers(-3, 3))
def test_comparison_is_exact_at_any_size(dot: int, norm: int, more: int, off: int) -> None:
    other_dot, other_norm = min(max(dot + more, 1), 2**53), min(max(norm + off, 1), 2**53)
    left, right = Fraction(dot * dot, norm), Fraction(other_dot * other_dot, other_norm)
    sign = compare_exactly(float(dot), float(norm), float(other_dot), float(other_norm))
    assert sign == (left > right) - (left < right)


BELOW_2_31 = st.integers(1, 2**31 - 1)


@settings(max_examples=300, deadline=None)
@given(BELOW_2_31, BELOW_2_31, st.integers(-3, 3), st.integers(-3, 3), st.booleans())
def test_packed_candidates_are_ordered_exactly(dot: int, norm: int, more: int, off: int, first: bool) -> None:
    other_dot, other_norm = min(max(dot + more, 1), 2**31 - 1), min(max(norm + off, 1), 2**31 - 1)
    check_order((dot, norm, 5 if first else 7), (other_dot, other_norm, 6), sure=False)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 2**17 - 4), st.integers(1, 2**18 - 4), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_quotients_alone_decide_the_order_below_2_52(dot: int, norm: int, more: int, off: int, first: bool) -> None:
    check_order((dot, norm, 5 if first else 7), (dot + more, norm + off, 6), sure=True)


def check_order(a: tuple[int, int, int], b: tuple[int, int, int], *, sure: bool) -> None:
    """Check the order of a and b, each (dot product, squared norm, row): by dot^2 / norm, then by the smaller row."""
    keys = [float(dot) * float(dot) / float(norm) for dot, norm, _ in (a, b)]
    tags = [np.uint64(row << 32 | dot) for dot, _, row in (a, b)]
    expected = (-Fraction(a[0] ** 2, a[1]), a[2]) < (-Fraction(b[0] ** 2, b[1]), b[2])
    assert is_ahead(keys[0], tags[0], keys[1], tags[1], sure) == expected
    assert is_ahead(keys[1], tags[1], keys[0], tags[0], sure) != expected


@pytest.mark.parametrize("nearer_first", [False, True])
def test_long_histories_with_one_quotient_but_different_cosines_are_distinguished(nearer_first: bool) -> None:
    # With u = (10, 10, ...) a history of sum S and sum of squares Q has dot^2 / norm^2 = 100 S^2 / Q: by search
    near, nearer = (110_065, 1_057_823), (110_118, 1_058_842)
    assert near[0] ** 2 * nearer[1] - nearer[0] ** 2 * near[1] == -2
    assert 100.0 * near[0] ** 2 / near[1] == 100.0 * nearer[0] ** 2 / nearer[1]
    u = [10] * 20_000
    others = [history(*nearer), history(*near)] if nearer_first else [history(*near), history(*nearer)]
    index = CosineIndex(as_csr(np.array([u, *others]), np.int8))
    assert index._packed
    assert index.top_k(2)[0][0].tolist() == ([1, 2] if nearer_first else [2, 1])
    assert index.top_k(1)[0][0].tolist() == ([1] if nearer_first else [2])


def history(total: int, squares: int) -> list[int]:
    """20,000 ratings of 10, 2, 1 and 0 with this sum and this sum of squares: 45 per 10 and 1 per 2 in (Q - S) / 2."""
    tens, twos = divmod((squares - total) // 2, 45)
    ones = total - 10 * tens - 2 * twos
    made = [10] * tens + [2] * twos + [1] * ones
    assert (sum(made), sum(value * value for value in made)) == (total, squares)
    return made + [0] * (20_000 - len(made))


# ---- every path of the kernel gives the same answer ----------------------------------------------------------------


SHAPED = {
    "short accumulator, dense ends": (long_tail(1500, 400, 30_000), 20),
    "half stars, long accumulator": (long_tail(600, 3000, 90_000, stars=10, step=0.5), 20),
    "sparse, few neighbors": (long_tail(2000, 5000, 6_000), 20),
    "k beyond the sorted list": (long_tail(900, 300, 12_000), 150),
    "k beyond the rows": (long_tail(90, 50, 700), 500),
    "wide form, dense ends": (long_tail(1500, 400, 30_000, stars=127), 20),
    "plain form": (long_tail(700, 200, 9_000, stars=300), 20),
}


@pytest.mark.parametrize("shape", SHAPED)
def test_neighbors_agree_with_brute_force(shape: str) -> None:
    ratings, k = SHAPED[shape]
    indices, _ = top_k_cosine(ratings, k)
    expected = brute_force(ratings, k)
    assert (indices[:, : expected.shape[1]] == expected).all()
    assert (indices[:, expected.shape[1] :] == -1).all()


def test_the_tested_shapes_reach_the_code_paths_of_their_names() -> None:
    packed = CosineIndex(SHAPED["short accumulator, dense ends"][0])
    assert packed._packed
    assert isinstance(packed._arrays, Packed)
    assert packed._is_short(packed._arrays.norms[:1500]).all()
    assert packed._arrays.dense.size > 0
    long = CosineIndex(SHAPED["half stars, long accumulator"][0])
    assert long._packed
    assert 0 < long._is_short(long._arrays.norms[:600]).sum() < 600
    wide = CosineIndex(SHAPED["wide form, dense ends"][0])
    assert isinstance(wide._arrays, Wide)
    assert 0 < wide._is_short(wide._arrays.norms[:1500]).sum() < 1500
    assert wide._arrays.dense.size > 0
    assert not CosineIndex(SHAPED["plain form"][0])._packed


def test_ratings_that_will_come_later_make_room_for_themselves() -> None:
    ratings = SHAPED["sparse, few neighbors"][0]
    narrow, wide = CosineIndex(ratings, most=15), CosineIndex(ratings, most=16)
    assert [isinstance(index._arrays, Wide) for index in (narrow, wide)] == [False, True]
    assert [array.tobytes() for array in narrow.top_k(9)] == [array.tobytes() for array in wide.top_k(9)]


def test_rows_are_numbered_by_norm_also_beyond_16_bits() -> None:
    # 700 * 10^2 = 70,000 = 65,536 + 4,464, and 50 * 10^2 = 5,000
    ratings = as_csr(np.array([[10] * 700, [10] * 50 + [0] * 650]))
    assert CosineIndex(ratings).arrays()["packed.rows"].tolist() == [1, 0]


@pytest.mark.parametrize("shape", SHAPED)
def test_threads_blocks_rows_and_doubling_do_not_change_a_byte(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ratings, k = SHAPED[shape]
    index = CosineIndex(ratings)
    expected = [array.tobytes() for array in index.top_k(k, n_threads=1)]
    for block_rows in (7, 256, 10_000):
        monkeypatch.setattr(neighbors, "BLOCK_ROWS", block_rows)
        monkeypatch.setattr(neighbors, "SHORT_RUN_ROWS", 0)
        for n_threads in (1, 2, 4):
            assert [array.tobytes() for array in index.top_k(k, n_threads=n_threads)] == expected
    assert [array.tobytes() for array in top_k_cosine(ratings * 2, k)] == expected
    indices, similarities = index.top_k(k)
    rows = np.random.default_rng(0).permutation(ratings.shape[0])[:60]
    some = index.top_k(k, rows=rows)
    assert some[0].tobytes() == indices[rows].tobytes()
    assert some[1].tobytes() == similarities[rows].tobytes()


@settings(max_examples=60, deadline=None)
@given(st.one_of(*SMALL.values()), st.integers(1, 16), st.integers(1, 5), st.sampled_from([1, 2, 4]))
def test_threads_blocks_and_rows_do_not_change_a_byte_for_any_small_matrix(
    dense: np.ndarray, k: int, block_rows: int, n_threads: int
) -> None:
    index = CosineIndex(as_csr(dense))
    expected = [array.tobytes() for array in index.top_k(k, n_threads=1)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(neighbors, "BLOCK_ROWS", block_rows)
        patched.setattr(neighbors, "SHORT_RUN_ROWS", 0)
        assert [array.tobytes() for array in index.top_k(k, n_threads=n_threads)] == expected


@pytest.mark.parametrize("shape", SHAPED)
def test_one_row_and_whole_row_agree_with_all_rows(shape: str) -> None:
    ratings, k = SHAPED[shape]
    index = CosineIndex(ratings)
    indices, similarities = index.top_k(k)
    for row in range(0, ratings.shape[0], 13):
        one, values = index.neighbors(row, k)
        found = int((indices[row] >= 0).sum())
        assert one.tolist() == indices[row, :found].tolist()
        assert values.tobytes() == similarities[row, :found].tobytes()
        whole = index.similarities(row)
        assert whole[one].tobytes() == values.tobytes()
        assert whole[row] == (1.0 if ratings[[row]].nnz else 0.0)
        assert int((whole > 0).sum()) - int(whole[row] > 0) >= found


def test_one_index_serves_many_threads_at_once() -> None:
    ratings, k = SHAPED["half stars, long accumulator"]
    index = CosineIndex(ratings)
    expected = index.top_k(k)[0]
    wrong: list[int] = []

    def ask(first: int) -> None:
        for row in range(first, ratings.shape[0], 8):
            found = index.neighbors(row, k)[0]
            if found.tolist() != expected[row, : found.size].tolist():
                wrong.append(row)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- any form of input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_any_real_dtype_gives_the_same_bytes(dtype: Any) -> None:
    dense = np.random.default_rng(5).integers(0, 6, (40, 12)) * (np.random.default_rng(6).random((40, 12)) < 0.4)
    expected = [array.tobytes() for array in top_k_cosine(as_csr(dense), 5)]
    for made in (as_csr(dense, dtype), sp.csr_matrix(dense.astype(dtype))):
        assert [array.tobytes() for array in top_k_cosine(made, 5)] == expected


def test_unsorted_duplicate_and_zero_entries_are_corrected_in_a_copy() -> None:
    messy = sp.csr_array(
        (np.array([4.0, 1.0, 2.0, 0.0, 3.0]), np.array([2, 0, 0, 1, 1]), np.array([0, 4, 5])), shape=(2, 3)
    )
    before = (messy.data.copy(), messy.indices.copy(), messy.indptr.copy())
    clean = as_csr(np.array([[3, 0, 4], [0, 3, 0]]))  # 1 + 2 = 3; the stored 0 at column 1 is no rating
    expected = top_k_cosine(clean, 2)
    indices, similarities = top_k_cosine(messy, 2)
    assert indices.tobytes() == expected[0].tobytes()
    assert similarities.tobytes() == expected[1].tobytes()
    for array, old in zip((messy.data, messy.indices, messy.indptr), before, strict=True):
        assert array.tolist() == old.tolist()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (4, 3)])
def test_a_matrix_without_ratings_has_no_neighbors(shape: tuple[int, int]) -> None:
    indices, similarities = top_k_cosine(sp.csr_array(shape), 3)
    assert (indices == -1).all()
    assert (similarities == 0.0).all()
    assert indices.shape == similarities.shape == (shape[0], 3)


def test_a_request_for_no_rows_gives_no_rows() -> None:
    indices, similarities = top_k_cosine(as_csr(np.ones((3, 2))), 2, rows=[])
    assert indices.shape == similarities.shape == (0, 2)


def test_the_shape_of_the_index_is_rows_by_rows() -> None:
    assert CosineIndex(as_csr(np.ones((3, 7)))).shape == (3, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_an_unusable_value_is_refused_by_row_and_column(value: float) -> None:
    ratings = as_csr(np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 7.0]]))
    ratings.data[2] = value
    with pytest.raises(RatingError, match=rf"^rating {value} at row 2, column 2 is not .*: correct or remove it$"):
        top_k_cosine(ratings, 1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_first_unusable_value_is_named_at_any_position(data: st.DataObject) -> None:
    ratings = as_csr(data.draw(matrices(st.sampled_from([0.0, 1.0, 4.5])).filter(np.any)))
    wrong = sorted(data.draw(st.sets(st.integers(0, ratings.nnz - 1), min_size=1, max_size=3)))
    for at in wrong:
        ratings.data[at] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, -0.5, -5.0]))
    row, column = ratings.tocoo().coords[0][wrong[0]], ratings.indices[wrong[0]]
    with pytest.raises(RatingError, match=rf"^rating {ratings.data[wrong[0]]} at row {row}, column {column} is not "):
        CosineIndex(ratings)


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "k=0": (lambda r: top_k_cosine(r, 0), "k=0"),
    "k negative": (lambda r: CosineIndex(r).neighbors(0, -3), "k=-3"),
    "k not whole": (lambda r: top_k_cosine(r, 2.5), "k=2.5"),  # type: ignore[arg-type]
    "k true": (lambda r: top_k_cosine(r, True), "k=True"),
    "no threads": (lambda r: top_k_cosine(r, 1, n_threads=0), "n_threads=0"),
    "row too large": (lambda r: top_k_cosine(r, 1, rows=[0, 3]), "row 3 does not exist: pass rows from 0 to 2"),
    "row negative": (lambda r: CosineIndex(r).neighbors(-1, 1), "row -1 does not exist"),
    "row of similarities": (lambda r: CosineIndex(r).similarities(3), "row 3 does not exist"),
    "rows not whole": (lambda r: top_k_cosine(r, 1, rows=[0.5]), r"rows=\[0.5\]"),
    "dense": (lambda r: top_k_cosine(r.toarray(), 1), "ndarray"),
    "csc": (lambda r: top_k_cosine(r.tocsc(), 1), "csc_array"),
    "complex": (lambda r: top_k_cosine(r.astype(np.complex128), 1), "real numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_arguments_are_refused_in_one_line(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(SettingError, match=message) as caught:
        call(as_csr(np.eye(3)))
    assert isinstance(caught.value, RecommenderError)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


# ---- saved arrays ----------------------------------------------------------------------------------------------


SAVED = {
    "packed": SHAPED["short accumulator, dense ends"][0],
    "wide": SHAPED["wide form, dense ends"][0],
    "whole": SHAPED["plain form"][0],
    "float": sp.csr_array(SHAPED["plain form"][0] * 0.1),
    "packed, no ratings": sp.csr_array((4, 3)),
    "packed, no rows": sp.csr_array((0, 5)),
}


@pytest.mark.parametrize("saved", SAVED)
def test_a_saved_and_mapped_index_gives_the_same_bytes_without_a_copy(saved: str, tmp_path: Path) -> None:
    index = CosineIndex(SAVED[saved])
    arrays = index.arrays()
    assert {name.partition(".")[0] for name in arrays} == {saved.partition(",")[0]}
    mapped: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        np.save(tmp_path / name, array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="c" if array.size else None)
    again = CosineIndex.from_arrays(mapped)
    assert (again.shape, again.exact) == (index.shape, index.exact)
    for name, array in again.arrays().items():
        assert array.size == 0 or np.shares_memory(array, mapped[name])
    assert [array.tobytes() for array in again.top_k(7)] == [array.tobytes() for array in index.top_k(7)]
    for row in range(0, index.shape[0], 97):
        assert again.neighbors(row, 5)[1].tobytes() == index.neighbors(row, 5)[1].tobytes()
        assert again.similarities(row).tobytes() == index.similarities(row).tobytes()


def damaged(form: str, field: str, change: Callable[[np.ndarray], object]) -> dict[str, np.ndarray]:
    """The arrays of an index with one of them changed, in place or replaced by the change's result."""
    arrays = {name: array.copy() for name, array in CosineIndex(SAVED[form]).arrays().items()}
    name = f"{form}.{field}"
    result = change(arrays[name])
    if isinstance(result, np.ndarray):
        arrays[name] = result
    return arrays


def put(at: int, value: float) -> Callable[[np.ndarray], object]:
    return lambda array: array.__setitem__(at, value)


def swap_two(array: np.ndarray) -> None:
    array[[0, 1]] = array[[1, 0]]


def read_only(array: np.ndarray) -> None:
    array.flags.writeable = False


def cut_short(array: np.ndarray) -> np.ndarray:
    return array[:-1].copy()


def too_long(array: np.ndarray) -> np.ndarray:
    return np.append(array, array[-1:])


def of_another_type(array: np.ndarray) -> np.ndarray:
    return array.astype(np.longdouble)


FIELDS = {"packed": Packed._fields, "wide": Wide._fields, "whole": Plain._fields, "float": Plain._fields}
ANY_FIELD = {
    f"{form}.{field} {change.__name__}": (form, field, change, rf"array {form}\.")
    for form, fields in FIELDS.items()
    for field in fields
    for change in (cut_short, too_long, of_another_type)
    if (field, change) != ("list_starts", too_long)
    or form in ("packed", "wide")  # one more column without ratings is no damage
}
DAMAGE: dict[str, tuple[str, str, Callable[[np.ndarray], object], str]] = ANY_FIELD | {
    "big-endian": ("packed", "indptr", lambda a: a.astype(">i8"), "packed.indptr of a saved index is not int64"),
    "a matrix": ("whole", "norms", lambda a: a.reshape(1, -1), "whole.norms of a saved index is not float64"),
    "every other": ("whole", "data", lambda a: np.repeat(a, 2)[::2], "whole.data .* not contiguous"),
    "read-only": ("float", "data", read_only, r"float.data .* writable: map it with mode='c'"),
    "starts not from 0": ("packed", "list_starts", put(0, 1), "packed.list_starts .* not rising from 0"),
    "starts fall": ("packed", "indptr", put(5, 10**9), "packed.indptr .* not rising"),
    "starts below 0": ("whole", "indptr", put(1, -1), "whole.indptr .* not rising"),
    "starts end elsewhere": ("float", "list_starts", put(-1, 8), "float.list_starts .* not rising"),
    "column too large": ("packed", "ratings", put(3, 400 << 4), r"packed.ratings .* not within 0..399"),
    "wide column too large": ("wide", "ratings", put(3, 400 << 8), r"wide.ratings .* not within 0..399"),
    "row too large": ("packed", "lists", put(0, 1500 << 4), r"packed.lists .* not within 0..1499"),
    "lists out of order": ("packed", "lists", swap_two, "packed.lists .* not rising within each list"),
    "a row twice": ("packed", "rows", lambda a: put(0, a[1])(a), "not the inverse"),
    "a row below 0": ("packed", "rows", put(0, -1), r"packed.rows .* not within 0..1499"),
    "a position too large": ("packed", "positions", put(9, 1500), r"packed.positions .* not within 0..1499"),
    "positions of others": ("packed", "positions", swap_two, "packed.positions .* not the inverse of packed.rows"),
    "dense end elsewhere": ("packed", "dense_from", put(0, 2**32 - 1), "packed.dense_from .* not in step"),
    "norms fall": ("packed", "norms", put(700, 0.5), "packed.norms .* not rising"),
    "norm not a number": ("packed", "norms", put(0, np.nan), "packed.norms .* not rising"),
    "norm below 0": ("packed", "norms", put(0, -1.0), "packed.norms .* not rising"),
    "plain column too large": ("whole", "indices", put(0, 200), r"whole.indices .* not within 0..199"),
    "plain row too large": ("float", "list_rows", put(0, 700), r"float.list_rows .* not within 0..699"),
    "infinite rating": ("float", "data", put(0, np.inf), "float.data .* not finite"),
    "rating not a number": ("whole", "list_data", put(0, np.nan), "whole.list_data .* not finite"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_arrays_are_refused_before_any_search(damage: str) -> None:
    form, field, change, message = DAMAGE[damage]
    with pytest.raises(SettingError, match=message) as caught:
        CosineIndex.from_arrays(damaged(form, field, change))
    assert str(caught.value).endswith("save the index again")


@pytest.mark.parametrize("form", ["packed", "wide", "whole", "float"])
def test_missing_foreign_and_mixed_arrays_are_refused(form: str) -> None:
    arrays = CosineIndex(SAVED[form]).arrays()
    without = {name: array for name, array in arrays.items() if not name.endswith("indptr")}
    other = CosineIndex(SAVED["float" if form == "packed" else "packed"]).arrays()
    for wrong in ({}, without, arrays | {"more": np.zeros(1)}, arrays | other, {"indptr": np.zeros(1, np.int64)}):
        with pytest.raises(SettingError, match="not the arrays of a saved index .* save it again$"):
            CosineIndex.from_arrays(wrong)


# ---- long runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 2])
def test_progress_counts_up_to_all_rows(n_threads: int) -> None:
    seen: list[int] = []
    top_k_cosine(long_tail(1500, 400, 5_000), 3, n_threads=n_threads, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1500
    if n_threads == 1:  # of two threads, the reporting one may have started when all was done
        assert len(seen) > 1


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_interrupt_stops_a_run_and_the_index_can_still_be_used(n_threads: int) -> None:
    ratings = long_tail(1500, 400, 30_000)
    index = CosineIndex(ratings)
    expected = index.top_k(5)[0].tobytes()

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.top_k(5, n_threads=n_threads, progress=interrupt)
    assert index.top_k(5)[0].tobytes() == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 5))
def test_every_row_is_in_one_block_and_progress_ends_with_all_rows(
    n_rows: int, block_rows: int, n_threads: int
) -> None:
    spans: list[tuple[int, int]] = []
    seen: list[int] = []
    run_blocks(
        lambda start, stop: spans.append((start, stop)),
        n_rows,
        block_rows=block_rows,
        n_threads=n_threads,
        progress=seen.append,
    )
    starts = range(0, n_rows, block_rows)
    assert sorted(spans) == [(start, min(start + block_rows, n_rows)) for start in starts]
    assert seen == sorted(set(seen))
    assert seen[-1:] == ([n_rows] if n_rows else [])


def test_an_error_of_another_thread_ends_the_run_and_is_raised_to_the_caller() -> None:
    caller, failed, others, done = threading.current_thread(), threading.Event(), list[threading.Thread](), []

    def block(start: int, stop: int) -> None:
        if (thread := threading.current_thread()) is not caller:
            others.append(thread)
            failed.set()
            raise ValueError("out of luck")
        assert failed.wait(60)
        others[0].join(60)  # it has told the others
        done.append(start)

    with pytest.raises(ValueError, match="^out of luck$"):
        run_blocks(block, 1000, block_rows=1, n_threads=2)
    assert len(done) <= 1


def test_an_interrupt_while_waiting_for_another_thread_is_raised() -> None:
    caller = threading.current_thread()
    other_works, caller_is_idle, other_ends = threading.Event(), threading.Event(), threading.Event()
    begun: list[int] = []

    def block(start: int, stop: int) -> None:
        begun.append(start)
        if threading.current_thread() is caller:
            assert other_works.wait(60)
            caller_is_idle.set()
            return
        other_works.set()
        assert caller_is_idle.wait(60)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # Ctrl-C does this
        other_ends.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent of a background job may ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_blocks(block, 2, block_rows=1, n_threads=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert other_ends.wait(60)
    assert sorted(begun) == [0, 1]
