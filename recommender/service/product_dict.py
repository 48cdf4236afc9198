"""One product in a list of the API, whatever the list: its fields, and what the OpenAPI document says of them."""

from __future__ import annotations

from typing import Any

from recommender.model.served_model import ServedModel

PRODUCT_ID_ITEM = {"type": "string", "minLength": 10, "maxLength": 10}
PRODUCT_NAME_ITEM = {"type": ["string", "null"]}
PRICE_ITEM = {"type": ["number", "null"], "minimum": 0}
STARS_ITEM = {"type": "number", "minimum": 0.5, "maximum": 5}


def listed(model: ServedModel, rank: int, column: int, **figures: Any) -> dict[str, Any]:
    """The product of a column at its rank, with the list's own figures before the price."""
    facts = model.products.facts(column)
    return {
        "rank": rank,
        "product_id": model.products.id_of(column),
        "product_name": facts.title,
        **figures,
        "price": facts.price,
    }


def listed_schema(
    figures: dict[str, Any], *, more: dict[str, Any] | None = None, optional: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The schema of what `listed` gives; ``more`` comes after the price, ``optional`` need not be there."""
    fields = {
        "rank": {"type": "integer", "minimum": 1},
        "product_id": PRODUCT_ID_ITEM,
        "product_name": PRODUCT_NAME_ITEM,
        **figures,
        "price": PRICE_ITEM,
        **(more or {}),
    }
    return {
        "type": "object",
        "required": list(fields),
        "additionalProperties": False,
        "properties": fields | (optional or {}),
    }
