"""The parameter ``ranking`` of the HTTP routes, and what the served model says to it."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from recommender.model.served_model import ServedModel
from recommender.ranking.rankings import RANKINGS
from recommender.service.parameters import once
from recommender.service.problems import NotInThisModelError, documented_problem

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
