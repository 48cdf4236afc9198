"""Caps per category: the best candidates with at most so many of one category, chosen without a sort of all.

A walk over a ranked list would keep the best so many of each category. So each category has a heap of that size, and
the list has one of its own. The work grows with the candidates, the memory with the products that are kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import _cap_kernels
from recommender.fallback._cold_start_kernels import Cap

kernels: Any = _cap_kernels  # compiled functions have no signature a type checker could use

NO_CAP = Cap(0, np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))


def first_under_cap(
    columns: NDArray[np.int32],
    scores: NDArray[np.float64],
    supports: NDArray[np.float64],
    cap: Cap,
    n: int,
    *,
    keys: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> NDArray[np.int64]:
    """Return the indices of the best n candidates (m,), best first.

    Order: score descending, then support descending, then column ascending.
    ``keys``: two numbers that are compared instead of the column.
    """
    first, second = keys or (columns.astype(np.int64), np.zeros(len(columns), np.int64))
    found: NDArray[np.int64] = kernels.first_under_cap(
        columns, scores, supports, first, second, cap.most, cap.codes, cap.later, len(cap.counts), n
    )
    return found
