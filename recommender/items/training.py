"""Training of the item model: which form fits into memory, and the weights by that form.

foresee       the form, its memory and its time, by arithmetic alone
train_items   the weights
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.arrays import at_least_one, checked_csr, memory_share, thread_count
from recommender.errors import SettingError
from recommender.items import _cut_kernels, dense, local
from recommender.items.weights import ItemWeights

cut_kernels: Any = _cut_kernels  # compiled functions have no signature a type checker could use

WHOLE = 3_000  # products; up to here columns are not cut
N_ENTRIES, MOST_ENTRIES, LEAST_ENTRIES = 150, 2_000_000, 50  # of a column; of B, 8 bytes each; of a column in any case
MOST_DENSE = 20_000  # users or products, the fewer: beyond, the dense form takes minutes, and the local one is as good
MOST_PAIRS = 4e9  # of products in profiles, for the local form: minutes
_SWEEP_RATE, _DUAL_RATE, _PAIR_RATE = 1.8e10, 1e9, 1e8  # measured on one core: multiply-adds, and pairs, per second
_SOLVE_SECONDS = 1e-3  # for one product of the local form


class Forecast(NamedTuple):
    """What a training will be."""

    local: bool  # the form
    n_bytes: int  # at its peak, besides the profiles
    cpu_seconds: float  # on one core, a rough guess; threads share them
    longest: int  # the local form counts so many products of a profile at most
    most_dense: int  # the dense form takes up to so many users or products, whichever are fewer


def foresee(
    histories: NDArray[np.int64], n_products: int, *, n_entries: int | None = None, most_memory: int | None = None
) -> Forecast:
    """Return the form of a training, its memory and time.

    ``histories``: number of products of each user with any. ``n_products``: products with any user.
    ``most_memory``: bytes that the training may take; None: a share of the machine's memory. The dense form is taken
    if it fits in and its system has at most `MOST_DENSE` rows. The local form always runs; where its pairs of products
    would take more, it cuts long profiles.
    """
    most = memory_share() if most_memory is None else at_least_one("most_memory", most_memory)
    side, total = min(histories.size, n_products), float(histories.sum())
    n_entries = column_length(n_products, n_entries)
    common = 80.0 * total + 16.0 * n_products * n_entries  # copies of the profiles, entries by columns and by rows
    beside = local.working_bytes(n_products, n_entries)  # of the local form, and of columns that are solved again
    every = n_products * (n_products - 1.0) / 2.0  # pairs of products that exist
    room = max(most - common - beside, 0.0) / local.PAIR_BYTES
    longest = local.longest_profile(histories, MOST_PAIRS if every <= room else min(MOST_PAIRS, room))
    pairs = local.pairs_of(histories, longest)
    half = local.PAIR_BYTES * min(pairs, every)
    seconds = 5.0 * pairs / _PAIR_RATE + n_products * _SOLVE_SECONDS
    most_dense = min(MOST_DENSE, dense.largest_side(n_products, most - common))
    if side > most_dense:
        return Forecast(True, math.ceil(common + beside + half), seconds, longest, most_dense)
    system = dense.system_bytes(side, n_products)
    columns = total * (histories.size + n_products) if side < n_products else float(side) ** 2
    swept = float(side) ** 3 / 2.0 / _SWEEP_RATE + columns / _DUAL_RATE
    again = n_entries < n_products - 1
    size = common + (max(system, beside + half) if again else system)
    return Forecast(False, math.ceil(size), swept + (seconds if again else 0.0), longest, most_dense)


def column_length(n_products: int, n_entries: int | None = None) -> int:
    """Return the number of entries that a column keeps: ``n_entries``; None: as many as fit in B, 50 to 150.

    Up to 3,000 products None keeps all.
    """
    if n_entries is None:
        fitting = min(N_ENTRIES, max(LEAST_ENTRIES, MOST_ENTRIES // max(n_products, 1)))
        n_entries = max(n_products, 1) if n_products <= WHOLE else fitting
    return min(at_least_one("n_entries", n_entries), max(n_products - 1, 1))


def train_items(
    profiles: sp.csr_array,
    *,
    ridge: float,
    n_entries: int | None = None,
    n_threads: int | None = None,
    most_memory: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> ItemWeights:
    """Return the weights B of EASE^R on the profiles (n_users, n_products), columns ascending, confidences > 0.

    Each column of B keeps the products of its ``n_entries`` largest |B[j, i]| on the grid, of equal ones the smaller j
    (None: see `column_length`). Where that leaves out any, the ridge of the column is solved again on these products
    alone. A product without users has no entries. ``most_memory`` (bytes): see `foresee`. ``progress(n)`` is called
    with the number of products that are done.
    Given the form, the thread count changes nothing. The dense form, uncut, is within a step of the grid of a float64
    reference, and the same in each run on one machine. The local form is the same on every machine.
    Raises SettingError for a ridge or a confidence that is not above 0 and finite, for counts below 1, and for an
    ``n_entries`` above what the local form solves (`local.near_count`), where the dense form is not taken.
    """
    csr = checked_csr("profiles", profiles)
    threads = thread_count(n_threads)
    if not 0.0 < ridge < math.inf:
        raise SettingError(f"ridge={ridge!r} cannot be used: pass a number above 0, such as 100")
    if csr.nnz and not (csr.data.min() > 0.0 and csr.data.max() < math.inf):
        raise SettingError("profiles hold a confidence that is not above 0 and finite: leave such entries out")
    used, owned = _compact(csr)
    n_products = owned.size
    forecast = foresee(np.diff(used.indptr).astype(np.int64), n_products, n_entries=n_entries, most_memory=most_memory)
    length = column_length(n_products, n_entries)
    if forecast.local and n_entries is not None and length > (most := local.near_count(n_products)):
        raise SettingError(
            f"n_entries={n_entries} cannot be used: {n_products} products take the local form here, whose columns hold "
            f"at most {most}: pass at most {most}, or leave it out"
        )
    kept = np.zeros((n_products, length), np.int64)
    given: dict[str, Any] = {"ridge": float(ridge), "kept": kept, "n_threads": threads}
    if forecast.local:
        sizes = local.local_columns(used, longest=forecast.longest, progress=progress, **given)
    elif kept.shape[1] == max(n_products - 1, 1):
        sizes = dense.dense_columns(used, progress=progress, **given)
    else:
        sizes = dense.dense_columns(used, **given)
        local.solve_again(used, longest=forecast.longest, sizes=sizes, progress=progress, **given)
    indptr, columns, weights = cut_kernels.by_rows(kept, sizes, owned, csr.shape[1])
    return ItemWeights(indptr, columns, weights, float(ridge), forecast.local)


def _compact(csr: sp.csr_array) -> tuple[sp.csr_array, NDArray[np.int64]]:
    """Return the profiles without empty rows and columns, and the products that are left, ascending."""
    owned = np.flatnonzero(np.bincount(csr.indices, minlength=csr.shape[1]))  # (n_owned,)
    places = np.zeros(csr.shape[1], np.int32)
    places[owned] = np.arange(owned.size)
    starts = csr.indptr[np.concatenate([[True], np.diff(csr.indptr) > 0])]
    parts = csr.data.astype(np.float64), places[csr.indices], starts
    return sp.csr_array(parts, shape=(starts.size - 1, owned.size)), owned
