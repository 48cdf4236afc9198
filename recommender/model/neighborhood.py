"""The neighbors of one user for a ranking, nearest first, and the products of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recommender.shop import Scale

Owned = tuple[NDArray[np.int32], NDArray[np.int8]]  # columns of a user's products, and steps, 0: not rated


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """k neighbors. The ranking decides which products a user has: rated ones, by taste also those with interactions."""

    user_ids: NDArray[np.int64]  # (k,)
    similarities: NDArray[np.float64]  # (k,)
    owned: Sequence[Owned]  # (k) the products of each neighbor
    own: NDArray[np.int32]  # columns of the asking user

    @classmethod
    def empty(cls) -> Neighborhood:
        """Return the neighborhood of a user without products."""
        return cls(np.empty(0, np.int64), np.empty(0), [], np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.user_ids)

    def stars_of(self, wanted: Sequence[int], scale: Scale) -> dict[int, dict[int, float | None]]:
        """Return for each column the ratings by neighbors who have it, by index, nearest first; None: not rated."""
        columns = np.concatenate([np.empty(0, np.int32), *(columns for columns, _ in self.owned)])
        steps = np.concatenate([np.empty(0, np.int64), *(steps for _, steps in self.owned)])
        neighbors = np.repeat(np.arange(len(self.owned)), [len(columns) for columns, _ in self.owned])
        at = np.flatnonzero(np.isin(columns, wanted))
        found: dict[int, dict[int, float | None]] = {column: {} for column in wanted}
        for column, neighbor, given in zip(
            columns[at].tolist(), neighbors[at].tolist(), steps[at].tolist(), strict=True
        ):
            found[column][neighbor] = scale.stars_of(given) if given else None
        return found

    @cached_property
    def _own_in_order(self) -> NDArray[np.int32]:
        return np.sort(self.own)

    def shared(self, place: int) -> NDArray[np.int32]:
        """Return the columns that a neighbor and the user both have."""
        own, (columns, _) = self._own_in_order, self.owned[place]
        if not len(own):
            return own
        both: NDArray[np.int32] = columns[own[np.minimum(np.searchsorted(own, columns), len(own) - 1)] == columns]
        return both

    @cached_property
    def _rarest(self) -> dict[tuple[int, int], NDArray[np.int32]]:
        """Earlier results by neighbor and number: the products of a list mostly have the same neighbors."""
        return {}

    def rarest_shared(self, place: int, raters: NDArray[np.integer], n: int) -> NDArray[np.int32]:
        """Return the n shared columns that fewest people rated, and others with as many raters as the last."""
        if (place, n) not in self._rarest:
            both = self.shared(place)
            counts = raters[both]
            last = np.partition(counts, n - 1)[n - 1] if len(both) > n else counts.max(initial=0)
            self._rarest[place, n] = both[counts <= last]
        return self._rarest[place, n]


def with_stars(columns: NDArray[np.int32], rated: NDArray[np.int32], steps: NDArray[np.int8]) -> Owned:
    """Return the columns (ascending) of a user who rated some of them, with the steps of the ratings."""
    if len(rated) == len(columns):
        return columns, steps
    given = np.zeros(len(columns), np.int8)
    given[columns.searchsorted(rated)] = steps
    return columns, given
