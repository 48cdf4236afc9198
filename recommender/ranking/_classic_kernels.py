"""Compiled loop behind `recommender.ranking.classic`: collect the neighbors' products, average, keep the best n.

Candidates are in an open-addressing hash table whose size depends on the neighbors' ratings, not on the catalog. So one
user costs microseconds for any number of products. Compiled once per dtype of the ratings, cached on disk.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

import numpy as np
from numba import njit

# Functions that only compiled code calls get no entry from Python: that saves a third of the time of a first start.
_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

_NONE = np.int64(0)  # a plain 0 has another type: functions that it is passed to would be compiled twice
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing, Knuth TAOCP 6.4
_EXCLUDED = -1


@_inner
def _slot(column, table, shift, columns, size):
    """Return the slot of the column among the candidates. A new column is entered, and its slot is size."""
    mask = table.size - 1
    at = np.int64((np.uint64(column) * _GOLDEN) >> shift)
    while True:
        entry = table[at]
        if entry == 0:
            table[at] = size + 1
            columns[size] = column
            return size
        if columns[entry - 1] == column:
            return np.int64(entry - 1)
        at = (at + 1) & mask


@_inner
def _collect(
    row, neighbors, similarities, indptr, indices, data, recommendable, scale, table, shift,
    columns, predicted, support, raters,
):  # fmt: skip
    """Sum similarity and similarity x rating per product, in neighbor order. Return the number of entries used."""
    size = _NONE
    for at in range(indptr[row], indptr[row + 1]):
        if data[at] != 0 and _slot(indices[at], table, shift, columns, size) == size:
            raters[size] = _EXCLUDED
            size += 1
    for j in range(neighbors.size):
        v = neighbors[j]
        if v < 0:
            break
        similarity = similarities[j]
        for at in range(indptr[v], indptr[v + 1]):
            column = indices[at]
            if data[at] == 0 or (recommendable.size > 0 and not recommendable[column]):
                continue
            slot = _slot(column, table, shift, columns, size)
            if slot == size:
                predicted[slot], support[slot], raters[slot] = 0.0, 0.0, 0
                size += 1
            elif raters[slot] == _EXCLUDED:
                continue
            predicted[slot] += similarity * (data[at] * scale)
            support[slot] += similarity
            raters[slot] += 1
    return size


# _ahead and _sift_down are in _taste_kernels too: numba's cache of a caller misses changes in other files
@njit(inline="always")
def _ahead(a, b, columns, predicted, support):
    if predicted[a] != predicted[b]:
        return predicted[a] > predicted[b]
    if support[a] != support[b]:
        return support[a] > support[b]
    return columns[a] < columns[b]


@_inner
def _sift_down(at, size, order, columns, predicted, support):
    """Restore the heap of candidates. Its root is the worst."""
    moving = order[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _ahead(order[child], order[child + 1], columns, predicted, support):
            child += 1
        if not _ahead(moving, order[child], columns, predicted, support):
            break
        order[at] = order[child]
        at = child
    order[at] = moving


@_inner
def _best(n, size, columns, predicted, support, raters, order):
    """Put the best n candidates into order, best first. Return their number."""
    kept = _NONE
    for slot in range(size):
        if raters[slot] == _EXCLUDED:
            continue
        predicted[slot] = np.rint(predicted[slot] / support[slot] * 1e9) / 1e9
        support[slot] = np.rint(support[slot] * 1e9) / 1e9
        if kept < n:
            order[kept] = slot
            kept += 1
            if kept == n:
                for at in range(n // 2 - 1, -1, -1):
                    _sift_down(at, n, order, columns, predicted, support)
        elif _ahead(slot, order[0], columns, predicted, support):
            order[0] = slot
            _sift_down(_NONE, n, order, columns, predicted, support)
    if kept < n:
        for at in range(kept // 2 - 1, -1, -1):
            _sift_down(at, kept, order, columns, predicted, support)
    for end in range(kept - 1, 0, -1):
        order[0], order[end] = order[end], order[0]
        _sift_down(_NONE, end, order, columns, predicted, support)
    return kept


@_outer
def candidates(row, neighbors, similarities, indptr, indices, data, recommendable, scale):
    """Return all products of the neighbors (k,) of a row, in no order: columns, predicted, support, raters."""
    most = max(indptr[row + 1] - indptr[row], 1)
    for v in neighbors:
        if v < 0:
            break
        most += indptr[v + 1] - indptr[v]
    bits = 4
    while (1 << bits) < 2 * most:
        bits += 1
    columns, raters = np.empty(most, np.int32), np.empty(most, np.int32)
    predicted, support = np.empty(most, np.float64), np.empty(most, np.float64)
    size = _collect(
        row, neighbors, similarities, indptr, indices, data, recommendable, scale, np.zeros(1 << bits, np.int32),
        np.uint64(64 - bits), columns, predicted, support, raters,
    )  # fmt: skip
    found = 0
    for slot in range(size):
        if raters[slot] != _EXCLUDED:
            columns[found], raters[found] = columns[slot], raters[slot]
            predicted[found] = np.rint(predicted[slot] / support[slot] * 1e9) / 1e9
            support[found] = np.rint(support[slot] * 1e9) / 1e9
            found += 1
    return columns[:found], predicted[:found], support[:found], raters[:found]


@_outer
def rank_rows(
    rows, neighbors, similarities, indptr, indices, data, recommendable, scale, n,
    out_columns, out_predicted, out_support, out_raters,
):  # fmt: skip
    """Write the best n products of each row into the outputs (len(rows), n), padded. Return the last row's count."""
    most = 1
    for i in range(rows.size):
        entries = indptr[rows[i] + 1] - indptr[rows[i]]
        for j in range(neighbors.shape[1]):
            if neighbors[i, j] < 0:
                break
            entries += indptr[neighbors[i, j] + 1] - indptr[neighbors[i, j]]
        most = max(most, entries)
    bits = 4
    while (1 << bits) < 2 * most:
        bits += 1
    shift = np.uint64(64 - bits)
    table = np.zeros(1 << bits, np.int32)
    columns = np.empty(most, np.int32)
    predicted = np.empty(most, np.float64)
    support = np.empty(most, np.float64)
    raters = np.empty(most, np.int32)
    order = np.empty(most, np.int32)
    kept = 0
    for i in range(rows.size):
        if i > 0:
            table[:] = 0
        size = _collect(
            rows[i], neighbors[i], similarities[i], indptr, indices, data, recommendable, scale,
            table, shift, columns, predicted, support, raters,
        )  # fmt: skip
        kept = _best(n, size, columns, predicted, support, raters, order)
        for j in range(kept):
            slot = order[j]
            out_columns[i, j] = columns[slot]
            out_predicted[i, j] = predicted[slot]
            out_support[i, j] = support[slot]
            out_raters[i, j] = raters[slot]
        for j in range(kept, n):
            out_columns[i, j] = -1
            out_predicted[i, j] = 0.0
            out_support[i, j] = 0.0
            out_raters[i, j] = 0
    return kept
