"""The `items` ranking: the compiled sums and lists equal the formulas in plain Python, also in order and bytes."""

from __future__ import annotations

import threading
from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recommender.errors import SettingError
from recommender.fallback import NO_CAP, Cap
from recommender.items import GRID_BITS, ItemWeights
from recommender.ranking import (
    ItemParameters,
    ItemProfiles,
    ItemRanker,
    RankedByTaste,
    TasteRanker,
    empty_lists,
    taste,
    train_item_weights,
)
from recommender.ranking.items import HALVINGS, ItemVotes, asking_profiles
from recommender.shop import NO_TIME, Profiles
from tests.ranking.test_taste import Shop, padded_raters, round9, shops

ONE = 2**GRID_BITS
Entry = tuple[int, float, float, float, int]  # column, score, support, stars, n_raters

GRID = st.sampled_from([0, 0, 0, ONE // 2, ONE // 2, -ONE // 2, ONE, -ONE, 3 * ONE, 1, -1])
ANY = st.integers(-(2**31) + 1, 2**31 - 1) | st.just(0)
HALF_LIVES = st.sampled_from([0.0, 0.001, 0.3, 1.0, 2.0, 3.0, 10.0, 1000.0])
DAMPINGS = st.sampled_from([0.0, 0.2, 0.5, 1.0, 2.0])


def weights_of(dense: Any) -> ItemWeights:
    """B of a dense matrix in units of the grid."""
    csr = sp.csr_array(np.asarray(dense, np.int64))
    return ItemWeights(
        csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data.astype(np.int32), 1.0, local=False
    )


@st.composite
def matrices(draw: st.DrawFn, n_products: int) -> np.ndarray:
    dense = draw(hnp.arrays(np.int64, (n_products, n_products), elements=draw(st.sampled_from([GRID, ANY]))))
    np.fill_diagonal(dense, 0)
    return dense


@st.composite
def questions(draw: st.DrawFn) -> tuple[Shop, np.ndarray, ItemParameters, np.ndarray | None]:
    """A shop, B, the parameters, and the products that may be recommended."""
    shop = draw(shops())
    n_products = shop.dense.shape[1]
    if draw(st.booleans()):  # most users have several times
        shop = shop._replace(times=draw(hnp.arrays(np.int64, shop.dense.shape, elements=st.integers(0, 9))))
    parameters = ItemParameters(half_life=draw(HALF_LIVES), damping=draw(DAMPINGS))
    mask = draw(st.none() | hnp.arrays(np.bool_, n_products))
    return shop, draw(matrices(n_products)), parameters, mask


def ranker_of(
    shop: Shop, dense: np.ndarray, parameters: ItemParameters, mask: np.ndarray | None = None, **options: Any
) -> ItemRanker:
    times = None if shop.times is None else shop.times[shop.dense > 0]
    given: dict[str, Any] = {"times": times, "statistics": shop.known, "recommendable": mask, "scale": shop.scale}
    taste = TasteRanker(shop.profiles, shop.ratings, **given, **options)
    return ItemRanker.of(taste, weights_of(dense), Profiles(shop.profiles, times), parameters, mask)


# ---- the definition, in plain Python -----------------------------------------------------------------------------


def decays(shop: Shop, row: int, half_life: float) -> dict[int, float]:
    """d of each product of the user."""
    own = np.flatnonzero(shop.dense[row]).tolist()
    times = {j: NO_TIME if shop.times is None else int(shop.times[row, j]) for j in own}
    found = {}
    for j in own:
        newer = 0 if times[j] == NO_TIME else sum(other > times[j] for other in times.values())
        with localcontext(prec=50):
            exact = Decimal("0.5") ** (Decimal(newer) / Decimal(repr(half_life))) if half_life else Decimal(1)
        found[j] = float(exact)
    return found


def sure(shop: Shop, row: int, j: int) -> float:
    """c * s of a product of the user: the confidence, and the stars as a share of five."""
    given = int(shop.steps[row, j])
    return float(shop.dense[row, j]) * (given / shop.scale.most if given else 1.0)


def supports(shop: Shop, row: int, dense: np.ndarray, half_life: float) -> list[float]:
    """The sums in the order of the columns, in float64."""
    decay, sums = decays(shop, row, half_life), []
    for i in range(shop.dense.shape[1]):
        total = 0.0
        for j, d in decay.items():
            if dense[j, i]:
                total += (sure(shop, row, j) * d) * (int(dense[j, i]) / ONE)
        sums.append(total)
    return sums


def listed(ranker: ItemRanker, shop: Shop, row: int, dense: np.ndarray, mask: np.ndarray | None) -> list[Entry]:
    """Everything that may be ranked for the row, best first."""
    near = [v for v in ranker.taste.index.neighbors(row, ranker.n_neighbors)[0].tolist() if v >= 0]
    found = []
    for i, support in enumerate(supports(shop, row, dense, ranker.parameters.half_life)):
        divisor = float(padded_raters(shop)[i]) ** ranker.parameters.damping
        score = round9(support / divisor)
        if score > 0 and not shop.dense[row, i] and (mask is None or mask[i]):
            stars = float(ranker.taste.predict([row], [i])[0])
            found.append((i, score, round9(support), stars, sum(shop.dense[v, i] > 0 for v in near)))
    return sorted(found, key=lambda entry: (-entry[1], -entry[2], entry[0]))


def entries(ranked: RankedByTaste, row: int) -> list[Entry]:
    """The list of one row; its padding is checked."""
    columns = ranked.columns[row]
    size = int(np.count_nonzero(columns >= 0))
    assert (columns[size:] == -1).all()
    assert all((array[row, size:] == 0).all() for array in ranked[1:])
    return list(zip(*(array[row, :size].tolist() for array in ranked), strict=True))


# ---- by hand -----------------------------------------------------------------------------------------------------


def by_hand() -> tuple[Shop, np.ndarray]:
    """User 0 rated 0, and later bought 1 twice as surely. 2 has four owners, 3 and 4 have one."""
    owned = np.array([[1, 2, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1], [0, 0, 1, 0, 0]], np.float64)
    times = np.zeros(owned.shape, np.int64)
    times[0, :2] = 10, 20
    dense = np.zeros((5, 5))
    dense[0, 1] = 9.0  # for a product that the user has
    dense[0, 2], dense[1, 2] = 0.5, 0.25
    dense[0, 3], dense[1, 3] = 1.5, -0.25
    dense[0, 4], dense[1, 4] = 1.0, -0.25
    return Shop(owned, times, np.zeros(owned.shape, np.int64), None), np.rint(dense * ONE).astype(np.int64)


def test_scores_equal_hand_arithmetic() -> None:
    shop, dense = by_hand()
    ranker = ranker_of(shop, dense, ItemParameters(half_life=1.0, damping=0.5))
    assert entries(ranker.rank_products([0], 5), 0) == [
        # support is d * c * B over both products; product 0 is one product older, so its d is 0.5^(1 / 1)
        (2, 0.375, 0.5 * 1 * 0.5 + 1 * 2 * 0.25, 2.75, 0),  # .75, over the square root of 4 raters
        (3, 0.25, 0.5 * 1 * 1.5 - 1 * 2 * 0.25, 2.75, 0),  # .25, over the square root of 1 rater
        # 4: 0.5 * 1 * 1.0 - 1 * 2 * 0.25 = 0, and a score must be above 0
    ]
    undamped = ranker_of(shop, dense, ItemParameters(half_life=0.0, damping=0.0))
    assert [entry[:3] for entry in entries(undamped.rank_products([0], 5), 0)] == [
        (2, 1.0, 1 * 0.5 + 2 * 0.25),
        (3, 1.0, 1 * 1.5 - 2 * 0.25),  # as much as 2: the smaller column first
        (4, 0.5, 1 * 1.0 - 2 * 0.25),
    ]


def test_equal_scores_go_to_the_larger_support_then_to_the_smaller_column() -> None:
    owned = np.array([[1, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 0]], np.float64)
    dense = np.zeros((5, 5), np.int64)
    dense[0, 1:] = ONE, 2 * ONE, 2 * ONE, ONE  # raters 1, 2, 2 and 1, so all scores are 1
    ranker = ranker_of(Shop(owned, None, np.zeros(owned.shape, np.int64), None), dense, ItemParameters(damping=1.0))
    for n in (1, 2, 3, 4, 9):
        found = entries(ranker.rank_products([0], n), 0)
        assert [entry[:3] for entry in found] == [(2, 1, 2), (3, 1, 2), (1, 1, 1), (4, 1, 1)][:n]


def test_products_are_halved_by_strictly_newer_ones_with_a_time() -> None:
    times = np.array([5, NO_TIME, 7, 5, 9])
    found = asking_profiles(np.array([0, 5]), np.arange(5, dtype=np.int32), np.full(5, 4.0), np.zeros(5), times, 2.0)
    assert found.values.tolist() == pytest.approx([4 * 0.5 ** (2 / 2), 4, 4 * 0.5 ** (1 / 2), 4 * 0.5 ** (2 / 2), 4])
    for same in (None, np.full(5, NO_TIME), np.full(5, 3)):
        given = np.array([0, 5]), np.arange(5, dtype=np.int32), np.full(5, 4.0), np.zeros(5)
        assert asking_profiles(*given, same, 2.0).values.tolist() == [4.0] * 5
    assert asking_profiles(*given, times, 0.0).values.tolist() == [4.0] * 5


def test_stars_weigh_as_a_share_of_five() -> None:
    given = np.array([0, 4]), np.arange(4, dtype=np.int32), np.array([1.0, 1.0, 1.0, 2.0])
    found = asking_profiles(*given, np.array([10, 1, 0, 7]), None, 2.0)
    assert found.values.tolist() == [1.0, 0.1, 1.0, 1.4]  # the third was not rated


def test_a_half_life_of_any_size_is_the_formula() -> None:
    given = np.array([0, 200]), np.arange(200, dtype=np.int32), np.ones(200), np.zeros(200), np.arange(200)
    newer = np.arange(200)[::-1]
    for half_life in (1e-9, 0.001, 0.3, 1.0, 7.0, 1000.0, 1e12):
        found = asking_profiles(*given, half_life).values
        assert found.tolist() == pytest.approx(np.exp2(-newer / half_life).tolist(), rel=1e-14, abs=2.0**-HALVINGS)
        assert found[-1] == 1.0
    long = np.array([0, 3_000]), np.arange(3_000, dtype=np.int32), np.ones(3_000), np.zeros(3_000), np.arange(3_000)
    assert asking_profiles(*long, 2_000.0).values[1_000 - 1] == pytest.approx(0.5)


# ---- against the definition --------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(questions(), st.sampled_from([1, 2, 3, 10, 200]))
def test_lists_agree_with_the_definition_to_the_bit(
    question: tuple[Shop, np.ndarray, ItemParameters, np.ndarray | None], n: int
) -> None:
    shop, dense, parameters, mask = question
    ranker = ranker_of(shop, dense, parameters, mask, n_threads=1)
    rows = np.arange(shop.dense.shape[0])
    ranked = ranker.rank_products(rows, n)
    assert ranked.columns.shape == (len(rows), n)
    assert np.array_equal(ranker.rank(rows, n), ranked.columns)
    for row in rows.tolist():
        found = entries(ranked, row)
        assert found == listed(ranker, shop, row, dense, mask)[:n]
        assert entries(ranker.rank_near(ranker.near(row), n, ranker.bars(None)), 0) == found


@settings(max_examples=200, deadline=None)
@given(questions())
def test_supports_are_those_of_exact_arithmetic(
    question: tuple[Shop, np.ndarray, ItemParameters, np.ndarray | None],
) -> None:
    shop, dense, parameters, mask = question
    ranker = ranker_of(shop, dense, parameters, mask)
    ranked = ranker.rank_products(np.arange(shop.dense.shape[0]), shop.dense.shape[1])
    for row in range(shop.dense.shape[0]):
        decay = decays(shop, row, parameters.half_life)
        for column, _, support, *_ in entries(ranked, row):
            parts = [
                Fraction(sure(shop, row, j)) * Fraction(d) * Fraction(int(dense[j, column]), ONE)
                for j, d in decay.items()
            ]
            assert abs(sum(parts) - Fraction(support)) < Fraction(1, 10**9)


@settings(max_examples=200, deadline=None)
@given(questions(), st.data())
def test_filters_and_caps_equal_a_walk_over_the_whole_list(
    question: tuple[Shop, np.ndarray, ItemParameters, np.ndarray | None], data: st.DataObject
) -> None:
    shop, dense, parameters, mask = question
    ranker, n_products = ranker_of(shop, dense, parameters, mask), shop.dense.shape[1]
    allowed = data.draw(hnp.arrays(np.bool_, n_products))
    codes = data.draw(hnp.arrays(np.int32, n_products, elements=st.integers(-1, 2)))
    most, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 10))
    cap = Cap(most, codes, np.empty(0, np.int32), np.zeros(3, np.int64))
    for row in range(shop.dense.shape[0]):
        near = ranker.near(row)
        whole = listed(ranker, shop, row, dense, allowed)
        assert entries(ranker.rank_near(near, n, ranker.bars(allowed), NO_CAP), 0) == whole[:n]
        had: Counter[int] = Counter()
        kept = []
        for entry in whole:
            had[int(codes[entry[0]])] += 1
            if codes[entry[0]] < 0 or had[int(codes[entry[0]])] <= most:
                kept.append(entry)
        capped = ranker.rank_near(near, n, ranker.bars(allowed), cap)
        assert entries(capped, 0) == kept[:n]
        assert capped.columns.shape == (1, len(kept[:n]))


