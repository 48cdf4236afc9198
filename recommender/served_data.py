"""From a trained model and the tables to what the service holds: known users, titles, prices, segments."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.bulk_read import read_table
from recommender.changes import AT_THE_START, Cursor
from recommender.neighbors import CosineIndex
from recommender.new_products import all_places
from recommender.popular import rank_popular
from recommender.product_catalog import read_catalog
from recommender.rankings import CLASSIC, TasteSimilarity
from recommender.rating_matrix import RatingMatrix
from recommender.schema import users
from recommender.serving import ServedModel
from recommender.similar_products import SimilarProducts
from recommender.trained_model import cold_start_of
from recommender.usable_rows import LeftOut
from recommender.user_segments import read_segments


def build_served_model(
    engine: Engine,
    matrix: RatingMatrix,
    similarity: CosineIndex,
    *,
    n_neighbors: int,
    built_at: datetime,
    ranking: str = CLASSIC,
    version: int | None = None,
    new_product_percent: int = 0,
    weights: tuple[float, ...] = (),
    cursor: Cursor = AT_THE_START,
) -> ServedModel:
    """Add to the trained model what answers need from the tables: known users, titles, prices, segments.

    ``weights``: what interactions counted in it; ``cursor``: read before anything else was.
    """
    catalog = read_catalog(engine)
    listed, unlisted = read_listed_users(engine)
    known = np.union1d(matrix.user_ids[np.diff(matrix.half_stars.indptr) > 0], listed)
    places = catalog.places(matrix.product_ids)
    ladder, known_segments = None, np.empty(0, np.int32)
    segment_names: tuple[tuple[str, str], ...] = ()
    if isinstance(similarity, TasteSimilarity):
        everybody = np.union1d(known, matrix.user_ids)
        segments = read_segments(engine, everybody)
        segment_names = segments.names
        known_segments = segments.at(np.searchsorted(everybody, known)).codes
        mine = segments.at(np.searchsorted(everybody, matrix.user_ids))
        ladder = cold_start_of(matrix, similarity.profiles, catalog, places, mine)
    return ServedModel(
        matrix=matrix,
        similarity=similarity,
        similar_products=SimilarProducts(matrix),
        popular=rank_popular(matrix),
        catalog=catalog,
        places=all_places(places, len(catalog)),
        known_users=known,
        known_segments=known_segments,
        ladder=ladder,
        built_at=built_at,
        n_neighbors=n_neighbors,
        ranking=ranking,
        version=version,
        new_product_percent=new_product_percent,
        weights=weights,
        segment_names=segment_names,
        cursor=cursor,
        left_out={**matrix.left_out, **catalog.left_out, **unlisted},
    )


def read_listed_users(engine: Engine) -> tuple[NDArray[np.int64], LeftOut]:
    """The ids in ``users`` that are usable, in no particular order, and how many are not. DatabaseError."""
    column = read_table(engine, [users.c.user_id]).column(0)
    listed: NDArray[np.int64] = column.drop_null().to_numpy()
    good = listed[listed >= 1]
    return good, {f"{users.name}.user_id": len(column) - len(good)} if len(good) < len(column) else {}
