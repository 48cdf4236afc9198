"""Compiled loops behind `recommender.cold_start`: lists topped up from two ladders at once, and the place of a new one.

Randomness is a hash, not a generator: splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
generators"; constants of Vigna's public-domain version) of user and version.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NEIGHBORS, SEGMENT, POPULAR, NEW = 0, 1, 2, 3
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


class Ladder(NamedTuple):
    """What lists are topped up from; columns are the matrix's."""

    popular: NDArray[np.int32]  # (m,) columns, best first
    shares: NDArray[np.float64]  # (m,) what they count in every segment, descending
    starts: NDArray[np.int64]  # (n_segments + 1,) of the segments in the next two
    own: NDArray[np.int32]  # (k,) columns the members have, best first within a segment
    scores: NDArray[np.float64]  # (k,) never below the column's share
    stars: NDArray[np.float64]  # (n_products,) what is shown


class New(NamedTuple):
    """Products that nobody has yet, by category."""

    columns: NDArray[np.int32]  # (k,) those beyond the matrix's are of the catalog only
    sums: NDArray[np.int64]  # (k,) running sums of the weights they are drawn with
    starts: NDArray[np.int64]  # (n_categories + 1,) of the categories in both
    category_of: NDArray[np.int32]  # (n_products,) of the matrix's columns; -1: nothing is new in it


@njit(cache=True, nogil=True)
def mixed(x):
    """The output of splitmix64 in state x, uint64."""
    x = x + _GOLDEN
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)


@njit(cache=True, nogil=True)
def draw_of(user_id, version):
    """A number for this user's list in this version, uint64."""
    return mixed(mixed(np.uint64(user_id)) ^ np.uint64(version))


@njit(cache=True, nogil=True)
def _is_taken(column, line, found, seen, without):
    """Whether the column is among the first of the line, in seen (sorted), or flagged in without (or (0,))."""
    if without.size > 0 and without[column]:
        return True
    at = np.searchsorted(seen, column)
    taken = at < seen.size and seen[at] == column
    for j in range(found):
        taken |= line[j] == column
    return taken


@njit(cache=True, nogil=True)
def _pick_new(new, seen, first, second):
    """A new product of a category that seen holds, each entry an equal chance; of any category where seen is empty.

    -1 if there is none.
    """
    low, high = np.int64(0), np.int64(new.columns.size)
    if seen.size > 0:
        there = 0
        for column in seen:
            if column < new.category_of.size and new.category_of[column] >= 0:
                there += 1
        if there == 0:
            return -1
        chosen, category = np.int64(first % np.uint64(there)), np.int64(0)
        for column in seen:
            if column < new.category_of.size and new.category_of[column] >= 0:
                if chosen == 0:
                    category = np.int64(new.category_of[column])
                    break
                chosen -= 1
        low, high = new.starts[category], new.starts[category + 1]
    if low == high:
        return -1
    before = new.sums[low - 1] if low > 0 else np.int64(0)
    target = before + np.int64(second % np.uint64(new.sums[high - 1] - before))
    return new.columns[low + np.searchsorted(new.sums[low:high], target, side="right")]


@njit(cache=True, nogil=True)
def _fill(line, found, segment, seen, without, ladder, stars, sources):
    """Fill the line from its place ``found`` on; where it ends. Of equal scores the segment's product is first.

    A product that both ladders hold is met first in the segment's, where its score is no lower, so the other finds it
    taken.
    """
    at, end, place = np.int64(0), np.int64(0), 0
    if segment >= 0:
        at, end = ladder.starts[segment], ladder.starts[segment + 1]
    while found < line.size and (at < end or place < ladder.popular.size):
        if at < end and (place == ladder.popular.size or ladder.scores[at] >= ladder.shares[place]):
            column, source = ladder.own[at], SEGMENT
            at += 1
        else:
            column, source = ladder.popular[place], POPULAR
            place += 1
        if not _is_taken(column, line, found, seen, without):
            line[found], stars[found], sources[found] = column, ladder.stars[column], source
            found += 1
    return found


@njit(cache=True, nogil=True)
def top_up(
    rows, segments, user_ids, indptr, indices, without, ladder, new, new_stars, version, new_below,
    columns, stars, sources,
):  # fmt: skip
    """Fill the free places (-1) at the end of each line, then let a new product have the last place of some lines.

    rows (m,) of the CSR indptr, indices: what is never filled in. without (n_columns,) or (0,):
    flags of what no line gets. segments, user_ids (m,). new_below: a list gets a new
    product if the upper 53 bits of its draw are below it. columns int32, stars float64, sources int8 (m, n) in and out.
    """
    n = columns.shape[1]
    for i in range(rows.size):
        found = n
        while found > 0 and columns[i, found - 1] < 0:
            found -= 1
        sources[i, :found], sources[i, found:] = NEIGHBORS, -1
        seen = indices[indptr[rows[i]] : indptr[rows[i] + 1]]
        found = _fill(columns[i], found, segments[i], seen, without, ladder, stars[i], sources[i])
        last = min(found, n - 1)
        draw = draw_of(user_ids[i], version)
        if last < 1 or np.int64(draw >> _11) >= new_below:
            continue
        first = mixed(draw)
        column = _pick_new(new, seen, first, mixed(first))
        if column >= 0 and not _is_taken(column, columns[i], found, seen, without):
            columns[i, last], stars[i, last], sources[i, last] = column, new_stars, NEW
