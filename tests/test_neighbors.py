"""Neighbors: the compiled kernels against whole-number brute force, exact order and bytes included."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recommender import neighbors
from recommender._cosine_kernels import Packed, compare_exactly
from recommender.errors import RatingError, RecommenderError, SettingError
from recommender.neighbors import CosineIndex, top_k_cosine

STARS = st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
HALF_STARS = st.sampled_from([0.0, 0.0, 0.0, *(i / 2 for i in range(1, 11))])
EQUAL = st.sampled_from([0.0, 0.0, 4.0])
LARGE_WHOLE = st.one_of(st.just(0.0), st.integers(1, 2**24).map(float))
FLOATS = st.one_of(st.just(0.0), st.floats(0.0, 1e6, width=32))
SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 9))


def matrices(elements: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=elements))


def exact_neighbors(dense: np.ndarray, row: int, k: int) -> list[int]:
    """By the definition, in fractions: cosine > 0, never itself, dot^2 / |v|^2 descending, then the smaller row."""
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
    """Whole-number dot products by scipy; ratios of numbers this small are told apart by float64."""
    whole = (ratings * 2).astype(np.int64)
    dots = (whole @ whole.T).toarray().astype(np.float64)  # (n_rows, n_rows)
    norms = np.diag(dots).copy()
    np.fill_diagonal(dots, 0.0)
    key = np.divide(dots * dots, norms[None, :], out=np.zeros_like(dots), where=norms[None, :] > 0)
    order = np.lexsort((np.broadcast_to(np.arange(dots.shape[0]), dots.shape), -key), axis=1)[:, :k]
    return np.where(np.take_along_axis(key, order, axis=1) > 0, order, -1)


# ---- the definition --------------------------------------------------------------------------------------------


def test_three_users_by_hand() -> None:
    ratings = as_csr(np.array([[3, 4, 0], [4, 3, 0], [0, 1, 0]]))
    indices, similarities = top_k_cosine(ratings, 2)
    # |0| = |1| = 5, |2| = 1: cos(0,1) = (12 + 12) / 25, cos(0,2) = 4 / 5, cos(1,2) = 3 / 5
    assert indices.tolist() == [[1, 2], [0, 2], [0, 1]]
    assert similarities.tolist() == [[24 / 25, 4 / 5], [24 / 25, 3 / 5], [4 / 5, 3 / 5]]
    assert [indices.dtype, similarities.dtype] == [np.dtype(np.int32), np.dtype(np.float64)]


@pytest.mark.parametrize("elements", [STARS, HALF_STARS, EQUAL, LARGE_WHOLE], ids=["stars", "halves", "equal", "large"])
def test_whole_and_half_stars_agree_with_fractions_order_included(elements: st.SearchStrategy[float]) -> None:
    @settings(max_examples=120, deadline=None)
    @given(matrices(elements), st.integers(1, 16))
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


def test_cosines_below_the_12_decimals_are_neighbors_all_the_same() -> None:
    ratings = as_csr(np.array([[3.0, 1e-14, 1e-14], [0.0, 1e-14, 1e-14], [0.0, 0.0, 1e-14], [3.0, 0.0, 0.0]]))
    assert top_k_cosine(ratings, 1)[0].tolist() == [[3], [2], [1], [0]]
    assert top_k_cosine(ratings, 3)[0].tolist() == [[3, 1, 2], [2, 0, -1], [1, 0, -1], [0, -1, -1]]


def test_identical_rows_have_exactly_one_in_both_modes() -> None:
    generator = np.random.default_rng(3)
    for line in (generator.integers(1, 11, 97) / 2, generator.random(97) * 1e3, generator.integers(1, 2**22, 97)):
        similarities = top_k_cosine(as_csr(np.array([line, line, line])), 2)[1]
        assert similarities.tolist() == [[1.0, 1.0]] * 3


# ---- ties ------------------------------------------------------------------------------------------------------


def test_equal_cosines_go_to_the_smaller_row_even_past_every_buffer() -> None:
    n_rows = 3000  # one column: every cosine is 1
    ratings = sp.csr_array(np.random.default_rng(1).integers(1, 6, (n_rows, 1)).astype(np.float64))
    for k in (1, 20, 200):
        indices, similarities = top_k_cosine(ratings, k)
        assert (similarities == 1.0).all()
        assert [indices[row].tolist() for row in (0, 1, 5, n_rows - 1)] == [
            [v for v in range(k + 1) if v != row][:k] for row in (0, 1, 5, n_rows - 1)
        ]


def test_ratios_that_round_to_one_float_are_told_apart() -> None:
    # Against u = (1, 0), v = (a, b) has dot^2 / |v|^2 = a^2 / (a^2 + b^2): here two that differ by 6e-17.
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


# ---- every path of the kernel gives the same answer ----------------------------------------------------------------


SHAPED = {
    "short accumulator, dense ends": (long_tail(1500, 400, 30_000), 20),
    "half stars, long accumulator": (long_tail(600, 3000, 90_000, stars=10, step=0.5), 20),
    "sparse, few neighbors": (long_tail(2000, 5000, 6_000), 20),
    "k beyond the sorted list": (long_tail(900, 300, 12_000), 150),
    "k beyond the rows": (long_tail(90, 50, 700), 500),
    "plain form": (long_tail(700, 200, 9_000, stars=40), 20),
}


@pytest.mark.parametrize("shape", SHAPED)
def test_agrees_with_brute_force(shape: str) -> None:
    ratings, k = SHAPED[shape]
    indices, _ = top_k_cosine(ratings, k)
    expected = brute_force(ratings, k)
    assert (indices[:, : expected.shape[1]] == expected).all()
    assert (indices[:, expected.shape[1] :] == -1).all()


def test_the_shapes_reach_the_paths_they_name() -> None:
    packed = CosineIndex(SHAPED["short accumulator, dense ends"][0])
    assert packed._packed
    assert packed._short.all()
    assert isinstance(packed._arrays, Packed)
    assert packed._arrays.dense.size > 0
    long = CosineIndex(SHAPED["half stars, long accumulator"][0])
    assert long._packed
    assert 0 < long._short.sum() < long._short.size
    assert not CosineIndex(SHAPED["plain form"][0])._packed


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


# ---- input as it comes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_any_real_dtype_gives_the_same_bytes(dtype: Any) -> None:
    dense = np.random.default_rng(5).integers(0, 6, (40, 12)) * (np.random.default_rng(6).random((40, 12)) < 0.4)
    expected = [array.tobytes() for array in top_k_cosine(as_csr(dense), 5)]
    for made in (as_csr(dense, dtype), sp.csr_matrix(dense.astype(dtype))):
        assert [array.tobytes() for array in top_k_cosine(made, 5)] == expected


def test_unsorted_duplicate_and_zero_entries_are_put_right_without_touching_the_input() -> None:
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
def test_without_ratings_there_are_no_neighbors(shape: tuple[int, int]) -> None:
    indices, similarities = top_k_cosine(sp.csr_array(shape), 3)
    assert (indices == -1).all()
    assert (similarities == 0.0).all()
    assert indices.shape == similarities.shape == (shape[0], 3)


def test_no_rows_asked_no_rows_answered() -> None:
    indices, similarities = top_k_cosine(as_csr(np.ones((3, 2))), 2, rows=[])
    assert indices.shape == similarities.shape == (0, 2)


def test_shape_is_rows_by_rows() -> None:
    assert CosineIndex(as_csr(np.ones((3, 7)))).shape == (3, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_a_value_no_cosine_can_be_computed_from_is_refused_by_row_and_column(value: float) -> None:
    ratings = as_csr(np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 7.0]]))
    ratings.data[2] = value
    with pytest.raises(RatingError, match=rf"^rating {value} at row 2, column 2 is not .*: correct or remove it$"):
        top_k_cosine(ratings, 1)


REFUSED: dict[str, tuple[Callable[[Any], object], str]] = {
    "k=0": (lambda r: top_k_cosine(r, 0), "k=0"),
    "k negative": (lambda r: CosineIndex(r).neighbors(0, -3), "k=-3"),
    "k not whole": (lambda r: top_k_cosine(r, 2.5), "k=2.5"),  # type: ignore[arg-type]
    "k true": (lambda r: top_k_cosine(r, True), "k=True"),
    "no threads": (lambda r: top_k_cosine(r, 1, n_threads=0), "n_threads=0"),
    "row too large": (lambda r: top_k_cosine(r, 1, rows=[0, 3]), "row 3 does not exist among 3 rows"),
    "row negative": (lambda r: CosineIndex(r).neighbors(-1, 1), "row -1 does not exist"),
    "row of similarities": (lambda r: CosineIndex(r).similarities(3), "row 3 does not exist"),
    "rows not whole": (lambda r: top_k_cosine(r, 1, rows=[0.5]), r"rows=\[0.5\]"),
    "dense": (lambda r: top_k_cosine(r.toarray(), 1), "ndarray"),
    "csc": (lambda r: top_k_cosine(r.tocsc(), 1), "csc_array"),
    "complex": (lambda r: top_k_cosine(r.astype(np.complex128), 1), "real numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arguments_that_cannot_be_used_are_refused_in_one_line(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(SettingError, match=message) as caught:
        call(as_csr(np.eye(3)))
    assert isinstance(caught.value, RecommenderError)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


# ---- long runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 2])
def test_progress_counts_up_to_all_rows(n_threads: int) -> None:
    seen: list[int] = []
    top_k_cosine(long_tail(1500, 400, 5_000), 3, n_threads=n_threads, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1500
    assert len(seen) > 1


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_interrupt_stops_a_run_and_the_index_still_answers(n_threads: int) -> None:
    ratings = long_tail(1500, 400, 30_000)
    index = CosineIndex(ratings)
    expected = index.top_k(5)[0].tobytes()

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.top_k(5, n_threads=n_threads, progress=interrupt)
    assert index.top_k(5)[0].tobytes() == expected
