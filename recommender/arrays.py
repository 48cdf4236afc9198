"""Rows in blocks over Python threads: the compiled loops release the GIL, Ctrl-C is served between blocks.

Threads of our own, not numba's: its default layer aborts the process when two Python threads enter it at once,
and an API does that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import numpy as np

from recommender.errors import SettingError


def run_blocks(
    block: Callable[[int, int], None],
    n_rows: int,
    *,
    block_rows: int,
    n_threads: int,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Call block(start, stop) over all rows, in any order; progress(rows done) from the calling thread.

    The calling thread works too: one thread less to start, which a run of some milliseconds feels. What a block or
    progress raises, Ctrl-C included, stops every thread before its next block and is raised here.
    """
    run = _Run(block, n_rows, block_rows)
    n_helpers = min(n_threads, -(-n_rows // block_rows)) - 1
    helpers = [threading.Thread(target=run.work, args=(None,)) for _ in range(n_helpers)]
    try:
        for helper in helpers:
            helper.start()
        run.work(progress)
        for helper in helpers:
            helper.join()
    except BaseException as error:  # Ctrl-C while waiting
        run.raised.append(error)
    if run.raised:
        raise run.raised[0]
    if progress is not None and run.reported < n_rows:
        progress(n_rows)


class _Run:
    """Blocks handed out one by one, to whichever thread asks."""

    def __init__(self, block: Callable[[int, int], None], n_rows: int, block_rows: int) -> None:
        self.block, self.n_rows, self.block_rows = block, n_rows, block_rows
        self.given = self.done = self.reported = 0
        self.raised: list[BaseException] = []
        self.lock = threading.Lock()

    def work(self, progress: Callable[[int], object] | None) -> None:
        try:
            while (start := self.next_start()) < self.n_rows:
                stop = min(start + self.block_rows, self.n_rows)
                self.block(start, stop)
                with self.lock:
                    self.done += stop - start
                if progress is not None:
                    self.reported = self.done
                    progress(self.reported)
        except BaseException as error:
            self.raised.append(error)

    def next_start(self) -> int:
        with self.lock:
            start = self.n_rows if self.raised else self.given
            self.given = start + self.block_rows
        return start


def thread_count(n_threads: int | None) -> int:
    """The given number of threads, checked; None means the processors this process may use."""
    if n_threads is None:
        affinity = getattr(os, "sched_getaffinity", None)  # Linux only
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    return at_least_one("n_threads", n_threads)


def at_least_one(name: str, value: object) -> int:
    """The value as an int; SettingError, naming it, when it is not a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise SettingError(f"{name}={value!r} cannot be used: pass a whole number of 1 or more")
    return int(value)
