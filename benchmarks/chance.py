"""Count how often auto leaves the plainer rival where nothing differs, on real figures.

    python -m benchmarks.chance                              # Amazon All Beauty, FilmTrust: about half a minute
    python -m benchmarks.chance --sets movielens_small

The rivals of a tuning are moved to one mean, so none is better than another, but each still agrees with the others as
it does. Users are drawn again with replacement, and the rule of auto chooses. "One error" is the rule of Breiman et al.
1984 for the same rivals of taste: the best, if it is ahead of the default by more than one standard error.
"""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import LOADERS, load_dataset
from benchmarks.peers import SEED, THREADS
from recommender.errors import RecommenderError
from recommender.evaluation import Tuned, chosen_rival, plainest_rival, split_newest, standard_errors, tune
from recommender.ranking import FUSION, ITEMS, TASTE, AutoParameters

SETS = ("all_beauty", "filmtrust")
ROUNDS = 200


class Shares(NamedTuple):
    """The shares of rounds that left the plainer rival."""

    one_error: float  # the default constants of taste, by one standard error
    taste: float  # the default constants of taste
    items: float  # the default constants of items
    kind: float  # taste, for items or a fusion


def shares_left(tuned: Tuned, n_users: int, rounds: int = ROUNDS, seed: int = SEED) -> Shares:
    """Return how often ``n_users`` users, drawn again, make the rule leave the plainer rival."""
    level = {kind: family.ndcg - family.ndcg.mean(axis=1, keepdims=True) for kind, family in tuned.families.items()}
    near = tuned.families[TASTE].parameters.index(AutoParameters(TASTE))
    liked = tuned.families[ITEMS].parameters.index(AutoParameters(ITEMS))
    rng, left = np.random.default_rng(seed), np.zeros(len(Shares._fields))
    for _ in range(rounds):
        users = rng.integers(0, tuned.n_users, n_users)
        drawn = {kind: found[:, users] for kind, found in level.items()}
        t, i = chosen_rival(drawn[TASTE], near), chosen_rival(drawn[ITEMS], liked)
        last = np.vstack([drawn[TASTE][t], drawn[ITEMS][i], drawn[FUSION]])
        left += by_one_error(drawn[TASTE], near) != near, t != near, i != liked, plainest_rival(last, n_plain=2) > 0
    return Shares(*(left / rounds).tolist())


def by_one_error(found: NDArray[np.float64], default: int) -> int:
    """Return the best rival, or the default unless that is more than one standard error behind.

    >>> by_one_error(np.array([[0.0, 0.0, 0.1], [0.0, 0.1, 0.2]]), 0)  # ahead by 0, 0.1, 0.1: 0.067, error 0.033
    1
    """
    ahead = found - found[default]
    best = int(np.argmax(ahead.mean(axis=1)))
    return best if ahead[best].mean() > standard_errors(ahead)[best] else default


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each set and number of users; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=list(LOADERS), default=SETS, metavar="SET")
    options = parser.parse_args(arguments)
    try:
        print("| set | users drawn | taste's constants, one error | taste's constants | items' constants | taste |")
        print("|---|---:|---:|---:|---:|---:|")
        for name in options.sets:
            train = split_newest(load_dataset(name), rng=np.random.default_rng(SEED)).train
            tuned = tune(train, seed=SEED + 1, n_threads=THREADS)
            for n_users in sorted({100, tuned.n_users}):
                cells = " | ".join(f"{share:.0%}" for share in shares_left(tuned, n_users))
                print(f"| {name} | {n_users:,} | {cells} |", flush=True)
    except RecommenderError as error:
        print(f"benchmarks.chance: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
