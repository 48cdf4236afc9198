"""The user ids of a file: one kind for all, decided by one rule; an odd one changes nobody else's."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recommender.database import MADE_UP, NUMBERS, TEXT, Identities
from recommender.errors import InputFileError
from recommender.files import RejectedRows, ShopRatings, read_ratings_file
from recommender.files.csv_columns import stripped
from recommender.files.user_ids import number_ids, text_ids
from recommender.shop import id_fault, number_of
from tests.files.test_ratings_file import NOON, A
from tests.shop.test_user_ids import NAMES

LARGEST = 2**63 - 1
ANY = st.characters(exclude_categories=["Cs"])
HUNDRED = [str(number) for number in range(1001, 1101)]


def read(
    folder: Path, names: Sequence[str], known: Identities | None = None, user_ids: str | None = None, limit: int = 1_000
) -> ShopRatings:
    """Read a file with one rating for each of these ids."""
    with (folder / "r.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["user_id", "product_id", "rating"], *([name, A, 5] for name in names)])
    with RejectedRows(folder / "rejected_rows.csv", limit=limit) as rejected:
        return read_ratings_file(folder / "r.csv", rejected, loaded_at=NOON, known=known, user_ids=user_ids)


def users(shop: ShopRatings) -> list[int]:
    found: list[int] = shop.ratings["user_id"].to_pylist()
    return found


def rejected(folder: Path) -> list[tuple[str, str]]:
    with (folder / "rejected_rows.csv").open(encoding="utf-8", newline="") as file:
        return [(row["line"], row["reason"]) for row in csv.DictReader(file)]


def test_0_is_a_user_and_changes_no_other(tmp_path: Path) -> None:
    assert users(read(tmp_path, ["0", "1", "2", "10"])) == [0, 1, 2, 10]


def test_numbers_written_with_a_point_are_what_they_plainly_are(tmp_path: Path) -> None:
    shop = read(tmp_path, ["1.0", "2.0", "10.00", "7.", f"{LARGEST}"])
    assert (users(shop), shop.kind, shop.user_ids) == ([1, 2, 7, 10, LARGEST], NUMBERS, {})


@pytest.mark.parametrize(
    "odd", ["guest", "042", "00", "-1", "+7", "1e3", "1.5", f"{LARGEST + 1}", "٤٢", "7.0.0", "1 0", "9" * 60]
)
def test_one_odd_id_among_numbers_is_a_rejected_row(tmp_path: Path, odd: str) -> None:
    shop = read(tmp_path, ["1001", odd, "1002", "7.0"])
    assert (users(shop), shop.kind, shop.rejected) == ([7, 1001, 1002], NUMBERS, 1)
    reason = f"user_id {odd!r:.60} is no whole number from 0 to {LARGEST}, as the other user ids are"
    assert rejected(tmp_path) == [("3", reason)], "once, though the file is read twice"


@pytest.mark.parametrize(
    ("odd", "kind"), [(["guest"], NUMBERS), (["guest", "test"], TEXT), (["042", "007"], TEXT), ([], NUMBERS)]
)
def test_more_than_one_odd_id_in_a_hundred_makes_all_text(tmp_path: Path, odd: list[str], kind: str) -> None:
    shop = read(tmp_path, [*HUNDRED, *odd])
    assert (shop.kind, len(shop.ratings)) == (kind, 100 + len(odd) * (kind == TEXT))


def test_two_in_two_hundred_are_odd_ones(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(198)]
    assert read(tmp_path, [*numbers, "guest", "test"]).kind == NUMBERS
    assert read(tmp_path, [*numbers[:-1], "guest", "test"]).kind == TEXT


def test_ids_with_leading_zeros_are_text_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    shop = read(tmp_path, ["10", "007", "1", "0042"])
    assert (shop.kind, shop.user_ids) == (TEXT, {"0042": 1, "007": 2, "1": 3, "10": 4})
    assert read(tmp_path, ["b", "7", "a", "7.0"]).user_ids == {"7": 1, "7.0": 2, "a": 3, "b": 4}, "each as it is"


def test_the_kind_of_the_tables_stays(tmp_path: Path) -> None:
    known = Identities("1-x", TEXT, 1, 2, 2, {"b": 1, "7": 2})
    shop = read(tmp_path, ["7", "8", "9.0"], known)
    assert (shop.kind, shop.user_ids) == (TEXT, {"b": 1, "7": 2, "8": 3, "9.0": 4})
    numbers = Identities("1-x", NUMBERS, 1)
    assert read(tmp_path, ["7", "8", "042", "guest"], numbers).rejected == 2
    with pytest.raises(InputFileError, match=r"text, such as 'a', and those in the tables .* give --user-ids text"):
        read(tmp_path, ["a", "b", "1"], numbers)
    assert read(tmp_path, ["a", "b"], Identities("1-x", MADE_UP, 1)).kind == TEXT


def test_the_option_insists(tmp_path: Path) -> None:
    assert read(tmp_path, ["1", "2"], user_ids=TEXT).user_ids == {"1": 1, "2": 2}
    assert read(tmp_path, ["1", "2"], Identities("1-x", NUMBERS, 1), TEXT).user_ids == {"1": 1, "2": 2}
    shop = read(tmp_path, ["a", "b", "1"], Identities("1-x", TEXT, 1, 1, 1, {"a": 1}), NUMBERS)
    assert (users(shop), shop.rejected, shop.user_ids) == ([1], 2, {})


def test_a_known_id_may_be_as_long_as_an_earlier_release_took_it(tmp_path: Path) -> None:
    long, other = "k" * 255, "n" * 65
    shop = read(tmp_path, [long, other, "a"], Identities("1-x", TEXT, 1, 5, 5, {long: 5}))
    assert shop.user_ids == {long: 5, "a": 6}
    assert rejected(tmp_path) == [("3", "user_id is longer than 64 characters")]


FAULTY = {
    "a\ufffdb": "no character",
    "a\x00b": "control",
    "a\x1fb": "control",
    "a\x7fb": "control",
    "a\x85b": "control",
}


@pytest.mark.parametrize(
    ("text", "fault"), [*FAULTY.items(), (".", "."), ("..", "."), ("x" * 65, "longer"), ("", "empty")]
)
def test_what_is_no_text_id_is_refused(text: str, fault: str) -> None:
    assert fault in (id_fault(text) or "")
    with pytest.raises(ValueError, match=fault.replace(".", r"\.")):
        text_ids().exact(text)
    assert text_ids().fast(pa.array(["good", text])) is None


@pytest.mark.parametrize("text", [" a", "a\u00a0", "\ud800", "\n"])
def test_blanks_at_the_ends_and_half_characters_are_no_ids(text: str) -> None:
    assert id_fault(text) is not None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=70) | st.sampled_from([".", "..", "0", "7.0"]))
)
def test_the_fast_reader_takes_what_the_exact_one_takes(texts: list[str]) -> None:
    given_texts = stripped(pa.array(texts, pa.string()))
    for column in (text_ids(), number_ids()):
        values = column.fast(given_texts) if texts else given_texts
        if values is not None:
            assert [column.exact(text) for text in given_texts.to_pylist()] == values.to_pylist()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(NAMES, min_size=1, max_size=30))
def test_any_text_id_goes_through_a_csv_file(tmp_path: Path, names: set[str]) -> None:
    shop = read(tmp_path, list(names), user_ids=TEXT)
    assert (shop.rejected, shop.user_ids) == (0, {name: n for n, name in enumerate(sorted(names), start=1)})
    assert sorted(names) == sorted(names, key=str.encode), "the order of code points is the order of UTF-8"


@given(st.integers(-5, 2**64) | st.text("0123456789+-. ", max_size=20))
def test_a_number_is_plain_digits_up_to_the_largest(value: int | str) -> None:
    text = str(value)
    plain = text.isascii() and text.isdigit() and text == str(int(text)) and int(text) <= LARGEST
    assert number_of(text) == (int(text) if plain else None)
