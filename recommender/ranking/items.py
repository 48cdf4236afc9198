"""The `items` ranking: products that go with those that the user has, by a linear model of products from products.

B(j, i) says how much product j speaks for product i (`recommender.items`: EASE^R, Steck 2019). Over the products j of
the user u:

    support(i) = sum of d_uj * s_uj * c_uj * B(j, i)          c the profile's confidence, 1 for a rated product
    score(i)   = support(i) / raters_i^damping
    s_uj       = the rating that u gave / the highest of the scale; 1 for a product that u did not rate
    d_uj       = 0.5^(number of u's strictly newer products / half_life); 1 without a time, or if half_life is 0

Order: score descending, then support descending, then column ascending. Only products with a score above 0 are ranked.
The stars shown are those of taste (`recommender.ranking.taste`), from the neighbors by taste: a score is not a rating.

Sums run in the order of the columns in float64; B is whole numbers of a fixed grid; score, support and stars are
rounded to 9 decimals before anything is ordered. So given B, the answer is the same on every machine and thread count.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import SettingError
from recommender.fallback import Cap, first_under_cap
from recommender.items import GRID_BITS, ItemWeights, train_items
from recommender.neighbors import damping_divisors
from recommender.ranking import _item_kernels
from recommender.ranking._item_kernels import ItemProfiles, PackedWeights
from recommender.ranking.beside_taste import BesideTaste, add_stars
from recommender.ranking.parameters import ITEMS, ItemParameters
from recommender.ranking.taste import TasteRanker
from recommender.ranking.taste_votes import Lists, RankedByTaste, TasteVotes
from recommender.shop import HALF_STARS, NO_TIME, Profiles

HALVINGS = 60  # a product that so many half-lives have passed over counts as after so many: nothing any more
LONG = 1_024  # newer products that are tabulated at once; more only for a user who has more
_DIGITS = Context(prec=20)  # 3 more than a float64 has

kernels: Any = _item_kernels  # compiled functions have no signature a type checker could use


def train_item_weights(
    profiles: Profiles,
    parameters: ItemParameters,
    *,
    n_threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> ItemWeights:
    """Return B of these profiles, each divided by its length^length_power (and their mean kept)."""
    confidences = profiles.confidences
    if parameters.length_power:
        lengths = np.maximum(np.diff(confidences.indptr), 1) ** parameters.length_power  # (n_users,)
        scales = np.repeat(lengths.mean() / lengths, np.diff(confidences.indptr))
        parts = confidences.data * scales, confidences.indices, confidences.indptr
        confidences = sp.csr_array(parts, shape=confidences.shape)
    return train_items(confidences, ridge=parameters.ridge, n_threads=n_threads, progress=progress)


def asking_profiles(
    indptr: NDArray[Any],
    columns: NDArray[np.int32],
    confidences: NDArray[np.float64],
    steps: NDArray[Any],
    times: NDArray[np.int64] | None,
    half_life: float,
    most: int = HALF_STARS.most,
) -> ItemProfiles:
    """Return the profiles as they ask: c * s * d. All but ``indptr`` are (nnz,).

    ``steps``: steps of the scale, up to ``most``, 0 where not rated. ``times`` None: nothing is decayed.
    """
    values = confidences * np.where(steps > 0, steps / most, 1.0)
    if half_life and times is not None and len(times):
        newer = _newer(indptr, times)
        most = max(int(HALVINGS * half_life), 1)  # also of a tiny half-life, one newer product makes a product nothing
        table = _halvings(half_life, min(most, max(LONG, 1 << int(newer.max()).bit_length())))
        values *= table[np.minimum(newer, len(table) - 1)]
    return ItemProfiles(indptr.astype(np.int64), columns, np.ascontiguousarray(values, np.float64))


def _newer(indptr: NDArray[Any], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each entry the number of strictly newer entries of its row, 0 for `NO_TIME`: (nnz,)."""
    counts = np.diff(indptr)
    row = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-times, row))  # newest first within each row
    ordered, place = times[order], np.arange(len(times)) - np.repeat(indptr[:-1].astype(np.int64), counts)
    first = np.ones(len(times), np.bool_)  # of entries of one row and time
    first[1:] = (ordered[1:] != ordered[:-1]) | (row[order][1:] != row[order][:-1])
    newer = np.empty(len(times), np.int64)
    newer[order] = place[np.maximum.accumulate(np.where(first, np.arange(len(times)), 0))]
    newer[times == NO_TIME] = 0
    return newer


