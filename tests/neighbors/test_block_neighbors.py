"""Neighbors found block by block are those of one index in every byte, ties included."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.neighbors import (
    CosineIndex,
    NearestByCosine,
    NearestByTaste,
    TasteGround,
    TasteIndex,
    taste_statistics,
)

DAY = 86_400_000_000


def matrices(most: int) -> st.SearchStrategy[NDArray[np.int8]]:
    """Few columns and ratings, so that most similarities tie."""
    shape = st.tuples(st.integers(1, 14), st.integers(1, 4))
    values = st.sampled_from((0, 0, 1, most // 2 + 1, most))
    return shape.flatmap(lambda size: hnp.arrays(np.int8, size, elements=values))


def bounds_of(draw: st.DrawFn | Any, n_rows: int) -> list[int]:
    cuts = draw(st.lists(st.integers(1, max(n_rows - 1, 1)), unique=True, max_size=5)) if n_rows > 1 else []
    return [0, *sorted(cuts), n_rows]


@settings(deadline=None)
@given(st.data(), st.sampled_from((10, 100)), st.integers(1, 6))
def test_nearest_by_cosine(data: st.DataObject, most: int, k: int) -> None:
    ratings = sp.csr_array(data.draw(matrices(most)))
    n_rows = ratings.shape[0]
    rows, similarities = CosineIndex(ratings, most=most).top_k(k)
    blocks = data.draw(st.permutations(list(pairwise(bounds_of(data.draw, n_rows)))))
    for start, stop in pairwise(bounds_of(data.draw, n_rows)):
        nearest = NearestByCosine(ratings[start:stop], start, k, most=most)
        for first, last in blocks:
            nearest.meet(CosineIndex(ratings[first:last], most=most), first)
        assert nearest.rows.tolist() == rows[start:stop].tolist()
        assert nearest.similarities.tobytes() == similarities[start:stop].tobytes()


@settings(deadline=None)
@given(st.data(), st.integers(1, 6), st.booleans())
def test_nearest_by_taste(data: st.DataObject, k: int, timed: bool) -> None:
    profiles = sp.csr_array(data.draw(matrices(4)).astype(np.float64) / 2)
    n_rows, n_columns = profiles.shape
    times = np.arange(profiles.nnz) // 2 * DAY if timed else None
    index = TasteIndex(profiles, times=times)
    rows, similarities = index.top_k(k)
    whole = taste_statistics(profiles)
    ground = TasteGround(whole, n_columns)
    blocks = data.draw(st.permutations(list(pairwise(bounds_of(data.draw, n_rows)))))
    for start, stop in pairwise(bounds_of(data.draw, n_rows)):
        part = slice(profiles.indptr[start], profiles.indptr[stop])
        own = None if times is None else times[part]
        nearest = NearestByTaste(profiles[start:stop], own, start, k, ground)
        for first, last in blocks:
            known = replace(whole, user_bias=whole.user_bias[first:last])
            nearest.meet(TasteIndex(profiles[first:last], statistics=known), first)
        assert nearest.rows.tolist() == rows[start:stop].tolist()
        assert nearest.similarities.tobytes() == similarities[start:stop].tobytes()


def test_equal_neighbors_of_two_blocks_are_in_the_order_of_rows() -> None:
    ratings = sp.csr_array(np.array([[4, 0], [2, 2], [2, 2], [2, 2]], np.int8))
    nearest = NearestByCosine(ratings[:1], 0, 2, most=10)
    for first in (3, 1, 2):  # in any order
        nearest.meet(CosineIndex(ratings[first : first + 1], most=10), first)
    assert nearest.rows.tolist() == [[1, 2]]


def test_a_user_whose_squares_do_not_fit_is_refused() -> None:
    ratings = sp.csr_array(np.full((1, 140_000), 127, np.int8))
    nearest = NearestByCosine(ratings[:, :2], 0, 1, most=127)
    with pytest.raises(SettingError, match="too many ratings"):
        nearest.meet(CosineIndex(ratings, most=127), 5)
