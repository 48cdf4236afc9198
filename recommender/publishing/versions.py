"""One mechanism for versions: what a training run made, from what, and which one people are served.

A version is the outcome of one run: number, time, fingerprint of the data, settings, and, if it was evaluated, its
metrics. Its lists are a table of their own, and the published version's bears the plain name:

    recommendations            the lists of the published version
    recommendations__v6        the lists of version 6, kept for a roll-back
    model_versions             one row for each version there ever was: published, kept, or expired (lists dropped)

Publishing and rolling back rename tables and swap ``model_versions`` in the same step, so a reader sees the lists of
one version, whole, and ``model_versions`` names it. Killed at any moment, all is as before or all is as after. A model
file carries the record of its version in itself (see ``recommender.publishing.model_file``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Engine, func, select

from recommender.database.connection import database_errors, label, waiting_for_locks
from recommender.database.deletions_log import cut_log
from recommender.database.identities import require_people, token_of
from recommender.database.own_tables import (
    drop_own,
    keep_lists,
    kept_lists,
    lists_are_ours,
    note_published_lists,
    prepare_notes,
)
from recommender.database.schema import BATCH_TABLES, deletions, model_versions, recommendations
from recommender.database.staging.bulk_load import Move, Stage, drop_leftovers, staged
from recommender.database.tables import count_rows, existing_tables, refuse_foreign_tables
from recommender.errors import ForeignDataError, OtherPeopleError, UnknownVersionError
from recommender.publishing.erasures import drop_erased
from recommender.shop.cursor import Cursor

PUBLISHED, KEPT, EXPIRED = "published", "kept", "expired"
PEOPLE = "people"  # among a version's settings: the token of whom its user_ids mean (recommender.database.identities)
LEFT_OUT = "rows_left_out"  # among a version's metrics: those of the tables that it was not made from


@dataclass(frozen=True)
class Version:
    """The record of one training run; ``state`` is published, kept or expired. Times are UTC, JSON round-trips."""

    number: int
    made_at: datetime
    fingerprint: str  # of what its lists are made of, see Snapshot.fingerprint
    n_ratings: int
    settings: Mapping[str, Any]
    n_rows: int = 0  # of the lists
    metrics: Mapping[str, Any] | None = None
    state: str = PUBLISHED

    def is_made_from(self, fingerprint: str, settings: Mapping[str, Any]) -> bool:
        """Same data, same settings: same lists."""
        return self.fingerprint == fingerprint and dict(self.settings) == dict(settings)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"made_at": self.made_at.isoformat(), "settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Version:
        """What ``to_dict`` gave; KeyError, TypeError or ValueError for anything else."""
        return cls(**(dict(values) | {"made_at": datetime.fromisoformat(values["made_at"])}))


def read_versions(engine: Engine) -> list[Version]:
    """All versions there ever were, oldest first. ForeignDataError if somebody else wrote into the table."""
    if model_versions.name not in existing_tables(engine):
        return []
    refuse_foreign_tables(engine, [model_versions])
    with database_errors(engine), engine.connect() as connection:
        rows = connection.execute(select(model_versions).order_by(model_versions.c.version)).mappings().all()
    try:
        return [_from_row(row) for row in rows]
    except (TypeError, ValueError) as error:
        message = f"{label(engine)}: table {model_versions.name} holds a row that is not ours ({error})"
        raise ForeignDataError(f"{message}; drop the table, the next batch starts with version 1") from None


def published_version(versions: Iterable[Version]) -> Version | None:
    """The one whose lists people read; None before the first."""
    return next((version for version in versions if version.state == PUBLISHED), None)


def published_number(connection: Connection) -> int | None:
    """The number of the published version; None if there is none, or no table of versions."""
    engine: Engine = connection.engine
    if not engine.dialect.has_table(connection, model_versions.name):
        return None
    found = select(model_versions.c.version).where(model_versions.c.state == PUBLISHED)
    return connection.execute(found).scalar()


def current_version(engine: Engine, fingerprint: str, settings: Mapping[str, Any]) -> Version | None:
    """The newest version made from this data and these settings whose lists are there, all of them; None without one.

    It need not be the published one: after a roll-back the newer version is only kept.
    """
    with database_errors(engine), engine.connect() as connection:
        there, kept = existing_tables(connection), kept_lists(connection)
    for version in reversed(read_versions(engine)):
        if version.state == EXPIRED or not version.is_made_from(fingerprint, settings):
            continue
        if version.state == KEPT:
            whole = version.number in kept
        else:
            whole = recommendations.name in there and count_rows(engine, recommendations) == version.n_rows
        if whole:
            return version
    return None


def was_refused(engine: Engine, version: Version) -> bool:
    """Whether the version is kept though it is newer than what is published."""
    published = published_version(read_versions(engine))
    return version.state == KEPT and (published is None or published.number < version.number)


def next_number(versions: Sequence[Version]) -> int:
    """1 for the first, then one more than the newest."""
    return versions[-1].number + 1 if versions else 1


def publish_lists(stage: Stage, new: Version, *, keep: int, since: Cursor, publish: bool = True) -> Version:
    """Make the lists loaded into ``stage`` version ``new``: published, or only kept. ``keep`` versions stay in all.

    ``stage`` must hold staging tables of ``recommendations`` and ``model_versions``. The number is given here, where
    no other run can interfere. Who was erased ``since`` the ratings were read is left out, also if there is a person of
    that id again. Returns the version as it was noted.
    """
    stage.hold()
    require_people(stage.engine, new.settings.get(PEOPLE))
    lists = stage.tables[recommendations]
    waiting_for_locks(stage.engine, [deletions.name], lambda: drop_erased(stage.connection, lists, since))
    # counted, since whoever was erased while they were loaded is gone from them already
    n_rows = int(stage.connection.execute(select(func.count()).select_from(lists)).scalar_one())
    new = replace(new, n_rows=n_rows)
    refuse_foreign_lists(stage.engine)
    before = _prepared(stage)
    new = replace(new, number=next_number(before), state=PUBLISHED if publish else KEPT)
    if publish:
        aside = _aside(stage, before)
        moves = [(recommendations.name, name) for name in aside.values()]
        before = [replace(version, state=KEPT) if version.state == PUBLISHED else version for version in before]
        note_published_lists(stage.connection)
    else:
        aside = {new.number: keep_lists(stage.connection, new.number)}
        moves = [(stage.tables[recommendations].name, name) for name in aside.values()]
    _swap(stage, [*before, new], moves, aside, keep=keep)
    if deletions.name in existing_tables(stage.engine):
        cut_log(stage.engine)
    return new


def refuse_foreign_lists(engine: Engine) -> None:
    """Raise ForeignDataError if the tables of lists and versions are there and this project did not fill them."""
    refuse_foreign_tables(engine, BATCH_TABLES)
    with database_errors(engine), engine.connect() as connection:
        if not lists_are_ours(connection):
            raise ForeignDataError(
                f"{label(engine)}: {recommendations.name} holds rows that no batch of this project wrote: rename the "
                "table, or give another DB_NAME or SQLITE_FILE"
            )


def drop_left_lists(engine: Engine) -> None:
    """Drop what a killed run left: staging tables, and the lists of versions that are not kept."""
    with database_errors(engine), engine.connect() as connection:
        left = _not_kept(read_versions(engine), kept_lists(connection))
    drop_leftovers(engine, BATCH_TABLES, also=left)


def _not_kept(versions: Iterable[Version], tables: Mapping[int, str]) -> list[str]:
    """Those of the ``tables`` of kept lists whose version is not kept."""
    kept = {version.number for version in versions if version.state == KEPT}
    return [name for number, name in tables.items() if number not in kept]


def _prepared(stage: Stage) -> list[Version]:
    """The versions there are, once the notes are there and what a killed run left is gone."""
    prepare_notes(stage.connection)
    versions = read_versions(stage.engine)
    drop_own(stage.connection, _not_kept(versions, kept_lists(stage.connection)))
    return versions


def roll_back(engine: Engine, number: int) -> Version:
    """Publish the lists of a kept version again, and keep those of the published one.

    Raises UnknownVersionError, naming the versions there are, if ``number`` is none of them or its lists are gone;
    OtherPeopleError if its user_ids do not mean the people in the tables.
    """
    refuse_foreign_lists(engine)
    with staged(engine, BATCH_TABLES) as stage:
        refuse_foreign_lists(engine)
        before = _prepared(stage)
        lists = kept_lists(stage.connection).get(number)
        target = next((version for version in before if version.number == number), None)
        if target is not None and target.state == PUBLISHED:
            return target
        if target is None or target.state == EXPIRED or lists is None:
            raise UnknownVersionError(number, [version.number for version in before if version.state == KEPT])
        if target.settings.get(PEOPLE) != token_of(engine):
            reason = f"version {number} is of other people than the user_ids mean now, and is not published again"
            raise OtherPeopleError(
                f"{label(engine)}: {reason}: python recommendation_engine.py makes a version of these"
            )
        after = [replace(version, state=KEPT) if version.state == PUBLISHED else version for version in before]
        after = [replace(version, state=PUBLISHED) if version.number == number else version for version in after]
        aside = _aside(stage, before)
        moves = [*((recommendations.name, name) for name in aside.values()), (lists, recommendations.name)]
        note_published_lists(stage.connection)
        _swap(stage, after, moves, aside, keep=len(after), leave=[stage.tables[recommendations].name])
    return replace(target, state=PUBLISHED)


def _aside(stage: Stage, before: Sequence[Version]) -> dict[int, str]:
    """Under which name the published lists are kept, by the number of their version."""
    published = published_version(before)
    if published is None or recommendations.name not in existing_tables(stage.engine):
        return {}
    return {published.number: keep_lists(stage.connection, published.number)}


def _swap(
    stage: Stage,
    versions: Sequence[Version],
    moves: Sequence[Move],
    aside: Mapping[int, str],
    *,
    keep: int,
    leave: Sequence[str] = (),
) -> None:
    """Note the versions, all but the newest ``keep`` as expired, rename, and drop the lists that have expired.

    ``aside``: the tables of kept lists that the renaming makes, by the numbers of their versions.
    """
    spare = [version.number for version in versions if version.state == KEPT]
    expired = set(spare[: max(0, len(spare) - (keep - 1))])
    versions = [replace(version, state=EXPIRED) if version.number in expired else version for version in versions]
    stage.load(model_versions, [_as_rows(versions)])
    gone = _not_kept(versions, {**kept_lists(stage.connection), **aside})
    stage.publish(moves, leave=leave, drop=gone)


def _from_row(row: Mapping[Any, Any]) -> Version:
    return Version(
        number=row["version"],
        made_at=row["made_at"].replace(tzinfo=UTC),
        fingerprint=row["fingerprint"],
        n_ratings=row["n_ratings"],
        settings=json.loads(row["settings"]),
        n_rows=row["n_rows"],
        metrics=json.loads(row["metrics"]) if row["metrics"] else None,
        state=row["state"],
    )


def _as_rows(versions: Sequence[Version]) -> pa.RecordBatch:
    times = [version.made_at.astimezone(UTC).replace(tzinfo=None) for version in versions]
    metrics = [None if v.metrics is None else json.dumps(dict(v.metrics), sort_keys=True) for v in versions]
    return pa.record_batch(
        {
            "version": pa.array([v.number for v in versions], pa.int32()),
            "state": pa.array([v.state for v in versions], pa.string()),
            "made_at": pa.array(times, pa.timestamp("us")),
            "fingerprint": pa.array([v.fingerprint for v in versions], pa.string()),
            "n_ratings": pa.array([v.n_ratings for v in versions], pa.int64()),
            "n_rows": pa.array([v.n_rows for v in versions], pa.int64()),
            "settings": pa.array([json.dumps(dict(v.settings), sort_keys=True) for v in versions], pa.string()),
            "metrics": pa.array(metrics, pa.string()),
        }
    )
