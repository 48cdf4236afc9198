"""The examples in docstrings hold."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = [*(ROOT / "recommender").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
WITH_EXAMPLES = sorted(file.relative_to(ROOT) for file in SOURCES if ">>> " in file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", WITH_EXAMPLES, ids=str)
def test_the_examples_of_a_module_hold(file: Path) -> None:
    done = doctest.testmod(importlib.import_module(".".join(file.with_suffix("").parts)))
    assert done.attempted > 0
    assert done.failed == 0
