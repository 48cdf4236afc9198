"""The key of ``make run``: random, accepted, in no file, and not made if one is configured."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from recommender.commands import demo_key, wait_until_ready
from recommender.service import ApiKeys
from tests.conftest import ROOT
from tests.support.service import KEY, uvicorn
from tests.support.shop import fill


@pytest.fixture
def backend() -> str:
    """Keys do not depend on the database."""
    return "sqlite"


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str) -> str:
    monkeypatch.setenv("API_KEY", key)
    assert demo_key.main() == 0
    return capsys.readouterr().out.strip()


def test_a_new_key_is_made_each_time_if_none_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {printed(monkeypatch, capsys, empty) for empty in ("", " ", ",", "", "")}
    assert len(keys) == 5
    assert all(re.fullmatch("[0-9a-f]{48}", key) and ApiKeys(key) for key in keys)


def test_no_key_is_made_if_one_is_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(monkeypatch, capsys, "a-key-of-my-own-to-keep") == ""


def test_make_run_shows_a_usable_line_and_gives_the_key_only_to_the_service() -> None:
    """The recipe of `run` without its first steps, with a service that only prints its key."""
    shown = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    recipe = shown[shown.index("key=$(") :].replace(".venv/bin/python -m recommender.commands.wait_until_ready", "true")
    recipe = re.sub(r"exec \S+uvicorn .*", 'exec printf "given %s\\n" "$API_KEY"', recipe)
    recipe = recipe.replace(".venv/bin/python", sys.executable)
    before = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True).stdout
    told = {}
    for key in ("", "a-key-of-my-own-to-keep"):
        env = os.environ | {"API_KEY": key}
        ran = subprocess.run(["bash", "-c", recipe], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        told[key] = ran.stdout
    made = re.search(r"X-API-Key: ([0-9a-f]{48})' http://127.0.0.1:8000/users/42/neighbors", told[""])
    assert made
    assert told[""].endswith(f"given {made[1]}\n")
    assert told["a-key-of-my-own-to-keep"] == "given a-key-of-my-own-to-keep\n"
    assert subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True).stdout == before


@pytest.mark.parametrize("required", ["people", "all"])
def test_the_request_that_make_run_shows_is_answered(
    required: str, engine: Engine, env: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(engine, {42: {"B00000000A": 5.0}}, ["B00000000A", "B00000000B"])
    with uvicorn(env | {"REQUIRE_KEY": required, "REQUEST_LOG": "0"}, tmp_path / "log") as (port, _):
        assert wait_until_ready.main([f"http://127.0.0.1:{port}"]) == 0
        told = capsys.readouterr().out
        (line,) = [text.strip() for text in told.splitlines() if "curl" in text]
        command = shlex.split(line.replace("...", KEY).replace("curl ", "curl -sS ", 1))
        answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert answer["user_id"] == 42
    assert ("1 users, 2 products, 1 ratings" in told) is (required == "people")
    assert ("X-API-Key" in line) is (required == "all")
