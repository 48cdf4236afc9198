"""The scale of a file's ratings, found from all its values, and the column of ratings on it.

A scale fits if at most one row in a thousand is off it; such rows are rejected. The first that fits is taken:

    likes (all are 1)     half stars up to 5     1 to 10     half steps up to 10     1 to 100

If none fits, the one with the fewest rows off it is taken, as long as no more of them are rejected than usual. RATING_*
name the scale instead, and so do the ratings that a shop has already, unless they are replaced: a file that does not
fit these stops. 0 means unrated everywhere else, so a file with ratings of 0 stops until it is said what they are:
"unrated" leaves these rows out, "lowest" moves every rating up by one step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.errors import InputFileError, SettingError
from recommender.files.checked_rows import CheckedRows
from recommender.files.csv_columns import CsvColumn, number_column, with_decimal_comma
from recommender.files.file_form import FileForm
from recommender.files.rejected_rows import RejectedRows, UnwrittenRejectedRows, most_rejected
from recommender.shop import HALF_STARS, Scale

UNRATED, LOWEST = "unrated", "lowest"  # what a rating of 0 is
CANDIDATES = (HALF_STARS, Scale.of(1, 10, 1), Scale.of("0.5", 10, "0.5"), Scale.of(1, 100, 1))
FEW = 1_000  # one row in so many is an odd one
LIKES, FEWEST_LIKES = Scale.of(1, 1, 1), 20  # fewer rows of 1 alone may be stars
_LARGEST = 1_000_000.0
_SHOWN = 3  # lines in a message

Rows = Callable[[FileForm, CsvColumn, RejectedRows], CheckedRows]


@dataclass(frozen=True)
class WantedScale:
    """What is known of the ratings before the file is read.

    ``scale``: that of RATING_*. ``held``: that of the shop's ratings, if it stays. ``zero_is``: what 0 is, if given.
    """

    scale: Scale | None = None
    held: Scale | None = None
    zero_is: str = ""

    def __post_init__(self) -> None:
        if self.zero_is not in ("", UNRATED, LOWEST):
            raise SettingError(f"--zero-is {self.zero_is[:40]!r} is not known: give {UNRATED} or {LOWEST}")


@dataclass(frozen=True)
class RatedRows:
    """The good rows of a file, ``read``, with ratings on their ``scale``; ``unrated``: rows left out for a rating of 0.

    ``form`` and ``rows``: the file, as it was read last.
    """

    read: pa.Table
    scale: Scale
    unrated: int
    form: FileForm
    rows: CheckedRows

    @property
    def user_ids(self) -> pa.StringArray:
        """The user of each row, as a text."""
        return self.read["user_id"].combine_chunks()


def read_rated(
    opened: Callable[[], FileForm], rows_of: Rows, rejected: RejectedRows, wanted: WantedScale | None = None
) -> RatedRows:
    """Read the whole file into memory; a second time if rows are off its scale, to reject these with their lines.

    ``opened`` opens the file, and ``rows_of`` gives the reader of its rows with this column of ratings. Raises what
    both and reading raise; InputFileError if no scale fits, or another than wanted, or if 0 is among the ratings.
    """
    wanted = wanted or WantedScale()
    form = opened()
    rows = rows_of(form, any_rating(form), rejected)
    read, path = _table(rows), form.source.path
    if "rating" not in form.places:
        return RatedRows(read, HALF_STARS, 0, form, rows)
    values = _Values.of(read["rating"], zero_is=wanted.zero_is)
    if values.below * FEW > len(read):
        lines = _first_lines(opened(), rows_of, _from_0)
        raise InputFileError(
            f"{path}: {values.below:,} of its {len(read):,} ratings are below 0, where no scale begins ({lines}): "
            "leave these rows out of the file, or add one number to all of its ratings so that they begin above 0"
        )
    if values.zeros and not wanted.zero_is and values.zeros * FEW > len(read):
        raise InputFileError(
            f"{path}: {values.zeros:,} of its {len(read):,} ratings are 0, which means unrated here: give --zero-is "
            f"{UNRATED} to leave them out, or --zero-is {LOWEST} to move every rating up by one step"
        )
    scale = _chosen(values, wanted)
    if (off := values.off(scale)) > (
        most_rejected(len(read)) if rejected.limit is None and wanted.scale is None else len(read)
    ):
        lines = _first_lines(opened(), rows_of, partial(rating_on, scale, zero_is=wanted.zero_is))
        raise InputFileError(
            f"{path}: {off:,} of its {len(read):,} ratings are not on the scale nearest to them, {scale.text()} "
            f"({lines}): mend the file, or name its scale by RATING_MIN, RATING_MAX and RATING_STEP"
        )
    if wanted.held is not None and wanted.scale is None and scale != wanted.held:
        lines = _first_lines(opened(), rows_of, partial(rating_on, wanted.held, zero_is=wanted.zero_is))
        raise InputFileError(
            f"{path}: its ratings are {scale.text()}, and those of the shop {wanted.held.text()} ({lines}): mend the "
            "file, or give --replace to replace all ratings and their scale; the tables are as they were"
        )
    if off:
        rejected.restart()
        form = opened()
        rows = rows_of(form, rating_on(scale, form, wanted.zero_is), rejected)
        read = _table(rows)
    _tell(form, scale, wanted.zero_is, values.zeros)
    return _on_scale(read, scale, wanted.zero_is, form, rows)


def any_rating(form: FileForm) -> CsvColumn:
    """Return the column of ratings on any scale, with a decimal comma or a point as the file has it."""
    number = number_column("rating", lowest=-_LARGEST, highest=_LARGEST)
    if not form.has_decimal_comma("rating"):
        return number
    form.notes["rating"] = "decimal comma"
    return with_decimal_comma(number)


def _from_0(form: FileForm) -> CsvColumn:
    number = any_rating(form)

    def exact(text: str) -> float:
        if (value := float(number.exact(text))) < 0:
            raise ValueError(f"{text!r} is below 0")
        return value

    return replace(number, exact=exact, fast=lambda _: None)


def rating_on(scale: Scale, form: FileForm, zero_is: str = "") -> CsvColumn:
    """Return the column of ratings on a scale: as the file has them, before they are moved by ``zero_is``."""
    number, move = any_rating(form), scale.unit if zero_is == LOWEST else 0.0
    low, high = (float(end) - move for end in (scale.low, scale.high))
    kinds = {0.5: "a whole or half number", 1.0: "a whole number"}
    kind = kinds.get(scale.unit, f"a multiple of {scale.unit:g}")

    def allowed(values: NDArray[np.float64]) -> bool:
        known = values != 0 if zero_is == UNRATED else np.ones(len(values), np.bool_)
        return scale.steps_of(values[known] + move) is not None

    def exact(text: str) -> float:
        value = float(number.exact(text))
        if not low <= value <= high and not (value == 0 and zero_is == UNRATED):
            raise ValueError(f"{text!r} is out of range ({low:g} to {high:g})")
        if not allowed(np.array([value])):
            raise ValueError(f"{text!r} is not {kind}")
        return value

    def fast(texts: pa.StringArray) -> pa.Array | None:
        values = number.fast(texts)
        return None if values is None or not allowed(values.to_numpy()) else values

    return replace(number, exact=exact, fast=fast)


@dataclass(frozen=True)
class _Values:
    """The distinct ratings of a file as they will be stored, and how many rows have each.

    ``zeros`` and ``below``: the rows of 0 and below 0.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    zeros: int
    below: int
    moved: bool

    @classmethod
    def of(cls, ratings: pa.ChunkedArray, *, zero_is: str) -> _Values:
        counted = pc.value_counts(ratings.combine_chunks())
        values, counts = counted.field("values").to_numpy(), counted.field("counts").to_numpy()
        zeros, below = int(counts[values == 0].sum()), int(counts[values < 0].sum())
        if zero_is == UNRATED:
            values, counts = values[values != 0], counts[values != 0]
        return cls(values, counts, zeros, below, zero_is == LOWEST)

    def off(self, scale: Scale) -> int:
        """Return the number of rows whose rating is not on the scale."""
        values = self.values + scale.unit if self.moved else self.values
        return int(self.counts[~scale.holds(values)].sum())


