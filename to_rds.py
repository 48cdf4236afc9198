"""Step 1: load the product catalog from its two CSV files into amazon_categories and amazon_products.

    python to_rds.py                                      # the two files beside this script
    python to_rds.py --products mine.csv --categories mine_categories.csv
    python to_rds.py --append                             # add and update products instead of replacing them all

Every row is checked. A faulty row is written to ``rejected_rows.csv`` (file, line, reason, raw text) and the load goes
on. With more than 1 % and more than 100 rejected rows, or more than a tenth of a small file, the load stops, since it
must be the wrong file. It also stops if the new catalog lacks more than half of the products there are (``--force``
goes on). If an ASIN comes twice, the first row counts. The new tables replace the old ones in one step, so readers see
the whole old catalog or the whole new one. A run that is killed at any point leaves the old one. Ratings are never
changed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Engine, func, select
from tqdm import tqdm

from recommender.commands.exit_status import FORESEEN, exit_status
from recommender.commands.load_guard import add_load_options, refuse_large_loss, rejection_limit
from recommender.database import (
    LoadCount,
    Stage,
    connected,
    count_rows,
    database_errors,
    drop_leftovers,
    existing_tables,
    label,
    origin_batch,
    read_origin,
    refuse_foreign_catalog,
    staged,
    unchanged_catalog,
)
from recommender.database.schema import CATALOG_TABLES, catalog_origin, categories, products, ratings
from recommender.files import CsvRows, RejectedRows, category_rows, product_rows
from recommender.settings import DATABASE_OPTIONS, PROJECT_ROOT, add_options, load_settings

READ_CHUNK_SIZE = 50_000
PRODUCTS_FILE, CATEGORIES_FILE = PROJECT_ROOT / "amazon_products.csv", PROJECT_ROOT / "amazon_categories.csv"

_SHOWN_ASINS = 5


@dataclass(frozen=True)
class FileReport:
    """The counts of the rows of one file."""

    file: Path
    rows: int
    loaded: int
    duplicates: int
    rejected: int
    ignored_columns: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.loaded + self.duplicates + self.rejected == self.rows, f"rows lost in silence: {self}"


@dataclass(frozen=True)
class CatalogReport:
    """The result of a load. ``vanished``: products with ratings that the old catalog had and the new one lacks."""

    categories: FileReport
    products: FileReport
    vanished_count: int
    vanished: tuple[str, ...]


def load_catalog(
    engine: Engine,
    products_file: Path,
    categories_file: Path,
    rejected: RejectedRows,
    *,
    rows_per_batch: int,
    append: bool = False,
    force: bool = False,
) -> CatalogReport:
    """Check both files and replace the catalog by their rows (``append``: add and update them); all or nothing.

    ``force``: also if most of the products there are would go. Raises InputFileError, TooManyRejectedError,
    SuspectFileError, ForeignDataError, DatabaseError; the tables are then as they were.
    """
    refuse_foreign_catalog(engine, kept=append)
    made_from = made_of(products_file, categories_file, append=append)
    known = known_categories(engine) if append else set()
    with (
        closing(category_rows(categories_file, rejected)) as category_file,
        staged(engine, CATALOG_TABLES, append=append) as stage,
    ):
        category_count = stage.load(categories, noting_ids(category_file, known), skip_duplicates=True)
        product_file = product_rows(products_file, rejected, known, rows_per_batch=rows_per_batch)
        product_count = stage.load(products, with_progress(product_file), skip_duplicates=True)
        vanished_count, vanished = (0, ()) if append else vanished_products(engine, stage)
        rejected.flush()
        counts = {"categories": category_count.kept, "products": product_count.kept}
        # checked again: another run may have ended, or others may have made tables, since
        others = refuse_foreign_catalog(engine, kept=append)
        if not (append or force):
            refuse_large_loss(engine, stage, products_file, product_count.kept)
        stage.load(catalog_origin, [origin_batch({"made_from": made_from} | counts | others)])
        stage.publish(check=None if append else unchanged_catalog(engine))
    reports = file_report(category_file, category_count), file_report(product_file, product_count)
    return CatalogReport(*reports, vanished_count, vanished)


def check_headers(products_file: Path, categories_file: Path, rejected: RejectedRows) -> None:
    """Raise InputFileError if a file cannot be the right one, before a database is made for it."""
    product_rows(products_file, rejected, (), rows_per_batch=1).close()
    category_rows(categories_file, rejected).close()


def made_of(products_file: Path, categories_file: Path, *, append: bool) -> dict[str, object]:
    """Return what identifies these files (name, size, time, as for ``make``), to be noted in the database."""
    try:
        states = [
            (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in (products_file, categories_file)
        ]
    except OSError:
        states = []  # opening the file later reports the fault
    return {"files": [list(state) for state in states], "append": append}


def is_loaded(engine: Engine, products_file: Path, categories_file: Path) -> bool:
    """Tell whether the tables hold exactly these files already."""
    noted = read_origin(engine, catalog_origin)
    if noted is None or not {categories.name, products.name} <= existing_tables(engine):
        return False
    counts = {"categories": count_rows(engine, categories), "products": count_rows(engine, products)}
    return noted == {"made_from": made_of(products_file, categories_file, append=False)} | counts


def known_categories(engine: Engine) -> set[int]:
    """Return the category ids in the database."""
    if categories.name not in existing_tables(engine):
        return set()
    with database_errors(engine), engine.connect() as connection:
        return set(connection.execute(select(categories.c.id)).scalars())


def noting_ids(rows: CsvRows, known: set[int]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of the categories file; add their ids to ``known``."""
    for batch in rows.batches():
        known.update(batch["id"].to_pylist())
        yield batch


