"""A copy of a live model with changed parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recommender.live import LiveModel
from recommender.model import ServedModel


def renewed(model: ServedModel, **fields: Any) -> LiveModel:
    """The model that was served first, with these fields changed."""
    assert isinstance(model, LiveModel)
    return LiveModel.of(replace(model.changes.model, **fields))
