"""The filters of a list as query parameters: read into a `ListRequest`, described for the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from recommender.model import LARGEST_LIST_OFFSET, ListRequest
from recommender.service.openapi import NATURAL, list_schema, query_parameter
from recommender.service.parameters import (
    LARGEST_LIMIT,
    LIMIT,
    NO_PRODUCT_ID,
    PRODUCT_ID_SCHEMA,
    RequestReader,
    whole_number,
)
from recommender.service.problems import NotInThisModelError, documented_problem
from recommender.shop import ProductCatalog, is_product_id

Value = TypeVar("Value")

MOST_VALUES = 100
LARGEST_CATEGORY = 2**31 - 1
_DECIMAL = re.compile(r"[0-9]{1,7}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


OFFSET = query_parameter(
    "offset",
    "How many products to skip.",
    NATURAL | {"maximum": LARGEST_LIST_OFFSET, "default": 0},
    10,
)
_SEVERAL = {"maxItems": MOST_VALUES}
_PRICE = {"type": "number", "minimum": 0, "maximum": 9_999_999.99}
LIST_PARAMETERS = [
    LIMIT,
    OFFSET,
    query_parameter(
        "category_id",
        "Only products of this category; given several times, of any of these.",
        list_schema(NATURAL | {"maximum": LARGEST_CATEGORY}) | _SEVERAL,
        [104],
    ),
    query_parameter("min_price", "Lowest price; leaves out prices that are not known.", _PRICE, 5),
    query_parameter("max_price", "Highest price; leaves out prices that are not known.", _PRICE, 49.99),
    query_parameter("min_stars", "Fewest stars in the catalog.", {"type": "number", "minimum": 0, "maximum": 5}, 4),
    query_parameter(
        "exclude",
        "Not this product; may be given several times.",
        list_schema(PRODUCT_ID_SCHEMA) | _SEVERAL,
        ["B08N5WRWNW"],
    ),
    query_parameter("diversity", "At most so many of a category.", LIMIT["schema"], 2),
    query_parameter(
        "in_stock_only",
        "Only what is in stock, where amazon_products has a column in_stock.",
        {"type": "string", "enum": ["true", "false"]},
        "true",
    ),
]


def list_request_of(asked: RequestReader, default_limit: int) -> ListRequest:
    """Return the list that the query asks for."""
    return ListRequest(
        limit=asked.limit(default_limit),
        offset=asked.number("offset", LARGEST_LIST_OFFSET, lowest=0) or 0,
        category_ids=_each(asked, "category_id", _category, f"must be a whole number from 0 to {LARGEST_CATEGORY}"),
        min_price=_decimal(asked, "min_price", 9_999_999.99),
        max_price=_decimal(asked, "max_price", 9_999_999.99),
        min_stars=_decimal(asked, "min_stars", 5.0),
        exclude=_each(asked, "exclude", _product_id, NO_PRODUCT_ID),
        diversity=asked.number("diversity", LARGEST_LIMIT),
        in_stock_only=asked.flag("in_stock_only"),
        new_rank=default_limit,
    )


NO_STOCK = documented_problem(
    "The catalog does not tell what is in stock.",
    status=409,
    detail="in_stock_only: amazon_products had no column in_stock when this model was made: add one, restart the API",
)


def check_stock(list_request: ListRequest, catalog: ProductCatalog) -> None:
    """Raise NotInThisModelError if the request asks for products in stock and the catalog does not tell."""
    if list_request.in_stock_only and catalog.in_stock is None:
        missing = "amazon_products had no column in_stock when this model was made: add one, and restart the API"
        raise NotInThisModelError(f"in_stock_only: {missing}")


def _decimal(asked: RequestReader, name: str, highest: float) -> float | None:
    given = asked.once(name)
    if given is None:
        return None
    if _DECIMAL.fullmatch(given) and float(given) <= highest:
        return float(given)
    asked.refuse(name, given, f"must be a number from 0 to {highest:.10g}, such as 4.5")
    return None


def _each(asked: RequestReader, name: str, read: Callable[[str], Value | None], message: str) -> frozenset[Value]:
    values, found = asked.all(name), []
    if len(values) > MOST_VALUES:
        asked.refuse(name, values[MOST_VALUES], f"must be given {MOST_VALUES} times at most")
    for text in values[:MOST_VALUES]:
        value = read(text)
        if value is None:
            asked.refuse(name, text, message)
        else:
            found.append(value)
    return frozenset(found)


def _category(text: str) -> int | None:
    return whole_number(text, LARGEST_CATEGORY, lowest=0)


def _product_id(text: str) -> str | None:
    return text if is_product_id(text) else None
