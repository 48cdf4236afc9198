"""From the tables to a trained model: the ratings as a matrix, and the similarities that a ranking needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.database.shop_reader import read_taste_data
from recommender.evaluation.tuning import tune
from recommender.fallback.cold_start import ColdStart, build_cold_start
from recommender.fallback.new_products import find_new_products
from recommender.ranking.rankings import TasteSimilarity
from recommender.ranking.taste import TasteParameters
from recommender.shop.catalog import ProductCatalog
from recommender.shop.profiles import Profiles, build_profiles
from recommender.shop.ratings import RatingMatrix
from recommender.shop.segments import Segments


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
