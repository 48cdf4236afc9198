"""A database dies in the middle of a step or of the start of the service: the message is always one line."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import exc

import api
import load_recommendation_data
from recommender import settings
from recommender.commands.exit_status import FORESEEN, exit_status
from recommender.database import _connectorx
from recommender.synthetic import write_sample_catalog
from tests.conftest import require_mariadb
from tests.support import steps
from tests.support.cut_proxy import CutProxy
from tests.support.mariadb_server import MariaDBServer

STEP_1, STEP_2, STEP_3 = "to_rds.py", "load_recommendation_data.py", "recommendation_engine.py"
SIZES = ["--num-users", "60", "--num-ratings", "400", "--num-interactions", "300"]
Shop = tuple[dict[str, str], Path, dict[str, list[str]]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDBServer]:
    """A server only for this module, which may be killed."""
    require_mariadb()
    server = MariaDBServer(tmp_path_factory.mktemp("dies"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shop(server: MariaDBServer, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Environment, folder and options of the steps, which have all run once."""
    folder = tmp_path_factory.mktemp("shop")
    write_sample_catalog(folder / "p.csv", folder / "c.csv", n_products=300)
    env = server.environment("dies")
    options = {
        STEP_1: ["--products", str(folder / "p.csv"), "--categories", str(folder / "c.csv")],
        STEP_2: [*SIZES, "--replace"],
        STEP_3: ["--users", "all", "--ranking", "taste"],
    }
    for step, given in options.items():
        steps.do(env, folder, step, *given)
    return env, folder, options


def last_line(done: steps.Process, script: str) -> str:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert MariaDBServer.password not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith(f"{script}: "), done.stderr
    return lines[-1]


@pytest.mark.parametrize("step", [STEP_1, STEP_2, STEP_3])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_connection_cut_at_any_byte_is_one_line(
    server: MariaDBServer, shop: Shop, step: str, reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connectorx, "CONNECT_TIMEOUT", 0.5)  # it tries to log in for this long
    env, folder, options = shop
    seed = ["--seed", "9"] if step == STEP_2 else []  # otherwise it would find nothing to do
    with CutProxy(server.host, server.port) as whole:
        steps.do(env | {"DB_PORT": str(whole.port)}, folder, step, *options[step], *seed)
    # the first bytes are the login; the others are evenly spread
    points = [30, 200, *(round(whole.passed * part / 8) for part in range(1, 8))]
    for n, after in enumerate(points):
        seed = ["--seed", str(10 + n + 20 * reset)] if step == STEP_2 else []
        with CutProxy(server.host, server.port, after=after, reset=reset) as proxy:
            done = steps.call(env | {"DB_PORT": str(proxy.port)}, folder, step, *options[step], *seed)
        assert "broke off" in (line := last_line(done, step)) or "no connection" in line, (after, line)


def test_a_service_that_loses_the_database_while_it_starts_is_refused_in_one_line(
    server: MariaDBServer, shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_connectorx, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(settings, "PROJECT_ROOT", tmp_path)  # not the developer's .env
    for name, value in shop[0].items():
        monkeypatch.setenv(name, value)
    with CutProxy(server.host, server.port) as whole:
        monkeypatch.setenv("DB_PORT", str(whole.port))
        asyncio.run(start_and_stop())
    for part in range(1, 10):
        with CutProxy(server.host, server.port, after=round(whole.passed * part / 12), reset=part % 2 == 0) as proxy:
            monkeypatch.setenv("DB_PORT", str(proxy.port))
            with pytest.raises(FORESEEN):
                asyncio.run(start_and_stop())


async def start_and_stop() -> None:
    app = api.create_app()
    try:
        async with api.lifespan(app):
            pass
    except FORESEEN:
        assert "\n" not in app.state.refused
        raise


@pytest.mark.parametrize("step", [STEP_2, STEP_3])
def test_a_server_that_is_killed_is_one_line(server: MariaDBServer, shop: Shop, step: str) -> None:
    env, folder, options = shop
    more = ["--num-users", "3000", "--num-ratings", "60000"] if step == STEP_2 else []
    for _ in range(5):  # on a busy machine the kill may come too late
        with steps.start(env | {"PYTHONUNBUFFERED": "1"}, folder, step, *options[step], *more) as process:
            assert process.stdout
            process.stdout.readline()
            server.stop(signal.SIGKILL)
            out, err = process.communicate(timeout=300)
        server.start()
        if process.returncode:
            break
    assert process.returncode, "each kill came too late"
    last_line(subprocess.CompletedProcess([], process.returncode, out, err), step)


def test_an_unexpected_error_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raised: BaseException = exc.OperationalError("SELECT secret", {}, Exception(2013, "Lost\nconnection"))

    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(load_recommendation_data, "connected", fail)
    assert load_recommendation_data.main([]) == 1
    assert capsys.readouterr().err == (
        "load_recommendation_data.py: the database broke off or refused (Lost); "
        "check the database server, then run the step again\n"
    )
    raised = KeyboardInterrupt()
    assert load_recommendation_data.main([]) == 130
    assert capsys.readouterr().err.count("\n") == 1
    raised = ZeroDivisionError("a fault of ours")
    with pytest.raises(ZeroDivisionError):
        load_recommendation_data.main([])
    assert exit_status("x", exc.SQLAlchemyError()) == 1
