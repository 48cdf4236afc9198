"""The trained model against scikit-learn's dense ``cosine_similarity``, on a sample of users."""

from __future__ import annotations

import numpy as np

from recommender.errors import SelfCheckError
from recommender.neighbors import CosineIndex
from recommender.rating_matrix import RatingMatrix

SELF_CHECK_USERS = 100
SELF_CHECK_TOLERANCE = 1e-9


def self_check(matrix: RatingMatrix, similarity_matrix: CosineIndex) -> tuple[int, float]:
    """Compare sampled users' cosines with scikit-learn's dense ``cosine_similarity``.

    Returns the number of users compared and the largest difference; SelfCheckError if it is above 1e-9.
    """
    from sklearn.metrics.pairwise import cosine_similarity  # a second to import, and only the script needs it

    n_users = matrix.shape[0]
    rows = np.sort(np.random.default_rng(0).choice(n_users, min(SELF_CHECK_USERS, n_users), replace=False))
    reference = cosine_similarity(matrix.half_stars[rows].astype(np.float64), matrix.half_stars.astype(np.float64))
    ours = np.stack([similarity_matrix.similarities(int(row)) for row in rows])  # (len(rows), n_users)
    difference = float(np.abs(ours - reference).max())
    if not difference <= SELF_CHECK_TOLERANCE:
        raise SelfCheckError(f"cosines differ from scikit-learn's by {difference:g}: do not use this model, report it")
    return len(rows), difference
