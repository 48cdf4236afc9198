"""Evaluate the rankings of `recommender.evaluation` on the four real sets of ../shared/data.

    python -m benchmarks.datasets                       # all four; --short leaves the largest out
    python -m benchmarks.datasets movielens_small

The newest 20 % of each user's ratings are hidden (random ones if there are no times); the whole catalog is ranked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from recommender.commands.evaluation_report import as_table
from recommender.database import SECOND
from recommender.errors import InputFileError, RecommenderError
from recommender.evaluation import ClassicRanker, PopularRanker, Ranker, evaluate, split_newest
from recommender.shop import RatingMatrix, build_rating_matrix

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _movielens_small(folder: Path) -> pd.DataFrame:
    return _renamed(pd.read_csv(folder / "ratings.csv"), userId="user", movieId="product", timestamp="time")


def _all_beauty(folder: Path) -> pd.DataFrame:
    frame = pd.read_csv(folder / "ratings.csv")
    frame["timestamp"] //= 1_000  # milliseconds
    return _renamed(frame, user_id="user", parent_asin="product", timestamp="time")


def _filmtrust(folder: Path) -> pd.DataFrame:
    frame = pd.read_csv(folder / "ratings.txt", sep=" ", names=["user", "product", "rating"])
    return frame.drop_duplicates(["user", "product"], keep="last")  # 3 repeated pairs


def _beauty_2014(folder: Path) -> pd.DataFrame:
    """Return events without stars and times, but in an order: each counts as 5 stars, its position is its second."""
    lines = [line.split() for line in (folder / "sequences.txt").read_text().splitlines()]
    events = [(line[0], product, place) for line in lines for place, product in enumerate(line[1:])]
    return pd.DataFrame(events, columns=["user", "product", "time"]).assign(rating=5.0)


LOADERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "movielens_small": _movielens_small,
    "all_beauty": _all_beauty,
    "filmtrust": _filmtrust,
    "beauty_2014": _beauty_2014,
}


def _renamed(frame: pd.DataFrame, **names: str) -> pd.DataFrame:
    return frame.rename(columns=names)


def load_dataset(name: str, data: Path = DATA) -> RatingMatrix:
    """Return the ratings of one set; user ids that are no numbers are numbered from 1 in sorted order.

    ``rated_at`` is whole seconds, in microseconds; None for filmtrust. Every product may be recommended. InputFileError
    if the set is not there.
    """
    folder = data / name
    if not folder.is_dir():
        raise InputFileError(f"{folder} does not exist: put the real data there, or leave {name} out")
    frame = LOADERS[name](folder)
    users = frame["user"].to_numpy()
    if users.dtype.kind != "i":
        users = np.unique(users.astype(str), return_inverse=True)[1] + 1
    codes, products = pd.factorize(frame["product"].astype(str))
    return build_rating_matrix(
        users.astype(np.int64),
        products.to_numpy().astype(np.bytes_),
        codes,
        np.rint(2 * frame["rating"].to_numpy()).astype(np.int8),
        in_catalog=np.ones(len(products), np.bool_),
        rated_at=SECOND * frame["time"].to_numpy(np.int64) if "time" in frame else None,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the table of each set; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LOADERS)} (default: all)")
    parser.add_argument("--short", action="store_true", help="leave the largest set out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(LOADERS):
        parser.error(f"no set is called {', '.join(sorted(unknown))}: choose from {', '.join(LOADERS)}")
    try:
        for name in options.names or list(LOADERS)[: 3 if options.short else None]:
            split = split_newest(load_dataset(name), rng=np.random.default_rng(options.seed))
            rankers: dict[str, Ranker] = {"classic": ClassicRanker(split.train), "popular": PopularRanker(split.train)}
            evaluation = evaluate(split, rankers, seed=options.seed, clock=time.perf_counter)
            print(f"== {name}\n{as_table(evaluation)}\n", flush=True)
    except RecommenderError as error:
        print(f"benchmarks.datasets: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
