"""The shop's tables read over JDBC by all executors at once, in the form of `recommender.spark.frames`.

Each part of a table is one statement on a connection of its own, so there is no one moment of all rows: nobody can
give several sessions the same view without locking out the writers. What is promised is what the local reader
promises: the cursor is read first, so every change from then on counts as a change, which the live updates take over,
whether its row was read or not. A user's ratings are read by one statement. Fewer rows than there were, or the people
of another shop, stop the batch at its end (`recommender.publishing.publication`).

Rules for usable rows and their counts are those of `recommender.database.usable_rows`: the server evaluates the same
SQL in each part. Rows are kept on the executors after this one reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Table
from sqlalchemy.sql.elements import ColumnElement

from recommender.database import (
    event_time,
    existing_tables,
    fault_of,
    has_rows,
    people_are_texts,
    read_catalog,
    read_cursor,
    refuse_faulty_table,
    require_people,
    require_rows,
    scale_of,
    steps_in_sql,
    token_of,
)
from recommender.database.schema import INTERACTION_TYPES, interactions, products, ratings, user_id_map, users
from recommender.errors import SparkError
from recommender.settings import Settings
from recommender.spark.frames import Frames
from recommender.spark.id_ranges import predicates
from recommender.spark.lists.plan import fit_shuffles
from recommender.spark.names import all_names
from recommender.spark.session import MYSQL_DRIVER
from recommender.spark.shop_frames import INTERACTIONS, NAMES, PEOPLE, RATINGS, ShopFrames, as_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FETCH_ROWS = 10_000  # without it the driver takes a whole part into memory
SOCKET_TIMEOUT = 600_000  # milliseconds
_SESSION = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'"


class JdbcSource:
    """The tables of a database for the executors; ``driver``: the class in the jar that the session has."""

    def __init__(self, spark: SparkSession, engine: Engine, settings: Settings, driver: str) -> None:
        self._spark, self._engine = spark, engine
        parameters = "&".join(f"{name}={value}" for name, value in _parameters(settings, driver).items())
        self._url = f"jdbc:mysql://{_host(settings.db_host)}:{settings.db_port}/?{parameters}"
        self._options = {
            "driver": driver,
            "user": settings.db_user,
            "password": settings.db_password,  # Spark shows it neither in plans nor on its web page
            "fetchsize": str(FETCH_ROWS),
            "sessionInitStatement": _SESSION,
        }
        self._database = engine.dialect.identifier_preparer.quote_identifier(settings.db_name)

    def read(self) -> ShopFrames:
        """Return the shop. Errors as `recommender.database.read_snapshot`, and SparkError."""
        engine = self._engine
        require_rows(engine, products, "run python to_rds.py first")
        with_log = has_rows(engine, interactions)
        if not with_log:
            require_rows(engine, ratings, "run python load_recommendation_data.py first")
        people, scale, cursor = token_of(engine), scale_of(engine), read_cursor(engine)
        left_out = dict[str, int]()
        rated, n_ratings = self._ratings(left_out)
        events, n_events = self._interactions(left_out) if with_log else (None, 0)
        fit_shuffles(self._spark, n_ratings + n_events)
        catalog = read_catalog(engine)
        persons = self._people(left_out)
        frames = Frames(rated, events, persons, self._names(rated, events, persons))
        require_people(engine, people)
        left_out |= catalog.left_out
        return ShopFrames(frames, catalog, n_ratings, scale, people, cursor, left_out)

    def _ratings(self, left_out: dict[str, int]) -> tuple[DataFrame, int]:
        if not has_rows(self._engine, ratings):
            return self._spark.createDataFrame([], RATINGS), 0
        scale = scale_of(self._engine)
        columns = {
            "steps": self._sql(steps_in_sql(ratings.c.rating, scale)),
            "rated_at": self._sql(event_time(self._engine, ratings.c.created_at, "t").element),
            "fault": self._sql(fault_of(self._engine, ratings, scale).element),
        }
        return self._usable(ratings, columns, RATINGS, left_out)

    def _interactions(self, left_out: dict[str, int]) -> tuple[DataFrame | None, int]:
        """Return the usable interactions, None if there are none, and their number."""
        whens = " ".join(f"WHEN '{name}' THEN {kind}" for kind, name in enumerate(INTERACTION_TYPES))
        columns = {
            "kind": f"CASE interaction_type {whens} END",
            "time": self._sql(event_time(self._engine, interactions.c.created_at, "t").element),
            "fault": self._sql(fault_of(self._engine, interactions).element),
        }
        found, n = self._usable(interactions, columns, INTERACTIONS, left_out)
        return found if n else None, n

    def _usable(
        self, table: Table, columns: Mapping[str, str], schema: str, left_out: dict[str, int]
    ) -> tuple[DataFrame, int]:
        """Read ``table`` once into the executors' memory and disks; return its usable rows and their number."""
        rows = self._table(table, {"user_id": "user_id", "product_id": "product_id", **columns}).persist()
        ((total, n_faulty),) = rows.selectExpr("COUNT(*)", "COUNT(fault)").collect()
        n_usable, faults = int(total - n_faulty), dict[str, int]()
        if n_faulty:
            counts = rows.where("fault IS NOT NULL").groupBy("fault").count().collect()
            faults = {f"{table.name}.{row['fault']}": int(row["count"]) for row in counts}
        scale = scale_of(self._engine) if table is ratings else None
        refuse_faulty_table(self._engine, table, faults, n_usable, scale)
        left_out |= faults
        return as_frame(rows.where("fault IS NULL"), schema), n_usable

    def _people(self, left_out: dict[str, int]) -> DataFrame | None:
        if users.name not in existing_tables(self._engine):
            return None
        columns = {name: name for name in ("user_id", "country", "age_group")}
        rows = self._table(users, columns).persist()
        n_faulty = rows.where("user_id IS NULL OR user_id < 0").count()
        left_out |= {f"{users.name}.user_id": n_faulty} if n_faulty else {}
        return as_frame(rows.where("user_id >= 0"), PEOPLE)

    def _names(self, *frames: DataFrame | None) -> DataFrame | None:
        """Return what the shop calls its users; None if by their numbers."""
        there = existing_tables(self._engine)
        with self._engine.connect() as connection:
            if not people_are_texts(connection, there):
                return None
        known = self._spark.createDataFrame([], NAMES)
        if user_id_map.name in there:
            rows = self._table(user_id_map, {"user_id": "user_id", "text": "external_id"})
            known = as_frame(rows.where("user_id IS NOT NULL AND text IS NOT NULL"), NAMES)
        return all_names(known, [frame for frame in frames if frame is not None]).persist()

    def _table(self, table: Table, columns: Mapping[str, str]) -> DataFrame:
        """Return columns of ``table``, each an expression of SQL by its name."""
        name = self._engine.dialect.identifier_preparer.quote(table.name)
        chosen = ", ".join(f"{sql} AS {column}" for column, sql in columns.items())
        source = f"(SELECT {chosen} FROM {self._database}.{name}) AS {name}"
        parts = predicates(self._engine, table, self._spark.sparkContext.defaultParallelism)
        return self._spark.read.jdbc(self._url, source, predicates=parts, properties=self._options)

    def _sql(self, expression: ColumnElement[Any]) -> str:
        return str(expression.compile(self._engine, compile_kwargs={"literal_binds": True}))


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _parameters(settings: Settings, driver: str) -> dict[str, str]:
    """Return what the address of a connection says; Spark hands options to the driver in small letters only."""
    found = {"connectTimeout": "5000", "socketTimeout": str(SOCKET_TIMEOUT)}
    if driver == MYSQL_DRIVER:
        if settings.db_ssl_ca:
            reason = "MySQL's JDBC driver takes no PEM file, and DB_SSL_CA is one"
            raise SparkError(f"{reason}: name the jar of MariaDB Connector/J with --jdbc-jar")
        return found | {"useCursorFetch": "true", "allowPublicKeyRetrieval": "true", "sslMode": "DISABLED"}
    if settings.db_ssl_ca:  # the text of the certificates: an executor's machine has no such file
        found |= {"useSsl": "true", "sslMode": "verify-full"}
        found |= {"serverSslCert": Path(settings.db_ssl_ca).read_text(encoding="ascii")}
    return {"permitMysqlScheme": "true", **found}
