"""What the tables hold of some users, or of some products, now.

Rows that no model can be built from are left out with a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy import Connection, Engine, select

from recommender.bulk_read import microseconds
from recommender.live_users import UserRecord
from recommender.product_catalog import Product
from recommender.schema import ASIN_LENGTH, INTERACTION_TYPES, deletions, interactions, products, ratings, users
from recommender.tables import existing_tables

_AT_A_TIME = 400  # SQLite allows 999 parameters in its older versions
_log = logging.getLogger("recommender")
Entry = tuple[bytes, int, int]
_KINDS = {name: kind for kind, name in enumerate(INTERACTION_TYPES)}


def optional_tables(engine: Engine) -> frozenset[str]:
    """Those of the tables that need not be there. DatabaseError."""
    return frozenset(existing_tables(engine) & {interactions.name, users.name, deletions.name})


def read_records(connection: Connection, user_ids: Iterable[int], there: frozenset[str]) -> list[UserRecord]:
    """Everything that the model takes from the tables about these users; ``there``: `optional_tables`."""
    wanted = sorted(set(user_ids))
    records = []
    for start in range(0, len(wanted), _AT_A_TIME):
        block = wanted[start : start + _AT_A_TIME]
        rated = _ratings(connection, block)
        events = _events(connection, block) if interactions.name in there else {}
        people = _people(connection, block) if users.name in there else {}
        for user in block:
            person = people.get(user, (None, None))
            own = tuple(rated.get(user, ())), tuple(events.get(user, ()))
            records.append(UserRecord(user, *own, user in people, *person))
    return records


def _ratings(connection: Connection, user_ids: list[int]) -> dict[int, list[Entry]]:
    c, found = ratings.c, dict[int, list[Entry]]()
    when = microseconds(connection.engine, c.created_at, "at")
    statement = select(c.user_id, c.product_id, c.rating, when).where(c.user_id.in_(user_ids))
    for user, product, stars, at in connection.execute(statement):
        doubled = _doubled(stars)
        if doubled and _is_product(product) and at is not None:
            found.setdefault(user, []).append((product.encode(), doubled, int(at)))
        else:
            _log.warning(
                "left out: user %s rated product %.20r with %.20r: not 0.5 to 5.0 in halves, or at no time",
                *(user, product, stars),
            )
    return found


def _events(connection: Connection, user_ids: list[int]) -> dict[int, list[Entry]]:
    c, found = interactions.c, dict[int, list[Entry]]()
    when = microseconds(connection.engine, c.created_at, "at")
    statement = select(c.user_id, c.product_id, c.interaction_type, when).where(c.user_id.in_(user_ids))
    for user, product, kind, at in connection.execute(statement):
        if kind in _KINDS and _is_product(product) and at is not None:
            found.setdefault(user, []).append((product.encode(), _KINDS[kind], int(at)))
        else:
            _log.warning("left out: user %s, product %.20r, interaction_type %.20r, or at no time", user, product, kind)
    return found


def _people(connection: Connection, user_ids: list[int]) -> dict[int, tuple[str | None, str | None]]:
    c = users.c
    statement = select(c.user_id, c.country, c.age_group).where(c.user_id.in_(user_ids))
    return {user: (country, age_group) for user, country, age_group in connection.execute(statement)}


def _doubled(stars: object) -> int:
    """Half stars; 0 for what is no rating, which SQLite lets in."""
    try:
        doubled = 2 * float(stars)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0
    return int(doubled) if 1 <= doubled <= 10 and doubled == int(doubled) else 0


def _is_product(product_id: object) -> bool:
    return isinstance(product_id, str) and 0 < len(product_id) <= ASIN_LENGTH and product_id.isascii()


def read_facts(connection: Connection, product_ids: Iterable[bytes]) -> dict[bytes, Product | None]:
    """What the catalog says of these products; None for those it does not have."""
    wanted = sorted(product_ids)
    facts: dict[bytes, Product | None] = dict.fromkeys(wanted)
    c = products.c
    for start in range(0, len(wanted), _AT_A_TIME):
        names = [name.decode("ascii") for name in wanted[start : start + _AT_A_TIME]]
        for asin, title, price, stars, category in connection.execute(
            select(c.asin, c.title, c.price, c.stars, c.category_id).where(c.asin.in_(names))
        ):
            facts[asin.encode()] = Product(title, price, stars or None, category)
    return facts
