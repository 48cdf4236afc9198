"""A script ends without a stack trace if nobody reads its output any more, and at Ctrl-C from its first moment on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def unread(folder: Path, *command: str) -> tuple[int, str]:
    """The exit status and the errors of a Python program whose output goes into a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


SCRIPTS = ("to_rds.py", "load_recommendation_data.py", "recommendation_engine.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_ends_so(script: str) -> None:
    assert (ROOT / script).read_text().endswith('if __name__ == "__main__":\n    sys.exit(status_of(main))\n')


def test_a_dry_run_before_head_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,product,rating\n1,A,5\n2,A,4\n")
    script = str(ROOT / "load_recommendation_data.py")
    assert unread(tmp_path, script, "--ratings", "r.csv", "--dry-run") == (141, "")


def test_so_does_a_long_output() -> None:
    code = "import sys; from recommender.commands.exit_status import status_of\n"
    code += "sys.exit(status_of(lambda: [print('x' * 99) for _ in range(9_999)] and 0))"
    assert unread(ROOT, "-c", code) == (141, "")


@pytest.mark.parametrize("script", SCRIPTS)
def test_ctrl_c_while_the_libraries_load_shows_no_trace(script: str, tmp_path: Path) -> None:
    interrupted = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise AssertionError('it went on')\n"
    (tmp_path / "sqlalchemy.py").write_text(interrupted)
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / script), "--help"]
    done = subprocess.run(
        command,
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_later_is_told_by_the_script() -> None:
    code = "import os, signal; from recommender.commands.exit_status import FORESEEN, exit_status, status_of\n"
    code += "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    code += "def main():\n    try: os.kill(os.getpid(), signal.SIGINT)\n"
    code += "    except FORESEEN as error: return exit_status('step.py', error)\n"
    code += "raise SystemExit(status_of(main))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "step.py: interrupted; run the step again, it starts clean\n")


def test_so_does_a_step_whose_first_line_is_told_by_another_thread() -> None:
    code = "import sys, threading; from recommender.commands import engine\n"
    code += "from recommender.commands.exit_status import status_of\n"
    code += "def slow(tell, parts): thread = threading.Thread(target=tell); thread.start(); thread.join()\n"
    code += "engine.warm_up = slow\n"
    code += "sys.exit(status_of(lambda: [engine.announce_compiling('classic'), print('loaded')] and 0))"
    assert unread(ROOT, "-u", "-c", code) == (141, "")
