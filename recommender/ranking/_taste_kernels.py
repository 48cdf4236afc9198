"""Compiled loops behind `recommender.ranking.taste`: neighbors' votes per product, the best n, predicted stars.

Products are "places", by descending raters (see `recommender.neighbors._taste_kernels`). The sums of one row are a
dense float64 array, whose busy end is one piece of memory. If the neighbors own many products, it is read block by
block; else the neighbors' products are read again. Both ways find the products whose score reaches a bar. Counts of the
scores found so far, by the upper bits of their float64, raise the bar. The dozen products that reach it at the end are
ordered exactly.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

from typing import NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload
from numpy.typing import NDArray

# Functions that only compiled code calls get no entry from Python: that saves a third of the time of a first start.
_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

BLOCK = 64  # places per test of the bar
AT_A_TIME = 64  # entries between two counts of the candidates
SCAN_BELOW = 4  # scan all places where 1 in 4 could be touched, else read the neighbors' products again
STARS_PRIOR = 3.0  # the weight, in similarity, of neighbors who agree with the biases
NARROW_BITS, WIDE_BITS = 4, 8  # of an entry of 32 or 64 bits: the rating, 0 where there is none; the place is above it
N_BUCKETS = 1024  # 32 octaves of 32
N_HINTS = 4096
_BUCKET_SHIFT = 47
_CROWDED = 255  # a hint of several slots
_ONE = np.uint64(1)
_NONE = np.int64(0)  # a plain 0 has another type: functions that it is passed to would be compiled twice
_ON, _OFF = np.bool_(True), np.bool_(False)
_NARROW, _WIDE = np.uint64(NARROW_BITS), np.uint64(WIDE_BITS)
_HINT = np.uint64(N_HINTS - 1)
_NUMBER = np.uint64(36)  # bits of an entry: 28 of a place, 8 of a rating
_ENTRY = np.uint64((1 << 36) - 1)
_BLOCK = np.uint64(BLOCK)
_BLOCK_SHIFT = np.uint64(6)
_SLACK = 1e-9  # scores are rounded to 9 decimals
_MARGIN = 1.0 - 2.0**-48  # scores here are products, where the formula divides
_TINY = 5e-324
_ALL = np.int64(1 << 62)  # more than there are products


class Votes(NamedTuple):
    """The neighbors' votes. Arrays by place are padded to whole blocks."""

    indptr: NDArray[np.int64]  # (n_rows + 1,)
    entries: NDArray[np.unsignedinteger]  # (nnz,) place << 4 | steps, by row; of 64 bits: place << 8 | steps
    values: NDArray[np.float64]  # (nnz,) or (0,) confidences
    base: NDArray[np.float64]  # (n_rows,) mu + user bias
    item_bias: NDArray[np.float64]  # (n_padded,)
    divisor: NDArray[np.float64]  # (n_padded,) raters^damping
    columns: NDArray[np.int32]  # (n_places,) place -> column


class Bars(NamedTuple):
    """1 / divisor of products that may be recommended, 0 of others."""

    inverse: NDArray[np.float64]  # (n_padded,)
    block_inverse: NDArray[np.float64]  # (n_padded / 64,) the largest of the block


class Sums(NamedTuple):
    """Working memory of one thread; acc, marks and hints are zero between calls."""

    acc: NDArray[np.float64]  # (n_padded,) sums of the votes
    marks: NDArray[np.int32]  # (n_padded,) slot + 1 of the products whose stars are computed
    hints: NDArray[np.uint8]  # (N_HINTS,) the same by the lower bits of places: small enough for the cache
    places: NDArray[np.int64]  # (n_padded + 1,) candidates
    supports: NDArray[np.float64]  # (n_padded + 1,)
    scores: NDArray[np.float64]  # (n_padded + 1,)
    histogram: NDArray[np.int64]  # (N_BUCKETS,) of their scores
    read: NDArray[np.unsignedinteger]  # (k * longest row,) the neighbors' entries, one after the other
    ends: NDArray[np.int64]  # (k,) end of each neighbor's entries, in read or in the votes
    starts: NDArray[np.int64]  # (k,)
    hits: NDArray[np.uint64]  # (k * longest row + 1,) entries of such places, number of the neighbor << 36 | entry


