"""The segments of the cold start: people of one country and one age group, numbered from 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NO_SEGMENT = -1


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of all people, and the segment of each user asked for.

    ``names``: (country, age group) of segments 0, 1, ..., ascending. ``codes`` (n,): the segment of each user asked
    for; -1 where the user is not in the table, or country or age group is missing.
    """

    names: tuple[tuple[str, str], ...]
    codes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.names)

    def at(self, places: NDArray[np.intp]) -> Segments:
        """Return the same segments with the codes at these positions only, in their order."""
        return Segments(self.names, self.codes[places])


@dataclass(frozen=True, eq=False)
class People:
    """The people in the table ``users``: ids (n,) ascending, and country and age group of each, null if not known.

    ``left_out``: rows of the table that are not here because their id is not valid.
    """

    user_ids: NDArray[np.int64]
    countries: pa.ChunkedArray
    age_groups: pa.ChunkedArray
    left_out: Mapping[str, int] = field(default_factory=dict)

    def segments(self, user_ids: NDArray[np.int64]) -> Segments:
        """Return the segments of all people, and the segment of each of these users (n,), in any order.

        Segments are numbered in the order of their names, for any ``user_ids``. So the same people give the same
        numbers in any database.
        """
        countries, country = _ranks(self.countries)
        ages, age = _ranks(self.age_groups)
        known = (country >= 0) & (age >= 0)
        if not known.any():
            return Segments((), np.full(len(user_ids), NO_SEGMENT, np.int32))
        pairs, codes = np.unique(country[known] * len(ages) + age[known], return_inverse=True)
        listed = self.user_ids[known]
        at = np.minimum(np.searchsorted(listed, user_ids), len(listed) - 1)
        found = np.where(listed[at] == user_ids, codes[at], NO_SEGMENT)
        names = tuple((countries[pair // len(ages)], ages[pair % len(ages)]) for pair in pairs.tolist())
        return Segments(names, found.astype(np.int32))


def _ranks(texts: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct texts, ascending by code point, and the rank of each row's text among them.

    The rank of NULL and of blanks is -1.
    """
    encoded = pa.concat_arrays([*texts.chunks, pa.array([], pa.string())]).dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    names = sorted(text for text in distinct if text.strip())
    place = {text: rank for rank, text in enumerate(names)}
    ranks = np.array([place.get(text, NO_SEGMENT) for text in distinct] + [NO_SEGMENT], np.int64)
    return names, ranks[encoded.indices.fill_null(len(distinct)).to_numpy()]
