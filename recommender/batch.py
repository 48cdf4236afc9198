"""Recommendations for many users, in blocks of bounded memory, as a new version of the ``recommendations`` table.

While one block's rows are on their way into the database, the next block's are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.bulk_load import staged
from recommender.database import refuse_foreign_tables
from recommender.popular import rank_popular
from recommender.product_catalog import read_catalog
from recommender.rankings import Ranking
from recommender.rating_matrix import RatingMatrix
from recommender.schema import BATCH_TABLES, recommendations
from recommender.scoring import RankedProducts
from recommender.versions import Version, publish_lists

BLOCK_USERS = 4_096
BLOCK_CELLS = 4_000_000  # ranks of one block: 100 MB
SOURCES = ("neighbors", "popular")


@dataclass(frozen=True, eq=False)
class BatchJob:
    """Whom to recommend how many products, and by which ranking."""

    rows: NDArray[np.int64]
    n: int
    ranking: Ranking

    def settings(self) -> dict[str, Any]:
        """What the lists depend on besides the data; noted with the version."""
        return {"users": len(self.rows), "n": self.n} | self.ranking.settings


def write_batch(
    engine: Engine,
    matrix: RatingMatrix,
    job: BatchJob,
    *,
    keep_versions: int,
    publish: bool = True,
    metrics: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Version:
    """Compute the lists of ``job`` and publish them as a new version; readers see all old lists or all new ones.

    ``publish`` False: the version is only kept, for a roll-back to it. ``progress`` is called with the number of rows
    of each block, ``metrics`` are noted with the version. Raises ForeignDataError if a table is not ours,
    DatabaseError.
    """
    refuse_foreign_tables(engine, BATCH_TABLES)
    made_at = datetime.now(UTC)
    catalog = read_catalog(engine)
    titles = catalog.titles_of(catalog.places(matrix.product_ids))
    batches = recommendation_batches(matrix, job, titles=titles, generated_at=made_at)
    with staged(engine, BATCH_TABLES) as stage:
        written = stage.load(recommendations, _reporting(batches, progress)).kept
        version = Version(0, made_at, job.ranking.fingerprint(), matrix.n_ratings, job.settings(), written, metrics)
        return publish_lists(stage, version, keep=keep_versions, publish=publish)


def _reporting(batches: Iterable[pa.RecordBatch], progress: Callable[[int], object] | None) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        if progress:
            progress(batch.num_rows)


def recommendation_batches(
    matrix: RatingMatrix, job: BatchJob, *, titles: pa.StringArray, generated_at: datetime
) -> Iterator[pa.RecordBatch]:
    """Yield the ranked products of the job's rows, n a user where there are as many, a few thousand users at a time.

    A list that the neighbors leave short is topped up with popular products. ``titles`` (n_products,).
    """
    popular = rank_popular(matrix)
    n = min(job.n, max(matrix.shape[1], 1))
    users_per_block = max(1, min(BLOCK_USERS, BLOCK_CELLS // n))
    catalog = pa.array(matrix.product_ids.astype(str), pa.string()), titles
    for start in range(0, len(job.rows), users_per_block):
        block = job.rows[start : start + users_per_block]
        ranked = job.ranking.rank_products(block, n)
        columns, predicted = popular.top_up(job.ranking.seen, block, ranked.columns, ranked.predicted)
        lists = ranked._replace(columns=columns, predicted=predicted)
        yield _as_rows(matrix.user_ids[block], lists, ranked.columns >= 0, catalog, generated_at)


def _as_rows(
    user_ids: NDArray[np.int64],
    lists: RankedProducts,
    from_neighbors: NDArray[np.bool_],
    catalog: tuple[pa.StringArray, pa.StringArray],
    generated_at: datetime,
) -> pa.RecordBatch:
    columns = lists.columns  # (n_users, n)
    user, place = np.nonzero(columns >= 0)
    evident = from_neighbors[user, place]
    product_ids, titles = catalog
    places = pa.array(columns[user, place])
    generated = np.full(len(user), np.datetime64(generated_at.replace(tzinfo=None), "us"))
    return pa.record_batch(
        {
            "user_id": pa.array(user_ids[user]),
            "rank": pa.array(place.astype(np.int32) + 1),
            "product_id": product_ids.take(places),
            "product_name": titles.take(places),
            "predicted_rating": pa.array(lists.predicted[user, place]),
            "source": pa.array(SOURCES).take(pa.array((~evident).astype(np.int8))),
            "support": pa.array(lists.support[user, place], mask=~evident),
            "n_neighbors": pa.array(lists.n_raters[user, place], mask=~evident),
            "generated_at": pa.array(generated),
        }
    )
