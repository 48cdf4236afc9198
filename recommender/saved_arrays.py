"""Checks of prepared arrays that come out of a file, before compiled code, which checks no bounds, may see them.

A field that does not hold is a SettingError naming it. Contents are not proofread: what is checked is that no search
can read or write beyond an array, or run on without end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from recommender.errors import SettingError


def typed_fields(kind: Any, form: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The NamedTuple ``kind`` of one-dimensional arrays named ``form.field``, each of the dtype of its annotation."""
    names = [f"{form}.{field}" for field in kind._fields]
    if set(arrays) != set(names):
        odd = sorted(set(arrays) ^ set(names))[:3]
        raise SettingError(f"these are not the arrays of a saved index ({odd} missing or foreign): save it again")
    for name, wanted in zip(names, annotated_dtypes(kind).values(), strict=True):
        require_kind(arrays[name], name, wanted)
    return kind(*(np.asarray(arrays[name]) for name in names))  # np.memmap would be another type to numba


def annotated_dtypes(kind: Any) -> dict[str, type]:
    """The dtype that each field of a NamedTuple of arrays is annotated with."""
    return {field: get_args(get_args(hint)[1])[0] for field, hint in get_type_hints(kind).items()}


def require_kind(array: Any, name: str, *wanted: type, dimensions: int = 1) -> None:
    """One of the dtypes, and mapped so that compiled code takes it as it is."""
    fits = isinstance(array, np.ndarray) and array.dtype in wanted and array.ndim == dimensions
    require(fits, name, " or ".join(kind.__name__ for kind in wanted))
    require(array.flags.carray, name, "contiguous, aligned and writable: map it with mode='c'")


def require(holds: Any, name: str, what: str) -> None:
    """SettingError, unless it holds."""
    if not holds:
        raise SettingError(f"array {name} of a saved index is not {what}: save the index again")


def check_starts(p: Any, form: str, checks: Mapping[str, tuple[int, int]]) -> None:
    """Each array of starts: its length, and the length of what it divides."""
    for name, (size, end) in checks.items():
        starts = getattr(p, name)
        require(starts.size == size, f"{form}.{name}", f"of length {size}")
        rises = starts[0] == 0 and starts[-1] == end and (starts[1:] >= starts[:-1]).all()
        require(rises, f"{form}.{name}", f"rising from 0 to {end}")


def check_sizes(p: Any, form: str, sizes: Mapping[str, int]) -> None:
    """Each array's length."""
    for name, size in sizes.items():
        require(getattr(p, name).size == size, f"{form}.{name}", f"of length {size}")


def check_range(p: Any, form: str, ends: Mapping[str, int], shift: int = 0) -> None:
    """Each array's numbers, without their ``shift`` lowest bits, from 0 up to its end."""
    for name, end in ends.items():
        array = getattr(p, name)
        inside = array.size == 0 or (array.min() >= 0 and int(array.max()) >> shift < end)
        require(inside, f"{form}.{name}", f"within 0..{end - 1}")


def check_rising(array: NDArray[Any], starts: NDArray[np.integer], name: str) -> None:
    """The numbers rise within each list; ``starts``: where lists begin, ends included."""
    rises = array[1:] > array[:-1]
    begins = starts[(starts > 0) & (starts < array.size)]
    rises[begins - 1] = True  # from one list to the next anything may come
    require(rises.all(), name, "rising within each list")


def check_finite(p: Any, form: str, *names: str, below: float = np.inf) -> None:
    """No NaN, none below 0, none of ``below`` or more."""
    for name in names:
        array = getattr(p, name)
        bounded = array.min(initial=0.0) >= 0.0 and array.max(initial=0.0) < below
        require(bounded, f"{form}.{name}", "finite and 0 or more")


def within(values: NDArray[Any], lowest: int, end: int) -> bool:
    """Whether all numbers are from ``lowest`` up to ``end``, which is not among them."""
    return values.size == 0 or bool(values.min() >= lowest and values.max() < end)
