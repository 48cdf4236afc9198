"""The taste map of a version, made by a process of its own at the lowest priority: no step and no request waits for it.

``python recommendation_engine.py --map`` makes the map of the published version. A service starts that process when
somebody asks for a map that is not there, and meanwhile shows the newest one that is. Several workers may start it: one
process makes the map, the others end at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from sqlalchemy import Engine, select

from recommender.database import connected, database_errors, read_snapshot, table_is_there
from recommender.database.schema import categories
from recommender.errors import DatabaseError, ModelFileError, SettingError, StepOrderError
from recommender.model import ModelSettings, ServedModel, map_tastes, serve, train
from recommender.publishing import (
    EXPIRED,
    SavedMap,
    drop_maps,
    map_file,
    open_map,
    open_model,
    published_version,
    read_versions,
    save_map,
)
from recommender.ranking import TASTE
from recommender.settings import Settings
from recommender.shop import interaction_weights

try:
    import fcntl
except ImportError:  # Windows: several processes may make the same map
    fcntl = None  # type: ignore[assignment]

AGAIN, SOON = 60.0, 2.0  # seconds until a map that is still not there is tried again; soon: another run makes it
LOWEST = 19  # priority, as nice counts
BUSY = "another run is making this map: wait for it"
_log = logging.getLogger("uvicorn.error")


def make_map(settings: Settings, *, seed: int = 0) -> tuple[Path, SavedMap]:
    """Make and save the map of the model in MODEL_FILE, or else of the published version with the tables as they are.

    Return its file and the map. StepOrderError without a version, SettingError if another run is making it;
    ModelFileError, DatabaseError.
    """
    file = map_file(settings)
    with _alone(file):
        model, names = _model_of_file(settings) if settings.model_file else _model_of_tables(settings)
        assert model.version is not None
        tastes = map_tastes(model, seed=seed)
        used = {one.category_id for region in tastes.regions for one in region.categories}
        named = {number: name for number, name in names.items() if number in used}
        saved = SavedMap(tastes, model.version, datetime.now(UTC).replace(microsecond=0), model.people, named)
        path = save_map(file, saved)
    with contextlib.suppress(DatabaseError), connected(settings) as engine:
        drop_expired_maps(settings, engine)
    return path, saved


def drop_expired_maps(settings: Settings, engine: Engine) -> None:
    """Delete the maps of versions that have expired. DatabaseError.

    One that this account may not delete stays: the account that made it deletes it when it makes the next.
    """
    kept = [one.number for one in read_versions(engine) if one.state != EXPIRED]
    with contextlib.suppress(ModelFileError):
        drop_maps(map_file(settings), kept)


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep other processes from making a map of this name. SettingError if one is making it."""
    if fcntl is None:
        yield
        return
    try:
        lock = file.with_name(f"{file.name}.lock").open("w")
    except OSError as error:
        message = f"{file}: a map cannot be written there ({error.strerror})"
        raise ModelFileError(f"{message}: correct that, or set MODEL_FILE to a file in another folder") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(BUSY) from None
        yield


def _model_of_file(settings: Settings) -> tuple[ServedModel, dict[int, str]]:
    assert settings.model_file is not None
    model, version = open_model(settings.model_file)
    names: dict[int, str] = {}
    with contextlib.suppress(DatabaseError), connected(settings) as engine:
        names = _names(engine)
    return replace(model, version=version.number), names


def _model_of_tables(settings: Settings) -> tuple[ServedModel, dict[int, str]]:
    weights = interaction_weights(settings.interaction_weights)
    with connected(settings) as engine:
        published = published_version(read_versions(engine))
        if published is None:
            raise StepOrderError("no version is published yet: python recommendation_engine.py makes one")
        snapshot, names = read_snapshot(engine), _names(engine)
    trained = train(snapshot, ModelSettings(settings.top_n_similar_users, TASTE, 0, weights))
    return serve(trained, built_at=published.made_at, version=published.number), names


def _names(engine: Engine) -> dict[int, str]:
    """Return the names of the categories by id."""
    with database_errors(engine), engine.connect() as connection:
        if not table_is_there(connection, categories.name):
            return {}
        found = connection.execute(select(categories.c.id, categories.c.category_name))
        return {int(number): str(name) for number, name in found}


class TasteMaps:
    """The maps that a service shows; ``command`` makes a missing one."""

    def __init__(self, file: Path, command: Sequence[str]) -> None:
        self._file, self._command = file, tuple(command)
        self._opened: dict[Path, tuple[tuple[int, int], SavedMap | None]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None  # what the process writes to its standard error
        self._asked, self._again = 0, 0.0  # the version that was tried last, and when it may be tried again
        self.failure = ""  # why the map could not be made; empty: it can be, or was not tried

    def find(self, version: int, people: str | None) -> SavedMap | None:
        """Return the map of a version of these people, or else of the newest version that has one; None without any."""
        found = {self._number(path): path for path in self._file.parent.glob(f"{self._file.name}.v*")}
        for number in sorted(found, key=lambda one: (one != version, -one)):
            if number and (saved := self._open(found[number])) is not None and saved.people == people:
                return saved
        return None

    def ask(self, version: int) -> None:
        """Have the map of a version made, unless one is being made or this one has just been tried."""
        if self._is_making() or (version == self._asked and time.monotonic() < self._again):
            return
        self._asked, self.failure = version, ""
        try:
            self._start()
        except OSError as error:
            self._again, self.failure = time.monotonic() + AGAIN, f"no process can be started ({error.strerror})"

    def _start(self) -> None:
        said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
            )
        except OSError:
            said.close()
            raise
        self._said = said

    def _is_making(self) -> bool:
        """Tell whether the process is at work. If it has ended without a map, note why."""
        if self._process is None:
            return False
        status = self._process.poll()
        if status is None:
            return True
        self._process, said = None, self._last_words()
        self._again = time.monotonic() + (SOON if BUSY in said else AGAIN)
        if status and BUSY not in said:
            self.failure = said
            _log.warning("the taste map of version %s could not be made: %s", self._asked, said)
        return False

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._last_words()
            self._process = None

    def _last_words(self) -> str:
        assert self._said is not None
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines() or ["it ended without a word"]
        self._said.close()
        return lines[-1].removeprefix("recommendation_engine.py: ")

    def _number(self, path: Path) -> int:
        end = re.fullmatch(r"\.v([1-9][0-9]{0,9})", path.name[len(self._file.name) :])
        return int(end.group(1)) if end else 0

    def _open(self, path: Path) -> SavedMap | None:
        """Return the map in a file, opened once; None if there is none that can be shown."""
        try:
            there = path.stat()
        except OSError:  # it has just expired
            return None
        stamp = there.st_ino, there.st_mtime_ns
        if self._opened.get(path, (None,))[0] != stamp:
            saved = None
            try:
                saved = open_map(path)
            except ModelFileError as error:
                _log.warning("a taste map is not shown: %s", error)
            self._opened[path] = stamp, saved
        return self._opened[path][1]


def at_lowest_priority() -> None:
    """Let every other process go first, where the system knows priorities."""
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, 0, LOWEST)
