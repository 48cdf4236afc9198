"""The lists into a new version of ``recommendations``, or into a folder of Parquet files; whole, or not at all.

Into the database: the driver makes the staging table and holds its lock, every executor writes the users it has lists
for, in blocks (`recommender.database.BlockWriter`), and the driver publishes the table in one step, as the local batch
does. A task that runs twice, or twice at a time, writes the same users twice, which is the same as once. What a killed
driver leaves is a staging table, which the next run drops; executors that still write into it find no table.

Into a folder: Spark writes beside it, under a name of its own; the folder is renamed at the end.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine

from recommender.database import BlockWriter, Stage, connect, staged
from recommender.database.schema import BATCH_TABLES, lists_by_text, recommendations
from recommender.errors import DatabaseError, SettingError, SparkError
from recommender.publishing import Judge, Version, publish_lists
from recommender.settings import Settings
from recommender.shop import LONGEST_KNOWN_ID, LONGEST_USER_ID, NUMBERS_AS_THEY_ARE, Cursor
from recommender.spark.causes import explained
from recommender.spark.folders import place_of
from recommender.spark.lists.exchange import Last
from recommender.spark.names import NamesOnSpark

if TYPE_CHECKING:
    from pyspark import Accumulator
    from pyspark.sql import DataFrame, SparkSession

BLOCK_ROWS = 20_000  # of one transaction: a tenth of a second, some MB
KEEP_EVERY, KEPT_FOR = 10.0, 180.0  # seconds between two looks at the driver's connection; for which it may be away

T = TypeVar("T")


class Make(Protocol):
    """A maker of the frame of all lists."""

    def __call__(self, *, last: Last | None = None) -> DataFrame:
        """Return the frame; ``last``: what its tasks make of their rows instead."""


Noted = Callable[[], Mapping[str, Any]]  # what is noted with the version once the lists are written


def publish_frame(
    engine: Engine,
    settings: Settings,
    make: Make,
    version: Version,
    *,
    names: DataFrame | None,
    since: Cursor,
    keep: int,
    publish: bool,
    judge: Judge | None,
    noted: Noted = dict,
    done: Accumulator[int] | None = None,
) -> Version:
    """Let the executors write the lists, then publish them as ``version``; return it as noted.

    ``names``: the texts of a shop of texts. Other arguments as in `write_lists` and
    `recommender.publishing.publish_lists`; ``noted`` is called after the writing, for more metrics. DatabaseError,
    SparkError.
    """
    made_as = None if names is None else {recommendations: lists_by_text(_longest(names))}
    with staged(engine, BATCH_TABLES, in_turns=True, made_as=made_as) as stage:
        write_lists(stage, settings, make, done)
        metrics = {**(version.metrics or {}), **noted()}
        ids = NUMBERS_AS_THEY_ARE if names is None else NamesOnSpark(names)
        return publish_lists(
            stage, replace(version, metrics=metrics), keep=keep, since=since, ids=ids, publish=publish, judge=judge
        )


def write_lists(stage: Stage, settings: Settings, make: Make, done: Accumulator[int] | None = None) -> None:
    """Let the executors make lists and write them into ``stage``, in the same tasks.

    ``done`` counts the users.
    DatabaseError, SparkError.
    """
    with _kept(stage):
        last = Last("n long", _writer(settings, stage.tables[recommendations].name, done))
        make(last=last).agg({"n": "sum"}).collect()


def _longest(names: DataFrame) -> int:
    """Return the number of characters that the column of texts needs."""
    found = names.selectExpr("max(length(text))").collect()[0][0] or 0
    return LONGEST_KNOWN_ID if found > LONGEST_USER_ID else LONGEST_USER_ID


@contextmanager
def _kept(stage: Stage) -> Iterator[None]:
    """Keep the connection and the locks of ``stage`` while the executors write, also if the server is away meanwhile.

    DatabaseError if it stays away, or another run has taken the tables.
    """
    ended = threading.Event()
    failed: list[DatabaseError] = []

    def keep() -> None:
        away_since: float | None = None
        while not ended.wait(KEEP_EVERY if away_since is None else 1.0):
            try:
                stage.keep()
                away_since = None
            except DatabaseError as error:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > KEPT_FOR:
                    failed.append(error)
                    return

    thread = threading.Thread(target=keep, name="keep-stage", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failed:
        raise failed[0]
    _patiently(stage.keep)


def _patiently(attempt: Callable[[], T], seconds: float = KEPT_FOR) -> T:
    """Return the result of ``attempt``; try again for so many seconds while the server is away."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except DatabaseError:
            if time.monotonic() > deadline:
                raise
        time.sleep(1.0)


