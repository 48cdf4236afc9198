"""What the shop calls the users of its tables: itself by numbers, or by texts that ``user_id_map`` holds.

A service of the release before could write rows of users without a text. Such a user is called by the digits of the
stored number, or, where these are somebody's text, by the digits behind a ``#``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select

from recommender.database.bulk_read import read_table
from recommender.database.connection import database_errors
from recommender.database.identities import people_are_texts
from recommender.database.schema import interactions, user_id_map, users
from recommender.database.tables import existing_tables, in_blocks
from recommender.shop import NUMBERS_AS_THEY_ARE, TextIds, UserIds


def read_user_ids(engine: Engine, rated: NDArray[np.int64]) -> UserIds:
    """Return the ids of all users in the tables; ``rated`` (n,): the stored numbers in the ratings. DatabaseError.

    Read this after the ratings: a user is named in the transaction that enters the user.
    """
    there = existing_tables(engine)
    with database_errors(engine), engine.connect() as connection:
        if not people_are_texts(connection, there):
            return NUMBERS_AS_THEY_ARE
        nameless = _nameless(connection, there)
    texts, numbers = np.empty(0, np.bytes_), np.empty(0, np.int64)
    if user_id_map.name in there:
        table = read_table(engine, [user_id_map.c.user_id, user_id_map.c.external_id])
        table = table.filter(pc.and_(table["user_id"].is_valid(), table["external_id"].is_valid()))
        texts, numbers = _as_bytes(table["external_id"]), table["user_id"].to_numpy()
    ids = TextIds.made(texts, numbers)
    nameless |= set(rated[~ids.know(rated)].tolist())
    more = sorted(nameless - set(numbers.tolist()) if nameless else nameless)
    if not more:
        return ids
    called = _digits(more, lambda wanted: [ids.number_of(name) is not None for name in wanted])
    digits = np.array([name.encode() for name in called], np.bytes_)
    return TextIds.made(np.concatenate([texts, digits]), np.concatenate([numbers, np.array(more, np.int64)]))


def read_names(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    """Return the shop's texts of these stored numbers, as `read_user_ids` does."""
    c, found = user_id_map.c, dict[int, str]()
    for block in in_blocks(numbers):
        rows = connection.execute(select(c.user_id, c.external_id).where(c.user_id.in_(block)))
        found |= {number: name for number, name in rows if isinstance(name, str)}
    nameless = sorted(set(numbers) - found.keys())
    for number, name in zip(nameless, _digits(nameless, lambda wanted: _taken(connection, wanted)), strict=True):
        found[number] = name
    return found


def _taken(connection: Connection, wanted: Sequence[str]) -> list[bool]:
    c, taken = user_id_map.c, set[str]()
    for block in in_blocks(wanted):
        taken |= set(connection.execute(select(c.external_id).where(c.external_id.in_(block))).scalars())
    return [name in taken for name in wanted]


def _nameless(connection: Connection, there: set[str]) -> set[int]:
    """Return the stored numbers without a text in the tables beside the ratings."""
    found = set[int]()
    for table in (users, interactions):
        if table.name in there:
            distinct = select(table.c.user_id).distinct()
            if user_id_map.name in there:
                distinct = distinct.where(table.c.user_id.not_in(select(user_id_map.c.user_id)))
            found |= {number for number in connection.execute(distinct).scalars() if isinstance(number, int)}
    return {number for number in found if number >= 0}


def _digits(numbers: Iterable[int], taken: Callable[[list[str]], Iterable[bool]]) -> list[str]:
    plain = [str(number) for number in numbers]
    others: Mapping[str, bool] = dict(zip(plain, taken(plain), strict=False)) if plain else {}
    return [f"#{name}" if others.get(name) else name for name in plain]


def _as_bytes(texts: pa.ChunkedArray) -> NDArray[np.bytes_]:
    width = max(pc.max(pc.binary_length(texts)).as_py() or 1, 1)
    values: NDArray[Any] = texts.cast(pa.binary()).to_numpy(zero_copy_only=False)
    return values.astype(f"S{width}")
