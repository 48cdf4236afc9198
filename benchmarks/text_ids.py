"""Time the same shop with whole numbers and with texts of 36 characters for user ids: read it, and ask for lists.

    python -m benchmarks.text_ids                 # 1,000,000 ratings of 66,000 users, on SQLite: two minutes
    python -m benchmarks.text_ids --rows 100000

Both shops are read in turns, with the processor's time, and everybody asked is the same person in both. Memory is that
of the texts and their stored numbers in the model.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.read import open_engine, write_ratings
from recommender.database import read_snapshot
from recommender.database.schema import metadata, products, ratings, user_id_map, users
from recommender.live import LiveModel
from recommender.model import ModelSettings, serve, train
from recommender.service import answer_at_once
from tests.support.shop import product_row

ROUNDS, ASKED = 5, 2_000


def shop_of(folder: Path, rows: Path, *, by_text: bool) -> Engine:
    """Return a shop of these rows of product_ratings."""
    engine = open_engine({"DB_HOST": "", "SQLITE_FILE": str(folder / f"{by_text}.db")}, create=True)
    metadata.create_all(engine)
    lines = [line.split("\t") for line in rows.read_text().splitlines()]
    people = sorted({int(line[0]) for line in lines})
    catalog = [product_row(product) for product in sorted({line[1] for line in lines})]
    with sqlite3.connect(folder / f"{by_text}.db") as connection:
        connection.executemany(f"INSERT INTO {ratings.name} VALUES (?, ?, ?, ?, ?)", lines)
        connection.executemany(f"INSERT INTO {users.name} (user_id) VALUES (?)", ((person,) for person in people))
        names = ((person, str(uuid.uuid5(uuid.NAMESPACE_OID, str(person)))) for person in people)
        connection.executemany(f"INSERT INTO {user_id_map.name} VALUES (?, ?)", names if by_text else ())
        columns = ", ".join(catalog[0])
        marks = ", ".join("?" * len(catalog[0]))
        given = (tuple(row.values()) for row in catalog)
        connection.executemany(f"INSERT INTO {products.name} ({columns}) VALUES ({marks})", given)
    return engine


def seconds_of(read: Callable[[], object]) -> float:
    """Return the processor's time of one call."""
    started = time.process_time()
    read()
    return time.process_time() - started


def answer_time(model: LiveModel, asked: list[int]) -> float:
    """Return the median of the microseconds of a list, from the text of the path to the bytes of the answer."""
    taken = []
    for person in asked:
        text = str(model.ids.of(person))
        taken.append(seconds_of(partial(answer_at_once, text, b"", model, 10)))
    return statistics.median(taken) * 1e6


def main(arguments: list[str] | None = None) -> None:
    """Print both shops side by side."""
    parser = argparse.ArgumentParser(description="Time user ids of 36 characters against whole numbers.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    n = parser.parse_args(arguments).rows
    with tempfile.TemporaryDirectory() as folder:
        write_ratings(Path(folder) / "rows.tsv", n)
        shops = {text: shop_of(Path(folder), Path(folder) / "rows.tsv", by_text=text) for text in (False, True)}
        reads: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(ROUNDS):
            for by_text, engine in shops.items():
                reads[by_text].append(seconds_of(partial(read_snapshot, engine, times=False, log=False)))
        models = {}
        for by_text, engine in shops.items():
            trained = train(read_snapshot(engine, times=False, log=False), ModelSettings(20))
            models[by_text] = LiveModel.of(serve(trained, built_at=dt.datetime.now(dt.UTC)))
            models[by_text].prepare()
        asked = np.random.default_rng(0).choice(models[False].known_users, ASKED).tolist()
        lists: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(ROUNDS + 1):  # the first one warms up
            for by_text, model in models.items():
                lists[by_text].append(answer_time(model, asked))
    print(f"{'user ids':<16}{'read s':>8}{'memory MB':>11}{'list us':>9}")
    for by_text, model in models.items():
        memory = sum(array.nbytes for array in model.ids.arrays()) / 1e6
        name = "36 characters" if by_text else "whole numbers"
        read, made = statistics.median(reads[by_text]), statistics.median(lists[by_text][1:])
        print(f"{name:<16}{read:>8.2f}{memory:>11.1f}{made:>9.0f}")


if __name__ == "__main__":
    main()
