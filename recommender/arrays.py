"""Helpers of all compiled code: blocks of rows over threads, and checks of arrays before compiled code sees them.

Compiled code checks no bounds. So the arguments of callers are checked here first, and so are the arrays of a saved
index. The contents of a saved index are not proofread. The checks make sure that no search can read or write beyond an
array, or run without end. A failed check is a SettingError that names the array.

Threads are Python's: the compiled loops release the GIL, and Ctrl-C is served between blocks. Numba's own default layer
aborts the process if two Python threads enter it at once, and an API does that.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from recommender.errors import SettingError

_most_threads = 1 << 30  # of a computation in this process
LARGEST = 1e150  # limit for numbers that compiled code multiplies: sums of products stay finite


def run_blocks(
    block: Callable[[int, int], None],
    n_rows: int,
    *,
    block_rows: int,
    n_threads: int,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Call block(start, stop) over all rows, in any order, and progress(rows done) from the calling thread.

    The calling thread works too: that saves the start of one thread, which matters in a run of some milliseconds. An
    exception of a block or of progress, Ctrl-C included, stops every thread before its next block and is raised here.
    """
    if n_rows <= block_rows and progress is None:  # as for the list of one user
        if n_rows:
            block(0, n_rows)
        return
    run = _Run(block, n_rows, block_rows)
    n_helpers = min(n_threads, _most_threads, -(-n_rows // block_rows)) - 1
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
    """The blocks of one run, handed out one by one to the threads."""

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


def limit_threads(most: int) -> None:
    """Let every later computation of this process use at most so many threads, whatever it is asked for."""
    global _most_threads
    _most_threads = at_least_one("most", most)


def thread_count(n_threads: int | None) -> int:
    """Return the given number of threads, checked; for None, the number of processors this process may use."""
    if n_threads is None:
        affinity = getattr(os, "sched_getaffinity", None)  # Linux only
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    return at_least_one("n_threads", n_threads)


def memory_share() -> int:
    """Return the bytes that one computation may take: half of the machine's memory, or of the container's."""
    known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ())  # not on Windows
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if known else 8 << 30
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # a container has one of these; "max" is none
            total = min(total, int(Path(limit).read_text(encoding="ascii")))
    return total // 2


def at_least_one(name: str, value: object) -> int:
    """Return the value as an int. SettingError, naming it, if it is not a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise SettingError(f"{name}={value!r} cannot be used: pass a whole number of 1 or more")
    return int(value)


def checked_numbers(name: str, numbers: ArrayLike, end: int) -> NDArray[np.int64]:
    """Return row or column numbers (m,) from 0 up to end as int64. SettingError, naming the first that is not."""
    wanted = np.asarray(numbers)
    if wanted.size == 0:
        return np.empty(0, np.int64)
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        raise SettingError(f"{name}s={numbers!r} cannot be used: pass a list of whole {name} numbers, such as [0, 5]")
    outside = (wanted < 0) | (wanted >= end)
    if outside.any():
        raise SettingError(f"{name} {wanted[outside][0]} does not exist: pass {name}s from 0 to {end - 1}")
    return wanted.astype(np.int64)


def checked_csr(name: str, matrix: Any) -> Any:
    """Return the matrix if it is a CSR array of real numbers. SettingError otherwise."""
    if sp.issparse(matrix) and getattr(matrix, "format", "") == "csr" and matrix.dtype.kind in "iufb":
        return matrix
    raise SettingError(
        f"{name} are {type(matrix).__name__}, not a scipy CSR array of real numbers: convert with "
        "scipy.sparse.csr_array"
    )


def typed_fields(kind: Any, form: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return the NamedTuple ``kind`` of the arrays named ``form.field``, one-dimensional, each of its field's dtype."""
    names = [f"{form}.{field}" for field in kind._fields]
    if set(arrays) != set(names):
        odd = sorted(set(arrays) ^ set(names))[:3]
        raise SettingError(f"these are not the arrays of a saved index ({odd} missing or foreign): save it again")
    for name, wanted in zip(names, annotated_dtypes(kind).values(), strict=True):
        require_kind(arrays[name], name, wanted)
    return kind(*(np.asarray(arrays[name]) for name in names))  # to numba, np.memmap is another type


def annotated_dtypes(kind: Any) -> dict[str, type]:
    """Return the dtype that each field of a NamedTuple of arrays is annotated with."""
    return {field: get_args(get_args(hint)[1])[0] for field, hint in get_type_hints(kind).items()}


def require_kind(array: Any, name: str, *wanted: type, dimensions: int = 1) -> None:
    """Check that the array has one of the dtypes, and is mapped so that compiled code takes it without a copy."""
    fits = isinstance(array, np.ndarray) and array.dtype in wanted and array.ndim == dimensions
    require(fits, name, " or ".join(kind.__name__ for kind in wanted))
    require(array.flags.carray, name, "contiguous, aligned and writable: map it with mode='c'")


def require(holds: Any, name: str, what: str) -> None:
    """Raise SettingError unless ``holds``."""
    if not holds:
        raise SettingError(f"array {name} of a saved index is not {what}: save the index again")


def check_starts(p: Any, form: str, checks: Mapping[str, tuple[int, int]]) -> None:
    """Check each array of starts: its length, and the length of the array it divides."""
    for name, (size, end) in checks.items():
        starts = getattr(p, name)
        require(starts.size == size, f"{form}.{name}", f"of length {size}")
        rises = starts[0] == 0 and starts[-1] == end and (starts[1:] >= starts[:-1]).all()
        require(rises, f"{form}.{name}", f"rising from 0 to {end}")


def check_sizes(p: Any, form: str, sizes: Mapping[str, int]) -> None:
    """Check each array's length."""
    for name, size in sizes.items():
        require(getattr(p, name).size == size, f"{form}.{name}", f"of length {size}")


def check_range(p: Any, form: str, ends: Mapping[str, int], shift: int = 0) -> None:
    """Check that each array's numbers, without their ``shift`` lowest bits, are from 0 up to its end."""
    for name, end in ends.items():
        array = getattr(p, name)
        inside = array.size == 0 or (array.min() >= 0 and int(array.max()) >> shift < end)
        require(inside, f"{form}.{name}", f"within 0..{end - 1}")


def check_rising(array: NDArray[Any], starts: NDArray[np.integer], name: str) -> None:
    """Check that the numbers rise within each list; ``starts``: where lists begin, ends included."""
    rises = array[1:] > array[:-1]
    begins = starts[(starts > 0) & (starts < array.size)]
    rises[begins - 1] = True  # between two lists any step is allowed
    require(rises.all(), name, "rising within each list")


def check_finite(p: Any, form: str, *names: str, below: float = np.inf) -> None:
    """Check that no number is NaN, below 0, or ``below`` or more."""
    for name in names:
        array = getattr(p, name)
        bounded = array.min(initial=0.0) >= 0.0 and array.max(initial=0.0) < below
        require(bounded, f"{form}.{name}", "finite and 0 or more")


def within(values: NDArray[Any], lowest: int, end: int) -> bool:
    """Tell whether all numbers are at least ``lowest`` and below ``end``."""
    return values.size == 0 or bool(values.min() >= lowest and values.max() < end)
