"""Small helpers that fill a database with plain INSERTs, as a shop would."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, insert

from recommender.database import writing
from recommender.database.schema import metadata, products, ratings, users

WHEN = dt.datetime(2024, 1, 1)


def product_row(asin: str, **values: Any) -> dict[str, Any]:
    """A catalog row with every column filled."""
    row = {
        "asin": asin,
        "title": f"Product {asin}",
        "imgUrl": f"https://example.com/{asin}.jpg",
        "productURL": f"https://example.com/dp/{asin}",
        "stars": 4.5,
        "reviews": 10,
        "price": 9.99,
        "listPrice": 0.0,
        "category_id": 1,
        "isBestSeller": False,
        "boughtInLastMonth": 50,
    }
    return row | values


def fill(engine: Engine, stars: Mapping[int, Mapping[str, float]], catalog: Iterable[str | dict[str, Any]]) -> None:
    """Create all tables and insert the catalog (asins or whole rows), the users and their ratings."""
    metadata.create_all(engine)
    rows = [entry if isinstance(entry, dict) else product_row(entry) for entry in catalog]
    rated = [
        {"user_id": user, "product_id": product, "rating": rating, "created_at": WHEN, "updated_at": WHEN}
        for user, theirs in stars.items()
        for product, rating in theirs.items()
    ]
    with writing(engine) as connection:
        for table, values in (
            (products, rows),
            (users, [{"user_id": user, "created_at": WHEN} for user in stars]),
            (ratings, rated),
        ):
            for start in range(0, len(values), 5_000):
                connection.execute(insert(table), values[start : start + 5_000])


def made_up(n_users: int, n_products: int, seed: int = 0) -> dict[int, dict[str, float]]:
    """Ratings of users who have some of the first products in common."""
    rng = np.random.default_rng(seed)
    found = {}
    for user in range(1, n_users + 1):
        chosen = np.unique((n_products * rng.random(rng.integers(1, 9)) ** 2).astype(int))
        found[user] = {f"p{product:03d}": float(rng.integers(1, 11)) / 2 for product in chosen.tolist()}
    return found


def read_all_beauty(file: Path) -> dict[int, dict[str, float]]:
    """The All Beauty ratings. Users are numbered in the order of their ids; of a repeated pair the last one counts."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [(row["user_id"], row["parent_asin"], float(row["rating"])) for row in csv.DictReader(lines)]
    numbers = {name: number for number, name in enumerate(sorted({name for name, _, _ in rows}), start=1)}
    stars: dict[int, dict[str, float]] = {}
    for name, product, rating in rows:
        stars.setdefault(numbers[name], {})[product] = rating
    return stars


def read_filmtrust(file: Path) -> dict[int, dict[str, float]]:
    """The FilmTrust ratings. Items are written as ten digits."""
    stars: dict[int, dict[str, float]] = {}
    for line in file.read_text().splitlines():
        user, item, rating = line.split()
        stars.setdefault(int(user), {})[f"{int(item):010d}"] = float(rating)
    return stars
