"""Step 1: load the product catalog from its two CSV files into amazon_categories and amazon_products.

    python to_rds.py                                      # the two files beside this script
    python to_rds.py --products mine.csv --categories mine_categories.csv
    python to_rds.py --products any.csv --columns asin=sku,title=name,price=regular_price
    python to_rds.py --products any.csv --keep brand,color   # more columns of the file come along
    python to_rds.py --products any.csv --columns asin=sku --dry-run    # what it holds; writes nothing
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
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load ends the script without a trace

import pyarrow as pa
from sqlalchemy import Engine, func, select
from tqdm import tqdm

from recommender.commands.exit_status import FORESEEN, exit_status, status_of
from recommender.commands.load_guard import add_load_options, refuse_large_loss, rejection_limit
from recommender.commands.load_report import CatalogReport, FileReport, describe, dry_run, file_report
from recommender.database import (
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
    widen_product_ids,
)
from recommender.database.schema import CATALOG_TABLES, catalog_origin, categories, products, products_with, ratings
from recommender.errors import SettingError
from recommender.files import (
    KAGGLE_PATTERN,
    WITHOUT_CATEGORIES,
    CheckedRows,
    CsvRows,
    RejectedRows,
    any_product_rows,
    category_rows,
    category_table,
    kept_columns,
    product_form,
    product_rows,
    whole_products,
)
from recommender.settings import DATABASE_OPTIONS, PROJECT_ROOT, add_options, load_settings

READ_CHUNK_SIZE = 50_000
PRODUCTS_FILE, CATEGORIES_FILE = PROJECT_ROOT / "amazon_products.csv", PROJECT_ROOT / "amazon_categories.csv"

_SHOWN_ASINS = 5


def load_catalog(
    engine: Engine,
    products_file: Path,
    categories_file: Path,
    rejected: RejectedRows,
    *,
    rows_per_batch: int,
    append: bool = False,
    force: bool = False,
    columns: str | None = None,
    keep: tuple[str, ...] = (),
    id_pattern: str = KAGGLE_PATTERN,
) -> CatalogReport:
    """Check both files and replace the catalog by their rows (``append``: add and update them); all or nothing.

    ``force``: also if most of the products there are would go. ``columns``: what ``--columns`` says of a products file
    of any form; ``keep``: its columns that come along. ``id_pattern``: what the product ids in a file of the Kaggle
    file's form match. Raises InputFileError, TooManyRejectedError, SuspectFileError, ForeignDataError, DatabaseError;
    the tables are then as they were.
    """
    refuse_foreign_catalog(engine, kept=append)
    made_from = made_of(products_file, categories_file, append=append, columns=columns, keep=keep)
    form = product_form(products_file, columns, keep) if columns or keep else None
    known = known_categories(engine) if append else {}
    has_ids = form is None or "category_id" in form.places
    with (
        closing(form.source) if form else nullcontext(),
        closing(category_rows(categories_file, rejected)) if has_ids else nullcontext() as category_file,
        staged(engine, CATALOG_TABLES, append=append, made_as={products: products_with(keep)}) as stage,
    ):
        category_report, ids = None, set[int]()
        if category_file is not None:
            category_report, ids = load_categories(stage, category_file, set(known))
        if form:
            product_file = any_product_rows(form, rejected, ids, rows_per_batch=rows_per_batch, keep=keep)
            numbers = {name: id_ for id_, name in known.items()}
            product_count = stage.load(
                products, whole_products(with_progress(product_file), numbers, keep), skip_duplicates=True
            )
            if category_report is None:
                stage.load(categories, [category_table(numbers)])
        else:
            product_file = product_rows(
                products_file, rejected, ids, rows_per_batch=rows_per_batch, id_pattern=id_pattern
            )
            product_count = stage.load(products, with_progress(product_file), skip_duplicates=True)
        vanished_count, vanished = (0, ()) if append else vanished_products(engine, stage)
        rejected.flush()
        n_categories = category_report.loaded if category_report else len(numbers)
        counts = {"categories": n_categories, "products": product_count.kept}
        # checked again: another run may have ended, or others may have made tables, since
        others = refuse_foreign_catalog(engine, kept=append)
        if not (append or force):
            refuse_large_loss(engine, stage, products_file, product_count.kept)
        stage.load(catalog_origin, [origin_batch({"made_from": made_from} | counts | others)])
        stage.publish(check=None if append else unchanged_catalog(engine))
    told = form.words(product_file.rows) if form else ""
    return CatalogReport(category_report, file_report(product_file, product_count), vanished_count, vanished, told)


def load_categories(stage: Stage, rows: CsvRows, known: set[int]) -> tuple[FileReport, set[int]]:
    """Load the categories; return their counts, and the ids that a product may have, with the ``known`` ones."""
    count = stage.load(categories, noting_ids(rows, known), skip_duplicates=True)
    return file_report(rows, count), known


def check_headers(
    products_file: Path, categories_file: Path, rejected: RejectedRows, columns: str | None, keep: tuple[str, ...]
) -> None:
    """Raise InputFileError if a file cannot be the right one, before a database is made for it."""
    if columns or keep:
        form = product_form(products_file, columns, keep)
        form.source.close()
        if "category_id" in form.places:
            category_rows(categories_file, rejected, hint=WITHOUT_CATEGORIES).close()
    else:
        product_rows(products_file, rejected, (), rows_per_batch=1).close()
        category_rows(categories_file, rejected).close()


def made_of(
    products_file: Path,
    categories_file: Path,
    *,
    append: bool,
    columns: str | None = None,
    keep: tuple[str, ...] = (),
) -> dict[str, object]:
    """Return what identifies these files (name, size, time, as for ``make``), to be noted in the database."""
    try:
        states = [
            (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in (products_file, categories_file)
        ]
    except OSError:
        states = []  # opening the file later reports the fault
    named = ({"columns": columns} if columns else {}) | ({"keep": list(keep)} if keep else {})
    return {"files": [list(state) for state in states], "append": append} | named


def is_loaded(
    engine: Engine, products_file: Path, categories_file: Path, columns: str | None, keep: tuple[str, ...]
) -> bool:
    """Tell whether the tables hold exactly these files already."""
    noted = read_origin(engine, catalog_origin)
    if noted is None or not {categories.name, products.name} <= existing_tables(engine):
        return False
    counts = {"categories": count_rows(engine, categories), "products": count_rows(engine, products)}
    made_from = made_of(products_file, categories_file, append=False, columns=columns, keep=keep)
    return noted == {"made_from": made_from} | counts


def known_categories(engine: Engine) -> dict[int, str]:
    """Return the categories in the database: the name of each id."""
    if categories.name not in existing_tables(engine):
        return {}
    with database_errors(engine), engine.connect() as connection:
        rows = connection.execute(select(categories.c.id, categories.c.category_name).order_by(categories.c.id))
        return {int(number): str(name) for number, name in rows}


def noting_ids(rows: CsvRows, known: set[int]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of the categories file; add their ids to ``known``."""
    for batch in rows.batches():
        known.update(batch["id"].to_pylist())
        yield batch


