"""The neighbors that a ranking asks for one user, nearest first, and what each of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recommender.shop import STARS_PER_UNIT

Owned = tuple[NDArray[np.int32], NDArray[np.int8]]  # columns that somebody has, half stars, 0: not rated


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """k neighbors; what counts as having a product is the ranking's to say: rated, or by taste also turned to."""

    user_ids: NDArray[np.int64]  # (k,)
    similarities: NDArray[np.float64]  # (k,)
    owned: Sequence[Owned]  # (k) of each neighbor
    own: NDArray[np.int32]  # columns of the user who asks

    @classmethod
    def empty(cls) -> Neighborhood:
        """Of somebody who has nothing."""
        return cls(np.empty(0, np.int64), np.empty(0), [], np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.user_ids)

    @cached_property
    def _entries(self) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """All columns, one neighbor after the other, with the neighbor's place and the half stars of each."""
        columns = np.concatenate([np.empty(0, np.int32), *(columns for columns, _ in self.owned)])
        half_stars = np.concatenate([np.empty(0, np.int64), *(half_stars for _, half_stars in self.owned)])
        return columns, np.repeat(np.arange(len(self.owned)), [len(columns) for columns, _ in self.owned]), half_stars

    @cached_property
    def _looked_up(self) -> dict[int, dict[int, float | None]]:
        """By column, the stars of each neighbor's place who has it."""
        return {}

    def _stars(self, column: int) -> dict[int, float | None]:
        """One look through everything they have for a product, however many of them have it."""
        if (known := self._looked_up.get(column)) is None:
            columns, places, half_stars = self._entries
            at = np.flatnonzero(columns == column)
            stars = [given * STARS_PER_UNIT if given else None for given in half_stars[at].tolist()]
            known = self._looked_up[column] = dict(zip(places[at].tolist(), stars, strict=True))
        return known

    def who_has(self, column: int) -> list[int]:
        """Places of the neighbors who have the column, nearest first."""
        return list(self._stars(column))

    def rating(self, place: int, column: int) -> float | None:
        """The stars that a neighbor gave to a column; None if it was not rated."""
        return self._stars(column).get(place)

    @cached_property
    def _own_in_order(self) -> NDArray[np.int32]:
        return np.sort(self.own)

    def shared(self, place: int) -> NDArray[np.int32]:
        """Columns that a neighbor and the user both have."""
        own, (columns, _) = self._own_in_order, self.owned[place]
        if not len(own):
            return own
        both: NDArray[np.int32] = columns[own[np.minimum(np.searchsorted(own, columns), len(own) - 1)] == columns]
        return both

    @cached_property
    def _rarest(self) -> dict[tuple[int, int], NDArray[np.int32]]:
        """By place and number, what was told of it: the same neighbors are near for most products of a list."""
        return {}

    def rarest_shared(self, place: int, raters: NDArray[np.integer], n: int) -> NDArray[np.int32]:
        """Those of the shared columns that fewest people rated: n, and others that as many rated as the last."""
        if (place, n) not in self._rarest:
            both = self.shared(place)
            counts = raters[both]
            last = np.partition(counts, n - 1)[n - 1] if len(both) > n else counts.max(initial=0)
            self._rarest[place, n] = both[counts <= last]
        return self._rarest[place, n]


def with_stars(columns: NDArray[np.int32], rated: NDArray[np.int32], half_stars: NDArray[np.int8]) -> Owned:
    """The columns (ascending) of somebody who rated some of them."""
    if len(rated) == len(columns):
        return columns, half_stars
    given = np.zeros(len(columns), np.int8)
    given[columns.searchsorted(rated)] = half_stars
    return columns, given
