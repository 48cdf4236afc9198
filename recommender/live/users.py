"""Users whose ratings or interactions have changed since the model was built, as the tables have them now.

Products have the columns of `recommender.live.columns`. Entries are kept in the order of product ids, in which the
formulas add up and ties are decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.live.columns import LiveColumns
from recommender.shop import RATED


class Profile(NamedTuple):
    """The profile of a record, as `recommender.shop.profiles.build_profiles` makes it, (m,) each, by product id."""

    names: NDArray[np.bytes_]
    steps: NDArray[np.int8]
    confidences: NDArray[np.float64]
    times: NDArray[np.int64]


@dataclass(frozen=True)
class UserRecord:
    """The rows of the tables about one user."""

    user_id: int  # the stored number
    ratings: tuple[tuple[bytes, int, int], ...] = ()  # product, steps, microseconds when it was first given
    events: tuple[tuple[bytes, int, int], ...] = ()  # product, place in INTERACTION_TYPES, microseconds
    listed: bool = False  # in users
    country: str | None = None
    age_group: str | None = None
    name: str | None = None  # the shop's id, if it is a text
    _profiles: dict[tuple[float, ...], Profile] = field(default_factory=dict, repr=False, compare=False)

    def profile(self, weights: Sequence[float]) -> Profile:
        """Return the profile, and keep it.

        So it can be made outside of the event loop: a long history takes 10 ms or more.

        ``weights``: the weight of each kind of interaction; 0: it does not count.
        """
        key = tuple(weights)
        if key not in self._profiles:
            self._profiles[key] = _profile(self, key)
        return self._profiles[key]


def _profile(record: UserRecord, weights: tuple[float, ...]) -> Profile:
    known: dict[bytes, tuple[int, float, int]] = {
        product: (steps, RATED, time) for product, steps, time in record.ratings
    }
    for product, kind, time in record.events:
        if kind < len(weights) and weights[kind] > 0:
            steps, confidence, newest = known.get(product, (0, 0.0, time))
            known[product] = steps, max(confidence, weights[kind]), max(newest, time)
    entries = sorted(known.items())
    return Profile(
        np.array([product for product, _ in entries], np.bytes_),
        np.array([entry[0] for _, entry in entries], np.int8),
        np.array([entry[1] for _, entry in entries], np.float64),
        np.array([entry[2] for _, entry in entries], np.int64),
    )


@dataclass(frozen=True, eq=False)
class LiveUser:
    """The profile of one user now; entries (m,) in the order of product ids."""

    user_id: int
    columns: NDArray[np.int32]
    steps: NDArray[np.int8]  # 0: an interaction, no rating
    confidences: NDArray[np.float64]
    times: NDArray[np.int64] | None  # of the newest event with each product; None: not known (a basket)
    row: int = -1  # in the matrix, -1: none
    known: bool = False  # listed in users, or has a rating or an interaction
    segment: int = -1

    @cached_property
    def squared_norm(self) -> int:
        """Squared norm of the ratings, in steps."""
        return int((self.steps.astype(np.int64) ** 2).sum())

    def rated(self) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Return the columns and the steps of the products rated."""
        chosen = self.steps > 0
        return self.columns[chosen], self.steps[chosen]


def live_user(
    record: UserRecord, columns: LiveColumns, weights: Sequence[float], *, row: int = -1, segment: int = -1
) -> LiveUser:
    """Return the user of a record whose products all have columns. ``weights``: see `UserRecord.profile`."""
    profile = record.profile(weights)
    return LiveUser(
        user_id=record.user_id,
        columns=columns.columns_of(profile.names),
        steps=profile.steps,
        confidences=profile.confidences,
        times=profile.times,
        row=row,
        known=record.listed or bool(record.ratings or record.events),
        segment=segment,
    )