def _shift_of(entries):
    """Return the number of bits of a rating in these entries. It depends on their type only: compiled as a constant."""
    return _NARROW if entries.itemsize == 4 else _WIDE


@overload(_shift_of)
def _compiled_shift_of(entries):
    # the itemsize of an array is not known to compiled code, its type is
    if entries.dtype.bitwidth == 32:
        return lambda entries: _NARROW  # noqa: ARG005 - the signature of `_shift_of`
    return lambda entries: _WIDE  # noqa: ARG005


@_outer
def pack_entries(indptr, places, columns, star_indptr, star_indices, stars, entries):
    """Write the entries (nnz,). Return the number of ratings that match none. Columns ascend on both sides."""
    missing, shift = 0, np.int64(_shift_of(entries))
    for row in range(indptr.size - 1):
        post, end = star_indptr[row], star_indptr[row + 1]
        for at in range(indptr[row], indptr[row + 1]):
            given = 0
            while post < end and star_indices[post] <= columns[places[at]]:
                if star_indices[post] == columns[places[at]]:
                    given = np.int64(stars[post])
                else:
                    missing += stars[post] != 0
                post += 1
            entries[at] = np.int64(places[at]) << shift | given
        while post < end:
            missing += stars[post] != 0
            post += 1
    return missing


# _ahead and _sift_down are in _classic_kernels too: numba's cache of a caller misses changes in other files
@_inner
def _ahead(a, b, columns, scores, supports):
    if scores[a] != scores[b]:
        return scores[a] > scores[b]
    if supports[a] != supports[b]:
        return supports[a] > supports[b]
    return columns[a] < columns[b]


@_inner
def _sift_down(at, size, heap, columns, scores, supports):
    """Restore the heap of slots. Its root is the last in order."""
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


@_inner
def _read(neighbors, votes, sums):
    """Put the entries of all neighbors side by side into sums.read, their ends into sums.ends. Return their number."""
    size = np.uint64(0)
    for j in range(neighbors.size):
        v = neighbors[j]
        if v < 0:
            break
        at, end = np.uint64(votes.indptr[v]), np.uint64(votes.indptr[v + 1])
        while at < end:
            sums.read[size] = votes.entries[at]
            size += _ONE
            at += _ONE
        sums.ends[j] = size
    return np.int64(size)


@_inner
def _add_votes(neighbors, similarities, votes, sums):
    """Do acc[place] += similarity * confidence, in neighbor order. Return the number of entries read."""
    work, post, shift = _read(neighbors, votes, sums), np.uint64(0), _shift_of(sums.read)
    for j in range(neighbors.size):
        v = neighbors[j]
        if v < 0:
            break
        similarity, at, end = similarities[j], np.uint64(votes.indptr[v]), np.uint64(sums.ends[j])
        if votes.values.size == 0:
            while post < end:
                sums.acc[np.uint64(sums.read[post]) >> shift] += similarity
                post += _ONE
        else:
            while post < end:
                sums.acc[np.uint64(sums.read[post]) >> shift] += similarity * votes.values[at]
                post += _ONE
                at += _ONE
    return work


