"""The OpenAPI document in the scale of the shop's ratings. The routes describe the default: half stars up to 5."""

from __future__ import annotations

from typing import Any

from recommender.service.json_body import rating_rule
from recommender.service.product_json import STARS_ITEM
from recommender.shop import HALF_STARS, Scale

_ENDS = STARS_ITEM["minimum"], STARS_ITEM["maximum"]
_MEANS = ("predicted_rating", "mean_rating")  # in examples


def document_for_scale(document: Any, scale: Scale) -> Any:
    """Return a part of an OpenAPI document with the limits, texts and examples of this scale."""
    if scale == HALF_STARS:
        return document
    if isinstance(document, list):
        return [document_for_scale(part, scale) for part in document]
    if isinstance(document, str):
        rule, highest = rating_rule(HALF_STARS).removeprefix("must be "), f"{_ENDS[1]:g} stars"
        return document.replace(rule, scale.text()).replace(highest, f"{scale.ends[1]:g}")
    if not isinstance(document, dict):
        return document
    if (document.get("minimum"), document.get("maximum")) == _ENDS:
        ours = {"minimum": scale.ends[0], "maximum": scale.ends[1], "default": scale.ends[1], "multipleOf": scale.unit}
        return document | {name: value for name, value in ours.items() if name in document}
    return {name: _example(name, document_for_scale(part, scale), scale) for name, part in document.items()}


def _example(name: str, value: Any, scale: Scale) -> Any:
    """Return the value; if it is a rating of an example, one on the scale."""
    if not isinstance(value, int | float):
        return value
    if name == "rating":
        return scale.ends[1]
    return min(max(value, scale.ends[0]), scale.ends[1]) if name in _MEANS else value
