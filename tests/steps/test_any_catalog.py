"""Step 1 with ``--columns``: a products file of any form, on both databases."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, inspect, text

import to_rds
from recommender.database import existing_tables
from recommender.errors import InputFileError
from recommender.files import RejectedRows, UnwrittenRejectedRows, any_product_rows, product_form, whole_products
from recommender.shop import PRODUCT_ID_RULE
from tests.steps.test_to_rds import CATEGORIES, HEADER, Step, asins, catalog, line
from tests.steps.test_to_rds import step as step

A, B, C = "B00000000A", "B00000000B", "B00000000C"
NAMES = "asin=sku,title=name,price=regular_price"
NOTHING = (0.0, 0, 0.0, 0.0)


def read(path: Path, columns: str) -> list[dict[str, object]]:
    with RejectedRows(path.with_name("rejected_rows.csv")) as rejected:
        rows = any_product_rows(product_form(path, columns), rejected, (), rows_per_batch=2)
        return [row for batch in whole_products(rows.batches(), {}) for row in batch.to_pylist()]


def test_a_file_with_other_names_is_loaded_and_what_it_lacks_is_unknown(step: Step, engine: Engine) -> None:
    text = (
        f"sku;name;regular_price;color;Categories\n{A};Mug;4,50;red;Kitchen\n{B};;;;\n{C};Pan;12;;Kitchen\n{A};x;1;;\n"
    )
    step.write(gzip.compress(text.encode("utf-16")))
    out = step.run("--columns", NAMES)
    first, *_ = out.splitlines()[1:]
    assert first == (
        "gzip, semicolon-separated, UTF-16: asin = sku, title = name, price = regular_price (decimal comma), "
        "category_name = Categories; 4 rows; columns ignored: color"
    )
    assert "amazon_products: 3 loaded + 1 duplicates + 0 rejected = 4 rows of p.csv" in out
    assert catalog(engine) == (
        [(1, "Kitchen"), (2, "Uncategorized")],
        [
            (A, "Mug", None, None, 0.0, 0, 4.5, 0.0, 1, False, 0),
            (B, None, None, None, 0.0, 0, 0.0, 0.0, 2, False, 0),
            (C, "Pan", None, None, 0.0, 0, 12.0, 0.0, 1, False, 0),
        ],
    )
    assert "nothing to do" in step.run("--columns", NAMES, "--if-changed")


def test_a_faulty_row_keeps_its_line_and_the_counts_add_up(step: Step, engine: Engine) -> None:
    step.write(f"sku;name\n{A};\n\n..;Mug\n{B};Pan\n")
    assert "2 loaded + 0 duplicates + 1 rejected = 3 rows of p.csv" in step.run(
        "--columns", "asin=sku", "--max-rejected", "1"
    )
    assert step.rejected[1:] == [["p.csv", "4", f"asin '..' is not {PRODUCT_ID_RULE}", "..;Mug"]]
    assert asins(engine) == [A, B]


def test_appending_keeps_the_numbers_of_known_categories(step: Step, engine: Engine) -> None:
    step.write(HEADER + line(A, category="2"))
    step.run()
    step.write(f"sku,category\n{B},Games\n{C},Books\n")
    step.run("--columns", "asin=sku", "--append")
    shelves, rows = catalog(engine)
    assert shelves == [(1, "Toys"), (2, "Games"), (3, "Books")]
    assert [(row[0], row[8]) for row in rows] == [(A, 2), (B, 2), (C, 3)]


def kept(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT asin, brand, Color FROM amazon_products"))]


def test_columns_to_keep_come_along_and_the_next_catalog_may_have_others(step: Step, engine: Engine) -> None:
    step.write(f"sku,title,Brand,color,size\n{A},Mug,Acme,rouge vif,L\n{B},Pan,,\U0001f534,\n{C},Pot,{'x' * 256},,\n")
    out = step.run("--columns", "asin=sku", "--keep", "brand,Color", "--max-rejected", "1")
    assert "brand = Brand, Color = color; 3 rows; columns ignored: size" in out.splitlines()[1]
    assert step.rejected[1][2] == "brand is longer than 255 characters"
    assert kept(engine) == [(A, "Acme", "rouge vif"), (B, None, "\U0001f534")]
    assert "nothing to do" in step.run("--columns", "asin=sku", "--keep", "brand,Color", "--if-changed")
    step.write(f"sku,brand\n{A},Acme\n{B},\n{C},\n")
    assert "nothing to do" not in step.run("--columns", "asin=sku", "--keep", "brand", "--if-changed")
    step.run("--columns", "asin=sku")
    with engine.connect() as connection:
        names = {column["name"] for column in inspect(connection).get_columns("amazon_products")}
    assert not {"brand", "Color"} & names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--keep", "brand,price"], "--keep 'price': give names of columns of letters, digits and _"),
        (["--keep", "brand,BRAND"], "--keep 'BRAND': give names"),
        (["--keep", "a`; DROP TABLE users"], "--keep 'a`; DROP TABLE users': give names"),
        (["--keep", ",".join(f"c{n}" for n in range(21))], "--keep names 21 columns: 20 are the most"),
        (["--keep", "brand"], "no column brand to keep among sku, name: it is not there"),
        (["--keep", "name"], "no column name to keep among sku, name: it is taken for another column"),
        (["--keep", "brand", "--append"], "--keep is for a whole catalog: leave out --append"),
    ],
)
def test_a_column_that_cannot_be_kept_is_one_line(step: Step, options: list[str], message: str) -> None:
    step.write(f"sku,name\n{A},Mug\n")
    assert message in step.fail("--columns", "asin=sku", *options)


def test_a_column_of_category_ids_needs_the_categories_file(step: Step, engine: Engine) -> None:
    step.write(f"sku|shelf\n{A}|2\n{B}|3\n", CATEGORIES)
    out = step.run("--columns", "asin=sku,category_id=shelf", "--max-rejected", "1")
    assert "1 loaded + 0 duplicates + 1 rejected = 2 rows of p.csv" in out
    assert step.rejected[1][2] == "category_id '3' is no id of the categories file"
    assert [row[8] for row in catalog(engine)[1]] == [2]
    (step.folder / "c.csv").unlink()
    remedy = "name the file of the categories, as --categories FILE, or go without: --columns category_id="
    assert f"c.csv does not exist: {remedy}" in step.fail("--columns", "asin=sku,category_id=shelf")
    assert "2 loaded" in step.run("--columns", "asin=sku,category_id=")


def test_a_file_of_its_own_columns_is_told_how_it_is_read(step: Step) -> None:
    step.write(f"asin,title,price\n{A},Mug,4.5\n")
    remedy = "check that it is the right file, or read it as a shop's own: --columns asin=asin"
    assert step.fail().endswith(f"among asin, title, price: {remedy}")
    assert "1 loaded" in step.run("--columns", "asin=asin")
    step.write(f"sku,title\n{A},Mug\n")
    assert step.fail().endswith("or name what it calls them, as --columns asin=NAME")


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b\n1,2\n", "title=a", "no column of product ids among a, b: name it, as --columns asin=NAME"),
        ("a,b\n1,2\n", "asin=c", "no column c among a, b: see --columns"),
        ("a,b\n1,2\n", "color=b", "'color' is none of asin, title, imgUrl"),
        (f"{A},Mug\n{B},Pan\n", "asin=sku", "p.csv has no header, and its columns are not plainly asin"),
    ],
)
def test_a_file_that_is_not_understood_is_one_line_and_changes_nothing(
    step: Step, text: str, columns: str, message: str
) -> None:
    step.write(text)
    assert message in step.fail("--columns", columns)


def test_a_woocommerce_and_a_shopify_export_of_products(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(
        "\ufeffID,Type,SKU,Name,Published,Is featured?,Short description,Sale price,Regular price,Categories,Images\n"
        f'7,simple,{A},"Mug, blue",1,0,,3.5,4.5,"Kitchen > Mugs",https://x/a.jpg\n8,simple,{B},Pan,1,1,,,,,\n'
    )
    woo = read(path, "isBestSeller=Is featured?")
    assert [(r["asin"], r["title"], r["price"], r["isBestSeller"], r["category_id"], r["imgUrl"]) for r in woo] == [
        (A, "Mug, blue", 4.5, False, 1, "https://x/a.jpg"),
        (B, "Pan", 0.0, True, 2, None),
    ]
    path.write_text(
        "Handle,Title,Body (HTML),Vendor,Product Category,Type,Variant SKU,Variant Price,Variant Compare At Price\n"
        f'mug,Mug,"<p>\n</p>",V,Kitchen,Mugs,{A},4.50,9.99\n'
    )
    shopify = read(path, "asin=Variant SKU")
    assert [(r["asin"], r["title"], r["price"], r["listPrice"]) for r in shopify] == [(A, "Mug", 4.5, 9.99)]


def test_json_lines_of_products_are_read_with_their_flags(tmp_path: Path) -> None:
    path = tmp_path / "meta.jsonl"
    products = [
        {
            "parent_asin": A,
            "title": "Mug",
            "average_rating": 4.5,
            "rating_number": 7,
            "price": None,
            "best_seller": True,
        },
        {"parent_asin": B, "title": None, "price": 3, "best_seller": "no"},
    ]
    path.write_text("".join(json.dumps(product) + "\n" for product in products))
    found = read(path, "reviews=rating_number")
    keys = ("asin", "title", "stars", "reviews", "price", "isBestSeller", "category_id")
    assert [tuple(row[key] for key in keys) for row in found] == [
        (A, "Mug", 4.5, 7, 0.0, True, 1),
        (B, None, 0.0, 0, 3.0, False, 1),
    ]


def test_json_lines_and_parquet_go_all_the_way_into_the_tables(step: Step, engine: Engine) -> None:
    rows: list[dict[str, object]] = [
        {"sku": A, "name": "Mug", "review_count": 10.0, "category": ["Kitchen", "Mugs"], "image": ["//x/1", "//x/2"]},
        {"sku": B, "name": None, "review_count": None, "category": [], "image": []},
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for content in (text, gzip.compress(text), sink.getvalue()):
        step.write(content)
        assert "amazon_products: 2 loaded + 0 duplicates + 0 rejected" in step.run("--columns", "asin=sku")
        assert catalog(engine) == (
            [(1, "Kitchen, Mugs"), (2, "Uncategorized")],
            [
                (A, "Mug", "//x/1", None, 0.0, 10, 0.0, 0.0, 1, False, 0),
                (B, None, None, None, 0.0, 0, 0.0, 0.0, 2, False, 0),
            ],
        )


def test_a_dry_run_prints_what_is_read_ten_rows_and_the_counts_and_writes_nothing(step: Step, engine: Engine) -> None:
    lines = [f"B{n:09d};{'long ' * 20}{n};4,50;red\n" for n in range(12)]
    step.write("sku;name;price;color\n" + "".join([*lines, lines[0], "..;x;1;\n"]))
    there = sorted(step.folder.iterdir())
    out = step.run("--columns", "asin=sku", "--keep", "color", "--dry-run", "--max-rejected", "1").splitlines()
    assert out[0] == "semicolon-separated: asin = sku, title = name, price (decimal comma), color; 14 rows"
    assert out[1].split() == ["asin", "title", "price", "color"]
    assert [line.split()[0] for line in out[2:12]] == [f"B{n:09d}" for n in range(10)]
    assert out[12:] == [
        f"p.csv, line 15: asin '..' is not {PRODUCT_ID_RULE}",
        "p.csv: 14 rows = 12 loaded + 1 duplicates + 1 rejected",
    ]
    assert max(map(len, out)) < 120
    assert "1 of 14 rows were rejected, more than the allowed 0" in step.fail(
        "--columns", "asin=sku", "--dry-run", "--max-rejected", "0"
    )
    step.write(HEADER + line(A) + line(A) + line(B, category="2"))
    first, _, *rows = step.run("--dry-run").splitlines()
    assert first == "the columns of the Kaggle file; 3 rows"
    assert [row.split()[0] for row in rows[:3]] == [A, A, B]
    counts = ["c.csv: 2 rows = 2 loaded + 0 duplicates", "p.csv: 3 rows = 2 loaded + 1 duplicates"]
    assert rows[3:] == [f"{count} + 0 rejected" for count in counts]
    (step.folder / "c.csv").unlink()
    there = sorted(step.folder.iterdir())
    assert "c.csv does not exist" in step.fail("--dry-run")
    assert "c.csv does not exist" in step.fail("--dry-run", "--columns", "asin=asin")
    assert "--dry-run is for a whole catalog: leave out --append" in step.fail("--dry-run", "--append")
    assert sorted(step.folder.iterdir()) == there
    assert "amazon_products" not in existing_tables(engine)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://x/a.jpg, https://x/b.jpg", "https://x/a.jpg"),
        ("https://x/a.jpg|http://x/b.jpg", "https://x/a.jpg"),
        ("https://x/a,b c.jpg", "https://x/a,b c.jpg"),
        ('[{"thumb": "https://x/a.jpg", "large": "https://x/b.jpg"}]', "https://x/a.jpg"),
        ("[none]", "[none]"),
        (", ".join(f"https://x/{n}.jpg" for n in range(1_000)), "https://x/0.jpg"),
    ],
)
def test_the_first_of_several_addresses_of_pictures_is_taken(tmp_path: Path, text: str, address: str) -> None:
    quoted = text.replace('"', '""')
    for faulty in ("", f"..,{A}\n"):  # a faulty row is read by the other reader
        (tmp_path / "f").write_text(f'sku,image\n{A},"{quoted}"\n{B},"{quoted}"\n' + faulty)
        with RejectedRows(tmp_path / "rejected_rows.csv", limit=1) as rejected:
            rows = any_product_rows(product_form(tmp_path / "f", "asin=sku"), rejected, (), rows_per_batch=10)
            assert [row["imgUrl"] for batch in rows.batches() for row in batch.to_pylist()] == [address, address]


def test_whole_numbers_and_flags_may_have_zeros_behind_a_point(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for faulty in ("", ",,,\n"):
        path.write_text(f"sku,reviews,boughtInLastMonth,isBestSeller\n{A},10.0,3.,1.0\n{B},,7,0.0\n" + faulty)
        with RejectedRows(tmp_path / "rejected_rows.csv", limit=1) as rejected:
            rows = any_product_rows(product_form(path, "asin=sku"), rejected, (), rows_per_batch=10)
            found = [tuple(row.values()) for batch in rows.batches() for row in batch.to_pylist()]
        assert found == [(A, 10, True, 3), (B, 0, False, 7)]
    path.write_text(f"sku,reviews\n{A},10.5\n{B},-1\n")
    with RejectedRows(tmp_path / "rejected_rows.csv", limit=2) as rejected, pytest.raises(InputFileError):
        list(any_product_rows(product_form(path, "asin=sku"), rejected, (), rows_per_batch=10).batches())


@pytest.mark.parametrize(
    ("texts", "prices", "note"),
    [
        (["$12.50", "$1,299.00", "$1,299", "$.99"], [12.5, 1299.0, 1299.0, 0.99], "without $"),
        (["12,50 €", "1.299,00 €", "1.299 €", ",99 €"], [12.5, 1299.0, 1299.0, 0.99], "decimal comma, without €"),
        (["EUR 7", "1 299,95", "1'299.95", "US$ 3"], [7.0, 1299.95, 1299.95, 3.0], "without EUR, without US$"),
        (["1299", "12.345", "", "0"], [1299.0, 12.345, 0.0, 0.0], ""),
        ([12.5, 1299, None, 1e3], [12.5, 1299.0, 0.0, 1000.0], ""),
    ],
)
def test_prices_are_read_as_shops_write_them(
    tmp_path: Path, texts: list[object], prices: list[float], note: str
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"sku": f"p{n}", "price": text}) + "\n" for n, text in enumerate(texts)))
    form = product_form(path, "asin=sku")
    with RejectedRows(path.with_name("rejected_rows.csv")) as rejected:
        rows = any_product_rows(form, rejected, (), rows_per_batch=2)
        assert [row["price"] for batch in whole_products(rows.batches(), {}) for row in batch.to_pylist()] == prices
    assert form.notes.get("price", "") == note


@pytest.mark.parametrize("text", ["about 5", "1,29.00", "1.2.3", "5 pieces", "1,2345,678", "$", "--"])
def test_a_price_that_is_no_number_is_rejected_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"sku": sku, "price": text}) + "\n" for sku, text in ((A, 1), (B, text))))
    rejected, form = UnwrittenRejectedRows(limit=1), product_form(path, "asin=sku")
    found = list(any_product_rows(form, rejected, (), rows_per_batch=2).batches())
    assert [batch["asin"].to_pylist() for batch in found] == [[A]]
    assert rejected.reasons == [f"p.jsonl, line 2: price {text!r} is not a number"]


def test_the_file_is_closed_when_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a,b\n1,2\n")
    with pytest.raises(InputFileError):
        product_form(tmp_path / "f", "title=a")
    assert to_rds.main(["--products", str(tmp_path / "f"), "--columns", "title=a"]) == 1
