"""A cap per category: it equals a walk over all products in order, and the worst page takes bounded memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recommender.fallback import first_under_cap
from recommender.live import LiveModel, UserRecord
from recommender.model import Categories, ListRequest, ServedModel
from recommender.ranking import CLASSIC, TASTE
from recommender.shop import Product
from tests.support.saved_model import build

CATEGORIES = Categories(np.array([-1, 0, 0, 1, 1, 2, -1, 2], np.int32), np.array([3, 5, 9], np.int32))
LATER = [Product(None, None, None, 5), None, Product(None, None, None, 77)]
CODES = [*CATEGORIES.codes.tolist(), 1, -1, 3]


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.permutations(range(11)).flatmap(lambda order: st.integers(0, 11).map(lambda size: order[:size])),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=11, max_size=11),
    st.integers(1, 3),
    st.integers(1, 12),
    st.booleans(),
)
def test_the_best_products_under_a_cap_equal_a_walk_over_all_in_order(
    columns: list[int], figures: list[tuple[int, int]], most: int, n: int, backwards: bool
) -> None:
    scores, supports = (np.array([figures[column][at] for column in columns], np.float64) for at in (0, 1))
    sign = -1 if backwards else 1
    keys = np.array([sign * column for column in columns], np.int64), np.zeros(len(columns), np.int64)
    cap = CATEGORIES.cap(most, CATEGORIES.of_later(LATER))
    given_columns = np.array(columns, np.int32)
    found = first_under_cap(given_columns, scores, supports, cap, n, keys=keys if backwards else None)
    had: Counter[int] = Counter()
    expected = []
    for column in sorted(columns, key=lambda one: (-figures[one][0], -figures[one][1], sign * one)):
        had[CODES[column]] += 1
        if CODES[column] < 0 or had[CODES[column]] <= most:
            expected.append(column)
    assert given_columns[found].tolist() == expected[:n]


@pytest.fixture(scope="module")
def large() -> ServedModel:
    """20,000 rated products in 100 categories."""
    ids = [f"B{number:09d}" for number in range(20_000)]
    draw = np.random.default_rng(1)
    stars = {
        user: {ids[place]: int(draw.integers(1, 11)) / 2 for place in range(user, 20_000, 200)} for user in range(200)
    }
    for user in range(200):
        stars[user] |= {ids[place]: 4.0 for place in draw.integers(0, 20_000, 100).tolist()}
    catalog: dict[str, tuple[str | None, float]] = dict.fromkeys(ids, (None, 1.0))
    return build({user + 1: given for user, given in stars.items()}, catalog, taste=True, n_categories=100)


def test_the_worst_page_under_a_cap_takes_memory_for_kept_products_only(large: ServedModel) -> None:
    large.prepare()
    live = LiveModel.of(large).after([UserRecord(7, ((b"B000000007", 9, 0),))], {})
    request = ListRequest(100, 1_000, diversity=1)  # an empty page: 100 categories have 100 products
    for ranking in (CLASSIC, TASTE):
        for user in (1, 7):
            live.select(user, request, ranking)
            tracemalloc.start()
            assert live.select(user, request, ranking).recommendations == []
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert most < 2_000_000, (ranking, user)
    live.select_popular(request)
    for page, n in ((request, 0), (ListRequest(10), 10), (ListRequest(100, 1_000), 100)):
        tracemalloc.start()
        assert len(live.select_popular(page)) == n
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 600_000
