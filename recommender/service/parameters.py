"""The parameters of the HTTP routes: reads them by hand, and describes them for the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request

from recommender.model import ServedModel
from recommender.ranking import CLASSIC, RANKINGS
from recommender.service.openapi import query_parameter
from recommender.service.problems import Errors, InvalidParameterError, NotInThisModelError, documented_problem
from recommender.service.slashes import with_slashes
from recommender.settings import LARGEST_ID
from recommender.shop import (
    LONGEST_KNOWN_ID,
    LONGEST_USER_ID,
    PRODUCT_ID_FAULT,
    PRODUCT_ID_LENGTH,
    PRODUCT_ID_RULE,
    UserId,
    UserIds,
    id_fault,
    is_product_id,
    number_of,
)

LARGEST_LIMIT = 100
NO_PRODUCT_ID = f"must be {PRODUCT_ID_RULE}"
PRODUCT_ID_SCHEMA: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": PRODUCT_ID_LENGTH,
    "not": {"pattern": PRODUCT_ID_FAULT},
}
NO_TEXT_ID = (
    f"must be text of 1 to {LONGEST_USER_ID} characters without control characters or blanks at the ends, not . or .."
)
_POSITIVE = re.compile(r"[1-9][0-9]{0,18}")  # [0-9] and fullmatch: \d would accept digits of other scripts


def _numerals_up_to(highest: int) -> str:
    """Return a regular expression for the whole numbers from 0 to ``highest``, digits without a leading zero.

    The type integer of JSON Schema would also accept 42.0.
    """
    digits = str(highest)
    ways = ["0", f"[1-9][0-9]{{0,{len(digits) - 2}}}"]
    for at, digit in enumerate(digits):
        lowest = 0 if at else 1
        if int(digit) > lowest:
            ways.append(f"{digits[:at]}[{lowest}-{int(digit) - 1}][0-9]{{{len(digits) - at - 1}}}")
    return "|".join([*ways, digits])


USER_ID: dict[str, Any] = {
    "name": "user_id",
    "in": "path",
    "required": True,
    "description": "A user of users, product_ratings or user_interactions: digits without sign or leading zero.",
    "schema": {"type": "string", "pattern": f"^({_numerals_up_to(LARGEST_ID)})$"},
    "example": "42",
}
USER_ID_IN_QUERY = USER_ID | {
    "in": "query",
    "description": f"{USER_ID['description']} For ids that a path cannot hold, since proxies decode %2F.",
}
LIMIT = query_parameter(
    "limit",
    "How many products; TOP_N_RECOMMENDATIONS if not given.",
    {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT},
    2,
)
RANKING = query_parameter(
    "ranking", "How to rank; RANKING if not given.", {"type": "string", "enum": list(RANKINGS)}, "taste"
)
NOT_IN_THIS_MODEL = documented_problem(
    "The model was not made for this ranking.",
    status=409,
    detail="ranking auto is not in this model: make it with RANKING=auto",
)


def refused(parameter: str, value: str, message: str) -> dict[str, str]:
    """Return the entry in ``errors`` for a parameter."""
    return {"parameter": parameter, "value": value[:100], "message": message}


def whole_number(text: str, highest: int, *, lowest: int = 1) -> int | None:
    """Return ``text``, plain digits, as a whole number from ``lowest`` (1 or 0) to ``highest``; None if it is none."""
    if text == "0" and lowest == 0:
        return 0
    if _POSITIVE.fullmatch(text) and int(text) <= highest:
        return int(text)
    return None


def out_of_range(parameter: str, value: str, highest: int, *, lowest: int = 1) -> dict[str, str]:
    """Return the entry in ``errors`` for a value that is no whole number in this range."""
    return refused(parameter, value, f"must be a whole number from {lowest} to {highest}")


def user_id_of(text: str, ids: UserIds) -> UserId | None:
    """Return the shop's id that a path or query holds; None if it is none."""
    if ids.is_text:
        return None if id_fault(text, LONGEST_KNOWN_ID) else text
    return number_of(text)


