"""The tables: the only place that spells the project's table and column names.

They work on MySQL 5.7 to 8.4, MariaDB and SQLite. Each CREATE states character set and collation, since a server's
default may be latin1. Product ids are compared exactly, so MySQL and SQLite sort them alike: by code points, as SQLite
does by default. The random ASIN is a unique key beside a surrogate primary key: as the primary key it makes the load
nine times slower (118 s against 13.6 s for 1.43 M rows on MariaDB 10.11). The logs that are followed by their ids
(interactions, deletions) never give an id twice. Without AUTOINCREMENT, SQLite would give the newest id again after its
row was deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement, quoted_name

from recommender.shop import INTERACTION_TYPES as INTERACTION_TYPES
from recommender.shop import PRODUCT_ID_LENGTH

TITLE_BYTES = 65_535  # MySQL's TEXT
URL_LENGTH = 1_000  # characters
CATEGORY_NAME_LENGTH = 255
LARGEST_INT = 2**31 - 1
EVENT_ID_LENGTH = 64  # characters of an order_id or session_id
LATER = {"later": True}  # of a column that a table of an earlier release may lack

_MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_unicode_ci"}


def _exact(length: int) -> String:
    """Return the type of text that is compared exactly; but blanks at the end count for nothing on a server."""
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, "mysql", "mariadb")


def _product_id() -> String:
    return _exact(PRODUCT_ID_LENGTH)  # no product id has a blank at its end (recommender.shop.ids)


def _time() -> DateTime:
    return DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def _big_id() -> BigInteger:
    # SQLite numbers rows only in a column declared INTEGER PRIMARY KEY
    return BigInteger().with_variant(Integer(), "sqlite")


class _ThisMoment(ColumnElement[Any]):
    """A default for rows that others insert or change; on SQLite only for inserted ones. Sessions should be UTC."""

    inherit_cache = True


@compiles(_ThisMoment)
def _on_a_server(_element: _ThisMoment, _compiler: Any, **_options: Any) -> str:
    return "CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"


@compiles(_ThisMoment, "sqlite")
def _on_sqlite(_element: _ThisMoment, _compiler: Any, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


metadata = MetaData()

categories = Table(
    "amazon_categories",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("category_name", String(CATEGORY_NAME_LENGTH), nullable=False),
    **_MYSQL,
)

# the columns of the Kaggle file, in its order, after the surrogate key
products = Table(
    "amazon_products",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("asin", _product_id(), nullable=False),
    Column("title", Text().with_variant(mysql.TEXT(), "mysql", "mariadb")),
    Column("imgUrl", String(URL_LENGTH)),
    Column("productURL", String(URL_LENGTH)),
    Column("stars", Double, nullable=False),
    Column("reviews", Integer, nullable=False),
    Column("price", Double, nullable=False),
    Column("listPrice", Double, nullable=False),
    Column("category_id", Integer, nullable=False),
    Column("isBestSeller", Boolean, nullable=False),
    Column("boughtInLastMonth", Integer, nullable=False),
    UniqueConstraint("asin", name="uq_amazon_products_asin"),
    Index("ix_amazon_products_category_id", "category_id"),
    **_MYSQL,
)
KEPT_LENGTH = 255  # characters


def products_with(names: Iterable[str]) -> Table:
    """Return the table of products with more columns of text, which a shop keeps of its file."""
    table = products.to_metadata(MetaData())
    for name in names:
        table.append_column(Column(name, String(KEPT_LENGTH)))
    return table


PRODUCT_COLUMNS = tuple(column.name for column in products.columns if column.name != "id")

users = Table(
    "users",
    metadata,
    Column("user_id", _big_id(), primary_key=True, autoincrement=False),
    Column("name", String(255)),
    Column("email", String(255)),
    Column("age_group", String(16)),
    Column("gender", String(16)),
    Column("country", String(64)),
    Column("created_at", _time()),  # NULL: not known
    UniqueConstraint("email", name="uq_users_email"),
    **_MYSQL,
)

# text ids of an imported ratings file; integer ids are kept as they are and need no row here
user_id_map = Table(
    "user_id_map",
    metadata,
    Column("user_id", _big_id(), primary_key=True, autoincrement=False),
    Column("external_id", _exact(255), nullable=False),
    UniqueConstraint("external_id", name="uq_user_id_map_external_id"),
    **_MYSQL,
)

interactions = Table(
    "user_interactions",
    metadata,
    Column("interaction_id", _big_id(), primary_key=True, autoincrement=True),
    Column("user_id", BigInteger, nullable=False),
    Column("product_id", _product_id(), nullable=False),
    Column(
        "interaction_type",
        String(11).with_variant(mysql.ENUM(*INTERACTION_TYPES, charset="ascii"), "mysql", "mariadb"),
        nullable=False,
    ),
    Column("created_at", _time()),  # NULL: not known
    Column("order_id", String(EVENT_ID_LENGTH), info=LATER),
    Column("session_id", String(EVENT_ID_LENGTH), info=LATER),
    Column("quantity", Integer, info=LATER),
    Column("value", Double, info=LATER),
    Index("ix_user_interactions_user_id", "user_id"),
    Index("ix_user_interactions_created_at", "created_at"),
    sqlite_autoincrement=True,
    **_MYSQL,
)

# no foreign key to the catalog: products come and go, ratings stay
ratings = Table(
    "product_ratings",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("product_id", _product_id(), primary_key=True),
    Column("rating", Numeric(2, 1, asdecimal=False), nullable=False),
    Column("created_at", _time()),  # NULL: not known; an earlier release wrote 1970-01-01
    Column("updated_at", _time(), nullable=False, server_default=_ThisMoment()),
    Index("ix_product_ratings_product_id", "product_id"),
    Index("ix_product_ratings_updated_at", "updated_at"),
    **_MYSQL,
)

recommendations = Table(
    "recommendations",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column(quoted_name("rank", quote=True), Integer, primary_key=True, autoincrement=False),  # reserved in MySQL 8
    Column("product_id", _product_id(), nullable=False),
    Column("product_name", Text().with_variant(mysql.TEXT(), "mysql", "mariadb")),  # as in the catalog at that time
    Column("predicted_rating", Double),  # NULL: nobody has rated anything
    Column("source", String(16), nullable=False),  # neighbors, segment, popular or new
    Column("support", Double),  # sum of the cosines of the neighbors who rated it
    Column("n_neighbors", Integer),  # number of neighbors who rated it
    Column("generated_at", _time(), nullable=False),
    **_MYSQL,
)


def lists_by_text(length: int) -> Table:
    """Return ``recommendations`` of a shop whose user ids are texts of up to so many characters, compared exactly."""
    lists = recommendations.to_metadata(MetaData())
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    lists.c.user_id.type = String(length).with_variant(exact, "mysql", "mariadb")
    return lists


# one row for each deletion of a rating or a user through the service (see recommender.database.deletions_log)
deletions = Table(
    "live_deletions",
    metadata,
    Column("deletion_id", _big_id(), primary_key=True, autoincrement=True),
    Column("user_id", BigInteger, nullable=False),
    Column("deleted_at", _time(), nullable=False),
    Column("erased", Boolean),  # true: everything of the user; NULL: noted by a release that did not tell
    sqlite_autoincrement=True,
    **_MYSQL,
)


# one row for each session of the pages that somebody ended before its time (see recommender.service.session)
sign_outs = Table(
    "recommender_sign_outs",
    metadata,
    Column("nonce", String(32), primary_key=True),
    Column("ends", BigInteger, nullable=False),  # seconds since 1970
    **_MYSQL,
)


def _origin_table(name: str) -> Table:
    """Return the table for a step's notes about its tables; it is swapped together with them (``database.origin``)."""
    columns = Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
    return Table(name, metadata, *columns, **_MYSQL)


