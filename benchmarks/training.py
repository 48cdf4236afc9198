"""Time the training of a linear item model: ours, EASE^R in one dense matrix, and sansa.

    python -m benchmarks.training                          # two real sets, and a shop of 300,000 products
    python -m benchmarks.training --sets movielens_small
    python -m benchmarks.training --limit 3600             # stop a training after an hour, not after ten minutes

All three learn B from the same profiles, all ratings with the confidence 1, with the same ridge, on two threads. Each
runs in a process of its own, in turns within one run. EASE^R is `benchmarks.peers.ease`; it is not tried where its
matrix is larger than the memory. sansa (Spisak et al., RecSys 2023) keeps 100 weights a product in each of its two
factors; it is left out if it is not installed (`pip install sansa` needs the headers of SuiteSparse).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from benchmarks.datasets import LOADERS, load_dataset
from benchmarks.neighbors import Shape, make_ratings
from benchmarks.peers import inverse, ones
from recommender.items import train_items

SHOPS = {"shop": Shape(200_000, 300_000, 3_800_000)}
SETS = ("movielens_small", "beauty_2014", "shop")
RIDGE, THREADS = 200.0, 2
SANSA_WEIGHTS = 100  # of a product, as in most of ours


def _profiles(name: str) -> sp.csr_array:
    """Return X: 1 where a user rated a product."""
    x = sp.csr_array(make_ratings(SHOPS[name]) if name in SHOPS else ones(load_dataset(name)))
    x.data = (x.data > 0).astype("float64")
    x.sort_indices()
    return x


def _ours(x: sp.csr_array) -> int:
    return int(train_items(x, ridge=RIDGE, n_threads=THREADS).weights.size)


def _ease(x: sp.csr_array) -> int:
    """Do `benchmarks.peers.ease` without the ranker."""
    side = min(x.shape)
    if 2 * 8 * side**2 > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise MemoryError(f"needs {2 * 8 * side**2 / 1e9:,.0f} GB")
    if x.shape[0] < x.shape[1]:
        answers = inverse((x @ x.T).toarray(order="F"), RIDGE) @ x
        return int(answers.size)
    return int(inverse((x.T @ x).toarray(order="F"), RIDGE).size)


def _sansa(x: sp.csr_array) -> int:
    sansa: Any = importlib.import_module("sansa")
    config = sansa.SANSAConfig(
        l2=RIDGE,
        weight_matrix_density=min(SANSA_WEIGHTS / x.shape[1], 1.0),
        gramian_factorizer_config=sansa.CHOLMODGramianFactorizerConfig(),
        lower_triangle_inverter_config=sansa.UMRUnitLowerTriangleInverterConfig(scans=1, finetune_steps=5),
    )
    return int(sum(matrix.nnz for matrix in sansa.SANSA(config).fit(sp.csr_matrix(x)).weights))


METHODS: dict[str, Callable[[sp.csr_array], int]] = {"items": _ours, "EASE^R": _ease, "sansa": _sansa}


def one(name: str, method: str) -> None:
    """Train once, after one on few users that loads all code. Print what it took."""
    METHODS[method](sp.random_array((300, 80), density=0.1, format="csr", rng=1))
    x, started, used = _profiles(name), time.perf_counter(), time.process_time()
    with threadpool_limits(THREADS):
        size = METHODS[method](x)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"| {seconds:,.1f} | {cpu:,.1f} | {size:,} | {peak:,.0f} |", flush=True)


def told(name: str, method: str, limit: float) -> str:
    """Return the cells of one training in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--one", name, method]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"| not done in {limit:,.0f} s | | | |"
    if done.returncode == 0:
        return done.stdout.splitlines()[-1]
    return f"| {(done.stderr.splitlines() or ['stopped'])[-1].removeprefix('MemoryError: ')} | | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=[*LOADERS, *SHOPS], default=SETS, metavar="SET")
    parser.add_argument("--limit", type=float, default=600, help="the seconds that a training may take (default 600)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(*options.one)
        return
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, ridge {RIDGE:g}\n")
    print("| set | method | seconds | CPU s | weights | peak MB |\n|---|---|---:|---:|---:|---:|")
    for name in options.sets:
        for method in METHODS:
            if method == "sansa" and importlib.util.find_spec("sansa") is None:
                continue
            print(f"| {name} | {method} {told(name, method, options.limit)}", flush=True)


if __name__ == "__main__":
    main()
