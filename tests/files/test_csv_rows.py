"""Every row of a CSV file is loaded or reported; the fast reader and the exact one agree on any bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recommender.errors import InputFileError, SettingError, TooManyRejectedError
from recommender.files import CsvRows, RejectedRows, csv_rows, rejected_rows
from recommender.files.csv_columns import (
    CsvColumn,
    any_flag_column,
    code_column,
    flag_column,
    number_column,
    or_unknown,
    text_column,
    whole_number_column,
    with_decimal_comma,
)
from recommender.files.dialects import Dialect
from recommender.files.file_form import FileForm
from recommender.files.sources import Source

COLUMNS = [
    code_column("key", 2),
    text_column("title", max_bytes=40),
    number_column("price", lowest=0),
    whole_number_column("count", lowest=0, highest=2**31 - 1),
    flag_column("flag"),
]
HEADER = b"key,title,price,count,flag\n"


@dataclass(frozen=True)
class Outcome:
    """The result of reading a file: good rows, (line, reason, raw) of the others, counts."""

    good: list[tuple[Any, ...]]
    rejected: list[tuple[int, str, str]]
    rows: int
    error: str = ""


def read(
    folder: Path, data: bytes, columns: Sequence[CsvColumn] = COLUMNS, *, fast: bool = True, **options: Any
) -> Outcome:
    """Read a file with these bytes; ``fast=False``: only with the exact reader."""
    path, rejected_path = folder / "file.csv", folder / "rejected_rows.csv"
    path.write_bytes(data)
    good: list[tuple[Any, ...]] = []
    limit = options.pop("limit", 10**9)
    error, rows = "", None
    with pytest.MonkeyPatch.context() as patch, RejectedRows(rejected_path, limit=limit) as rejected:
        for name in ("READ_BYTES", "LONGEST_ROW", "ROWS_FOR_EXACT", "_WINDOW_AFTER_FAULT"):
            if name in options:
                patch.setattr(csv_rows, name, options.pop(name))
        if "RAW_CHARACTERS" in options:
            patch.setattr(rejected_rows, "RAW_CHARACTERS", options.pop("RAW_CHARACTERS"))
        if not fast:
            patch.setattr(csv_rows, "fast_batch", lambda *_: None)
            patch.setattr(csv_rows, "ROWS_FOR_EXACT", 10**9)
        try:
            rows = CsvRows(path, columns, rejected, **options)
            for batch in rows.batches():
                good += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        except InputFileError as failure:
            error = str(failure)
    with rejected_path.open(newline="", encoding="utf-8") as file:
        noted = [(int(row["line"]), row["reason"], row["raw"]) for row in csv.DictReader(file)]
    if rows is not None and "were rejected" not in error:
        assert rows.rows == len(good) + len(noted) == rows.good + rows.rejected
    return Outcome(good, noted, rows.rows if rows else 0, error)


# fragments that break CSV files, and fragments of good rows
FRAGMENTS = st.sampled_from(
    [
        *(b",", b'"', b'""', b"\n", b"\r\n", b"\r", b"\n\n", b"\0", b"\xff", b"\xe9", b" ", b"x", b"$"),
        *(b"AB", b"1", b"4.5", b"-0", b"1e5", b"1e999", b"0x1F", b"inf", b"nan", b"1_0", b"+1", b".5", b"5.", b"True"),
        " é😀\u2003".encode(),
        *(b"AB,t,1,2,True\n", b'CD,"a,""b""\nc",0.5,7,False\r\n', b'"EF","x",.5,0,True\n', b"GH, ,1.,03,False\n"),
    ]
)
HOSTILE = st.lists(FRAGMENTS, max_size=30).map(b"".join)
slow_ok = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@slow_ok
@given(data=HOSTILE, read_bytes=st.integers(1, 60), longest=st.integers(30, 120), batch=st.integers(1, 5))
def test_the_fast_reader_and_the_exact_one_agree_on_any_bytes(
    tmp_path: Path, data: bytes, read_bytes: int, longest: int, batch: int
) -> None:
    limits: dict[str, Any] = {"LONGEST_ROW": longest, "RAW_CHARACTERS": 10}
    exact = read(tmp_path, HEADER + data, fast=False, **limits)
    assert read(tmp_path, HEADER + data, **limits) == exact
    assert read(tmp_path, HEADER + data, ROWS_FOR_EXACT=1, rows_per_batch=batch, **limits) == exact
    pieces: dict[str, Any] = {"READ_BYTES": read_bytes, "_WINDOW_AFTER_FAULT": read_bytes, "rows_per_batch": batch}
    assert read(tmp_path, HEADER + data, **limits, **pieces) == exact


@slow_ok
@given(
    data=HOSTILE,
    dialect=st.sampled_from([Dialect(";"), Dialect("\t"), Dialect("|", quoted=False), Dialect("\x1f", quoted=False)]),
    read_bytes=st.integers(1, 60),
)
def test_the_readers_agree_in_every_dialect(tmp_path: Path, data: bytes, dialect: Dialect, read_bytes: int) -> None:
    data = (HEADER + data).replace(b",", dialect.delimiter.encode())
    header = tuple(HEADER.decode().strip().split(","))
    places = {name: place for place, name in enumerate(header)}

    def outcome(**options: Any) -> Outcome:
        (tmp_path / "file.csv").write_bytes(data)
        source = Source(tmp_path / "file.csv")
        form = FileForm(source, "delimited", header, places, [], dialect)
        return read(tmp_path, data, form=form, LONGEST_ROW=80, RAW_CHARACTERS=10, **options)

    exact = outcome(fast=False)
    assert outcome() == exact
    assert outcome(READ_BYTES=read_bytes, _WINDOW_AFTER_FAULT=read_bytes, ROWS_FOR_EXACT=1, rows_per_batch=2) == exact


VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
NUMBERS = st.floats(0, allow_infinity=False).map(lambda value: value + 0.0)
ROWS = st.lists(
    st.tuples(st.from_regex(r"[A-Z0-9]{2}", fullmatch=True), VALUES, NUMBERS, st.integers(0, 2**31 - 1), st.booleans()),
    min_size=1,
    max_size=20,
)


@slow_ok
@given(
    rows=ROWS,
    ending=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    bom=st.booleans(),
    fast=st.booleans(),
)
def test_any_text_in_a_csv_file_is_read_back_stripped(
    tmp_path: Path, rows: list[tuple[Any, ...]], ending: str, quoting: Any, bom: bool, fast: bool
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=ending, quoting=quoting)
    writer.writerows([HEADER.decode().strip().split(","), *rows])
    outcome = read(tmp_path, b"\xef\xbb\xbf" * bom + text.getvalue().encode(), fast=fast)
    assert outcome.good == [(key, title.strip() or None, *rest) for key, title, *rest in rows]
    assert outcome.rejected == []


NUMBER_TEXTS = st.text(st.sampled_from("0123456789.eE-+ ,_xinfa٣"), max_size=12) | st.sampled_from(["TRUE", "no", "1"])


@slow_ok
@given(texts=st.lists(NUMBER_TEXTS | st.floats().map(repr) | st.integers(-(2**33), 2**33).map(str), min_size=1))
def test_both_readers_of_numbers_give_the_same_value_or_none(texts: list[str]) -> None:
    import pyarrow as pa

    for column in (
        number_column("n", lowest=0),
        whole_number_column("n", lowest=0, highest=2**31 - 1),
        flag_column("n"),
        any_flag_column("n"),
        with_decimal_comma(number_column("n", lowest=0)),
        or_unknown(with_decimal_comma(number_column("n", lowest=0)), "0"),
    ):
        for text in texts:
            try:
                exact = repr(column.exact(text))
            except ValueError:
                exact = "a fault"
            try:
                fast = column.fast(pa.array([text]))
            except pa.ArrowInvalid:
                fast = None
            assert fast is None or repr(fast[0].as_py()) == exact, text


def test_decimal_commas_flags_of_any_case_and_empty_texts_that_are_unknown() -> None:
    number = with_decimal_comma(number_column("n", lowest=0))
    assert [number.exact(text) for text in ("4,5", "4.5", ",5", "4,", "1,5e2")] == [4.5, 4.5, 0.5, 4.0, 150.0]
    for text in ("1.234,5", "1,234,5", "1,234.5", ",", ""):
        with pytest.raises(ValueError, match=r"is not a number|is empty"):
            number.exact(text)
    assert [or_unknown(number, "0").exact(text) for text in ("", "4,5")] == [0.0, 4.5]
    flag = any_flag_column("n")
    assert [flag.exact(text) for text in ("TRUE", "yes", "1")] == [True] * 3
    assert [flag.exact(text) for text in ("false", "No", "0")] == [False] * 3
    with pytest.raises(ValueError, match="'maybe' is neither true nor false"):
        flag.exact("maybe")


GOOD = b"AB,ok,1,2,True\n"
ONE_FAULT = [
    (b"AB,t,1,2\n", "4 fields instead of 5"),
    (b"AB,t,1,2,True,\n", "6 fields instead of 5"),
    (b"  \n", "1 fields instead of 5"),
    (b",t,1,2,True\n", "key is empty"),
    (b"ab,t,1,2,True\n", "key 'ab' is not 2 characters A-Z 0-9"),
    (b"ABC,t,1,2,True\n", "key 'ABC' is not 2 characters A-Z 0-9"),
    ("ÄB,t,1,2,True\n".encode(), "key 'ÄB' is not 2 characters A-Z 0-9"),
    (b"AB,t,$12.99,2,True\n", "price '$12.99' is not a number"),
    (b'AB,t,"1,299.00",2,True\n', "price '1,299.00' is not a number"),
    (b'AB,t,"1,5",2,True\n', "price '1,5' is not a number"),
    (b"AB,t,inf,2,True\n", "price 'inf' is not a number"),
    (b"AB,t,NaN,2,True\n", "price 'NaN' is not a number"),
    (b"AB,t,1_0,2,True\n", "price '1_0' is not a number"),
    (b"AB,t,+1,2,True\n", "price '+1' is not a number"),
    (b"AB,t,1 0,2,True\n", "price '1 0' is not a number"),
    (b"AB,t,0x1F,2,True\n", "price '0x1F' is not a number"),
    ("AB,t,٣,2,True\n".encode(), "price '٣' is not a number"),
    (b"AB,t,-0.01,2,True\n", "price '-0.01' is out of range (0 or more)"),
    (b"AB,t,1e999,2,True\n", "price '1e999' is out of range (0 or more)"),
    (b"AB,t,,2,True\n", "price is empty"),
    (b"AB,t,1, ,True\n", "count is empty"),
    (b"AB,t,1,2.0,True\n", "count '2.0' is not a whole number"),
    (b"AB,t,1,-1,True\n", "count '-1' is out of range (0 to 2,147,483,647)"),
    (b"AB,t,1,2147483648,True\n", "count '2147483648' is out of range (0 to 2,147,483,647)"),
    (b"AB,t,1,2,true\n", "flag 'true' is neither True nor False"),
    (b"AB,t,1,2,1\n", "flag '1' is neither True nor False"),
    (b"AB,t,1,2,\n", "flag is empty"),
    (b"AB," + b"t" * 41 + b",1,2,True\n", "title is longer than 40 bytes"),
    (b"AB," + "😀".encode() * 11 + b",1,2,True\n", "title is longer than 40 bytes"),
    (b"AB,caf\xe9,1,2,True\n", "is not valid UTF-8"),
    (b"AB,\xed\xa0\x80,1,2,True\n", "is not valid UTF-8"),
    (b"AB,a\0b,1,2,True\n", "holds a NUL byte"),
    (b'AB,"a"b,1,2,True\n', "text after a closing quote"),
    (b'AB,"open,1,2,True\n', "a quote is not closed"),
    (b'AB,"two\nlines",1,2,maybe\n', "flag 'maybe' is neither True nor False"),
    (b'AB,"two\nlines",1,2,True,\n', "6 fields instead of 5"),
]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(("fault", "reason"), ONE_FAULT, ids=[f"{n}" for n in range(len(ONE_FAULT))])
def test_one_fault_rejects_one_row_and_names_it(tmp_path: Path, fault: bytes, reason: str, ending: bytes) -> None:
    before = GOOD * 3 + b'AB,"a title\nof three\n\nlines",1,2,True\n'  # lines 2 to 8
    data = (HEADER + before + fault + GOOD * 3).replace(b"\n", ending)
    outcome = read(tmp_path, data)
    raw = fault.replace(b"\n", ending).removesuffix(ending).decode(errors="backslashreplace").replace("\0", "\\x00")
    assert outcome.rejected == [(9, reason, raw)]
    assert len(outcome.good) == 7


def test_each_fault_is_reported_at_its_line(tmp_path: Path) -> None:
    expected, data, line = [], HEADER, 2
    for fault, reason in ONE_FAULT:
        data += GOOD * 100 + fault
        expected.append((line + 100, reason))
        line += 100 + fault.count(b"\n")
    outcome = read(tmp_path, data + GOOD, rows_per_batch=1_000)
    assert [(at, reason) for at, reason, _ in outcome.rejected] == expected
    assert len(outcome.good) == 100 * len(ONE_FAULT) + 1


def test_unusual_but_valid_rows_are_loaded(tmp_path: Path) -> None:
    rows = {
        b"AB,,0.0,0,True": ("AB", None, 0.0, 0, True),
        b"AB,   ,1,0,True": ("AB", None, 1.0, 0, True),
        b' AB ," padded\t", 1 , 007 , True ': ("AB", "padded", 1.0, 7, True),
        b'AB,TV 55" black,1,0,True': ("AB", 'TV 55" black', 1.0, 0, True),
        b'AB,"TV 55"" black, ""new""",1,0,True': ("AB", 'TV 55" black, "new"', 1.0, 0, True),
        b"AB,=1+1,1,0,True": ("AB", "=1+1", 1.0, 0, True),
        b"AB,-dash,1,0,True": ("AB", "-dash", 1.0, 0, True),
        b"AB,NULL,1,0,True": ("AB", "NULL", 1.0, 0, True),
        b"AB,\\N,1,0,True": ("AB", "\\N", 1.0, 0, True),
        "AB,😀 ünï,1e-7,0,True".encode(): ("AB", "😀 ünï", 1e-7, 0, True),
        b'AB,"a\rb",1,0,True': ("AB", "a\rb", 1.0, 0, True),
        b"AB,a\rb,1,0,True": ("AB", "a\rb", 1.0, 0, True),
        b"AB,\r,1,0,True\r": ("AB", None, 1.0, 0, True),
        b'AB,"a\r\nb",1,0,True': ("AB", "a\r\nb", 1.0, 0, True),
        "AB,\u00a0nbsp\u3000,-0.0,0,True".encode(): ("AB", "nbsp", 0.0, 0, True),
    }
    for row, values in rows.items():  # alone, so that no other row makes the reader give up the fast way
        assert read(tmp_path, HEADER + row + b"\n").good == [values]
    for ending in (b"\n", b"\r\n"):
        for end_of_file in (b"", ending, ending * 3):
            outcome = read(tmp_path, HEADER + ending.join(rows) + end_of_file)
            assert outcome.good == list(rows.values())
            assert outcome.rejected == []