def with_progress(rows: CheckedRows) -> Iterator[pa.RecordBatch]:
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


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Step 1: load the product catalog from its two CSV files into the database.", allow_abbrev=False
    )
    for name, path in (("products", PRODUCTS_FILE), ("categories", CATEGORIES_FILE)):
        parser.add_argument(
            f"--{name}", type=Path, default=path, metavar="FILE.csv", help=f"(default: {path.name} beside this script)"
        )
    parser.add_argument(
        "--columns",
        metavar="NAMES",
        help="read a products file of any form; its names of the columns, as asin=sku,title=name,price=regular_price; "
        "those with known names need not be given",
    )
    parser.add_argument(
        "--keep", metavar="NAMES", help="more columns of the products file that come along as texts, as brand,color"
    )
    parser.add_argument("--chunk-size", dest="READ_CHUNK_SIZE", metavar="N", help="the same as --read-chunk-size")
    add_load_options(parser, force="replace the catalog even if it loses more than half of its products")
    parser.add_argument("--append", action="store_true", help="add and update products instead of replacing them all")
    parser.add_argument("--dry-run", action="store_true", help="print what the files hold; write nothing")
    parser.add_argument("--if-changed", action="store_true", help="do nothing if these very files are loaded already")
    add_options(parser, ["READ_CHUNK_SIZE", "PRODUCT_ID_PATTERN", *DATABASE_OPTIONS])
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run step 1; return the exit status."""
    options = _parse_arguments(arguments)
    files = options.products, options.categories
    try:
        settings = load_settings(vars(options), {"READ_CHUNK_SIZE": READ_CHUNK_SIZE})
        limit = rejection_limit(options.max_rejected)
        rejected = RejectedRows(limit=limit)
        for given, name in ((options.keep, "--keep"), (options.dry_run, "--dry-run")):
            if given and options.append:
                raise SettingError(f"{name} is for a whole catalog: leave out --append")
        keep = kept_columns(options.keep)
        rows_per_batch, id_pattern = settings.read_chunk_size, settings.product_id_pattern
        form = {"columns": options.columns, "keep": keep, "rows_per_batch": rows_per_batch, "id_pattern": id_pattern}
        if options.dry_run:
            dry_run(*files, max_rejected=limit, **form)
            return 0
        check_headers(*files, rejected, options.columns, keep)
        with connected(settings, create=True) as engine:
            print(label(engine))
            if options.if_changed and is_loaded(engine, *files, options.columns, keep):
                drop_leftovers(engine, CATALOG_TABLES)
                print("nothing to do: these files are loaded already")
                return 0
            started = time.perf_counter()
            widen_product_ids(engine, but=() if options.append else (products,))
            with rejected:
                report = load_catalog(engine, *files, rejected, append=options.append, force=options.force, **form)
            print(describe(report, rejected, time.perf_counter() - started))
    except FORESEEN as error:
        return exit_status("to_rds.py", error)
    return 0


if __name__ == "__main__":
    sys.exit(status_of(main))
