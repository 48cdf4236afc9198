"""Run the scripts as a user does: as processes, each in its own folder.

A start takes 1 to 3 seconds of imports. So tests that do not need a process (to prepare data, to read a message) call
the script's ``main()`` in this process: ``do`` and ``refuse``.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from tests.conftest import ROOT

Process = subprocess.CompletedProcess[str]


def start(env: dict[str, str], folder: Path, script: str, *options: str) -> subprocess.Popen[str]:
    """Start a script in ``folder``, its output in pipes."""
    command = [sys.executable, str(ROOT / script), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=os.environ | env, stdout=pipe, stderr=pipe, text=True)


def run(env: dict[str, str], folder: Path, script: str, *options: str) -> Process:
    """Run a script to its end."""
    with start(env, folder, script, *options) as process:
        out, err = process.communicate(timeout=300)
    return Process(process.args, process.returncode, out, err)


def call(env: dict[str, str], folder: Path, script: str, *options: str) -> Process:
    """Run a script's ``main()`` in this process. Its Python output is captured; output of C code goes to pytest."""
    main = importlib.import_module(script.removesuffix(".py")).main
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in env.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        status = main(list(options))
    return Process([script, *options], status, out.getvalue(), err.getvalue())


def succeed(env: dict[str, str], folder: Path, script: str, *options: str) -> str:
    """Run a script that must succeed; return its output."""
    return _printed(run(env, folder, script, *options))


def do(env: dict[str, str], folder: Path, script: str, *options: str) -> str:
    """``succeed`` in this process."""
    return _printed(call(env, folder, script, *options))


def fail(env: dict[str, str], folder: Path, script: str, *options: str) -> str:
    """Run a script that must fail with exit status 1 and one line; return the line."""
    return _one_line(run(env, folder, script, *options), script)


def refuse(env: dict[str, str], folder: Path, script: str, *options: str) -> str:
    """``fail`` in this process."""
    return _one_line(call(env, folder, script, *options), script)


def _printed(done: Process) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def _one_line(done: Process, script: str) -> str:
    assert done.returncode == 1, (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{script}: ")
    return lines[0]
