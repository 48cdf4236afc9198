"""The votes of neighbors by taste, prepared once: ratings beside the profiles, damping, recommendable products."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recommender.arrays import checked_csr
from recommender.errors import SettingError
from recommender.neighbors import Entries, TasteIndex, bits_of, damping_divisors, entry_type, steps_of
from recommender.ranking import _taste_kernels
from recommender.ranking._saved_votes import saved_votes, votes_arrays
from recommender.ranking.parameters import DAMPING
from recommender.shop import HALF_STARS, Scale

kernels: Any = _taste_kernels  # compiled functions have no signature a type checker could use
Lists = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]


class RankedByTaste(NamedTuple):
    """Ranked columns of many rows, each (n_rows, n) padded with -1 and 0."""

    columns: NDArray[np.int32]
    score: NDArray[np.float64]
    support: NDArray[np.float64]
    stars: NDArray[np.float64]
    n_raters: NDArray[np.int32]  # neighbors that have the product

    def at(self, part: Any) -> RankedByTaste:
        """Return these parts of all arrays."""
        arrays: Any = [array[part] for array in self]
        return RankedByTaste(*arrays)


class TasteVotes:
    """Ratings and statistics, prepared once for many rankings on an index; threads may share them.

    steps: CSR int8 of the index's shape with ascending columns, steps of the scale. Every rated product must be in
    the user's profile. damping: the power of raters_i in the score. recommendable: (n_columns,) mask of products
    that may be ranked, None for all.
    Raises SettingError for ratings or a mask that do not fit the profiles and a damping that is no number from 0 to 4.
    """

    def __init__(
        self,
        index: TasteIndex,
        steps: Any,
        *,
        damping: float = DAMPING,
        recommendable: NDArray[np.bool_] | None = None,
        scale: Scale = HALF_STARS,
    ) -> None:
        self.index, known, self.scale = index, index.statistics, scale
        padded = (0, -index.shape[1] % kernels.BLOCK)
        self.packed = _taste_kernels.Votes(
            indptr=index.packed.indptr,
            entries=_entries(index, steps, scale),
            values=index.packed.values,
            base=known.mu + known.user_bias,
            item_bias=np.pad(known.item_bias[index.columns], padded),
            divisor=_divisors(index, damping),
            columns=index.columns,
        )
        self._bars = self._masked(recommendable)
        self._spare: list[_taste_kernels.Sums] = []

    @property
    def steps(self) -> NDArray[np.int8]:
        """The steps of each entry of the profiles, in their order, 0 where not rated, (nnz,)."""
        return steps_of(self.packed.entries)

    def damped(self, damping: float, recommendable: NDArray[np.bool_] | None = None) -> TasteVotes:
        """Return the same votes under another power. Both share all other arrays."""
        packed = self.packed._replace(divisor=_divisors(self.index, damping))
        return self._of(self.index, packed, recommendable, self.scale)

    def of_rows(
        self, indptr: NDArray[np.int64], entries: Entries, values: NDArray[np.float64], base: NDArray[Any]
    ) -> TasteVotes:
        """Return the votes of other users on the same products; arrays as in `_taste_kernels.Votes`."""
        packed = self.packed._replace(indptr=indptr, entries=entries, values=values, base=base)
        votes = self._of(self.index, packed, self._bars, self.scale)
        votes._spare = self._spare
        return votes

    def of_unknown(
        self,
        indptr: NDArray[np.int64],
        entries: Entries,
        values: NDArray[np.float64],
        base: NDArray[np.float64],
        recommendable: NDArray[np.bool_],
    ) -> TasteVotes:
        """Return the votes on products (m,) that the statistics do not know: 1 rater, bias 0."""
        size = len(recommendable)
        padded = size + -size % kernels.BLOCK
        item_bias, divisor, columns = np.zeros(padded), np.ones(padded), np.arange(size, dtype=np.int32)
        packed = _taste_kernels.Votes(indptr, entries, values, base, item_bias, divisor, columns)
        inverse = np.zeros(padded)
        inverse[:size] = recommendable
        return self._of(self.index, packed, _taste_kernels.Bars(inverse, _highest(inverse)), self.scale)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays of the votes that are not the index's, by name, not copied, to be saved."""
        return votes_arrays(self.packed, self._bars)

    @classmethod
    def from_arrays(
        cls, index: TasteIndex, arrays: Mapping[str, NDArray[Any]], scale: Scale = HALF_STARS
    ) -> TasteVotes:
        """Return the votes that have these `arrays`, not copied. SettingError if they do not belong to the index."""
        packed, bars = saved_votes(arrays, index.packed, index.columns, scale.most)
        return cls._of(index, packed, bars, scale)

    @classmethod
    def _of(cls, index: TasteIndex, packed: _taste_kernels.Votes, bars: Any, scale: Scale) -> TasteVotes:
        votes = cls.__new__(cls)
        votes.index, votes.packed, votes.scale, votes._spare = index, packed, scale, []
        votes._bars = bars if isinstance(bars, _taste_kernels.Bars) else votes._masked(bars)
        return votes

    def bars(self, recommendable: NDArray[np.bool_] | None) -> _taste_kernels.Bars:
        """Return the factors of the kernel's scores under this mask; None: the votes' own, at no cost."""
        return self._bars if recommendable is None else self._masked(recommendable)

    def rank(
        self, lists: Lists, bars: _taste_kernels.Bars, n: int, out: tuple[NDArray[Any], ...], *, stars: bool = True
    ) -> int:
        """Write the best n products of checked rows (m,) with neighbors and similarities (m, k) into out (m, n).

        ``stars`` False: those of out, and its number of raters, stay as they are.
        """
        found: int = self._run(kernels.rank_rows, lists, self.scale.unit, *self.scale.ends, bars, n, stars, *out)
        return found

    def candidates(self, lists: Lists, bars: _taste_kernels.Bars) -> tuple[NDArray[Any], ...]:
        """Return all products that `rank` ranks for the only row, in no order: places, columns, scores, supports."""
        found: tuple[NDArray[Any], ...] = self._run(kernels.candidates, lists, bars)
        return found

    def predict(
        self, lists: Lists, starts: NDArray[np.int64], places: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the stars of places (m,), and the number of the row's neighbors that have each.

        places[starts[i]:starts[i + 1]] are those of the i-th row, and distinct.
        """
        out = np.empty(len(places), np.float64), np.empty(len(places), np.int32)
        self._run(kernels.predict_rows, lists, self.scale.unit, *self.scale.ends, starts, places, *out)
        return out

    def _masked(self, recommendable: NDArray[np.bool_] | None) -> _taste_kernels.Bars:
        n_columns = self.index.shape[1]
        mask = np.ones(n_columns, np.bool_) if recommendable is None else np.asarray(recommendable, np.bool_)
        if mask.shape != (n_columns,):
            raise SettingError(f"recommendable has shape {mask.shape}: pass one flag per column, ({n_columns},)")
        inverse = 1.0 / self.packed.divisor
        inverse[:n_columns] *= mask[self.index.columns]
        return _taste_kernels.Bars(inverse, _highest(inverse))

    def _run(self, kernel: Any, lists: Lists, *rest: Any) -> Any:
        k = lists[1].shape[1]
        try:
            sums = self._spare.pop()  # a pool without a lock, as list.pop and append are atomic
        except IndexError:
            sums = self._new_sums(k)
        if sums.ends.size < k or sums.read.size < k * self._longest:
            sums = self._new_sums(k)
        result = kernel(*lists, self.packed, sums, *rest)
        self._spare.append(sums)  # not after an exception: the arrays may not be zero then, and are dropped
        return result

    @cached_property
    def _longest(self) -> int:
        return int(np.diff(self.packed.indptr).max(initial=0))

    def _new_sums(self, k: int) -> _taste_kernels.Sums:
        """Return new working memory. Of arrays that are not zeroed, only the used part is ever touched."""
        size = self.packed.divisor.size
        return _taste_kernels.Sums(
            acc=np.zeros(size, np.float64), marks=np.zeros(size, np.int32),
            hints=np.zeros(kernels.N_HINTS, np.uint8), places=np.empty(size + 1, np.int64),
            supports=np.empty(size + 1, np.float64), scores=np.empty(size + 1, np.float64),
            histogram=np.zeros(kernels.N_BUCKETS, np.int64),
            read=np.empty(k * self._longest, self.packed.entries.dtype), ends=np.empty(k, np.int64),
            starts=np.empty(k, np.int64), hits=np.empty(k * self._longest + 1, np.uint64),
        )  # fmt: skip


def _highest(inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest value of each block."""
    highest: NDArray[np.float64] = inverse.reshape(-1, kernels.BLOCK).max(axis=1)
    return highest


def _divisors(index: TasteIndex, damping: float) -> NDArray[np.float64]:
    """Return raters^damping by place, padded to whole blocks."""
    if not 0.0 <= damping <= 4.0:
        raise SettingError(f"damping={damping!r} cannot be used: pass a power from 0 to 4, such as {DAMPING}")
    padded = (0, -index.shape[1] % kernels.BLOCK)
    return np.pad(damping_divisors(index.statistics, float(damping))[index.columns], padded, constant_values=1.0)


def _entries(index: TasteIndex, steps: Any, scale: Scale) -> Entries:
    """Return places and ratings at the entries of the profiles (nnz,). Check all bounds, as compiled code does not."""
    if checked_csr("steps", steps).shape != index.shape:
        raise SettingError(f"steps {steps.shape} and profiles {index.shape} must have one shape")
    data = steps.data
    entries = np.empty(index.packed.places.size, entry_type(scale.most))
    if data.size and not (data.min() >= 0 and data.max() < 1 << bits_of(entries)):
        raise SettingError(f"steps are {data.min()} to {data.max()}: pass whole numbers from 0 to {scale.most}")
    if index.shape[1] >= 1 << (32 - kernels.NARROW_BITS):
        raise SettingError(f"{index.shape[1]} products are more than {(1 << (32 - kernels.NARROW_BITS)) - 1}: too many")
    missing = kernels.pack_entries(
        index.packed.indptr, index.packed.places, index.columns, steps.indptr.astype(np.int64),
        steps.indices.astype(np.int32), data.astype(np.int8), entries,
    )  # fmt: skip
    if missing:
        raise SettingError(f"{missing} ratings are of products not in the user's profile: give them a confidence")
    return entries


def empty_lists(n_rows: int, n: int) -> RankedByTaste:
    """Return arrays (n_rows, n) that a ranker writes to."""
    shape = (n_rows, n)
    score, support, stars = (np.empty(shape, np.float64) for _ in range(3))
    return RankedByTaste(np.empty(shape, np.int32), score, support, stars, np.empty(shape, np.int32))
