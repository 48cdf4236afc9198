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
of disk in TMPDIR.

``peers``: from Parquet files, on local[2], a limit of time for each. A peer starts with its rows in Spark's memory, in
its own form, and writes nothing; ours reads the files and writes them. So the peers do less:

    columnSimilarities   MLlib's RowMatrix, users as columns: the cosines of all pairs, counted
    self-join            SQL: the cosines of all pairs, a window that keeps the 20 largest; no lists
    ALS                  10 factors, 10 iterations, then recommendForAllUsers(10)

Seen with ``--parts lists`` on two cores, medians of three runs:

    | users | ranking | run | seconds | / local | driver's peak MB | equal |
    |---|---|---|---|---|---|---|
    | 200,000 | classic | local | 13.4 | 1.00 | 874 | yes |
    | 200,000 | classic | local[2] | 17.9 | 1.34 | 886 | yes |
    | 200,000 | classic | local[2], divided | 40.9 | 3.06 | 827 | yes |
    | 200,000 | taste | local | 18.2 | 1.00 | 1,105 | yes |
    | 200,000 | taste | local[2] | 22.8 | 1.25 | 1,114 | yes |
    | 200,000 | taste | local[2], divided | 59.9 | 3.29 | 977 | yes |

with ``--parts cost --users 50000 200000 1000000 --rounds 1``:

    | users | ranking | seconds | foreseen | ratio | core seconds | foreseen | ratio | shuffled MB | foreseen | ratio |
    | 50,000 | classic | 9.2 | 8.1 | 1.14 | 17.5 | 16.1 | 1.09 | 78.9 | 84.3 | 0.94 |
    | 50,000 | taste | 13.5 | 12.1 | 1.12 | 25.4 | 24.1 | 1.05 | 386.9 | 432.0 | 0.90 |
    | 200,000 | classic | 17.4 | 18.3 | 0.95 | 33.5 | 36.7 | 0.91 | 312.3 | 337.3 | 0.93 |
    | 200,000 | taste | 34.9 | 35.5 | 0.98 | 66.7 | 71.1 | 0.94 | 1,589.1 | 1,744.2 | 0.91 |
    | 1,000,000 | classic | 90.0 | 86.9 | 1.04 | 174.7 | 173.9 | 1.00 | 1,640.0 | 1,714.6 | 0.96 |
    | 1,000,000 | taste | 270.3 | 272.7 | 0.99 | 497.6 | 545.3 | 0.91 | 13,243.9 | 17,286.1 | 0.77 |

with ``--parts scaling --rankings classic --rounds 1``:

    | users | ranking | run | one core s | two cores s | one / two |
    | 200,000 | classic | shared | 13.0 | 7.2 | 1.81 |
    | 200,000 | classic | divided | 31.4 | 20.7 | 1.52 |

and with ``--parts peers --limit 600`` (the limit counts from the start of the process, Spark's too):

    | users | ratings | ours s | columnSimilarities s | self-join s | ALS s |
    | 5,000 | 95,000 | 10.6 | 13.7 (1.3 x) | 5.6 (0.5 x) | 12.0 (1.1 x) |
    | 20,000 | 380,000 | 12.6 | 88.7 (7.0 x) | 19.0 (1.5 x) | 20.8 (1.6 x) |
    | 40,000 | 760,000 | 12.4 | 322.4 (25.9 x) | | |
    | 50,000 | 950,000 | 13.6 | did not finish | 258.1 (18.9 x) | 40.7 (3.0 x) |
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine, inspect

import recommendation_engine
from benchmarks.batch import COLUMNS, fill
from benchmarks.neighbors import Shape, make_ratings
from recommender.commands import engine as commands
from recommender.commands import spark_batch, version_gate
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
    jdbc_jar,
    lists_frame,
    spark_session,
)
from tests.support.mariadb_server import MariaDBServer

LADDER = [1_000, 5_000, 20_000, 50_000, 200_000]
CONF = {"spark.ui.enabled": "false", "spark.driver.memory": "8g", "spark.driver.host": "127.0.0.1"}
RANKINGS = ["classic", "taste"]
DATABASE = "spark_benchmark"

T = TypeVar("T")


class Took(NamedTuple):
    """What a run of step 3 took: seconds in all, of the lists alone, and the peak of this process's memory in MB."""

    seconds: float
    lists: float
    peak: float


