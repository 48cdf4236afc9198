"""The sample catalog: the Kaggle columns, the real file's properties, repeatable bytes, and never half a file."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from recommender.errors import SettingError
from recommender.sample_catalog import main
from recommender.synthetic import _words as sample_words
from recommender.synthetic import write_sample_catalog

ROOT = Path(__file__).resolve().parents[2]
HEADER = "asin,title,imgUrl,productURL,stars,reviews,price,listPrice,category_id,isBestSeller,boughtInLastMonth"
N = 60_000  # more than two blocks


def write(folder: Path, n: int, seed: int = 2023) -> tuple[Path, Path]:
    paths = folder / "amazon_products.csv", folder / "amazon_categories.csv"
    write_sample_catalog(*paths, n_products=n, seed=seed)
    return paths


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"asin": str, "title": str, "isBestSeller": str}, keep_default_na=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write(tmp_path_factory.mktemp("sample"), N)


@pytest.fixture(scope="module")
def products(files: tuple[Path, Path]) -> pd.DataFrame:
    return read(files[0])


@pytest.fixture(scope="module")
def categories(files: tuple[Path, Path]) -> pd.DataFrame:
    return pd.read_csv(files[1])


def test_columns_are_those_of_the_kaggle_files(files: tuple[Path, Path]) -> None:
    assert files[0].read_text().splitlines()[0] == HEADER
    assert files[1].read_text().splitlines()[0] == "id,category_name"


def test_every_line_has_eleven_fields_and_reads_back_as_written(files: tuple[Path, Path]) -> None:
    raw = files[0].read_bytes()
    with files[0].open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, strict=True))
    assert len(rows) == N + 1
    assert {len(row) for row in rows} == {11}
    assert b"\r" not in raw
    assert raw.endswith(b"\n")
    assert raw.count(b"\n") == N + 1
    # csv.writer quotes minimally: written again by it, the bytes are the same
    again = Path(files[0].parent / "again.csv")
    with again.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    ours, theirs = raw.splitlines(), again.read_bytes().splitlines()
    different = [row for row, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    assert all(rows[row][1] != rows[row][1].strip() for row in different)  # csv.writer quotes a leading space


def test_asins_are_unique_and_ten_characters_of_the_alphabet(products: pd.DataFrame) -> None:
    assert products["asin"].is_unique
    assert products["asin"].str.fullmatch("[A-Z0-9]{10}").all()


def test_some_asins_are_isbns_with_a_right_check_digit_a_leading_zero_and_a_final_x(products: pd.DataFrame) -> None:
    books = products["asin"][~products["asin"].str.startswith("B0")]
    assert 0.0005 < len(books) / N < 0.0025
    for book in books:
        digits = [10 if character == "X" else int(character) for character in book]
        assert sum(weight * digit for weight, digit in zip(range(10, 0, -1), digits, strict=True)) % 11 == 0
    assert books.str.startswith("0").any()
    assert books.str.endswith("X").any()


def test_the_default_sample_has_isbns_with_a_leading_zero_and_a_final_x(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    asins = read(tmp_path / "amazon_products.csv")["asin"]
    assert len(asins) == 20_000
    assert asins.str.startswith("0").any()
    assert asins.str.endswith("X")[~asins.str.startswith("B0")].any()


def test_addresses_hold_the_asin_and_point_to_a_reserved_domain(products: pd.DataFrame) -> None:
    assert (products["productURL"] == "https://shop.example.com/dp/" + products["asin"]).all()
    assert products["imgUrl"].str.fullmatch(r"https://media\.example\.com/images/I/[\w+-]{11}\._AC_UL320_\.jpg").all()
    assert 0.95 < products["imgUrl"].nunique() / N < 0.99  # the real addresses are not unique either


SHARES = {  # property, lowest and highest share: counted in 10,000 random rows of the real file, with room for chance
    "price 0": (0.022, 0.004),
    "list price 0": (0.748, 0.01),
    "stars 0": (0.0953, 0.008),
    "stars but no reviews": (0.692, 0.02),
    "not bought": (0.636, 0.012),
    "best seller": (0.006, 0.002),
    "double quote": (0.079, 0.01),
    "comma": (0.72, 0.08),
    "not ASCII": (0.054, 0.008),
    "4-byte UTF-8": (0.0006, 0.0004),
    "over 255 characters": (0.0004, 0.0003),
    "outer space": (0.0005, 0.0004),
}


@pytest.mark.parametrize("what", SHARES)
def test_shares_are_those_of_the_real_file(products: pd.DataFrame, what: str) -> None:
    title = products["title"]
    flags = {
        "price 0": products["price"] == 0,
        "list price 0": products["listPrice"] == 0,
        "stars 0": products["stars"] == 0,
        "stars but no reviews": (products["stars"] > 0) & (products["reviews"] == 0),
        "not bought": products["boughtInLastMonth"] == 0,
        "best seller": products["isBestSeller"] == "True",
        "double quote": title.str.contains('"'),
        "comma": title.str.contains(","),
        "not ASCII": ~title.map(str.isascii),
        "4-byte UTF-8": title.str.contains("[\U00010000-\U0010ffff]"),
        "over 255 characters": title.str.len() > 255,
        "outer space": title != title.str.strip(),
    }[what]
    share, room = SHARES[what]
    assert flags.mean() == pytest.approx(share, abs=room)


def test_numbers_are_in_the_real_ranges_and_written_as_in_the_real_file(files: tuple[Path, Path]) -> None:
    text = pd.read_csv(files[0], dtype=str, keep_default_na=False)
    assert text["stars"].str.fullmatch(r"[0-4]\.\d|5\.0").all()
    assert text["price"].str.fullmatch(r"\d+\.(\d|\d[1-9])").all()  # 19.99, 20.0, never 20.00
    assert text["listPrice"].str.fullmatch(r"0\.0|[1-9]\d*\.99").all()
    assert set(text["isBestSeller"]) == {"True", "False"}
    assert text["price"].astype(float).max() < 20_000
    assert 35 < text["price"].astype(float).mean() < 55  # the real mean is 43
    assert text["title"].str.len().max() == 306
    dear = text[(text["listPrice"] != "0.0") & (text["price"] != "0.0")]
    assert (dear["listPrice"].astype(float) >= dear["price"].astype(float)).all()


def test_products_that_sell_have_more_stars_reviews_and_best_sellers(products: pd.DataFrame) -> None:
    selling = products["boughtInLastMonth"] >= 500
    assert products["stars"][selling].mean() > products["stars"][~selling].mean() + 0.2
    assert (products["reviews"] > 0)[selling].mean() > (products["reviews"] > 0)[~selling].mean()
    best = products["isBestSeller"] == "True"
    assert best[selling].mean() > 3 * best[~selling].mean()


def test_exactly_one_title_is_missing_and_one_starts_with_a_dash_in_a_large_file(products: pd.DataFrame) -> None:
    assert (products["title"] == "").sum() == 1
    assert products["title"].str.startswith("-").sum() == 1


def test_no_title_is_missing_in_a_small_file(tmp_path: Path) -> None:
    small = read(write(tmp_path, 9_999)[0])
    assert (small["title"] == "").sum() == 0


def test_almost_all_titles_differ(products: pd.DataFrame) -> None:
    assert 0.95 < products["title"].nunique() / N < 0.99  # 97.1 % in the real file


def test_categories_are_248_with_gaps_and_all_are_used(products: pd.DataFrame, categories: pd.DataFrame) -> None:
    assert len(categories) == 248
    assert categories["id"].is_monotonic_increasing
    assert categories["id"].is_unique
    assert categories["category_name"].is_unique
    assert 1 <= categories["id"].min() <= categories["id"].max() <= 270
    assert set(products["category_id"]) == set(categories["id"])


def test_titles_fit_their_category(products: pd.DataFrame, categories: pd.DataFrame) -> None:
    things = {name: of for department in sample_words.departments() for name, of in department.categories.items()}
    names = products["category_id"].map(dict(zip(categories["id"], categories["category_name"], strict=True)))
    unfit = [
        row
        for row, (title, name) in enumerate(zip(products["title"], names, strict=True))
        if not any(thing in title for thing in things[name])
    ]
    # only the missing title, and titles copied from the row before at the start of a category
    assert all(products["title"][row] in ("", products["title"][row - 1]) for row in unfit)
    assert len(unfit) < 248 * 0.1


def test_the_vocabulary_has_full_lists() -> None:
    departments = sample_words.departments()
    assert sum(len(department.categories) for department in departments) == 248
    for department in departments:
        assert len(department.adjectives) == sample_words.ADJECTIVES
        assert len(department.features) == sample_words.FEATURES
        assert len(department.audiences) == sample_words.AUDIENCES
        assert {len(things) for things in department.categories.values()} == {sample_words.THINGS}
        assert {len(kind) for kind in sample_words.VARIANTS[department.variant]} == {sample_words.VARIANT_WORDS}


def test_a_row_is_about_as_long_as_a_real_one(files: tuple[Path, Path]) -> None:
    real = 375_936_400 / 1_426_337  # 263.6 bytes
    assert files[0].stat().st_size / N == pytest.approx(real, rel=0.05)


def test_the_same_seed_and_size_give_the_same_bytes(files: tuple[Path, Path], tmp_path: Path) -> None:
    again = write(tmp_path, N)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]
    other = tmp_path / "other"
    other.mkdir()
    assert write(other, N, seed=1)[0].read_bytes() != files[0].read_bytes()


@pytest.mark.parametrize("n", [1, 2, 247, 25_000, 25_001])
def test_the_catalog_has_any_asked_number_of_rows(tmp_path: Path, n: int) -> None:
    products = read(write(tmp_path, n)[0])
    assert len(products) == n
    assert products["asin"].is_unique


@pytest.mark.parametrize("n", [0, -5, 2**29 + 1])
def test_an_impossible_size_names_the_option_and_writes_nothing(tmp_path: Path, n: int) -> None:
    with pytest.raises(SettingError, match=f"--products={n}: give a number of products from 1 to 536870912"):
        write(tmp_path, n)
    assert list(tmp_path.iterdir()) == []


def test_a_negative_seed_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--seed=-1"):
        write(tmp_path, 5, seed=-1)


@pytest.mark.parametrize("kept", ["amazon_products.csv", "amazon_categories.csv"])
def test_an_existing_file_is_kept(tmp_path: Path, kept: str) -> None:
    (tmp_path / kept).write_text("somebody's own")
    with pytest.raises(SettingError, match=f"{kept} exists and is kept"):
        write(tmp_path, 5)
    assert [path.name for path in tmp_path.iterdir()] == [kept]
    assert (tmp_path / kept).read_text() == "somebody's own"


def test_overwrite_replaces_both_files(tmp_path: Path) -> None:
    for name in ("amazon_products.csv", "amazon_categories.csv"):
        (tmp_path / name).write_text("old")
    assert main(["--products", "3", "--out", str(tmp_path), "--overwrite"]) == 0
    assert len(read(tmp_path / "amazon_products.csv")) == 3
    assert len(pd.read_csv(tmp_path / "amazon_categories.csv")) == 248


def test_categories_left_by_a_kill_between_the_two_renames_do_not_stop_the_next_run(tmp_path: Path) -> None:
    products, _ = write(tmp_path, 5)
    products.unlink()
    write(tmp_path, 5)
    assert len(read(products)) == 5


def test_a_run_killed_midway_leaves_no_final_file_and_the_next_run_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recommender.sample_catalog", "--products", "3000000", "--out", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        part = tmp_path / "amazon_products.part.csv"
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size > 1_000_000):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["amazon_products.part.csv"]
    products, _ = write(tmp_path, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["amazon_categories.csv", "amazon_products.csv"]
    assert len(read(products)) == 5


def test_a_failure_midway_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recommender.synthetic.catalog._block_csv", full)
    with pytest.raises(SettingError, match=r"cannot be written there \(No space left on device\)"):
        write(tmp_path, 5)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_into_the_given_folder_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    assert main(["--products", "1500", "--seed", "4", "--out", str(folder)]) == 0
    assert capsys.readouterr().out == (
        f"1,500 made-up products in {folder / 'amazon_products.csv'},"
        f" their categories in {folder / 'amazon_categories.csv'}\n"
    )
    assert len(read(folder / "amazon_products.csv")) == 1500


def test_the_command_fails_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file" / "below")]) == 1
    assert main(["--products", "0", "--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"error: --out=.*: this folder cannot be made \(Not a directory\)", lines[0])
    assert lines[1].startswith("error: --products=0: ")


def test_ctrl_c_leaves_no_file_and_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("recommender.synthetic.catalog._block_csv", interrupted)
    assert main(["--out", str(tmp_path)]) == 130
    assert capsys.readouterr() == ("", "interrupted; no file was written\n")
    assert list(tmp_path.iterdir()) == []


def test_memory_is_bounded_and_two_hundred_thousand_rows_take_seconds(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from recommender.sample_catalog import main\n"
        "start = time.process_time()\n"
        "status = main(['--products', '200000', '--out', sys.argv[1]])\n"
        "status_of_process = pathlib.Path('/proc/self/status').read_text()\n"  # ru_maxrss is the parent's at first
        "print(status_of_process.split('VmHWM:')[1].split()[0], time.process_time() - start)\n"
        "sys.exit(status)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kilobytes, seconds = run.stdout.splitlines()[-1].split()
    assert int(kilobytes) < 300_000
    assert float(seconds) < 8  # about 0.7 s; 1,426,337 rows then take less than a minute
