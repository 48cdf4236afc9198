"""Ratings as a sparse users x products matrix, and the translation between ids and rows or columns.

A rating is stored as a whole number of the scale's steps, 1..127, in one byte, so that every dot product is exact
(half stars by default). Rows are users by ascending user_id, as the shop spells it (`recommender.shop.user_ids`).
Columns are products by ascending product_id (bytes of UTF-8, see `ids`). So the smaller row or column is the smaller
id, and ties go to it everywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import SettingError, UnknownUserError
from recommender.shop.cursor import NOTHING_READ, Cursor
from recommender.shop.scale import HALF_STARS, Scale
from recommender.shop.user_ids import LARGEST_USER_ID, NUMBERS_AS_THEY_ARE, UserId, UserIds

NO_TIME = -(10**18)  # the time of a rating or interaction without a known time; below every real time
_NO_ROW = "is unknown: the matrix has those who rated a product, and by taste those with an interaction"


@dataclass(frozen=True, eq=False)
class RatingMatrix:
    """All ratings: ``steps`` CSR (n_users, n_products) int8 with sorted columns and no explicit zeros.

    The values of ``steps`` are steps of the ``scale``: a stored 9 is 4.5 stars on the default scale.
    ``user_ids`` (n_users,) int64: the stored numbers of the users, which are the ids of a shop of whole numbers. They
    ascend as the shop's own ids do, see ``ids``. ``product_ids`` (n_products,) bytes ascend.
    ``recommendable`` (n_products,) bool: whether the product is in the catalog. Norms and cosines use all ratings;
    candidates are recommendable products only.
    ``rated_at`` (n_ratings,) int64: microseconds since 1970 or `NO_TIME`, aligned with ``steps.data``; None if
    times were not read.
    ``left_out``: number of rows of the tables that are not in the matrix, by fault.
    ``people``: the token of the people whom the user_ids mean (`recommender.database.identities`).
    ``ids``: what the shop calls the users.
    ``cursor``: the position in the tables' changes, read before the ratings. A rating deleted after it may be here.
    """

    steps: sp.csr_array
    user_ids: NDArray[np.int64]
    product_ids: NDArray[np.bytes_]
    recommendable: NDArray[np.bool_]
    rated_at: NDArray[np.int64] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    people: str | None = None
    cursor: Cursor = NOTHING_READ
    scale: Scale = HALF_STARS
    ids: UserIds = NUMBERS_AS_THEY_ARE

    @property
    def shape(self) -> tuple[int, int]:
        """(n_users, n_products)"""
        n_users, n_products = self.steps.shape
        return int(n_users), int(n_products)

    @property
    def n_ratings(self) -> int:
        """Number of ratings."""
        return int(self.steps.nnz)

    @property
    def n_timed(self) -> int:
        """Number of ratings that have a time."""
        return 0 if self.rated_at is None else int(np.count_nonzero(self.rated_at != NO_TIME))

    @cached_property
    def mean_rating(self) -> float:
        """Mean of all ratings on their scale; NaN if there are none."""
        total = int(self.steps.data.sum(dtype=np.int64))
        return self.scale.unit * total / self.n_ratings if self.n_ratings else math.nan

    def row_of(self, user_id: object) -> int:
        """Return the row of a user, by the shop's id. UnknownUserError if there is none: then there are no ratings."""
        number = self.ids.number_of(user_id)
        row = None if number is None else self.row_of_number(number)
        if row is None:
            raise UnknownUserError(user_id, _NO_ROW)
        return row

    def row_of_number(self, number: int) -> int | None:
        """Return the row of a user, by the stored number; None if there is none."""
        ascending, rows = self._by_number
        at = int(ascending.searchsorted(number))
        if at == len(ascending) or ascending[at] != number:
            return None
        return at if rows is None else int(rows[at])

    @cached_property
    def _by_number(self) -> tuple[NDArray[np.int64], NDArray[np.intp] | None]:
        """Return the stored numbers, ascending, and the row of each; None: their own places."""
        if not self.ids.is_text:
            return self.user_ids, None
        rows = np.argsort(self.user_ids)
        return self.user_ids[rows], rows

    def rows_of(self, numbers: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the rows of stored numbers (n,); -1 where there is none."""
        if not len(self.user_ids):
            return np.full(len(numbers), -1, np.intp)
        rows = np.minimum(np.searchsorted(self.keys, self.ids.keys(numbers)), len(self.user_ids) - 1)
        return np.where(self.user_ids[rows] == numbers, rows, -1)

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        """The order keys of the users, (n_users,), ascending."""
        return self.ids.keys(self.user_ids)

    def user_of(self, row: int) -> UserId:
        """Return the shop's id of the user in a row."""
        return self.ids.of(int(self.user_ids[row]))

    def rated_columns(self, row: int) -> NDArray[np.int32]:
        """Return the columns that this row rated, ascending."""
        start, stop = self.steps.indptr[row : row + 2]
        columns: NDArray[np.int32] = self.steps.indices[start:stop]
        return columns

    def ratings_of(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Return the columns, ascending, and the steps of this row's ratings."""
        part = slice(*self.steps.indptr[row : row + 2])
        return self.steps.indices[part], self.steps.data[part]

    def products(self, columns: NDArray[np.integer]) -> list[str]:
        """Return the product ids of these columns as text."""
        return [product.decode() for product in self.product_ids[columns].tolist()]

    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that differ when any id, rating, recommendable flag or time (if read) does."""
        csr = self.steps
        times = [] if self.rated_at is None else [self.rated_at]
        scale = "" if self.scale == HALF_STARS else str(self.scale.to_json())
        times += self.ids.arrays()
        return fingerprint_of(
            scale, self.user_ids, self.product_ids, self.recommendable, csr.indptr, csr.indices, csr.data, *times
        )


def fingerprint_of(text: str, *arrays: NDArray[Any]) -> str:
    """Return 32 hexadecimal digits that differ when the text or any value does."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.kind}{len(array)};".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8))  # type: ignore[arg-type]  # not copied
    return digest.hexdigest()


