"""The self-check: the trained model against scikit-learn's ``cosine_similarity``, on a sample of users."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from recommender.errors import SelfCheckError
from recommender.neighbors import CosineIndex
from recommender.shop import RatingMatrix

SELF_CHECK_USERS = 100
SELF_CHECK_TOLERANCE = 1e-9
BLOCK_USERS = 20  # users whose cosines with all users are held at once, sparse


def self_check(matrix: RatingMatrix, similarity_matrix: CosineIndex) -> tuple[int, float]:
    """Compare the cosines of sampled users and all users with scikit-learn's ``cosine_similarity`` on sparse ratings.

    Returns the number of users compared and the largest difference. SelfCheckError if that is above 1e-9. Memory: some
    copies of the ratings and one user's cosines, never users x users.
    """
    from sklearn.metrics.pairwise import cosine_similarity  # takes a second to import, and only the script needs it

    n_users = matrix.shape[0]
    rows = np.sort(np.random.default_rng(0).choice(n_users, min(SELF_CHECK_USERS, n_users), replace=False))
    ratings = matrix.steps.astype(np.float64)
    difference = 0.0
    for start in range(0, len(rows), BLOCK_USERS):
        block = rows[start : start + BLOCK_USERS]
        reference = sp.csr_array(cosine_similarity(ratings[block], ratings, dense_output=False))
        for place, row in enumerate(block.tolist()):
            theirs = reference[[place]].toarray()[0]  # (n_users,)
            # not max(), which would lose NaN
            difference = float(np.maximum(difference, np.abs(similarity_matrix.similarities(row) - theirs).max()))
    if not difference <= SELF_CHECK_TOLERANCE:
        raise SelfCheckError(f"cosines differ from scikit-learn's by {difference:g}: do not use this model, report it")
    return len(rows), difference