def _chosen(values: _Values, wanted: WantedScale) -> Scale:
    """Return the scale that the ratings are on, or are nearest to."""
    if wanted.scale is not None:
        return wanted.scale
    rows = int(values.counts.sum())
    if wanted.held is not None and values.off(wanted.held) * FEW <= rows:
        return wanted.held
    if rows >= FEWEST_LIKES and not values.moved and set(values.values.tolist()) == {1.0}:
        return LIKES
    known = [_moved(scale) for scale in CANDIDATES] if values.moved else list(CANDIDATES)
    for scale in known:
        if values.off(scale) * FEW <= rows:
            return scale
    nearest = min(known, key=values.off)  # the first of equals
    held = wanted.held
    return held if held is not None and values.off(held) <= values.off(nearest) else nearest


def _moved(scale: Scale) -> Scale:
    """Return the scale of ratings from 0 to the end of ``scale`` that are moved up by one step."""
    return Scale.of(scale.step, scale.high + scale.step, scale.step)


def _first_lines(form: FileForm, rows_of: Rows, column: Callable[..., CsvColumn]) -> str:
    """Return the lines of the first ratings that the column of this form does not take."""
    sink = UnwrittenRejectedRows(limit=1 << 62)
    for _ in rows_of(form, column(form=form), sink).batches():
        if len(sink.reasons) >= _SHOWN:
            form.source.close()
            break
    return ", ".join(reason.partition(", ")[2] for reason in sink.reasons[:_SHOWN])


def _tell(form: FileForm, scale: Scale, zero_is: str, zeros: int) -> None:
    """Note the scale for the line that tells what was understood; nothing if it is the default."""
    told = [form.notes["rating"]] if "rating" in form.notes else []
    told += ["likes: all are 1"] if scale == LIKES else [scale.text()] if scale != HALF_STARS else []
    if zero_is == LOWEST:
        told.append(f"moved up by {scale.unit:g}: 0 has become {scale.unit:g}")
    elif zero_is == UNRATED:
        told.append(f"{zeros:,} of 0 left out")
    form.notes.update({"rating": "; ".join(told)} if told else {})


def _on_scale(read: pa.Table, scale: Scale, zero_is: str, form: FileForm, rows: CheckedRows) -> RatedRows:
    kept = read.filter(pc.not_equal(read["rating"], 0.0)) if zero_is == UNRATED else read
    steps = scale.steps_of(kept["rating"].to_numpy() + (scale.unit if zero_is == LOWEST else 0.0))
    assert steps is not None  # the column holds no others
    exact = pa.array(np.array([scale.stars_of(step) for step in range(scale.most + 1)])[steps])
    at = kept.column_names.index("rating")
    return RatedRows(kept.set_column(at, "rating", exact), scale, len(read) - len(kept), form, rows)


def _table(rows: CheckedRows) -> Any:
    batches = list(rows.batches())
    return pa.Table.from_batches(batches, batches[0].schema)