def shape_of(users: int) -> Shape:
    """Return the shape of a shop: 19 ratings a user and 1.5 products for each."""
    return Shape(users, users * 3 // 2, users * 19)


def apart(call: Callable[..., Any], *arguments: Any, limit: float | None = None) -> Any:
    """Return what ``call`` returns in a new process; a text if it fails, or takes more than ``limit`` seconds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_in_child, args=(there, call, arguments))
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(limit) else "did not finish"
    except EOFError:
        return "did not finish (killed)"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # with the JVM and its workers; at its end nothing is left
        process.join()


def _in_child(there: Any, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    try:
        there.send(call(*arguments))
    except Exception as error:
        there.send(f"did not finish ({type(error).__name__}: {str(error)[:120]})")


def step(ranking: str, master: str | None, divided: bool, *arguments: str) -> Took:
    """Run step 3 for everybody; ``master``: Spark's, None for the local batch."""
    arguments = ("--users", "all", "--ranking", ranking, *arguments)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(version_gate, "gate", return_value=(None, None)))
        if master is not None:
            spark = stack.enter_context(spark_session(master, jar=jdbc_jar(None)[0]))
            there = contextlib.contextmanager(lambda *_a, **_k: iter([spark]))
            stack.enter_context(mock.patch("recommender.spark.spark_session", there))
            arguments += ("--spark", master)
        if divided:
            stack.enter_context(mock.patch.object(spark_batch, "MOST_SAMPLED", 0))
        said, started = io.StringIO(), time.perf_counter()
        with contextlib.redirect_stdout(said):
            failed = recommendation_engine.main(list(arguments))
        seconds = time.perf_counter() - started
    if failed:
        raise RuntimeError("step 3 failed")
    if os.environ.get("BENCHMARK_VERBOSE"):
        print(said.getvalue().partition("\n\n")[0], file=sys.stderr, flush=True)
    found = re.search(r"^batch .* in ([\d.]+) s", said.getvalue(), re.MULTILINE)
    assert found is not None
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    return Took(seconds, float(found[1]), peak)


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
            took[name].append(_done(apart(step, ranking, master, divided), Took))
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
            took[divided, cores].append(_done(made, Took))
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
        found = ParquetSource(spark, files, settings).read()
        job = ListsJob(commands.model_settings(settings), None, 10, 1, datetime.now(UTC))
        shuffled, of_a_core = Meter(spark).cost()["shuffled_bytes"], core_seconds()
        started = time.perf_counter()
        frame = lists_frame(spark, found.frames, found.catalog, found.scale, job)
        frame.write.mode("overwrite").parquet(str(files / "lists"))
        seconds, of_a_core = time.perf_counter() - started, core_seconds() - of_a_core
        shuffled = Meter(spark).cost()["shuffled_bytes"] - shuffled
        foreseen = cost_on(spark, ranking, shape.users, shape.products, shape.ratings)
        return Stages(seconds, of_a_core, shuffled, foreseen)


