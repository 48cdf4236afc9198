"""A service with its pages on a small shop of hostile titles, in a thread of this process, for browsers and clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
import uvicorn
from sqlalchemy import insert, update

import api
from recommender.database import connect, writing
from recommender.database.schema import categories, users
from recommender.settings import load_settings
from tests.support.mariadb_server import free_port
from tests.support.service import KEY, wait_until
from tests.support.shop import WHEN, fill, product_row

SCRIPT = "<script>document.title='broken'</script>\"'><b>bold"
LONG = "W" * 300
RIGHT_TO_LEFT = "\u202egnp.\u05e9\u05dc\u05d5\u05dd left"
PRODUCTS = [f"B{number:09d}" for number in range(24)]
HOSTILE: dict[str, dict[str, Any]] = {
    PRODUCTS[0]: {"title": SCRIPT},
    PRODUCTS[1]: {"title": LONG},
    PRODUCTS[2]: {"title": RIGHT_TO_LEFT},
    PRODUCTS[3]: {"title": None, "price": 0.0},
}
CATEGORIES = {1: "Shoes & <Socks>", 2: "Kitchen", 3: "Toys"}
PEOPLE = range(1, 25)
WITHOUT_RATINGS = 101


def stars() -> dict[int, dict[str, float]]:
    """Two groups of taste: one rates the first twelve products, one the others; nobody rates all of them."""
    found: dict[int, dict[str, float]] = {}
    for person in PEOPLE:
        mine = PRODUCTS[12 * (person % 2) :][:12]
        found[person] = {mine[(person + 5 * turn) % 12]: 5.0 - (person + turn) % 4 for turn in range(6)}
    return found


class Site(NamedTuple):
    """The address of the service, and its application."""

    address: str
    app: api.RecommendationApp

    def get(self, path: str, **options: Any) -> httpx2.Response:
        """Ask with the key in the header."""
        headers = {"X-API-Key": KEY} | options.pop("headers", {})
        return httpx2.get(self.address + path, headers=headers, **{"timeout": 60.0} | options)


@contextmanager
def serve_site(folder: Path, **environment: str) -> Iterator[Site]:
    """Fill a database in the folder and serve it until the end of the context."""
    env = {"DB_HOST": "", "SQLITE_FILE": str(folder / "shop.db"), "RANKING": "taste", "API_KEY": KEY} | environment
    settings = load_settings(environ=env, env_file=folder / "no.env")
    engine = connect(settings, create=True)
    catalog = [product_row(one, category_id=1 + at % 3, **HOSTILE.get(one, {})) for at, one in enumerate(PRODUCTS)]
    fill(engine, stars(), catalog)
    with writing(engine) as connection:
        names = [{"id": number, "category_name": name} for number, name in CATEGORIES.items()]
        connection.execute(insert(categories), names)
        connection.execute(insert(users), [{"user_id": WITHOUT_RATINGS, "created_at": WHEN}])
        connection.execute(update(users).values({"country": "DE", "age_group": "25-34", "name": SCRIPT}))
    engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ({"REQUEST_LOG": "0"} | env).items():
            patch.setenv(name, value)
        patch.chdir(folder)
        with serving(api.create_app()) as site:
            yield site


@contextmanager
def serving(app: api.RecommendationApp) -> Iterator[Site]:
    """Run the application in a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    try:
        yield Site(f"http://127.0.0.1:{port}", app)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
