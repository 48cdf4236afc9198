"""Step 1 or its database is killed in the middle: the old catalog is whole, and the next run ends as one clean run.

The tests wait for moments that can be seen from outside: a statement on the server, bytes in SQLite's log.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text

from recommender.database import connect, existing_tables
from recommender.database.own_tables import NEW_END, OLD_END
from recommender.database.schema import categories, products
from recommender.settings import load_settings
from recommender.synthetic import write_sample_catalog
from tests.conftest import require_mariadb
from tests.support import steps
from tests.support.mariadb_server import MariaDBServer, own_server

LARGE, SMALL = 30_000, 500
State = tuple[list[tuple[object, ...]], int, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """Options that name a small and a large catalog; each lacks most products of the other."""
    folder = tmp_path_factory.mktemp("catalogs")
    options = {}
    for size in (SMALL, LARGE):
        paths = folder / f"p{size}.csv", folder / f"c{size}.csv"
        write_sample_catalog(*paths, n_products=size, seed=size)
        options[size] = ["--products", str(paths[0]), "--categories", str(paths[1]), "--force"]
    return options


def state(engine: Engine) -> State:
    """The catalog: its categories, its number of products, and a digest of the products."""
    with engine.connect() as connection:
        shelves = [tuple(row) for row in connection.execute(select(categories).order_by(categories.c.id))]
        count = connection.execute(select(func.count()).select_from(products)).scalar_one()
        columns = [column for column in products.columns if column.name != "id"]
        rows = connection.execute(select(*columns).order_by(products.c.asin)).all()
    return shelves, count, str(hash(tuple(tuple(row) for row in rows)))


def has_come(seen: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Wait until the condition is seen. False if the process ends before: a busy machine may miss the moment."""
    deadline = time.monotonic() + 120
    while not seen():
        if process.poll() is not None:
            assert process.returncode == 0, process.communicate()
            return False
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return True


@contextmanager
def runs(server: MariaDBServer, statement: str) -> Iterator[Callable[[], bool]]:
    """Whether the server runs a statement that begins like this."""
    with server.connect() as connection, connection.cursor() as cursor:

        def seen() -> bool:
            cursor.execute("SELECT info FROM information_schema.processlist WHERE info LIKE %s", (f"{statement}%",))
            return cursor.fetchone() is not None

        yield seen


def log_holds(file: Path, size: int) -> Callable[[], bool]:
    """Whether SQLite's write-ahead log has this many bytes."""
    log = file.with_name(f"{file.name}-wal")
    return lambda: log.exists() and log.stat().st_size >= size


@pytest.mark.parametrize(
    ("backend", "moment", "append"),
    [
        ("mariadb", "LOAD DATA", False),
        ("mariadb", "LOAD DATA", True),
        ("mariadb", "ALTER TABLE", False),
        ("sqlite", 1_000_000, False),  # bytes
        ("sqlite", 4_000_000, True),
    ],
    indirect=["backend"],
)
def test_a_killed_step_1_that_is_run_again_ends_as_one_clean_run(
    env: dict[str, str],
    engine: Engine,
    backend: str,
    tmp_path: Path,
    files: dict[int, list[str]],
    moment: str | int,
    append: bool,
    request: pytest.FixtureRequest,
) -> None:
    options = [*files[LARGE], *["--append"] * append]
    steps.do(env, tmp_path, "to_rds.py", *files[SMALL])
    old = state(engine)
    for _ in range(5):
        moment_seen: AbstractContextManager[Callable[[], bool]]
        if isinstance(moment, int):
            moment_seen = nullcontext(log_holds(tmp_path / "shop.db", moment))
            engine.dispose()  # the last connection to leave empties the log
        else:
            moment_seen = runs(request.getfixturevalue("mariadb"), moment)
        with moment_seen as seen:
            assert not seen()
            with steps.start(env, tmp_path, "to_rds.py", *options) as process:
                has_come(seen, process)
                process.send_signal(signal.SIGKILL)
                process.communicate()
        if process.returncode:
            break
        steps.do(env, tmp_path, "to_rds.py", *files[SMALL])
    assert process.returncode == -signal.SIGKILL
    assert state(engine) == old
    steps.do(env, tmp_path, "to_rds.py", *options)
    after = state(engine)
    assert after[1] == (LARGE if not append else LARGE + SMALL - shared(files))
    assert not [name for name in existing_tables(engine) if NEW_END in name or OLD_END in name]
    steps.do(env, tmp_path, "to_rds.py", *options)
    assert state(engine) == after


def shared(files: dict[int, list[str]]) -> int:
    """The number of products in both catalogs."""
    keys = [{line[:10] for line in Path(options[1]).read_text().splitlines()[1:]} for options in files.values()]
    return len(keys[0] & keys[1])


@pytest.fixture
def server() -> Iterator[MariaDBServer]:
    """A server only for this test, to be killed."""
    require_mariadb()
    with own_server() as server:
        yield server


def test_a_server_that_dies_midway_is_one_line_and_the_next_run_is_clean(
    mariadb: MariaDBServer, server: MariaDBServer, tmp_path: Path, files: dict[int, list[str]]
) -> None:
    assert mariadb is not server
    env = server.environment("shop")
    steps.do(env, tmp_path, "to_rds.py", *files[SMALL])
    engine = connect(load_settings(environ=env, env_file=tmp_path / "no.env"))
    old = state(engine)
    for moment, how in (("LOAD DATA", signal.SIGKILL), ("ALTER TABLE", signal.SIGKILL), ("LOAD DATA", signal.SIGTERM)):
        for _ in range(5):
            with runs(server, moment) as seen, steps.start(env, tmp_path, "to_rds.py", *files[LARGE]) as process:
                is_seen = has_come(seen, process)
                if is_seen:
                    server.stop(how)
                out, err = process.communicate(timeout=300)
            if process.returncode:
                break
            if is_seen:
                server.start()
            steps.do(env, tmp_path, "to_rds.py", *files[SMALL])
        assert process.returncode == 1, (out, err)
        assert err.splitlines()[-1].startswith(f"to_rds.py: MySQL database shop at 127.0.0.1:{server.port} as tester: ")
        assert "Traceback" not in err
        assert server.password not in out + err
        server.start()
        assert state(engine) == old
    steps.do(env, tmp_path, "to_rds.py", *files[LARGE])
    assert state(engine)[1] == LARGE
    assert existing_tables(engine) == {"amazon_categories", "amazon_products", "catalog_origin", "recommender_tables"}
    engine.dispose()


def test_two_runs_at_once_end_with_one_catalog(
    env: dict[str, str], engine: Engine, tmp_path: Path, files: dict[int, list[str]]
) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    started = [steps.start(env, folder, "to_rds.py", *files[LARGE]) for folder in folders]
    for process in started:
        with process:
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, (out, err)
    assert state(engine)[1] == LARGE


def test_readers_always_see_a_whole_catalog(
    env: dict[str, str], engine: Engine, tmp_path: Path, files: dict[int, list[str]]
) -> None:
    steps.do(env, tmp_path, "to_rds.py", *files[SMALL])
    counts = []
    with engine.connect() as connection:

        def read() -> None:
            counts.append(connection.execute(text("SELECT COUNT(*) FROM amazon_products")).scalar_one())
            connection.rollback()

        read()
        with steps.start(env, tmp_path, "to_rds.py", *files[LARGE]) as process:
            while process.poll() is None:
                read()
            assert process.returncode == 0, process.communicate()
        read()
    assert set(counts) == {SMALL, LARGE}
    assert counts == sorted(counts)
