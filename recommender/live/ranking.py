"""Ranked products if the user or a neighbor has changed: the rankings' own kernels, on the neighbors' rows only.

The kernels' prepared arrays have no place for products without a column in the matrix. The same kernels rank these
products alone, and the two lists are merged. That is exact, as a product is ranked by its own sums only.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import NO_CAP, first_under_cap
from recommender.live.columns import LiveColumns
from recommender.live.index import Rows
from recommender.model import Cut
from recommender.neighbors import entries_of
from recommender.ranking import (
    DEPTH,
    Bars,
    FusedRanker,
    ItemRanker,
    ProfileRanker,
    RankedByTaste,
    RankedProducts,
    TasteRanker,
    rank_near,
)
from recommender.shop import RatingMatrix

Ranked = TypeVar("Ranked", RankedProducts, RankedByTaste)


class _Ratings(NamedTuple):
    """Rows of steps, as the classic ranking reads them."""

    indptr: NDArray[Any]
    indices: NDArray[np.int32]
    data: NDArray[np.int8]


def rank_classic(
    rows: Rows, similarities: NDArray[np.float64], cut: Cut, recommendable: NDArray[np.bool_], columns: LiveColumns,
    matrix: RatingMatrix,
) -> RankedProducts:  # fmt: skip
    """Return the classic list of the user in the last row; the other rows (k,) are the neighbors.

    ``recommendable`` (n_in_matrix,): under the filters of ``cut``.
    """

    def ranked(part: Rows, mask: NDArray[np.bool_], n: int, cap: Any) -> RankedProducts:
        # the dtypes that the kernel is compiled for
        indptr = part.indptr.astype(matrix.steps.indptr.dtype)
        ratings = _Ratings(indptr, part.numbers.astype(np.int32), part.steps)
        neighbors = np.arange(len(similarities), dtype=np.int32)
        return rank_near(ratings, len(similarities), neighbors, similarities, n, cap, mask, matrix.scale.unit)

    inside, later = _split(rows, matrix.shape[1], columns, cut)
    best = ranked(inside, recommendable, cut.n, cut.cap)
    if later is None:
        return best
    others = ranked(later.rows, later.wanted, len(later.columns), NO_CAP)
    return _merged(best, others._replace(columns=later.columns[others.columns]), cut, columns)


class Asked(NamedTuple):
    """A user who asks a ranking by profiles: the user in the last row, after the neighbors (k,)."""

    rows: Rows
    similarities: NDArray[np.float64]  # (k,)
    bases: NDArray[np.float64]  # (k + 1,) mu + the bias of each user
    profile: Any  # what the ranker's `profile_of` gave for the user


def rank_by_profile(asked: Asked, cut: Cut, bars: Any, columns: LiveColumns, ranker: ProfileRanker) -> RankedProducts:
    """Return the list of a ranking by profiles. ``bars``: those of ``ranker`` under the filters of ``cut``."""
    if isinstance(ranker, FusedRanker):
        deep = cut._replace(n=DEPTH, cap=NO_CAP)
        near = _ranked(asked._replace(profile=None), deep, Bars(*bars[:2]), columns, ranker.taste)
        liked = _ranked(asked, deep, bars[2:], columns, ranker.items)
        ties = _places(columns, near.columns, liked.columns)
        found = ranker.merged(near.at(None), liked.at(None), cut.n, cut.cap, ties)
        best = _without_padding(found)
    else:
        best = _ranked(asked, cut, bars, columns, ranker)
    return RankedProducts(best.columns, best.stars, best.support, best.n_raters)


def _ranked(asked: Asked, cut: Cut, bars: Any, columns: LiveColumns, ranker: ProfileRanker) -> RankedByTaste:
    """Return the list of one ranker, without padding."""
    k, votes = len(asked.similarities), ranker.taste.votes
    lists = np.array([k]), np.arange(k, dtype=np.int32)[None], asked.similarities[None]
    inside, later = _split(asked.rows, votes.index.shape[1], columns, cut)
    here = ranker.beside(votes.of_rows(*inside, asked.bases), asked.profile)
    best = _without_padding(here.rank_near(lists, cut.n, bars, cut.cap))
    if later is None or isinstance(ranker, ItemRanker):  # a product that came later has no weights
        return best
    voters = votes.of_unknown(*later.rows, asked.bases, later.wanted)
    others = _without_padding(TasteRanker.of(voters).rank_near(lists, len(later.columns), voters.bars(None), NO_CAP))
    return _merged(best, others._replace(columns=later.columns[others.columns]), cut, columns)


def _without_padding(found: RankedByTaste) -> RankedByTaste:
    part = (0, slice(int(np.count_nonzero(found.columns[0] >= 0))))
    return found.at(part)


def _places(columns: LiveColumns, *lists: NDArray[np.int32]) -> Any:
    """Return the place of each product of the lists in the order of product ids, (1, m) each."""
    both = np.concatenate(lists)
    names, which = np.unique(both, return_inverse=True)
    places = np.empty(len(names), np.int64)
    places[np.lexsort(columns.keys(names)[::-1])] = np.arange(len(names))
    return tuple(part[None] for part in np.split(places[which], [len(lists[0])]))


class _Later(NamedTuple):
    """Products without a column in the matrix, numbered in the order of product ids."""

    rows: Rows
    columns: NDArray[np.int32]  # (m,)
    wanted: NDArray[np.bool_]  # (m,)


def _split(rows: Rows, n_in_matrix: int, columns: LiveColumns, cut: Cut) -> tuple[Rows, _Later | None]:
    """Split the rows: products with a column in the matrix, and the others."""
    numbers = rows.numbers
    beyond = numbers >= n_in_matrix
    if not beyond.any():
        return rows, None
    names, local = np.unique(numbers[beyond], return_inverse=True)
    order = np.lexsort(columns.keys(names)[::-1])
    ranks = np.empty(len(names), np.uint32)
    ranks[order] = np.arange(len(names), dtype=np.uint32)
    part = _part(rows, beyond)
    entries = entries_of(ranks[local], part.steps, rows.entries.dtype.type)
    found = names[order].astype(np.int32)
    wanted = columns.recommendable(found)
    if cut.filter is not None:
        wanted &= cut.filter.allowed[found]
    return _part(rows, ~beyond), _Later(part._replace(entries=entries), found, wanted)


def _part(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    """Return the rows with the chosen entries only."""
    before = np.concatenate([[0], np.cumsum(chosen)])
    return Rows(before[rows.indptr], rows.entries[chosen], rows.values[chosen] if rows.values.size else rows.values)


def _merged(ours: Ranked, theirs: Ranked, cut: Cut, columns: LiveColumns) -> Ranked:
    """Return the best of two lists: by score, then support, then product id."""
    pairs: Any = zip(ours, theirs, strict=True)
    both: Any = [np.concatenate(pair) for pair in pairs]
    found, scores, support = both[:3]
    keys: Any = columns.keys(found)
    if cut.cap.most:
        best = first_under_cap(found, scores, support, cut.cap, cut.n, keys=keys)
    else:
        best = np.lexsort((*keys[::-1], -support, -scores))[: cut.n]
    return type(ours)(*(array[best] for array in both))
