"""Compiled loops behind caps per category: one pass, in memory that the answer bounds."""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

import numpy as np
from numba import njit

# Functions that only compiled code calls get no entry from Python: that saves a third of the time of a first start.
_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

_NONE = np.int64(0)  # a plain 0 has another type: functions that it is passed to would be compiled twice


@_inner
def _ahead(a, b, scores, supports, between, within):
    if scores[a] != scores[b]:
        return scores[a] > scores[b]
    if supports[a] != supports[b]:
        return supports[a] > supports[b]
    if between[a] != between[b]:
        return between[a] < between[b]
    return within[a] < within[b]


@_inner
def _sift_down(at, start, size, heap, scores, supports, between, within):
    """Restore the heap heap[start:start + size]. Its root is the last in order."""
    moving = heap[start + at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _ahead(heap[start + child], heap[start + child + 1], scores, supports, between, within):
            child += 1
        if not _ahead(moving, heap[start + child], scores, supports, between, within):
            break
        heap[start + at] = heap[start + child]
        at = child
    heap[start + at] = moving


@_inner
def _offer(item, start, kept, most, heap, scores, supports, between, within):
    """Keep the item if it is among the best ``most`` in heap[start:]. Return how many are kept."""
    if kept < most:
        heap[start + kept] = item
        kept += 1
        if kept == most:
            for at in range(most // 2 - 1, -1, -1):
                _sift_down(at, start, most, heap, scores, supports, between, within)
    elif _ahead(item, heap[start], scores, supports, between, within):
        heap[start] = item
        _sift_down(_NONE, start, kept, heap, scores, supports, between, within)
    return kept


@_outer
def first_under_cap(columns, scores, supports, between, within, most, codes, later, n_codes, n):
    """Choose the best n of the candidates (m,), at most ``most`` of each category. Return their indices, best first.

    Order: scores descending, then supports descending, then between and within ascending. codes: the category of each
    column; later: of the columns after these; -1: not known, never capped. Each category has a heap, and the whole
    list has one.
    """
    m = columns.size
    of = np.empty(m, np.int64)
    sizes = np.zeros(n_codes + 1, np.int64)  # the last: columns whose category is not known
    for item in range(m):
        column = columns[item]
        code = codes[column] if column < codes.size else later[column - codes.size]
        of[item] = code if code >= 0 else n_codes
        sizes[of[item]] += 1
    starts = np.zeros(n_codes + 2, np.int64)
    for code in range(n_codes + 1):
        room = min(sizes[code], most if code < n_codes else n)
        starts[code + 1] = starts[code] + room
    kept, heap = np.zeros(n_codes + 1, np.int64), np.empty(starts[n_codes + 1], np.int64)
    for item in range(m):
        code = of[item]
        room = starts[code + 1] - starts[code]
        kept[code] = _offer(item, starts[code], kept[code], room, heap, scores, supports, between, within)
    best, found = np.empty(min(n, heap.size), np.int64), _NONE
    for at in range(heap.size):
        found = _offer(heap[at], _NONE, found, best.size, best, scores, supports, between, within)
    for end in range(found - 1, 0, -1):
        best[0], best[end] = best[end], best[0]
        _sift_down(_NONE, _NONE, end, best, scores, supports, between, within)
    return best
