"""Measure how long a shop owner waits for a list after a click, beside what the API needs for the same list.

    python -m benchmarks.pages             # 5,000 users, 20,000 products, 30,000 ratings; 40 clicks of each kind
    python -m benchmarks.pages --short     # 12 clicks of each kind

Chromium opens a shopper and clicks. A click begins with its event in the page and ends when the browser has painted the
new list, with all reasons open before it. The server runs as one worker of uvicorn beside it, on the same machine.
Every list is computed: no shopper is asked for twice.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.serve import USUAL, make_shop, server
from tests.support.browser import chromium, opened, sign_in
from tests.support.service import KEY, WITH_KEY

# kind of click -> the element that is clicked on the page of a shopper
CLICKS = {
    "another ranking": "#by-classic",
    "two rankings side by side": "#beside-classic",
    "a rating tried": ".whatif a >> nth=0",
}
SETTLED = (
    "() => { window.settled = new Promise(done => document.addEventListener('htmx:afterSettle', "
    "event => { if (event.target.id === 'main') done() })); "
    "addEventListener('click', () => { window.clicked = performance.now() }, true) }"
)
PAINTED = "() => new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0)))"
AFTER_CLICK = f"window.settled.then({PAINTED}).then(painted => painted - window.clicked)"
# until the first byte of the answer to the click
SERVER = "performance.getEntriesByType('resource').filter(one => one.initiatorType === 'xmlhttprequest').at(-1)"
SERVER = f"(one => one.responseStart - one.requestStart)({SERVER})"


def asked(port: int, path: str) -> float:
    """Return the seconds until the API has answered."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=WITH_KEY)
    started = time.perf_counter()
    urllib.request.urlopen(request, timeout=30).read()
    return time.perf_counter() - started


def measure(port: int, clicks: int) -> dict[str, list[float]]:
    """Return the seconds of each click, and of the API's answers, by name."""
    names = ("API: list with reasons", "first view", *CLICKS, "of a click: the server")
    found: dict[str, list[float]] = {name: [] for name in names}
    shoppers = iter(range(1, 5_000))
    with chromium() as browser, opened(browser, f"http://127.0.0.1:{port}") as page:
        sign_in(page, KEY)
        for _ in range(clicks):
            path = f"/recommendations/{next(shoppers)}?explain=all&ranking=classic"
            found["API: list with reasons"].append(asked(port, path))
            for name, element in CLICKS.items():
                started = time.perf_counter()
                page.goto(f"/shoppers/{next(shoppers)}")
                page.evaluate(PAINTED)
                found["first view"].append(time.perf_counter() - started)
                page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
                page.evaluate(SETTLED)
                page.locator(element).click()
                found[name].append(page.evaluate(AFTER_CLICK) / 1000)
                found[names[-1]].append(page.evaluate(SERVER) / 1000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="12 clicks of each kind")
    clicks = 12 if parser.parse_args().short else 40
    if shutil.which("chromium") is None:
        sys.exit("no chromium on PATH: apt-get install chromium")
    with TemporaryDirectory() as name:
        folder = Path(name)
        env = make_shop(USUAL, folder) | {"RANKING": "taste", "API_KEY": KEY, "REQUEST_LOG": "0"}
        with server(["api:app"], env, folder / "log.txt") as port:
            measure(port, 2)  # warm
            found = measure(port, clicks)
    print(f"{os.cpu_count()} cores; milliseconds\n{'':<28}{'median':>8}{'95 %':>8}{'n':>6}")
    for what, seconds in found.items():
        high = sorted(seconds)[int(0.95 * (len(seconds) - 1))]
        print(f"{what:<28}{1000 * statistics.median(seconds):>8.1f}{1000 * high:>8.1f}{len(seconds):>6}")


if __name__ == "__main__":
    main()
