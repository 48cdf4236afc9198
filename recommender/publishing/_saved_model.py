"""Checks of the parts of a model file when it is opened, so that a model that passes can answer any request.

A file with a right checksum may still hold values that no model has: a product id that is not text, an infinite price,
a time without a zone. Every check looks at whole arrays at once and raises ValueError with what does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.arrays import within
from recommender.database.schema import INTERACTION_TYPES
from recommender.publishing.versions import EXPIRED, KEPT, PUBLISHED, Version
from recommender.ranking import AutoParameters, TasteParameters, parameters_of
from recommender.settings import LARGEST_ID
from recommender.shop import (
    LONGEST_KNOWN_ID,
    NO_TIME,
    NUMBERS_AS_THEY_ARE,
    Cursor,
    Products,
    TextIds,
    UserIds,
    all_are_ids,
    product_id_texts,
)

_LATEST = 253_402_300_800_000_000  # microseconds from 1970 to the year 10000
_WHERE = re.compile(r"[a-z_]{1,64}\.[a-z_]{1,64}")  # a table and a column


def require(holds: Any, what: str) -> None:
    """Raise ValueError unless ``holds``."""
    if not holds:
        raise ValueError(what)


def ids_of(name: str, characters: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Return product ids (n,) from bytes (n, width): UTF-8, NUL only at the end, by the rule, unique, ascending."""
    require(characters.shape[1] and characters.flags.c_contiguous, f"{name} have no bytes")
    filled = characters != 0
    require((filled[:, 1:] <= filled[:, :-1]).all(), f"{name} have NUL among their characters")
    ids = characters.view(f"S{characters.shape[1]}").reshape(len(characters))
    texts = product_id_texts(ids)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        raise ValueError(f"{name} are not UTF-8") from None
    require(all_are_ids(texts), f"{name} are no product ids")
    require((ids[1:] > ids[:-1]).all(), f"{name} do not ascend")
    return ids


def check_users(name: str, user_ids: NDArray[np.int64]) -> None:
    """Require user_ids, or order keys, from 0 on, unique, ascending."""
    ascend = (user_ids[1:] > user_ids[:-1]).all() and (user_ids[:1] >= 0).all()
    require(ascend, f"{name} do not ascend from 0")


def ids_of_users(held: Mapping[str, NDArray[Any]]) -> UserIds:
    """Return the users' ids: texts ascending, each with its own number, or whole numbers if nothing is held."""
    if not held:
        return NUMBERS_AS_THEY_ARE
    characters, numbers = held["texts"], held["numbers"]
    fits = characters.dtype == np.uint8 and characters.ndim == 2 and characters.flags.c_contiguous
    fits &= numbers.dtype == np.int64 and numbers.shape == characters.shape[:1]
    require(fits and 1 <= characters.shape[1] <= 4 * LONGEST_KNOWN_ID, "its ids are of different sizes")
    filled = characters != 0
    require(filled[:, 0].all() and (filled[:, 1:] <= filled[:, :-1]).all(), "its ids have NUL among their characters")
    texts = characters.view(f"S{characters.shape[1]}").reshape(len(characters))
    require((texts[1:] > texts[:-1]).all(), "its ids do not ascend")
    pa.array(texts.tolist(), pa.binary()).cast(pa.string())  # UTF-8, or ArrowInvalid
    ascending = np.sort(numbers)
    require((ascending[1:] > ascending[:-1]).all() and (ascending[:1] >= 0).all(), "its ids share a number")
    return TextIds(texts, numbers)


def check_flags(name: str, flags: NDArray[np.bool_]) -> None:
    """Require bytes of 0 and 1; compiled code takes others for neither true nor false."""
    require(within(flags.view(np.uint8), 0, 2), f"{name} are not flags")


def check_finite(name: str, numbers: NDArray[np.floating], *, lowest: float = -np.inf, unknown: bool = False) -> None:
    """Require finite numbers of at least ``lowest``; ``unknown``: NaN is allowed too."""
    good = np.isfinite(numbers) & (numbers >= lowest)
    require((good | np.isnan(numbers) if unknown else good).all(), f"{name} are out of range")


def check_entries(name: str, csr: sp.csr_array) -> None:
    """Require that the columns of each row ascend, each once."""
    ascending = np.diff(csr.indices) > 0
    begins = csr.indptr[1:-1]
    ascending[begins[(begins > 0) & (begins < csr.nnz)] - 1] = True
    require(ascending.all(), f"the columns of {name} do not ascend")


def check_rated(confidences: sp.csr_array, steps: sp.csr_array) -> None:
    """Require that each user's profile contains all rated products; the columns of both ascend."""
    if np.array_equal(confidences.indices, steps.indices):  # without interactions both are equal
        holds = np.array_equal(confidences.indptr, steps.indptr)
    else:
        parts = (np.ones(confidences.nnz, np.int8), confidences.indices, confidences.indptr)
        both = sp.csr_array(parts, shape=confidences.shape).multiply(steps)
        holds = both.nnz == steps.nnz
    require(holds, "its profiles lack what was rated")


def check_times(name: str, times: NDArray[np.int64]) -> None:
    """Require microseconds before the year 10000, or `NO_TIME`."""
    require(within(times[times != NO_TIME], -_LATEST, _LATEST), f"{name} are out of range")


def check_numbering(products: Products) -> None:
    """Require the catalog row of each of the matrix's products (-1: in none), then those of all other products."""
    ids, catalog_ids = products.matrix_ids, products.catalog.product_ids
    own, others = products.catalog_rows[: len(ids)], products.catalog_rows[len(ids) :]
    present = own >= 0
    require((catalog_ids[own[present]] == ids[present]).all(), "its places are of other products")
    free = np.ones(len(catalog_ids), np.bool_)
    free[own[present]] = False
    require(np.array_equal(others, np.flatnonzero(free)), "its places behind the matrix are not the catalog's own")


def checked_version(values: Mapping[str, Any]) -> Version:
    """Return the record of a version."""
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


def checked_parameters(values: Any) -> AutoParameters | None:
    """Return the parameters of the auto ranking; None if there are none. An earlier release wrote two numbers."""
    if values is None:
        return None
    given = dict(zip(TasteParameters._fields, values, strict=True)) if isinstance(values, list) else values
    require(isinstance(given, dict), "its parameters have no names")
    return parameters_of(given)


def checked_weights(values: Any) -> tuple[float, ...]:
    """Return the weight of each kind of interaction; () if no interactions were read."""
    weights = tuple(float(weight) for weight in values)
    fits = len(weights) in (0, len(INTERACTION_TYPES)) and all(0.0 <= weight <= 999.0 for weight in weights)
    require(fits, "its weights are out of range")
    return weights


def checked_cursor(values: Any) -> Cursor:
    """Return the cursor; a release that noted no gaps wrote four numbers."""
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
    """Return the number of rows that the model leaves out, by table and column."""
    fits = isinstance(values, Mapping) and all(
        _WHERE.fullmatch(where) and type(count) is int and count >= 0 for where, count in values.items()
    )
    require(fits, "its rows left out are not counts of columns")
    return dict(values)


def checked_names(values: Any) -> tuple[tuple[str, str], ...]:
    """Return the country and age group of each segment."""
    names = tuple((country, age) for country, age in values)
    require(all(isinstance(text, str) for name in names for text in name), "its segments have no names")
    return names
