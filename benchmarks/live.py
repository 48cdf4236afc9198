"""Measure the time of a write, and what changes cost the requests after them.

    python -m benchmarks.live              # 200,000 users, 1,200,000 ratings, on SQLite and on a private MariaDB
    python -m benchmarks.live --short      # 5,000 users, 30,000 ratings, fewer writes

A write is one transaction (the row stored, its user read again, committed) and the model's successor. Both are done as
in the service, one after the other, without HTTP. An answer is ten products for a random user, without a cache. "First"
is the median of the first answer after a write; in the line of 0 users that write is the only one. The fusion is what
auto may choose.

Two cores, 200,000 users, an earlier release: a write takes 1.8 ms on SQLite (p99 2.3) and 2.9 on MariaDB (p99 4.4).
With other work on the machine 2.4 (16.7) and 3.4 (8.5). Then an answer by taste or by items takes 0.12 ms without
changes, 0.17 with 100 users changed, 0.23 and 0.25 with 2,000; by both 0.34, 0.44 and 0.55.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from benchmarks.serve import LARGE, USUAL, Shop, make_shop
from recommender.commands.warm_up import warm_up
from recommender.database import connect, read_snapshot, writing
from recommender.live import LiveModel
from recommender.model import ModelSettings, serve, train
from recommender.ranking import AUTO, CLASSIC, FUSION, ITEMS, TASTE, AutoParameters
from recommender.settings import Settings, load_settings
from recommender.shop import HALF_STARS, interaction_weights
from recommender.updates import optional_tables, prepare, read_facts, read_records, store_rating
from tests.support.mariadb_server import MariaDBServer, own_server

CHANGED = (0, 10, 100, 1_000, 2_000)
FIRST = 50  # first answers after a write
RANKED = {CLASSIC: CLASSIC, TASTE: TASTE, ITEMS: ITEMS, FUSION: AUTO}  # name in the table, ranking of the request


def milliseconds(run: Callable[[int], object], arguments: list[int]) -> tuple[float, float]:
    """Return the median and 99th percentile of one call for each of the arguments."""
    times = []
    for argument in arguments:
        started = time.perf_counter()
        run(argument)
        times.append(1e3 * (time.perf_counter() - started))
    return float(np.median(times)), float(np.percentile(times, 99))


class Writer:
    """A live model on a database."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        prepare(engine)
        self.there = optional_tables(engine)
        weights = interaction_weights(settings.interaction_weights)
        chosen = ModelSettings(settings.top_n_similar_users, weights=weights)
        trained = train(read_snapshot(engine), chosen, parameters=AutoParameters(FUSION), all_rankings=True)
        served = serve(trained, built_at=datetime.now(UTC))
        served.prepare()
        self.model = LiveModel.of(served)
        self.draw = np.random.default_rng(1)

    def store(self, user_id: int) -> None:
        """Store a rating of the user and count it."""
        matrix = self.model.matrix
        product = matrix.product_ids[self.draw.integers(len(matrix.product_ids))].decode()
        with writing(self.engine) as connection:
            store_rating(connection, user_id, product, int(self.draw.integers(1, 11)))
            records = read_records(connection, [user_id], self.there, HALF_STARS)
            facts = read_facts(connection, self.model.unknown_products(records))
        self.model = self.model.after(records, facts)


def first_answers(writer: Writer, users: list[int], ranking: str) -> float:
    """Return the median milliseconds of the first answer after a write, which is of the first user each time."""
    times = []
    for user in users[1:]:
        writer.store(users[0])
        times.append(milliseconds(lambda user: writer.model.recommend(user, 10, ranking), [user])[0])
    return float(np.median(times))


def measure(name: str, settings: Settings, writes: int) -> None:
    """Print the tables of one database."""
    writer = Writer(connect(settings), settings)
    users = writer.draw.permutation(len(writer.model.matrix.user_ids))
    ids = writer.model.matrix.user_ids[users].tolist()
    print(f"\n{name}: {len(ids):,} users, {writer.model.n_ratings:,} ratings\n")
    print("| users who have changed |" + "".join(f" {name} ms | p99 | first |" for name in RANKED))
    print("|---:" * (1 + 3 * len(RANKED)) + "|")
    done = 0
    median = p99 = 0.0
    for changed in CHANGED:
        if changed > writes:
            break
        if changed > done:
            median, p99 = milliseconds(writer.store, ids[done:changed])
            done = changed
        asked = [int(user) for user in writer.draw.choice(ids, 300)]
        writer.model.recommend(asked[0], 10, CLASSIC)
        figures = [
            milliseconds(partial(lambda ranking, user: writer.model.recommend(user, 10, ranking), ranking), asked)
            for ranking in RANKED.values()
        ]
        firsts = [first_answers(writer, [ids[0], *asked[:FIRST]], ranking) for ranking in RANKED.values()]
        shown = " | ".join(
            f"{value:.2f}" for pair, first in zip(figures, firsts, strict=True) for value in (*pair, first)
        )
        print(f"| {changed:,} | {shown} |")
    print(
        f"\na write, of the last {done - CHANGED[max(0, CHANGED.index(done) - 1)]:,}: {median:.2f} ms, p99 {p99:.2f} ms"
    )
    writer.engine.dispose()


def run(shop: Shop, writes: int) -> None:
    """Measure on SQLite, then on MariaDB."""
    warm_up(lambda: print("compiling the engine for this machine, once ..."))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("sqlite", "mariadb"):
            (folder / name).mkdir()
        measure("SQLite", load_settings(environ=make_shop(shop, folder / "sqlite")), writes)
        if not MariaDBServer.available():
            print("\nno mariadbd on PATH: MariaDB was not measured")
            return
        server = stack.enter_context(own_server())
        measure("MariaDB", load_settings(environ=make_shop(shop, folder, server.environment("shop"))), writes)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="5,000 users and 100 writes")
    options = parser.parse_args()
    run(USUAL if options.short else LARGE, 100 if options.short else CHANGED[-1])


if __name__ == "__main__":
    main()
