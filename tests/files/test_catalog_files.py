"""The catalog's columns: the rules for products and categories, fault by fault, and the real file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recommender.database.schema import PRODUCT_COLUMNS
from recommender.errors import InputFileError
from recommender.files import CsvRows, RejectedRows, category_rows, product_rows
from recommender.files.catalog_files import WHERE_TO_GET_IT
from tests.conftest import REAL_CATEGORIES, REAL_PRODUCTS, needs_real_data
from tests.support.product_ids import PRODUCT_IDS

GOOD = {
    "asin": "B000000001",
    "title": "Title",
    "imgUrl": "https://example.com/a.jpg",
    "productURL": "https://example.com/a",
    "stars": "4.5",
    "reviews": "7",
    "price": "9.99",
    "listPrice": "0.0",
    "category_id": "3",
    "isBestSeller": "False",
    "boughtInLastMonth": "50",
}
READ = ("B000000001", "Title", "https://example.com/a.jpg", "https://example.com/a", 4.5, 7, 9.99, 0.0, 3, False, 50)


def report(folder: Path) -> list[tuple[int, str]]:
    with (folder / "rejected_rows.csv").open(newline="", encoding="utf-8") as file:
        return [(int(row["line"]), row["reason"]) for row in csv.DictReader(file)]


def products(folder: Path, *changes: dict[str, str], **options: Any) -> list[tuple[object, ...]]:
    """The rows read from a file with one product per change."""
    path = folder / "products.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, PRODUCT_COLUMNS)
        writer.writeheader()
        writer.writerows(GOOD | change for change in changes)
    with RejectedRows(folder / "rejected_rows.csv", limit=100) as rejected:
        return read(product_rows(path, rejected, {3, 270}, rows_per_batch=50_000, **options))


def read(rows: CsvRows) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for batch in rows.batches() for row in batch.to_pylist()]


FAULTS = [
    ({"asin": ""}, "asin is empty"),
    ({"asin": "b000000001"}, "asin 'b000000001' is not 10 characters A-Z 0-9"),
    ({"asin": "B00000000"}, "asin 'B00000000' is not 10 characters A-Z 0-9"),
    ({"title": "x" * 70_000}, "title is longer than 65,535 bytes"),
    ({"title": "é" * 32_768}, "title is longer than 65,535 bytes"),
    ({"imgUrl": "x" * 1_001}, "imgUrl is longer than 1,000 characters"),
    ({"productURL": "é" * 1_001}, "productURL is longer than 1,000 characters"),
    ({"stars": "5.1"}, "stars '5.1' is out of range (0 to 5)"),
    ({"stars": "-1"}, "stars '-1' is out of range (0 to 5)"),
    ({"stars": ""}, "stars is empty"),
    ({"reviews": "-1"}, "reviews '-1' is out of range (0 to 2,147,483,647)"),
    ({"reviews": "1.5"}, "reviews '1.5' is not a whole number"),
    ({"price": "$12.99"}, "price '$12.99' is not a number"),
    ({"price": "inf"}, "price 'inf' is not a number"),
    ({"price": "-0.01"}, "price '-0.01' is out of range (0 or more)"),
    ({"listPrice": "nan"}, "listPrice 'nan' is not a number"),
    ({"category_id": "4"}, "category_id '4' is no id of the categories file"),
    ({"category_id": ""}, "category_id is empty"),
    ({"isBestSeller": "true"}, "isBestSeller 'true' is neither True nor False"),
    ({"boughtInLastMonth": "2147483648"}, "boughtInLastMonth '2147483648' is out of range (0 to 2,147,483,647)"),
]


def test_each_fault_is_named_with_its_line(tmp_path: Path) -> None:
    changes = [change for fault, _ in FAULTS for change in ({}, fault)]
    assert products(tmp_path, *changes, {}) == [READ] * (len(FAULTS) + 1)
    assert report(tmp_path) == [(3 + 2 * n, reason) for n, (_, reason) in enumerate(FAULTS)]


def test_quirks_of_the_real_file_are_no_faults(tmp_path: Path) -> None:
    quirks: list[tuple[dict[str, str], dict[int, object]]] = [
        ({"title": ""}, {1: None}),
        ({"title": "   "}, {1: None}),
        ({"title": ' -10 °C, 5" 😀 '}, {1: '-10 °C, 5" 😀'}),
        ({"title": "x" * 65_535}, {1: "x" * 65_535}),
        ({"imgUrl": "", "productURL": "😀" * 1_000}, {2: None, 3: "😀" * 1_000}),
        ({"asin": "0007350813"}, {0: "0007350813"}),
        ({"asin": "000735081X"}, {0: "000735081X"}),
        ({"stars": "0.0", "price": "0.0"}, {4: 0.0, 6: 0.0}),
        ({"stars": "5", "price": "19731.81", "isBestSeller": "True"}, {4: 5.0, 6: 19731.81, 9: True}),
        ({"boughtInLastMonth": "2147483647", "category_id": "270"}, {10: 2**31 - 1, 8: 270}),
    ]
    expected = [tuple(changed.get(n, value) for n, value in enumerate(READ)) for _, changed in quirks]
    assert products(tmp_path, *(quirk for quirk, _ in quirks)) == expected
    assert report(tmp_path) == []


def test_faults_of_categories_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "categories.csv"
    path.write_text("category_name,id\nToys,1\n,2\nGames,x\n" + "n" * 256 + ",3\nBeauty & Care ,4\n")
    with RejectedRows(tmp_path / "rejected_rows.csv", limit=3) as rejected:
        assert read(category_rows(path, rejected)) == [(1, "Toys"), (4, "Beauty & Care")]
    reasons = ["category_name is empty", "id 'x' is not a whole number", "category_name is longer than 255 characters"]
    assert report(tmp_path) == list(zip((3, 4, 5), reasons, strict=True))


def test_a_missing_file_says_where_to_get_it_and_how_to_make_a_sample(tmp_path: Path) -> None:
    with RejectedRows(tmp_path / "r.csv") as rejected, pytest.raises(InputFileError) as error:
        product_rows(tmp_path / "amazon_products.csv", rejected, {1}, rows_per_batch=10)
    assert str(error.value) == f"{tmp_path / 'amazon_products.csv'} does not exist: {WHERE_TO_GET_IT}"
    for part in ("Amazon Products Dataset 2023 (1.4M Products)", "asaniczka", "python -m recommender.sample_catalog"):
        assert part in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(PRODUCT_IDS, min_size=1, max_size=20))
def test_any_product_ids_are_read_as_they_are_written(tmp_path: Path, ids: list[str]) -> None:
    found = products(tmp_path, *({"asin": name} for name in ids), id_pattern=".+")
    assert ([row[0] for row in found], report(tmp_path)) == (ids, [])


def test_a_pattern_of_a_shops_own_rejects_other_ids_by_name(tmp_path: Path) -> None:
    ids = ["A-1", "A-12", "B-1", "A-1 ", "A-1\n"]
    found = products(tmp_path, *({"asin": name} for name in ids), id_pattern="A-[0-9]+|A-x")
    assert [row[0] for row in found] == ["A-1", "A-12", "A-1", "A-1"]  # blanks at the ends are no part of a value
    assert report(tmp_path) == [(4, "asin 'B-1' does not match PRODUCT_ID_PATTERN=A-[0-9]+|A-x")]


@needs_real_data
def test_real_products_are_read_as_by_pythons_csv_module(tmp_path: Path) -> None:
    with RejectedRows(tmp_path / "rejected_rows.csv") as rejected:
        known = {int(str(row[0])) for row in read(category_rows(REAL_CATEGORIES, rejected))}
        found = read(product_rows(REAL_PRODUCTS, rejected, known, rows_per_batch=1_000))
    with REAL_PRODUCTS.open(newline="", encoding="utf-8") as file:
        texts = [[text.strip() for text in row] for row in csv.reader(file)][1:]
    flag = {"True": True, "False": False}
    kinds: list[Callable[[str], object]] = [str, str, str, str, float, int, float, float, int, flag.__getitem__, int]
    assert found == [tuple(kind(text) for kind, text in zip(kinds, row, strict=True)) for row in texts]
    assert (len(found), len(known), report(tmp_path)) == (2_480, 248, [])
