"""Check whether the forecast of ``recommendation_engine.py --check-data`` is within a factor of 2 of the training.

    python -m benchmarks.forecast [--short]

For each size: seconds for neighbors and scores of all users, forecast and measured, and the peak memory of the process,
forecast and measured. Each size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from recommender.commands.data_report import forecast, peak_bytes
from recommender.neighbors import CosineIndex
from recommender.publishing import BLOCK_USERS
from recommender.ranking import rank_products_for_rows
from recommender.shop import RatingMatrix

SIZES = [(5_000, 20_000, 30_000), (20_000, 30_000, 1_500_000), (200_000, 300_000, 3_800_000)]


def long_tail_ratings(n_users: int, n_products: int, n_ratings: int, rng: np.random.Generator) -> RatingMatrix:
    """Return random ratings; users' activity is lognormal, products' popularity falls with the root of the rank."""
    activity = rng.lognormal(0, 1, n_users)
    popularity = (np.arange(n_products) + 10.0) ** -0.5
    users = rng.choice(n_users, n_ratings, p=activity / activity.sum())
    products = rng.choice(n_products, n_ratings, p=popularity / popularity.sum())
    pairs = np.unique(users.astype(np.int64) * n_products + products)
    stars = rng.integers(1, 11, len(pairs)).astype(np.int8)
    matrix = sp.coo_array(
        (stars, ((pairs // n_products).astype(np.int32), (pairs % n_products).astype(np.int32))),
        shape=(n_users, n_products),
    ).tocsr()
    matrix = matrix[np.diff(matrix.indptr) > 0]
    ids = np.char.mod("%010d", np.arange(n_products)).astype("S10")
    return RatingMatrix(matrix, np.arange(1, matrix.shape[0] + 1), ids, np.ones(n_products, bool))


def train(matrix: RatingMatrix, index: CosineIndex) -> None:
    """Compute neighbors and scores of all users, block by block, as the batch does."""
    for start in range(0, matrix.shape[0], BLOCK_USERS):
        rows = np.arange(start, min(start + BLOCK_USERS, matrix.shape[0]))
        near = index.top_k(20, rows=rows)
        rank_products_for_rows(
            matrix.steps, rows, *near, n=10, recommendable=matrix.recommendable, scale=matrix.scale.unit
        )


def measure(file: Path) -> None:
    """Print one row of the table; the process has held no other ratings before."""
    small = long_tail_ratings(100, 100, 500, np.random.default_rng(0))
    train(small, CosineIndex(small.steps))  # loads the compiled code
    steps = sp.csr_array(sp.load_npz(file))
    n_users, n_products = steps.shape
    ids = np.char.mod("%010d", np.arange(n_products)).astype("S10")
    matrix = RatingMatrix(steps, np.arange(1, n_users + 1), ids, np.ones(n_products, bool))
    index = CosineIndex(matrix.steps)
    ahead = forecast(matrix, index, n_neighbors=20, n=10, rng=np.random.default_rng(2))
    started = time.perf_counter()
    train(matrix, index)
    seconds, peak = time.perf_counter() - started, peak_bytes()
    print(
        f"{n_users:>9,} {n_products:>9,} {matrix.n_ratings:>10,} {ahead.seconds:>10.3f} {seconds:>10.3f} "
        f"{ahead.seconds / seconds:>6.2f} {ahead.peak_bytes / 1e6:>11,.0f} {peak / 1e6:>10,.0f} "
        f"{ahead.peak_bytes / peak:>6.2f}"
    )


def main() -> int:
    """Run each size in a process of its own, so that the memory of one does not count for the next."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="leave the largest size out")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file:
        measure(options.file)
        return 0
    print(f"{'users':>9} {'products':>9} {'ratings':>10} {'foreseen s':>10} {'took s':>10} {'ratio':>6} ", end="")
    print(f"{'foreseen MB':>11} {'took MB':>10} {'ratio':>6}", flush=True)
    for size in SIZES[:2] if options.short else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "ratings.npz"
            sp.save_npz(file, long_tail_ratings(*size, np.random.default_rng(1)).steps, compressed=False)
            subprocess.run([sys.executable, "-m", "benchmarks.forecast", "--file", str(file)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
