"""The fusion of two lists by reciprocal ranks: it equals its definition in plain Python, also in order and bytes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recommender.fallback import Cap
from recommender.ranking import (
    DEPTH,
    FusedRanker,
    FusionParameters,
    ItemParameters,
    ItemRanker,
    RankedByTaste,
    TasteRanker,
    taste,
)
from recommender.ranking.fusion import fuse
from tests.ranking.test_items import entries, large, matrices, ranker_of
from tests.ranking.test_taste import Shop, shops

HALF = FusionParameters(0.5, 10.0)

PARAMETERS = st.builds(FusionParameters, st.sampled_from([0.3, 0.5, 0.7]), st.sampled_from([10.0, 60.0]))
Lists = list[list[int]]


def as_lists(rows: Lists, width: int, base: float) -> RankedByTaste:
    """Lists (m, width), padded. Stars and raters tell the list (``base``) and the product."""
    columns = np.full((len(rows), width), -1, np.int32)
    for at, row in enumerate(rows):
        columns[at, : len(row)] = row
    there = columns >= 0
    score = there * np.arange(width, 0.0, -1.0)
    return RankedByTaste(
        columns, score, score * 2, there * (base + columns / 8), (there * (base * 100 + columns)).astype(np.int32)
    )


def fused_by_definition(
    near: list[int], liked: list[int], parameters: FusionParameters, ties: list[int] | None = None
) -> list[tuple[int, float]]:
    """Every product of both lists and its score, best first. ``ties``: a number for each product."""
    found = []
    for column in {*near, *liked}:
        score = 0.0
        if column in near:
            score += (1.0 - parameters.weight) / (parameters.constant + near.index(column) + 1)
        if column in liked:
            score += parameters.weight / (parameters.constant + liked.index(column) + 1)
        found.append((column, score))
    return sorted(found, key=lambda entry: (-entry[1], entry[0] if ties is None else ties[entry[0]]))


@st.composite
def two_lists(draw: st.DrawFn) -> tuple[Lists, Lists]:
    """The lists of one to four rows, of eight products; many are empty, and many products are in both."""
    one = st.permutations(range(8)).flatmap(lambda order: st.integers(0, 8).map(lambda size: list(order[:size])))
    n_rows = draw(st.integers(1, 4))
    near, liked = (draw(st.lists(one, min_size=n_rows, max_size=n_rows)) for _ in range(2))
    return near, liked


def test_scores_equal_hand_arithmetic() -> None:
    near, liked = as_lists([[4, 2, 7]], 4, 1.0), as_lists([[2, 9]], 2, 3.0)
    found = fuse(near, liked, FusionParameters(0.3, 10.0), 5)
    assert entries(found, 0) == [
        (2, 0.7 / (10 + 2) + 0.3 / (10 + 1), 0.7 / 12 + 0.3 / 11, 1.0 + 2 / 8, 102),  # of both, stars of the first
        (4, 0.7 / (10 + 1), 0.7 / 11, 1.0 + 4 / 8, 104),
        (7, 0.7 / (10 + 3), 0.7 / 13, 1.0 + 7 / 8, 107),
        (9, 0.3 / (10 + 2), 0.3 / 12, 3.0 + 9 / 8, 309),  # of the second alone
    ]


@settings(max_examples=400, deadline=None)
@given(two_lists(), PARAMETERS, st.integers(1, 20), st.none() | st.permutations(range(8)))
def test_a_fusion_agrees_with_the_definition_to_the_bit(
    lists: tuple[Lists, Lists], parameters: FusionParameters, n: int, ties: list[int] | None
) -> None:
    near, liked = as_lists(lists[0], 9, 1.0), as_lists(lists[1], 8, 3.0)
    places = None if ties is None else np.array([*ties, -1], np.int64)  # -1: of the padding
    pair = None if places is None else (places[near.columns], places[liked.columns])
    found = fuse(near, liked, parameters, n, ties=pair)
    assert found.columns.shape == (len(lists[0]), n)
    for row, (first, second) in enumerate(zip(*lists, strict=True)):
        wanted = []
        for column, score in fused_by_definition(first, second, parameters, ties)[:n]:
            base = 1.0 if column in first else 3.0
            wanted.append((column, score, score, base + column / 8, int(base * 100) + column))
        assert entries(found, row) == wanted


def test_equal_scores_go_to_the_smaller_column_or_tie() -> None:
    near, liked = as_lists([[5, 1]], 2, 1.0), as_lists([[1, 5]], 2, 1.0)
    assert fuse(near, liked, HALF, 2).columns.tolist() == [[1, 5]]
    backwards = np.array([[-5, -1]]), np.array([[-1, -5]])
    assert fuse(near, liked, HALF, 2, ties=backwards).columns.tolist() == [[5, 1]]


# ---- the ranker --------------------------------------------------------------------------------------------------


def fused(by_items: ItemRanker, parameters: FusionParameters) -> FusedRanker:
    return FusedRanker(by_items.taste, by_items, parameters)


def of_row(ranked: Any, row: int) -> list[int]:
    return [column for column in ranked.columns[row].tolist() if column >= 0]


def by_lists_of_both(
    ranker: FusedRanker, row: int, allowed: np.ndarray | None = None
) -> list[tuple[int, float, float, float, int]]:
    """The whole list of a row, from the lists of 200 that both rankers give by themselves."""
    near = ranker.near(row)
    bars = ranker.taste.bars(allowed)
    first = of_row(ranker.taste.rank_near(near, DEPTH, bars), 0)
    second = of_row(ranker.items.rank_near(near, DEPTH, ranker.items.bars(allowed)), 0)
    whole = fused_by_definition(first, second, ranker.parameters)
    stars = ranker.predict([row] * len(whole), [column for column, _ in whole]).tolist()
    owned = profiles_of(ranker)
    having = [sum((v, column) in owned for v in near[1][0].tolist()) for column, _ in whole]
    return [(c, score, score, s, n) for (c, score), s, n in zip(whole, stars, having, strict=True)]


def profiles_of(ranker: FusedRanker) -> set[tuple[int, int]]:
    """Rows and columns: who has what."""
    profiles = ranker.items.item_votes.profiles
    rows = np.repeat(np.arange(len(profiles.indptr) - 1), np.diff(profiles.indptr))
    return set(zip(rows.tolist(), profiles.columns.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(shops(), st.data(), PARAMETERS, st.sampled_from([1, 2, 10, 200, 500]))
def test_a_list_is_the_fusion_of_both_rankers_lists(
    shop: Shop, data: st.DataObject, parameters: FusionParameters, n: int
) -> None:
    n_products = shop.dense.shape[1]
    dense = data.draw(matrices(n_products))
    mask = data.draw(st.none() | hnp.arrays(np.bool_, n_products))
    ranker = fused(ranker_of(shop, dense, ItemParameters(half_life=2.0), mask, n_threads=1), parameters)
    ranked = ranker.rank_products(np.arange(shop.dense.shape[0]), n)
    for row in range(shop.dense.shape[0]):
        whole = by_lists_of_both(ranker, row)
        assert entries(ranked, row) == whole[:n]
        assert entries(ranker.rank_near(ranker.near(row), n, ranker.bars(None)), 0) == whole[:n]
        shown = {entry[0] for entry in whole}
        assert not shown & set(np.flatnonzero(shop.dense[row]).tolist())
        assert mask is None or all(mask[column] for column in shown)


@settings(max_examples=100, deadline=None)
@given(shops(), st.data(), PARAMETERS)
def test_filters_act_before_the_ranks_and_caps_after(
    shop: Shop, data: st.DataObject, parameters: FusionParameters
) -> None:
    n_products = shop.dense.shape[1]
    ranker = fused(ranker_of(shop, data.draw(matrices(n_products)), ItemParameters()), parameters)
    allowed = data.draw(hnp.arrays(np.bool_, n_products))
    codes = data.draw(hnp.arrays(np.int32, n_products, elements=st.integers(-1, 2)))
    most, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 10))
    cap = Cap(most, codes, np.empty(0, np.int32), np.zeros(3, np.int64))
    for row in range(shop.dense.shape[0]):
        near, whole = ranker.near(row), by_lists_of_both(ranker, row, allowed)
        assert entries(ranker.rank_near(near, n, ranker.bars(allowed)), 0) == whole[:n]
        had: Counter[int] = Counter()
        kept = []
        for entry in whole:
            had[int(codes[entry[0]])] += 1
            if codes[entry[0]] < 0 or had[int(codes[entry[0]])] <= most:
                kept.append(entry)
        assert entries(ranker.rank_near(near, n, ranker.bars(allowed), cap), 0) == kept[:n]


def deep() -> FusedRanker:
    """Both rankers know more products than a fusion looks at."""
    shop, dense = large()
    return fused(ranker_of(shop, dense, ItemParameters(half_life=3.0), n_threads=1), HALF)


def test_two_lists_of_200_are_merged_and_no_more() -> None:
    ranker, rows = deep(), np.array([3, 499, 7, 0])
    ranked = ranker.rank_products(rows, 500)
    for at, row in enumerate(rows.tolist()):
        whole = by_lists_of_both(ranker, row)
        assert entries(ranked, at) == whole
        assert row == 7 or DEPTH < len(whole) <= 2 * DEPTH
    assert entries(ranked, 2) == []  # a user without products


def test_shorter_lists_are_parts_of_longer_ones_also_under_a_cap() -> None:
    ranker = deep()
    codes = (np.arange(320) % 7 - 1).astype(np.int32)
    for cap in (Cap(0, codes, codes, np.zeros(6, np.int64)), Cap(3, codes, codes[:0], np.zeros(6, np.int64))):
        for row in (3, 499):
            near = ranker.near(row)
            whole = entries(ranker.rank_near(near, 400, ranker.bars(None), cap), 0)
            for n in (1, 10, 20, 199, 200, 201, 300):
                assert entries(ranker.rank_near(near, n, ranker.bars(None), cap), 0) == whole[:n]


def test_one_thread_and_two_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, dense = large()
    wanted = deep().rank_products(np.arange(500), 20)
    monkeypatch.setattr(taste, "BLOCK_ROWS", 7)
    two = fused(ranker_of(shop, dense, ItemParameters(half_life=3.0), n_threads=2), HALF)
    found = two.rank_products(np.arange(500), 20)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in wanted]


def test_a_fusion_has_the_neighbors_and_stars_of_its_own_taste() -> None:
    shop, dense = large()
    by_items = ranker_of(shop, dense, ItemParameters())
    few = TasteRanker.of(by_items.taste.votes.damped(0.6), n_neighbors=5)
    beside = ItemRanker(few, by_items.item_votes, by_items.parameters)
    ranker = FusedRanker(few, beside, HALF)
    assert ranker.n_neighbors == 5
    for row in (3, 499):
        found = entries(ranker.rank_products([row], 50), 0)
        assert found == by_lists_of_both(ranker, row)[:50]
        assert [stars for *_, stars, _ in found] == few.predict([row] * len(found), [e[0] for e in found]).tolist()
        assert found != entries(fused(by_items, HALF).rank_products([row], 50), 0)
