"""Saved taste indexes and votes: the same bytes from a mapped file, and no array with indices out of bounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recommender.errors import SettingError
from recommender.neighbors import TasteIndex
from recommender.ranking import TasteRanker, TasteVotes

Arrays = dict[str, np.ndarray]
Change = Callable[[np.ndarray], object]


def ranker_of(n_users: int, n_products: int, n: int, *, confidences: bool) -> TasteRanker:
    """Long-tail profiles with times, three quarters of them rated."""
    rng = np.random.default_rng(n)
    popularity = 1 / np.arange(1, n_products + 1)
    rows = rng.integers(0, n_users, n)
    columns = rng.choice(n_products, n, p=popularity / popularity.sum())
    profiles = sp.csr_array((np.ones(n), (rows, columns)), shape=(n_users, n_products))
    profiles.sum_duplicates()
    profiles.data[:] = rng.choice([0.2, 0.5, 1.0, 2.0], profiles.nnz) if confidences else 1.0
    stars = rng.integers(1, 11, profiles.nnz) * (rng.random(profiles.nnz) < 0.75)
    steps = sp.csr_array((stars.astype(np.int8), profiles.indices, profiles.indptr), shape=profiles.shape)
    times = rng.integers(0, 1000, profiles.nnz)
    return TasteRanker(profiles, steps, times=times, recommendable=np.arange(n_products) % 5 > 0)


RANKERS = {
    "binary": ranker_of(700, 300, 6_000, confidences=False),
    "confidences": ranker_of(700, 300, 6_000, confidences=True),
    "several parts": ranker_of(70_000, 300, 90_000, confidences=False),
    "one user": ranker_of(1, 9, 5, confidences=False),
    "nobody has anything": TasteRanker(sp.csr_array((4, 3)), sp.csr_array((4, 3), dtype=np.int8)),
}


def arrays_of(ranker: TasteRanker) -> tuple[Arrays, Arrays]:
    return ranker.index.arrays(), ranker.votes.arrays()


def reopened(index_arrays: Arrays, votes_arrays: Arrays) -> TasteRanker:
    return TasteRanker.of(TasteVotes.from_arrays(TasteIndex.from_arrays(index_arrays), votes_arrays))


def mapped_from(folder: Path, arrays: Arrays) -> Arrays:
    out = {}
    for name, array in arrays.items():
        np.save(folder / name, array)
        out[name] = np.load(folder / f"{name}.npy", mmap_mode="c" if array.size else None)
    return out


@pytest.mark.parametrize("which", RANKERS)
def test_a_saved_and_mapped_ranker_gives_the_same_bytes_without_a_copy(which: str, tmp_path: Path) -> None:
    ranker = RANKERS[which]
    arrays = [mapped_from(tmp_path, part) for part in arrays_of(ranker)]
    again = reopened(*arrays)
    assert again.index.shape == ranker.index.shape
    for held, mapped in zip(arrays_of(again), arrays, strict=True):
        for name, array in held.items():
            if name != "index.shop":  # two numbers
                assert array.size == 0 or np.shares_memory(array, mapped[name]), name
    rows = np.arange(0, ranker.index.shape[0], 37)
    before, after = ranker.rank_products(rows, 7), again.rank_products(rows, 7)
    assert [array.tobytes() for array in after] == [array.tobytes() for array in before]
    found, same = ranker.index.top_k(9, rows=rows), again.index.top_k(9, rows=rows)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in same]
    known, held_ = ranker.index.statistics, again.index.statistics
    assert held_.n_users == known.n_users
    assert np.array_equal(held_.mu, known.mu, equal_nan=True)
    damped = again.votes.damped(0.6)
    expected = TasteRanker.of(ranker.votes.damped(0.6)).rank_products(rows, 7)
    assert [a.tobytes() for a in TasteRanker.of(damped).rank_products(rows, 7)] == [a.tobytes() for a in expected]


# ---- damage ----------------------------------------------------------------------------------------------------


def put(at: int | tuple[int, int], value: float) -> Change:
    return lambda array: array.__setitem__(at, value)


def cut_short(array: np.ndarray) -> np.ndarray:
    return array[:-1].copy()


def too_long(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, array[-1:]])


def of_another_type(array: np.ndarray) -> np.ndarray:
    return array.astype(np.longdouble)


def swap_two(array: np.ndarray) -> None:
    array[[0, 1]] = array[[1, 0]]


INDEX_FIELDS, VOTES_FIELDS = (sorted(part) for part in arrays_of(RANKERS["confidences"]))
ANY_FIELD: dict[str, tuple[str, Change, str]] = {
    f"{field} {change.__name__}": (field, change, "of a saved index")
    for field in [*INDEX_FIELDS, *VOTES_FIELDS]
    for change in (cut_short, too_long, of_another_type)
}
LAST = 10**6
DAMAGE = ANY_FIELD | {
    "starts fall": ("index.indptr", put(5, LAST), "index.indptr .* not rising"),
    "starts below 0": ("index.indptr", put(1, -1), "index.indptr .* not rising"),
    "place too large": ("index.places", put(3, 300), r"index.places .* not within 0..299"),
    "position too large": ("index.positions", put(3, 768), r"index.positions .* not within 0..767"),
    "positions of others": ("index.positions", swap_two, "index.positions .* not where the names are"),
    "a name too large": ("index.facts", put((0, 1), 700 << 24), "index.positions|index.facts"),
    "a name twice": ("index.facts", lambda a: put((0, 1), a[1, 1])(a), "index.positions"),
    "a name where nobody is": ("index.facts", lambda a: put((int(np.argmin(a[:, 1])), 1), 0)(a), "as many names"),
    "a norm where nobody is": ("index.facts", lambda a: put((int(np.argmin(a[:, 1])), 0), 0)(a), "infinite where"),
    "norm not a number": ("index.facts", lambda a: put((0, 0), -1)(a), "index.facts .* norms of 0 or more"),
    "lists not from 0": ("index.list_cuts", put((0, 0), 1), "index.list_cuts .* rising"),
    "lists beyond the end": ("index.list_cuts", put((299, -1), LAST), "index.list_cuts .* rising"),
    "a gap between lists": ("index.list_cuts", lambda a: put((4, 0), a[4, 0] + 1)(a), "index.list_cuts .* rising"),
    "lists out of order": ("index.lists", swap_two, "index.lists .* not rising within each list"),
    "beyond its part": ("index.lists", lambda a: put(-1, 704)(a), r"index.lists .* not below \d+ in part"),
    "parts of half a block": ("index.part_cuts", put(1, 32), "index.part_cuts .* whole blocks"),
    "parts fall": ("index.part_cuts", put(1, 7040), "index.part_cuts .* not rising"),
    "weight below 0": ("index.weights", put(0, -1.0), "index.weights .* finite and 0 or more"),
    "weight too large": ("index.weights", put(0, 1e200), "index.weights .* finite and 0 or more"),
    "asking not a number": ("index.asking", put(0, np.nan), "index.asking .* finite"),
    "value infinite": ("index.list_values", put(0, np.inf), "index.list_values .* finite"),
    "least not a number": ("index.block_least", put(0, np.nan), "index.block_least and block_share .* numbers"),
    "a column twice": ("index.columns", put(0, 5), "index.columns .* a number for each place"),
    "a column below 0": ("index.columns", put(0, -1), r"index.columns .* within 0..299"),
    "bias not a number": ("index.item_bias", put(0, np.nan), "index.item_bias, user_bias and shop .* finite"),
    "entry of another place": ("votes.entries", lambda a: put(0, a[0] ^ 16)(a), "votes.entries .* same places"),
    "inverse not a number": ("votes.inverse", put(0, np.nan), "votes.inverse .* finite"),
    "base infinite": ("votes.base", put(0, np.inf), "votes.base and item_bias .* finite"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_arrays_are_refused_before_any_search(damage: str) -> None:
    field, change, message = DAMAGE[damage]
    index, votes = ({name: array.copy() for name, array in part.items()} for part in arrays_of(RANKERS["confidences"]))
    part = index if field.startswith("index.") else votes
    result = change(part[field])
    if isinstance(result, np.ndarray):
        part[field] = result
    with pytest.raises(SettingError, match=message) as caught:
        reopened(index, votes)
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_arrays_are_refused() -> None:
    index, votes = arrays_of(RANKERS["binary"])
    for name in index:
        with pytest.raises(SettingError, match=r"save it again$|save the index again$"):
            TasteIndex.from_arrays({other: array for other, array in index.items() if other != name})
    for wrong in (index | {"more": np.zeros(1)}, {}):
        with pytest.raises(SettingError, match="more|missing"):
            TasteIndex.from_arrays(wrong)
    for wrong in (votes | {"more": np.zeros(1)}, {}, index):
        with pytest.raises(SettingError, match="missing or foreign"):
            TasteVotes.from_arrays(TasteIndex.from_arrays(index), wrong)


def test_votes_on_another_index_are_refused() -> None:
    index, _ = arrays_of(RANKERS["binary"])
    _, others = arrays_of(RANKERS["one user"])
    with pytest.raises(SettingError, match="of a saved index is not"):
        TasteVotes.from_arrays(TasteIndex.from_arrays(index), others)
