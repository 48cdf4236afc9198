"""The arrays of saved `TasteVotes`, checked before compiled code sees them. The index saves its own arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import LARGEST, check_finite, check_sizes, require, require_kind, typed_fields
from recommender.neighbors import PackedProfiles, entry_type, numbers_of
from recommender.ranking import _taste_kernels

kernels: Any = _taste_kernels  # compiled functions have no signature a type checker could use

VOTES, ENTRIES = "votes", "votes.entries"


class SavedVotes(NamedTuple):
    """The saved arrays of the votes that are not the index's, but for the entries, whose type is the scale's."""

    base: NDArray[np.float64]  # (n_rows,)
    item_bias: NDArray[np.float64]  # (n_padded,)
    divisor: NDArray[np.float64]  # (n_padded,)
    inverse: NDArray[np.float64]  # (n_padded,)
    block_inverse: NDArray[np.float64]  # (n_padded / 64,)


def votes_arrays(votes: _taste_kernels.Votes, bars: _taste_kernels.Bars) -> dict[str, NDArray[Any]]:
    """Return the votes' own arrays by name."""
    saved = {name: getattr(votes if hasattr(votes, name) else bars, name) for name in SavedVotes._fields}
    return {f"{VOTES}.{name}": array for name, array in ({"entries": votes.entries} | saved).items()}


def saved_votes(
    arrays: Mapping[str, NDArray[Any]], packed: PackedProfiles, columns: NDArray[np.int32], most: int
) -> tuple[_taste_kernels.Votes, _taste_kernels.Bars]:
    """Return the votes on an index, of ratings up to ``most`` steps. SettingError if the arrays do not belong to it."""
    saved = typed_fields(SavedVotes, VOTES, {name: array for name, array in arrays.items() if name != ENTRIES})
    require(ENTRIES in arrays, ENTRIES, "there")
    require_kind(arrays[ENTRIES], ENTRIES, entry_type(most))
    entries = np.asarray(arrays[ENTRIES])
    n_blocks = -(-columns.size // kernels.BLOCK)
    padded = dict.fromkeys(("item_bias", "divisor", "inverse"), n_blocks * kernels.BLOCK)
    check_sizes(saved, VOTES, {"base": packed.positions.size, "block_inverse": n_blocks, **padded})
    require(np.array_equal(numbers_of(entries), packed.places), ENTRIES, "of the same places as the index")
    check_finite(saved, VOTES, "divisor", "inverse", "block_inverse", below=LARGEST)
    unknown = np.isnan(saved.base).all()  # of a shop without ratings
    finite = (unknown or np.isfinite(saved.base).all()) and np.isfinite(saved.item_bias).all()
    require(finite, f"{VOTES}.base and item_bias", "finite")
    votes = _taste_kernels.Votes(
        packed.indptr, entries, packed.values, saved.base, saved.item_bias, saved.divisor, columns
    )
    return votes, _taste_kernels.Bars(saved.inverse, saved.block_inverse)
