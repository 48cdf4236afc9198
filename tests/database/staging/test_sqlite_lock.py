"""A lock beside a SQLite file: seen by others at once, also by those who reach the file through a link."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from recommender.database.staging._sqlite_lock import FileLock
from tests.conftest import ROOT

HOLD = """
import sys
from recommender.database.staging._sqlite_lock import FileLock
lock = FileLock(sys.argv[1], "people")
print(lock.taken(1), flush=True)
sys.stdin.read()
"""


def test_another_process_sees_the_lock_until_its_holder_is_killed(tmp_path: Path) -> None:
    file, link = tmp_path / "odd #name?.db", tmp_path / "link.db"
    file.touch()
    link.symlink_to(file)
    people, step = FileLock(str(link), "people"), FileLock(str(link), "step")
    assert not people.is_held(), "without a file"
    assert not (tmp_path / "odd #name?.db-people").exists(), "the question makes none"
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert people.is_held()
        assert not people.taken(0)
        assert not step.is_held()
        holder.kill()
        holder.wait()
        assert not people.is_held()
    assert people.taken(0)
    assert people.is_held()
    people.release()
    assert not people.is_held()
