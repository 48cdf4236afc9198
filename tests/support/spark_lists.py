"""Lists of made-up shops: by the local batch, and by the tasks of the batch on Spark with or without Spark."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.fallback import rank_popular
from recommender.model import ModelSettings, train
from recommender.publishing import from_popular, job_for, recommendation_batches
from recommender.shop import (
    HALF_STARS,
    NO_TIME,
    NUMBERS_AS_THEY_ARE,
    People,
    ProductCatalog,
    Products,
    Scale,
    Snapshot,
    TextIds,
    build_rating_matrix,
    product_id_bytes,
)
from recommender.spark import Frames, ListsJob, Sizes, lists_of
from recommender.spark.lists.exchange import SCHEMA, Knowing, Message, Task
from recommender.spark.lists.pieces import Codes
from recommender.spark.lists.user_rows import A_RATING, Events, UserRows

WHEN = datetime(2026, 1, 1)
NOBODY = People(np.empty(0, np.int64), pa.chunked_array([], pa.string()), pa.chunked_array([], pa.string()))


@dataclass(frozen=True, eq=False)
class Shop:
    """The ratings of a shop, (n,) each, and its catalog. ``names``: user_id -> text, of a text shop."""

    user_ids: NDArray[np.int64]
    product_ids: NDArray[np.bytes_]
    steps: NDArray[np.int8]
    catalog: ProductCatalog
    scale: Scale = HALF_STARS
    names: dict[int, str] | None = None
    rated_at: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def times(self) -> NDArray[np.int64]:
        return self.rated_at if len(self.rated_at) else np.full(len(self.user_ids), NO_TIME)

    def texts(self) -> NDArray[np.bytes_] | None:
        """The text of each rating's user."""
        if self.names is None:
            return None
        return np.array([self.names[user].encode() for user in self.user_ids.tolist()], np.bytes_)

    def snapshot(self) -> Snapshot:
        """The shop as the local batch reads it."""
        products, codes = np.unique(self.product_ids, return_inverse=True)
        ids: Any = NUMBERS_AS_THEY_ARE
        if self.names is not None:
            ids = TextIds.made(
                np.array([n.encode() for n in self.names.values()]), np.array(list(self.names), np.int64)
            )
        matrix = build_rating_matrix(
            self.user_ids, products, codes, self.steps, in_catalog=self.catalog.rows_of(products) >= 0,
            rated_at=self.times, scale=self.scale, ids=ids,
        )  # fmt: skip
        return Snapshot(matrix, self.catalog, NOBODY)

    def frames(self, spark: Any) -> Frames:
        """The shop as Spark reads it."""
        texts = pa.array(self.product_ids.tolist(), pa.binary()).cast(pa.string())
        columns = {"user_id": self.user_ids, "product_id": texts, "steps": self.steps, "rated_at": self.times}
        names = None
        if self.names is not None:
            table = {"user_id": pa.array(list(self.names), pa.int64()), "text": pa.array(list(self.names.values()))}
            names = spark.createDataFrame(pa.table(table))
        return Frames(spark.createDataFrame(pa.table(columns)), names=names)


def catalog_of(product_ids: Iterable[str]) -> ProductCatalog:
    """A catalog of these products; every third has no title."""
    ids = product_id_bytes(pa.array(sorted(product_ids, key=str.encode), pa.string()))
    assert ids is not None
    numbers: NDArray[np.float64] = np.arange(len(ids), dtype=np.float64)
    titles = pa.array([f"title {n}" if n % 3 else None for n in range(len(ids))], pa.string())
    return ProductCatalog(ids, titles, numbers + 1.0, numbers % 5 + 1.0, (numbers % 4).astype(np.int32))


def job_of(answers: ModelSettings, n: int = 10, users: int | None = None, version: int = 1) -> ListsJob:
    return ListsJob(answers, users, n, version, WHEN)


