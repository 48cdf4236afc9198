"""All steps as a user runs them: four commands, on real products, on both databases; and a user's mistakes."""

from __future__ import annotations

import importlib
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from recommender.database import connect, existing_tables
from recommender.database.schema import interactions, products, ratings, recommendations, users
from recommender.settings import load_settings
from recommender.synthetic import write_sample_catalog
from tests.conftest import REAL_CATEGORIES, REAL_DATA, REAL_PRODUCTS
from tests.service.test_api import fetch, serve, wait_for
from tests.support import steps
from tests.support.mariadb_server import MariaDBServer, free_port

STEP_1, STEP_2, STEP_3 = "to_rds.py", "load_recommendation_data.py", "recommendation_engine.py"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name a catalog: the real products if they exist, otherwise the project's own sample."""
    if REAL_DATA.is_dir():
        return ["--products", str(REAL_PRODUCTS), "--categories", str(REAL_CATEGORIES)]
    folder = tmp_path_factory.mktemp("catalog")
    paths = folder / "products.csv", folder / "categories.csv"
    write_sample_catalog(*paths, n_products=2_480)
    return ["--products", str(paths[0]), "--categories", str(paths[1])]


def state(engine: Engine) -> dict[str, list[Any]]:
    """Every row of every table that the steps fill, without the time when a batch was written."""
    found = {}
    with engine.connect() as connection:
        for table in (products, users, interactions, ratings, recommendations):
            columns = [column for column in table.columns if column.name not in ("generated_at", "id")]
            found[table.name] = sorted(tuple(row) for row in connection.execute(select(*columns)))
    return found


answers: dict[str, tuple[list[Any], Any]] = {}


def test_four_steps_lead_to_an_answer_and_both_databases_answer_alike(
    env: dict[str, str], engine: Engine, backend: str, tmp_path: Path, catalog: list[str]
) -> None:
    first = steps.succeed(env, tmp_path, STEP_1, *catalog)
    assert "2,480" in first
    second = steps.succeed(env, tmp_path, STEP_2)
    assert "30,000 rows" in second
    third = steps.succeed(env, tmp_path, STEP_3)
    assert "30,000 ratings of 5,000 users" in third
    assert "largest difference" in third
    assert "Recommendations for user 1:" in third
    assert "5,000 rows for 500 users" in third
    port = free_port()
    with serve(env, port) as server:
        try:
            wait_for(port, server)
            health = fetch(f"http://127.0.0.1:{port}/health")[1]
            answered = [fetch(f"http://127.0.0.1:{port}/recommendations/{user}")[1] for user in range(1, 501, 25)]
        finally:
            server.terminate()
    assert [health[name] for name in ("users", "products", "ratings")] == [5_000, 2_480, 30_000]
    with engine.connect() as connection:
        batched = connection.execute(
            select(recommendations.c.user_id, recommendations.c.product_id).order_by(
                recommendations.c.user_id, recommendations.c["rank"]
            )
        ).all()
    for answer in answered:
        expected = [product for user, product in batched if user == answer["user_id"]]
        assert [item["product_id"] for item in answer["recommendations"]] == expected
        assert len(expected) == 10
    answers[backend] = (state(engine)["recommendations"], answered)
    if len(answers) == 2:
        assert answers["sqlite"] == answers["mariadb"]


def test_a_second_run_of_every_step_doubles_no_row(
    env: dict[str, str], engine: Engine, tmp_path: Path, catalog: list[str]
) -> None:
    sizes = ["--num-users", "300", "--num-interactions", "1000", "--num-ratings", "1500"]
    for script, options in ((STEP_1, catalog), (STEP_2, sizes), (STEP_3, ["--users", "all"])):
        steps.do(env, tmp_path, script, *options)
    before = state(engine)
    assert [len(rows) for rows in before.values()] == [2_480, 300, 1_000, 1_500, 3_000]
    for script, options in ((STEP_1, catalog), (STEP_2, sizes), (STEP_3, ["--users", "all"])):
        steps.do(env, tmp_path, script, *options)
    assert state(engine) == before


KILLED_SIZES = ["--num-users", "3000", "--num-ratings", "20000", "--num-interactions", "20000"]


@pytest.fixture(scope="module")
def clean_stars(tmp_path_factory: pytest.TempPathFactory, catalog: list[str]) -> list[Any]:
    """The ratings that one clean run makes with seed 8, in its own SQLite file."""
    folder = tmp_path_factory.mktemp("clean")
    env = {"DB_HOST": "", "SQLITE_FILE": str(folder / "clean.db")}
    steps.do(env, folder, STEP_1, *catalog)
    steps.do(env, folder, STEP_2, *KILLED_SIZES, "--seed", "8")
    engine = connect(load_settings(environ=env, env_file=folder / "no.env"))
    found = _stars(engine)
    engine.dispose()
    return found


