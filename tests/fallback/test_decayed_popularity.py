"""What is popular now in a shop and its segments: equal to plain dictionaries, and right in provable cases."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.fallback import MICROSECONDS_PER_DAY, rank_popular
from recommender.fallback.decayed_popularity import Popularity, decayed, popularity, segment_scores, shares
from recommender.fallback.decayed_sums import PopularitySums, popularity_sums
from recommender.fallback.popular import damped_means
from recommender.shop import NO_TIME, Profiles, RatingMatrix

N_PRODUCTS = 7
Cells = dict[tuple[int, int], tuple[float, int]]  # (row, column) -> confidence, day

cells_of = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, N_PRODUCTS - 1)),
    st.tuples(st.sampled_from([0.2, 0.5, 1.0, 2.0]), st.integers(0, 2_000)),
)
flags = st.lists(st.booleans(), min_size=N_PRODUCTS, max_size=N_PRODUCTS)
segments_of = st.lists(st.integers(-1, 2), min_size=6, max_size=6)


def profiles_of(cells: Cells, n_users: int = 6, n_products: int = N_PRODUCTS) -> Profiles:
    """Profiles with these confidences, each event a second after its day began."""
    keys = sorted(cells)
    counts = np.bincount([row for row, _ in keys], minlength=n_users)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    columns = np.array([column for _, column in keys], np.int32)
    confidences = np.array([cells[key][0] for key in keys], np.float64)
    times = np.array([cells[key][1] for key in keys], np.int64) * MICROSECONDS_PER_DAY + 1_000_000
    return Profiles(sp.csr_array((confidences, columns, indptr), shape=(n_users, n_products)), times)


def plain_scores(cells: Cells, half_life: int | None, rows: set[int]) -> dict[int, float]:
    """The sum over these rows of c * 2^(-age / half_life), product by product."""
    newest = max(day for _, day in cells.values())
    found: dict[int, float] = defaultdict(float)
    for (row, column), (confidence, day) in sorted(cells.items()):
        if row in rows:
            found[column] += confidence * (1.0 if half_life is None else 2.0 ** (-(newest - day) / half_life))
    return found


def rounded(value: float) -> float:
    """Round to 9 decimals as the arrays are; `round` may decide otherwise for a value half between two."""
    return float(np.rint(value * 1e9) / 1e9)


def sums_of(profiles: Profiles, weights: NDArray[np.float64]) -> PopularitySums:
    """The sums of a shop without segments."""
    return popularity_sums(profiles, weights, np.full(profiles.confidences.shape[0], -1, np.int32), 0)


@settings(deadline=None)
@given(
    cells_of.filter(len), flags, segments_of, st.sampled_from([1, 30, 365, None]), st.sampled_from([0.5, 3.0, 100.0])
)
def test_orders_equal_those_of_plain_dictionaries(
    cells: Cells, allowed: list[bool], segments: list[int], half_life: int | None, prior: float
) -> None:
    profiles, stars = profiles_of(cells), np.array([4.0, 3.0, 4.0, 5.0, 3.0, 2.0, 4.0])
    weights = decayed(profiles, half_life)
    sums = popularity_sums(profiles, weights, np.array(segments, np.int32), 3)
    popular = popularity(sums, np.array(allowed), stars)
    everybody, plain = plain_scores(cells, half_life, set(range(6))), plain_scores(cells, None, set(range(6)))
    expected = sorted(
        (column for column in everybody if allowed[column]),
        key=lambda i: (-rounded(everybody[i]), -rounded(plain[i]), -stars[i], i),
    )
    assert popular.columns.tolist() == expected
    assert popular.scores == pytest.approx([everybody[i] for i in expected], abs=2e-9)
    total = math.fsum(rounded(everybody[i]) for i in expected)
    weight = {i: rounded(prior * rounded(everybody[i]) / total) if total else 0.0 for i in expected}
    parts = shares(popular, prior)
    assert parts == pytest.approx([weight[i] for i in expected], abs=2e-9)
    own = segment_scores(sums, popular, parts, 3)
    for segment in range(3):
        theirs = plain_scores(cells, half_life, {row for row in range(6) if segments[row] == segment})
        part = slice(own.starts[segment], own.starts[segment + 1])
        score = {i: rounded(theirs[i] + weight[i]) for i in theirs if allowed[i]}
        found = dict(zip(own.columns[part].tolist(), own.scores[part].tolist(), strict=True))
        assert found == pytest.approx(score, abs=3e-9)
        assert own.columns[part].tolist() == sorted(found, key=lambda i: (-found[i], expected.index(i)))
        # this makes the merging of the two orders right
        assert all(found[i] >= parts[expected.index(i)] for i in found)


def test_an_event_of_one_half_life_ago_counts_half_and_a_part_of_a_day_is_no_age() -> None:
    days = {(0, 0): (1.0, 100), (0, 1): (2.0, 90), (0, 2): (1.0, 80), (0, 3): (0.5, 95)}
    weights = decayed(profiles_of(days), 10)
    assert weights[:3].tolist() == [1.0, 2.0 * 0.5, 1.0 * 0.25]
    assert weights[3] == pytest.approx(0.5 * 0.5**0.5, rel=1e-15)
    profiles = profiles_of(days)
    assert profiles.times is not None
    nearly = Profiles(profiles.confidences, profiles.times - np.array([0, MICROSECONDS_PER_DAY - 1, 0, 0]))
    assert decayed(nearly, 10).tolist() == weights.tolist()


def test_a_nearly_forgotten_product_still_counts() -> None:
    ages = {(0, 0): (1.0, 36_000), (0, 1): (1.0, 0), (1, 2): (1.0, 0), (1, 1): (1.0, 1)}
    profiles = profiles_of(ages)
    weights = decayed(profiles, 1)
    assert (weights > 0.0).all()
    popular = popularity(sums_of(profiles, weights), np.ones(N_PRODUCTS, np.bool_), np.full(N_PRODUCTS, 3.0))
    assert popular.columns.tolist() == [0, 1, 2]  # two users have 1, though both are nearly forgotten


def test_an_event_without_a_time_is_as_old_as_the_oldest_event() -> None:
    year, one = 365 * MICROSECONDS_PER_DAY, np.ones((1, 4))
    for times, weights in (
        ([NO_TIME] * 4, [1.0] * 4),
        ([NO_TIME, NO_TIME, NO_TIME, 5 * year], [1.0] * 4),  # the first rating with a time does not change the others
        ([NO_TIME, 3 * year, 4 * year, 5 * year], [0.25, 0.25, 0.5, 1.0]),
    ):
        profiles = Profiles(sp.csr_array(one), np.array(times))
        assert decayed(profiles, 365).tolist() == weights


@pytest.mark.parametrize(("n_events", "n_wrong"), [(99, 1), (100, 1), (1_999, 1), (2_000, 2), (2_000, 3)])
def test_a_few_rows_of_the_far_future_make_nothing_else_old(n_events: int, n_wrong: int) -> None:
    today, year, future = 20_000, 365, 48_000  # days; 2024 and 2101
    days = np.full(n_events, today)
    days[0], days[-n_wrong:] = today - year, future
    profiles = Profiles(sp.csr_array(np.ones((1, n_events))), days * MICROSECONDS_PER_DAY)
    weights = decayed(profiles, year)
    judged = n_events >= 100 and n_wrong <= max(1, n_events // 1_000)
    old, now = (0.5, 1.0) if judged else (2.0 ** -((future - today + year) / year), 2.0 ** -((future - today) / year))
    assert weights == pytest.approx([old] + [now] * (n_events - 1 - n_wrong) + [1.0] * n_wrong, rel=1e-12)


def test_events_up_to_a_half_life_after_all_others_are_now() -> None:
    for gap, weight in ((365, 0.5), (366, 1.0)):
        days = np.append(np.full(500, 20_000), 20_000 + gap)
        profiles = Profiles(sp.csr_array(np.ones((1, 501))), days * MICROSECONDS_PER_DAY)
        assert decayed(profiles, 365).tolist() == [weight] * 500 + [1.0]


def test_nothing_is_forgotten_without_times_or_half_life() -> None:
    profiles = profiles_of({(0, 0): (1.0, 0), (1, 0): (2.0, 900)})
    assert decayed(profiles, None).tolist() == [1.0, 2.0]
    assert decayed(Profiles(profiles.confidences, None), 1).tolist() == [1.0, 2.0]
    nothing = profiles_of({})
    assert decayed(nothing, 5).tolist() == []


def random_matrix(seed: int) -> RatingMatrix:
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((40, 25)) < 0.15, rng.integers(1, 11, (40, 25)), 0).astype(np.int8)
    ratings = sp.csr_array(dense)
    ids = np.array([f"P{number:02}" for number in range(25)], np.bytes_)
    return RatingMatrix(ratings, np.arange(1, 41), ids, rng.random(25) < 0.8, np.zeros(ratings.nnz, np.int64))


@pytest.mark.parametrize("seed", range(5))
def test_ratings_alone_without_decay_give_plain_popularity(seed: int) -> None:
    matrix = random_matrix(seed)
    csr = matrix.steps
    ones = sp.csr_array((np.ones(csr.nnz), csr.indices, csr.indptr), shape=csr.shape)
    profiles, stars = Profiles(ones, matrix.rated_at), damped_means(matrix)
    found, plain = popularity(sums_of(profiles, ones.data), matrix.recommendable, stars), rank_popular(matrix)
    assert found.columns.tolist() == plain.columns.tolist()
    assert stars[found.columns].tolist() == plain.predicted.tolist()


def test_yesterdays_hit_is_ahead_of_a_larger_old_hit_only_with_decay() -> None:
    old = {(row, 0): (1.0, 0) for row in range(4)}
    now = {(row, 1): (1.0, 730) for row in range(2)}
    profiles, everything = profiles_of(old | now), np.ones(N_PRODUCTS, np.bool_)
    stars = np.full(N_PRODUCTS, 3.0)

    def order(half_life: int | None) -> list[int]:
        sums = sums_of(profiles, decayed(profiles, half_life))
        return list(popularity(sums, everything, stars).columns.tolist())

    assert order(365) == [1, 0]  # 2 against 4 / 4
    assert order(3_650) == [0, 1]  # 2 against 4 * 2^-0.2 = 3.48
    assert order(None) == [0, 1]


def popular_of(scores: list[float]) -> Popularity:
    return Popularity(np.arange(len(scores), dtype=np.int32), np.array(scores))


def test_shares_add_up_to_the_prior() -> None:
    assert shares(popular_of([5.0, 3.0, 2.0]), 20.0).tolist() == [10.0, 6.0, 4.0]
    assert shares(popular_of([]), 20.0).tolist() == []
    assert shares(popular_of([0.0, 0.0]), 20.0).tolist() == [0.0, 0.0]  # all of it forgotten


def test_a_segment_of_one_follows_the_shop_and_a_large_one_its_own_people() -> None:
    """All rows except 9 have product 0. Row 9, alone in segment 0, and the 30 rows of segment 1 have product 1."""
    cells: Cells = {(row, 0): (1.0, 0) for row in range(40)}
    cells |= {(row, 1): (1.0, 0) for row in range(9, 40)}
    profiles = profiles_of({key: value for key, value in cells.items() if key != (9, 0)}, 40)
    segments = np.array([-1] * 9 + [0] + [1] * 30, np.int32)
    sums = popularity_sums(profiles, decayed(profiles, None), segments, 2)
    popular = popularity(sums, np.ones(N_PRODUCTS, np.bool_), np.full(N_PRODUCTS, 3.0))
    assert popular.scores.tolist() == [39.0, 31.0]

    def scores(prior: float) -> list[dict[int, float]]:
        own = segment_scores(sums, popular, shares(popular, prior), 2)
        parts = [slice(*own.starts[at : at + 2]) for at in (0, 1)]
        return [dict(zip(own.columns[part].tolist(), own.scores[part].tolist(), strict=True)) for part in parts]

    assert scores(70.0) == [{1: 1.0 + 31.0}, {0: 30.0 + 39.0, 1: 30.0 + 31.0}]
    assert scores(7.0) == [{1: 1.0 + 3.1}, {0: 30.0 + 3.9, 1: 30.0 + 3.1}]


@pytest.mark.parametrize("half_life", [0, -3, 36_501, 1.5, True, math.nan])
def test_an_invalid_half_life_is_refused(half_life: int) -> None:
    profiles = profiles_of({(0, 0): (1.0, 0)})
    with pytest.raises(SettingError, match=f"^half_life={half_life} cannot be used: pass whole days from 1 to 36500"):
        decayed(profiles, half_life)


@pytest.mark.parametrize("prior", [0.0, -1.0, math.inf, math.nan])
def test_an_invalid_prior_is_refused(prior: float) -> None:
    with pytest.raises(SettingError, match=f"^prior={prior} cannot be used: pass a number above 0$"):
        shares(popular_of([1.0]), prior)


def test_powers_of_two_do_not_depend_on_the_machine() -> None:
    """2^(-1/3) and 2^(-2/3), correctly rounded: 0.79370052598409973737585..., 0.62996052494743658238360..."""
    days = {(0, 0): (1.0, 2), (0, 1): (1.0, 1), (0, 2): (1.0, 0)}
    expected: NDArray[np.float64] = np.array(
        [1.0, float("0.79370052598409973737585"), float("0.629960524947436582383605")]
    )
    assert decayed(profiles_of(days), 3).tolist() == expected.tolist()
