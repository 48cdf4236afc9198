"""What the taste ranking knows of each user: the products rated or turned to, how surely they are liked, and when.

The confidence c of a product is 1 if the user rated it, whatever the stars (Cremonesi et al. 2010: what people turn
to tells more of what they will turn to than how they rate it), or the weight of the strongest interaction if that is
more. An interaction is a view, a click, an add_to_cart or a purchase. The time is that of the newest of these events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.shop.ratings import RatingMatrix, distinct

RATED = 1.0  # confidence of a rated product
INTERACTION_TYPES = ("view", "click", "add_to_cart", "purchase")


@dataclass(frozen=True, eq=False)
class Interactions:
    """The log, n events in no particular order."""

    user_ids: NDArray[np.int64]  # (n,)
    product_codes: NDArray[np.int32]  # (n,) into product_ids
    product_ids: NDArray[np.bytes_]  # distinct, in no particular order
    kinds: NDArray[np.int8]  # (n,) into INTERACTION_TYPES
    times: NDArray[np.int64]  # (n,) microseconds since 1970, or NO_TIME
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows that are not here, by what is wrong with them

    def __len__(self) -> int:
        return len(self.user_ids)

    def where(self, chosen: NDArray[np.bool_]) -> Interactions:
        """The events of these places (n,)."""
        return replace(
            self,
            user_ids=self.user_ids[chosen],
            product_codes=self.product_codes[chosen],
            kinds=self.kinds[chosen],
            times=self.times[chosen],
        )


@dataclass(frozen=True, eq=False)
class Profiles:
    """``confidences`` CSR (n_users, n_products) float64, columns ascending; ``times`` (nnz,) of its data, or None."""

    confidences: sp.csr_array
    times: NDArray[np.int64] | None

    def columns_of(self, row: int) -> NDArray[np.int32]:
        """The columns of one profile, ascending."""
        start, stop = self.confidences.indptr[row : row + 2]
        columns: NDArray[np.int32] = self.confidences.indices[start:stop]
        return columns

    def arrays(self) -> list[NDArray[Any]]:
        """All there is to them."""
        csr = self.confidences
        return [csr.indptr, csr.indices, csr.data, *([] if self.times is None else [self.times])]


def widened(matrix: RatingMatrix, interactions: Interactions, in_catalog: NDArray[np.bool_]) -> RatingMatrix:
    """``matrix`` with rows and columns added for users and products that only interactions know, without ratings.

    ``in_catalog``: for each of ``interactions.product_ids``.
    """
    used = distinct(interactions.product_codes)
    user_ids = distinct(matrix.user_ids, interactions.user_ids)
    product_ids = distinct(matrix.product_ids, interactions.product_ids[used])
    recommendable = np.zeros(len(product_ids), np.bool_)
    recommendable[np.searchsorted(product_ids, interactions.product_ids[used])] = in_catalog[used]
    columns = np.searchsorted(product_ids, matrix.product_ids)
    recommendable[columns] = matrix.recommendable
    csr = matrix.half_stars
    counts = np.zeros(len(user_ids), csr.indptr.dtype)
    counts[np.searchsorted(user_ids, matrix.user_ids)] = np.diff(csr.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(csr.indptr.dtype)
    # both ascend, so columns stay in order within each row
    parts = csr.data, columns[csr.indices].astype(csr.indices.dtype), indptr
    half_stars = sp.csr_array(parts, shape=(len(user_ids), len(product_ids)))
    left_out = {**matrix.left_out, **interactions.left_out}
    given = matrix.rated_at, left_out, matrix.people, matrix.cursor
    return RatingMatrix(half_stars, user_ids, product_ids, recommendable, *given)


def build_profiles(
    matrix: RatingMatrix, interactions: Interactions | None = None, weights: NDArray[np.float64] | None = None
) -> Profiles:
    """Profiles of the rows of ``matrix``, which must know all users and products of ``interactions`` (``widened``).

    ``weights`` (n kinds,) >= 0: the confidence an interaction gives; 0: it does not count. Times are those of
    ``matrix.rated_at``; where that is None there are none.
    """
    csr = matrix.half_stars
    rated_at = np.zeros(csr.nnz, np.int64) if matrix.rated_at is None else matrix.rated_at
    if interactions is None or weights is None or not len(interactions):
        ones = sp.csr_array((np.full(csr.nnz, RATED), csr.indices, csr.indptr), shape=csr.shape)
        return Profiles(ones, matrix.rated_at)
    confidence = weights[interactions.kinds]
    events = interactions.where(confidence > 0)
    rows = np.searchsorted(matrix.user_ids, events.user_ids)
    columns = np.searchsorted(matrix.product_ids, events.product_ids)[events.product_codes]
    rated_rows = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    keys = np.concatenate([rated_rows, rows]) * csr.shape[1] + np.concatenate([csr.indices, columns])
    sure = np.concatenate([np.full(csr.nnz, RATED), confidence[confidence > 0]])
    times = np.concatenate([rated_at, events.times])
    order = np.argsort(keys, kind="stable")
    distinct, firsts = np.unique(keys[order], return_index=True)
    strongest = np.maximum.reduceat(sure[order], firsts) if len(distinct) else sure
    newest = np.maximum.reduceat(times[order], firsts) if len(distinct) else times
    indptr = np.searchsorted(distinct, np.arange(csr.shape[0] + 1) * csr.shape[1])
    parts = strongest, (distinct % csr.shape[1]).astype(np.int32), indptr.astype(csr.indptr.dtype)
    return Profiles(sp.csr_array(parts, shape=csr.shape), None if matrix.rated_at is None else newest)
