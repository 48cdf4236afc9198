"""The local form of the item weights: for each product, a ridge regression on its nearest products alone.

    B[N, i] = (G_NN + ridge I)^-1 G_Ni,    G = X'X,    N = N(i): the products of largest G_ji / (G_jj + ridge)^POWER

With all other products as N(i) this is EASE^R (see `recommender.items.dense`). fsSLIM (Ning and Karypis, "SLIM: Sparse
Linear Methods for Top-N Recommender Systems", ICDM 2011) chooses the regressors of each product in the same way.

All loops are compiled and use no BLAS, and a target's arithmetic has one order. So the weights are the same to the last
bit on every machine and thread count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.arrays import run_blocks
from recommender.items import _local_kernels

kernels: Any = _local_kernels  # compiled functions have no signature a type checker could use

N_NEAR = 200
POWER = 0.5
PAIR_BYTES = 8.0  # of the half matrix: a column and a value
_BLOCK = 256  # targets, or products, that one thread works on at a time


def local_columns(
    profiles: sp.csr_array,
    *,
    ridge: float,
    longest: int,
    kept: NDArray[np.int64],
    n_threads: int,
    progress: Callable[[int], object] | None = None,
) -> NDArray[np.int64]:
    """Write the entries of each column of B into kept (n_products, n_entries); return their numbers (n_products,).

    ``profiles`` (n_users, n_products): every product has an owner. ``longest``: of longer profiles, only so many of
    the products with the fewest owners count.
    """
    n_products = profiles.shape[1]
    by_rank = np.argsort(-np.bincount(profiles.indices, minlength=n_products), kind="stable")  # most popular first
    ranks = np.empty(n_products, np.int32)
    ranks[by_rank] = np.arange(n_products)
    rows, turned = _ranked(profiles, ranks, longest)
    norms = np.add.reduceat(turned.data**2, turned.indptr[:-1]) if n_products else np.empty(0)
    half = _half_matrix(rows, turned, n_threads)
    sizes = np.zeros(n_products, np.int64)
    n_near = max(min(N_NEAR, n_products - 1), 1)

    def solve(start: int, stop: int) -> None:
        given = rows, turned, half, norms, ridge, POWER, n_near, ranks, by_rank
        kernels.solve_targets(*given, start, stop, kept, sizes)

    run_blocks(solve, n_products, block_rows=_BLOCK, n_threads=n_threads, progress=progress)
    return sizes


def longest_profile(histories: NDArray[np.int64], most_pairs: float) -> int:
    """Return the length at which to cut profiles so that they hold at most ``most_pairs`` pairs of products."""
    low, high = 1, int(histories.max(initial=1))
    while low < high:
        middle = (low + high + 1) // 2
        if pairs_of(histories, middle) <= most_pairs:
            low = middle
        else:
            high = middle - 1
    return low


def pairs_of(histories: NDArray[np.int64], longest: int) -> float:
    """Return the number of pairs of products in profiles of these lengths, cut at ``longest``."""
    lengths = np.minimum(histories, longest).astype(np.float64)
    return float((lengths * (lengths - 1.0)).sum() / 2.0)


def _ranked(profiles: sp.csr_array, ranks: NDArray[np.int32], longest: int) -> tuple[Any, Any]:
    """Return the profiles and their transpose with products numbered by popularity, long profiles cut."""
    renamed = sp.csr_array((profiles.data, ranks[profiles.indices], profiles.indptr), shape=profiles.shape)
    renamed = sp.csr_array(renamed, copy=True)
    renamed.sort_indices()
    ends = np.repeat(renamed.indptr[1:], np.diff(renamed.indptr))  # (nnz,)
    chosen = ends - np.arange(renamed.nnz) <= longest  # the rarest are the last ones
    starts = np.concatenate([[0], np.cumsum(chosen)])[renamed.indptr]
    cut = sp.csr_array((renamed.data[chosen], renamed.indices[chosen], starts), shape=profiles.shape)
    return sparse_of(cut), sparse_of(cut.T.tocsr())


def sparse_of(csr: sp.csr_array) -> Any:
    """Return the arrays of a CSR array as compiled code takes them."""
    parts = csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data.astype(np.float64)
    return kernels.Sparse(*parts)


def _half_matrix(rows: Any, turned: Any, n_threads: int) -> Any:
    """Return G by rows, of each product the more popular ones: by rank, values float32."""
    n_products = turned.indptr.size - 1
    sizes = np.zeros(n_products, np.int64)
    run = {"n_rows": n_products, "block_rows": _BLOCK, "n_threads": n_threads}
    run_blocks(lambda start, stop: kernels.count_partners(rows, turned, start, stop, sizes), **run)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    half = kernels.Sparse(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32))
    run_blocks(lambda start, stop: kernels.fill_partners(rows, turned, start, stop, half), **run)
    return half