def _writer(
    settings: Settings, table: str, done: Accumulator[int] | None
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what an executor does with its lists: write them, and count the rows."""
    ca = Path(settings.db_ssl_ca).read_text() if settings.db_ssl_ca else ""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # an executor's machine lacks the file of the CA
            file.write(ca)
            file.flush()
            here = replace(settings, db_ssl_ca=file.name if ca else "")
            engine = _patiently(lambda: connect(here))  # a task that fails is tried four times, all at once
            writer, n = BlockWriter(engine, recommendations, table), 0
            try:
                for block in whole_lists(batches, BLOCK_ROWS):
                    writer.write(block)
                    n += block.num_rows
                    if done is not None:
                        done.add(int((block.column("rank").to_numpy() == 1).sum()))
            finally:
                writer.leave()
                engine.dispose()
        yield pa.record_batch({"n": pa.array([n], pa.int64())})

    return write


def whole_lists(batches: Iterator[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield blocks of about ``n_rows`` that never cut the list of a user in two; the rows of a user come together."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        for start in range(0, batch.num_rows, n_rows):
            held.append(batch.slice(start, n_rows))
            if sum(one.num_rows for one in held) < n_rows:
                continue
            block = _joined(held)
            last = int(np.flatnonzero(block.column("rank").to_numpy() == 1)[-1])  # the first row of the last list
            if last:
                yield block.slice(0, last)
            held = [block.slice(last)]
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def check_folder(spark: SparkSession, folder: str) -> None:
    """Raise SettingError unless ``folder`` is free, empty or holds lists, and another one can be made beside it."""
    try:
        with explained():
            files, path = place_of(spark, folder)
            free = not files.exists(path) or (files.getFileStatus(path).isDirectory() and _may_go(spark, files, path))
            beside = path.suffix(f"__new_{secrets.token_hex(4)}")
            made = free and files.mkdirs(beside)
            if made:
                files.delete(beside, True)
    except SparkError as error:
        raise SettingError(
            f"--to-parquet {folder} cannot be written ({error}): check the name and the rights"
        ) from error
    if not free:
        raise SettingError(f"--to-parquet {folder} is there, and is no folder of lists of this step: name another")
    if not made:
        raise SettingError(f"--to-parquet {folder} cannot be written: check the name and the rights")


def _may_go(spark: SparkSession, files: Any, path: Any) -> bool:
    """Tell whether a folder is empty or holds lists; other files of Spark, as those of a warehouse, are not ours."""
    if not len(files.listStatus(path)):
        return True
    jvm: Any = spark.sparkContext._jvm
    if not files.exists(jvm.org.apache.hadoop.fs.Path(path, "_SUCCESS")):
        return False
    try:
        with explained():
            return spark.read.parquet(path.toString()).columns == recommendations.columns.keys()
    except SparkError:  # no Parquet
        return False


def write_folder(spark: SparkSession, lists: DataFrame, folder: str) -> DataFrame:
    """Write ``lists`` as Parquet files in the place of ``folder``, and return what it holds then.

    Until all files are written, ``folder`` stays as it is. SettingError as `check_folder`.
    """
    check_folder(spark, folder)
    files, path = place_of(spark, folder)
    jvm: Any = spark.sparkContext._jvm
    drawn = secrets.token_hex(4)
    new, old = (jvm.org.apache.hadoop.fs.Path(f"{path.toString()}__{end}_{drawn}") for end in ("new", "old"))
    try:
        lists.write.parquet(new.toString())
        if files.exists(path):
            _rename(files, path, old)
        _rename(files, new, path)
    finally:
        files.delete(new, True)
    files.delete(old, True)
    return spark.read.parquet(path.toString())


def _rename(files: Any, source: Any, target: Any) -> None:
    if not files.rename(source, target):
        raise SettingError(f"--to-parquet: {source.toString()} cannot be renamed to {target.toString()}: check rights")
