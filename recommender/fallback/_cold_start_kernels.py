"""Compiled loops behind lists that go on after the neighbors' products: one walk that ends with the list.

It goes over what the neighbors gave, then over two ladders at once, and takes what is not taken yet and has room in its
category, until the list is full. A new product has its place in the whole list, so whoever asks for more of it, or for
another part, finds the same.

Randomness is a hash, not a generator: splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
generators"; constants of Vigna's public-domain version) of user and version.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Of what is only called from compiled code no way in from Python is compiled: a third of the time a first start takes.
_inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)

NEIGHBORS, SEGMENT, POPULAR, NEW = 0, 1, 2, 3
_NONE = np.int64(0)  # a plain 0 is a type of its own: all that it is passed to would be compiled twice
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
    stars: NDArray[np.float64]  # (n_products,) what is shown; (0,): the shares are, and there are no segments


class New(NamedTuple):
    """Products that nobody has yet, by category."""

    columns: NDArray[np.int32]  # (k,) those beyond the matrix's are of the catalog only
    sums: NDArray[np.int64]  # (k,) running sums of the weights they are drawn with
    starts: NDArray[np.int64]  # (n_categories + 1,) of the categories in both
    category_of: NDArray[np.int32]  # (n_products,) of the matrix's columns; -1: nothing is new in it


class Cap(NamedTuple):
    """At most so many of a category."""

    most: int  # 0: no cap
    codes: NDArray[np.int32]  # (n,) the category of each column, from 0; -1: not known, never capped
    later: NDArray[np.int32]  # (k,) of the columns from n on
    counts: NDArray[np.int64]  # (n_categories,) working memory


class Place(NamedTuple):
    """Where a new product stands in the whole list, and who gets one."""

    at: int  # from 0, never 0; the end of a list that ends before
    below: int  # a list gets one if the upper 53 bits of its draw are below it
    version: int
    stars: float  # shown


class Lines(NamedTuple):
    """Lists, (m, n) each; -1 and 0 where a list is shorter."""

    columns: NDArray[np.int32]
    stars: NDArray[np.float64]
    sources: NDArray[np.int8]
    origins: NDArray[np.int32]  # where among what the neighbors gave; 0 for others


@_inner
def mixed(x):
    """The output of splitmix64 in state x, uint64."""
    x = x + _GOLDEN
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)


@_inner
def draw_of(user_id, version):
    """A number for this user's list in this version, uint64."""
    return mixed(mixed(np.uint64(user_id)) ^ np.uint64(version))


@_inner
def _first_reaching(least, values, start, end):
    """Where in values[start:end], ascending, the first that is not below least stands; end if there is none."""
    while start < end:
        middle = (start + end) >> 1
        if values[middle] < least:
            start = middle + 1
        else:
            end = middle
    return start


@_inner
def _is_taken(column, line, found, seen, without):
    """Whether the column is among the first of the line, in seen (sorted), or flagged in without (or (0,))."""
    if without.size > 0 and without[column]:
        return True
    at = _first_reaching(column, seen, _NONE, seen.size)
    taken = at < seen.size and seen[at] == column
    for j in range(found):
        taken |= line[j] == column
    return taken


@_inner
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
            return np.int64(-1)
        chosen, category = np.int64(first % np.uint64(there)), np.int64(0)
        for column in seen:
            if column < new.category_of.size and new.category_of[column] >= 0:
                if chosen == 0:
                    category = np.int64(new.category_of[column])
                    break
                chosen -= 1
        low, high = new.starts[category], new.starts[category + 1]
    if low == high:
        return np.int64(-1)
    before = new.sums[low - 1] if low > 0 else np.int64(0)
    target = before + np.int64(second % np.uint64(new.sums[high - 1] - before))
    return np.int64(new.columns[_first_reaching(target + 1, new.sums, low, high)])


@_inner
def _has_room(column, cap):
    """Whether the category of the column has had less than the most of it."""
    if cap.most == 0:
        return True
    code = cap.codes[column] if column < cap.codes.size else cap.later[column - cap.codes.size]
    return code < 0 or cap.counts[code] < cap.most


@_inner
def _put(i, found, column, stars, source, origin, cap, lines):
    """Let the column have the next place of the line; how many it has then."""
    lines.columns[i, found], lines.stars[i, found] = column, stars
    lines.sources[i, found], lines.origins[i, found] = source, origin
    if cap.most > 0:
        code = cap.codes[column] if column < cap.codes.size else cap.later[column - cap.codes.size]
        if code >= 0:
            cap.counts[code] += 1
    return found + 1


@_inner
def _take(i, found, column, stars, source, origin, cap, waiting, place, lines):
    """The next place of the line for a column that is not taken, if its category has room; before it the new one's.

    waiting: the new product's column, -1 once it has its place or will have none. Returns how many there are and the
    same again.
    """
    if column == waiting:  # somebody has it by now: it stands where they put it
        waiting = -1
    if not _has_room(column, cap):
        return found, waiting
    if waiting >= 0 and found == place.at:
        if _has_room(waiting, cap):
            found = _put(i, found, waiting, place.stars, np.int64(NEW), _NONE, cap, lines)
        waiting = -1
        if found == lines.columns.shape[1] or not _has_room(column, cap):
            return found, waiting
    return _put(i, found, column, stars, source, origin, cap, lines), waiting


