"""What follows from the sums of parts is what follows from all users at once, byte for byte, in any order of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recommender.fallback import (
    HALF_LIFE_DAYS,
    MICROSECONDS_PER_DAY,
    ColdStart,
    EventDays,
    FilledLists,
    Ladder,
    New,
    PopularitySums,
    PopularProducts,
    Span,
    build_cold_start,
    decayed,
    event_days,
    find_new_products,
    ladder_from,
    merged_days,
    merged_popularity,
    popular_from,
    popularity_sums,
    rank_popular,
    span_of,
)
from recommender.fallback.decayed_sums import values_of
from recommender.neighbors import TasteStatistics, taste_statistics
from recommender.shop import NO_TIME, Profiles, RatingMatrix, ShopSums, merged_sums, shop_sums

N_PRODUCTS, N_SEGMENTS = 5, 3
CONFIDENCES = [1e-6, 0.1, 0.2, 1 / 3, 1.0, 2.0, 999.0, 1e9]
DAYS = [*range(-3, 4), 364, 365, 366, 900, 40_000]  # of 2024, and one row of the year 2133
SECONDS = [0, 1, 3_600 * 24 - 1]


class Shop(NamedTuple):
    matrix: RatingMatrix
    profiles: Profiles
    segments: NDArray[np.int32]

    def part(self, rows: NDArray[np.intp]) -> Shop:
        csr, given = self.profiles.confidences, self.matrix.steps
        entries = np.concatenate([np.arange(*csr.indptr[row : row + 2]) for row in rows.tolist()]).astype(np.intp)
        times = None if self.profiles.times is None else self.profiles.times[entries]
        users = self.matrix.user_ids[rows]
        matrix = RatingMatrix(given[rows], users, self.matrix.product_ids, self.matrix.recommendable)
        return Shop(matrix, Profiles(csr[rows], times), self.segments[rows])


@st.composite
def shops(draw: Callable[..., Any]) -> Shop:
    """A shop of up to 250 events, so that outliers are judged in some; a third of the profiles' entries not rated."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_users = draw(st.sampled_from([1, 2, 5, 30, 120]))
    confidences = rng.choice(draw(st.lists(st.sampled_from(CONFIDENCES), min_size=1)), (n_users, N_PRODUCTS))
    csr = sp.csr_array(np.where(rng.random(confidences.shape) < 0.4, confidences, 0.0))
    rated = (csr.toarray() > 0) & (rng.random(confidences.shape) < draw(st.sampled_from([0.0, 0.7])))
    steps = sp.csr_array(np.where(rated, rng.integers(1, 11, rated.shape), 0).astype(np.int8))
    days = 19_723 + rng.choice(draw(st.lists(st.sampled_from(DAYS), min_size=1)), csr.nnz)
    times = (days * 86_400 + rng.choice(SECONDS, csr.nnz)) * 1_000_000 + rng.integers(0, 3, csr.nnz)
    times = np.where(rng.random(csr.nnz) < draw(st.sampled_from([0.0, 0.3, 1.0])), NO_TIME, times)
    ids = np.array([f"P{number}" for number in range(N_PRODUCTS)], np.bytes_)
    matrix = RatingMatrix(steps, np.arange(1, n_users + 1), ids, rng.random(N_PRODUCTS) < 0.9)
    segments = rng.integers(-1, N_SEGMENTS, n_users).astype(np.int32)
    return Shop(matrix, Profiles(csr, times if draw(st.booleans()) else None), segments)


def grouped(draw: Callable[..., Any], parts: list[Any], merge: Callable[[Iterable[Any]], Any]) -> Any:
    """The parts merged in a drawn order, some of them before the others."""
    order = draw(st.permutations(parts))
    cut = draw(st.integers(0, len(order) - 1))
    return merge([merge(order[: cut + 1]), *order[cut + 1 :]])


Record = EventDays | FilledLists | Ladder | New | PopularitySums | ShopSums | TasteStatistics | PopularProducts


def same(found: Record, expected: Record) -> bool:
    """Tell whether two records of arrays and numbers hold the same bytes."""
    pairs = zip(fields_of(found), fields_of(expected), strict=True)
    return all(
        np.array(a).dtype == np.array(b).dtype and np.array(a).tobytes() == np.array(b).tobytes() for a, b in pairs
    )


def fields_of(record: Any) -> list[Any]:
    return list(record) if isinstance(record, tuple) else list(vars(record).values())


