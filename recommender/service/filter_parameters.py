"""The filters of a list as query parameters: read by hand into a `Wish`, and described for the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fastapi import Request

from recommender.model.list_request import LARGEST_OFFSET, Wish
from recommender.service.parameters import LARGEST_LIMIT, LIMIT, limit_of, once, out_of_range, whole_number
from recommender.service.problems import NotInThisModelError, documented_problem
from recommender.shop.catalog import ProductCatalog

Errors = list[dict[str, str]]
Value = TypeVar("Value")

MOST_VALUES = 100
LARGEST_CATEGORY = 2**31 - 1
_ASIN = re.compile(r"[0-9A-Z]{10}")
_DECIMAL = re.compile(r"[0-9]{1,7}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


def _query(name: str, description: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, "example": example}


def _many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": MOST_VALUES}


OFFSET: dict[str, Any] = _query(
    "offset", "Skip so many.", {"type": "integer", "minimum": 0, "maximum": LARGEST_OFFSET, "default": 0}, 10
)
_PRICE = {"type": "number", "minimum": 0, "maximum": 9_999_999.99}
WISH_PARAMETERS = [
    LIMIT,
    OFFSET,
    _query(
        "category_id",
        "Only of this category; given several times, of any of these.",
        _many({"type": "integer", "minimum": 0, "maximum": LARGEST_CATEGORY}),
        [104],
    ),
    _query("min_price", "Only from this price on.", _PRICE, 5),
    _query("max_price", "Only up to this price.", _PRICE, 49.99),
    _query("min_stars", "Only with so many stars in the catalog.", {"type": "number", "minimum": 0, "maximum": 5}, 4),
    _query(
        "exclude",
        "Not this product; may be given several times.",
        _many({"type": "string", "pattern": "^[0-9A-Z]{10}$"}),
        ["B08N5WRWNW"],
    ),
    _query("diversity", "At most so many of one category.", {"type": "integer", "minimum": 1, "maximum": 100}, 2),
    _query(
        "in_stock_only",
        "Only what is in stock, where amazon_products has a column in_stock.",
        {"type": "string", "enum": ["true", "false"]},
        "true",
    ),
]


def wish_of(request: Request, default_limit: int, errors: Errors) -> Wish:
    """The wish of a request; what cannot be used is noted in ``errors`` and left out."""
    return Wish(
        limit=limit_of(request, default_limit, errors),
        offset=offset_of(request, errors),
        category_ids=frozenset(_each(request, "category_id", _category, errors)),
        min_price=_decimal(request, "min_price", 9_999_999.99, errors),
        max_price=_decimal(request, "max_price", 9_999_999.99, errors),
        min_stars=_decimal(request, "min_stars", 5.0, errors),
        exclude=frozenset(_each(request, "exclude", _product_id, errors)),
        diversity=_diversity(request, errors),
        in_stock_only=_in_stock_only(request, errors),
        new_rank=default_limit,
    )


NO_STOCK = documented_problem(
    "The catalog does not tell what is in stock.",
    status=409,
    detail="in_stock_only: amazon_products had no column in_stock when this model was made: add one, restart the API",
)


def check_stock(wish: Wish, catalog: ProductCatalog) -> None:
    """NotInThisModelError if the wish asks for what is in stock and the catalog does not tell."""
    if wish.in_stock_only and catalog.in_stock is None:
        missing = "amazon_products had no column in_stock when this model was made: add one, and restart the API"
        raise NotInThisModelError(f"in_stock_only: {missing}")


def _in_stock_only(request: Request, errors: Errors) -> bool:
    given = once(request, "in_stock_only", errors)
    if given not in (None, "true", "false"):
        errors.append(_refused("in_stock_only", str(given), "must be true or false"))
    return given == "true"


def offset_of(request: Request, errors: Errors, highest: int = LARGEST_OFFSET) -> int:
    """The parameter ``offset``; 0 if it is not given, or wrong and noted in ``errors``."""
    given = once(request, "offset", errors)
    offset = 0 if given is None else whole_number(given, highest, lowest=0)
    if offset is None:
        errors.append(_refused("offset", str(given), f"must be a whole number from 0 to {highest}"))
    return offset or 0


def _diversity(request: Request, errors: Errors) -> int | None:
    given = once(request, "diversity", errors)
    most = None if given is None else whole_number(given, LARGEST_LIMIT)
    if given is not None and most is None:
        errors.append(out_of_range("diversity", given, LARGEST_LIMIT))
    return most


def _decimal(request: Request, name: str, highest: float, errors: Errors) -> float | None:
    given = once(request, name, errors)
    if given is None:
        return None
    if _DECIMAL.fullmatch(given) and float(given) <= highest:
        return float(given)
    errors.append(_refused(name, given, f"must be a number from 0 to {highest:.10g}, such as 4.5"))
    return None


def _each(
    request: Request, name: str, read: Callable[[str], tuple[Value | None, str]], errors: Errors
) -> Iterable[Value]:
    values = request.query_params.getlist(name)
    if len(values) > MOST_VALUES:
        errors.append(_refused(name, values[MOST_VALUES], f"must be given {MOST_VALUES} times at most"))
    found = []
    for text in values[:MOST_VALUES]:
        value, rule = read(text)
        if value is None:
            errors.append(_refused(name, text, rule))
        else:
            found.append(value)
    return found


def _category(text: str) -> tuple[int | None, str]:
    return whole_number(text, LARGEST_CATEGORY, lowest=0), f"must be a whole number from 0 to {LARGEST_CATEGORY}"


def _product_id(text: str) -> tuple[str | None, str]:
    return (text if _ASIN.fullmatch(text) else None), "must be ten characters of 0-9 and A-Z"


def _refused(parameter: str, value: str, message: str) -> dict[str, str]:
    return {"parameter": parameter, "value": value[:100], "message": message}
