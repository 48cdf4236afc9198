"""The dense form of the item weights: EASE^R on all products at once (Steck, "Embarrassingly Shallow Autoencoders for
Sparse Data", WWW 2019).

    P = (X'X + ridge I)^-1,    B = I - P diag(1 / diag P)                                          ("primal")

With fewer users than products, the smaller system gives the same (Woodbury's identity):

    V = X'(XX' + ridge I)^-1 X,    B[j, i] = V[j, i] / (1 - V[i, i]) for j != i                    ("dual")

The system is the only square array that exists; B is made in blocks of columns. All is float64: B is within 1e-9 of
a reference, well below a step of the grid, 6e-8.

The inverse is made in place by sweeping blocks of a symmetric matrix: as many operations as Cholesky's method, all of
them products of matrices. Each product runs on one thread, and the threads share them. So the thread count changes no
bit, as a threaded BLAS would.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recommender.arrays import run_blocks
from recommender.errors import SettingError
from recommender.items import _cut_kernels, _dense_kernels

kernels: Any = _dense_kernels  # compiled functions have no signature a type checker could use
cut_kernels: Any = _cut_kernels

SWEPT = 384  # width of a swept block
_TILE = 1024  # columns of one product: its result stays in the cache
_PANEL = 64  # columns of B at a time


def dense_columns(
    profiles: sp.csr_array,
    *,
    ridge: float,
    kept: NDArray[np.int64],
    n_threads: int,
    progress: Callable[[int], object] | None = None,
) -> NDArray[np.int64]:
    """Write the entries of each column of B into kept (n_products, n_entries); return their numbers (n_products,).

    ``profiles`` (n_users, n_products): every user and every product has an entry. SettingError if the ridge is lost in
    the rounding of float64.
    """
    rows, turned = _parts(profiles), _parts(profiles.T.tocsr())
    n_users, n_products = profiles.shape
    dual = n_users < n_products
    system = _gram(*((rows, turned) if dual else (turned, rows)), ridge, n_threads)
    sweep(system, n_threads)
    np.negative(system, out=system)
    _mirror(system)
    sizes = np.zeros(n_products, np.int64)

    def cut(start: int, stop: int) -> None:
        if dual:
            panel, divisors = np.empty((stop - start, n_products)), np.empty(stop - start)
            kernels.dual_panel(turned, rows, system, start, stop, panel, divisors)
        else:
            panel, divisors = system[start:stop], -system.diagonal()[start:stop]
        cut_kernels.keep_largest(panel, divisors, start, kept, sizes)

    run_blocks(cut, n_products, block_rows=_PANEL, n_threads=n_threads, progress=progress)
    return sizes


def system_bytes(side: int, n_products: int) -> float:
    """Return the memory of `dense_columns` besides the profiles and the entries, on up to 16 threads.

    ``side``: users or products, whichever are fewer.
    """
    return 8.0 * (side * (side + 2.0 * SWEPT) + 16.0 * (SWEPT * _TILE + _PANEL * n_products))


def largest_side(n_products: int, n_bytes: float) -> int:
    """Return the largest side whose `system_bytes` are at most ``n_bytes``; 0 if there is none."""
    room = n_bytes / 8.0 - 16.0 * (SWEPT * _TILE + _PANEL * n_products)
    return max(math.isqrt(SWEPT**2 + int(room)) - SWEPT, 0) if room > 0.0 else 0


def sweep(system: NDArray[np.float64], n_threads: int, width: int = SWEPT) -> None:
    """Replace the lower half of a positive definite matrix (n, n) by that of minus its inverse."""
    size = len(system)
    with threadpool_limits(1, "blas"):
        for start in range(0, size, width):
            _sweep_block(system, start, min(start + width, size), n_threads)


def _sweep_block(system: NDArray[np.float64], first: int, last: int, n_threads: int) -> None:
    """Sweep the block first..last: with C its columns and D the inverse of C's own rows, A - C D C', C D and -D."""
    size = len(system)
    column = np.empty((size, last - first))
    column[:first] = system[first:last, :first].T
    column[last:] = system[last:, first:last]
    inverse = _inverse(system[first:last, first:last])
    weighted = np.empty_like(column)

    def weigh(start: int, stop: int) -> None:
        np.matmul(column[start:stop], inverse, out=weighted[start:stop])

    def subtract(start: int, stop: int) -> None:
        for left in range(0, stop, _TILE):
            right = min(left + _TILE, stop)
            system[start:stop, left:right] -= weighted[start:stop] @ column[left:right].T

    column[first:last] = 0.0  # so that nothing is subtracted from the block's own rows and columns
    run_blocks(weigh, size, block_rows=SWEPT, n_threads=n_threads)
    run_blocks(subtract, size, block_rows=SWEPT, n_threads=n_threads)
    system[first:last, :first] = weighted[:first].T
    system[last:, first:last] = weighted[last:]
    system[first:last, first:last] = -inverse


def _inverse(block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a symmetric block, of which the lower half is given."""
    from scipy.linalg import lapack  # 0.1 s, which only a training is to wait for

    factor, failed = lapack.dpotrf(block, lower=1)
    inverse, _ = lapack.dpotri(factor, lower=1) if not failed else (factor, 0)
    if failed or not np.isfinite(inverse).all():
        raise SettingError("ridge is too small for these profiles: choose a larger one, such as 100")
    whole: NDArray[np.float64] = np.tril(inverse) + np.tril(inverse, -1).T
    return whole


def _gram(turned: tuple[Any, ...], rows: tuple[Any, ...], ridge: float, n_threads: int) -> NDArray[np.float64]:
    """Return the lower half of A A' + ridge I: ``turned``, A by rows; ``rows``, A' by rows."""
    size = turned[0].size - 1
    system = np.zeros((size, size))
    run_blocks(
        lambda start, stop: kernels.gram(turned, rows, start, stop, ridge, system),
        size,
        block_rows=_PANEL,
        n_threads=n_threads,
    )
    return system


def _mirror(system: NDArray[np.float64]) -> None:
    """Copy the lower half of a square matrix to its upper half, in blocks."""
    for start in range(0, len(system), SWEPT):
        stop = start + SWEPT
        block = np.tril(system[start:stop, start:stop])
        system[start:stop, start:stop] = block + np.tril(block, -1).T
        system[start:stop, stop:] = system[stop:, start:stop].T


def _parts(csr: sp.csr_array) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    return csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data.astype(np.float64)
