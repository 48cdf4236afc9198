"""Ranked products of whoever has changed, or has neighbors who have; in numpy, as the compiled code does it."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from recommender.live_users import LiveColumns, Room
from recommender.rating_matrix import STARS_PER_UNIT

Kind = TypeVar("Kind", bound=np.generic)


class RankedNow(NamedTuple):
    """Ranked products, best first, (m,) each."""

    columns: NDArray[np.int32]
    predicted: NDArray[np.float64]
    support: NDArray[np.float64]
    n_raters: NDArray[np.integer]


class Gathered(NamedTuple):
    """What neighbors have, one neighbor after the other, (m,) each."""

    owners: NDArray[np.int64]  # place among the neighbors
    columns: NDArray[np.int32]
    half_stars: NDArray[np.int64]  # 0: not rated


def rank_now(
    entries: Gathered,
    similarities: NDArray[np.float64],
    n: int,
    seen: NDArray[np.int32],
    allowed: NDArray[np.bool_] | None,
    columns: LiveColumns,
    room: Room,
) -> RankedNow:
    """The classic ranking: `recommender.scoring.rank_products` on the neighbors' ratings."""
    close = similarities[entries.owners]
    found, slot = room.distinct(entries.columns)
    support = np.bincount(slot, close, len(found))
    weighted = np.bincount(slot, close * (entries.half_stars * STARS_PER_UNIT), len(found))
    predicted = np.rint(weighted / support * 1e9) / 1e9
    support = np.rint(support * 1e9) / 1e9
    best = best_of(found, predicted, support, n, seen, allowed, columns)
    raters = np.bincount(slot, minlength=len(found))
    return RankedNow(found[best], predicted[best], support[best], raters[best])


def best_of(
    found: NDArray[np.int32],
    scores: NDArray[np.float64],
    support: NDArray[np.float64],
    n: int,
    seen: NDArray[np.int32],
    allowed: NDArray[np.bool_] | None,
    columns: LiveColumns,
) -> NDArray[np.intp]:
    """Places of the best n of the columns found (m,): by score, then support, then product id."""
    keep = columns.recommendable(found) & ~np.isin(found, seen)
    if allowed is not None:
        keep &= allowed[found]
    left = np.flatnonzero(keep)
    if len(left) > n:
        left = left[scores[left] >= np.partition(scores[left], len(left) - n)[len(left) - n]]
    between, within = columns.keys(found[left])
    return left[np.lexsort((within, between, -support[left], -scores[left]))[:n]]
