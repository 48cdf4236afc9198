"""Compare the rankings with popularity and tuned peers on real data, by the users' next products.

    pip install -r requirements-bench.txt
    python -m benchmarks.quality                              # the four sets of ../shared/data, about half an hour
    python -m benchmarks.quality --short                      # the two smallest, few peers, about half a minute
    python -m benchmarks.quality --sets filmtrust --peers EASE^R,RP3beta

Every ranking gets the same training ratings (the newest 20 % of each user's are hidden, random ones if there are no
times), ranks the whole catalog without the user's products, and is measured by the same lines
(`recommender.evaluation.measure`). A peer's parameters are those of its grid (`benchmarks.peers`) with the highest
nDCG@10 on a validation cut, made the same way from the training ratings alone; the peer is then trained again on all of
them. auto chooses its ranking and parameters by `recommender.evaluation.tuning`, which also hides ratings of the
training part; classic, taste and items have no tuning. "auto ahead": nDCG@10 of auto less that of the line, the mean of
all test users and 1.96 of its standard errors. Seconds: to train on chosen parameters and to rank all test users (2
threads); tuning has a column of its own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.datasets import LOADERS, load_dataset
from benchmarks.peers import PEERS, SEED, THREADS, Parameters, Peer
from recommender.errors import RecommenderError
from recommender.evaluation import (
    DEPTH,
    NDCG,
    ClassicRanker,
    Figure,
    PopularRanker,
    Ranker,
    Split,
    evaluate,
    split_newest,
)
from recommender.evaluation import tune as tune_auto
from recommender.ranking import (
    ITEMS,
    TASTE,
    AutoParameters,
    ItemRanker,
    ProfileRanker,
    TasteRanker,
    chosen_ranker,
    train_item_weights,
)
from recommender.shop import RatingMatrix, build_profiles

USER_KNN = next(peer for peer in PEERS if peer.name == "user-kNN")
SHORT_SETS, SHORT_PEERS = ("all_beauty", "filmtrust"), ("TF-IDF", "user-kNN", "RP3beta", "EASE^R")
RECALL, TUNED = f"recall@{DEPTH}", "auto"


class Line(NamedTuple):
    """One ranking on one set; ``parameters`` is None if nothing was tuned."""

    name: str
    ndcg: Figure
    recall: Figure
    tuning: float
    training: float
    ranking: float
    parameters: Parameters | None
    per_user: NDArray[np.float64] | None = None  # nDCG@10 (n_test_users,)


def _by_profiles(train: RatingMatrix, parameters: AutoParameters) -> ProfileRanker:
    """Return taste, items or their fusion on the training ratings."""
    profiles, mask = build_profiles(train), train.recommendable
    taste = TasteRanker(profiles.confidences, train.steps, times=profiles.times, recommendable=mask, n_threads=THREADS)

    def items_beside(near: TasteRanker) -> ItemRanker:
        weights = train_item_weights(profiles, parameters.items, n_threads=THREADS)
        return ItemRanker.of(near, weights, profiles, parameters.items, mask)

    return chosen_ranker(parameters, taste, items_beside, mask)


UNTUNED: dict[str, Callable[[RatingMatrix], Ranker]] = {
    "popular": PopularRanker,
    "classic": ClassicRanker,
    "taste": partial(_by_profiles, parameters=AutoParameters(TASTE)),
    "items": partial(_by_profiles, parameters=AutoParameters(ITEMS)),
}
OURS = ("classic", "taste", "items", TUNED)


def validation_ndcg(validation: Split, ranker: Ranker) -> float:
    """Return the mean nDCG@10 on the users of a validation cut."""
    mean = evaluate(validation, {"": ranker}, seed=SEED, n_resamples=1).rankings[0].figures[NDCG].mean
    return mean or 0.0


def tune(peer: Peer, validation: Split) -> Parameters:
    """Return the parameters of the peer's grid that rank the validation cut best; the first of equal ones."""
    found = [validation_ndcg(validation, peer.train(validation.train, **choice)) for choice in peer.grid]
    return peer.grid[int(np.argmax(found))]


def measure(matrix: RatingMatrix, peers: Sequence[Peer], *, seed: int = SEED, verbose: bool = False) -> list[Line]:
    """Return one line each for popularity, ours and the tuned peers on one set, in that order."""
    split = split_newest(matrix, rng=np.random.default_rng(seed))
    validation = split_newest(split.train, rng=np.random.default_rng(seed + 1))
    lines = [_line(split, seed, name, make) for name, make in UNTUNED.items()]
    started = time.perf_counter()
    chosen = tune_auto(split.train, seed=seed + 1, n_threads=THREADS).parameters
    seconds, make = time.perf_counter() - started, partial(_by_profiles, parameters=chosen)
    lines.append(_line(split, seed, TUNED, make, _flat(chosen.as_settings()), seconds))
    for peer in peers:
        started = time.perf_counter()
        best = tune(peer, validation)
        seconds = time.perf_counter() - started
        lines.append(_line(split, seed, peer.name, partial(peer.train, **best), best, seconds))
        if verbose:
            print(f"   {peer.name}: {_shown(best)}", file=sys.stderr, flush=True)
    return lines