@_inner
def _walk(i, near, near_stars, segment, seen, without, ladder, cap, waiting, place, lines):
    """One line: the neighbors' columns, then both ladders, of equal scores the segment's first; how many it has.

    A product that both ladders hold is met first in the segment's, where its score is no lower, so the other finds it
    taken.
    """
    n, found, new_column, line = lines.columns.shape[1], _NONE, waiting, lines.columns[i]
    # most products meet no rule: with arrays out of their tuples, and no call, a step takes a tenth of the time
    line_stars, line_sources, line_origins = lines.stars[i], lines.sources[i], lines.origins[i]
    most, codes, later, counts = cap.most, cap.codes, cap.later, cap.counts
    new_at = place.at
    for j in range(near.size):
        column = np.int64(near[j])
        if column < 0 or found == n:
            break
        if most == 0 and column != new_column and (waiting < 0 or found != new_at):
            line[found], line_stars[found], line_sources[found], line_origins[found] = (
                column,
                near_stars[j],
                NEIGHBORS,
                j,
            )
            found += 1
        elif column != new_column or waiting >= 0:
            found, waiting = _take(i, found, column, near_stars[j], np.int64(NEIGHBORS), j, cap, waiting, place, lines)
    at, end, step = np.int64(0), np.int64(0), 0
    if segment >= 0:
        at, end = ladder.starts[segment], ladder.starts[segment + 1]
    popular, shares, own, scores, shown = ladder.popular, ladder.shares, ladder.own, ladder.scores, ladder.stars
    while found < n and (at < end or step < popular.size):
        if at < end and (step == popular.size or scores[at] >= shares[step]):
            column, source = np.int64(own[at]), SEGMENT
            at += 1
        else:
            column, source = np.int64(popular[step]), POPULAR
            step += 1
        if without.size > 0 and without[column]:
            continue
        if most > 0:
            code = codes[column] if column < codes.size else later[column - codes.size]
            if code >= 0 and counts[code] >= most:
                continue
        if not _is_taken(column, line, found, seen, without):
            stars = shown[column] if shown.size > 0 else shares[step - 1]
            found, waiting = _take(i, found, column, stars, source, _NONE, cap, waiting, place, lines)
    if waiting >= 0 and 1 <= found < n and _has_room(waiting, cap):
        found = _put(i, found, waiting, place.stars, np.int64(NEW), _NONE, cap, lines)
    return found


@_outer
def drawn(user_ids, version, below):
    """Whose lists of a version are drawn to get a new product, (n,) bool; see `Place`."""
    out = np.empty(user_ids.size, np.bool_)
    for i in range(user_ids.size):
        out[i] = np.int64(draw_of(user_ids[i], version) >> _11) < below
    return out


@_outer
def fill(rows, segments, user_ids, indptr, indices, without, near, near_stars, ladder, new, cap, place, lines):
    """Each line from what the neighbors gave (m, w), padded with -1, then from the ladder; how many the last has.

    rows (m,) of the CSR indptr, indices: what nothing but neighbors may give. without (n_columns,) or (0,): flags of
    what no line gets. segments, user_ids (m,). lines are written only.
    """
    found = 0
    for i in range(rows.size):
        cap.counts[:] = 0
        seen, draw, column = indices[indptr[rows[i]] : indptr[rows[i] + 1]], draw_of(user_ids[i], place.version), -1
        if np.int64(draw >> _11) < place.below:
            first = mixed(draw)
            column = _pick_new(new, seen, first, mixed(first))
            if column >= 0 and _is_taken(column, near[i], _NONE, seen, without):
                column = -1
        found = _walk(
            i, near[i], near_stars[i], segments[i], seen, without, ladder, cap, column, place, lines
        )  # fmt: skip
        lines.columns[i, found:], lines.stars[i, found:] = -1, 0.0
        lines.sources[i, found:], lines.origins[i, found:] = -1, 0
    return found


@_outer
def top_up_popular(rows, indptr, indices, popular_columns, popular_predicted, columns, predicted):
    """Fill the free places (-1) at the end of each line of columns and predicted (len(rows), n) with popular columns.

    Left out are columns that are in the line already and those that the row rated (indices sorted within each row).
    """
    n = columns.shape[1]
    for i in range(rows.size):
        found = n
        while found > 0 and columns[i, found - 1] < 0:
            found -= 1
        free = found
        rated = indices[indptr[rows[i]] : indptr[rows[i] + 1]]
        for place in range(popular_columns.size):
            if free == n:
                break
            column = popular_columns[place]
            at = np.searchsorted(rated, column)
            taken = at < rated.size and rated[at] == column
            for j in range(found):
                taken |= columns[i, j] == column
            if not taken:
                columns[i, free], predicted[i, free] = column, popular_predicted[place]
                free += 1
