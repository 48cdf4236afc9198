"""A shop's people: public files and shop exports, ages in every form, and no name or e-mail unless it is wanted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.errors import InputFileError
from recommender.files import RejectedRows, ShopPeople, read_people_file
from recommender.files.people_file import AGES, age_column, age_group

TODAY = dt.date(2026, 6, 1)
Read = Callable[..., ShopPeople]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a file with this content."""

    def reader(content: str, columns: str | None = None, *private: str) -> ShopPeople:
        path = tmp_path / "people"
        path.write_text(content)
        with RejectedRows(tmp_path / "rejected_rows.csv", limit=1) as rejected:
            return read_people_file(path, rejected, today=TODAY, columns=columns, private=private)

    return reader


def facts(found: ShopPeople) -> dict[str, dict[str, Any]]:
    return dict(zip(found.user_ids.to_pylist(), found.facts.to_pylist(), strict=True))


def test_movielens_users(read: Read) -> None:
    found = read("1::F::1::10::48067\n2::M::56::16::70072\n", "user,gender,age,_,_")
    assert facts(found) == {"1": {"gender": "F", "age_group": "under 18"}, "2": {"gender": "M", "age_group": "55-64"}}
    assert found.understood.startswith("::-separated, no header: user_id, gender, age_group")


def test_lastfm_profiles(read: Read) -> None:
    text = "00000c289a1829a8\tf\t22\tGermany\tFeb 1, 2007\n00001411dc427966\t\t-1337\tCanada\tDec 4, 2007\n"
    assert facts(read(text, "user,gender,age,country,_")) == {
        "00000c289a1829a8": {"gender": "f", "age_group": "18-24", "country": "Germany"},
        "00001411dc427966": {"gender": None, "age_group": None, "country": "Canada"},
    }


def test_shop_customers_lose_their_names_and_e_mails_unless_these_are_wanted(read: Read) -> None:
    text = "Customer ID,First Name,Email,Address Country\n7,Ann,ann@x.org,NL\n8,Ben,ÀNN@x.org,DE\n"
    columns = "country=Address Country"
    plain = read(text, columns)
    assert facts(plain) == {"7": {"country": "NL"}, "8": {"country": "DE"}}
    assert "columns ignored: First Name, Email" in plain.understood
    assert "@" not in str(plain.first)
    whole = read(text, columns, "name", "email")
    assert facts(whole)["7"] == {"name": "Ann", "email": "ann@x.org", "country": "NL"}
    assert facts(whole)["8"]["email"] is None  # compared without case and accents, as the key of the table does


def test_the_last_row_of_a_repeated_id_counts(read: Read) -> None:
    found = read("id,country\n5,NL\n6,BE\n5,DE\n")
    assert facts(found) == {"6": {"country": "BE"}, "5": {"country": "DE"}}
    assert (found.rows, found.repeated, found.rejected) == (3, 1, 0)


def test_a_file_without_ids_is_refused_in_one_line(read: Read) -> None:
    with pytest.raises(InputFileError, match="no column user_id among Email, Country: name it, as user_id=NAME"):
        read("Email,Country\na@x.org,NL\n")


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("18", "18-24"), ("17", "under 18"), ("64.0", "55-64"), ("65", "65+"), ("120", "65+"), ("121", None),
        ("0", None), ("25 - 34", "25-34"), ("25–34", "25-34"), ("55+", "55-64"), (">65", "65+"),
        ("under 18", "under 18"), ("2000", "25-34"), ("2000-12-31", "25-34"), ("31/12/1961", "65+"), ("2027", None),
        ("", None), ("n/a", None),
    ],
)  # fmt: skip
def test_an_age_is_read_from_years_groups_and_births(text: str, group: str | None) -> None:
    assert age_group(text, TODAY.year) == group


@given(st.lists(st.text(max_size=12) | st.integers(-10, 2_100).map(str), min_size=1))
def test_whatever_is_no_age_is_unknown_and_stops_nothing(texts: list[str]) -> None:
    column = age_column(TODAY)
    found = column.fast(pa.array(texts, pa.string()))
    assert found is not None
    assert found.to_pylist() == [column.exact(text) for text in texts]
    assert set(found.to_pylist()) <= {None, *AGES.values()}
