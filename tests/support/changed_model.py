"""A live model again, with something else in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recommender.live import LiveModel
from recommender.model import ServedModel


def renewed(model: ServedModel, **fields: Any) -> LiveModel:
    """The model that was served at first, with these fields."""
    assert isinstance(model, LiveModel)
    return LiveModel.of(replace(model.changes.model, **fields))
