"""Lists of made-up shops: by the local batch, and by the tasks of the batch on Spark with or without Spark."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.model import ModelSettings, serve, train
from recommender.neighbors import CosineIndex
from recommender.publishing import BatchLists, job_for
from recommender.ranking import BY_TASTE, TasteSimilarity
from recommender.shop import (
    HALF_STARS,
    NO_TIME,
    NUMBERS_AS_THEY_ARE,
    Interactions,
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
from recommender.spark.lists.user_rows import A_RATING, A_SEGMENT, Events, UserRows
from recommender.spark.lists.whole import make_some, shared_out

WHEN = datetime(2026, 1, 1)


class Log(NamedTuple):
    """Interactions, (n,) each."""

    user_ids: NDArray[np.int64]
    product_ids: NDArray[np.bytes_]
    kinds: NDArray[np.int8]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, events: Sequence[tuple[int, str, int, int]]) -> Log:
        """The interactions in rows."""
        users, products, kinds, times = zip(*events, strict=True) if events else ([],) * 4
        ids = np.array(products, np.bytes_) if events else np.empty(0, "S1")
        return cls(np.array(users, np.int64), ids, np.array(kinds, np.int8), np.array(times, np.int64))


@dataclass(frozen=True, eq=False)
class Shop:
    """The ratings of a shop, (n,) each, and its catalog. ``names``: user_id -> text, of a text shop.

    ``people``: user_id -> country and age group.
    """

    user_ids: NDArray[np.int64]
    product_ids: NDArray[np.bytes_]
    steps: NDArray[np.int8]
    catalog: ProductCatalog
    scale: Scale = HALF_STARS
    names: dict[int, str] | None = None
    rated_at: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    log: Log | None = None
    people: dict[int, tuple[str | None, str | None]] = field(default_factory=dict)

    @property
    def times(self) -> NDArray[np.int64]:
        return self.rated_at if len(self.rated_at) else np.full(len(self.user_ids), NO_TIME)

    def texts(self, user_ids: NDArray[np.int64]) -> NDArray[np.bytes_] | None:
        """The texts of these users."""
        if self.names is None:
            return None
        return np.array([self.names[user].encode() for user in user_ids.tolist()], np.bytes_)

    def everybody(self) -> People:
        ids = sorted(self.people)
        countries, ages = ([self.people[user][which] for user in ids] for which in (0, 1))
        texts = (pa.chunked_array([values], pa.string()) for values in (countries, ages))
        return People(np.array(ids, np.int64), *texts)

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
        log = None
        if self.log is not None and len(self.log.user_ids):
            used, which = np.unique(self.log.product_ids, return_inverse=True)
            log = Interactions(self.log.user_ids, which.astype(np.int32), used, self.log.kinds, self.log.times)
        return Snapshot(matrix, self.catalog, self.everybody(), log)

    def frames(self, spark: Any) -> Frames:
        """The shop as Spark reads it."""

        def frame(**columns: Any) -> Any:
            return spark.createDataFrame(pa.table(columns))

        def texts(ids: NDArray[np.bytes_]) -> pa.Array:
            return pa.array(ids.tolist(), pa.binary()).cast(pa.string())

        ratings = frame(
            user_id=self.user_ids, product_id=texts(self.product_ids), steps=self.steps, rated_at=self.times
        )
        log, names, everybody = None, None, self.everybody()
        if self.log is not None:
            user_ids, products, kinds, times = self.log
            log = frame(user_id=user_ids, product_id=texts(products), kind=kinds, time=times)
        if self.names is not None:
            names = frame(user_id=pa.array(list(self.names), pa.int64()), text=pa.array(list(self.names.values())))
        people = frame(user_id=everybody.user_ids, country=everybody.countries, age_group=everybody.age_groups)
        return Frames(ratings, log, people, names)

    def events(self, product_ids: NDArray[np.bytes_], weights: tuple[float, ...] | None) -> Events:
        """The shop as the tasks read it."""
        kinds = np.full(len(self.user_ids), A_RATING, np.int8)
        parts: list[tuple[NDArray[Any], ...]]
        parts = [(self.user_ids, np.searchsorted(product_ids, self.product_ids), kinds, self.steps, self.times)]
        if weights is not None and self.log is not None:
            users, products, of_log, times = self.log
            none = np.zeros(len(users), np.int8)
            parts.append((users, np.searchsorted(product_ids, products), of_log, none, times))
        if weights is not None:
            users = np.array([user for user in self.people if self.names is None or user in self.names], np.int64)
            codes, none = self.everybody().segments(users).codes, np.zeros(len(users), np.int8)
            known = codes >= 0
            kinds = np.full(len(users), A_SEGMENT, np.int8)
            parts.append((users[known], codes[known], kinds[known], none[known], none[known].astype(np.int64)))
        users, columns, kinds, steps, times = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Events(users, self.texts(users), columns.astype(np.int32), kinds, steps, times)


def catalog_of(product_ids: Iterable[str]) -> ProductCatalog:
    """A catalog of these products; every third has no title."""
    ids = product_id_bytes(pa.array(sorted(product_ids, key=str.encode), pa.string()))
    assert ids is not None
    numbers: NDArray[np.float64] = np.arange(len(ids), dtype=np.float64)
    titles = pa.array([f"title {n}" if n % 3 else None for n in range(len(ids))], pa.string())
    return ProductCatalog(ids, titles, numbers + 1.0, numbers % 5 + 1.0, (numbers % 4).astype(np.int32))


def job_of(answers: ModelSettings, n: int = 10, users: int | None = None, version: int = 1) -> ListsJob:
    return ListsJob(answers, users, n, version, WHEN)


def local_lists(shop: Shop, wanted: ListsJob) -> tuple[pa.Table, ListsJob]:
    """The rows that the local batch makes, and the job with what was trained for it."""
    lists, similarity = _made_of(shop, wanted)
    if isinstance(similarity, TasteSimilarity):
        wanted = replace(wanted, item_weights=similarity.item_weights)
    return pa.Table.from_batches(list(lists.batches())), wanted


def batch_lists(shop: Shop, wanted: ListsJob) -> BatchLists:
    """What the local batch makes its lists of."""
    return _made_of(shop, wanted)[0]


def _made_of(shop: Shop, wanted: ListsJob) -> tuple[BatchLists, CosineIndex]:
    trained = train(shop.snapshot(), wanted.answers, parameters=wanted.parameters)
    job = job_for(trained.shop.ratings, trained.similarity, wanted.users, wanted.n, trained.settings)
    return BatchLists.of(serve(trained, built_at=WHEN), job, wanted.version), trained.similarity


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
    weights = wanted.answers.weights if wanted.answers.ranking in BY_TASTE else None
    logged = [] if shop.log is None or weights is None else [shop.log.product_ids]
    product_ids = np.unique(np.concatenate([shop.product_ids, *logged]))
    events = shop.events(product_ids, weights)
    users = events.user_ids if events.names is None else events.names
    distinct = np.unique(users)
    bounds = np.unique(distinct[np.arange(1, sizes.n_parts) * len(distinct) // sizes.n_parts])
    parts, messages = np.searchsorted(bounds, users, side="right"), []
    for part in np.unique(parts).tolist():
        rows = UserRows.of(events.at(parts == part), len(product_ids), shop.scale, weights)
        places = range(0, len(rows), sizes.piece_rows)
        own = [rows.take(np.arange(start, min(start + sizes.piece_rows, len(rows)))) for start in places]
        messages.append([Message(part, place, piece) for place, piece in enumerate(own)])
    n_segments = len(shop.everybody().segments(np.empty(0, np.int64))) if weights is not None else 0
    products = Products.of(product_ids, shop.catalog)
    waiting, task = lists_of(InProcess(lambda: messages), products, shop.scale, wanted, sizes, n_segments)
    made = waiting.delivered(sizes.n_tasks, task).partitions()
    return pa.Table.from_batches([batch for part in made for batch in part])


def whole_in_process(shop: Shop, wanted: ListsJob, n_tasks: int) -> pa.Table:
    """The rows that tasks make which have the whole shop, without Spark."""
    lists = batch_lists(shop, wanted)
    copied_lists = pickle.loads(pickle.dumps(lists))
    return pa.Table.from_batches(
        [batch for runs in shared_out(lists, n_tasks) for batch in make_some(copied_lists, runs)]
    )


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
