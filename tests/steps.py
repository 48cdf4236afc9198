"""Run the scripts as a user does: as processes, from a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def succeed(env: dict[str, str], folder: Path, script: str, *options: str) -> str:
    """Run a script that must succeed; what it printed."""
    done = run(env, folder, script, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail(env: dict[str, str], folder: Path, script: str, *options: str) -> str:
    """Run a script that must fail with exit status 1 and one line; the line."""
    done = run(env, folder, script, *options)
    assert done.returncode == 1, (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{script}: ")
    return lines[0]
