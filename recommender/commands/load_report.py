"""What the steps 1 and 2 print of the files that they load: the counts, what a dry run finds, and what has no time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from recommender.commands.shop_files import INTERACTIONS, RATINGS
from recommender.database import LoadCount
from recommender.database.schema import categories, products
from recommender.files import (
    WHERE_TO_GET_IT,
    WITHOUT_CATEGORIES,
    CheckedRows,
    RejectedRows,
    ShopInteractions,
    ShopPeople,
    ShopRatings,
    UnwrittenRejectedRows,
    any_product_rows,
    category_rows,
    product_form,
    product_rows,
)

Part = ShopRatings | ShopInteractions | ShopPeople
_SHOWN_ROWS, _SHOWN_CHARACTERS = 10, 40


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
    """The result of a load. ``vanished``: products with ratings that the old catalog had and the new one lacks.

    ``categories`` is None if the categories are names in the products file, ``understood`` tells what that file is.
    """

    categories: FileReport | None
    products: FileReport
    vanished_count: int
    vanished: tuple[str, ...]
    understood: str = ""


def file_report(rows: CheckedRows, count: LoadCount) -> FileReport:
    """Return the counts of one file; an assertion checks that they add up."""
    assert count.sent == rows.good, f"{rows.path}: {rows.good} good rows, {count.sent} sent"
    duplicates = count.sent - count.kept
    return FileReport(rows.path, rows.rows, count.kept, duplicates, rows.rejected, tuple(rows.ignored))


def describe(report: CatalogReport, rejected: RejectedRows, seconds: float) -> str:
    """Return the counts, one line a file, and further remarks."""
    lines = [report.understood] if report.understood else []
    for table, counts in ((categories, report.categories), (products, report.products)):
        if counts is None:
            lines.append(f"{table.name}: the names of categories in {report.products.file.name}, numbered")
            continue
        lines.append(
            f"{table.name}: {counts.loaded:,} loaded + {counts.duplicates:,} duplicates + {counts.rejected:,} rejected "
            f"= {counts.rows:,} rows of {counts.file.name}"
        )
        if counts.ignored_columns and not report.understood:
            lines.append(f"{counts.file.name}: columns ignored: {', '.join(counts.ignored_columns)}")
    files = [counts for counts in (report.categories, report.products) if counts]
    if n := sum(counts.rejected for counts in files):
        lines.append(f"{n:,} rows were rejected: {rejected.path} lists file, line, reason and text of each")
    if report.vanished_count:
        more = ", ..." * (report.vanished_count > len(report.vanished))
        lines.append(
            f"{report.vanished_count:,} products with ratings are no longer in the catalog; their ratings are kept, "
            f"they are not recommended: {', '.join(report.vanished)}{more}"
        )
    rows = sum(counts.rows for counts in files)
    return "\n".join([*lines, f"in {seconds:.1f} s, {rows / max(seconds, 1e-9):,.0f} rows/s"])


def dry_run(
    products_file: Path,
    categories_file: Path,
    *,
    max_rejected: int | None,
    rows_per_batch: int,
    columns: str | None,
    keep: Collection[str],
    id_pattern: str,
) -> None:
    """Print what a load would read: what the products file is, ten rows, the counts. Nothing is written.

    Raises what reading the files raises.
    """
    rejected, ids = UnwrittenRejectedRows(limit=max_rejected), set[int]()
    form = product_form(products_file, columns, keep) if columns or keep else None
    counts, first = [], list[pa.RecordBatch]()
    with closing(form.source) if form else nullcontext():
        if form is None or "category_id" in form.places:
            hint = WITHOUT_CATEGORIES if form else WHERE_TO_GET_IT
            counts.append(_read(category_rows(categories_file, rejected, hint=hint), "id", ids, []))
        if form:
            rows: CheckedRows = any_product_rows(form, rejected, ids, rows_per_batch=rows_per_batch, keep=keep)
        else:
            rows = product_rows(products_file, rejected, ids, rows_per_batch=rows_per_batch, id_pattern=id_pattern)
        counts.append(_read(rows, "asin", set(), first))
    print(form.words(rows.rows) if form else f"the columns of the Kaggle file; {rows.rows:,} rows")
    shown = pa.Table.from_batches(first).slice(0, _SHOWN_ROWS).to_pandas()
    print(shown.to_string(index=False, na_rep="", max_colwidth=_SHOWN_CHARACTERS))
    for line in [*rejected.reasons, *counts]:
        print(line)


def _read(rows: CheckedRows, key: str, known: set[Any], first: list[pa.RecordBatch]) -> str:
    """Return the counts of a file in one line; add its keys to ``known``, and the first batches to ``first``."""
    for batch in rows.batches():
        known.update(batch[key].to_pylist())
        if sum(part.num_rows for part in first) < _SHOWN_ROWS:
            first.append(batch)
    return (
        f"{rows.path.name}: {rows.rows:,} rows = {len(known):,} loaded + {rows.good - len(known):,} duplicates + "
        f"{rows.rejected:,} rejected"
    )


def counts_of(file: Path, part: Part) -> str:
    """Return one line: the rows of the file are loaded, replaced or rejected."""
    repeated = 0 if isinstance(part, ShopInteractions) else part.repeated
    replaced = "" if isinstance(part, ShopInteractions) else f" + {repeated:,} replaced by a later row"
    zeros = part.unrated if isinstance(part, ShopRatings) else 0
    unrated = f" + {zeros:,} of 0 left out" if zeros else ""
    loaded = part.rows - repeated - part.rejected - zeros
    return f"{file.name}: {part.rows:,} rows = {loaded:,} loaded{replaced} + {part.rejected:,} rejected{unrated}"


def tell_part(file: Path, part: Part, told: str, reasons: Iterable[str]) -> None:
    """Print what an import would read of a file: what it is, ten rows, the first ``reasons`` of rejections, counts."""
    print(told)
    print(part.first.to_pandas().to_string(index=False, na_rep=""))
    for reason in reasons:
        print(reason)
    print(counts_of(file, part))


def tell_untimed(paths: Mapping[str, Path], ratings: ShopRatings | None, log: ShopInteractions | None) -> None:
    """Print how many ratings and interactions have no time, and what that means."""
    times = {RATINGS: None if ratings is None else ratings.ratings, INTERACTIONS: None if log is None else log.events}
    for what, table in times.items():
        if table is not None and (untimed := table["created_at"].null_count):
            given = f"{paths[what].name}: {untimed:,} {what} have no time (created_at is NULL)"
            print(f"{given}: what is hidden of them to evaluate a ranking is drawn by chance")
