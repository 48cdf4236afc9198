"""A service with its pages on a shop of two tastes that has a taste map."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import recommendation_engine
from recommender.settings import load_settings
from recommender.updates import make_map
from tests.support.service import wait_until
from tests.support.site import Site, serve_site


@contextmanager
def serve_map(folder: Path, **environment: str) -> Iterator[Site]:
    """Publish a version, make its map and serve both until the end of the context."""
    with serve_site(folder, **environment) as site:
        assert recommendation_engine.main(["--force", "--users", "all"]) == 0
        make_map(load_settings())
        wait_until(lambda: site.app.state.published == 1)
        yield site
