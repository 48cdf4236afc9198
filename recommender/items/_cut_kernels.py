"""Compiled loops of both forms: rounding to the grid, the largest entries of a column, columns turned into rows.

An entry of a column is kept as one number, |weight| << 32 | (2^31 - 1 - row) << 1 | sign. The order of these numbers is
the order of the entries: the larger |weight| on the grid first, of equal ones the smaller row.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

import numpy as np
from numba import njit

from recommender.items.weights import GRID_BITS

_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

_UNITS = 2.0**GRID_BITS
LARGEST = (1 << 31) - 1


@_inner
def entry_of(weight, row):
    """Return the entry of a weight on the grid (to the nearest step, at most 128 - 2^-24), 0 if it rounds to 0."""
    units = np.int64(min(np.rint(abs(weight) * _UNITS), np.float64(LARGEST)))
    return np.int64(0) if units == 0 else units << 32 | (LARGEST - row) << 1 | (weight < 0.0)


@_inner
def row_of(entry):
    """Return the row of an entry."""
    return LARGEST - ((entry & 0xFFFFFFFF) >> 1)


@_inner
def offer(key, size, heap):
    """Put the key into a heap, smallest first. A full heap drops its smallest key. Return the size."""
    if size < heap.size:
        at = size
        while at > 0 and heap[(at - 1) >> 1] > key:
            heap[at] = heap[(at - 1) >> 1]
            at = (at - 1) >> 1
        heap[at] = key
        return size + 1
    if key <= heap[0]:
        return size
    at, child = np.int64(0), np.int64(1)
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[at] = heap[child]
        at, child = child, 2 * child + 1
    heap[at] = key
    return size


@_outer
def keep_largest(panel, divisors, first, kept, sizes):
    """Keep the largest panel[i, j] / divisors[i] of each target first + i, but not its own.

    panel (m, n) float64, divisors (m,). kept (n_targets, n_entries) int64 and sizes (n_targets,) int64 are written.
    """
    for i in range(panel.shape[0]):
        size, heap = np.int64(0), kept[first + i]
        for j in range(panel.shape[1]):
            if j != first + i:
                key = entry_of(panel[i, j] / divisors[i], j)
                if key != 0:
                    size = offer(key, size, heap)
        sizes[first + i] = size


@_outer
def by_rows(kept, sizes, names, n_products):
    """Return indptr (n_products + 1,), columns and weights of the entries, rows and columns named by names (n,)."""
    indptr = np.zeros(n_products + 1, np.int64)
    for i in range(sizes.size):
        for at in range(sizes[i]):
            indptr[names[row_of(kept[i, at])] + 1] += 1
    for j in range(n_products):
        indptr[j + 1] += indptr[j]
    following = indptr[:-1].copy()
    columns, weights = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.int32)
    for i in range(sizes.size):
        for at in range(sizes[i]):
            key = kept[i, at]
            row = names[row_of(key)]
            columns[following[row]] = names[i]
            weights[following[row]] = -(key >> 32) if key & 1 else key >> 32
            following[row] += 1
    return indptr, columns, weights
