"""The times after which a service gives up on its database: a busy machine must not reach them in the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name

import pytest

PATIENT = 60.0  # seconds
DEADLINES = (
    "api.FIRST_LOOK",
    "api.CONNECT_TIMEOUT",
    "api.STATEMENT_TIMEOUT",
    "recommender.updates.database_watch.SILENCE",
    "recommender.updates.people_watch.MOST_BEHIND",
    "recommender.updates.updater.LATE",
    "recommender.updates.updater.PATIENCE",
)
_released: dict[str, float] = {}


@contextmanager
def patient() -> Iterator[None]:
    """Let each service of this process wait for its database as long as a test waits for the service."""
    with pytest.MonkeyPatch.context() as patch:
        for name in DEADLINES:
            _released.setdefault(name, resolve_name(name))
            patch.setattr(name, PATIENT)
        yield


@contextmanager
def as_released() -> Iterator[None]:
    """Within a patient session: let the services give up as soon as they do outside of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, seconds in _released.items():
            patch.setattr(name, seconds)
        yield
