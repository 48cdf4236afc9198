"""The lists of a batch on Spark equal those of the local batch in every byte, however the shop is divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.model import ModelSettings
from recommender.shop import HALF_STARS, Scale
from recommender.spark import Sizes, lists_frame
from tests.support.spark_lists import Shop, assert_same, catalog_of, job_of, lists_in_process, local_lists

ONE = Sizes(1, 10_000, 10_000, 10**9, 1)
SCALES = (HALF_STARS, Scale.of(1, 100, 1), Scale.of(1, 1, 1))
NAMES = ("Zoë", "a", "B", "a-1", "a.", "é", "10", "9", "東京", "aa")  # their bytes order them otherwise than we do


def made_up(n_users: int, n_products: int, n_ratings: int, *, seed: int = 0, scale: Scale = HALF_STARS) -> Shop:
    """A shop whose products are popular as by a power law; a tenth of the products are not in the catalog."""
    rng = np.random.default_rng(seed)
    users, products = rng.integers(1, n_users + 1, n_ratings), (rng.pareto(1.0, n_ratings) * 5).astype(int) % n_products
    pairs = np.unique(users * n_products + products)
    rng.shuffle(pairs)
    names = [f"P{number:05d}" for number in range(n_products)]
    ids = np.array(names, np.bytes_)[pairs % n_products]
    steps = rng.integers(scale.least, scale.most + 1, len(pairs)).astype(np.int8)
    catalog = catalog_of([*(name for at, name in enumerate(names) if at % 10 != 3), "Q1", "Q2"])
    return Shop(pairs // n_products, ids, steps, catalog, scale)


@st.composite
def small_shops(draw: st.DrawFn) -> Shop:
    """Few users and products, so that nearly everything ties; in catalogs that miss some products."""
    scale = draw(st.sampled_from(SCALES))
    pair = st.tuples(st.integers(0, 9), st.sampled_from("abcdefg"))
    pairs = draw(st.lists(pair, min_size=1, max_size=40, unique=True))
    steps = draw(st.lists(st.integers(scale.least, scale.most), min_size=len(pairs), max_size=len(pairs)))
    names = dict(enumerate(draw(st.permutations(NAMES)))) if draw(st.booleans()) else None
    catalog = catalog_of(draw(st.sets(st.sampled_from("abcdefgh"))))
    users, products = np.array([user for user, _ in pairs]), np.array([name for _, name in pairs], np.bytes_)
    return Shop(users, products, np.array(steps, np.int8), catalog, scale, names)


divisions = st.builds(
    Sizes, st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 20), st.integers(1, 5)
)


@settings(max_examples=60, deadline=None)
@given(small_shops(), divisions, st.integers(1, 12), st.integers(1, 8), st.none() | st.integers(1, 10))
def test_classic_lists_of_any_division_are_the_local_ones(
    shop: Shop, sizes: Sizes, k: int, n: int, users: int | None
) -> None:
    wanted = job_of(ModelSettings(k), n, users)
    assert_same(lists_in_process(shop, wanted, sizes), local_lists(shop, wanted))


def test_classic_lists_of_hundreds_of_users_are_the_local_ones_in_any_division() -> None:
    shop, wanted = made_up(300, 120, 3_000), job_of(ModelSettings(20))
    local = local_lists(shop, wanted)
    for sizes in (ONE, Sizes(3, 37, 16, 500, 4), Sizes(7, 5, 3, 100, 2)):
        assert_same(lists_in_process(shop, wanted, sizes), local)


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.parametrize("n_tasks", [1, 2, 7, 64])
def test_spark_makes_the_local_classic_lists_with_any_number_of_partitions(spark: Any, n_tasks: int) -> None:
    shop, wanted = made_up(300, 120, 3_000, scale=SCALES[n_tasks % 3]), job_of(ModelSettings(20))
    sizes = Sizes(n_tasks, 40, 25, 700, n_tasks)
    frame = lists_frame(spark, shop.frames(spark), shop.catalog, shop.scale, wanted, sizes=sizes)
    assert_same(frame.toArrow(), local_lists(shop, wanted))
