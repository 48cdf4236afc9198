"""The rankers that an evaluation would compare, without the time of measuring them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


def compared_by(module: ModuleType, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The split and the named rankers that ``function`` of ``module`` hands to ``evaluate``."""

    def capture(split: Any, rankers: dict[str, Any], **_: Any) -> Any:
        return split, rankers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "evaluate", capture)
        return function(*arguments, **options)
