"""Time the worst answer of every open route on the largest catalog, and how long it makes others wait.

    python -m benchmarks.worst                    # 1,400,000 products, 200,000 users, 1,667,500 ratings, on SQLite
    python -m benchmarks.worst --short            # 20,000 products, 5,000 users
    python -m benchmarks.worst --shop shop.db     # an existing database; made and kept if it does not exist

One worker, no cache of answers. Besides what steps 1 and 2 make, there are 300 users with long histories of the same
products, five of them with some 5,000 ratings, so that they have many neighbors with many products. Each request is
sent 100 times for another user, or with another price, so that its mask is not cached. A second connection requests
``/live`` all the while: its wait is the longest pause of the event loop, as other callers see it.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.serve import Shop, make_shop, server

LARGEST, SMALL = Shop(200_000, 1_400_000, 400_000, 1_200_000), Shop(5_000, 20_000, 100_000, 30_000)
FIRST_HEAVY, HEAVY, HEAVIEST = 1_000_001, 300, 5  # the first user_id, and the numbers of users
TIMES = 100
SLICED = "1,000 lists of 100 at once"


class Question(NamedTuple):
    """A request, by its number i."""

    name: str
    path: Callable[[int], str]
    body: Callable[[int], object] | None = None
    method: str = "GET"


def plant(file: Path) -> None:
    """Add the users with long histories: 1,500 and 5,000 draws, most of them of the first products of 60,000."""
    draw = np.random.default_rng(1)
    with closing(sqlite3.connect(file)) as database:
        ids = [row[0] for row in database.execute("select asin from amazon_products order by id limit 60000")]
        when = database.execute("select created_at, updated_at from product_ratings limit 1").fetchone()
        for number in range(HEAVY):
            size = 5_000 if number < HEAVIEST else 1_500
            places = np.unique((draw.random(2 * size) ** 2 * len(ids)).astype(int))
            chosen = draw.permutation(places)[:size].tolist()
            rows = [(FIRST_HEAVY + number, ids[place], 1 + place % 5, *when) for place in chosen]
            database.executemany(
                "insert into product_ratings (user_id, product_id, rating, created_at, updated_at) values (?,?,?,?,?)",
                rows,
            )
        database.commit()


Drawn = Callable[[int], str]
FAR, CAP = "limit=100&offset=1000", "diversity=4"


def _categories(i: int) -> str:
    return "&".join(f"category_id={(i + j) % 260}" for j in range(100))


def _every_filter(i: int, excluded: str) -> str:
    prices = f"min_price={1 + i / 77:.4f}&max_price={90 - i / 77:.4f}"
    return f"{FAR}&{CAP}&{_categories(i)}&{excluded}&{prices}&min_stars=2.5"


def _path(i: int, *, query: Drawn, person: Drawn | None = None, start: str = "/recommendations") -> str:
    return f"{start}{'/' + person(i) if person else ''}?{query(i)}"


def _of(ranking: str, query: Drawn) -> Drawn:
    return lambda i: f"ranking={ranking}&{query(i)}"


def questions(shop: Shop, ids: list[str]) -> Iterator[Question]:
    """Yield requests to every open route, with what makes it slow."""
    people: dict[str, Drawn] = {
        "short history": lambda i: str(1 + (i * 7919) % shop.users),
        "1,500 ratings": lambda i: str(FIRST_HEAVY + HEAVIEST + i % (HEAVY - HEAVIEST)),
        "5,000 ratings": lambda i: str(FIRST_HEAVY + i % HEAVIEST),
    }
    asked: dict[str, Drawn] = {
        "default": lambda _: "",
        "last page": lambda _: FAR,
        "last page, one of a category": lambda _: f"{FAR}&diversity=1",
        "last page, four of a category": lambda _: f"{FAR}&{CAP}",
        "from a new price on": lambda i: f"min_price={i / 7:.4f}",
        "nothing fits": lambda i: f"{FAR}&min_price={9e6 + i}&{CAP}",
        "100 categories, new price": lambda i: f"{FAR}&{CAP}&{_categories(i)}&max_price={50 + i / 7:.4f}",
        "every filter": partial(_every_filter, excluded="&".join(f"exclude={one}" for one in ids[:100])),
    }
    explained: dict[str, Drawn] = {"100 explained": lambda _: "limit=100&explain=true"}
    for (who, person), ranking in itertools.product(people.items(), ("classic", "taste")):
        for what, query in (asked | explained).items():
            yield Question(f"{ranking}, {who}, {what}", partial(_path, query=_of(ranking, query), person=person))
    basket = {"ratings": [{"product_id": one} for one in ids[:500]]}
    for what, query in asked.items():
        yield Question(f"/popular, {what}", partial(_path, query=query, start="/popular"))
        yield Question(f"basket of 500, {what}", partial(_path, query=query), lambda _: basket, "POST")
    yield Question("HEAD of a list", lambda i: f"/recommendations/{FIRST_HEAVY + i % HEAVIEST}?{FAR}", method="HEAD")
    yield Question("a product", lambda i: f"/products/{ids[i]}")
    yield Question("100 similar ones", lambda i: f"/products/{ids[i]}/similar?limit=100")
    yield Question("/health", lambda _: "/health")
    yield Question("/metrics", lambda _: "/metrics")
    everybody = [*range(1, 996), *range(FIRST_HEAVY, FIRST_HEAVY + HEAVIEST)]
    lists = {"user_ids": everybody, "limit": 100}
    yield Question(SLICED, lambda _: "/recommendations/batch", lambda _: lists, "POST")


@contextmanager
def waiting(port: int) -> Iterator[list[float]]:
    """Yield a list that collects how long another caller waits for ``/live`` meanwhile, in seconds."""
    times, done = list[float](), threading.Event()

    def ask() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            while not done.wait(0.001):
                started = time.perf_counter()
                connection.request("GET", "/live")
                connection.getresponse().read()
                times.append(time.perf_counter() - started)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()


def answered(connection: http.client.HTTPConnection, question: Question, i: int) -> float:
    """Return the seconds until the whole answer was there. RuntimeError unless it is a 200."""
    body = None if question.body is None else json.dumps(question.body(i))
    headers = {} if body is None else {"Content-Type": "application/json"}
    started = time.perf_counter()
    connection.request(question.method, question.path(i), body, headers)
    answer = connection.getresponse()
    told = answer.read()
    took = time.perf_counter() - started
    if answer.status != 200:
        raise RuntimeError(f"{question.name}: {answer.status} {told[:300]!r}")
    return took


def measure(port: int, shop: Shop, ids: list[str], times: int) -> None:
    """Print the table, a line as soon as it is known, and the slowest of them."""
    found = []
    print("| question | median ms | p99 ms | longest wait of another ms |\n|---|---:|---:|---:|")
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        for question in questions(shop, ids):
            answered(connection, question, 0)
            asked = range(1, 1 + (5 if question.name == SLICED else times))
            with waiting(port) as others:
                mine = [1_000 * answered(connection, question, i) for i in asked]
            median, p99, longest = statistics.median(mine), float(np.percentile(mine, 99)), 1_000 * max(others)
            found.append((p99, longest, question.name))
            print(f"| {question.name} | {median:.1f} | {p99:.1f} | {longest:.1f} |", flush=True)
    one_list = [each for each in found if each[2] != SLICED]
    print(f"\nlargest p99 of one answer: {max(one_list)[0]:.1f} ms, {max(one_list)[2]}")
    print(f"longest wait of another: {max(each[1] for each in found):.1f} ms")


def run(shop: Shop, file: Path | None, times: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        database = file or folder / "shop.db"
        env = {"DB_HOST": "", "MODEL_FILE": "", "SQLITE_FILE": str(database), "RANKING": "taste"}
        if not database.exists():
            make_shop(shop, folder, env)
            plant(database)
        with closing(sqlite3.connect(database)) as opened:
            most = "select product_id from product_ratings group by product_id order by count(*) desc limit 1000"
            ids = [row[0] for row in opened.execute(most)]
        with server(["api:app"], env | {"ANSWER_CACHE_MB": "0"}, folder / "server.log") as port:
            measure(port, shop, ids, times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="20,000 products, 5,000 users, each question 20 times")
    parser.add_argument("--shop", type=Path, metavar="FILE", help="the SQLite file; made if it is not there")
    options = parser.parse_args()
    run(SMALL if options.short else LARGEST, options.shop, 20 if options.short else TIMES)


if __name__ == "__main__":
    main()
