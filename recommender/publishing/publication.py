"""Publication of versions: publish one, keep one, roll back to one.

The lists of each version are a table of their own; the table of the published version has the plain name:

    recommendations            the lists of the published version
    recommendations__v6        the lists of version 6, kept for a roll-back
    model_versions             one row for each version there ever was (see `recommender.publishing.versions`)

Publishing and rolling back rename tables and swap ``model_versions`` in one step. So a reader sees the whole lists of
one version, and ``model_versions`` names it. A run that is killed leaves everything as before or as after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Engine, func, select

from recommender.database import (
    Move,
    Stage,
    cut_log,
    database_errors,
    drop_leftovers,
    drop_own,
    existing_tables,
    keep_lists,
    kept_lists,
    label,
    lists_are_ours,
    note_published_lists,
    people_are_texts,
    prepare_notes,
    refuse_foreign_tables,
    require_people,
    staged,
    token_of,
    waiting_for_locks,
)
from recommender.database.schema import BATCH_TABLES, deletions, model_versions, recommendations
from recommender.errors import ForeignDataError, OtherPeopleError, UnknownVersionError
from recommender.publishing.erasures import are_by_text, drop_erased
from recommender.publishing.versions import (
    EXPIRED,
    KEPT,
    PEOPLE,
    PUBLISHED,
    Version,
    as_rows,
    next_number,
    published_version,
    read_versions,
)
from recommender.shop import NUMBERS_AS_THEY_ARE, Cursor, UserIds

# takes a new version and the published one; returns the new one as it is noted, and whether it may be published
Judge = Callable[[Version, Version | None], tuple[Version, bool]]


def publish_lists(
    stage: Stage,
    new: Version,
    *,
    keep: int,
    since: Cursor,
    ids: UserIds = NUMBERS_AS_THEY_ARE,
    publish: bool = True,
    judge: Judge | None = None,
) -> Version:
    """Make the lists loaded into ``stage`` version ``new``, published or only kept; return the version as noted.

    ``keep`` versions stay in all. ``stage`` must hold staging tables of ``recommendations`` and ``model_versions``. The
    number is given here, where no other run can interfere. Users who were erased after ``since``, when the ratings were
    read, are left out, even if a user with that id exists again; ``ids``: what the shop calls the users. ``judge`` sees
    the rows that are left.
    """
    stage.hold()
    require_people(stage.engine, new.settings.get(PEOPLE))
    lists = stage.tables[recommendations]
    waiting_for_locks(stage.engine, [deletions.name], lambda: drop_erased(stage.connection, lists, since, ids=ids))
    # counted here, since users who were erased during the loading are gone already
    n_rows = int(stage.connection.execute(select(func.count()).select_from(lists)).scalar_one())
    new = replace(new, n_rows=n_rows)
    refuse_foreign_lists(stage.engine)
    before = _prepared(stage)
    if judge is not None:
        new, may_be_published = judge(new, published_version(before))
        publish = publish and may_be_published
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
    """Raise ForeignDataError if the tables of lists and versions exist and this project did not fill them."""
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
    """Return the names of those tables of lists whose version is not kept."""
    kept = {version.number for version in versions if version.state == KEPT}
    return [name for number, name in tables.items() if number not in kept]


def _prepared(stage: Stage) -> list[Version]:
    """Return all versions, after creating the notes and dropping what a killed run left."""
    prepare_notes(stage.connection)
    versions = read_versions(stage.engine)
    drop_own(stage.connection, _not_kept(versions, kept_lists(stage.connection)))
    return versions


def roll_back(engine: Engine, number: int) -> Version:
    """Publish the lists of a kept version again, and keep those of the published one.

    Raises UnknownVersionError, with the kept versions, if ``number`` is none of them or its lists are gone;
    OtherPeopleError if its user_ids do not mean the people in the tables, or are not the shop's texts.
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
        texts = people_are_texts(stage.connection, existing_tables(engine))
        if texts and not are_by_text(stage.connection, lists):
            raise OtherPeopleError(
                f"{label(engine)}: version {number} is of an earlier release, which wrote inner numbers in the place "
                "of the shop's user ids, and is not published again: python recommendation_engine.py makes a new one"
            )
        after = [replace(version, state=KEPT) if version.state == PUBLISHED else version for version in before]
        after = [replace(version, state=PUBLISHED) if version.number == number else version for version in after]
        aside = _aside(stage, before)
        moves = [*((recommendations.name, name) for name in aside.values()), (lists, recommendations.name)]
        note_published_lists(stage.connection)
        _swap(stage, after, moves, aside, keep=len(after), leave=[stage.tables[recommendations].name])
    return replace(target, state=PUBLISHED)


def _aside(stage: Stage, before: Sequence[Version]) -> dict[int, str]:
    """Return the table name under which the published lists are kept, by the number of their version."""
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
    """Note the versions, expire all kept ones but the newest ``keep``, rename, and drop the lists that have expired.

    ``aside``: the tables of kept lists that the renaming makes, by the numbers of their versions.
    """
    spare = [version.number for version in versions if version.state == KEPT]
    expired = set(spare[: max(0, len(spare) - (keep - 1))])
    versions = [replace(version, state=EXPIRED) if version.number in expired else version for version in versions]
    stage.load(model_versions, [as_rows(versions)])
    gone = _not_kept(versions, {**kept_lists(stage.connection), **aside})
    stage.publish(moves, leave=leave, drop=gone)
