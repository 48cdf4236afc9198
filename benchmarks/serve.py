"""How many requests one worker answers, against a bare FastAPI route on the same server in the same run.

    python -m benchmarks.serve              # 5,000 users, 30,000 ratings, by the project's own steps on SQLite
    python -m benchmarks.serve --large      # 200,000 users, 1,200,000 ratings, 100,000 products
    python -m benchmarks.serve --short      # shorter rounds

The bare route is ``async def ok(): return Response(b"ok")``, without parameters, middleware or log. Both run as
``uvicorn`` starts them (uvloop, httptools), one worker, uvicorn's access log off; ours with request log (into a file),
metrics, limits and headers. A second process keeps 16 connections busy, one request at a time on each, users drawn at
random, and reads whole answers. The variants take turns; shown are medians of the rounds, and of the ratios within a
round. "computed": ``ANSWER_CACHE_MB=0``, so that each answer is made anew; otherwise every user was asked for once
before the clock ran, as far as 64 MB hold the answers.

Two cores, medians of 7 rounds of 2 s: an answer given before 1.67 (classic) and 1.55 (taste) of the bare route's 6,700
requests/s; computed 0.32 and 0.24. Where the time goes, in the process without the server, in µs
per request: an answer given before 11 to 17, of that 2 to 3 for the log, 0.5 for the metrics; a computed one 270 (480
by the framework's routing), of that 112 for neighbors and scores (taste 152), 39 for titles and prices, 2 for JSON. The
rest of what a caller waits for is the server's parsing and writing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from fastapi import FastAPI, Response

from tests.mariadb_server import free_port

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 16
BARE = "bare route"


@dataclass(frozen=True)
class Shop:
    users: int
    products: int
    interactions: int
    ratings: int


USUAL, LARGE = Shop(5_000, 20_000, 100_000, 30_000), Shop(200_000, 100_000, 400_000, 1_200_000)


def bare() -> FastAPI:
    """The application to compare with."""
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> Response:
        return Response(b"ok")

    return app


def make_shop(shop: Shop, folder: Path, database: Mapping[str, str] | None = None) -> dict[str, str]:
    """Run steps 1 and 2 on a database, or on a new SQLite file; return the settings that lead to it."""
    env = {"DB_HOST": "", "MODEL_FILE": "", "SQLITE_FILE": str(folder / "shop.db")} | dict(database or {})
    sizes = ["--num-users", str(shop.users), "--num-interactions", str(shop.interactions)]
    for command in (
        ["-m", "recommender.sample_catalog", "--products", str(shop.products), "--out", str(folder)],
        ["to_rds.py", "--products", f"{folder}/amazon_products.csv", "--categories", f"{folder}/amazon_categories.csv"],
        ["load_recommendation_data.py", *sizes, "--num-ratings", str(shop.ratings)],
    ):
        subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=os.environ | env, check=True, stdout=subprocess.DEVNULL
        )
    return env


@contextmanager
def server(application: list[str], env: Mapping[str, str], log: Path) -> Iterator[int]:
    """Start a worker; gives its port once it answers."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", *application, "--port", str(port), "--no-access-log"]
    with log.open("w") as output, subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=output) as process:
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
                except urllib.error.HTTPError as error:
                    error.close()  # the bare one knows no such page
                except urllib.error.URLError:
                    if process.poll() is not None:
                        raise
                    time.sleep(0.1)
                    continue
                break
            yield port
        finally:
            process.terminate()


class Caller(asyncio.Protocol):
    """One connection that asks again as soon as it was answered; ``paths`` ends it."""

    def __init__(self, paths: Iterator[str], times: list[float], done: asyncio.Future[None]) -> None:
        self._paths, self._times, self._done = paths, times, done
        self._missing = -1  # bytes of the body; -1: not even the head is here
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        path = next(self._paths, None)
        if path is None:
            self._transport.close()
            self._done.set_result(None)
            return
        self._started = time.perf_counter()
        self._transport.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n" % path.encode())

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._seen += data
            head, found, data = self._seen.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            at = head.index(b"content-length: ") + 16
            self._missing, self._seen = int(head[at:].split(b"\r\n", 1)[0]), b""
        self._missing -= len(data)
        if self._missing == 0:
            self._missing = -1
            self._times.append(time.perf_counter() - self._started)
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or RuntimeError("the server closed the connection"))


async def call(port: int, path: str, users: int, seconds: float) -> dict[str, float]:
    """Keep the connections busy; ``seconds`` 0: ask for each user once."""
    loop, times, end = asyncio.get_running_loop(), list[float](), time.perf_counter() + seconds
    draw = random.Random(1)

    def paths() -> Iterator[str]:
        if not seconds:
            yield from (path.replace("{user}", str(user)) for user in range(1, users + 1))
        while time.perf_counter() < end:
            yield path.replace("{user}", str(int(draw.random() * users) + 1))

    shared, done = paths(), [loop.create_future() for _ in range(CONNECTIONS)]
    started = time.perf_counter()
    for future in done:
        await loop.create_connection(partial(Caller, shared, times, future), "127.0.0.1", port)
    await asyncio.gather(*done)
    took = time.perf_counter() - started
    return {"rate": len(times) / took, "p99": statistics.quantiles(times, n=100)[98]}


def measured(port: int, path: str, users: int, seconds: float) -> dict[str, float]:
    """``call`` in a process of its own."""
    arguments = [str(port), path, str(users), str(seconds)]
    command = [sys.executable, "-m", "benchmarks.serve", "--call", *arguments]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return cast(dict[str, float], json.loads(answer.stdout))


def compare(shop: Shop, *, rounds: int, seconds: float) -> None:
    """Print the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = make_shop(shop, folder)
        plain = stack.enter_context(server(["benchmarks.serve:bare", "--factory"], {}, folder / "bare.log"))
        ours = stack.enter_context(server(["api:app"], env, folder / "ours.log"))
        anew = stack.enter_context(server(["api:app"], env | {"ANSWER_CACHE_MB": "0"}, folder / "anew.log"))
        list_, taste = "/recommendations/{user}", "/recommendations/{user}?ranking=taste"
        variants = {
            BARE: (plain, "/ok"),
            "classic": (ours, list_),
            "classic, computed": (anew, list_),
            "taste": (ours, taste),
            "taste, computed": (anew, taste),
        }
        for port, path in variants.values():
            measured(port, path, shop.users if port == ours else 1_000, 0)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, (port, path) in variants.items():
                found[name].append(measured(port, path, shop.users, seconds))
    print(f"{shop.users:,} users, {shop.ratings:,} ratings, {CONNECTIONS} connections, one worker\n")
    print("| answer | requests/s | ratio | p99 ms | p99 ratio |\n|---|---:|---:|---:|---:|")
    for name, runs in found.items():
        rate, p99 = (statistics.median(run[what] for run in runs) for what in ("rate", "p99"))
        ratios = [
            statistics.median(mine[what] / other[what] for mine, other in zip(runs, found[BARE], strict=True))
            for what in ("rate", "p99")
        ]
        print(f"| {name} | {rate:,.0f} | {ratios[0]:.2f} | {p99 * 1000:.2f} | {ratios[1]:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="three rounds of one second")
    parser.add_argument("--large", action="store_true", help="200,000 users")
    parser.add_argument("--call", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        import uvloop

        port, path, users, seconds = options.call
        print(json.dumps(uvloop.run(call(int(port), path, int(users), float(seconds)))))
        return
    compare(LARGE if options.large else USUAL, rounds=3 if options.short else 7, seconds=1 if options.short else 2)


if __name__ == "__main__":
    main()
