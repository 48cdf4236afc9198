"""Segments: country and age group as small whole numbers, the same in both databases, unknown if a part is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, insert

from recommender.database import read_people, writing
from recommender.database.schema import metadata, users
from tests.support.shop import WHEN

PEOPLE: dict[int, tuple[str | None, str | None]] = {
    50: ("Spain", "25-34"),
    7: ("Germany", "65+"),
    8: ("Germany", "18-24"),
    9: ("Spain", "25-34"),
    2**62: ("Österreich", "65+"),
    10: (None, "65+"),
    11: ("Spain", None),
    12: (None, None),
    13: ("", "65+"),
    14: ("Spain", "  "),
    15: ("germany", "65+"),  # another country: a different spelling is a different segment
}
NAMES = (("Germany", "18-24"), ("Germany", "65+"), ("Spain", "25-34"), ("germany", "65+"), ("Österreich", "65+"))


def insert_people(engine: Engine, people: dict[int, tuple[str | None, str | None]]) -> None:
    metadata.create_all(engine)
    rows: list[dict[str, Any]] = [
        {"user_id": user, "country": country, "age_group": age, "created_at": WHEN}
        for user, (country, age) in people.items()
    ]
    with writing(engine) as connection:
        connection.execute(insert(users), rows)


def test_segments_are_numbered_by_name_and_found_for_any_users(engine: Engine) -> None:
    insert_people(engine, PEOPLE)
    asked = np.array([9, 7, 2**62, 8, 50, 15, 10, 11, 12, 13, 14, 1, 2**63 - 1, 7])
    found = read_people(engine).segments(asked)
    assert found.names == NAMES
    assert len(found) == 5
    assert found.codes.dtype == np.int32
    assert found.codes.tolist() == [2, 1, 4, 0, 2, 3, -1, -1, -1, -1, -1, -1, -1, 1]
    # the numbers do not depend on the users asked for
    assert read_people(engine).segments(np.array([50])).codes.tolist() == [2]
    assert read_people(engine).segments(np.empty(0, np.int64)).codes.tolist() == []


@pytest.mark.parametrize("people", [{}, {7: (None, None), 9: ("Spain", None)}])
def test_nobody_is_in_a_segment_if_nothing_is_known(
    engine: Engine, people: dict[int, tuple[str | None, str | None]]
) -> None:
    if people:
        insert_people(engine, people)  # otherwise there is not even a table
    found = read_people(engine).segments(np.array([7, 8]))
    assert (found.names, found.codes.tolist()) == ((), [-1, -1])
    assert found.codes.dtype == np.int32
