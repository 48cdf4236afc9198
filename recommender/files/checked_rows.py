"""What all readers of rows share: the columns that are read, the counts, and the limit of rejected rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from recommender.errors import InputFileError, TooManyRejectedError
from recommender.files.csv_columns import CsvColumn
from recommender.files.rejected_rows import RejectedRows, most_rejected
from recommender.files.sources import Source, listed

_NAMED = ("asin", "user_id", "product_id")  # columns that the option --columns can name


class CheckedRows:
    """The rows of one file; iterate over ``batches()`` once, then read the counts."""

    columns: list[CsvColumn]
    ignored: list[str]
    _shortest_row: int  # least bytes of a valid row

    def __init__(self, source: Source, rejected: RejectedRows) -> None:
        self.source, self.path, self.size, self.rejected_rows = source, source.path, source.size, rejected
        self.rows = self.good = self.rejected = self.bytes_read = 0
        self._first_reject = ""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the good rows, in the file's order, columns under our names.

        TooManyRejectedError as soon as the limit is certain to be exceeded; InputFileError if the file has no rows.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the file without reading its rows."""
        self.source.close()

    def require_rows(self) -> None:
        """Raise InputFileError unless a row is good."""
        if not self.rows:
            raise InputFileError(f"{self.path} has a header and no rows: check that it is the right file")
        if not self.good:
            raise InputFileError(f"{self.path}: none of its {self.rows:,} rows is valid ({self._first_reject})")

    def _choose(
        self,
        columns: Sequence[CsvColumn],
        optional: Sequence[CsvColumn],
        header: Sequence[str],
        theirs: Sequence[str] = (),
    ) -> None:
        """Keep the columns that ``header`` names; ``theirs``: the file's own names of it. InputFileError."""
        missing = [column.name for column in columns if column.name not in header]
        if missing:
            shown = listed(theirs or header)
            named = [name for name in missing if name in _NAMED]
            other = f", or name what it calls them, as --columns {named[0]}=NAME" if named else ""
            if "asin" in header:  # a catalog of another form than Kaggle's
                other = ", or read it as a shop's own: --columns asin=asin"
            raise InputFileError(
                f"{self.path}: no column {', '.join(missing)} among {shown}: check that it is the right file{other}"
            )
        self.columns = [column for column in (*columns, *optional) if column.name in header]
        known = {column.name for column in self.columns}
        self.ignored = [name for name, ours in zip(theirs or header, header, strict=True) if ours not in known]

    def _reject(self, line: int, reason: str, raw: bytes) -> None:
        self.rejected_rows.add(self.path, line, reason, raw)
        self._first_reject = self._first_reject or f"line {line}: {reason}"
        self.rejected += 1
        self._count(1, 0)

    def _count(self, rows: int, good: int) -> None:
        self.rows += rows
        self.good += good

    def _check_limit(self, bytes_left: int) -> None:
        """Raise TooManyRejectedError if the limit is exceeded whatever the rest of the file holds.

        The share of rejected rows can still fall while good rows may follow, as many as the remaining bytes have room
        for.
        """
        limit = self.rejected_rows.limit
        if limit is None:
            most_rows = self.rows + (bytes_left + self.source.most_left) // self._shortest_row
            # a small file without a good row has a clearer message
            limit = most_rejected(most_rows, small=self.good > 0)
        if self.rejected > limit:
            raise TooManyRejectedError(
                f"{self.path}: {self.rejected:,} of {self.rows:,} rows were rejected, more than the allowed {limit:,} "
                f"(the first: {self._first_reject}); {self.rejected_rows.where}mend the file or give "
                "--max-rejected; the tables are as they were"
            )
