"""The process that an executor forks its Python workers from; Spark starts it (``spark.python.daemon.module``).

It has loaded all that the workers need, which takes some seconds of a core. So a new worker has it at once, and all of
them share its memory. What cannot be loaded is no error here: the check of the workers names it in one line.
"""

from __future__ import annotations

import gc
from contextlib import suppress

from pyspark import daemon

if __name__ == "__main__":
    with suppress(Exception):
        from recommender.spark import sinks  # noqa: F401

    gc.freeze()  # a worker looks for garbage after each task: not among what it shares
    daemon.manager()
