"""The weights of the linear item model: how much owning one product speaks for another. A saved copy is checked.

    score(u, i) = sum over the products j of u's profile of c(u, j) * B[j, i]

B is stored by rows, on a fixed grid. So sums of products of weights and confidences can be made exactly, and a score is
the same on every machine and thread count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import LARGEST, check_range, check_rising, check_sizes, check_starts, require, typed_fields

GRID_BITS = 24
_FORM = "items"


class SavedItems(NamedTuple):
    """The arrays of `ItemWeights` in a file."""

    indptr: NDArray[np.int64]  # (n_products + 1,)
    columns: NDArray[np.int32]  # (nnz,)
    weights: NDArray[np.int32]  # (nnz,)
    ridge: NDArray[np.float64]  # (1,)
    local: NDArray[np.uint8]  # (1,)


@dataclass(frozen=True, eq=False)
class ItemWeights:
    """B (n_products, n_products) by rows; its diagonal is 0."""

    indptr: NDArray[np.int64]  # (n_products + 1,) row j: the products that j speaks for, or against
    columns: NDArray[np.int32]  # (nnz,) ascending within a row
    weights: NDArray[np.int32]  # (nnz,) B[j, i] in units of 2^-GRID_BITS, never 0; |B| < 128
    ridge: float
    local: bool  # whether the local form made it

    @property
    def shape(self) -> tuple[int, int]:
        """(n_products, n_products)."""
        return self.indptr.size - 1, self.indptr.size - 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name, not copied, for a file and for `from_arrays`. Do not change them."""
        ridge, local = np.array([self.ridge]), np.array([self.local], np.uint8)
        saved = SavedItems(self.indptr, self.columns, self.weights, ridge, local)
        return {f"{_FORM}.{name}": array for name, array in saved._asdict().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ItemWeights:
        """Return the weights of saved arrays, without a copy.

        Raises SettingError for arrays that are damaged or not of `ItemWeights`. The weights are not proofread.
        """
        saved: SavedItems = typed_fields(SavedItems, _FORM, arrays)
        n_products = max(saved.indptr.size - 1, 0)
        check_sizes(saved, _FORM, {"weights": saved.columns.size, "ridge": 1, "local": 1})
        check_starts(saved, _FORM, {"indptr": (n_products + 1, saved.columns.size)})
        check_range(saved, _FORM, {"columns": n_products, "local": 2})
        check_rising(saved.columns, saved.indptr, f"{_FORM}.columns")
        smallest = saved.weights.min(initial=0)  # the absolute value of -2^31 is no int32
        require(smallest > np.iinfo(np.int32).min, f"{_FORM}.weights", "above -128")
        ridge = float(saved.ridge[0])
        require(0.0 < ridge < LARGEST, f"{_FORM}.ridge", "above 0 and finite")
        return cls(saved.indptr, saved.columns, saved.weights, ridge, bool(saved.local[0]))
