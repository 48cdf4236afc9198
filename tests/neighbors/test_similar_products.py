"""Similar products: equal to fractions, the mask before the cut, the evidence, one build for all threads."""

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
from sklearn.metrics.pairwise import cosine_similarity

from recommender.errors import RatingError, SettingError
from recommender.neighbors import CosineIndex, SimilarProducts, similar_products
from recommender.neighbors.similar_products import SimilarColumns
from recommender.shop import RatingMatrix, build_rating_matrix

HALF_STARS = st.sampled_from([0, 0, 0, *range(1, 11)])
EQUAL = st.sampled_from([0, 0, 8])  # all ratings are equal, so there are ties everywhere
BEYOND_4_BITS = st.sampled_from([0, 0, 3, 100])  # no stars, but values that take the kernel's other form
SHAPES = st.tuples(st.integers(1, 8), st.integers(1, 13))


def matrix_of(steps: Any, recommendable: Any = None) -> RatingMatrix:
    """Users 1, 2, ... and products P00000, P00001, ...; by default all are recommendable."""
    csr = sp.csr_array(np.asarray(steps, np.int8)) if not sp.issparse(steps) else steps
    n_users, n_products = csr.shape
    products = np.array([f"P{column:05d}" for column in range(n_products)], "S10")
    mask = np.ones(n_products, np.bool_) if recommendable is None else np.asarray(recommendable, np.bool_)
    return RatingMatrix(csr, np.arange(1, n_users + 1), products, mask)


