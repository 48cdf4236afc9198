"""Versions: the result of each training run, the data it was made from, and which one is served.

A version is the result of one run: number, time, fingerprint of the data, settings, and, if it was evaluated, its
metrics. ``model_versions`` has one row for each version there ever was: published, kept, or expired (lists dropped).
`recommender.publishing.publication` writes them. A model file holds the record of its own version
(`recommender.publishing.model_file`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, Engine, select

from recommender.database import count_rows, database_errors, existing_tables, kept_lists, label, refuse_foreign_tables
from recommender.database.schema import model_versions, recommendations
from recommender.errors import ForeignDataError

PUBLISHED, KEPT, EXPIRED = "published", "kept", "expired"
PEOPLE = "people"  # among a version's settings: the token of its people (recommender.database.identities)
LEFT_OUT = "rows_left_out"  # among a version's metrics: the number of rows of the tables that it leaves out


@dataclass(frozen=True)
class Version:
    """The record of one training run; ``state`` is published, kept or expired. Times are UTC.

    ``to_dict`` and ``from_dict`` take it through JSON unchanged.
    """

    number: int
    made_at: datetime
    fingerprint: str  # of the data its lists are made of, see Snapshot.fingerprint
    n_ratings: int
    settings: Mapping[str, Any]
    n_rows: int = 0  # of the lists
    metrics: Mapping[str, Any] | None = None
    state: str = PUBLISHED

    def is_made_from(self, fingerprint: str, settings: Mapping[str, Any]) -> bool:
        """Tell whether the version has this data and these settings, and so the same lists."""
        return self.fingerprint == fingerprint and dict(self.settings) == dict(settings)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a dict for JSON."""
        return asdict(self) | {"made_at": self.made_at.isoformat(), "settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Version:
        """Return the version of a dict that ``to_dict`` made; KeyError, TypeError or ValueError for any other."""
        return cls(**(dict(values) | {"made_at": datetime.fromisoformat(values["made_at"])}))


def read_versions(engine: Engine) -> list[Version]:
    """Return all versions there ever were, oldest first. ForeignDataError if the table holds rows of others."""
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
    """Return the published version; None before the first."""
    return next((version for version in versions if version.state == PUBLISHED), None)


def published_number(connection: Connection) -> int | None:
    """Return the number of the published version; None if there is none, or no table of versions."""
    engine: Engine = connection.engine
    if not engine.dialect.has_table(connection, model_versions.name):
        return None
    found = select(model_versions.c.version).where(model_versions.c.state == PUBLISHED)
    return connection.execute(found).scalar()


def current_version(engine: Engine, fingerprint: str, settings: Mapping[str, Any]) -> Version | None:
    """Return the newest version of this data and these settings with complete lists; None without one.

    It is the published one or a newer one, which was refused or rolled back. An older one is not what readers have.
    """
    with database_errors(engine), engine.connect() as connection:
        there, kept = existing_tables(connection), kept_lists(connection)
    versions = read_versions(engine)
    published = published_version(versions)
    for version in reversed(versions):
        if published is not None and version.number < published.number:
            break
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
    """Tell whether the version is kept though it is newer than the published one."""
    published = published_version(read_versions(engine))
    return version.state == KEPT and (published is None or published.number < version.number)


def next_number(versions: Sequence[Version]) -> int:
    """Return 1 for the first version, else one more than the newest."""
    return versions[-1].number + 1 if versions else 1


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


def as_rows(versions: Sequence[Version]) -> pa.RecordBatch:
    """Return the rows of ``model_versions``."""
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
