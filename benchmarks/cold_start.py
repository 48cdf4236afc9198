"""Show how the constants of the cold start were chosen, what each step finds, what new products cost, and its speed.

    python -m benchmarks.cold_start            # a minute and a quarter
    python -m benchmarks.cold_start --short    # without the largest parts

Half-life: nDCG@10 of decayed popularity on the newest 20 % of each user's ratings. "made at the end": one list for all,
as of the newest event of the data. The project's evaluation measures this; users who left the shop decades ago then get
products that came long after them. "made at the cut": each user's list as of the first hidden rating, from the events
before it, which is what a service does. Planted shoppers (steps 1 and 2 at their defaults) never change their tastes,
so forgetting can only do harm there. `recommender.evaluation.cold_start` has the prior and the steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import load_dataset
from benchmarks.neighbors import Shape
from benchmarks.one_user import make_matrix, microseconds
from recommender.errors import RecommenderError
from recommender.evaluation import (
    NDCG,
    ColdStartRanker,
    K,
    Split,
    before_the_cut,
    evaluate,
    evaluate_cold_start,
    hide_newest,
    limited,
    split_newest,
    strangers,
)
from recommender.fallback import (
    HALF_LIFE_DAYS,
    MICROSECONDS_PER_DAY,
    NEW_PRODUCT_SHARE,
    SEGMENT_PRIOR,
    ColdStart,
    build_cold_start,
    find_new_products,
)
from recommender.ranking import TasteRanker
from recommender.shop import Interactions, Profiles, RatingMatrix, build_profiles
from recommender.synthetic import segments
from tests.evaluation.test_comparison import WEIGHTS, default_catalog, default_shoppers

HALF_LIVES = (7, 30, 90, 180, 365, 730, 1_460, 3_650, None)
PRIORS = (1.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 10_000.0)
N_TESTED = 1_000
REAL = ("movielens_small", "all_beauty")
SEEDS = (0, 1, 2)


class _AtTheCut:
    """Decayed popularity from the events before each user's cut, as of that time: slow, for a comparison only."""

    def __init__(self, split: Split, profiles: Profiles, half_life: int | None) -> None:
        assert profiles.times is not None
        self._split, self._half_life = split, half_life
        order = np.argsort(profiles.times, kind="stable")
        self._times, self._columns = profiles.times[order], profiles.confidences.indices[order]
        self._confidences = profiles.confidences.data[order]

    def rank(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int32]:
        return np.array([self._list(int(row), n) for row in rows], np.int32).reshape(len(rows), n)

    def _list(self, row: int, n: int) -> NDArray[np.int64]:
        cut, train = self._split.cut_times[row], self._split.train
        end = np.searchsorted(self._times, cut)
        age = (cut - self._times[:end]) / MICROSECONDS_PER_DAY
        weights = self._confidences[:end] * (1.0 if self._half_life is None else 0.5 ** (age / self._half_life))
        scores = np.bincount(self._columns[:end], weights, train.shape[1])
        scores[train.rated_columns(row)] = 0.0
        best = np.argsort(-scores, kind="stable")[:n]
        return np.where(scores[best] > 0.0, best, -1)

    def predict(self, rows: NDArray[np.int64], columns: NDArray[np.int32]) -> NDArray[np.float64]:
        return np.full(np.broadcast_shapes(rows.shape, columns.shape), np.nan)


class _WithNew:
    """The taste ranking's first `K`, topped up, with a ``share`` of the lists ending in a new product."""

    def __init__(self, taste: TasteRanker, cold: ColdStart, share: float) -> None:
        self._taste, self._cold, self._share = taste, cold, share

    def rank(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int32]:
        ranked = self._taste.rank_products(rows, K)
        filled = self._cold.top_up(rows, ranked.columns, ranked.stars, new_share=self._share)
        return np.pad(filled.columns, ((0, 0), (0, n - K)), constant_values=-1)

    def predict(self, rows: NDArray[np.int64], columns: NDArray[np.int32]) -> NDArray[np.float64]:
        return np.full(np.broadcast_shapes(rows.shape, columns.shape), np.nan)


def _days(half_life: int | None) -> str:
    return "never" if half_life is None else f"{half_life:,}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |\n|---|" + "---:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def _ndcg(split: Split, rankers: Sequence[Any]) -> list[str]:
    numbered = {str(place): ranker for place, ranker in enumerate(rankers)}
    found = evaluate(split, numbered, seed=0, n_resamples=1)
    return [f"{ranking.figures[NDCG].mean:.4f}" for ranking in found.rankings]


def half_lives(name: str, split: Split, profiles: Profiles) -> None:
    """Print two rows of the table: decayed popularity of this set."""
    at_the_end = [ColdStartRanker(build_cold_start(split.train, profiles, half_life=h)) for h in HALF_LIVES]
    at_the_cut = [_AtTheCut(split, profiles, h) for h in HALF_LIVES]
    for when, rankers in (("at the end", at_the_end), ("at the cut", at_the_cut)):
        print("| " + " | ".join([f"{name}, {when}", *_ndcg(split, rankers)]) + " |", flush=True)


