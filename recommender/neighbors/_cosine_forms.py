"""The forms of the ratings in a `recommender.neighbors.cosine_index.CosineIndex`: made from a matrix, or from a file.

Arrays of a file are checked before compiled code sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.arrays import (
    check_finite,
    check_range,
    check_rising,
    check_sizes,
    check_starts,
    checked_csr,
    require,
    typed_fields,
)
from recommender.errors import RatingError
from recommender.neighbors import _cosine_kernels
from recommender.neighbors.entries import MOST_NARROW, MOST_WIDE, bits_of, entry_type

kernels: Any = _cosine_kernels  # compiled functions have no signature a type checker could use


_FORMS: dict[str, Any] = {
    "packed": kernels.Packed,
    "wide": kernels.Wide,
    "whole": kernels.Plain,
    "float": kernels.Plain,
}
PackedRatings = _cosine_kernels.Packed | _cosine_kernels.Wide
Prepared = PackedRatings | _cosine_kernels.Plain
EXACT_SQUARED_NORM = 2.0**53
# Limits of the packed form: 28 bits of row or column in a word with a rating up to 15, 31 bits of dot product. (At 127
# steps a rating, the latter are 133,000 ratings of one user.)
_PACKED_INDEX, _PACKED_SQUARED_NORM = 2**28, 2.0**31


def prepared(ratings: Any, most: int) -> tuple[Prepared, bool]:
    """Return the form for these ratings, and whether it is exact. Errors as `canonical_ratings`."""
    csr = canonical_ratings(ratings)
    data, exact = _whole_or_scaled(csr)
    norms = kernels.squared_norms(csr.indptr, data)  # (n_rows,)
    highest = max(float(data.max(initial=0.0)), most)
    small = highest <= MOST_WIDE and norms.max(initial=0.0) < _PACKED_SQUARED_NORM
    if exact and small and max(csr.shape) <= _PACKED_INDEX:
        return _packed(csr, data, norms, highest), exact
    return _plain(csr, data, norms), exact


def canonical_ratings(ratings: Any) -> Any:
    """Return a checked copy as a CSR array of float64 with sorted columns, duplicates added up and no zeros.

    Raises RatingError naming row and column of a NaN, infinite or negative rating, SettingError if it is not CSR.
    """
    data = checked_csr("ratings", ratings).data.astype(np.float64)
    _refuse_bad(data, ratings)
    parts = (data, ratings.indices.copy(), ratings.indptr.astype(np.int64))
    csr = sp.csr_array(parts, shape=ratings.shape)
    csr.sum_duplicates()
    if csr.data.size < data.size:
        _refuse_bad(csr.data, csr)  # a sum can overflow
    if not csr.data.all():
        csr.eliminate_zeros()
    return csr


def _refuse_bad(data: NDArray[np.float64], ratings: Any) -> None:
    """Raise RatingError for a bad rating.

    This comes before duplicates are added up, since -1 + 2 would hide the -1. NaN fails every comparison.
    """
    if data.size == 0 or (data.min() >= 0.0 and data.max() < np.inf):
        return
    at = int(np.flatnonzero(~((data >= 0.0) & (data < np.inf)))[0])
    row = int(np.searchsorted(ratings.indptr, at, side="right")) - 1
    raise RatingError(
        f"rating {data[at]} at row {row}, column {ratings.indices[at]} is not a finite number of 0 or more: "
        "correct or remove it"
    )


def _whole_or_scaled(csr: Any) -> tuple[NDArray[np.float64], bool]:
    """Return the ratings (nnz,) as whole numbers and True, or each row scaled by a power of two and False."""
    data: NDArray[np.float64] = csr.data
    for factor in (1.0, 2.0):
        if factor * data.max(initial=0.0) > EXACT_SQUARED_NORM**0.5:
            break
        whole = data * factor
        if np.array_equal(whole, np.rint(whole)):
            # An inexact sum cannot fall below the limit: one that passed 2^53 stays above it.
            if kernels.squared_norms(csr.indptr, whole).max(initial=0.0) <= EXACT_SQUARED_NORM:
                return whole, True
            break
    counts = np.diff(csr.indptr)  # (n_rows,)
    rated = counts > 0
    exponents = np.zeros(counts.size, np.intp)  # (n_rows,)
    exponents[rated] = np.frexp(np.maximum.reduceat(data, csr.indptr[:-1][rated]))[1]
    return np.ldexp(data, -np.repeat(exponents, counts)), False


def _packed(csr: Any, data: NDArray[np.float64], norms: NDArray[np.float64], highest: float) -> PackedRatings:
    """Return the packed form. Rows are numbered by ascending norm, then row; padding to whole blocks has norm inf."""
    n_rows, n_columns = csr.shape
    sortable = norms.astype(np.uint16) if norms.max(initial=0.0) < 2**16 else norms  # numpy's radix sort: 5 x faster
    rows = np.argsort(sortable, kind="stable").astype(np.int32)  # (n_rows,) position -> row
    positions = np.empty(n_rows, np.int32)
    positions[rows] = np.arange(n_rows, dtype=np.int32)
    sorted_norms = np.full(-(-n_rows // kernels.BLOCK) * kernels.BLOCK, np.inf)  # (n_padded,)
    sorted_norms[:n_rows] = norms[rows]
    roots = np.sqrt(sorted_norms)
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=roots > 0.0).astype(np.float32)
    packed = np.empty(data.size, entry_type(highest))
    kernels.pack_rows(csr.indices, data.astype(np.uint8), packed)
    ends = kernels.dense_ends(packed, n_columns, sorted_norms, n_rows)
    lists = kernels.pack_columns(csr.indptr, packed, rows, positions, n_columns, *ends)
    list_starts, sparse, dense = lists
    form = _cosine_kernels.Packed if highest <= MOST_NARROW else _cosine_kernels.Wide
    return form(
        indptr=csr.indptr, ratings=packed, list_starts=list_starts, lists=sparse,
        dense_from=ends[0], dense_starts=ends[1], dense=dense,
        norms=sorted_norms, inverse=inverse,
        block_inverse=inverse.reshape(-1, kernels.BLOCK).max(axis=1),
        block_root=roots.astype(np.float32).reshape(-1, kernels.BLOCK).min(axis=1),
        rows=rows, positions=positions,
    )  # fmt: skip


def _plain(csr: Any, data: NDArray[np.float64], norms: NDArray[np.float64]) -> _cosine_kernels.Plain:
    """Return the ratings and their transpose. tocsc keeps rows ascending within a column."""
    columns = sp.csr_array((data, csr.indices, csr.indptr), shape=csr.shape).tocsc()
    inverse = np.divide(1.0, np.sqrt(norms), out=np.zeros_like(norms), where=norms > 0.0)  # (n_rows,)
    return _cosine_kernels.Plain(
        indptr=csr.indptr, indices=csr.indices.astype(np.uint32), data=data,
        list_starts=columns.indptr.astype(np.int64), list_rows=columns.indices.astype(np.uint32),
        list_data=columns.data, norms=norms, inverse=inverse,
    )  # fmt: skip


def saved_cosines(arrays: Mapping[str, NDArray[Any]]) -> tuple[Prepared, bool]:
    """Return the arrays of a saved index, checked as `CosineIndex.from_arrays` says, and whether it is exact."""
    found = next(iter(sorted(arrays)), "").partition(".")[0]
    form = found if found in _FORMS else "packed"
    saved = typed_fields(_FORMS[form], form, arrays)
    (_check_plain if isinstance(saved, kernels.Plain) else _check_packed)(saved, form)
    return saved, form != "float"


def _check_packed(p: PackedRatings, form: str) -> None:
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
