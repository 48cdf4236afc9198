"""The split of ratings: the newest of each user are hidden, and the past has to predict them.

Ratings without times are split at random.

The split is in time per user, not in time for all users. So the ratings of others may be younger than the hidden ones
al. 2020), which flatters all rankings alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.errors import NothingToEvaluateError, SettingError
from recommender.shop import NO_TIME, Interactions, RatingMatrix, build_profiles

SHARE_HIDDEN = 0.2
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Split:
    """The training ratings and the hidden ones.

    ``train`` has the rows and columns of the matrix that was split. ``hidden``: CSR of that shape, in steps.
    ``cut_times`` (n_users,) int64: the time of the first hidden rating whose time is known; the largest int64 if there
    is none. Events at that time or later must not be trained on.
    """

    train: RatingMatrix
    hidden: sp.csr_array
    cut_times: NDArray[np.int64]
    description: str
    turned_to: sp.csr_array | None = None  # of a shop without ratings: the products of the training log

    @property
    def seen(self) -> sp.csr_array:
        """The products of each row's past, CSR: those it rated, or those of the log in a shop without ratings."""
        return self.train.steps if self.turned_to is None else self.turned_to

    @cached_property
    def relevant(self) -> sp.csr_array:
        """The hidden ratings of recommendable products, CSR."""
        return chosen_entries(self.hidden, self.train.recommendable[self.hidden.indices])

    @cached_property
    def test_rows(self) -> NDArray[np.int64]:
        """Rows of the users with a relevant product, ascending."""
        return np.flatnonzero(np.diff(self.relevant.indptr))


def split_newest(
    matrix: RatingMatrix,
    *,
    share: float = SHARE_HIDDEN,
    times: NDArray[np.int64] | None = None,
    rng: np.random.Generator,
) -> Split:
    """Hide the newest ``share`` of each user's ratings: of n, max(1, floor(share * n)), and none if n is 1.

    ``times`` (n_ratings,) aligned with ``steps.data``, default ``matrix.rated_at``. Equal times, and all ratings
    if there are no times, are in an order drawn from ``rng``. A rating without a time (`NO_TIME`) counts as older than
    those with one. SettingError for a share outside of 0..1 or times that do not fit.

    >>> ratings = sp.csr_array(np.array([[2, 4, 6, 8, 10], [0, 0, 0, 9, 0]], np.int8))
    >>> ids = np.array([b"A", b"B", b"C", b"D", b"E"])
    >>> matrix = RatingMatrix(ratings, np.array([1, 2]), ids, np.ones(5, bool), np.array([50, 10, 40, 30, 20, 60]))
    >>> split = split_newest(matrix, share=0.4, rng=np.random.default_rng(0))
    >>> split.hidden.toarray().tolist()  # floor(0.4 * 5) = 2 of the first user, made at 50 and 40
    [[2, 0, 6, 0, 0], [0, 0, 0, 0, 0]]
    >>> split.train.steps.toarray().tolist(), int(split.cut_times[0])
    ([[0, 4, 0, 8, 10], [0, 0, 0, 9, 0]], 40)
    """
    if not 0.0 < share < 1.0:
        raise SettingError(f"share={share!r} cannot be hidden: pass one between 0 and 1, such as {SHARE_HIDDEN}")
    at = matrix.rated_at if times is None else np.asarray(times)
    if at is not None and at.shape != (matrix.n_ratings,):
        raise SettingError(f"{at.shape} times for {matrix.n_ratings} ratings: pass one for each")
    indptr = matrix.steps.indptr
    counts = np.diff(indptr)  # (n_users,)
    wanted = np.maximum(1, np.floor(share * counts + 1e-9))  # 0.29 * 100 is 28.999999999999996
    kept = counts - np.where(counts >= 2, np.minimum(wanted, counts - 1), 0).astype(counts.dtype)
    user = np.repeat(np.arange(len(counts)), counts)  # (n_ratings,)
    order = np.lexsort((rng.random(len(user)), *([] if at is None else [at]), user))
    hidden = np.zeros(len(user), np.bool_)
    hidden[order] = np.arange(len(user)) - indptr[user] >= kept[user]  # rank among the user's ratings, oldest first
    cut_times = np.full(len(counts), NEVER)
    known = np.zeros(len(user), np.bool_) if at is None else at != NO_TIME
    if at is not None:
        np.minimum.at(cut_times, user[hidden & known], at[hidden & known])
    train = replace(
        matrix,
        steps=chosen_entries(matrix.steps, ~hidden),
        rated_at=None if matrix.rated_at is None else matrix.rated_at[~hidden],
    )
    description = _described(share, int(known.sum()), len(known))
    return Split(train, chosen_entries(matrix.steps, hidden), cut_times, description)


def _described(share: float, n_timed: int, n_ratings: int) -> str:
    """Return the split in words: by time, or by chance if no time is known."""
    if n_ratings and not n_timed:
        return f"split by chance: the ratings have no times; {share:.0%} of each user's hidden"
    untimed = n_ratings - n_timed
    note = f" ({untimed:,} of {n_ratings:,} have no time and count as the oldest, in an order by chance)"
    return f"newest {share:.0%} of each user's ratings hidden" + note * (untimed > 0)


def chosen_entries(ratings: sp.csr_array, which: NDArray[np.bool_]) -> sp.csr_array:
    """Return the stored entries where ``which`` (nnz,), in the same shape."""
    before = np.concatenate([[0], np.cumsum(which)])  # (nnz + 1,) number of chosen entries before each entry
    parts = (ratings.data[which], ratings.indices[which], before[ratings.indptr].astype(ratings.indptr.dtype))
    return sp.csr_array(parts, shape=ratings.shape)


