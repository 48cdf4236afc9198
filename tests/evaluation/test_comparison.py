"""All rankings on one shop's hidden ratings: taste comes near the planted truth, and nothing hidden is used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import load_recommendation_data as step2
from recommender.errors import NothingToEvaluateError, SettingError
from recommender.evaluation import (
    NDCG,
    Evaluation,
    Split,
    before_the_cut,
    comparison,
    evaluate,
    evaluate_rankings,
    hide_newest,
    judge,
    split_newest,
)
from recommender.evaluation.split import trainable_log
from recommender.evaluation.tuning import Tuned
from recommender.neighbors import CosineIndex
from recommender.ranking import (
    AutoParameters,
    ClassicRanking,
    ItemRanker,
    ProfileRanking,
    Ranking,
    TasteRanker,
    TasteSimilarity,
    train_item_weights,
)
from recommender.shop import (
    NO_TIME,
    Interactions,
    RatingMatrix,
    build_profiles,
    build_rating_matrix,
    sample,
    sampled,
    widened,
)
from recommender.synthetic import CatalogFacts, plant_tastes, segments, write_sample_catalog
from recommender.synthetic.shoppers import TasteModel
from tests.support.compared_rankers import compared_by
from tests.synthetic.test_shoppers import make_catalog

WEIGHTS = np.array([0.2, 0.5, 1.0, 2.0])  # the defaults, in the order of the kinds
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Planted:
    """A shop whose tastes are known; user_id u is row u - 1 of the truth."""

    matrix: RatingMatrix
    log: Interactions
    truth: TasteModel
    product_ids: NDArray[np.bytes_]  # of the truth's products


def planted(product_ids: NDArray[np.bytes_], truth: TasteModel) -> Planted:
    """The data that the tables of this shop would give, without tables."""
    (block,) = truth.blocks(truth.n_users)
    rated, events = block.ratings, block.interactions
    catalog = np.ones(len(product_ids), np.bool_)
    matrix = build_rating_matrix(
        rated.user + 1,
        product_ids,
        rated.product,
        (2 * rated.stars).astype(np.int8),
        in_catalog=catalog,
        rated_at=rated.time.astype(np.int64),
    )
    times, codes = events.time.astype(np.int64), events.product.astype(np.int32)
    log = Interactions(events.user + 1, codes, product_ids, events.type, times)
    return Planted(widened(matrix, log, catalog), log, truth, product_ids)


def small_shop() -> Planted:
    """200 users. Classic loses to popularity, taste beats it, and interactions change the figures."""
    truth = plant_tastes(make_catalog(300, n_categories=12), n_users=200, n_interactions=3_000, n_ratings=2_000, seed=1)
    return planted(np.array([f"B{number:09d}" for number in range(300)], "S10"), truth)


def default_catalog(folder: Path) -> tuple[NDArray[np.bytes_], CatalogFacts]:
    """Step 1 at its defaults: ids and facts of a sample catalog of 20,000 products."""
    write_sample_catalog(folder / "products.csv", folder / "categories.csv", n_products=20_000)
    catalog = pd.read_csv(folder / "products.csv", dtype={"asin": str}).sort_values("asin")
    facts = CatalogFacts(
        category_ids=catalog["category_id"].to_numpy(),
        stars=catalog["stars"].to_numpy(),
        reviews=catalog["reviews"].to_numpy(),
        bought_in_last_month=catalog["boughtInLastMonth"].to_numpy(),
        brand_ids=step2.brand_ids(pa.chunked_array([pa.array(catalog["title"], pa.string(), from_pandas=True)])),
    )
    return catalog["asin"].to_numpy().astype("S10"), facts


def default_shoppers(product_ids: NDArray[np.bytes_], facts: CatalogFacts) -> Planted:
    """Step 2 at its defaults on this catalog, without a database."""
    truth = plant_tastes(
        facts, n_users=5_000, n_interactions=100_000, n_ratings=30_000, seed=42, segments=segments(5_000, 42)
    )
    return planted(product_ids, truth)


@pytest.fixture(scope="module")
def shop() -> Planted:
    return small_shop()


def ndcg(evaluation: Evaluation, name: str) -> float:
    mean = evaluation.ranking(name).figures[NDCG].mean
    assert mean is not None
    return mean


# --- the planted truth


class Oracle:
    """Ranks by the planted appeal, which no ranking can know. No ranking can be better."""

    def __init__(self, shop: Planted, train: RatingMatrix) -> None:
        self._shop, self._train = shop, train
        self._places = np.searchsorted(shop.product_ids, train.product_ids)

    def rank(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int32]:
        lists = np.empty((len(rows), n), np.int32)
        for place, row in enumerate(rows.tolist()):
            appeal = self._shop.truth.appeal([self._train.user_ids[row] - 1])[0][self._places]
            appeal[self._train.rated_columns(row)] = 0.0
            best = np.argpartition(-appeal, n)[:n]
            lists[place] = best[np.argsort(-appeal[best], kind="stable")]
        return lists

    def predict(self, rows: NDArray[np.int64], columns: NDArray[np.int32]) -> NDArray[np.float64]:
        return np.full(np.broadcast_shapes(rows.shape, columns.shape), np.nan)


def test_taste_reaches_70_percent_of_the_planted_truth_and_interactions_add_to_it(tmp_path: Path) -> None:
    shop = default_shoppers(*default_catalog(tmp_path))
    found = evaluate_rankings(shop.matrix, shop.log, WEIGHTS, n_neighbors=20, rankings=["taste"])
    split = split_newest(shop.matrix, rng=np.random.default_rng(0))
    best = ndcg(evaluate(split, {"oracle": Oracle(shop, split.train)}, seed=0, n_resamples=10), "oracle")
    assert found.n_test_users == len(split.test_rows) == 5_000
    assert 0.3 < best < 0.5  # an oracle that finds nothing would make any share true
    for name in ("taste", "taste, ratings only"):
        assert 0.7 * best <= ndcg(found, name) < best
        assert ndcg(found, name) >= 3 * ndcg(found, "popular")
    assert ndcg(found, "popular") > 0.01
    worth = {(d.first, d.second): d.figure for d in found.differences}["taste", "taste, ratings only"]
    assert worth.low is not None
    assert worth.low > 0.0  # 95 % sure, on the same users


# --- what is compared, on what


def test_taste_is_also_measured_without_interactions_if_there_are_any(shop: Planted) -> None:
    nobody = shop.log.where(np.zeros(len(shop.log), np.bool_))
    with_log = ["classic", "taste", "items", "auto", "taste, ratings only", "popular"]
    without = ["classic", "taste", "items", "auto", "popular"]
    for log, weights, names in (
        (shop.log, WEIGHTS, with_log),
        (shop.log, np.array([0.0, 0.0, 0.0, 0.5]), with_log),
        (shop.log, np.zeros(4), without),
        (shop.log, None, without),
        (nobody, WEIGHTS, without),
        (None, WEIGHTS, without),
    ):
        found = evaluate_rankings(shop.matrix, log, weights, n_neighbors=20, n_users=20)
        assert [ranking.name for ranking in found.rankings] == names
        some = evaluate_rankings(shop.matrix, log, weights, n_neighbors=20, n_users=20, rankings=["classic", "taste"])
        assert [ranking.name for ranking in some.rankings] == [name for name in names if name not in ("items", "auto")]
    full = evaluate_rankings(shop.matrix, shop.log, WEIGHTS, n_neighbors=20)
    plain = evaluate_rankings(shop.matrix, n_neighbors=20)
    assert (
        plain.ranking("taste").figures == full.ranking("taste, ratings only").figures != full.ranking("taste").figures
    )
    assert plain.ranking("classic") == full.ranking("classic")
    assert plain.ranking("popular") == full.ranking("popular")


def compared(*arguments: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The split and the named rankers that ``evaluate_rankings`` compares."""
    found: tuple[Any, dict[str, Any]] = compared_by(comparison, evaluate_rankings, *arguments, **options)
    return found


