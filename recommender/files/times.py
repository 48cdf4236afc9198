"""Times in a file: numbers since 1970 in one unit for the whole column, ISO 8601 in all its forms, and eight digits.

The unit is told by the size of most of the first numbers: 1.7e9 are seconds, 1.7e12 milliseconds, 1.7e15 microseconds,
1.7e18 nanoseconds. ``20240131`` is the date, whatever the unit is, if its digits are one. ``2024-031`` is the day of
the year, ``2024-01`` the first of the month, and 24:00 the end of the day. A date may be followed by T or a blank and a
time, with a fraction of the second, and by Z, UTC, GMT or an offset; without a zone it is UTC. The form of C's
``ctime`` with a zone (``Fri Nov 09 07:57:22 -0800 2015``, as in the files of Goodreads) is read as well. So is
``12/31/2010 8:26 PM`` or ``31-12-2010``, with the month or the day first for the whole column: the values that fit one
order only tell it (`day_or_month_first`). Without any the month is first, which is told. ``31.12.2010 8:26`` has the
day first anyway, and ``2010/12/31`` the year.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from calendar import isleap
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.files.csv_columns import CsvColumn

TIME = pa.timestamp("us")
UNITS = {"seconds": 1e6, "milliseconds": 1e3, "microseconds": 1.0, "nanoseconds": 1e-3}  # microseconds of each
DATES, ISO = "dates of eight digits", "ISO 8601"
MONTH_FIRST, DAY_FIRST = "month/day/year", "day/month/year"
EITHER = "month/day/year is assumed: no day is above 12"
DOTTED = "day.month.year"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
_DAY = re.compile(r"(?:19[7-9][0-9]|20[0-9]{2})(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
_FIRST_DAY, _LAST_DAY = 19_700_101, 20_991_231
_ZONE = re.compile(r"(.*[0-9])\s*(?:(z|utc|gmt)|\s([+-][0-9:]+))", re.IGNORECASE)
_PARTS = r"([0-9]{1,2})[/-]([0-9]{1,2})[/-]([0-9]{4})(?:,? +([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)(?: ?([AaPp])[Mm])?)?"
_SLASHES, _DOTS = re.compile(_PARTS), re.compile(_PARTS.replace("[/-]", r"\."))
_YEAR_FIRST = re.compile(r"([0-9]{4})([/-])([0-9]{1,2})\2([0-9]{1,2})\b(.*)")
_MONTH, _DAY_OF_YEAR = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])"), re.compile(r"([0-9]{4})-([0-9]{3})(?![0-9])(.*)")
_MIDNIGHT = re.compile(r"(.+[T ])24(:?00(?::?00(?:[.,]0+)?)?)?((?:[Z+\- ].*)?)", re.IGNORECASE)
_PART_OF_MINUTE = re.compile(r".+[T ][0-9]{2}(?::?[0-9]{2})?[.,].*", re.IGNORECASE)
_ABOVE_12 = "(?:1[3-9]|[23][0-9])"
_TELLS = {MONTH_FIRST: f"^[0-9]{{1,2}}[/-]{_ABOVE_12}[/-]", DAY_FIRST: f"^{_ABOVE_12}[/-][0-9]{{1,2}}[/-]"}
_CTIME = "%a %b %d %H:%M:%S %z %Y"
_SHOWN = 40
MOST = 0.9  # of the first values of a column; some may be faulty
_DAY_LENGTH = 86_400_000_000  # microseconds
_EARLIEST_PLAUSIBLE = dt.datetime(1995, 1, 1)


def kinds_of(texts: Sequence[str]) -> list[str]:
    """Return the units of numbers, DATES, ISO, and the orders of day and month among ``texts``, most frequent first.

    EITHER is among them if none of the dates with slashes tells the order.
    """
    kinds = Counter(_kind(text) for text in texts)
    if kinds[DAY_FIRST] or kinds[MONTH_FIRST]:
        kinds[DAY_FIRST if kinds[DAY_FIRST] > kinds[MONTH_FIRST] else MONTH_FIRST] += kinds.pop(EITHER, 0)
    return [kind for kind, _ in kinds.most_common() if kind]


def _kind(text: str) -> str:
    if _DAY.fullmatch(text):
        return DATES
    if _NUMBER.fullmatch(text):
        size = abs(float(text))
        limits = {"seconds": 1e11, "milliseconds": 1e14, "microseconds": 1e17}  # 1e11 seconds: the year 5138
        return next((unit for unit, limit in limits.items() if size < limit), "nanoseconds")
    if slashes := _SLASHES.fullmatch(text):
        one, two = int(slashes[1]), int(slashes[2])
        return EITHER if max(one, two) <= 12 else DAY_FIRST if one > 12 else MONTH_FIRST
    if _DOTS.fullmatch(text):
        return DOTTED
    try:
        _since_1970(text)
    except ValueError:
        return ""
    return ISO


def day_or_month_first(values: Iterable[pa.StringArray]) -> str:
    """Return the order of dates with slashes, in parts of a column; EITHER if no value tells it."""
    tell = dict.fromkeys(_TELLS, 0)
    for texts in values:
        for order, pattern in _TELLS.items():
            tell[order] += pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0
    if not any(tell.values()):
        return EITHER
    return DAY_FIRST if tell[DAY_FIRST] > tell[MONTH_FIRST] else MONTH_FIRST


def looks_like_time(texts: Sequence[str]) -> bool:
    """Tell whether most are plainly times: no number could be an id or a rating."""
    unit = next(iter(kinds_of(texts)), "")
    same = [text for text in texts if _kind(text) == unit]
    if unit not in UNITS:
        return bool(unit) and len(same) >= MOST * len(texts)
    earliest = (_EARLIEST_PLAUSIBLE - dt.datetime(1970, 1, 1)).total_seconds() * 1e6
    plain = sum(4 * earliest > float(text) * UNITS[unit] >= earliest for text in same)
    return plain >= MOST * len(texts)


def time_column(name: str, kinds: Sequence[str], latest: dt.datetime, what: str) -> CsvColumn:
    """Return a column of times before ``latest`` (UTC without a zone; ``what`` it is called); empty is unknown.

    ``kinds``: those that `kinds_of` finds; all numbers are in the most frequent unit, or in seconds.
    """
    scale = next((UNITS[kind] for kind in kinds if kind in UNITS), UNITS["seconds"])
    end = _microseconds(latest.replace(tzinfo=dt.UTC))
    order = next((kind for kind in kinds if kind in (MONTH_FIRST, DAY_FIRST, EITHER)), "").partition(" ")[0]

    def exact(text: str) -> int | None:
        if not text:
            return None
        if _DOTS.fullmatch(text):
            value = _from_parts(text, DAY_FIRST)
        else:
            value = _from_parts(text, order) if order and _SLASHES.fullmatch(text) else _value(text, scale)
        if not 0 <= value < end:
            raise ValueError(f"{text[:_SHOWN]!r} is {'before 1970' if value < 0 else f'after {what}'}")
        return value

    def fast(texts: pa.StringArray) -> pa.Array | None:
        empty = pc.equal(texts, "")
        if pc.any(empty).as_py():
            texts = pc.if_else(empty, None, texts)
        if DOTTED in kinds:
            texts = _as_iso(texts, DAY_FIRST, r"\.")
        if order:
            texts = _as_iso(texts, order, "[/-]")
        values = _numbers(texts, scale, DATES in kinds[:1])
        if values is None:
            values = _dates(texts)
        if values is None:
            try:
                return pa.array([exact(text or "") for text in texts.to_pylist()], TIME)
            except ValueError:
                return None
        span = pc.min_max(values.cast(pa.int64())).as_py()
        return values if span["min"] is None or (span["min"] >= 0 and span["max"] < end) else None

    return CsvColumn(name, TIME, exact, fast, shortest=0)


def mostly_before_1995(times: pa.ChunkedArray) -> int:
    """Return how many known times are before 1995, if these are most of them; otherwise 0."""
    early = pc.sum(pc.less(times, pa.scalar(_EARLIEST_PLAUSIBLE, TIME))).as_py() or 0
    return early if 2 * early > len(times) - times.null_count else 0


def _numbers(texts: pa.StringArray, scale: float, days: bool) -> pa.Array | None:
    """Return numbers as times; None if one is no number or needs a closer look."""
    digits = pc.all(pc.utf8_is_digit(texts)).as_py() and pc.all(pc.string_is_ascii(texts)).as_py()
    if not digits and not pc.all(pc.match_substring_regex(texts, r"^[0-9]+(\.[0-9]*)?\z")).as_py():
        return None
    if days:
        if not pc.all(pc.match_substring_regex(texts, f"^{_DAY.pattern}\\z")).as_py():
            return None
        return _dates(pc.replace_substring_regex(texts, r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3"))
    if digits and not texts.null_count and scale >= 1:  # the usual column; whole numbers are quicker
        whole = pc.cast(texts, pa.int64()).to_numpy()
        if ((whole >= _FIRST_DAY) & (whole <= _LAST_DAY)).any() or whole.max() > 2**53 / scale:
            return None
        return pa.array(whole * int(scale), TIME)
    numbers = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)  # NaN: unknown
    with np.errstate(invalid="ignore"):
        if ((numbers >= _FIRST_DAY) & (numbers <= _LAST_DAY)).any():
            return None
        values = np.floor(numbers * scale)
        if (values >= 2**62).any():
            return None
    unknown = np.isnan(values)
    return pa.array(np.where(unknown, 0, values).astype(np.int64), mask=unknown).cast(TIME)


def _dates(texts: pa.StringArray) -> pa.Array | None:
    for kind in (TIME, pa.timestamp("us", "UTC")):
        try:
            return pc.cast(texts, kind).cast(TIME)
        except pa.ArrowInvalid:
            continue
    return None


def _value(text: str, scale: float) -> int:
    """Return microseconds since 1970."""
    if _NUMBER.fullmatch(text) and not _is_day(text):
        number = float(text) * scale
        if not abs(number) < 2**62:
            raise ValueError(f"{text[:_SHOWN]!r} is out of range")
        return math.floor(number)
    return _since_1970(text)


def _from_parts(text: str, order: str) -> int:
    """Return microseconds since 1970 of a date with slashes or points."""
    if found := _SLASHES.fullmatch(text) or _DOTS.fullmatch(text):
        one, two, year, time, half = found.groups()
        month, day = (one, two) if order == MONTH_FIRST else (two, one)
        hour, rest = (time or "0:00").split(":", 1)
        if half and 1 <= int(hour) <= 12:  # 12 AM is midnight
            hour = str(int(hour) % 12 + (12 if half in "Pp" else 0))
        elif half:
            hour = "none"
        try:
            return _microseconds(dt.datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2} {hour:0>2}:{rest}Z"))
        except ValueError:
            pass
    raise ValueError(f"{text[:_SHOWN]!r} is no date as {order}, the order of most others")


def _as_iso(texts: pa.StringArray, order: str, between: str) -> pa.StringArray:
    """Return dates with ``between`` their parts (a regular expression) in the form of ISO 8601; other texts stay.

    The record separator U+001E, which no text holds, stands between the parts meanwhile.
    """
    date = rf"^([0-9]{{1,2}}){between}([0-9]{{1,2}}){between}([0-9]{{4}})"
    padded = (
        (r"^([0-9])\x1e", "0\\1\x1e"),
        (r"\x1e([0-9])\x1e", "\x1e0\\1\x1e"),
        (r"(\x1e[0-9]{4}) +([0-9]):", r"\1 0\2:"),
    )
    for pattern, text in ((date, "\\1\x1e\\2\x1e\\3"), *padded):
        texts = pc.replace_substring_regex(texts, pattern, text)
    parts = r"\3-\1-\2\4" if order == MONTH_FIRST else r"\3-\2-\1\4"
    return pc.replace_substring_regex(texts, r"^([0-9]{2})\x1e([0-9]{2})\x1e([0-9]{4})( .*)?$", parts)


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _since_1970(text: str) -> int:
    plain, later = _usual(text)
    zone = _ZONE.fullmatch(plain)
    plain = zone[1] + ("Z" if zone[2] else zone[3]) if zone else plain
    try:
        if _PART_OF_MINUTE.fullmatch(plain):
            raise ValueError  # Python takes 10:11.5 for half a second, and ISO 8601 for half a minute
        time = dt.datetime.fromisoformat(plain)
    except ValueError:
        try:
            time = dt.datetime.strptime(text, _CTIME)
        except ValueError:
            message = f"{text[:_SHOWN]!r} is neither a number nor a date as 2024-12-31 23:59:59"
            raise ValueError(message) from None
    return _microseconds(time.replace(tzinfo=time.tzinfo or dt.UTC)) + later


def _usual(text: str) -> tuple[str, int]:
    """Return a date in the form that Python reads, and what it is earlier than ``text``, in microseconds."""
    if found := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, rest = found.groups()
        text = f"{year}-{month:0>2}-{day:0>2}" + re.sub(r"^ ([0-9]):", r" 0\1:", rest)
    elif found := _MONTH.fullmatch(text):
        text = f"{text}-01"
    elif (found := _DAY_OF_YEAR.fullmatch(text)) and 1 <= int(found[2]) <= 365 + isleap(int(found[1])):
        year, days, rest = found.groups()
        return f"{year}-01-01{rest}", (int(days) - 1) * _DAY_LENGTH
    if found := _MIDNIGHT.fullmatch(text):  # the end of the day
        return f"{found[1]}00{found[2] or ''}{found[3]}", _DAY_LENGTH
    return text, 0


def _microseconds(time: dt.datetime) -> int:
    return (time - _EPOCH) // dt.timedelta(microseconds=1)
