"""The checks of steps 1 and 2 that stop a load that would ruin the shop, and the options that let it go on.

A catalog that this project made up counts as none. A file that lacks most people is loaded, and step 2 says so.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Engine, FromClause, func, literal_column, select

from recommender.database import Stage, count_rows, database_errors, existing_tables, in_catalog
from recommender.database.schema import interactions, products, ratings, users
from recommender.errors import SettingError, SuspectFileError
from recommender.synthetic import PRODUCT_ADDRESS


def add_load_options(parser: ArgumentParser, *, force: str) -> None:
    """Give ``parser`` the options ``--max-rejected`` and ``--force``; ``force``: what the second one lets pass."""
    parser.add_argument(
        "--max-rejected",
        metavar="N",
        help="stop when more rows of a file than this are rejected (default: 1 %% of its rows, or 100 if that is more, "
        "and a tenth of a small file)",
    )
    parser.add_argument("--force", action="store_true", help=force)


def rejection_limit(text: str | None) -> int | None:
    """Return the number of ``--max-rejected``, None for the default. SettingError."""
    if text is None or (text.isascii() and text.isdigit() and len(text) <= 18):
        return None if text is None else int(text)
    raise SettingError(f"--max-rejected {text!r} is not a whole number of 0 or more, for example 1000")


def refuse_large_loss(engine: Engine, stage: Stage, file: Path, n_new: int) -> None:
    """Raise SuspectFileError if more than half of the products there are would go. ``n_new``: the file's products."""
    if products.name not in existing_tables(engine) or _is_made_up(engine):
        return
    new = stage.tables[products]
    with database_errors(engine):
        before = _count(stage, products)
        kept = _count(stage, products.join(new, new.c.asin == products.c.asin))
    if 2 * kept < before:
        raise SuspectFileError(
            f"{file}: {before - kept:,} of the {before:,} products in the catalog are not among the {n_new:,} of the "
            "file and would go: check that it is the right file, or give --force; the tables are as they were"
        )


def refuse_other_products(engine: Engine, file: Path, product_ids: pa.ChunkedArray, *, what: str = "ratings") -> None:
    """Raise SuspectFileError if less than half of the rows (n,) are of products of the catalog that is there.

    If that is made up, say so instead.
    """
    if products.name not in existing_tables(engine) or not count_rows(engine, products):
        return
    rated = product_ids.combine_chunks().dictionary_encode()
    n_listed = int(in_catalog(engine, rated.dictionary)[rated.indices.to_numpy()].sum())
    if 2 * n_listed >= len(rated):
        return
    found = f"{n_listed:,} of its {len(rated):,} {what} are of products in the catalog"
    if _is_made_up(engine):
        print(f"{file.name}: {found}, which is made up: python to_rds.py --products FILE loads yours")
        return
    raise SuspectFileError(
        f"{file}: {found}: check that both have the same product ids, or give --force; the tables are as they were"
    )


def told_loss(engine: Engine, stage: Stage, names: str) -> str:
    """Return one line if most people, ratings or interactions that are there go with this load, else "".

    Call it before the tables are swapped. ``names``: those of the files.
    """
    there, new_users = existing_tables(engine), stage.tables[users]
    before, now, stay = {}, {}, {}
    with database_errors(engine):
        for table, what in ((users, "people"), (ratings, "ratings"), (interactions, "interactions")):
            before[what] = _count(stage, table) if table.name in there else 0
            now[what] = stay[what] = _count(stage, stage.tables[table])
        if before["people"]:
            stay["people"] = _count(stage, users.join(new_users, new_users.c.user_id == users.c.user_id))
    if all(2 * stay[what] >= n for what, n in before.items()):
        return ""
    were, are = (", ".join(f"{what} {n[what]:,}" for what in n if before[what] or now[what]) for n in (before, now))
    return (
        f"{names}: most of what was there is gone. Before: {were}; now: {are}, people from before "
        f"{stay['people']:,}. If this is not the complete file, import that one before you run step 3"
    )


def _count(stage: Stage, rows: FromClause) -> int:
    return int(stage.connection.execute(select(func.count()).select_from(rows)).scalar_one())


def _is_made_up(engine: Engine) -> bool:
    """Tell whether all products of the catalog have the addresses of `recommender.synthetic`, as no shop has."""
    others = products.c.productURL.is_(None) | ~products.c.productURL.startswith(PRODUCT_ADDRESS)
    with database_errors(engine), engine.connect() as connection:
        return (
            connection.execute(select(literal_column("1")).select_from(products).where(others).limit(1)).first() is None
        )
