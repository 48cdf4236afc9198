"""The file ``rejected_rows.csv``: each rejected row with its line and the reason."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType

from recommender.errors import SettingError
from recommender.paths import new_text_file

RAW_CHARACTERS = 1_000
SHARE_REJECTED, ROWS_REJECTED = 0.01, 100  # more than both: the wrong file
SMALL_FILES_SHARE = 0.1  # more than that: the wrong file, also if it is a small one


def most_rejected(rows: int, *, small: bool = True) -> int:
    """Return how many of the ``rows`` of a file may be rejected; not ``small``: the rule for small files is left out.

    >>> [most_rejected(rows) for rows in (9, 120, 1_000, 10_000, 20_000)]
    [0, 12, 100, 100, 200]
    """
    allowed = max(ROWS_REJECTED, int(SHARE_REJECTED * rows))
    return min(allowed, int(SMALL_FILES_SHARE * rows)) if small else allowed


SHOWN_REASONS = 10
MOST_READ = 20_000  # rows of a file that are counted by reason
_VALUE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")  # a text as Python writes it


class RejectedRows:
    """The file of rejected rows; a context manager that writes it from scratch, header first, when it is entered.

    A link of that name is not followed (`recommender.paths`).
    """

    def __init__(self, path: Path = Path("rejected_rows.csv"), *, limit: int | None = None) -> None:
        """Accept up to ``limit`` rejected rows of one file; None: 1 % of its rows, or 100 if more; at most a tenth."""
        self.path = path
        self.limit = limit
        self.where = f"see {path}, then "  # begins the advice to mend the file

    def __enter__(self) -> RejectedRows:
        with self._writable():
            self._file = new_text_file(self.path)
            self._file.write("file,line,reason,raw\n")
        # quoted, since the writer does not quote a lone carriage return by itself
        self._writer = csv.writer(self._file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._writable():
            self._file.close()

    def restart(self) -> None:
        """Forget the rows so far: the file that they are of is read again."""
        with self._writable():
            self._file.seek(0)
            self._file.truncate()
            self._file.write("file,line,reason,raw\n")

    def flush(self) -> None:
        """Write the buffered rows, so that a full disk is known before the tables are changed."""
        with self._writable():
            self._file.flush()

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self.path.absolute()
            raise SettingError(
                f"{where} cannot be written ({error.strerror}): correct that, or run from another folder"
            ) from None

    def add(self, file: Path, line: int, reason: str, raw: bytes) -> None:
        """Write one row."""
        text = raw[: 4 * RAW_CHARACTERS].decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        with self._writable():
            self._writer.writerow([str(file), line, reason, text[:RAW_CHARACTERS]])


class UnwrittenRejectedRows(RejectedRows):
    """Rejected rows of which no file is written; the first reasons are kept."""

    def __init__(self, *, limit: int | None = None) -> None:
        super().__init__(limit=limit)
        self.where, self.reasons = "", list[str]()

    def __enter__(self) -> UnwrittenRejectedRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def restart(self) -> None:
        self.reasons.clear()

    def add(self, file: Path, line: int, reason: str, raw: bytes) -> None:
        """Keep the reason, if it is one of the first."""
        del raw
        if len(self.reasons) < SHOWN_REASONS:
            self.reasons.append(f"{file.name}, line {line}: {reason}")


def rejected_by_reason(path: Path) -> tuple[datetime, dict[str, int]] | None:
    """Return when the file was written (UTC), and how many rows it has of each reason; None if it cannot be read.

    Of a reason the words before the value count. At most `MOST_READ` rows are read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reasons = Counter(
                _kind(row["reason"]) for row in islice(csv.DictReader(lines), MOST_READ) if row.get("reason")
            )
            written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    return written, dict(reasons.most_common())


def _kind(reason: str) -> str:
    """Return a reason without the value.

    >>> _kind("price 'abc' is not a number")
    'price … is not a number'
    """
    return _VALUE.sub("…", reason)
