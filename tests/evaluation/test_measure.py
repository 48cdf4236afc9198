"""Split, evaluated rankings, figures and reports, compared with plain Python, planted structure and real data."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from benchmarks.datasets import load_dataset
from recommender.commands.bar_chart import Panel, as_svg
from recommender.commands.evaluation_report import as_table, draw_svg, write_json
from recommender.errors import InputFileError, SettingError
from recommender.evaluation import (
    DEPTH,
    FIGURES,
    ClassicRanker,
    Evaluation,
    Figure,
    PopularRanker,
    Ranker,
    Split,
    evaluate,
    split_newest,
)
from recommender.evaluation import measure as evaluation
from recommender.evaluation.result import PER_USER
from recommender.evaluation.split import NEVER
from recommender.fallback import rank_popular
from recommender.shop import NO_TIME, RatingMatrix
from tests.conftest import REAL_DATA, needs_real_data
from tests.support.brute_force import Oracle

HALF_STARS = st.sampled_from([0, 0, *range(1, 11)])


def matrix_of(dense: Any, *, recommendable: Any = None, times: Any = None) -> RatingMatrix:
    """Users 1, 2, ... and products P000, P001, ... from half stars (n_users, n_products), unrated = 0."""
    ratings = sp.csr_array(np.asarray(dense, np.int8))
    n_users, n_products = ratings.shape
    mask = np.ones(n_products, np.bool_) if recommendable is None else np.asarray(recommendable, np.bool_)
    ids = np.array([f"P{i:03}" for i in range(n_products)], np.bytes_)
    return RatingMatrix(ratings, np.arange(1, n_users + 1), ids, mask, None if times is None else np.asarray(times))


@st.composite
def matrices(draw: st.DrawFn, *, timed: bool = True) -> RatingMatrix:
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 30)))
    dense = draw(hnp.arrays(np.int8, shape, elements=HALF_STARS))
    mask = draw(hnp.arrays(np.bool_, shape[1], elements=st.sampled_from([True, True, False])))
    n_ratings = int((dense > 0).sum())
    times = draw(hnp.arrays(np.int64, n_ratings, elements=st.integers(0, 5))) if timed else None
    return matrix_of(dense, recommendable=mask, times=times)


class ListsRanker:
    """A ranker with given lists and predictions, by row."""

    def __init__(self, lists: NDArray[np.int32], stars: NDArray[np.float64] | None = None) -> None:
        self.lists, self.stars = lists, stars

    def rank(self, rows: NDArray[np.int64], n: int) -> NDArray[np.int32]:
        return self.lists[rows, :n]

    def predict(self, rows: NDArray[np.int64], columns: NDArray[np.int32]) -> NDArray[np.float64]:
        return np.full(len(rows), np.nan) if self.stars is None else self.stars[rows, columns]


def random_lists(split: Split, rng: np.random.Generator) -> NDArray[np.int32]:
    """For each row some products that it may be shown, in random order, padded."""
    lists = np.full((split.train.shape[0], DEPTH), -1, np.int32)
    for row in range(len(lists)):
        free = np.setdiff1d(np.flatnonzero(split.train.recommendable), split.train.rated_columns(row))
        chosen = rng.permutation(free)[: rng.integers(0, DEPTH + 1)]
        lists[row, : len(chosen)] = chosen
    return lists


# --- split


@settings(max_examples=200, deadline=None)
@given(matrices(), st.floats(0.01, 0.99), st.integers(0, 9))
def test_the_newest_share_of_each_user_is_hidden_and_nothing_is_lost(
    matrix: RatingMatrix, share: float, seed: int
) -> None:
    split = split_newest(matrix, share=share, rng=np.random.default_rng(seed))
    train, hidden = split.train.steps.toarray(), split.hidden.toarray()
    assert (train + hidden).tolist() == matrix.steps.toarray().tolist()
    assert not (train & hidden).any()
    times = np.zeros(matrix.shape, np.int64)
    assert matrix.rated_at is not None
    assert split.train.rated_at is not None
    times[matrix.steps.nonzero()] = matrix.rated_at
    assert split.train.rated_at.tolist() == times[split.train.steps.nonzero()].tolist()
    for row in range(matrix.shape[0]):
        n = int((matrix.steps.toarray()[row] > 0).sum())
        n_hidden = int((hidden[row] > 0).sum())
        assert n_hidden == (max(1, math.floor(share * n + 1e-9)) if n >= 2 else 0)
        if n_hidden:
            assert times[row, train[row] > 0].max() <= times[row, hidden[row] > 0].min()
            assert split.cut_times[row] == times[row, hidden[row] > 0].min()
        else:
            assert split.cut_times[row] == NEVER


def test_a_share_that_is_whole_is_not_rounded_down_by_floating_point() -> None:
    assert 0.29 * 100 < 29
    split = split_newest(matrix_of(np.ones((1, 100))), share=0.29, rng=np.random.default_rng(0))
    assert split.hidden.nnz == 29


def test_the_seed_alone_decides_among_equal_or_missing_times() -> None:
    for times in (None, np.full(40, 7)):
        matrix = matrix_of(np.ones((2, 20)), times=times)
        hidden = [split_newest(matrix, rng=np.random.default_rng(seed)).hidden.toarray() for seed in (1, 1, 2)]
        assert (hidden[0] == hidden[1]).all()
        assert (hidden[0] != hidden[2]).any()
        assert (hidden[0].sum(axis=1) == 4).all()  # 0.2 * 20


def test_every_rating_without_a_time_has_the_same_chance() -> None:
    matrix = matrix_of(np.ones((4_000, 5)))
    split = split_newest(matrix, rng=np.random.default_rng(0))
    chosen = split.hidden.toarray().sum(axis=0)  # one of five for each user: 800 +- 4 * sqrt(4000 * 0.2 * 0.8) = 101
    assert (abs(chosen - 800) < 101).all()
    assert (split.cut_times == NEVER).all()
    told = "split by chance: the ratings have no times; 20% of each user's hidden"
    assert split.description == told
    unknown = replace(matrix, rated_at=np.full(matrix.n_ratings, NO_TIME))
    other = split_newest(unknown, rng=np.random.default_rng(0))
    assert (other.hidden != split.hidden).nnz == 0
    assert (other.cut_times == NEVER).all()
    assert other.description == told


def test_ratings_without_a_time_count_as_the_oldest_and_do_not_move_the_cut() -> None:
    """Two of five ratings are hidden: first those with a time, then by chance."""
    times = [[7, NO_TIME, NO_TIME, 9, 5], [NO_TIME, NO_TIME, 3, NO_TIME, NO_TIME], [NO_TIME] * 5]
    matrix = matrix_of(np.ones((3, 5)), times=np.ravel(times))
    untimed = set()
    for seed in range(20):
        split = split_newest(matrix, share=0.4, rng=np.random.default_rng(seed))
        hidden = split.hidden.toarray()
        assert hidden[0].tolist() == [1, 0, 0, 1, 0]
        assert hidden[1, 2] == 1
        assert hidden.sum(axis=1).tolist() == [2, 2, 2]
        assert split.cut_times.tolist() == [7, 3, NEVER]
        untimed.add(tuple(hidden[1]))
    assert len(untimed) == 4
    assert split.description == (
        "newest 40% of each user's ratings hidden (11 of 15 have no time and count as the oldest, in an order by "
        "chance)"
    )


def test_given_times_take_precedence_over_those_of_the_matrix() -> None:
    matrix = matrix_of([[1, 1, 1]], times=[1, 2, 3])
    newest_first = split_newest(matrix, times=np.array([30, 20, 10]), rng=np.random.default_rng(0))
    assert newest_first.hidden.toarray().tolist() == [[1, 0, 0]]
    assert newest_first.cut_times.tolist() == [30]
    assert newest_first.description == "newest 20% of each user's ratings hidden"


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 20, math.nan])
def test_an_invalid_share_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="cannot be hidden"):
        split_newest(matrix_of([[1, 2]]), share=share, rng=np.random.default_rng(0))


def test_times_of_another_length_are_refused() -> None:
    with pytest.raises(SettingError, match=r"\(1,\) times for 2 ratings"):
        split_newest(matrix_of([[1, 2]]), times=np.array([1]), rng=np.random.default_rng(0))


# --- figures against plain Python


def plain_figures(split: Split, ranker: ListsRanker, users: list[int]) -> dict[str, float | None]:
    """Every figure computed again, with dictionaries and lists, without arrays."""
    train, n_products = split.train, split.train.shape[1]
    seen = {u: set(train.rated_columns(u).tolist()) for u in range(train.shape[0])}
    hidden = {u: {i: int(split.hidden[[u], [i]][0]) / 2 for i in range(n_products)} for u in users}
    hidden = {u: {i: stars for i, stars in mine.items() if stars} for u, mine in hidden.items()}
    raters = [max(1, sum(i in mine for mine in seen.values())) for i in range(n_products)]
    sums: dict[str, list[float]] = {name: [] for name in PER_USER}
    errors: list[float] = []
    for user in users:
        shown = [int(i) for i in ranker.lists[user] if i >= 0]
        relevant = {i for i in hidden[user] if train.recommendable[i]}
        best = sum(1 / math.log2(place + 2) for place in range(min(10, len(relevant))))
        places = [place for place, i in enumerate(shown) if i in relevant]
        sums["ndcg@10"].append(sum(1 / math.log2(place + 2) for place in places if place < 10) / best)
        sums["recall@10"].append(len(relevant & set(shown[:10])) / len(relevant))
        sums["recall@20"].append(len(relevant & set(shown[:20])) / len(relevant))
        precisions = [(rank + 1) / (place + 1) for rank, place in enumerate(places) if place < 10]
        sums["map@10"].append(sum(precisions) / min(10, len(relevant)))
        sums["hit_rate@10"].append(float(bool(precisions)))
        if shown:
            bits = [math.log2(train.shape[0] / raters[i]) for i in shown[:10]]
            sums["novelty@10"].append(sum(bits) / len(bits))
        sums["served"].append(float(bool(shown)))
        assert ranker.stars is not None
        stars = {i: float(ranker.stars[user, i]) for i in hidden[user]}
        errors += [stars[i] - actual for i, actual in hidden[user].items() if not math.isnan(stars[i])]
        sums["predicted"] += [float(not math.isnan(stars[i])) for i in hidden[user]]
    found = {name: sum(values) / len(values) if values else None for name, values in sums.items()}
    found["rmse"] = math.sqrt(sum(e * e for e in errors) / len(errors)) if errors else None
    found["mae"] = sum(map(abs, errors)) / len(errors) if errors else None
    shown_to_any = {int(i) for user in users for i in ranker.lists[user, :10] if i >= 0}
    found["coverage@10"] = len(shown_to_any) / int(train.recommendable.sum())
    return found


@settings(max_examples=100, deadline=None)
@given(matrices(), st.integers(0, 9), st.integers(1, 5))
def test_every_figure_equals_that_of_plain_python(matrix: RatingMatrix, seed: int, block_users: int) -> None:
    rng = np.random.default_rng(seed)
    split = split_newest(matrix, rng=rng)
    assume(split.test_rows.size)
    distinct = set(matrix.steps.data.tolist())
    assume(len(distinct) > 1)
    stars = np.where(rng.random(matrix.shape) < 0.3, np.nan, rng.uniform(0.5, 5.0, matrix.shape))
    given_lists = {name: ListsRanker(random_lists(split, rng), stars) for name in ("one", "two")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "BLOCK_USERS", block_users)
        found = evaluate(split, given_lists, seed=1, n_resamples=5)
    for name, ranker in given_lists.items():
        ranking = found.ranking(name)
        expected = plain_figures(split, ranker, split.test_rows.tolist())
        assert list(ranking.figures) == list(FIGURES)
        for name, figure in ranking.figures.items():
            assert figure.mean == (None if expected[name] is None else pytest.approx(expected[name], abs=1e-8)), name
        counts = np.diff(split.train.steps.indptr)
        for group, (least, most) in {"cold": (1, 4), "light": (5, 19), "heavy": (20, 999)}.items():
            users = [row for row in split.test_rows.tolist() if least <= counts[row] <= most]
            assert found.n_by_activity[group] == len(users)
            expected = plain_figures(split, ranker, users)
            for name, figure in ranking.by_activity[group].items():
                assert figure.mean == (None if expected[name] is None else pytest.approx(expected[name], abs=1e-8))
    one, two = (found.ranking(name).ndcg_per_user for name in ("one", "two"))
    difference = float((one - two).mean())
    assert found.differences[0][:2] == ("one", "two")
    assert found.differences[0].figure.mean == pytest.approx(difference, abs=1e-8)


def planted(n_users: int = 150, n_products: int = 40) -> Split:
    """Ratings of all strengths, split."""
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 11, (n_users, n_products)) * (rng.random((n_users, n_products)) < 0.4)
    dense[:, 0] = dense[:, 1] = 10
    matrix = matrix_of(dense)
    return split_newest(replace(matrix, rated_at=rng.integers(0, 99, matrix.n_ratings)), rng=rng)


def oracle_ranker(split: Split) -> ListsRanker:
    """A ranker that knows the hidden products."""
    lists = np.full((split.train.shape[0], DEPTH), -1, np.int32)
    for row in range(len(lists)):
        columns = np.flatnonzero(split.relevant[[row]].toarray()[0])[:DEPTH]
        lists[row, : len(columns)] = columns
    return ListsRanker(lists, split.hidden.toarray() / 2)


def test_a_ranker_that_knows_the_hidden_products_is_perfect_and_an_empty_one_is_zero() -> None:
    split = planted()
    silent = ListsRanker(np.full((150, DEPTH), -1, np.int32))
    found = evaluate(split, {"oracle": oracle_ranker(split), "silent": silent}, seed=0)
    perfect = Figure(1.0, 1.0, 1.0, 150)
    for name in ("ndcg@10", "recall@10", "recall@20", "map@10", "hit_rate@10", "served", "predicted"):
        assert found.ranking("oracle").figures[name] == perfect
        assert found.ranking("silent").figures[name] == Figure(0.0, 0.0, 0.0, 150)
    assert (
        found.ranking("oracle").figures["rmse"] == found.ranking("oracle").figures["mae"] == Figure(0.0, 0.0, 0.0, 150)
    )
    nothing = Figure(None, None, None, 0)
    silent_figures = found.ranking("silent").figures
    assert [silent_figures[name] for name in ("novelty@10", "rmse", "mae")] == [nothing] * 3
    assert silent_figures["coverage@10"] == Figure(0.0, None, None, 150)
    assert found.differences[0].figure == perfect


def test_a_hidden_product_that_may_not_be_recommended_is_not_relevant() -> None:
    dense = [[10, 9, 8], [10, 9, 8]]
    times = [1, 2, 3, 3, 2, 1]  # hidden: product 2 of user 1, product 0 of user 2
    matrix = matrix_of(dense, recommendable=[True, True, False], times=times)
    split = split_newest(matrix, rng=np.random.default_rng(0))
    assert split.hidden.toarray().tolist() == [[0, 0, 8], [10, 0, 0]]
    assert split.test_rows.tolist() == [1]
    found = evaluate(split, {"popular": PopularRanker(split.train)}, seed=0)
    assert (found.n_users, found.n_products, found.n_ratings, found.n_test_users) == (2, 2, 6, 1)
    assert found.ranking("popular").figures["ndcg@10"] == Figure(1.0, 1.0, 1.0, 1)


def test_few_test_users_and_equal_ratings_are_reported_with_intervals() -> None:
    split = split_newest(matrix_of(np.full((99, 4), 10)), rng=np.random.default_rng(0))
    found = evaluate(split, {"popular": PopularRanker(split.train)}, seed=0)
    assert found.notes == (
        "only 99 users could be tested, fewer than 100: go by the intervals, not the means",
        "all ratings are equal: RMSE, MAE and the share predicted mean nothing and are left out",
    )
    assert found.ranking("popular").figures["ndcg@10"] == Figure(1.0, 1.0, 1.0, 99)
    assert found.ranking("popular").figures["rmse"].mean is None
    assert found.ranking("popular").figures["predicted"].mean is None
    assert evaluate(planted(), {"popular": PopularRanker(planted().train)}, seed=0).notes == ()


def test_the_interval_is_made_from_the_values_per_user() -> None:
    split = planted()
    found = evaluate(split, {"popular": PopularRanker(split.train)}, seed=3).ranking("popular")
    rng, means = np.random.default_rng(3), []
    for _ in range(1_000):
        means.append(found.ndcg_per_user[rng.integers(0, 150, 150)].mean())
    figure = found.figures["ndcg@10"]
    assert (figure.low, figure.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1e-8)


def test_a_seed_fixes_the_evaluation_and_the_caller_gives_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BLOCK_USERS", 60)  # 60 + 60 + 30 users
    split = planted()
    rankings: dict[str, Ranker] = {"classic": ClassicRanker(split.train), "popular": PopularRanker(split.train)}
    done: list[int] = []
    first, second = (evaluate(split, rankings, seed=4, progress=done.append) for _ in range(2))
    assert first == second
    assert first.rankings[0].seconds is None
    assert done == 2 * len(rankings) * [60, 60, 30]
    ticks = iter(range(100))
    assert [ranking.seconds for ranking in evaluate(split, rankings, seed=4, clock=lambda: next(ticks)).rankings] == [
        3,
        3,
    ]
    assert evaluate(split, rankings, seed=5) != first


def test_an_evaluation_without_test_users_is_an_error_that_says_what_to_do() -> None:
    split = split_newest(matrix_of([[10, 0], [0, 10]]), rng=np.random.default_rng(0))
    with pytest.raises(SettingError, match="nothing to evaluate: of 2 users none has two ratings"):
        evaluate(split, {"popular": PopularRanker(split.train)}, seed=0)


def test_an_evaluation_without_rankings_is_an_error() -> None:
    with pytest.raises(SettingError, match="no ranking is to be measured: give at least one"):
        evaluate(planted(), {}, seed=0)


@pytest.mark.parametrize(
    ("lists", "fault"),
    [
        ([3, 4, 3], "recommends a product twice: row 0"),
        ([3, -1, 4], "leaves a place in the middle of the list empty: row 0"),
        ([3, 0], "recommends a product that the user has rated: row 0"),
        ([3, 5], "recommends a product that may not be recommended: row 0"),
        ([6], "columns outside of -1 to 5"),
        ([-2], "columns outside of -1 to 5"),
    ],
)
def test_a_list_that_may_not_be_shown_is_an_error(lists: list[int], fault: str) -> None:
    matrix = matrix_of([[10, 9, 8, 0, 0, 0]], recommendable=[True] * 5 + [False], times=[1, 2, 3])
    split = split_newest(matrix, rng=np.random.default_rng(0))
    padded = np.full((1, DEPTH), -1, np.int32)
    padded[0, : len(lists)] = lists
    with pytest.raises(SettingError, match=fault):
        evaluate(split, {"odd": ListsRanker(padded)}, seed=0)
    padded[0] = [2, 3, 4, *[-1] * (DEPTH - 3)]  # the hidden product and two more are allowed
    assert evaluate(split, {"fine": ListsRanker(padded)}, seed=0).rankings[0].figures["ndcg@10"].mean == 1.0


def test_a_ranker_with_an_answer_of_another_shape_is_refused() -> None:
    split = planted()
    with pytest.raises(SettingError, match=r"shape \(150, 7\) where \(150, 20\) was asked for"):
        evaluate(split, {"narrow": ListsRanker(np.full((150, 7), -1, np.int32))}, seed=0)


# --- rankings


@settings(max_examples=60, deadline=None)
@given(matrices(timed=False), st.integers(1, 6), st.integers(1, 12))
def test_classic_equals_the_specification(matrix: RatingMatrix, k: int, n: int) -> None:
    dense = matrix.steps.toarray()
    ratings = {
        row: {str(column): dense[row, column] / 2 for column in np.flatnonzero(dense[row])} for row in range(len(dense))
    }
    oracle = Oracle(ratings)
    catalog = [str(column) for column in np.flatnonzero(matrix.recommendable)]
    rated = {column for mine in ratings.values() for column in mine}
    ranker: Ranker = ClassicRanker(matrix, n_neighbors=k)
    rows = np.arange(len(dense))
    lists = ranker.rank(rows, n)
    assert lists.shape == (len(dense), n)
    for row in range(len(dense)):
        if ratings[row]:
            every = oracle.recommend(row, k=k, n=None, catalog=rated)
            listed = sorted(
                (entry for entry in every if entry.product_id in catalog),
                key=lambda entry: (-entry.predicted_rating, -entry.support, int(entry.product_id)),
            )
            expected = [int(entry.product_id) for entry in listed[:n]]
            assert lists[row].tolist() == expected + [-1] * (n - len(expected))
            stars = {int(entry.product_id): entry.predicted_rating for entry in every}
            unrated = np.flatnonzero(dense[row] == 0)
            found = ranker.predict(np.full(len(unrated), row), unrated.astype(np.int32))
            assert dict(zip(unrated.tolist(), found.tolist(), strict=True)) == pytest.approx(
                {column: stars.get(column, math.nan) for column in unrated.tolist()}, abs=2e-9, nan_ok=True
            )


def test_classic_predicts_for_pairs_in_any_order() -> None:
    matrix = matrix_of([[10, 0, 0], [10, 8, 0], [10, 4, 2], [0, 0, 0]])
    ranker = ClassicRanker(matrix)
    rows, columns = np.array([3, 0, 1, 0]), np.array([0, 2, 2, 1], np.int32)
    found = ranker.predict(rows, columns)
    one, two = 100 / (10 * math.sqrt(164)), 100 / (10 * math.sqrt(120))  # cosines of user 0 with users 1 and 2
    assert math.isnan(found[0])
    assert found[1:3].tolist() == [1.0, 1.0]
    assert found[3] == pytest.approx((one * 4.0 + two * 2.0) / (one + two), abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(matrices(timed=False), st.integers(1, 12))
def test_popular_equals_the_fallback_ranking_of_the_service(matrix: RatingMatrix, n: int) -> None:
    popular = rank_popular(matrix)
    lists = PopularRanker(matrix).rank(np.arange(matrix.shape[0]), n)
    for row in range(matrix.shape[0]):
        expected = popular.beyond(matrix.rated_columns(row), n)[0].tolist()
        assert lists[row].tolist() == expected + [-1] * (n - len(expected))
    stars = dict(zip(popular.columns.tolist(), popular.predicted.tolist(), strict=True))
    columns = np.arange(matrix.shape[1], dtype=np.int32)
    found = PopularRanker(matrix).predict(np.zeros(len(columns), np.int64), columns)
    assert found.tolist() == pytest.approx([stars.get(c, math.nan) for c in columns.tolist()], nan_ok=True)


def test_popular_gives_later_products_to_a_user_who_has_rated_the_first() -> None:
    dense = np.zeros((40, 300), np.int8)
    dense[0, :250] = 10
    dense[1:, :] = 10
    lists = PopularRanker(matrix_of(dense)).rank(np.arange(2), 3)  # all equally popular: by column
    assert lists.tolist() == [[250, 251, 252], [-1, -1, -1]]


# --- reports


def two_rankings() -> Evaluation:
    split = planted()
    return evaluate(split, {"classic": ClassicRanker(split.train), "popular": PopularRanker(split.train)}, seed=0)


def test_the_json_file_holds_all_figures(tmp_path: Path) -> None:
    found = two_rankings()
    write_json(found, tmp_path / "evaluation.json")
    data = json.loads((tmp_path / "evaluation.json").read_text())
    figure = found.ranking("classic").figures["ndcg@10"]
    assert data["modes"]["classic"]["figures"]["ndcg@10"] == {
        "mean": figure.mean, "low": figure.low, "high": figure.high, "n": 150,
    }  # fmt: skip
    assert data["modes"]["classic"]["by_activity"]["cold"]["ndcg@10"]["mean"] is None
    assert data == found.to_dict()
    assert list(data) == [
        *["format", "split", "seed", "n_users", "n_products", "n_ratings", "n_test_users", "n_by_activity", "notes"],
        *["modes", "differences"],
    ]
    assert (data["format"], data["n_test_users"], list(data["modes"])) == (1, 150, ["classic", "popular"])
    for ranking in found.rankings:
        written = data["modes"][ranking.name]
        assert written == {
            "figures": {name: figure._asdict() for name, figure in ranking.figures.items()},
            "by_activity": {
                group: {name: figure._asdict() for name, figure in figures.items()}
                for group, figures in ranking.by_activity.items()
            },
            "seconds": None,
        }
    (difference,) = found.differences
    assert data["differences"] == [{"first": "classic", "second": "popular", "ndcg@10": difference.figure._asdict()}]
    assert [entry.name for entry in tmp_path.iterdir()] == ["evaluation.json"]


def test_the_table_shows_rankings_side_by_side_with_their_intervals() -> None:
    found = two_rankings()
    lines = as_table(found).splitlines()
    assert lines[0] == (
        "newest 20% of each user's ratings hidden; 150 of 150 users tested, 40 products ranked, "
        f"{found.n_ratings:,} ratings, seed 0"
    )
    assert lines[1] == (
        "in brackets: 95 % bootstrap interval over users; coverage has none, it is of all lists together"
    )
    (covered,) = [line for line in lines if line.startswith("coverage@10")]
    assert "[" not in covered
    assert sum("[" in line for line in lines[2:]) >= 9  # the others have
    classic, popular = (found.ranking(name).figures["ndcg@10"] for name in ("classic", "popular"))
    shown = [f"{f.mean:.4f} [{f.low:.4f}, {f.high:.4f}]" for f in (classic, popular)]
    row = next(line for line in lines if line.startswith("nDCG@10 "))
    assert re.split(r"\s{2,}", row) == ["nDCG@10", *shown]
    assert any(line.split() == ["cold", "(1-4):", "0", "users", "-", "-"] for line in lines)
    assert any(line.startswith("nDCG@10 of classic less popular: ") for line in lines)
    for label in ("Recall@10", "Recall@20", "MAP@10", "hit rate@10", "coverage@10", "novelty@10", "users served",
                  "RMSE", "MAE", "ratings predicted", "seconds"):  # fmt: skip
        assert sum(line.startswith(label) for line in lines) == 1, label


def test_a_difference_counts_only_if_its_interval_excludes_zero() -> None:
    found = two_rankings()
    for figure, verdict in (
        (Figure(0.1, 0.01, 0.2, 150), "+0.1000 [+0.0100, +0.2000], a difference"),
        (Figure(0.1, -0.01, 0.2, 150), "+0.1000 [-0.0100, +0.2000], no difference that these users could show"),
        (Figure(0.0, 0.0, 0.0, 150), "+0.0000 [+0.0000, +0.0000], no difference that these users could show"),
    ):
        told = replace(found, differences=(found.differences[0]._replace(figure=figure),), notes=("few",))
        assert as_table(told).splitlines()[-2:] == [f"nDCG@10 of classic less popular: {verdict}", "note: few"]


def test_the_picture_has_a_bar_with_an_interval_for_each_mean(tmp_path: Path) -> None:
    found = two_rankings()
    # with few users the mean can lie outside of its percentile interval
    odd = replace(found.rankings[0], figures={**found.rankings[0].figures, "ndcg@10": Figure(0.5, 0.6, 0.75, 3)})
    rankings = (replace(odd, name="<classic>"), *found.rankings[1:])
    draw_svg(replace(found, rankings=rankings), tmp_path / "evaluation.svg")
    assert [entry.name for entry in tmp_path.iterdir()] == ["evaluation.svg"]
    root = ElementTree.fromstring((tmp_path / "evaluation.svg").read_text())
    texts = [text.text for text in root.iterfind("{*}text")]
    assert {"<classic>", "popular", "nDCG@10", "hit rate@10", "cold (1-4)", "0 users"} <= set(texts)
    shown = [
        ranking.figures[name]
        for ranking in rankings
        for name in ("recall@10", "recall@20", "map@10", "hit_rate@10", "ndcg@10")
    ]
    shown += [group["ndcg@10"] for ranking in rankings for group in ranking.by_activity.values()]
    bars = [rect for rect in root.iterfind("{*}rect") if float(rect.get("width", "0").rstrip("%")) not in (24, 100)]
    assert len(bars) == sum(figure.mean is not None for figure in shown)
    left = [bar for bar in bars if float(bar.get("x", "")) < 760]
    highest = max(max(figure.mean or 0, figure.high or 0) for figure in shown[:10])
    one = 370 / (0.2 * math.ceil(highest / 0.2))  # pixels; ticks of 0.2
    means = sorted(figure.mean for figure in shown[:10] if figure.mean is not None)
    assert sorted(float(bar.get("height", "")) for bar in left) == pytest.approx([m * one for m in means], abs=0.01)
    ends = {float(line.get("y2", "")) for line in root.iterfind("{*}line")}
    assert {round(450 - end * one, 2) for end in (0.6, 0.75)} <= ends


@pytest.mark.parametrize(
    ("highest", "step"), [(0.0, 1.0), (0.05, 0.01), (0.3, 0.1), (0.52, 0.2), (1.0, 0.2), (7.0, 2.0)]
)
def test_ticks_are_round_and_at_most_six(highest: float, step: float) -> None:
    line = [Figure(highest, None, None, 3)]
    texts = [
        text.text
        for text in ElementTree.fromstring(as_svg("", [], [Panel("", 100, ["x"], [line])])).iterfind("{*}text")
    ]
    ticks = [float(text) for text in texts if text and re.fullmatch(r"[\d.]+", text)]
    assert ticks[:2] == pytest.approx([0.0, step])
    assert highest <= ticks[-1] + 1e-9
    assert 2 <= len(ticks) <= 6


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none/evaluation.json cannot be written \(No such file or directory\)"):
        write_json(two_rankings(), tmp_path / "none" / "evaluation.json")
    with pytest.raises(SettingError, match=r"none/evaluation.svg cannot be written"):
        draw_svg(two_rankings(), tmp_path / "none" / "evaluation.svg")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SettingError, match="cannot be written"):
        write_json(two_rankings(), tmp_path / "folder")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


# --- real data


@needs_real_data
@pytest.mark.parametrize(
    ("name", "n_ratings", "shape"),
    [
        ("movielens_small", 100_836, (610, 9_724)),
        ("all_beauty", 2_535, (253, 356)),
        ("filmtrust", 35_497 - 3, (1_508, 2_071)),  # without the repeated pairs
        ("beauty_2014", 198_502, (22_363, 12_101)),
    ],
)
def test_the_real_sets_are_read_whole(name: str, n_ratings: int, shape: tuple[int, int]) -> None:
    matrix = load_dataset(name, REAL_DATA)
    assert (matrix.n_ratings, matrix.shape) == (n_ratings, shape)
    assert (matrix.rated_at is None) == (name == "filmtrust")


def test_a_missing_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="all_beauty does not exist: put the real data there"):
        load_dataset("all_beauty", tmp_path)


@needs_real_data
def test_the_predicted_rating_ranks_far_below_popularity_on_movielens() -> None:
    split = split_newest(load_dataset("movielens_small", REAL_DATA), rng=np.random.default_rng(0))
    found = evaluate(split, {"classic": ClassicRanker(split.train), "popular": PopularRanker(split.train)}, seed=0)
    classic, popular = (found.ranking(name).figures["ndcg@10"].mean for name in ("classic", "popular"))
    assert classic == pytest.approx(0.0256, abs=0.002)
    assert popular == pytest.approx(0.0863, abs=0.002)
    high = found.differences[0].figure.high
    assert high is not None
    assert high < 0
    assert found.n_test_users == 610
