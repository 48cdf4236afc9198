"""Compare the times of the rankings: neighbors and the best 10 products of all users, from prepared models.

    python -m benchmarks.rankings              # the shapes of benchmarks/neighbors.py
    python -m benchmarks.rankings --parts      # the lists by taste and by items alone, in parts
    python -m benchmarks.rankings --short      # 20,000 users, 300,000 ratings

Long-tail ratings with a time each, 2 threads, in turns within one run, medians. Classic finds 20 neighbors of a user
and averages their ratings. Taste finds 200, adds up their products, and predicts the stars of the best. The 200 make it
slower, so the table also has classic with as many neighbors. Items adds up the weights of the user's products, and
finds the 200 neighbors for the stars. The fusion makes both lists, of 200 products each. "weights in" is the training
of the weights between products, "tuned in" what auto does before it ranks.

Of 115 us a user of the 200,000 (one thread), 22 add up similarities, 10 look through them, 27 choose 200 and put them
in exact order, 40 rank the products of the 200. Tried on the ranking, us a user: one pass by a heap 56; counting scores
instead, position and stars in one word, the mask folded in 48; the 200 rows' entries copied side by side first 40
(kept); hits noted without a branch 58; rows fetched ahead 46; users in order of their rarest product or of their norm
50 to 54; blocks of 16, 64 and 1,024 users 32, 27 and 27 s in all, of 256 users 26.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.neighbors import FULL, SHORT, Shape, in_turns, readable
from benchmarks.one_user import K, N, make_matrix, with_items
from recommender.evaluation import tune
from recommender.neighbors import BLOCK_ROWS
from recommender.ranking import AUTO, ITEMS, N_NEIGHBORS, ClassicRanking, ProfileRanking, empty_lists


def compare(shape: Shape, rounds: int) -> None:
    """Print one line of the table."""
    matrix = make_matrix(shape)
    rng = np.random.default_rng(3)
    matrix = replace(matrix, rated_at=rng.integers(0, 10**15, matrix.n_ratings))
    started = time.perf_counter()
    similarity = with_items(matrix)
    trained, started = time.perf_counter() - started, time.perf_counter()
    taste = ProfileRanking(matrix, similarity)
    prepared = time.perf_counter() - started
    items, fusion = ProfileRanking(matrix, similarity, ITEMS), ProfileRanking(matrix, similarity, AUTO)
    classic, rows = ClassicRanking(matrix, similarity, K), np.arange(shape.users)
    many = ClassicRanking(matrix, similarity, N_NEIGHBORS)
    calls: dict[str, Callable[[], object]] = {
        "classic": lambda: classic.rank_products(rows, N),
        "many": lambda: many.rank_products(rows, N),
        "taste": lambda: taste.rank_products(rows, N),
        "items": lambda: items.rank_products(rows, N),
        "fusion": lambda: fusion.rank_products(rows, N),
    }
    median = in_turns(calls, rounds)
    started = time.perf_counter()
    tune(matrix)
    tuned = time.perf_counter() - started
    times = " | ".join(readable(median[name]) for name in calls)
    ratios = " | ".join(f"{median[name] / median['taste']:.2f}" for name in ("classic", "many", "items", "fusion"))
    once = f"{readable(prepared)} | {readable(trained)} | {readable(tuned)}"
    print(
        f"| {shape.users:,} x {shape.products:,} | {shape.ratings:,} | {times} | {ratios} | {once} |",
        flush=True,
    )


def parts(shape: Shape) -> None:
    """Print one line: processor's microseconds for a user's neighbors, and for a list by taste and by items.

    Both lists of a user need the neighbors: taste for its votes, items for its stars.
    """
    matrix = make_matrix(shape)
    items: Any = with_items(replace(matrix, rated_at=np.arange(matrix.n_ratings))).ranker(ITEMS)
    taste, out = items.taste, empty_lists(BLOCK_ROWS, N)
    some = np.sort(np.random.default_rng(1).choice(shape.users, 16 * BLOCK_ROWS, replace=False))
    blocks = [taste.neighbors_of(rows) for rows in np.split(some, 16)]
    calls: list[Callable[[Any], object]] = [
        lambda lists: taste.neighbors_of(lists[0]),
        lambda lists: taste.rank_lists(lists, taste.bars(None), out),
        lambda lists: items.rank_lists(lists, items.bars(None), out),
    ]
    near, by_taste, by_items = (_microseconds(call, blocks) for call in calls)
    ratio = (near + by_items) / (near + by_taste)
    print(f"| {shape.users:,} x {shape.products:,} | {shape.ratings:,} ", end="")
    print(f"| {near:.0f} | {by_taste:.0f} | {by_items:.0f} | {ratio:.2f} |", flush=True)


def _microseconds(call: Callable[[Any], object], blocks: list[Any]) -> float:
    """Return the median of five runs, by the processor's time, for one user."""
    times = []
    for _ in range(5):
        started = time.process_time()
        for lists in blocks:
            call(lists)
        times.append(time.process_time() - started)
    return float(np.median(times)) / sum(len(lists[0]) for lists in blocks) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="one small shape, one round")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns (default 3)")
    parser.add_argument("--parts", action="store_true", help="what a list by taste and by items is made of, no tuning")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    if options.parts:
        print("| users x products | ratings | neighbors us | taste us | items and stars us | items / taste |")
        print("|---" * 6 + "|")
        for shape in SHORT[1:] if options.short else [Shape(20_000, 10_000, 300_000), *FULL[1:2], FULL[-1]]:
            parts(shape)
        return
    print("| users x products | ratings | classic | classic, 200 neighbors | taste | items | fusion ", end="")
    print("| speed | at 200 | items / taste | fusion / taste | prepared in | weights in | tuned in |")
    print("|---" * 14 + "|")
    for shape in SHORT[1:] if options.short else FULL:
        compare(shape, 1 if options.short else options.rounds)


if __name__ == "__main__":
    main()
