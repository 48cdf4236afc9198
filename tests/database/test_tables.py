"""Tables that are there: ids in blocks that a statement may ask for at once."""

from __future__ import annotations

from recommender.database import in_blocks


def test_blocks_hold_all_ids_in_their_order_and_never_more_than_an_older_sqlite_takes() -> None:
    blocks = list(in_blocks(range(2_001)))
    assert [number for block in blocks for number in block] == list(range(2_001))
    assert max(map(len, blocks)) <= 999
    assert list(in_blocks([])) == []
