"""Time the batch of all users' lists, into the database, against its floor: kernel plus bulk load.

    python -m benchmarks.batch                 # 200,000 users x 10 products into MariaDB and SQLite, about 5 minutes
    python -m benchmarks.batch --short         # 20,000 users, one round

Ours is ``batch_generate`` from the ratings in memory to the published version: neighbors, scores, product names, rows
in, tables swapped. The floor is the time of the kernel alone (neighbors of all users) plus the client's own load of the
same rows, with the names, from a ready file: ``LOAD DATA LOCAL INFILE``, or ``.import``. Rounds in turns, medians. The
peak memory is that of a separate process that only reads the ratings and runs the batch.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.schema import CreateTable

import recommendation_engine
from benchmarks.neighbors import THREADS, Shape, make_ratings
from recommender.database import as_lines, connect, read_catalog, staged, writing
from recommender.database.schema import metadata, products, ratings, recommendations
from recommender.fallback import rank_popular
from recommender.neighbors import CosineIndex
from recommender.publishing import BatchJob, from_popular, recommendation_batches
from recommender.ranking import ClassicRanking
from recommender.settings import PROJECT_ROOT, Settings, load_settings
from recommender.shop import Products, RatingMatrix
from recommender.synthetic import write_sample_catalog
from tests.support.mariadb_server import MariaDBServer, own_server

SHAPE, SHORT = Shape(200_000, 300_000, 3_800_000), Shape(20_000, 30_000, 300_000)
WHEN = dt.datetime(2024, 1, 1)


def fill(engine: Engine, settings: Settings, shape: Shape, folder: Path) -> None:
    """Load a catalog by step 1, and long-tail ratings of its products."""
    if not (folder / "p.csv").exists():
        write_sample_catalog(folder / "p.csv", folder / "c.csv", n_products=shape.products)
    env = {"DB_HOST": settings.db_host, "DB_PORT": str(settings.db_port), "DB_NAME": settings.db_name}
    env |= {"DB_USER": settings.db_user, "DB_PASSWORD": settings.db_password, "SQLITE_FILE": str(settings.sqlite_file)}
    files = ["--products", str(folder / "p.csv"), "--categories", str(folder / "c.csv")]
    command = [sys.executable, str(PROJECT_ROOT / "to_rds.py"), *files]
    subprocess.run(command, env=os.environ | env, cwd=folder, check=True, capture_output=True)
    metadata.create_all(engine)
    with engine.connect() as connection:
        asins = pa.array(connection.execute(select(products.c.asin).order_by(products.c.asin)).scalars().all())
    csr = make_ratings(shape)
    users = np.repeat(np.arange(1, shape.users + 1), np.diff(csr.indptr))
    with staged(engine, [ratings]) as stage:
        for start in range(0, csr.nnz, 200_000):
            part = slice(start, min(start + 200_000, csr.nnz))
            times = pa.array([WHEN] * (part.stop - part.start), pa.timestamp("us"))
            columns = [users[part], asins.take(pa.array(csr.indices[part])), csr.data[part], times, times]
            stage.load(
                ratings, [pa.record_batch(columns, ["user_id", "product_id", "rating", "created_at", "updated_at"])]
            )
        stage.publish()


def write_rows(file: Path, matrix: RatingMatrix, engine: Engine, job: BatchJob) -> int:
    """Write the rows of the batch to a file that the client loads; return their number."""
    catalog, rows = read_catalog(engine), 0
    listed, top_up = Products.of(matrix.product_ids, catalog), from_popular(matrix, rank_popular(matrix))
    batches = recommendation_batches(matrix, job, listed, top_up=top_up, generated_at=WHEN)
    with file.open("wb") as out:
        for batch in batches:
            out.write(as_lines(batch))
            rows += batch.num_rows
    return rows


def client_load_data(server: MariaDBServer, settings: Settings, file: Path) -> Callable[[], float]:
    """Return a run of the ``mariadb`` client's LOAD DATA into a new table of the same form; it returns seconds."""
    engine = connect(settings)
    names = ", ".join(f"`{name}`" for name in COLUMNS)
    command = ["mariadb", "--no-defaults", "--local-infile=1", f"--host={server.host}", f"--port={server.port}"]
    command += [f"--user={server.user}", settings.db_name]
    statement = f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE floor CHARACTER SET utf8mb4 ({names});"
    copy = recommendations.to_metadata(metadata.__class__(), name="floor")

    def run() -> float:
        with writing(engine) as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS floor")
            connection.execute(CreateTable(copy))
        return process(command, {"MYSQL_PWD": server.password}, statement)

    return run


