"""Time the batch on Spark against the local batch, and against what Spark's users have: neighbors and lists of all.

    python -m benchmarks.spark                 # 200,000 users, 3.8 million ratings; peers from 1,000 users on
    python -m benchmarks.spark --short         # 5,000 users, one round; peers at 1,000
    python -m benchmarks.spark --parts peers --limit 600

Needs requirements-spark.txt, Java, MariaDB and its JDBC driver. Each run is a new process; the seconds begin when Spark
has started, and no run asks the gate. ``lists``: step 3 with ``--users all`` from MariaDB into MariaDB. ``divided``
makes blocks of users meet blocks, as for a shop that no worker can hold. ``equal``: the hash of all rows of the table
in order, all columns but generated_at, is that of the local table. ``scaling``: from Parquet files into others by one
core and by two, seconds of the computing stages alone. ``cost``: the divided form, from frames in Spark's memory into
Parquet files, on two cores, beside what `recommender.spark.lists.cost` foresees; ``table``: what it foresees for shops
of millions. None of these needs a server. ``--parts cost --users 1000000 --rounds 1`` needs 24 GB of memory and 30 GB
of disk in TMPDIR. ``peers``: see `benchmarks.spark_peers`. docs/spark.md shows what was seen.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from sqlalchemy import Engine, inspect

from benchmarks.batch import COLUMNS, fill
from benchmarks.neighbors import Shape
from benchmarks.spark_peers import LADDER, PEERS, compare_peers
from benchmarks.spark_runs import Took, apart, core_seconds, done, median, shape_of, step, write_files
from recommender.database import connect, writing
from recommender.database.schema import metadata
from recommender.settings import PROJECT_ROOT, Settings, load_settings
from recommender.spark import (
    Cost,
    ListsJob,
    Meter,
    ParquetSource,
    cost_on,
    cost_table,
    lists_frame,
    spark_session,
)
from recommender.updates import model_settings
from tests.support.mariadb_server import MariaDBServer, own_server

CONF = {"spark.ui.enabled": "false", "spark.driver.memory": "8g", "spark.driver.host": "127.0.0.1"}
RANKINGS = ["classic", "taste"]
DATABASE = "spark_benchmark"


def forget_lists(engine: Engine) -> None:
    """Drop all versions, so that each run makes version 1: the number decides who gets a new product."""
    names = [name for name in inspect(engine).get_table_names() if name.startswith(("recommendations", "model_"))]
    with writing(engine) as connection:
        for name in names:
            connection.exec_driver_sql(f"DROP TABLE `{name}`")
    metadata.create_all(engine)


def digest(server: MariaDBServer) -> str:
    """Return a hash of all rows of the lists in order, without their time."""
    names = ", ".join(f"`{name}`" for name in COLUMNS if name != "generated_at")
    command = ["mariadb", "--no-defaults", "--batch", "--quick", f"--host={server.host}", f"--port={server.port}"]
    command += [
        f"--user={server.user}",
        DATABASE,
        "-e",
        f"SELECT {names} FROM recommendations ORDER BY user_id, `rank`",
    ]
    found, hashed = (
        subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"MYSQL_PWD": server.password}),
        0,
    )
    sums = hashlib.sha256()
    assert found.stdout is not None
    while part := found.stdout.read(1 << 20):
        sums.update(part)
        hashed += len(part)
    assert found.wait() == 0
    assert hashed, "no rows"
    return sums.hexdigest()


def lists(server: MariaDBServer, engine: Engine, shape: Shape, ranking: str, rounds: int) -> None:
    """Print the lines of a ranking: into the database."""
    runs = {"local": (None, False), "local[2]": ("local[2]", False), "local[2], divided": ("local[2]", True)}
    took: dict[str, list[Took]] = {name: [] for name in runs}
    digests: dict[str, str] = {}
    for _ in range(rounds):
        for name, (master, divided) in runs.items():
            forget_lists(engine)
            took[name].append(done(apart(step, ranking, master, divided), Took))
            digests[name] = digest(server)
    for name, all_of_it in took.items():
        ratio = median(all_of_it, "seconds") / median(took["local"], "seconds")
        equal = "yes" if digests[name] == digests["local"] else "NO"
        print(f"| {shape.users:,} | {ranking} | {name} | {median(all_of_it, 'seconds'):.1f} | {ratio:.2f} ", end="")
        print(f"| {median(all_of_it, 'peak'):,.0f} | {equal} |", flush=True)


def on_cores(cores: int, *arguments: Any) -> Took:
    """Run step 3 on so many cores: Spark's JVM and Python workers are kept to them, too."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    return step(*arguments)


def scaling(shape: Shape, ranking: str, rounds: int, folder: Path) -> None:
    """Print the lines of a ranking: from Parquet files into others, by one core and by two."""
    files = folder / f"scaling{shape.users}"
    if not files.exists():
        write_files(shape, files)
    given = ("--from-parquet", str(files), "--to-parquet", str(files / "lists"))
    runs = [(divided, cores) for divided in (False, True) for cores in (1, 2)]
    took: dict[tuple[bool, int], list[Took]] = {run: [] for run in runs}
    for _ in range(rounds):
        for divided, cores in runs:
            made = apart(on_cores, cores, ranking, f"local[{cores}]", divided, *given)
            took[divided, cores].append(done(made, Took))
    for divided in (False, True):
        one, two = (median(took[divided, cores], "lists") for cores in (1, 2))
        name = "divided" if divided else "shared"
        print(f"| {shape.users:,} | {ranking} | {name} | {one:.1f} | {two:.1f} | {one / two:.2f} |", flush=True)


