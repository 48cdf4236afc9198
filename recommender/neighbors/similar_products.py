"""Similar products: the exact cosine kernel on the transposed matrix, products as rows and users as columns.

    sim(i, j) = sum over the users who rated both of r(u,i) * r(u,j)  /  (|r(i)| * |r(j)|)

Norms run over all of a product's ratings, unrated = 0. Item-based collaborative filtering after Sarwar et al., WWW 2001
(the plain cosine of section 3.1.1, not mean-centered) and Linden et al. 2003 (Amazon's item-to-item, IEEE Internet
Computing 7/1). Order, ties and exactness are those of `recommender.neighbors.cosine_index`: cosine descending, decided
in whole numbers; a tie goes to the smaller product_id.

A cosine alone says little about products with few raters: two products that only one person rated have 1.0. So every
answer carries its evidence, the number of users who rated both.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import at_least_one
from recommender.errors import SettingError
from recommender.neighbors.cosine_index import CosineIndex, Neighbors
from recommender.neighbors.entries import Entries, bits_of
from recommender.shop import RatingMatrix

GROWTH = 4  # factor of the next, longer list where the mask left too few: few rounds, few products read in vain


class SimilarColumns(NamedTuple):
    """Similar products of one product, best first, (m,) each: columns of the matrix, cosines, users who rated both."""

    columns: NDArray[np.int32]
    similarities: NDArray[np.float64]
    n_common: NDArray[np.int32]


class SimilarProducts:
    """The similar products of one rating matrix; threads may share it.

    The transposed index is prepared once, by `prepare` or at the first call that needs it: 0.4 s and 41 MB for 3.8
    million ratings of 300,000 products by 200,000 users.
    """

    def __init__(self, matrix: RatingMatrix, *, arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Take the matrix; ``arrays``: those of an earlier `SimilarProducts` on the same matrix, used without a copy.

        Raises SettingError for arrays that are damaged or of a matrix of another size. Contents are not proofread.
        """
        self._matrix, self._n_products = matrix, matrix.shape[1]
        self._lock = threading.Lock()
        self._share = np.count_nonzero(matrix.recommendable) / max(self._n_products, 1)
        self._prepared: _Prepared | None = None
        if arrays is not None:
            self._prepared = _Prepared.of(CosineIndex.from_arrays(arrays))
            if self._prepared.size() != (*matrix.shape, matrix.n_ratings):
                raise SettingError(
                    f"prepared arrays for (users, products, ratings) {self._prepared.size()} do not belong to a matrix "
                    f"of {(*matrix.shape, matrix.n_ratings)}: prepare them again"
                )

    def similar(self, column: int, n: int) -> SimilarColumns:
        """Return the n most similar other products that are recommendable and have a cosine > 0, best first.

        The mask is applied before the cut, so fewer than n come only if there are no more. The product asked about need
        not be recommendable. A product without ratings has no similar ones.
        Raises SettingError for a column that does not exist and for n < 1; RatingError as `CosineIndex`.
        """
        n = min(at_least_one("n", n), self._n_products)
        column = self._checked(column)
        prepared = self._ready()
        columns, similarities = self._recommendable(prepared.index, column, n)
        return SimilarColumns(columns, similarities, prepared.n_common(column, columns))

    def prepare(self) -> None:
        """Prepare the transposed index now, unless it is, so that the first question need not wait."""
        self._ready()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the prepared arrays by name, not copied, for a file and as ``arrays``. Do not change them."""
        return self._ready().index.arrays()

    def _ready(self) -> _Prepared:
        if self._prepared is None:
            with self._lock:
                if self._prepared is None:  # another thread may have prepared it meanwhile
                    self._prepared = _Prepared.of(CosineIndex(self._matrix.steps.T.tocsr()))
        return self._prepared

    def _recommendable(self, index: CosineIndex, column: int, n: int) -> Neighbors:
        """Return the first n recommendable products. Ask for a longer list until it holds n or ends."""
        if self._share == 0.0:  # without this, the whole list would be read in vain
            return np.empty(0, np.int32), np.empty(0)
        mask, all_others = self._matrix.recommendable, max(self._n_products - 1, 1)
        k = min(_enough(n, self._share), all_others)
        while True:
            columns, similarities = index.neighbors(column, k)
            kept = np.flatnonzero(mask[columns])[:n]
            if kept.size == n or columns.size < k or k == all_others:
                return columns[kept], similarities[kept]
            k = min(k * GROWTH, all_others)

    def _checked(self, column: object) -> int:
        if isinstance(column, int | np.integer) and not isinstance(column, bool) and 0 <= column < self._n_products:
            return int(column)
        raise SettingError(f"column {column!r} does not exist: pass one of the {self._n_products} columns, from 0")


@dataclass(frozen=True, eq=False)
class _Prepared:
    """The index of products. Its arrays also tell who rated each product, so one copy serves both."""

    index: CosineIndex
    n_users: int
    starts: NDArray[np.int64]  # (n_products + 1,)
    entries: Entries  # (n_ratings,) user << shift | rating, by product
    shift: np.unsignedinteger

    @classmethod
    def of(cls, index: CosineIndex) -> _Prepared:
        arrays = {name.partition(".")[2]: array for name, array in index.arrays().items()}
        packed = "ratings" in arrays
        entries = arrays["ratings"] if packed else arrays["indices"]
        shift = entries.dtype.type(bits_of(entries) if packed else 0)
        return cls(index, arrays["list_starts"].size - 1, arrays["indptr"], entries, shift)

    def size(self) -> tuple[int, int, int]:
        """Return (n_users, n_products, n_ratings)."""
        return self.n_users, self.index.shape[0], self.entries.size

    def n_common(self, column: int, others: NDArray[np.int32]) -> NDArray[np.int32]:
        """Count the users who rated both the column and each of the others, (m,). Each of the others has ratings."""
        if others.size == 0:
            return np.empty(0, np.int32)
        rated = np.zeros(self.n_users, np.bool_)  # (n_users,)
        rated[self._entries_of(column) >> self.shift] = True
        lists = [self._entries_of(other) for other in others.tolist()]
        starts = np.cumsum([0, *map(len, lists[:-1])])  # (m,)
        both = rated[np.concatenate(lists) >> self.shift]  # raters of the first other, of the second, ...
        return np.add.reduceat(both, starts, dtype=np.int32)

    def _entries_of(self, column: int) -> Entries:
        return self.entries[self.starts[column] : self.starts[column + 1]]


def _enough(n: int, share: float) -> int:
    """Return how many products to ask for so that n remain where chance decides: n / share and three deviations more.

    Of k products, k * share remain, give or take the root of k * share * (1 - share). At share 1 this is n.
    """
    return math.ceil((n + 3.0 * math.sqrt(n * (1.0 - share))) / share)