def large() -> tuple[Shop, np.ndarray]:
    draw = np.random.default_rng(8)
    owned = (draw.random((500, 320)) < 0.04) * draw.choice([0.2, 1.0, 2.0], (500, 320))
    owned[7] = 0.0
    dense = np.rint(draw.normal(0, 0.02, (320, 320)) * ONE).astype(np.int64)
    dense[draw.random(dense.shape) < 0.5] = 0
    np.fill_diagonal(dense, 0)
    times = draw.integers(0, 40, owned.shape)
    stars = draw.integers(0, 11, owned.shape) * (owned > 0)
    return Shop(owned, times, stars, None), dense


@pytest.mark.parametrize("n", [1, 10, 200, 500])
def test_long_lists_agree_with_the_definition(n: int) -> None:
    shop, dense = large()
    mask = np.random.default_rng(9).random(320) < 0.8
    ranker = ranker_of(shop, dense, ItemParameters(half_life=3.0), mask)
    rows = np.array([3, 499, 7, 0])
    ranked = ranker.rank_products(rows, n)
    for at, row in enumerate(rows.tolist()):
        wanted = listed(ranker, shop, row, dense, mask)
        assert row == 7 or len(wanted) > 100
        assert entries(ranked, at) == wanted[:n]
    assert entries(ranked, 2) == []


