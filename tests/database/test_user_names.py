"""Any text id comes back from the tables as it went in; users without a text are called by their numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, insert

from recommender.database import number_of_text, read_names, read_user_ids, writing
from recommender.database.schema import interactions, metadata, user_id_map, users
from recommender.shop import NUMBERS_AS_THEY_ARE
from tests.shop.test_user_ids import NAMES
from tests.support.shop import WHEN

NOBODY = np.empty(0, np.int64)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(NAMES, min_size=1, max_size=40))
def test_text_ids_come_back_as_they_went_in(engine: Engine, names: set[str]) -> None:
    people = {name: number for number, name in enumerate(sorted(names), start=7)}
    metadata.create_all(engine)
    with writing(engine) as connection:
        connection.execute(delete(user_id_map))
        rows = [{"user_id": number, "external_id": name} for name, number in people.items()]
        connection.execute(insert(user_id_map), rows)
        assert {name: number_of_text(connection, name) for name in names} == people
        assert read_names(connection, list(people.values())) == {number: name for name, number in people.items()}
        assert number_of_text(connection, "nobody's id, since it is longer than sixty-four characters, by far") is None
    ids = read_user_ids(engine, NOBODY)
    assert {name: ids.number_of(name) for name in names} == people


def test_users_without_a_text_are_called_by_their_numbers(engine: Engine) -> None:
    metadata.create_all(engine)
    assert read_user_ids(engine, np.array([3])) is NUMBERS_AS_THEY_ARE
    event = {"product_id": "B000000001", "interaction_type": "view", "created_at": WHEN}
    with writing(engine) as connection:
        rows = [{"user_id": 1, "external_id": "7"}, {"user_id": 2, "external_id": "b"}]
        connection.execute(insert(user_id_map), rows)
        connection.execute(insert(users), [{"user_id": number, "created_at": WHEN} for number in (1, 7)])
        connection.execute(insert(interactions), [{"user_id": 8, **event}])
        assert read_names(connection, [1, 2, 7, 8, 9]) == {1: "7", 2: "b", 7: "#7", 8: "8", 9: "9"}
    ids = read_user_ids(engine, np.array([2, 9, 1, 9]))
    assert {name: ids.number_of(name) for name in ("7", "b", "#7", "8", "9")} == {
        "7": 1,
        "b": 2,
        "#7": 7,
        "8": 8,
        "9": 9,
    }
    assert ids.number_of("1") is None
