"""Lists on any scale, for user ids of both kinds, equal brute force, one by one and in a batch; factors change none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import recommendation_engine as engine
from recommender.fallback import rank_popular
from recommender.neighbors import CosineIndex
from recommender.ranking import ClassicRanking
from recommender.shop import HALF_STARS, NUMBERS_AS_THEY_ARE, RatingMatrix, Scale, TextIds, build_rating_matrix
from tests.support.brute_force import Oracle

SCALES = {
    "half stars": HALF_STARS,
    "1 to 10": Scale.of(1, 10, 1),
    "1 to 100": Scale.of(1, 100, 1),
    "1 to 127": Scale.of(1, 127, 1),
    "likes": Scale.of(1, 1, 1),
    "tenths": Scale.of("0.1", 5, "0.1"),
}
USERS, PRODUCTS = 14, [f"B{number:09d}" for number in range(8)]


TEXTS = {user: f"{'éZa🍵'[user % 4]}{-user}" for user in range(1, USERS + 1)}


def matrix_of(steps: np.ndarray, scale: Scale, *, by_text: bool = False) -> RatingMatrix:
    users, products = np.nonzero(steps)
    names, everywhere = np.array(PRODUCTS, "S10"), np.ones(len(PRODUCTS), np.bool_)
    values = steps[users, products].astype(np.int8)
    ids = TextIds.made(np.array([name.encode() for name in TEXTS.values()]), np.array([*TEXTS])) if by_text else None
    return build_rating_matrix(
        users + 1, names, products, values, in_catalog=everywhere, scale=scale, ids=ids or NUMBERS_AS_THEY_ARE
    )


@pytest.mark.parametrize("name", SCALES)
def test_classic_lists_equal_brute_force(name: str) -> None:
    scale = SCALES[name]
    tied = np.zeros((USERS, len(PRODUCTS)), np.int64)
    tied[:, 0] = tied[range(USERS), [1 + user % 7 for user in range(USERS)]] = scale.most

    @example(tied, True)
    @settings(max_examples=30, deadline=None)
    @given(
        hnp.arrays(np.int64, (USERS, len(PRODUCTS)), elements=st.just(0) | st.integers(scale.least, scale.most)),
        st.booleans(),
    )
    def check(steps: np.ndarray, by_text: bool) -> None:
        matrix = matrix_of(steps, scale, by_text=by_text)
        index = CosineIndex(matrix.steps, most=scale.most)
        ratings: dict[Any, dict[str, float]] = {
            (TEXTS[user] if by_text else user): dict(
                zip(matrix.products(columns), (values * scale.unit).tolist(), strict=True)
            )
            for row, user in enumerate(matrix.user_ids.tolist())
            for columns, values in [matrix.ratings_of(row)]
        }
        oracle = Oracle(ratings, unit=scale.unit)
        batch = ClassicRanking(matrix, index, 5).rank_products(np.arange(len(ratings)), 6)
        for row, user in enumerate(ratings):
            expected = oracle.recommend(user, k=5, n=6, catalog=PRODUCTS)
            listed = engine.get_recommendations(user, matrix, index, n_neighbors=5, n=6).itertuples(
                index=False, name=None
            )
            assert list(listed) == expected
            one = batch.of(row)
            found = matrix.products(one.columns), *(array.tolist() for array in one[1:])
            assert list(zip(*found, strict=True)) == expected

    check()


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.int64, (USERS, len(PRODUCTS)), elements=st.integers(0, 10)))
def test_a_factor_changes_no_order_and_no_cosine(steps: np.ndarray) -> None:
    half, whole, tens = (matrix_of(steps, scale) for scale in (HALF_STARS, SCALES["1 to 10"], Scale.of(10, 100, 10)))
    lists = [
        ClassicRanking(one, CosineIndex(one.steps, most=one.scale.most), 5).rank_products(np.arange(one.shape[0]), 6)
        for one in (half, whole, tens)
    ]
    for other, factor in zip(lists[1:], (2, 20), strict=True):
        assert other.columns.tolist() == lists[0].columns.tolist()
        assert other.support.tolist() == lists[0].support.tolist()
        assert other.predicted == pytest.approx(lists[0].predicted * factor, abs=1e-7)
    popular = [rank_popular(one) for one in (half, whole, tens)]
    assert popular[0].columns.tolist() == popular[1].columns.tolist() == popular[2].columns.tolist()
    assert popular[1].predicted == pytest.approx(popular[0].predicted * 2, abs=1e-7)
