"""Requests about people by their user_id, and the answer to them while the user_ids mean others than the model's."""

from __future__ import annotations

from fastapi import Response

from recommender.service.problems import problem

_PEOPLE = ("/recommendations/", "/users/")
_WRITES = frozenset({"/ratings", "/interactions"})


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
