"""The files of taste maps: beside the model or the database, one for each version; no other file is taken for one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recommender.errors import ModelFileError
from recommender.model import Region, TasteMap, Typical
from recommender.publishing import SavedMap, drop_maps, kept_file, map_file, open_map, save_map, save_model
from recommender.publishing._array_file import open_arrays, save_arrays
from recommender.settings import load_settings
from tests.support.saved_model import small, version_of


def a_map(version: int = 3) -> SavedMap:
    regions = [Region(5, 6, 2, 2, [Typical(7, 2.5, 0.5)]), Region(60_000, 1, 0, 1, [])]
    places = np.array([[5, 6], [6, 7], [60_000, 1]], np.uint16)
    tastes = TasteMap(np.array([1, 2, 9], np.int64), places, np.array([0, 0, 1], np.uint8), regions)
    return SavedMap(tastes, version, datetime(2026, 1, 31, tzinfo=UTC), "token", {7: "Shoes"})


def test_a_saved_map_is_opened_as_it_was(tmp_path: Path) -> None:
    saved = a_map()
    path = save_map(tmp_path / "shop.db.map", saved)
    assert path.name == "shop.db.map.v3"
    found = open_map(path)
    for name in ("user_ids", "places", "regions_of"):
        assert getattr(found.tastes, name).tolist() == getattr(saved.tastes, name).tolist()
    assert found.tastes.regions == saved.tastes.regions
    facts: Any = [(one.version, one.made_at, one.people, one.categories) for one in (found, saved)]
    assert facts[0] == facts[1]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"SQLITE_FILE": "/data/shop.db"}, "/data/shop.db.map"),
        (
            {"SQLITE_FILE": "/data/shop.db", "DB_HOST": "db", "DB_NAME": "../my shop", "DB_USER": "u"},
            "/data/.._my_shop.map",
        ),
        ({"SQLITE_FILE": "/data/shop.db", "MODEL_FILE": "/models/shop.model"}, "/models/shop.model.map"),
    ],
)
def test_a_map_stands_beside_the_model_file_or_the_sqlite_file(
    given: dict[str, str], name: str, tmp_path: Path
) -> None:
    assert str(map_file(load_settings(environ=given, env_file=tmp_path / "no.env"))) == name


def test_a_file_that_is_no_map_or_does_not_hold_together_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shop.db.map"
    model = small()
    save_model(tmp_path / "shop.model", model, version_of(model, 1))
    with pytest.raises(ModelFileError, match="is no taste map"):
        open_map(kept_file(tmp_path / "shop.model", 1))
    arrays, facts = open_arrays(save_map(file, a_map()))
    wrong: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"places": arrays["places"][:2]}, {}),
        ({"regions_of": np.array([0, 0, 2], np.uint8)}, {}),
        ({}, {"regions": [[1, 2]]}),
        ({}, {"categories": {"x": "Shoes"}}),
        ({}, {"made_at": "yesterday"}),
    ]
    for other_arrays, other_facts in wrong:
        save_arrays(file, arrays | other_arrays, facts | other_facts)
        with pytest.raises(ModelFileError, match="--map"):
            open_map(file)


def test_maps_of_expired_versions_are_deleted_and_files_of_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "shop.db.map"
    for version in (1, 2, 3):
        save_map(file, a_map(version))
    kept_file(file, 9).write_text("of somebody else")
    with pytest.raises(ModelFileError, match="is no model of this project and is kept"):
        save_map(file, a_map(9))
    drop_maps(file, [2, 3])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"shop.db.map.v{number}" for number in (2, 3, 9)]
