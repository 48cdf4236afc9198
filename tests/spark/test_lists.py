"""The lists of a batch on Spark equal those of the local batch in every byte, however the shop is divided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.datasets import load_dataset
from recommender import arrays
from recommender.model import ModelSettings
from recommender.ranking import (
    FUSION,
    AutoParameters,
    FusionParameters,
    ItemParameters,
    TasteParameters,
)
from recommender.shop import HALF_STARS, NO_TIME, Scale
from recommender.spark import ListsJob, Sizes, lists_frame, whole_frame
from tests.conftest import REAL_DATA, needs_real_data
from tests.support.spark_lists import (
    Log,
    Shop,
    assert_same,
    batch_lists,
    catalog_of,
    job_of,
    lists_in_process,
    local_lists,
    whole_in_process,
)

ONE = Sizes(1, 10_000, 10_000, 10**9, 1)
SCALES = (HALF_STARS, Scale.of(1, 100, 1), Scale.of(1, 1, 1))
NAMES = ("Zoë", "a", "B", "a-1", "a.", "é", "10", "9", "東京", "aa")  # their bytes order them otherwise than we do
WEIGHTS = (0.2, 0.5, 1.0, 2.0)
DAY = 86_400_000_000
FUSED = AutoParameters(FUSION, TasteParameters(7, 0.4), ItemParameters(half_life=3.0), FusionParameters(0.5, 10.0))
WANTED = {
    "classic": job_of(ModelSettings(20)),
    "taste": job_of(ModelSettings(20, "taste", 30, WEIGHTS)),
    "items": job_of(ModelSettings(20, "items", 10, WEIGHTS)),
    "auto, fusion": replace(job_of(ModelSettings(20, "auto", 50, WEIGHTS)), parameters=FUSED),
    "auto, taste": replace(
        job_of(ModelSettings(20, "auto", 0, WEIGHTS)), parameters=AutoParameters(taste=TasteParameters(30, 0.6))
    ),
}


def made_up(n_users: int, n_products: int, n_ratings: int, *, seed: int = 0, scale: Scale = HALF_STARS) -> Shop:
    """A shop whose products are popular as by a power law; a tenth of the products are not in the catalog."""
    rng = np.random.default_rng(seed)

    def pairs(n: int) -> Any:
        users, products = rng.integers(1, n_users + 1, n), (rng.pareto(1.0, n) * 5).astype(int) % n_products
        found = np.unique(users * n_products + products)
        rng.shuffle(found)
        return found // n_products, np.array(names, np.bytes_)[found % n_products]

    names = [f"P{number:05d}" for number in range(n_products)]
    (users, products), (viewers, viewed) = pairs(n_ratings), pairs(n_ratings // 2)
    steps = rng.integers(scale.least, scale.most + 1, len(users)).astype(np.int8)
    catalog = catalog_of([*(name for at, name in enumerate(names) if at % 10 != 3), "Q1", "Q2"])
    times, kinds = rng.integers(0, 900, len(users)) * DAY, rng.integers(0, 4, len(viewers)).astype(np.int8)
    log = Log(viewers + 5, viewed, kinds, rng.integers(0, 900, len(viewers)) * DAY)
    people: dict[int, tuple[str | None, str | None]]
    people = {user: ("DE" if user % 3 else None, f"{user % 5}0-{user % 5}9") for user in range(0, n_users, 2)}
    return Shop(users, products, steps, catalog, scale, None, times, log, people)


@st.composite
def small_shops(draw: st.DrawFn) -> Shop:
    """Few users and products, so that nearly everything ties; in catalogs that miss some products."""
    scale = draw(st.sampled_from(SCALES))
    users, moments = st.integers(0, 9), st.sampled_from((NO_TIME, 0, DAY, 500 * DAY))
    pairs = draw(st.lists(st.tuples(users, st.sampled_from("abcdefg")), min_size=1, max_size=40, unique=True))
    steps = draw(st.lists(st.integers(scale.least, scale.most), min_size=len(pairs), max_size=len(pairs)))
    times = draw(st.lists(moments, min_size=len(pairs), max_size=len(pairs)))
    names = dict(enumerate(draw(st.permutations(NAMES)))) if draw(st.booleans()) else None
    catalog = catalog_of(draw(st.sets(st.sampled_from("abcdefgh"))))
    event = st.tuples(users, st.sampled_from("abcdefgi"), st.integers(0, 3), moments)
    lands = st.sampled_from((None, "", "DE", "FR"))
    people = draw(st.dictionaries(st.integers(0, 12), st.tuples(lands, lands), max_size=8))
    raters, rated = zip(*pairs, strict=True)
    given_times, given_steps = np.array(times, np.int64), np.array(steps, np.int8)
    ratings = np.array(raters), np.array(rated, np.bytes_), given_steps
    return Shop(*ratings, catalog, scale, names, given_times, Log.of(draw(st.lists(event, max_size=20))), people)


@pytest.fixture(scope="module")
def limits() -> Iterator[None]:
    """Takes back the limit of threads that tasks set in their process."""
    before = arrays._most_threads
    yield
    arrays._most_threads = before


divisions = st.builds(
    Sizes, st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 20), st.integers(1, 5)
)


def assert_local(shop: Shop, wanted: ListsJob, sizes: Sizes) -> None:
    local, wanted = local_lists(shop, wanted)
    assert_same(lists_in_process(shop, wanted, sizes), local)


@settings(max_examples=60, deadline=None)
@given(small_shops(), divisions, st.integers(1, 12), st.integers(1, 8), st.none() | st.integers(1, 10))
def test_classic_lists_of_any_number_of_neighbors_are_the_local_ones(
    shop: Shop, sizes: Sizes, k: int, n: int, users: int | None
) -> None:
    assert_local(shop, job_of(ModelSettings(k), n, users), sizes)


@settings(max_examples=60, deadline=None)
@given(
    small_shops(), divisions, st.sampled_from(sorted(WANTED)[:-1]), st.integers(1, 8), st.none() | st.integers(1, 10)
)
def test_lists_of_any_division_are_the_local_ones(
    shop: Shop, sizes: Sizes, ranking: str, n: int, users: int | None
) -> None:
    assert_local(shop, replace(WANTED[ranking], n=n, users=users), sizes)


@settings(max_examples=20, deadline=None)
@given(
    small_shops(), st.integers(1, 5), st.sampled_from(sorted(WANTED)), st.integers(1, 8), st.none() | st.integers(1, 9)
)
def test_tasks_that_have_the_whole_shop_make_the_local_lists(
    limits: None, shop: Shop, n_tasks: int, ranking: str, n: int, users: int | None
) -> None:
    wanted = replace(WANTED[ranking], n=n, users=users)
    assert_same(whole_in_process(shop, wanted, n_tasks), local_lists(shop, wanted)[0])


@pytest.mark.parametrize("ranking", WANTED)
def test_lists_of_hundreds_of_users_are_the_local_ones_in_any_division(ranking: str) -> None:
    shop = made_up(300, 120, 3_000)
    local, wanted = local_lists(shop, WANTED[ranking])
    for sizes in (ONE, Sizes(2, 150, 64, 2_000, 2), Sizes(7, 37, 16, 500, 4), Sizes(64, 5, 3, 100, 64)):
        assert_same(lists_in_process(shop, wanted, sizes), local)


def real_shop(name: str) -> Shop:
    """A public data set; every tenth product is not in the catalog."""
    matrix = load_dataset(name, REAL_DATA)
    ratings, times = matrix.steps.tocoo(), matrix.rated_at
    given = matrix.user_ids[ratings.row], matrix.product_ids[ratings.col], ratings.data
    sold = [one.decode() for at, one in enumerate(matrix.product_ids.tolist()) if at % 10 != 3]
    return Shop(*given, catalog_of(sold), matrix.scale, rated_at=np.empty(0, np.int64) if times is None else times)


@needs_real_data
@pytest.mark.parametrize("ranking", ["classic", "taste", "items", "auto, fusion"])
@pytest.mark.parametrize("name", ["movielens_small", "filmtrust", "all_beauty"])
def test_lists_of_real_users_are_the_local_ones(name: str, ranking: str) -> None:
    shop = real_shop(name)
    local, wanted = local_lists(shop, WANTED[ranking])
    assert_same(lists_in_process(shop, wanted, Sizes(3, 64, 50, 20_000, 4)), local)


@pytest.mark.parametrize("ranking", ["classic", "taste", "items", "auto, fusion"])
def test_lists_of_5000_users_are_the_local_ones(ranking: str) -> None:
    shop = made_up(5_000, 2_000, 30_000)
    local, wanted = local_lists(shop, WANTED[ranking])
    assert_same(lists_in_process(shop, wanted, Sizes(4, 512, 256, 15_000, 6)), local)


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.parametrize(("n_tasks", "scale"), [(1, SCALES[0]), (2, SCALES[1]), (7, SCALES[2]), (64, SCALES[0])])
@pytest.mark.parametrize("ranking", ["classic", "taste", "items", "auto, fusion"])
def test_spark_makes_the_local_lists_with_any_number_of_partitions(
    spark: Any, n_tasks: int, scale: Scale, ranking: str
) -> None:
    """Of a shop of numbers or of texts, by several scales; by that of one step nearly everything ties.

    Of 64 partitions, 7 tasks search for all rankings but classic: each task of each stage takes 40 ms.
    """
    shop = made_up(90, 40, 700, scale=scale)
    if n_tasks % 2:
        shop = replace(shop, names={user: f"{'zé9A'[user % 4]}{user}" for user in range(96)})
    local, wanted = local_lists(shop, WANTED[ranking])
    sizes = Sizes(n_tasks, 20, 9, 200, n_tasks if ranking == "classic" else min(n_tasks, 7))
    frame = lists_frame(spark, shop.frames(spark), shop.catalog, shop.scale, wanted, sizes=sizes)
    assert_same(frame.toArrow(), local)


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@pytest.mark.parametrize("ranking", ["classic", "auto, fusion"])
def test_spark_makes_the_local_lists_where_every_worker_has_the_whole_shop(spark: Any, ranking: str) -> None:
    shop = made_up(300, 120, 3_000)
    lists = batch_lists(shop, WANTED[ranking])
    assert_same(whole_frame(spark, lists).toArrow(), pa.Table.from_batches(list(lists.batches())))
