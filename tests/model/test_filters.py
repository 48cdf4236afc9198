"""What is kept between lists changes none of them: masks of filters, the questions of queries."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest

from recommender.fallback.popular import FEW, PopularProducts
from recommender.live.live_model import LiveModel
from recommender.live.users import UserRecord
from recommender.model import filters as kept_masks
from recommender.model.filters import KeptMasks
from recommender.model.list_request import Wish
from recommender.model.served_model import ServedModel
from recommender.ranking.rankings import CLASSIC, TASTE
from recommender.service.list_answer import answer_list
from recommender.service.problems import InvalidParameterError
from recommender.shop.catalog import Product
from tests.model.test_list_request import model

__all__ = ["model"]  # the fixture: sixty users, a catalog of 40 products and 5 that nobody rated


def test_a_mask_is_kept_by_what_it_leaves_out_whatever_the_limit(model: ServedModel) -> None:
    first = model.allowed(Wish(3, category_ids=frozenset([1, 2]), min_price=1.0))
    assert first is model.allowed(Wish(9, 2, category_ids=frozenset([2, 1]), min_price=1.0, diversity=1))
    assert first is not model.allowed(Wish(3, category_ids=frozenset([1, 2]), max_price=1.0))
    assert model.allowed(Wish(3)) is None


def test_the_least_recent_mask_goes_first_and_a_foreign_one_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_masks, "MOST", 2)
    masks, made = KeptMasks(np.array([True, False, True])), list[float]()

    def mask(price: float) -> Any:
        def make() -> Any:
            made.append(price)
            return np.array([price < 2, True, price < 3, False])

        return masks.mask(Wish(1, min_price=price), make)

    for price in (1.0, 2.0, 1.0, 3.0, 1.0, 1.0, 2.0, 3.0):  # until the next question one more is there
        mask(price)
    assert made == [1.0, 2.0, 3.0, 2.0, 3.0]
    monkeypatch.setattr(kept_masks, "BYTES", 1)
    for price in (3.0, 3.0, 2.0, 2.0, 3.0):  # the one that is used stays in any case
        mask(price)
    assert made[5:] == [2.0, 3.0]
    assert masks.of(mask(2.0)).recommendable.tolist() == [False, False, True]
    assert masks.of(mask(2.0)) is masks.of(mask(2.0))
    foreign = np.array([True, True, False, False, True])  # with a product that came later
    assert masks.of(foreign).without.tolist() == [False, False, True, True, False]
    assert masks.of(foreign).recommendable.tolist() == [True, False, False]


def test_popular_products_of_a_mask_are_those_of_the_model_that_asks() -> None:
    kept = KeptMasks(np.ones(3, np.bool_)).of(np.array([True, True, False]))
    before, now = (PopularProducts(np.array(columns, np.int32), np.zeros(3)) for columns in ([0, 1, 2], [2, 1, 0]))
    assert [kept.popular(these, 2).columns.tolist() for these in (before, now, before)] == [[0, 1], [1, 0], [0, 1]]


def test_a_live_model_shares_what_its_base_keeps(model: ServedModel) -> None:
    model.prepare()
    live = LiveModel.of(model)
    assert live.masks is model.masks
    wish = Wish(8, category_ids=frozenset(range(20)), max_price=7.0)
    for user in range(1, 61):
        for ranking in (CLASSIC, TASTE):
            assert live.select(user, wish, ranking) == model.select(user, wish, ranking)


def test_a_mask_is_made_longer_once_for_each_product_that_came_later(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.prepare()
    wish, cheap = Wish(8, category_ids=frozenset(range(20)), max_price=7.0), Product("new", 1.0, 4.0, 3)
    facts = {b"B0LATER%03d" % number: cheap._replace(price=float(number)) for number in range(9)} | {
        b"B0LATER009": None
    }

    def rated(live: LiveModel, *later: int) -> LiveModel:
        return live.after([UserRecord(7, tuple((b"B0LATER%03d" % number, 9, 0) for number in later))], facts)

    base = model.allowed(wish)
    assert base is not None
    for module in ("live.live_model", "model.served_model"):
        monkeypatch.setattr(f"recommender.{module}.allowed_products", lambda *_: pytest.fail("a mask was made anew"))
    # each has its own columns: what came later stands behind what came before
    lives = [rated(LiveModel.of(model), 6, 8), rated(rated(LiveModel.of(model), 8), 6, 8)]
    for _ in range(2):
        for live, flags in zip(lives, ([True, False], [False, True]), strict=True):
            mask = live.allowed(wish)
            assert mask is not None
            assert mask.tolist() == [*base.tolist(), *flags]
            assert live.allowed(wish) is mask
            assert live.masks.of(mask) is live.masks.of(mask)
    live = rated(lives[1], 8, 6, 9, 5)
    for ranking in (CLASSIC, TASTE):
        for user in range(1, 61):
            live.select(user, wish, ranking)
    longer = live.allowed(wish)
    assert longer is not None
    assert longer.tolist() == [*base.tolist(), False, True, True, False]
    kept = live.masks.of(longer)
    assert kept.without.tolist() == [not flag for flag in longer.tolist()]
    assert kept.recommendable.tolist() == (base[: model.matrix.shape[1]] & model.matrix.recommendable).tolist()
    shorter = model.allowed(wish)
    assert shorter is not None
    assert shorter.tolist() == base.tolist()


def test_masks_that_were_made_longer_take_the_place_of_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    masks, later = KeptMasks(np.ones(1_000, np.bool_)), list[tuple[bytes, Product | None]]()
    made = []

    def make(price: float) -> Any:
        made.append(price)
        return np.ones(1_000, np.bool_)

    monkeypatch.setattr(kept_masks, "BYTES", 5_000)  # of two masks, with what may be recommended
    for number in range(20):
        later.append((b"B0LATER%03d" % number, Product(None, 5.0, None, None)))
        for price in (1.0, 9.0):
            flags = masks.mask(Wish(1, min_price=price), partial(make, price), later)
            assert flags[1_000:].tolist() == [price == 1.0] * (number + 1)
    assert made == [1.0, 9.0]


@pytest.mark.parametrize("n_excluded", [0, 3, FEW + 1])
def test_popular_products_beyond_some_are_the_next_ones(n_excluded: int) -> None:
    popular = PopularProducts(np.arange(2 * FEW, dtype=np.int32)[::-1].copy(), np.arange(2.0 * FEW))
    excluded = popular.columns[1 : 1 + n_excluded]
    columns, predicted = popular.beyond(excluded, 3)
    expected = [place for place in range(2 * FEW) if not 1 <= place <= n_excluded][:3]
    assert columns.tolist() == [2 * FEW - 1 - place for place in expected]
    assert predicted.tolist() == expected


def test_a_kept_question_still_tells_what_is_wrong_with_it_each_time(model: ServedModel) -> None:
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
