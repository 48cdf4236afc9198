"""Whether a user_id means another person in the tables than in the served model."""

from __future__ import annotations

from typing import Any

from recommender.model import ServedModel


def means_others(state: Any, model: ServedModel | None) -> bool:
    """Return whether the people of the tables are others than the model's; False before the first look at them.

    ``state.people`` is the token that was read last (`recommender.database.identities`). It is compared with that of
    the model that would answer, so that no request finds a new token beside an old model.
    """
    return model is not None and getattr(state, "people", model.people) != model.people
