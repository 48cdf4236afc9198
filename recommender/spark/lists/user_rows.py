"""Rows of users as they travel between the tasks: ids, profiles and ratings in one set of arrays.

Events (ratings and interactions) of some users become rows by the functions that make the local matrix and profiles.
Here a column is its own product id, as all tasks know the products by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from zlib import crc32

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.shop import (
    NO_SEGMENT,
    NUMBERS_AS_THEY_ARE,
    Interactions,
    Profiles,
    Scale,
    TextIds,
    UserIds,
    build_profiles,
    build_rating_matrix,
    widened,
)

A_RATING, A_SEGMENT = -1, -2  # kinds of events that are no interaction
_NOTHING, _NO_TIMES = np.empty(0, np.float64), np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Events:
    """The n events of some users, in any order."""

    user_ids: NDArray[np.int64]  # (n,) stored numbers
    names: NDArray[np.bytes_] | None  # (n,) texts of a text shop
    columns: NDArray[np.int32]  # (n,); of A_SEGMENT the number of the user's segment
    kinds: NDArray[np.int8]  # (n,) into INTERACTION_TYPES, or A_RATING or A_SEGMENT
    steps: NDArray[np.int8]  # (n,) of ratings
    times: NDArray[np.int64]  # (n,)

    def at(self, part: NDArray[Any]) -> Events:
        """Return some of the events."""
        names = None if self.names is None else self.names[part]
        given = self.columns[part], self.kinds[part], self.steps[part], self.times[part]
        return Events(self.user_ids[part], names, *given)

    def ids(self) -> UserIds:
        """Return what the shop calls these users."""
        if self.names is None:
            return NUMBERS_AS_THEY_ARE
        numbers, firsts = np.unique(self.user_ids, return_index=True)
        return TextIds.made(self.names[firsts], numbers)


@dataclass(frozen=True, eq=False)
class UserRows:
    """The rows of m users in the order of the shop. Columns ascend within a row."""

    user_ids: NDArray[np.int64]  # (m,) stored numbers
    names: NDArray[np.bytes_] | None  # (m,) texts of a text shop
    indptr: NDArray[np.int64]  # (m + 1,)
    columns: NDArray[np.int32]  # (nnz,)
    steps: NDArray[np.int8]  # (nnz,) of the scale, 0 where not rated
    confidences: NDArray[np.float64]  # (nnz,), or (0,): each is 1
    times: NDArray[np.int64]  # (nnz,), or (0,): there are none
    segments: NDArray[np.int32]  # (m,) -1: not known

    @classmethod
    def of(cls, every: Events, n_columns: int, scale: Scale, weights: Sequence[float] | None) -> Self:
        """Return the rows of all users with a rating or interaction; ``weights``: of the interactions.

        Weights None: there are ratings alone.
        """
        events = every.at(every.kinds != A_SEGMENT)
        ids, columns, rated = events.ids(), np.arange(n_columns), events.kinds == A_RATING
        products: Any = columns  # a column is its own product id
        matrix = build_rating_matrix(
            events.user_ids[rated], products, events.columns[rated], events.steps[rated],
            in_catalog=np.ones(n_columns, np.bool_), rated_at=events.times[rated], scale=scale, ids=ids,
        )  # fmt: skip
        log = Interactions(
            events.user_ids[~rated], events.columns[~rated], products, events.kinds[~rated], events.times[~rated]
        )
        if weights is None:
            csr, steps = matrix.steps, matrix.steps.data
            numbers, confidences, times = matrix.user_ids, _NOTHING, _NO_TIMES
        else:
            matrix = widened(matrix, log, np.ones(n_columns, np.bool_)) if len(log) else matrix
            profiles = build_profiles(matrix, log, np.array(weights, np.float64))
            csr, numbers, confidences = profiles.confidences, matrix.user_ids, profiles.confidences.data
            times = _NO_TIMES if profiles.times is None else profiles.times
            steps = np.zeros(csr.nnz, np.int8)
            steps[np.searchsorted(_cells(csr), _cells(matrix.steps))] = matrix.steps.data
        names = ids.all_of(numbers) if ids.is_text else None
        indptr, places = csr.indptr.astype(np.int64), csr.indices.astype(np.int32)
        segments = _segments(every.at(every.kinds == A_SEGMENT), numbers)
        return cls(numbers, names, indptr, places, steps, confidences, times, segments)

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def n_entries(self) -> int:
        """Number of entries of all rows."""
        return len(self.columns)

    def digest(self) -> int:
        """Return a checksum of the rows."""
        arrays = self.user_ids, self.indptr, self.columns, self.steps, self.confidences, self.times, self.segments
        found = 0
        for array in (*arrays, *([] if self.names is None else [self.names])):
            found = crc32(np.ascontiguousarray(array).data, found)
        return found

    def take(self, rows: NDArray[np.integer]) -> Self:
        """Return these rows, in this order."""
        starts, counts = self.indptr[rows], np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        at = np.repeat(starts - indptr[:-1], counts) + np.arange(indptr[-1])
        return type(self)(
            self.user_ids[rows], None if self.names is None else self.names[rows], indptr,
            self.columns[at], self.steps[at], self.confidences[at] if len(self.confidences) else _NOTHING,
            self.times[at] if len(self.times) else _NO_TIMES, self.segments[rows],
        )  # fmt: skip

    def without_times(self) -> Self:
        """Return what other users are compared with."""
        return replace(self, times=_NO_TIMES)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts, part after part. All have texts, confidences and times, or none has."""
        ends = np.cumsum([0, *(part.n_entries for part in parts)])
        indptr = np.concatenate([[0], *(part.indptr[1:] + end for part, end in zip(parts, ends[:-1], strict=True))])
        names = None if parts[0].names is None else np.concatenate([part.names for part in parts])
        columns, steps = np.concatenate([p.columns for p in parts]), np.concatenate([p.steps for p in parts])
        confidences, times = np.concatenate([p.confidences for p in parts]), np.concatenate([p.times for p in parts])
        user_ids, segments = np.concatenate([p.user_ids for p in parts]), np.concatenate([p.segments for p in parts])
        return cls(user_ids, names, indptr.astype(np.int64), columns, steps, confidences, times, segments)

    def ids(self) -> UserIds:
        """Return what the shop calls these users."""
        return NUMBERS_AS_THEY_ARE if self.names is None else TextIds.made(self.names, self.user_ids)

    def ratings(self, n_columns: int) -> sp.csr_array:
        """Return the steps of the ratings, CSR (m, n_columns) int8 without zeros, as in `RatingMatrix`."""
        rated = self.steps > 0
        ends = np.concatenate([[0], np.cumsum(rated)])[self.indptr]
        indices = self.columns[rated]
        return sp.csr_array(
            (self.steps[rated], indices, ends.astype(_index_type(indices))), shape=(len(self), n_columns)
        )

    def profiles(self, n_columns: int) -> Profiles:
        """Return the profiles."""
        values = self.confidences if len(self.confidences) else np.ones(self.n_entries)
        parts = values, self.columns, self.indptr.astype(_index_type(self.columns))
        times = self.times if len(self.times) or not self.n_entries else None
        return Profiles(sp.csr_array(parts, shape=(len(self), n_columns)), times)


def _segments(people: Events, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the segment of each stored number (m,); -1: not known."""
    order = np.argsort(people.user_ids)
    listed = people.user_ids[order]
    if not len(listed):
        return np.full(len(numbers), NO_SEGMENT, np.int32)
    at = np.minimum(np.searchsorted(listed, numbers), len(listed) - 1)
    return np.where(listed[at] == numbers, people.columns[order][at], NO_SEGMENT).astype(np.int32)


def _cells(csr: Any) -> NDArray[np.int64]:
    """Return a number for each entry, ascending: row by row, column by column."""
    cells: NDArray[np.int64] = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr)) * csr.shape[1] + csr.indices
    return cells


def _index_type(indices: NDArray[Any]) -> type[np.signedinteger[Any]]:
    return np.int32 if len(indices) < 2**31 else np.int64