def test_the_compared_lists_are_those_that_people_get(shop: Planted) -> None:
    sold = np.arange(shop.matrix.shape[1]) % 5 > 0  # every fifth product has left the catalog
    matrix = replace(shop.matrix, recommendable=sold)
    split, rankers = compared(matrix, shop.log, WEIGHTS, n_neighbors=7)
    train, rows = split.train, split.test_rows
    known = before_the_cut(shop.log, train, split.hidden, split.cut_times)
    assert 0 < len(known) < len(shop.log)
    served: dict[str, Ranking] = {
        "classic": ClassicRanking(train, CosineIndex(train.steps), 7),
        "taste": ProfileRanking(train, TasteSimilarity.of(train, build_profiles(train, known, WEIGHTS))),
        "taste, ratings only": ProfileRanking(train, TasteSimilarity.of(train, build_profiles(train))),
    }
    for name, ranking in served.items():
        lists = rankers[name].rank(rows, 10)
        assert np.array_equal(lists, ranking.rank_products(rows, 10).columns), name
        assert sold[lists[lists >= 0]].all()


def with_events(log: Interactions, *, users: Any, products: Any, times: Any) -> Interactions:
    """The log with purchases added; ``products`` are ids."""
    order = np.argsort(log.product_ids)
    codes = order[np.searchsorted(log.product_ids[order], products)]
    return Interactions(
        np.concatenate([log.user_ids, users]),
        np.concatenate([log.product_codes, codes.astype(np.int32)]),
        log.product_ids,
        np.concatenate([log.kinds, np.full(len(users), 3, np.int8)]),
        np.concatenate([log.times, times]),
    )