def test_an_unclosed_quote_rejects_only_its_own_row(tmp_path: Path) -> None:
    for tail in (GOOD, b'CD,"quoted, ""twice""",1,2,True\n', b'CD,TV 5",1,2,True\n', b'CD,"two\nlines",1,2,True\n'):
        outcome = read(tmp_path, HEADER + b'AB,"never closed,1,2,True\n' + tail * 3)
        assert outcome.rejected == [(2, "a quote is not closed", 'AB,"never closed,1,2,True')], tail
        assert len(outcome.good) == 3
    # a later quote closes it, and the two lines would be one valid row
    outcome = read(tmp_path, HEADER + b'AB,"never closed,1,2,True\nCD,TV 5",1,2,True\n' + GOOD)
    assert outcome.rejected == [(2, "a quote is not closed", 'AB,"never closed,1,2,True')]
    assert [row[1] for row in outcome.good] == ['TV 5"', "ok"]
    outcome = read(tmp_path, HEADER + GOOD + b'AB,"never closed\nand no good\nrow behind')
    assert outcome.rejected == [(3, "a quote is not closed", 'AB,"never closed\nand no good\nrow behind')]


def test_the_reported_text_is_cut_and_shows_odd_bytes(tmp_path: Path) -> None:
    outcome = read(tmp_path, HEADER + GOOD + b"\xe9\xff" * 3 + b"x" * 300_000 + b"\n" + GOOD)
    assert outcome.rejected == [(3, "is not valid UTF-8", (r"\xe9\xff" * 3 + "x" * 976))] or outcome.rejected == [
        (3, "the row is longer than 262,144 bytes", (r"\xe9\xff" * 3 + "x" * 976))
    ]
    assert len(outcome.good) == 2


