"""Saved item weights: the same after a round trip, refused when damaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.items import ItemWeights, train_items

Arrays = dict[str, NDArray[Any]]


def saved() -> Arrays:
    """Of three products: rows of 2, 1 and 1 entries; each array its own copy."""
    weights = train_items(sp.csr_array(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])), ridge=1.0, n_entries=1)
    return {name: array.copy() for name, array in weights.arrays().items()}


def test_weights_survive_a_round_trip_without_a_copy() -> None:
    arrays = saved()
    weights = ItemWeights.from_arrays(arrays)
    assert weights.shape == (3, 3)
    assert (weights.ridge, weights.local) == (1.0, False)
    assert np.shares_memory(weights.weights, arrays["items.weights"])
    for name, array in weights.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype


def test_weights_of_no_product_survive_a_round_trip() -> None:
    empty = train_items(sp.csr_array((0, 0), dtype=np.float64), ridge=1.0)
    assert ItemWeights.from_arrays(empty.arrays()).shape == (0, 0)


FAULTS: dict[str, tuple[str, Any]] = {
    "a start before 0": ("indptr", [-1, 2, 3, 3]),
    "starts that fall": ("indptr", [0, 3, 2, 3]),
    "starts beyond the end": ("indptr", [0, 2, 3, 4]),
    "no starts": ("indptr", []),
    "a column beyond the products": ("columns", [1, 3, 0]),
    "a negative column": ("columns", [-1, 2, 0]),
    "columns that fall": ("columns", [2, 1, 0]),
    "a column twice": ("columns", [1, 1, 0]),
    "a weight too few": ("weights", [5, 6]),
    "a weight without an absolute value": ("weights", [5, 6, -(2**31)]),
    "no ridge": ("ridge", []),
    "a ridge of 0": ("ridge", [0.0]),
    "a ridge that is no number": ("ridge", [np.nan]),
    "an endless ridge": ("ridge", [np.inf]),
    "two forms": ("local", [0, 1]),
    "a form that is neither": ("local", [2]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_arrays_are_refused_by_name(fault: str) -> None:
    name, values = FAULTS[fault]
    arrays = saved()
    assert arrays["items.indptr"].tolist() == [0, 2, 3, 3]
    arrays[f"items.{name}"] = np.array(values, arrays[f"items.{name}"].dtype)
    with pytest.raises(SettingError, match=r"^array items\..* of a saved index is not .*: save the index again$"):
        ItemWeights.from_arrays(arrays)


def test_arrays_of_another_kind_or_dtype_are_refused() -> None:
    arrays = saved()
    missing = {name: array for name, array in arrays.items() if name != "items.columns"}
    with pytest.raises(SettingError, match="not the arrays of a saved index"):
        ItemWeights.from_arrays(missing)
    with pytest.raises(SettingError, match="not the arrays of a saved index"):
        ItemWeights.from_arrays({**arrays, "votes.base": np.empty(0)})
    with pytest.raises(SettingError, match=r"array items\.columns of a saved index is not int32"):
        ItemWeights.from_arrays({**arrays, "items.columns": arrays["items.columns"].astype(np.int64)})
    with pytest.raises(SettingError, match="contiguous, aligned and writable"):
        ItemWeights.from_arrays({**arrays, "items.weights": np.repeat(arrays["items.weights"], 2)[::2]})
