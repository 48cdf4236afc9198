"""Measure how long the event loop stands still while others change very many ratings.

    python -m benchmarks.pauses            # 200,000 users, 1,200,000 ratings, 40,000 of them changed, on both databases
    python -m benchmarks.pauses --short    # 5,000 users, 30,000 ratings, 20,000 changed

In a real service process (``uvicorn``, one worker) a coroutine sleeps a millisecond again and again and notes how much
later it was woken: a request that comes meanwhile waits as long. First nothing happens; then it measures from one
UPDATE on until the changes are counted, and for ten seconds after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import text

from benchmarks.serve import LARGE, USUAL, Shop, make_shop, server
from recommender.database import connect, writing
from recommender.settings import load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

TICK, QUIET, AFTER = 0.001, 5.0, 10.0  # seconds
CHANGE = {
    "mariadb": "UPDATE product_ratings SET rating = IF(rating > 3, rating - 1, rating + 1) LIMIT {n}",
    "sqlite": "UPDATE product_ratings SET rating = CASE WHEN rating > 3 THEN rating - 1 ELSE rating + 1 END, "
    "updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE rowid IN (SELECT rowid FROM product_ratings LIMIT {n})",
}


def watched() -> FastAPI:
    """Return the service with the ticker in it and ``GET /pauses``, which gives the notes since the last request."""
    from fastapi import Request, Response

    from api import create_app

    app, noted, loads = create_app(), list[float](), list[float]()
    inner = app.router.lifespan_context

    async def tick() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(TICK)
            noted.append(max(0.0, time.perf_counter() - started - TICK))

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        async with inner(application):
            ticking = asyncio.create_task(tick())
            source = application.state.updater._source
            load = source.load

            def counted() -> Any:
                loads.append(time.time())
                return load()

            source.load = counted
            yield
            ticking.cancel()

    async def pauses(_request: Request) -> Response:
        found = json.dumps({"pauses": noted, "loads": loads})
        noted.clear()
        loads.clear()
        return Response(found)

    app.router.lifespan_context = lifespan
    app.add_route("/pauses", pauses)
    return app


def noted_since(port: int) -> tuple[np.ndarray[Any, Any], int]:
    """Return the pauses in ms, and the number of models made, since the last call."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/pauses", timeout=60) as answer:
        found = json.load(answer)
    return 1e3 * np.array(found["pauses"]), len(found["loads"])


def changes_seen(port: int) -> str:
    """Return the time up to which the service has counted the tables."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
        return str(json.load(answer)["changes_seen_at"])


def measure(name: str, env: dict[str, str], n_changed: int, log: Path) -> None:
    """Print two lines of the table."""
    engine = connect(load_settings(environ=env))
    with server(["benchmarks.pauses:watched", "--factory"], env, log) as port:
        time.sleep(QUIET)
        noted_since(port)
        time.sleep(QUIET)
        show(name, "nothing happens", *noted_since(port))
        with writing(engine) as connection:
            connection.execute(text(CHANGE["mariadb" if env["DB_HOST"] else "sqlite"].format(n=n_changed)))
        committed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
        while changes_seen(port) <= committed:
            time.sleep(0.2)
        time.sleep(AFTER)
        show(name, f"{n_changed:,} ratings change", *noted_since(port))
    engine.dispose()


def show(name: str, what: str, pauses: np.ndarray[Any, Any], models: int) -> None:
    median, p99, p999 = np.percentile(pauses, [50, 99, 99.9])
    print(f"| {name} | {what} | {median:.2f} | {p99:.2f} | {p999:.2f} | {pauses.max():.2f} | {models} |", flush=True)


def run(shop: Shop, n_changed: int) -> None:
    """Measure on SQLite, then on MariaDB."""
    from tests.support.mariadb_server import MariaDBServer, own_server

    print("\npauses of the event loop, ms\n\n| database | | p50 | p99 | p99.9 | max | models made |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        (folder / "sqlite").mkdir()
        measure("SQLite", make_shop(shop, folder / "sqlite"), n_changed, folder / "log")
        if not MariaDBServer.available():
            print("\nno mariadbd on PATH: MariaDB was not measured")
            return
        own = stack.enter_context(own_server())
        measure("MariaDB", make_shop(shop, folder, own.environment("shop")), n_changed, folder / "log")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="5,000 users, 30,000 ratings")
    options = parser.parse_args()
    run(USUAL if options.short else LARGE, 20_000 if options.short else 40_000)


if __name__ == "__main__":
    main()
