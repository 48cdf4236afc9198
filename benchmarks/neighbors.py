"""Time the exact neighbors kernel against implicit and sparse_dot_topn on made-up long-tail ratings, and check it.

    pip install implicit sparse_dot_topn          # in an environment of its own is best
    python benchmarks/neighbors.py --short        # two small shapes, under a minute
    python benchmarks/neighbors.py                # the three shapes of the README
    python benchmarks/neighbors.py --million      # 1,000,000 x 1,400,000, 20 M ratings: time and peak memory
    python benchmarks/neighbors.py --plot docs/neighbors.png

All three find the 20 nearest rows of every row by cosine on 2 threads, in turns within one run; the table shows
medians. Ours is timed from the raw ratings (checks, preparation, search, exact order); the peers get their matrix
normalized and transposed beforehand. implicit works in float64, sparse_dot_topn in float32; neither orders ties.
Exact: every list of 500 sampled rows, order included, equals brute force on whole numbers.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from recommender.neighbors import CosineIndex, top_k_cosine

K = 20
THREADS = 2


class Shape(NamedTuple):
    """Ratings to make: popularity falls like (rank + 10)^-decay, activity is log-normal."""

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
    """Exactly shape.ratings ratings of 1 to 5 stars, float64 CSR (users, products)."""
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


def peers(ratings: Any) -> dict[str, Callable[[], object]]:
    """The peers that are installed, each as a call on its own prepared matrix."""
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
    """How many of the sampled rows have exactly the brute-force list; whole-number dots, ratios told apart in float64.

    Here dot^2 * norm stays below 2^52, where different ratios are different floats.
    """
    whole = ratings.astype(np.int64)
    norms = np.asarray(whole.power(2).sum(axis=1)).ravel()  # (n_users,)
    rows = np.random.default_rng(1).choice(ratings.shape[0], min(sample, ratings.shape[0]), replace=False)
    right = 0
    columns = whole.T.tocsr()
    for row in rows:
        dots = (whole[[row]] @ columns).tocoo()
        others, dot = dots.coords[1], dots.data
        others, dot = others[others != row], dot[others != row]
        order = np.lexsort((others, -(dot.astype(np.float64) ** 2 / norms[others])))[:K]
        expected = np.full(K, -1)
        expected[: order.size] = others[order]
        right += bool((indices[row] == expected).all())
    return right


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(shape: Shape, rounds: int) -> None:
    """One line of the table."""
    ratings = make_ratings(shape)
    raters = np.bincount(ratings.indices, minlength=shape.products).astype(np.float64)
    calls: dict[str, Callable[[], object]] = {"ours": lambda: top_k_cosine(ratings, K, n_threads=THREADS)}
    calls |= peers(ratings)
    indices, _ = top_k_cosine(ratings, K, n_threads=THREADS)  # compiles on a first run
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    median = {name: statistics.median(values) for name, values in times.items()}
    others = [value for name, value in median.items() if name != "ours"]
    ratio = f"{min(others) / median['ours']:.1f} x" if others else "-"
    checked = min(500, shape.users)
    cells = [
        f"{shape.users:,} x {shape.products:,}",
        f"{shape.ratings:,}",
        f"{(raters**2).sum() / 1e6:,.0f} M",
        *(f"{median[name]:.3f}" if name in median else "-" for name in ("ours", "implicit", "sparse_dot_topn")),
        ratio,
        f"{exact_lists(ratings, indices)} of {checked}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def one_row(shape: Shape) -> None:
    """Latency of neighbors on demand."""
    index = CosineIndex(make_ratings(shape))
    rows = np.random.default_rng(2).integers(0, shape.users, 3000).tolist()
    index.neighbors(rows[0], K)
    micros = np.array([seconds(lambda row=row: index.neighbors(row, K)) for row in rows]) * 1e6  # type: ignore[misc]
    print(
        f"\none row of {shape.users:,} x {shape.products:,}, {shape.ratings:,} ratings: "
        f"median {np.median(micros):.0f} us, p99 {np.percentile(micros, 99):.0f} us"
    )


def peak_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no VmHWM in /proc/self/status: run --million on Linux")


def million() -> None:
    """The large shape once: time, and the peak memory of the whole process against the size of CSR + CSC."""
    ratings = make_ratings(MILLION)
    both = 2 * (ratings.data.nbytes + ratings.indices.nbytes) + ratings.indptr.nbytes + 4 * (MILLION.products + 1)
    top_k_cosine(ratings, K, rows=[0], n_threads=1)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the ratings
    start = time.perf_counter()
    indices, _ = top_k_cosine(ratings, K, n_threads=THREADS, progress=lambda done: _bar(done, MILLION.users))
    spent, peak = time.perf_counter() - start, peak_megabytes()
    print(
        f"\n{MILLION.users:,} x {MILLION.products:,}, {MILLION.ratings:,} ratings: {spent:.1f} s; peak of the process, "
        f"ratings and answer included, {peak:,.0f} MB = {peak * 2**20 / both:.2f} x CSR + CSC; "
        f"exact {exact_lists(ratings, indices, 100)} of 100"
    )


def _bar(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done / of:6.1%}", end="", file=sys.stderr, flush=True)


def plot(path: Path) -> None:
    """Time against ratings, users and threads."""
    import matplotlib.pyplot as plt

    def timed(shape: Shape, threads: int = THREADS) -> tuple[float, float]:
        ratings = make_ratings(shape)
        raters = np.bincount(ratings.indices, minlength=shape.products).astype(np.float64)
        spent = [seconds(lambda: top_k_cosine(ratings, K, n_threads=threads)) for _ in range(3)]
        return statistics.median(spent), float((raters**2).sum()) / 1e9

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    many = [Shape(50_000, 75_000, count) for count in (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)]
    results = [timed(shape) for shape in many]
    axes[0].loglog([shape.ratings for shape in many], [result[0] for result in results], "o-", label="seconds")
    axes[0].loglog([shape.ratings for shape in many], [result[1] for result in results], "--", label="raters², 10⁹")
    axes[0].set_xlabel("ratings (50,000 users)")
    axes[0].legend()
    users = [Shape(count, 100_000, 1_000_000) for count in (5_000, 10_000, 20_000, 50_000, 100_000, 200_000)]
    axes[1].semilogx([shape.users for shape in users], [timed(shape)[0] for shape in users], "o-")
    axes[1].set_xlabel("users (1,000,000 ratings)")
    axes[2].plot([1, 2], [timed(Shape(20_000, 30_000, 1_500_000), threads)[0] for threads in (1, 2)], "o-")
    axes[2].set_xticks([1, 2])
    axes[2].set_xlabel("threads (20,000 users, 1.5 M ratings)")
    for axis in axes:
        axis.set_ylabel("seconds")
        axis.set_ylim(bottom=None if axis is axes[0] else 0)
        axis.grid(alpha=0.3)
    figure.suptitle("20 nearest of every user; cost grows with the sum over products of raters squared")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="small shapes, one round")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns (default %(default)s)")
    parser.add_argument("--million", action="store_true", help="the 1,000,000-user shape instead, ours only")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw time against ratings, users, threads instead")
    options = parser.parse_args()
    if options.million:
        million()
        return
    if options.plot:
        plot(options.plot)
        return
    print("| users x products | ratings | raters² | ours s | implicit s | sparse_dot_topn s | ratio | exact lists |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in SHORT if options.short else FULL:
        compare(shape, 3 if options.short else options.rounds)
    one_row(SHORT[1] if options.short else FULL[-1])


if __name__ == "__main__":
    main()
