"""The ranking that suits a shop that leaves RANKING alone: auto where there are interactions and no ratings.

Such a shop stays with auto when the first people rate: classic would have lists for them alone. So a version that was
made by this rule is noted as such, and while it is the published one, the rule goes on.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Engine

from recommender.database import has_rows, label
from recommender.database.schema import interactions, ratings
from recommender.errors import SettingError
from recommender.publishing import published_version, read_versions
from recommender.ranking import AUTO, CLASSIC
from recommender.settings import Settings

SUITED = "ranking_left_alone"  # among a version's metrics
SAID = "auto: RANKING is not set, and there are interactions and no ratings, or were at first"


def suited(engine: Engine, settings: Settings) -> Settings:
    """Return the settings with the ranking that suits the shop, the same object if that is the one they have.

    SettingError if RANKING is set to classic and nobody has rated; DatabaseError.
    """
    if settings.ranking != CLASSIC:
        return settings
    alone = not has_rows(engine, ratings) and has_rows(engine, interactions)
    if "RANKING" in settings.given:
        if not alone:
            return settings
        needs = "RANKING=classic needs ratings, and there are interactions alone"
        raise SettingError(f"{label(engine)}: {needs}: leave RANKING empty, or set it to auto, taste or items")
    published = None if alone else published_version(read_versions(engine))
    if alone or (published is not None and (published.metrics or {}).get(SUITED)):
        return replace(settings, ranking=AUTO)
    return settings
