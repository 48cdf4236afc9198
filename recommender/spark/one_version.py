"""Work on executors that runs only where this package is of the driver's version.

The first job compares the workers there are (`recommender.spark.session`). More executors may come at any time after
it, and Spark names the functions of a package instead of sending them. So each task asks again, once for each process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pyarrow as pa

from recommender.spark.session import ROOT, package_version

Work = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@cache
def version_here() -> str:
    """Return `package_version` of this process."""
    return package_version()


def of_one_version(work: Work) -> Work:
    """Return ``work`` for `mapInArrow`; on a worker with another version of this package it raises SparkError."""
    wanted, root = version_here(), str(ROOT)

    def checked(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:  # sent whole: no name of a module
        import platform

        try:
            from recommender.spark.one_version import version_here

            found = version_here()
        except ImportError:
            found = ""
        if found != wanted:
            from recommender.errors import SparkError

            who = f"the worker on {platform.node()} has another version of this package"
            raise SparkError(f"{who}: install this version at {root} on every worker")
        return work(batches)

    return checked
