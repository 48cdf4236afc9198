"""One service with pages for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.site import Site, serve_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve_site(tmp_path_factory.mktemp("site")) as site:
        yield site
