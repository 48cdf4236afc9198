"""The parts of a model file, checked when it is opened: what is accepted can be asked anything without a fault.

A file with a right checksum may still hold what no model holds: a product id that is no text, a price without end, a
time without a zone. Every check looks at whole arrays at once; ValueError says what does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.arrays import within
from recommender.database.schema import ASIN_LENGTH, INTERACTION_TYPES
from recommender.publishing.versions import EXPIRED, KEPT, PUBLISHED, Version
from recommender.ranking import TasteParameters
from recommender.settings import LARGEST_ID, checked_number
from recommender.shop import NO_TIME, Cursor, Products

_LATEST = 253_402_300_800_000_000  # microseconds from 1970 to the year 10000
_WHERE = re.compile(r"[a-z_]{1,64}\.[a-z_]{1,64}")  # a table and a column


def require(holds: Any, what: str) -> None:
    """ValueError, unless it holds."""
    if not holds:
        raise ValueError(what)


def ids_of(name: str, characters: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Product ids (n,) of bytes (n, 10): ASCII with NUL only behind it, each once, ascending."""
    require(characters.shape[1] == ASIN_LENGTH and characters.flags.c_contiguous, f"{name} are not of ten bytes")
    require(not (characters & 0x80).any(), f"{name} are not ASCII")
    filled = characters != 0
    require(filled[:, 0].all() and (filled[:, 1:] <= filled[:, :-1]).all(), f"{name} have NUL among their characters")
    # as whole numbers, which compare as the bytes do
    pairs = (
        np.ascontiguousarray(characters[:, :8]).view(">u8")[:, 0],
        np.ascontiguousarray(characters[:, 8:]).view(">u2")[:, 0],
    )
    head, tail = (pair.astype(pair.dtype.newbyteorder("=")) for pair in pairs)
    rises = (head[1:] > head[:-1]) | ((head[1:] == head[:-1]) & (tail[1:] > tail[:-1]))
    require(rises.all(), f"{name} do not ascend")
    return characters.view(f"S{ASIN_LENGTH}").reshape(len(characters))


def check_users(name: str, user_ids: NDArray[np.int64]) -> None:
    """From 1, each once, ascending."""
    ascend = (user_ids[1:] > user_ids[:-1]).all() and (user_ids[:1] >= 1).all()
    require(ascend, f"{name} do not ascend from 1")


def check_flags(name: str, flags: NDArray[np.bool_]) -> None:
    """Bytes of 0 and 1 alone: others are neither true nor false to compiled code."""
    require(within(flags.view(np.uint8), 0, 2), f"{name} are not flags")


def check_finite(name: str, numbers: NDArray[np.floating], *, lowest: float = -np.inf, unknown: bool = False) -> None:
    """Finite and ``lowest`` or more; ``unknown``: NaN, too."""
    good = np.isfinite(numbers) & (numbers >= lowest)
    require((good | np.isnan(numbers) if unknown else good).all(), f"{name} are out of range")


def check_entries(name: str, csr: sp.csr_array) -> None:
    """Columns ascend within each row, each once."""
    steps = np.diff(csr.indices) > 0
    begins = csr.indptr[1:-1]
    steps[begins[(begins > 0) & (begins < csr.nnz)] - 1] = True
    require(steps.all(), f"the columns of {name} do not ascend")


def check_rated(confidences: sp.csr_array, half_stars: sp.csr_array) -> None:
    """Whatever somebody rated is in the profile; columns of both ascend."""
    if np.array_equal(confidences.indices, half_stars.indices):  # without interactions they are the same
        holds = np.array_equal(confidences.indptr, half_stars.indptr)
    else:
        parts = (np.ones(confidences.nnz, np.int8), confidences.indices, confidences.indptr)
        both = sp.csr_array(parts, shape=confidences.shape).multiply(half_stars)
        holds = both.nnz == half_stars.nnz
    require(holds, "its profiles lack what was rated")


