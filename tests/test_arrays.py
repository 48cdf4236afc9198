"""The share of memory that one computation may take."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from recommender import arrays
from recommender.arrays import limit_threads, memory_share, run_blocks


def test_a_computation_may_take_half_of_the_memory_of_the_machine_or_of_its_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = {"/sys/fs/cgroup/memory.max": "max\n"}

    def read_text(path: Path, **_: object) -> str:
        if str(path) not in limits:
            raise FileNotFoundError(path)
        return limits[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    assert memory_share() == machine // 2
    limits["/sys/fs/cgroup/memory.max"] = "1000000\n"
    assert memory_share() == 500_000
    limits["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "600000\n"
    assert memory_share() == 300_000


def test_a_process_with_a_limit_of_one_thread_starts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_most_threads", arrays._most_threads)  # taken back afterwards
    limit_threads(1)
    names: list[str] = []
    run_blocks(lambda start, stop: names.append(threading.current_thread().name), 8, block_rows=1, n_threads=4)
    assert names == [threading.current_thread().name] * 8
