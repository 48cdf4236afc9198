"""Compiled loops behind `taste_index`: accumulation, a guessed bar, exact order of the few rows above it.

As in `_cosine_kernels`, rows are renumbered by norm ("positions"), blocks of 64 positions are compared with one
threshold, and where few positions are touched the lists are read again instead. Three things differ, as k is 200 and
weights are not whole numbers.

The accumulator is float64, and lists are added in the order of the row's columns. So it holds the exact sums of the
formula, and nothing is computed twice.

Positions come in parts, each spread evenly over the norms: a small one first (one row in 16 or 64), then the others.
The scores of the first parts predict a score that slightly more than k of all rows will reach. It is the bar for the
next part, and most blocks stay below it. A bar that starts at zero lets a thousand candidates through. If fewer than k
rows reach the guess (one query in a thousand), the search is repeated without it.

Scores are counted by the upper bits of their float64 (32 buckets an octave). That finds the bucket of the k-th best and
nearly sorts the finalists, without comparing any two. Insertion finishes the order.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.shop import NO_TIME

# Functions that only compiled code calls get no entry from Python: that saves a third of the time of a first start.
_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

BLOCK = 64  # positions per threshold
N_HINTS = 4096  # 12 bits
_HINT = N_HINTS - 1
GUESS_FROM = 2048  # entries of the lists to read; below it guessing does not pay
SCAN_BELOW = 8  # scan the accumulator, not the lists again, where 1 in 8 positions was touched
N_BUCKETS = 1024  # 32 octaves of 32
_BUCKET_SHIFT = 47  # of a float64's bits: exponent and 5 bits of the fraction are left
KEY_HALF, KEY_MASK = 1 << 12, -(1 << 13)  # 40 of 53 significant bits
_MARGIN = 1.0 - 2.0**-36  # scores are within 2^-50 of similarities, which are decided by 40 bits
_TINY = 5e-324
_RUN = 12  # length of runs that insertion sorts before merging
_THIRDS = (1.0, 2.0 ** (-1 / 3), 2.0 ** (-2 / 3))
_DROPPED = -2  # below every bucket, and the one below that
_ONE = np.uint64(1)
_NONE = np.int64(0)  # a plain 0 has another type: functions that it is passed to would be compiled twice
_MARKED, _CLEAR = np.uint8(1), np.uint8(0)
_GUIDED, _UNGUIDED = np.bool_(True), np.bool_(False)
_BLOCK = np.uint64(BLOCK)
_BLOCK_SHIFT = np.uint64(6)


class PackedProfiles(NamedTuple):
    """Profiles for `top_k`. Positions come in parts, each by ascending norm and padded to whole blocks.

    Without values every confidence is 1.
    """

    indptr: NDArray[np.int64]  # (n_rows + 1,)
    places: NDArray[np.uint32]  # (nnz,) by row, in the order of its columns
    values: NDArray[np.float64]  # (nnz,) or (0,) confidences
    weights: NDArray[np.float64]  # (nnz,) factor of the asking row: d * c * w^2
    list_cuts: NDArray[np.uint32]  # (n_places, n_parts + 1) bounds of the parts of each list
    lists: NDArray[np.uint16]  # (nnz,) positions within their part, ascending; uint32 for millions of rows
    list_values: NDArray[np.float64]  # (nnz,) or (0,)
    part_cuts: NDArray[np.int64]  # (n_parts + 1,) bounds of the parts, in positions
    guesses: NDArray[np.float64]  # (n_parts,) share of all rows up to here where a guess pays, else 0
    asking: NDArray[np.float64]  # (n_rows,) norm^1.2 of the decayed row
    ceiling: NDArray[np.float64]  # (n_rows,) upper bound of the row's scores
    answering: NDArray[np.float64]  # (n_padded,) norm^0.8, infinite where there is no row
    inverse: NDArray[np.float64]  # (n_padded,) 1 / answering, 0 for empty rows
    block_least: NDArray[np.float64]  # (n_padded / 64,) the smallest norm^0.8 of the block
    block_inverse: NDArray[np.float64]  # (n_padded / 64,) the largest inverse
    block_share: NDArray[np.float64]  # (n_padded / 64,) the smallest squared norm, as a share of the sum of all
    names: NDArray[np.int64]  # (n_padded,) row << 24 | the hints of its two largest places
    positions: NDArray[np.int32]  # (n_rows,) row -> position


class TasteQueries(NamedTuple):
    """Queries for `top_k`: the rows of `PackedProfiles`, or rows from elsewhere."""

    indptr: NDArray[np.int64]  # (n + 1,)
    places: NDArray[np.uint32]  # (m,) in the order of the columns
    weights: NDArray[np.float64]  # (m,) factor of each: d * c * w^2
    asking: NDArray[np.float64]  # (n,) norm^1.2 of the decayed row
    ceiling: NDArray[np.float64]  # (n,) upper bound of the row's scores
    itself: NDArray[np.int32]  # (n,) position of the query's own row, which is no neighbor; -1: none
    hidden: NDArray[np.int32]  # ascending positions of rows that no query finds


class Workspace(NamedTuple):
    """Working memory of one thread; acc, owned and hints are zero between calls."""

    acc: NDArray[np.float64]  # (largest part,) dot products
    owned: NDArray[np.uint8]  # (n_places,) marks
    hints: NDArray[np.uint8]  # (N_HINTS,) marks of places by their lower bits
    where: NDArray[np.int64]  # (n_padded + 1,) candidates: positions
    dots: NDArray[np.float64]  # (n_padded + 1,)
    scores: NDArray[np.float64]  # (n_padded + 1,) dot / norm^0.8, then similarities
    buckets: NDArray[np.int64]  # (n_padded + 1,)
    rows: NDArray[np.int64]  # (n_padded + 1,) finalists
    keys: NDArray[np.int64]  # (n_padded + 1,)
    order: NDArray[np.int64]  # (n_padded + 1,)
    spare: NDArray[np.int64]  # (n_padded + 1,)
    histogram: NDArray[np.int64]  # (N_BUCKETS,)


# ---- order ---------------------------------------------------------------------------------------------------


@_inner
def _before(a, b, keys, rows):
    return keys[a] > keys[b] or (keys[a] == keys[b] and rows[a] < rows[b])


@_inner
def _insert(start, end, patience, keys, rows, order):
    """Sort order[start:end] by insertion. Return False if that took more than patience moves and was not finished."""
    for at in range(start, end):
        moving, hole = order[at], at
        while hole > start and _before(moving, order[hole - 1], keys, rows):
            order[hole] = order[hole - 1]
            hole -= 1
        order[hole] = moving
        patience -= at - hole
        if patience < 0:
            return False
    return True


@_inner
def sort_descending(size, keys, rows, order, spare):
    """Sort order[:size], keys descending, equal keys by ascending rows; fast if nearly sorted. spare (size,)."""
    if _insert(_NONE, size, 8 * size, keys, rows, order):
        return
    for start in range(0, size, _RUN):
        _insert(start, min(start + _RUN, size), _RUN * _RUN, keys, rows, order)
    width = _RUN
    while width < size:
        for at in range(size):
            spare[at] = order[at]
        for start in range(0, size, 2 * width):
            left, middle = start, min(start + width, size)
            right, end = middle, min(start + 2 * width, size)
            for at in range(start, end):
                if right == end or (left < middle and _before(spare[left], spare[right], keys, rows)):
                    order[at] = spare[left]
                    left += 1
                else:
                    order[at] = spare[right]
                    right += 1
        width *= 2


# ---- preparation ---------------------------------------------------------------------------------------------


@_outer
def weigh(indptr, places, values, times, squared):
    """Return the factor of each entry for the asking row (nnz,), and the squared norms of asking and answering rows.

    The norms are (n_rows,) each. values or times may be empty: confidence 1, no decay. An entry of `NO_TIME` has no
    decay either. squared (n_places,): w^2. Sums in stored order.
    """
    n_rows, longest = indptr.size - 1, np.int64(1)
    for row in range(n_rows):
        longest = max(longest, indptr[row + 1] - indptr[row])
    order, spare, ages = np.empty(longest, np.int64), np.empty(longest, np.int64), np.zeros(longest, np.int64)
    alike = np.zeros(longest, np.int64)
    weights, asking, answering = np.empty(places.size), np.zeros(n_rows), np.zeros(n_rows)
    for row in range(n_rows):
        start, end = indptr[row], indptr[row + 1]
        if times.size > 0:
            for j in range(end - start):
                order[j] = j
            sort_descending(end - start, times[start:end], alike, order, spare)
            newer = 0  # strictly newer products
            for j in range(end - start):
                if times[start + order[j]] != times[start + order[newer]]:
                    newer = j
                ages[order[j]] = newer if times[start + order[j]] != NO_TIME else 0
        for at in range(start, end):
            value = values[at] if values.size > 0 else 1.0
            newer = ages[at - start]
            decayed, square = np.ldexp(_THIRDS[newer % 3], -(newer // 3)) * value, squared[places[at]]
            weights[at] = decayed * square
            asking[row] += decayed * decayed * square
            answering[row] += value * value * square
    return weights, asking, answering


@_outer
def pack_lists(indptr, places, values, rows, part_cuts, cuts, lists, names):
    """Fill cuts (n_places, n_parts + 1), zero before, lists (nnz,) and names (n_padded,). Return list_values."""
    n_parts = part_cuts.size - 1
    for part in range(n_parts):
        for position in range(part_cuts[part], part_cuts[part + 1]):
            row = np.int64(rows[position])
            for at in range(indptr[row], indptr[row + 1]) if row >= 0 else range(0, 0):
                cuts[places[at], part + 1] += 1
    end = np.int64(0)
    for place in range(cuts.shape[0]):
        cuts[place, 0] = end
        for part in range(n_parts):
            end += np.int64(cuts[place, part + 1])
            cuts[place, part + 1] = end
    following = cuts[:, 0].copy()  # (n_places,)
    list_values = np.empty(values.size)
    for part in range(n_parts):
        for position in range(part_cuts[part], part_cuts[part + 1]):
            row, rarest, second = np.int64(rows[position]), np.int64(-1), np.int64(-1)
            for at in range(indptr[row], indptr[row + 1]) if row >= 0 else range(0, 0):
                place = np.int64(places[at])
                rarest, second = max(rarest, place), max(second, min(rarest, place))
                lists[following[place]] = position - part_cuts[part]
                if values.size > 0:
                    list_values[following[place]] = values[at]
                following[place] += 1
            second = rarest if second < 0 else second
            names[position] = row << 24 | (second & _HINT) << 12 | rarest & _HINT
    return list_values


# ---- search --------------------------------------------------------------------------------------------------


@_inner
def _accumulate(row, part, q, p, acc):
    """Do acc[position within the part] += dot product, summed in the order of the row's columns."""
    for at in range(q.indptr[row], q.indptr[row + 1]):
        weight, place = q.weights[at], np.int64(q.places[at])
        post, end = np.uint64(p.list_cuts[place, part]), np.uint64(p.list_cuts[place, part + 1])
        if p.list_values.size == 0:
            while post < end:  # unsigned throughout: numba tests a signed index for wrap-around
                acc[np.uint64(p.lists[post])] += weight
                post += _ONE
        else:
            while post < end:
                acc[np.uint64(p.lists[post])] += weight * p.list_values[post]
                post += _ONE
    start, end = p.part_cuts[part], p.part_cuts[part + 1]
    if start <= q.itself[row] < end:
        acc[q.itself[row] - start] = 0.0
    at, last = _NONE, q.hidden.size
    while at < last:  # the first that is not before the part
        middle = (at + last) // 2
        if q.hidden[middle] < start:
            at = middle + 1
        else:
            last = middle
    while at < q.hidden.size and q.hidden[at] < end:
        acc[q.hidden[at] - start] = 0.0
        at += 1


