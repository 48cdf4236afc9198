"""Takes the pictures of the pages for the documentation, from a made-up shop of its own.

python -m tests.support.pictures docs      # writes docs/page-*.png
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.support.browser import chromium, opened, sign_in
from tests.support.service import KEY, uvicorn

SHOPPER, MAP = "/shoppers/42", "/map?shopper=42"
# name -> page, color scheme, width, whether the first reason is open
PICTURES = {
    "overview": ("/", "light", 1280, False),
    "shopper": (SHOPPER, "light", 1280, True),
    "shopper-dark": (f"{SHOPPER}?beside=classic", "dark", 1280, False),
    "shopper-phone": (SHOPPER, "light", 360, False),
    "basket": ("/basket?product={first}", "light", 1280, False),
    "product": ("/p/{first}", "light", 1280, False),
    "map": (MAP, "light", 1280, False),
    "map-dark": ("/map", "dark", 1280, False),
    "versions": ("/versions?roll_back=1", "light", 1280, False),
}
LARGEST = 250_000  # bytes of a picture


def make_shop(folder: Path) -> dict[str, str]:
    """Fill a database in the folder by the steps 1 to 3, with two versions; return the environment that names it."""
    env = {"DB_HOST": "", "SQLITE_FILE": str(folder / "shop.db"), "RANKING": "taste", "REQUEST_LOG": "0"}
    catalog = [f"--{name}={folder / f'amazon_{name}.csv'}" for name in ("products", "categories")]
    steps: list[tuple[list[str], dict[str, str]]] = [
        (["-m", "recommender.sample_catalog", "--products", "20000", "--out", str(folder)], {}),
        (["to_rds.py", *catalog], {}),
        (["load_recommendation_data.py"], {}),
        (["recommendation_engine.py"], {"RANKING": "classic"}),
        (["recommendation_engine.py"], {}),
        (["recommendation_engine.py", "--map"], {}),
    ]
    for command, more in steps:
        subprocess.run([sys.executable, *command], cwd=ROOT, env=os.environ | env | more, check=True, stdout=sys.stderr)
    return env


def take(address: str, folder: Path) -> None:
    """Write all pictures of the service at the address."""
    with chromium() as browser:
        first = ""
        for name, (path, scheme, width, is_open) in PICTURES.items():
            with opened(browser, address, width=width, color_scheme=scheme) as page:
                sign_in(page, KEY)
                if not first:
                    page.goto(SHOPPER)
                    first = str(page.locator("ol.products > li").first.get_attribute("data-product"))
                page.goto(path.format(first=first))
                if is_open:
                    page.locator("details summary", has_text="Why").first.click()
                if path.startswith("/map"):
                    page.locator("#map[data-drawn]").wait_for()
                    page.wait_for_timeout(200)
                file = folder / f"page-{name}.png"
                page.screenshot(path=file)
                print(f"{file}, {file.stat().st_size / 1000:.0f} KB")
                assert file.stat().st_size < LARGEST


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures of the pages.")
    parser.add_argument("folder", type=Path, help="to write them to, such as docs")
    folder = parser.parse_args().folder.absolute()
    with tempfile.TemporaryDirectory() as place:
        env = make_shop(Path(place))
        with uvicorn(env, Path(place) / "log.txt") as (port, _server):
            take(f"http://127.0.0.1:{port}", folder)


if __name__ == "__main__":
    main()