def leaky_and_fair(shop: Planted, split: Split) -> tuple[Interactions, Interactions]:
    """The log with purchases that nobody may train on: of hidden products at any time, and at the cut or later.

    And the log with the latter just before the cut, which may be trained on.
    """
    rng = np.random.default_rng(1)
    rows, columns = split.hidden.tocoo().coords
    secret = {
        "users": shop.matrix.user_ids[rows],
        "products": shop.matrix.product_ids[columns],
        "times": split.cut_times[rows] + rng.integers(-(10**13), 10**13, len(rows)),
    }
    late = {
        "users": shop.matrix.user_ids[split.test_rows],
        "products": rng.choice(shop.matrix.product_ids, len(split.test_rows)),
        "times": split.cut_times[split.test_rows] + rng.integers(0, 2, len(split.test_rows)),
    }
    early = late | {"times": split.cut_times[split.test_rows] - 1}
    return with_events(with_events(shop.log, **secret), **late), with_events(shop.log, **early)


def test_events_after_the_cut_and_of_hidden_products_are_not_trained_on(shop: Planted) -> None:
    """No figure changes by purchases of hidden products at any time, or of any product at the cut or later."""
    split = split_newest(shop.matrix, rng=np.random.default_rng(0))
    plain, leaky, fair = (
        evaluate_rankings(shop.matrix, log, WEIGHTS, n_neighbors=20) for log in (shop.log, *leaky_and_fair(shop, split))
    )
    assert leaky == plain
    assert fair.ranking("taste") != plain.ranking("taste")  # so the figures do use the permitted interactions
    assert fair.ranking("taste, ratings only") == plain.ranking("taste, ratings only")


def test_tested_users_without_times_keep_their_interactions_except_with_hidden_products(shop: Planted) -> None:
    unknown = replace(shop.matrix, rated_at=np.full(shop.matrix.n_ratings, NO_TIME))
    split = hide_newest(unknown, 0)
    kept = trainable_log(split, shop.log, WEIGHTS)
    assert kept is not None
    rows, columns = split.hidden.tocoo().coords
    secret = set(zip(shop.matrix.user_ids[rows].tolist(), shop.matrix.product_ids[columns].tolist(), strict=True))
    events = list(zip(shop.log.user_ids.tolist(), shop.log.product_ids[shop.log.product_codes].tolist(), strict=True))
    assert 0 < sum(event in secret for event in events) < len(events) / 2
    left = list(zip(kept.user_ids.tolist(), kept.product_ids[kept.product_codes].tolist(), strict=True))
    assert left == [event for event in events if event not in secret]


@st.composite
def timed_matrices(draw: st.DrawFn) -> RatingMatrix:
    rated = draw(st.dictionaries(st.tuples(st.integers(1, 6), st.integers(0, 5)), st.integers(0, 9), min_size=1))
    pairs = list(rated)
    return build_rating_matrix(
        np.array([user for user, _ in pairs]),
        np.array([f"B{number}" for number in range(6)], "S10"),
        np.array([product for _, product in pairs]),
        np.full(len(pairs), 7, np.int8),
        in_catalog=np.arange(6) != draw(st.integers(0, 9)),
        rated_at=np.array(list(rated.values())) if draw(st.booleans()) else None,
    )


