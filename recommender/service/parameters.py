"""Parameters of the HTTP routes: read by hand from the bare request, and described for the OpenAPI document."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request

from recommender.model.served_model import ServedModel
from recommender.ranking.rankings import RANKINGS
from recommender.service.problems import NotInThisModelError, documented_problem
from recommender.settings import LARGEST_ID

LARGEST_LIMIT = 100
_POSITIVE = re.compile(r"[1-9][0-9]{0,18}")  # [0-9] and fullmatch: \d would let other scripts' digits in


def _numerals_up_to(highest: int) -> str:
    """A regular expression for the whole numbers from 1 on, as digits without a leading zero.

    Of the type integer 42.0 would be one too.
    """
    digits = str(highest)
    ways = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"]
    for at, digit in enumerate(digits):
        lowest = 0 if at else 1
        if int(digit) > lowest:
            ways.append(f"{digits[:at]}[{lowest}-{int(digit) - 1}][0-9]{{{len(digits) - at - 1}}}")
    return "|".join([*ways, digits])


USER_ID: dict[str, Any] = {
    "name": "user_id",
    "in": "path",
    "required": True,
    "description": "A user of users or product_ratings: digits without sign or leading zero.",
    "schema": {"type": "string", "pattern": f"^({_numerals_up_to(LARGEST_ID)})$"},
    "example": "42",
}
LIMIT: dict[str, Any] = {
    "name": "limit",
    "in": "query",
    "description": "How many products; TOP_N_RECOMMENDATIONS if not given.",
    "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT},
    "example": 2,
}

RANKING: dict[str, Any] = {
    "name": "ranking",
    "in": "query",
    "description": "How to rank; RANKING if not given.",
    "schema": {"type": "string", "enum": list(RANKINGS)},
    "example": "taste",
}
NOT_IN_THIS_MODEL = documented_problem(
    "The model was not made for this ranking.",
    status=409,
    detail="ranking auto is not in this model: make it with RANKING=auto",
)


def documented_json(schema: dict[str, Any], example: Any, description: str, **more: Any) -> dict[str, Any]:
    """A response for the OpenAPI document."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"description": description, "content": content, **more}


def documented_refusal(parameter: str, value: str, message: str) -> dict[str, Any]:
    """The response to a parameter that cannot be used, for the OpenAPI document."""
    return documented_problem(
        "A parameter cannot be used.",
        status=422,
        detail=f"{parameter}: {message}",
        errors=[{"parameter": parameter, "value": value, "message": message}],
    )


def once(request: Request, name: str, errors: list[dict[str, str]]) -> str | None:
    """The value of a query parameter; one that is given twice is an error."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        errors.append({"parameter": name, "value": values[1][:100], "message": "must be given once"})
    return values[0] if values else None


def whole_number(text: str, highest: int, *, lowest: int = 1) -> int | None:
    """The plain whole number that ``text`` is, from ``lowest``, 1 or 0, up to ``highest``; None if it is none."""
    if text == "0" and lowest == 0:
        return 0
    if _POSITIVE.fullmatch(text) and int(text) <= highest:
        return int(text)
    return None


def out_of_range(parameter: str, value: str, highest: int) -> dict[str, str]:
    """The entry in ``errors`` for a number that is none or too large."""
    return {"parameter": parameter, "value": value[:100], "message": f"must be a whole number from 1 to {highest}"}


def limit_of(request: Request, default: int, errors: list[dict[str, str]]) -> int:
    """The parameter ``limit``; ``default`` if it is not given, or wrong and noted in ``errors``."""
    given = once(request, "limit", errors)
    limit = default if given is None else whole_number(given, LARGEST_LIMIT)
    if given is not None and limit is None:
        errors.append(out_of_range("limit", given, LARGEST_LIMIT))
    return default if limit is None else limit


def user_id_of(request: Request, errors: list[dict[str, str]]) -> int:
    """The user_id in the path; 0 if it is none and noted in ``errors``."""
    text: str = request.path_params["user_id"]
    user_id = whole_number(text, LARGEST_ID)
    if user_id is None:
        errors.append(out_of_range("user_id", text, LARGEST_ID))
    return user_id or 0


def ranking_of(request: Request, errors: list[dict[str, str]]) -> str | None:
    """The ranking that is asked for, None: not given; one nobody knows is noted in ``errors``."""
    ranking = once(request, "ranking", errors)
    if ranking is not None and ranking not in RANKINGS:
        known = " or ".join(RANKINGS)
        errors.append({"parameter": "ranking", "value": ranking[:100], "message": f"must be {known}"})
    return ranking


def check_served(ranking: str | None, model: ServedModel) -> None:
    """NotInThisModelError if the model cannot answer by this ranking."""
    if ranking not in (None, *model.rankings):
        raise NotInThisModelError(f"ranking {ranking} is not in this model: make it with RANKING={ranking}")
