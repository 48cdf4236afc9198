"""Compiled loops behind lists that go on after the neighbors' products: one walk, which ends when the list is full.

The walk goes over the neighbors' products, then over two ranked lists (the ladder) at once: the segment's products and
the popular ones. It takes each product that is not in the list yet and whose category has room. The place of a new
product is a rank of the whole list, so a longer list, or another part of it, has the product at the same rank.

Random numbers are a hash of user and version, not a generator: splitmix64 (Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators"; constants of Vigna's public-domain version).
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

NEIGHBORS, SEGMENT, POPULAR, NEW = 0, 1, 2, 3
_NONE = np.int64(0)  # a plain 0 has another type: functions that it is passed to would be compiled twice
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


class Ladder(NamedTuple):
    """The two ranked lists that fill up a short list; columns are the matrix's."""

    popular: NDArray[np.int32]  # (m,) columns, best first
    shares: NDArray[np.float64]  # (m,) their scores in every segment, descending
    starts: NDArray[np.int64]  # (n_segments + 1,) bounds of the segments in own and scores
    own: NDArray[np.int32]  # (k,) columns that members have, best first within a segment
    scores: NDArray[np.float64]  # (k,) never below the column's share
    stars: NDArray[np.float64]  # (n_products,) shown stars; (0,): the shares are shown, and there are no segments


class New(NamedTuple):
    """Products without any rating or interaction, by category."""

    columns: NDArray[np.int32]  # (k,) columns after the matrix's are in the catalog only
    sums: NDArray[np.int64]  # (k,) running sums of the weights of the draw
    starts: NDArray[np.int64]  # (n_categories + 1,) bounds of the categories in columns and sums
    category_of: NDArray[np.int32]  # (n_products,) of the matrix's columns; -1: the category has no new product


class Cap(NamedTuple):
    """The largest number of products of one category in a list."""

    most: int  # 0: no cap
    codes: NDArray[np.int32]  # (n,) the category of each column, from 0; -1: not known, never capped
    later: NDArray[np.int32]  # (k,) the categories of the columns from n on
    counts: NDArray[np.int64]  # (n_categories,) working memory


class Place(NamedTuple):
    """The place of a new product in the whole list, and the share of lists that have one."""

    at: int  # index in the list, 1 or more; a list that ends before it has the product at its end
    below: int  # a list has a new product if the upper 53 bits of its draw are below it
    version: int
    stars: float  # the stars shown


class Lines(NamedTuple):
    """Lists, (m, n) each; -1 and 0 after the end of a list."""

    columns: NDArray[np.int32]
    stars: NDArray[np.float64]
    sources: NDArray[np.int8]
    origins: NDArray[np.int32]  # index among the neighbors' products; 0 for other products


@_inner
def mixed(x):
    """Return the output of splitmix64 in state x, uint64."""
    x = x + _GOLDEN
    x = (x ^ (x >> _30)) * _FIRST
    x = (x ^ (x >> _27)) * _SECOND
    return x ^ (x >> _31)


@_inner
def draw_of(user_id, version):
    """Return the random number of this user's list in this version, uint64."""
    return mixed(mixed(np.uint64(user_id)) ^ np.uint64(version))


@_inner
def _first_reaching(least, values, start, end):
    """Return the index of the first of values[start:end], ascending, that is not below least; end if there is none."""
    while start < end:
        middle = (start + end) >> 1
        if values[middle] < least:
            start = middle + 1
        else:
            end = middle
    return start


@_inner
def _is_taken(column, line, found, seen, without):
    """Tell whether the column is in line[:found], in seen (sorted), or flagged in without, which may be (0,)."""
    if without.size > 0 and without[column]:
        return True
    at = _first_reaching(column, seen, _NONE, seen.size)
    taken = at < seen.size and seen[at] == column
    for j in range(found):
        taken |= line[j] == column
    return taken


@_inner
def _pick_new(new, seen, first, second):
    """Draw a new product of a category that seen holds, each entry with the same chance. Return -1 if there is none.

    If seen is empty, any category will do.
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
    """Tell whether the list holds less than the most of the column's category."""
    if cap.most == 0:
        return True
    code = cap.codes[column] if column < cap.codes.size else cap.later[column - cap.codes.size]
    return code < 0 or cap.counts[code] < cap.most


@_inner
def _put(i, found, column, stars, source, origin, cap, lines):
    """Put the column at the next rank of the line. Return the new length of the line."""
    lines.columns[i, found], lines.stars[i, found] = column, stars
    lines.sources[i, found], lines.origins[i, found] = source, origin
    if cap.most > 0:
        code = cap.codes[column] if column < cap.codes.size else cap.later[column - cap.codes.size]
        if code >= 0:
            cap.counts[code] += 1
    return found + 1


@_inner
def _take(i, found, column, stars, source, origin, cap, waiting, place, lines):
    """Put a column that is not in the line yet at the next rank, if its category has room; the new product comes first.

    waiting: the column of the new product; -1 once it is in the line or cannot be. Return the length of the line and
    the new value of waiting.
    """
    if column == waiting:  # somebody has the new product by now: it stands where the ranking puts it
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
    """Fill one line: the neighbors' columns, then both lists of the ladder by score. Return the length of the line.

    Of equal scores the segment's comes first. A product of both lists is met first in the segment's, where its score
    is no lower.
    """
    n, found, new_column, line = lines.columns.shape[1], _NONE, waiting, lines.columns[i]
    # Most products meet no rule. With arrays out of their tuples and no call, a step takes a tenth of the time.
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
    """Tell for each user whether the list of this version gets a new product, (n,) bool; see `Place`."""
    out = np.empty(user_ids.size, np.bool_)
    for i in range(user_ids.size):
        out[i] = np.int64(draw_of(user_ids[i], version) >> _11) < below
    return out


@_outer
def fill(rows, segments, user_ids, indptr, indices, without, near, near_stars, ladder, new, cap, place, lines):
    """Fill each line from the neighbors' products (m, w), padded with -1, then from the ladder. Return the last length.

    rows (m,) of the CSR indptr, indices: the products that only neighbors may give. without (n_columns,) or (0,): flags
    of columns that no line gets. segments, user_ids (m,). lines are only written.
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

    Columns that are in the line already or that the row rated are left out (indices sorted within each row).
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
