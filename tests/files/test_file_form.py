"""What a file is: delimiter, header, columns; --columns; rows of JSON and Parquet; one line that tells it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recommender.errors import InputFileError, SettingError
from recommender.files import ShopRatings, value_rows
from tests.files.conftest import Read

A, B = "B00000000A", "B00000000B"


def rows(shop: ShopRatings) -> list[tuple[int, str, float]]:
    return list(zip(*(shop.ratings[n].to_pylist() for n in ("user_id", "product_id", "rating")), strict=True))


def rejected(folder: Path) -> list[tuple[int, str, str]]:
    with (folder / "rejected_rows.csv").open(newline="", encoding="utf-8") as file:
        return [(int(row["line"]), row["reason"], row["raw"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("delimiter", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "|"), ("::", "::")]
)
def test_every_delimiter_gives_the_same_rows(read: Read, delimiter: str, name: str, ending: str) -> None:
    lines = ["user_id,title,product_id,rating", f"7,a b,{A},4.5", f"8,,{B},1"]
    shop = read(ending.join(lines).replace(",", delimiter))
    assert rows(shop) == [(7, A, 4.5), (8, B, 1.0)]
    assert shop.understood == f"{name}-separated: user_id, product_id, rating; 2 rows; columns ignored: title"


def test_a_delimiter_inside_of_quotes_or_of_another_column_misleads_nobody(read: Read) -> None:
    shop = read(f'user;item;stars;genres\n7;{A};4;"x, y; z"\n8;{B};1;Drama|Crime, true\n')
    assert rows(shop) == [(7, A, 4.0), (8, B, 1.0)]
    assert shop.understood.startswith("semicolon-separated: user_id = user, product_id = item, rating = stars; 2 rows")


def test_a_decimal_comma_is_read_where_no_comma_separates(read: Read) -> None:
    shop = read(f"user\titem\trating\n7\t{A}\t4,5\n8\t{B}\t3\n9\t{B}\t2.5\n")
    assert rows(shop) == [(7, A, 4.5), (8, B, 3.0), (9, B, 2.5)]
    assert "rating (decimal comma)" in shop.understood


def test_a_decimal_comma_is_no_number_where_a_comma_separates(read: Read, tmp_path: Path) -> None:
    shop = read(f'user,item,rating\n7,{A},"4,5"\n8,{B},3\n')
    assert rows(shop) == [(8, B, 3.0)]
    assert rejected(tmp_path) == [(2, "rating '4,5' is not a number", f'7,{A},"4,5"')]


def test_a_faulty_row_among_decimal_commas_is_the_only_one_rejected(read: Read, tmp_path: Path) -> None:
    shop = read(f"user;item;rating\n7;{A};4,5\n8;{B};1.000,5\n9;{B};2,5\n")
    assert rows(shop) == [(7, A, 4.5), (9, B, 2.5)]
    assert rejected(tmp_path) == [(3, "rating '1.000,5' is not a number", f"8;{B};1.000,5")]


def test_rejected_rows_keep_the_physical_line_and_the_text_as_it_was(read: Read, tmp_path: Path) -> None:
    read(f"7::{A}::4::964982703\n\n8::{B}::4.3::964982703\n" + f"9::{B}::5::964982703\n" * 9)
    assert rejected(tmp_path) == [(3, "rating '4.3' is not a whole or half number", f"8::{B}::4.3::964982703")]
    read(f"user_id;product_id;rating;name\n7;{A};4.3;Zoë\n8;{B};5;é\n".encode("cp1252"))
    assert rejected(tmp_path) == [(2, "rating '4.3' is not a whole or half number", f"7;{A};4.3;Zoë")]


def test_columns_of_a_file_without_a_header_are_told_by_what_they_hold(read: Read) -> None:
    assert rows(read(f"7,{A},4\n8,{B},5\n")) == [(7, A, 4.0), (8, B, 5.0)]
    assert rows(read(f"{A},anna,4\n{B},ben,5\n")) == [(1, A, 4.0), (2, B, 5.0)]
    assert rows(read(f"7,{A},2024-01-31,4\n8,{B},2024-02-01,5\n")) == [(7, A, 4.0), (8, B, 5.0)]


@pytest.mark.parametrize(
    "text",
    [
        f"7,{A}\n",
        f"7,{A},9\n",
        f"7,{A},4,red\n",
        f"7,{A},4,1\n",
        "anna,mug,4\nben,cup,5\n",
        f"{A},{B},4\n",
        f"7,964982703,{A},1\n",
        f"7,{A},964982703,1\n8,{A},964982703,1\n",
        f"7,{A},964982703,1,1\n",
    ],
)
def test_columns_that_are_not_plain_are_asked_for_with_the_first_line(read: Read, text: str) -> None:
    with pytest.raises(InputFileError) as error:
        read(text)
    first = text.split("\n")[0]
    assert (
        f"has no header, and its columns are not plainly user_id, product_id, rating, timestamp; its first line is "
        f"{first!r}: name all in their order, as --columns user_id,product_id,rating,timestamp (_: ignored)"
    ) in str(error.value)


def test_given_columns_name_those_of_a_file_without_a_header(read: Read) -> None:
    shop = read(f"red,4,{A},anna\nblue,5,{B},ben\n", "-,rating,product,user")
    assert rows(shop) == [(1, A, 4.0), (2, B, 5.0)]
    assert shop.understood == (
        "comma-separated, no header: rating, product_id, user_id; 2 rows; columns ignored: column 1"
    )
    with pytest.raises(InputFileError, match="--columns names 3 columns, and its first line has 4: 'red,4,"):
        read(f"red,4,{A},anna\n", "rating,product,user")


def test_given_columns_name_some_of_a_file_with_a_header(read: Read) -> None:
    text = f"who,sku,stars,timestamp\n7,{A},4,1\n8,{B},5,2\n"
    assert rows(read(text, "user=who,time=")) == [(7, A, 4.0), (8, B, 5.0)]
    with pytest.raises(InputFileError, match="no column whom among who, sku, stars, timestamp: see --columns"):
        read(text, "user_id=whom")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("user=who,rating", "give NAME=COLUMN for each, or all the columns' names in their order"),
        ("price=x", "'price' is none of user_id, product_id, rating, timestamp"),
        ("user=a,customer=b", "names user_id twice"),
        ("user,product,user_id", "names user_id twice"),
        ('"open', "cannot be read"),
    ],
)
def test_columns_that_mean_nothing_are_one_line(read: Read, columns: str, message: str) -> None:
    with pytest.raises(SettingError, match=message) as error:
        read(f"user,item,rating\n1,{A},5\n", columns)
    assert "\n" not in str(error.value)


def test_of_several_names_of_a_column_the_best_known_is_taken_and_the_others_are_told(read: Read) -> None:
    shop = read(
        "item_id,email,user_id,rating,score,date,timestamp\nx,a@b,7,4,1,2001-01-01,1717243200\n".replace("x", A)
    )
    assert rows(shop) == [(7, A, 4.0)]
    assert shop.understood.endswith("timestamp (seconds); 1 rows; columns ignored: email, score, date")


def test_a_name_that_comes_twice_is_an_error_only_for_a_column_that_is_read(read: Read) -> None:
    assert rows(read(f"user,item,rating,x,x\n7,{A},4,1,2\n")) == [(7, A, 4.0)]
    with pytest.raises(InputFileError, match="the header names the column 'rating' twice: rename one"):
        read(f"user,item,rating,rating\n7,{A},4,1\n")


def test_numbers_that_are_no_times_of_a_shop_are_refused_with_an_offer(read: Read) -> None:
    text = f"user,item,rating,timestamp\n7,{A},4,1\n8,{B},5,2\n9,{B},5,1717243200\n"
    with pytest.raises(InputFileError) as error:
        read(text)
    assert "2 of 3 times would be before 1995 if they are seconds since 1970 (1, 2, 1717243200)" in str(error.value)
    assert "give --columns timestamp= to import without times" in str(error.value)
    shop = read(text, "timestamp=")
    assert shop.ratings["created_at"].null_count == 3
    assert rows(read(text.replace(",1\n", ",1717243201\n", 1))) == [(7, A, 4.0), (8, B, 5.0), (9, B, 5.0)]


def test_a_time_after_tomorrow_is_a_rejected_row(read: Read, tmp_path: Path) -> None:
    shop = read(f"user,item,rating,date\n7,{A},4,2026-06-02\n8,{B},1,2099-01-01\n")
    assert rows(shop) == [(7, A, 4.0)]
    assert rejected(tmp_path) == [(3, "timestamp '2099-01-01' is after tomorrow", f"8,{B},1,2099-01-01")]


def test_faulty_lines_of_json_are_rejected_with_their_line(read: Read, tmp_path: Path) -> None:
    good = {"user": 7, "item": A, "rating": 4.5}
    lines = [
        json.dumps(good),
        "",
        '{"user": 7, "item": ',
        "[1]",
        json.dumps(good | {"rating": None}),
        json.dumps({"item": A}),
        json.dumps(good | {"user": 8, "rating": "5"}),
        '{"user": 9, "x": "' + "x" * 300_000 + '"}',
    ]
    shop = read("\r\n".join(lines))
    assert rows(shop) == [(7, A, 4.5), (8, A, 5.0)]
    assert sorted((line, reason.split(" (")[0]) for line, reason, _ in rejected(tmp_path)) == [
        (3, "is not JSON"),
        (4, "is no JSON object"),
        (5, "rating is empty"),
        (6, "user_id is empty"),
        (8, "the row is longer than 262,144 bytes"),
    ]
    assert (shop.rows, shop.rejected) == (7, 5)


def test_a_whole_number_of_any_length_in_json_keeps_its_digits(read: Read) -> None:
    lines = [f'{{"user": {user}, "item": "{A}", "rating": 5}}' for user in (10**25 + 1, 10**25 + 2)]
    lines.append(f'{{"user": {"9" * 5_000}, "item": "{A}", "rating": 5}}')
    shop = read("\n".join(lines))
    assert shop.user_ids == {f"{10**25 + 1}": 1, f"{10**25 + 2}": 2}
    assert shop.rejected == 1


def test_names_of_a_file_cannot_move_the_cursor_or_break_the_line(read: Read) -> None:
    name = "a\x1b[2J\nb"
    assert "columns ignored: a?[2J?b" in read(f'user,item,rating,"{name}"\n7,{A},4,x\n').understood
    with pytest.raises(InputFileError, match=r"no column rating among user, item, a\?\[2J\?b: if these"):
        read(f'user,item,"{name}"\n7,{A},4\n')


def test_what_is_not_one_object_on_each_line_is_told(read: Read) -> None:
    for text in (f'[\n{{"user": 7, "item": "{A}"}}\n]\n', "{'asin': 'x'}\n"):
        with pytest.raises(InputFileError, match="is not JSON with one object on each line; its first is"):
            read(text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stars=st.lists(st.sampled_from(["4", "5", "9", "", "x"]), min_size=1, max_size=30),
    n_exact=st.integers(1, 5),
    read_bytes=st.integers(1, 90),
)
def test_csv_json_and_parquet_of_the_same_rows_give_the_same_ratings_and_faults(
    tmp_path: Path, read: Read, stars: list[str], n_exact: int, read_bytes: int
) -> None:
    table = [{"user_id": str(number), "product_id": A, "rating": value} for number, value in enumerate(stars, 1)]
    text = "user_id,product_id,rating\n" + "".join(f"{','.join(row.values())}\n" for row in table)
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "r.parquet", row_group_size=3)
    of_json = "\n".join(json.dumps(row) for row in table)
    found: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(value_rows, "_ROWS_FOR_EXACT", n_exact)
        patch.setattr(value_rows, "READ_BYTES", read_bytes)
        patch.setattr(value_rows, "_ROWS_OF_PARQUET", read_bytes)
        for content, first in ((text, 2), (of_json, 1), ((tmp_path / "r.parquet").read_bytes(), 1)):
            try:
                shop = read(content)
                found.append((rows(shop), shop.rows, shop.rejected))
            except InputFileError:  # none of its rows is valid
                found.append(None)
            found.append([(line - first, reason) for line, reason, _ in rejected(tmp_path)])
    assert found[:2] == found[2:4] == found[4:]


def test_an_id_that_is_an_object_or_a_list_is_rejected_by_name(read: Read, tmp_path: Path) -> None:
    lines = [{"user": 1, "item": "a", "rating": 4}, {"user": 2, "item": {"id": "a"}, "rating": 5}]
    lines += [{"user": 3, "item": ["a", "b"], "rating": 5}, {"user": {"id": 4}, "item": "b", "rating": 3}]
    found = read("".join(json.dumps(line) + "\n" for line in lines), "user_id=user,product_id=item")
    assert found.ratings["product_id"].to_pylist() == ["a"]
    nested = "is a list or an object, not one value"
    assert [reason for _, reason, _ in rejected(tmp_path)] == [f"item {nested}", f"item {nested}", f"user {nested}"]
    table = pa.table({"user": [1], "item": [{"id": "a"}], "rating": [4.0]})
    pq.write_table(table, tmp_path / "nested.parquet")
    with pytest.raises(InputFileError, match=f"item {nested}: write the id into a column of its own"):
        read((tmp_path / "nested.parquet").read_bytes(), "user_id=user,product_id=item")
