"""A supposed model: it answers with the ratings, leaves the model as it is, and shares no memory that grows."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import Engine

from recommender.errors import UnknownProductError
from recommender.live import LiveModel, UserRecord, with_ratings
from tests.support.model_built_anew import build
from tests.support.shop import fill

A, C, D = (f"B00000000{letter}" for letter in "ACD")
B = "p/é"
STARS = {1: {A: 5.0, B: 4.0}, 2: {A: 5.0, C: 4.5}, 3: {B: 4.0, C: 1.0}, 4: {D: 5.0, A: 2.0}}
RECORD = UserRecord(1, ((A.encode(), 10, 7), (B.encode(), 8, 7)))


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def model(engine: Engine) -> LiveModel:
    """A model in which user 2 has changed already."""
    fill(engine, STARS, [A, B, C, D])
    return LiveModel.of(build(engine)).after([UserRecord(2, ((C.encode(), 9, 8),))], {})


def stars_of(model: LiveModel, user: int) -> dict[str, int]:
    columns, steps = model.ratings_of(user)
    return {model.products.id_of(column): int(half) for column, half in zip(columns.tolist(), steps, strict=True)}


def test_the_ratings_are_added_changed_and_taken_away_only_in_the_supposed_model(model: LiveModel) -> None:
    before = [model.recommend(user, 4) for user in STARS]
    supposed = with_ratings(model, RECORD, {C: 3, B: 2, A: 0}, 9)
    assert stars_of(supposed, 1) == {B: 2, C: 3}
    assert stars_of(model, 1) == {A: 10, B: 8}
    assert [model.recommend(user, 4) for user in STARS] == before
    with pytest.raises(UnknownProductError):
        with_ratings(model, RECORD, {"B000000099": 3}, 9)


def test_a_supposed_model_grows_in_no_memory_of_the_model(model: LiveModel) -> None:
    """So both may have successors at the same time, on two threads."""
    supposed = with_ratings(model, RECORD, {C: 3}, 9)
    for ours, theirs in (
        (model.changes.cosine, supposed.changes.cosine),
        (model.changes.taste, supposed.changes.taste),
    ):
        assert ours is not None
        assert theirs is not None
        assert not {id(one) for one in ours._changed.memory} & {id(one) for one in theirs._changed.memory}
        pairs = zip(ours._changed.arrays, theirs._changed.arrays, strict=True)
        assert not any(np.shares_memory(one, other) for one, other in pairs if len(one))
