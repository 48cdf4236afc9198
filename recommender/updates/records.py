"""The rows that the tables now hold of some users, or of some products.

Rows that no model is built from (`recommender.database.usable_rows`) are left out with a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, Engine, Table, func, literal_column, select

from recommender.database import (
    as_product,
    event_time,
    existing_tables,
    fault_of,
    fitting,
    in_blocks,
    read_names,
    table_is_there,
    usable,
)
from recommender.database.schema import INTERACTION_TYPES, deletions, interactions, products, ratings, users
from recommender.live import UserRecord
from recommender.model import ServedModel
from recommender.settings import LARGEST_ID
from recommender.shop import Product, Scale

_log = logging.getLogger("recommender")
Entry = tuple[bytes, int, int]
_KINDS = {name: kind for kind, name in enumerate(INTERACTION_TYPES)}


def optional_tables(engine: Engine) -> frozenset[str]:
    """Return the names of the optional tables that exist. DatabaseError."""
    return frozenset(existing_tables(engine) & {interactions.name, users.name, deletions.name})


def read_records(
    connection: Connection, user_ids: Iterable[int], there: frozenset[str], scale: Scale
) -> list[UserRecord]:
    """Return everything that a model takes from the tables about these users, given by their stored numbers.

    ``there``: `optional_tables`. ``scale``: of the model's ratings.
    """
    wanted = sorted({user_id for user_id in user_ids if 0 <= user_id <= LARGEST_ID})
    records = []
    for block in in_blocks(wanted):
        rated = _ratings(connection, block, scale)
        events = _events(connection, block) if interactions.name in there else {}
        people = _people(connection, block) if users.name in there else {}
        for user in block:
            person = people.get(user, (None, None))
            own = tuple(rated.get(user, ())), tuple(events.get(user, ()))
            records.append(UserRecord(user, *own, user in people, *person))
    return records


def with_names(connection: Connection, records: Iterable[UserRecord]) -> list[UserRecord]:
    """Return the records with what a shop of text ids calls their users."""
    by_number = {record.user_id: record for record in records}
    names = read_names(connection, list(by_number))
    return [replace(record, name=names[number]) for number, record in by_number.items()]


def read_differing(connection: Connection, model: ServedModel) -> set[int]:
    """Return the users that the model has and the tables lack, or whose number of ratings differs. Reads all rows."""
    good = usable(connection.engine, ratings, model.matrix.scale)
    rated = select(ratings.c.user_id, func.count()).where(good).group_by(ratings.c.user_id)
    now = {row[0]: row[1] for row in connection.execute(rated)}
    people = set(now)
    for table in (users, interactions):
        if table_is_there(connection, table.name):
            people |= set(connection.execute(select(table.c.user_id).distinct()).scalars())
    counts = np.diff(model.matrix.steps.indptr).tolist()
    differing = {u for u, n in zip(model.matrix.user_ids.tolist(), counts, strict=True) if now.get(u, 0) != n}
    return differing | set(model.known_users.tolist()) - people


def _ratings(connection: Connection, user_ids: Sequence[int], scale: Scale) -> dict[int, list[Entry]]:
    found = dict[int, list[Entry]]()
    for user, product, rating, at in _usable(connection, ratings, "rating", user_ids, scale):
        steps = scale.step_of(float(rating))
        assert steps is not None  # usable
        found.setdefault(user, []).append((product.encode(), steps, int(at)))
    return found


def _events(connection: Connection, user_ids: Sequence[int]) -> dict[int, list[Entry]]:
    found = dict[int, list[Entry]]()
    for user, product, kind, at in _usable(connection, interactions, "interaction_type", user_ids):
        found.setdefault(user, []).append((product.encode(), _KINDS[kind], int(at)))
    return found


def _usable(
    connection: Connection, table: Table, name: str, user_ids: Sequence[int], scale: Scale | None = None
) -> Iterator[tuple[Any, ...]]:
    """Yield the user, the product, the value of column ``name`` and the microsecond of each usable row of the users."""
    engine, c = connection.engine, table.c
    # unconverted: a text in the place of a number must reach the check
    values: list[Any] = [literal_column(column) for column in ("user_id", "product_id", name)]
    statement = select(*values, event_time(engine, c.created_at, "at"), fault_of(engine, table, scale))
    for *row, fault in connection.execute(statement.select_from(table).where(c.user_id.in_(user_ids))):
        if fault is None:
            yield tuple(row)
        else:
            user, product, value, _ = row
            _log.warning(
                "left out: user %.40r, product %.40r, %s %.40r: the %s is not usable", user, product, name, value, fault
            )


def _people(connection: Connection, user_ids: Sequence[int]) -> dict[int, tuple[str | None, str | None]]:
    c, text = users.c, pa.string()
    statement = select(c.user_id, c.country, c.age_group).where(c.user_id.in_(user_ids))
    return {
        user: (fitting(country, text), fitting(age_group, text))
        for user, country, age_group in connection.execute(statement)
    }


def read_facts(connection: Connection, product_ids: Iterable[bytes]) -> dict[bytes, Product | None]:
    """Return what the catalog says of these products; None for a product that is not in it."""
    wanted = sorted(product_ids)
    facts: dict[bytes, Product | None] = dict.fromkeys(wanted)
    c = products.c
    for block in in_blocks(wanted):
        names = [name.decode() for name in block]
        told: list[Any] = [literal_column(name) for name in ("asin", "title", "price", "stars", "category_id")]
        for asin, *values in connection.execute(select(*told).select_from(products).where(c.asin.in_(names))):
            facts[asin.encode()] = as_product(*values)
    return facts
