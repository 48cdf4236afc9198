"""Only regular files are read, and a write replaces only files of the project."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import load_recommendation_data as step2
import recommendation_engine as step3
import to_rds as step1
from recommender.errors import InputFileError, ModelFileError, RecommenderError, SettingError
from recommender.files import RejectedRows, read_evaluation_file
from recommender.paths import new_text_file, open_input, replace_file
from recommender.publishing import drop_files, kept_file, open_model
from recommender.sample_catalog import main as sample_catalog
from recommender.settings import load_settings
from tests.support.shop import fill

ROW = b"user_id,product_id,rating\n1,B000000001,5\n"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": pipe,
    "a socket": unix_socket,
    "an endless device": link_to_device,
    "a folder": Path.mkdir,
    "memory that cannot be read": lambda path: path.symlink_to("/proc/self/mem"),
    "nothing": lambda _path: None,
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small shop in a SQLite file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DB_HOST", "")
    monkeypatch.setenv("SQLITE_FILE", str(tmp_path / "shop.db"))
    from recommender.database import connect

    engine = connect(load_settings(env_file=tmp_path / "no.env"), create=True)
    fill(engine, {1: {"B000000001": 5.0}, 2: {"B000000001": 4.0, "B000000002": 2.0}}, ["B000000001", "B000000002"])
    engine.dispose()
    return tmp_path


@pytest.mark.parametrize("odd", ODD)
def test_an_input_that_is_no_regular_file_is_refused_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], odd: str
) -> None:
    path = here / "odd.csv"
    ODD[odd](path)
    ways: list[Callable[[], int]] = [
        lambda: step1.main(["--products", str(path), "--categories", str(path)]),
        lambda: step2.main(["--ratings", str(path), "--replace"]),
        lambda: step3.main(["--evaluate", "--ratings", str(path)]),
    ]
    for way in ways:
        assert way() == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1, told
        assert str(path) in told
    for reading in (open_model, read_evaluation_file):
        with pytest.raises(RecommenderError) as error:
            reading(path)
        assert "\n" not in str(error.value)


def test_the_standard_input_is_read_if_it_is_a_file(here: Path) -> None:
    (here / "mine.csv").write_bytes(ROW)
    with (here / "mine.csv").open("rb") as stream, open_input(Path(f"/proc/self/fd/{stream.fileno()}")) as file:
        assert file.read() == ROW
    read_end, write_end = os.pipe()
    with pytest.raises(InputFileError, match="a pipe, not a regular file"):
        open_input(Path(f"/proc/self/fd/{read_end}"))
    os.close(read_end)
    os.close(write_end)


def test_a_setting_that_names_no_regular_file_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(here / "odd")
    with pytest.raises(SettingError, match="no regular file"):
        load_settings(env_file=here / "odd")
    monkeypatch.setenv("SQLITE_FILE", str(here / "odd"))
    assert step1.main(["--products", "none.csv"]) == 1
    assert step2.main([]) == step3.main([]) == 1
    monkeypatch.setenv("MODEL_FILE", str(here / "odd"))
    with pytest.raises(ModelFileError):
        open_model(here / "odd")


def test_the_report_of_rejected_rows_does_not_empty_the_target_of_a_link(here: Path) -> None:
    (here / "diary.txt").write_text("dear diary", encoding="utf-8")
    report = here / "rejected_rows.csv"
    report.symlink_to("diary.txt")
    with pytest.raises(SettingError, match=r"rejected_rows.csv cannot be written: it is a symbolic link"):
        RejectedRows().__enter__()
    assert (here / "diary.txt").read_text(encoding="utf-8") == "dear diary"
    report.unlink()
    report.hardlink_to(here / "diary.txt")
    with RejectedRows():
        pass
    assert (here / "diary.txt").read_text(encoding="utf-8") == "dear diary"
    assert report.read_text(encoding="utf-8") == "file,line,reason,raw\n"


@pytest.mark.parametrize("odd", ["a pipe", "a socket", "an endless device", "a folder", "a link to itself"])
def test_an_output_that_is_no_regular_file_is_never_written_to_or_replaced(here: Path, odd: str) -> None:
    path = here / "odd"
    ODD[odd](path)
    kind = path.lstat().st_mode
    writes: list[Callable[[], object]] = [
        lambda: replace_file(path, lambda beside: beside.write_text("new", encoding="utf-8")),
        lambda: new_text_file(path),
        lambda: RejectedRows(path).__enter__(),
    ]
    for write in writes:
        with pytest.raises(SettingError, match="cannot be written: it is a"):
            write()
    for options in ([], ["--overwrite"]):
        assert step3.main(["--save-model", str(path), *options]) == 1
    assert path.lstat().st_mode == kind
    assert sorted(entry.name for entry in here.iterdir() if entry.name.startswith((".odd", "odd"))) == ["odd"]


def test_a_replaced_file_keeps_its_permissions_and_a_failed_write_leaves_the_old_file(here: Path) -> None:
    path = here / "evaluation.json"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o600)
    replace_file(path, lambda beside: beside.write_text("new", encoding="utf-8"))
    assert (path.read_text(encoding="utf-8"), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o600)

    def full(_beside: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(SettingError, match=r"cannot be written \(No space left on device\)"):
        replace_file(path, full)
    assert path.read_text(encoding="utf-8") == "new"
    assert [entry.name for entry in here.glob(".evaluation*")] == []


def test_a_model_does_not_replace_another_programs_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "photo.raw"
    path.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00 somebody else's bytes")
    assert step3.main(["--save-model", str(path)]) == 1
    assert f"{path} is no model of this project and is kept" in capsys.readouterr().err
    assert b"somebody else" in path.read_bytes()
    assert step3.main(["--save-model", str(path), "--overwrite"]) == 0
    assert open_model(path)[1].number == 1
    assert step3.main(["--save-model", str(path)]) == 0, "a model of ours gives way without a word"
    (here / "empty.model").touch()
    assert step3.main(["--save-model", str(here / "empty.model")]) == 0
    photo = kept_file(here / "shop.model", 4)
    photo.write_bytes(b"not ours")
    assert step3.main(["--save-model", str(here / "shop.model")]) == 1
    assert f"{photo} is no model of this project" in capsys.readouterr().err
    drop_files(here / "shop.model", keep=[])
    assert photo.read_bytes() == b"not ours"


def test_a_sample_catalog_writes_through_no_link(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "diary.txt").write_text("dear diary", encoding="utf-8")
    for name in ("amazon_products.csv", "amazon_products.part.csv", "amazon_categories.csv"):
        (here / name).symlink_to("diary.txt")
        monkeypatch.setattr(sys, "argv", ["sample_catalog", "--products", "10", "--overwrite"])
        assert sample_catalog() == (0 if name == "amazon_products.part.csv" else 1)
        assert (here / "diary.txt").read_text(encoding="utf-8") == "dear diary"
        for left in here.glob("amazon_*"):
            left.unlink()