@_inner
def _raise_bar(first, size, n, low, bar, sums):
    """Count the candidates from first on, and raise the bar to the highest bucket edge that n have reached. Return it.

    bar: the bucket of the highest possible score, the bucket that the bar stands on, the number of candidates counted
    there or above.
    """
    bits, edge = sums.scores.view(np.int64), np.empty(1, np.int64)
    base = bar[0] - (N_BUCKETS - 1)
    for j in range(first, size):
        bucket = min(max((bits[j] >> _BUCKET_SHIFT) - base, 0), N_BUCKETS - 1)
        sums.histogram[bucket] += 1
        bar[2] += bucket >= bar[1]
    while bar[2] - sums.histogram[bar[1]] >= n:
        bar[2] -= sums.histogram[bar[1]]
        bar[1] += 1
    edge[0] = (base + bar[1]) << _BUCKET_SHIFT
    return max(edge.view(np.float64)[0] * _MARGIN - _SLACK, low) if bar[1] > 0 else low


@_inner
def _read_again(start, end, low, bars, sums, size):
    """Append the products of the entries that reach the bar, and clear their sums. Return the new size."""
    at, stop, shift = np.uint64(start), np.uint64(end), _shift_of(sums.read)
    while at < stop:
        place = np.uint64(sums.read[at]) >> shift
        at += _ONE
        support = sums.acc[place]
        sums.acc[place] = 0.0  # with another neighbor it is 0, and below the bar
        if support * bars.block_inverse[place >> _BLOCK_SHIFT] >= low:
            score = support * bars.inverse[place]
            sums.places[size], sums.supports[size], sums.scores[size] = place, support, score
            size += score >= low
    return size


@_inner
def _scan_block(block, low, bars, sums, size):
    """Append those of the 64 places of a block that reach the bar, and clear it. One test tells if there are none."""
    first, hits, inverse = block << _BLOCK_SHIFT, 0, bars.block_inverse[block]
    for j in range(_BLOCK):  # a count, since it is vectorized and a search is not
        hits += sums.acc[first + j] * inverse >= low
    if hits > 0:
        for place in range(first, first + _BLOCK):
            support = sums.acc[place]
            score = support * bars.inverse[place]
            if score >= low:
                sums.places[size], sums.supports[size], sums.scores[size] = place, support, score
                size += 1
    for j in range(_BLOCK):
        sums.acc[first + j] = 0.0
    return size


@_inner
def _candidates(row, neighbors, similarities, work, n, votes, bars, sums):
    """Find the products in acc that may be among the best n, without the row's own. Clear acc. Return size and low."""
    total, bar, shift = np.zeros(1), np.zeros(3, np.int64), _shift_of(votes.entries)
    for at in range(votes.indptr[row], votes.indptr[row + 1]):
        sums.acc[np.uint64(votes.entries[at]) >> shift] = 0.0
    for j in range(neighbors.size):
        total[0] += similarities[j]
    bar[0] = (total.view(np.int64)[0] >> _BUCKET_SHIFT) + 1  # higher scores (confidences above 1) count as this
    sums.histogram[:] = 0
    size, counted, low = _NONE, _NONE, _TINY
    if work * SCAN_BELOW < sums.acc.size:
        start = _NONE
        while start < work:
            size = _read_again(start, min(start + AT_A_TIME, work), low, bars, sums, size)
            if size - counted >= n:
                low = _raise_bar(counted, size, n, low, bar, sums)
                counted = size
            start += AT_A_TIME
    else:
        for block in range(np.uint64(sums.acc.size) >> _BLOCK_SHIFT):
            size = _scan_block(block, low, bars, sums, size)
            if size - counted >= n:
                low = _raise_bar(counted, size, n, low, bar, sums)
                counted = size
    return size, _raise_bar(counted, size, n, low, bar, sums)


