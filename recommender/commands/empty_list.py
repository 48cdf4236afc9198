"""The reason why a user gets no product from a ranking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.model import Trained
from recommender.ranking import BY_TASTE, TasteSimilarity
from recommender.shop import UserId


def why_empty(trained: Trained, user_id: UserId) -> str:
    """Return why the ranking of ``trained`` finds no product for a user. UnknownUserError.

    The user has rated a product; by taste also one with an interaction counts.
    """
    matrix, similarity = trained.shop.ratings, trained.similarity
    owned = matrix.steps
    if trained.settings.ranking in BY_TASTE and isinstance(similarity, TasteSimilarity):
        owned = similarity.profiles.confidences
    row = matrix.row_of(user_id)
    owner = np.repeat(np.arange(owned.shape[0]), np.diff(owned.indptr))  # (nnz,)
    has = np.zeros(owned.shape[1], np.bool_)
    has[owned.indices[owner == row]] = True
    sharing = np.zeros(owned.shape[0], np.bool_)
    sharing[owner[has[owned.indices]]] = True
    sharing[row] = False
    theirs = np.zeros(owned.shape[1], np.bool_)
    theirs[owned.indices[sharing[owner]]] = True
    return _in_words(int(sharing.sum()), theirs & ~has, matrix.recommendable)


def _in_words(n_sharing: int, others: NDArray[np.bool_], recommendable: NDArray[np.bool_]) -> str:
    """``n_sharing``: users who share a product; ``others`` (n_products,): what they have beyond the user's own."""
    if not n_sharing:
        return "no other user shares a product with this one"
    who = (
        f"{n_sharing:,} other users share a product with this one"
        if n_sharing > 1
        else ("one other user shares a product with this one")
    )
    if not others.any():
        return f"{who}, and have no other product"
    if not (others & recommendable).any():
        return f"{who}, and none of their other products is in the catalog"
    return f"{who}, and the ranking finds none of their other products for this one"
