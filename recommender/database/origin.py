"""What a step made, written down beside it: a small table of names and values, swapped together with the step's tables.

So a step that is run again can tell that there is nothing to do, and a step that would replace rows can tell its own
from somebody else's. Killed at any moment, tables and origin are both old or both new.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from sqlalchemy import Engine, Table, select

from recommender.database.connection import database_errors
from recommender.database.tables import table_is_there


def read_origin(engine: Engine, table: Table) -> dict[str, Any] | None:
    """The values noted in the origin ``table``; None if there is no such table or nothing in it."""
    with database_errors(engine), engine.connect() as connection:
        if not table_is_there(connection, table.name):
            return None
        rows = connection.execute(select(table.c.name, table.c.value)).all()
    try:
        return {name: json.loads(value) for name, value in rows} or None
    except ValueError:
        return None  # somebody has written to it: then nothing is known to be ours


def origin_batch(values: Mapping[str, Any]) -> pa.RecordBatch:
    """The rows of an origin table that hold ``values``, as JSON."""
    texts = [json.dumps(value, sort_keys=True) for value in values.values()]
    return pa.record_batch({"name": pa.array(list(values), pa.string()), "value": pa.array(texts, pa.string())})
