"""JSON bodies: which are accepted, and that every other body is refused and does no harm."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from recommender.service import json_body
from recommender.service.json_body import json_object
from recommender.service.problems import InvalidParameterError, problem


def request_with(body: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def read(body: bytes | str, required: tuple[str, ...] = ("a",), optional: tuple[str, ...] = ("b",)) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else body.encode()
    return asyncio.run(json_object(request_with(raw), required, optional))


def errors_of(body: bytes | str) -> list[dict[str, str]]:
    with pytest.raises(InvalidParameterError) as refused:
        read(body)
    problem(422, "sendable", errors=refused.value.errors)
    return refused.value.errors


def test_an_object_with_its_fields_is_accepted() -> None:
    assert read('{"a": 1}') == {"a": 1}
    assert read(' {"b": null, "a": [true]}\n') == {"b": None, "a": [True]}


@pytest.mark.parametrize(
    "body",
    [
        *["", " ", "{", "{'a': 1}", '{"a": 1,}', '{"a": 1} x', "\ufeff{}", '{"a": NaN}', '{"a": Infinity}'],
        *['{"a": -Infinity}', '{"a": 01}', b'{"a": "\xff"}', '{"a": 1}'.encode("utf-16"), '{"a": ' + "9" * 5_000 + "}"],
        *["[" * 60_000, '{"a":' * 10_000, '{"a": ' + "[" * 30_000 + "]" * 30_000 + "}", "\0"],
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes | str) -> None:
    assert [(e["parameter"], e["message"]) for e in errors_of(body)] == [("body", "must be JSON in UTF-8")]


@pytest.mark.parametrize("body", ["[]", "1", '"a"', "null", "true", "1e999"])
def test_json_that_is_no_object_is_refused(body: str) -> None:
    assert [(e["parameter"], e["message"]) for e in errors_of(body)] == [("body", "must be a JSON object")]


def test_unknown_missing_and_repeated_fields_are_refused_by_name() -> None:
    assert errors_of('{"c": 1, "\\ud800": [1]}') == [
        {"parameter": "a", "value": "", "message": "is missing"},
        {"parameter": "c", "value": "1", "message": "is unknown; the fields are a, b"},
        {"parameter": "?", "value": "[...]", "message": "is unknown; the fields are a, b"},
    ]
    assert errors_of('{"a": 1, "a": 2}') == [{"parameter": "a", "value": "2", "message": "must be given once"}]
    assert len(errors_of(json.dumps({f"x{n}": n for n in range(5_000)}))) == 1 + json_body.MOST_UNKNOWN


LARGEST = 2**63 - 1


NO_IDS: list[Any] = [0, -1, LARGEST + 1, 10**400, True, 1.5, 1e300, float("inf"), "1", None, [], {}, "\ud800"]


@pytest.mark.parametrize(("value", "right"), [(1, True), (LARGEST, True), *((value, False) for value in NO_IDS)])
def test_a_user_id_is_a_whole_number_in_range(value: Any, right: bool) -> None:
    errors: list[dict[str, str]] = []
    assert json_body.user_id_in({"user_id": value}, errors) == (value if right else 0)
    assert [e["message"] for e in errors] == ([] if right else [f"must be a whole number from 1 to {LARGEST}"])
    problem(422, "sendable", errors=errors)


@pytest.mark.parametrize(
    ("value", "right"),
    [("B08N5WRWNW", True), ("0123456789", True), ("b08n5wrwnw", False), ("B08N5WRWN", False), ("B08N5WRWNW\n", False)]
    + [(value, False) for value in ("B08N5WRWNWX", "Ｂ08N5WRWNW", "", 1234567890, None, ["B08N5WRWNW"], True)],
)
def test_a_product_id_has_the_stated_characters(value: Any, right: bool) -> None:
    errors: list[dict[str, str]] = []
    assert json_body.product_id_in({"product_id": value}, errors) == (value if right else "")
    assert len(errors) == (not right)


@pytest.mark.parametrize(
    ("value", "right"),
    [(0.5, True), (5, True), (5.0, True), (5.1, False), (0, False), (True, False)]
    + [(value, False) for value in ("4", None, float("nan"), float("inf"), float("-inf"), 10**400, [4])],
)
def test_a_number_is_finite_and_in_range(value: Any, right: bool) -> None:
    errors: list[dict[str, str]] = []
    assert json_body.number_in({"rating": value}, "rating", errors, lowest=0.5, highest=5) == (value if right else 0.0)
    assert [e["message"] for e in errors] == ([] if right else ["must be a number from 0.5 to 5"])
    problem(422, "sendable", errors=errors)


def test_an_optional_field_has_a_default_and_null_is_refused() -> None:
    errors: list[dict[str, str]] = []
    assert json_body.whole_number_in({}, "limit", errors, highest=100, default=10) == 10
    assert json_body.choice_in({}, "ranking", ("classic", "taste"), errors) is None
    assert errors == []
    assert json_body.whole_number_in({"limit": None}, "limit", errors, highest=100, default=10) == 10
    assert json_body.choice_in({"ranking": None}, "ranking", ("classic", "taste"), errors) is None
    assert [(e["parameter"], e["value"]) for e in errors] == [("limit", "null"), ("ranking", "null")]
    assert json_body.choice_in({"ranking": "taste"}, "ranking", ("classic", "taste"), errors) == "taste"


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: ('{"a": ' + text + "}").encode("utf-8", "replace"))
)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        assert "a" in read(body)
    except InvalidParameterError as refused:
        problem(422, "sendable", errors=refused.errors)
