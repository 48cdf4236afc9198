"""Step 1 on both databases: counts add up, faults are named, and a load is all or nothing."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text

import to_rds
from recommender.commands.load_report import FileReport
from recommender.database import connect, existing_tables, writing
from recommender.database.schema import PRODUCT_COLUMNS, categories, metadata, products, ratings
from recommender.settings import load_settings
from recommender.synthetic import write_sample_catalog
from tests.conftest import REAL_CATEGORIES, REAL_PRODUCTS, needs_real_data
from tests.support.mariadb_server import MariaDBServer
from tests.support.shop import WHEN

CATEGORIES = "id,category_name\n1,Toys\n2,Games\n"
HEADER = ",".join(PRODUCT_COLUMNS) + "\n"


def line(asin: str, title: str = "Title", price: str = "9.99", category: str = "1") -> str:
    """One product as a line of the file."""
    return f"{asin},{title},https://example.com/i,https://example.com/p,4.5,7,{price},0.0,{category},False,50\n"


@dataclass
class Step:
    """Step 1 in its own folder, with these texts in its two files."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, products_text: str | bytes, categories_text: str | bytes = CATEGORIES) -> None:
        for name, content in (("p.csv", products_text), ("c.csv", categories_text)):
            (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def run(self, *options: str) -> str:
        """Run step 1, which must succeed; return its output."""
        status = to_rds.main(["--products", "p.csv", "--categories", "c.csv", *options])
        out, err = self.capsys.readouterr()
        assert status == 0, err
        return out

    def fail(self, *options: str) -> str:
        """Run step 1, which must fail; return the one line that it prints."""
        status = to_rds.main(["--products", "p.csv", "--categories", "c.csv", *options])
        err = self.capsys.readouterr().err
        assert status == 1
        assert len(err.strip().splitlines()) == 1, err
        assert err.startswith("to_rds.py: ")
        return err.strip()

    def stopped(self, *options: str) -> str:
        """Run step 1, which must fail after it has read the files; return the line after the progress bar."""
        status = to_rds.main(["--products", "p.csv", "--categories", "c.csv", *options])
        last = self.capsys.readouterr().err.splitlines()[-1]
        assert status == 1
        return last

    @property
    def rejected(self) -> list[list[str]]:
        with (self.folder / "rejected_rows.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))


@pytest.fixture
def step(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Step:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return Step(tmp_path, capsys)


def catalog(engine: Engine) -> tuple[list[Any], list[Any]]:
    """All rows of both tables, without automatic numbers."""
    columns = [column for column in products.columns if column.name != "id"]
    with engine.connect() as connection:
        shelves = [tuple(row) for row in connection.execute(select(categories).order_by(categories.c.id))]
        return shelves, [tuple(row) for row in connection.execute(select(*columns).order_by(products.c.id))]


def asins(engine: Engine) -> list[str]:
    return [row[0] for row in catalog(engine)[1]]


@needs_real_data
def test_all_real_products_are_loaded(step: Step, engine: Engine) -> None:
    options = ["--products", str(REAL_PRODUCTS), "--categories", str(REAL_CATEGORIES)]
    out = step.run(*options)
    assert "amazon_products: 2,480 loaded + 0 duplicates + 0 rejected = 2,480 rows of amazon_products.csv" in out
    assert "amazon_categories: 248 loaded + 0 duplicates + 0 rejected = 248 rows of amazon_categories.csv" in out
    with REAL_PRODUCTS.open(newline="", encoding="utf-8") as file:
        rows = [tuple(text.strip() for text in row.values()) for row in csv.DictReader(file)]
    before = catalog(engine)
    assert [row[:4] for row in before[1]] == [row[:4] for row in rows]
    assert [float(str(row[6])) for row in before[1]] == [float(row[6]) for row in rows]
    for size in ("7", "10000000"):
        step.run(*options, "--chunk-size", size)
        assert catalog(engine) == before


def test_the_counts_add_up_and_rejected_rows_are_named(step: Step, engine: Engine) -> None:
    step.write(
        HEADER
        + line("B000000001", '"two\nlines"')
        + line("B000000002", price="$12.99")
        + line("B000000001", "repeated")
        + line("B000000003", "a,b")
        + line("B000000004", category="3")
        + line(" B000000005 ", "  ")
    )
    assert "3 of 6 rows were rejected, more than the allowed 0" in step.fail()
    out = step.run("--max-rejected", "3")
    assert "amazon_products: 2 loaded + 1 duplicates + 3 rejected = 6 rows of p.csv" in out
    assert "3 rows were rejected: rejected_rows.csv lists file, line, reason and text of each" in out
    assert step.rejected == [
        ["file", "line", "reason", "raw"],
        ["p.csv", "4", "price '$12.99' is not a number", line("B000000002", price="$12.99").strip()],
        ["p.csv", "6", "12 fields instead of 11", line("B000000003", "a,b").strip()],
        ["p.csv", "7", "category_id '3' is no id of the categories file", line("B000000004", category="3").strip()],
    ]
    assert [row[:2] for row in catalog(engine)[1]] == [("B000000001", "two\nlines"), ("B000000005", None)]
    step.write(HEADER + line("B000000001"))
    step.run()
    assert step.rejected == [["file", "line", "reason", "raw"]]


def test_a_new_catalog_replaces_the_old_and_vanished_products_keep_their_ratings(step: Step, engine: Engine) -> None:
    step.write(HEADER + "".join(line(f"B00000000{n}") for n in range(1, 10)))
    step.run()
    metadata.create_all(engine)
    rated = [
        {"user_id": user, "product_id": asin, "rating": 5, "created_at": WHEN, "updated_at": WHEN}
        for user, asin in (
            (1, "B000000002"),
            (2, "B000000002"),
            (1, "B000000003"),
            (1, "B000000001"),
            (1, "NEVERTHERE"),
        )
    ]
    with writing(engine) as connection:
        connection.execute(ratings.insert(), rated)
    step.write(HEADER + line("B000000001") + line("C000000001"), "id,category_name\n1,Toys\n9,New\n")
    before = catalog(engine), existing_tables(engine)
    assert step.stopped() == (
        "to_rds.py: p.csv: 8 of the 9 products in the catalog are not among the 2 of the file and would go: check that "
        "it is the right file, or give --force; the tables are as they were"
    )
    assert (catalog(engine), existing_tables(engine)) == before
    out = step.run("--force")
    assert "2 products with ratings are no longer in the catalog; their ratings are kept" in out
    assert "B000000002, B000000003\n" in out
    assert asins(engine) == ["B000000001", "C000000001"]
    assert catalog(engine)[0] == [(1, "Toys"), (9, "New")]
    with engine.connect() as connection:
        assert len(connection.execute(select(ratings)).all()) == 5
    assert "no longer" not in step.run()


def test_the_first_catalog_of_a_shop_takes_the_place_of_a_made_up_one(step: Step, engine: Engine) -> None:
    write_sample_catalog(step.folder / "p.csv", step.folder / "c.csv", n_products=30)
    step.run()
    step.write(HEADER + line("B000000001") + line("B000000002"))
    step.run()
    assert asins(engine) == ["B000000001", "B000000002"]
    write_sample_catalog(step.folder / "p.csv", step.folder / "c.csv", n_products=30, overwrite=True)
    assert "2 of the 2 products in the catalog are not among the 30 of the file and would go" in step.stopped()


def test_a_catalog_may_lose_half_of_its_products_and_no_more(step: Step, engine: Engine) -> None:
    names = [f"B00000000{n}" for n in range(6)]
    step.write(HEADER + "".join(line(asin) for asin in names))
    step.run()
    new = [line(f"C{n:09}") for n in range(20)]  # that more come does not matter
    step.write(HEADER + "".join([*new, *(line(asin) for asin in names[:2])]))
    assert "4 of the 6 products in the catalog are not among the 22 of the file" in step.stopped()
    step.write(HEADER + "".join([*new, *(line(asin) for asin in names[:3])]))
    assert "23 loaded" in step.run()
    step.write(HEADER + line("D000000000"))
    assert "1 loaded" in step.run("--append")  # nothing is lost
    assert len(asins(engine)) == 24


def test_append_adds_and_updates(step: Step, engine: Engine) -> None:
    step.write(HEADER + line("B000000001", "old") + line("B000000002", "stays"))
    step.run()
    step.write(
        HEADER + line("B000000001", "new", category="9") + line("B000000003", category="2"), "id,category_name\n9,X\n"
    )
    for _ in range(2):
        out = step.run("--append")
        assert "amazon_products: 2 loaded + 0 duplicates + 0 rejected = 2 rows of p.csv" in out
        shelves, rows = catalog(engine)
        assert shelves == [(1, "Toys"), (2, "Games"), (9, "X")]
        assert [(row[0], row[1], row[8]) for row in rows] == [
            *(("B000000001", "new", 9), ("B000000002", "stays", 1), ("B000000003", "Title", 2))
        ]


def test_if_changed_does_nothing_for_files_that_are_already_loaded(step: Step, engine: Engine) -> None:
    step.write(HEADER + line("B000000001"))
    assert "nothing to do" not in step.run("--if-changed")
    assert "nothing to do" in step.run("--if-changed")
    assert "nothing to do" not in step.run()
    step.write(HEADER + line("B000000001") + line("B000000002"))
    assert "nothing to do" not in step.run("--if-changed")
    step.run("--append")
    assert "nothing to do" not in step.run("--if-changed")
    assert asins(engine) == ["B000000001", "B000000002"]


WRONG: list[tuple[str, Callable[[Step], None], str]] = [
    ("missing", lambda step: (step.folder / "p.csv").unlink(), "p.csv does not exist: get"),
    ("missing categories", lambda step: (step.folder / "c.csv").unlink(), "python -m recommender.sample_catalog"),
    ("empty", lambda step: step.write(""), "p.csv is empty"),
    ("header only", lambda step: step.write(HEADER), "p.csv has a header and no rows"),
    ("a column short", lambda step: step.write(HEADER.replace(",price", "")), "p.csv: no column price among asin,"),
    ("categories swapped", lambda step: step.write(CATEGORIES), "p.csv: no column asin, title,"),
    ("101 faults", lambda step: step.write(HEADER + line("B000000001") * 9_000 + "x\n" * 101), "101 of 9,101 rows"),
    ("no good row", lambda step: step.write(HEADER + "x\n"), "none of its 1 rows is valid"),
    ("bad categories", lambda step: step.write(HEADER + line("B000000001"), "id,category_name\nx,y\n"), "c.csv: none"),
]


@pytest.mark.parametrize(("spoil", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_file_is_one_line_and_the_tables_stay(
    step: Step, engine: Engine, spoil: Callable[[Step], None], message: str
) -> None:
    step.write(HEADER + line("B000000001"))
    step.run()
    before = catalog(engine), existing_tables(engine)
    spoil(step)
    assert message in step.fail()
    assert (catalog(engine), existing_tables(engine)) == before
    step.write(HEADER + line("B000000002"))
    step.run("--force")
    assert asins(engine) == ["B000000002"]


def test_max_rejected_sets_another_limit(step: Step, engine: Engine) -> None:
    step.write(HEADER + line("B000000001") + "x\n" * 150)
    assert "give --max-rejected" in step.fail()
    assert "more than the allowed 149" in step.fail("--max-rejected", "149")
    assert "150 rejected" in step.run("--max-rejected", "150")
    assert asins(engine) == ["B000000001"]
    assert "--max-rejected 'many' is not a whole number" in step.fail("--max-rejected", "many")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_no_database_is_created_for_a_missing_file(step: Step, tmp_path: Path) -> None:
    assert "does not exist" in step.fail()
    assert not (tmp_path / "shop.db").exists()


def test_others_tables_are_not_replaced(step: Step, engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE amazon_products (asin VARCHAR(10), title TEXT)"))
        connection.execute(text("INSERT INTO amazon_products VALUES ('mine', 'mine')"))
    step.write(HEADER + line("B000000001"))
    assert "table amazon_products has no column" in step.fail()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT asin FROM amazon_products")).scalars().all() == ["mine"]


def test_ignored_columns_of_a_file_are_named(step: Step, engine: Engine) -> None:
    rows = [HEADER, line("B000000001")]
    step.write(
        "".join(f"x,{row.strip()},y\n" for row in rows).replace("x,asin", "extra,asin").replace(",y", ",more", 1)
    )
    assert "p.csv: columns ignored: extra, more" in step.run()
    assert asins(engine) == ["B000000001"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_line_ends_and_a_byte_order_mark_make_no_difference(step: Step, engine: Engine, ending: str) -> None:
    content = (HEADER + line("B000000001", "Ünïcode 😀") + line("B000000002")).replace("\n", ending)
    step.write(b"\xef\xbb\xbf" + content.encode(), "\ufeff" + CATEGORIES.replace("\n", ending))
    step.run()
    assert [row[1] for row in catalog(engine)[1]] == ["Ünïcode 😀", "Title"]


TITLES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), min_size=200, max_size=300
)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(titles=TITLES, ending=st.sampled_from(["\n", "\r\n"]))
def test_any_title_in_a_csv_file_is_loaded_unchanged_except_outer_spaces(
    step: Step, engine: Engine, titles: list[str], ending: str
) -> None:
    step.write(HEADER)
    with (step.folder / "p.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=ending)
        writer.writerow(PRODUCT_COLUMNS)
        for n, title in enumerate(titles):
            writer.writerow([f"{n:010}", title, "", "", 4.5, 7, 9.99, 0.0, 1, "False", 50])
    step.run()
    assert [row[1] for row in catalog(engine)[1]] == [title.strip() or None for title in titles]


@pytest.mark.parametrize("backend", ["mariadb"], indirect=True)
def test_a_server_that_refuses_local_infile_gets_the_same_rows(
    step: Step, engine: Engine, mariadb: MariaDBServer, caplog: pytest.LogCaptureFixture
) -> None:
    step.write(HEADER + "".join(line(f"B{n:09}", f"Tïtle {n} 😀") for n in range(3_000)) + line("B000000001", "again"))
    step.run()
    fast = catalog(engine)
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL local_infile = OFF")
        try:
            out = step.run()
        finally:
            cursor.execute("SET GLOBAL local_infile = ON")
    assert "3,000 loaded + 1 duplicates" in out
    assert ["refuses LOAD DATA LOCAL" in message for message in caplog.messages] == [True]
    assert catalog(engine) == fast


def test_a_server_with_the_default_charset_latin1_gets_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mariadb: MariaDBServer
) -> None:
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL character_set_server = latin1, collation_server = latin1_swedish_ci")
        cursor.execute("CREATE DATABASE latin1_shop CHARACTER SET latin1")
        try:
            for name, value in mariadb.environment("latin1_shop").items():
                monkeypatch.setenv(name, value)
            monkeypatch.chdir(tmp_path)
            step = Step(tmp_path, capsys)
            step.write(HEADER + line("B000000001", "日本語 😀 ÿ"))
            step.run()
            engine = connect(load_settings(environ=mariadb.environment("latin1_shop"), env_file=tmp_path / "no.env"))
            assert [row[1] for row in catalog(engine)[1]] == ["日本語 😀 ÿ"]
            engine.dispose()
        finally:
            cursor.execute("SET GLOBAL character_set_server = utf8mb4, collation_server = utf8mb4_general_ci")
            cursor.execute("DROP DATABASE latin1_shop")


def test_lost_rows_are_not_reported_as_a_success() -> None:
    with pytest.raises(AssertionError, match="rows lost in silence"):
        FileReport(Path("p.csv"), rows=10, loaded=8, duplicates=0, rejected=1, ignored_columns=())


def test_the_chunk_size_is_read_when_it_is_called(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    step.write(HEADER + line("B000000001"))
    monkeypatch.delenv("READ_CHUNK_SIZE", raising=False)
    monkeypatch.setattr(to_rds, "READ_CHUNK_SIZE", 0)
    assert "READ_CHUNK_SIZE=0 (module constant) is out of range" in step.fail()
    for option in ("--chunk-size", "--read-chunk-size"):
        assert "READ_CHUNK_SIZE='x' (command line)" in step.fail(option, "x")
