"""The JSON body of a request and its fields: pydantic checks the values; an answer names all faults at once.

NaN and Infinity are not JSON. A field that is given twice is refused, and so is a body that is nested too deeply.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Annotated, Any, NoReturn, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema
from starlette.requests import ClientDisconnect

from recommender.service.parameters import NO_PRODUCT_ID, NO_TEXT_ID
from recommender.service.problems import InvalidParameterError
from recommender.settings import LARGEST_ID
from recommender.shop import HALF_STARS, LONGEST_KNOWN_ID, Scale, checked_product_id, id_fault

Fields = TypeVar("Fields", bound=BaseModel)
Id = TypeVar("Id")  # of a user in a body: of type UserId or TextUserId

MOST_ERRORS = 10  # unknown fields that an answer names, and faults within a field


@dataclass(frozen=True)
class Rule:
    """What the value of a field must be, as an annotation for pydantic, and the message for every other value."""

    message: str
    schema: CoreSchema

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        return core_schema.custom_error_schema(self.schema, "refused", custom_error_message=self.message)


def whole_number(highest: int, message: str = "must be a whole number from {} to {}", *, lowest: int = 1) -> Rule:
    """Return the rule for a whole number from ``lowest`` to ``highest``.

    5.0 is whole to JSON Schema; True is no number.
    """
    whole = core_schema.int_schema(strict=True, ge=lowest, le=highest)
    real = core_schema.float_schema(strict=True, ge=lowest, le=min(highest, 2**53 - 1))
    either = [whole, core_schema.no_info_after_validator_function(_whole, real)]
    return Rule(message.format(lowest, highest), core_schema.union_schema([*either], mode="left_to_right"))


def one_of(choices: Sequence[str]) -> Rule:
    """Return the rule for one of these texts."""
    return Rule(f"must be {' or '.join(choices)}", core_schema.literal_schema([*choices]))


def _whole(number: float) -> int:
    if not number.is_integer():
        raise ValueError
    return int(number)


class _Steps:
    """A rating of the body as a whole number of steps of the scale that the body is read with."""

    @staticmethod
    def __get_pydantic_core_schema__(*_: object) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_steps)


def _steps(value: Any, info: ValidationInfo) -> int:
    scale: Scale = info.context or HALF_STARS
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            steps = scale.step_of(float(value))
        except OverflowError:  # a whole number of 400 digits
            steps = None
        if steps is not None:
            return steps
    raise PydanticCustomError("refused", "{rule}", {"rule": rating_rule(scale)})


def rating_rule(scale: Scale) -> str:
    """Return what a rating in a body must be."""
    return f"must be {scale.text(' stars' if scale == HALF_STARS else '')}"


_PRODUCT = core_schema.no_info_after_validator_function(checked_product_id, core_schema.str_schema(strict=True))


def _id_text(text: str) -> str:
    if id_fault(text, LONGEST_KNOWN_ID):
        raise ValueError
    return text


_ID_TEXT = core_schema.no_info_after_validator_function(_id_text, core_schema.str_schema(strict=True))


def id_text(message: str = NO_TEXT_ID) -> Rule:
    """Return the rule for a user id that is a text."""
    return Rule(message, _ID_TEXT)


TextUserId = Annotated[str, id_text()]
UserId = Annotated[int, whole_number(LARGEST_ID, lowest=0)]
ProductId = Annotated[str, Rule(NO_PRODUCT_ID, _PRODUCT)]
Steps = Annotated[int, _Steps]  # from a rating


async def read_body(
    request: Request, fields: type[Fields], noted: Sequence[dict[str, str]] = (), scale: Scale = HALF_STARS
) -> Fields:
    """Return the request's body: an object with all required ``fields``, and no others but the optional ones.

    ``scale``: of the ratings in it. Raises InvalidParameterError with all faults. Those of the values come after those
    ``noted`` in the parameters.
    """
    try:
        raw = await request.body()
    except ClientDisconnect:  # nobody reads the answer, and the service is not at fault
        raise InvalidParameterError([refused("body", "", "ended too early")]) from None
    return checked(_parsed(raw), fields, noted, scale)


def checked(
    body: dict[str, Any], fields: type[Fields], noted: Sequence[dict[str, str]] = (), scale: Scale = HALF_STARS
) -> Fields:
    """Return a parsed body as its ``fields``; `read_body` says what it raises."""
    known = fields.model_fields  # pydantic cannot name an unknown field with half a surrogate pair
    errors = [refused(name, "", "is missing") for name in known if name not in body and known[name].is_required()]
    unknown = [name for name in body if name not in known][:MOST_ERRORS]
    errors += [refused(name, body[name], f"is unknown; the fields are {', '.join(known)}") for name in unknown]
    if errors:
        raise InvalidParameterError(errors)
    try:
        return fields.model_validate(body, context=scale)
    except ValidationError as error:
        by_field = groupby(error.errors(include_url=False), lambda fault: fault["loc"][0])
    faults = [_entry(fault) for _, alike in by_field for fault in islice(alike, MOST_ERRORS)]
    raise InvalidParameterError([*noted, *faults])


def refused(name: str, value: object, message: str) -> dict[str, str]:
    """Return the entry in ``errors`` for a field."""
    return {"parameter": _sendable(name), "value": _shown(value), "message": message}


def fault(message: str, value: object) -> PydanticCustomError:
    """Return what a validator raises to refuse this value."""
    return PydanticCustomError("refused", message, {"value": _shown(value)})  # it cannot tell half a surrogate pair


def _entry(fault: ErrorDetails) -> dict[str, str]:
    name = next(part for part in reversed(fault["loc"]) if isinstance(part, str))
    return refused(name, fault.get("ctx", {}).get("value", fault["input"]), fault["msg"])


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # also numbers of thousands of digits
        start = raw[:100].decode("utf-8", "replace")
        raise InvalidParameterError([refused("body", start, "must be JSON in UTF-8")]) from None
    if not isinstance(body, dict):
        raise InvalidParameterError([refused("body", body, "must be a JSON object")])
    return body


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidParameterError([refused(name, value, "must be given once")])
        found[name] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "{...}" if isinstance(value, dict) else "[...]"
    if isinstance(value, float) and not math.isfinite(value):
        return "too large"
    return _sendable(str(value))


def _sendable(text: str) -> str:
    """Return the first 100 characters, without half surrogate pairs, which could not be sent."""
    return text[:100].encode("utf-8", "replace").decode("utf-8")
