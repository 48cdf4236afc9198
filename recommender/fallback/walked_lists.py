"""One list as compiled code walks it: in from the neighbors, out by place, with a cap per category or without.

`recommender.fallback.cold_start` walks down its ladder, `popular_list` down what is popular, for the classic ranking.
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
    """What the neighbors give, as many as are wanted or all there are, best first: (1, w), padded with -1 and 0."""

    columns: NDArray[np.int32]
    stars: NDArray[np.float64]

    @classmethod
    def nothing(cls) -> Self:
        """Nobody is near."""
        return cls(np.empty((1, 0), np.int32), np.empty((1, 0)))


class OneList(NamedTuple):
    """The products of one list, best first, (m,) each."""

    columns: NDArray[np.int32]
    stars: NDArray[np.float64]
    sources: NDArray[np.int8]  # into cold_start.SOURCES
    origins: NDArray[np.int32]  # where among what the neighbors gave; 0 for others

    @classmethod
    def of(cls, lines: Lines, found: int) -> Self:
        """The first line, which holds so many."""
        part = (0, slice(found))
        return cls(lines.columns[part], lines.stars[part], lines.sources[part], lines.origins[part])

    def padded(self, n: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Columns, stars and sources, (n,) each, filled up with -1, 0 and -1."""
        rest = (0, n - len(self.columns))
        sources = np.pad(self.sources, rest, constant_values=-1)
        return np.pad(self.columns, rest, constant_values=-1), np.pad(self.stars, rest), sources


def empty_lines(m: int, n: int) -> Lines:
    """Lists (m, n) to be written."""
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
    """The first n of the list that goes on with what is popular, less ``seen`` (k,), ascending, and ``without``."""
    ladder = Ladder(popular.columns, popular.predicted, _NO_ROWS, _NONE, np.empty(0), np.empty(0))
    lines, ends = empty_lines(1, n), np.array([0, len(seen)], np.int32)
    flags = NO_FLAGS if without is None else without
    found = kernels.fill(_NOBODY, _UNKNOWN, _NOBODY, ends, seen, flags, *near, ladder, _NOTHING_NEW, cap, _NEVER, lines)
    return OneList.of(lines, found)
