"""The position of a model in the changes of the tables: the newest rating, interaction and deletion it has read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Spans = tuple[tuple[int, ...], ...]


class Cursor(NamedTuple):
    """The newest of everything when the tables were read; 0: there was nothing.

    The gaps and the newest ratings are noted too. They tell a row that became visible late from the rows that the
    model has.
    """

    updated_at: int = 0  # of the newest rating, microseconds since 1970
    interaction_id: int = 0
    deletion_id: int = 0
    read_at: int = 0  # microseconds since 1970, by the clock of the process that read
    interaction_gaps: Spans = ()  # (first, last) of ids below the newest that no row had
    deletion_gaps: Spans = ()
    ticks: Spans = ()  # of the newest ratings: (tick, rows, sum); see `recommender.updates.followed_ratings`
    skipped: tuple[int, ...] = ()  # (from, to), microseconds: a span with too many rows to be told apart

    @classmethod
    def from_json(cls, facts: Sequence[Any]) -> Cursor:
        """Return the cursor that was written as a list. Older lists have four numbers. TypeError, ValueError."""
        updated_at, interaction_id, deletion_id, read_at = (int(number) for number in facts[:4])
        first = cls(updated_at, interaction_id, deletion_id, read_at)
        if len(facts) == 4:
            return first
        gaps, more_gaps, ticks = (tuple(tuple(map(int, span)) for span in part) for part in facts[4:7])
        skipped = tuple(map(int, facts[7]))
        widths = {len(span) for span in (*gaps, *more_gaps)} - {2} | {len(span) for span in ticks} - {3}
        if widths or len(skipped) not in (0, 2):
            raise ValueError("the position in the tables' changes (cursor) is malformed")
        return cls(*first[:4], gaps, more_gaps, ticks, skipped)


NOTHING_READ = Cursor()
