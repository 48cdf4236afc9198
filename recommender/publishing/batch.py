"""Recommendations for many users, in blocks of bounded memory, as a new version of the ``recommendations`` table.

While the rows of one block are written to the database, the next block is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.database import Stage, staged
from recommender.database.schema import BATCH_TABLES, lists_by_text, recommendations
from recommender.errors import SettingError
from recommender.fallback import SOURCES, ColdStart, FilledLists, PopularProducts
from recommender.model import ModelSettings, ServedModel
from recommender.neighbors import CosineIndex
from recommender.publishing.publication import Judge, publish_lists, refuse_foreign_lists
from recommender.publishing.versions import LEFT_OUT, PEOPLE, Version, next_number, read_versions
from recommender.ranking import BY_TASTE, ClassicRanking, ProfileRanking, RankedProducts, Ranking, TasteSimilarity
from recommender.shop import LONGEST_KNOWN_ID, LONGEST_USER_ID, Products, RatingMatrix, Snapshot, UserIds

BLOCK_USERS = 4_096
BLOCK_CELLS = 4_000_000  # users times ranks of one block: 100 MB
POPULAR = SOURCES.index("popular")

TopUp = Callable[[NDArray[np.int64], RankedProducts], FilledLists]
WriteLists = Callable[[Stage, "BatchLists"], Mapping[str, Any]]  # writes all; returns metrics


@dataclass(frozen=True, eq=False)
class BatchJob:
    """The users of a batch (rows of the matrix), the number of products for each, and the ranking."""

    rows: NDArray[np.int64]
    n: int
    ranking: Ranking
    new_product_percent: int = 0  # of the lists by taste
    people: str | None = None  # RatingMatrix.people

    def settings(self) -> dict[str, Any]:
        """Return what the lists depend on besides the data; it is noted with the version."""
        chance = {"new_product_percent": self.new_product_percent} if self.ranking.profiles else {}
        people = {PEOPLE: self.people} if self.people else {}  # versions of older releases have no token
        return {"users": len(self.rows), "n": self.n} | self.ranking.settings | chance | people

    def fingerprint(self, shop: Snapshot) -> str:
        """Return the fingerprint of the data that the lists are made of (`Snapshot.fingerprint`), without settings."""
        return shop.fingerprint(self.ranking.fingerprint(), by_taste=self.ranking.profiles is not None)


def job_for(
    matrix: RatingMatrix, similarity: CosineIndex, users: int | None, n: int, answers: ModelSettings
) -> BatchJob:
    """Return a job of ``n`` products for each of the ``users`` smallest user_ids of ``matrix`` (None: all).

    ``answers`` names the ranking. SettingError if ``similarity`` does not belong to it.
    """
    rows = np.arange(matrix.shape[0] if users is None else min(users, matrix.shape[0]))
    if answers.ranking not in BY_TASTE:
        return BatchJob(rows, n, ClassicRanking(matrix, similarity, answers.n_neighbors), people=matrix.people)
    if not isinstance(similarity, TasteSimilarity):
        needed = f'load_model(engine, ranking="{answers.ranking}")'
        raise SettingError(f"the {answers.ranking} ranking needs what {needed} returned")
    ranking = ProfileRanking(matrix, similarity, answers.ranking)
    return BatchJob(rows, n, ranking, answers.new_product_percent, matrix.people)


@dataclass(frozen=True, eq=False)
class BatchLists:
    """The lists of a job, not yet computed: all that the rows of the table are made of."""

    matrix: RatingMatrix
    job: BatchJob
    products: Products
    filling: ColdStart | PopularProducts
    version: int  # decides who gets a new product
    generated_at: datetime

    @classmethod
    def of(cls, model: ServedModel, job: BatchJob, version: int) -> Self:
        """Return the lists of a job for ``model``, whose time is theirs."""
        filling = model.cold_start if job.ranking.profiles else None
        return cls(model.matrix, job, model.products, filling or model.popular, version, model.built_at)

    def batches(self, rows: NDArray[np.int64] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the table for these rows of the matrix; None: all rows of the job."""
        job = self.job if rows is None else replace(self.job, rows=rows)
        if isinstance(self.filling, ColdStart):
            top_up = from_cold_start(self.filling, job.new_product_percent, self.version)
        else:
            top_up = from_popular(self.matrix, self.filling)
        return recommendation_batches(self.matrix, job, self.products, top_up=top_up, generated_at=self.generated_at)


