"""The segments of the cold-start ladder: people of one country and one age group, as small whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.bulk_read import read_table
from recommender.schema import users
from recommender.tables import existing_tables

UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Segments:
    """``names``: (country, age group) of segments 0, 1, ..., ascending; ``codes`` (n,): those of the users asked for.

    A code is -1 where the user is not in the table, or country or age group is missing.
    """

    names: tuple[tuple[str, str], ...]
    codes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.names)

    def at(self, places: NDArray[np.intp]) -> Segments:
        """The same segments for some of the users asked for, or for all in another order."""
        return Segments(self.names, self.codes[places])

    def code_of(self, country: str | None, age_group: str | None) -> int:
        """The segment of a user who is not among those asked for; -1 if there is none."""
        wanted = (country or "", age_group or "")
        return self.names.index(wanted) if wanted in self.names else UNKNOWN


def read_segments(engine: Engine, user_ids: NDArray[np.int64]) -> Segments:
    """The segments of all people in ``users``, and which these users (n,), in any order, are in. DatabaseError.

    Numbered in the order of the names, whoever is asked for: the same people give the same numbers in any database.
    """
    nobody = Segments((), np.full(len(user_ids), UNKNOWN, np.int32))
    if users.name not in existing_tables(engine):
        return nobody
    columns = [users.c.user_id, users.c.country, users.c.age_group]
    table = read_table(engine, columns, order_by=users.c.user_id)
    countries, country = _ranks(table["country"])
    ages, age = _ranks(table["age_group"])
    known = (country >= 0) & (age >= 0)
    if not known.any():
        return nobody
    pairs, codes = np.unique(country[known] * len(ages) + age[known], return_inverse=True)
    listed = table["user_id"].to_numpy()[known]
    at = np.minimum(np.searchsorted(listed, user_ids), len(listed) - 1)
    found = np.where(listed[at] == user_ids, codes[at], UNKNOWN)
    names = tuple((countries[pair // len(ages)], ages[pair % len(ages)]) for pair in pairs.tolist())
    return Segments(names, found.astype(np.int32))


def _ranks(texts: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct texts ascending by code point, and the place of each row's among them; -1 for NULL and blanks."""
    encoded = pa.concat_arrays([*texts.chunks, pa.array([], pa.string())]).dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    names = sorted(text for text in distinct if text.strip())
    place = {text: rank for rank, text in enumerate(names)}
    ranks = np.array([place.get(text, UNKNOWN) for text in distinct] + [UNKNOWN], np.int64)
    return names, ranks[encoded.indices.fill_null(len(distinct)).to_numpy()]
