"""A file of the published lists for other tools: Parquet, CSV or JSON lines, by the end of its name.

The columns are those of ``recommendations``, in the order of users and ranks, and every id is as the shop wrote it.
Times are UTC: a timestamp in Parquet, ISO 8601 elsewhere. What is not known is null, in CSV an empty field. A title of
the CSV may begin with ``=``, ``+``, ``-`` or ``@``, which a spreadsheet takes for a formula: the file keeps what the
catalog says. Rows go through in blocks, so the memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from sqlalchemy import Engine, Row, select

from recommender.database import database_errors, existing_tables, label
from recommender.database.schema import recommendations
from recommender.errors import SettingError, StepOrderError
from recommender.paths import replace_file
from recommender.publishing.publication import refuse_foreign_lists
from recommender.publishing.versions import published_number

BLOCK_ROWS = 50_000
_TYPES: dict[str, pa.DataType] = {
    "user_id": pa.int64(),  # text if the first one is
    "rank": pa.int32(),
    "product_id": pa.string(),
    "product_name": pa.string(),
    "predicted_rating": pa.float64(),
    "source": pa.string(),
    "support": pa.float64(),
    "n_neighbors": pa.int32(),
    "generated_at": pa.timestamp("us", "UTC"),
}


class _Writer(Protocol):
    def write_batch(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


Form = Callable[[Path, pa.Schema], _Writer]
Progress = Callable[[int], object]
_ORDERED = select(*(recommendations.c[name] for name in _TYPES)).order_by(
    recommendations.c.user_id, recommendations.c["rank"]
)
_NOTHING = "{}: no version is published: run python recommendation_engine.py first"


class _JsonLines:
    """A writer of one JSON object a row."""

    def __init__(self, path: Path, _schema: pa.Schema) -> None:
        self._file = path.open("wb")

    def write_batch(self, batch: pa.RecordBatch) -> None:
        self._file.writelines(orjson.dumps(row) + b"\n" for row in _with_texts(batch).to_pylist())

    def close(self) -> None:
        self._file.close()


class _Csv:
    """A writer of a header and one line a row; texts are quoted."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa_csv.CSVWriter(path, _with_texts(schema.empty_table()).schema)

    def write_batch(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(_with_texts(batch))

    def close(self) -> None:
        self._writer.close()


FORMS: dict[str, Form] = {
    ".parquet": pa_parquet.ParquetWriter,
    ".csv": _Csv,
    ".jsonl": _JsonLines,
}


def checked_form(path: Path) -> Form:
    """Return the writer for the end of the file's name. SettingError if there is none."""
    if (form := FORMS.get(path.suffix.lower())) is None:
        raise SettingError(f"--export {path}: the name must end with {', '.join(FORMS)}, which says what is written")
    return form


def export_lists(engine: Engine, path: Path, *, progress: Progress | None = None) -> tuple[int, int]:
    """Write the lists of the published version into ``path``; return its number and the number of rows.

    All rows are of one version: a batch that publishes meanwhile waits, or is not seen. An old file of that name stays
    until the new one is complete. ``progress`` is called with the number of rows of each block. Raises SettingError for
    the name or a path that cannot be written, StepOrderError if nothing is published, ForeignDataError, DatabaseError.
    """
    form = checked_form(path)
    refuse_foreign_lists(engine)
    if recommendations.name not in existing_tables(engine):
        raise StepOrderError(_NOTHING.format(label(engine)))
    with database_errors(engine), engine.connect() as connection:
        if (number := published_number(connection)) is None:
            raise StepOrderError(_NOTHING.format(label(engine)))
        rows = connection.execution_options(stream_results=True).execute(_ORDERED)
        n_rows = 0

        def write(beside: Path) -> None:
            nonlocal n_rows
            n_rows = _written(form, beside, _blocks(rows.partitions(BLOCK_ROWS)), progress)

        replace_file(path, write)
    return number, n_rows


def _written(form: Form, path: Path, blocks: Iterator[pa.RecordBatch], progress: Progress | None) -> int:
    """Write all blocks; return the number of rows."""
    first, n_rows = next(blocks, None), 0
    writer = form(path, pa.schema(_TYPES) if first is None else first.schema)
    try:
        for batch in chain([] if first is None else [first], blocks):
            writer.write_batch(batch)
            n_rows += batch.num_rows
            if progress:
                progress(batch.num_rows)
    finally:
        writer.close()
    return n_rows


def _blocks(parts: Iterator[Sequence[Row[Any]]]) -> Iterator[pa.RecordBatch]:
    """Yield the rows in blocks. All have the schema of the first."""
    kinds = dict(_TYPES)
    for part in parts:
        columns = dict(zip(_TYPES, zip(*part, strict=True), strict=True))
        if isinstance(columns["user_id"][0], str):
            kinds["user_id"] = pa.string()
        yield pa.record_batch({name: pa.array(values, kinds[name]) for name, values in columns.items()})


def _with_texts(batch: Any) -> Any:
    """Return the batch with its times as ISO 8601."""
    at = batch.schema.get_field_index("generated_at")
    return batch.set_column(at, "generated_at", pc.strftime(batch["generated_at"], "%Y-%m-%dT%H:%M:%SZ"))