def priors(matrix: RatingMatrix, log: Interactions, mine: NDArray[np.int32]) -> None:
    """Print the segment step with each prior, and with the half-lives, on planted shoppers drawn by three seeds."""
    rows = []
    for seed in SEEDS:
        whole = hide_newest(matrix, seed)
        drawn = np.random.default_rng(seed).choice(whole.test_rows, N_TESTED, replace=False)
        split = limited(whole, matrix, drawn)
        cold, profiles = strangers(split, log, WEIGHTS)
        seen = split.train.steps
        made = [(HALF_LIFE_DAYS, prior) for prior in PRIORS] + [(h, SEGMENT_PRIOR) for h in (180, None)]
        rankers = [
            ColdStartRanker(build_cold_start(cold, profiles, segments=mine, prior=prior, half_life=h, seen=seen))
            for h, prior in made
        ]
        rows.append([f"seed {seed}", *_ndcg(split, rankers)])
    head = [f"m = {prior:,.0f}" for prior in PRIORS]
    _table([f"half-life {HALF_LIFE_DAYS}", *head, f"{SEGMENT_PRIOR:.0f}, half-life 180", "never"], rows)


def steps(name: str, *arguments: Any) -> None:
    """Print what each step finds."""
    rows = []
    found = evaluate_cold_start(*arguments)
    for ranking in found.rankings:
        ndcg, served = ranking.figures[NDCG], ranking.figures["served"].mean or 0.0
        rows.append([ranking.name, f"{ndcg.mean:.4f}", f"{ndcg.low:.4f} to {ndcg.high:.4f}", f"{served:.0%}"])
    print(f"\n{name}, {found.n_test_users:,} users tested\n")
    _table(["step", "nDCG@10", "95 % interval", "users served"], rows)


def new_products(name: str, split: Split, profiles: Profiles, stars: Any, categories: Any) -> None:
    """Print what the taste ranking loses by new products."""
    train = split.train
    rows = np.arange(train.shape[1], dtype=np.int32)
    new = find_new_products(profiles.raters(), train.recommendable, rows, stars=stars, category_ids=categories)
    cold = build_cold_start(train, profiles, new=new)
    taste = TasteRanker(profiles.confidences, train.steps, times=profiles.times, recommendable=train.recommendable)
    rankers = {"without": _WithNew(taste, cold, 0.0), "with": _WithNew(taste, cold, NEW_PRODUCT_SHARE)}
    found = evaluate(split, rankers, seed=0)
    means = [found.ranking(each).figures[NDCG].mean or 0.0 for each in rankers]
    lost = found.differences[0].figure
    cost = f"{lost.mean:.5f} ({lost.low:.5f} to {lost.high:.5f})"
    print(f"| {name} | {len(new.columns):,} | {means[0]:.4f} | {means[1]:.4f} | {cost} |", flush=True)


def speed(shape: Shape) -> None:
    """Print the time of all lists from nothing, and of one."""
    matrix, n = make_matrix(shape), shape.users
    mine = segments(n, 0).astype(np.int32)
    started = time.perf_counter()
    cold = build_cold_start(matrix, build_profiles(matrix), segments=mine)
    prepared = time.perf_counter() - started
    rows, nothing, no_stars = np.arange(n), np.full((n, K), -1, np.int32), np.zeros((n, K))
    started = time.perf_counter()
    cold.top_up(rows, nothing, no_stars)
    seconds = time.perf_counter() - started
    sample = np.random.default_rng(1).choice(n, 1_000, replace=False).tolist()
    median, slow = microseconds(lambda row: cold.top_up([row], nothing[:1], no_stars[:1]), sample)
    size = sum(array.nbytes for array in cold.arrays().values()) / 1e6
    print(
        f"\n{n:,} users, {matrix.n_ratings:,} ratings: prepared in {prepared:.2f} s, {size:.0f} MB; all lists filled ",
        end="",
    )
    print(f"from nothing in {seconds:.2f} s; one list: median {median:.0f} us, p99 {slow:.0f} us")


def run(short: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        product_ids, facts = default_catalog(Path(folder))
    shop = default_shoppers(product_ids, facts)
    mine = segments(shop.truth.n_users, shop.truth.seed)[shop.matrix.user_ids - 1].astype(np.int32)
    split = split_newest(shop.matrix, rng=np.random.default_rng(0))
    known = before_the_cut(shop.log, split.train, split.hidden, split.cut_times)
    profiles = build_profiles(split.train, known, WEIGHTS)
    print("nDCG@10 by half-life in days, lists made\n")
    _table(["set", *map(_days, HALF_LIVES)], [])
    for name in REAL:
        cut = split_newest(load_dataset(name), rng=np.random.default_rng(0))
        half_lives(name, cut, build_profiles(cut.train))
    half_lives("planted", split, profiles)
    print("\nplanted, nDCG@10 of the segment step by prior\n")
    priors(shop.matrix, shop.log, mine)
    steps("planted", shop.matrix, shop.log, WEIGHTS, mine)
    for name in REAL if short else (*REAL, "filmtrust", "beauty_2014"):
        steps(name, load_dataset(name))
    print("\nnew products in the last place of 10 %: nDCG@10\n")
    _table(["set", "new products", "without", "with", "cost and 95 % interval"], [])
    new_products("planted", split, profiles, facts.stars, facts.category_ids)
    for name in REAL:
        cut = split_newest(load_dataset(name), rng=np.random.default_rng(0))
        unknown = np.zeros(cut.train.shape[1])
        new_products(name, cut, build_profiles(cut.train), unknown, unknown.astype(np.int32))
    speed(Shape(20_000, 30_000, 300_000) if short else Shape(200_000, 300_000, 3_800_000))


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="without the largest parts")
    try:
        run(parser.parse_args(arguments).short)
    except RecommenderError as error:
        print(f"benchmarks.cold_start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
