"""The peers of the quality benchmark equal their formulas, and none sees hidden ratings."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from benchmarks import peers, quality
from benchmarks.peers import PEERS, Peer, ScoreRanker, ease, grid, item_knn, rp3beta, user_knn
from benchmarks.quality import TUNED, Line, as_table, measure, tune
from recommender.evaluation import Figure, split_newest
from recommender.shop import RatingMatrix
from tests.conftest import needs_real_data


def matrix_of(dense: Any, recommendable: Sequence[bool] | None = None) -> RatingMatrix:
    """Users 1, 2, ... and products P000, P001, ... from half stars, rated in the order of the columns."""
    ratings = sp.csr_array(np.asarray(dense, np.int8))
    ids = np.array([f"P{column:03}" for column in range(ratings.shape[1])], np.bytes_)
    mask = np.ones(len(ids), np.bool_) if recommendable is None else np.asarray(recommendable)
    return RatingMatrix(ratings, np.arange(1, ratings.shape[0] + 1), ids, mask, np.arange(ratings.nnz))


def random_matrix(n_users: int, n_products: int, seed: int = 0) -> RatingMatrix:
    return matrix_of(8 * (np.random.default_rng(seed).random((n_users, n_products)) < 0.3))


def scores_of(ranker: ScoreRanker, train: RatingMatrix) -> NDArray[np.float64]:
    return np.asarray(ranker._scores(np.arange(train.shape[0])), np.float64)


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)], ids=["more users", "more products"])
def test_ease_is_the_closed_form_of_its_paper(shape: tuple[int, int]) -> None:
    train = random_matrix(*shape)
    x = peers.ones(train).toarray().astype(np.float64)
    p = np.linalg.inv(x.T @ x + 7.0 * np.eye(shape[1]))
    b = np.eye(shape[1]) - p @ np.diag(1 / np.diag(p))
    unseen = x == 0
    np.testing.assert_allclose(scores_of(ease(train, ridge=7.0), train)[unseen], (x @ b)[unseen], atol=1e-9)


def test_rp3beta_walks_three_steps() -> None:
    # user 0 has A, user 1 A and B, user 2 B and C
    train = matrix_of([[8, 0, 0], [8, 8, 0], [0, 8, 8]])
    found = scores_of(rp3beta(train, beta=0.5, k=9), train)
    # from A to a user: 1/2 each; from user 1 to B: 1/2; B has 2 raters
    assert found[0, 1] == pytest.approx(1 / 2 * 1 / 2 / 2**0.5)
    assert found[0, 2] == 0  # C is five steps away
    assert (
        scores_of(rp3beta(train, beta=0.5, k=1), train)[0, 1] == found[0, 1]
    )  # the way back to A takes no place in the list
    # user 1: B -> user 2 -> C is 1/2 * 1/2; C has one rater
    assert found[1, 2] == pytest.approx(1 / 2 * 1 / 2 / 1)


def test_rp3beta_keeps_the_k_largest_of_each_product() -> None:
    walks = sp.csr_array(np.array([[0.0, 0.3, 0.1, 0.2], [0.5, 0.0, 0.0, 0.0]]))
    assert peers._largest(walks, 2).toarray().tolist() == [[0.0, 0.3, 0.0, 0.2], [0.5, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("k", [1, 2, 50])
def test_user_knn_sums_the_k_nearest_users_that_have_the_product(k: int) -> None:
    train = random_matrix(25, 18)
    x = peers.ones(train).toarray().astype(np.float64)
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    close = unit @ unit.T
    expected = np.zeros_like(x)
    for u in range(25):
        for i in range(18):
            having = [close[u, v] for v in range(25) if v != u and x[v, i]]
            expected[u, i] = sum(sorted(having, reverse=True)[:k])
    np.testing.assert_allclose(scores_of(user_knn(train, k=k), train), expected, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 50])
def test_item_knn_sums_the_k_nearest_of_the_users_products(k: int) -> None:
    train = random_matrix(25, 18)
    x = peers.ones(train).toarray().astype(np.float64)
    unit = x / np.maximum(np.linalg.norm(x, axis=0), 1e-12)
    close = unit.T @ unit
    expected = np.zeros_like(x)
    for u in range(25):
        for i in range(18):
            mine = [close[i, j] for j in range(18) if j != i and x[u, j]]
            expected[u, i] = sum(sorted(mine, reverse=True)[:k])
    np.testing.assert_allclose(scores_of(item_knn(train, k=k), train), expected, atol=1e-5)


def test_a_list_is_ordered_by_score_then_column_without_known_or_forbidden_products() -> None:
    train = matrix_of([[8, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], [True, True, True, True, False, True])
    ranker = ScoreRanker(train, lambda rows: np.tile([9.0, 1.0, 2.0, 1.0, 9.0, 0.0], (len(rows), 1)), floor=0.0)
    assert ranker.rank(np.array([0, 1]), 5).tolist() == [[2, 1, 3, -1, -1], [0, 2, 1, 3, -1]]
    assert ranker.rank(np.array([1]), 8).tolist() == [[0, 2, 1, 3, -1, -1, -1, -1]]  # more than the number of products
    assert ranker.rank(np.array([0]), 2).tolist() == [[2, 1]]
    assert np.isnan(ranker.predict(np.array([0, 1]), np.array([0, 1]))).all()


# implicit is only in requirements-bench.txt
INSTALLED = [
    peer
    for peer in PEERS
    if peer.train not in (peers.implicit_knn, peers.implicit_factors) or importlib.util.find_spec("implicit")
]


@pytest.mark.parametrize("peer", INSTALLED, ids=lambda peer: peer.name)
def test_every_peer_finds_the_block_of_a_user(peer: Peer) -> None:
    # users 0-9 have products 0-9 except one each, users 10-19 products 10-19 except one each
    dense = np.kron(np.eye(2), 8 * (1 - np.eye(10)))
    choice = dict(peer.grid[0])
    lists = peer.train(matrix_of(dense), **choice).rank(np.arange(20), 1)
    assert lists.ravel().tolist() == list(range(20))


def fixed(train: RatingMatrix, *, best: int) -> ScoreRanker:
    """Ranks column ``best`` first."""
    scores = np.arange(train.shape[1])[::-1] + 1.0
    scores[best] = 100.0
    return ScoreRanker(train, lambda rows: np.tile(scores, (len(rows), 1)))


def test_tuning_takes_the_parameters_that_rank_the_validation_cut_best() -> None:
    # everybody rates 40 products at random, then product 45 last
    rng = np.random.default_rng(0)
    dense = np.zeros((30, 46))
    for row in dense:
        row[rng.permutation(45)[:4]] = 8
    dense[:, 45] = 8
    validation = split_newest(matrix_of(dense), rng=rng)
    assert validation.hidden.indices.tolist() == [45] * 30
    assert tune(Peer("fixed", fixed, grid(best=(3, 45, 44))), validation) == {"best": 45}


def test_a_peer_is_tuned_on_training_ratings_alone_and_then_trained_on_all_of_them() -> None:
    matrix = random_matrix(40, 30)
    split = split_newest(matrix, rng=np.random.default_rng(0))
    seen: list[RatingMatrix] = []

    def spy(train: RatingMatrix, *, best: int) -> ScoreRanker:
        seen.append(train)
        return fixed(train, best=best)

    lines = measure(matrix, [Peer("spy", spy, grid(best=(1, 2)))])
    assert [line.name for line in lines] == ["popular", "classic", "taste", "items", TUNED, "spy"]
    *tuning, last = seen
    assert (last.steps != split.train.steps).nnz == 0
    assert len(tuning) == 2
    for train in tuning:
        assert train.n_ratings < split.train.n_ratings
        assert (train.steps.toarray() <= split.train.steps.toarray()).all()


def test_the_table_is_ordered_by_ndcg_and_names_the_chosen_parameters() -> None:
    low, high = Figure(0.1, 0.05, 0.15, 9), Figure(0.2, 0.1, 0.3, 9)
    lines = [
        Line("taste", low, high, 0.0, 1.0, 2.0, None),
        Line("ALS", high, low, 3.0, 4.0, 5.0, {"kind": "als.X", "factors": 16}),
    ]
    assert as_table(lines).splitlines()[2:] == [
        "| ALS | 0.2000 | 0.1000 to 0.3000 |  | 0.1000 | 4.00 | 5.00 | 3.0 | factors 16 |",
        "| **taste** | 0.1000 | 0.0500 to 0.1500 |  | 0.2000 | 1.00 | 2.00 |  |  |",
    ]


def test_the_table_says_how_far_auto_is_ahead_of_each_line_user_by_user() -> None:
    figure = Figure(0.1, 0.05, 0.15, 4)
    auto, other = np.array([0.5, 0.3, 0.1, 0.1]), np.array([0.3, 0.3, 0.1, 0.1])
    lines = [Line(name, figure, figure, 0.0, 1.0, 2.0, None, each) for name, each in ((TUNED, auto), ("ALS", other))]
    found = [row.split(" | ")[3] for row in as_table(lines).splitlines()[2:]]
    # the differences 0.2, 0, 0, 0 have the mean 0.05, the variance 0.03 / 3, the error (0.01 / 4)^0.5 = 0.05
    assert found == ["", "+0.0500 ± 0.0980"]


@needs_real_data
def test_the_benchmark_runs_on_a_real_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert quality.main(["--sets", "all_beauty", "--peers", "RP3beta"]) == 0
    printed = capsys.readouterr().out
    assert "== all_beauty: 253 users, 356 products, 2,535 ratings" in printed
    assert printed.count("\n| ") == 1 + 6  # the head, popular and four of ours, RP3beta