@_inner
def _edge(first, last, least, block_share):
    """Return the first block in [first, last) whose share reaches least; last if there is none."""
    while first < last:
        block = (first + last) // 2
        if block_share[block] < least:
            first = block + 1
        else:
            last = block
    return first


@_inner
def _collect(row, part, low, work, q, p, room, size):
    """Append the touched positions of one part that reach the bar, and clear acc. Return the new size.

    The expected touches per position grow with its norm: lists are read again below an edge, acc is scanned above it.
    """
    acc, inverse, where, dots, scores = room.acc, p.inverse, room.where, room.dots, room.scores
    offset = np.uint64(p.part_cuts[part])
    first_block, last_block = p.part_cuts[part] // BLOCK, p.part_cuts[part + 1] // BLOCK
    edge_block = _edge(first_block, last_block, 1.0 / (SCAN_BELOW * max(work, 1)), p.block_share)
    edge = np.uint64((edge_block - first_block) * BLOCK)
    for at in range(q.indptr[row], q.indptr[row + 1] if edge_block > first_block else q.indptr[row]):
        place = np.int64(q.places[at])
        post, end = np.uint64(p.list_cuts[place, part]), np.uint64(p.list_cuts[place, part + 1])
        while post < end:
            local = np.uint64(p.lists[post])
            if local >= edge:
                break
            post += _ONE
            dot = acc[local]
            acc[local] = 0.0  # in a later list it is 0, and below the bar
            position = local + offset
            if dot * p.block_inverse[position >> _BLOCK_SHIFT] >= low:
                score = dot / p.answering[position]
                where[size], dots[size], scores[size] = position, dot, score
                size += score >= low
    for block in range(np.uint64(edge_block), np.uint64(last_block)):
        start = (block << _BLOCK_SHIFT) - offset
        least, hits = max(low * p.block_least[block] * _MARGIN, _TINY), 0
        for j in range(_BLOCK):  # a count, since it is vectorized and a search is not
            hits += acc[start + j] >= least
        if hits > 0:
            for local in range(start, start + _BLOCK):
                dot = acc[local]
                if dot >= least:
                    score = dot * inverse[local + offset]
                    where[size], dots[size], scores[size] = local + offset, dot, score
                    size += score >= low
        for j in range(_BLOCK):
            acc[start + j] = 0.0
    return size


