"""Fixtures: a database of each kind, made by the test, and the folder of real data if it exists."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import Engine

os.environ["TQDM_DISABLE"] = "1"  # read at its import; a slow machine alone would show bars in what a step prints

from recommender.database import connect
from recommender.settings import Settings, load_settings
from tests.support.deadlines import patient
from tests.support.mariadb_server import MariaDBServer, own_server

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ["sqlite", "mariadb"]
REAL_DATA = ROOT.parent / "shared" / "data"
REAL_PRODUCTS = REAL_DATA / "amazon_products_2023" / "amazon_products.csv"
REAL_CATEGORIES = REAL_DATA / "amazon_products_2023" / "amazon_categories.csv"

needs_real_data = pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"real data not present at {REAL_DATA}")

MEMORY = Path("/dev/shm")
NEEDED = 3 * 2**30  # bytes for all files of the tests, with room to spare
FREEZE = {"freeze": gc.freeze, "unfreeze": gc.unfreeze}

# The longest files start first, so that none of them runs alone at the end.
LONGEST = (
    "test_spark_faults.py", "test_spark_rankings.py", "test_spark_batch.py", "test_lists.py",
    "test_soak.py", "test_steps.py", "test_updater.py", "test_people_watch.py", "test_to_rds_kill.py",
    "test_publish_gate.py", "test_schema.py", "test_crafted_model_file.py", "test_database_dies.py",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist keep the order of `pytest_collection_modifyitems`. Its own order is by number of tests."""
    hypothesis.settings.register_profile("patient", hypothesis.settings(), deadline=None)  # a busy machine is no fault
    hypothesis.settings.load_profile("patient")
    config.option.loadscopereorder = False
    gc.disable()  # until the tests are collected: it takes a third of that time and finds nothing
    _keep_temporary_files_in_memory()


def _keep_temporary_files_in_memory() -> None:
    """Let the tests and their processes write into ``MEMORY`` if it has room. A TMPDIR of the user comes before it.

    On a disk, a MariaDB server takes 1 s to make and drop the tables of a test. In memory it takes 0.05 s.
    """
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > NEEDED:
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest files first, and leave out connectorx on SQLite, as it reads only from servers."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    nonsense = []
    for item in items:
        values = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if values.get("backend") == "sqlite" and values.get("way") == "connectorx":
            nonsense.append(item)
    items[:] = [item for item in items if item not in nonsense]
    config.hook.pytest_deselected(items=nonsense)


def pytest_collection_finish() -> None:
    """Take all objects there are now, about a million, out of every search for objects.

    A service looks through all objects when it starts, which would take 0.1 s. It also freezes and unfreezes: here only
    with `freezing`.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    for name in FREEZE:
        setattr(gc, name, lambda: None)


@pytest.fixture(scope="session", autouse=True)
def patient_services() -> Iterator[None]:
    """Let no service of the tests take a busy machine for a database that is away."""
    if "api" not in sys.modules:  # nobody has imported it: there is no service
        yield
        return
    with patient():
        yield


@pytest.fixture
def freezing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a service freeze its objects and unfreeze them, as it does outside of the tests."""
    for name, function in FREEZE.items():
        monkeypatch.setattr(gc, name, function)
    yield
    FREEZE["freeze"]()


def require_mariadb() -> None:
    """Skip the test with the reason if there is no MariaDB server to start; with CI=true, fail."""
    if not MariaDBServer.available():
        reason = "no mariadbd on PATH: apt-get install mariadb-server (or run `make test` as root)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDBServer]:
    """The session's MariaDB server."""
    require_mariadb()
    with own_server() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database. Tests that use it run once on each kind."""
    return str(request.param)


@pytest.fixture
def env(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Environment variables of a new, empty database of this kind, which is dropped at the end."""
    with new_database(backend, tmp_path, request) as env:
        yield env


@contextmanager
def new_database(backend: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Give the environment variables of a new, empty database. Drop it at the end; no connection may be left."""
    if backend == "sqlite":
        yield {"DB_HOST": "", "SQLITE_FILE": str(folder / "shop.db")}
        return
    server: MariaDBServer = request.getfixturevalue("mariadb")
    name = f"test-{uuid.uuid4().hex[:12]}"  # the dash must be quoted everywhere
    yield server.environment(name)
    left = server.connections_left(name)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
    assert left == 0, f"{left} connections to {name} were not closed"


@pytest.fixture
def settings(env: dict[str, str], tmp_path: Path) -> Settings:
    """The settings from ``env``, without the developer's own .env."""
    return load_settings(environ=env, env_file=tmp_path / "no.env")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An engine on the new, empty database."""
    engine = connect(settings, create=True)
    yield engine
    engine.dispose()


@pytest.fixture
def make_settings(env: dict[str, str], tmp_path: Path) -> Callable[..., Settings]:
    """``make_settings(NUM_USERS=10)``: settings with options."""

    def make(**options: object) -> Settings:
        return load_settings(options, environ=env, env_file=tmp_path / "no.env")

    return make
