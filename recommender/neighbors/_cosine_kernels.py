"""Compiled loops behind `cosine_index`: exact order of cosines, packed and plain accumulation, top-k.

Packed form, for small whole ratings: rows are renumbered by ascending norm ("positions"), a rating and its row share 32
bits (ratings above 15: 64 bits), and dot products are 16- or 32-bit whole numbers. Ascending norms help in three ways.
High cosines come early, so few candidates are ever considered. The rows of a block of 64 have nearly one norm, so one
integer threshold tells whether a block holds a candidate (four 16-bit comparisons per machine word). The busy rows of a
popular column are adjacent in memory, so that end of its list is kept dense and added by vector instructions.
Plain form, for all other ratings: float64 accumulators, which hold whole numbers exactly up to 2^53.

Candidates are selected by float32 scores against (k-th best score) * (1 - 2^-20). A score is the product of a dot
product and a reciprocal norm, each rounded once or twice: its relative error is below 2^-22, so no neighbor is lost,
ties included. Finalists are then ordered exactly. Those of the best scores come first, so little is left to move. The
quotient dot^2 / norm decides nearly always; whole numbers decide the rest.

All loops are in one file, since numba's cache on disk notices a change in the kernel's own file only.
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

NARROW_BITS, WIDE_BITS = 4, 8  # of the rating in a packed entry of 32 bits (1..15) and of 64 bits; row or column above
BLOCK = 64  # positions per threshold
DENSE_BELOW = 10  # a list is kept dense where more than 1 in 10 rows rate: measured, 6 to 20 take equally long
DENSE_LEAST = 4 * BLOCK  # shorter dense ends cost more to enter than they save
SCAN_BELOW = 20  # scan the accumulator, not the lists again, where 1 in 20 was touched: 10 to 40 take equally long
INSERT_UP_TO = 128  # for larger k a heap beats shifting a sorted list of scores

# Quotients further apart than this have the order of their exact values: each has a relative error < 4 * 2^-53.
_SURE = 1.0 + 2.0**-49
_WHOLE = 2.0**53
_MARGIN = np.float32(1.0 - 2.0**-20)
_TINY = np.float32(1e-30)  # below every score of a dot product >= 1
_LOW_32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_NARROW, _WIDE = np.uint64(NARROW_BITS), np.uint64(WIDE_BITS)
_BLOCK = np.uint64(BLOCK)
_BLOCK_SHIFT = np.uint64(6)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_NONE = np.int64(0)  # a plain 0 has another type: functions that it is passed to would be compiled twice


class Packed(NamedTuple):
    """Ratings for `top_k_packed`; `position` numbers rows by ascending norm, arrays padded to whole blocks."""

    indptr: NDArray[np.int64]  # (n_rows + 1,)
    ratings: NDArray[np.uint32]  # (nnz,) column << 4 | rating, by row
    list_starts: NDArray[np.int64]  # (n_columns + 1,)
    lists: NDArray[np.uint32]  # (nnz in sparse ends,) position << 4 | rating, by column, ascending
    dense_from: NDArray[np.uint32]  # (n_columns,) first position of the dense end
    dense_starts: NDArray[np.int64]  # (n_columns + 1,)
    dense: NDArray[np.uint8]  # ratings at the dense ends, 0 where there is none
    norms: NDArray[np.float64]  # (n_padded,) squared, by position
    inverse: NDArray[np.float32]  # (n_padded,) 1 / norm, 0 for empty rows
    block_inverse: NDArray[np.float32]  # (n_padded / 64,) largest of the block
    block_root: NDArray[np.float32]  # (n_padded / 64,) smallest norm of the block
    rows: NDArray[np.int32]  # (n_rows,) position -> row
    positions: NDArray[np.int32]  # (n_rows,) row -> position


class Wide(NamedTuple):
    """The fields of `Packed` for ratings above 15: the entries have 64 bits, 8 of them for the rating."""

    indptr: NDArray[np.int64]
    ratings: NDArray[np.uint64]
    list_starts: NDArray[np.int64]
    lists: NDArray[np.uint64]
    dense_from: NDArray[np.uint32]
    dense_starts: NDArray[np.int64]
    dense: NDArray[np.uint8]
    norms: NDArray[np.float64]
    inverse: NDArray[np.float32]
    block_inverse: NDArray[np.float32]
    block_root: NDArray[np.float32]
    rows: NDArray[np.int32]
    positions: NDArray[np.int32]


class CosineQueries(NamedTuple):
    """Queries for `top_k_packed`: m rows of the ratings, or rows from elsewhere."""

    indptr: NDArray[np.int64]  # bounds of the entries of each row
    ratings: NDArray[np.unsignedinteger]  # column << 4 | rating, or of 64 bits: column << 8 | rating
    rows: NDArray[np.int64]  # (m,) index into indptr
    itself: NDArray[np.int32]  # (m,) position of the query's own row, which is no neighbor; -1: none
    norms: NDArray[np.float64]  # (m,) squared
    hidden: NDArray[np.int32]  # positions of rows that are never found


# ---- exact order ---------------------------------------------------------------------------------------------


@_inner
def _multiply_64(a, b):
    """Return the 128-bit product of two uint64 as (high, low)."""
    a_low, a_high = a & _LOW_32, a >> _32
    b_low, b_high = b & _LOW_32, b >> _32
    low = a_low * b_low
    middle = a_high * b_low + (low >> _32)
    carry = a_low * b_high + (middle & _LOW_32)
    return a_high * b_high + (middle >> _32) + (carry >> _32), (carry << _32) | (low & _LOW_32)


@_inner
def _square_times(dot, norm):
    """Return dot^2 * norm as three 64-bit words, highest first; 53 + 53 + 53 bits fit in 192."""
    high, low = _multiply_64(dot, dot)
    low_high, low_low = _multiply_64(low, norm)
    high_high, high_low = _multiply_64(high, norm)
    middle = low_high + high_low
    if middle < low_high:
        high_high += _ONE
    return high_high, middle, low_low


@_inner
def compare_exactly(dot_a, norm_a, dot_b, norm_b):
    """Return the sign of dot_a^2 / norm_a - dot_b^2 / norm_b, for whole numbers up to 2^53 held in float64."""
    a2, a1, a0 = _square_times(np.uint64(dot_a), np.uint64(norm_b))
    b2, b1, b0 = _square_times(np.uint64(dot_b), np.uint64(norm_a))
    if a2 != b2:
        return 1 if a2 > b2 else -1
    if a1 != b1:
        return 1 if a1 > b1 else -1
    if a0 != b0:
        return 1 if a0 > b0 else -1
    return 0


@_inner
def _precedes(key_a, dot_a, norm_a, row_a, key_b, dot_b, norm_b, row_b, exact):
    """Tell whether neighbor a comes before neighbor b: by the keys if they are far apart, else by whole numbers."""
    if key_a > key_b * _SURE:
        return True
    if key_b > key_a * _SURE:
        return False
    if exact:
        left, right = dot_a * dot_a * norm_b, dot_b * dot_b * norm_a
        if max(left, right) >= _WHOLE:  # else both products are whole and unrounded, and 192 bits are not needed
            sign = compare_exactly(dot_a, norm_a, dot_b, norm_b)
            left, right = np.float64(sign), 0.0
        if left != right:
            return left > right
    elif key_a != key_b:
        return key_a > key_b
    return row_a < row_b


@_inner
def _before(i, j, best, exact):
    keys, dots, norms, rows, _ = best
    return _precedes(keys[i], dots[i], norms[i], rows[i], keys[j], dots[j], norms[j], rows[j], exact)


@_inner
def _swap(i, j, best):
    keys, dots, norms, rows, _ = best
    keys[i], keys[j] = keys[j], keys[i]
    dots[i], dots[j] = dots[j], dots[i]
    norms[i], norms[j] = norms[j], norms[i]
    rows[i], rows[j] = rows[j], rows[i]


@_inner
def _sift_down(at, size, best, exact):
    """Restore the heap. Its root is the last in order."""
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _before(child, child + 1, best, exact):
            child += 1
        if not _before(at, child, best, exact):
            return
        _swap(at, child, best)
        at = child


@_inner
def _offer(size, k, key, dot, norm, row, best, exact):
    """Keep the best k of all offered, sorted through `order`, or in a heap for large k. Return how many are kept."""
    keys, dots, norms, rows, order = best
    small = k <= INSERT_UP_TO
    slot = size
    if size == k:
        slot = order[k - 1] if small else 0
        if not _precedes(key, dot, norm, row, keys[slot], dots[slot], norms[slot], rows[slot], exact):
            return size
    keys[slot], dots[slot], norms[slot], rows[slot] = key, dot, norm, row
    if small:
        at = min(size, k - 1)
        while at > 0 and _before(slot, order[at - 1], best, exact):
            order[at] = order[at - 1]
            at -= 1
        order[at] = slot
    elif size == k:
        _sift_down(_NONE, size, best, exact)
    else:
        while slot > 0 and _before((slot - 1) // 2, slot, best, exact):
            _swap(slot, (slot - 1) // 2, best)
            slot = (slot - 1) // 2
    return min(size + 1, k)


@_inner
def _write_best(size, k, norm_u, best, exact, out_rows, out_similarities):
    """Write the kept neighbors, best first and padded. A heap is sorted first."""
    _, dots, norms, rows, order = best
    if k > INSERT_UP_TO:
        for end in range(size - 1, 0, -1):
            _swap(_NONE, end, best)
            _sift_down(_NONE, end, best, exact)
        for j in range(size):
            order[j] = j
    for j in range(size):
        out_rows[j] = rows[order[j]]
        out_similarities[j] = min(dots[order[j]] / np.sqrt(norm_u * norms[order[j]]), 1.0)
    out_rows[size:] = -1
    out_similarities[size:] = 0.0


@_inner
def _new_best(k):
    """Return arrays for k neighbors: keys, dots, norms, rows, and the order of their slots."""
    return np.empty(k), np.empty(k), np.empty(k), np.empty(k, np.int64), np.empty(k, np.int64)


@_outer
def squared_norms(indptr, data):
    """Return the sum of squares of each row in the order of the dot products, so that equal rows have cosine 1.0."""
    out = np.zeros(indptr.size - 1)  # (n_rows,)
    for row in range(out.size):
        total = 0.0
        for at in range(indptr[row], indptr[row + 1]):
            total += data[at] * data[at]
        out[row] = total
    return out


# ---- packed form ---------------------------------------------------------------------------------------------


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
def pack_rows(indices, values, out):
    """Write column << shift | rating into out (nnz,)."""
    shift = _shift_of(out)
    for at in range(out.size):
        out[at] = np.uint64(indices[at]) << shift | np.uint64(values[at])


@_inner
def _first_reaching(least, norms, end):
    """Return the index of the first of norms[:end], ascending, that is not below least; end if there is none."""
    start = _NONE
    while start < end:
        middle = (start + end) >> 1
        if norms[middle] < least:
            start = middle + 1
        else:
            end = middle
    return start


@_outer
def dense_ends(packed, n_columns, norms, n_rows):
    """Find where each column's list turns dense: expected density ~ its raters * the row's share of all squares."""
    raters, shift = np.zeros(n_columns, np.int64), _shift_of(packed)
    for at in range(packed.size):
        raters[np.uint64(packed[at]) >> shift] += 1
    total = 0.0
    for row in range(n_rows):
        total += norms[row]
    dense_from = np.empty(n_columns, np.uint32)
    dense_starts = np.zeros(n_columns + 1, np.int64)
    for column in range(n_columns):
        start = norms.size
        least = total / (DENSE_BELOW * max(raters[column], 1))
        if n_rows > 0 and norms[n_rows - 1] >= least:
            start = _first_reaching(least, norms, n_rows) // BLOCK * BLOCK
            if norms.size - start < DENSE_LEAST:
                start = norms.size
        dense_from[column] = start
        dense_starts[column + 1] = dense_starts[column] + norms.size - start
    return dense_from, dense_starts


@_outer
def pack_columns(indptr, packed, rows, positions, n_columns, dense_from, dense_starts):
    """Return the lists of each column: sparse below dense_from, one byte per position from there on."""
    list_starts, shift = np.zeros(n_columns + 2, np.int64), _shift_of(packed)
    mask = (_ONE << shift) - _ONE
    for row in range(rows.size):
        for at in range(indptr[row], indptr[row + 1]):
            column = np.int64(np.uint64(packed[at]) >> shift)
            if positions[row] < np.int64(dense_from[column]):
                list_starts[column + 2] += 1
    for column in range(2, n_columns + 2):
        list_starts[column] += list_starts[column - 1]
    lists = np.empty(list_starts[n_columns + 1], packed.dtype)
    dense = np.zeros(dense_starts[n_columns], np.uint8)
    for position in range(rows.size):
        row = rows[position]
        for at in range(indptr[row], indptr[row + 1]):
            column, value = np.int64(np.uint64(packed[at]) >> shift), np.uint64(packed[at]) & mask
            beyond = position - np.int64(dense_from[column])
            if beyond >= 0:
                dense[dense_starts[column] + beyond] = value
            else:
                lists[list_starts[column + 1]] = np.uint64(position) << shift | value
                list_starts[column + 1] += 1
    return list_starts[:-1].copy(), lists, dense


@_inner
def _accumulate_packed(asked, p, acc):
    """Do acc[position] += dot product with the entries asked. Return the work done and the first dense position."""
    work, first_dense, shift = 0, acc.size, _shift_of(p.lists)
    mask = (_ONE << shift) - _ONE
    for at in range(asked.size):
        entry = np.uint64(asked[at])
        weight, column = entry & mask, np.int64(entry >> shift)
        post, end = np.uint64(p.list_starts[column]), np.uint64(p.list_starts[column + 1])
        work += np.int64(end - post)
        while post < end:  # unsigned throughout: numba tests a signed index for wrap-around
            entry = np.uint64(p.lists[post])
            acc[entry >> shift] += weight * (entry & mask)
            post += _ONE
        start = np.int64(p.dense_from[column])
        if start < acc.size:
            first_dense = min(first_dense, start)
            part = acc[start:]
            ratings = p.dense[p.dense_starts[column] : p.dense_starts[column] + part.size]
            for j in range(part.size):
                part[j] += weight * np.uint64(ratings[j])
            work += part.size // DENSE_BELOW
    return work, first_dense


@_inner
def _raise_bar(score, at, k, top):
    """Enter a score, seen as number `at`, among the k best. Return the k-th best so far (0 until there are k)."""
    bits = np.uint64(np.float32(score).view(np.uint32))  # for numbers >= 0 the bits have the order of the numbers
    entry = bits << _32 | (_LOW_32 - np.uint64(at))  # of equals the first seen comes first
    if k <= INSERT_UP_TO:
        if entry > top[k - 1]:
            j = k - 1
            while j > 0 and top[j - 1] < entry:
                top[j] = top[j - 1]
                j -= 1
            top[j] = entry
        return np.uint32(top[k - 1] >> _32).view(np.float32)
    if entry > top[0]:
        j = 0
        while 2 * j + 1 < k:
            child = 2 * j + 1
            if child + 1 < k and top[child + 1] < top[child]:
                child += 1
            if top[child] >= entry:
                break
            top[j] = top[child]
            j = child
        top[j] = entry
    return np.uint32(top[0] >> _32).view(np.float32)


@_inner
def _norm_of(key, dot):
    """Return the squared norm in key = dot * dot / norm. It is below 2^31, so rounding recovers it."""
    return np.rint(dot * dot / key)


@_inner
def _ahead(key_a, tag_a, key_b, tag_b, sure):
    """Tell whether a comes before b. tag = row << 32 | dot.

    sure: keys differ and agree exactly as the true ratios do.
    """
    if sure or key_a > key_b * _SURE or key_b > key_a * _SURE:
        return key_a > key_b or (key_a == key_b and tag_a < tag_b)
    dot_a, dot_b = np.float64(tag_a & _LOW_32), np.float64(tag_b & _LOW_32)
    norm_a, norm_b = _norm_of(key_a, dot_a), _norm_of(key_b, dot_b)
    return _precedes(key_a, dot_a, norm_a, tag_a, key_b, dot_b, norm_b, tag_b, True)


@_inner
def _sink(size, key, tag, keys, tags, sure):
    """Put an entry at the root of a heap and restore the heap. Its root is the last in order."""
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _ahead(keys[child], tags[child], keys[child + 1], tags[child + 1], sure):
            child += 1
        if not _ahead(key, tag, keys[child], tags[child], sure):
            break
        keys[at], tags[at] = keys[child], tags[child]
        at = child
    keys[at], tags[at] = key, tag


@_inner
def _keep(size, k, key, tag, keys, tags, sure):
    """Keep the best k of all offered: sorted, or a heap for large k once there are k. Return how many are kept."""
    heap = k > INSERT_UP_TO
    at = size
    if size == k:
        at = 0 if heap else k - 1
        if not _ahead(key, tag, keys[at], tags[at], sure):
            return size
        if heap:
            _sink(size, key, tag, keys, tags, sure)
            return size
    while at > 0:
        before = (at - 1) // 2 if heap else at - 1
        if heap == _ahead(key, tag, keys[before], tags[before], sure):
            break
        keys[at], tags[at] = keys[before], tags[before]
        at = before
    keys[at], tags[at] = key, tag
    return min(size + 1, k)


@_inner
def _write_kept(size, k, norm_u, keys, tags, sure, out_rows, out_similarities):
    """Write the kept neighbors, best first and padded. A heap is sorted first."""
    if k > INSERT_UP_TO:
        for end in range(size - 1, 0, -1):
            key, tag = keys[end], tags[end]
            keys[end], tags[end] = keys[0], tags[0]
            _sink(end, key, tag, keys, tags, sure)
    for j in range(size):
        dot = np.float64(tags[j] & _LOW_32)
        out_rows[j] = tags[j] >> _32
        out_similarities[j] = min(dot / np.sqrt(norm_u * _norm_of(keys[j], dot)), 1.0)
    out_rows[size:] = -1
    out_similarities[size:] = 0.0


@_inner
def _best_of(size, low, k, p, seen, seen_dots, scores, top, keys, tags, sure):
    """Keep the exact best k of those seen that reach the bar. Return how many are kept.

    The entries of `top` come first, since they are nearly in order.
    """
    kept = _NONE
    for j in range(k):
        if top[j] != _ZERO:
            at = _LOW_32 - (top[j] & _LOW_32)
            dot, tag = np.float64(seen_dots[at]), np.uint64(p.rows[seen[at]]) << _32 | np.uint64(seen_dots[at])
            kept = _keep(kept, k, dot * dot / p.norms[seen[at]], tag, keys, tags, sure)
            scores[at] = 0
    for at in range(size):
        if scores[at] >= low:
            dot, tag = np.float64(seen_dots[at]), np.uint64(p.rows[seen[at]]) << _32 | np.uint64(seen_dots[at])
            kept = _keep(kept, k, dot * dot / p.norms[seen[at]], tag, keys, tags, sure)
    return kept


@_inner
def _make_room(size, low, k, p, seen, seen_dots, scores, top, keys, tags, sure):
    """Drop what no longer reaches the bar. If ties keep most of it, keep only the exact best k."""
    room = _NONE
    for j in range(size):
        if scores[j] >= low:
            seen[room], seen_dots[room], scores[room] = seen[j], seen_dots[j], scores[j]
            room += 1
    top[:] = 0
    if room > seen.size // 2:
        room = _best_of(room, low, k, p, seen, seen_dots, scores, top, keys, tags, sure)
        for j in range(room):
            seen[j], seen_dots[j] = p.positions[tags[j] >> _32], tags[j] & _LOW_32
            scores[j] = np.float32(seen_dots[j]) * p.inverse[seen[j]]
    for j in range(room):
        _raise_bar(scores[j], j, k, top)
    return room


@_outer
def top_k_packed(p, total, queries, slots, k, acc, out_rows, out_similarities):
    """Write the neighbors of query i into line slots[i] of the outputs.

    acc (n_padded,) is zero before and after. It is uint16 for dot products below 2^15, uint32 below 2^31: the top bit
    serves the comparison. total: the sum of all squared norms, used for speed only.
    """
    n_rows, n_blocks, shift = p.rows.size, np.uint64(p.block_root.size), _shift_of(p.lists)
    words, words_per_block = acc.view(np.uint64), np.uint64(8 * acc.itemsize)
    lane = np.uint64(0x0001000100010001) if acc.itemsize == 2 else np.uint64(0x0000000100000001)
    limit = np.int64(0x7FFF) if acc.itemsize == 2 else np.int64(0x7FFFFFFF)
    high_bits = np.uint64(limit + 1) * lane
    top, keys, tags = np.empty(k, np.uint64), np.empty(k), np.empty(k, np.uint64)
    seen, seen_dots = np.empty(max(4 * k, 512), np.uint32), np.empty(max(4 * k, 512), np.uint32)
    scores = np.empty(seen.size, np.float32)
    for i in range(queries.rows.size):
        row, itself, norm_u = queries.rows[i], queries.itself[i], queries.norms[i]
        asked = queries.ratings[queries.indptr[row] : queries.indptr[row + 1]]
        work, first_dense = _accumulate_packed(asked, p, acc)
        if itself >= 0:
            acc[itself] = 0
        for position in queries.hidden:
            acc[position] = 0
        size, low = _NONE, _TINY
        top[:] = 0
        # No dot^2 * norm exceeds |u|^2 * max |v|^4: below 2^52 different ratios are different floats.
        sure = norm_u * p.norms[n_rows - 1] * p.norms[n_rows - 1] < _WHOLE / 2.0
        # The expected touches per position grow with its norm: read the lists again below the edge, scan above it.
        edge = _first_reaching(total / (SCAN_BELOW * max(work, 1)), p.norms, n_rows)
        edge = min(edge if edge < n_rows else acc.size, first_dense)
        edge_block = np.uint64(edge) >> _BLOCK_SHIFT
        edge_position = edge_block << _BLOCK_SHIFT
        for at in range(asked.size if edge_position > _ZERO else 0):
            column = np.int64(np.uint64(asked[at]) >> shift)
            post, end = np.uint64(p.list_starts[column]), np.uint64(p.list_starts[column + 1])
            while post < end:
                v = np.uint64(p.lists[post]) >> shift
                if v >= edge_position:
                    break
                dot = acc[v]
                acc[v] = 0
                post += _ONE
                if np.float32(dot) * p.block_inverse[v >> _BLOCK_SHIFT] < low:
                    continue
                score = np.float32(dot) * p.inverse[v]
                if score < low:
                    continue
                if size == seen.size:
                    size = _make_room(size, low, k, p, seen, seen_dots, scores, top, keys, tags, sure)
                seen[size], seen_dots[size], scores[size] = v, dot, score
                low = max(_raise_bar(score, size, k, top) * _MARGIN, _TINY)
                size += 1
        for block in range(edge_block, n_blocks):
            word = block * words_per_block
            threshold = min(max(np.int64(low * p.block_root[block]) - 1, 0), limit)
            addend = np.uint64(limit - threshold) * lane  # the top bit of a lane is set if it exceeds the threshold
            hit = _ZERO
            for j in range(words_per_block):
                hit |= words[word + j] + addend
            if hit & high_bits:
                for v in range(block * _BLOCK, (block + _ONE) * _BLOCK):
                    score = np.float32(acc[v]) * p.inverse[v]
                    if score < low:
                        continue
                    if size == seen.size:
                        size = _make_room(size, low, k, p, seen, seen_dots, scores, top, keys, tags, sure)
                    seen[size], seen_dots[size], scores[size] = v, acc[v], score
                    low = max(_raise_bar(score, size, k, top) * _MARGIN, _TINY)
                    size += 1
            for j in range(words_per_block):
                words[word + j] = _ZERO
        size = _best_of(size, low, k, p, seen, seen_dots, scores, top, keys, tags, sure)
        slot = slots[i]
        _write_kept(size, k, norm_u, keys, tags, sure, out_rows[slot], out_similarities[slot])


@_outer
def similarity_row_packed(row, p, acc, out):
    """Write the cosines of one row with all rows into out (n_rows,); acc (n_padded,) uint32, zero before."""
    _accumulate_packed(p.ratings[p.indptr[row] : p.indptr[row + 1]], p, acc)
    norm_u = p.norms[p.positions[row]]
    for v in range(p.rows.size):
        if acc[v] != 0:
            out[p.rows[v]] = min(np.float64(acc[v]) / np.sqrt(norm_u * p.norms[v]), 1.0)


@_outer
def merge_lists(norms, left_rows, left_dots, left_norms, right_rows, right_dots, right_norms, out):
    """Write the k best of two lists of each query into out, in the order of `top_k_packed`.

    Rows, dot products and squared norms are (m, k), best first; -1 ends a list. norms (m,): squared norms of the
    queries. out: rows, dot products, squared norms. No row is in both lists of a query.
    """
    out_rows, out_dots, out_norms = out
    for i in range(norms.size):
        a, b = _NONE, _NONE
        for j in range(out_rows.shape[1]):
            row_a = left_rows[i, a] if a < left_rows.shape[1] else -1
            row_b = right_rows[i, b] if b < right_rows.shape[1] else -1
            first = row_b < 0
            if row_a >= 0 and row_b >= 0:
                dot_a, norm_a, dot_b, norm_b = left_dots[i, a], left_norms[i, a], right_dots[i, b], right_norms[i, b]
                key_a, key_b = dot_a * dot_a / norm_a, dot_b * dot_b / norm_b
                first = _precedes(key_a, dot_a, norm_a, row_a, key_b, dot_b, norm_b, row_b, True)
            if first and row_a < 0:
                out_rows[i, j:], out_dots[i, j:], out_norms[i, j:] = -1, 0.0, 1.0
                break
            if first:
                out_rows[i, j], out_dots[i, j], out_norms[i, j] = row_a, left_dots[i, a], left_norms[i, a]
                a += 1
            else:
                out_rows[i, j], out_dots[i, j], out_norms[i, j] = row_b, right_dots[i, b], right_norms[i, b]
                b += 1


# ---- plain form ----------------------------------------------------------------------------------------------


class Plain(NamedTuple):
    """Ratings for `top_k_plain`, in float64 and in row order."""

    indptr: NDArray[np.int64]  # (n_rows + 1,)
    indices: NDArray[np.uint32]  # (nnz,)
    data: NDArray[np.float64]  # (nnz,)
    list_starts: NDArray[np.int64]  # (n_columns + 1,)
    list_rows: NDArray[np.uint32]  # (nnz,)
    list_data: NDArray[np.float64]  # (nnz,)
    norms: NDArray[np.float64]  # (n_rows,) squared
    inverse: NDArray[np.float64]  # (n_rows,) 1 / norm


@_inner
def _accumulate_plain(row, p, acc):
    """Do acc[v] += dot product, summed in the order of the row's columns: the same for (u, v) and (v, u)."""
    for at in range(p.indptr[row], p.indptr[row + 1]):
        weight, column = p.data[at], np.int64(p.indices[at])
        for post in range(np.uint64(p.list_starts[column]), np.uint64(p.list_starts[column + 1])):
            acc[p.list_rows[post]] += weight * p.list_data[post]