def local_lists(shop: Shop, wanted: ListsJob) -> pa.Table:
    """The rows that the local batch makes."""
    trained = train(shop.snapshot(), wanted.answers)
    matrix = trained.shop.ratings
    job = job_for(matrix, trained.similarity, wanted.users, wanted.n, trained.settings)
    products, top_up = Products.of(matrix.product_ids, shop.catalog), from_popular(matrix, rank_popular(matrix))
    batches = recommendation_batches(matrix, job, products, top_up=top_up, generated_at=WHEN)
    return pa.Table.from_batches(list(batches))


@dataclass(frozen=True, eq=False)
class InProcess:
    """A flow without Spark: messages are pickled, and tasks are run when somebody asks for what they make."""

    partitions: Callable[[], list[list[Any]]]

    def task(self, known: Any, task: Knowing) -> Task:
        return partial(task, pickle.loads(pickle.dumps(known)))

    def run(self, task: Task) -> InProcess:
        return InProcess(lambda: [list(task(iter(copied(part)))) for part in self.partitions()])

    def delivered(self, n_tasks: int, task: Task, schema: str = SCHEMA) -> InProcess:
        del schema

        def placed() -> list[list[Any]]:
            boxes: list[list[Any]] = [[] for _ in range(n_tasks)]
            for part in self.partitions():
                for message in part:
                    boxes[message.part].append(message)
            return [sorted(box, key=lambda message: message.turn) for box in boxes]

        return InProcess(placed).run(task)

    def beside(self, other: InProcess) -> InProcess:
        return InProcess(lambda: [*self.partitions(), *other.partitions()])

    def kept(self) -> InProcess:
        made = self.partitions()
        return InProcess(lambda: made)

    def collected(self) -> Iterator[Message]:
        return iter([message for part in self.partitions() for message in part])


def copied(messages: list[Message]) -> list[Message]:
    return [pickle.loads(pickle.dumps(message, protocol=5)) for message in messages]


def lists_in_process(shop: Shop, wanted: ListsJob, sizes: Sizes) -> pa.Table:
    """The rows that the tasks of the batch on Spark make, without Spark."""
    product_ids, columns = np.unique(shop.product_ids, return_inverse=True)
    texts = shop.texts()
    users = shop.user_ids if texts is None else texts
    distinct = np.unique(users)
    bounds = distinct[np.arange(1, sizes.n_parts) * len(distinct) // sizes.n_parts]
    codes, kinds = Codes(product_ids, np.unique(bounds), shop.scale, None), np.full(len(users), A_RATING, np.int8)
    parts, messages = np.searchsorted(codes.bounds, users, side="right"), []
    for part in np.unique(parts).tolist():
        at = parts == part
        named = None if texts is None else texts[at]
        events = Events(
            shop.user_ids[at], named, columns[at].astype(np.int32), kinds[at], shop.steps[at], shop.times[at]
        )
        rows = UserRows.of(events, len(product_ids), shop.scale, codes.weights)
        places = range(0, len(rows), sizes.piece_rows)
        own = [rows.take(np.arange(start, min(start + sizes.piece_rows, len(rows)))) for start in places]
        messages.append([Message(part, place, piece) for place, piece in enumerate(own)])
    products = Products.of(product_ids, shop.catalog)
    made = lists_of(InProcess(lambda: messages), products, shop.scale, wanted, sizes, "").partitions()
    return pa.Table.from_batches([batch for part in made for batch in part])


def in_order(table: pa.Table, like: pa.Table) -> pa.Table:
    """The rows by user and rank, in one chunk, with the types of another table."""
    keys = [("user_id", "ascending"), ("rank", "ascending")]
    return table.cast(like.schema).sort_by(keys).combine_chunks()


def assert_same(made: pa.Table, local: pa.Table) -> None:
    """Hold the rows against those of the local batch: every byte of them."""
    mine, theirs = in_order(made, local), in_order(local, local)
    assert mine.num_rows == theirs.num_rows
    for name in theirs.column_names:
        different = [
            at
            for at, pair in enumerate(zip(mine[name].to_pylist(), theirs[name].to_pylist(), strict=True))
            if pair[0] != pair[1]
        ]
        assert not different, (name, mine.slice(different[0], 1).to_pylist(), theirs.slice(different[0], 1).to_pylist())
    assert mine.equals(theirs)