def long_tail(n_users: int, n_products: int, n_ratings: int, *, largest: int = 10) -> Any:
    """Skewed activity and popularity, whole numbers from 1 to largest."""
    generator = np.random.default_rng(7)
    user = (generator.random(n_ratings) ** 3 * n_users).astype(np.int64)
    product = (generator.random(n_ratings) ** 4 * n_products).astype(np.int64)
    keys = np.unique(user * n_products + product)
    values = generator.integers(1, largest + 1, keys.size).astype(np.int8)
    return sp.csr_array((values, (keys // n_products, keys % n_products)), shape=(n_users, n_products))


Entry = tuple[int, float, int]


def by_definition(steps: np.ndarray, column: int, n: int, mask: Any) -> list[Entry]:
    """(column, cosine, users who rated both), cosines compared as fractions of their squares."""
    products = [[int(rating) for rating in line] for line in steps.T]
    mine, found = products[column], []
    for other, theirs in enumerate(products):
        dot = sum(a * b for a, b in zip(mine, theirs, strict=True))
        if other != column and mask[other] and dot > 0:
            norms = sum(a * a for a in mine) * sum(b * b for b in theirs)
            both = sum(a > 0 and b > 0 for a, b in zip(mine, theirs, strict=True))
            found.append((-Fraction(dot * dot, norms), other, dot / math.sqrt(norms), both))
    return [(other, cosine, both) for _, other, cosine, both in sorted(found)[:n]]


def entries(similar: SimilarColumns) -> list[Entry]:
    return list(zip(*(array.tolist() for array in similar), strict=True))


def assert_same(similar: SimilarColumns, expected: list[Entry]) -> None:
    assert similar.columns.tolist() == [column for column, _, _ in expected]
    assert similar.n_common.tolist() == [both for _, _, both in expected]
    np.testing.assert_allclose(similar.similarities, [cosine for _, cosine, _ in expected], rtol=1e-13)


# ---- the definition --------------------------------------------------------------------------------------------


def test_similarities_of_three_products_equal_hand_arithmetic() -> None:
    # half stars of users 1, 2, 3 (rows) for products 0, 1, 2 (columns): |0| = |1| = 5, |2| = 1
    products = SimilarProducts(matrix_of([[3, 4, 0], [4, 3, 1], [0, 0, 0]]))
    assert entries(products.similar(0, 5)) == [(1, (3 * 4 + 4 * 3) / (5 * 5), 2), (2, (4 * 1) / (5 * 1), 1)]
    assert entries(products.similar(1, 5)) == [(0, 24 / 25, 2), (2, 3 / 5, 1)]
    assert entries(products.similar(2, 1)) == [(0, 4 / 5, 1)]
    assert [array.dtype for array in products.similar(0, 5)] == [np.int32, np.float64, np.int32]


@pytest.mark.parametrize("elements", [HALF_STARS, EQUAL, BEYOND_4_BITS], ids=["half stars", "equal", "beyond 4 bits"])
def test_similar_products_agree_with_fractions_under_any_mask(elements: st.SearchStrategy[int]) -> None:
    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        steps = data.draw(SHAPES.flatmap(lambda shape: hnp.arrays(np.int8, shape, elements=elements)))
        n_products = steps.shape[1]
        mask = data.draw(st.just(np.ones(n_products, np.bool_)) | hnp.arrays(np.bool_, n_products))
        products = SimilarProducts(matrix_of(steps, mask))
        n = data.draw(st.integers(1, 15))
        for column in range(n_products):
            assert_same(products.similar(column, n), by_definition(steps, column, n, mask))

    check()


def test_similar_columns_are_translated_into_product_ids() -> None:
    matrix = build_rating_matrix(
        np.array([7, 7, 7, 9, 9]),
        np.array([b"B0ZZZZZZZZ", b"0000000001", b"B0AAAAAAAA"]),
        np.array([0, 1, 2, 0, 2]),
        np.array([10, 2, 9, 8, 9], np.int8),
        in_catalog=np.array([True, True, True]),
    )
    # columns are 0000000001, B0AAAAAAAA, B0ZZZZZZZZ; cos(A, Z) = (9*10 + 9*8) / (...) beats cos(A, 1) = 9*2 / (...)
    found = SimilarProducts(matrix).similar(1, 2)
    assert matrix.products(found.columns) == ["B0ZZZZZZZZ", "0000000001"]
    assert found.similarities.tolist() == pytest.approx([162 / math.sqrt(162 * 164), 18 / math.sqrt(162 * 4)])


def test_equal_cosines_go_to_the_smaller_product_id_under_any_mask() -> None:
    mask = np.ones(900, np.bool_)
    mask[::2] = False
    products = SimilarProducts(matrix_of(np.full((1, 900), 8), mask))  # one user, one rating: every cosine is 1
    assert products.similar(5, 4).columns.tolist() == [1, 3, 7, 9]
    assert products.similar(4, 4).columns.tolist() == [1, 3, 5, 7]
    assert products.similar(899, 300).columns.tolist() == list(range(1, 600, 2))


@pytest.mark.parametrize("largest", [10, 100])
def test_similarities_agree_with_scikit_learn_on_the_transposed_matrix(largest: int) -> None:
    steps = long_tail(300, 120, 4000, largest=largest)
    cosines = cosine_similarity(steps.toarray().T.astype(np.float64)).round(12)
    np.fill_diagonal(cosines, 0.0)
    products = SimilarProducts(matrix_of(steps))
    for column in range(120):
        expected = np.lexsort((np.arange(120), -cosines[column]))[:15]
        expected = expected[cosines[column, expected] > 0]
        found = products.similar(column, 15)
        assert found.columns.tolist() == expected.tolist()
        assert found.similarities.round(12).tolist() == cosines[column, expected].tolist()


def test_similarity_and_evidence_are_symmetric_to_the_last_bit() -> None:
    products = SimilarProducts(matrix_of(long_tail(200, 60, 2500)))
    found = {(i, j): rest for i in range(60) for j, *rest in entries(products.similar(i, 60))}
    assert len(found) > 3000
    assert all(found[j, i] == rest for (i, j), rest in found.items())


@pytest.mark.parametrize("largest", [10, 100])
def test_the_evidence_is_the_number_of_users_who_rated_both(largest: int) -> None:
    steps = long_tail(500, 80, 6000, largest=largest)
    rated = (steps.toarray() > 0).astype(int)
    both = rated.T @ rated  # (n_products, n_products)
    products = SimilarProducts(matrix_of(steps))
    for column in range(80):
        found = products.similar(column, 80)
        assert found.columns.size > 0
        assert found.n_common.tolist() == both[column, found.columns].tolist()
        assert (found.n_common > 0).all()


# ---- the mask --------------------------------------------------------------------------------------------------


def test_the_mask_applies_before_the_cut_and_not_to_the_product_asked_about() -> None:
    steps = [[8, 8, 8, 8], [8, 8, 8, 0], [8, 8, 0, 0]]  # products further to the right are less similar to 0
    products = SimilarProducts(matrix_of(steps, [False, False, True, True]))
    assert products.similar(0, 1).columns.tolist() == [2]
    assert products.similar(0, 2).columns.tolist() == [2, 3]
    assert products.similar(2, 3).columns.tolist() == [3]


def asked(products: SimilarProducts, monkeypatch: pytest.MonkeyPatch, column: int, n: int) -> tuple[list[int], Any]:
    """The lengths of the lists that the kernel was asked for, and the answer."""
    lengths: list[int] = []
    kernel = CosineIndex.neighbors

    def counted(self: CosineIndex, row: int, k: int) -> Any:
        lengths.append(k)
        return kernel(self, row, k)

    with monkeypatch.context() as patch:
        patch.setattr(CosineIndex, "neighbors", counted)
        return lengths, products.similar(column, n)


NEAR_TO_FAR = sp.csr_array(
    np.tril(np.full((600, 600), 8, np.int8))
)  # users x products: 0 is most similar to 1, then to 2, ...


@pytest.mark.parametrize("n", [1, 10, 30])
def test_the_kernel_is_asked_for_more_if_the_nearest_are_masked(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.arange(600) >= 550  # 50 of 600, all at the end
    products = SimilarProducts(matrix_of(NEAR_TO_FAR, mask))
    lengths, found = asked(products, monkeypatch, 0, n)
    assert found.columns.tolist() == list(range(550, 550 + n))
    assert len(lengths) > 1
    assert len(lengths) <= 1 + math.ceil(math.log(599 / lengths[0], similar_products.GROWTH))


def test_all_recommendable_products_are_returned_if_they_are_fewer_than_asked_for() -> None:
    products = SimilarProducts(matrix_of(NEAR_TO_FAR, np.arange(600) >= 550))
    assert products.similar(0, 60).columns.tolist() == list(range(550, 600))
    assert products.similar(599, 60).columns.tolist() == list(range(598, 549, -1))


def test_the_kernel_is_asked_once_for_the_needed_length_without_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, found = asked(SimilarProducts(matrix_of(NEAR_TO_FAR)), monkeypatch, 0, 10)
    assert (lengths, found.columns.tolist()) == ([10], list(range(1, 11)))


def test_the_kernel_is_not_asked_if_no_product_is_recommendable(monkeypatch: pytest.MonkeyPatch) -> None:
    products = SimilarProducts(matrix_of(NEAR_TO_FAR, np.zeros(600)))
    lengths, found = asked(products, monkeypatch, 0, 10)
    assert (lengths, entries(found)) == ([], [])
    assert [array.dtype for array in found] == [np.int32, np.float64, np.int32]


def test_a_random_mask_rarely_needs_a_second_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for share in (0.05, 0.3, 0.9):
        mask = np.random.default_rng(5).random(600) < share
        products = SimilarProducts(matrix_of(NEAR_TO_FAR, mask))
        again = 0
        for column in range(0, 400, 4):
            lengths, found = asked(products, monkeypatch, column, 5)
            distance = np.abs(np.arange(600) - column)
            assert (distance[found.columns] > 0).all()
            assert mask[found.columns].all()
            assert found.columns.size == 5
            again += len(lengths) > 1
        assert again <= 5  # of 100: three deviations leave 1 in 700, and neighbors in the list are not independent


# ---- short lists and small matrices ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([[8]], [[]]),  # one user, one product
        ([[8, 4]], [[(1, 1.0, 1)], [(0, 1.0, 1)]]),  # one user
        ([[8], [6]], [[]]),  # one product
        ([[8, 0], [0, 8]], [[], []]),  # nobody rated both
        ([[8, 8, 0]], [[(1, 1.0, 1)], [(0, 1.0, 1)], []]),  # a product without ratings
        ([[0, 0], [0, 0]], [[], []]),  # no ratings
        (np.empty((0, 2)), [[], []]),  # no users
    ],
)
def test_lists_are_as_short_as_the_ratings_make_them(steps: Any, expected: list[list[Entry]]) -> None:
    products = SimilarProducts(matrix_of(steps))
    for n in (1, 10, 10**400):  # the last number is larger than every float
        assert [entries(products.similar(column, n)) for column in range(len(expected))] == [
            line[:n] for line in expected
        ]


# ---- prepared once ---------------------------------------------------------------------------------------------


class Builds:
    """Counts the indexes that are built. A build is slow, so that a second build would overlap it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        second = threading.Event()

        class Counted(CosineIndex):
            def __init__(index, ratings: Any) -> None:  # noqa: N805
                self.count += 1
                if self.count > 1:
                    second.set()
                second.wait(timeout=0.3)
                super().__init__(ratings)

        monkeypatch.setattr(similar_products, "CosineIndex", Counted)


def test_many_threads_asking_first_get_one_answer_from_one_build(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(long_tail(200, 60, 2500))
    expected = entries(SimilarProducts(matrix).similar(3, 10))
    builds, products = Builds(monkeypatch), SimilarProducts(matrix)
    assert builds.count == 0
    start, answers = threading.Barrier(4), []

    def ask() -> None:
        start.wait()
        answers.append(entries(products.similar(3, 10)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    products.prepare()
    assert answers == [expected] * 4
    assert builds.count == 1


def test_one_instance_serves_many_threads_at_once() -> None:
    products = SimilarProducts(matrix_of(long_tail(400, 200, 9000), np.arange(200) % 3 > 0))
    expected = [entries(products.similar(column, 7)) for column in range(200)]
    wrong: list[int] = []

    def ask(first: int) -> None:
        for column in range(first, 200 + first):
            if entries(products.similar(column % 200, 7)) != expected[column % 200]:
                wrong.append(column)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_unusable_ratings_are_refused_at_every_request() -> None:
    products = SimilarProducts(matrix_of([[8, -2]]))
    for _ in range(2):  # the first failure leaves no lock behind
        with pytest.raises(RatingError, match=r"rating -2\.0"):
            products.similar(0, 1)


@pytest.mark.parametrize("largest", [10, 100])
def test_saved_arrays_give_the_same_bytes_without_a_build(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = matrix_of(long_tail(300, 90, 3000, largest=largest))
    first = SimilarProducts(matrix)
    arrays = first.arrays()
    builds = Builds(monkeypatch)
    again = SimilarProducts(matrix, arrays=arrays)
    for column in range(90):
        old, new = first.similar(column, 10), again.similar(column, 10)
        assert [array.tobytes() for array in new] == [array.tobytes() for array in old]
    assert builds.count == 0
    for name, array in again.arrays().items():
        assert array.size == 0 or np.shares_memory(array, arrays[name])


def test_the_matrix_is_not_changed() -> None:
    matrix = matrix_of(long_tail(100, 40, 900))
    before = matrix.fingerprint()
    SimilarProducts(matrix).similar(0, 5)
    assert matrix.fingerprint() == before


# ---- refusals --------------------------------------------------------------------------------------------------


SMALL = matrix_of([[8, 6, 0], [4, 0, 10]])


def arrays_of(steps: Any) -> dict[str, np.ndarray]:
    return SimilarProducts(matrix_of(steps)).arrays()


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "column": (lambda: SimilarProducts(SMALL).similar(3, 1), "^column 3 does not exist: pass one of the 3 columns"),
    "negative column": (lambda: SimilarProducts(SMALL).similar(-1, 1), "^column -1 does not exist"),
    "column not whole": (lambda: SimilarProducts(SMALL).similar(0.0, 1), "^column 0.0"),  # type: ignore[arg-type]
    "column true": (lambda: SimilarProducts(SMALL).similar(True, 1), "^column True"),
    "no products": (lambda: SimilarProducts(matrix_of(np.empty((2, 0)))).similar(0, 1), "one of the 0 columns"),
    "n": (lambda: SimilarProducts(SMALL).similar(0, 0), "^n=0 cannot be used"),
    "n not whole": (lambda: SimilarProducts(SMALL).similar(0, 1.5), "^n=1.5"),  # type: ignore[arg-type]
    "arrays of more users": (
        lambda: SimilarProducts(SMALL, arrays=arrays_of([[8, 6, 0], [4, 0, 10], [0, 0, 0]])),
        r"\(3, 3, 4\) do not belong to a matrix of \(2, 3, 4\)",
    ),
    "arrays of fewer products": (
        lambda: SimilarProducts(SMALL, arrays=arrays_of([[8, 6], [4, 10]])),
        r"\(2, 2, 4\) do not belong to a matrix of \(2, 3, 4\)",
    ),
    "arrays of other ratings": (
        lambda: SimilarProducts(SMALL, arrays=arrays_of([[8, 6, 0], [4, 1, 10]])),
        r"\(2, 3, 5\) do not belong to a matrix of \(2, 3, 4\)",
    ),
    "arrays of nothing": (lambda: SimilarProducts(SMALL, arrays={}), "not the arrays of a saved index"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_arguments_are_refused_in_one_line(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(SettingError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