class Stages(NamedTuple):
    """What the stages of the lists took, and what the formula says of it."""

    seconds: float
    of_a_core: float  # seconds of a core of all processes: on a machine with other work, more reliable than seconds
    shuffled: float  # bytes
    foreseen: Cost


def stages(ranking: str, files: Path, shape: Shape, cores: int) -> Stages:
    """Make the lists by the divided form, from frames in Spark's memory into Parquet files."""
    settings = load_settings(environ={"RANKING": ranking}, env_file=files / "no.env")
    with spark_session(f"local[{cores}]") as spark:
        found = ParquetSource(spark, str(files), settings).read()
        job = ListsJob(model_settings(settings), None, 10, 1, datetime.now(UTC))
        shuffled, of_a_core = Meter(spark).cost()["shuffled_bytes"], core_seconds()
        started = time.perf_counter()
        frame = lists_frame(spark, found.frames, found.catalog, found.scale, job)
        frame.write.mode("overwrite").parquet(str(files / "lists"))
        seconds, of_a_core = time.perf_counter() - started, core_seconds() - of_a_core
        shuffled = Meter(spark).cost()["shuffled_bytes"] - shuffled
        foreseen = cost_on(spark, ranking, shape.users, shape.products, shape.ratings)
        return Stages(seconds, of_a_core, shuffled, foreseen)


def compare_cost(sizes: list[int], rankings: list[str], rounds: int, folder: Path) -> None:
    """Print what the stages of the lists cost beside what the formula foresees, on two cores."""
    names = " | ".join(f"{name} | foreseen | ratio" for name in ("seconds", "core seconds", "shuffled MB"))
    print(f"\n| users | ranking | {names} |\n|---|---|{'---:|' * 9}")
    for users in sizes:
        files, shape = folder / f"cost{users}", shape_of(users)
        write_files(shape, files)
        for ranking in rankings:
            took = [done(apart(stages, ranking, files, shape, 2), Stages) for _ in range(rounds)]
            foreseen, cells = took[0].foreseen, [f"{users:,}", ranking]
            for measured, expected in (
                (median(took, "seconds"), foreseen.hours(2) * 3_600),
                (median(took, "of_a_core"), foreseen.seconds),
                (median(took, "shuffled") / 1e6, foreseen.shuffled / 1e6),
            ):
                cells += [f"{measured:,.1f}", f"{expected:,.1f}", f"{measured / expected:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
        shutil.rmtree(files)


@contextlib.contextmanager
def shop(settings: Settings, server: MariaDBServer, users: int, folder: Path) -> Iterator[Engine]:
    """Yield an engine on a database with a shop of so many users, which the children find, too."""
    engine = connect(settings, create=True)
    with mock.patch.dict(os.environ, environment(server)):
        folder.mkdir()
        fill(engine, settings, shape_of(users), folder)
        yield engine
    with writing(engine) as connection:
        connection.exec_driver_sql(f"DROP DATABASE {DATABASE}")
    engine.dispose()


def environment(server: MariaDBServer) -> dict[str, str]:
    """Return the settings of the database."""
    return server.environment(DATABASE) | {"KEEP_VERSIONS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="5,000 users, one round, peers at 1,000 users")
    parser.add_argument("--users", type=int, nargs="+", help="sizes of the shops of the lists (default 200000)")
    parser.add_argument("--rankings", nargs="+", default=RANKINGS, choices=RANKINGS)
    parser.add_argument("--ladder", type=int, nargs="+", help="sizes of the shops of the peers")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--rounds", type=int, help="runs of each, in turns (default 3)")
    parser.add_argument("--limit", type=float, default=600, help="seconds for a peer (default 600)")
    parser.add_argument("--parts", nargs="+", default=["lists", "scaling", "cost", "table", "peers"])
    options = parser.parse_args()
    users = options.users or ([5_000] if options.short else [200_000])
    rounds = options.rounds or (1 if options.short else 3)
    warm_up = [sys.executable, "-m", "recommender.commands.warm_up"]
    subprocess.run(warm_up, cwd=PROJECT_ROOT, env=os.environ | {"RANKING": "auto"}, check=True, capture_output=True)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ):
        folder = Path(name)
        conf = CONF | {"spark.local.dir": str(folder / "local"), "spark.sql.warehouse.dir": str(folder / "warehouse")}
        (folder / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in conf.items()))
        os.environ.update({"SPARK_CONF_DIR": str(folder), "SPARK_LOCAL_IP": "127.0.0.1"})
        if "lists" in options.parts:
            compare_lists(users, options.rankings, rounds, folder)
        if "scaling" in options.parts:
            print("\n| users | ranking | run | one core s | two cores s | one / two |\n|" + "---|" * 6)
            for number, ranking in product(users, options.rankings):
                scaling(shape_of(number), ranking, rounds, folder)
        if "table" in options.parts:
            print(f"\n{cost_table()}")
        if "cost" in options.parts:
            compare_cost(users, options.rankings, rounds, folder)
        if "peers" in options.parts:
            print("\n| users | ratings | ours s | columnSimilarities s | self-join s | ALS s |\n|" + "---:|" * 6)
            compare_peers(
                options.peers, options.ladder or ([1_000] if options.short else LADDER), options.limit, folder
            )


def compare_lists(sizes: list[int], rankings: list[str], rounds: int, folder: Path) -> None:
    """Print the tables of the lists, from a server of their own."""
    with own_server() as server:
        settings = load_settings(environ=environment(server), env_file=folder / "no.env")
        for users in sizes:
            with shop(settings, server, users, folder / str(users)) as engine:
                print("\n| users | ranking | run | seconds | / local | driver's peak MB | equal |\n|" + "---|" * 7)
                for ranking in rankings:
                    lists(server, engine, shape_of(users), ranking, rounds)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