@lru_cache(maxsize=64)
def _halvings(half_life: float, most: int) -> NDArray[np.float64]:
    """Return 0.5^(n / half_life) for n from 0 to most, correctly rounded."""
    exact = Decimal(repr(half_life))
    powers = [_DIGITS.power(Decimal("0.5"), _DIGITS.divide(n, exact)) for n in range(most + 1)]
    return np.array([float(power) for power in powers])


class ItemVotes:
    """B and the profiles that ask it, prepared once for many rankings; threads may share them.

    raters: through ``taste``, whose index has the statistics. recommendable: (n_columns,) mask, None for all.
    """

    def __init__(
        self, weights: ItemWeights, profiles: ItemProfiles, divisor: NDArray[np.float64], inverse: NDArray[np.float64]
    ) -> None:
        self.profiles = profiles
        packed = weights.indptr, weights.columns, weights.weights, 2.0**-GRID_BITS, divisor
        highest = float(1.0 / divisor.min(initial=1.0))
        self.packed, self.inverse = PackedWeights(*packed, highest), inverse
        self._spare: list[_item_kernels.Room] = []

    def asked_by(self, profiles: ItemProfiles) -> ItemVotes:
        """Return the same votes for other profiles."""
        votes = ItemVotes.__new__(ItemVotes)
        votes.profiles, votes.packed, votes.inverse, votes._spare = profiles, self.packed, self.inverse, self._spare
        return votes

    def bars(self, recommendable: NDArray[np.bool_] | None) -> NDArray[np.float64]:
        """Return 1 / divisor of the products that may be recommended, 0 of others; None: the votes' own."""
        return self.inverse if recommendable is None else recommendable / self.packed.divisor

    def rank(self, rows: NDArray[np.int64], bars: NDArray[np.float64], out: RankedByTaste) -> None:
        """Write columns, scores and supports of the best products of each row into out (m, n)."""
        self._run(kernels.rank_rows, rows, bars, out.columns, out.score, out.support)

    def candidates(self, row: int, bars: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
        """Return all products with a score for the row, in no order: columns, scores, supports."""
        found: tuple[NDArray[Any], ...] = self._run(kernels.candidates, np.array([row]), bars)
        return found

    def shares(self, column: int, columns: NDArray[np.int32], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each of the profile's products (m,) adds to the support of one product."""
        found: NDArray[np.float64] = kernels.weights_to(column, columns, values, self.packed)
        return found

    def _run(self, kernel: Any, rows: Any, bars: NDArray[np.float64], *out: Any) -> Any:
        try:
            room = self._spare.pop()  # a pool without a lock, as list.pop and append are atomic
        except IndexError:
            room = self._new_room()
        result = kernel(rows, self.profiles, self.packed, bars, room, *out)
        self._spare.append(room)  # not after an exception: the array may not be zero then, and is dropped
        return result

    def _new_room(self) -> _item_kernels.Room:
        """Return new working memory. Of arrays that are not zeroed, only the used part is ever touched."""
        size = self.packed.divisor.size + -self.packed.divisor.size % kernels.BLOCK
        return _item_kernels.Room(
            acc=np.zeros(size), totals=np.empty(size + 1), found=np.empty(size + 1, np.int32),
            maxima=np.empty(size // kernels.BLOCK, np.int64), picked=np.empty(size + 1, np.int32),
            gains=np.empty(size + 1), bar=np.empty(1, np.int64),
        )  # fmt: skip


class ItemRanker(BesideTaste):
    """The ranker from profiles to ranked products, with the stars of ``taste``."""

    source = ITEMS

    def __init__(self, taste: TasteRanker, votes: ItemVotes, parameters: ItemParameters) -> None:
        super().__init__(taste)
        self.item_votes, self.parameters = votes, parameters

    @classmethod
    def of(
        cls,
        taste: TasteRanker,
        weights: ItemWeights,
        profiles: Profiles,
        parameters: ItemParameters,
        recommendable: NDArray[np.bool_] | None = None,
    ) -> ItemRanker:
        """Return the ranker by these weights. SettingError if they are of another number of products."""
        n = taste.index.shape[1]
        if weights.indptr.size != n + 1:
            raise SettingError(f"weights of {weights.indptr.size - 1} products do not belong to {n} products")
        csr, steps, most = profiles.confidences, taste.votes.steps, taste.votes.scale.most
        given = csr.indptr, csr.indices, csr.data, steps, profiles.times
        asking = asking_profiles(*given, parameters.half_life, most)
        divisor = damping_divisors(taste.index.statistics, float(parameters.damping))
        inverse = 1.0 / divisor
        if recommendable is not None:
            inverse *= recommendable
        return cls(taste, ItemVotes(weights, asking, divisor, inverse), parameters)

    def profile_of_row(self, row: int) -> ItemProfiles:
        p = self.item_votes.profiles
        start, stop = p.indptr[row : row + 2]
        return ItemProfiles(np.array([0, stop - start], np.int64), p.columns[start:stop], p.values[start:stop])

    def profile_of(
        self,
        columns: NDArray[np.int32],
        confidences: NDArray[np.float64],
        steps: NDArray[np.int8],
        times: NDArray[np.int64] | None,
    ) -> ItemProfiles:
        given = np.array([0, len(columns)], np.int64), columns, confidences, steps, times
        whole = asking_profiles(*given, self.parameters.half_life, self.taste.votes.scale.most)
        inside = columns < self.taste.index.shape[1]
        if inside.all():
            return whole
        kept = np.array([0, np.count_nonzero(inside)], np.int64)
        return ItemProfiles(kept, columns[inside], np.ascontiguousarray(whole.values[inside]))

    def shares(self, column: int, profile: ItemProfiles) -> NDArray[np.float64]:
        return self.item_votes.shares(column, profile.columns, profile.values)

    def profiles_of(self, profiles: Profiles, steps: NDArray[np.int8]) -> ItemProfiles:
        csr, most = profiles.confidences, self.taste.votes.scale.most
        given = csr.indptr, csr.indices, csr.data, steps, profiles.times
        return asking_profiles(*given, self.parameters.half_life, most)

    def beside(self, voters: TasteVotes, profile: ItemProfiles) -> ItemRanker:
        starts = np.zeros(voters.packed.indptr.size, np.int64)
        starts[-profile.indptr.size :] = profile.indptr
        asked = self.item_votes.asked_by(ItemProfiles(starts, profile.columns, profile.values))
        return ItemRanker(TasteRanker.of(voters), asked, self.parameters)

    def bars(self, recommendable: NDArray[np.bool_] | None) -> tuple[NDArray[np.float64], ...]:
        return (self.item_votes.bars(recommendable),)

    def rank_under(self, cap: Cap, lists: Lists, n: int, bars: tuple[NDArray[np.float64], ...]) -> RankedByTaste:
        columns, scores, supports = self.item_votes.candidates(int(lists[0][0]), bars[0])
        best = first_under_cap(columns, scores, supports, cap, n)
        out = RankedByTaste(columns[None, best], scores[None, best], supports[None, best], *_stars_for(1, len(best)))
        add_stars(self.taste, lists, out)
        return out

    def rank_lists(self, lists: Lists, bars: tuple[NDArray[np.float64], ...], out: RankedByTaste) -> None:
        self.item_votes.rank(lists[0], bars[0], out)
        add_stars(self.taste, lists, out)


def _stars_for(*shape: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    return np.zeros(shape), np.zeros(shape, np.int32)
