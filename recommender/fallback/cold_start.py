"""The cold start: own ratings -> own interactions -> people of the user's segment -> products that are popular now.

Ratings and interactions are one profile (`recommender.shop.profiles`), so the first two steps are the taste ranking
itself. If it leaves a list short, or the user has no profile, the user's segment fills the list: people of the same
country and age group. Products are ordered by score_s(i), which becomes decayed popularity if the segment has no
events or is not known (`recommender.fallback.decayed_popularity` has both formulas). Each product has a source
(`SOURCES`): "segment" if a member of the segment has it, else "popular". Stars shown are (sum of r + 10 mu) / (n + 10),
as in `recommender.fallback.popular`; without a rating that is mu.

New products.  Nobody has them, so no step above finds them (`recommender.fallback.new_products`). `NEW_PRODUCT_SHARE`
of the whole lists hold one. Its category is one of the user's profile, each entry of the profile with the same chance,
or any category if there is no profile. A hash of user and version decides who gets one, and which: the same on every
machine, another with the next version. The place of the new product is a rank of the whole list: the last one of the
default length, or the end of a list that ends before, and never the first. The product that would stand there comes
after it. So the pages of a list are cuts of one list. That costs at most share / log2(n + 1) of DCG@n, if the last
place were always right: 0.029 at n = 10. Measured (`python -m benchmarks.cold_start`), nDCG@10 of the taste ranking
without and with: 0.2921 and 0.2918 on planted shoppers, 0.1254 and 0.1248 on MovieLens small, 0.0429 and 0.0426 on All
Beauty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.arrays import at_least_one, checked_numbers
from recommender.errors import SettingError
from recommender.fallback import _cold_start_kernels
from recommender.fallback._cold_start_kernels import Cap, Ladder, New, Place
from recommender.fallback._saved_cold_start import check_cold_start
from recommender.fallback.caps import NO_CAP
from recommender.fallback.decayed_popularity import (
    HALF_LIFE_DAYS,
    SEGMENT_PRIOR,
    decayed,
    popularity,
    segment_scores,
    shares,
)
from recommender.fallback.decayed_sums import PopularitySums, popularity_sums
from recommender.fallback.new_products import no_new_products
from recommender.fallback.popular import means_from
from recommender.fallback.walked_lists import NO_FLAGS, Near, OneList, empty_lines
from recommender.shop import Profiles, RatingMatrix, Scale, ShopSums, shop_sums

SOURCES = ("neighbors", "segment", "popular", "new")
NEW_PRODUCT_SHARE = 0.1
UNKNOWN_SEGMENT = -1
_LONGEST = 2_000  # products of a list
_NEIGHBORS_ALONE, _IN_ORDER = np.zeros(_LONGEST, np.int8), np.arange(_LONGEST, dtype=np.int32)

kernels: Any = _cold_start_kernels  # compiled functions have no signature a type checker could use


class FilledLists(NamedTuple):
    """Lists of many rows, (m, n) each; after the end of a list columns and sources are -1, stars 0."""

    columns: NDArray[np.int32]
    stars: NDArray[np.float64]
    sources: NDArray[np.int8]  # index into SOURCES; "new" may have the place of a product with evidence


@dataclass(frozen=True, eq=False)
class ColdStart:
    """The fallback of the taste ranking, prepared once for many lists; threads may share it."""

    ladder: Ladder
    new: New
    segment_of_row: NDArray[np.int32]  # (n_users,) -1: not known
    mean: float  # mu, the stars of products without a rating
    seen: Any  # CSR (n_users, n_products), columns ascending: products that never fill a list
    user_ids: NDArray[np.int64]  # (n_users,)

    def top_up(
        self,
        rows: ArrayLike,
        columns: NDArray[np.integer],
        stars: NDArray[np.floating],
        *,
        without: NDArray[Any] | None = None,
        version: int = 0,
        new_share: float = NEW_PRODUCT_SHARE,
    ) -> FilledLists:
        """Return copies of ``columns`` and ``stars`` (len(rows), n), best first, filled where they end in -1.

        A product that the row has seen, that its list holds, or that may not be recommended never fills a list. A list
        stays short only if nothing is left. ``without``: columns that no list may get, or a flag for each column.
        ``version``: of the lists, 0 or more. ``new_share``: the share of lists that get a new product (0: none). It
        takes the last place, also from a neighbors' product.
        Columns from n_products on are new products that only the catalog knows (`recommender.shop.products`).
        SettingError for arguments that do not fit.
        """
        wanted = checked_numbers("row", rows, len(self.segment_of_row))
        lists = np.array(columns, np.int32, order="C"), np.array(stars, np.float64, order="C")
        if lists[0].ndim != 2 or len(lists[0]) != len(wanted) or lists[0].shape != lists[1].shape:
            raise SettingError(
                f"columns {lists[0].shape} and stars {lists[1].shape} must have one line per row ({len(wanted)}): "
                "pass both as the ranking gave them"
            )
        lines, place = empty_lines(*lists[0].shape), self.place(lists[0].shape[1], version, new_share)
        kernels.fill(
            wanted, self.segment_of_row[wanted], self.user_ids[wanted], self.seen.indptr, self.seen.indices,
            self._flags(without), *lists, self.ladder, self.new, NO_CAP, place, lines,
        )  # fmt: skip
        return FilledLists(lines.columns, lines.stars, lines.sources)

    def place(self, rank: int, version: int, new_share: float) -> Place:
        """Return the place of new products: ``rank``, from 1, in this share of the lists of a version. SettingError.

        A list of one product has no new product.
        """
        if not 0.0 <= new_share <= 1.0:
            raise SettingError(f"new_share={new_share!r} cannot be used: pass a share from 0 to 1")
        if version < 0:
            raise SettingError(f"version={version!r} cannot be used: pass a whole number from 0")
        return Place(max(rank - 1, 1), int(new_share * 2**53), version, self.mean)

    def list_of_row(
        self, row: int, near: Near, n: int, *, without: NDArray[np.bool_] | None, cap: Cap, place: Place
    ) -> OneList:
        """Return the first n of the whole list of a row whose ranking gave ``near``. Arguments are not checked."""
        columns = near.columns[0]
        if not cap.most and len(columns) == n <= _LONGEST and columns[-1] >= 0 and not self._may_get_new(place)[row]:
            return OneList(columns, near.stars[0], _NEIGHBORS_ALONE[:n], _IN_ORDER[:n])  # most lists: no walk is needed
        rows, lines, one = np.array([row], np.int64), empty_lines(1, n), slice(row, row + 1)
        found = kernels.fill(
            rows, self.segment_of_row[one], self.user_ids[one], self.seen.indptr, self.seen.indices,
            self._flags(without), *near, self.ladder, self.new, cap, place, lines,
        )  # fmt: skip
        return OneList.of(lines, found)

    def _may_get_new(self, place: Place) -> NDArray[np.bool_]:
        """Tell for each row whether its list gets a new product, (n_users,). The flags of the last place are kept."""
        if (kept := self._drawn.get(place)) is None:
            self._drawn.clear()
            kept = self._drawn[place] = kernels.drawn(self.user_ids, place.version, place.below)
        return kept

    @cached_property
    def _drawn(self) -> dict[Place, NDArray[np.bool_]]:
        return {}

    def list_of(
        self,
        segment: int,
        seen: ArrayLike,
        near: Near,
        n: int,
        *,
        user_id: int,
        without: NDArray[Any] | None,
        cap: Cap,
        place: Place,
    ) -> OneList:
        """Return the first n for a user of ``segment``, -1: not known, who has the columns ``seen``. SettingError."""
        if not -1 <= segment < self.n_segments:
            there = f"pass one from 0 to {self.n_segments - 1}, or -1" if self.n_segments else "there is none; pass -1"
            raise SettingError(f"segment={segment!r} does not exist: {there}")
        found, lines = np.unique(np.asarray(seen, self.seen.indices.dtype)), empty_lines(1, n)  # (k,) ascending
        ends = np.array([0, len(found)], self.seen.indptr.dtype)
        n_found = kernels.fill(
            np.zeros(1, np.int64), np.array([segment], np.int32), np.array([user_id], np.int64), ends, found,
            self._flags(without), *near, self.ladder, self.new, cap, place, lines,
        )  # fmt: skip
        return OneList.of(lines, n_found)

    def for_segment(
        self,
        segment: int,
        excluded: ArrayLike,
        n: int,
        *,
        user_id: int,
        without: NDArray[Any] | None = None,
        version: int = 0,
        new_share: float = NEW_PRODUCT_SHARE,
    ) -> FilledLists:
        """Return a list (1, n) for a user without a row: of ``segment``, -1: not known, without ``excluded`` columns.

        Rules and errors are those of `top_up`.
        """
        width = at_least_one("n", n)
        found = self.list_of(
            segment, excluded, Near.nothing(), width, user_id=user_id, without=without, cap=NO_CAP,
            place=self.place(width, version, new_share),
        )  # fmt: skip
        return FilledLists(*(array[None] for array in found.padded(width)))

    def _flags(self, columns: NDArray[Any] | None) -> NDArray[np.bool_]:
        """Return a flag for each column, the catalog's own included, from columns or flags; (0,) if there are none."""
        if columns is None or not len(columns):
            return NO_FLAGS
        size = self.seen.shape[1] + len(self.new.columns)
        if columns.dtype == np.bool_:
            missing = size - len(columns)
            return np.concatenate([columns, np.zeros(missing, np.bool_)]) if missing > 0 else columns
        flags = np.zeros(max(size, int(np.max(columns)) + 1), np.bool_)
        flags[columns] = True
        return flags

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return len(self.ladder.starts) - 1

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays but ``seen`` and ``user_ids``, for a file."""
        plain = {"segment_of_row": self.segment_of_row, "mean": np.array([self.mean])}
        new = {f"new.{name}": array for name, array in self.new._asdict().items()}
        return self.ladder._asdict() | new | plain

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], seen: Any, user_ids: NDArray[np.int64]) -> ColdStart:
        """Return the owner of these `arrays`, for the same users. SettingError if compiled code would leave them."""
        check_cold_start(arrays, seen, user_ids)
        ladder = Ladder(*(arrays[name] for name in Ladder._fields))
        new = New(*(arrays[f"new.{name}"] for name in New._fields))
        return cls(ladder, new, arrays["segment_of_row"], float(arrays["mean"][0]), seen, user_ids)


def build_cold_start(
    matrix: RatingMatrix,
    profiles: Profiles,
    *,
    segments: NDArray[np.int32] | None = None,
    n_segments: int | None = None,
    new: New | None = None,
    half_life: int | None = HALF_LIFE_DAYS,
    prior: float = SEGMENT_PRIOR,
    seen: Any = None,
) -> ColdStart:
    """Order the products of ``matrix`` by what ``profiles`` of its rows hold.

    ``segments`` (n_users,): the segment of each row, -1: not known; None: no segments. ``n_segments``: their number,
    by default one more than the largest. ``new``: `find_new_products`; None: there are none. ``half_life`` in days and
    ``prior`` as in `recommender.fallback.decayed_popularity`. ``seen``: CSR of products that never fill a list; None:
    the profiles. SettingError for arguments that do not fit.
    """
    n_users, n_products = matrix.shape
    mine = np.full(n_users, UNKNOWN_SEGMENT, np.int32) if segments is None else np.asarray(segments, np.int32)
    largest = int(mine.max(initial=UNKNOWN_SEGMENT)) + 1
    count = largest if n_segments is None else n_segments
    if mine.shape != (n_users,) or mine.min(initial=UNKNOWN_SEGMENT) < UNKNOWN_SEGMENT or largest > count:
        raise SettingError(
            f"segments {mine.shape} do not fit: pass one number for each of {n_users} rows, from -1 to {count - 1}"
        )
    sums = popularity_sums(profiles, decayed(profiles, half_life), mine, count)
    whole = shop_sums(matrix.steps, matrix.steps)
    ladder, mean = ladder_from(whole, sums, matrix.recommendable, matrix.scale, n_segments=count, prior=prior)
    chances = no_new_products(n_products) if new is None else new
    without = profiles.confidences if seen is None else seen
    return ColdStart(ladder, chances, mine, mean, without, matrix.user_ids)


def ladder_from(
    sums: ShopSums,
    popularity_of: PopularitySums,
    recommendable: NDArray[np.bool_],
    scale: Scale,
    *,
    n_segments: int,
    prior: float = SEGMENT_PRIOR,
) -> tuple[Ladder, float]:
    """Return the ladder of the shop that has these sums, and the mean of its ratings, NaN without any.

    With the rows of a part of the users, both make the `ColdStart` of the part. ``recommendable`` (n_products,).
    """
    stars = means_from(sums, scale)
    popular = popularity(popularity_of, recommendable, stars)
    parts = shares(popular, prior)
    own = segment_scores(popularity_of, popular, parts, n_segments)
    mean = float(np.rint(sums.mean_rating(scale) * 1e9) / 1e9)  # the damped mean of a product without a rating
    return Ladder(popular.columns, parts, own.starts, own.columns, own.scores, stars), mean
