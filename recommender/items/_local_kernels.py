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

from recommender.items._cut_kernels import LARGEST, entry_of, offer, row_of

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


class Gram(NamedTuple):
    """X'X + ridge I, products by rank: off the diagonal as its half, and as the profiles that it is made of."""

    profiles: Sparse
    raters: Sparse  # the transposed profiles
    half: Sparse
    diagonal: NDArray[np.float64]  # (n,) with the ridge
    by_rank: NDArray[np.int64]  # (n,) the product of each rank
    ranks: NDArray[np.int32]  # (n,) the rank of each product


class Room(NamedTuple):
    """Working memory of one thread; sums and places are zero between targets."""

    sums: NDArray[np.float64]  # (n,) co-occurrences of the target
    touched: NDArray[np.int32]  # (n,) ranks with a sum
    places: NDArray[np.int32]  # (n,) 1 + the place of a rank in near
    near: NDArray[np.int64]  # (k,) ascending ranks
    system: NDArray[np.float64]  # (k, k + 1)
    solution: NDArray[np.float64]  # (k,)


@_inner
def _sum_up(rank, gram, room):
    """Write the co-occurrences of one product into room.sums. Return the number of touched ranks."""
    profiles, raters, sums, n_touched = gram.profiles, gram.raters, room.sums, np.int64(0)
    for at in range(raters.indptr[rank], raters.indptr[rank + 1]):
        user, value = raters.indices[at], raters.data[at]
        for place in range(profiles.indptr[user], profiles.indptr[user + 1]):
            other = profiles.indices[place]
            if sums[other] == 0.0:
                room.touched[n_touched] = other
                n_touched += 1
            sums[other] += value * profiles.data[place]
    return n_touched


@_inner
def _choose(rank, n_touched, n_near, gram, room):
    """Leave the ranks of the n_near largest sum / diagonal in room.near, ascending. Return their number."""
    heap, size = room.near[:n_near], np.int64(0)
    gain = np.empty(1, np.float32)
    bits = gain.view(np.int32)
    for at in range(n_touched):
        other = np.int64(room.touched[at])
        if other != rank:
            gain[0] = room.sums[other] / gram.diagonal[other]
            size = offer(np.int64(bits[0]) << 32 | (LARGEST - other), size, heap)
    for at in range(size):
        heap[at] = LARGEST - (heap[at] & 0xFFFFFFFF)
    heap[:size].sort()
    return size


@_inner
def _kept_ranks(kept, size, gram, room):
    """Leave the ranks of the kept entries in room.near, ascending."""
    for at in range(size):
        room.near[at] = gram.ranks[row_of(kept[at])]
    room.near[:size].sort()


@_inner
def _fill(size, gram, room):
    """Write the upper half of the ridge's matrix into room.system, the right side into column ``size``."""
    near, half, places, system = room.near, gram.half, room.places, room.system
    for a in range(size):
        system[a, a + 1 : size] = 0.0
        system[a, a] = gram.diagonal[near[a]]
        system[a, size] = room.sums[near[a]]
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


@_inner
def _ridge(size, gram, room, kept):
    """Keep the largest weights of a ridge on the products in room.near. Return their number."""
    _fill(size, gram, room)
    _solve(size, room.system, room.solution)
    n_kept = np.int64(0)
    for at in range(size):
        entry = entry_of(room.solution[at], gram.by_rank[room.near[at]])
        if entry != 0:
            n_kept = offer(entry, n_kept, kept)
    return n_kept


@_outer
def solve_targets(gram, n_near, start, stop, kept, sizes):
    """Keep the largest weights of the targets start..stop; where there are more, solve again on the kept alone.

    n_near 0: full columns are cut already, and are solved again. kept (n, n_entries) int64 and sizes (n,) int64 are
    written.
    """
    n, most = gram.ranks.size, max(n_near, kept.shape[1])
    room = Room(
        np.zeros(n),
        np.empty(n, np.int32),
        np.zeros(n, np.int32),
        np.empty(most, np.int64),
        np.empty((most, most + 1)),
        np.empty(most),
    )
    for target in range(start, stop):
        rank, full = np.int64(gram.ranks[target]), sizes[target] == kept.shape[1]
        n_touched = _sum_up(rank, gram, room)
        if n_near > 0:
            size = _choose(rank, n_touched, n_near, gram, room)
            sizes[target] = _ridge(size, gram, room, kept[target])
            full = size > kept.shape[1]
        if full:
            _kept_ranks(kept[target], sizes[target], gram, room)
            sizes[target] = _ridge(sizes[target], gram, room, kept[target])
        for at in range(n_touched):
            room.sums[room.touched[at]] = 0.0
