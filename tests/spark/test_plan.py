"""The sizes of a run fit the workers' memory, and its tasks have equal work, also in a skewed shop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recommender.arrays import memory_share
from recommender.errors import SparkError
from recommender.shop import HALF_STARS
from recommender.spark.lists import cost, plan, scoring
from recommender.spark.lists.exchange import Message
from recommender.spark.lists.layout import Layout, Piece, assigned, cut, lay_out
from recommender.spark.lists.plan import QUERIES_PER_TASK, Shape, Sizes, cluster_of, sizes_for
from recommender.spark.lists.sums import SecondPass, second_pass
from recommender.spark.lists.user_rows import A_RATING, Events, UserRows


@pytest.mark.parametrize("users", [5_000, 1_000_000, 10_000_000, 100_000_000])
@pytest.mark.parametrize("memory", [256 << 20, 4 << 30])
@pytest.mark.parametrize("k", [20, 1_000])
def test_no_worker_holds_more_than_its_share(users: int, memory: int, k: int) -> None:
    length = 20
    sizes = sizes_for(Shape(users * length, users, k), memory, 64)
    assert users * length / sizes.n_parts * plan.PART_BYTES <= memory
    assert sizes.block_entries * plan.BLOCK_BYTES <= memory / 2
    assert users / sizes.n_tasks * (plan.NEIGHBOR_BYTES * k + plan.ENTRY_BYTES * length) <= memory / 4
    assert sizes.query_rows * k * length * plan.ENTRY_BYTES <= memory / 4 or sizes.query_rows == plan.LEAST_ROWS


def test_sizes_follow_from_the_cores_there_are_whatever_a_site_has_set(spark: Any) -> None:
    """Shuffles of a site may have many parts; that leaves no worker less memory, and no task less work."""
    assert cluster_of(spark) == (memory_share() // 2, 2)
    conf = spark.sparkContext._jsc.sc().conf()
    conf.set("spark.default.parallelism", "900")
    try:
        assert spark.sparkContext.defaultParallelism == 900
        assert cluster_of(spark) == (memory_share() // 2, 2)
    finally:
        conf.remove("spark.default.parallelism")


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 60), st.integers(1, 9))
def test_cut_rows_are_all_rows_in_order_within_the_limits(work: list[int], most_work: int, most_rows: int) -> None:
    runs = cut(np.array(work, np.int64), most_work, most_rows)
    assert [row for start, stop in runs for row in range(start, stop)] == list(range(len(work)))
    assert all(stop - start == 1 or sum(work[start:stop]) <= most_work for start, stop in runs)
    assert all(stop - start <= most_rows for start, stop in runs)


def skewed(n_users: int, *, heavy: int, popular: bool) -> UserRows:
    """A shop of some ten ratings a user; its user in the middle has ``heavy`` more, and half own product 0."""
    rng = np.random.default_rng(0)
    users, products = rng.integers(0, n_users, 10 * n_users), (rng.pareto(0.7, 10 * n_users) * 50).astype(int) % 100_000
    if popular:
        users, products = np.append(users, np.arange(0, n_users, 2)), np.append(products, np.zeros(n_users // 2, int))
    users, products = np.append(users, np.full(heavy, n_users // 2)), np.append(products, np.arange(heavy))
    pairs = np.unique(users * 100_000 + products)
    kinds, ones = np.full(len(pairs), A_RATING, np.int8), np.ones(len(pairs), np.int8)
    events = Events(pairs // 100_000, None, (pairs % 100_000).astype(np.int32), kinds, ones, np.zeros(len(pairs), int))
    return UserRows.of(events, 100_000, HALF_STARS, None)


def laid_out(rows: UserRows, sizes: Sizes) -> tuple[Layout, NDArray[np.int64]]:
    """The layout of a shop as the stages make it, and the number of postings that each row reads."""
    raters = np.bincount(rows.columns, minlength=100_000)
    starts = range(0, len(rows), sizes.piece_rows)
    parts = [rows.take(np.arange(start, min(start + sizes.piece_rows, len(rows)))) for start in starts]
    pieces = [Piece.of(0, place, part) for place, part in enumerate(parts)]
    most = int((raters.astype(float) ** 2).sum() / (QUERIES_PER_TASK * sizes.n_tasks))
    known = SecondPass(raters, most, sizes.query_rows, None, None)
    (found,) = second_pass(known, iter([Message(0, place, part) for place, part in enumerate(parts)]))
    postings = np.add.reduceat(raters[rows.columns], rows.indptr[:-1])
    return lay_out(pieces, found.body.cuts, sizes.block_entries, sizes.n_tasks), postings


@pytest.mark.parametrize(("heavy", "popular"), [(0, False), (100_000, False), (0, True), (100_000, True)])
@pytest.mark.parametrize("cores", [2, 16])
def test_no_search_task_reads_three_times_the_postings_of_the_median_one(heavy: int, popular: bool, cores: int) -> None:
    rows = skewed(20_000, heavy=heavy, popular=popular)
    sizes = sizes_for(Shape(rows.n_entries, len(rows), 20), 1 << 30, cores)
    found, postings = laid_out(rows, sizes)
    firsts = found.firsts[[query.piece for query in found.queries]]
    work = np.zeros(sizes.n_tasks, np.int64)
    for query, first, task in zip(found.queries, firsts.tolist(), found.searches.tolist(), strict=True):
        work[task] += postings[first + query.start : first + query.stop].sum()
    assert work.sum() == (np.bincount(rows.columns).astype(int) ** 2).sum()  # each row is in one query
    assert work.max() <= 3 * np.median(work)


def test_as_many_tasks_bring_rows_as_search_also_if_all_rows_are_one_block() -> None:
    rows = skewed(20_000, heavy=0, popular=False)
    found, _ = laid_out(rows, Sizes(1, 500, 500, 10**9, 8))
    assert found.homes.max() == 0
    weights = np.bincount(found.shelves, [piece.weight for piece in found.pieces])
    assert len(weights) == found.n_shelves >= 8
    assert weights.max() <= weights.sum() / 8


def test_jobs_go_to_the_task_with_the_least_work() -> None:
    work = np.array([9, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    tasks = assigned(work, 2)
    assert np.bincount(tasks, work).tolist() == [9.0, 9.0]


def test_rows_that_changed_before_they_were_made_again_are_refused() -> None:
    """Their lists would mix two moments, or name other users."""
    rows = skewed(50, heavy=0, popular=False)
    found, _ = laid_out(rows, Sizes(1, 25, 10, 10_000, 2))
    part = rows.take(np.arange(25, 50))
    assert found.number_of(0, 1, part) == 1
    with pytest.raises(SparkError, match="the tables changed"):
        found.number_of(0, 1, replace(part, user_ids=part.user_ids + 1))
    with pytest.raises(SparkError, match="run it again"):
        found.number_of(0, 2, part)


@pytest.mark.parametrize("dense", [0, 8, 10**6])
def test_rows_of_neighbors_are_found_by_a_table_and_by_a_search(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "DENSE", dense)
    wanted = np.array([[70, 7, -1], [9_000, 7, 80]], np.int32)
    assert scoring._distinct(wanted[wanted >= 0]).tolist() == [7, 70, 80, 9_000]
    assert scoring._distinct(wanted[:0].ravel()).tolist() == []
    assert scoring._places(np.array([7, 70, 9_000, 12, 80]), wanted).tolist() == [[1, 0, -1], [2, 0, 4]]
    assert scoring._places(np.arange(5), np.full((5, 2), -1, np.int32)).tolist() == [[-1, -1]] * 5


@pytest.mark.parametrize(
    ("users", "constants", "seconds", "megabytes"),
    [
        (50_000, cost.CLASSIC, 16.3, 79),
        (50_000, cost.TASTE, 24.9, 387),
        (200_000, cost.CLASSIC, 35.3, 312),
        (200_000, cost.TASTE, 72.4, 1_588),
    ],
)
def test_the_formula_gives_the_measured_cost_within_half(
    users: int, constants: cost.Constants, seconds: float, megabytes: float
) -> None:
    """Seconds of a core, and bytes shuffled, of ``python -m benchmarks.spark --parts cost`` on two cores and 24 GB."""
    work = cost.postings(users * 3 // 2, 19 * users)
    found = cost.cost(Shape(19 * users, users, constants.k), work, 6 << 30, 2, constants)
    assert seconds / 1.5 < found.seconds < seconds * 1.5
    assert megabytes / 1.5 < found.shuffled / 1e6 < megabytes * 1.5


def test_the_table_of_costs_has_three_sizes_and_two_rankings() -> None:
    assert len(cost.cost_table().splitlines()) == 2 + 3 * 2
    assert cost.postings(2, 10) == pytest.approx(10 + 100 * (0.519**2 + 0.481**2), rel=1e-3)
    shares = (np.arange(2_000_000) + 10.0) ** -0.8
    shares /= shares.sum()
    assert cost.postings(2_000_000, 10**6) == pytest.approx(10**6 + 10**12 * (shares**2).sum(), rel=1e-9)
