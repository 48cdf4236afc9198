"""Compiled loops behind `live`: the products that changed users share with the asking user, and rows of neighbors.

Rows are entries number << 4 | steps of the rating (of 64 bits: number << 8 | steps), in the order of product ids, in
which the formulas add up. Each index has its own numbers for products.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

import numpy as np
from numba import njit

_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

NARROW_BITS, WIDE_BITS = 4, 8  # of the rating in entries of 32 and of 64 bits
LEAST_HEADS = 4_096  # 16 kB
_NARROW, _WIDE = np.uint64(NARROW_BITS), np.uint64(WIDE_BITS)


@_outer
def shared(numbers, weights, rows, indptr, entries, values):
    """Return the sum of weight * value over the products that each row (d,) shares with numbers (m,), and a count."""
    shift = _NARROW if entries.itemsize == 4 else _WIDE
    size = LEAST_HEADS
    while size < 16 * numbers.size:
        size *= 2
    mask = np.int64(size - 1)
    heads, following = np.zeros(size, np.int32), np.empty(numbers.size, np.int32)  # chains of j + 1, ended by 0
    for j in range(numbers.size):
        head = np.int64(numbers[j]) & mask
        following[j], heads[head] = heads[head], j + 1
    sums, counts = np.zeros(rows.size), np.zeros(rows.size, np.int64)
    for i in range(rows.size):
        for post in range(indptr[rows[i]], indptr[rows[i] + 1]):
            number = np.uint64(entries[post]) >> shift
            at = heads[np.int64(number) & mask]  # mostly 0, so the branch is predicted
            while at > 0 and numbers[at - 1] != number:
                at = following[at - 1]
            if at > 0:
                sums[i] += weights[at - 1] * values[post]
                counts[i] += 1
    return sums, counts


@_outer
def gather(numbers, indptr, entries, values, more_indptr, more_entries, more_values, own):
    """Copy the rows of neighbors (k,) and then own (m,) into new arrays: indptr (k + 2,), entries, values.

    A neighbor is a row of the first arrays, or -1 - j: row j of the others. Entries without a value get 1. If no entry
    has a value, the values are empty.
    """
    starts = np.zeros(numbers.size + 2, np.int64)
    for i in range(numbers.size):
        row = numbers[i]
        size = indptr[row + 1] - indptr[row] if row >= 0 else more_indptr[-row] - more_indptr[-1 - row]
        starts[i + 1] = starts[i] + size
    starts[numbers.size + 1] = starts[numbers.size] + own.size
    valued = values.size > 0 or more_values.size > 0
    out, out_values = np.empty(starts[-1], entries.dtype), np.ones(starts[-1] if valued else 0)
    for i in range(numbers.size):
        row, to = numbers[i], starts[i]
        start = indptr[row] if row >= 0 else more_indptr[-1 - row]
        for j in range(starts[i + 1] - to):
            out[to + j] = entries[start + j] if row >= 0 else more_entries[start + j]
        if row >= 0 and values.size > 0:
            for j in range(starts[i + 1] - to):
                out_values[to + j] = values[start + j]
        elif row < 0 and more_values.size > 0:
            for j in range(starts[i + 1] - to):
                out_values[to + j] = more_values[start + j]
    for j in range(own.size):
        out[starts[numbers.size] + j] = own[j]
    return starts, out, out_values
