"""The arrays of a saved `TasteIndex`, checked before compiled code sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import (
    LARGEST,
    annotated_dtypes,
    check_finite,
    check_range,
    check_rising,
    check_sizes,
    check_starts,
    require,
    require_kind,
    typed_fields,
)
from recommender.neighbors import _taste_kernels
from recommender.neighbors.shop_statistics import TasteStatistics

kernels: Any = _taste_kernels  # compiled functions have no signature a type checker could use

INDEX = "index"
_MIXED = ("answering", "names")  # two fields that lie side by side in one array
_TWO_DIMENSIONS = {"facts": np.int64, "list_cuts": np.uint32}
Arrays = Mapping[str, NDArray[Any]]


class Saved(NamedTuple):
    """The saved arrays of an index that are not the kernel's own."""

    columns: NDArray[np.int32]  # (n_columns,) place -> column
    raters: NDArray[np.int64]  # (n_columns,)
    item_bias: NDArray[np.float64]  # (n_columns,)
    user_bias: NDArray[np.float64]  # (n_rows,)
    shop: NDArray[np.float64]  # (2,) n_users, mu


def index_arrays(
    packed: _taste_kernels.PackedProfiles, facts: NDArray[np.int64], known: TasteStatistics, columns: NDArray[np.int32]
) -> dict[str, NDArray[Any]]:
    """Return the arrays by name; ``facts`` (n_padded, 2): norms (bits of float64) and names side by side."""
    shop = np.array([known.n_users, known.mu], np.float64)
    saved = Saved(columns, known.raters, known.item_bias, known.user_bias, shop)
    fields = {name: array for name, array in packed._asdict().items() if name not in _MIXED}
    return {f"{INDEX}.{name}": array for name, array in (fields | {"facts": facts} | saved._asdict()).items()}


def saved_index(
    arrays: Arrays,
) -> tuple[_taste_kernels.PackedProfiles, NDArray[np.int64], TasteStatistics, NDArray[np.int32]]:
    """Return the index of `index_arrays`. SettingError if a search with these arrays would leave one of them."""
    own = {f"{INDEX}.{name}" for name in Saved._fields}
    saved = typed_fields(Saved, INDEX, {name: array for name, array in arrays.items() if name in own})
    packed = _profiles({name: array for name, array in arrays.items() if name not in own})
    n_rows, n_columns = packed.positions.size, saved.columns.size
    sizes = {"raters": n_columns, "item_bias": n_columns, "user_bias": n_rows, "shop": 2}
    check_sizes(saved, INDEX, sizes)
    check_range(saved, INDEX, {"columns": n_columns})
    require(np.bincount(saved.columns, minlength=1).max() <= 1, f"{INDEX}.columns", "a number for each place")
    finite = np.isfinite(saved.item_bias).all() and np.isfinite(saved.user_bias).all() and np.isfinite(saved.shop[0])
    finite &= not np.isinf(saved.shop[1])  # NaN: of a shop without ratings
    require(finite, f"{INDEX}.item_bias, user_bias and shop", "finite")
    _check_profiles(packed, n_rows, n_columns)
    known = TasteStatistics(int(saved.shop[0]), saved.raters, float(saved.shop[1]), saved.item_bias, saved.user_bias)
    return packed, arrays[f"{INDEX}.facts"], known, saved.columns


def _profiles(arrays: Arrays) -> _taste_kernels.PackedProfiles:
    fields = [field for field in _taste_kernels.PackedProfiles._fields if field not in _MIXED]
    names = {f"{INDEX}.{name}" for name in [*fields, "facts"]}
    if set(arrays) != names:
        odd = sorted(set(arrays) ^ names)[:3]
        require(not odd, ", ".join(odd), "expected or there")
    dtypes = annotated_dtypes(_taste_kernels.PackedProfiles)
    short = {"lists": (np.uint16, np.uint32)}
    for field in [*fields, "facts"]:
        kinds = short.get(field) or (_TWO_DIMENSIONS.get(field) or dtypes[field],)
        require_kind(arrays[f"{INDEX}.{field}"], f"{INDEX}.{field}", *kinds, dimensions=1 + (field in _TWO_DIMENSIONS))
    held = {field: np.asarray(arrays[f"{INDEX}.{field}"]) for field in fields}
    facts = np.asarray(arrays[f"{INDEX}.facts"])
    require(facts.shape[1] == 2, f"{INDEX}.facts", "of two columns")
    return _taste_kernels.PackedProfiles(**held, answering=facts.view(np.float64)[:, 0], names=facts[:, 1])


def _check_profiles(p: _taste_kernels.PackedProfiles, n_rows: int, n_columns: int) -> None:
    n_padded, nnz, n_parts = p.answering.size, p.places.size, p.guesses.size
    check_starts(p, INDEX, {"indptr": (n_rows + 1, nnz), "part_cuts": (n_parts + 1, n_padded)})
    blocks = dict.fromkeys(("block_least", "block_inverse", "block_share"), n_padded // kernels.BLOCK)
    check_sizes(p, INDEX, {"weights": nnz, "lists": nnz, "asking": n_rows, "ceiling": n_rows, "inverse": n_padded})
    check_sizes(p, INDEX, {"values": p.list_values.size, "list_values": nnz if p.values.size else 0, **blocks})
    require(not (p.part_cuts % kernels.BLOCK).any(), f"{INDEX}.part_cuts", "of whole blocks")
    check_range(p, INDEX, {"places": n_columns, "positions": n_padded})
    check_finite(p, INDEX, "weights", "asking", "ceiling", "inverse", "block_inverse", "values", below=LARGEST)
    check_finite(p, INDEX, "list_values", "guesses", below=LARGEST)
    _check_lists(p, n_columns, n_parts)
    rows = p.names >> 24
    require((rows[p.positions] == np.arange(n_rows)).all(), f"{INDEX}.positions", "where the names are")
    real = rows >= 0
    require(np.count_nonzero(real) == n_rows, f"{INDEX}.facts", "with as many names as rows")
    norms = p.answering[real]
    bounded = norms.min(initial=0.0) >= 0.0 and norms.max(initial=0.0) < LARGEST and np.isinf(p.answering[~real]).all()
    require(bounded, f"{INDEX}.facts", "with norms of 0 or more, infinite where there is no row")
    ordered = not (np.isnan(p.block_least).any() or np.isnan(p.block_share).any())
    require(ordered, f"{INDEX}.block_least and block_share", "numbers")


def _check_lists(p: _taste_kernels.PackedProfiles, n_columns: int, n_parts: int) -> None:
    """Check that every list lies within the lists, and every position of a list within its part."""
    cuts = p.list_cuts
    require(cuts.shape == (n_columns, n_parts + 1), f"{INDEX}.list_cuts", f"of shape {(n_columns, n_parts + 1)}")
    flat = cuts.reshape(-1)
    rises = (flat[1:] >= flat[:-1]).all() and (cuts[1:, 0] == cuts[:-1, -1]).all()
    ends = p.lists.size == (int(flat[-1]) if flat.size else 0) and not flat[:1].any()
    require(rises and ends, f"{INDEX}.list_cuts", f"rising from 0 to {p.lists.size} without a gap")
    check_rising(p.lists, flat, f"{INDEX}.lists")
    for part, size in enumerate(np.diff(p.part_cuts).tolist()):
        last = cuts[:, part + 1][cuts[:, part + 1] > cuts[:, part]]
        inside = last.size == 0 or int(p.lists[last - np.uint32(1)].max()) < size
        require(inside, f"{INDEX}.lists", f"below {size} in part {part}")
