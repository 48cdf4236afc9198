"""A rating matrix as a DataFrame, as in a notebook."""

from __future__ import annotations

import pandas as pd

from recommender.shop import RatingMatrix


def as_frame(matrix: RatingMatrix) -> pd.DataFrame:
    """The dense users x products DataFrame in stars, unrated = 0."""
    dense = matrix.steps.toarray() * matrix.scale.unit
    products = pd.Index(matrix.product_ids.astype(str))
    return pd.DataFrame(dense, index=pd.Index(matrix.user_ids, name="user_id"), columns=products)
