"""The arrays of a saved `recommender.fallback.cold_start.ColdStart`, checked before compiled code sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import within
from recommender.errors import SettingError

_KINDS: dict[str, type] = {
    "popular": np.int32, "shares": np.float64, "starts": np.int64, "own": np.int32, "scores": np.float64,
    "stars": np.float64, "new.columns": np.int32, "new.sums": np.int64, "new.starts": np.int64,
    "new.category_of": np.int32, "segment_of_row": np.int32, "mean": np.float64,
}  # fmt: skip


def check_cold_start(arrays: Mapping[str, NDArray[Any]], seen: Any, user_ids: NDArray[np.int64]) -> None:
    """Raise SettingError if compiled code would leave the arrays, or if they are of other users."""
    for name, kind in _KINDS.items():
        if name not in arrays:
            raise SettingError(f"cold start: array {name} is missing: save it again")
        if arrays[name].dtype != kind or arrays[name].ndim != 1:
            raise SettingError(f"cold start: {name} is {arrays[name].dtype} of shape {arrays[name].shape}")
    if faults := [fault for fault, there in _faults(arrays, seen, user_ids).items() if there]:
        raise SettingError(f"cold start: {faults[0]}: save it again")


def _faults(arrays: Mapping[str, NDArray[Any]], seen: Any, user_ids: NDArray[np.int64]) -> dict[str, bool]:
    """Return the possible faults of arrays of the right kinds, and whether each is there."""
    n_users, n_products = seen.shape
    a = arrays
    beyond = a["new.columns"][a["new.columns"] >= n_products]  # in the catalog only: numbered without a gap
    steps, shown = np.diff(a["new.sums"], prepend=0), np.append(a["stars"], a["mean"])
    return {
        "its parts are of different sizes": len(a["popular"]) != len(a["shares"])
        or len(a["own"]) != len(a["scores"])
        or len(a["new.columns"]) != len(a["new.sums"])
        or len(a["stars"]) != n_products
        or len(a["new.category_of"]) != n_products
        or not len(a["segment_of_row"]) == len(user_ids) == n_users
        or len(a["mean"]) != 1,
        "its segments do not rise": not _rises(a["starts"], len(a["own"])),
        "its categories do not rise": not _rises(a["new.starts"], len(a["new.columns"])),
        "a column is out of range": not within(a["popular"], 0, n_products)
        or not within(a["own"], 0, n_products)
        or bool((a["new.columns"] < 0).any())
        or not np.array_equal(np.sort(beyond), n_products + np.arange(len(beyond))),
        "a segment is out of range": not within(a["segment_of_row"], -1, len(a["starts"]) - 1),
        "a category is out of range": not within(a["new.category_of"], -1, len(a["new.starts"]) - 1),
        "a chance is not above 0": bool((steps < 1).any()),
        "a number is not finite": not all(np.isfinite(a[name]).all() for name in ("shares", "scores"))
        or not (np.isfinite(shown).all() or np.isnan(shown).all()),  # NaN: of a shop without ratings
    }


def _rises(starts: NDArray[np.int64], end: int) -> bool:
    return len(starts) > 0 and starts[0] == 0 and starts[-1] == end and bool((starts[1:] >= starts[:-1]).all())
