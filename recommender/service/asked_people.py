"""Requests about people by their user_id, and the answer to them while the user_ids mean others than the model's."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from recommender.model.served_model import ServedModel
from recommender.service.problems import problem

_PEOPLE = ("/recommendations/", "/users/")
_WRITES = frozenset({"/ratings", "/interactions"})


def means_others(state: Any, model: ServedModel | None) -> bool:
    """Do the user_ids of the database mean other people than the model's? Not as far as is known before the first look.

    ``state.people`` is the token that was read last (`recommender.database.identities`). It is held against the very
    model that would answer, so that no request finds a new token beside an old model.
    """
    return model is not None and getattr(state, "people", model.people) != model.people


def about_people(method: str, path: str) -> bool:
    """Does the request name somebody by user_id? A basket, the products and the service's state do not.

    >>> about_people("GET", "/recommendations/42"), about_people("POST", "/recommendations")
    (True, False)
    """
    return path.startswith(_PEOPLE) or (method == "POST" and path in _WRITES)


def refuse_other_people() -> Response:
    """503 until a model of the people in the tables is served."""
    detail = (
        "step 2 replaced the people in the database, so a user_id means somebody else than in the served model: a "
        "model of these is being made, or comes with the next python recommendation_engine.py --save-model"
    )
    return problem(503, detail, headers={"Retry-After": "5"})
