"""Sources of the served model: the tables, or a saved file; each can tell that there is a newer model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from recommender.database import connect, read_snapshot
from recommender.errors import SettingError
from recommender.model import ModelSettings, ServedModel, serve, train
from recommender.publishing import Version, open_model, published_version, read_versions
from recommender.ranking import AUTO, BY_TASTE, AutoParameters, chosen_parameters
from recommender.settings import Settings
from recommender.shop import interaction_weights
from recommender.updates.suited_ranking import SAID, suited

_log = logging.getLogger("uvicorn.error")
Stamp = tuple[int, ...] | None
Prepare = Callable[[ServedModel], object]  # called with each new model before it is served


def _nothing(model: ServedModel) -> None:
    """Do nothing."""


class ModelSource(Protocol):
    """A source of models."""

    includes_changes: bool  # whether a model loaded again contains the changes since the last one
    loaded: Stamp  # of the model that ``load`` gave last

    def load(self) -> ServedModel:
        """Return the newest model, prepared. RecommenderError."""

    def stamp(self) -> Stamp:
        """Return a stamp that differs once there is a newer model; None if this cannot be told now."""


class SavedModel:
    """The file that ``--save-model`` writes; the database may be away."""

    includes_changes = False

    def __init__(self, file: Path, *, prepare: Prepare = _nothing) -> None:
        self._file, self._prepare = file, prepare
        self.loaded: Stamp = None

    def load(self) -> ServedModel:
        self.loaded = self.stamp()  # first: a file that replaces this one meanwhile has another stamp
        model, _ = open_model(self._file)
        model.prepare()
        self._prepare(model)
        return model

    def stamp(self) -> Stamp:
        try:
            found = self._file.stat()
        except OSError:  # being replaced, or gone: the old model goes on
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


class TrainedModel:
    """A model of what is in the tables, prepared for every ranking, so that a request may ask for any.

    The auto ranking has the parameters of the published version; without a version they are chosen now if RANKING=auto.
    The model has the number of the published version only if its lists are those of the version plus later changes:
    same ranking, same settings, and no roll-back. After a roll-back it has none, since the tables also contain the
    changes that led to the later versions.
    """

    includes_changes = True

    def __init__(self, settings: Settings, published: Callable[[], int | None], *, prepare: Prepare = _nothing) -> None:
        self._settings, self._published, self._prepare = settings, published, prepare
        self.loaded: Stamp = None

    def load(self) -> ServedModel:
        engine = connect(self._settings)
        try:
            settings = suited(engine, self._settings)
            if settings is not self._settings:
                _log.info("ranking %s", SAID)
            versions = read_versions(engine)
            published = published_version(versions)
            parameters = _parameters_of(published, settings.ranking) if published else None
            chosen = model_settings(settings)
            trained = train(read_snapshot(engine), chosen, parameters=parameters, all_rankings=True)
        finally:
            engine.dispose()
        version = published.number if published and _continues(published, versions, settings) else None
        model = serve(trained, built_at=datetime.now(UTC), version=version)
        model.prepare()
        self._prepare(model)
        self.loaded = (published.number,) if published else None
        return model

    def stamp(self) -> Stamp:
        number = self._published()
        return None if number is None else (number,)


def model_settings(settings: Settings) -> ModelSettings:
    """Return the settings of the model. SettingError."""
    return ModelSettings(
        settings.top_n_similar_users,
        settings.ranking,
        settings.new_product_percent,
        interaction_weights(settings.interaction_weights),
    )


def _continues(published: Version, versions: Sequence[Version], settings: Settings) -> bool:
    """Tell whether lists by these settings are those of the version, but for later changes."""
    made_by = published.settings
    ours: dict[str, object] = {"n_neighbors": settings.top_n_similar_users}
    if settings.ranking in BY_TASTE:
        ours = {"new_product_percent": settings.new_product_percent}
    same = all(made_by.get(name) == value for name, value in ({"ranking": settings.ranking} | ours).items())
    return same and published.number == versions[-1].number


def _parameters_of(published: Version, ranking: str) -> AutoParameters | None:
    """Return the parameters of auto in a version's settings; None if it has none. SettingError if auto needs them."""
    try:
        return chosen_parameters(published.settings)
    except (KeyError, TypeError, ValueError):
        if ranking != AUTO:
            return None
        told = f"the settings of version {published.number} do not say what auto chose"
        raise SettingError(f"{told}: make another version with python recommendation_engine.py") from None