@_inner
def _owns_new(name, p, room):
    """Tell whether the row owns a place that is not marked. Mostly the hints of its two rarest show one."""
    if room.hints[name & _HINT] == 0 or room.hints[name >> 12 & _HINT] == 0:
        return True
    row = name >> 24
    for at in range(p.indptr[row], p.indptr[row + 1]):  # noqa: SIM110 - compiled
        if room.owned[p.places[at]] == 0:
            return True
    return False


@_inner
def _lowest(want, histogram):
    """Return the highest bucket that, with those above it, holds want entries; 0 if all buckets hold fewer."""
    bucket = N_BUCKETS
    while want > 0 and bucket > 0:
        bucket -= 1
        want -= histogram[bucket]
    return bucket


@_inner
def _best(size, k, base, p, room):
    """Leave the k best candidates and all others of their last bucket or the next. Return that bucket and the size.

    The bucket is 0 if all are left. Only candidates that can be among the best are checked for owning a new product.
    """
    buckets, histogram = room.buckets, room.histogram
    bits = room.scores.view(np.int64)
    histogram[:] = 0
    for j in range(size):
        buckets[j] = min(max((bits[j] >> _BUCKET_SHIFT) - base, 0), N_BUCKETS - 1)
        histogram[buckets[j]] += 1
    want = k + k // 4
    checked, bucket = 1, 0
    while bucket < checked:
        checked = _lowest(want, histogram)
        for j in range(size):
            if buckets[j] >= checked - 1 and not _owns_new(p.names[room.where[j]], p, room):
                histogram[buckets[j]] -= 1
                buckets[j] = _DROPPED
        bucket = _lowest(k, histogram)
        want *= 4
    left = 0
    for j in range(size):
        room.where[left], room.dots[left], room.scores[left] = room.where[j], room.dots[j], room.scores[j]
        buckets[left] = buckets[j]
        left += buckets[j] >= bucket - 1
    return bucket, left


