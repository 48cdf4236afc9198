"""Runs of step 3 for the benchmarks of Spark, each in a new process, and the made-up shops that they read."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import recommendation_engine
from benchmarks.neighbors import Shape, make_ratings, peak_megabytes
from recommender.commands import spark_batch, version_gate
from recommender.spark import (
    jdbc_jar,
    spark_session,
)

T = TypeVar("T")


def shape_of(users: int) -> Shape:
    """Return the shape of a shop: 19 ratings a user and 1.5 products for each."""
    return Shape(users, users * 3 // 2, users * 19)


class Took(NamedTuple):
    """What a run of step 3 took: seconds in all, of the lists alone, and the peak of this process's memory in MB."""

    seconds: float
    lists: float
    peak: float


def apart(call: Callable[..., Any], *arguments: Any, limit: float | None = None) -> Any:
    """Return what ``call`` returns in a new process; a text if it fails, or takes more than ``limit`` seconds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_in_child, args=(there, call, arguments))
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(limit) else "did not finish"
    except EOFError:
        return "did not finish (killed)"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # with the JVM and its workers; at its end nothing is left
        process.join()


def _in_child(there: Any, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    try:
        there.send(call(*arguments))
    except Exception as error:
        there.send(f"did not finish ({type(error).__name__}: {str(error)[:120]})")


def step(ranking: str, master: str | None, divided: bool, *arguments: str) -> Took:
    """Run step 3 for everybody; ``master``: Spark's, None for the local batch."""
    arguments = ("--users", "all", "--ranking", ranking, *arguments)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(version_gate, "gate", return_value=(None, None)))
        if master is not None:
            spark = stack.enter_context(spark_session(master, jar=jdbc_jar(None)[0]))
            there = contextlib.contextmanager(lambda *_a, **_k: iter([spark]))
            stack.enter_context(mock.patch("recommender.commands.spark_batch.spark_session", there))
            arguments += ("--spark", master)
        if divided:
            stack.enter_context(mock.patch.object(spark_batch, "MOST_SAMPLED", 0))
        said, started = io.StringIO(), time.perf_counter()
        with contextlib.redirect_stdout(said):
            failed = recommendation_engine.main(list(arguments))
        seconds = time.perf_counter() - started
    if failed:
        raise RuntimeError("step 3 failed")
    if os.environ.get("BENCHMARK_VERBOSE"):
        print(said.getvalue().partition("\n\n")[0], file=sys.stderr, flush=True)
    found = re.search(r"^batch .* in ([\d.]+) s", said.getvalue(), re.MULTILINE)
    assert found is not None
    return Took(seconds, float(found[1]), peak_megabytes())


def write_files(shape: Shape, folder: Path) -> None:
    """Write the products and ratings of a shop as Parquet files."""
    folder.mkdir()
    csr = make_ratings(shape)
    ids = pa.array([f"B{number:09d}" for number in range(shape.products)])
    users = np.repeat(np.arange(1, shape.users + 1), np.diff(csr.indptr))
    rows = {"user_id": users, "product_id": ids.take(pa.array(csr.indices)), "rating": csr.data}
    pq.write_table(pa.table({"product_id": ids, "title": ids}), folder / "products.parquet")
    pq.write_table(pa.table(rows), folder / "ratings.parquet", row_group_size=200_000)


def core_seconds() -> float:
    """Return the seconds of a core that all processes of this session have taken: Spark's are among them."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = file.read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15])) if int(fields[3]) == os.getsid(0) else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def median(took: Sequence[Any], name: str) -> float:
    """Return the median of a figure of the runs."""
    return float(statistics.median(getattr(one, name) for one in took))


def done(found: Any, kind: type[T]) -> T:
    """Return what a run gave. SystemExit if it failed: it is a text then."""
    if not isinstance(found, kind):
        raise SystemExit(f"a run of step 3 {found}")
    return found
