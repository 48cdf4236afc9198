"""The OpenAPI document of a shop whose user ids are texts."""

from __future__ import annotations

from typing import Any

from recommender.shop import LONGEST_USER_ID

_TEXT = {"type": "string", "minLength": 1, "maxLength": LONGEST_USER_ID, "description": "The shop's id, exactly."}


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
