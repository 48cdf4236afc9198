"""Whose rows are in amazon_categories and amazon_products: loaded by step 1, or somebody else's?

Step 1 notes what it loaded (``catalog_origin``), and replaces only what it has noted, or what is empty. A catalog that
somebody else filled can be added to; that, too, is noted, since it is still not step 1's to replace.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Engine, MetaData, Table, literal_column, select

from recommender.database.connection import database_errors, label
from recommender.database.origin import read_origin
from recommender.database.schema import CATALOG_TABLES, catalog_origin, categories, products
from recommender.database.staging.bulk_load import Check
from recommender.database.tables import refuse_foreign_tables, table_is_there
from recommender.errors import ForeignDataError

_OTHERS = "others"  # rows of others are in the tables: noted by whoever added to them


def refuse_foreign_catalog(engine: Engine, *, kept: bool) -> dict[str, bool]:
    """Raise ForeignDataError if a catalog is there that step 1 did not load; ``kept``: it is only added to.

    Returns what is to be noted beside the origin: whether rows of others stay in it.
    """
    refuse_foreign_tables(engine, CATALOG_TABLES, kept=kept)
    if _is_ours(engine):
        return {}
    noted = read_origin(engine, catalog_origin)
    looked_at = (products, categories) if noted and "made_from" in noted else (products, categories, catalog_origin)
    with database_errors(engine), engine.connect() as connection:
        filled = [table.name for table in looked_at if _has_rows(connection, table)]
    if filled and (not kept or catalog_origin.name in filled):
        raise ForeignDataError(
            f"{label(engine)}: {filled[0]} holds rows that this script did not load: add to them with --append, rename "
            "the table, or give another DB_NAME or SQLITE_FILE"
        )
    return {_OTHERS: True} if filled else {}


def unchanged_catalog(engine: Engine) -> Check | None:
    """The check that what is replaced is still empty; None if it is a catalog of step 1's."""
    if _is_ours(engine):
        return None

    def check(connection: Connection, aside: Mapping[Table, str]) -> None:
        for live, name in aside.items():
            if live is not catalog_origin and _has_rows(connection, live.to_metadata(MetaData(), name=name)):
                raise ForeignDataError(
                    f"{label(engine)}: somebody wrote to {live.name} at the moment it was replaced: the tables as they "
                    f"were are kept as {', '.join(aside.values())}; rename them back, or drop them"
                )

    return check


def _is_ours(engine: Engine) -> bool:
    noted = read_origin(engine, catalog_origin)
    return noted is not None and "made_from" in noted and _OTHERS not in noted


def _has_rows(connection: Connection, table: Table) -> bool:
    if not table_is_there(connection, table.name):
        return False
    return connection.execute(select(literal_column("1")).select_from(table).limit(1)).first() is not None
