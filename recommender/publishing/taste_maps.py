"""The taste maps of versions, as files: ``FILE.map.v6`` beside the model file, or else beside the SQLite file.

A map has its version's number and the token of its people. A map of other people than those of the tables is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.errors import ModelFileError
from recommender.model import Region, TasteMap, Typical
from recommender.publishing._array_file import open_arrays, save_arrays
from recommender.publishing.model_file import refuse_foreign_file
from recommender.publishing.version_files import drop_files, kept_file
from recommender.settings import Settings

_KIND = "taste map 1"


@dataclass(frozen=True, eq=False)
class SavedMap:
    """A map and what it is of."""

    tastes: TasteMap
    version: int
    made_at: datetime  # UTC
    people: str | None  # token of the people whom the user_ids mean
    categories: Mapping[int, str]  # names of the categories that the regions have


def map_file(settings: Settings) -> Path:
    """Return the name of the files of maps, without the end that names the version."""
    beside = settings.model_file or settings.sqlite_file
    if settings.model_file is None and settings.db_host:
        beside = beside.with_name(re.sub(r"[^\w.-]", "_", settings.db_name))
    return beside.with_name(f"{beside.name}.map")


def save_map(file: Path, saved: SavedMap) -> Path:
    """Write the map of a version, whole or not at all; return its file. ModelFileError, also if that is of others."""
    tastes, path = saved.tastes, kept_file(file, saved.version)
    arrays: dict[str, NDArray[Any]] = {
        "user_ids": tastes.user_ids,
        "places": tastes.places,
        "regions_of": tastes.regions_of,
    }
    facts = {
        "kind": _KIND,
        "version": saved.version,
        "made_at": saved.made_at.isoformat(),
        "people": saved.people,
        "categories": {str(number): name for number, name in saved.categories.items()},
        "regions": tastes.regions,
    }
    refuse_foreign_file(path)
    save_arrays(path, arrays, facts)
    return path


def open_map(path: Path) -> SavedMap:
    """Return the map in a file. ModelFileError if it is missing, damaged or no map."""
    arrays, facts = open_arrays(path)
    try:
        if facts["kind"] != _KIND:
            raise ValueError(facts["kind"])
        places, regions_of = np.asarray(arrays["places"], np.uint16), np.asarray(arrays["regions_of"], np.uint8)
        user_ids = np.asarray(arrays["user_ids"], np.int64)
        regions = [
            Region._make([*region[:-1], [Typical._make(one) for one in region[-1]]]) for region in facts["regions"]
        ]
        if places.shape != (len(user_ids), 2) or regions_of.shape != user_ids.shape:
            raise ValueError(f"{places.shape} places of {len(user_ids)} users")
        if regions_of.max(initial=0) >= max(len(regions), 1):
            raise ValueError("a region is missing")
        return SavedMap(
            TasteMap(user_ids, places, regions_of, regions),
            int(facts["version"]),
            datetime.fromisoformat(facts["made_at"]),
            facts["people"],
            {int(number): str(name) for number, name in facts["categories"].items()},
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        message = f"{path} is no taste map ({error}): make it again"
        raise ModelFileError(f"{message} with python recommendation_engine.py --map") from None


def drop_maps(file: Path, keep: Iterable[int]) -> None:
    """Delete the maps of all versions that are not in ``keep``. ModelFileError."""
    drop_files(file, keep)
