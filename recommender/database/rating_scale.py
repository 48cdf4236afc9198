"""The scale of the ratings in a database: the one that step 2 noted, else that of RATING_*, else half stars up to 5.

Step 2 notes any other scale than half stars in ``data_origin``, which is swapped in with the ratings. RATING_MIN,
RATING_MAX and RATING_STEP insist: where they disagree with the note, every step stops. In tables that step 2 did not
fill, they say what the ratings are.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Engine, Integer, cast, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from recommender.database.connection import database_errors, is_mysql, label
from recommender.database.schema import data_origin, ratings
from recommender.database.staging.bulk_load import Stage
from recommender.database.tables import table_is_there
from recommender.errors import SettingError
from recommender.shop import HALF_STARS, Scale

_NOTE, _ORIGIN = "scale", "origin"  # names in data_origin


def noted_scale(connection: Connection) -> Scale | None:
    """Return the scale of the ratings that step 2 filled in; None if it has filled in none."""
    if not table_is_there(connection, data_origin.name):
        return None
    c = data_origin.c
    rows = connection.execute(select(c.name, c.value).where(c.name.in_((_NOTE, _ORIGIN))))
    notes = {str(row.name): str(row.value) for row in rows}
    if _NOTE in notes:
        try:
            return Scale.from_json(json.loads(notes[_NOTE]))
        except (ValueError, SettingError):
            return None  # others have written to it
    return HALF_STARS if _ORIGIN in notes else None


def scale_of(engine: Engine) -> Scale:
    """Return the scale of the ratings. SettingError if RATING_* disagree with the note of step 2, DatabaseError."""
    wanted: Scale | None = engine.get_execution_options().get("rating_scale")
    with database_errors(engine), engine.connect() as connection:
        noted = noted_scale(connection)
    if wanted is not None and noted is not None and wanted != noted:
        raise SettingError(
            f"RATING_MIN, RATING_MAX and RATING_STEP say that ratings are {wanted.text()}, but those of the "
            f"{label(engine)} are {noted.text()}: leave these settings out, or import the ratings again with --replace"
        )
    return noted or wanted or HALF_STARS


def scale_note(scale: Scale) -> dict[str, Any]:
    """Return what is noted in ``data_origin``: nothing for half stars, as releases before have it."""
    return {} if scale == HALF_STARS else {_NOTE: scale.to_json()}


def fit_ratings(stage: Stage, scale: Scale) -> None:
    """Make the empty column of ratings as wide as the scale needs. SQLite's columns have no width."""
    if scale == HALF_STARS or not is_mysql(stage.engine):
        return
    quote = stage.engine.dialect.identifier_preparer.quote
    kind = f"DECIMAL({scale.digits},{scale.decimals}) NOT NULL"
    stage.connection.exec_driver_sql(f"ALTER TABLE {quote(stage.tables[ratings].name)} MODIFY rating {kind}")


def steps_in_sql(rating: ColumnElement[Any], scale: Scale) -> ColumnElement[int]:
    """Return SQL for the number of steps of a rating on the scale."""
    if scale == HALF_STARS:
        return cast(rating * 2, Integer)
    return cast(func.round(rating / literal_column(f"{scale.step:f}")), Integer)


def fault_in_sql(scale: Scale) -> str:
    """Return SQL that is true of a rating that is not on the scale, and of NULL as well or not true of it.

    Ratings that a float64 cannot hold exactly are compared by their first nine decimals, as `Scale.steps_of` does.
    """
    rating = "rating" if scale.is_binary else "ROUND(rating, 9)"
    return f"{rating} NOT IN ({', '.join(scale.values)})"
