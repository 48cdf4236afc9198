"""The checks of steps 1 and 2 that stop a load that would ruin the shop, and the options that let it go on."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Engine, func, select

from recommender.database import Stage, count_rows, database_errors, existing_tables, in_catalog
from recommender.database.schema import products
from recommender.errors import SettingError, SuspectFileError


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
    if products.name not in existing_tables(engine):
        return
    new, counted = stage.tables[products], select(func.count())
    with database_errors(engine):
        before = stage.connection.execute(counted.select_from(products)).scalar_one()
        stay = stage.connection.execute(counted.select_from(products.join(new, new.c.asin == products.c.asin)))
        kept = stay.scalar_one()
    if 2 * kept < before:
        raise SuspectFileError(
            f"{file}: {before - kept:,} of the {before:,} products in the catalog are not among the {n_new:,} of the "
            "file and would go: check that it is the right file, or give --force; the tables are as they were"
        )


def refuse_other_products(engine: Engine, file: Path, product_ids: pa.ChunkedArray, *, what: str = "ratings") -> None:
    """Raise SuspectFileError if less than half of the rows (n,) are of products of the catalog that is there."""
    if products.name not in existing_tables(engine) or not count_rows(engine, products):
        return
    rated = product_ids.combine_chunks().dictionary_encode()
    n_listed = int(in_catalog(engine, rated.dictionary)[rated.indices.to_numpy()].sum())
    if 2 * n_listed < len(rated):
        raise SuspectFileError(
            f"{file}: {n_listed:,} of its {len(rated):,} {what} are of products in the catalog: check that both have "
            "the same product ids, or give --force; the tables are as they were"
        )
