"""Neighbors among changed users alone, and the order of neighbors that are nearly equal."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.errors import SettingError
from recommender.live import LiveModel, UserRecord
from recommender.live.cosine import _order
from recommender.model import ListRequest, ServedModel
from recommender.shop import People, Snapshot, build_rating_matrix
from tests.live.test_interleaving import PRODUCTS, catalog_of
from tests.support.model_built_anew import as_told, build_of
from tests.support.saved_model import build

P = PRODUCTS
RECORDS = [
    UserRecord(1, ((P[0], 10, 1), (P[1], 8, 2)), listed=True),
    UserRecord(2, ((P[0], 10, 1), (P[2], 8, 2)), listed=True),
]


def empty_shop() -> ServedModel:
    """A model of three users and eight products, before the first rating."""
    none, known = np.empty(0, np.int64), np.array([1, 2, 3])
    matrix = build_rating_matrix(
        none, np.empty(0, "S10"), none, np.empty(0, np.int8), in_catalog=np.empty(0, np.bool_), rated_at=none
    )
    people = People(known, *(pa.chunked_array([pa.array([text] * 3)]) for text in ("NL", "18-24")))
    return build_of(Snapshot(matrix, catalog_of(set(P[:8])), people, None))


def test_changed_users_are_neighbors_in_a_shop_that_had_no_rating() -> None:
    live = LiveModel.of(empty_shop()).after(RECORDS, {})
    near = live.near(1, "classic")
    assert near.similarities.tolist() == [100 / 164]
    assert [item[0] for item in as_told(live, live.recommend(1, 5, "classic").recommendations)] == [P[2].decode()]
    basket = live.basket({P[0].decode(): 9})
    assert {item[0] for item in as_told(live, live.select_for(basket, ListRequest(5), "classic").recommendations)} == {
        P[1].decode(), P[2].decode()
    }  # fmt: skip


def test_without_users_every_product_weighs_nothing_and_nobody_is_near_by_taste() -> None:
    live = LiveModel.of(empty_shop()).after(RECORDS, {})
    assert len(live.near(1, "taste").numbers) == 0


def test_a_ranking_that_is_not_loaded_is_refused_for_a_changed_user_too() -> None:
    model = build({1: {"B00000000A": 5.0}, 2: {"B00000000A": 4.0}}, {"B00000000A": ("A", 1.0)}, taste=False)
    live = LiveModel.of(model).after([UserRecord(1, ((b"B00000000A", 9, 0),))], {})
    for user in (1, 2):
        with pytest.raises(SettingError, match="the taste ranking is not loaded"):
            live.recommend(user, 5, "taste")


def test_an_interaction_leaves_the_popular_products_as_they_were() -> None:
    model = build({1: {"B00000000A": 5.0}, 2: {"B00000000A": 4.0}}, {"B00000000A": ("A", 1.0)})
    before = LiveModel.of(model)
    popular = before.popular
    after = before.after([UserRecord(1, ((b"B00000000A", 10, 0),), ((b"B00000000A", 1, 5),))], {})
    assert after.popular is popular
    assert after.after([UserRecord(1)], {}).popular is not popular


@given(
    norm=st.integers(2_000_000, 200_000_000),
    dots=st.lists(st.tuples(st.integers(900_000, 900_003), st.integers(0, 3)), min_size=1, max_size=8),
    k=st.integers(1, 8),
)
def test_neighbors_by_cosine_are_ordered_exactly_also_where_floats_cannot_tell(
    norm: int, dots: list[tuple[int, int]], k: int
) -> None:
    products, norms = (np.array(column, np.float64) for column in zip(*((d, norm + n) for d, n in dots), strict=True))
    ids = np.arange(len(dots))[::-1]
    exact = sorted(range(len(dots)), key=lambda at: (-Fraction(dots[at][0] ** 2, norm + dots[at][1]), ids[at]))
    assert _order(products, norms, ids, k, float(norms.max())).tolist() == exact[:k]