def cells(csr: Any) -> dict[tuple[int, int], int]:
    rows, columns = csr.tocoo().coords
    return dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), csr.data.tolist(), strict=True))


@settings(deadline=None)
@given(timed_matrices(), st.integers(1, 7), st.integers(0, 3))
def test_users_who_are_not_drawn_keep_all_their_ratings(matrix: RatingMatrix, n_users: int, seed: int) -> None:
    whole = split_newest(matrix, rng=np.random.default_rng(seed))
    if not whole.test_rows.size:
        with pytest.raises(NothingToEvaluateError):
            evaluate_rankings(matrix, n_neighbors=5, seed=seed, n_users=n_users)
        return
    split, _ = compared(matrix, n_neighbors=5, seed=seed, n_users=n_users)
    drawn = set(split.test_rows.tolist())
    assert len(drawn) == min(n_users, len(whole.test_rows))
    assert drawn <= set(whole.test_rows.tolist())
    if n_users >= len(whole.test_rows):  # nothing to draw: the same as without a sample
        drawn = set(range(matrix.shape[0]))
    secret = {cell: stars for cell, stars in cells(whole.hidden).items() if cell[0] in drawn}
    everything = cells(matrix.steps)
    assert cells(split.hidden) == secret
    assert cells(split.train.steps) == {cell: everything[cell] for cell in everything.keys() - secret.keys()}
    cuts = [cut if row in drawn else NEVER for row, cut in enumerate(whole.cut_times.tolist())]
    assert split.cut_times.tolist() == cuts
    assert (split.train.rated_at is None) == (matrix.rated_at is None)
    if matrix.rated_at is not None:
        times = dict(zip(everything, matrix.rated_at.tolist(), strict=True))
        assert split.train.rated_at.tolist() == [times[cell] for cell in cells(split.train.steps)]
    if len(drawn) < matrix.shape[0]:
        assert split.description == f"{whole.description} ({n_users} users drawn at random)"


def test_users_are_drawn_by_the_seed_and_have_the_same_figures_as_without_a_draw(shop: Planted) -> None:
    def draw(seed: int) -> set[int]:
        split, _ = compared(shop.matrix, n_neighbors=20, seed=seed, n_users=50)
        return set(split.test_rows.tolist())

    assert draw(0) == draw(0) != draw(1)
    assert all(len(draw(seed)) == 50 for seed in range(3))
    some, again = (evaluate_rankings(shop.matrix, shop.log, WEIGHTS, n_neighbors=20, n_users=50) for _ in range(2))
    assert some == again
    assert some.n_test_users == some.ranking("taste").figures[NDCG].n == 50
    assert some.n_ratings == 2_000
    every, enough = (evaluate_rankings(shop.matrix, n_neighbors=20, n_users=n) for n in (None, 200))
    assert every == enough
    assert every.n_test_users == 200


def test_progress_counts_every_list_and_without_a_clock_there_are_no_seconds(shop: Planted) -> None:
    done: list[int] = []
    found = evaluate_rankings(
        shop.matrix, shop.log, WEIGHTS, n_neighbors=20, progress=done.append, clock=iter(range(10**6)).__next__
    )
    assert sum(done) == 6 * 200
    assert all((ranking.seconds or 0) > 0 for ranking in found.rankings)
    assert all(ranking.seconds is None for ranking in evaluate_rankings(shop.matrix, n_neighbors=20).rankings)


def matrix_of(dense: list[list[int]], in_catalog: list[bool]) -> RatingMatrix:
    csr = sp.csr_array(np.array(dense, np.int8))
    ids = np.array([b"A", b"B", b"C"])
    return RatingMatrix(csr, np.arange(1, len(dense) + 1), ids, np.array(in_catalog), np.arange(csr.nnz))


def test_a_shop_without_a_rating_to_hide_is_an_error_that_says_so() -> None:
    for matrix in (
        matrix_of([[9, 0, 0], [0, 8, 0]], [True] * 3),  # one rating each
        matrix_of([[9, 8, 0], [0, 8, 9]], [True, False, False]),  # the newest is not in the catalog
    ):
        with pytest.raises(NothingToEvaluateError, match="^nothing to evaluate: of 2 users none has two ratings or"):
            evaluate_rankings(matrix, n_neighbors=20)


