"""A shop's own ratings: ids, times, repeated pairs, faulty rows."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from recommender.errors import InputFileError
from recommender.files import RejectedRows, read_ratings_file
from recommender.files.ratings_file import ShopRatings
from recommender.shop import PRODUCT_ID_RULE
from tests.conftest import REAL_DATA, needs_real_data

NOON = dt.datetime(2024, 6, 1, 12)
A, B = "A000000001", "B000000002"

Read = Callable[[str], ShopRatings]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a ratings file with this text."""

    def reader(text: str) -> ShopRatings:
        path = tmp_path / "ratings.csv"
        path.write_text(text, encoding="utf-8")
        with RejectedRows(tmp_path / "rejected_rows.csv", limit=20) as rejected:
            return read_ratings_file(path, rejected, loaded_at=NOON)

    return reader


def pairs(shop: ShopRatings) -> list[tuple[int, str, float]]:
    columns = (shop.ratings[name].to_pylist() for name in ("user_id", "product_id", "rating"))
    return list(zip(*columns, strict=True))


def test_whole_number_ids_stay_unchanged(read: Read) -> None:
    shop = read(f"user_id,product_id,rating\n9223372036854775807,{A},5\n10,{B},0.5\n 2 ,{A},4.0\n")
    assert pairs(shop) == [(2, A, 4.0), (10, B, 0.5), (2**63 - 1, A, 5.0)]
    assert len(shop.user_ids) == 0
    # no times: unknown, and changed at the load
    assert set(shop.ratings["created_at"].to_pylist()) == {None}
    assert set(shop.ratings["updated_at"].to_pylist()) == {NOON}


def test_84_0_is_the_whole_number_84(read: Read) -> None:
    shop = read(f"user_id,product_id,rating\n84.0,{A},1\n7,{A},2\n9.,{B},3\n84,{B},4\n")
    assert pairs(shop) == [(7, A, 2.0), (9, B, 3.0), (84, A, 1.0), (84, B, 4.0)]
    assert shop.user_ids == {}


def test_the_last_of_a_repeated_pair_wins_and_the_counts_add_up(read: Read) -> None:
    shop = read(
        "rating,timestamp,user_id,product_id\n"
        f"1,1717243205,7,{B}\n2,1717243204,7,{A}\n3,1717243203,7,{B}\n4,1717243202,7,{B}\n4.3,1717243201,7,{B}\n"
    )
    assert pairs(shop) == [(7, A, 2.0), (7, B, 4.0)]
    assert (shop.rows, shop.repeated, shop.rejected) == (5, 2, 1)
    assert shop.ratings["updated_at"].to_pylist() == [NOON.replace(second=s) for s in (4, 2)]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1717243200", NOON),
        ("2024-06-01 12:00:00", NOON),
        ("2024-06-01T12:00:00.000001", NOON.replace(microsecond=1)),
        ("2024-06-01T14:00:00+02:00", NOON),
        ("2024-06-01T12:00:00Z", NOON),
        ("2024-06-01", NOON.replace(hour=0)),
        ("", None),
    ],
)
def test_times_are_seconds_or_iso_in_utc(read: Read, text: str, time: dt.datetime | None) -> None:
    lines = f"1,{A},1,{text}\n2,{A},1,1717243200\n"
    alone, among = read(f"user_id,product_id,rating,timestamp\n1,{A},1,{text}\n"), None
    among = read(f"user_id,product_id,rating,timestamp\n{lines}")
    assert alone.ratings["created_at"].to_pylist() == [time]
    assert among.ratings["created_at"].to_pylist() == [time, NOON]
    assert alone.ratings["updated_at"].to_pylist() == [time or NOON]


def test_each_faulty_row_is_named(read: Read, tmp_path: Path) -> None:
    faults = {
        f",{A},5,": "user_id is empty",
        f"{'x' * 65},{A},5,": "user_id is longer than 64 characters",
        "1,,5,": "product_id is empty",
        "1,a\tb,5,": f"product_id 'a\\tb' is not {PRODUCT_ID_RULE}",
        f"1,{'x' * 65},5,": f"product_id '{'x' * 40}...' has 65 characters and is not {PRODUCT_ID_RULE}",
        f"1,{A},,": "rating is empty",
        f"1,{A},4.25,": "rating '4.25' is not a whole or half number",
        f"1,{A},nan,": "rating 'nan' is not a number",
        f"1,{A},5,now": "timestamp 'now' is neither a number nor a date as 2024-12-31 23:59:59",
        f"1,{A},5,1969-12-31": "timestamp '1969-12-31' is before 1970",
        f"1,{A},5,{10**16}": f"timestamp '{10**16}' is after tomorrow",
        f"1,{A},5": "3 fields instead of 4",
    }
    shop = read(
        "user_id,product_id,rating,timestamp\n" + "".join(f"{line}\n" for line in faults) + f"1,{A},5,1717243200\n"
    )
    with (tmp_path / "rejected_rows.csv").open(newline="") as file:
        noted = [(row["line"], row["reason"], row["raw"]) for row in csv.DictReader(file)]
    assert noted == [(str(n), reason, line) for n, (line, reason) in enumerate(faults.items(), start=2)]
    assert pairs(shop) == [(1, A, 5.0)]


def test_a_file_without_a_good_row_is_an_error(read: Read, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="none of its 1 rows is valid"):
        read(f"user_id,product_id,rating\n1,{A},nine\n")
    with pytest.raises(InputFileError, match="no column product_id, rating among user_id, thing"):
        read("user_id,thing\n1,2\n")
    with pytest.raises(InputFileError, match="does not exist"), RejectedRows(tmp_path / "r.csv") as rejected:
        read_ratings_file(tmp_path / "none.csv", rejected, loaded_at=NOON)


@needs_real_data
def test_real_ratings_are_read_whole(tmp_path: Path) -> None:
    text = (REAL_DATA / "all_beauty" / "ratings.csv").read_text().replace("parent_asin", "product_id", 1)
    (tmp_path / "r.csv").write_text(text)
    with RejectedRows(tmp_path / "rejected.csv") as rejected:
        shop = read_ratings_file(tmp_path / "r.csv", rejected, loaded_at=NOON)
    rows = list(csv.DictReader(text.splitlines()))
    names = dict(enumerate(sorted({row["user_id"] for row in rows}), start=1))
    expected = {(row["user_id"], row["product_id"]): float(row["rating"]) for row in rows}
    assert {(names[user], product): rating for user, product, rating in pairs(shop)} == expected
    assert (shop.rows, len(shop.user_ids)) == (2_535, 253)
