"""Messages between tasks: each goes to the task that its sender names, and a task reads them in the order of turns.

One message holds a block of rows or what is found for it, never one user, so Python's loop over messages is short. All
of it works on Arrow batches; a shuffle (`repartitionById`) carries the messages, and a sort within each partition puts
them in order.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import pyarrow as pa

from recommender.spark.one_version import of_one_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = "part int, turn long, body binary"
_ROWS = (
    "user_id {}, rank int, product_id string, product_name string, predicted_rating double, source string, "
    "support double, n_neighbors int, generated_at timestamp_ntz"
)


def rows_schema(by_text: bool) -> str:
    """Return the schema of the rows of the table; ``by_text``: users have texts."""
    return _ROWS.format("string" if by_text else "long")


class Last(NamedTuple):
    """What a task does with its rows of the table as it makes them, and the schema of what it returns."""

    schema: str
    work: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class Message(NamedTuple):
    """Something for a task."""

    part: int  # the number of the task
    turn: int  # it reads messages by ascending turn
    body: Any


Knowing = Callable[
    [Any, Iterator[Message]], Iterable[Any]
]  # a task and what it knows; it makes messages, or Arrow rows
Task = Callable[[Iterator[Message]], Iterable[Any]]


class Flow(Protocol):
    """Messages, in as many partitions as tasks made them. Nothing is computed before it is kept or collected."""

    def task(self, known: Any, task: Knowing) -> Task:
        """Return the task with what it knows, which is sent to each worker once."""

    def run(self, task: Task) -> Self:
        """Run the task on the messages of each partition where they are."""

    def delivered(self, n_tasks: int, task: Task, schema: str = SCHEMA) -> Self:
        """Deliver the messages to ``n_tasks`` tasks and run them; ``schema``: of the rows that they make."""

    def beside(self, other: Self) -> Self:
        """Return these messages and the others."""

    def kept(self) -> Self:
        """Compute the messages now, and keep them for several readers."""

    def collected(self) -> Iterator[Message]:
        """Compute the messages and bring them to the driver."""


class SparkFlow:
    """The flow of a DataFrame of messages."""

    def __init__(self, frame: DataFrame) -> None:
        self.frame = frame

    @classmethod
    def of(cls, spark: SparkSession, messages: Iterable[Message]) -> SparkFlow:
        """Return the flow of the driver's own messages."""
        return cls(spark.createDataFrame(pa.Table.from_batches([as_batch(message) for message in messages])))

    def task(self, known: Any, task: Knowing) -> Task:
        return partial(_with_known, self.frame.sparkSession.sparkContext.broadcast(known), task)

    def run(self, task: Task, schema: str = SCHEMA) -> SparkFlow:
        return SparkFlow(self.frame.mapInArrow(of_one_version(partial(_in_arrow, task)), schema))

    def delivered(self, n_tasks: int, task: Task, schema: str = SCHEMA) -> SparkFlow:
        from pyspark.sql import functions as f

        placed = self.frame.repartitionById(n_tasks, f.col("part")).sortWithinPartitions("turn")
        return SparkFlow(placed).run(task, schema)

    def ended(self, n_tasks: int, task: Task, by_text: bool, last: Last | None) -> DataFrame:
        """Deliver the messages to tasks that make rows of the table."""
        if last is None:
            return self.delivered(n_tasks, task, rows_schema(by_text)).frame
        return self.delivered(n_tasks, partial(_then, task, last.work), last.schema).frame

    def beside(self, other: SparkFlow) -> SparkFlow:
        return SparkFlow(self.frame.unionAll(other.frame))

    def kept(self) -> SparkFlow:
        from pyspark import StorageLevel

        few = "spark.sql.inMemoryColumnarStorage.batchSize"  # as large messages are, their batches are held in memory
        conf = self.frame.sparkSession.conf
        before = conf.get(few) or "10000"
        conf.set(few, "1")
        try:
            frame = self.frame.persist(StorageLevel.DISK_ONLY)
            frame.count()
        finally:
            conf.set(few, before)
        return SparkFlow(frame)

    def collected(self) -> Iterator[Message]:
        return read_messages(iter(self.frame.toArrow().to_batches()))


def _with_known(known: Any, task: Knowing, messages: Iterator[Message]) -> Iterable[Any]:
    return task(known.value, messages)


def _then(task: Task, work: Callable[[Iterator[Any]], Iterable[Any]], messages: Iterator[Message]) -> Iterable[Any]:
    return work(iter(task(messages)))


def _in_arrow(task: Task, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for made in task(read_messages(batches)):
        yield as_batch(made) if isinstance(made, Message) else made


def read_messages(batches: Iterator[pa.RecordBatch]) -> Iterator[Message]:
    """Yield the messages in Arrow batches, one by one."""
    for batch in batches:
        parts, turns, bodies = batch.columns
        for at in range(len(batch)):
            body = pickle.loads(bodies[at].as_buffer())  # made by a task of this run
            yield Message(parts[at].as_py(), turns[at].as_py(), body)


def as_batch(message: Message) -> pa.RecordBatch:
    """Return one message as an Arrow batch."""
    body = pickle.dumps(message.body, protocol=5)
    arrays = [pa.array([message.part], pa.int32()), pa.array([message.turn], pa.int64()), pa.array([body], pa.binary())]
    return pa.record_batch(arrays, names=["part", "turn", "body"])