def with_progress(rows: CsvRows) -> Iterator[pa.RecordBatch]:
    """Yield the batches of the products file, with a progress bar in rows per second on stderr."""
    # delay: a file that is refused at once leaves only the line of the error on stderr
    with tqdm(unit=" rows", unit_scale=True, desc=rows.path.name, delay=1) as bar:
        for batch in rows.batches():
            yield batch
            # the number of rows is an estimate until the end
            bar.total = round(rows.rows * rows.size / rows.bytes_read)
            bar.update(rows.rows - bar.n)
        bar.delay, bar.total = 0, rows.rows
        bar.update(rows.rows - bar.n)
        bar.refresh()


def vanished_products(engine: Engine, stage: Stage) -> tuple[int, tuple[str, ...]]:
    """Return the number of rated products of the old catalog that are not in the new one, and the first few of them."""
    if not {products.name, ratings.name} <= existing_tables(engine):
        return 0, ()
    new = stage.tables[products]
    rated = select(ratings.c.product_id).distinct().subquery()
    gone = (
        select(rated.c.product_id)
        .join(products, products.c.asin == rated.c.product_id)
        .outerjoin(new, new.c.asin == rated.c.product_id)
        .where(new.c.asin.is_(None))
    )
    with database_errors(engine):
        count = stage.connection.execute(select(func.count()).select_from(gone.subquery())).scalar_one()
        first = stage.connection.execute(gone.order_by(rated.c.product_id).limit(_SHOWN_ASINS)).scalars()
        return count, tuple(first)


def file_report(rows: CsvRows, count: LoadCount) -> FileReport:
    """Return the counts of one file; an assertion checks that they add up."""
    assert count.sent == rows.good, f"{rows.path}: {rows.good} good rows, {count.sent} sent"
    duplicates = count.sent - count.kept
    return FileReport(rows.path, rows.rows, count.kept, duplicates, rows.rejected, tuple(rows.ignored))


def describe(report: CatalogReport, rejected: RejectedRows, seconds: float) -> str:
    """Return the counts, one line a file, and further remarks."""
    lines = []
    for table, counts in ((categories, report.categories), (products, report.products)):
        lines.append(
            f"{table.name}: {counts.loaded:,} loaded + {counts.duplicates:,} duplicates + {counts.rejected:,} rejected "
            f"= {counts.rows:,} rows of {counts.file.name}"
        )
        if counts.ignored_columns:
            lines.append(f"{counts.file.name}: columns ignored: {', '.join(counts.ignored_columns)}")
    if n := report.categories.rejected + report.products.rejected:
        lines.append(f"{n:,} rows were rejected: {rejected.path} lists file, line, reason and text of each")
    if report.vanished_count:
        more = ", ..." * (report.vanished_count > len(report.vanished))
        lines.append(
            f"{report.vanished_count:,} products with ratings are no longer in the catalog; their ratings are kept, "
            f"they are not recommended: {', '.join(report.vanished)}{more}"
        )
    rows = report.categories.rows + report.products.rows
    return "\n".join([*lines, f"in {seconds:.1f} s, {rows / max(seconds, 1e-9):,.0f} rows/s"])


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Step 1: load the product catalog from its two CSV files into the database.", allow_abbrev=False
    )
    for name, path in (("products", PRODUCTS_FILE), ("categories", CATEGORIES_FILE)):
        parser.add_argument(
            f"--{name}", type=Path, default=path, metavar="FILE.csv", help=f"(default: {path.name} beside this script)"
        )
    parser.add_argument("--chunk-size", dest="READ_CHUNK_SIZE", metavar="N", help="the same as --read-chunk-size")
    add_load_options(parser, force="replace the catalog even if it loses more than half of its products")
    parser.add_argument("--append", action="store_true", help="add and update products instead of replacing them all")
    parser.add_argument("--if-changed", action="store_true", help="do nothing if these very files are loaded already")
    add_options(parser, ["READ_CHUNK_SIZE", *DATABASE_OPTIONS])
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run step 1; return the exit status."""
    options = _parse_arguments(arguments)
    files = options.products, options.categories
    try:
        settings = load_settings(vars(options), {"READ_CHUNK_SIZE": READ_CHUNK_SIZE})
        rejected = RejectedRows(limit=rejection_limit(options.max_rejected))
        check_headers(*files, rejected)
        with connected(settings, create=True) as engine:
            print(label(engine))
            if options.if_changed and is_loaded(engine, *files):
                drop_leftovers(engine, CATALOG_TABLES)
                print("nothing to do: these files are loaded already")
                return 0
            started = time.perf_counter()
            with rejected:
                report = load_catalog(
                    engine,
                    *files,
                    rejected,
                    rows_per_batch=settings.read_chunk_size,
                    append=options.append,
                    force=options.force,
                )
            print(describe(report, rejected, time.perf_counter() - started))
    except FORESEEN as error:
        return exit_status("to_rds.py", error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
