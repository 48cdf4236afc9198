"""Existing tables: ids in blocks that one statement may ask for."""

from __future__ import annotations

from recommender.database import in_blocks


def test_blocks_hold_all_ids_in_order_and_fit_into_a_statement_of_an_older_sqlite() -> None:
    blocks = list(in_blocks(range(2_001)))
    assert [number for block in blocks for number in block] == list(range(2_001))
    assert max(map(len, blocks)) <= 999
    assert list(in_blocks([])) == []
