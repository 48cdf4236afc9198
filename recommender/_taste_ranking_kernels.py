"""Compiled loops behind `recommender.taste_ranking`: neighbors' votes per product, the best n, predicted stars.

Products are "places", by descending raters (see `_taste_kernels`): the sums of one row are a dense float64 array whose
busy end is one piece of memory. It is read block by block where the neighbors own many products, else by reading the
neighbors' products again; both find the same candidates, and the exact order does not depend on how they are found.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK = 64  # places per test of the bar
N_HINTS = 4096
SCAN_BELOW = 4  # scan all places where 1 in 4 could be touched, else read the neighbors' products again
_BLOCK = np.uint64(BLOCK)
_BLOCK_SHIFT = np.uint64(6)
_SLACK = 1e-9  # scores are rounded to 9 decimals
_TINY = 5e-324


class Votes(NamedTuple):
    """What the neighbors say, beside the profiles; arrays by place, padded to whole blocks."""

    half_stars: NDArray[np.int8]  # (nnz,) aligned with the profiles' places, 0 where not rated
    base: NDArray[np.float64]  # (n_rows,) mu + user bias
    item_bias: NDArray[np.float64]  # (n_padded,)
    divisor: NDArray[np.float64]  # (n_padded,) raters^damping
    inverse: NDArray[np.float64]  # (n_padded,) 1 / divisor
    block_inverse: NDArray[np.float64]  # (n_padded / 64,) the largest of the block
    columns: NDArray[np.int32]  # (n_places,) place -> column


class Sums(NamedTuple):
    """Working memory of one thread; acc and marks are zero between calls."""

    acc: NDArray[np.float64]  # (n_padded,) sums of the votes
    marks: NDArray[np.int32]  # (n_places,) slot + 1 of the products whose stars are wanted
    hints: NDArray[np.uint8]  # (N_HINTS,) marks by the lower bits of places: small enough to be near at hand


@njit(cache=True, nogil=True)
def align_stars(indptr, indices, star_indptr, star_indices, stars):
    """The ratings (nnz of the profiles,) at the profiles' entries, and how many ratings found no entry; both sorted."""
    out, missing = np.zeros(indices.size, np.int8), 0
    for row in range(indptr.size - 1):
        at, end = indptr[row], indptr[row + 1]
        for post in range(star_indptr[row], star_indptr[row + 1]):
            while at < end and indices[at] < star_indices[post]:
                at += 1
            if at < end and indices[at] == star_indices[post]:
                out[at] = stars[post]
            elif stars[post] != 0:
                missing += 1
    return out, missing


# _ahead and _sift_down are in _scoring_kernels too: Numba's cache of a caller misses changes in other files
@njit(cache=True, nogil=True)
def _ahead(a, b, columns, scores, supports):
    if scores[a] != scores[b]:
        return scores[a] > scores[b]
    if supports[a] != supports[b]:
        return supports[a] > supports[b]
    return columns[a] < columns[b]


@njit(cache=True, nogil=True)
def _sift_down(at, size, heap, columns, scores, supports):
    """Restore the heap of slots whose root is the last in order."""
    moving = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _ahead(heap[child], heap[child + 1], columns, scores, supports):
            child += 1
        if not _ahead(moving, heap[child], columns, scores, supports):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = moving


