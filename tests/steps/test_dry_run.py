"""``--dry-run`` and ``--columns`` of step 2: what a file is, ten rows, the counts; nothing is written."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import load_recommendation_data as step2

A = "B00000000A"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_HOST", "")
    monkeypatch.setenv("SQLITE_FILE", str(tmp_path / "shop.db"))
    return tmp_path


def test_a_dry_run_prints_what_was_understood_ten_rows_and_the_counts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{user}\tB{user:09d}\t4\t{1717243200 + user}" for user in range(1, 30)]
    lines += [f"1\tB{1:09d}\t5\t1717243299", f"2\tB{1:09d}\t4.3\t1717243299"]
    (folder / "u.data").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert step2.main(["--ratings", "u.data", "--dry-run"]) == 0
    shown, told = capsys.readouterr()
    first, *rows = shown.splitlines()
    understood = "gzip, tab-separated, no header: user_id, product_id, rating, timestamp (seconds); 31 rows"
    assert first == f"{understood}; user ids: whole numbers"
    assert rows[0].split() == ["user_id", "product_id", "rating", "timestamp"]
    assert [row.split() for row in rows[1:11]] == [
        [f"{user}", f"B{user:09d}", "4.0", "2024-06-01", f"12:00:{user:02d}"] for user in range(1, 11)
    ]
    assert rows[11:] == [
        "u.data, line 31: rating '4.3' is not a whole or half number",
        "u.data: 31 rows = 29 loaded + 1 replaced by a later row + 1 rejected",
    ]
    assert told == ""
    assert [path.name for path in folder.iterdir()] == ["u.data"]


def test_a_dry_run_of_a_wrong_file_is_one_line_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wrong.csv").write_text("user,item,rating\n" + f"7,{A},5\n" + "x,y,z\n" * 500)
    assert step2.main(["--ratings", "wrong.csv", "--dry-run"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "rows were rejected" in told
    assert "rejected_rows.csv" not in told
    assert [path.name for path in folder.iterdir()] == ["wrong.csv"]


def test_a_dry_run_takes_the_limit_of_rejected_rows_and_shows_ids_as_they_go_in(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "r.csv").write_text(f"user,item,rating\n7.0,{A},5\n8.0,{A},4.3\n8.0,{A},x\n")
    assert step2.main(["--ratings", "r.csv", "--dry-run"]) == 1
    assert "more than the allowed 0" in capsys.readouterr().err
    assert step2.main(["--ratings", "r.csv", "--dry-run", "--max-rejected", "2"]) == 0
    _, head, row, *_ = capsys.readouterr().out.splitlines()
    assert (head.split(), row.split()) == (["user_id", "product_id", "rating"], ["7", A, "5.0"])


def test_columns_are_given_for_a_file_without_a_header(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shop.db").touch()
    (folder / "r.csv").write_text(f"red,5,{A},anna\nblue,4,{A},ben\n")
    assert step2.main(["--ratings", "r.csv"]) == 1
    assert "as --columns user_id,product_id,rating,timestamp" in capsys.readouterr().err
    assert step2.main(["--ratings", "r.csv", "--columns", "_,rating,product,user"]) == 0
    shown = capsys.readouterr().out
    understood = "comma-separated, no header: rating, product_id, user_id; 2 rows; columns ignored: column 1"
    assert f"\n{understood}; user ids: text\n" in shown
    assert "r.csv: 2 rows = 2 loaded + 0 replaced by a later row + 0 rejected" in shown
    assert step2.main(["--ratings", "r.csv", "--columns", "_,rating,product,user"]) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option",
    [["--dry-run"], ["--columns", "user,product,rating"], ["--zero-is", "lowest"], ["--user-ids", "text"]],
)
def test_the_options_are_for_a_file_of_ratings(
    folder: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert step2.main(option) == 1
    told = "--columns, --user-ids, --zero-is and --dry-run are for --ratings FILE or --interactions FILE: give both"
    assert told in capsys.readouterr().err
    assert list(folder.iterdir()) == []