def _line(
    split: Split,
    seed: int,
    name: str,
    train: Callable[[RatingMatrix], Ranker],
    parameters: Parameters | None = None,
    tuning: float = 0.0,
) -> Line:
    """Train, rank all test users, measure; return the line."""
    started = time.perf_counter()
    ranker = train(split.train)
    training = time.perf_counter() - started
    ranking = evaluate(split, {name: ranker}, seed=seed, clock=time.perf_counter).rankings[0]
    ndcg, recall = ranking.figures[NDCG], ranking.figures[RECALL]
    seconds, per_user = ranking.seconds or 0.0, ranking.ndcg_per_user
    return Line(name, ndcg, recall, tuning, training, seconds, parameters, per_user)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings, those of a group under its name and theirs.

    >>> _flat({"chosen": "items", "items": {"ridge": 50.0, "damping": 0.1}})
    {'chosen': 'items', 'items ridge': 50.0, 'items damping': 0.1}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        grouped = isinstance(value, Mapping)
        flat |= {f"{name} {each}": found for each, found in value.items()} if grouped else {name: value}
    return flat


def as_table(lines: Sequence[Line]) -> str:
    """Return a Markdown table, best nDCG@10 first; ours in bold."""
    auto = next((line.per_user for line in lines if line.name == TUNED), None)
    rows = ["| ranking | nDCG@10 | 95 % interval | auto ahead | Recall@20 | train s | rank s | tune s | parameters |"]
    rows.append("|---|---:|---|---|---:|---:|---:|---:|---|")
    for line in sorted(lines, key=lambda line: -(line.ndcg.mean or 0.0)):
        name = f"**{line.name}**" if line.name in OURS else line.name
        low, high = line.ndcg.low or 0.0, line.ndcg.high or 0.0
        cells = [name, f"{line.ndcg.mean:.4f}", f"{low:.4f} to {high:.4f}", _ahead(auto, line)]
        cells.append(f"{line.recall.mean:.4f}")
        cells += [f"{line.training:.2f}", f"{line.ranking:.2f}", f"{line.tuning:.1f}" if line.parameters else ""]
        rows.append("| " + " | ".join([*cells, _shown(line.parameters or {})]) + " |")
    return "\n".join(rows)


def _ahead(auto: NDArray[np.float64] | None, line: Line) -> str:
    """Return how far auto is ahead of a line, with 1.96 standard errors; nothing for auto itself."""
    if auto is None or line.per_user is None or line.name == TUNED:
        return ""
    ahead = auto - line.per_user
    return f"{ahead.mean():+.4f} ± {1.96 * ahead.std(ddof=1) / np.sqrt(ahead.size):.4f}"


def _shown(parameters: Parameters) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items() if name != "kind")


def warm_up() -> None:
    """Compile all code before a clock runs."""
    ratings = sp.random_array((60, 40), density=0.2, format="csr", rng=np.random.default_rng(SEED))
    ratings = sp.csr_array((np.full(ratings.nnz, 8, np.int8), ratings.indices, ratings.indptr), shape=ratings.shape)
    ratings.sort_indices()
    ids = np.array([f"P{column:02}" for column in range(40)], np.bytes_)
    times = np.arange(ratings.nnz)
    measure(RatingMatrix(ratings, np.arange(1, 61), ids, np.ones(40, np.bool_), times), [USER_KNN])


def main(arguments: list[str] | None = None) -> int:
    """Print a table for each set; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [peer.name for peer in PEERS]
    parser.add_argument("--short", action="store_true", help=f"{', '.join(SHORT_SETS)} with {', '.join(SHORT_PEERS)}")
    parser.add_argument("--sets", nargs="+", choices=list(LOADERS), metavar="SET", help=f"of {', '.join(LOADERS)}")
    parser.add_argument("--peers", nargs="*", choices=names, metavar="PEER", help=f"of {', '.join(names)}")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    sets = options.sets or (SHORT_SETS if options.short else list(LOADERS))
    chosen = (SHORT_PEERS if options.short else names) if options.peers is None else options.peers
    try:
        with threadpool_limits(THREADS):
            warm_up()
            for name in sets:
                matrix = load_dataset(name)
                users, products = matrix.shape
                print(f"\n== {name}: {users:,} users, {products:,} products, {matrix.n_ratings:,} ratings")
                peers = [peer for peer in PEERS if peer.name in chosen]
                print(as_table(measure(matrix, peers, seed=options.seed, verbose=True)), flush=True)
    except RecommenderError as error:
        print(f"benchmarks.quality: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
