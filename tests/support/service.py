"""A service on a shop, in this process or as real uvicorn workers, and requests to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

import api
from recommender.database import connected
from recommender.settings import load_settings
from tests.conftest import ROOT, new_database
from tests.support.mariadb_server import free_port

KEY = "the-key-of-a-test-0123456789"
WITH_KEY = {"X-API-Key": KEY}
LONGEST_WAIT = 120  # seconds
AS_PATIENT = "import uvicorn\nfrom tests.support.deadlines import patient\nwith patient():\n    uvicorn.main()"


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait until the condition is true. There is no shorter wait: on a busy machine it would fail by chance."""
    deadline = time.monotonic() + LONGEST_WAIT
    while not condition():
        assert time.monotonic() < deadline, f"not within {LONGEST_WAIT} s"
        time.sleep(0.02)


def fetch(port: int, path: str, body: Any = None, method: str | None = None) -> tuple[int, dict[str, str], Any]:
    """Ask a server of this machine, with the key; return status, headers in lower case and JSON of its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, WITH_KEY, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, _lower(answer.headers), json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _lower(error.headers), json.loads(error.read() or b"null")


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@contextmanager
def read_only_service(
    backend: str, folder: Path, request: pytest.FixtureRequest, stock: Callable[[Engine], object], **variables: str
) -> Iterator[TestClient]:
    """A service of this process on a new, stocked database, for many tests that change nothing."""
    with new_database(backend, folder, request) as env, ExitStack() as stack:
        with connected(load_settings(environ=env, env_file=folder / "no.env"), create=True) as engine:
            stock(engine)
        with pytest.MonkeyPatch.context() as patch:  # other tests do not see these variables
            for name, value in (env | variables).items():
                patch.setenv(name, value)
            client = stack.enter_context(TestClient(api.create_app(), raise_server_exceptions=False))
        yield client


@contextmanager
def uvicorn(
    env: Mapping[str, str], log: Path, *options: str, is_patient: bool = False
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run ``uvicorn api:app``; give its port and process when it is ready; stop it at the end.

    ``is_patient``: with the deadlines of services in the tests.
    """
    port = free_port()
    program = ["-c", AS_PATIENT] if is_patient else ["-m", "uvicorn"]
    command = [sys.executable, *program, "api:app", "--host", "127.0.0.1", "--port", str(port), *options]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | env | {"API_KEY": KEY}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: is_ready(port, server, log))
        yield port, server
    finally:
        server.terminate()
        server.wait(timeout=60)


def is_ready(port: int, server: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether the server answers. If it has ended: AssertionError with its output."""
    assert server.poll() is None, log.read_text()
    try:
        return fetch(port, "/ready")[0] == 200
    except OSError:
        return False