def hide_newest(
    matrix: RatingMatrix,
    seed: int,
    log: Interactions | None = None,
    weights: NDArray[np.float64] | None = None,
    *,
    draw: Callable[[NDArray[np.int64]], NDArray[np.int64] | None] | None = None,
) -> Split:
    """Do `split_newest` with the ratings; without any, with the products that each user turned to (`turned_to`).

    ``draw``: takes the rows of the test users and returns those to test, None for all. NothingToEvaluateError if
    nothing can be hidden, SettingError for a seed below 0.
    """
    if seed < 0:
        raise SettingError(f"seed={seed} cannot be used: pass a whole number from 0")
    asked, what = (matrix, "ratings") if matrix.n_ratings else (turned_to(matrix, log, weights), "products")
    split = split_newest(asked, rng=np.random.default_rng(seed))
    if not split.test_rows.size:
        raise NothingToEvaluateError(
            f"nothing to evaluate: of {matrix.shape[0]:,} users none has two {what} or more with a product of the "
            f"catalog among the newest; collect longer histories, or load the catalog that the {what} are of"
        )
    if draw is not None and (rows := draw(split.test_rows)) is not None:
        split = limited(split, asked, rows)
    return split if asked is matrix else without_stars(split, matrix, log, weights)


def turned_to(matrix: RatingMatrix, log: Interactions | None, weights: NDArray[np.float64] | None) -> RatingMatrix:
    """Return a matrix without ratings, with an entry of half a star for each product that a user turned to.

    Its time is that of the newest interaction that counts. ``log`` and ``weights`` as in `build_profiles`.
    """
    profiles = build_profiles(replace(matrix, rated_at=np.empty(0, np.int64)), log, weights)
    csr = profiles.confidences
    ones = sp.csr_array((np.ones(csr.nnz, np.int8), csr.indices, csr.indptr), shape=csr.shape)
    return replace(matrix, steps=ones, rated_at=profiles.times)


def without_stars(
    split: Split, matrix: RatingMatrix, log: Interactions | None, weights: NDArray[np.float64] | None
) -> Split:
    """Return a split of `turned_to` as one of ``matrix``, which has no ratings: nothing is trained on made-up stars.

    A product whose only interactions are of the time of the cut, as where times are dates, is neither hidden nor seen.
    A user of whom that would leave nothing has no cut: what is hidden was drawn by chance.
    """
    described = split.description.replace("ratings", "products")
    split = replace(split, train=matrix, description=described)
    seen = turned_to(matrix, trainable_log(split, log, weights), weights).steps
    bare = split.test_rows[np.diff(seen.indptr)[split.test_rows] == 0]
    if bare.size:
        cuts = split.cut_times.copy()
        cuts[bare] = NEVER
        note = f" (by chance of {bare.size:,} users, whose products all have one time)"
        split = replace(split, cut_times=cuts, description=described + note)
        seen = turned_to(matrix, trainable_log(split, log, weights), weights).steps
    return replace(split, turned_to=seen)


def limited(split: Split, matrix: RatingMatrix, rows: NDArray[np.int64]) -> Split:
    """Return the split with hidden ratings of these rows only."""
    asked = np.zeros(matrix.shape[0], np.bool_)
    asked[rows] = True
    hidden = split.hidden.tocoo()
    chosen = asked[hidden.coords[0]]
    secret = hidden.coords[0][chosen].astype(np.int64) * matrix.shape[1] + hidden.coords[1][chosen]
    csr = matrix.steps
    owners = np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))
    kept = ~np.isin(owners * csr.shape[1] + csr.indices, secret)
    train = replace(
        matrix,
        steps=chosen_entries(csr, kept),
        rated_at=None if matrix.rated_at is None else matrix.rated_at[kept],
    )
    cuts = np.where(asked, split.cut_times, NEVER)
    description = f"{split.description} ({len(rows):,} users drawn at random)"
    return Split(train, chosen_entries(csr, ~kept), cuts, description)


def trainable_log(split: Split, log: Interactions | None, weights: NDArray[np.float64] | None) -> Interactions | None:
    """Return the part of the log for training (`before_the_cut`); None if there is none, or all weights are 0."""
    if log is None or not len(log) or weights is None or not weights.any():
        return None
    return before_the_cut(log, split.train, split.hidden, split.cut_times)


def before_the_cut(
    interactions: Interactions, train: RatingMatrix, hidden: sp.csr_array, cuts: NDArray[np.int64]
) -> Interactions:
    """Return the interactions for training: none with a product hidden from its user, none at or after the cut.

    ``cuts`` (n_users,) microseconds, of the rows of ``train``. Interactions of other users all stay. If a user has no
    cut, only the hidden products leave interactions out.
    """
    rows = train.rows_of(interactions.user_ids)
    known = rows >= 0
    column = np.searchsorted(train.product_ids, interactions.product_ids)
    column = np.minimum(column, len(train.product_ids) - 1)
    there = train.product_ids[column] == interactions.product_ids
    owners = np.repeat(np.arange(hidden.shape[0]), np.diff(hidden.indptr))
    secret = owners * hidden.shape[1] + hidden.indices
    keys = rows * hidden.shape[1] + column[interactions.product_codes]
    is_hidden = known & there[interactions.product_codes] & np.isin(keys, secret)
    return interactions.where(~is_hidden & ~(known & (interactions.times >= cuts[rows])))
