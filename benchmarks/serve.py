"""Compare the requests per second of one worker with a bare FastAPI route on the same server in the same run.

    python -m benchmarks.serve              # 5,000 users, 30,000 ratings, by the project's own steps on SQLite
    python -m benchmarks.serve --large      # 200,000 users, 1,200,000 ratings, 100,000 products
    python -m benchmarks.serve --short      # shorter rounds

The bare route is ``async def ok(): return Response(b"ok")``, without parameters, middleware or log. Both run as
``uvicorn`` starts them (uvloop, httptools), one worker, uvicorn's access log off; ours with request log (into a file),
metrics, limits and headers. A second process keeps 16 connections busy, one request at a time on each, users drawn at
random, and reads whole answers. The variants take turns; the table shows medians of the rounds, and of the ratios
within a round. "computed" means ``ANSWER_CACHE_MB=0``, so that each answer is computed; otherwise every user was
requested once before the clock ran, as far as 64 MB hold the answers. Categories are drawn from 50, so that their masks
are cached; most prices are new.

Two cores, medians of 7 rounds of 2 s, ratio of requests per second to the bare route's, then of p99: cached 1.63 and
0.68 (classic), 1.66 and 0.71 (taste); computed 0.49 and 2.08 (classic), 0.38 and 2.94 (taste); of a category 0.43
(classic) and 0.28 (taste), from a new price on 0.33, at most two of a category 0.38. ``--large``, 5 rounds: cached
1.58; computed 0.47 and 2.23 (classic), 0.33 and 3.24 (taste); of a category 0.38 and 0.15, from a new price 0.22, at
most two of a category 0.34. Two workers against one: 1.53, the bare route 1.55, as the caller has half of the cores. Of
five runs: computed 0.45 to 0.59 (classic), 0.36 to 0.46 (taste), ``--large`` 0.35 to 0.49 and 0.26 to 0.38.

In the process without the server, µs per computed list, before and after lists were made from cached JSON and nothing
was checked twice: classic 332 and 145, taste 411 and 247, of which compiled code takes about 30 and 120. Tried and
slower: gathering the catalog's columns by row before comparing them (twice one look-up of flags), and guessing a mask's
bytes by the largest possible size (20 masks were kept where 50 were in use).
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from fastapi import FastAPI

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 16
BARE, COMPUTED = "bare route", "classic, computed"
KEPT_USERS = 10_000  # users whose answers by two rankings fit into 64 MB
LIST = "/recommendations/{user}"
# by name: whether each answer is computed, and the path
ROUTES = {
    "classic": (False, LIST),
    COMPUTED: (True, LIST),
    "classic, computed, of a category": (True, f"{LIST}?category_id={{category}}"),
    "classic, computed, from another price on each time": (True, f"{LIST}?min_price={{price}}"),
    "classic, computed, at most two of a category": (True, f"{LIST}?diversity=2"),
    "taste": (False, f"{LIST}?ranking=taste"),
    "taste, computed": (True, f"{LIST}?ranking=taste"),
    "taste, computed, of a category": (True, f"{LIST}?ranking=taste&category_id={{category}}"),
}
Figures = dict[str, float]
Found = dict[str, list[Figures]]
# the variables of a path, and how they are drawn
DRAWN: dict[str, Callable[[random.Random, int], str]] = {
    "{user}": lambda draw, users: str(int(draw.random() * users) + 1),
    "{category}": lambda draw, _: str(int(draw.random() * 50) + 1),
    "{price}": lambda draw, _: f"{int(draw.random() * 10_000) / 100:.2f}",
}


@dataclass(frozen=True)
class Shop:
    users: int
    products: int
    interactions: int
    ratings: int


USUAL, LARGE = Shop(5_000, 20_000, 100_000, 30_000), Shop(200_000, 100_000, 400_000, 1_200_000)


def bare() -> FastAPI:
    """Return the application to compare with."""
    from fastapi import FastAPI, Response  # takes 0.3 s, which the dozens of callers' processes do not need

    app = FastAPI()

    @app.get("/ok", response_model=None)  # as FastAPI does for an annotation that it can resolve
    async def ok() -> Response:
        return Response(b"ok")

    return app


def make_shop(
    shop: Shop, folder: Path, database: Mapping[str, str] | None = None, *, root: Path = ROOT
) -> dict[str, str]:
    """Run steps 1 and 2 of the checkout ``root`` on a database, or on a new SQLite file.

    Return the settings of that database.
    """
    env = {"DB_HOST": "", "MODEL_FILE": "", "SQLITE_FILE": str(folder / "shop.db")} | dict(database or {})
    sizes = ["--num-users", str(shop.users), "--num-interactions", str(shop.interactions)]
    for command in (
        ["-m", "recommender.sample_catalog", "--products", str(shop.products), "--out", str(folder)],
        ["to_rds.py", "--products", f"{folder}/amazon_products.csv", "--categories", f"{folder}/amazon_categories.csv"],
        ["load_recommendation_data.py", *sizes, "--num-ratings", str(shop.ratings)],
    ):
        subprocess.run(
            [sys.executable, *command], cwd=root, env=os.environ | env, check=True, stdout=subprocess.DEVNULL
        )
    return env


@contextmanager
def server(
    application: list[str], env: Mapping[str, str], log: Path, *, workers: int = 1, root: Path = ROOT
) -> Iterator[int]:
    """Start a server of the checkout ``root``; yield its port once it answers."""
    from tests.support.mariadb_server import free_port

    port = free_port()
    quiet = ["--no-access-log", "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", *application, "--port", str(port), "--workers", str(workers), *quiet]
    with log.open("w") as output, subprocess.Popen(command, cwd=root, env=os.environ | env, stdout=output) as process:
        try:
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).close()
                except urllib.error.HTTPError as error:
                    error.close()  # the bare application has no such page
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
    """One connection that sends the next request as soon as it has the answer; the end of ``paths`` ends it."""

    def __init__(self, paths: Iterator[str], times: list[float], done: asyncio.Future[None]) -> None:
        self._paths, self._times, self._done = paths, times, done
        self._missing = -1  # missing bytes of the body; -1: the head is not complete
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


async def call(port: int, path: str, users: int, seconds: float) -> Figures:
    """Keep the connections busy; ``seconds`` 0: request each user's list once."""
    loop, times, end = asyncio.get_running_loop(), list[float](), time.perf_counter() + seconds
    draw = random.Random()  # other users in each round

    used = {name: drawn for name, drawn in DRAWN.items() if name in path}

    def paths() -> Iterator[str]:
        if not seconds:
            yield from (path.replace("{user}", str(user)).replace("{category}", "1") for user in range(1, users + 1))
        while time.perf_counter() < end:
            asked = path
            for name, drawn in used.items():
                asked = asked.replace(name, drawn(draw, users))
            yield asked

    shared, done = paths(), [loop.create_future() for _ in range(CONNECTIONS)]
    started = time.perf_counter()
    for future in done:
        await loop.create_connection(partial(Caller, shared, times, future), "127.0.0.1", port)
    await asyncio.gather(*done)
    took = time.perf_counter() - started
    return {"rate": len(times) / took, "p99": statistics.quantiles(times, n=100)[98]}


