"""The peers that `benchmarks.quality` compares with: rankings of others, each with the small grid it is tuned on.

All learn from the products a user has, not from stars or times, as their papers do (X below: users x products, 0 or 1).
They answer through the same few lines (`ScoreRanker`), and fill a list as far as their scores go.

    TF-IDF, BM25   item-kNN of `implicit` (Ben Frederickson), the K nearest products of each product
    ALS, BPR       matrix factorization of `implicit`: Hu, Koren, Volinsky 2008; Rendle et al. 2009
    user-kNN       LensKit's UserKNN, implicit feedback: score(u, i) = sum of cosine(u, v) over the k nearest v with i
    item-kNN       LensKit's ItemKNN, implicit feedback: score(u, i) = sum of cosine(i, j) over the k nearest j of u's
    RP3beta        Christoffel, Paudel, Newell, Bernstein 2015: random walks of three steps, less by popularity^beta
    EASE^R         Steck 2019: the linear model of products from products with a zero diagonal, in closed form

LensKit itself (2025.8) needs pandas below 3 and torch, which cannot be installed beside this project, so its two
rankings are written out here after its formulas.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from itertools import product as every
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recommender.shop import RatingMatrix

THREADS = 2
BLOCK_ROWS = 256
SEED = 0

Rows = NDArray[np.int64]
Scores = NDArray[Any]  # (len(rows), n_products), float32 or float64
Parameters = Mapping[str, Any]


class ScoreRanker:
    """A ranker by dense scores, higher is better; it leaves out the user's products and those not recommendable."""

    def __init__(self, train: RatingMatrix, scores: Callable[[Rows], Scores], *, floor: float = -np.inf) -> None:
        """Rank by ``scores``; ``floor``: a list has only products with a higher score."""
        self._train, self._scores, self._floor = train, scores, floor

    def rank(self, rows: Rows, n: int) -> NDArray[np.int32]:
        """Return the best n columns of each row, (len(rows), n), -1 if there are no more; equal scores by column."""
        out = np.full((len(rows), n), -1, np.int32)
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            scores = np.array(self._scores(block))  # a copy: it is written to
            scores[:, ~self._train.recommendable] = -np.inf
            seen = self._train.steps[block]
            scores[np.repeat(np.arange(len(block)), np.diff(seen.indptr)), seen.indices] = -np.inf
            width = min(n, scores.shape[1])
            best = np.sort(np.argpartition(-scores, width - 1, axis=1)[:, :width], axis=1)
            found = np.take_along_axis(scores, best, axis=1)
            order = np.argsort(-found, axis=1, kind="stable")
            above = np.take_along_axis(found, order, axis=1) > self._floor
            out[start : start + len(block), :width] = np.where(above, np.take_along_axis(best, order, axis=1), -1)
        return out

    def predict(self, rows: Rows, columns: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return NaN for every pair: there are no stars."""
        assert len(rows) == len(columns), "one column for each row"
        return np.full(len(rows), np.nan)


class Peer(NamedTuple):
    """A ranking: how to train it on given parameters, and which parameters to try."""

    name: str
    train: Callable[..., ScoreRanker]  # (matrix, **parameters)
    grid: tuple[Parameters, ...]


def ones(train: RatingMatrix) -> Any:
    """Return X: float32 CSR matrix (users x products), 1 where there is a rating."""
    csr = train.steps
    return sp.csr_matrix((np.ones(csr.nnz, np.float32), csr.indices, csr.indptr), shape=csr.shape)


def ease(train: RatingMatrix, *, ridge: float) -> ScoreRanker:
    """Return score(u, i) = (X B)_ui, B = I - P diag(1 / diag P), P = (X'X + ridge I)^-1: -(X P)_ui / P_ii if u lacks i.

    With fewer users than products the same numbers come from the smaller inverse, M = (XX' + ridge I)^-1 X, since then
    X P = M and P_ii = (1 - sum over u of X_ui M_ui) / ridge. Memory: the square of the smaller number in doubles.
    """
    x = ones(train).astype(np.float64)
    if x.shape[0] < x.shape[1]:
        answers = inverse((x @ x.T).toarray(order="F"), ridge) @ x  # (n_users, n_products)
        answers /= -(1.0 - np.asarray(x.multiply(answers).sum(axis=0)).ravel()) / ridge
        return ScoreRanker(train, lambda rows: answers[rows])
    weights = inverse((x.T @ x).toarray(order="F"), ridge)  # (n_products, n_products)
    weights /= -np.diag(weights)
    return ScoreRanker(train, lambda rows: x[rows] @ weights)


def inverse(gram: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Return (gram + ridge I)^-1, by Cholesky, in the memory of gram."""
    gram[np.diag_indices_from(gram)] += ridge
    factor, failed = scipy.linalg.lapack.dpotrf(gram, overwrite_a=1)
    inverse, failed_too = scipy.linalg.lapack.dpotri(factor, overwrite_c=1)
    assert failed == failed_too == 0, "a Gram matrix with a ridge is positive definite"
    upper = np.triu(inverse)
    return np.asarray(upper + np.triu(upper, 1).T)


def rp3beta(train: RatingMatrix, *, beta: float, k: int) -> ScoreRanker:
    """Return scores X W, with the k largest W_ij of each i.

    W_ij = sum over users of (1 / raters_i) (1 / length_u) / raters_j^beta.
    """
    x = ones(train)
    lengths, raters = (np.maximum(np.asarray(x.sum(axis=axis)).ravel(), 1) for axis in (1, 0))
    back = sp.diags_array(1 / raters) @ x.T  # product -> user
    walks = sp.csr_array(back @ (sp.diags_array(1 / lengths) @ x) @ sp.diags_array(raters**-beta))
    walks.setdiag(0)
    return ScoreRanker(train, _by_items(x, _largest(walks, k)), floor=0.0)


def user_knn(train: RatingMatrix, *, k: int) -> ScoreRanker:
    """Return LensKit's UserKNN: for each product the k nearest users that have it."""
    unit = _unit_rows(ones(train))
    csr = train.steps

    def scores(rows: Rows) -> Scores:
        close = sp.coo_array(unit[rows] @ unit.T)  # (len(rows), n_users)
        place, user = close.coords
        order = np.lexsort((user, -close.data, place))
        order = order[user[order] != rows[place[order]]]
        out = np.zeros((len(rows), csr.shape[1]), np.float32)
        _add_nearest(place[order], user[order], close.data[order], csr.indptr, csr.indices, k, out)
        return out

    return ScoreRanker(train, scores, floor=0.0)


@njit(cache=True)
def _add_nearest(places: Any, users: Any, close: Any, indptr: Any, indices: Any, k: int, out: Any) -> None:
    """Add each pair's similarity to what its user has, in order, but to no product more than k times."""
    counts = np.zeros(out.shape, np.int32)
    for pair in range(places.size):
        place = places[pair]
        for at in range(indptr[users[pair]], indptr[users[pair] + 1]):
            if counts[place, indices[at]] < k:
                counts[place, indices[at]] += 1
                out[place, indices[at]] += close[pair]


def item_knn(train: RatingMatrix, *, k: int) -> ScoreRanker:
    """Return LensKit's ItemKNN: for each candidate the k nearest of the user's products."""
    columns = _unit_rows(sp.csr_matrix(ones(train).T))
    close = sp.csr_array(columns @ columns.T)
    close.setdiag(0)
    csr = train.steps

    def scores(rows: Rows) -> Scores:
        out = np.zeros((len(rows), csr.shape[1]), np.float32)
        for at, row in enumerate(rows):
            near = close[csr.indices[csr.indptr[row] : csr.indptr[row + 1]]].toarray()  # (n rated, n_products)
            nearest = near if len(near) <= k else np.partition(near, len(near) - k, axis=0)[len(near) - k :]
            out[at] = nearest.sum(axis=0)
        return out

    return ScoreRanker(train, scores, floor=0.0)


def implicit_knn(train: RatingMatrix, *, kind: str, **parameters: Any) -> ScoreRanker:
    """Return TFIDFRecommender or BM25Recommender (``kind``), with their own weights and their K nearest products."""
    from implicit import nearest_neighbours

    x = ones(train)
    model = getattr(nearest_neighbours, kind)(num_threads=THREADS, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it passes itself another format than it requires
        model.fit(x, show_progress=False)
    return ScoreRanker(train, _by_items(x, model.similarity), floor=0.0)


def implicit_factors(train: RatingMatrix, *, kind: str, **parameters: Any) -> ScoreRanker:
    """Return a factorization: scores = user . product factors.

    ``kind``: als.AlternatingLeastSquares or bpr.BayesianPersonalizedRanking.
    """
    import importlib

    module, model_class = kind.split(".")
    threads = THREADS if module == "als" else 1  # BPR on two threads differs from run to run
    recommender = getattr(importlib.import_module(f"implicit.cpu.{module}"), model_class)
    with threadpool_limits(1, "blas"):  # implicit demands this: its own threads and those of BLAS obstruct each other
        model = recommender(num_threads=threads, random_state=SEED, **parameters)
        model.fit(ones(train), show_progress=False)
    users, products = model.user_factors, model.item_factors
    return ScoreRanker(train, lambda rows: users[rows] @ products.T)


def _by_items(x: Any, weights: Any) -> Callable[[Rows], Scores]:
    return lambda rows: (x[rows] @ weights).toarray()


def _unit_rows(x: Any) -> Any:
    norms = np.sqrt(np.asarray(x.power(2).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags_array(1 / np.maximum(norms, 1e-12)) @ x)


def _largest(weights: Any, k: int) -> Any:
    """Return each row's k largest entries, CSR."""
    row = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    order = np.lexsort((-weights.data, row))
    kept = np.sort(order[np.arange(len(order)) - weights.indptr[row] < k])
    return sp.csr_array((weights.data[kept], (row[kept], weights.indices[kept])), shape=weights.shape)


def grid(**choices: tuple[Any, ...]) -> tuple[Parameters, ...]:
    """Return every combination, the last name changing fastest.

    >>> grid(k=(1, 2), beta=(0.5,))
    ({'k': 1, 'beta': 0.5}, {'k': 2, 'beta': 0.5})
    """
    return tuple(dict(zip(choices, values, strict=True)) for values in every(*choices.values()))


_ALS, _BPR = ("als.AlternatingLeastSquares",), ("bpr.BayesianPersonalizedRanking",)
PEERS = (
    Peer("TF-IDF", implicit_knn, grid(kind=("TFIDFRecommender",), K=(20, 100, 500, 2_000))),
    Peer("BM25", implicit_knn, grid(kind=("BM25Recommender",), K=(20, 100, 500, 2_000), B=(0.25, 0.75))),
    Peer(
        "ALS", implicit_factors, grid(kind=_ALS, factors=(16, 64, 128), alpha=(1.0, 10.0), regularization=(0.1, 10.0))
    ),
    Peer("BPR", implicit_factors, grid(kind=_BPR, factors=(32, 96), learning_rate=(0.02, 0.1), iterations=(50, 200))),
    Peer("user-kNN", user_knn, grid(k=(20, 50, 100, 300, 1_000))),
    Peer("item-kNN", item_knn, grid(k=(5, 20, 100, 1_000))),
    Peer("RP3beta", rp3beta, grid(beta=(0.0, 0.2, 0.4, 0.6, 0.8), k=(50, 300, 2_000))),
    Peer("EASE^R", ease, grid(ridge=(5.0, 20.0, 100.0, 300.0, 1000.0, 3000.0))),
)