@settings(deadline=None, max_examples=60)
@given(st.data(), shops())
def test_parts_merged_in_any_order_give_the_same_bytes(data: st.DataObject, shop: Shop) -> None:
    n_users = shop.matrix.shape[0]
    part_of = data.draw(st.lists(st.integers(0, 4), min_size=n_users, max_size=n_users))
    rows = [np.flatnonzero(np.array(part_of) == part) for part in sorted(set(part_of))]
    parts, scale = [shop.part(each) for each in rows], shop.matrix.scale
    sums = grouped(data.draw, [shop_sums(part.profiles.confidences, part.matrix.steps) for part in parts], merged_sums)
    days = grouped(data.draw, [event_days(part.profiles.times) for part in parts], merged_days)
    assert same(sums, shop_sums(shop.profiles.confidences, shop.matrix.steps))
    assert same(days, event_days(shop.profiles.times))

    known = taste_statistics(shop.profiles.confidences, shop.matrix.steps)
    for part, each in zip(parts, rows, strict=True):
        theirs = taste_statistics(part.profiles.confidences, part.matrix.steps, sums=sums)
        assert theirs.user_bias.tobytes() == known.user_bias[each].tobytes()
        assert same(replace(theirs, user_bias=known.user_bias), known)
    assert same(popular_from(sums, shop.matrix.recommendable, scale), rank_popular(shop.matrix))

    span = span_of(days, HALF_LIFE_DAYS)
    seconds = [
        popularity_sums(part.profiles, decayed(part.profiles, HALF_LIFE_DAYS, span), part.segments, N_SEGMENTS)
        for part in parts
    ]
    popularity = grouped(data.draw, seconds, merged_popularity)
    ladder, mean = ladder_from(sums, popularity, shop.matrix.recommendable, scale, n_segments=N_SEGMENTS)
    cold = build_cold_start(shop.matrix, shop.profiles, segments=shop.segments, n_segments=N_SEGMENTS)
    assert same(ladder, cold.ladder)
    assert np.array(mean).tobytes() == np.array(cold.mean).tobytes()
    catalog: dict[str, Any] = {"stars": np.arange(7.0), "category_ids": np.arange(7) // 2}
    columns = np.arange(7, dtype=np.int32)
    new = find_new_products(sums.raters, shop.matrix.recommendable, columns, **catalog)
    assert same(new, find_new_products(shop.profiles.raters(), shop.matrix.recommendable, columns, **catalog))

    cold = replace(cold, new=new)
    none, no_stars = np.full((n_users, 4), -1), np.zeros((n_users, 4))
    lists = cold.top_up(np.arange(n_users), none, no_stars, version=1, new_share=0.5)
    for part, each in zip(parts, rows, strict=True):
        alone = ColdStart(ladder, new, part.segments, mean, part.profiles.confidences, part.matrix.user_ids)
        found = alone.top_up(np.arange(len(each)), none[each], no_stars[each], version=1, new_share=0.5)
        assert same(found, FilledLists(lists.columns[each], lists.stars[each], lists.sources[each]))


def sums_of(confidences: list[list[float]]) -> NDArray[np.int64]:
    """The sums of a shop, a row for each user, by product; its only segment has the same ones."""
    csr = sp.csr_array(np.array(confidences))
    found = popularity_sums(Profiles(csr, None), csr.data, np.zeros(len(confidences), np.int32), 1)
    assert found.in_segment.tolist() == found.scores.tolist() == found.plain.tolist()
    return found.scores


def test_each_term_is_rounded_to_the_grid_once_and_sums_are_exact() -> None:
    terms, step = [1e9, 0.1, 0.1, 1 / 3, 1.0 - 2.0**-42, 2.5 * 2.0**-40], Fraction(1, 2**40)
    exact = sum(round(Fraction(term) / step) * step for term in terms)
    assert [Fraction(int(whole)) + int(rest) * step for whole, rest in sums_of([[term] for term in terms])] == [exact]
    assert values_of(sums_of([[0.5, 3.25]])).tolist() == [0.5, 3.25]


def test_sums_have_room_for_a_billion_users_with_confidences_of_a_billion() -> None:
    part = popularity_sums(*one_user(1e9 + 0.75))
    for _ in range(6):
        part = merged_popularity([part] * 32)  # 2^30 users at last
    assert part.scores.tolist() == part.in_segment.tolist() == [[2**30 * 10**9 + 3 * 2**28, 0]]


def one_user(confidence: float) -> tuple[Profiles, NDArray[np.float64], NDArray[np.int32], int]:
    csr = sp.csr_array(np.array([[confidence]]))
    return Profiles(csr, None), csr.data, np.zeros(1, np.int32), 1


def test_the_others_end_with_the_newest_event_of_their_last_day() -> None:
    """Of 1,000 events one may be wrong: the row of 2134, or one of the two of day 500."""
    day, hour = MICROSECONDS_PER_DAY, MICROSECONDS_PER_DAY // 24
    times = np.concatenate([np.arange(997), [500 * day + hour, 500 * day + 2 * hour, 60_000 * day]])
    found = span_of(event_days(times), 365)
    assert found == Span(500 * day + 2 * hour, 0)
    assert span_of(event_days(times[:-1]), 365) == (500 * day + 2 * hour, 0)
    # two events are left out where two may be wrong, and the others end on a day with another one of them
    twice = np.concatenate([np.zeros(1_000, np.int64), times])
    assert span_of(event_days(twice), 365) == (500 * day + 2 * hour, 0)


@pytest.mark.parametrize(("n_untimed", "now"), [(0, 60_000), (1, 0)])
def test_events_without_a_time_count_among_the_hundred_that_are_enough_to_judge(n_untimed: int, now: int) -> None:
    times = np.array([0] * 98 + [60_000 * MICROSECONDS_PER_DAY] + [NO_TIME] * n_untimed)
    assert span_of(event_days(times), 365) == Span(now * MICROSECONDS_PER_DAY, 0)


@pytest.mark.parametrize("times", [[], [NO_TIME, NO_TIME]])
def test_without_times_there_is_no_span(times: list[int]) -> None:
    days = event_days(np.array(times, np.int64))
    assert span_of(days, 365) is None
    assert span_of(merged_days([days, event_days(None)]), 365) is None


def test_times_beyond_the_calendar_are_of_its_last_days() -> None:
    """So the table of days stays small whatever the times are."""
    ends = np.iinfo(np.int64)
    found = event_days(np.array([ends.min, ends.max, ends.max - 1, 0]))
    assert found.days.tolist() == [-719_162, 0, 2_932_896]
    assert found.newest.tolist() == [ends.min, 0, ends.max]