def no_user_id(text: str, ids: UserIds) -> dict[str, str]:
    """Return the entry in ``errors`` for a text that is no id of a user."""
    return refused("user_id", text, NO_TEXT_ID) if ids.is_text else out_of_range("user_id", text, LARGEST_ID, lowest=0)


class RequestReader:
    """A reader of the parameters of one request; it notes all faults, and `done` reports them at once."""

    def __init__(self, query: bytes, path: Mapping[str, str] | None = None) -> None:
        self._path = {name: with_slashes(value) for name, value in (path or {}).items()}
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(query.decode(errors="replace"), keep_blank_values=True):
            self._values.setdefault(name, []).append(value)
        self.errors: Errors = []

    @classmethod
    def of(cls, request: Request) -> RequestReader:
        """Return a reader of the path and the query of this request."""
        return cls(request.scope["query_string"], request.path_params)

    def done(self) -> None:
        """Raise InvalidParameterError if any parameter was faulty."""
        if self.errors:
            raise InvalidParameterError(self.errors)

    def refuse(self, parameter: str, value: str, message: str) -> None:
        """Note a faulty parameter."""
        self.errors.append(refused(parameter, value, message))

    def all(self, name: str) -> list[str]:
        """Return the values of a parameter that may be given several times."""
        return self._values.get(name, [])

    def once(self, name: str) -> str | None:
        """Return the value of a parameter, the first one if it is given twice; None if it is not given."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            self.refuse(name, values[1], "must be given once")
        return values[0]

    def number(self, name: str, highest: int, *, lowest: int = 1) -> int | None:
        """Return a parameter as a whole number; None if it is not given or wrong."""
        given = self.once(name)
        number = None if given is None else whole_number(given, highest, lowest=lowest)
        if given is not None and number is None:
            self.errors.append(out_of_range(name, given, highest, lowest=lowest))
        return number

    def flag(self, name: str) -> bool:
        """Tell whether a parameter is given as true."""
        return self.choice(name, ("true", "false")) == "true"

    def choice(self, name: str, values: Sequence[str]) -> str | None:
        """Return a parameter that is one of these values; None if it is not given or is none of them."""
        given = self.once(name)
        if given is None or given in values:
            return given
        self.refuse(name, given, f"must be {' or '.join(values)}")
        return None

    def limit(self, default: int) -> int:
        """Return the parameter ``limit``."""
        return self.number("limit", LARGEST_LIMIT) or default

    def ranking(self) -> str | None:
        """Return the parameter ``ranking``; None if it is not given or unknown."""
        ranking = self.once("ranking")
        if ranking is not None and ranking not in RANKINGS:
            self.refuse("ranking", ranking, f"must be {' or '.join(RANKINGS)}")
        return ranking

    def user_id(self, ids: UserIds) -> UserId:
        """Return the user_id in the path, or else in the query; 0 if it is missing or not valid."""
        text = self._path["user_id"] if "user_id" in self._path else self.once("user_id")
        if text is None:
            self.refuse("user_id", "", "is missing")
            return 0
        user_id = user_id_of(text, ids)
        if user_id is None:
            self.errors.append(no_user_id(text, ids))
            return 0
        return user_id

    def product_id(self) -> str:
        """Return the product_id in the path, or else in the query."""
        given = self._path["product_id"] if "product_id" in self._path else self.once("product_id")
        if given is None:
            self.refuse("product_id", "", "is missing")
        elif not is_product_id(given):
            self.refuse("product_id", given, NO_PRODUCT_ID)
        return given or ""


def one_value(query: bytes, name: str) -> str:
    """Return a parameter that the query has to hold once. InvalidParameterError."""
    asked = RequestReader(query)
    value = asked.once(name)
    if value is None:
        asked.refuse(name, "", "is missing")
    asked.done()
    return str(value)


def check_served(ranking: str | None, model: ServedModel) -> None:
    """Raise NotInThisModelError if the model cannot answer by this ranking."""
    if ranking == CLASSIC and not model.n_ratings:
        raise NotInThisModelError("ranking classic needs ratings, and nobody has rated yet: leave ranking out")
    if ranking not in (None, *model.rankings):
        raise NotInThisModelError(f"ranking {ranking} is not in this model: make it with RANKING={ranking}")