@njit(cache=True, nogil=True)
def _offer(place, support, size, n, votes, mask, heap, places, columns, scores, supports):
    """Keep the best n of all offered; line n of the arrays holds the one on offer. Returns how many are kept."""
    column = votes.columns[place]
    if mask.size > 0 and not mask[column]:
        return size
    slot = size
    columns[slot], places[slot] = column, place
    scores[slot] = np.rint(support / votes.divisor[place] * 1e9) / 1e9
    supports[slot] = np.rint(support * 1e9) / 1e9
    if size < n:
        hole = size
        heap[hole] = slot
        while hole > 0 and _ahead(heap[(hole - 1) // 2], slot, columns, scores, supports):
            heap[hole] = heap[(hole - 1) // 2]
            hole = (hole - 1) // 2
        heap[hole] = slot
        return size + 1
    root = heap[0]
    if _ahead(slot, root, columns, scores, supports):
        columns[root], places[root], scores[root], supports[root] = (
            columns[slot], places[slot], scores[slot], supports[slot]
        )  # fmt: skip
        _sift_down(0, size, heap, columns, scores, supports)
    return size


@njit(cache=True, nogil=True)
def _add_votes(neighbors, similarities, p, acc):
    """acc[place] += similarity * confidence, in neighbor order; returns the entries read, and a number of no use."""
    work, ahead = 0, 0
    for j in range(neighbors.size):  # fetch all rows' beginnings at once: one after another they cost twice the time
        if neighbors[j] >= 0:
            ahead += np.int64(p.places[p.indptr[neighbors[j]]])
    for j in range(neighbors.size):
        v = neighbors[j]
        if v < 0:
            break
        similarity = similarities[j]
        at, end = np.uint64(p.indptr[v]), np.uint64(p.indptr[v + 1])
        work += np.int64(end - at)
        if p.values.size == 0:
            while at < end:
                acc[np.uint64(p.places[at])] += similarity
                at += np.uint64(1)
        else:
            while at < end:
                acc[np.uint64(p.places[at])] += similarity * p.values[at]
                at += np.uint64(1)
    return work, ahead


@njit(cache=True, nogil=True)
def _best(row, neighbors, work, n, p, votes, mask, acc, heap, places, columns, scores, supports):
    """The best n products in acc but the row's own, into the arrays through heap; clears acc. Returns how many."""
    for at in range(p.indptr[row], p.indptr[row + 1]):
        acc[p.places[at]] = 0.0
    size, low = 0, _TINY
    if work * SCAN_BELOW < acc.size:
        for j in range(neighbors.size):
            v = neighbors[j]
            if v < 0:
                break
            for at in range(np.uint64(p.indptr[v]), np.uint64(p.indptr[v + 1])):
                place = np.uint64(p.places[at])
                support = acc[place]
                acc[place] = 0.0
                if support * votes.block_inverse[place >> _BLOCK_SHIFT] >= low:
                    size = _offer(place, support, size, n, votes, mask, heap, places, columns, scores, supports)
                    if size == n:
                        low = max(scores[heap[0]] - _SLACK, _TINY)
        return size
    for block in range(np.uint64(acc.size) >> _BLOCK_SHIFT):
        first, hits = block << _BLOCK_SHIFT, 0
        for j in range(_BLOCK):
            hits += acc[first + j] * votes.block_inverse[block] >= low
        if hits > 0:
            for place in range(first, first + _BLOCK):
                if acc[place] * votes.inverse[place] >= low:
                    size = _offer(place, acc[place], size, n, votes, mask, heap, places, columns, scores, supports)
                    if size == n:
                        low = max(scores[heap[0]] - _SLACK, _TINY)
        for j in range(_BLOCK):
            acc[first + j] = 0.0
    return size


@njit(cache=True, nogil=True)
def _stars(row, neighbors, similarities, p, votes, unit, lowest, highest, places, marks, hints, stars, raters, weight):
    """Predicted stars of the distinct places (m,), and how many of the neighbors have each."""
    for slot in range(places.size):
        marks[places[slot]] = slot + 1
        hints[places[slot] & (N_HINTS - 1)] = 1
        stars[slot], raters[slot], weight[slot] = 0.0, 0, 0.0
    for j in range(neighbors.size if places.size > 0 else 0):
        v = neighbors[j]
        if v < 0:
            break
        for at in range(np.uint64(p.indptr[v]), np.uint64(p.indptr[v + 1])):
            if hints[np.int64(p.places[at]) & (N_HINTS - 1)] == 0:
                continue
            slot = np.int64(marks[p.places[at]]) - 1
            if slot < 0:
                continue
            raters[slot] += 1
            if votes.half_stars[at] != 0:
                expected = votes.base[v] + votes.item_bias[p.places[at]]
                stars[slot] += similarities[j] * (votes.half_stars[at] * unit - expected)
                weight[slot] += similarities[j]
    for slot in range(places.size):
        place = places[slot]
        predicted = votes.base[row] + votes.item_bias[place] + stars[slot] / (weight[slot] + STARS_PRIOR)
        stars[slot] = np.rint(min(max(predicted, lowest), highest) * 1e9) / 1e9
        marks[place] = 0
        hints[place & (N_HINTS - 1)] = 0


STARS_PRIOR = 3.0  # similarity's worth of neighbors who agree with the biases


@njit(cache=True, nogil=True)
def rank_rows(
    rows, neighbors, similarities, p, votes, sums, mask, unit, lowest, highest, n,
    out_columns, out_scores, out_supports, out_stars, out_raters,
):  # fmt: skip
    """Best n products of each row into the outputs (len(rows), n), padded; returns the last row's count."""
    heap, places, columns = np.empty(n, np.int64), np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    scores, supports, weight = np.empty(n + 1), np.empty(n + 1), np.empty(n)
    found = 0
    for i in range(rows.size):
        row = np.int64(rows[i])
        work, places[n] = _add_votes(neighbors[i], similarities[i], p, sums.acc)
        found = _best(row, neighbors[i], work, n, p, votes, mask, sums.acc, heap, places, columns, scores, supports)
        for end in range(found - 1, 0, -1):
            heap[0], heap[end] = heap[end], heap[0]
            _sift_down(0, end, heap, columns, scores, supports)
        for j in range(found):
            slot = heap[j]
            out_columns[i, j], out_scores[i, j], out_supports[i, j] = columns[slot], scores[slot], supports[slot]
            weight[j] = places[slot]
        for j in range(found):
            places[j] = np.int64(weight[j])
        _stars(
            row, neighbors[i], similarities[i], p, votes, unit, lowest, highest, places[:found], sums.marks,
            sums.hints, out_stars[i], out_raters[i], weight,
        )  # fmt: skip
        out_columns[i, found:] = -1
        out_scores[i, found:], out_supports[i, found:], out_stars[i, found:] = 0.0, 0.0, 0.0
        out_raters[i, found:] = 0
    return found


@njit(cache=True, nogil=True)
def predict_rows(rows, neighbors, similarities, p, votes, sums, unit, lowest, highest, starts, places, out_stars):
    """Predicted stars of the places[starts[i]:starts[i + 1]] of rows[i], distinct ones; all outputs (len(places),)."""
    raters, weight = np.empty(places.size, np.int32), np.empty(places.size)
    for i in range(rows.size):
        part = slice(starts[i], starts[i + 1])
        _stars(
            np.int64(rows[i]), neighbors[i], similarities[i], p, votes, unit, lowest, highest, places[part],
            sums.marks, sums.hints, out_stars[part], raters[part], weight[part],
        )  # fmt: skip
