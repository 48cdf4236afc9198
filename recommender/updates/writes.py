"""The writes of the service: ratings, interactions and deletions, each in a transaction of the caller's.

After each the caller reads the changed users again in the same transaction (`recommender.updates.records`).
"""

from __future__ import annotations

from typing import Any

from pymysql.constants import ER
from sqlalchemy import Connection, Engine, delete, exc, insert, select
from sqlalchemy.dialects import mysql, sqlite

from recommender.database import (
    cut_log,
    enter_text,
    error_code,
    existing_tables,
    note_deletion,
    number_of_text,
    people_are_texts,
    prepare_log,
    read_names,
    utc_now,
    writing,
)
from recommender.database.schema import interactions, metadata, products, ratings, user_id_map, users
from recommender.errors import UnknownProductError, UnknownRatingError, UnknownUserError
from recommender.publishing import erase_from_lists
from recommender.shop import HALF_STARS, Scale, UserId, UserIds

WRITTEN = (users, interactions, ratings)


def prepare(engine: Engine) -> None:
    """Create the tables of people that are missing, that of noted deletions too, and cut that. DatabaseError."""
    prepare_log(engine)
    cut_log(engine)
    if not existing_tables(engine).issuperset(table.name for table in WRITTEN):
        with writing(engine) as connection:
            metadata.create_all(connection, tables=WRITTEN)


def stored_number(connection: Connection, ids: UserIds, user_id: UserId, new: bool) -> int:
    """Return the stored number of the shop's id; ``new``: enter the user if it is nobody's. UnknownUserError."""
    number = ids.number_of(user_id)
    if isinstance(user_id, str) and ids.is_text:
        known = number_of_text(connection, user_id)
        if known is None and number is not None and not _is_nameless(connection, number):
            number = None  # erased
        if known is None and new:
            return enter_text(connection, user_id, number)
        number = number if known is None else known
    if number is None:
        raise UnknownUserError(user_id)
    return number


def _is_nameless(connection: Connection, number: int) -> bool:
    """Tell whether there are rows of this number, which a release wrote that gave no numbers to texts."""
    there = [table for table in (users, ratings, interactions) if connection.dialect.has_table(connection, table.name)]
    return any(_has(connection, table.c.user_id, number) for table in there)


def store_rating(connection: Connection, user_id: int, product_id: str, steps: int, scale: Scale = HALF_STARS) -> None:
    """Insert or change a rating, of so many steps. UnknownProductError: neither in the catalog nor rated."""
    _refuse_unknown_product(connection, product_id)
    now = utc_now(connection)
    values = {
        "user_id": user_id, "product_id": product_id, "rating": scale.stars_of(steps), "created_at": now,
        "updated_at": now,
    }  # fmt: skip
    changed = {"rating": values["rating"], "updated_at": now}
    if connection.dialect.name == "sqlite":
        keys = [ratings.c.user_id, ratings.c.product_id]
        connection.execute(
            sqlite.insert(ratings).values(values).on_conflict_do_update(index_elements=keys, set_=changed)
        )
    else:
        connection.execute(mysql.insert(ratings).values(values).on_duplicate_key_update(changed))


def store_interaction(connection: Connection, user_id: int, product_id: str, kind: str) -> None:
    """Insert an interaction; a user who is in no table yet is added to ``users``. UnknownProductError."""
    _refuse_unknown_product(connection, product_id)
    if not any(_has(connection, table.c.user_id, user_id) for table in (users, ratings)):
        _enter(connection, user_id)
    connection.execute(
        insert(interactions).values(
            user_id=user_id, product_id=product_id, interaction_type=kind, created_at=utc_now(connection)
        )
    )


def delete_rating(connection: Connection, user_id: int, product_id: str, *, called: UserId | None = None) -> None:
    """Delete a rating. UnknownRatingError, of the user that the shop calls so, if there is none."""
    mine = (ratings.c.user_id == user_id) & (ratings.c.product_id == product_id)
    known = _has(connection, ratings.c.product_id, product_id)
    if not known or connection.execute(delete(ratings).where(mine)).rowcount == 0:
        raise UnknownRatingError(user_id if called is None else called, product_id)
    note_deletion(connection, user_id, erased=False)


def erase_user(connection: Connection, engine: Engine, user_id: int, *, called: UserId | None = None) -> None:
    """Delete all rows about a user, also in the lists of all versions and of a running batch.

    UnknownUserError, of the user that the shop calls so, if there are none.
    """
    note_deletion(connection, user_id, erased=True)  # before `erase_from_lists`, see recommender.publishing.erasures
    there = existing_tables(engine)
    names = read_names(connection, [user_id]) if people_are_texts(connection, there) else {}
    found = 0
    for table in (ratings, interactions, users, user_id_map):
        if table.name in there:
            found += connection.execute(delete(table).where(table.c.user_id == user_id)).rowcount
    found += erase_from_lists(connection, user_id, names.get(user_id))
    if not found:
        raise UnknownUserError(user_id if called is None else called)


def _enter(connection: Connection, user_id: int) -> None:
    """Insert the user into ``users``; another worker may have done so meanwhile."""
    values = {"user_id": user_id, "created_at": utc_now(connection)}
    if connection.dialect.name == "sqlite":
        connection.execute(insert(users).values(values))  # one writer at a time: no other worker did
    else:  # INSERT IGNORE would ignore other faults too
        connection.execute(mysql.insert(users).values(values).on_duplicate_key_update(user_id=users.c.user_id))


def _refuse_unknown_product(connection: Connection, product_id: str) -> None:
    if not any(_has(connection, column, product_id) for column in (products.c.asin, ratings.c.product_id)):
        raise UnknownProductError(product_id)


def _has(connection: Connection, column: Any, value: object) -> bool:
    try:
        return connection.execute(select(column).where(column == value).limit(1)).first() is not None
    except exc.DBAPIError as error:
        if error_code(error) != ER.CANT_AGGREGATE_2COLLATIONS:
            raise
        return False  # an earlier release's column of ASCII cannot be compared with another text
