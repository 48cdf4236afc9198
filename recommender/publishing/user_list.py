"""One user's list: as a table, with product details, as text, or stored in the place of the old one."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, Table, delete, insert, select
from sqlalchemy.schema import CreateTable

from recommender.database import (
    as_product,
    database_errors,
    existing_tables,
    in_blocks,
    label,
    note_published_lists,
    people_are_texts,
    prepare_notes,
    table_is_there,
    waiting_for_locks,
    writing,
)
from recommender.database.schema import lists_by_text, products, recommendations
from recommender.errors import SettingError
from recommender.publishing.erasures import are_by_text
from recommender.publishing.publication import refuse_foreign_lists
from recommender.ranking import RankedProducts
from recommender.shop import LONGEST_KNOWN_ID, NOT_IN_CATALOG, Product, UserId, checked_user_id, id_fault

_OPTIONAL = ("product_name", "support", "n_neighbors")
SHOWN = ("product_id", "predicted_rating", *_OPTIONAL[1:], "source", "product_name")  # of a list that is stored


def as_frame(product_ids: list[str], ranked: RankedProducts) -> pd.DataFrame:
    """Return the list as a table: product, predicted rating and the evidence for it, best first."""
    return pd.DataFrame(
        {
            "product_id": pd.Series(product_ids, dtype="object"),
            "predicted_rating": ranked.predicted,
            "support": ranked.support,
            "n_neighbors": ranked.n_raters,
        }
    )


def list_of(engine: Engine, user_id: UserId) -> pd.DataFrame:
    """Return the published list of a user, best first. DatabaseError."""
    lists = lists_by_text(LONGEST_KNOWN_ID) if isinstance(user_id, str) else recommendations
    columns = [lists.c[name] for name in SHOWN]
    statement = select(*columns).where(lists.c.user_id == user_id).order_by(lists.c["rank"])
    with database_errors(engine), engine.connect() as connection:
        return pd.DataFrame(connection.execute(statement).all(), columns=list(SHOWN))


def with_product_details(recs: pd.DataFrame, engine: Engine) -> pd.DataFrame:
    """Return ``recs`` with ``product_name`` (None if there is no title or product) and ``price`` (NaN) added."""
    wanted = [str(product) for product in recs["product_id"].unique()]
    found: dict[str, Product] = {}
    statement = select(products.c.asin, products.c.title, products.c.price)
    with database_errors(engine), engine.connect() as connection:
        for block in in_blocks(wanted):
            rows = connection.execute(statement.where(products.c.asin.in_(block)))
            found.update({asin: as_product(title, price, None, None) for asin, title, price in rows})
    details = [found.get(str(product), NOT_IN_CATALOG) for product in recs["product_id"]]
    return recs.assign(
        product_name=pd.Series([facts.title for facts in details], index=recs.index, dtype="object"),
        price=pd.Series([facts.price for facts in details], index=recs.index, dtype="float64"),
    )


def replace_list(user_id: UserId, recs: pd.DataFrame, engine: Engine) -> None:
    """Replace the rows of ``user_id`` in ``recommendations``, in one transaction. SettingError, ForeignDataError."""
    _check(recs)
    refuse_foreign_lists(engine)
    with database_errors(engine), writing(engine) as connection:
        user, lists = _spelled(connection, user_id)
        prepare_notes(connection)
        note_published_lists(connection)
        connection.execute(CreateTable(lists, if_not_exists=True))
    generated_at = datetime.now(UTC).replace(tzinfo=None)
    wanted = recs[["product_id", "predicted_rating", *(name for name in _OPTIONAL if name in recs.columns)]]
    rows: list[dict[str, Any]] = [
        {"user_id": user, "rank": rank, "source": "neighbors", "generated_at": generated_at}
        | {str(name): None if value != value else value for name, value in row.items()}  # NaN is NULL
        for rank, row in enumerate(wanted.to_dict("records"), start=1)
    ]

    def replace() -> None:
        with writing(engine) as connection:
            connection.execute(delete(lists).where(lists.c.user_id == user))
            if rows:
                connection.execute(insert(lists), rows)

    waiting_for_locks(engine, [recommendations.name], replace)


def _spelled(connection: Connection, user_id: object) -> tuple[UserId, Table]:
    """Return the id as the shop's ids are, and the table of lists by such ids. SettingError."""
    if not people_are_texts(connection, existing_tables(connection)):
        return checked_user_id(user_id), recommendations
    fault = id_fault(user_id, LONGEST_KNOWN_ID) if isinstance(user_id, str) else "is not the text of an id"
    if fault:
        raise SettingError(f"user_id {user_id!r:.100} {fault}")
    there = table_is_there(connection, recommendations.name)
    if there and not are_by_text(connection, recommendations.name):
        raise SettingError(
            f"{label(connection.engine)}: {recommendations.name} holds lists by number, as an earlier release made "
            "them: make lists by the shop's own ids with python recommendation_engine.py"
        )
    return str(user_id), lists_by_text(LONGEST_KNOWN_ID)


def _check(recs: pd.DataFrame) -> None:
    for name in ("product_id", "predicted_rating"):
        if name not in recs.columns:
            raise SettingError(f"the recommendations have no column {name}: pass what get_recommendations returned")
    if recs["product_id"].duplicated().any():
        twice = recs["product_id"][recs["product_id"].duplicated()].iloc[0]
        raise SettingError(f"the recommendations hold product {twice} twice: pass each product once")


def as_text(user_id: UserId, recs: pd.DataFrame, reason: str = "") -> str:
    """Return the list with its product details as a table for the terminal; of an empty list the ``reason``."""
    title = f"\nRecommendations for user {user_id}:\n"
    if recs.empty:
        return f"{title}  none: {reason}"
    names = recs["product_name"].tolist()  # without a title None or NaN, by the type of the column
    shown = recs.assign(product_name=[name[:60] if isinstance(name, str) and name else "(no title)" for name in names])
    shown.insert(0, "rank", range(1, len(shown) + 1))
    formatters: Any = {"predicted_rating": _stars, "support": "{:.3f}".format}
    table = shown.to_string(index=False, formatters=formatters, na_rep="-")
    return f"{title}{table}\n"


def _stars(stars: float) -> str:
    return "-" if math.isnan(stars) else f"{stars:.3f}"