@_outer
def top_k_plain(p, rows, slots, k, exact, acc, out_rows, out_similarities):
    """Write the neighbors of rows[i] into line slots[i] of the outputs; acc (n_rows,) float64, 0 before and after."""
    best = _new_best(k)
    keys, order = best[0], best[4]
    for i in range(rows.size):
        row = rows[i]
        _accumulate_plain(row, p, acc)
        acc[row] = 0.0
        size, low, norm_u = _NONE, 0.0, p.norms[row]
        for at in range(p.indptr[row], p.indptr[row + 1]):
            column = np.int64(p.indices[at])
            for post in range(np.uint64(p.list_starts[column]), np.uint64(p.list_starts[column + 1])):
                v = p.list_rows[post]
                dot = acc[v]
                acc[v] = 0.0  # in a later list it is 0, and stops at the same branch
                if dot * p.inverse[v] <= low:
                    continue
                norm = p.norms[v]
                cosine = min(dot / np.sqrt(norm_u * norm), 1.0)
                key = dot * dot / norm if exact else np.rint(cosine * 1e12)
                size = _offer(size, k, key, dot, norm, np.int64(v), best, exact)
                if size == k:  # the bar in units of dot / norm, slightly too low
                    last = keys[order[k - 1] if k <= INSERT_UP_TO else 0]
                    bar = np.sqrt(last) if exact else (last - 1.0) * 1e-12 * np.sqrt(norm_u)
                    low = max(bar * (1.0 - 2.0**-40), 0.0)
        slot = slots[i]
        _write_best(size, k, norm_u, best, exact, out_rows[slot], out_similarities[slot])


@_outer
def similarity_row_plain(row, p, out):
    """Write the cosines of one row with all rows into out (n_rows,), zero before."""
    _accumulate_plain(row, p, out)
    norm_u = p.norms[row]
    for v in range(out.size):
        if out[v] != 0.0:
            out[v] = min(out[v] / np.sqrt(norm_u * p.norms[v]), 1.0)
