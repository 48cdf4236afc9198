"""What a large shop learns from a sample of its users: the same here as where only the sample is held."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from recommender.model.training import learned, train_taste
from recommender.ranking import ITEMS
from recommender.shop import RatingMatrix, build_profiles, cut_of, hash_bins, in_sample, sample
from tests.evaluation.test_tuning import pairs


def part_of(matrix: RatingMatrix, rows: NDArray[np.intp]) -> RatingMatrix:
    entries = np.concatenate([np.arange(*matrix.steps.indptr[row : row + 2]) for row in rows.tolist()])
    assert matrix.rated_at is not None
    given = matrix.product_ids, matrix.recommendable, matrix.rated_at[entries]
    return RatingMatrix(matrix.steps[rows], matrix.user_ids[rows], *given)


def test_parameters_and_weights_are_those_of_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, most = pairs(200), 40 * 120
    monkeypatch.setattr(sample, "MOST", most)
    found = train_taste(matrix, None, (), tuned=True, items=True)
    parts = [part_of(matrix, rows) for rows in np.split(np.arange(200), 8)]
    bins = sum(hash_bins(part.user_ids, np.diff(part.steps.indptr)) for part in parts)
    cut = cut_of(np.asarray(bins), most)
    rows = np.flatnonzero(in_sample(matrix.user_ids, cut))
    assert 110 < len(rows) <= 120
    parameters, weights = learned(part_of(matrix, rows), None, (), tuned=True, items=True)
    assert found.parameters == parameters
    assert found.item_weights is not None
    assert weights is not None
    for ours, theirs in zip(found.item_weights.arrays().values(), weights.arrays().values(), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    # lists are still of everybody
    assert found.profiles.confidences.shape == matrix.shape == found.taste.votes.index.shape
    assert (np.diff(build_profiles(matrix).confidences.indptr) > 0).all()
    everybody = learned(matrix, None, (), items=True)[1]
    assert everybody is not None
    assert everybody.weights.tobytes() != weights.weights.tobytes()
    assert found.ranker(ITEMS).rank_products(np.arange(200), 3).columns.shape == (200, 3)
