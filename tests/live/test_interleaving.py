"""Any changes in any order: the live model equals a newly built one. No database is used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.errors import UnknownUserError
from recommender.live import LiveModel, UserRecord
from recommender.model import ListRequest, ServedModel
from recommender.shop import (
    HALF_STARS,
    NUMBERS_AS_THEY_ARE,
    Interactions,
    People,
    Product,
    ProductCatalog,
    Scale,
    Snapshot,
    TextIds,
    UserIds,
    build_rating_matrix,
)
from tests.support.model_built_anew import as_seen, as_told, build_of
from tests.support.product_ids import ODD

USERS, LISTED = (
    range(1, 11),
    (*range(1, 7), *range(11, 17)),
)  # the last ones never change, so a segment keeps its number
# ascending; of one to 256 bytes, and the longest come late
PRODUCTS = sorted(text.encode() for text in [*ODD[:13], "x" * 64, "é" * 64, "🎁" * 64])
LATE, UNLISTED = set(PRODUCTS[3::4]), PRODUCTS[15]  # LATE enter the catalog at their first event, UNLISTED never
ERASE, DELETE = 15, 0  # other actions: 1 to 10 are steps of a rating, 11 to 14 kinds of interactions
RANKINGS = ("classic", "taste", "items", "auto")
WISHES = (
    ListRequest(5),
    ListRequest(4, offset=1, category_ids=frozenset({0, 1}), diversity=2),
    ListRequest(16, diversity=1),
)

# the steps that 1 to 10 stand for on other scales
OTHER_SCALES = {
    "1 to 10": (Scale.of(1, 10, 1), range(11)),
    "1 to 100": (Scale.of(1, 100, 1), (0, 1, 15, 16, 31, 47, 63, 64, 80, 99, 100)),
    "tenths": (Scale.of("0.1", "2.5", "0.1"), (0, 1, 3, 6, 7, 11, 15, 16, 17, 23, 25)),
    "likes": (Scale.of(1, 1, 1), (0, *[1] * 10)),
}

Act = tuple[int, int, int]
ACTS = st.tuples(st.sampled_from(USERS), st.integers(0, 15), st.integers(DELETE, ERASE))


@dataclass
class Shop:
    """The rows that the tables would hold."""

    ratings: dict[int, dict[bytes, tuple[int, int]]] = field(default_factory=lambda: defaultdict(dict))
    events: dict[int, dict[tuple[bytes, int], int]] = field(default_factory=lambda: defaultdict(dict))
    listed: set[int] = field(default_factory=lambda: set(LISTED))
    catalog: set[bytes] = field(default_factory=lambda: set(PRODUCTS) - LATE)
    clock: int = 0
    scale: Scale = HALF_STARS
    steps: Sequence[int] = range(11)
    by_text: bool = False  # whether the shop calls its people by texts, whose order is another than that of the numbers

    def act(self, user: int, number: int, what: int) -> None:
        product = PRODUCTS[number]
        self.clock += 1
        if what == ERASE:
            self.listed.discard(user)
            self.ratings.pop(user, None)
            self.events.pop(user, None)
        elif what == DELETE:
            self.ratings[user].pop(product, None)
        elif what <= 10:
            _, first = self.ratings[user].get(product, (0, self.clock))
            self.ratings[user][product] = self.steps[what], first
        else:
            self.events[user][product, what - 11] = self.clock
        if what not in (ERASE, DELETE) and product != UNLISTED:
            self.catalog.add(product)

    def record(self, user: int) -> UserRecord:
        rated = tuple((product, *given) for product, given in self.ratings[user].items())
        turned = tuple((product, kind, time) for (product, kind), time in self.events[user].items())
        who: tuple[str | None, str | None] = segment(user) if user in self.listed else (None, None)
        return UserRecord(user, rated, turned, user in self.listed, *who, name_of(user) if self.by_text else None)

    def ids(self) -> UserIds:
        """The ids of everybody who has a row."""
        if not self.by_text:
            return NUMBERS_AS_THEY_ARE
        known = sorted({*self.ratings, *self.events, *self.listed})
        return TextIds.made(np.array([name_of(user).encode() for user in known]), np.array(known, np.int64))

    def snapshot(self) -> Snapshot:
        names = np.array(PRODUCTS)
        rated = [(u, PRODUCTS.index(p), *given) for u, own in self.ratings.items() for p, given in own.items()]
        turned = [(u, PRODUCTS.index(p), k, time) for u, own in self.events.items() for (p, k), time in own.items()]
        users, codes, stars, times = np.array(rated, np.int64).reshape(-1, 4).T
        held, inverse = np.unique(codes, return_inverse=True)
        in_catalog = np.array([PRODUCTS[code] in self.catalog for code in held.tolist()])
        matrix = build_rating_matrix(
            *(users, np.array(names[held].tolist()), inverse, stars.astype(np.int8)),
            in_catalog=in_catalog,
            rated_at=times,
            scale=self.scale,
            ids=self.ids(),
        )
        by, what, kinds, at = (np.array([row[n] for row in turned], np.int64) for n in range(4))
        log = Interactions(by, what.astype(np.int32), names, kinds.astype(np.int8), at)
        known = np.array(sorted(self.listed), np.int64)
        pairs = [segment(user) for user in known.tolist()]
        people = People(known, *(pa.chunked_array([pa.array([p[n] for p in pairs], pa.string())]) for n in (0, 1)))
        return Snapshot(matrix, catalog_of(self.catalog), people, log if len(turned) else None)


def name_of(user: int) -> str:
    return f"{'éZa🍵'[user % 4]}{-user}"


def segment(user: int) -> tuple[str, str]:
    return "NL" if user % 2 else "BE", "18-24" if user % 3 else "65+"


def facts(product: bytes) -> Product | None:
    number = PRODUCTS.index(product)
    return None if product == UNLISTED else Product(f"Product {number}", float(number), 4.0, number % 3)


def catalog_of(products: set[bytes]) -> ProductCatalog:
    ids = sorted(products)
    known: list[Any] = [facts(product) for product in ids]
    return ProductCatalog(
        np.array(ids),
        pa.array([one.title for one in known], pa.string()),
        np.array([one.price for one in known]),
        np.array([one.stars for one in known]),
        np.array([one.category_id for one in known], np.int32),
    )


def told(model: ServedModel, user: int) -> list[Any]:
    try:
        lists = [
            as_told(model, model.select(user, request, ranking).recommendations)
            for ranking in RANKINGS
            for request in WISHES
        ]
        return [*lists, *(as_seen(model, user, ranking) for ranking in RANKINGS)]
    except UnknownUserError:
        return ["unknown"]


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(ACTS, max_size=60),
    after=st.lists(st.lists(ACTS, min_size=1, max_size=4), min_size=1, max_size=8),
    by_text=st.booleans(),
)
def test_after_any_changes_each_answer_equals_that_of_a_newly_built_model(
    before: list[Act], after: list[list[Act]], by_text: bool
) -> None:
    """Changes come several at a time, of several people. Now and then the same person is named twice."""
    check_changes(Shop(by_text=by_text), before, after)


@pytest.mark.parametrize("name", OTHER_SCALES)
def test_on_every_scale_each_answer_equals_that_of_a_newly_built_model(name: str) -> None:
    scale, steps = OTHER_SCALES[name]

    @settings(max_examples=12, deadline=None)
    @given(
        before=st.lists(ACTS, max_size=60),
        after=st.lists(st.lists(ACTS, min_size=1, max_size=4), min_size=1, max_size=4),
        by_text=st.booleans(),
    )
    def check(before: list[Act], after: list[list[Act]], by_text: bool) -> None:
        check_changes(Shop(scale=scale, steps=steps, by_text=by_text), before, after)

    check()


def test_high_ratings_come_to_a_shop_that_had_low_ones() -> None:
    """The model of low ratings would fit into narrow entries, the later ratings do not."""
    scale, steps = OTHER_SCALES["1 to 100"]
    after = [[(1, 2, 10), (3, 0, 9)], [(3, 1, 10), (4, 0, 7)], [(2, 2, 1), (5, 1, 8), (5, 0, 10)]]
    check_changes(Shop(scale=scale), [(6, 0, 3), (6, 2, 5)], after, later=steps)


def check_changes(shop: Shop, before: list[Act], after: list[list[Act]], *, later: Sequence[int] | None = None) -> None:
    """``later``: the steps that 1 to 10 stand for after the first model."""
    for act in [(1, 0, 9), (2, 0, 7), (2, 1, 10), *before, (1, 0, 9), (2, 1, 12)]:  # so that there are some ratings
        shop.act(*act)
    compare(shop, after, rated=True, later=later)


@settings(max_examples=15, deadline=None)
@given(
    before=st.lists(st.tuples(st.sampled_from(USERS), st.integers(0, 15), st.integers(11, 14)), max_size=60),
    after=st.lists(st.lists(ACTS, min_size=1, max_size=4), min_size=1, max_size=8),
    by_text=st.booleans(),
)
def test_a_shop_with_interactions_alone_takes_any_changes_and_its_first_ratings(
    before: list[Act], after: list[list[Act]], by_text: bool
) -> None:
    shop = Shop(by_text=by_text)
    for act in [*before, (1, 0, 11), (2, 1, 12), (7, 0, 14), (8, 2, 13)]:
        shop.act(*act)
    compare(shop, after, rated=False)


def compare(shop: Shop, after: list[list[Act]], *, rated: bool, later: Sequence[int] | None = None) -> None:
    """Make a model of the shop, and hold it to a new one after each of the changes; ``rated``: while it has ratings.

    ``later``: as in `check_changes`.
    """
    base = build_of(shop.snapshot())
    assert bool(base.n_ratings) == rated
    shop.steps = shop.steps if later is None else later
    live = LiveModel.of(base)
    for acts in after:
        for act in acts:
            shop.act(*act)
        live = live.after([shop.record(user) for user, *_ in acts], {product: facts(product) for product in LATE})
        if rated and not any(shop.ratings.values()):
            continue
        anew = build_of(shop.snapshot(), base)
        assert live.n_ratings == anew.n_ratings
        assert live.known_users.tolist() == anew.known_users.tolist()
        assert [told(live, user) for user in USERS] == [told(anew, user) for user in USERS]
        assert as_told(live, live.select_popular(ListRequest(16))) == as_told(
            anew, anew.select_popular(ListRequest(16))
        )
