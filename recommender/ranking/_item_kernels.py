"""Compiled loops behind `recommender.ranking.items` and `recommender.ranking.fusion`.

The sums of one row are a dense float64 array of all products. The weights of the row's products are read twice: once
to add them up, and once to find the products that reach the best n and to clear their sums.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Functions that only compiled code calls get no entry from Python: that saves a third of the time of a first start.
_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

_HASH = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / the golden ratio
_NONE = np.int64(0)  # a plain 0 has another type: functions that it is passed to would be compiled twice
_ONE = np.uint64(1)  # ids are unsigned: a signed index costs a test for the end of the array
_MARGIN, _SLACK = 1.0 - 2.0**-48, 1e-9  # a bar is a product where the formula divides, and scores have 9 decimals


class ItemProfiles(NamedTuple):
    """The profiles that ask: the products of each row, and how much each counts now."""

    indptr: NDArray[np.int64]  # (n_rows + 1,)
    columns: NDArray[np.int32]  # (nnz,) ascending within a row
    values: NDArray[np.float64]  # (nnz,) confidence, decayed


class PackedWeights(NamedTuple):
    """The weights between products, and what divides the sums."""

    indptr: NDArray[np.int64]  # (n_products + 1,)
    columns: NDArray[np.int32]  # (n_weights,)
    weights: NDArray[np.int32]  # (n_weights,) whole steps
    step: float
    divisor: NDArray[np.float64]  # (n_products,) raters^damping
    highest: float  # the largest 1 / divisor: most products fall by it, and their own is not read


@_inner
def _add(row, p, w, acc):
    """Do acc[i] += value of j * weight of j for i, in the order of the profile."""
    for at in range(p.indptr[row], p.indptr[row + 1]):
        j, value = p.columns[at], p.values[at] * w.step
        post, end = np.uint64(w.indptr[j]), np.uint64(w.indptr[j + 1])
        while post < end:
            acc[np.uint32(w.columns[post])] += value * w.weights[post]
            post += _ONE


@_inner
def _forget_own(row, p, acc):
    for at in range(p.indptr[row], p.indptr[row + 1]):
        acc[p.columns[at]] = 0.0


@_inner
def _ahead(score, support, column, slot, scores, supports, columns):
    """Tell whether a product stands before the one in a slot."""
    if score != scores[slot]:
        return score > scores[slot]
    if support != supports[slot]:
        return support > supports[slot]
    return column < columns[slot]


@_inner
def _best(row, p, w, inverse, acc, columns, scores, supports):
    """Write the best products in acc, best first, into arrays (n,). Clear acc. Return how many.

    They are kept in order: of 200 products a heap took 470 us, this takes 170 (200,000 users, 300,000 products).
    """
    n, kept, low = columns.size, _NONE, 0.0
    for at in range(p.indptr[row], p.indptr[row + 1]):
        j = p.columns[at]
        post, end = np.uint64(w.indptr[j]), np.uint64(w.indptr[j + 1])
        while post < end:
            column = np.uint32(w.columns[post])
            post += _ONE
            total = acc[column]
            acc[column] = 0.0  # with another product of the profile it is 0, and no candidate
            if total * w.highest <= low or total * inverse[column] <= low:
                continue
            score, support = np.rint(total / w.divisor[column] * 1e9) / 1e9, np.rint(total * 1e9) / 1e9
            if score <= 0.0 or (kept == n and not _ahead(score, support, column, n - 1, scores, supports, columns)):
                continue
            slot = min(kept, n - 1)
            while slot > 0 and _ahead(score, support, column, slot - 1, scores, supports, columns):
                scores[slot], supports[slot], columns[slot] = scores[slot - 1], supports[slot - 1], columns[slot - 1]
                slot -= 1
            scores[slot], supports[slot], columns[slot] = score, support, column
            kept = min(kept + 1, n)
            if kept == n:
                low = max((scores[n - 1] - _SLACK) * _MARGIN, 0.0)
    return kept


@_outer
def rank_rows(rows, p, w, inverse, acc, out_columns, out_scores, out_supports):
    """Write the best products of each row into the outputs (len(rows), n), padded. acc (n_products,): zeros.

    inverse (n_products,): 1 / divisor of products that may be recommended, 0 of others.
    """
    for i in range(rows.size):
        _add(rows[i], p, w, acc)
        _forget_own(rows[i], p, acc)
        kept = _best(rows[i], p, w, inverse, acc, out_columns[i], out_scores[i], out_supports[i])
        out_columns[i, kept:] = -1
        out_scores[i, kept:], out_supports[i, kept:] = 0.0, 0.0


@_outer
def candidates(row, p, w, inverse, acc):
    """Return all products with a score for one row, in no order: columns, scores, supports. acc: zeros."""
    _add(row, p, w, acc)
    _forget_own(row, p, acc)
    size = _NONE
    for column in range(acc.size):
        size += acc[column] > 0.0
    columns, scores, supports, kept = np.empty(size, np.int32), np.empty(size), np.empty(size), _NONE
    for column in range(acc.size):
        total = acc[column]
        acc[column] = 0.0
        if total > 0.0 and inverse[column] > 0.0:
            score = np.rint(total / w.divisor[column] * 1e9) / 1e9
            if score > 0.0:
                columns[kept], scores[kept], supports[kept] = column, score, np.rint(total * 1e9) / 1e9
                kept += 1
    return columns[:kept], scores[:kept], supports[:kept]


@_outer
def weights_to(column, columns, values, w):
    """Return the share of each product (m,) in the sum of one column: value * weight, 0 where there is none."""
    out = np.zeros(columns.size)
    for at in range(columns.size):
        low, high = w.indptr[columns[at]], w.indptr[columns[at] + 1]
        while low < high:
            middle = (low + high) // 2
            if w.columns[middle] < column:
                low = middle + 1
            else:
                high = middle
        if low < w.indptr[columns[at] + 1] and w.columns[low] == column:
            out[at] = values[at] * w.step * w.weights[low]
    return out


@_inner
def _before(score, tie, other, other_tie):
    return score > other or (score == other and tie < other_tie)


@_inner
def _place_of(column, names):
    """Return the place of a column in a table with gaps of -1, or that of the gap where it belongs."""
    place = (np.uint64(column) * _HASH >> np.uint64(32)) & np.uint64(names.size - 1)
    while names[place] >= 0 and names[place] != column:
        place = (place + _ONE) & np.uint64(names.size - 1)
    return place


@_outer
def fuse_rows(near, near_ties, liked, liked_ties, weight, constant, out_slots, out_columns, out_scores):
    """Write the best of two lists of each row (m, a) and (m, b), padded with -1, into the outputs (m, n), padded.

    A slot below a is that of the first list, also if both have the product; from a on, that of the second list. Order:
    score descending, then tie ascending; ties (m, a) and (m, b): the place of each product in the order of product ids.
    """
    n, depth, size = out_slots.shape[1], near.shape[1], 2
    while size < 2 * liked.shape[1]:
        size *= 2
    ties, names, ranks = np.empty(n, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    for i in range(near.shape[0]):
        kept = _NONE
        names[:] = -1
        for at in range(liked.shape[1]):
            if liked[i, at] >= 0:
                place = _place_of(np.int64(liked[i, at]), names)
                names[place], ranks[place] = liked[i, at], at
        for slot in range(depth + liked.shape[1]):
            first = slot < depth
            column = np.int64(near[i, slot] if first else liked[i, slot - depth])
            if column < 0:
                continue
            place = _place_of(column, names)
            if first:
                score = (1.0 - weight) / (constant + slot + 1.0)
                if names[place] == column:
                    score += weight / (constant + ranks[place] + 1.0)
                    ranks[place] = -1
            elif ranks[place] < 0:  # the first list had it
                continue
            else:
                score = weight / (constant + slot - depth + 1.0)
            tie = near_ties[i, slot] if first else liked_ties[i, slot - depth]
            if kept == n and not _before(score, tie, out_scores[i, n - 1], ties[n - 1]):
                continue
            hole = min(kept, n - 1)
            while hole > 0 and _before(score, tie, out_scores[i, hole - 1], ties[hole - 1]):
                out_slots[i, hole], out_scores[i, hole] = out_slots[i, hole - 1], out_scores[i, hole - 1]
                ties[hole] = ties[hole - 1]
                hole -= 1
            out_slots[i, hole], out_scores[i, hole], ties[hole] = slot, score, tie
            kept = min(kept + 1, n)
        for at in range(kept):
            slot = out_slots[i, at]
            out_columns[i, at] = near[i, slot] if slot < depth else liked[i, slot - depth]
        out_slots[i, kept:], out_columns[i, kept:] = -1, -1
        out_scores[i, kept:] = 0.0
