"""The taste map of a version: made from the tables or from the model file, and asked for by a service."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert

import recommendation_engine
from recommender.database import writing
from recommender.database.schema import categories
from recommender.errors import ModelFileError, SettingError, StepOrderError
from recommender.publishing import kept_file, map_file, open_map, save_map
from recommender.settings import Settings
from recommender.updates import TasteMaps, make_map
from recommender.updates import taste_maps as taste_maps_module
from tests.publishing.test_taste_maps import a_map
from tests.support.service import wait_until
from tests.support.shop import fill, product_row

A, B, C, D = (f"B00000000{letter}" for letter in "ABCD")
STARS = {1: {A: 5.0, B: 4.0}, 2: {A: 5.0, C: 3.0}, 3: {C: 2.0}, 4: {C: 4.0, D: 1.0}, 5: {A: 2.0}}


def ended(text: str) -> list[str]:
    """A command that prints this as its last line and fails."""
    return [sys.executable, "-c", f"import sys; sys.exit({text!r})"]


@pytest.fixture
def stocked(engine: Engine, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(engine, STARS, [product_row(one, category_id=1 + (one in (C, D))) for one in (A, B, C, D)])
    with writing(engine) as connection:
        connection.execute(insert(categories), [{"id": 1, "category_name": "Tea"}, {"id": 2, "category_name": "Toys"}])
    for name, value in ({"SQLITE_FILE": str(tmp_path / "shop.db")} | env).items():
        monkeypatch.setenv(name, value)
    env.setdefault("SQLITE_FILE", str(tmp_path / "shop.db"))


def test_the_map_of_the_published_version_is_made_from_the_tables_and_expires_with_it(
    stocked: None, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    with pytest.raises(StepOrderError, match="no version is published yet: python recommendation_engine.py"):
        make_map(settings)
    assert recommendation_engine.main(["--force"]) == 0
    path, saved = make_map(settings)
    assert path == kept_file(map_file(settings), 1)
    assert open_map(path).tastes.user_ids.tolist() == [1, 2, 3, 4, 5]
    assert (saved.version, saved.people) == (1, None)
    assert dict(saved.categories) == {1: "Tea", 2: "Toys"}
    for _ in range(3):
        assert recommendation_engine.main(["--force", "--keep-versions", "2"]) == 0
    assert not path.exists()


def test_the_map_is_made_from_the_model_file_if_there_is_one(
    stocked: None, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    file = tmp_path / "shop.model"
    assert recommendation_engine.main(["--force", "--save-model", str(file)]) == 0
    path, saved = make_map(make_settings(MODEL_FILE=str(file)))
    assert path == tmp_path / "shop.model.map.v1"
    assert saved.tastes.user_ids.tolist() == [1, 2, 3, 4, 5]


def test_the_command_makes_the_map_at_the_lowest_priority_and_says_where_it_is(
    stocked: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lowered: list[bool] = []
    monkeypatch.setattr("recommender.commands.engine.at_lowest_priority", lambda: lowered.append(True))
    assert recommendation_engine.main(["--map"]) == 1
    assert "no version is published yet" in capsys.readouterr().err
    assert recommendation_engine.main(["--force"]) == 0
    assert recommendation_engine.main(["--map"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"map {6}(.+)\.map\.v1, 0\.0 MB: 5 people in 1 regions, version 1, in \d+\.\d\d s", said)
    assert lowered == [True, True]


def test_only_one_run_makes_a_map_and_a_folder_that_cannot_be_written_is_told(
    make_settings: Callable[..., Settings], env: dict[str, str], tmp_path: Path
) -> None:
    env.setdefault("SQLITE_FILE", str(tmp_path / "shop.db"))
    settings = make_settings()
    with taste_maps_module._alone(map_file(settings)), pytest.raises(SettingError, match="another run is making"):
        make_map(settings)
    (tmp_path / "file").touch()
    with pytest.raises(ModelFileError, match="cannot be written there .* set MODEL_FILE"):
        make_map(replace(settings, model_file=tmp_path / "file" / "shop.model"))


def test_a_service_shows_the_newest_map_of_its_people_until_there_is_that_of_the_version(tmp_path: Path) -> None:
    file = tmp_path / "shop.db.map"
    maps = TasteMaps(file, ended(""))
    assert maps.find(3, "token") is None
    for version, people in ((1, "token"), (2, "token"), (4, "others")):
        save_map(file, replace(a_map(version), people=people))
    kept_file(file, 5).write_bytes(b"no map")
    kept_file(file, 6).with_name("shop.db.map.vx").touch()
    found = {version: maps.find(version, "token") for version in (1, 2, 3, 4)}
    assert {version: None if one is None else one.version for version, one in found.items()} == {1: 1, 2: 2, 3: 2, 4: 2}
    assert maps.find(1, "token") is found[1]  # opened once
    assert maps.find(3, "nobody") is None
    save_map(file, replace(a_map(1), categories={7: "Boots"}))
    renewed = maps.find(1, "token")
    assert renewed is not None
    assert renewed.categories == {7: "Boots"}


def test_a_map_that_cannot_be_made_is_told_and_not_tried_at_once_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = TasteMaps(tmp_path / "shop.db.map", ended("recommendation_engine.py: it broke"))
    started: list[int] = []
    popen: Any = subprocess.Popen

    def counted(*given: object, **more: object) -> object:
        started.append(1)
        return popen(*given, **more)

    monkeypatch.setattr(subprocess, "Popen", counted)

    def asked() -> str:
        maps.ask(3)
        return maps.failure

    wait_until(asked)
    assert (asked(), len(started)) == ("it broke", 1)
    monkeypatch.setattr(taste_maps_module, "AGAIN", 0.0)
    maps.ask(4)  # of another version at once
    assert (maps.failure, len(started)) == ("", 2)
    maps.close()
    maps.close()


def test_a_process_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    maps = TasteMaps(tmp_path / "shop.db.map", [str(tmp_path / "nothing")])
    maps.ask(3)
    assert maps.failure == "no process can be started (No such file or directory)"


def test_that_another_worker_makes_the_map_is_no_failure(tmp_path: Path) -> None:
    maps = TasteMaps(tmp_path / "shop.db.map", ended(taste_maps_module.BUSY))
    maps.ask(3)
    wait_until(lambda: not maps._is_making())
    assert maps.failure == ""