@_inner
def _order(size, own, p, room):
    """Order the candidates exactly, into room.order: by counting, as finely as their range allows, then insertion."""
    keys, order, starts = room.keys, room.order, room.histogram
    bits = room.scores.view(np.int64)
    highest, lowest = np.int64(0), np.int64(0x7FFFFFFFFFFFFFFF)
    for j in range(size):
        position = room.where[j]
        room.scores[j] = room.dots[j] / (own * p.answering[position])
        room.rows[j] = p.names[position] >> 24
        keys[j] = (bits[j] + KEY_HALF) & KEY_MASK
        highest, lowest = max(highest, keys[j]), min(lowest, keys[j])
    shift = 13
    while (highest - lowest) >> shift >= N_BUCKETS - 1:
        shift += 1
    starts[:] = 0
    for j in range(size):
        starts[((highest - keys[j]) >> shift) + 1] += 1
    for bucket in range(1, N_BUCKETS):
        starts[bucket] += starts[bucket - 1]
    for j in range(size):
        bucket = (highest - keys[j]) >> shift
        order[starts[bucket]] = j
        starts[bucket] += 1
    sort_descending(size, keys, room.rows, order, room.spare)


@_inner
def _search(row, k, guided, q, p, room):
    """Leave the candidates for the k best of one row, as `_best` does. Return the bucket and the size.

    The bucket is -1 if the guess was too high.
    """
    number = np.empty(1)
    bits = number.view(np.int64)
    number[0] = q.ceiling[row]
    base = (bits[0] >> _BUCKET_SHIFT) - (N_BUCKETS - 1)
    work = _NONE  # entries to read
    for at in range(q.indptr[row], q.indptr[row + 1]):
        cuts = p.list_cuts[q.places[at]]
        work += np.int64(cuts[p.part_cuts.size - 1]) - np.int64(cuts[0])
    guess, size, low = _NONE, _NONE, _TINY
    for part in range(p.part_cuts.size - 1):
        _accumulate(row, part, q, p, room.acc)
        size = _collect(row, part, low, work, q, p, room, size)
        expected = k * p.guesses[part]
        if guided and work >= GUESS_FROM and expected > 0.0:
            bucket, size = _best(size, np.int64(expected + 3.0 * np.sqrt(expected)) + 4, base, p, room)
            if bucket > guess:
                guess = bucket
                bits[0] = (base + guess) << _BUCKET_SHIFT
                low = number[0] * _MARGIN
    bucket, size = _best(size, k, base, p, room)
    return bucket if bucket >= guess else -1, size