def sqlite_import(file: Path) -> Callable[[], float]:
    """Return a run of the ``sqlite3`` shell's .import into a new file with the same table; it returns seconds."""
    target = file.with_name("import.db")
    csv, engine = file.with_name("rows.csv"), create_engine(f"sqlite:///{target}")
    ddl = str(CreateTable(recommendations).compile(engine))
    order = [column.name for column in recommendations.columns]
    texts = arrow_csv.ConvertOptions(column_types={name: pa.string() for name in COLUMNS})
    read = arrow_csv.ReadOptions(column_names=list(COLUMNS))
    parse = arrow_csv.ParseOptions(delimiter="\t", quote_char=False)
    arrow_csv.write_csv(
        arrow_csv.read_csv(file, read, parse, texts).select(order), csv, arrow_csv.WriteOptions(include_header=False)
    )

    def run() -> float:
        target.unlink(missing_ok=True)
        return process(["sqlite3", str(target)], {}, f"{ddl};\n.import --csv {csv} recommendations\n")

    return run


def process(command: list[str], env: dict[str, str], statement: str) -> float:
    """Return the seconds of a process that reads ``statement``."""
    started = time.perf_counter()
    subprocess.run(command, env=os.environ | env, input=statement.encode(), check=True, capture_output=True)
    return time.perf_counter() - started


COLUMNS = (
    *["user_id", "rank", "product_id", "product_name", "predicted_rating", "source", "support", "n_neighbors"],
    "generated_at",
)

_PEAK = """
import sys, recommendation_engine as re
engine = re.build_engine()
matrix, similarity = re.load_model(engine)
re.batch_generate(matrix, similarity, engine, users=None)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def peak(settings: Settings) -> float:
    """Return the peak memory (MB) of a process that reads the ratings and runs the batch."""
    env = {"DB_HOST": settings.db_host, "DB_PORT": str(settings.db_port), "DB_NAME": settings.db_name}
    env |= {"DB_USER": settings.db_user, "DB_PASSWORD": settings.db_password, "SQLITE_FILE": str(settings.sqlite_file)}
    command = [sys.executable, "-c", _PEAK]
    done = subprocess.run(command, env=os.environ | env, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / 1024


def compare(
    kind: str,
    settings: Settings,
    floor_load: Callable[[Path], Callable[[], float]],
    options: argparse.Namespace,
    folder: Path,
) -> None:
    """Print one line of the table."""
    shape = SHORT if options.short else SHAPE
    engine = connect(settings, create=True)
    fill(engine, settings, shape, folder)
    matrix, similarity = recommendation_engine.load_model(engine)
    job = BatchJob(np.arange(matrix.shape[0]), 10, ClassicRanking(matrix, similarity, 20))
    rows = write_rows(folder / "rows.tsv", matrix, engine, job)
    load = floor_load(folder / "rows.tsv")
    times: dict[str, list[float]] = {"kernel": [], "load": [], "ours": []}
    for _ in range(1 if options.short else options.rounds):
        started = time.perf_counter()
        CosineIndex(matrix.steps).top_k(20, n_threads=THREADS)
        times["kernel"].append(time.perf_counter() - started)
        times["load"].append(load())
        started = time.perf_counter()
        recommendation_engine.batch_generate(matrix, similarity, engine, users=None, keep_versions=1)
        times["ours"].append(time.perf_counter() - started)
    kernel, loading, ours = (statistics.median(times[name]) for name in ("kernel", "load", "ours"))
    engine.dispose()
    print(
        f"| {kind} | {matrix.shape[0]:,} | {rows:,} | {kernel:.2f} | {loading:.2f} | {ours:.2f} "
        f"| {ours / (kernel + loading):.2f} | {peak(settings):,.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="20,000 users, one round")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns (default %(default)s)")
    options = parser.parse_args()
    print("| into | users | rows | kernel s | client's load s | ours s | ours / (kernel + load) | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with own_server() as server:
            settings = load_settings(environ=server.environment("batch"), env_file=folder / "no.env")
            compare("MariaDB", settings, lambda file: client_load_data(server, settings, file), options, folder)
        settings = load_settings(environ={"SQLITE_FILE": str(folder / "batch.db")}, env_file=folder / "no.env")
        compare("SQLite", settings, sqlite_import, options, folder)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
