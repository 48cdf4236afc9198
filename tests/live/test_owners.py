"""The products that nobody has any more: counts equal those taken anew, and items does not recommend them."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recommender.live import LiveModel, UserRecord
from recommender.live.owners import Owners
from recommender.model import ListRequest
from recommender.ranking import AUTO, FUSION, ITEMS, AutoParameters, FusionParameters, ItemParameters
from tests.live.test_interleaving import ERASE, PRODUCTS, Shop
from tests.model.test_item_explanations import weighed
from tests.support.model_built_anew import build_of
from tests.support.saved_model import build

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
N_PRODUCTS, N_PEOPLE = 6, 4
PROFILES = st.frozensets(st.integers(0, N_PRODUCTS + 1))  # the last two came after the model was built


def columns(profile: frozenset[int]) -> np.ndarray:
    return np.array(sorted(profile), np.int32)


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.lists(st.frozensets(st.integers(0, N_PRODUCTS - 1)), min_size=N_PEOPLE, max_size=N_PEOPLE),
    st.lists(st.lists(st.tuples(st.integers(0, N_PEOPLE - 1), PROFILES), max_size=4), max_size=6),
)
def test_the_products_of_nobody_are_those_of_a_count_of_everybody(
    people: list[frozenset[int]], turns: list[list[tuple[int, frozenset[int]]]]
) -> None:
    had = [sum(product in profile for profile in people) for product in range(N_PRODUCTS)]
    owners, now = Owners(np.array(had, np.int64)), list(people)
    kept = [(owners, set[int]())]
    for changes in turns:  # several people at a time, the same person also twice
        pairs = []
        for person, profile in changes:
            pairs.append((columns(now[person]), columns(profile)))
            now[person] = profile
        owners = owners.after(pairs)
        counts = Counter(product for profile in now for product in profile if product < N_PRODUCTS)
        nobody = {product for product in range(N_PRODUCTS) if not counts[product]}
        # of products that nobody had when the model was built the item model knows nothing
        assert {product for product in owners.gone.tolist() if had[product]} == {p for p in nobody if had[p]}
        assert not set(owners.gone.tolist()) - nobody
        assert len(set(owners.gone.tolist())) == len(owners.gone)
        assert {at: owners.counts[at] + more for at, more in owners.more.items()} == {
            at: counts[at] for at in owners.more
        }
        kept.append((owners, set(owners.gone.tolist())))
    assert [set(old.gone.tolist()) for old, _ in kept] == [gone for _, gone in kept]  # an older state stays


def live() -> LiveModel:
    """User 1 has A, which speaks for B and C. Only user 2 has B, and users 2 and 3 have C."""
    stars = {1: {A: 5.0, D: 3.0}, 2: {B: 4.0, C: 4.0, A: 4.0}, 3: {C: 2.0}, 4: {D: 3.0, A: 3.0}}
    parameters = AutoParameters(
        FUSION, items=ItemParameters(half_life=0.0, damping=0.0), fusion=FusionParameters(0.7, 10.0)
    )
    model = build(stars, dict.fromkeys((A, B, C, D), (None, 1.0)), taste=True)
    return LiveModel.of(weighed(model, parameters, {(A, B): 0.5, (A, C): 0.25}))


def evident(model: LiveModel, user: int, ranking: str, request: ListRequest) -> list[str]:
    """The products that the ranking gave."""
    found = model.select(user, request, ranking).recommendations
    return [model.products.id_of(item.column) for item in found if item.source in (ITEMS, FUSION)]


def test_items_does_not_recommend_what_nobody_has_any_more() -> None:
    before = live()
    without_b = UserRecord(2, ((A.encode(), 8, 0), (C.encode(), 8, 0)), listed=True)
    with_b = UserRecord(2, ((A.encode(), 8, 0), (B.encode(), 8, 0), (C.encode(), 8, 0)), listed=True)
    other = UserRecord(3, ((B.encode(), 2, 0), (C.encode(), 4, 0)), listed=True)
    after = before.after([without_b], {})
    again = after.after([with_b], {})
    meanwhile = before.after([without_b, other], {})
    for ranking in (ITEMS, AUTO):
        for request in (ListRequest(3), ListRequest(3, max_price=5.0), ListRequest(3, diversity=1)):
            for user in (1, 4):
                assert set(evident(before, user, ranking, request)) == {B, C}
                assert evident(after, user, ranking, request) == [C]
                assert set(evident(again, user, ranking, request)) == {B, C}
                assert set(evident(meanwhile, user, ranking, request)) == {B, C}
    assert evident(before, 1, ITEMS, ListRequest(3)) == [B, C]  # an older model answers as before
    basket = after.select_for(after.basket({A: 10}), ListRequest(3), ITEMS).recommendations
    assert B not in {after.products.id_of(item.column) for item in basket if item.source == ITEMS}


def test_an_erased_person_was_an_owner_too() -> None:
    after = live().after([UserRecord(2)], {})
    assert evident(after, 1, ITEMS, ListRequest(3)) == [C]  # user 3 still has it
    assert evident(after.after([UserRecord(3)], {}), 1, ITEMS, ListRequest(3)) == []


def test_who_bought_without_a_rating_was_an_owner_too() -> None:
    shop = Shop()
    for user, product, act in ((1, 0, 9), (2, 0, 7), (2, 1, 14), (1, 2, 9), (3, 2, 5)):  # 14: a purchase
        shop.act(user, product, act)
    model = LiveModel.of(build_of(shop.snapshot()))
    shop.act(2, 0, ERASE)
    after = model.after([shop.record(2)], {})
    assert after.changes.owners is not None
    assert [after.products.id_of(column) for column in after.changes.owners.gone.tolist()] == [PRODUCTS[1].decode()]


def test_factors_are_masked_once_for_equal_requests_and_never_changed() -> None:
    owners = Owners(np.array([1, 1, 2])).after([(columns(frozenset({1})), columns(frozenset()))])
    one, other = np.array([0.5, 0.25, 1.0]), np.array([1.0, 1.0, 0.0])
    for _ in range(2):
        for factors, wanted in ((one, [0.5, 0.0, 1.0]), (other, [1.0, 0.0, 0.0])):
            found = owners.masked(factors)
            assert found.tolist() == wanted
            assert owners.masked(factors) is found
    assert (one.tolist(), other.tolist()) == ([0.5, 0.25, 1.0], [1.0, 1.0, 0.0])


def test_a_shop_without_the_item_model_counts_no_owners() -> None:
    model = LiveModel.of(build({1: {A: 5.0}, 2: {A: 4.0, B: 4.0}}, dict.fromkeys((A, B), (None, 1.0)), taste=True))
    assert model.after([UserRecord(2)], {}).changes.owners is None
