"""Rows of changed users: a version keeps its rows when rows are added later, and memory stays in bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.live.changed_rows import SPARE, ChangedRows, Growing

WRITES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.integers(0, 40)), max_size=40)


def added(rows: ChangedRows, user: int, size: int) -> ChangedRows:
    entries = np.arange(size, dtype=np.uint32) + np.uint32(100 * user + size)
    return rows.replaced(user, entries, entries / 8.0, float(size), float(user))


def shown(rows: ChangedRows) -> dict[int, Any]:
    """The present row of each user."""
    spans = {row: slice(*rows.indptr[row : row + 2].tolist()) for row in rows.now.tolist()}
    return {
        int(rows.user_ids[row]): (
            rows.entries[span].tolist(), rows.values[span].tolist(), rows.norms[row], rows.bases[row]
        )
        for row, span in spans.items()
    }  # fmt: skip


@settings(deadline=None)
@given(writes=WRITES)
def test_each_version_keeps_its_rows_also_after_versions_diverge(writes: list[tuple[int, int, int]]) -> None:
    """Each write continues any of the versions."""
    versions, expected = [ChangedRows.none()], [dict[int, Any]()]
    for before, user, size in writes:
        before %= len(versions)
        versions.append(added(versions[before], user, size))
        alone = shown(added(ChangedRows.none(), user, size))
        expected.append({name: row for name, row in expected[before].items() if name != user} | alone)
    assert [shown(rows) for rows in versions] == expected


def test_rows_that_no_longer_count_are_dropped_in_time() -> None:
    rows = added(ChangedRows.none(), 1, 10)
    for _ in range(1_000):
        rows = added(rows, 2, 50)
        assert len(rows.entries) <= SPARE + 2 * 60 + 50
    assert set(shown(rows)) == {1, 2}


def test_the_last_array_grows_in_place() -> None:
    memory, more = Growing(np.int64), np.arange(10)
    first = memory.extended(np.empty(0, np.int64), more)
    second = memory.extended(first, more[:2])
    assert np.shares_memory(first, second)
    third = memory.extended(first, more[:3])
    assert not np.shares_memory(second, third)
    assert (first.tolist(), second[10:].tolist(), third[10:].tolist()) == ([*range(10)], [0, 1], [0, 1, 2])
