"""Measure what the cut of the item weights, and their local form, cost in nDCG@10 against all weights.

    python -m benchmarks.locality                          # the real data sets
    python -m benchmarks.locality --sets filmtrust

The newest fifth of each user's ratings is hidden. B is trained on the others three times: dense with all weights, dense
and cut as `train_items` does by itself, and by the local form, with as many weights as the cut keeps. The lists are
those of `items` with its default constants. A difference is the mean over users of nDCG@10 less that of all weights,
in percent of the latter, with 1.96 standard errors.
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import LOADERS, load_dataset
from recommender.evaluation import Rivals, split_newest
from recommender.items import ItemWeights, train_items
from recommender.ranking import ItemParameters

PLAIN = ItemParameters()
MOST_USERS = 20_000
MOST_MEMORY = 2**36  # bytes: the dense form for all


def _weights(rivals: Rivals, form: str) -> ItemWeights:
    """Return B of the training ratings by a form: all, cut or local."""
    confidences = rivals.profiles.confidences
    if form == "local":
        with patch("recommender.items.training.MOST_DENSE", 0):  # no shop is small enough for the dense form then
            return train_items(confidences, ridge=PLAIN.ridge)
    entries = confidences.shape[1] if form == "all" else None
    return train_items(confidences, ridge=PLAIN.ridge, n_entries=entries, most_memory=MOST_MEMORY)


def measure(name: str) -> str:
    """Return the row of one set."""
    rng = np.random.default_rng(0)
    split = split_newest(load_dataset(name), rng=rng)
    rows = split.test_rows
    if rows.size > MOST_USERS:
        rows = np.sort(rng.choice(rows, MOST_USERS, replace=False))
    found, sizes = dict[str, NDArray[np.float64]](), dict[str, float]()
    rivals = Rivals(split, rows, None, None, most_neighbors=1)
    for form in ("all", "cut", "local"):
        weights = _weights(rivals, form)
        with patch.object(rivals, "_weights", lambda _parameters, weights=weights: weights):
            found[form] = rivals.items([PLAIN]).ndcg[0]
        sizes[form] = weights.weights.size / max(int(np.count_nonzero(np.diff(weights.indptr))), 1)
        del weights
    mean = found["all"].mean()
    cells = [name, f"{rows.size:,}", f"{mean:.4f}"]
    for form in ("cut", "local"):
        lost = 100 * (found[form] - found["all"]) / mean
        error = 1.96 * lost.std() / np.sqrt(lost.size)
        cells += [f"{sizes[form]:,.0f}", f"{lost.mean():+.1f} % ± {error:.1f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(LOADERS), default=list(LOADERS), metavar="SET")
    options = parser.parse_args()
    print("| set | users | all weights | weights a product, cut | cut | weights a product, local | local |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in options.sets:
        print(measure(name), flush=True)


if __name__ == "__main__":
    main()
