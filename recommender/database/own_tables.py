"""The tables besides the well-known ones that are ours: ``recommender_tables`` notes them, since no name proves it.

The project drops staging tables, replaced tables and the lists of kept versions, and deletes the rows of erased users
from them, without asking. A shop's own table may have any name. So each of our tables is noted, and the note is
committed, before a table has the name; names of staging tables end in letters that each run draws at random. A note is
deleted after its table is gone. So after a kill at any moment a table is ours if and only if it is noted, with two
exceptions. ``recommendations`` is also ours while ``model_versions`` says that a version is published.
``recommendations__v6`` is also ours while that table says that version 6 is kept and no other table is noted for it:
releases without notes left it so, and others may have dropped the notes. Both must have exactly our columns.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, Table, delete, insert, inspect, literal_column, select
from sqlalchemy.schema import CreateTable

from recommender.database.clock import utc_now
from recommender.database.schema import model_versions, own_tables, recommendations
from recommender.database.tables import drop_tables, refuse_foreign_tables, table_is_there

LIVE, STAGING, OLD, KEPT = "live", "staging", "old", "kept"
NEW_END, OLD_END = "__new", "__old"


class OwnTable(NamedTuple):
    """A note: the table of that name is ours."""

    name: str
    purpose: str
    made_for: str
    version: int | None = None


def ends_of_a_run() -> tuple[str, str]:
    """Return the name endings of this run's staging tables and of the tables it replaces; other runs have others."""
    drawn = secrets.token_hex(4)
    return f"{NEW_END}_{drawn}", f"{OLD_END}_{drawn}"


def kept_table(number: int) -> str:
    """Return the name of the table with the lists of a kept version, unless another table has that name."""
    return f"{recommendations.name}__v{number}"


def prepare_notes(connection: Connection) -> None:
    """Create the table of notes if there is none, and note tables of ours that have no note. ForeignDataError."""
    if not table_is_there(connection, own_tables.name):
        connection.execute(CreateTable(own_tables, if_not_exists=True))  # another run may have created it meanwhile
    refuse_foreign_tables(connection, [own_tables])
    for table in _proven_by_versions(connection, _notes(connection)):
        note(connection, table)


def note(connection: Connection, *tables: OwnTable) -> None:
    """Note that tables of these names will be ours; commit this before they have these names."""
    now = utc_now(connection)
    for table in tables:
        connection.execute(delete(own_tables).where(own_tables.c.table_name == table.name))
        values = dict(zip(("table_name", *OwnTable._fields[1:]), table, strict=True))
        connection.execute(insert(own_tables).values(values | {"made_at": now}))


def forget(connection: Connection, names: Iterable[str]) -> None:
    """Delete the notes: tables of these names no longer exist, or are left to their owner."""
    for name in names:
        connection.execute(delete(own_tables).where(own_tables.c.table_name == name))


def leftovers(connection: Connection, made_for: Iterable[str]) -> list[str]:
    """Return the names of the tables, staging and old, that killed runs left while they replaced ``made_for``."""
    wanted = set(made_for)
    return [t.name for t in _notes(connection) if t.purpose in (STAGING, OLD) and t.made_for in wanted]


def drop_own(connection: Connection, names: Iterable[str]) -> None:
    """Drop tables that are noted, then delete their notes."""
    names = list(names)
    drop_tables(connection, names)
    forget(connection, names)


def note_published_lists(connection: Connection) -> None:
    """Note that ``recommendations`` is ours."""
    note(connection, OwnTable(recommendations.name, LIVE, recommendations.name))


def keep_lists(connection: Connection, number: int) -> str:
    """Note as ours, and return, the name of a new table for the lists of a version that is to be kept."""
    name = _free_name(connection, kept_table(number))
    note(connection, OwnTable(name, KEPT, recommendations.name, number))
    return name


def kept_lists(connection: Connection) -> dict[int, str]:
    """Return the tables with the lists of kept versions, by version number."""
    notes = _notes(connection)
    return {
        t.version: t.name
        for t in (*notes, *_proven_by_versions(connection, notes))
        if t.purpose == KEPT and t.version is not None and has_our_columns(connection, t.name, recommendations)
    }


def list_tables(connection: Connection) -> set[str]:
    """Return all tables with lists of ours: published, kept, replaced, or being made."""
    proven = {t.name for t in _proven_by_versions(connection, _notes(connection))}
    return {name for name in noted_lists(connection) | proven if has_our_columns(connection, name, recommendations)}


def noted_lists(connection: Connection) -> set[str]:
    """Return the names that tables of lists have, had or will have, according to the notes alone."""
    return {t.name for t in _notes(connection) if t.made_for == recommendations.name}


def has_our_columns(connection: Connection, name: str, table: Table) -> bool:
    """Tell whether there is a table of that name with exactly the columns of ``table``."""
    if not table_is_there(connection, name):
        return False
    return {column["name"] for column in inspect(connection).get_columns(name)} == {c.name for c in table.columns}


def lists_are_ours(connection: Connection) -> bool:
    """Tell whether ``recommendations`` is ours, empty, or missing."""
    if not table_is_there(connection, recommendations.name) or recommendations.name in list_tables(connection):
        return True
    return connection.execute(select(literal_column("1")).select_from(recommendations).limit(1)).first() is None


def _free_name(connection: Connection, name: str) -> str:
    """Return ``name``, or else the first of ``name_2``, ``name_3``, ... that no table has."""
    there, candidate, count = set(inspect(connection).get_table_names()), name, 1
    there |= set(inspect(connection).get_view_names())
    while candidate in there:
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def _notes(connection: Connection) -> list[OwnTable]:
    if not table_is_there(connection, own_tables.name):
        return []
    c = own_tables.c
    return [OwnTable(*row) for row in connection.execute(select(c.table_name, c.purpose, c.made_for, c.version))]


def _proven_by_versions(connection: Connection, notes: list[OwnTable]) -> list[OwnTable]:
    """Return the tables without a note that are ours according to ``model_versions``."""
    if not has_our_columns(connection, model_versions.name, model_versions):
        return []
    found, noted = [], {t.version for t in notes if t.purpose == KEPT}
    for number, state in connection.execute(select(model_versions.c.version, model_versions.c.state)):
        if state == "published":
            found.append(OwnTable(recommendations.name, LIVE, recommendations.name))
        elif state == "kept" and number not in noted:
            found.append(OwnTable(kept_table(number), KEPT, recommendations.name, number))
    names = {t.name for t in notes}
    return [t for t in found if t.name not in names and has_our_columns(connection, t.name, recommendations)]