@_inner
def _mark(row, mark, q, room):
    for at in range(q.indptr[row], q.indptr[row + 1]):
        room.owned[q.places[at]] = mark
        room.hints[np.int64(q.places[at]) & _HINT] = mark


@_outer
def top_k(p, q, rows, k, room, out_rows, out_similarities):
    """Write the neighbors of the queries rows[i] into line i of the outputs."""
    for i in range(rows.size):
        row = np.int64(rows[i])
        _mark(row, _MARKED, q, room)
        bucket, size = _search(row, k, _GUIDED, q, p, room)
        if bucket < 0:
            bucket, size = _search(row, k, _UNGUIDED, q, p, room)
        _mark(row, _CLEAR, q, room)
        _order(size, q.asking[row], p, room)
        kept = min(size, k)
        for j in range(kept):
            out_rows[i, j] = room.rows[room.order[j]]
            out_similarities[i, j] = room.scores[room.order[j]]
        out_rows[i, kept:] = -1
        out_similarities[i, kept:] = 0.0


@_outer
def merge_lists(left_rows, left_similarities, right_rows, right_similarities, out_rows, out_similarities):
    """Write the k best of two lists of each query (m, k), best first, into out (m, k). -1 ends a list.

    The order is that of `top_k`. No row is in both lists of a query.
    """
    left_bits, right_bits = left_similarities.view(np.int64), right_similarities.view(np.int64)
    for i in range(out_rows.shape[0]):
        a, b = _NONE, _NONE
        for j in range(out_rows.shape[1]):
            row_a = left_rows[i, a] if a < left_rows.shape[1] else -1
            row_b = right_rows[i, b] if b < right_rows.shape[1] else -1
            first = row_b < 0
            if row_a >= 0 and row_b >= 0:
                key_a, key_b = (left_bits[i, a] + KEY_HALF) & KEY_MASK, (right_bits[i, b] + KEY_HALF) & KEY_MASK
                first = key_a > key_b or (key_a == key_b and row_a < row_b)
            if first and row_a < 0:
                out_rows[i, j:], out_similarities[i, j:] = -1, 0.0
                break
            if first:
                out_rows[i, j], out_similarities[i, j] = row_a, left_similarities[i, a]
                a += 1
            else:
                out_rows[i, j], out_similarities[i, j] = row_b, right_similarities[i, b]
                b += 1
