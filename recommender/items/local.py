"""The local form of the item weights: for each product, a ridge regression on its nearest products alone.

    B[N, i] = (G_NN + ridge I)^-1 G_Ni,    G = X'X,    N = N(i): the products of largest G_ji / (G_jj + ridge)

That quotient is the weight of j in a ridge on j alone. With all other products as N(i) this is EASE^R (see
`recommender.items.dense`). If more weights are left than a column keeps, the largest are kept, and the ridge is solved
again on their products alone: the others' part goes to those that stay. `solve_again` does the same to columns that
were cut elsewhere. fsSLIM (Ning and Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011)
chooses the regressors of each product in the same way.

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

N_NEAR, N_NEAR_LARGE, LARGE = 400, 300, 100_000  # beyond so many products, the smaller number: minutes
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
    sizes = np.zeros(profiles.shape[1], np.int64)
    gram = _gram(profiles, ridge, longest, n_threads)
    _run(gram, near_count(sizes.size), kept, sizes, n_threads, progress)
    return sizes


def near_count(n_products: int) -> int:
    """Return the number of nearest products of each product."""
    return max(min(N_NEAR if n_products <= LARGE else N_NEAR_LARGE, n_products - 1), 1)


def solve_again(
    profiles: sp.csr_array,
    *,
    ridge: float,
    longest: int,
    kept: NDArray[np.int64],
    sizes: NDArray[np.int64],
    n_threads: int,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Solve the ridge of each full column of B again on the products that it kept. ``kept`` and ``sizes`` change."""
    _run(_gram(profiles, ridge, longest, n_threads), 0, kept, sizes, n_threads, progress)


def _run(gram: Any, n_near: int, kept: Any, sizes: Any, n_threads: int, progress: Any) -> None:
    run_blocks(
        lambda start, stop: kernels.solve_targets(gram, n_near, start, stop, kept, sizes),
        sizes.size,
        block_rows=_BLOCK,
        n_threads=n_threads,
        progress=progress,
    )


def working_bytes(n_products: int, n_entries: int) -> float:
    """Return the memory of this form besides the half matrix, the profiles and the entries, on up to 16 threads."""
    return 16.0 * (16.0 * n_products + 8.0 * max(near_count(n_products), n_entries) ** 2)


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


def _gram(profiles: sp.csr_array, ridge: float, longest: int, n_threads: int) -> Any:
    """Return X'X + ridge I with products numbered by popularity."""
    by_rank = np.argsort(-np.bincount(profiles.indices, minlength=profiles.shape[1]), kind="stable")
    ranks = np.empty(by_rank.size, np.int32)
    ranks[by_rank] = np.arange(by_rank.size)
    rows, raters = _ranked(profiles, ranks, longest)
    diagonal = np.bincount(rows.indices, rows.data**2, minlength=by_rank.size) + ridge
    return kernels.Gram(rows, raters, _half_matrix(rows, raters, n_threads), diagonal, by_rank, ranks)


def _ranked(profiles: sp.csr_array, ranks: NDArray[np.int32], longest: int) -> tuple[Any, Any]:
    """Return the profiles and their transpose with products numbered by popularity, long profiles cut."""
    renamed = sp.csr_array((profiles.data, ranks[profiles.indices], profiles.indptr), shape=profiles.shape, copy=True)
    renamed.sort_indices()
    ends = np.repeat(renamed.indptr[1:], np.diff(renamed.indptr))  # (nnz,)
    chosen = ends - np.arange(renamed.nnz) <= longest  # the rarest are the last ones
    starts = np.concatenate([[0], np.cumsum(chosen)])[renamed.indptr]
    cut = sp.csr_array((renamed.data[chosen], renamed.indices[chosen], starts), shape=profiles.shape)
    return _sparse(cut), _sparse(cut.T.tocsr())


def _sparse(csr: sp.csr_array) -> Any:
    dtypes = (csr.indptr, np.int64), (csr.indices, np.int32), (csr.data, np.float64)
    return kernels.Sparse(*(array.astype(kind, copy=False) for array, kind in dtypes))


def _half_matrix(rows: Any, raters: Any, n_threads: int) -> Any:
    """Return G by rows, of each product the more popular ones: by rank, values float32."""
    n_products = raters.indptr.size - 1
    sizes = np.zeros(n_products, np.int64)
    run: dict[str, Any] = {"n_rows": n_products, "block_rows": _BLOCK, "n_threads": n_threads}
    run_blocks(lambda start, stop: kernels.count_partners(rows, raters, start, stop, sizes), **run)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    half = kernels.Sparse(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32))
    run_blocks(lambda start, stop: kernels.fill_partners(rows, raters, start, stop, half), **run)
    return half
