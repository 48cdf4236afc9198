"""Time the exact neighbors kernel against implicit and sparse_dot_topn on made-up long-tail ratings, and check it.

    pip install implicit sparse_dot_topn          # in an environment of its own is best
    python benchmarks/neighbors.py --short        # two small shapes, under a minute
    python benchmarks/neighbors.py                # the three shapes of docs/performance.md
    python benchmarks/neighbors.py --million      # 1,000,000 x 1,400,000, 20 M ratings: time and peak memory
    python benchmarks/neighbors.py --plot docs/neighbors.png

All three find the 20 nearest rows of every row by cosine on 2 threads, in turns within one run; the table shows
medians. Ours is timed from the raw ratings (checks, preparation, search, exact order); the peers get their matrix
normalized and transposed beforehand. implicit works in float64, sparse_dot_topn in float32; neither orders ties.
Exact: every list of 500 sampled rows, order included, equals brute force on whole numbers.

Ideas tried: time before / time after of the search, at 5,000, 20,000 and 200,000 users (the same shapes).

    kept     exact order by one quotient where that decides, finalists taken best first   1.3-1.5   1.0    1.04
    kept     the calling thread works too, no thread pool                                 1.1       1.0    1.0
    kept     sum of squared norms once, not once per block of rows                        1.0       1.0    1.04
    left out exact order at once, without a first choice in float32                       1.4       0.95   0.96-1.03
    left out norm and row of a candidate in one word                                      0.97-1.0  1.03   1.01-1.1
    left out choice by counting greater ones, no branches, where few share a product      1.0-1.05  1.0    1.0
    left out hits of 256 entries collected first, then looked at                          0.91      0.93   0.99
    left out symmetric halves: each pair once, offered to both lists (one thread)         0.58      0.72   0.8
    left out tiles of 65,536 positions, so that accumulators stay in cache (adding alone) 1.0       1.0    1.15
    left out bounds per block of 64 users, at their best (see below)                      0.7       0.8    1.1
    left out 64 most popular products by float32 GEMM, against ours for these (alone)     0.03      0.23   0.01
    left out the same kernel in C, gcc -O3 -march=native                                  1.0       0.87   0.84

Bounds: were the k-th best score known from the start, blocks whose bound (sum over products of rating times the block's
largest) stays below it would spare 21, 1 and 61 % of the additions, and computing the bounds costs 59, 22 and 48 %.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from recommender.neighbors import CosineIndex, top_k_cosine
from recommender.paths import replace_file

K, THREADS = 20, 2
REST = 0.01  # seconds before each call: OpenMP's threads spin for 5 ms after a peer's call, which would slow ours down


class Shape(NamedTuple):
    """A shape of made-up ratings: popularity falls like (rank + 10)^-decay, activity is log-normal."""

    users: int
    products: int
    ratings: int
    decay: float = 0.8
    spread: float = 1.0


SHORT = [Shape(5_000, 20_000, 30_000), Shape(20_000, 30_000, 300_000)]
FULL = [
    Shape(5_000, 20_000, 30_000),
    Shape(20_000, 30_000, 1_500_000),
    Shape(20_000, 30_000, 1_500_000, decay=1.0, spread=0.5),  # few products take most ratings
    Shape(200_000, 300_000, 3_800_000),
]
MILLION = Shape(1_000_000, 1_400_000, 20_000_000)


def make_ratings(shape: Shape, seed: int = 0) -> Any:
    """Return exactly shape.ratings ratings of 1 to 5 stars, float64 CSR (users, products)."""
    generator = np.random.default_rng(seed)
    activity = np.cumsum(np.exp(generator.normal(0.0, shape.spread, shape.users)))
    popularity = (np.arange(shape.products) + 10.0) ** -shape.decay
    popular = np.cumsum(generator.permutation(popularity))
    keys = np.empty(0, np.int64)
    while keys.size < shape.ratings:
        draws = int((shape.ratings - keys.size) * 1.2) + 100
        users = np.searchsorted(activity, generator.random(draws) * activity[-1])
        products = np.searchsorted(popular, generator.random(draws) * popular[-1])
        keys = np.unique(np.concatenate([keys, users * shape.products + products]))
    keys = np.sort(generator.choice(keys, shape.ratings, replace=False))
    stars = generator.choice(np.arange(1.0, 6.0), keys.size, p=[0.05, 0.07, 0.15, 0.28, 0.45])
    place = ((keys // shape.products).astype(np.int32), (keys % shape.products).astype(np.int32))
    return sp.csr_array((stars, place), shape=(shape.users, shape.products))


def ours(ratings: Any, threads: int = THREADS) -> Callable[[], object]:
    return lambda: top_k_cosine(ratings, K, n_threads=threads)


def peers(ratings: Any) -> dict[str, Callable[[], object]]:
    """Return the installed peers, each as a call on its own prepared matrix."""
    norms = np.sqrt(np.asarray(ratings.power(2).sum(axis=1)).ravel())
    unit = sp.csr_matrix(sp.diags_array(np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)) @ ratings)
    found: dict[str, Callable[[], object]] = {}
    try:
        from implicit.nearest_neighbours import all_pairs_knn

        columns = sp.csr_matrix(unit.T)
        found["implicit"] = lambda: all_pairs_knn(columns, K, num_threads=THREADS, show_progress=False)
    except ImportError:
        print("implicit is not installed: left out", file=sys.stderr)
    try:
        from sparse_dot_topn import sp_matmul_topn

        single = unit.astype(np.float32)
        turned = sp.csr_matrix(single.T)
        found["sparse_dot_topn"] = lambda: sp_matmul_topn(single, turned, K, n_threads=THREADS, sort=True)
    except ImportError:
        print("sparse_dot_topn is not installed: left out", file=sys.stderr)
    return found


def exact_lists(ratings: Any, indices: NDArray[np.int32], sample: int = 500) -> int:
    """Return the number of sampled rows with exactly the brute-force list: whole-number dots, ratios in float64.

    Here dot^2 * norm stays below 2^52, where different ratios are different floats.
    """
    whole = ratings.astype(np.int64)
    norms = np.asarray(whole.power(2).sum(axis=1)).ravel()  # (n_users,)
    rows = np.random.default_rng(1).choice(ratings.shape[0], min(sample, ratings.shape[0]), replace=False)
    right = 0
    columns = whole.T.tocsr()
    for row in rows:
        dots = (whole[[row]] @ columns).tocoo()
        others, dot = (part[dots.coords[1] != row] for part in (dots.coords[1], dots.data))
        order = np.lexsort((others, -(dot.astype(np.float64) ** 2 / norms[others])))[:K]
        expected = np.full(K, -1)
        expected[: order.size] = others[order]
        right += bool((indices[row] == expected).all())
    return right


def raters_squared(ratings: Any) -> float:
    """Return the sum over products of raters squared: the additions of every exact method."""
    return float((np.bincount(ratings.indices, minlength=1).astype(np.float64) ** 2).sum())


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each call; calls of milliseconds get more rounds."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [seconds(call)] for name, call in calls.items()}
    slowest = max(values[0] for values in times.values())
    for _ in range(max(rounds, min(60, int(1.0 / slowest))) - 1):
        for name, call in calls.items():
            time.sleep(REST)
            times[name].append(seconds(call))
    return {name: statistics.median(values) for name, values in times.items()}


def compare(shape: Shape, rounds: int) -> None:
    """Print one line of the table."""
    ratings = make_ratings(shape)
    indices, _ = top_k_cosine(ratings, K, n_threads=THREADS)  # compiles on a first run
    median = in_turns({"ours": ours(ratings)} | peers(ratings), rounds)
    others = [value for name, value in median.items() if name != "ours"]
    cells = [
        f"{shape.users:,} x {shape.products:,}",
        f"{shape.ratings:,}",
        f"{raters_squared(ratings) / 1e6:,.1f} M",
        *(readable(median[name]) if name in median else "-" for name in ("ours", "implicit", "sparse_dot_topn")),
        f"{min(others) / median['ours']:.1f} x" if others else "-",
        f"{exact_lists(ratings, indices)} of {min(500, shape.users)}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def readable(spent: float) -> str:
    return f"{spent:.2f} s" if spent >= 0.1 else f"{spent * 1e3:.1f} ms"


def one_row(shape: Shape) -> None:
    """Print the latency of neighbors on demand."""
    index = CosineIndex(make_ratings(shape))
    rows = np.random.default_rng(2).integers(0, shape.users, 3000).tolist()
    index.neighbors(rows[0], K)
    micros = np.array([seconds(lambda row=row: index.neighbors(row, K)) for row in rows]) * 1e6  # type: ignore[misc]
    print(
        f"\none row of {shape.users:,} x {shape.products:,}, {shape.ratings:,} ratings: "
        f"median {np.median(micros):.0f} us, p99 {np.percentile(micros, 99):.0f} us"
    )


def peak_megabytes() -> float:
    """Return the peak of this process's memory; on Linux alone."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def million() -> None:
    """Run the large shape once; print the time, and the process's peak memory against the size of CSR + CSC."""
    ratings = make_ratings(MILLION)
    both = 2 * (ratings.data.nbytes + ratings.indices.nbytes) + ratings.indptr.nbytes + 4 * (MILLION.products + 1)
    top_k_cosine(ratings, K, rows=[0], n_threads=1)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the ratings
    start = time.perf_counter()
    with tqdm(total=MILLION.users, unit=" rows", leave=False, disable=None) as bar:
        indices, _ = top_k_cosine(ratings, K, n_threads=THREADS, progress=lambda done: bar.update(done - bar.n))
    spent, peak = time.perf_counter() - start, peak_megabytes()
    print(
        f"\n{MILLION.users:,} x {MILLION.products:,}, {MILLION.ratings:,} ratings: {spent:.1f} s; peak of the process, "
        f"ratings and answer included, {peak:,.0f} MB = {peak * 2**20 / both:.2f} x CSR + CSC; "
        f"exact {exact_lists(ratings, indices)} of 500"
    )


