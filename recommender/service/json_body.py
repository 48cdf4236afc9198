"""The JSON body of a request and its fields, read by hand; an answer names all faults at once.

NaN and Infinity are not JSON. A field that is given twice is refused, and so is a body that is nested too deeply.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from fastapi import Request
from starlette.requests import ClientDisconnect

from recommender.service.parameters import ASIN, NO_ASIN
from recommender.service.problems import Errors, InvalidParameterError
from recommender.settings import LARGEST_ID

Body = dict[str, Any]

MOST_UNKNOWN = 10  # unknown fields that an answer names


async def json_object(request: Request, required: Sequence[str] = (), optional: Sequence[str] = ()) -> Body:
    """Return the request's body: an object with all ``required`` fields, and no others but the ``optional`` ones.

    Raises InvalidParameterError with all faults. The caller checks the values.
    """
    try:
        raw = await request.body()
    except ClientDisconnect:  # nobody reads the answer, and the service is not at fault
        raise InvalidParameterError([refused("body", "", "ended too early")]) from None
    body = _parsed(raw)
    errors = [refused(name, "", "is missing") for name in required if name not in body]
    known = {*required, *optional}
    unknown = [name for name in body if name not in known]
    allowed = f"is unknown; the fields are {', '.join([*required, *optional])}"
    errors += [refused(name, body[name], allowed) for name in unknown[:MOST_UNKNOWN]]
    if errors:
        raise InvalidParameterError(errors)
    return body


def refused(name: str, value: object, message: str) -> dict[str, str]:
    """Return the entry in ``errors`` for a field."""
    return {"parameter": _sendable(name), "value": _shown(value), "message": message}


def user_id_in(body: Body, errors: Errors, name: str = "user_id") -> int:
    """Return the id of a user in a required field; 0 if it is wrong and noted in ``errors``."""
    return whole_number_in(body, name, errors, highest=LARGEST_ID) or 0


def product_id_in(body: Body, errors: Errors, name: str = "product_id") -> str:
    """Return the id of a product in a required field; an empty text if it is wrong and noted in ``errors``."""
    value = body.get(name)
    if isinstance(value, str) and ASIN.fullmatch(value):
        return value
    errors.append(refused(name, value, NO_ASIN))
    return ""


def whole_number_in(
    body: Body, name: str, errors: Errors, *, lowest: int = 1, highest: int, default: int | None = None
) -> int | None:
    """Return the whole number in a field; ``default`` if it is missing, or wrong and noted in ``errors``."""
    if default is not None and name not in body:
        return default
    value: Any = body.get(name)
    if is_whole_number(value, lowest, highest):
        return int(value)
    errors.append(refused(name, value, f"must be a whole number from {lowest} to {highest}"))
    return default


def is_whole_number(value: Any, lowest: int, highest: int) -> bool:
    """Tell whether a value is a whole number in this range. True is an int to Python; 5.0 is whole to JSON Schema."""
    whole = type(value) is int or (type(value) is float and value.is_integer() and abs(value) < 2**53)
    return whole and lowest <= value <= highest


def number_in(body: Body, name: str, errors: Errors, *, lowest: float, highest: float) -> float:
    """Return the number in a required field; 0 if it is wrong and noted in ``errors``."""
    value: Any = body.get(name)
    if type(value) in (int, float) and lowest <= value <= highest:  # false for a float that is not finite
        return float(value)
    errors.append(refused(name, value, f"must be a number from {lowest:g} to {highest:g}"))
    return 0.0


def choice_in(body: Body, name: str, choices: Sequence[str], errors: Errors) -> str | None:
    """Return the choice in a field; None if it is missing, or wrong and noted in ``errors``."""
    if name not in body:
        return None
    value = body[name]
    if isinstance(value, str) and value in choices:
        return value
    errors.append(refused(name, value, f"must be {' or '.join(choices)}"))
    return None


def _parsed(raw: bytes) -> Body:
    try:
        body = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # also numbers of thousands of digits
        start = raw[:100].decode("utf-8", "replace")
        raise InvalidParameterError([refused("body", start, "must be JSON in UTF-8")]) from None
    if not isinstance(body, dict):
        raise InvalidParameterError([refused("body", body, "must be a JSON object")])
    return body


def _object(pairs: Iterable[tuple[str, Any]]) -> Body:
    found: Body = {}
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
