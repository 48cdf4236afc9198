"""The progress of a run on the terminal, and what the run cost.

A thread asks Spark twice a second for its stages and tasks. The bar counts tasks, as far as Spark has planned them, and
tqdm foresees the time that is left from these.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOOK = 0.5  # seconds


@contextmanager
def shown(spark: SparkSession, what: str, users_done: Callable[[], int] | None = None) -> Iterator[None]:
    """Show the tasks of the jobs in the block under a bar, on a terminal, if they take long.

    ``users_done``: the number of users whose lists are written.
    """
    ended = threading.Event()
    with tqdm(total=0, unit=" tasks", desc=what, delay=1, leave=False, disable=None) as bar:
        thread = threading.Thread(target=_follow, args=(spark, bar, users_done, ended), name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _follow(spark: SparkSession, bar: Any, users_done: Callable[[], int] | None, ended: threading.Event) -> None:
    tracker, seen = spark.sparkContext.statusTracker(), dict[int, tuple[int, int]]()
    while not ended.wait(LOOK):
        with suppress(Exception):  # a bar must not end a run; at its end Spark may be gone already
            active = tracker.getActiveStageIds()
            for number in {*active, *(n for n, (done, total) in seen.items() if done < total)}:
                if (info := tracker.getStageInfo(number)) is not None:
                    seen[number] = info.numCompletedTasks, info.numTasks
            bar.total = sum(total for _, total in seen.values())
            words = [f"stage {max(seen, default=0) + 1}", f"{len(active)} at work"]
            words += [f"{users_done():,} users"] if users_done is not None else []
            bar.set_postfix_str(", ".join(words), refresh=False)
            bar.update(sum(done for done, _ in seen.values()) - bar.n)


class Meter:
    """What a run costs from the making of this object on."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark, self._started = spark, time.perf_counter()

    def cost(self) -> dict[str, Any]:
        """Return seconds, and of all executors there were: their number, tasks, seconds of tasks, bytes shuffled."""
        context: Any = self._spark.sparkContext
        executors = list(context._jvm.scala.jdk.javaapi.CollectionConverters.asJava(self._summaries(context)))
        working = [one for one in executors if one.totalTasks()]
        return {
            "seconds": round(time.perf_counter() - self._started, 2),
            "executors": len(working),
            "tasks": sum(one.totalTasks() for one in working),
            "task_seconds": round(sum(one.totalDuration() for one in working) / 1000, 2),
            "shuffled_bytes": sum(one.totalShuffleWrite() for one in working),
        }

    @staticmethod
    def _summaries(context: Any) -> Any:
        return context._jsc.sc().statusStore().executorList(False)
