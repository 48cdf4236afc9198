"""Time the reading of all ratings, ours against pandas and connectorx, on a private MariaDB server and on SQLite.

    python benchmarks/read.py                     # 3,000,000 ratings, 200,000 users, 300,000 products: some minutes
    python benchmarks/read.py --short             # 300,000 ratings
    python benchmarks/read.py --rows 10000000
    python benchmarks/read.py --id-length 36      # product ids as long as a UUID instead of ten characters

Every reader reads the same table in turns within one run; the table shows medians and the ratio to connectorx, whose
time ends with raw Arrow columns, ours with checked arrays (whole half stars, product codes). Peak memory is that of
a process of its own that starts Python, imports, reads once. The server has default settings; its buffer pool of
128 MB does not hold 3 million ratings with their indexes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from sqlalchemy import Engine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from recommender.database import connect, read_ratings
from recommender.database.schema import metadata, ratings
from recommender.settings import load_settings
from tests.support.mariadb_server import MariaDBServer, own_server

QUERY = "SELECT user_id, product_id, rating FROM product_ratings"
BASELINE = "connectorx, raw Arrow"
SLOW = ("pandas read_sql, PyMySQL", "ours, streamed", "ours, SQLite, streamed")
Environ = dict[str, str]


def write_ratings(file: Path, n: int, id_length: int = 10, seed: int = 0) -> int:
    """Write n distinct ratings (or nearly) as tab-separated rows of product_ratings, by user; return their number."""
    generator = np.random.default_rng(seed)
    drawn = n + n // 4  # some pairs come twice
    user_ids = generator.integers(1, n // 15 + 2, drawn)
    popular = generator.zipf(1.3, drawn) % (n // 10 + 1)
    product = np.where(generator.random(drawn) < 0.5, popular, generator.integers(0, n // 10 + 1, drawn))
    frame = pd.DataFrame({"user_id": user_ids, "product": product}).drop_duplicates().head(n).sort_values("user_id")
    frame["product"] = "B" + (frame["product"] * 29_989 % 999_999_937).astype(str).str.zfill(id_length - 1)
    frame["rating"] = generator.integers(1, 11, len(frame)) / 2
    frame["created_at"] = frame["updated_at"] = "2024-01-01 00:00:00.000000"
    frame.to_csv(file, sep="\t", header=False, index=False)
    return len(frame)


def open_engine(environ: Environ, *, create: bool = False) -> Engine:
    """Return the engine for these environment variables."""
    return connect(load_settings(environ=environ, env_file=Path("no.env")), create=create)


def fill(server: MariaDBServer, maria: Environ, sqlite: Environ, file: Path) -> None:
    """Fill both databases: the project's tables, product_ratings from the file."""
    for environ in (maria, sqlite):
        engine = open_engine(environ, create=True)
        metadata.create_all(engine)
        engine.dispose()
    with server.connect(maria["DB_NAME"]) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {ratings.name}")
        cursor.execute(f"ANALYZE TABLE {ratings.name}")
    with sqlite3.connect(sqlite["SQLITE_FILE"]) as connection, file.open() as lines:
        rows = (line.rstrip("\n").split("\t") for line in lines)
        connection.executemany(f"INSERT INTO {ratings.name} VALUES (?, ?, ?, ?, ?)", rows)


def through_pandas(environ: Environ) -> int:
    """Read as most code does."""
    engine = open_engine(environ)
    frame = pd.read_sql(QUERY, engine)
    engine.dispose()
    return len(frame)


def through_connectorx(environ: Environ) -> int:
    """Read through the fastest peer: unchecked Arrow columns."""
    import connectorx

    user, password = quote(environ["DB_USER"], safe=""), quote(environ["DB_PASSWORD"], safe="")
    address = f"mysql://{user}:{password}@{environ['DB_HOST']}:{environ['DB_PORT']}/{environ['DB_NAME']}"
    table: Any = connectorx.read_sql(address, QUERY, return_type="arrow")
    return int(table.num_rows)


def through_ours(environ: Environ, way: Any = None) -> int:
    """Read by read_ratings, with the connection, the trial of connectorx and the checks."""
    engine = open_engine(environ)
    columns = read_ratings(engine, way=way)
    engine.dispose()
    return len(columns.user_ids)


def readers(maria: Environ, sqlite: Environ) -> dict[str, tuple[Callable[..., int], tuple[Any, ...]]]:
    """Return label -> (reader, its arguments); plain functions, so that another process can run them."""
    return {
        BASELINE: (through_connectorx, (maria,)),
        "ours": (through_ours, (maria,)),
        "ours, packed": (through_ours, (maria, "packed")),
        "ours, streamed": (through_ours, (maria, "streamed")),
        "pandas read_sql, PyMySQL": (through_pandas, (maria,)),
        "pandas read_sql, SQLite": (through_pandas, (sqlite,)),
        "ours, SQLite": (through_ours, (sqlite,)),
        "ours, SQLite, streamed": (through_ours, (sqlite, "streamed")),
    }


def peak_megabytes(reader: Callable[..., int], arguments: tuple[Any, ...]) -> float:
    """Return the peak resident memory of a new process that reads once."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_read_and_weigh, (reader, arguments))


def _read_and_weigh(reader: Callable[..., int], arguments: tuple[Any, ...]) -> float:
    reader(*arguments)
    # not getrusage: its maximum is inherited from the process that started this one
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(maria: Environ, sqlite: Environ, n: int, rounds: int) -> None:
    """Print the table."""
    jobs = readers(maria, sqlite)
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(rounds):
        for name, (reader, arguments) in jobs.items():
            if name in SLOW and round_ % 3:
                continue
            start = time.perf_counter()
            assert reader(*arguments) == n, f"{name}: rows are missing"
            seconds[name].append(time.perf_counter() - start)
    floor = statistics.median(seconds[BASELINE])
    print(f"{n:,} ratings; medians of {rounds} rounds (the slow ones: {-(-rounds // 3)}), within one run\n")
    print(f"| {'reader':26} | seconds | fastest | x connectorx | peak MB |")
    print(f"|{'-' * 28}|--------:|--------:|-------------:|--------:|")
    for name, times in seconds.items():
        median = statistics.median(times)
        peak = peak_megabytes(*jobs[name])
        print(f"| {name:26} | {median:7.2f} | {min(times):7.2f} | {median / floor:12.2f} | {peak:7.0f} |", flush=True)
    pairs = zip(seconds["ours"], seconds[BASELINE], strict=True)
    print(f"\nours / connectorx, median of the rounds' ratios: {statistics.median(a / b for a, b in pairs):.2f}")


def main() -> None:
    """Make the server, the file and the tables; measure; remove them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=3_000_000, help="ratings (default: 3,000,000)")
    parser.add_argument("--short", action="store_true", help="300,000 ratings")
    parser.add_argument("--rounds", type=int, default=7, help="times that every reader reads (default: 7)")
    parser.add_argument("--id-length", type=int, default=10, help="characters of a product id (default: 10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="recommender-bench-") as name, own_server() as server:
        folder, maria = Path(name), server.environment("bench")
        sqlite = {"SQLITE_FILE": str(folder / "bench.db")}
        n = write_ratings(folder / "ratings.tsv", 300_000 if options.short else options.rows, options.id_length)
        fill(server, maria, sqlite, folder / "ratings.tsv")
        measure(maria, sqlite, n, options.rounds)


if __name__ == "__main__":
    main()