def core_seconds() -> float:
    """Return the seconds of a core that all processes of this session have taken: Spark's are among them."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = file.read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15])) if int(fields[3]) == os.getsid(0) else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def compare_cost(sizes: list[int], rankings: list[str], rounds: int, folder: Path) -> None:
    """Print what the stages of the lists cost beside what the formula foresees, on two cores."""
    names = " | ".join(f"{name} | foreseen | ratio" for name in ("seconds", "core seconds", "shuffled MB"))
    print(f"\n| users | ranking | {names} |\n|---|---|{'---:|' * 9}")
    for users in sizes:
        files, shape = folder / f"cost{users}", shape_of(users)
        write_files(shape, files)
        for ranking in rankings:
            took = [_done(apart(stages, ranking, files, shape, 2), Stages) for _ in range(rounds)]
            foreseen, cells = took[0].foreseen, [f"{users:,}", ranking]
            for measured, expected in (
                (median(took, "seconds"), foreseen.hours(2) * 3_600),
                (median(took, "of_a_core"), foreseen.seconds),
                (median(took, "shuffled") / 1e6, foreseen.shuffled / 1e6),
            ):
                cells += [f"{measured:,.1f}", f"{expected:,.1f}", f"{measured / expected:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
        shutil.rmtree(files)


def median(took: Sequence[Any], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in took))


def _done(found: Any, kind: type[T]) -> T:
    if not isinstance(found, kind):
        raise SystemExit(f"a run of step 3 {found}")
    return found


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
    found = {"DB_HOST": server.host, "DB_PORT": str(server.port), "DB_NAME": DATABASE, "KEEP_VERSIONS": "1"}
    return found | {"DB_USER": server.user, "DB_PASSWORD": server.password}


def write_files(shape: Shape, folder: Path) -> None:
    """Write the products and ratings of a shop as Parquet files."""
    folder.mkdir()
    csr = make_ratings(shape)
    ids = pa.array([f"B{number:09d}" for number in range(shape.products)])
    users = np.repeat(np.arange(1, shape.users + 1), np.diff(csr.indptr))
    rows = {"user_id": users, "product_id": ids.take(pa.array(csr.indices)), "rating": csr.data}
    pq.write_table(pa.table({"product_id": ids, "title": ids}), folder / "products.parquet")
    pq.write_table(pa.table(rows), folder / "ratings.parquet", row_group_size=200_000)


def ours(folder: Path, _shape: Shape) -> float:
    """Return the seconds of our lists by classic."""
    files = ("--from-parquet", str(folder), "--to-parquet", str(folder / "lists"))
    return step("classic", "local[2]", False, *files).seconds


def column_similarities(ratings: Any, shape: Shape) -> Callable[[], object]:
    from pyspark.mllib.linalg import Vectors
    from pyspark.mllib.linalg.distributed import RowMatrix
    from pyspark.sql import functions as f

    n = shape.users + 1
    pairs = f.sort_array(f.collect_list(f.struct("user", "rating"))).alias("pairs")
    rows = ratings.groupBy("product").agg(pairs).rdd.map(lambda row: Vectors.sparse(n, [tuple(p) for p in row.pairs]))
    matrix = RowMatrix(rows.cache(), rows.count(), n)
    return lambda: matrix.columnSimilarities()._java_matrix_wrapper._java_model.entries().count()


def self_join(ratings: Any, _shape: Shape) -> Callable[[], object]:
    spark = ratings.sparkSession
    ratings.createOrReplaceTempView("given")
    spark.sql(
        "SELECT user, product, rating / sqrt(sum(rating * rating) OVER (PARTITION BY user)) AS share FROM given"
    ).cache().createOrReplaceTempView("r")
    spark.sql("SELECT count(*) FROM r").collect()
    pairs = (
        "SELECT a.user, b.user AS other, sum(a.share * b.share) AS cosine "
        "FROM r a JOIN r b ON a.product = b.product AND a.user <> b.user GROUP BY a.user, b.user"
    )
    ranked = f"SELECT *, row_number() OVER (PARTITION BY user ORDER BY cosine DESC, other) AS place FROM ({pairs})"
    best = spark.sql(f"SELECT * FROM ({ranked}) WHERE place <= 20")
    return lambda: best.write.format("noop").mode("overwrite").save()


def als(ratings: Any, _shape: Shape) -> Callable[[], object]:
    from pyspark.ml.recommendation import ALS

    model = ALS(userCol="user", itemCol="product", ratingCol="rating", seed=0)
    return lambda: model.fit(ratings).recommendForAllUsers(10).write.format("noop").mode("overwrite").save()


PEERS = {"columnSimilarities": column_similarities, "self-join": self_join, "ALS": als}


def peer(name: str, folder: Path, shape: Shape) -> float:
    """Return the seconds of a peer; its rows are in Spark's memory before."""
    with spark_session("local[2]") as spark:
        columns = (
            "CAST(user_id AS INT) user",
            "CAST(substr(product_id, 2) AS INT) product",
            "CAST(rating AS FLOAT) rating",
        )
        rows = spark.read.parquet(str(folder / "ratings.parquet")).selectExpr(*columns).repartition(8).cache()
        rows.count()
        call = PEERS[name](rows, shape)
        started = time.perf_counter()
        call()
        seconds = time.perf_counter() - started
        del call  # its objects of Java, before Spark ends
        return seconds


def compare_peers(names: list[str], ladder: list[int], limit: float, folder: Path) -> None:
    """Print a line for each size; a peer that does not finish is not asked again."""
    left = list(names)
    for users in ladder:
        shape, files = shape_of(users), folder / f"peers{users}"
        write_files(shape, files)
        mine = apart(ours, files, shape)
        cells = [f"{users:,}", f"{shape.ratings:,}", f"{mine:.1f}" if isinstance(mine, float) else mine]
        for name in PEERS:
            found = apart(peer, name, files, shape, limit=limit) if name in left else ""
            if isinstance(found, str):
                left = [other for other in left if other != name]
                cells.append(found)
            else:
                cells.append(f"{found:.1f} ({found / mine:.1f} x)")
        print(f"| {' | '.join(cells)} |", flush=True)
        if not left:
            return


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
    server = MariaDBServer(folder / "server")
    server.start()
    try:
        settings = load_settings(environ=environment(server), env_file=folder / "no.env")
        for users in sizes:
            with shop(settings, server, users, folder / str(users)) as engine:
                print("\n| users | ranking | run | seconds | / local | driver's peak MB | equal |\n|" + "---|" * 7)
                for ranking in rankings:
                    lists(server, engine, shape_of(users), ranking, rounds)
    finally:
        server.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