@_inner
def _best(size, low, n, votes, sums, heap, places, columns, scores, supports):
    """Order the exact best n candidates: heap[:returned] are their slots in the other arrays (n + 1,)."""
    kept = _NONE
    for j in range(size):
        if sums.scores[j] < low:
            continue
        place = sums.places[j]
        slot, places[kept], columns[kept] = kept, place, votes.columns[place]
        scores[kept] = np.rint(sums.supports[j] / votes.divisor[place] * 1e9) / 1e9
        supports[kept] = np.rint(sums.supports[j] * 1e9) / 1e9
        if kept < n:
            hole = kept
            while hole > 0 and _ahead(heap[(hole - 1) // 2], slot, columns, scores, supports):
                heap[hole] = heap[(hole - 1) // 2]
                hole = (hole - 1) // 2
            heap[hole] = slot
            kept += 1
        elif _ahead(slot, heap[0], columns, scores, supports):
            root = heap[0]
            places[root], columns[root] = places[slot], columns[slot]
            scores[root], supports[root] = scores[slot], supports[slot]
            _sift_down(_NONE, kept, heap, columns, scores, supports)
    for end in range(kept - 1, 0, -1):
        heap[0], heap[end] = heap[end], heap[0]
        _sift_down(_NONE, end, heap, columns, scores, supports)
    return kept


@_inner
def _mark(places, marks, hints, on):
    for slot in range(places.size):
        hint = places[slot] & np.int64(_HINT)
        marks[places[slot]] = slot + 1 if on else 0
        free = hints[hint] == 0 and slot + 1 < _CROWDED
        hints[hint] = (slot + 1 if free else _CROWDED) if on else 0


@_inner
def _hits_read(neighbors, sums):
    """Put the entries in sums.read of marked places into sums.hits, with their neighbor's number. Return how many.

    Some others are among them, as hints are short.
    """
    at, size, shift = np.uint64(0), np.uint64(0), _shift_of(sums.read)
    for j in range(neighbors.size):
        if neighbors[j] < 0:
            break
        end = np.uint64(sums.ends[j])
        while at < end:
            entry = np.uint64(sums.read[at])
            at += _ONE
            sums.hits[size] = np.uint64(j) << _NUMBER | entry  # no branch: the next one overwrites it
            size += np.uint64(sums.hints[(entry >> shift) & _HINT] > 0)
    return size


@_inner
def _hits(neighbors, votes, sums):
    """Do `_hits_read` with the neighbors' entries where they are.

    All bounds are read first, and then an entry of each, so that the processor waits for many at once: 6 us, not 9.
    """
    n, size, touched, shift = _NONE, np.uint64(0), np.uint64(0), _shift_of(votes.entries)
    while n < neighbors.size and neighbors[n] >= 0:
        v = np.uint64(neighbors[n])
        sums.starts[n], sums.ends[n] = votes.indptr[v], votes.indptr[v + _ONE]
        n += 1
    for j in range(n):
        if sums.starts[j] < sums.ends[j]:
            touched |= np.uint64(votes.entries[np.uint64(sums.starts[j])])
            touched |= np.uint64(votes.entries[np.uint64(sums.ends[j] - 1)])
    sums.hits[0] = touched
    for j in range(n):
        at, end = np.uint64(sums.starts[j]), np.uint64(sums.ends[j])
        while at < end:
            entry = np.uint64(votes.entries[at])
            at += _ONE
            sums.hits[size] = np.uint64(j) << _NUMBER | entry
            size += np.uint64(sums.hints[(entry >> shift) & _HINT] > 0)
    return size


@_inner
def _stars(row, size, neighbors, similarities, votes, unit, lowest, highest, places, sums, stars, raters, weight):
    """Write the predicted stars of the distinct places (m,) from the hits, and the number of neighbors that have each.

    The places are marked.
    """
    shift = _shift_of(votes.entries)
    mask = (_ONE << shift) - _ONE
    stars[:], raters[:], weight[:] = 0.0, 0, 0.0
    for at in range(size):
        entry, j = sums.hits[at] & _ENTRY, np.int64(sums.hits[at] >> _NUMBER)
        place = np.int64(entry >> shift)
        slot = np.int64(sums.hints[(entry >> shift) & _HINT])
        slot = (np.int64(sums.marks[place]) if slot == _CROWDED else slot) - 1
        if slot < 0 or places[slot] != place:
            continue
        raters[slot] += 1
        given = np.int64(entry & mask)
        if given > 0:
            expected = votes.base[neighbors[j]] + votes.item_bias[place]
            stars[slot] += similarities[j] * (given * unit - expected)
            weight[slot] += similarities[j]
    for slot in range(places.size):
        predicted = votes.base[row] + votes.item_bias[places[slot]] + stars[slot] / (weight[slot] + STARS_PRIOR)
        stars[slot] = np.rint(min(max(predicted, lowest), highest) * 1e9) / 1e9


@_outer
def rank_rows(
    rows, neighbors, similarities, votes, sums, unit, lowest, highest, bars, n, with_stars,
    out_columns, out_scores, out_supports, out_stars, out_raters,
):  # fmt: skip
    """Write the best n products of each row into the outputs (len(rows), n), padded. Return the last row's count.

    without ``with_stars``, out_stars and out_raters are left as they are.
    """
    heap, places, columns = np.empty(n, np.int64), np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    scores, supports, weight, ordered = np.empty(n + 1), np.empty(n + 1), np.empty(n), np.empty(n, np.int64)
    found = 0
    for i in range(rows.size):
        row = np.int64(rows[i])
        work = _add_votes(neighbors[i], similarities[i], votes, sums)
        size, low = _candidates(row, neighbors[i], similarities[i], work, n, votes, bars, sums)
        found = _best(size, low, n, votes, sums, heap, places, columns, scores, supports)
        for j in range(found):
            slot = heap[j]
            ordered[j] = places[slot]
            out_columns[i, j], out_scores[i, j], out_supports[i, j] = columns[slot], scores[slot], supports[slot]
        out_columns[i, found:] = -1
        out_scores[i, found:], out_supports[i, found:] = 0.0, 0.0
        if with_stars:
            _mark(ordered[:found], sums.marks, sums.hints, _ON)
            size = _hits_read(neighbors[i], sums)
            _stars(
                row, size, neighbors[i], similarities[i], votes, unit, lowest, highest, ordered[:found], sums,
                out_stars[i, :found], out_raters[i, :found], weight[:found],
            )  # fmt: skip
            _mark(ordered[:found], sums.marks, sums.hints, _OFF)
            out_stars[i, found:], out_raters[i, found:] = 0.0, 0
    return found


@_outer
def candidates(rows, neighbors, similarities, votes, sums, bars):
    """Return all products of the neighbors of the only row, in no order: places, columns, scores, supports."""
    row = np.int64(rows[0])
    work = _add_votes(neighbors[0], similarities[0], votes, sums)
    size, _ = _candidates(row, neighbors[0], similarities[0], work, _ALL, votes, bars, sums)
    places, columns = np.empty(size, np.int64), np.empty(size, np.int32)
    scores, supports = np.empty(size), np.empty(size)
    for j in range(size):
        place = sums.places[j]
        places[j], columns[j] = place, votes.columns[place]
        scores[j] = np.rint(sums.supports[j] / votes.divisor[place] * 1e9) / 1e9
        supports[j] = np.rint(sums.supports[j] * 1e9) / 1e9
    return places, columns, scores, supports


@_outer
def predict_rows(
    rows, neighbors, similarities, votes, sums, unit, lowest, highest, starts, places, out_stars, out_raters
):
    """Write the stars of places[starts[i]:starts[i + 1]], which are distinct, for rows[i], and its neighbors' number.

    The neighbors are those that have the product. Both outputs are (len(places),).
    """
    weight = np.empty(places.size)
    for i in range(rows.size):
        part = slice(starts[i], starts[i + 1])
        _mark(places[part], sums.marks, sums.hints, _ON)
        size = _hits(neighbors[i], votes, sums)
        _stars(
            np.int64(rows[i]), size, neighbors[i], similarities[i], votes, unit, lowest, highest, places[part], sums,
            out_stars[part], out_raters[part], weight[part],
        )  # fmt: skip
        _mark(places[part], sums.marks, sums.hints, _OFF)