def measured(port: int, path: str, users: int, seconds: float) -> Figures:
    """Run ``call`` in a process of its own."""
    arguments = [str(port), path, str(users), str(seconds)]
    command = [sys.executable, "-m", "benchmarks.serve", "--call", *arguments]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return cast(Figures, json.loads(answer.stdout))


def compare(shop: Shop, *, rounds: int, seconds: float) -> None:
    """Print both tables."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = make_shop(shop, folder)
        without = env | {"ANSWER_CACHE_MB": "0"}

        def started(name: str, application: list[str], settings: Mapping[str, str], workers: int = 1) -> int:
            return stack.enter_context(server(application, settings, folder / f"{name}.log", workers=workers))

        bare_app, our_app = ["benchmarks.serve:bare", "--factory"], ["api:app"]
        plain, ours = started("bare", bare_app, {}), started("ours", our_app, env)
        anew = started("anew", our_app, without)
        variants = {BARE: (plain, "/ok")}
        variants |= {name: (anew if computed else ours, path) for name, (computed, path) in ROUTES.items()}
        kept = min(shop.users, KEPT_USERS)
        for port, path in variants.values():
            measured(port, path.replace("{price}", "9.99"), kept if port == ours else 1_000, 0)
        found: Found = {name: [] for name in variants}
        for _ in range(rounds):
            for name, (port, path) in variants.items():
                found[name].append(measured(port, path, kept if port == ours else shop.users, seconds))
        show(shop, found)
        two = {BARE: (plain, started("bare2", bare_app, {}, 2), "/ok")}
        two[COMPUTED] = anew, started("anew2", our_app, without, 2), LIST
        show_workers(two, shop.users, rounds=rounds, seconds=seconds)


def show(shop: Shop, found: Found) -> None:
    """Print the table of one worker."""
    print(f"{shop.users:,} users, {shop.ratings:,} ratings, {CONNECTIONS} connections, one worker\n")
    print("| answer | requests/s | ratio | p99 ms | p99 ratio |\n|---|---:|---:|---:|---:|")
    for name, runs in found.items():
        rate, p99 = (statistics.median(run[what] for run in runs) for what in ("rate", "p99"))
        ratios = [
            statistics.median(mine[what] / other[what] for mine, other in zip(runs, found[BARE], strict=True))
            for what in ("rate", "p99")
        ]
        print(f"| {name} | {rate:,.0f} | {ratios[0]:.2f} | {p99 * 1000:.2f} | {ratios[1]:.2f} |")


def show_workers(servers: dict[str, tuple[int, int, str]], users: int, *, rounds: int, seconds: float) -> None:
    """Print requests per second of two workers against one, in turns; with two cores the caller has half of one."""
    for _, second, path in servers.values():
        measured(second, path, 1_000, 0)  # both workers have started once these are answered
    print(f"\n{os.cpu_count()} cores, one of them kept busy by the caller\n")
    print("| answer | one worker | two workers | ratio |\n|---|---:|---:|---:|")
    for name, (*ports, path) in servers.items():
        runs = [[measured(port, path, users, seconds)["rate"] for port in ports] for _ in range(rounds)]
        one, two = (statistics.median(run[at] for run in runs) for at in (0, 1))
        print(f"| {name} | {one:,.0f} | {two:,.0f} | {statistics.median(run[1] / run[0] for run in runs):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="three rounds of half a second")
    parser.add_argument("--large", action="store_true", help="200,000 users")
    parser.add_argument("--call", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        import uvloop

        port, path, users, seconds = options.call
        print(json.dumps(uvloop.run(call(int(port), path, int(users), float(seconds)))))
        return
    rounds = 3 if options.short else 5 if options.large else 7
    compare(LARGE if options.large else USUAL, rounds=rounds, seconds=0.5 if options.short else 2)


if __name__ == "__main__":
    main()
