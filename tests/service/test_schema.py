"""The service compared with its own OpenAPI document: generated requests, valid and invalid, with every check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine

from recommender.database import connect
from recommender.settings import load_settings
from tests.support.service import KEY, uvicorn
from tests.support.shop import fill

PRODUCTS = ["B08N5WRWNW", "B07PGL2ZSL", *(f"B00000000{letter}" for letter in "CDE")]  # also those of the examples


def test_every_answer_is_as_documented(tmp_path: Path) -> None:
    env = {"DB_HOST": "", "SQLITE_FILE": str(tmp_path / "shop.db"), "MODEL_FILE": ""}
    engine: Engine = connect(load_settings(environ=env, env_file=tmp_path / "no.env"), create=True)
    fill(engine, {user: dict.fromkeys(PRODUCTS[: user % 5 + 1], 2.0 + user % 3) for user in range(40, 60)}, PRODUCTS)
    engine.dispose()
    with uvicorn(env, tmp_path / "log", is_patient=True) as (port, _):
        command = [str(Path(sys.executable).with_name("schemathesis")), "--no-color", "run", "--checks", "all"]
        command += ["--max-examples", "40", "--seed", "7", "--header", f"X-API-Key: {KEY}", "--continue-on-failure"]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/openapi.json"],
            cwd=tmp_path, env=os.environ | {"PYTHONWARNINGS": "ignore"}, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout.partition("FAILURES")[2][:8_000] + done.stderr[-2_000:]