# Moments are shares of the time from a printed line to the end, so that no process is killed while it still imports.
# Any moments would do: none is special.


def test_step_2_killed_at_any_moment_and_run_again_ends_as_one_clean_run(
    env: dict[str, str], engine: Engine, tmp_path: Path, catalog: list[str], clean_stars: list[Any]
) -> None:
    connected = engine.dialect.name  # "SQLite file ...", "MySQL database ..."
    steps.do(env, tmp_path, STEP_1, *catalog)
    times = _times_of(env, tmp_path, STEP_2, *KILLED_SIZES, "--seed", "7")
    before = _stars(engine)
    for moment in (0.1, 0.35, 0.6, 0.85):
        if _stars(engine) != before:  # it was killed between the swap and its last line
            steps.do(env, tmp_path, STEP_2, *KILLED_SIZES, "--seed", "7")
        again = partial(steps.do, env, tmp_path, STEP_2, *KILLED_SIZES, "--seed", "7")
        seconds = times[connected] * moment
        _kill_after(connected, seconds, again, env, tmp_path, STEP_2, *KILLED_SIZES, "--seed", "8")
        assert _stars(engine) in (before, clean_stars)
    steps.do(env, tmp_path, STEP_2, *KILLED_SIZES, "--seed", "8")
    assert _stars(engine) == clean_stars
    assert _leftovers(engine) == []


def test_step_3_killed_at_any_moment_and_run_again_ends_as_one_clean_run(
    env: dict[str, str], engine: Engine, tmp_path: Path, catalog: list[str]
) -> None:
    steps.do(env, tmp_path, STEP_1, *catalog)
    steps.do(env, tmp_path, STEP_2, *KILLED_SIZES)
    times = _times_of(env, tmp_path, STEP_3, "--users", "all")
    clean = state(engine)
    steps.do(env, tmp_path, STEP_3)
    sample = state(engine)
    for line, moment in (("loaded", 0.5), ("gate", 0.2), ("gate", 0.5)):  # "gate" is the last line before it writes
        again = partial(steps.do, env, tmp_path, STEP_3)
        _kill_after(line, times[line] * moment, again, env, tmp_path, STEP_3, "--users", "all")
        assert state(engine) in (sample, clean)
    steps.do(env, tmp_path, STEP_3, "--users", "all")
    assert state(engine) == clean
    assert len(clean["recommendations"]) == 30_000
    assert _leftovers(engine) == []


UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


def _times_of(env: dict[str, str], folder: Path, script: str, *options: str) -> dict[str, float]:
    """Run a step to its end. Return the seconds from each line to the end, by the line's first word in lower case."""
    came = {}
    with steps.start(env | UNBUFFERED, folder, script, *options) as process:
        assert process.stdout
        for line in process.stdout:
            came[line.partition(" ")[0].lower()] = time.perf_counter()
    assert process.returncode == 0
    return {word: time.perf_counter() - moment for word, moment in came.items()}


def _kill_after(
    first_word: str,
    seconds: float,
    again: Callable[[], object],
    env: dict[str, str],
    folder: Path,
    script: str,
    *options: str,
) -> None:
    """Start a step and kill it this many seconds after a line. If it has ended by then: ``again``, and kill it sooner.

    The machine may have been busier when the seconds were measured, or may be busy when they are over.
    """
    for part in (1.0, 0.5, 0.25, 0.1, 0.0, 0.0):
        with steps.start(env | UNBUFFERED, folder, script, *options) as process:
            assert process.stdout
            assert any(line.lower().startswith(f"{first_word} ") for line in process.stdout), f"no line {first_word}"
            time.sleep(seconds * part)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        if process.returncode == -signal.SIGKILL:
            return
        again()
    raise AssertionError("each kill came too late")


def _leftovers(engine: Engine) -> list[str]:
    return [name for name in existing_tables(engine) if name.endswith(("_new", "_old"))]


def _stars(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(select(ratings)))


def test_a_step_before_its_predecessor_names_the_missing_step(
    env: dict[str, str], tmp_path: Path, catalog: list[str]
) -> None:
    assert "run python to_rds.py first" in steps.refuse(env, tmp_path, STEP_2)
    assert "run python to_rds.py first" in steps.refuse(env, tmp_path, STEP_3)
    assert not (tmp_path / "shop.db").exists()
    steps.do(env, tmp_path, STEP_1, *catalog)
    assert "run python load_recommendation_data.py first" in steps.refuse(env, tmp_path, STEP_3)