def check_times(name: str, times: NDArray[np.int64]) -> None:
    """Microseconds of the years there are, or not known."""
    require(within(times[times != NO_TIME], -_LATEST, _LATEST), f"{name} are out of range")


def check_numbering(products: Products) -> None:
    """The matrix's products in their rows of the catalog, -1: in none; behind them all that only the catalog has."""
    ids, catalog_ids = products.matrix_ids, products.catalog.product_ids
    own, others = products.catalog_rows[: len(ids)], products.catalog_rows[len(ids) :]
    present = own >= 0
    require((catalog_ids[own[present]] == ids[present]).all(), "its places are of other products")
    free = np.ones(len(catalog_ids), np.bool_)
    free[own[present]] = False
    require(np.array_equal(others, np.flatnonzero(free)), "its places behind the matrix are not the catalog's own")


def checked_version(values: Mapping[str, Any]) -> Version:
    """The record of a version."""
    version = Version.from_dict(values)
    numbers = (version.number, version.n_ratings, version.n_rows)
    require(all(type(number) is int and 0 <= number <= LARGEST_ID for number in numbers), "its version has no number")
    require(1 <= version.number < 2**31, f"its version is {version.number}")
    require(isinstance(version.made_at, datetime) and version.made_at.tzinfo is not None, "its time has no zone")
    require(1970 < version.made_at.year < 9999, "its time is out of range")
    records = isinstance(version.settings, Mapping) and isinstance(version.metrics, Mapping | None)
    require(records and isinstance(version.fingerprint, str), "its version has no settings")
    require(version.state in (PUBLISHED, KEPT, EXPIRED), f"its version is {version.state!r:.40}")
    return version


def checked_parameters(values: Any) -> TasteParameters | None:
    """Those of the auto ranking."""
    if values is None:
        return None
    n_neighbors, power = checked_number("TOP_N_SIMILAR_USERS", values[0]), float(values[1])
    require(len(values) == 2 and 0.0 <= power <= 10.0, "its parameters are out of range")
    return TasteParameters(n_neighbors, power)


def checked_weights(values: Any) -> tuple[float, ...]:
    """What each kind of interaction counts; () if none was read."""
    weights = tuple(float(weight) for weight in values)
    fits = len(weights) in (0, len(INTERACTION_TYPES)) and all(0.0 <= weight <= 999.0 for weight in weights)
    require(fits, "its weights are out of range")
    return weights


def checked_cursor(values: Any) -> Cursor:
    """Where the tables were; of a release that noted no gaps four numbers."""
    parts = len(Cursor._fields)
    require(isinstance(values, list) and len(values) in (4, parts), f"its cursor is not of 4 or {parts} parts")
    require(all(type(number) is int for number in _leaves(values)), "its cursor is not of whole numbers")
    cursor = Cursor.from_json(values)
    times = (cursor.updated_at, cursor.read_at, *cursor.skipped)
    ids = (cursor.interaction_id, cursor.deletion_id, *_leaves(cursor.interaction_gaps), *_leaves(cursor.deletion_gaps))
    in_range = all(-_LATEST < at < _LATEST for at in times) and all(0 <= number <= LARGEST_ID for number in ids)
    require(in_range and all(abs(at) < 2**63 for at in _leaves(cursor.ticks)), "its cursor is out of range")
    return cursor


def _leaves(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _leaves(value)
        else:
            yield value


def checked_left_out(values: Any) -> dict[str, int]:
    """Rows that are not in it, by table and column."""
    fits = isinstance(values, Mapping) and all(
        _WHERE.fullmatch(where) and type(count) is int and count >= 0 for where, count in values.items()
    )
    require(fits, "its rows left out are not counts of columns")
    return dict(values)


def checked_names(values: Any) -> tuple[tuple[str, str], ...]:
    """Country and age group of each segment."""
    names = tuple((country, age) for country, age in values)
    require(all(isinstance(text, str) for name in names for text in name), "its segments have no names")
    return names