def write_batch(
    engine: Engine,
    model: ServedModel,
    job: BatchJob,
    *,
    fingerprint: str,
    keep_versions: int,
    publish: bool = True,
    judge: Judge | None = None,
    metrics: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
    write: WriteLists | None = None,
) -> Version:
    """Compute the lists of ``job`` and publish them as a new version; readers see all old lists or all new ones.

    The version's time is that of ``model``. ``fingerprint``: `BatchJob.fingerprint` of the data that the model was made
    of. ``publish`` False: the version is only kept, for a roll-back to it. ``judge`` decides by
    the number of rows, and may add to the version's metrics. ``progress`` is called with the number of
    rows of each block. ``metrics`` are noted with the version. ``write`` computes and writes the lists; None: this
    process does. Raises ForeignDataError if a table was not written by
    this project, and DatabaseError.
    """
    refuse_foreign_lists(engine)
    matrix, lists = model.matrix, BatchLists.of(model, job, next_number(read_versions(engine)))
    by_text = {recommendations: lists_by_text(_longest(matrix.ids))} if matrix.ids.is_text else None
    with staged(engine, BATCH_TABLES, in_turns=True, made_as=by_text) as stage:
        if write is None:
            stage.load(recommendations, _reporting(lists.batches(), progress))
        else:
            metrics = {**(metrics or {}), **write(stage, lists)}
        left_out = {**matrix.left_out, **model.products.catalog.left_out}
        if left_out:  # noted among the metrics: with a new column the tables of older releases would count as foreign
            metrics = {**(metrics or {}), LEFT_OUT: left_out}
        version = Version(0, model.built_at, fingerprint, matrix.n_ratings, job.settings(), metrics=metrics)
        cursor, ids = matrix.cursor, matrix.ids
        return publish_lists(stage, version, keep=keep_versions, since=cursor, ids=ids, publish=publish, judge=judge)


def _longest(ids: UserIds) -> int:
    """Return the number of characters that the column of texts needs."""
    long = [text for text in ids.arrays()[0].tolist() if len(text) > LONGEST_USER_ID]
    return LONGEST_KNOWN_ID if any(len(text.decode()) > LONGEST_USER_ID for text in long) else LONGEST_USER_ID


def _reporting(batches: Iterable[pa.RecordBatch], progress: Callable[[int], object] | None) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        if progress:
            progress(batch.num_rows)


def recommendation_batches(
    matrix: RatingMatrix,
    job: BatchJob,
    products: Products,
    *,
    top_up: TopUp,
    generated_at: datetime,
) -> Iterator[pa.RecordBatch]:
    """Yield the ranked products of the job's users, up to n a user, a few thousand users at a time.

    ``top_up`` fills the lists that have too few products from neighbors.
    """
    n = min(job.n, max(matrix.shape[1], 1))
    users_per_block = max(1, min(BLOCK_USERS, BLOCK_CELLS // n))
    for start in range(0, len(job.rows), users_per_block):
        block = job.rows[start : start + users_per_block]
        ranked = job.ranking.rank_products(block, n)
        yield as_rows(
            matrix.ids.all_of(matrix.user_ids[block]),
            ranked,
            top_up(block, ranked),
            products,
            generated_at,
            job.ranking.source,
        )


def from_popular(matrix: RatingMatrix, popular: PopularProducts) -> TopUp:
    """Return a function that fills lists with popular products."""

    def top_up(rows: NDArray[np.int64], ranked: RankedProducts) -> FilledLists:
        columns, stars = popular.top_up(matrix.steps, rows, ranked.columns, ranked.predicted)
        return FilledLists(columns, stars, np.where(ranked.columns >= 0, 0, POPULAR).astype(np.int8))

    return top_up


def from_cold_start(ladder: ColdStart, new_product_percent: int, version: int) -> TopUp:
    """Return a function that fills lists of a version by the cold start; so many percent get a new product."""
    share = new_product_percent / 100
    return lambda rows, ranked: ladder.top_up(rows, ranked.columns, ranked.predicted, version=version, new_share=share)


def as_rows(
    user_ids: NDArray[Any],
    ranked: RankedProducts,
    lists: FilledLists,
    products: Products,
    generated_at: datetime,
    source: str,
) -> pa.RecordBatch:
    """Return the rows of ``recommendations`` for lists (m, n) of users (m,).

    ``user_ids``: as the shop spells them. ``lists``: what ``ranked`` became when it was filled up. ``source``: of the
    ranking's own products.
    """
    user, rank = np.nonzero(lists.columns >= 0)  # of (n_users, n)
    columns, sources = lists.columns[user, rank], lists.sources[user, rank]
    evident = sources == 0
    generated = np.full(len(user), np.datetime64(generated_at.replace(tzinfo=None), "us"))
    return pa.record_batch(
        {
            "user_id": _as_column(user_ids).take(pa.array(user)),
            "rank": pa.array(rank.astype(np.int32) + 1),
            "product_id": products.ids(columns),
            "product_name": products.titles(columns),
            "predicted_rating": pa.array(lists.stars[user, rank], from_pandas=True),  # NaN is NULL
            "source": pa.array((source, *SOURCES[1:])).take(pa.array(sources)),
            "support": pa.array(ranked.support[user, rank], mask=~evident),
            "n_neighbors": pa.array(ranked.n_raters[user, rank], mask=~evident),
            "generated_at": pa.array(generated),
        }
    )


def _as_column(user_ids: NDArray[Any]) -> pa.Array:
    """Return the shop's ids as whole numbers or texts."""
    return (
        pa.array(user_ids) if user_ids.dtype == np.int64 else pa.array(user_ids.tolist(), pa.binary()).cast(pa.string())
    )
