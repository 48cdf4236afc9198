"""A real cluster, with faults midway: the table of the local run, never half a version, and nothing left over.

While executors write, another session holds the last user's first row, so one task cannot end. So each fault comes at a
known moment. A start of Spark takes longer than all that is tested, so there are two runs: one whose driver is killed,
and the one after it, which suffers all other faults.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from sqlalchemy import Engine

from recommender.database import connect
from recommender.publishing import read_versions
from recommender.settings import load_settings
from tests.conftest import ROOT, require_mariadb
from tests.spark.conftest import require_spark, table
from tests.support.mariadb_server import MariaDBServer, own_server
from tests.support.shop import fill, made_up
from tests.support.spark_cluster import SparkCluster, below, kill, owns_any_port
from tests.support.steps import do

SCRIPT = "recommendation_engine.py"
N_USERS = 300
AWAY = 20.0  # seconds
OF_EXECUTORS = {
    "spark.executor.memory": "512m",
    "spark.executor.cores": "1",
    "spark.shuffle.io.retryWait": "100ms",  # not 5 s for each block of an executor that is lost
    "spark.sql.codegen.wholeStage": "false",  # an expression is evaluated some hundred times: compiling takes longer
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDBServer]:
    """A server of this file's own, as it is stopped midway."""
    require_mariadb()
    with own_server() as server:
        yield server


@pytest.fixture(scope="module")
def cluster(spark_settings: Path) -> Iterator[SparkCluster]:
    require_spark()
    folder = Path(tempfile.mkdtemp(prefix="recommender-spark-"))
    site = spark_settings / "spark-defaults.conf"
    of_all = site.read_text()
    site.write_text(of_all + "".join(f"{name} {value}\n" for name, value in OF_EXECUTORS.items()))
    cluster = SparkCluster(folder)
    yield cluster
    cluster.stop()
    site.write_text(of_all)  # other tests run the compiled form of expressions
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def env(server: MariaDBServer) -> dict[str, str]:
    return server.environment("shop")


@pytest.fixture(scope="module")
def engine(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("local")
    engine = connect(load_settings(environ=env, env_file=folder / "no.env"), create=True)
    fill(engine, made_up(N_USERS, 80), [f"p{product:03d}" for product in range(70)])
    do(env, folder, SCRIPT, "--users", "all")
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def local(engine: Engine) -> list[tuple[Any, ...]]:
    """The table that the local run makes."""
    return table(engine)


def staging(server: MariaDBServer) -> list[str]:
    """The staging tables of lists that exist."""
    with server.connect("shop") as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES LIKE 'recommendations\\_\\_new\\_%'")
        return [name for (name,) in cursor.fetchall()]


def until(what: Callable[[], Any], process: Popen[str], seconds: float = 400) -> Any:
    """The first true value of ``what``, asked again and again while ``process`` runs."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def in_the_way(server: MariaDBServer, known: Collection[int] = ()) -> dict[int, int]:
    """The sessions that wait for the row that is held: number -> port of its process; without the ``known`` ones."""
    with server.connect("shop") as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, host FROM information_schema.processlist "
            "WHERE info LIKE '%recommendations\\_\\_new\\_%' AND time_ms > 300 AND id <> CONNECTION_ID()"
        )
        return {number: int(host.rpartition(":")[2]) for number, host in cursor.fetchall() if number not in known}


@contextmanager
def held_up(process: Popen[str], server: MariaDBServer) -> Iterator[Callable[[], int]]:
    """Keep the last user's list from being written within the block, which begins when other lists are there.

    Yield the number of rows that are there.
    """
    before = staging(server)
    (name,) = until(lambda: [one for one in staging(server) if one not in before], process)
    with server.connect("shop") as lock, server.connect("shop") as eyes, lock.cursor() as locking:
        locking.execute("BEGIN")
        values = f"({N_USERS}, 1, 'p000', 'popular', '2026-01-01')"
        locking.execute(f"INSERT INTO `{name}` (user_id, `rank`, product_id, source, generated_at) VALUES {values}")

        def n_rows() -> int:
            with eyes.cursor() as cursor:
                cursor.execute(f"SELECT COUNT(*) FROM `{name}`")
                ((found,),) = cursor.fetchall()
                return int(found)

        until(n_rows, process)
        yield n_rows


# this shop fits the driver and a worker, which then need nothing of another one
AS_A_LARGE_SHOP = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import recommendation_engine
from recommender.commands import spark_batch
spark_batch.MOST_SAMPLED = 0
sys.exit(recommendation_engine.main())
"""


@pytest.fixture(scope="module")
def run(env: dict[str, str], cluster: SparkCluster, engine: Engine, local: Any) -> Iterator[Callable[..., Popen[str]]]:
    """Start step 3 on the cluster; ``large``: as a shop that fits neither the driver nor a worker."""
    started: list[Popen[str]] = []

    def begin(*, large: bool = False) -> Popen[str]:
        program = ["-c", AS_A_LARGE_SHOP] if large else [str(ROOT / SCRIPT)]
        command = [sys.executable, *program, "--users", "all", "--spark", cluster.url]
        started.append(Popen(command, cwd=cluster.folder, env=os.environ | env, stdout=PIPE, stderr=PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def left(run: Callable[..., Popen[str]], server: MariaDBServer) -> str:
    """The staging table that a run has left, whose driver was killed while executors wrote."""
    process = run()
    with held_up(process, server):
        process.kill()
        process.communicate()
        (name,) = staging(server)
    return name


def test_a_killed_driver_leaves_the_version_before(left: str, engine: Engine, local: list[Any]) -> None:
    assert left.startswith("recommendations__new_")
    assert table(engine) == local
    assert len(read_versions(engine)) == 1


def test_the_run_after_it_suffers_all_other_faults_and_makes_the_local_table(
    left: str,
    run: Callable[..., Popen[str]],
    cluster: SparkCluster,
    engine: Engine,
    server: MariaDBServer,
    local: list[Any],
) -> None:
    process = run(large=True)
    with held_up(process, server) as n_rows:
        assert left not in staging(server)
        waiting = until(lambda: in_the_way(server), process)
        assert 0 < n_rows() < len(local)
        assert table(engine) == local  # readers see the version before
        # a task fails, as all Python workers are gone
        executors = cluster.executors()
        for worker in (pid for executor in executors for pid in below(executor)):
            kill(worker)
        again = until(lambda: in_the_way(server, waiting), process)
        # the executor of the task that came for it is lost, and with it and beside it all that was shuffled
        (lost,) = [one for one in executors if owns_any_port(below(one), again.values())]
        kill(lost)
        files = cluster.shuffled()
        for file in files:
            file.unlink(missing_ok=True)
        assert files
        until(lambda: set(cluster.executors()) - set(executors), process)
        until(lambda: in_the_way(server, {**waiting, **again}), process)
        server.stop(signal.SIGKILL)
    time.sleep(AWAY)
    assert process.poll() is None
    server.start()
    ended(process)
    assert table(engine) == local
    assert staging(server) == []
    first, version = read_versions(engine)
    assert (first.state, version.state) == ("kept", "published")
    assert version.metrics is not None
    assert version.metrics["spark"]["executors"] == 3  # one came for the one that was lost


def ended(process: Popen[str]) -> str:
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert [line for line in err.splitlines() if not line.startswith("warning  ")] == []
    return out
