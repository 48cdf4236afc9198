"""Compiled loops behind decayed popularity: days of events, and sums on a grid of whole numbers, the same in any order.

A sum is two int64: whole confidences, and multiples of 2^-40 below one. Each term is rounded to the grid once. There is
room for 10^9 users with confidences of 10^9.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

import numpy as np
from numba import njit

# Functions that only compiled code calls get no entry from Python: that saves a third of the time of a first start.
_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

MICROSECONDS_PER_DAY = 86_400_000_000
GRID_BITS = 40
_ONE = float(1 << GRID_BITS)
BELOW_ONE = np.int64((1 << GRID_BITS) - 1)
_BLOCK_BITS = 6


@_outer
def ends(times, no_time):
    """Return the oldest and newest of the times (n,) int64, and the number of those that are no_time."""
    oldest, newest, untimed = np.int64(2**63 - 1), np.int64(-(2**63)), 0
    for time in times:
        if time == no_time:
            untimed += 1
        else:
            oldest, newest = min(oldest, time), max(newest, time)
    return oldest, newest, untimed


@_outer
def count_days(times, no_time, first, counts, newest):
    """Count the times by day from the day ``first`` on, in counts (d,) int64, and write the newest of each day.

    Times before the first day are of it, those after the last one are of that.
    """
    last = counts.size - 1
    for time in times:
        if time != no_time:
            day = min(max(time // MICROSECONDS_PER_DAY - first, 0), last)
            counts[day] += 1
            newest[day] = max(newest[day], time)


@_inner
def _add(sums, at, term):
    whole = np.floor(term)
    rest = sums[at, 1] + np.int64(np.rint((term - whole) * _ONE))
    sums[at, 0] += np.int64(whole) + (rest >> GRID_BITS)
    sums[at, 1] = rest & BELOW_ONE


@_outer
def add_by_column(columns, terms, sums):
    """Add terms (nnz,) float64 >= 0 to the sums of their columns, (n_products, 2) int64."""
    for entry in range(columns.size):
        _add(sums, columns[entry], terms[entry])


@_outer
def add_by_segment(indptr, columns, terms, members, starts, sums, keys, found_sums):
    """Sum the terms of the members of each segment by column. Return the number of sums.

    members[starts[s]:starts[s + 1]]: the rows of segment s. sums (n_products, 2) int64: working memory, zeros.
    Written: keys (m,) int64, s * n_products + column, ascending, and found_sums (m, 2) int64.
    """
    n_products, found = sums.shape[0], 0
    has = np.zeros(n_products, np.bool_)
    busy = np.zeros((n_products >> _BLOCK_BITS) + 1, np.bool_)  # blocks of columns of which the segment has any
    for segment in range(starts.size - 1):
        for row in members[starts[segment] : starts[segment + 1]]:
            for entry in range(indptr[row], indptr[row + 1]):
                column = columns[entry]
                has[column] = busy[column >> _BLOCK_BITS] = True
                _add(sums, column, terms[entry])
        for block in range(busy.size):
            if busy[block]:
                busy[block] = False
                for column in range(block << _BLOCK_BITS, min((block + 1) << _BLOCK_BITS, n_products)):
                    if has[column]:
                        keys[found] = segment * n_products + column
                        found_sums[found, 0], found_sums[found, 1] = sums[column, 0], sums[column, 1]
                        has[column] = False
                        sums[column, 0], sums[column, 1] = 0, 0
                        found += 1
    return found
