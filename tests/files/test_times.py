"""Times: one unit for a whole column, every form of ISO 8601, and no time that a shop cannot have."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.files.times import (
    DATES,
    DAY_FIRST,
    DOTTED,
    EITHER,
    ISO,
    MONTH_FIRST,
    TIME,
    UNITS,
    kinds_of,
    looks_like_time,
    mostly_before_1995,
    time_column,
)
from tests.files.conftest import Read

END = dt.datetime(2026, 6, 3)
NOON = dt.datetime(2024, 6, 1, 12)  # 1717243200


def exact(text: str, *sample: str) -> dt.datetime | None:
    value = time_column("time", kinds_of(sample or [text]), END, "tomorrow").exact(text)
    return None if value is None else dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=value)


@pytest.mark.parametrize(
    "text",
    [
        *("1717243200", "1717243200.0", "1717243200.", "1.7172432e9", "1717243200000", "1717243200000.0"),
        *("1717243200000000", "1717243200000000000", "2024-06-01T12:00:00", "2024-06-01 12:00:00", "2024-06-01 12:00"),
        *("2024-06-01T12:00:00Z", "2024-06-01t12:00:00z", "2024-06-01 12:00:00 UTC", "2024-06-01 12:00:00 GMT"),
        *("2024-06-01T14:00:00+02:00", "2024-06-01 14:00:00 +0200", "2024-06-01T07:00:00-0500", "20240601T120000Z"),
        *("2024-153T12:00", "2024-6-1 12:00", "2024-06-01T12", "2024-W22-6T12:00Z", "2024-06-01T12:00:00,0"),
        *("2024-06-01T12:00:00.000", "2024-06-01T12:00:00.000000000Z", "Sat Jun 01 05:00:00 -0700 2024"),
    ],
)
def test_every_form_of_one_moment(text: str) -> None:
    assert exact(text) == NOON


def test_dates_alone_and_fractions() -> None:
    assert exact("2024-06-01") == exact("20240601") == dt.datetime(2024, 6, 1)
    assert exact("2024-06-01T12:00:00.25") == exact("1717243200.25") == NOON.replace(microsecond=250_000)
    assert exact("1717243200123") == NOON.replace(microsecond=123_000)
    assert exact("") is None


def test_the_rare_forms_of_iso_8601_are_read_or_refused() -> None:
    assert exact("2024-06") == exact("2024-6-1") == exact("2024-153") == dt.datetime(2024, 6, 1)
    for end in ("2024-05-31T24:00:00", "2024-05-31 24:00Z", "20240531T24", "20240531T240000.0Z", "2024-06-01T00:00"):
        assert exact(end) == dt.datetime(2024, 6, 1), end
    assert exact("2024-05-31T24:00:00+02:00") == dt.datetime(2024, 5, 31, 22)
    assert (exact("2024-366"), exact("2024-06-01 9:05")) == (dt.datetime(2024, 12, 31), dt.datetime(2024, 6, 1, 9, 5))
    # Python takes 12:00.5 for half a second, and ISO 8601 for half a minute
    for none in (
        "2023-366",
        "2024-000",
        "2024-13",
        "2024-05-31T24:30",
        "2024-06-01T12:00.5",
        "2024-06-01T12,5",
        "T24:00",
    ):
        with pytest.raises(ValueError, match="is neither a number nor a date"):
            exact(none)


def test_eight_digits_that_are_a_date_are_that_date_in_any_column() -> None:
    assert exact("20240131", "1717243200") == dt.datetime(2024, 1, 31)
    assert exact("20240131", "1717243200000") == dt.datetime(2024, 1, 31)
    assert exact("20240231", "1717243200") == dt.datetime(1970, 8, 23, 6, 17, 11)  # no date: seconds


def test_one_odd_number_does_not_change_the_unit_of_the_others() -> None:
    sample = ["1717243200", "1717243201", "1717243200000"]
    assert exact("1717243200", *sample) == NOON
    with pytest.raises(ValueError, match="'1717243200000' is after tomorrow"):
        exact("1717243200000", *sample)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-06-03", "is after tomorrow"),
        ("4102444800", "is after tomorrow"),
        ("-1", "is before 1970"),
        ("1969-12-31T23:59:59Z", "is before 1970"),
        ("1e400", "is out of range"),
        ("yesterday", "is neither a number nor a date as 2024-12-31 23:59:59"),
        ("12/1/2010 8:26", "is neither a number nor a date"),
        ("2024-02-30", "is neither a number nor a date"),
        ("nan", "is neither a number nor a date"),
        ("١٧", "is neither a number nor a date"),
    ],
)
def test_a_time_that_no_shop_has_is_rejected_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{text!r} {reason}"):
        exact(text, "1717243200")
    assert exact("2026-06-02T23:59:59.999999") == END - dt.timedelta(microseconds=1)


def test_the_kinds_of_a_column_are_named_the_most_frequent_first() -> None:
    assert kinds_of(["1717243200", "1717243200", "1717243200000"]) == ["seconds", "milliseconds"]
    assert kinds_of(["1717243200000000"]) == ["microseconds"]
    assert kinds_of(["20240131", "20240201", "now"]) == [DATES]
    assert kinds_of(["2024-01-31", "x"]) == [ISO]
    assert kinds_of(["", "x"]) == []


def test_a_column_looks_like_times_only_if_its_numbers_could_be_nothing_else() -> None:
    assert looks_like_time(["881250949", "891717742"])
    assert looks_like_time(["2014-04-07T10:51:09.277Z"])
    assert looks_like_time(["20240131", "20240201"])
    assert not looks_like_time(["196", "186"])
    assert not looks_like_time(["4", "4.5"])
    assert not looks_like_time(["881250949", "now"])
    assert not looks_like_time(["9999999999"])


def test_times_of_which_most_are_before_1995_are_counted() -> None:
    old, new = dt.datetime(1970, 1, 2), dt.datetime(2024, 1, 2)
    for times, early in (([old, old, new], 2), ([old, new], 0), ([old, None, None], 1), ([None], 0), ([new], 0)):
        assert mostly_before_1995(pa.chunked_array([pa.array(times, TIME)])) == early


DIGITS = st.text("0123456789.-e", min_size=1, max_size=20)
STAMPS = st.datetimes(dt.datetime(1960, 1, 1), dt.datetime(2040, 1, 1))
FORMS = ["%Y-%m-%d", "%Y%m%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M %z"]
FORMS += ["%m/%d/%Y %H:%M", "%d/%m/%Y", "%d-%m-%Y %H:%M", "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %I:%M %p"]
TEXTS = DIGITS | st.builds(lambda time, form: time.strftime(form), STAMPS, st.sampled_from(FORMS)) | st.just("")


@settings(max_examples=300, deadline=None)
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4),
    kinds=st.sampled_from([*UNITS, DATES, ISO, MONTH_FIRST, DAY_FIRST, DOTTED]).map(lambda kind: [kind]),
)
def test_both_readers_of_times_give_the_same_value_or_none(texts: list[str], kinds: list[str]) -> None:
    column = time_column("time", kinds, END, "tomorrow")
    try:
        values = [column.exact(text) for text in texts]
    except ValueError:
        values = None
    try:
        fast = column.fast(pa.array(texts))
    except pa.ArrowInvalid:
        fast = None
    assert fast is None or fast.cast(pa.int64()).to_pylist() == values


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["1/2/2024"] * 9, EITHER),
        (["1/2/2024"] * 9 + ["1/13/2024 8:26"], MONTH_FIRST),
        (["01/02/2024"] * 9 + ["13/01/2024"], DAY_FIRST),
        (["13/01/2024"] * 9 + ["01/13/2024"], DAY_FIRST),
    ],
)
def test_the_whole_file_tells_whether_dates_have_the_day_or_the_month_first(
    read: Read, values: list[str], order: str
) -> None:
    """The first 1,000 rows do not tell it."""
    rows = ["user,product,rating,time"] + [f"{n},{n},5,3/4/2024" for n in range(1_500)]
    found = read("\n".join(rows + [f"{n},{n},5,{value}" for n, value in enumerate(values, 2_000)]))
    assert f"timestamp = time ({order});" in found.understood
    first = dt.datetime(2024, 4, 3) if order == DAY_FIRST else dt.datetime(2024, 3, 4)
    assert found.ratings["created_at"][0].as_py() == first
    assert found.rejected == (1 if "01/13/2024" in values else 0)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("31.12.2024", dt.datetime(2024, 12, 31)),
        ("1.2.2024 8:05", dt.datetime(2024, 2, 1, 8, 5)),
        ("01.02.2024 08:05:09", dt.datetime(2024, 2, 1, 8, 5, 9)),
    ],
)
def test_dates_with_points_have_the_day_first(text: str, time: dt.datetime) -> None:
    assert exact(text) == exact(text, "1717243200") == time
    values = time_column("time", kinds_of([text]), END, "tomorrow").fast(pa.array([text, ""]))
    assert values is not None
    assert values.to_pylist() == [time, None]
    assert kinds_of([text, "31.12.24"]) == [DOTTED]
    with pytest.raises(ValueError, match=r"'12.31.2024' is no date as day/month/year"):
        exact("12.31.2024")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("12/31/2024 12:05 AM", dt.datetime(2024, 12, 31, 0, 5)),
        ("12/31/2024, 1:05:09 pm", dt.datetime(2024, 12, 31, 13, 5, 9)),
        ("31-12-2024", dt.datetime(2024, 12, 31)),
        ("31-12-2024 8:05", dt.datetime(2024, 12, 31, 8, 5)),
        ("2024/12/31", dt.datetime(2024, 12, 31)),
        ("2024/2/1 8:05", dt.datetime(2024, 2, 1, 8, 5)),
        ("2024/02/01 18:05:09", dt.datetime(2024, 2, 1, 18, 5, 9)),
    ],
)
def test_dates_of_other_countries(text: str, time: dt.datetime) -> None:
    assert exact(text) == time
    values = time_column("time", kinds_of([text]), END, "tomorrow").fast(pa.array([text, ""]))
    assert values is None or values.to_pylist() == [time, None]


@pytest.mark.parametrize("text", ["12/31/2024 13:05 PM", "12/31/2024 0:05 AM", "2024/13/01", "2024/1/1x", "31-13-2024"])
def test_dates_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is n"):
        exact(text, "12/31/2024")
