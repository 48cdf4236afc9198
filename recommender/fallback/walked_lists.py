"""One list from the compiled walk: the neighbors' products first, then others, with or without a cap per category.

`recommender.fallback.cold_start` goes on with its ladder, and `popular_list` with the popular products, for the classic
ranking.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import _cold_start_kernels
from recommender.fallback._cold_start_kernels import Cap, Ladder, Lines, New, Place
from recommender.fallback.popular import PopularProducts

kernels: Any = _cold_start_kernels  # compiled functions have no signature a type checker could use

_NONE, _NO_ROWS = np.empty(0, np.int32), np.zeros(1, np.int64)
NO_FLAGS = np.empty(0, np.bool_)
_NOTHING_NEW, _NEVER = New(_NONE, np.empty(0, np.int64), np.zeros(1, np.int64), _NONE), Place(1, 0, 0, 0.0)
_UNKNOWN, _NOBODY = np.full(1, -1, np.int32), np.zeros(1, np.int64)


class Near(NamedTuple):
    """The neighbors' products, as many as are wanted or all, best first: (1, w) each, padded with -1 and 0."""

    columns: NDArray[np.int32]
    stars: NDArray[np.float64]

    @classmethod
    def nothing(cls) -> Self:
        """Return the value for a user without neighbors."""
        return cls(np.empty((1, 0), np.int32), np.empty((1, 0)))


class OneList(NamedTuple):
    """The products of one list, best first, (m,) each."""

    columns: NDArray[np.int32]
    stars: NDArray[np.float64]
    sources: NDArray[np.int8]  # index into cold_start.SOURCES
    origins: NDArray[np.int32]  # index among the neighbors' products; 0 for other products

    @classmethod
    def of(cls, lines: Lines, found: int) -> Self:
        """Return the first line, which holds ``found`` products."""
        part = (0, slice(found))
        return cls(lines.columns[part], lines.stars[part], lines.sources[part], lines.origins[part])

    def padded(self, n: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return columns, stars and sources, (n,) each, padded with -1, 0 and -1."""
        rest = (0, n - len(self.columns))
        sources = np.pad(self.sources, rest, constant_values=-1)
        return np.pad(self.columns, rest, constant_values=-1), np.pad(self.stars, rest), sources


def empty_lines(m: int, n: int) -> Lines:
    """Return new lists (m, n) to be written."""
    shape = (m, n)
    return Lines(np.empty(shape, np.int32), np.empty(shape), np.empty(shape, np.int8), np.empty(shape, np.int32))


def popular_list(
    popular: PopularProducts,
    near: Near,
    n: int,
    *,
    seen: NDArray[np.int32],
    without: NDArray[np.bool_] | None,
    cap: Cap,
) -> OneList:
    """Return the first n of near, then popular products without ``seen`` (k,), ascending, and ``without``."""
    ladder = Ladder(popular.columns, popular.predicted, _NO_ROWS, _NONE, np.empty(0), np.empty(0))
    lines, ends = empty_lines(1, n), np.array([0, len(seen)], np.int32)
    flags = NO_FLAGS if without is None else without
    found = kernels.fill(_NOBODY, _UNKNOWN, _NOBODY, ends, seen, flags, *near, ladder, _NOTHING_NEW, cap, _NEVER, lines)
    return OneList.of(lines, found)
