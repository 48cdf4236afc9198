"""Notes what a step made its tables from, in a small table that is swapped in together with them.

After a kill at any moment, tables and note are both old or both new. A step that is run again can tell that there is
nothing to do, and a step that would replace rows can tell its own from those of others.

Step 1 notes what it loaded (``catalog_origin``). It replaces only a catalog that it has noted, or an empty one. If it
adds to a catalog that others have filled, it notes that too, since it may still not replace it.

Step 2 notes what it made (``data_origin``) and a summary of the rows: their number and the sum of a checksum over all
values of each. If the tables no longer agree with the summary, others have written to them, and step 2 may not replace
them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Engine, MetaData, String, Table, cast, func, inspect, literal_column, select

from recommender.database.connection import database_errors, label
from recommender.database.schema import (
    CATALOG_TABLES,
    SHOPPER_TABLES,
    catalog_origin,
    categories,
    data_origin,
    interactions,
    products,
    products_with,
    ratings,
    user_id_map,
    users,
)
from recommender.database.staging.bulk_load import Check
from recommender.database.tables import existing_tables, refuse_foreign_tables, table_is_there
from recommender.errors import ForeignDataError

_OTHERS = "others"  # the name of the note that the catalog has rows of others
_WATCHED = (users, user_id_map, interactions, ratings)


def read_origin(engine: Engine, table: Table) -> dict[str, Any] | None:
    """Return the values noted in the origin ``table``; None if there is no such table or nothing in it."""
    with database_errors(engine), engine.connect() as connection:
        if not table_is_there(connection, table.name):
            return None
        rows = connection.execute(select(table.c.name, table.c.value)).all()
    try:
        return {name: json.loads(value) for name, value in rows} or None
    except ValueError:
        return None  # others have written to it: then no rows are known to be ours


def origin_batch(values: Mapping[str, Any]) -> pa.RecordBatch:
    """Return the rows of an origin table for ``values``, as JSON."""
    texts = [json.dumps(value, sort_keys=True) for value in values.values()]
    return pa.record_batch({"name": pa.array(list(values), pa.string()), "value": pa.array(texts, pa.string())})


def refuse_foreign_catalog(engine: Engine, *, kept: bool) -> dict[str, bool]:
    """Raise ForeignDataError if there is a catalog that step 1 did not load; ``kept``: it is only added to.

    Return what has to be noted beside the origin: whether rows of others stay in it.
    """
    made_from = (read_origin(engine, catalog_origin) or {}).get("made_from")
    names = made_from.get("keep", []) if isinstance(made_from, dict) else []  # columns that came along
    with_them = products_with(name for name in names if isinstance(name, str))
    refuse_foreign_tables(engine, [with_them if table is products else table for table in CATALOG_TABLES], kept=kept)
    if _catalog_is_ours(engine):
        return {}
    noted = read_origin(engine, catalog_origin)
    looked_at = (products, categories) if noted and "made_from" in noted else (products, categories, catalog_origin)
    with database_errors(engine), engine.connect() as connection:
        filled = [table.name for table in looked_at if _has_rows(connection, table)]
    if filled and (not kept or catalog_origin.name in filled):
        raise ForeignDataError(
            f"{label(engine)}: {filled[0]} holds rows that this script did not load: add to them with --append, rename "
            "the table, or give another DB_NAME or SQLITE_FILE"
        )
    return {_OTHERS: True} if filled else {}


def unchanged_catalog(engine: Engine) -> Check | None:
    """Return the check that a replaced catalog is still empty; None if step 1 made it."""
    if _catalog_is_ours(engine):
        return None

    def check(connection: Connection, aside: Mapping[Table, str]) -> None:
        for live, name in aside.items():
            if live is not catalog_origin and _has_rows(connection, live.to_metadata(MetaData(), name=name)):
                raise ForeignDataError(
                    f"{label(engine)}: somebody wrote to {live.name} at the moment it was replaced: the tables as they "
                    f"were are kept as {', '.join(aside.values())}; rename them back, or drop them"
                )

    return check


def _catalog_is_ours(engine: Engine) -> bool:
    noted = read_origin(engine, catalog_origin)
    return noted is not None and "made_from" in noted and _OTHERS not in noted


def shopper_summary(connection: Connection, tables: dict[Table, Table] | None = None) -> dict[str, list[int]]:
    """Return for each table its number of rows and the sum of their checksums; the order of rows does not matter.

    ``tables`` maps each live table to the one to look at in its place (a staging table). A checksum is the CRC-32 of
    the values as the database writes them, so summaries can be compared only within one database.
    """
    if connection.dialect.name == "sqlite":
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.create_function("row_checksum", -1, _row_checksum, deterministic=True)
    summary = {}
    for live in _WATCHED if tables is None else [live for live in _WATCHED if live in tables]:
        table = live if tables is None else tables[live]
        there = {column["name"] for column in inspect(connection).get_columns(table.name)}
        columns = [column for column in table.columns if column.name in there]  # an earlier release had fewer
        if connection.dialect.name == "sqlite":
            checksum = func.row_checksum(*columns)
        else:
            values = [func.coalesce(cast(column, String(300)), "NULL") for column in columns]
            checksum = func.crc32(func.concat_ws("|", *values))
        row = connection.execute(select(func.count(), func.sum(checksum)).select_from(table)).one()
        summary[live.name] = [int(value or 0) for value in row]
    return summary


def _row_checksum(*values: object) -> int:
    return zlib.crc32(repr(values).encode())


def is_up_to_date(engine: Engine, made_from: dict[str, Any], *, replace: bool) -> bool:
    """Tell whether the tables hold what was made from ``made_from``, so that making it again would change nothing.

    Rows that others have added or changed since are kept and count as up to date, unless ``replace``. Tables that
    others have emptied are not up to date.
    """
    noted = _noted(engine)
    if noted is None or noted["origin"] != made_from or any(t.name not in existing_tables(engine) for t in _WATCHED):
        return False
    with database_errors(engine), engine.connect() as connection:
        found = shopper_summary(connection)
    emptied = any(noted["summary"][name][0] and not figures[0] for name, figures in found.items())
    return found == noted["summary"] or not (replace or emptied)


def refuse_foreign_rows(engine: Engine, *, generating: bool) -> Check:
    """Raise ForeignDataError if there are users, interactions or ratings that step 2 did not make.

    ``generating``: rows imported from a shop's own file may not be replaced by made-up ones either. Return the check
    that the replaced tables are still as they were here, since others may write to them until then.
    """
    noted = _noted(engine)
    remedy = "keep them and use another DB_NAME or SQLITE_FILE, or give --replace to delete them"
    if noted is None:
        with database_errors(engine), engine.connect() as connection:
            filled = [table.name for table in (*_WATCHED, data_origin) if _has_rows(connection, table)]
        if filled:
            works = ratings.name in filled or interactions.name in filled
            hint = "step 3 works on them as they are; " if works else ""
            foreign = f"{filled[0]} holds rows that this script did not make"
            raise ForeignDataError(f"{label(engine)}: {foreign}: {hint}{remedy}")
    refuse_foreign_tables(engine, SHOPPER_TABLES)
    if noted is None:
        return _unchanged({table.name: [0, 0] for table in _WATCHED})
    if generating and noted["origin"]["made_from"] != "seed":
        raise ForeignDataError(f"{label(engine)}: the ratings were imported from {noted['origin']['file']}: {remedy}")
    with database_errors(engine), engine.connect() as connection:
        found = shopper_summary(connection)
    changed = [name for name, figures in found.items() if figures != noted["summary"][name]]
    if changed:
        rows = f"{found[changed[0]][0]:,} rows, {noted['summary'][changed[0]][0]:,} were made"
        raise ForeignDataError(
            f"{label(engine)}: {changed[0]} was changed since this script filled it ({rows}): {remedy}"
        )
    return _unchanged(found)


def _unchanged(found: dict[str, list[int]]) -> Check:
    """Return the check that tables that were replaced hold what was ``found`` in them."""

    def check(connection: Connection, aside: Mapping[Table, str]) -> None:
        tables = {live: live.to_metadata(MetaData(), name=name) for live, name in aside.items() if live in _WATCHED}
        after = shopper_summary(connection, tables)
        if changed := [live for live in tables if after[live.name] != found[live.name]]:
            names = ", ".join(aside[live] for live in tables)
            raise ForeignDataError(
                f"{label(connection.engine)}: somebody wrote to {changed[0].name} at the moment it was replaced: the "
                f"tables as they were are kept as {names}; rename them back, or drop them"
            )

    return check


def _noted(engine: Engine) -> dict[str, Any] | None:
    """Return ``origin`` and ``summary`` as step 2 noted them; None without a note, or with one that others spoiled."""
    noted = read_origin(engine, data_origin)
    return noted if noted and _is_a_note(noted.get("origin"), noted.get("summary")) else None


def _is_a_note(origin: Any, summary: Any) -> bool:
    """Tell whether both have the shape that step 2 gives them; others can change a row of JSON to any other JSON."""
    if not isinstance(origin, dict) or not isinstance(summary, dict):
        return False
    figures = [summary.get(table.name) for table in _WATCHED]
    whole = all(isinstance(pair, list) and [type(number) for number in pair] == [int, int] for pair in figures)
    return whole and isinstance(origin.get("made_from"), str) and (origin["made_from"] == "seed" or "file" in origin)


def _has_rows(connection: Connection, table: Table) -> bool:
    if not table_is_there(connection, table.name):
        return False
    return connection.execute(select(literal_column("1")).select_from(table).limit(1)).first() is not None
