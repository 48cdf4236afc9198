"""The users that parameters are chosen on, weights between products are trained on, and a new version is measured on.

That is everybody, as long as they have at most `MOST` ratings and interactions. Of a larger shop it is a sample: the
users of lowest hash of their stored number, as many as have no more. So a sample is the same in every order of the
users, a smaller one is a part of a larger one, and a shop read in parts finds its own without holding anybody else:

    cut = cut_of(sum(hash_bins(part.user_ids, part.counts) for part in parts), most)
    chosen = in_sample(user_ids, cut)

Why 20 million: what is chosen is decided by 2,000 of these users (`recommender.evaluation.tuning`) and by pairs of
products, of which the training reads 4 * 10^9 at most (`recommender.items.training`). More users change little, and
cost minutes and gigabytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.shop.profiles import Interactions
from recommender.shop.ratings import RatingMatrix

MOST = 20_000_000
N_BINS = 1 << 16  # of the hash: fine enough that a sample has nearly as many as it may
_GOLDEN, _FIRST, _SECOND = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def sampled(
    matrix: RatingMatrix, log: Interactions | None = None, *, most: int | None = None
) -> tuple[RatingMatrix, Interactions | None]:
    """Return the rows of the sample with all columns, and their part of the log; both as given if that is everybody.

    ``log``: of users that ``matrix`` has. ``most``: ratings and interactions, by default `MOST`.
    """
    limit = MOST if most is None else most
    if matrix.n_ratings + (0 if log is None else len(log)) <= limit:
        return matrix, log
    counts = np.diff(matrix.steps.indptr).astype(np.int64)
    bins = hash_bins(matrix.user_ids, counts)
    if log is not None:
        bins += hash_bins(log.user_ids, np.ones(len(log), np.int64))
    cut = cut_of(bins, limit)
    chosen = in_sample(matrix.user_ids, cut)
    entries = np.repeat(chosen, counts)
    csr, kept = matrix.steps, counts[chosen]
    indptr = np.concatenate([[0], np.cumsum(kept)]).astype(csr.indptr.dtype)
    steps = sp.csr_array((csr.data[entries], csr.indices[entries], indptr), shape=(len(kept), csr.shape[1]))
    times = None if matrix.rated_at is None else matrix.rated_at[entries]
    part = replace(matrix, steps=steps, user_ids=matrix.user_ids[chosen], rated_at=times)
    return part, None if log is None else log.where(in_sample(log.user_ids, cut))


def hash_bins(user_ids: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of ``counts`` (n,) in each bin of the users' hashes, (N_BINS,). The bins of parts add up."""
    return np.bincount(_bins(user_ids), counts, N_BINS).astype(np.int64)  # whole numbers below 2^53: exact


def cut_of(bins: NDArray[np.int64], most: int = MOST) -> int:
    """Return the number of bins, from the first on, that hold at most ``most``; but at least the first with anybody."""
    held = np.cumsum(bins)
    first = int(np.searchsorted(held, 1))
    return min(max(int(np.searchsorted(held, most, side="right")), first + 1), N_BINS)


def in_sample(user_ids: NDArray[np.int64], cut: int) -> NDArray[np.bool_]:
    """Tell which users are in the sample of this cut, (n,)."""
    return _bins(user_ids) < cut


def _bins(user_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the upper 16 bits of splitmix64 of each number, as in `recommender.fallback`."""
    hashes: NDArray[Any] = user_ids.astype(np.uint64) + _GOLDEN
    hashes = (hashes ^ (hashes >> np.uint64(30))) * _FIRST
    hashes = (hashes ^ (hashes >> np.uint64(27))) * _SECOND
    hashes ^= hashes >> np.uint64(31)
    return (hashes >> np.uint64(48)).astype(np.int64)
