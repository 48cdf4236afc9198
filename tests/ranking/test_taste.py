"""The `taste` ranking: compiled search and votes equal the formulas in plain Python, also in order and bytes."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recommender.errors import RatingError, SettingError
from recommender.neighbors import (
    TasteIndex,
    TasteStatistics,
    damping_divisors,
    fifth_root,
    item_weights,
    taste_statistics,
)
from recommender.ranking import RankedByTaste, TasteRanker, TasteVotes, rank_taste_for_rows
from recommender.shop import HALF_STARS, NO_TIME, Scale

OWNED = st.sampled_from([0.0, 0.0, 0.0, 1.0, 1.0])
CONFIDENCES = st.sampled_from([0.0, 0.0, 0.0, 0.2, 0.5, 1.0, 1.0, 2.0, 3.7])
TIMES = st.integers(-2, 4) | st.just(NO_TIME)
SCALES = [
    HALF_STARS,
    HALF_STARS,
    Scale.of(1, 10, 1),
    Scale.of(1, 100, 1),
    Scale.of(1, 1, 1),
    Scale.of("0.3", 9, "0.3"),
]


class Shop(NamedTuple):
    """Confidences (n_users, n_products), times of the same shape or None, steps, statistics or None, scale."""

    dense: np.ndarray
    times: np.ndarray | None
    steps: np.ndarray
    statistics: TasteStatistics | None
    scale: Scale = HALF_STARS

    @property
    def profiles(self) -> Any:
        return sp.csr_array(self.dense)

    @property
    def ratings(self) -> Any:
        return sp.csr_array(self.steps.astype(np.int8))

    @property
    def known(self) -> TasteStatistics:
        return self.statistics or taste_statistics(self.profiles, self.ratings, scale=self.scale)

    def taste_index(self) -> TasteIndex:
        times = None if self.times is None else self.times[self.dense > 0]
        return TasteIndex(self.profiles, times=times, statistics=self.known)


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 8)))
    dense = draw(hnp.arrays(np.float64, shape, elements=draw(st.sampled_from([OWNED, CONFIDENCES]))))
    if draw(st.booleans()):  # users with one taste
        dense = dense[draw(st.lists(st.integers(0, shape[0] - 1), min_size=shape[0], max_size=shape[0]))]
    times = draw(st.none() | hnp.arrays(np.int64, shape, elements=TIMES))
    scale = draw(st.sampled_from(SCALES))
    stars = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, scale.most))) * (dense > 0)
    older = draw(st.none() | st.tuples(st.integers(0, shape[0]), st.integers(0, shape[1])))
    if older is None:
        return Shop(dense, times, stars, None, scale)
    part = (slice(older[0]), slice(older[1]))
    rated = sp.csr_array(stars[part].astype(np.int8))
    statistics = taste_statistics(sp.csr_array(dense[part]), rated, scale=scale)
    return Shop(dense, times, stars, statistics, scale)


# ---- the definition, in plain Python -----------------------------------------------------------------------------


def decay(times: np.ndarray | None, row: int, column: int, owned: np.ndarray) -> float:
    if times is None or times[row, column] == NO_TIME:
        return 1.0
    newer = sum(bool(times[row, j] > times[row, column]) for j in np.flatnonzero(owned[row]))
    return float([1.0, 2 ** (-1 / 3), 2 ** (-2 / 3)][newer % 3]) * 2.0 ** -(newer // 3)


def padded_raters(shop: Shop) -> list[int]:
    raters = [max(int(count), 1) for count in shop.known.raters]
    return raters + [1] * (shop.dense.shape[1] - len(raters))


def similarities_by_definition(shop: Shop, row: int) -> list[float]:
    """sim(row, v) for every v in float64, with the operations that `recommender.neighbors.taste_index` states."""
    c, columns = shop.dense, range(shop.dense.shape[1])
    logs = [math.log(1 + shop.known.n_users / raters) for raters in padded_raters(shop)]
    w = item_weights(shop.known.fitted(*c.shape)).tolist()
    assert w == pytest.approx(logs, rel=1e-14)
    d = [decay(shop.times, row, j, c) for j in columns]
    asking = 0.0
    for j in columns:
        asking += ((d[j] * c[row, j]) * (d[j] * c[row, j])) * (w[j] * w[j])
    result = []
    for v in range(c.shape[0]):
        dot = answering = 0.0
        for j in columns:
            dot += ((d[j] * c[row, j]) * (w[j] * w[j])) * c[v, j]
            answering += (c[v, j] * c[v, j]) * (w[j] * w[j])
        powers = fifth_root(np.array([asking * asking * asking, answering * answering])).tolist()
        result.append(float(dot / (powers[0] * powers[1])) if dot > 0 else 0.0)
    return result


def to_40_bits(value: float) -> float:
    mantissa, exponent = math.frexp(value)
    return math.ldexp(math.floor(mantissa * 2**40 + 0.5), exponent - 40)


def neighbors_by_definition(shop: Shop, row: int, k: int) -> list[tuple[int, float]]:
    similarities, owned = similarities_by_definition(shop, row), shop.dense > 0
    able = [v for v in range(len(similarities)) if v != row and similarities[v] > 0 and (owned[v] & ~owned[row]).any()]
    return [(v, similarities[v]) for v in sorted(able, key=lambda v: (-to_40_bits(similarities[v]), v))[:k]]


def round9(value: float) -> float:
    return float(np.rint(value * 1e9) / 1e9)


def stars_by_definition(shop: Shop, row: int, column: int, neighbors: list[tuple[int, float]]) -> float:
    known = shop.known.fitted(*shop.dense.shape)
    above = below = 0.0
    for v, similarity in neighbors:
        if shop.steps[v, column]:
            expected = known.mu + known.user_bias[v] + known.item_bias[column]
            above += similarity * (shop.steps[v, column] * shop.scale.unit - expected)
            below += similarity
    predicted = known.mu + known.user_bias[row] + known.item_bias[column] + above / (below + 3.0)
    return round9(min(max(predicted, shop.scale.ends[0]), shop.scale.ends[1]))


def ranked_by_definition(
    shop: Shop, row: int, neighbors: list[tuple[int, float]], mask: Any, damping: float = 0.2
) -> list[tuple[int, float, float, float, int]]:
    ranked = []
    divisors = damping_divisors(shop.known.fitted(*shop.dense.shape), damping).tolist()
    assert divisors == pytest.approx([raters**damping for raters in padded_raters(shop)], rel=1e-14)
    for i in range(shop.dense.shape[1]):
        support = 0.0
        having = [(v, similarity) for v, similarity in neighbors if shop.dense[v, i] > 0]
        for v, similarity in having:
            support += similarity * shop.dense[v, i]
        if having and shop.dense[row, i] == 0 and (mask is None or mask[i]):
            stars = stars_by_definition(shop, row, i, neighbors)
            ranked.append((i, round9(support / divisors[i]), round9(support), stars, len(having)))
    return sorted(ranked, key=lambda entry: (-entry[1], -entry[2], entry[0]))


def rank_one(
    votes: TasteVotes, row: int, neighbors: Any, similarities: Any, *, n: int | None, recommendable: Any = None
) -> RankedByTaste:
    """The list of one row without its padding; ``n``: None for everything."""
    width = votes.index.shape[1] if n is None else n
    near, close = np.atleast_2d(neighbors), np.atleast_2d(similarities)
    ranked = rank_taste_for_rows(votes, [row], near, close, n=width, recommendable=recommendable)
    return RankedByTaste(*(array[0][ranked.columns[0] >= 0] for array in ranked))


def entries(ranked: RankedByTaste) -> list[tuple[int, float, float, float, int]]:
    return list(zip(*(array.tolist() for array in ranked), strict=True))


def pairs(indices: np.ndarray, similarities: np.ndarray) -> list[tuple[int, float]]:
    return [(v, s) for v, s in zip(indices.tolist(), similarities.tolist(), strict=True) if v >= 0]


# ---- statistics --------------------------------------------------------------------------------------------------


def test_statistics_equal_hand_arithmetic() -> None:
    stars = sp.csr_array(np.array([[10, 8, 0], [6, 0, 0]], np.int8))  # 5.0 and 4.0; 3.0
    profiles = sp.csr_array(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.2]]))
    found = taste_statistics(profiles, stars)
    assert (found.n_users, found.raters.tolist(), found.mu) == (2, [2, 1, 1], (5 + 4 + 3) / 3)
    assert found.item_bias.tolist() == [((5 - 4) + (3 - 4)) / (2 + 10), (4 - 4) / (1 + 10), 0 / 10]
    assert found.user_bias.tolist() == [((5 - 4 - 0) + (4 - 4 - 0)) / (2 + 3), (3 - 4 - 0) / (1 + 3)]
    assert item_weights(found).tolist() == [math.log(1 + 2 / 2), math.log(1 + 2 / 1), math.log(1 + 2 / 1)]


def test_older_statistics_count_newcomers_as_rated_once_and_without_bias() -> None:
    older = TasteStatistics(4, np.array([0, 3]), 3.5, np.array([0.25, -0.5]), np.array([0.125]))
    fitted = older.fitted(2, 4)
    assert (fitted.n_users, fitted.mu, fitted.raters.tolist()) == (4, 3.5, [1, 3, 1, 1])
    assert (fitted.item_bias.tolist(), fitted.user_bias.tolist()) == ([0.25, -0.5, 0.0, 0.0], [0.125, 0.0])
    with pytest.raises(SettingError, match="1 users and 2 products do not fit a matrix of 2 x 1"):
        older.fitted(2, 1)


def test_the_mean_of_a_shop_without_ratings_is_the_middle_of_the_scale() -> None:
    found = taste_statistics(sp.csr_array(np.ones((2, 3))))
    assert (found.mu, found.item_bias.tolist(), found.user_bias.tolist()) == ((0.5 + 5) / 2, [0.0] * 3, [0.0] * 2)


@given(st.floats(1e-200, 1e200))
def test_fifth_roots_are_exact_to_two_units_in_the_last_place(value: float) -> None:
    root = float(fifth_root(np.array([value]))[0])
    with localcontext(prec=60):
        exact = (Decimal(value).ln() / 5).exp()
        assert abs(Decimal(root) - exact) <= 2 * Decimal(math.ulp(root))
    assert fifth_root(np.array([0.0, 1.0, 32.0, 2.0**-5])).tolist() == [0.0, 1.0, 2.0, 0.5]


# ---- neighbors ---------------------------------------------------------------------------------------------------


def test_the_similarities_of_two_users_equal_hand_arithmetic() -> None:
    shop = Shop(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), np.array([[0, 9, 0], [0, 0, 0]]), np.zeros((2, 3)), None)
    rare, shared = math.log(1 + 2 / 1), math.log(1 + 2 / 2)
    # row 0: one product is newer than the first, so d = 0.5^(1/3); the shared product is the newest
    asking = math.sqrt((0.5 ** (1 / 3) * rare) ** 2 + shared**2)
    answering = math.sqrt(shared**2 + rare**2)
    neighbors, similarities = shop.taste_index().neighbors(0, 5)
    assert neighbors.tolist() == [1]
    assert similarities.tolist() == pytest.approx([1 * shared**2 / (asking**1.2 * answering**0.8)], rel=1e-14)
    # row 1: both have the same time, so none is strictly newer
    assert shop.taste_index().neighbors(1, 5)[1].tolist() == pytest.approx([shared**2 / answering**2], rel=1e-14)


def test_an_event_without_a_time_is_not_decayed_and_decays_no_other() -> None:
    dense = np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]])
    for times, decays in (
        ([NO_TIME, NO_TIME, NO_TIME, 0], (1.0, 1.0, 1.0)),
        ([NO_TIME, 5, NO_TIME, 0], (1.0, 1.0, 1.0)),
        ([5, NO_TIME, 9, 0], (0.5 ** (1 / 3), 1.0, 1.0)),
    ):
        shop = Shop(dense, np.array([times, [0, 0, 0, 0]]), np.zeros((2, 4)), None)
        shared, alone = math.log(1 + 2 / 2), math.log(1 + 2 / 1)
        parts = [(d * w) ** 2 for d, w in zip(decays, (shared, shared, alone), strict=True)]
        answering = math.sqrt(2 * shared**2 + alone**2)
        dot = (decays[0] + decays[1]) * shared**2
        (similarity,) = shop.taste_index().neighbors(0, 5)[1].tolist()
        assert similarity == pytest.approx(dot / (math.sqrt(sum(parts)) ** 1.2 * answering**0.8), rel=1e-14)


def test_a_user_without_a_new_product_is_no_neighbor() -> None:
    owned = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]], np.float64)
    index = TasteIndex(sp.csr_array(owned))
    assert [index.neighbors(row, 9)[0].tolist() for row in range(4)] == [[3], [2, 0][::-1], [3], [0, 2]]


@settings(max_examples=300, deadline=None)
@given(shops(), st.integers(1, 15))
def test_neighbors_agree_with_the_definition_to_the_bit(shop: Shop, k: int) -> None:
    index = shop.taste_index()
    indices, similarities = index.top_k(k, n_threads=1)
    assert (indices.dtype.name, similarities.dtype.name) == ("int32", "float64")
    assert indices.shape == similarities.shape == (shop.dense.shape[0], k)
    for row in range(shop.dense.shape[0]):
        expected = neighbors_by_definition(shop, row, k)
        found = len(expected)
        assert pairs(indices[row], similarities[row]) == expected
        assert (indices[row, found:].tolist(), similarities[row, found:].tolist()) == (
            [-1] * (k - found),
            [0.0] * (k - found),
        )
        assert pairs(*index.neighbors(row, k)) == expected


@settings(max_examples=100, deadline=None)
@given(shops(), st.integers(0, 13))
def test_similarities_are_the_formula_in_60_digits(shop: Shop, row: int) -> None:
    row = row % shop.dense.shape[0]
    owned = shop.dense > 0
    with localcontext(prec=60):
        w = [(1 + Decimal(shop.known.n_users) / raters).ln() for raters in padded_raters(shop)]
        for v, similarity in pairs(*shop.taste_index().neighbors(row, 20)):
            dot = asking = answering = Decimal(0)
            for j in range(len(w)):
                newer = 0
                if shop.times is not None and shop.times[row, j] != NO_TIME:
                    newer = int((shop.times[row][owned[row]] > shop.times[row, j]).sum())
                u_weight = Decimal("0.5") ** (Decimal(newer) / 3) * Decimal(shop.dense[row, j]) * w[j]
                v_weight = Decimal(shop.dense[v, j]) * w[j]
                dot, asking, answering = dot + u_weight * v_weight, asking + u_weight**2, answering + v_weight**2
            exact = dot / (asking ** Decimal("0.6") * answering ** Decimal("0.4"))
            assert abs(Decimal(similarity) - exact) <= exact * Decimal("1e-14")


def long_tail(n_rows: int, n_columns: int, n_entries: int, seed: int, confidences: bool = False) -> Any:
    """Skewed activity and popularity: some rows read lists again, some scan, and some do both."""
    generator = np.random.default_rng(seed)
    row = (generator.random(n_entries) ** 3 * n_rows).astype(np.int64)
    column = (generator.random(n_entries) ** 4 * n_columns).astype(np.int64)
    keys = np.unique(row * n_columns + column)
    values = generator.choice([0.2, 0.5, 1.0, 2.0], keys.size) if confidences else np.ones(keys.size)
    return sp.csr_array((values, (keys // n_columns, keys % n_columns)), shape=(n_rows, n_columns))


def brute_force(profiles: Any, times: np.ndarray | None, row: int, k: int) -> list[tuple[int, float]]:
    """`neighbors_by_definition` with numpy over the rows: the same sums, column by column."""
    c = profiles.toarray()
    square = item_weights(taste_statistics(profiles)) ** 2
    span = slice(profiles.indptr[row], profiles.indptr[row + 1])
    columns, dot, asking, answering = profiles.indices[span], np.zeros(c.shape[0]), 0.0, np.zeros(c.shape[0])
    for j, own, time in zip(columns, profiles.data[span], columns if times is None else times[span], strict=True):
        newer = 0 if times is None else int((times[span] > time).sum())
        d = [1.0, 2 ** (-1 / 3), 2 ** (-2 / 3)][newer % 3] * 2.0 ** -(newer // 3)
        dot += d * own * square[j] * c[:, j]
        asking += d * own * (d * own) * square[j]
    for j in range(c.shape[1]):
        answering += c[:, j] * c[:, j] * square[j]
    with np.errstate(invalid="ignore"):
        similarity = dot / (fifth_root(np.array([asking**2 * asking]))[0] * fifth_root(answering * answering))
    new = ((c > 0) & (c[row] == 0)).any(axis=1)
    able = [v for v in np.flatnonzero((dot > 0) & new).tolist() if v != row]
    return [(v, float(similarity[v])) for v in sorted(able, key=lambda v: (-to_40_bits(similarity[v]), v))[:k]]


@pytest.mark.parametrize("confidences", [False, True], ids=["owned", "confidences"])
@pytest.mark.parametrize("timed", [False, True], ids=["no times", "times"])
@pytest.mark.parametrize("k", [3, 200])
def test_many_rows_agree_with_brute_force(confidences: bool, timed: bool, k: int) -> None:
    profiles = long_tail(2500, 300, 40_000, seed=k, confidences=confidences)
    times = np.random.default_rng(5).integers(0, 50, profiles.nnz) if timed else None
    index = TasteIndex(profiles, times=times)
    counts = np.diff(profiles.indptr)
    rows = np.concatenate([np.argsort(-counts)[:25], np.argsort(-counts)[25::60]])
    indices, similarities = index.top_k(k, rows=rows)
    for line, row in enumerate(rows.tolist()):
        assert pairs(indices[line], similarities[line]) == brute_force(profiles, times, row, k)


def test_many_equal_users_are_ordered_by_row() -> None:
    few = long_tail(40, 30, 300, seed=1).toarray()
    profiles = sp.csr_array(few[np.random.default_rng(2).integers(0, 40, 6000)])
    index = TasteIndex(profiles)
    for row in range(0, 6000, 300):
        assert pairs(*index.neighbors(row, 200)) == brute_force(profiles, None, row, 200)


def test_a_sample_that_differs_from_the_rest_is_noticed() -> None:
    # The norms ascend with the row, so every eighth row from row 4 on is the sample. Only these rows own the products
    # with the most weight for row 0. By the sample 300 rows reach a score that in fact 44 of 6,000 reach.
    n = 6000
    sampled = np.arange(n) % 8 == 4
    shared, own = np.where(sampled, 0, 1), np.arange(n) + 2
    raters = np.array([sampled.sum() + 1, (~sampled).sum()])
    squares = np.log(1 + n / raters) ** 2
    confidence = np.sqrt((1000 + np.arange(n) - squares[shared]) / np.log(1 + n) ** 2)
    entries_of = [(r, c, 1.0) for r, c in enumerate(shared.tolist())] + [(0, 0, 1.0)]
    entries_of += [(r, c, x) for r, c, x in zip(range(n), own.tolist(), confidence.tolist(), strict=True)]
    row, column, value = (np.array(part) for part in zip(*entries_of, strict=True))
    profiles = sp.coo_array((value, (row, column)), shape=(n, n + 2)).tocsr()
    profiles.sort_indices()
    found = TasteIndex(profiles).neighbors(0, 900)[0].tolist()
    assert found[:750] == np.flatnonzero(sampled).tolist()  # 1 / norm falls with the row
    assert found[750:] == np.flatnonzero(~sampled)[1:151].tolist()


def test_threads_blocks_and_rows_asked_do_not_change_a_byte() -> None:
    index = TasteIndex(long_tail(1500, 200, 20_000, seed=3))
    whole = index.top_k(50, n_threads=1)
    for n_threads in (2, 4):
        assert [array.tobytes() for array in index.top_k(50, n_threads=n_threads)] == [a.tobytes() for a in whole]
    some = np.array([1499, 7, 7, 0])
    assert [array.tobytes() for array in index.top_k(50, rows=some)] == [array[some].tobytes() for array in whole]
    done: list[int] = []
    index.top_k(5, n_threads=2, progress=done.append)
    assert done[-1] == 1500
    assert index.top_k(5, rows=[])[0].shape == (0, 5)


def test_one_index_serves_many_threads_at_once() -> None:
    index = TasteIndex(long_tail(1500, 200, 20_000, seed=3))
    expected = [pairs(*index.neighbors(row, 20)) for row in range(40)]
    wrong: list[int] = []

    def ask(first: int) -> None:
        for row in range(first, 40, 2):
            if pairs(*index.neighbors(row, 20)) != expected[row]:
                wrong.append(row)

    threads = [threading.Thread(target=ask, args=(first % 2,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- votes and stars ---------------------------------------------------------------------------------------------


def test_votes_and_stars_equal_hand_arithmetic() -> None:
    owned = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0.5], [0, 0, 0, 0]])
    stars = np.array([[8, 0, 0, 0], [6, 10, 0, 0], [0, 4, 9, 0], [0, 0, 0, 0]], np.int8)
    known = TasteStatistics(4, np.array([2, 2, 1, 1]), 3.0, np.array([0.5, 0.25, 0, 0]), np.array([0.125, -0.5, 0, 0]))
    index = TasteIndex(sp.csr_array(owned), statistics=known)
    ranked = rank_one(TasteVotes(index, sp.csr_array(stars)), 0, [1, 2, -1], [0.75, 0.5, 0.0], n=10)
    deviations = 0.75 * (5.0 - (3.0 - 0.5 + 0.25)) + 0.5 * (2.0 - (3.0 + 0.0 + 0.25))
    assert entries(ranked) == [
        (1, round9((0.75 + 0.5) / 2**0.2), 0.75 + 0.5, round9(3.0 + 0.125 + 0.25 + deviations / (1.25 + 3)), 2),
        (2, 0.5, 0.5, round9(3.0 + 0.125 + 0.0 + 0.5 * (4.5 - 3.0) / (0.5 + 3)), 1),
        (3, 0.5 * 0.5, 0.5 * 0.5, 3.0 + 0.125, 1),  # owned but not rated: no deviation
    ]
    assert [array.dtype for array in ranked] == [np.int32, np.float64, np.float64, np.float64, np.int32]


def test_equal_scores_are_ordered_by_support_then_by_column() -> None:
    owned = np.eye(5)
    known = TasteStatistics(5, np.array([1, 1, 32, 1, 1]), 3.0, np.zeros(5), np.zeros(5))
    votes = TasteVotes(TasteIndex(sp.csr_array(owned), statistics=known), sp.csr_array((5, 5), dtype=np.int8))
    ranked = rank_one(votes, 0, [2, 4, 1, 3], [0.5, 0.25, 0.25 + 1e-11, 0.2], n=None)
    # 0.5 / 32^0.2 = 0.25
    assert (ranked.columns.tolist(), ranked.score.tolist()) == ([2, 1, 4, 3], [0.25, 0.25, 0.25, 0.2])


def test_stars_are_clipped_to_the_scale() -> None:
    known = TasteStatistics(2, np.array([1, 1]), 4.5, np.array([2.0, -9.0]), np.array([0.0, 0.0]))
    profiles, nothing = sp.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]])), sp.csr_array((2, 2), dtype=np.int8)
    ranker = TasteRanker(profiles, nothing, statistics=known)
    assert ranker.predict([0, 0], [0, 1]).tolist() == [5.0, 0.5]
    ranker = TasteRanker(profiles, nothing, statistics=known, scale=Scale.of(2, 6, 1))
    assert ranker.predict([0, 0], [0, 1]).tolist() == [6.0, 2.0]


@settings(max_examples=300, deadline=None)
@given(shops(), st.integers(1, 12), st.integers(1, 9), st.sampled_from([0.0, 0.2, 0.37, 1.0]), st.data())
def test_ranking_agrees_with_the_definition(shop: Shop, k: int, n: int, damping: float, data: st.DataObject) -> None:
    n_rows, n_columns = shop.dense.shape
    mask = data.draw(st.none() | hnp.arrays(np.bool_, n_columns))
    index = shop.taste_index()
    votes = TasteVotes(index, shop.ratings, damping=damping, scale=shop.scale)
    indices, similarities = index.top_k(k, n_threads=1)
    many = rank_taste_for_rows(votes, np.arange(n_rows), indices, similarities, n=n, recommendable=mask, n_threads=1)
    times = None if shop.times is None else shop.times[shop.dense > 0]
    ranker = TasteRanker(
        shop.profiles, shop.ratings, times=times, statistics=shop.known, recommendable=mask, n_neighbors=k,
        damping=damping, n_threads=1, scale=shop.scale,
    )  # fmt: skip
    streamed = ranker.rank_products(np.arange(n_rows), n)
    assert [array.tobytes() for array in streamed] == [array.tobytes() for array in many]
    for row in range(n_rows):
        expected = ranked_by_definition(shop, row, pairs(indices[row], similarities[row]), mask, damping)
        near = index.neighbors(row, k)
        assert entries(rank_one(votes, row, *near, n=None, recommendable=mask)) == expected
        assert entries(rank_one(votes, row, *near, n=n, recommendable=mask)) == expected[:n]
        found = len(expected[:n])
        line = [array[row] for array in many]
        assert list(zip(*(array[:found].tolist() for array in line), strict=True)) == expected[:n]
        assert [array[found:].tolist() for array in line] == [[-1] * (n - found)] + [[0] * (n - found)] * 4


@settings(max_examples=150, deadline=None)
@given(shops(), st.integers(1, 12), st.data())
def test_stars_are_defined_for_every_pair_and_agree_with_the_definition(
    shop: Shop, k: int, data: st.DataObject
) -> None:
    n_rows, n_columns = shop.dense.shape
    asked = data.draw(st.lists(st.tuples(st.integers(0, n_rows - 1), st.integers(0, n_columns - 1)), max_size=20))
    times = None if shop.times is None else shop.times[shop.dense > 0]
    ranker = TasteRanker(
        shop.profiles, shop.ratings, times=times, statistics=shop.known, n_neighbors=k, n_threads=1, scale=shop.scale
    )
    expected = [stars_by_definition(shop, row, column, pairs(*ranker.index.neighbors(row, k))) for row, column in asked]
    assert ranker.predict([row for row, _ in asked], [column for _, column in asked]).tolist() == expected


def test_the_ranker_agrees_with_the_lists_for_any_number_of_threads() -> None:
    profiles = long_tail(1500, 2000, 30_000, seed=8)
    generator = np.random.default_rng(4)
    stars = sp.csr_array((generator.integers(0, 11, profiles.nnz).astype(np.int8), profiles.indices, profiles.indptr))
    times, mask = generator.integers(0, 10**9, profiles.nnz), generator.random(2000) < 0.9
    one, two = (TasteRanker(profiles, stars, times=times, recommendable=mask, n_threads=threads) for threads in (1, 2))
    rows = np.arange(1500)
    done: list[int] = []
    ranked = one.rank_products(rows, 10)
    again = two.rank_products(rows, 10, progress=done.append)
    assert [array.tobytes() for array in again] == [array.tobytes() for array in ranked]
    assert done[-1] == 1500
    assert two.rank(rows[5:9], 10).tolist() == ranked.columns[5:9].tolist()
    listed = ranked.columns >= 0
    predicted = two.predict(np.broadcast_to(rows[:, None], listed.shape)[listed], ranked.columns[listed])
    assert predicted.tolist() == ranked.stars[listed].tolist()
    seen = profiles.toarray() > 0
    assert not seen[np.broadcast_to(rows[:, None], listed.shape)[listed], ranked.columns[listed]].any()
    assert mask[ranked.columns[listed]].all()


def test_long_lists_have_the_same_order_by_every_code_path() -> None:
    profiles = long_tail(400, 3000, 30_000, seed=6)
    shop = Shop(profiles.toarray(), None, np.zeros(profiles.shape, np.int64), taste_statistics(profiles))
    votes = TasteVotes(shop.taste_index(), shop.ratings)
    for row, k in ((0, 200), (0, 2), (200, 40), (399, 3)):  # many neighbors scan all products, few read lists
        near = votes.index.neighbors(row, k)
        expected = ranked_by_definition(shop, row, pairs(*near), None)
        for n in (1, 10, 500):
            assert entries(rank_one(votes, row, *near, n=n)) == expected[:n]
        assert entries(rank_one(votes, row, *near, n=None)) == expected


def test_a_user_without_neighbors_gets_no_ranked_product() -> None:
    ranker = TasteRanker(sp.csr_array(np.array([[1.0, 0.0]])), sp.csr_array(np.array([[9, 0]], np.int8)))
    assert ranker.rank([0], 2).tolist() == [[-1, -1]]
    # mu = 4.5, no deviations at all
    assert ranker.predict([0, 0], [0, 1]).tolist() == [4.5, 4.5]
    assert ranker.rank([], 3).shape == (0, 3)
    assert ranker.predict([], []).tolist() == []
    empty = TasteRanker(sp.csr_array((3, 0)), sp.csr_array((3, 0), dtype=np.int8))
    assert empty.rank([0, 2], 1).tolist() == [[-1], [-1]]


def test_statistics_without_users_give_no_weight() -> None:
    known = TasteStatistics(0, np.zeros(0, np.int64), 3.0, np.zeros(0), np.zeros(0))
    index = TasteIndex(sp.csr_array(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])), statistics=known)
    assert index.top_k(3)[0].tolist() == [[-1] * 3] * 2  # ln(1 + 0 / 1) = 0: no similarity is above 0


# ---- refusals: compiled code checks no bounds, so these would read foreign memory --------------------------------

PROFILES = sp.csr_array(np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
STARS = sp.csr_array(np.array([[8, 6, 0], [0, 4, 0]], np.int8))
INDEX = TasteIndex(PROFILES)
VOTES = TasteVotes(INDEX, STARS)


def with_values(values: list[float]) -> Any:
    return sp.csr_array((np.array(values), PROFILES.indices, PROFILES.indptr), shape=PROFILES.shape)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "dense": (lambda: TasteIndex(np.ones((2, 2))), "profiles are ndarray, not a scipy CSR array"),
    "columns": (lambda: TasteIndex(sp.csr_array(PROFILES.T).T), "profiles are csc_array, not a scipy CSR array"),
    "twice": (
        lambda: TasteIndex(sp.csr_array((np.ones(2), [1, 1], [0, 2]), shape=(1, 2))),
        "row 0, column 1 comes after a larger or equal column",
    ),
    "times": (lambda: TasteIndex(PROFILES, times=np.zeros(3, np.int64)), "one for each of the 4 entries"),
    "time kind": (lambda: TasteIndex(PROFILES, times=cast(Any, np.zeros(4))), "times are float64"),
    "k": (lambda: INDEX.top_k(0), "k=0"),
    "row": (lambda: INDEX.neighbors(2, 1), "row 2 does not exist: pass rows from 0 to 1"),
    "negative row": (lambda: INDEX.top_k(1, rows=[0, -1]), "row -1 does not exist"),
    "rows": (lambda: INDEX.top_k(1, rows=[0.5]), "pass a list of whole row numbers"),
    "threads": (lambda: INDEX.top_k(1, n_threads=0), "n_threads=0"),
    "ratings": (lambda: TasteVotes(INDEX, sp.csr_array((2, 2), dtype=np.int8)), "must have one shape"),
    "not owned": (
        lambda: TasteVotes(INDEX, sp.csr_array(np.array([[8, 6, 2], [0, 4, 0]], np.int8))),
        "1 ratings are of products not in the user's profile",
    ),
    "damping": (lambda: TasteVotes(INDEX, STARS, damping=math.nan), "damping=nan"),
    "neighbor": (lambda: rank_one(VOTES, 0, [2], [0.5], n=1), "neighbor 2 does not exist"),
    "negative neighbor": (lambda: rank_one(VOTES, 0, [-2], [0.5], n=1), "neighbor -2 does not exist"),
    "lengths": (lambda: rank_one(VOTES, 0, [1], [0.5, 0.5], n=1), "one list per row"),
    "lists": (lambda: rank_taste_for_rows(VOTES, [0, 1], [[1]], [[0.5]], n=1), "one list per row"),
    "ranked row": (lambda: rank_one(VOTES, 5, [1], [0.5], n=1), "row 5 does not exist"),
    "n": (lambda: rank_one(VOTES, 0, [1], [0.5], n=0), "n=0"),
    "mask": (lambda: rank_one(VOTES, 0, [1], [0.5], n=1, recommendable=np.ones(4, np.bool_)), "(3,)"),
    "pairs": (lambda: TasteRanker(PROFILES, STARS).predict([0], [0, 1]), "1 rows and 2 columns differ in number"),
    "column": (lambda: TasteRanker(PROFILES, STARS).predict([0], [3]), "column 3 does not exist"),
    "statistics": (lambda: taste_statistics(PROFILES, STARS[:, :2]), "must have one shape"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arguments_that_do_not_fit_are_refused_in_one_line(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(SettingError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, 1e-12, 1e12])
def test_invalid_confidences_are_refused_with_their_position(bad: float) -> None:
    with pytest.raises(RatingError, match="at row 1, column 1 is not from 1e-09 to 1000000000.0"):
        TasteIndex(with_values([1.0, 1.0, bad, 1.0]))


def test_single_precision_confidences_are_used_with_their_exact_values() -> None:
    values = [1.0, 0.2, 0.5, 2.0]
    single = TasteIndex(with_values(values).astype(np.float32)).top_k(1)[1]
    assert (
        single.tolist() == TasteIndex(with_values([float(np.float32(value)) for value in values])).top_k(1)[1].tolist()
    )
    assert Fraction(float(np.float32(0.2))) != Fraction(0.2)
