"""Compiled loops behind `recommender.ranking.items` and `recommender.ranking.fusion`.

The sums of one row are a dense float64 array of all products. If they are few, they are put side by side. The largest
of each block of 64 gives a sum that n products reach, and so a bar that few others pass: only these are scored exactly.
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
BLOCK = 64  # sums of which the largest is known
SCAN_BELOW = 4  # look through all sums where 1 in 4 could be touched, else only at those
_BLOCK, _BLOCK_SHIFT = np.uint64(BLOCK), np.uint64(6)
_LISTED, _EVERY = np.bool_(True), np.bool_(False)
_TINY = 5e-324
_ONE_BIT, _OCTAVES, _FINE = np.int64(1), np.int64(8 << 52), np.int64(1 << 45)  # of a float64's bits; FINE: 1/128 octave
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


class Room(NamedTuple):
    """Working memory of one thread; acc is zero between calls. Padded to whole blocks, and one more where marked."""

    acc: NDArray[np.float64]  # (n_padded,) sums
    totals: NDArray[np.float64]  # (n_padded + 1,) sums above 0
    found: NDArray[np.int32]  # (n_padded + 1,) their products
    maxima: NDArray[np.int64]  # (n_padded / 64,) the largest sum of each block, as bits
    picked: NDArray[np.int32]  # (n_padded + 1,) places of products that may be among the best
    gains: NDArray[np.float64]  # (n_padded + 1,) their sums / divisors
    bar: NDArray[np.int64]  # (1,) a number's bits


@_inner
def _add(row, p, w, cuts, room):
    """Do acc[i] += value of j * weight of j for i, in the order of the profile, but not for its own products.

    Return the size of the profile and the number of weights. All bounds are read first, into cuts, and then a weight of
    each product, so that the processor waits for many at once: 5 us, not 8.
    """
    first, work, touched, acc = p.indptr[row], _NONE, np.int32(0), room.acc
    size = p.indptr[row + 1] - first
    for at in range(size):
        j = p.columns[first + at]
        cuts[at, 0], cuts[at, 1] = w.indptr[j], w.indptr[j + 1]
    for at in range(size):
        work += cuts[at, 1] - cuts[at, 0]
        if cuts[at, 0] < cuts[at, 1]:
            touched |= w.columns[np.uint64(cuts[at, 0])] | w.weights[np.uint64(cuts[at, 0])]
    cuts[size, 0] = touched
    for at in range(size):
        value, post, end = p.values[first + at] * w.step, np.uint64(cuts[at, 0]), np.uint64(cuts[at, 1])
        while post < end:
            acc[np.uint32(w.columns[post])] += value * w.weights[post]
            post += _ONE
    for at in range(first, p.indptr[row + 1]):
        acc[p.columns[at]] = 0.0
    return size, work


@_inner
def _ahead(score, support, column, slot, scores, supports, columns):
    """Tell whether a product stands before the one in a slot."""
    if score != scores[slot]:
        return score > scores[slot]
    if support != supports[slot]:
        return support > supports[slot]
    return column < columns[slot]


@_inner
def _gather(size, w, cuts, room):
    """Put the sums above 0 of the touched products side by side into room.totals, and clear acc. Return how many.

    They are followed by zeros up to a whole block. cuts: as `_add` left them, of a profile of this size.
    """
    kept, acc = np.uint64(0), room.acc
    for at in range(size):
        post, end = np.uint64(cuts[at, 0]), np.uint64(cuts[at, 1])
        while post < end:
            column = np.uint32(w.columns[post])
            post += _ONE
            total = acc[column]
            acc[column] = 0.0  # with another product of the profile it is 0
            room.totals[kept], room.found[kept] = total, column  # no branch: the next one overwrites it
            kept += np.uint64(total > 0.0)
    for at in range(kept, _whole(kept)):
        room.totals[at] = 0.0
    return kept


@_inner
def _whole(size):
    return (size + _BLOCK - _ONE) >> _BLOCK_SHIFT << _BLOCK_SHIFT


@_inner
def _write_maxima(bits, n_blocks, room):
    """Write the largest sum of each block, 0 if none is above 0. Positive floats have the order of their bits."""
    for block in range(n_blocks):
        start, most = block << _BLOCK_SHIFT, _NONE
        for j in range(_BLOCK):  # whole numbers, as their maximum is vectorized
            most = max(most, bits[start + j])
        room.maxima[block] = most


@_inner
def _reach(least, bits):
    count = _NONE
    for j in range(np.uint64(bits.size)):
        count += bits[j] >= least
    return count


@_inner
def _bar(n, bits, room):
    """Return a number that n or more of these reach, within 1 % of the n-th largest, or next to 0. All are bits.

    It is found by halves of 8 octaves. That needs no branch on the numbers, as an order would.
    """
    high = _ONE_BIT
    for j in range(np.uint64(bits.size)):
        high = max(high, bits[j] + 1)
    low = max(high - _OCTAVES, _ONE_BIT)
    if _reach(low, bits) < n:
        low, high = _ONE_BIT, _ONE_BIT
    while high - low > _FINE:
        middle = (low + high) >> 1
        enough = _reach(middle, bits) >= n
        low, high = (middle if enough else low), (high if enough else middle)
    room.bar[0] = low
    return room.bar.view(np.float64)[0]


@_inner
def _pick(edge, totals, n_blocks, listed, inverse, room):
    """Write the products whose total reaches the edge into room.picked, and room.gains, total / divisor."""
    size, maxima = np.uint64(0), room.maxima.view(np.float64)
    for block in range(n_blocks):
        if maxima[block] >= edge:
            start = block << _BLOCK_SHIFT
            for at in range(start, start + _BLOCK):
                room.picked[size] = at
                size += np.uint64(totals[at] >= edge)
    for j in range(size):
        at = np.uint64(room.picked[j])
        column = np.uint32(room.found[at]) if listed else np.uint32(at)
        room.gains[j] = totals[at] * inverse[column]
    return size


@_inner
def _best(totals, n_totals, listed, w, inverse, room, columns, scores, supports):
    """Write the best products, best first, into arrays (n,). Return how many.

    totals: whole blocks; the product of each is in room.found if ``listed``, else its place.
    First those are scored that surely hold n, then all that can come before the n-th of these.
    """
    n, kept, n_blocks = columns.size, _NONE, _whole(n_totals) >> _BLOCK_SHIFT
    gains = room.gains.view(np.int64)
    _write_maxima(totals.view(np.int64), n_blocks, room)
    edge = _bar(n, room.maxima[:n_blocks], room)
    size = _pick(edge, totals, n_blocks, listed, inverse, room)
    low = max((_bar(n, gains[:size], room) - _SLACK) * _MARGIN, 0.0)
    if edge > _TINY and edge * w.highest > low:
        size = _pick(max(low * _MARGIN / w.highest, _TINY), totals, n_blocks, listed, inverse, room)
        low = max((_bar(n, gains[:size], room) - _SLACK) * _MARGIN, 0.0)
    for j in range(size):
        if room.gains[j] <= low:
            continue
        at = np.uint64(room.picked[j])
        column = np.int64(room.found[at]) if listed else np.int64(at)
        score = np.rint(totals[at] / w.divisor[column] * 1e9) / 1e9
        support = np.rint(totals[at] * 1e9) / 1e9
        if score <= 0.0 or (kept == n and not _ahead(score, support, column, n - 1, scores, supports, columns)):
            continue
        slot = min(kept, n - 1)
        while slot > 0 and _ahead(score, support, column, slot - 1, scores, supports, columns):
            scores[slot], supports[slot], columns[slot] = scores[slot - 1], supports[slot - 1], columns[slot - 1]
            slot -= 1
        scores[slot], supports[slot], columns[slot] = score, support, column
        kept = min(kept + 1, n)
    return kept


@_inner
def _new_cuts(rows, p):
    """Return memory for the bounds of the weights of each product of a profile, for all these rows."""
    longest = _NONE
    for i in range(rows.size):
        longest = max(longest, p.indptr[rows[i] + 1] - p.indptr[rows[i]])
    return np.empty((longest + 1, 2), np.int64)


@_outer
def rank_rows(rows, p, w, inverse, room, out_columns, out_scores, out_supports):
    """Write the best products of each row into the outputs (len(rows), n), padded.

    inverse (n_products,): 1 / divisor of products that may be recommended, 0 of others.
    """
    cuts = _new_cuts(rows, p)
    for i in range(rows.size):
        size, work = _add(rows[i], p, w, cuts, room)
        columns, scores, supports = out_columns[i], out_scores[i], out_supports[i]
        if work * SCAN_BELOW < room.acc.size:
            found = _gather(size, w, cuts, room)
            kept = _best(room.totals, found, _LISTED, w, inverse, room, columns, scores, supports)
        else:
            found = np.uint64(room.acc.size)
            kept = _best(room.acc, found, _EVERY, w, inverse, room, columns, scores, supports)
            room.acc[:] = 0.0
        columns[kept:], scores[kept:], supports[kept:] = -1, 0.0, 0.0


@_outer
def candidates(rows, p, w, inverse, room):
    """Return all products with a score for the only row, in no order: columns, scores, supports."""
    cuts = _new_cuts(rows, p)
    size, _ = _add(rows[0], p, w, cuts, room)
    found = _gather(size, w, cuts, room)
    columns, scores, supports, kept = np.empty(found, np.int32), np.empty(found), np.empty(found), _NONE
    for at in range(found):
        column, total = np.uint32(room.found[at]), room.totals[at]
        score = np.rint(total / w.divisor[column] * 1e9) / 1e9 if inverse[column] > 0.0 else 0.0
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
