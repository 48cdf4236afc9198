"""A file of ratings with any content, read as step 2 reads it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from recommender.files import RejectedRows, ShopRatings, read_ratings_file

NOW = dt.datetime(2026, 6, 1, 12)
Read = Callable[..., ShopRatings]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """``read(content, columns)`` reads a file with this content. Rejected rows go beside it."""

    def reader(content: str | bytes, columns: str | None = None) -> ShopRatings:
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with RejectedRows(tmp_path / "rejected_rows.csv", limit=100) as rejected:
            return read_ratings_file(path, rejected, loaded_at=NOW, columns=columns)

    return reader
