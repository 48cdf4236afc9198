"""The rule for the rows of the shop's tables that a model is built from; every reader uses it.

Others write into these tables too, and a column's type excludes little: 4.3 fits DECIMAL(2,1), and SQLite takes any
value in any column. A row with an invalid value is left out and counted by the column at fault; it stops nothing. Only
if more than 1 % and more than 100 rows of a table are invalid, the table is refused, as a CSV file is, since then
something is wrong with all of it.

The rule is written once, in SQL, so it is the same for a whole table (`recommender.database.bulk_read`) and for the
rows of one user (`recommender.updates.records`). Usable is: a user_id from 0 to 2^63 - 1; a product_id by the rule in
`recommender.shop.ids`; a rating on the shop's scale; an interaction_type of the four that exist. A row with an
unreadable time counts as one without a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Label, String, Table, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from recommender.database.connection import database_errors, is_mysql, label
from recommender.database.rating_scale import fault_in_sql
from recommender.database.schema import INTERACTION_TYPES, interactions, products, ratings
from recommender.errors import RatingError
from recommender.settings import LARGEST_ID
from recommender.shop import BLANKS, CONTROLS, DOTS, NO_CHARACTERS, PRODUCT_ID_LENGTH, PRODUCT_ID_RULE, Scale

SHARE_LEFT_OUT, ROWS_LEFT_OUT = 0.01, 100  # more than both: the table is refused
_KINDS = ", ".join(f"'{kind}'" for kind in INTERACTION_TYPES)

LeftOut = Mapping[str, int]  # number of rows by the "table.column" at fault; no entry without rows


@dataclass(frozen=True)
class _Fault:
    """One possible fault of a row: SQL that is true of such a row on SQLite, and on a server."""

    column: str
    wanted: str
    sqlite: str
    server: str


_USER = _Fault(
    "user_id",
    "a whole number from 0",
    "typeof(user_id) <> 'integer' OR user_id < 0",
    f"user_id IS NULL OR user_id < 0 OR user_id > {LARGEST_ID}",
)


def _product(name: str) -> _Fault:
    dots = ", ".join(f"'{text}'" for text in DOTS)
    # the functions of SQLite end at a NUL, so no NUL is asked for first
    sqlite = (
        f"typeof({name}) <> 'text' OR instr(CAST({name} AS BLOB), x'00') OR {name} IN ('', {dots}) "
        f"OR length({name}) > {PRODUCT_ID_LENGTH} OR trim({name}, {_char(BLANKS)}) <> {name} "
        f"OR {name} GLOB '*[' || {_char(CONTROLS.strip(chr(0)) + NO_CHARACTERS)} || ']*'"
    )
    # bytes that are not UTF-8 come out of SQLite as other characters, and are others when these are written again
    again = f"SELECT i + 1, t || char(unicode(substr({name}, i, 1))) FROM r WHERE i <= length({name})"
    read = f"WITH RECURSIVE r(i, t) AS (SELECT 1, '' UNION ALL {again}) SELECT t FROM r ORDER BY i DESC LIMIT 1"
    # the last rule takes 7 µs a row in MariaDB, so most ids are let through by another one, which takes 0.1 µs
    wide = f"CONVERT({name} USING utf8mb4)"
    server = (
        f"{name} IS NULL OR CHAR_LENGTH({wide}) NOT BETWEEN 1 AND {PRODUCT_ID_LENGTH} OR {name} IN ({dots}) "
        f"OR ({wide} REGEXP '[^0-9A-Za-z_-]' AND "
        f"HEX({wide}) REGEXP '^(..)*({_hex(CONTROLS + NO_CHARACTERS)})|^({_hex(BLANKS)})|({_hex(BLANKS)})$')"
    )
    return _Fault(name, PRODUCT_ID_RULE, f"{sqlite} OR ({name} GLOB '*[^ -~]*' AND ({read}) <> {name})", server)


def _char(characters: str) -> str:
    """Return SQL of SQLite for these characters."""
    return f"char({', '.join(str(ord(character)) for character in characters)})"


def _hex(characters: str) -> str:
    """Return a regular expression for any of the characters, in hexadecimal digits: all servers know that much."""
    return "|".join(character.encode().hex().upper() for character in characters)


_FAULTS: dict[Table, tuple[_Fault, ...]] = {
    products: (_product("asin"),),
    ratings: (
        _USER,
        _product("product_id"),
    ),
    interactions: (
        _USER,
        _product("product_id"),
        _Fault(
            "interaction_type",
            f"one of {', '.join(INTERACTION_TYPES)}",
            f"typeof(interaction_type) <> 'text' OR interaction_type NOT IN ({_KINDS})",
            f"interaction_type IS NULL OR interaction_type NOT IN ({_KINDS})",
        ),
    ),
}


def _faults(table: Table, scale: Scale | None) -> tuple[_Fault, ...]:
    """Return the possible faults of a row of ``table``; ``scale``: of the ratings, for their table."""
    if table is not ratings:
        return _FAULTS[table]
    assert scale is not None, "a rating is usable if it is on the shop's scale"
    odd = fault_in_sql(scale)
    sqlite, server = f"typeof(rating) NOT IN ('integer', 'real') OR {odd}", f"rating IS NULL OR {odd}"
    return (*_FAULTS[table], _Fault("rating", scale.text(), sqlite, server))


def fault_of(engine: Engine, table: Table, scale: Scale | None = None) -> Label[str]:
    """Return SQL for the first column that makes a row of ``table`` unusable; NULL: the row is usable.

    ``scale``: that of the ratings; needed for their table, here and below.
    """
    whens = " ".join(f"WHEN {_condition(engine, fault)} THEN '{fault.column}'" for fault in _faults(table, scale))
    return literal_column(f"CASE {whens} END", String).label("fault")


def usable(engine: Engine, table: Table, scale: Scale | None = None) -> ColumnElement[bool]:
    """Return SQL that is true of the rows of ``table`` that a model is built from."""
    return fault_of(engine, table, scale).element.is_(None)


def count_left_out(engine: Engine, table: Table, scale: Scale | None = None) -> dict[str, int]:
    """Return the number of unusable rows of ``table`` by the column at fault. Reads the whole table. DatabaseError."""
    fault = fault_of(engine, table, scale)
    counted = select(fault, func.count()).select_from(table).where(fault.element.is_not(None)).group_by(fault.element)
    with database_errors(engine), engine.connect() as connection:
        found: dict[str, int] = {str(name): int(count) for name, count in connection.execute(counted)}
    return {f"{table.name}.{at.column}": found[at.column] for at in _faults(table, scale) if at.column in found}


def too_faulty(n_faulty: int, n_usable: int) -> bool:
    """Tell whether so many rows are not usable that something is wrong with all of them."""
    few = n_faulty <= ROWS_LEFT_OUT or n_faulty <= SHARE_LEFT_OUT * (n_faulty + n_usable)
    return bool(n_faulty) and not (n_usable and few)


def refuse_faulty_table(
    engine: Engine, table: Table, left_out: LeftOut, n_usable: int, scale: Scale | None = None
) -> None:
    """Raise RatingError if too much of ``table`` is left out, or all of it.

    The message has the counts, an example, and a statement that finds the rows.
    """
    n_faulty = sum(left_out.values())
    n_rows = n_faulty + n_usable
    if not too_faulty(n_faulty, n_usable):
        return
    at_fault = [fault for fault in _faults(table, scale) if f"{table.name}.{fault.column}" in left_out]
    worst = max(at_fault, key=lambda fault: left_out[f"{table.name}.{fault.column}"])
    reasons = ", ".join(f"{fault.column} {left_out[f'{table.name}.{fault.column}']:,}" for fault in at_fault)
    raise RatingError(
        f"{label(engine)}: {n_faulty:,} of the {n_rows:,} rows of {table.name} cannot be used ({reasons}), more than "
        f"1 % and {ROWS_LEFT_OUT}, such as {_example(engine, table, worst)}: {worst.column} is not {worst.wanted}; "
        f"correct or delete what SELECT * FROM {table.name} WHERE {_condition(engine, worst)} finds"
    )


def as_words(left_out: LeftOut) -> str:
    """Return ``product_ratings: rating 3; user_interactions: created_at 1``; empty if nothing is left out.

    >>> as_words({"product_ratings.user_id": 2, "product_ratings.rating": 1300, "users.user_id": 1})
    'product_ratings: user_id 2, rating 1,300; users: user_id 1'
    """
    tables: dict[str, list[str]] = {}
    for where, count in left_out.items():
        table, _, column = where.partition(".")
        tables.setdefault(table, []).append(f"{column} {count:,}")
    return "; ".join(f"{table}: {', '.join(columns)}" for table, columns in tables.items())


def _condition(engine: Engine, fault: _Fault) -> str:
    return fault.server if is_mysql(engine) else fault.sqlite


def _example(engine: Engine, table: Table, fault: _Fault) -> str:
    """Return one row with that fault: its identifying columns, and the value."""
    names = dict.fromkeys([*(n for n in ("user_id", "product_id") if n in table.columns), fault.column])
    columns: list[Any] = [literal_column(name).label(name) for name in names]  # as it is, whatever its type
    wrong: ColumnElement[bool] = literal_column(_condition(engine, fault))
    with database_errors(engine), engine.connect() as connection:
        row = connection.execute(select(*columns).select_from(table).where(wrong).limit(1)).mappings().first()
    return ", ".join(f"{name} {value!r:.60}" for name, value in (row or {}).items()) or "none any more"