def test_an_endless_line_does_not_fill_the_memory(tmp_path: Path) -> None:
    outcome = read(tmp_path, HEADER + GOOD + b"x" * 900 + b"\n" + GOOD, READ_BYTES=50, LONGEST_ROW=100)
    assert [line for line, _, _ in outcome.rejected] == [3]
    assert len(outcome.good) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty: check that it is the right file"),
        (b"\n\n", "is empty: check that it is the right file"),
        (b"\xef\xbb\xbf", "is empty: check that it is the right file"),
        (HEADER, "has a header and no rows"),
        (HEADER.strip(), "has a header and no rows"),
        (b"key,title,price,flag\nAB,t,1,True\n", "no column count among key, title, price, flag"),
        (b"key;title;price;count;flag\nAB;t;1;2;True\n", "no column key, title, price, count, flag among key;title"),
        (b"key,title,price,count,flag,key\n", "names the column 'key' twice"),
        (HEADER.decode().encode("utf-16"), "no CSV header in UTF-8"),
        (b'"key', "no CSV header in UTF-8"),
        ((HEADER + GOOD).replace(b"\n", b"\r"), "lines end with CR alone"),
        (HEADER + b"nothing\nis\nright\n", "none of its 3 rows is valid (line 2: 1 fields instead of 5)"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    outcome = read(tmp_path, data)
    assert message in outcome.error
    assert "\n" not in outcome.error
    assert str(tmp_path / "file.csv") in outcome.error


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RejectedRows(tmp_path / "r.csv") as rejected:
        with pytest.raises(InputFileError, match=r"none\.csv does not exist: get it there"):
            CsvRows(tmp_path / "none.csv", COLUMNS, rejected, hint="get it there")
        with pytest.raises(InputFileError, match="is a folder"):
            CsvRows(tmp_path, COLUMNS, rejected)
        (tmp_path / "locked.csv").write_bytes(HEADER + GOOD)

        def refuse(*_: object, **__: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("recommender.paths.os.open", refuse)  # root may read everything
        with pytest.raises(InputFileError, match="cannot be read"):
            CsvRows(tmp_path / "locked.csv", COLUMNS, rejected)
    with pytest.raises(SettingError, match="cannot be written"):
        RejectedRows(tmp_path / "r.csv").__enter__()


def test_columns_may_be_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b'more,flag,count, price ,title,key\n"a\nb",True,2,1,t,AB\n')
    with RejectedRows(tmp_path / "r.csv") as rejected:
        rows = CsvRows(path, COLUMNS, rejected)
        assert [batch.to_pylist() for batch in rows.batches()] == [
            [{"key": "AB", "title": "t", "price": 1.0, "count": 2, "flag": True}]
        ]
        assert rows.ignored == ["more"]


@pytest.mark.parametrize(
    ("good", "bad", "limit", "stops"),
    [
        *((9_900, 100, None, False), (9_899, 101, None, True), (10_000, 101, None, False), (0, 100, None, True)),
        # of a small file a tenth
        *((108, 12, None, False), (107, 13, None, True), (9, 1, None, False), (9, 2, None, True), (1, 1, None, True)),
        *((900, 100, None, False), (899, 100, None, True)),
        *((10, 3, 3, False), (10, 4, 3, True), (10, 1, 0, True), (10, 0, 0, False), (10, 500, 500, False)),
    ],
)
def test_too_many_rejected_rows_stop_the_load(
    tmp_path: Path, good: int, bad: int, limit: int | None, stops: bool
) -> None:
    outcome = read(tmp_path, HEADER + b"bad\n" * bad + GOOD * good, limit=limit)
    assert bool(outcome.error) == stops
    if stops and good:
        assert "rows were rejected, more than the allowed" in outcome.error
        assert "the first: line 2: 1 fields instead of 5" in outcome.error


def test_a_large_wrong_file_stops_long_before_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(HEADER + b"some,other,file,altogether\n" * 100_000)
    with RejectedRows(tmp_path / "r.csv") as rejected:
        rows = CsvRows(path, COLUMNS, rejected)
        with pytest.raises(TooManyRejectedError):
            list(rows.batches())
    assert rows.rows < 10_000


def test_the_report_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        with RejectedRows(tmp_path / "r.csv") as rejected:
            rejected.add(Path("f.csv"), 7, "why", b'a,"b"\xff')
    assert (tmp_path / "r.csv").read_text() == 'file,line,reason,raw\n"f.csv",7,"why","a,""b""\\xff"\n'


def test_many_stray_quotes_do_not_slow_the_reading(tmp_path: Path) -> None:
    # each quote changes which line feeds seem to end a row
    data = HEADER + (GOOD * 20 + b'AB,TV 5" x,1,2,True\n') * 3_000
    outcome = read(tmp_path, data)
    assert (len(outcome.good), outcome.rejected) == (63_000, [])


@pytest.mark.parametrize("read_bytes", range(20, 200, 3))
def test_a_number_is_never_cut_at_the_end_of_a_piece(tmp_path: Path, read_bytes: int) -> None:
    columns = [text_column("name", max_bytes=40), whole_number_column("count", lowest=0, highest=2**31 - 1)]
    rows = [(f"x{i}", 1_000 + i) for i in range(300)]
    data = b"name,count\n" + "".join(f"{name},{count}\n" for name, count in rows).encode()
    outcome = read(tmp_path, data, columns, READ_BYTES=read_bytes, LONGEST_ROW=64)
    assert (outcome.good, outcome.rejected) == (rows, [])
