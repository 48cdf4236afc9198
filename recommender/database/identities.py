"""The people that the user_ids mean, and a check whether two things mean the same people by them.

Step 2 gives numbers to the users of a shop whose own ids are text. A known id keeps its number, and a new one gets the
next number that was never given. The number of an erased user is not given again, so the highest one ever given is
noted in ``data_origin``, which is swapped in with the tables. If numbers come to mean other people (a shop's own users
replace made-up ones, whole numbers replace text ids), the set of people gets another token; so it does if the ratings
get another scale, in which a model of the old one cannot read them. A model, a version and a
model file have the token of the people they were made of; one whose token differs from the database's is never served
or published.

The token counts up, so it never comes back in one database, and the same steps in the same order give the same token. A
database that an older release filled has none, and neither have its versions: these count as equal until the people
change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, insert, select, update

from recommender.database.connection import database_errors, label
from recommender.database.rating_scale import noted_scale, scale_note
from recommender.database.schema import data_origin, deletions, interactions, ratings, user_id_map, users
from recommender.errors import InputFileError, OtherPeopleError
from recommender.settings import LARGEST_ID
from recommender.shop import HALF_STARS, Scale

MADE_UP, NUMBERS, TEXT = "seed", "numbers", "text"  # made up; a shop's whole numbers; numbers for a shop's texts
_NOTE = "identities"  # its name in data_origin


@dataclass(frozen=True)
class Identities:
    """The user_ids of a database.

    ``kind`` of the numbers, "" without people; ``known``: the numbers of text ids; ``highest``: the highest number ever
    given to a text id; ``in_use``: the highest in any row; ``epoch``: how often the people have changed; ``scale``:
    of their ratings.
    """

    token: str | None = None
    kind: str = ""
    epoch: int = 0
    highest: int = 0
    in_use: int = 0
    known: Mapping[str, int] = field(default_factory=dict)
    scale: Scale = HALF_STARS

    def after(
        self, kind: str, made_from: Mapping[str, Any], given: Mapping[str, int], scale: Scale = HALF_STARS
    ) -> dict[str, Any]:
        """Return the notes for the next people: of this kind, with these numbers given to texts, and their scale."""
        return self._next(kind, made_from, given, scale) | scale_note(scale)

    def _next(self, kind: str, made_from: Mapping[str, Any], given: Mapping[str, int], scale: Scale) -> dict[str, Any]:
        highest = max(self.highest, max(given.values(), default=0))
        # also made-up shoppers: they are not real, so new ones do not count as other people
        if kind == self.kind and scale == self.scale:
            return {_NOTE: {"token": self.token, "epoch": self.epoch, "highest": highest, "kind": kind}}
        token = self._token(kind, self.epoch + 1, made_from)
        return {_NOTE: {"token": token, "epoch": self.epoch + 1, "highest": highest, "kind": kind}}

    def give_way(self, note: Mapping[str, Any]) -> bool:
        """Tell whether the next people, of this note, are others in the place of people who are there."""
        return bool(self.kind) and note[_NOTE]["token"] != self.token

    @staticmethod
    def _token(kind: str, epoch: int, made_from: Mapping[str, Any]) -> str:
        content = hashlib.blake2b(json.dumps([kind, dict(made_from)], sort_keys=True).encode(), digest_size=8)
        return f"{epoch}-{content.hexdigest()}"

    def numbers_for(self, names: list[str]) -> dict[str, int]:
        """Return a number for each text id; new ones in the order given. InputFileError if no number is left."""
        new = [name for name in names if name not in self.known]
        first = max(self.highest, self.in_use, *self.known.values(), 0) + 1
        if first + len(new) - 1 > LARGEST_ID:
            raise InputFileError(f"no user_id is left for {len(new):,} new people: {first - 1} was given already")
        return {**self.known, **dict(zip(new, range(first, first + len(new)), strict=True))}


def read_token(connection: Connection, *, noted: bool = False) -> str | None:
    """Return the token of the people in the tables; None if there is none. ``noted``: the table of notes exists."""
    token = _value(connection, _NOTE, there=noted).get("token")
    return token if isinstance(token, str) else None


def token_of(engine: Engine) -> str | None:
    """Return `read_token` of a database. DatabaseError."""
    with database_errors(engine), engine.connect() as connection:
        return read_token(connection)


def require_people(engine: Engine, token: str | None) -> None:
    """Raise OtherPeopleError unless the people in the tables have this token: then others have replaced them."""
    if token_of(engine) != token:
        raise OtherPeopleError(
            f"{label(engine)}: step 2 replaced all people meanwhile, or the scale of their ratings; run it again"
        )


def read_identities(connection: Connection, there: set[str]) -> Identities:
    """Return the user_ids in the tables named ``there``; call this where no other run can replace them meanwhile."""
    noted, known = _noted(connection), dict[str, int]()
    if user_id_map.name in there:
        rows = connection.execute(select(user_id_map.c.external_id, user_id_map.c.user_id))
        known = {str(name): int(number) for name, number in rows}
    kind = noted.get("kind") if noted.get("kind") in (MADE_UP, NUMBERS, TEXT) else _kind(connection, there, known)
    highest, epoch = (at if isinstance(at := noted.get(name), int) else 0 for name in ("highest", "epoch"))
    in_use = 0
    if kind == TEXT:  # users may have come through the API, with numbers of their own
        tables = [table for table in (users, ratings, interactions, deletions) if table.name in there]
        in_use = max([0, *(_highest(connection, table) for table in tables)])
    scale = noted_scale(connection) or HALF_STARS
    return Identities(read_token(connection), str(kind), epoch, highest, in_use, known, scale)


def people_are_texts(connection: Connection, there: set[str]) -> bool:
    """Tell whether the users of a shop are known by texts, so that a user_id in the tables is an inner number."""
    kind = _noted(connection).get("kind")
    if kind in (MADE_UP, NUMBERS, TEXT):
        return bool(kind == TEXT)
    if user_id_map.name not in there:
        return False
    return connection.execute(select(user_id_map.c.user_id).limit(1)).first() is not None


def number_of_text(connection: Connection, name: str, *, now: bool = False) -> int | None:
    """Return the stored number of a text id; None if nobody has it. ``now``: as committed now, under a lock."""
    row = select(user_id_map.c.user_id).where(user_id_map.c.external_id == name)
    found = connection.execute(row.with_for_update() if now else row).scalar()
    return None if found is None else int(found)


def enter_text(connection: Connection, name: str, number: int | None = None) -> int:
    """Give a stored number to a new text id, in the transaction of the caller, and return it.

    The number is the one after the highest ever given, which is noted with it, so that it is never given again, or
    ``number``, which rows without a text have already. One transaction at a time enters people. InputFileError if no
    number is left.
    """
    here, where = data_origin.c, data_origin.c.name == _NOTE
    noted = connection.dialect.has_table(connection, data_origin.name)
    text = connection.execute(select(here.value).where(where).with_for_update()).scalar() if noted else None
    if (known := number_of_text(connection, name, now=True)) is not None:
        return known  # another worker was first
    there = {table.name for table in (users, user_id_map, ratings, interactions, deletions)}
    there = {name for name in there if connection.dialect.has_table(connection, name)}
    note = _parsed(text)
    if number is None:
        tables = [table for table in (users, user_id_map, ratings, interactions, deletions) if table.name in there]
        given = note.get("highest")
        in_use = max([given if isinstance(given, int) else 0, *(_highest(connection, table) for table in tables)])
        number = Identities(kind=TEXT, in_use=in_use).numbers_for([name])[name]
        note = {"epoch": 0, "kind": TEXT} | note | {"highest": number}
        if text:
            connection.execute(update(data_origin).where(where).values(value=json.dumps(note)))
        elif noted:
            connection.execute(insert(data_origin).values(name=_NOTE, value=json.dumps(note)))
    connection.execute(insert(user_id_map).values(user_id=number, external_id=name))
    return number


def newest_deletion(connection: Connection, there: set[str]) -> int:
    """Return the newest id of the log of deletions; 0 without one."""
    if deletions.name not in there:
        return 0
    return int(connection.execute(select(func.max(deletions.c.deletion_id))).scalar() or 0)


def _kind(connection: Connection, there: set[str], known: Mapping[str, int]) -> str:
    """Return the kind of user_ids in a database that an older release, or a shop itself, has filled."""
    if known:
        return TEXT
    if not any(table.name in there and _highest(connection, table) >= 0 for table in (users, ratings, interactions)):
        return ""
    return MADE_UP if _value(connection, "origin").get("made_from") == "seed" else NUMBERS


def _highest(connection: Connection, table: Table) -> int:
    found = connection.execute(select(func.max(table.c.user_id))).scalar()
    return found if isinstance(found, int) else -1  # SQLite allows texts


def _noted(connection: Connection) -> dict[str, Any]:
    return _value(connection, _NOTE)


def _value(connection: Connection, name: str, *, there: bool = False) -> dict[str, Any]:
    if not there and not connection.dialect.has_table(connection, data_origin.name):
        return {}
    return _parsed(connection.execute(select(data_origin.c.value).where(data_origin.c.name == name)).scalar())


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}  # others have written to it
    return value if isinstance(value, dict) else {}
