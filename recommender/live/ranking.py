"""Ranked products of whoever has changed, or has neighbors who have; in numpy, as the compiled code does it."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from recommender.fallback.caps import first_under_cap
from recommender.live.columns import LiveColumns
from recommender.live.users import Room
from recommender.model.list_request import Cut
from recommender.shop.ratings import STARS_PER_UNIT

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
    seen: NDArray[np.int32],
    cut: Cut,
    columns: LiveColumns,
    room: Room,
) -> RankedNow:
    """The classic ranking: `recommender.ranking.classic.rank_products` on the neighbors' ratings."""
    close = similarities[entries.owners]
    found, slot = room.distinct(entries.columns)
    support = np.bincount(slot, close, len(found))
    weighted = np.bincount(slot, close * (entries.half_stars * STARS_PER_UNIT), len(found))
    predicted = np.rint(weighted / support * 1e9) / 1e9
    support = np.rint(support * 1e9) / 1e9
    best = best_of(found, predicted, support, seen, cut, columns)
    raters = np.bincount(slot, minlength=len(found))
    return RankedNow(found[best], predicted[best], support[best], raters[best])


def best_of(
    found: NDArray[np.int32],
    scores: NDArray[np.float64],
    support: NDArray[np.float64],
    seen: NDArray[np.int32],
    cut: Cut,
    columns: LiveColumns,
) -> NDArray[np.intp]:
    """Places of the best of the columns found (m,) that are wanted: by score, then support, then product id."""
    n, keep = cut.n, columns.recommendable(found) & ~np.isin(found, seen)
    if cut.allowed is not None:
        keep &= cut.allowed[found]
    left = np.flatnonzero(keep)
    if cut.cap.most:
        keys = columns.keys(found[left])
        return left[first_under_cap(found[left], scores[left], support[left], cut.cap, n, keys=keys)]
    if len(left) > n:
        left = left[scores[left] >= np.partition(scores[left], len(left) - n)[len(left) - n]]
    between, within = columns.keys(found[left])
    return left[np.lexsort((within, between, -support[left], -scores[left]))[:n]]
