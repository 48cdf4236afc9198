"""Whose rows are in users, user_interactions and product_ratings: made by step 2, or somebody else's?

Step 2 notes what it made (``data_origin``) and a summary of the rows: counts, largest ids, sums, latest times. If the
summary of the tables no longer agrees, somebody has written to them since, and they are not step 2's to replace.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Integer, Table, cast, func, inspect, select

from recommender.database import database_errors, existing_tables, label
from recommender.errors import ForeignDataError
from recommender.origin import read_origin
from recommender.schema import data_origin, interactions, ratings, user_id_map, users

_WATCHED = (users, user_id_map, interactions, ratings)


def shopper_summary(connection: Connection, tables: dict[Table, Table] | None = None) -> dict[str, list[Any]]:
    """Counts and sums of the rows per table, equal on every kind of database.

    ``tables`` maps each live table to the one to look at in its place (a staging table).
    """
    summary = {}
    for live in _WATCHED:
        table = live if tables is None else tables[live]
        # the sum of ids near 2^63 would overflow SQLite's, so each is taken modulo a prime
        figures: list[Any] = [func.count(), func.max(table.c.user_id), func.sum(table.c.user_id % 1_000_003)]
        if "rating" in table.c:
            figures.append(func.sum(cast(table.c.rating * 2, Integer)))
            figures.append(func.max(table.c.updated_at))
        elif "created_at" in table.c:
            figures.append(func.max(table.c.created_at))
        row = connection.execute(select(*figures).select_from(table)).one()
        summary[live.name] = [_plain(value) for value in row]
    return summary


def _plain(value: Any) -> int | str:
    if value is None:
        return 0
    return value.isoformat(timespec="microseconds") if hasattr(value, "isoformat") else int(value)


def is_up_to_date(engine: Engine, made_from: dict[str, Any], *, replace: bool) -> bool:
    """Do the tables hold what was made from ``made_from``, so that making it again would change nothing?

    Rows that somebody has added or changed since are kept and count as up to date, unless ``replace``; tables that
    somebody has emptied do not.
    """
    noted = read_origin(engine, data_origin)
    if noted is None or noted["origin"] != made_from or any(t.name not in existing_tables(engine) for t in _WATCHED):
        return False
    with database_errors(engine), engine.connect() as connection:
        found = shopper_summary(connection)
    emptied = any(noted["summary"][name][0] and not figures[0] for name, figures in found.items())
    return found == noted["summary"] or not (replace or emptied)


def refuse_foreign_rows(engine: Engine, *, generating: bool) -> None:
    """Raise ForeignDataError if users, interactions or ratings are there that step 2 did not make.

    ``generating``: rows imported from a shop's own file are not the generator's to replace either.
    """
    there = existing_tables(engine)
    noted = read_origin(engine, data_origin)
    remedy = "keep them and use another DB_NAME or SQLITE_FILE, or give --replace to delete them"
    for table in _WATCHED:
        if table.name in there and noted is None and not _empty_and_ours(engine, table):
            raise ForeignDataError(f"{label(engine)}: {table.name} holds rows that this script did not make: {remedy}")
    if noted is None:
        return
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


def _empty_and_ours(engine: Engine, table: Table) -> bool:
    with database_errors(engine), engine.connect() as connection:
        columns = {column["name"] for column in inspect(connection).get_columns(table.name)}
        if not set(table.columns.keys()) <= columns:
            return False
        return connection.execute(select(*table.primary_key.columns).limit(1)).first() is None
