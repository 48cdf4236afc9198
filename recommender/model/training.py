"""From a trained model and the tables to what the service holds: known users, titles, prices, segments."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from sqlalchemy import Engine

from recommender.database.identities import require_people
from recommender.database.shop_reader import read_catalog, read_people
from recommender.fallback.new_products import all_places
from recommender.fallback.popular import rank_popular
from recommender.model.served_model import ServedModel
from recommender.model.trained_model import cold_start_of
from recommender.neighbors.cosine_index import CosineIndex
from recommender.neighbors.similar_products import SimilarProducts
from recommender.ranking.rankings import CLASSIC, TasteSimilarity
from recommender.shop.cursor import AT_THE_START, Cursor
from recommender.shop.ratings import RatingMatrix, distinct


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
    people = read_people(engine)
    known = distinct(matrix.user_ids[np.diff(matrix.half_stars.indptr) > 0], people.user_ids)
    places = catalog.places(matrix.product_ids)
    ladder, known_segments = None, np.empty(0, np.int32)
    segment_names: tuple[tuple[str, str], ...] = ()
    if isinstance(similarity, TasteSimilarity):
        everybody = distinct(known, matrix.user_ids)
        segments = people.segments(everybody)
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
        people=require_people(engine, matrix.people),
        left_out={**matrix.left_out, **catalog.left_out, **people.left_out},
    )
