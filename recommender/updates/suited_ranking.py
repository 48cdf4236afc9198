"""The ranking that suits what is in the tables: a shop with interactions and no ratings has none by stars."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from recommender.database import has_rows, label
from recommender.database.schema import interactions, ratings
from recommender.errors import SettingError
from recommender.ranking import AUTO, CLASSIC
from recommender.settings import Settings

SAID = "auto: there are interactions and no ratings, and RANKING is not set"


def suited(engine: Engine, settings: Settings) -> Settings:
    """Return the settings with a ranking that the tables allow: auto if RANKING was left alone and nobody has rated.

    SettingError if RANKING is set to classic there, which needs ratings; DatabaseError.
    """
    if settings.ranking != CLASSIC or has_rows(engine, ratings) or not has_rows(engine, interactions):
        return settings
    if "RANKING" in settings.given:
        needs = "RANKING=classic needs ratings, and there are interactions alone"
        raise SettingError(f"{label(engine)}: {needs}: leave RANKING empty, or set it to auto, taste or items")
    return replace(settings, ranking=AUTO)
