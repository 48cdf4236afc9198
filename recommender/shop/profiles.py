"""Profiles of the users for the taste ranking: the products of each, how surely they are liked, and when.

A profile holds the products that the user rated or had an interaction with: a view, a click, an add_to_cart or a
purchase. The confidence c of a product is the larger of two numbers: 1 if the user rated it, whatever the stars, and
the weight of the strongest interaction. Stars do not count since the choice of a product predicts the next choices
better than its stars do (Cremonesi et al. 2010). The time of a product is that of the newest of these events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.shop.ratings import RatingMatrix, distinct

RATED = 1.0  # confidence of a rated product
INTERACTION_TYPES = ("view", "click", "add_to_cart", "purchase")


def interaction_weights(text: str) -> tuple[float, ...]:
    """Return the weights of INTERACTION_WEIGHTS in the order of `INTERACTION_TYPES`; of one not given 0. SettingError.

    >>> interaction_weights("click=0.5, purchase=2")
    (0.0, 0.5, 0.0, 2.0)
    """
    found = dict.fromkeys(INTERACTION_TYPES, 0.0)
    for part in text.replace(",", " ").split():
        name, _, weight = part.partition("=")
        if name not in found or not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", weight):
            raise SettingError(
                f"INTERACTION_WEIGHTS: {part[:60]!r} is not NAME=WEIGHT with a name of {', '.join(found)} and a "
                "weight from 0 to 999, for example purchase=2"
            )
        found[name] = float(weight)
    return tuple(found.values())


@dataclass(frozen=True, eq=False)
class Interactions:
    """The log of interactions: n events in any order."""

    user_ids: NDArray[np.int64]  # (n,)
    product_codes: NDArray[np.int32]  # (n,) index into product_ids
    product_ids: NDArray[np.bytes_]  # distinct, in any order
    kinds: NDArray[np.int8]  # (n,) into INTERACTION_TYPES
    times: NDArray[np.int64]  # (n,) microseconds since 1970, or NO_TIME
    left_out: Mapping[str, int] = field(default_factory=dict)  # rows of the table that are not here, by fault

    def __len__(self) -> int:
        return len(self.user_ids)

    def where(self, chosen: NDArray[np.bool_]) -> Interactions:
        """Return the events that are chosen (n,)."""
        return replace(
            self,
            user_ids=self.user_ids[chosen],
            product_codes=self.product_codes[chosen],
            kinds=self.kinds[chosen],
            times=self.times[chosen],
        )


@dataclass(frozen=True, eq=False)
class Profiles:
    """Profiles of n_users.

    ``confidences``: CSR (n_users, n_products) float64, columns ascending. ``times`` (nnz,): the time of each entry of
    its data; None if times were not read.
    """

    confidences: sp.csr_array
    times: NDArray[np.int64] | None

    def columns_of(self, row: int) -> NDArray[np.int32]:
        """Return the columns of one profile, ascending."""
        start, stop = self.confidences.indptr[row : row + 2]
        columns: NDArray[np.int32] = self.confidences.indices[start:stop]
        return columns

    def raters(self) -> NDArray[np.int64]:
        """Return the number of users who have each product, (n_products,)."""
        return np.bincount(self.confidences.indices, minlength=self.confidences.shape[1]).astype(np.int64)

    def arrays(self) -> list[NDArray[Any]]:
        """Return all arrays of the profiles."""
        csr = self.confidences
        return [csr.indptr, csr.indices, csr.data, *([] if self.times is None else [self.times])]


def widened(matrix: RatingMatrix, interactions: Interactions, in_catalog: NDArray[np.bool_]) -> RatingMatrix:
    """Return ``matrix`` with added rows and columns for the users and products that only interactions know.

    The added rows and columns hold no ratings. ``in_catalog``: for each of ``interactions.product_ids``, whether the
    catalog has it.
    """
    used = distinct(interactions.product_codes)
    keys = distinct(matrix.keys, matrix.ids.keys(interactions.user_ids))
    product_ids = distinct(matrix.product_ids, interactions.product_ids[used])
    recommendable = np.zeros(len(product_ids), np.bool_)
    recommendable[np.searchsorted(product_ids, interactions.product_ids[used])] = in_catalog[used]
    columns = np.searchsorted(product_ids, matrix.product_ids)
    recommendable[columns] = matrix.recommendable
    csr = matrix.steps
    counts = np.zeros(len(keys), csr.indptr.dtype)
    counts[np.searchsorted(keys, matrix.keys)] = np.diff(csr.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(csr.indptr.dtype)
    # the columns of both matrices ascend, so the entries of a row stay in order
    parts = csr.data, columns[csr.indices].astype(csr.indices.dtype), indptr
    steps = sp.csr_array(parts, shape=(len(keys), len(product_ids)))
    left_out = {**matrix.left_out, **interactions.left_out}
    given = matrix.rated_at, left_out, matrix.people, matrix.cursor, matrix.scale, matrix.ids
    return RatingMatrix(steps, matrix.ids.at(keys), product_ids, recommendable, *given)


def build_profiles(
    matrix: RatingMatrix, interactions: Interactions | None = None, weights: NDArray[np.float64] | None = None
) -> Profiles:
    """Return the profiles of the rows of ``matrix``.

    ``matrix`` has a row and a column for every user and product of ``interactions`` (see `widened`).
    ``weights`` (n kinds,) >= 0: the confidence of an interaction of each kind; 0: the kind does not count. The
    profiles have times if ``matrix.rated_at`` is given.
    """
    csr = matrix.steps
    rated_at = np.zeros(csr.nnz, np.int64) if matrix.rated_at is None else matrix.rated_at
    if interactions is None or weights is None or not len(interactions):
        ones = sp.csr_array((np.full(csr.nnz, RATED), csr.indices, csr.indptr), shape=csr.shape)
        return Profiles(ones, matrix.rated_at)
    confidence = weights[interactions.kinds]
    events = interactions.where(confidence > 0)
    rows = np.searchsorted(matrix.keys, matrix.ids.keys(events.user_ids))
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
