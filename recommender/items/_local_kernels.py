"""Compiled loops of the local form: co-occurrences of pairs, the nearest products of each target, a ridge over them.

Products are numbered by popularity, the most popular first ("ranks"). The half matrix holds for each product the
products that are more popular, so that the rows of products in many profiles stay short.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.items._cut_kernels import entry_of, offer

_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)


class Sparse(NamedTuple):
    """A CSR matrix, indices ascending within a row."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float64]  # float32 in the half matrix


@_outer
def count_partners(profiles, raters, start, stop, sizes):
    """Write the number of more popular products that share a profile with each rank start..stop into sizes."""
    seen = np.full(raters.indptr.size - 1, -1, np.int32)
    for rank in range(start, stop):
        size = 0
        for at in range(raters.indptr[rank], raters.indptr[rank + 1]):
            user = raters.indices[at]
            for place in range(profiles.indptr[user], profiles.indptr[user + 1]):
                other = profiles.indices[place]
                if other >= rank:
                    break
                if seen[other] != rank:
                    seen[other] = rank
                    size += 1
        sizes[rank] = size


@_outer
def fill_partners(profiles, raters, start, stop, half):
    """Write the lines start..stop of the half matrix: partners in the order of discovery, and the sums of products."""
    sums = np.zeros(raters.indptr.size - 1)
    for rank in range(start, stop):
        first = end = half.indptr[rank]
        for at in range(raters.indptr[rank], raters.indptr[rank + 1]):
            user, value = raters.indices[at], raters.data[at]
            for place in range(profiles.indptr[user], profiles.indptr[user + 1]):
                other = profiles.indices[place]
                if other >= rank:
                    break
                if sums[other] == 0.0:
                    half.indices[end] = other
                    end += 1
                sums[other] += value * profiles.data[place]
        for at in range(first, end):
            half.data[at] = sums[half.indices[at]]
            sums[half.indices[at]] = 0.0


@_inner
def _nearest(rank, profiles, raters, norms, ridge, power, sums, touched, heap):
    """Choose the partners of largest sum / (norm + ridge)^power. Leave their ranks, ascending, in heap; return (m, n).

    m: the number of the chosen, n: of the touched, whose sums are left in sums.
    """
    n_touched = size = np.int64(0)
    for at in range(raters.indptr[rank], raters.indptr[rank + 1]):
        user, value = raters.indices[at], raters.data[at]
        for place in range(profiles.indptr[user], profiles.indptr[user + 1]):
            other = profiles.indices[place]
            if sums[other] == 0.0:
                touched[n_touched] = other
                n_touched += 1
            sums[other] += value * profiles.data[place]
    gain = np.empty(1, np.float32)
    bits = gain.view(np.int32)
    for at in range(n_touched):
        other = np.int64(touched[at])
        if other != rank:
            gain[0] = sums[other] / (norms[other] + ridge) ** power
            size = offer(np.int64(bits[0]) << 32 | (0x7FFFFFFF - other), size, heap)
    for at in range(size):
        heap[at] = 0x7FFFFFFF - (heap[at] & 0xFFFFFFFF)
    heap[:size].sort()
    return size, n_touched


@_inner
def _system(size, near, half, norms, ridge, sums, places, system):
    """Write the upper half of the ridge's matrix into system (size, size + 1), the right side in its last column."""
    for a in range(size):
        system[a, a + 1 : size] = 0.0
        system[a, a] = norms[near[a]] + ridge
        system[a, size] = sums[near[a]]
        places[near[a]] = a + 1
    for b in range(size):
        for at in range(half.indptr[near[b]], half.indptr[near[b] + 1]):
            a = places[half.indices[at]]
            if a > 0:
                system[a - 1, b] = half.data[at]
    for a in range(size):
        places[near[a]] = 0


@_inner
def _solve(size, system, solution):
    """Solve by Cholesky's method: system becomes R with R'R = system; solution (size,)."""
    for i in range(size):
        mine, k = system[i], 0
        while k + 4 <= i:  # four rows at once: fewer loads and stores
            p, q, r, s = system[k], system[k + 1], system[k + 2], system[k + 3]
            a, b, c, d = p[i], q[i], r[i], s[i]
            for j in range(i, size + 1):
                mine[j] -= (a * p[j] + b * q[j]) + (c * r[j] + d * s[j])
            k += 4
        while k < i:
            p = system[k]
            a = p[i]
            for j in range(i, size + 1):
                mine[j] -= a * p[j]
            k += 1
        inverse = 1.0 / np.sqrt(mine[i]) if mine[i] > 0.0 else 0.0  # a ridge lost in rounding: leave the product out
        for j in range(i, size + 1):
            mine[j] *= inverse
    for i in range(size - 1, -1, -1):
        rest = system[i, size]
        for j in range(i + 1, size):
            rest -= system[i, j] * solution[j]
        solution[i] = rest / system[i, i] if system[i, i] > 0.0 else 0.0


@_outer
def solve_targets(profiles, raters, half, norms, ridge, power, n_near, ranks, names, start, stop, kept, sizes):
    """Keep the largest weights of the targets start..stop. ranks (n,): the rank of each target; names: of each rank.

    norms (n,): sum of squared confidences by rank. kept (n, n_entries) int64 and sizes (n,) int64 are written.
    """
    n = norms.size
    sums, touched, places = np.zeros(n), np.empty(n, np.int32), np.zeros(n, np.int32)
    near, system, solution = np.empty(n_near, np.int64), np.empty((n_near, n_near + 1)), np.empty(n_near)
    for target in range(start, stop):
        m, n_touched = _nearest(ranks[target], profiles, raters, norms, ridge, power, sums, touched, near)
        _system(m, near, half, norms, ridge, sums, places, system)
        _solve(m, system, solution)
        size, heap = np.int64(0), kept[target]
        for at in range(m):
            key = entry_of(solution[at], names[near[at]])
            if key != 0:
                size = offer(key, size, heap)
        sizes[target] = size
        for at in range(n_touched):
            sums[touched[at]] = 0.0
