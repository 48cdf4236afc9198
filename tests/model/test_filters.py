"""Cached masks of filters and parsed queries change no list."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest

from recommender.fallback import PopularProducts
from recommender.fallback.popular import FEW
from recommender.live import LiveModel, UserRecord
from recommender.model import FilterCache, ListRequest, ProductFilter, ServedModel
from recommender.model import filters as kept_masks
from recommender.ranking import CLASSIC, TASTE, TasteSimilarity
from recommender.service.list_answer import answer_list
from recommender.service.problems import InvalidParameterError
from recommender.shop import Product
from tests.model.test_list_request import model

__all__ = ["model"]  # the fixture: sixty users, a catalog of 40 products and 5 that nobody rated


def test_the_limit_does_not_matter_for_the_cached_mask_of_a_filter(model: ServedModel) -> None:
    first = model.filter_of(ListRequest(3, category_ids=frozenset([1, 2]), min_price=1.0))
    assert first is model.filter_of(ListRequest(9, 2, category_ids=frozenset([2, 1]), min_price=1.0, diversity=1))
    assert first is not model.filter_of(ListRequest(3, category_ids=frozenset([1, 2]), max_price=1.0))
    assert model.filter_of(ListRequest(3)) is None


def test_the_least_recent_mask_is_dropped_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = list[float]()

    def mask(price: float) -> Any:
        def make() -> Any:
            made.append(price)
            return np.array([price < 2, True, price < 3, False])

        return masks.of(ListRequest(1, min_price=price), make)

    monkeypatch.setattr(kept_masks, "MOST", 2)
    masks = FilterCache(np.array([True, False, True]))
    for price in (1.0, 2.0, 1.0, 3.0, 1.0, 1.0, 2.0, 3.0):
        mask(price)
    assert made == [1.0, 2.0, 3.0, 2.0, 3.0]
    monkeypatch.setattr(kept_masks, "BYTES", 1)
    masks = FilterCache(np.array([True, False, True]))
    for price in (3.0, 3.0, 2.0, 2.0, 3.0, 2.0):  # the mask in use stays in any case
        mask(price)
    assert made[5:] == [3.0, 2.0, 3.0, 2.0]
    assert mask(2.0).recommendable.tolist() == [False, False, True]
    assert mask(2.0) is mask(2.0)
    longer = ProductFilter(np.array([True, True, False, False, True]), np.array([True, False, True]))
    assert longer.without.tolist() == [False, False, True, True, False]
    assert longer.recommendable.tolist() == [True, False, False]


def test_popular_products_of_a_mask_come_from_the_model_that_asks() -> None:
    kept = ProductFilter(np.array([True, True, False]), np.ones(3, np.bool_))
    before, now = (PopularProducts(np.array(columns, np.int32), np.zeros(3)) for columns in ([0, 1, 2], [2, 1, 0]))
    assert [kept.popular(these, 2).columns.tolist() for these in (before, now, before)] == [[0, 1], [1, 0], [0, 1]]


def test_arrays_made_from_a_mask_count_at_once(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(model.similarity, TasteSimilarity)
    ranker, n = model.similarity.ranker(TASTE), len(model.matrix.recommendable)
    masks, everything = (
        FilterCache(model.matrix.recommendable),
        PopularProducts(np.arange(n, dtype=np.int32), np.ones(n)),
    )
    monkeypatch.setattr(kept_masks, "MOST", 10**9)

    def bytes_counted() -> int:
        return int(masks._of_filters.currsize)

    def kept(price: float) -> ProductFilter:
        return masks.of(ListRequest(1, min_price=price), lambda: np.ones(n, np.bool_))

    first, second = kept(1.0), kept(2.0)
    assert bytes_counted() == 4 * n  # for each: the mask and the recommendable products
    _ = first.without, second.without, second.without
    assert bytes_counted() == 6 * n
    for _ in range(2):
        first.popular(everything, 3)
        assert bytes_counted() == 6 * n + n * (4 + 8)
    bars = sum(array.nbytes for array in first.bars(TASTE, ranker))
    assert bars > 0
    assert bytes_counted() == first.size + second.size == 18 * n + bars
    assert first.bars(TASTE, ranker) is first.bars(TASTE, ranker)
    _ = ProductFilter(first.allowed, first.recommendable).without  # not kept: nothing to count
    assert bytes_counted() == 18 * n + bars


def test_a_cache_that_grew_too_large_drops_the_least_recent_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_masks, "BYTES", 4_500)
    masks = FilterCache(np.ones(1_000, np.bool_))
    requests = [ListRequest(1, min_price=price) for price in (1.0, 2.0)]
    kept = [masks.of(request, lambda: np.ones(1_000, np.bool_)) for request in requests]
    assert [masks.knows(request) for request in requests] == [True, True]
    _ = kept[0].without  # 5,000 bytes in all: this one is in use, so the other is dropped
    assert [masks.knows(request) for request in requests] == [True, False]
    _ = kept[1].without  # it no longer counts
    assert masks._of_filters.currsize == kept[0].size == 3_000


def test_masks_are_freed_with_their_model_without_a_garbage_collection() -> None:
    masks = FilterCache(np.ones(3, np.bool_))
    kept = weakref.ref(masks.of(ListRequest(1, min_price=1.0), lambda: np.ones(3, np.bool_)))
    assert kept() is not None
    gc.disable()
    try:
        del masks
        assert kept() is None
    finally:
        gc.enable()


def test_a_thread_gets_the_popular_products_of_its_own_model_while_another_asks() -> None:
    kept = ProductFilter(np.ones(4, np.bool_), np.ones(4, np.bool_))
    other = PopularProducts(np.array([3, 2, 1, 0], np.int32), np.zeros(4))
    found: list[list[int]] = []
    asking = threading.Thread(target=lambda: found.append(kept.popular(other, 2).columns.tolist()))

    class Interrupted(PopularProducts):
        """Let the other thread ask as soon as this is iterated, and wait for it a while."""

        @property
        def columns(self) -> Any:
            if asking.ident is None:
                asking.start()
                asking.join(0.2)
            return np.array([0, 1, 2, 3], np.int32)

        @columns.setter
        def columns(self, _: Any) -> None: ...

    mine = object.__new__(Interrupted)
    object.__setattr__(mine, "predicted", np.zeros(4))
    assert kept.popular(mine, 2).columns.tolist() == [0, 1, 2, 3]
    asking.join()
    assert found == [[3, 2, 1, 0]]
    assert kept.popular(other, 2).columns.tolist() == [3, 2, 1, 0]


def test_many_threads_may_ask_for_masks_that_displace_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_masks, "BYTES", 4_000)  # the cache holds one or two of them
    masks = FilterCache(np.ones(500, np.bool_))
    everything = PopularProducts(np.arange(500, dtype=np.int32), np.zeros(500))

    def ask(seed: int) -> int:
        right = 0
        for number in np.random.default_rng(seed).integers(3, 20, 400).tolist():
            flags = np.arange(500) % number == 0
            kept = masks.of(ListRequest(1, min_price=float(number)), flags.copy)
            first = kept.popular(everything, 5).columns[:5].tolist()
            right += kept.without.tolist() == (~flags).tolist() and first == (number * np.arange(5)).tolist()
        return right

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(ask, range(4))) == [400] * 4
    finally:
        sys.setswitchinterval(before)
    assert masks._of_filters.currsize == sum(kept.size for kept in masks._of_filters.values()) <= 4_000


def test_a_live_model_shares_the_cache_of_its_base(model: ServedModel) -> None:
    model.prepare()
    live = LiveModel.of(model)
    assert live.filters is model.filters
    request = ListRequest(8, category_ids=frozenset(range(20)), max_price=7.0)
    for user in range(1, 61):
        for ranking in (CLASSIC, TASTE):
            assert live.select(user, request, ranking) == model.select(user, request, ranking)


def test_a_mask_is_extended_once_for_each_later_product(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model.prepare()
    request, cheap = ListRequest(8, category_ids=frozenset(range(20)), max_price=7.0), Product("new", 1.0, 4.0, 3)
    facts = {b"B0LATER%03d" % number: cheap._replace(price=float(number)) for number in range(9)} | {
        b"B0LATER009": None
    }

    def rated(live: LiveModel, *later: int) -> LiveModel:
        return live.after([UserRecord(7, tuple((b"B0LATER%03d" % number, 9, 0) for number in later))], facts)

    base = model.filter_of(request)
    assert base is not None
    for module in ("live.live_model", "model.served_model"):
        monkeypatch.setattr(f"recommender.{module}.allowed_products", lambda *_: pytest.fail("a mask was made anew"))
    # each has its own columns: later products stand behind earlier ones
    lives = [rated(LiveModel.of(model), 6, 8), rated(rated(LiveModel.of(model), 8), 6, 8)]
    for _ in range(2):
        for live, flags in zip(lives, ([True, False], [False, True]), strict=True):
            mask = live.filter_of(request)
            assert mask is not None
            assert mask.allowed.tolist() == [*base.allowed.tolist(), *flags]
            assert live.filter_of(request) is mask
    live = rated(lives[1], 8, 6, 9, 5)
    for ranking in (CLASSIC, TASTE):
        for user in range(1, 61):
            live.select(user, request, ranking)
    longer = live.filter_of(request)
    assert longer is not None
    assert longer.allowed.tolist() == [*base.allowed.tolist(), False, True, True, False]
    assert longer.without.tolist() == [not flag for flag in longer.allowed.tolist()]
    assert longer.recommendable.tolist() == base.recommendable.tolist()
    shorter = model.filter_of(request)
    assert shorter is not None
    assert shorter.allowed.tolist() == base.allowed.tolist()


def test_extended_masks_replace_the_shorter_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    masks, later = FilterCache(np.ones(1_000, np.bool_)), list[tuple[bytes, Product | None]]()
    made = []

    def make(price: float) -> Any:
        made.append(price)
        return np.ones(1_000, np.bool_)

    monkeypatch.setattr(kept_masks, "BYTES", 5_000)  # two masks, each with its recommendable products
    for number in range(20):
        later = [*later, (b"B0LATER%03d" % number, Product(None, 5.0, None, None))]
        for price in (1.0, 9.0):
            kept = masks.of(ListRequest(1, min_price=price), partial(make, price), later)
            assert kept.allowed[1_000:].tolist() == [price == 1.0] * (number + 1)
    assert made == [1.0, 9.0]


@pytest.mark.parametrize("n_excluded", [0, 3, FEW + 1])
def test_popular_products_after_the_first_ones_are_the_next_ones(n_excluded: int) -> None:
    popular = PopularProducts(np.arange(2 * FEW, dtype=np.int32)[::-1].copy(), np.arange(2.0 * FEW))
    excluded = popular.columns[1 : 1 + n_excluded]
    columns, predicted = popular.beyond(excluded, 3)
    expected = [place for place in range(2 * FEW) if not 1 <= place <= n_excluded][:3]
    assert columns.tolist() == [2 * FEW - 1 - place for place in expected]
    assert predicted.tolist() == expected


def test_a_cached_query_names_its_faults_each_time(model: ServedModel) -> None:
    for query, limit, wrong in (
        (b"limit=0&offset=x", 10, ["limit", "offset"]),
        (b"ranking=best", 10, ["ranking"]),
        (b"limit=" + b"9" * 300, 10, ["limit"]),
    ):
        for _ in range(2):
            with pytest.raises(InvalidParameterError) as refused:
                answer_list("1", query, model, limit)
            assert [entry["parameter"] for entry in refused.value.errors] == wrong
            refused.value.errors.clear()
    for limit in (2, 3, 2):  # the same query under another default
        assert orjson.loads(answer_list("1", b"", model, limit).body)["recommendations"][-1]["rank"] == limit