BAD_OPTIONS = [
    (STEP_2, ["--seed", "-1"], "--seed '-1'"),
    (STEP_2, ["--num-users", "0"], "NUM_USERS=0 (command line) is out of range"),
    (STEP_2, ["--num-ratings", "many"], "NUM_RATINGS='many' (command line) is not a whole number"),
    (STEP_3, ["--users", "0"], "--users '0'"),
    (STEP_3, ["--users", "some"], "--users 'some'"),
    (STEP_3, ["--top-n-similar-users", "0"], "TOP_N_SIMILAR_USERS=0"),
]


@pytest.mark.parametrize(("script", "options", "message"), BAD_OPTIONS, ids=lambda value: str(value)[:30])
def test_an_invalid_option_is_one_line(
    tmp_path: Path, catalog: list[str], script: str, options: list[str], message: str
) -> None:
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db")}
    steps.do(env, tmp_path, STEP_1, *catalog)
    assert message in steps.refuse(env, tmp_path, script, *options)


def test_an_unknown_sample_user_is_one_line(tmp_path: Path, catalog: list[str]) -> None:
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db")}
    steps.do(env, tmp_path, STEP_1, *catalog)
    steps.do(env, tmp_path, STEP_2, "--num-users", "50", "--num-ratings", "200", "--num-interactions", "0")
    assert "user 51 is unknown" in steps.refuse(env, tmp_path, STEP_3, "--user", "51")
    assert "user x is unknown" in steps.refuse(env, tmp_path, STEP_3, "--user", "x")


@pytest.fixture
def away(mariadb: MariaDBServer) -> dict[str, str]:
    """An environment for the real server; tests spoil one value of it."""
    return mariadb.environment("nothing_here")


@pytest.mark.parametrize("script", [STEP_1, STEP_2, STEP_3])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"DB_PASSWORD": "s3cret-but-wrong"}, "access denied"),
        ({"DB_USER": "nobody"}, "access denied"),
        ({"DB_HOST": "no-such-host.invalid"}, "no-such-host.invalid"),
        ({"DB_PORT": "closed"}, "no connection"),
    ],
    ids=["password", "user", "host", "port"],
)
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(
    away: dict[str, str],
    tmp_path: Path,
    catalog: list[str],
    script: str,
    wrong: dict[str, str],
    named: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if wrong.get("DB_PORT") == "closed":
        wrong = {"DB_PORT": str(free_port())}
    env = away | wrong
    way = steps.fail if "DB_PASSWORD" in wrong else steps.refuse  # the process itself is the same for every fault
    line = way(env, tmp_path, script, *(catalog if script == STEP_1 else []))
    assert capfd.readouterr() == ("", "")  # compiled parts print nothing past Python
    assert named in line
    assert f"{env['DB_HOST']}:{env['DB_PORT']} as {env['DB_USER']}" in line
    assert "s3cret" not in line
    assert MariaDBServer.password not in line


def test_a_server_that_accepts_and_never_answers_is_given_up(tmp_path: Path, catalog: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"DB_HOST": "127.0.0.1", "DB_PORT": str(silent.getsockname()[1]), "DB_SSL_CA": "", "DB_NAME": "x"}
        started = time.monotonic()
        line = steps.refuse(env, tmp_path, STEP_1, *catalog)
    assert env["DB_PORT"] in line
    assert time.monotonic() - started < 60


def test_a_malformed_number_in_the_environment_is_one_line(tmp_path: Path) -> None:
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db"), "DB_PORT": "33o6"}
    for script in (STEP_1, STEP_2, STEP_3):
        assert "DB_PORT='33o6' (environment) is not a whole number" in steps.refuse(env, tmp_path, script)


def test_a_file_that_is_no_sqlite_database_is_one_line(tmp_path: Path, catalog: list[str]) -> None:
    (tmp_path / "shop.db").write_text("this is a text file, and not a short one, said the file about itself " * 50)
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db")}
    for script, options in ((STEP_1, catalog), (STEP_2, []), (STEP_3, [])):
        assert "file is not a database" in steps.refuse(env, tmp_path, script, *options)
    env["SQLITE_FILE"] = str(tmp_path / "no" / "folder" / "shop.db")
    assert "does not exist" in steps.refuse(env, tmp_path, STEP_1, *catalog)


def test_help_shows_the_usage_and_the_defaults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for script in (STEP_1, STEP_2, STEP_3):
        monkeypatch.setattr(sys, "argv", [script])
        with pytest.raises(SystemExit) as left:
            importlib.import_module(script.removesuffix(".py")).main(["--help"])
        assert left.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith(f"usage: {script}")
        assert "(default: " in text
