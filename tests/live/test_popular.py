"""After many changes at once, popular products are in the order of a full sort."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.live import LiveModel, UserRecord
from recommender.shop import Product
from tests.support.saved_model import build

N_PRODUCTS = 900  # more than one round of the search can distinguish
IDS = [f"B{number:09d}" for number in range(N_PRODUCTS)]


@pytest.mark.parametrize("seed", range(3))
def test_many_changes_at_once_give_the_order_of_a_full_sort(seed: int) -> None:
    """A third of the products are in the matrix, a third only in the catalog, a third came later; all interleave."""
    draw = np.random.default_rng(seed)
    in_matrix, later = IDS[::3], set(IDS[2::3])
    stars = {user: dict.fromkeys(in_matrix[user::2], 0.5 + user) for user in (1, 2)}
    ratings = {user: {product: round(2 * given) for product, given in own.items()} for user, own in stars.items()}
    live = LiveModel.of(build(stars, {product: (None, 1.0) for product in IDS if product not in later}))
    gone = {product for product in later if product.endswith("8")}  # rated, but not in the catalog
    facts = {name.encode(): None if name in gone else Product(None, None, None, None) for name in later}
    for size in (0, 1, 2, 300, 700, 5, 0, 900):
        user = int(draw.integers(1, 6))
        chosen = [IDS[place] for place in sorted(draw.choice(N_PRODUCTS, size, replace=False).tolist())]
        ratings[user] = {product: int(draw.integers(1, 4)) for product in chosen}
        record = UserRecord(user, tuple((product.encode(), given, 0) for product, given in ratings[user].items()))
        live = live.after([record], facts)
        given = {product: [own[product] for own in ratings.values() if product in own] for product in IDS}
        expected = sorted(
            (product for product in IDS if given[product] and product not in gone),
            key=lambda product: (-len(given[product]), -sum(given[product]), product),
        )
        assert [live.products.id_of(column) for column in live.popular.columns.tolist()] == expected
