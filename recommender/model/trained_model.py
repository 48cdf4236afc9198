"""From the tables to a trained model: the ratings as a matrix, and the similarities that a ranking needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.database.bulk_read import fixed_bytes, read_interactions, read_ratings, read_table
from recommender.database.identities import require_people, token_of
from recommender.database.schema import interactions, products, ratings
from recommender.database.tables import existing_tables, require_rows
from recommender.evaluation.tuning import tune
from recommender.fallback.cold_start import ColdStart, build_cold_start
from recommender.fallback.new_products import find_new_products
from recommender.ranking.rankings import TasteSimilarity
from recommender.ranking.taste import TasteParameters
from recommender.shop.catalog import ProductCatalog
from recommender.shop.profiles import Interactions, Profiles, build_profiles, widened
from recommender.shop.ratings import RatingMatrix, build_rating_matrix
from recommender.shop.segments import Segments
from recommender.updates.change_feed import read_cursor


def read_rating_matrix(engine: Engine, *, times: bool = False) -> RatingMatrix:
    """All usable ratings as users x products. StepOrderError if there are none, RatingError if too many are not."""
    require_rows(engine, products, "run python to_rds.py first")
    require_rows(engine, ratings, "run python load_recommendation_data.py first")
    people = token_of(engine)
    cursor = read_cursor(engine)
    columns = read_ratings(engine, times=times)
    product_ids = fixed_bytes(columns.products)
    assert product_ids is not None  # usable
    matrix = build_rating_matrix(
        columns.user_ids,
        product_ids,
        columns.product_codes,
        columns.half_stars,
        in_catalog=in_catalog(engine, columns.products),
        rated_at=columns.rated_at,
        left_out=columns.left_out,
    )
    return replace(matrix, people=require_people(engine, people), cursor=cursor)


def in_catalog(engine: Engine, product_ids: pa.StringArray) -> NDArray[np.bool_]:
    """Which of these products the catalog has, (n,)."""
    catalog = read_table(engine, [products.c.asin]).column(0)
    found = pc.is_in(product_ids, value_set=catalog.cast(product_ids.type))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def read_taste_data(engine: Engine) -> tuple[RatingMatrix, Interactions | None]:
    """Ratings with their times, and the log; the matrix has rows and columns for whatever only the log knows."""
    matrix = read_rating_matrix(engine, times=True)
    log = read_interactions(engine) if interactions.name in existing_tables(engine) else None
    if log is None or not len(log):
        return matrix, None  # a log without a usable row was refused
    require_people(engine, matrix.people)
    names = pa.array(log.product_ids.astype(str), pa.string())
    return widened(matrix, log, in_catalog(engine, names)), log


def read_taste_model(
    engine: Engine, weights: Sequence[float], *, parameters: TasteParameters | None = None, tuned: bool = False
) -> tuple[RatingMatrix, TasteSimilarity]:
    """The matrix and the similarities by taste; ``weights``: what each kind of interaction counts.

    ``parameters``: those of the auto ranking; ``tuned``: choose them on these ratings, which takes seconds.
    """
    matrix, log = read_taste_data(engine)
    counted = np.array(weights, np.float64)
    profiles = build_profiles(matrix, log, counted)
    if tuned:
        parameters = tune(matrix, log, counted).parameters
    similarity = TasteSimilarity.of(matrix, profiles, parameters=parameters)
    similarity.weights = tuple(weights)
    return matrix, similarity


def cold_start_of(
    matrix: RatingMatrix,
    profiles: Profiles,
    catalog: ProductCatalog,
    places: NDArray[np.int32],
    segments: Segments,
) -> ColdStart:
    """What lists by taste are topped up from: the users' segments, what is popular now, what is new in the catalog.

    ``places``: of the matrix's products in the catalog; ``segments``: of the matrix's users.
    """
    new = find_new_products(
        profiles.confidences,
        matrix.recommendable,
        places,
        stars=catalog.stars,
        category_ids=catalog.category_ids,
    )
    return build_cold_start(matrix, profiles, segments=segments.codes, n_segments=len(segments), new=new)