RATINGS, USERS = (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000), (5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
PANELS = {
    "ratings, of 50,000 users and 75,000 products": [Shape(50_000, 75_000, count) for count in RATINGS],
    "users, 1,000,000 ratings of 100,000 products": [Shape(count, 100_000, 1_000_000) for count in USERS],
}


def plot(path: Path) -> None:
    """Plot time against ratings, users and threads: the best of 5, to reduce the influence of other work."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.4), constrained_layout=True)
    for axis, (label, shapes) in zip(axes, PANELS.items(), strict=False):
        growth_panel(axis, label, shapes)
    threads_panel(axes[2])
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(loc="upper left", fontsize=8)
    figure.suptitle(f"The {K} nearest of every user, exact: time, and additions (Σ over products of raters squared)")
    replace_file(path, lambda beside: figure.savefig(beside, format="png", dpi=110))


def growth_panel(axis: Any, label: str, shapes: list[Shape]) -> None:
    """Plot measured seconds and the additions; one is cheaper where many users rate a product: vector instructions."""
    sizes = [shape.ratings if label.startswith("ratings") else shape.users for shape in shapes]
    made = [make_ratings(shape) for shape in shapes]
    measured = [best_of_5(ours(ratings)) for ratings in made]
    additions = [raters_squared(ratings) * 1e-9 for ratings in made]
    axis.loglog(sizes, additions, "--", color="gray", label="Σ raters², at 1 ns each")
    axis.loglog(sizes, measured, "o-", color="tab:blue", label=f"measured, {THREADS} threads")
    mark(axis, sizes, measured)
    axis.set(xlabel=label, ylabel="seconds", xlim=(sizes[0] / 1.6, sizes[-1] * 1.6), ylim=(0.005, 20))
    axis.minorticks_off()
    axis.set_xticks(sizes, [f"{size / 1e6:g} M" if size >= 1e6 else f"{size / 1e3:g} k" for size in sizes])
    axis.set_yticks([0.01, 0.1, 1.0, 10.0], ["0.01", "0.1", "1", "10"])


def threads_panel(axis: Any) -> None:
    ratings, counts = make_ratings(FULL[1]), list(range(1, (os.cpu_count() or 1) + 1))
    spent = [best_of_5(ours(ratings, count)) for count in counts]
    axis.bar(counts, spent, width=0.5, color="tab:blue", label="measured")
    axis.plot(counts, [spent[0] / count for count in counts], "o--", color="gray", label="one thread's time / threads")
    mark(axis, counts, spent)
    axis.set(xlabel="threads, 1,500,000 ratings of 20,000 users", ylabel="seconds", ylim=(0, max(spent) * 1.4))
    axis.set_xticks(counts)


def mark(axis: Any, places: list[int], spent: list[float]) -> None:
    for place, value in zip(places, spent, strict=True):
        given: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "size": 8}
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
        axis.annotate(readable(value), (place, value), (0, 8), bbox=box, **given)


def best_of_5(call: Callable[[], object]) -> float:
    return min(seconds(call) for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="small shapes, one round")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns (default %(default)s)")
    parser.add_argument("--million", action="store_true", help="the 1,000,000-user shape instead, ours only")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw time against ratings, users, threads instead")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    if options.million:
        million()
    elif options.plot:
        plot(options.plot)
    else:
        print("| users x products | ratings | raters² | ours | implicit | sparse_dot_topn | ratio | exact lists |")
        print("|---|---|---|---|---|---|---|---|")
        for shape in SHORT if options.short else FULL:
            compare(shape, 3 if options.short else options.rounds)
        one_row(SHORT[1] if options.short else FULL[-1])


if __name__ == "__main__":
    main()
