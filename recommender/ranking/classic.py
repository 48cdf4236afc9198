"""The classic ranking: from a user's neighbors to the products the user has not rated, with the evidence for each.

s(v) is the similarity of neighbor v, and r(v,i) is v's rating of product i. Over the neighbors v who rated i:

    support(i)   = sum of s(v)
    predicted(i) = sum of s(v) * r(v,i) / support(i)

This is the weighted average of user-based collaborative filtering (Resnick et al. 1994; Herlocker et al. 1999, without
mean-centering). Sums run in neighbor order, and both numbers are rounded to 9 decimals before they are ordered, so the
answer is the same on every machine and thread count.
Order: predicted descending, then support descending, then column ascending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.arrays import at_least_one, run_blocks, thread_count
from recommender.errors import SettingError
from recommender.fallback import Cap, first_under_cap
from recommender.ranking import _classic_kernels

BLOCK_ROWS = 1024  # rows per call of compiled code

kernels: Any = _classic_kernels  # compiled functions have no signature a type checker could use
_ALL_RECOMMENDABLE = np.empty(0, np.bool_)


class RankedProducts(NamedTuple):
    """Ranked columns of one row, each (n,), or of many rows, each (n_rows, n) padded with -1 and 0."""

    columns: NDArray[np.int32]
    predicted: NDArray[np.float64]
    support: NDArray[np.float64]
    n_raters: NDArray[np.int32]

    def of(self, place: int) -> RankedProducts:
        """Return the list of one of many rows, without the padding."""
        found = slice(int(np.count_nonzero(self.columns[place] >= 0)))
        return RankedProducts(
            self.columns[place, found], self.predicted[place, found], self.support[place, found],
            self.n_raters[place, found],
        )  # fmt: skip

    @staticmethod
    def stacked(parts: Sequence[RankedProducts]) -> RankedProducts:
        """Return the lists of many rows, part after part."""
        return RankedProducts(
            np.concatenate([part.columns for part in parts]),
            np.concatenate([part.predicted for part in parts]),
            np.concatenate([part.support for part in parts]),
            np.concatenate([part.n_raters for part in parts]),
        )


def rank_products(
    ratings: Any,
    row: int,
    neighbors: ArrayLike,
    similarities: ArrayLike,
    *,
    n: int | None,
    recommendable: NDArray[np.bool_] | None = None,
    scale: float = 1.0,
) -> RankedProducts:
    """Rank the products that the neighbors of one row rated and the row did not, best first.

    ratings: CSR (n_rows, n_columns) without duplicate entries; a stored zero counts as unrated.
    neighbors, similarities: (k,), best first, as `CosineIndex.neighbors` returns them; a -1 ends the list.
    n: at most so many products; None for all. recommendable: (n_columns,) mask applied before the cut.
    scale multiplies ratings (0.5 for doubled half stars). Only products of the neighbors are listed: no neighbors, no
    products.
    Raises SettingError for a row or neighbor that does not exist, n < 1, a mask or lists of the wrong length.
    """
    rows = np.array([row], np.int64)
    near = np.atleast_2d(np.ascontiguousarray(neighbors, np.int32))  # (1, k)
    near_similarities = np.atleast_2d(np.ascontiguousarray(similarities, np.float64))  # (1, k)
    mask = _checked(ratings, rows, near, near_similarities, recommendable)
    width = _entries(ratings.indptr, near[0]) if n is None else min(at_least_one("n", n), ratings.shape[1])
    return _ranked_row(ratings, rows, near, near_similarities, width, mask, float(scale))


def rank_near(
    ratings: Any,
    row: int,
    neighbors: NDArray[np.int32],
    similarities: NDArray[np.float64],
    n: int,
    cap: Cap,
    recommendable: NDArray[np.bool_],
    scale: float,
) -> RankedProducts:
    """Do `rank_products` on the neighbors that `CosineIndex.neighbors` found for a row. Arguments are not checked.

    ``cap``: the largest number of products of one category.
    """
    if not cap.most:
        return _ranked_row(
            ratings, np.array([row], np.int64), neighbors[None], similarities[None], n, recommendable, scale
        )
    found = kernels.candidates(
        row, neighbors, similarities, ratings.indptr, ratings.indices, ratings.data, recommendable, scale
    )
    columns, predicted, support, n_raters = found
    best = first_under_cap(columns, predicted, support, cap, n)
    return RankedProducts(columns[best], predicted[best], support[best], n_raters[best])


def _ranked_row(
    ratings: Any,
    rows: NDArray[np.int64],
    near: NDArray[np.int32],
    near_similarities: NDArray[np.float64],
    n: int,
    mask: NDArray[np.bool_],
    scale: float,
) -> RankedProducts:
    columns, predicted, support, n_raters = out = _empty(1, n)
    found = kernels.rank_rows(
        rows, near, near_similarities, ratings.indptr, ratings.indices, ratings.data, mask, scale, n, *out
    )
    return RankedProducts(columns[0, :found], predicted[0, :found], support[0, :found], n_raters[0, :found])


def rank_products_for_rows(
    ratings: Any,
    rows: ArrayLike,
    neighbors: ArrayLike,
    similarities: ArrayLike,
    *,
    n: int,
    recommendable: NDArray[np.bool_] | None = None,
    scale: float = 1.0,
    n_threads: int | None = None,
) -> RankedProducts:
    """Do `rank_products` for many rows: rows (m,), neighbors and similarities (m, k), results (m, n) padded.

    The answer is that of one row at a time, for any number of threads. Same errors.
    """
    wanted = np.atleast_1d(np.asarray(rows)).astype(np.int64)  # (m,)
    near = np.ascontiguousarray(neighbors, np.int32)  # (m, k)
    near_similarities = np.ascontiguousarray(similarities, np.float64)  # (m, k)
    mask = _checked(ratings, wanted, near, near_similarities, recommendable)
    width = at_least_one("n", n)
    out = _empty(wanted.size, width)

    def block(start: int, stop: int) -> None:
        part = slice(start, stop)
        kernels.rank_rows(
            wanted[part], near[part], near_similarities[part], ratings.indptr, ratings.indices, ratings.data,
            mask, float(scale), width, *(array[part] for array in out),
        )  # fmt: skip

    run_blocks(block, wanted.size, block_rows=BLOCK_ROWS, n_threads=thread_count(n_threads))
    return out


def _empty(n_rows: int, n: int) -> RankedProducts:
    return RankedProducts(
        np.empty((n_rows, n), np.int32),
        np.empty((n_rows, n), np.float64),
        np.empty((n_rows, n), np.float64),
        np.empty((n_rows, n), np.int32),
    )


def _entries(indptr: NDArray[Any], near: NDArray[np.int32]) -> int:
    """Return the number of ratings of all neighbors, the most that a list can hold."""
    real = near[near >= 0]
    return int((indptr[real + 1] - indptr[real]).sum())


def _checked(
    ratings: Any,
    rows: NDArray[np.int64],
    near: NDArray[np.int32],
    near_similarities: NDArray[np.float64],
    recommendable: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Return the mask for the kernel, empty if all may be recommended. Check all bounds, as compiled code does not."""
    n_rows, n_columns = ratings.shape
    if near.shape != near_similarities.shape or near.shape[:1] != rows.shape:
        raise SettingError(
            f"neighbors {near.shape} and similarities {near_similarities.shape} must have one list per row "
            f"({rows.size}): pass both as top_k_cosine returned them"
        )
    for name, values, least in (("row", rows, 0), ("neighbor", near, -1)):
        if values.size and not (least <= values.min() and values.max() < n_rows):
            wrong = values[(values < least) | (values >= n_rows)][0]
            raise SettingError(f"{name} {wrong} does not exist: pass rows from 0 to {n_rows - 1}")
    if recommendable is None:
        return _ALL_RECOMMENDABLE
    mask = np.ascontiguousarray(recommendable, np.bool_)
    if mask.shape != (n_columns,):
        raise SettingError(f"recommendable has shape {mask.shape}: pass one flag per column, ({n_columns},)")
    return mask
