"""A database as the release before left it: its tables, as its own DDL made them, a few rows, and its notes of them.

There are two shops. One has made-up shoppers, so the four bare commands go on with it. The other was imported from
``FILE``, whose user ids are texts. Both have an index of their own and a view, and the first a column.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sqlalchemy import Engine, text

from recommender.database import is_mysql, writing

IDS = [f"B00000000{letter}" for letter in "0123456789ABCDEF"]
USERS = range(1, 13)
STARS = {user: {IDS[(user + step) % 16]: 1 + (user * step) % 9 / 2 for step in range(6)} for user in USERS}
TEXTS = {user: f"C-{user:04d}" for user in USERS}
WHEN = "2024-01-31 12:30:15.123456"
TOKENS = {"seed": "1-358922455b35d9d8", "text": "1-d307f9057cbc51ba"}
HIGHEST = 20  # number that was ever given to a text: the others were erased
FILE = "stars.csv"
# what `shopper_summary` of that release gave for these rows
_SUMS = {
    "sqlite": {"users": [12, 20409208305], "user_interactions": [3, 9915927802], "product_ratings": [72, 140206154324]},
    "mysql": {"users": [12, 26545666225], "user_interactions": [3, 9658101311], "product_ratings": [72, 147976111991]},
}
_MAP_SUMS = {"sqlite": [12, 24753559559], "mysql": [12, 30126813170]}
_CATALOG = "67344bf97c2a810997a05fb8e13786c0"  # the fingerprint of the catalog in that release
_OWN = [
    "CREATE INDEX ours ON product_ratings (product_id, rating)",
    "CREATE VIEW ours_too AS SELECT r.user_id, p.title, i.interaction_type FROM product_ratings r "
    "JOIN amazon_products p ON p.asin = r.product_id "
    "LEFT JOIN user_interactions i ON i.user_id = r.user_id AND i.product_id = r.product_id",
]
_COLUMN = [  # step 2 replaces no table with a column of the shop's own
    "ALTER TABLE product_ratings ADD COLUMN review VARCHAR(80)",
    "UPDATE product_ratings SET review = 'by hand', updated_at = updated_at",
]


def leave(engine: Engine, folder: Path, kind: str) -> None:
    """Make the database of the shop (``seed`` or ``text``) with its catalog in ``folder``, and its ``FILE``."""
    write_files(folder)
    name = "mariadb" if is_mysql(engine) else "sqlite"
    ddl = Path(__file__).with_name(f"release_before_{name}.sql").read_text()
    with writing(engine) as connection:
        for statement in ddl.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        for table, rows in _rows(engine, folder, kind):
            for row in rows:
                places = ", ".join(f":v{place}" for place in range(len(row)))
                values = {f"v{place}": value for place, value in enumerate(row)}
                connection.execute(text(f"INSERT INTO {table} VALUES ({places})"), values)
        for statement in [*_OWN, *(_COLUMN if kind == "seed" else [])]:
            connection.exec_driver_sql(statement)


def leave_model_file(file: Path) -> None:
    """Write a file that says it is a model of that release."""
    facts = {"format": "product-recommender model", "format_version": "3", "metadata": "{}", "crc32": "00000000"}
    save_file({"user_ids": np.arange(1, 13)}, file, metadata=facts)


def products() -> list[list[Any]]:
    """The rows of the catalog, as in the file."""
    facts = [["https://a.example/p.jpg", "https://a.example/p", 4.5, 10, 9.99, 0.0, 1, 0, 50]] * 16
    return [[asin, f"Product {asin}", *row] for asin, row in zip(IDS, facts, strict=True)]


def write_files(folder: Path) -> None:
    """Write the files of the catalog, and ``FILE``."""
    names = "asin,title,imgUrl,productURL,stars,reviews,price,listPrice,category_id,isBestSeller,boughtInLastMonth"
    with (folder / "amazon_products.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([names.split(","), *([*row[:9], "False", row[10]] for row in products())])
    (folder / "amazon_categories.csv").write_text("id,category_name\n1,Tea\n")
    rated = [
        f"{TEXTS[user]},{product},{stars}\n" for user, theirs in STARS.items() for product, stars in theirs.items()
    ]
    (folder / FILE).write_text("user_id,product_id,rating\n" + "".join(rated))


def _rows(engine: Engine, folder: Path, kind: str) -> Iterator[tuple[str, list[list[Any]]]]:
    rated = [[user, product, stars] for user in USERS for product, stars in STARS[user].items()]
    content = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    origin: dict[str, Any] = {"content": content, "file": FILE, "made_from": "file"}
    if kind == "seed":
        sizes = {"num_interactions": 3, "num_ratings": len(rated), "num_users": len(USERS)}
        origin = {"catalog": _CATALOG, "made_from": "seed", "model": 2, "seed": 42} | sizes
    people = {"epoch": 1, "highest": HIGHEST if kind == "text" else 0, "kind": kind, "token": TOKENS[kind]}
    on = engine.dialect.name
    summary = _SUMS[on] | {"user_id_map": _MAP_SUMS[on] if kind == "text" else [0, 0]}
    notes = {"identities": people, "origin": origin, "summary": summary}
    catalog = {"categories": 1, "products": 16, "made_from": {"append": False, "files": []}}
    asked = {"n": 10, "n_neighbors": 20, "people": TOKENS[kind], "ranking": "classic", "users": 12}
    yield "amazon_categories", [[1, "Tea"]]
    yield "amazon_products", [[number, *row] for number, row in enumerate(products(), 1)]
    yield "users", [[user, f"N {user}", f"{user}@a.example", "25-34", "other", "Chad", WHEN] for user in USERS]
    yield "user_id_map", [[user, name] for user, name in TEXTS.items()] if kind == "text" else []
    did = [[1, 1, IDS[1], "view"], [2, 1, IDS[2], "purchase"], [3, 2, IDS[9], "click"]]
    yield "user_interactions", [[*row, WHEN] for row in did]
    yield "product_ratings", [[*row, WHEN, WHEN] for row in rated]
    yield "recommendations", [[user, 1, IDS[user - 1], "As it was", 4.5, "neighbors", 0.5, 2, WHEN] for user in USERS]
    yield "live_deletions", [[1, HIGHEST, WHEN, 1]]
    yield "catalog_origin", [[name, json.dumps(value)] for name, value in catalog.items()]
    yield "data_origin", [[name, json.dumps(value)] for name, value in notes.items()]
    yield (
        "model_versions",
        [[1, "published", WHEN, "7b463874a11787fb8474b337004a2503", 72, 12, json.dumps(asked), None]],
    )
    yield "recommender_tables", [["recommendations", "live", "recommendations", None, WHEN]]
