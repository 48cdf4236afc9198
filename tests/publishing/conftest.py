"""A saved model that several test files open."""

from __future__ import annotations

from pathlib import Path

import pytest

from recommender.publishing import save_model
from tests.support.saved_model import small_of_all, version_of


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the small model with everything in it. Tests do not change it."""
    file = tmp_path_factory.mktemp("model") / "model.rec"
    model = small_of_all()
    save_model(file, model, version_of(model))
    return file
