"""Steps below the taste ranking: right order, no known or repeated product, new products drawn by a fixed hash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.fallback import (
    MICROSECONDS_PER_DAY,
    NEW_PRODUCT_SHARE,
    SOURCES,
    ColdStart,
    FilledLists,
    build_cold_start,
    find_new_products,
)
from recommender.fallback import _cold_start_kernels as kernels
from recommender.fallback.popular import damped_means
from recommender.shop import Profiles, RatingMatrix

N = 8  # products of the small shops
NEIGHBORS, SEGMENT, POPULAR, NEW = range(4)


def shop_of(
    owned: Sequence[Sequence[int]], n_products: int = N, recommendable: Sequence[bool] | None = None
) -> tuple[RatingMatrix, Profiles]:
    """Users 1, 2, ... who rated these products: product 0 one star, product 1 two, and so on, then from one again."""
    rows = np.repeat(np.arange(len(owned)), [len(line) for line in owned])
    columns = np.array([column for line in owned for column in sorted(line)], np.int32)
    stars = (2 * (1 + columns % 5)).astype(np.int8)
    ratings = sp.csr_array((stars, (rows, columns)), shape=(len(owned), n_products))
    ids = np.array([f"P{column:05}" for column in range(n_products)], np.bytes_)
    mask = np.ones(n_products, np.bool_) if recommendable is None else np.array(recommendable)
    matrix = RatingMatrix(ratings, np.arange(1, len(owned) + 1), ids, mask)
    ones = sp.csr_array((np.ones(ratings.nnz), ratings.indices, ratings.indptr), shape=ratings.shape)
    return matrix, Profiles(ones, None)


def blank(m: int, n: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    return np.full((m, n), -1, np.int32), np.zeros((m, n))


def as_arrays(filled: FilledLists) -> list[NDArray[Any]]:
    return [filled.columns, filled.stars, filled.sources]


def named(filled: FilledLists, row: int = 0) -> list[tuple[int, str]]:
    """Column and source of each place of one list."""
    pairs = zip(filled.columns[row].tolist(), filled.sources[row].tolist(), strict=True)
    return [(column, SOURCES[source]) for column, source in pairs if column >= 0]


# --- the steps


def test_the_segments_products_come_before_popular_ones_and_each_names_its_source() -> None:
    # product 0 has 3 users, product 1 has 2, product 2 has 2 of segment 0, product 3 has 1 of segment 1
    matrix, profiles = shop_of([[0, 1], [0, 1], [0], [2], [2], [3], [], [], []])
    segments = np.array([-1, -1, -1, 0, 0, 1, 0, 1, -1], np.int32)
    cold = build_cold_start(matrix, profiles, segments=segments, prior=1.0)
    filled = cold.top_up([6, 7, 8], *blank(3, 5))
    assert named(filled, 0) == [(2, "segment"), (0, "popular"), (1, "popular"), (3, "popular")]
    assert named(filled, 1) == [(3, "segment"), (0, "popular"), (2, "popular"), (1, "popular")]
    assert named(filled, 2) == [(0, "popular"), (2, "popular"), (1, "popular"), (3, "popular")]
    assert filled.columns[:, 4].tolist() == filled.sources[:, 4].tolist() == [-1, -1, -1]  # nothing is left
    # 8 ratings of 1, 2, 1, 2, 1, 3, 3, 4 stars: mu = 17 / 8; product 2 has two of 3 stars
    assert filled.stars[0, 0] == round((6 + 10 * 17 / 8) / (2 + 10), 9)
    assert filled.stars[0, 1] == round((3 + 10 * 17 / 8) / (3 + 10), 9)


def test_a_list_keeps_its_products_and_continues_with_unlisted_and_unknown_ones() -> None:
    matrix, profiles = shop_of([[0, 1, 2, 3], [0, 1, 2], [0, 1, 4], [0]])
    cold = build_cold_start(matrix, profiles)
    columns = np.array([[5, 1, -1, -1], [7, 6, 5, 3]], np.int32)
    stars = np.array([[4.5, 4.4, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]])
    filled = cold.top_up([3, 0], columns, stars, new_share=0.0)
    assert named(filled, 0) == [(5, "neighbors"), (1, "neighbors"), (2, "popular"), (4, "popular")]
    assert named(filled, 1) == [(7, "neighbors"), (6, "neighbors"), (5, "neighbors"), (3, "neighbors")]
    assert filled.stars[0, :2].tolist() == [4.5, 4.4]
    assert filled.stars[1].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert columns.tolist() == [[5, 1, -1, -1], [7, 6, 5, 3]]  # the caller's lists stay unchanged


def test_interactions_count_by_their_weight_and_a_product_without_a_rating_shows_mu() -> None:
    matrix, _ = shop_of([[0], [0], [4]])
    heavy = sp.csr_array(np.array([[1, 0, 0, 0], [1, 0, 0, 0.0], [0, 0, 2.5, 1]]))
    padded = sp.csr_array((heavy.data, heavy.indices, heavy.indptr), shape=(3, 4))
    ratings = sp.csr_array(np.array([[2, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 10]], np.int8))
    matrix = RatingMatrix(ratings, matrix.user_ids, np.array([b"A", b"B", b"C", b"D"]), np.ones(4, np.bool_))
    cold = build_cold_start(matrix, Profiles(padded, None))
    filled = cold.for_segment(-1, [], 4, user_id=9)
    assert named(filled) == [(2, "popular"), (0, "popular"), (3, "popular")]
    assert filled.stars[0, 0] == round((1 + 1 + 5) / 3, 9)  # nobody rated it


class World(NamedTuple):
    """A small shop, and lists to be filled up."""

    owned: list[set[int]]
    recommendable: list[bool]
    segments: list[int]
    lists: list[list[int]]
    n: int


@st.composite
def worlds(draw: st.DrawFn) -> World:
    products = st.sets(st.integers(0, N - 1))
    owned = draw(st.lists(products, min_size=1, max_size=9))
    n = draw(st.integers(1, N + 2))
    lists = [draw(st.permutations(sorted(set(range(N)) - mine)).map(lambda line: line[:n])) for mine in owned]
    return World(
        owned,
        draw(st.lists(st.booleans(), min_size=N, max_size=N)),
        draw(st.lists(st.integers(-1, 2), min_size=len(owned), max_size=len(owned))),
        [line[: draw(st.integers(0, len(line)))] for line in lists],
        n,
    )


def topped_up(world: World, row: int, prior: float) -> list[tuple[int, int]]:
    """The list that the formulas give: one score for each product, all of them sorted."""
    counts = [sum(product in mine for mine in world.owned) for product in range(N)]
    total = sum(counts[i] for i in range(N) if world.recommendable[i])
    members = [mine for mine, s in zip(world.owned, world.segments, strict=True) if s == world.segments[row] >= 0]
    theirs = [sum(product in mine for mine in members) for product in range(N)]
    stars = damped_means(shop_of([sorted(mine) for mine in world.owned])[0]).tolist()
    order = [
        (-round(theirs[i] + round(prior * counts[i] / total, 9), 9), not theirs[i], -counts[i], -stars[i], i)
        for i in range(N)
        if world.recommendable[i] and counts[i] and i not in world.owned[row] and i not in world.lists[row]
    ]
    found = [(i, NEIGHBORS) for i in world.lists[row]]
    found += [(entry[-1], SEGMENT if theirs[entry[-1]] else POPULAR) for entry in sorted(order)]
    return found[: world.n]


@settings(deadline=None)
@given(worlds(), st.sampled_from([0.3, 2.0, 50.0]))
def test_every_list_is_filled_by_the_formulas(world: World, prior: float) -> None:
    matrix, profiles = shop_of([sorted(mine) for mine in world.owned], recommendable=world.recommendable)
    segments = np.array(world.segments, np.int32)
    cold = build_cold_start(matrix, profiles, segments=segments, n_segments=3, prior=prior)
    columns, stars = blank(len(world.owned), world.n)
    for row, line in enumerate(world.lists):
        columns[row, : len(line)], stars[row, : len(line)] = line, 4.25
    rows = np.arange(len(world.owned))[::-1]  # rows in any order
    filled = cold.top_up(rows, columns[rows], stars[rows], new_share=0.0)
    means = damped_means(matrix)
    for place, row in enumerate(rows.tolist()):
        expected = topped_up(world, row, prior)
        rest = [-1] * (world.n - len(expected))
        assert filled.columns[place].tolist() == [column for column, _ in expected] + rest
        assert filled.sources[place].tolist() == [source for _, source in expected] + rest
        shown = [4.25 if source == NEIGHBORS else means[column] for column, source in expected]
        assert filled.stars[place].tolist() == shown + [0.0] * len(rest)
        alone = cold.top_up([row], columns[row : row + 1], stars[row : row + 1], new_share=0.0)
        assert [array[0].tolist() for array in as_arrays(alone)] == [
            array[place].tolist() for array in as_arrays(filled)
        ]
        stranger = cold.for_segment(world.segments[row], sorted(world.owned[row])[::-1], world.n, user_id=1)
        if not world.lists[row]:
            assert stranger.columns[0].tolist() == filled.columns[place].tolist()
            assert stranger.sources[0].tolist() == filled.sources[place].tolist()


def test_a_user_with_every_product_and_an_empty_shop_get_an_empty_list() -> None:
    matrix, profiles = shop_of([list(range(N)), [0]])
    assert build_cold_start(matrix, profiles).top_up([0], *blank(1, 3)).columns.tolist() == [[-1, -1, -1]]
    matrix, profiles = shop_of([[], []])
    filled = build_cold_start(matrix, profiles, segments=np.array([0, -1], np.int32)).top_up([0, 1], *blank(2, 3))
    assert filled.columns.tolist() == [[-1, -1, -1]] * 2
    assert filled.sources.tolist() == [[-1, -1, -1]] * 2
    no_one, nothing = shop_of([], 0)
    assert build_cold_start(no_one, nothing).for_segment(-1, [], 2, user_id=1).columns.tolist() == [[-1, -1]]


def test_a_nearly_forgotten_product_of_a_member_still_belongs_to_the_segment() -> None:
    matrix, profiles = shop_of([[0], [1], []])
    timed = Profiles(profiles.confidences, np.array([20_000 * MICROSECONDS_PER_DAY, 0]))
    cold = build_cold_start(matrix, timed, segments=np.array([-1, 0, 0], np.int32), half_life=365)
    assert named(cold.top_up([2], *blank(1, 2))) == [(0, "popular"), (1, "segment")]


def test_known_products_can_be_more_than_the_profile() -> None:
    matrix, profiles = shop_of([[0, 1], [0], []])
    seen = sp.csr_array(np.array([[1] * N, [0] * N, [0, 1] + [0] * (N - 2)], np.int8))
    cold = build_cold_start(matrix, profiles, seen=seen)
    assert [named(cold.top_up([row], *blank(1, 4))) for row in range(3)] == [
        [],
        [(0, "popular"), (1, "popular")],
        [(0, "popular")],
    ]


# --- new products

CATEGORIES = np.array(
    [7, 7, 3, 3, 9, 9, 5, 5, 7, 7, 3, 9, 5]
)  # a catalog of 13: 8 in the matrix, 5 only in the catalog


def shop_with_news(n_users: int = 400) -> tuple[RatingMatrix, Profiles, ColdStart]:
    """Users have products 0 to 4; 5 to 7 are in the matrix without users; 8 to 12 are only in the catalog.

    The rows in turn have 0 and 1 (category 7); 2 and 3 (category 3) and 4 (category 9); nothing.
    """
    matrix, profiles = shop_of([[[0, 1], [2, 3, 4], []][row % 3] for row in range(n_users)])
    news = find_new_products(
        profiles.raters(),
        matrix.recommendable,
        np.arange(13, dtype=np.int32),
        stars=np.array([4.0] * 8 + [4.0, 1.0, 3.0, 2.0, 0.0]),
        category_ids=CATEGORIES,
    )
    return matrix, profiles, build_cold_start(matrix, profiles, new=news)


def test_new_products_are_in_the_catalog_and_nobody_has_them() -> None:
    matrix, profiles = shop_of([[0, 1], [1, 2]], recommendable=[True] * 5 + [False, True, True])
    # column 6 has left the catalog, 5 may not be recommended; rows 3, 6, 7, 10 have no column of the matrix
    rows = np.array([4, 5, 0, 9, 8, 1, -1, 2, 3, 6, 7, 10], np.int32)
    news = find_new_products(
        profiles.raters(), matrix.recommendable, rows,
        stars=np.array([5.0, 5.0, 4.0, 3.0, 5.0, 5.0, 0.0, 1.0, 2.0, 4.0, 5.0]),
        category_ids=np.array([1, 1, 1, 2, 2, 2, 2, 1, 1, 2, 2]),
    )  # fmt: skip
    # columns 3, 4, 7 are in rows 9, 8, 2
    assert news.columns.tolist() == [4, 7, 10, 3, 8, 9, 11]  # category 1, then 2
    assert news.starts.tolist() == [0, 3, 7]
    # tenths of stars; row 6 has no stars and counts as the mean of 20, 40, 10, 40, 30 and 50
    assert np.diff(news.sums, prepend=0).tolist() == [20, 40, 10, 40, 30, 32, 50]
    assert news.category_of.tolist() == [1, 1, 0, 1, 0, 0, -1, 0]


def test_a_user_without_products_of_a_category_with_new_ones_gets_no_new_product() -> None:
    matrix, profiles = shop_of([[0, 1], [0], [1], []], 2)
    rows = np.arange(3, dtype=np.int32)
    news = find_new_products(
        profiles.raters(), matrix.recommendable, rows, stars=np.zeros(3), category_ids=np.array([1, 2, 2])
    )
    assert news.category_of.tolist() == [-1, 0]
    assert (news.columns.tolist(), news.sums.tolist()) == ([2], [1])  # no stars anywhere: each product has a chance
    filled = build_cold_start(matrix, profiles, new=news).top_up([0, 1, 2, 3], *blank(4, 3), new_share=1.0)
    assert named(filled, 0) == []  # the list holds nothing else
    assert named(filled, 1) == [(1, "popular")]
    assert named(filled, 2) == [(0, "popular"), (2, "new")]
    assert named(filled, 3) == [(1, "popular"), (0, "popular"), (2, "new")]  # 1 has more stars
    none = find_new_products(
        profiles.raters(), matrix.recommendable, rows[:2], stars=np.zeros(2), category_ids=np.array([1, 2])
    )
    assert none.category_of.tolist() == [-1, -1]
    filled = build_cold_start(matrix, profiles, new=none).top_up([0], *blank(1, 2), new_share=1.0)
    assert filled.columns.tolist() == [[-1, -1]]


def test_a_new_product_is_last_is_of_a_category_of_the_user_and_shows_mu() -> None:
    matrix, _, cold = shop_with_news()
    rows = np.arange(400)
    plain = cold.top_up(rows, *blank(400, 4), new_share=0.0)
    filled = cold.top_up(rows, *blank(400, 4), new_share=1.0)
    assert not (plain.sources == NEW).any()
    # users with 0 and 1 see 2, 3, 4, and users with 2, 3, 4 see 0 and 1, then a new one; the others see any four
    last = np.where(rows % 3 == 1, 2, 3)
    assert (filled.sources[rows, last] == NEW).all()
    assert ((filled.sources == NEW).sum(axis=1) == 1).all()
    before = np.arange(4) < last[:, None]
    assert (filled.columns == plain.columns)[before].all()
    assert filled.columns[rows % 3 == 1, 3].tolist() == [-1] * 133
    assert (filled.stars[rows, last] == round(matrix.mean_rating, 9)).all()
    got = filled.columns[rows, last]
    assert set(got[rows % 3 == 0].tolist()) == {8, 9}  # category 7
    assert set(got[rows % 3 == 1].tolist()) == {10, 5, 11}  # categories 3 and 9
    assert set(got[rows % 3 == 2].tolist()) == {5, 6, 7, 8, 9, 10, 11, 12}  # any
    # users with 2 and 3 (category 3) and 4 (category 9): two in three new products are of category 3
    in_three = (got[rows % 3 == 1] == 10).mean()
    assert abs(in_three - 2 / 3) < 0.1


def test_the_share_of_lists_and_the_chance_of_each_product_are_as_stated() -> None:
    _, _, cold = shop_with_news(60_000)
    rows = np.arange(0, 60_000, 3)  # 20,000 users with 0 and 1: they get 8 with 4 stars or 9 with 1
    filled = cold.top_up(rows, *blank(len(rows), 3))
    got = filled.columns[filled.sources == NEW]
    n = NEW_PRODUCT_SHARE * len(rows)  # 2,000
    assert abs(len(got) - n) < 4 * (n * 0.9) ** 0.5  # four standard deviations: one fault in 16,000
    assert abs((got == 8).mean() - 40 / (40 + 10)) < 4 * (0.8 * 0.2 / n) ** 0.5
    half, none = (cold.top_up(rows, *blank(len(rows), 3), new_share=share).sources for share in (0.5, 0.0))
    assert abs((half == NEW).sum() - len(rows) / 2) < 4 * (len(rows) / 4) ** 0.5
    assert not (none == NEW).any()
    # another version shows new products to others; a longer list of the same version shows them to the same
    who = [
        set(rows[(cold.top_up(rows, *blank(len(rows), n), version=version).sources == NEW).any(axis=1)].tolist())
        for n, version in ((3, 0), (3, 1), (4, 0))
    ]
    assert 100 < len(who[0] & who[1]) < 300  # a tenth of a tenth of 20,000: independent
    assert who[0] == who[2]


def test_a_list_of_one_place_and_an_empty_list_get_no_new_product() -> None:
    _, _, cold = shop_with_news()
    one = cold.top_up(np.arange(400), *blank(400, 1), new_share=1.0)
    assert not (one.sources == NEW).any()
    matrix, profiles = shop_of([[0, 1], [0, 1]])
    rows = np.arange(N, dtype=np.int32)
    news = find_new_products(
        profiles.raters(), matrix.recommendable, rows, stars=np.ones(N), category_ids=np.ones(N, np.int64)
    )
    cold = build_cold_start(matrix, profiles, new=news)
    assert cold.top_up([0, 1], *blank(2, 4), new_share=1.0).columns.tolist() == [[-1] * 4] * 2
    assert len(named(cold.for_segment(-1, [0], 4, user_id=3, new_share=1.0))) == 2


def test_a_new_product_replaces_a_neighbors_product_and_is_in_a_list_only_once() -> None:
    _, _, cold = shop_with_news()
    columns = np.tile(np.array([8, 9, 3], np.int32), (400, 1))  # a list that has both new ones of category 7
    filled = cold.top_up(np.arange(400), columns, np.full((400, 3), 4.0), new_share=1.0)
    assert filled.columns[::3].tolist() == [[8, 9, 3]] * 134
    assert {tuple(line[:2]) for line in filled.columns[1::3].tolist()} == {(8, 9)}
    assert set(filled.columns[1::3, 2].tolist()) == {10, 5, 11}
    assert filled.sources[1::3].tolist() == [[NEIGHBORS, NEIGHBORS, NEW]] * 133


M64 = 2**64 - 1


def splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def test_the_hash_is_splitmix64() -> None:
    mixed, draw_of = njit(kernels.mixed.py_func), njit(kernels.draw_of.py_func)  # callable from Python
    # the first numbers of the reference implementation from the seeds 0 and 1234567
    assert int(mixed(np.uint64(0))) == splitmix(0) == 0xE220A8397B1DCDAF
    assert int(mixed(np.uint64(1234567))) == splitmix(1234567) == 6457827717110365317
    for user, version in ((1, 0), (2**63 - 1, 7), (42, 2**40)):
        assert int(draw_of(user, version)) == splitmix(splitmix(user) ^ version)


def test_the_hash_alone_decides_which_user_gets_which_new_product() -> None:
    _, _, cold = shop_with_news(6_000)
    rows = np.arange(2, 6_000, 3)  # without a profile: any category
    filled = cold.top_up(rows, *blank(len(rows), 5), version=3, new_share=0.75)
    weight = np.diff(cold.new.sums, prepend=0).tolist()
    pool = [column for column, times in zip(cold.new.columns.tolist(), weight, strict=True) for _ in range(times)]
    for place, row in enumerate(rows.tolist()):
        draw = splitmix(splitmix(row + 1) ^ 3)
        second = splitmix(splitmix(draw))
        expected = [pool[second % len(pool)]] if (draw >> 11) < 0.75 * 2**53 else []
        assert [column for column, source in named(filled, place) if source == "new"] == expected
    assert (filled.sources == NEW).any()
    backwards = cold.top_up(rows[::-1], *blank(len(rows), 5), version=3, new_share=0.75)
    assert backwards.columns[::-1].tolist() == filled.columns.tolist()
    stranger = [cold.for_segment(-1, [], 5, user_id=int(row) + 1, version=3, new_share=0.75) for row in rows]
    assert [one.columns[0].tolist() for one in stranger] == filled.columns.tolist()


# --- in a file


def saved() -> tuple[dict[str, Any], RatingMatrix, Profiles, ColdStart]:
    matrix, profiles, cold = shop_with_news(30)
    segments = (np.arange(30) % 4 - 1).astype(np.int32)
    cold = build_cold_start(matrix, profiles, segments=segments, new=cold.new)
    return cold.arrays(), matrix, profiles, cold


def test_saved_arrays_give_the_same_lists() -> None:
    arrays, matrix, profiles, cold = saved()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    again = ColdStart.from_arrays(arrays, profiles.confidences, matrix.user_ids)
    mine, others = (one.top_up(np.arange(30), *blank(30, 4), new_share=0.5) for one in (cold, again))
    assert [array.tolist() for array in as_arrays(mine)] == [array.tolist() for array in as_arrays(others)]
    assert again.arrays().keys() == arrays.keys()


FAULTS: dict[str, tuple[str, Any, str]] = {
    "missing": ("own", None, "array own is missing: save it again"),
    "float32": ("scores", lambda a: a.astype(np.float32), r"scores is float32 of shape \(\d+,\)"),
    "two dimensions": ("popular", lambda a: a[None], r"popular is int32 of shape \(1, \d\)"),
    "short shares": ("shares", lambda a: a[:-1], "its parts are of different sizes"),
    "short scores": ("scores", lambda a: a[:-1], "its parts are of different sizes"),
    "short stars": ("stars", lambda a: a[:-1], "its parts are of different sizes"),
    "short categories": ("new.category_of", lambda a: a[:-1], "its parts are of different sizes"),
    "short sums": ("new.sums", lambda a: a[:-1], "its parts are of different sizes"),
    "short rows": ("segment_of_row", lambda a: a[:-1], "its parts are of different sizes"),
    "no mean": ("mean", lambda a: a[:0], "its parts are of different sizes"),
    "starts beyond": ("starts", lambda a: a + (np.arange(len(a)) == len(a) - 1), "its segments do not rise"),
    "starts fall": ("starts", lambda a: np.array([0, 9, 2, a[-1]]), "its segments do not rise"),
    "no starts": ("starts", lambda a: a[:0], "its segments do not rise"),
    "first start": ("starts", lambda a: np.maximum(a, 1), "its segments do not rise"),
    "categories fall": ("new.starts", lambda a: a[::-1].copy(), "its categories do not rise"),
    "popular above": ("popular", lambda a: np.where(a == a[0], N, a).astype(np.int32), "a column is out of range"),
    "popular below": ("popular", lambda a: np.where(a == a[0], -1, a).astype(np.int32), "a column is out of range"),
    "own above": ("own", lambda a: np.where(a == a[0], N, a).astype(np.int32), "a column is out of range"),
    "new below": ("new.columns", lambda a: np.where(a == 5, -2, a).astype(np.int32), "a column is out of range"),
    "new with a gap": ("new.columns", lambda a: np.where(a == 12, 13, a).astype(np.int32), "a column is out of range"),
    "segment above": ("segment_of_row", lambda a: a + np.int32(1), "a segment is out of range"),
    "segment below": ("segment_of_row", lambda a: a - np.int32(1), "a segment is out of range"),
    "category above": ("new.category_of", lambda a: a + np.int32(4), "a category is out of range"),
    "category below": ("new.category_of", lambda a: a - np.int32(3), "a category is out of range"),
    "no chance": ("new.sums", lambda a: np.where(np.arange(len(a)) == 1, a[0], a), "a chance is not above 0"),
    "first no chance": ("new.sums", lambda a: a - a[0], "a chance is not above 0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_arrays_that_would_lead_compiled_code_out_of_bounds_are_refused(fault: str) -> None:
    arrays, matrix, profiles, _ = saved()
    name, change, message = FAULTS[fault]
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    with pytest.raises(SettingError, match=f"^cold start: {message}"):
        ColdStart.from_arrays(arrays, profiles.confidences, matrix.user_ids)


def test_arrays_of_other_users_or_products_are_refused() -> None:
    arrays, matrix, profiles, _ = saved()
    for seen, user_ids in (
        (profiles.confidences, matrix.user_ids[1:]),
        (profiles.confidences[1:], matrix.user_ids[1:]),
        (profiles.confidences[:, 1:], matrix.user_ids),
    ):
        with pytest.raises(SettingError, match="^cold start: its parts are of different sizes"):
            ColdStart.from_arrays(arrays, seen, user_ids)


# --- invalid arguments --


def test_invalid_arguments_are_named_with_the_remedy() -> None:
    matrix, profiles, cold = shop_with_news(6)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: cold.top_up([6], *blank(1, 3)), "row 6 does not exist: pass rows from 0 to 5"),
        (lambda: cold.top_up([-1], *blank(1, 3)), "row -1 does not exist: pass rows from 0 to 5"),
        (lambda: cold.top_up([0, 1], *blank(1, 3)), r"columns \(1, 3\) and stars \(1, 3\) must have one line per row "),
        (lambda: cold.top_up([0], blank(1, 3)[0], blank(1, 2)[1]), r"columns \(1, 3\) and stars \(1, 2\) must have"),
        (lambda: cold.top_up([0], *blank(1, 3), new_share=1.1), "new_share=1.1 cannot be used: pass a share from 0 to"),
        (lambda: cold.top_up([0], *blank(1, 3), new_share=-0.1), "new_share=-0.1 cannot be used"),
        (lambda: cold.top_up([0], *blank(1, 3), new_share=np.nan), "new_share=nan cannot be used"),
        (lambda: cold.top_up([0], *blank(1, 3), version=-1), "version=-1 cannot be used: pass a whole number from 0"),
        (lambda: cold.for_segment(0, [], 3, user_id=1), "segment=0 does not exist: there is none; pass -1"),
        (lambda: cold.for_segment(-1, [], 0, user_id=1), "n=0 cannot be used: pass a whole number of 1 or more"),
    ]
    for call, message in calls:
        with pytest.raises(SettingError, match=f"^{message}"):
            call()
    by_segment = build_cold_start(matrix, profiles, segments=np.array([0, 1, -1, 0, 0, 0], np.int32))
    for segment in (-2, 2):
        with pytest.raises(SettingError, match=f"^segment={segment} does not exist: pass one from 0 to 1, or -1$"):
            by_segment.for_segment(segment, [], 3, user_id=1)
    for segments, count in (([0, 1], None), ([0, 1, 2, 0, 0, 0], 2), ([0, 0, 0, 0, 0, -2], None)):
        with pytest.raises(SettingError, match="^segments .* do not fit: pass one number for each of 6 rows, from -1"):
            build_cold_start(matrix, profiles, segments=np.array(segments, np.int32), n_segments=count)
    with pytest.raises(SettingError, match="do not fit 8 products and a catalog of 3: pass one flag and row per"):
        find_new_products(
            profiles.raters(), matrix.recommendable, np.zeros(7, np.int32), stars=np.ones(3),
            category_ids=np.ones(3, np.int64),
        )  # fmt: skip
