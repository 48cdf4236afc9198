"""A script whose output nobody reads any more ends quietly, as other programs before ``| head`` do."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("script", ["to_rds.py", "load_recommendation_data.py", "recommendation_engine.py"])
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
