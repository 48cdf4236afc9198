"""The OpenAPI document in the words of the shop: in the scale of its ratings, and with texts for user ids.

The routes describe the default: half stars up to 5, and ids that are numbers.
"""

from __future__ import annotations

from typing import Any

from recommender.service.json_body import rating_rule
from recommender.service.product_json import STARS_ITEM
from recommender.shop import HALF_STARS, LONGEST_USER_ID, Scale

_ENDS = STARS_ITEM["minimum"], STARS_ITEM["maximum"]
_MEANS = ("predicted_rating", "mean_rating")  # in examples
_TEXT = {"type": "string", "minLength": 1, "maxLength": LONGEST_USER_ID, "description": "The shop's id, exactly."}


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


def document_texts(document: Any) -> None:
    """Change an OpenAPI document to say that user ids are texts: of parameters, bodies and answers."""
    if isinstance(document, list):
        for part in document:
            document_texts(part)
    if not isinstance(document, dict):
        return
    if document.get("name") == "user_id" and "schema" in document:
        document |= {"schema": _TEXT, "example": "C-0042", "description": "A user, by the shop's id."}
    for name, part in document.items():
        if name == "properties" and isinstance(part, dict):
            part |= {"user_id": _TEXT} if "user_id" in part else {}
            for several in {"user_ids", "unknown"} & part.keys():
                part[several] = part[several] | {"items": _TEXT}
        if name in ("example", "examples"):
            _name_examples(part)
        else:
            document_texts(part)


def _name_examples(example: Any) -> None:
    """Spell the numbers of users in an example as texts."""
    if isinstance(example, list):
        for part in example:
            _name_examples(part)
    if not isinstance(example, dict):
        return
    for name, value in example.items():
        if name == "user_id" and isinstance(value, int):
            example[name] = f"C-{value:04d}"
        elif name in ("user_ids", "unknown") and isinstance(value, list):
            example[name] = [f"C-{one:04d}" if isinstance(one, int) else one for one in value]
        else:
            _name_examples(value)
