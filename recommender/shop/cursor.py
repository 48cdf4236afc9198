"""Where in the tables' changes a model stands: what came after can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Spans = tuple[tuple[int, ...], ...]


class Cursor(NamedTuple):
    """The newest of everything when the tables were read; 0: there was nothing.

    What was not there yet, or was there only just, is noted too, so that a row that becomes visible late is told from
    those that the model has.
    """

    updated_at: int = 0  # of the ratings, microseconds since 1970
    interaction_id: int = 0
    deletion_id: int = 0
    read_at: int = 0  # by the clock of whoever read
    interaction_gaps: Spans = ()  # first and last of the ids below the newest that no row had
    deletion_gaps: Spans = ()
    ticks: Spans = ()  # of the newest ratings, see `recommender.updates.followed_ratings`: tick, rows, sum
    skipped: tuple[int, ...] = ()  # from and to, microseconds: too many rows to be told apart

    @classmethod
    def from_json(cls, facts: Sequence[Any]) -> Cursor:
        """The cursor that was written as a list; older ones have four numbers. TypeError, ValueError."""
        updated_at, interaction_id, deletion_id, read_at = (int(number) for number in facts[:4])
        first = cls(updated_at, interaction_id, deletion_id, read_at)
        if len(facts) == 4:
            return first
        gaps, more_gaps, ticks = (tuple(tuple(map(int, span)) for span in part) for part in facts[4:7])
        skipped = tuple(map(int, facts[7]))
        widths = {len(span) for span in (*gaps, *more_gaps)} - {2} | {len(span) for span in ticks} - {3}
        if widths or len(skipped) not in (0, 2):
            raise ValueError("its place in the tables' changes is not one")
        return cls(*first[:4], gaps, more_gaps, ticks, skipped)


AT_THE_START = Cursor()
