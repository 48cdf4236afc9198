"""The model and the version of lists that step 3 makes from given ratings."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Engine

from recommender.database import around
from recommender.model import ModelSettings, ServedModel, Trained, serve
from recommender.neighbors import CosineIndex
from recommender.publishing import BatchJob, Version, write_batch
from recommender.shop import RatingMatrix


def model_of(
    engine: Engine,
    matrix: RatingMatrix,
    similarity: CosineIndex,
    *,
    built_at: dt.datetime | None = None,
    version: int | None = None,
    **settings: Any,
) -> ServedModel:
    """The model that answers, with the present catalog and people; ``settings`` are those of `ModelSettings`."""
    trained = Trained(around(engine, matrix), similarity, ModelSettings(**({"n_neighbors": 20} | settings)))
    return serve(trained, built_at=built_at or dt.datetime.now(dt.UTC), version=version)


def write_lists(
    engine: Engine, matrix: RatingMatrix, similarity: CosineIndex, job: BatchJob, **options: Any
) -> Version:
    """Publish the lists of ``job``; ``options`` are those of `write_batch`."""
    trained = Trained(around(engine, matrix), similarity, ModelSettings(20))
    model = serve(trained, built_at=dt.datetime.now(dt.UTC))
    return write_batch(engine, model, job, fingerprint=job.fingerprint(trained.shop), **options)
