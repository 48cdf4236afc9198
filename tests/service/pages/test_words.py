"""The examples in the docstrings of what pages are made of."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from recommender.files import rejected_rows
from recommender.service.pages import charts, moves, pictures, words
from recommender.service.routes import overview


@pytest.mark.parametrize(
    "module", [charts, moves, pictures, words, overview, rejected_rows], ids=lambda one: one.__name__
)
def test_the_examples_of_a_module_are_true(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0