@pytest.mark.parametrize("n", [1, 10, 200])
@pytest.mark.parametrize("share", [0.005, 0.04, 0.6], ids=["few", "some", "most"])
@pytest.mark.parametrize("steps", [3, ONE], ids=["ties", "distinct"])
def test_the_bar_leaves_out_none_of_the_best_of_many_products(n: int, share: float, steps: int) -> None:
    draw = np.random.default_rng(n)
    size, n_profiles = 3_000, 6
    dense = draw.integers(-steps, 2 * steps, (size, size)) * (draw.random((size, size)) < share) * (ONE // steps)
    np.fill_diagonal(dense, 0)
    columns = np.sort([draw.choice(size, 8, replace=False) for _ in range(n_profiles)]).astype(np.int32)
    asked = ItemProfiles(np.arange(n_profiles + 1) * 8, columns.ravel(), draw.choice([0.5, 1.0], columns.size))
    divisor = draw.choice([1.0, 1.5, 4.0], size)
    votes = ItemVotes(weights_of(dense), asked, divisor, 1.0 / divisor)
    for allowed in (np.ones(size, np.bool_), draw.random(size) < 0.02, np.zeros(size, np.bool_)):
        out = empty_lists(n_profiles, n)
        votes.rank(np.arange(n_profiles), votes.bars(allowed), out)
        for row in range(n_profiles):
            sums = np.zeros(size)
            for j, value in zip(columns[row], asked.values[row * 8 : row * 8 + 8], strict=True):
                sums += value / ONE * dense[j]
            sums[columns[row]] = 0.0
            scores, supports = np.rint(sums / divisor * 1e9) / 1e9 * allowed, np.rint(sums * 1e9) / 1e9
            best = np.lexsort((np.arange(size), -supports, -scores))[: min(n, np.count_nonzero(scores > 0))]
            assert out.columns[row].tolist() == best.tolist() + [-1] * (n - len(best))
            assert out.score[row, : len(best)].tolist() == scores[best].tolist()
            assert out.support[row, : len(best)].tolist() == supports[best].tolist()


def test_one_thread_and_two_give_the_same_bytes_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, dense = large()
    one = ranker_of(shop, dense, ItemParameters(), n_threads=1)
    wanted = one.rank_products(np.arange(500), 20)
    monkeypatch.setattr(taste, "BLOCK_ROWS", 7)
    done: list[int] = []
    found = ranker_of(shop, dense, ItemParameters(), n_threads=2).rank_products(
        np.arange(500), 20, progress=done.append
    )
    assert done[-1] == 500
    assert [array.tobytes() for array in found] == [array.tobytes() for array in wanted]


def test_threads_may_share_a_ranker() -> None:
    shop, dense = large()
    ranker = ranker_of(shop, dense, ItemParameters(), n_threads=1)
    wanted, faults = ranker.rank_products(np.arange(100), 10), []

    def ask(first: int) -> None:
        for row in [*range(first, 100), *range(first)]:
            found = ranker.rank_near(ranker.near(row), 10, ranker.bars(None))
            if entries(found, 0) != entries(wanted, row):
                faults.append(row)

    threads = [threading.Thread(target=ask, args=(first,)) for first in (0, 25, 50, 75)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


# ---- evidence ----------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(questions())
def test_shares_add_up_to_the_support(question: tuple[Shop, np.ndarray, ItemParameters, np.ndarray | None]) -> None:
    shop, dense, parameters, mask = question
    ranker = ranker_of(shop, dense, parameters, mask)
    for row in range(shop.dense.shape[0]):
        decay = decays(shop, row, parameters.half_life)
        profile = ranker.profile_of_row(row)
        assert profile.columns.tolist() == list(decay)
        for column in range(shop.dense.shape[1]):
            parts = [sure(shop, row, j) * d * (int(dense[j, column]) / ONE) for j, d in decay.items()]
            assert ranker.shares(column, profile).tolist() == pytest.approx(parts, rel=1e-15, abs=1e-15)


def test_a_profile_given_by_hand_equals_that_of_the_row_and_leaves_out_later_products() -> None:
    shop, dense = by_hand()
    ranker = ranker_of(shop, dense, ItemParameters(half_life=1.0))
    wanted = ranker.profile_of_row(0)
    given = np.array([0, 1], np.int32), np.array([1.0, 2.0]), np.zeros(2, np.int8)
    found = ranker.profile_of(*given, np.array([10, 20]))
    assert [array.tolist() for array in found] == [array.tolist() for array in wanted] == [[0, 2], [0, 1], [0.5, 2.0]]
    # a product that came later has no weights, but it is newer than others
    given = np.array([0, 1, 7], np.int32), np.array([1.0, 2.0, 1.0]), np.zeros(3, np.int8)
    later = ranker.profile_of(*given, np.array([10, 20, 30]))
    assert [array.tolist() for array in later] == [[0, 2], [0, 1], [0.25, 1.0]]


# ---- refused -----------------------------------------------------------------------------------------------------


def test_weights_of_another_number_of_products_are_refused() -> None:
    shop, dense = by_hand()
    for other in (dense[:4, :4], np.pad(dense, (0, 1))):
        with pytest.raises(SettingError, match=f"^weights of {len(other)} products do not belong to 5 products$"):
            ranker_of(shop, other, ItemParameters())


@pytest.mark.parametrize("rows", [[5], [-1]])
def test_rows_that_do_not_exist_are_refused(rows: list[int]) -> None:
    ranker = ranker_of(*by_hand(), ItemParameters())
    with pytest.raises(SettingError):
        ranker.rank_products(rows, 3)
    with pytest.raises(SettingError):
        ranker.rank_products([0], 0)


def test_long_profiles_weigh_less_in_training_if_the_power_says_so() -> None:
    owned = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]], np.float64)
    profiles = Profiles(sp.csr_array(owned), None)
    plain, scaled = (train_item_weights(profiles, ItemParameters(2.0, power)) for power in (0.0, 1.0))
    lengths = np.array([2.0, 4.0, 2.0])
    by_hand = owned * ((8 / 3) / lengths)[:, None]  # of the mean length each value is the whole
    for found, dense in ((plain, owned), (scaled, by_hand)):
        inverse = np.linalg.inv(dense.T @ dense + 2.0 * np.eye(4))
        wanted = -inverse / np.diag(inverse) * (1 - np.eye(4))
        csr = sp.csr_array((found.weights / ONE, found.columns, found.indptr), shape=(4, 4))
        assert csr.toarray() == pytest.approx(wanted, abs=1e-6)
