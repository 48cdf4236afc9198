"""The arrays of a saved `recommender.neighbors.cosine_index.CosineIndex`, checked before compiled code sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import (
    check_finite,
    check_range,
    check_rising,
    check_sizes,
    check_starts,
    require,
    typed_fields,
)
from recommender.neighbors import _cosine_kernels
from recommender.neighbors.entries import bits_of

kernels: Any = _cosine_kernels  # compiled functions have no signature a type checker could use


_FORMS: dict[str, Any] = {
    "packed": kernels.Packed,
    "wide": kernels.Wide,
    "whole": kernels.Plain,
    "float": kernels.Plain,
}
Packed = _cosine_kernels.Packed | _cosine_kernels.Wide


def saved_cosines(arrays: Mapping[str, NDArray[Any]]) -> tuple[Packed | _cosine_kernels.Plain, bool]:
    """Return the arrays of a saved index, checked as `CosineIndex.from_arrays` says, and whether it is exact."""
    found = next(iter(sorted(arrays)), "").partition(".")[0]
    form = found if found in _FORMS else "packed"
    saved = typed_fields(_FORMS[form], form, arrays)
    (_check_plain if isinstance(saved, kernels.Plain) else _check_packed)(saved, form)
    return saved, form != "float"


def _check_packed(p: Packed, form: str) -> None:
    n_rows, n_columns, n_blocks = p.rows.size, p.dense_from.size, -(-p.rows.size // kernels.BLOCK)
    n_padded = n_blocks * kernels.BLOCK
    starts = {"indptr": (n_rows + 1, p.ratings.size), "list_starts": (n_columns + 1, p.lists.size)}
    check_starts(p, form, starts | {"dense_starts": (n_columns + 1, p.dense.size)})
    check_sizes(p, form, {"positions": n_rows, "norms": n_padded, "inverse": n_padded})
    check_sizes(p, form, {"block_inverse": n_blocks, "block_root": n_blocks})
    check_range(p, form, {"ratings": n_columns, "lists": n_rows}, bits_of(p.ratings))
    check_range(p, form, {"rows": n_rows, "positions": n_rows})
    require((p.rows[p.positions] == np.arange(n_rows)).all(), f"{form}.positions", f"the inverse of {form}.rows")
    sizes = n_padded - p.dense_from.astype(np.int64)  # (n_columns,)
    require((np.diff(p.dense_starts) == sizes).all(), f"{form}.dense_from", f"in step with {form}.dense_starts")
    check_rising(p.lists, p.list_starts, f"{form}.lists")
    in_order = (p.norms[1:] >= p.norms[:-1]).all() and (p.norms[:1] >= 0.0).all()
    require(in_order, f"{form}.norms", "rising from 0 or more")
    check_finite(p, form, "inverse", "block_inverse")  # NaN would pass the bar where there is no row


def _check_plain(p: _cosine_kernels.Plain, form: str) -> None:
    n_rows, n_columns = p.norms.size, max(p.list_starts.size - 1, 0)
    check_starts(p, form, {"indptr": (n_rows + 1, p.data.size), "list_starts": (n_columns + 1, p.list_data.size)})
    check_sizes(p, form, {"indices": p.data.size, "list_rows": p.data.size, "list_data": p.data.size})
    check_sizes(p, form, {"inverse": n_rows})
    check_range(p, form, {"indices": n_columns, "list_rows": n_rows})
    check_finite(p, form, "data", "list_data", "norms", "inverse")
