"""Rows in blocks over Python threads: the compiled loops release the GIL, Ctrl-C is served between blocks.

Threads of our own, not numba's: its default layer aborts the process when two Python threads enter it at once,
and an API does that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

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
    """Call block(start, stop) over all rows, in any order; progress(rows done) from the calling thread."""
    bounds = [(start, min(start + block_rows, n_rows)) for start in range(0, n_rows, block_rows)]
    if n_threads == 1 or len(bounds) <= 1:
        for start, stop in bounds:
            block(start, stop)
            if progress is not None:
                progress(stop)
        return
    waiting = iter(bounds)
    with ThreadPoolExecutor(n_threads) as pool:
        pending: dict[Future[None], int] = {}
        done = 0
        try:
            while done < n_rows:
                for start, stop in islice(waiting, 4 * n_threads - len(pending)):  # few, so that wait() stays cheap
                    pending[pool.submit(block, start, stop)] = stop - start
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    done += pending.pop(future)
                    future.result()  # raises what the block raised
                if progress is not None:
                    progress(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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
