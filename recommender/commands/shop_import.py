"""The import of a shop's own ratings, interactions and people: files in, all tables of step 2 swapped at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlalchemy import Engine

from recommender.commands.load_guard import refuse_other_products, told_loss
from recommender.commands.load_report import Part, counts_of, tell_part, tell_untimed
from recommender.commands.shop_files import INTERACTIONS, PEOPLE, RATINGS, ShopFiles
from recommender.database import (
    MADE_UP,
    NUMBERS,
    Identities,
    Stage,
    announced,
    database_errors,
    existing_tables,
    fit_ratings,
    is_up_to_date,
    label,
    newest_deletion,
    origin_batch,
    read_identities,
    read_now,
    read_origin,
    refuse_foreign_rows,
    shopper_summary,
    staged,
)
from recommender.database.schema import SHOPPER_TABLES, data_origin, interactions, ratings, user_id_map, users
from recommender.errors import ForeignDataError, WriteConflictError
from recommender.files import (
    KINDS,
    LOWEST,
    CsvColumn,
    Numbered,
    RatedRows,
    RejectedRows,
    ShopInteractions,
    ShopPeople,
    ShopRatings,
    UnwrittenRejectedRows,
    WantedScale,
    ratings_of,
    read_interactions_file,
    read_numbered,
    read_people_file,
    read_rating_rows,
    whole_numbers,
)
from recommender.shop import HALF_STARS, Scale

ROWS_PER_BATCH = 50_000

_Files = tuple[RatedRows | None, ShopInteractions | None, ShopPeople | None]


@dataclass(frozen=True)
class _Read:
    """What the files hold; the people of all of them have numbers."""

    ratings: ShopRatings | None
    log: ShopInteractions | None
    people: ShopPeople | None
    actors: npt.NDArray[np.int64]  # the user of each interaction
    listed: npt.NDArray[np.int64]  # the user of each row of people
    numbered: Numbered  # of all people

    @property
    def parts(self) -> dict[str, Part]:
        """What was read, by what it holds."""
        found = {RATINGS: self.ratings, INTERACTIONS: self.log, PEOPLE: self.people}
        return {what: part for what, part in found.items() if part is not None}

    @property
    def understood(self) -> list[str]:
        """What each file is, in one line; the first line tells the kind of the user ids."""
        first, *others = [part.understood for part in self.parts.values()]
        return [f"{first}; user ids: {KINDS[self.numbered.kind]}", *others]

    @property
    def products(self) -> dict[str, pa.ChunkedArray]:
        """The products of the ratings and of the interactions, one for each row."""
        rated = {RATINGS: self.ratings.ratings["product_id"]} if self.ratings else {}
        return rated | ({INTERACTIONS: self.log.events["product_id"]} if self.log else {})


def import_shop(
    engine: Engine, files: ShopFiles, *, replace: bool, max_rejected: int | None = None, force: bool = False
) -> bool:
    """Replace users, interactions and ratings by a shop's own files; return False if exactly these are there.

    Faulty rows go to ``rejected_rows.csv``. ``force``: also if most of the rows are of products that are not in the
    catalog, else SuspectFileError. ForeignDataError if rows would go that no file replaces.
    """
    made_from = files.made_from()
    if is_up_to_date(engine, made_from, replace=replace):
        return False
    if not replace:
        refuse_foreign_rows(engine, generating=False)
        _refuse_unlike(engine, files)
    with staged(engine, SHOPPER_TABLES) as stage:
        there = existing_tables(engine)
        # before the files are read: no other run can give numbers now
        erased, known = newest_deletion(stage.connection, there), read_identities(stage.connection, there)
        held = None if replace or known.kind in ("", MADE_UP) else known.scale
        with RejectedRows(limit=max_rejected) as rejected:
            found = read_files(files, rejected, now=database_time(engine), known=known, held=held)
        for told in found.understood:
            print(told)
        if not force:
            for what, product_ids in found.products.items():
                refuse_other_products(engine, files.paths[what], product_ids, what=what)
        _load(stage, found)
        names = " and ".join(path.name for path in files.paths.values())
        loss = "" if replace or known.kind in ("", MADE_UP) else told_loss(engine, stage, names)
        if newest_deletion(stage.connection, there) != erased:
            raise WriteConflictError(f"{label(engine)}: a user was erased while {names} was read; run it again")
        scale = found.ratings.scale if found.ratings else files.scale or held or HALF_STARS
        noted = known.after(found.numbered.kind, made_from, found.numbered.user_ids, scale)
        publish_with_origin(stage, made_from, noted, replace=replace, others=known.give_way(noted))
    for what, part in found.parts.items():
        print(counts_of(files.paths[what], part) + (f" (see {rejected.path})" if part.rejected else ""))
    tell_untimed(files.paths, found.ratings, found.log)
    if loss:
        print(loss)
    return True


def read_files(
    files: ShopFiles, rejected: RejectedRows, *, now: dt.datetime, known: Identities, held: Scale | None = None
) -> _Read:
    """Read all files of a shop; each person has one number in all of them. ``held``: the scale of imported ratings."""
    paths, columns = files.paths, files.columns

    def read(ids: CsvColumn) -> _Files:
        rated = log = people = None
        if RATINGS in paths:  # the first, as it may be read twice
            wanted = WantedScale(files.scale, held, files.zero_is)
            given: dict[str, Any] = {"loaded_at": now, "columns": columns.get(RATINGS), "wanted": wanted}
            rated = read_rating_rows(paths[RATINGS], rejected, ids, **given)
        if INTERACTIONS in paths:
            given = {"loaded_at": now, "columns": columns.get(INTERACTIONS), "kind": files.kind}
            log = read_interactions_file(paths[INTERACTIONS], rejected, **given, user_ids=ids)
        if PEOPLE in paths:
            given = {"today": now.date(), "columns": columns.get(PEOPLE), "private": files.private}
            people = read_people_file(paths[PEOPLE], rejected, **given, user_ids=ids)
        return rated, log, people

    first = next(iter(paths.values()))
    (rated, log, people), numbered = read_numbered(first, rejected, known, files.user_ids, read, _user_ids)
    users = iter(numbered.users)
    shop = None if rated is None else ratings_of(rated, next(users), numbered, loaded_at=now)
    nobody = np.empty(0, np.int64)
    actors = nobody if log is None else next(users)
    return _Read(shop, log, people, actors, nobody if people is None else next(users), numbered)


def _user_ids(files: _Files) -> list[pa.StringArray]:
    return [part.user_ids for part in files if part is not None]


def dry_run(files: ShopFiles, *, max_rejected: int | None = None) -> None:
    """Print what an import would read: what each file is, ten rows, the counts. Nothing is written."""
    rejected = UnwrittenRejectedRows(limit=max_rejected)
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    found = read_files(files, rejected, now=now, known=Identities())
    for told, (what, part) in zip(found.understood, found.parts.items(), strict=True):
        path, first = files.paths[what], part.first
        if found.numbered.kind == NUMBERS:
            at = first.column_names.index("user_id")
            first = first.set_column(at, "user_id", whole_numbers(first["user_id"]))
        reasons = [reason for reason in rejected.reasons if reason.startswith(f"{path.name}, ")]
        tell_part(path, replace(part, first=first), told, reasons)


def _load(stage: Stage, found: _Read) -> None:
    stage.load(users, people_table(found).to_batches())
    stage.load(user_id_map, numbers_table(found.numbered.user_ids).to_batches())
    if found.ratings is not None:
        fit_ratings(stage, found.ratings.scale)
        stage.load(ratings, found.ratings.ratings.to_batches(ROWS_PER_BATCH))
    if found.log is not None:
        events = found.log.events.add_column(0, "user_id", pa.array(found.actors))
        stage.load(interactions, events.to_batches(ROWS_PER_BATCH))


def people_table(found: _Read) -> pa.Table:
    """Return the rows of ``users``: everybody of all files, with what is known of them and the time of the first event.

    The time of a person without one is not known.
    """
    parts = []
    if found.ratings is not None:
        parts.append(found.ratings.ratings.select(["user_id", "created_at"]))
    if found.log is not None:
        parts.append(pa.table({"user_id": pa.array(found.actors), "created_at": found.log.events["created_at"]}))
    if found.people is not None:
        never = pa.nulls(len(found.listed), pa.timestamp("us"))
        parts.append(pa.table({"user_id": pa.array(found.listed), "created_at": never}))
    seen = pa.concat_tables(parts)
    firsts = seen.group_by("user_id").aggregate([("created_at", "min")]).sort_by("user_id")
    everybody = firsts.select(["user_id", "created_at_min"]).rename_columns(["user_id", "created_at"])
    if found.people is None:
        return everybody
    facts = found.people.facts.add_column(0, "user_id", pa.array(found.listed))
    return everybody.join(facts, "user_id", join_type="left outer").sort_by("user_id")


def _refuse_unlike(engine: Engine, files: ShopFiles) -> None:
    """Raise ForeignDataError if rows would go that these files do not replace, or if 0 would come to mean another."""
    noted = (read_origin(engine, data_origin) or {}).get("origin")
    if not isinstance(noted, dict) or noted.get("made_from") != "file":
        return
    before = {noted.get("of", RATINGS): noted.get("file")}
    before |= {what: noted[what].get("file") for what in (INTERACTIONS, PEOPLE) if isinstance(noted.get(what), dict)}
    for what, name in before.items():
        if what not in files.paths:
            raise ForeignDataError(
                f"{label(engine)}: the {what} of {name} would go: give --{what} FILE as well, all files of a shop are "
                "imported at once; or give --replace to delete them"
            )
    if RATINGS in before and (noted.get("zero_is") == LOWEST) != (files.zero_is == LOWEST):
        were, do = ("were not", "leave out") if files.zero_is == LOWEST else ("were", "give")
        raise ForeignDataError(
            f"{label(engine)}: the ratings of {before[RATINGS]} {were} moved up by one step: {do} --zero-is {LOWEST} "
            "here, too; or give --replace to replace all ratings and their scale"
        )


def database_time(engine: Engine) -> dt.datetime:
    """Return the present time by the database's clock, which a running service uses; UTC without a zone."""
    with database_errors(engine), engine.connect() as connection:
        return read_now(connection)


def numbers_table(numbers: Mapping[str, int]) -> pa.Table:
    """Return the rows of ``user_id_map``, in the order of the numbers."""
    pairs = sorted((number, name) for name, number in numbers.items())
    columns = {"user_id": [number for number, _ in pairs], "external_id": [name for _, name in pairs]}
    return pa.table(columns, schema=pa.schema([("user_id", pa.int64()), ("external_id", pa.string())]))


def publish_with_origin(
    stage: Stage, made_from: dict[str, Any], people: dict[str, Any], *, replace: bool, others: bool
) -> None:
    """Note what was made, whom the numbers mean and a summary of the rows, then swap the tables in.

    The origin of the present rows is checked once more: another run may have ended since, or others may have written.
    ``others``: they take the user_ids of people who are there, so running services are told before the swap.
    """
    summary = shopper_summary(stage.connection, stage.tables)
    stage.load(data_origin, [origin_batch({"origin": made_from, "summary": summary} | people)])
    generating = made_from["made_from"] == "seed"
    check = None if replace else refuse_foreign_rows(stage.engine, generating=generating)
    stage.publish(check=check, around=announced(stage.connection) if others else None)