def checked_user_id(user_id: object) -> int:
    """Return ``user_id`` if it is a whole number from 0 to 2^63 - 1; SettingError otherwise."""
    number = NUMBERS_AS_THEY_ARE.number_of(user_id)
    if number is None:
        raise SettingError(f"user_id {user_id!r} is not a whole number from 0 to {LARGEST_USER_ID}")
    return number


def build_rating_matrix(
    user_ids: NDArray[np.int64],
    products: NDArray[np.bytes_],
    product_codes: NDArray[np.integer],
    steps: NDArray[np.int8],
    *,
    in_catalog: NDArray[np.bool_],
    rated_at: NDArray[np.int64] | None = None,
    left_out: Mapping[str, int] | None = None,
    scale: Scale = HALF_STARS,
    ids: UserIds = NUMBERS_AS_THEY_ARE,
) -> RatingMatrix:
    """Return the matrix of n ratings, given in any order, one per user and product.

    ``user_ids`` (n,); ``product_codes`` (n,): index into ``products`` (distinct, any order); ``steps`` (n,):
    steps of the ``scale``; ``in_catalog`` (n_products,): which of ``products`` may be recommended; ``rated_at`` (n,):
    microseconds since 1970; ``left_out``: rows of the table that are not among them, by fault; ``ids`` of all
    ``user_ids``.
    """
    keys, rows = _ranks(ids.keys(user_ids))
    distinct_users = ids.at(keys)
    order = np.argsort(products)  # (n_products,)
    column_of = np.empty(len(products), np.int32)
    column_of[order] = np.arange(len(products), dtype=np.int32)
    shape = (len(distinct_users), len(products))
    if rated_at is None:
        matrix = sp.coo_array((steps, (rows, column_of[product_codes])), shape=shape).tocsr()
        matrix.sort_indices()
        given = None, left_out or {}
        return RatingMatrix(matrix, distinct_users, products[order], in_catalog[order], *given, scale=scale, ids=ids)
    # sort the positions of the ratings, then fetch stars and times by them
    places = sp.coo_array((np.arange(1, len(rows) + 1), (rows, column_of[product_codes])), shape=shape).tocsr()
    places.sort_indices()
    matrix = sp.csr_array((steps[places.data - 1], places.indices, places.indptr), shape=shape)
    times = rated_at[places.data - 1]
    given_ = times, left_out or {}
    return RatingMatrix(matrix, distinct_users, products[order], in_catalog[order], *given_, scale=scale, ids=ids)


def distinct(*arrays: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct values of all arrays, ascending, as ``np.unique`` does.

    Other threads run meanwhile. `np.unique` stops them while it hashes whole numbers (100 ms for some 100,000).

    >>> distinct(np.array([3, 1]), np.array([1, 2])).tolist()
    [1, 2, 3]
    """
    ordered = np.sort(np.concatenate(arrays))
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def _ranks(user_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the distinct ids, ascending, and the index of each id among them. Sort only ids that do not ascend yet."""
    jumps = np.diff(user_ids)
    if len(user_ids) and (jumps >= 0).all():
        first = np.concatenate([[True], jumps > 0])  # (n,) first rating of each user
        return user_ids[first], np.cumsum(first, dtype=np.int32) - 1
    distinct_ids, ranks = np.unique(user_ids, return_inverse=True)
    return distinct_ids, ranks.astype(np.int32)  # as above: the code that is compiled is for this type
