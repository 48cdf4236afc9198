"""Ids of users: stored numbers and texts translate into each other, and order keys ascend as the texts' bytes do."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.shop import NUMBERS_AS_THEY_ARE, Interactions, TextIds, build_rating_matrix, id_fault, widened
from recommender.shop.user_ids import LARGEST_USER_ID

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=64).filter(
    lambda text: id_fault(text) is None
)
PEOPLE = st.dictionaries(NAMES, st.integers(0, LARGEST_USER_ID), min_size=1, max_size=12).filter(
    lambda people: len(set(people.values())) == len(people)
)


def made(people: dict[str, int]) -> TextIds:
    return TextIds.made(np.array([name.encode() for name in people]), np.array(list(people.values()), np.int64))


@settings(max_examples=200, deadline=None)
@given(PEOPLE, st.integers(0, 12))
def test_ids_and_numbers_translate_and_keys_ascend_by_bytes(people: dict[str, int], n_first: int) -> None:
    names = list(people)
    ids = made({name: people[name] for name in names[:n_first]})
    later = ids.with_later({people[name]: name for name in names[n_first:]})
    assert [later.number_of(name) for name in names] == list(people.values())
    assert [later.of(number) for number in people.values()] == names
    ordered = sorted(names, key=str.encode)
    keys = later.keys(np.array([people[name] for name in ordered], np.int64))
    assert (np.diff(keys) > 0).all()
    numbers = np.array([people[name] for name in names[:n_first]], np.int64)
    assert later.at(ids.keys(numbers)).tolist() == numbers.tolist()
    assert [name.decode() for name in later.all_of(np.array(list(people.values()))).tolist()] == names
    assert ids.know(np.array(list(people.values()))).tolist() == [place < n_first for place in range(len(names))]


def test_what_nobody_has_is_nobody() -> None:
    ids = made({"anna": 3, "é": 0})
    for wrong in ("Anna", "", "anna\x00", "annas", "x" * 100_000, "\ud800", 3, None, b"anna", True):
        assert ids.number_of(wrong) is None
    assert made({"a": 1}).with_later({1: "a"}) is not None
    assert ids.with_later({3: "anna"}) is ids, "nothing new"
    for number in ("3", True, -1, 2**63, 1.0, None):
        assert NUMBERS_AS_THEY_ARE.number_of(number) is None
    assert [NUMBERS_AS_THEY_ARE.number_of(one) for one in (0, 2**63 - 1)] == [0, 2**63 - 1]


def test_a_person_who_comes_again_has_the_new_number() -> None:
    again = made({"anna": 3, "ben": 4}).with_later({7: "anna"})
    assert (again.number_of("anna"), again.of(3), again.of(7)) == (7, "anna", "anna")
    assert (np.diff(again.keys(np.array([7, 4]))) > 0).all()


def test_the_rows_of_a_matrix_are_in_the_order_of_the_texts() -> None:
    ids = made({"b": 1, "é": 2, "a": 3, "B": 4, "later": 5})
    products, codes = np.array([b"p", b"q"]), np.array([0, 1, 0, 1])
    stars = np.array([2, 4, 6, 8], np.int8)
    users = np.array([1, 2, 3, 4])
    matrix = build_rating_matrix(users, products, codes, stars, in_catalog=np.ones(2, np.bool_), ids=ids)
    assert [matrix.user_of(row) for row in range(4)] == ["B", "a", "b", "é"]
    assert [matrix.row_of(name) for name in ("B", "a", "b", "é")] == [0, 1, 2, 3]
    assert matrix.steps.toarray().tolist() == [[0, 8], [6, 0], [2, 0], [0, 4]]
    assert matrix.rows_of(np.array([2, 5, 3, 99])).tolist() == [3, -1, 1, -1]
    log = Interactions(
        np.array([5, 1]), np.array([0, 1], np.int32), products, np.zeros(2, np.int8), np.zeros(2, np.int64)
    )
    wide = widened(matrix, log, np.ones(2, np.bool_))
    assert [wide.user_of(row) for row in range(5)] == ["B", "a", "b", "later", "é"]
    assert wide.steps.toarray().tolist() == [[0, 8], [6, 0], [2, 0], [0, 0], [0, 4]]