catalog_origin = _origin_table("catalog_origin")
data_origin = _origin_table("data_origin")

# one row for each training run there ever was (see recommender.publishing.versions)
model_versions = Table(
    "model_versions",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),  # published, kept or expired
    Column("made_at", _time(), nullable=False),
    Column("fingerprint", String(64), nullable=False),  # of the data its lists are made of
    Column("n_ratings", BigInteger, nullable=False),
    Column("n_rows", BigInteger, nullable=False),  # of its lists
    Column("settings", Text, nullable=False),  # JSON
    Column("metrics", Text),  # JSON; NULL if it was not evaluated
    **_MYSQL,
)

# the other tables that are ours (see recommender.database.own_tables)
own_tables = Table(
    "recommender_tables",
    metadata,
    Column("table_name", _exact(64), primary_key=True),
    Column("purpose", String(16), nullable=False),  # live, staging, old or kept
    Column("made_for", String(64), nullable=False),  # the live table whose place it has, had or will have
    Column("version", Integer),  # the version of its lists; NULL: it is not kept
    Column("made_at", _time(), nullable=False),
    **_MYSQL,
)

CATALOG_TABLES = (categories, products, catalog_origin)
SHOPPER_TABLES = (users, user_id_map, interactions, ratings, data_origin)
BATCH_TABLES = (recommendations, model_versions)