def test_products_that_a_user_turned_to_at_one_time_are_hidden_by_chance() -> None:
    """As where times are dates and people come once: the cut would leave nothing of them to learn from."""
    matrix = replace(matrix_of([[0] * 3, [0] * 3], [True] * 3), rated_at=np.empty(0, np.int64))
    log = Interactions(
        user_ids=np.repeat(matrix.user_ids, 3),
        product_codes=np.tile(np.arange(3, dtype=np.int32), 2),
        product_ids=matrix.product_ids,
        kinds=np.full(6, 3, np.int8),
        times=np.array([70] * 3 + [10, 20, 30]),
    )
    split = hide_newest(matrix, 0, log, WEIGHTS)
    assert split.turned_to is not None
    hidden, seen = split.hidden.toarray() > 0, split.turned_to.toarray() > 0
    assert (hidden.sum(axis=1).tolist(), seen.sum(axis=1).tolist()) == ([1, 1], [2, 2])
    assert not (hidden & seen).any()
    assert hidden[1].tolist() == [False, False, True]  # the second user's newest
    assert split.cut_times[1] == 30
    assert split.description.endswith("hidden (by chance of 1 users, whose products all have one time)")


def test_few_test_users_are_reported_and_have_intervals_too() -> None:
    found = evaluate_rankings(matrix_of([[9, 8, 0], [0, 8, 9], [9, 9, 9]], [True] * 3), n_neighbors=20)
    assert found.n_test_users == 3
    assert found.notes[0] == "only 3 users could be tested, fewer than 100: go by the intervals, not the means"
    for ranking in found.rankings:
        mean, low, high, n = ranking.figures[NDCG]
        assert mean is not None
        assert low is not None
        assert high is not None
        assert low <= mean <= high
        assert n == 3
    assert judge(found, "classic").warnings[0] == found.notes[0]


def test_an_invalid_seed_is_an_error_of_the_project(shop: Planted) -> None:
    with pytest.raises(SettingError, match="^seed=-1 cannot be used: pass a whole number from 0$"):
        evaluate_rankings(shop.matrix, n_neighbors=20, seed=-1)


def test_weights_between_products_are_trained_on_the_sample_of_a_large_shop(
    shop: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate_rankings(shop.matrix, shop.log, WEIGHTS, n_neighbors=20, rankings=["items"])
    monkeypatch.setattr(sample, "MOST", (shop.matrix.n_ratings + len(shop.log)) // 3)
    split = hide_newest(shop.matrix, 0, shop.log, WEIGHTS)
    known = trainable_log(split, shop.log, WEIGHTS)
    profiles = build_profiles(split.train, known, WEIGHTS)
    given = profiles.confidences, split.train.steps
    taste = TasteRanker(*given, times=profiles.times, recommendable=split.train.recommendable)
    plain = AutoParameters().items
    between = train_item_weights(build_profiles(*sampled(split.train, known), WEIGHTS), plain)
    ranker = ItemRanker.of(taste, between, profiles, plain, split.train.recommendable)
    expected = evaluate(split, {"items": ranker}, seed=0)
    found = evaluate_rankings(shop.matrix, shop.log, WEIGHTS, n_neighbors=20, rankings=["items"])
    assert found.ranking("items").figures == expected.ranking("items").figures != whole.ranking("items").figures


def test_auto_is_tuned_on_the_sample_of_a_large_shop(shop: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MOST", shop.matrix.n_ratings // 3)
    seen: list[RatingMatrix] = []

    def tune(matrix: RatingMatrix, log: Interactions | None, weights: NDArray[np.float64] | None) -> Tuned:
        seen.append(matrix)
        return Tuned(AutoParameters(), 0)

    monkeypatch.setattr(comparison, "tune", tune)
    evaluate_rankings(shop.matrix, n_neighbors=20, rankings=["auto"])
    expected, _ = sampled(hide_newest(shop.matrix, 0).train)
    assert [each.user_ids.tolist() for each in seen] == [expected.user_ids.tolist()]
    assert 0 < expected.shape[0] < shop.matrix.shape[0] // 2
