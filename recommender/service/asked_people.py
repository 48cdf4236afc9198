"""Requests by user_id, and their refusal while the user_ids mean other people than in the served model.

They are refused also while other people are announced (`recommender.database.announcement`).
"""

from __future__ import annotations

from fastapi import Response

from recommender.service.problems import problem

_PEOPLE = ("/recommendations/", "/users/", "/ratings/", "/map/points/")
_BY_QUERY = frozenset({"/users", "/neighbors", "/ratings", "/rating", "/what-if", "/map/shopper", "/map/points"})
_WRITES = frozenset({"/interactions"})
OTHER_PEOPLE = (
    "step 2 replaced the people in the database, so a user_id means somebody else than in the served model: a "
    "model of these is being made, or comes with the next python recommendation_engine.py --save-model"
)

BEING_REPLACED = (
    "step 2 is replacing the people in the database, so a user_id is about to mean somebody else than in the served "
    "model: ask again in a few seconds"
)


def about_people(method: str, path: str) -> bool:
    """Tell whether the request names a user by user_id. Baskets, products and the service's state do not.

    >>> about_people("GET", "/recommendations/42"), about_people("POST", "/recommendations")
    (True, False)
    """
    if path.startswith(_PEOPLE) or path in _BY_QUERY:
        return True
    return path in _WRITES if method == "POST" else path == "/recommendations"


def refuse_other_people(*, announced: bool) -> Response:
    """Return 503, the answer until a model of the people in the tables is served."""
    return problem(503, BEING_REPLACED if announced else OTHER_PEOPLE, headers={"Retry-After": "5"})
