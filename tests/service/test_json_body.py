"""JSON bodies: which are accepted, and that every other body is refused and does no harm."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import Message

from recommender.service import json_body
from recommender.service.json_body import ProductId, Steps, UserId, one_of, read_body, whole_number
from recommender.service.problems import InvalidParameterError, problem
from recommender.shop import PRODUCT_ID_RULE


def request_with(body: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


class Body(BaseModel):
    a: Any
    b: Any = None


class Rating(BaseModel):
    user_id: UserId = 42
    product_id: ProductId = "B08N5WRWNW"
    rating: Steps = 10


class Wishes(BaseModel):
    limit: Annotated[int, whole_number(100)] = 0
    ranking: Annotated[str | None, one_of(("classic", "taste"))] = None
    numbers: list[Annotated[int, whole_number(100)]] = []


def read(body: bytes | str) -> Body:
    raw = body if isinstance(body, bytes) else body.encode()
    return asyncio.run(read_body(request_with(raw), Body))


def faults_in(body: dict[str, Any], fields: type[BaseModel] = Rating) -> list[dict[str, str]]:
    with pytest.raises(InvalidParameterError) as refused:
        json_body.checked(body, fields)
    problem(422, "sendable", errors=refused.value.errors)
    return refused.value.errors


def errors_of(body: bytes | str) -> list[dict[str, str]]:
    with pytest.raises(InvalidParameterError) as refused:
        read(body)
    problem(422, "sendable", errors=refused.value.errors)
    return refused.value.errors


def test_an_object_with_its_fields_is_accepted() -> None:
    assert read('{"a": 1}') == Body(a=1)
    assert read(' {"b": null, "a": [true]}\n') == Body(a=[True], b=None)


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
    assert len(errors_of(json.dumps({f"x{n}": n for n in range(5_000)}))) == 1 + json_body.MOST_ERRORS


LARGEST = 2**63 - 1


NO_IDS: list[Any] = [-1, LARGEST + 1, 10**400, True, 1.5, 1e300, float("inf"), "1", None, [], {}, "\ud800"]


@pytest.mark.parametrize("value", [0, 1, 5.0, 2.0**53 - 1, LARGEST])
def test_a_user_id_is_a_whole_number_in_range(value: Any) -> None:
    user_id = json_body.checked({"user_id": value}, Rating).user_id
    assert (user_id, type(user_id)) == (value, int)


@pytest.mark.parametrize("value", [*NO_IDS, 2.0**53, float("nan")])
def test_what_is_no_user_id_is_refused(value: Any) -> None:
    assert [e["message"] for e in faults_in({"user_id": value})] == [f"must be a whole number from 0 to {LARGEST}"]


@pytest.mark.parametrize("value", ["B08N5WRWNW", "0123456789"])
def test_a_product_id_has_the_stated_characters(value: str) -> None:
    assert json_body.checked({"product_id": value}, Rating).product_id == value


@pytest.mark.parametrize(
    "value",
    [
        *["B08N5WRWNW\n", " B08N5WRWNW", "x" * 65, "..", "", "\ud800", "\ufffd", "\x85"],
        *[1234567890, None, ["B08N5WRWNW"], True],
    ],
)
def test_what_is_no_product_id_is_refused(value: Any) -> None:
    assert [e["message"] for e in faults_in({"product_id": value})] == [f"must be {PRODUCT_ID_RULE}"]


@pytest.mark.parametrize(("stars", "halves"), [(0.5, 1), (4.5, 9), (5, 10), (5.0, 10)])
def test_stars_are_read_as_half_stars(stars: float, halves: int) -> None:
    steps = json_body.checked({"rating": stars}, Rating).rating
    assert (steps, type(steps)) == (halves, int)


@pytest.mark.parametrize(
    "value",
    [5.1, 5.5, 0, 0.0, 4.7, 4.500000001, True, "4", None, 10**400, [4]]
    + [float(text) for text in ("nan", "inf", "-inf")],
)
def test_stars_are_finite_in_range_and_in_half_steps(value: Any) -> None:
    assert [e["message"] for e in faults_in({"rating": value})] == ["must be 0.5 to 5.0 stars in half steps"]


def test_an_optional_field_has_a_default_and_null_is_refused() -> None:
    wishes = [json_body.checked(body, Wishes) for body in ({}, {"limit": 100, "ranking": "taste"})]
    assert [(wish.limit, wish.ranking) for wish in wishes] == [(0, None), (100, "taste")]
    assert faults_in({"ranking": None, "limit": None}, Wishes) == [
        {"parameter": "limit", "value": "null", "message": "must be a whole number from 1 to 100"},
        {"parameter": "ranking", "value": "null", "message": "must be classic or taste"},
    ]


def test_all_wrong_fields_are_named_and_at_most_ten_faults_of_each() -> None:
    named = [
        (e["parameter"], e["value"])
        for e in faults_in({"numbers": [*range(-19, 1)], "ranking": [], "limit": 101}, Wishes)
    ]
    assert named == [("limit", "101"), ("ranking", "[...]"), *(("numbers", str(n)) for n in range(-19, -9))]


@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: ('{"a": ' + text + "}").encode("utf-8", "replace"))
)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        assert read(body).model_fields_set >= {"a"}
    except InvalidParameterError as refused:
        problem(422, "sendable", errors=refused.errors)
