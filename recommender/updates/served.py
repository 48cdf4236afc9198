"""The served model, and the people that the user_ids mean in the tables."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from recommender.live import LiveModel
from recommender.model import ServedModel

NOT_READ, ANNOUNCED = "", "announced"  # no tokens; announced: the user_ids are about to mean other people


@dataclass
class Served:
    """The state that `ModelUpdater` keeps up to date; a service adds its own to it."""

    model: LiveModel | None = None  # None: not loaded yet
    people: str | None = NOT_READ  # the token that was read last (`recommender.database.identities`), or ANNOUNCED
    due: float = inf  # ``perf_counter()`` until which ``people`` holds, see `recommender.updates.people_watch`

    def means_others(self, model: ServedModel | None) -> bool:
        """Return whether the people of the tables are others than the model's, or are about to be.

        False before the first look at them. ``model`` is the one that would answer, so no request compares a new
        token with an old model.
        """
        return model is not None and self.people not in (NOT_READ, model.people)
