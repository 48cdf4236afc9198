"""Versions of the model file are saved, kept, published again and deleted, also after a kill at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recommender.errors import ModelFileError
from recommender.publishing import drop_files, kept_file, open_model, publish_file, save_model
from tests.conftest import ROOT
from tests.service.test_api import A
from tests.support.saved_model import SMALL_CATALOG, build, everything, small, version_of


def number_in(file: Path) -> int:
    return open_model(file)[1].number


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A file with the kept versions 1, 2 and 3; 3 is published."""
    file, model = tmp_path / "model.rec", small()
    for number in (1, 2, 3):
        save_model(file, model, version_of(model, number))
    return file


def test_a_saved_version_is_published_and_kept_as_one_file_with_two_names(three: Path) -> None:
    assert names_in(three.parent) == ["model.rec", "model.rec.v1", "model.rec.v2", "model.rec.v3"]
    assert three.samefile(kept_file(three, 3))
    assert [number_in(kept_file(three, number)) for number in (1, 2, 3)] == [1, 2, 3]


def test_a_kept_version_is_published_again_and_the_others_stay(three: Path) -> None:
    for number in (1, 1, 3, 2):
        publish_file(three, number)
        assert three.samefile(kept_file(three, number))
        assert number_in(three) == number
        assert names_in(three.parent) == ["model.rec", "model.rec.v1", "model.rec.v2", "model.rec.v3"]


def test_a_version_saved_again_replaces_its_file(three: Path) -> None:
    model = build({1: {A: 5.0}}, SMALL_CATALOG)
    save_model(three, model, version_of(model, 2))
    assert three.samefile(kept_file(three, 2))
    assert everything(replace(open_model(three)[0], version=6)) == everything(model)


@pytest.mark.parametrize("left", [[], [".model.rec.link"]], ids=["clean", "after a killed run"])
def test_a_missing_version_is_not_published(three: Path, left: list[str]) -> None:
    for name in left:
        (three.parent / name).hardlink_to(kept_file(three, 1))
    with pytest.raises(ModelFileError, match=r"model.rec: model.rec.v9 cannot be published \(No such file"):
        publish_file(three, 9)
    assert number_in(three) == 3
    assert names_in(three.parent) == ["model.rec", "model.rec.v1", "model.rec.v2", "model.rec.v3"]


def test_a_publishing_that_fails_leaves_the_published_file(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names_in(three.parent)
    with refused_by(monkeypatch, os, "replace"), pytest.raises(ModelFileError, match="cannot be published"):
        publish_file(three, 1)
    assert (number_in(three), names_in(three.parent)) == (3, before)
    taken = three.with_name("folder.rec")
    taken.mkdir()
    with pytest.raises(ModelFileError, match="folder.rec cannot be written: it is a folder"):
        save_model(taken, small(), version_of(small()))
    assert names_in(three.parent) == sorted([*before, "folder.rec"])


def test_a_version_is_copied_if_the_file_system_has_no_hard_links(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names_in(three.parent)
    with refused_by(monkeypatch, Path, "hardlink_to"):
        publish_file(three, 1)
        assert number_in(three) == 1
        assert not three.samefile(kept_file(three, 1))
        assert three.stat().st_mode == kept_file(three, 1).stat().st_mode
        with pytest.raises(ModelFileError, match=r"v9 cannot be published \(No such file"):
            publish_file(three, 9)
    assert names_in(three.parent) == before


@contextmanager
def refused_by(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Iterator[None]:
    """Let the function raise PermissionError within the block."""

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(module, name, refuse)
        yield


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from recommender.publishing import model_file

def killed(source, target, rename=os.replace):
    if str(source).endswith(".link"):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

os.replace = killed
model, version = model_file.open_model(Path(sys.argv[1]))
model_file.save_model(Path(sys.argv[1]), model, replace(version, number=4))
"""


def test_a_save_killed_before_it_is_published_leaves_the_published_file(three: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(three)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (number_in(three), number_in(kept_file(three, 4))) == (3, 4)
    model, version = open_model(three)
    save_model(three, model, replace(version, number=5))  # an opened model can be saved
    assert number_in(three) == 5
    assert names_in(three.parent) == ["model.rec", *(f"model.rec.v{number}" for number in (1, 2, 3, 4, 5))]


NOT_OURS = [
    *["model.rec.vintage", "model.rec.v1x", "model.rec.v", "model.rec.v0", "model.rec.v01", "model.rec.v-1"],
    *["model.rec.v1.bak", "model.rec.V1", "model.rec.v²", "model.rec2.v1", "my-model.rec.v1", ".model.rec.v1"],
]  # fmt: skip


def test_only_files_of_expired_versions_are_deleted(three: Path) -> None:
    for name in NOT_OURS:
        (three.parent / name).write_text("somebody's own")
    three.with_name("model.rec.v7").mkdir()
    drop_files(three, [2, 3, 5])
    assert names_in(three.parent) == sorted([*NOT_OURS, "model.rec", "model.rec.v2", "model.rec.v3", "model.rec.v7"])
    drop_files(three, [])
    assert names_in(three.parent) == sorted([*NOT_OURS, "model.rec", "model.rec.v7"])
    assert number_in(three) == 3  # the published version keeps its plain name


def test_the_versions_of_a_file_with_a_pattern_in_its_name_are_found(tmp_path: Path) -> None:
    odd = tmp_path / "model[1]*.rec"
    for name in ("model1.rec.v1", "model[1]x.rec.v1"):
        (tmp_path / name).write_text("somebody else's")
    model = small()
    for number in (1, 2):
        save_model(odd, model, version_of(model, number))
    drop_files(odd, [2])
    assert names_in(tmp_path) == sorted([odd.name, f"{odd.name}.v2", "model1.rec.v1", "model[1]x.rec.v1"])


def test_a_file_that_cannot_be_deleted_is_reported_in_one_line(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused_by(monkeypatch, Path, "unlink"), pytest.raises(ModelFileError) as caught:
        drop_files(three, [2, 3])
    expected = f"{kept_file(three, 1)} has expired and cannot be deleted (Operation not permitted): delete it"
    assert str(caught.value) == expected
