"""Where in the tables' changes a model stands: what came after can be asked for."""

from __future__ import annotations

from typing import NamedTuple


class Cursor(NamedTuple):
    """The newest of everything when the tables were read; 0: there was nothing."""

    updated_at: int = 0  # of the ratings, microseconds since 1970
    interaction_id: int = 0
    deletion_id: int = 0
    read_at: int = 0  # by the clock of whoever read


AT_THE_START = Cursor()
