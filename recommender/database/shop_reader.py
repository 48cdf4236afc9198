"""A reader of the shop's tables into the types of `recommender.shop`: ratings, interactions, products, people."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Engine, Integer, Label, case, column, literal_column, select

from recommender.database.bulk_read import RatingColumns, codes_of, fitting, read_ratings, read_table
from recommender.database.clock import event_time
from recommender.database.connection import database_errors, label
from recommender.database.cursor_reader import read_cursor
from recommender.database.identities import require_people, token_of
from recommender.database.rating_scale import scale_of
from recommender.database.schema import INTERACTION_TYPES, LARGEST_INT, interactions, products, ratings, users
from recommender.database.tables import existing_tables, has_rows, require_rows
from recommender.database.usable_rows import LeftOut, count_left_out, refuse_faulty_table, usable
from recommender.database.user_names import read_user_ids
from recommender.errors import DatabaseError, StepOrderError
from recommender.shop import (
    IN_STOCK,
    NO_CATEGORY,
    Interactions,
    People,
    Product,
    ProductCatalog,
    RatingMatrix,
    Snapshot,
    UserIds,
    build_rating_matrix,
    known_prices,
    product_id_bytes,
    product_id_texts,
    widened,
)

NO_RATINGS = (
    "there are interactions and no ratings, which the classic ranking needs: leave RANKING out, or set it to auto, "
    "taste or items"
)


def read_snapshot(engine: Engine, *, times: bool = True, log: bool = True) -> Snapshot:
    """Read the whole shop, each table once; ``times``: also the times of the ratings; ``log``: also the interactions.

    With ``log`` the shop may have interactions alone. StepOrderError if there are no products, or no ratings where they
    are needed, RatingError if too many rows are not usable, DatabaseError, OtherPeopleError if the people changed
    meanwhile.
    """
    ratings = _read_matrix(
        engine, times=times, known=lambda names: np.zeros(len(names), np.bool_), optional=log and _has_log(engine)
    )
    catalog = read_catalog(engine)
    ratings = replace(ratings, recommendable=catalog.rows_of(ratings.product_ids) >= 0)
    snapshot = Snapshot(ratings, catalog, read_people(engine), _read_log(engine, ratings.ids) if log else None)
    require_people(engine, ratings.people)
    return snapshot


def around(engine: Engine, ratings: RatingMatrix) -> Snapshot:
    """Read the catalog and the people for ratings that were read before. DatabaseError, RatingError."""
    return Snapshot(ratings, read_catalog(engine), read_people(engine))


def read_rating_matrix(engine: Engine, *, times: bool = False, optional: bool = False) -> RatingMatrix:
    """Return all usable ratings as users x products; of the catalog read only the ids. Errors as `read_snapshot`.

    ``optional``: there may be no ratings.
    """
    matrix = _read_matrix(engine, times=times, known=lambda names: in_catalog(engine, names), optional=optional)
    require_people(engine, matrix.people)
    return matrix


def read_taste_data(engine: Engine) -> tuple[RatingMatrix, Interactions | None]:
    """Return ratings with times, and the log; the matrix has rows and columns also for what only the log has."""
    matrix = read_rating_matrix(engine, times=True, optional=_has_log(engine))
    log = _read_log(engine, matrix.ids)
    if log is None:
        return matrix, None
    require_people(engine, matrix.people)
    names = product_id_texts(log.product_ids)
    return widened(matrix, log, in_catalog(engine, names)), log


def in_catalog(engine: Engine, product_ids: pa.StringArray) -> NDArray[np.bool_]:
    """Return which of these products are in the catalog, (n,)."""
    catalog = read_table(engine, [products.c.asin]).column(0)
    found = pc.is_in(product_ids, value_set=catalog.cast(product_ids.type))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def _read_matrix(
    engine: Engine, *, times: bool, known: Callable[[pa.StringArray], NDArray[np.bool_]], optional: bool
) -> RatingMatrix:
    """Return all usable ratings; ``known``: tells which of their products may be recommended."""
    require_rows(engine, products, "run python to_rds.py first")
    if not optional:
        _require_ratings(engine)
    people, scale = token_of(engine), scale_of(engine)
    cursor = read_cursor(engine)
    columns = read_ratings(engine, scale=scale, times=times) if has_rows(engine, ratings) else _no_ratings(times=times)
    ids = read_user_ids(engine, columns.user_ids)
    columns = columns if (known_ones := ids.know(columns.user_ids)).all() else columns.where(known_ones)
    product_ids = product_id_bytes(columns.products)
    assert product_ids is not None  # usable
    matrix = build_rating_matrix(
        columns.user_ids,
        product_ids,
        columns.product_codes,
        columns.steps,
        in_catalog=known(columns.products),
        rated_at=columns.rated_at,
        left_out=columns.left_out,
        scale=scale,
        ids=ids,
    )
    return replace(matrix, people=people, cursor=cursor)


def _no_ratings(*, times: bool = False) -> RatingColumns:
    """Return the columns of a shop without ratings."""
    nobody, nothing = np.empty(0, np.int64), pa.array([], pa.string())
    return RatingColumns(nobody, np.empty(0, np.int32), nothing, np.empty(0, np.int8), nobody if times else None)


def _require_ratings(engine: Engine) -> None:
    """Raise StepOrderError unless there are ratings: of a shop with interactions alone with the rankings for it."""
    if _has_log(engine) and not has_rows(engine, ratings):
        raise StepOrderError(f"{label(engine)}: {NO_RATINGS}")
    require_rows(engine, ratings, "run python load_recommendation_data.py first")


def _has_log(engine: Engine) -> bool:
    return has_rows(engine, interactions)


def _read_log(engine: Engine, ids: UserIds) -> Interactions | None:
    """Return the interactions of users with ``ids``; None if there are none: a log without a usable row was refused.

    Users who came after the ``ids`` were read are found as changes.
    """
    if interactions.name not in existing_tables(engine):
        return None
    log = read_interactions(engine)
    log = log if (known := ids.know(log.user_ids)).all() else log.where(known)
    return log if len(log) else None


def read_interactions(engine: Engine) -> Interactions:
    """Return all usable interactions. Raises DatabaseError, RatingError if too many of them are not usable."""
    c = interactions.c
    # a number for each type, from 0: texts would take five times as long
    whens = " ".join(f"WHEN '{name}' THEN {kind}" for kind, name in enumerate(INTERACTION_TYPES))
    kind = literal_column(f"CASE interaction_type {whens} END", BigInteger).label("kind")
    columns = [c.user_id, c.product_id, kind, event_time(engine, c.created_at, "time")]
    found = _interactions(read_table(engine, columns))
    if found is not None:
        return found
    left_out = count_left_out(engine, interactions)
    found = _interactions(read_table(engine, columns, where=usable(engine, interactions)))
    if found is None:
        reason = f"the rows of {interactions.name} changed while they were read; run it again"
        raise DatabaseError(f"{label(engine)}: {reason}")
    refuse_faulty_table(engine, interactions, left_out, len(found))
    return replace(found, left_out=left_out)


def _interactions(table: pa.Table) -> Interactions | None:
    """Return the log; None if one of the rows is not usable."""
    if any(column.null_count for column in table.columns):
        return None
    user_ids = table["user_id"].to_numpy()
    codes, names = codes_of(table["product_id"])
    product_ids = product_id_bytes(names)
    if product_ids is None or (len(user_ids) and user_ids.min() < 0):
        return None
    kinds = table["kind"].to_numpy().astype(np.int8)
    return Interactions(user_ids, codes, product_ids, kinds, table["time"].to_numpy())


def read_people(engine: Engine) -> People:
    """Return all rows of ``users`` with an id from 0; none if there is no such table. DatabaseError."""
    if users.name not in existing_tables(engine):
        nothing = pa.chunked_array([], pa.string())
        return People(np.empty(0, np.int64), nothing, nothing)
    columns = [users.c.user_id, users.c.country, users.c.age_group]
    everybody = read_table(engine, columns, order_by=users.c.user_id)
    table = everybody.filter(pc.greater_equal(everybody["user_id"], 0))  # and not NULL
    n_left_out = len(everybody) - len(table)
    left_out = {f"{users.name}.{users.c.user_id.name}": n_left_out} if n_left_out else {}
    return People(table["user_id"].to_numpy(), table["country"], table["age_group"], left_out)


def read_catalog(engine: Engine) -> ProductCatalog:
    """Read the whole catalog, in one pass over the table; products with an unusable id are left out.

    DatabaseError, RatingError if too many are left out.
    """
    c, stock = products.c, _stock_column(engine)
    columns, left_out = [c.asin, c.title, c.price, c.stars, c.category_id, *stock], dict[str, int]()
    table = read_table(engine, columns)
    ids = product_id_bytes(_one_chunk(table["asin"]))
    if ids is None:
        left_out = count_left_out(engine, products)
        table = read_table(engine, columns, where=usable(engine, products))
        ids = product_id_bytes(_one_chunk(table["asin"]))
        if ids is None:
            raise DatabaseError(f"{label(engine)}: {products.name} changed while it was read; run it again")
        refuse_faulty_table(engine, products, left_out, len(ids))
    return catalog_of(table, ids, left_out)


def catalog_of(table: pa.Table, ids: NDArray[np.bytes_], left_out: LeftOut) -> ProductCatalog:
    """Return the catalog of the columns title, price, stars, category_id, and ``in_stock`` if there is one.

    ``ids``: of the rows, distinct, in any order.
    """
    order = np.argsort(ids)
    rows = pa.array(order)
    return ProductCatalog(
        ids[order],
        _one_chunk(table["title"]).take(rows),
        known_prices(table["price"].to_numpy())[order],
        _known_stars(table["stars"].to_numpy())[order],
        _categories(table["category_id"])[order],
        table[IN_STOCK].to_numpy()[order] > 0 if IN_STOCK in table.column_names else None,
        left_out,
    )


def as_product(title: Any, price: Any, stars: Any, category_id: Any) -> Product:
    """Return the facts in one row of the catalog, as `read_catalog` reads them."""
    numbers = np.array([fitting(value, pa.float64()) for value in (price, stars)], np.float64)  # None is NaN
    price, stars = known_prices(numbers[:1]).item(), _known_stars(numbers[1:]).item()
    known = fitting(category_id, pa.int64())
    if known is not None and abs(known) > LARGEST_INT:
        known = None
    return Product(fitting(title, pa.string()), None if math.isnan(price) else price, stars or None, known)


def _known_stars(stars: NDArray[np.float64]) -> NDArray[np.float64]:
    return stars if np.isfinite(stars).all() else np.where(np.isfinite(stars), stars, 0.0)


def _categories(column: pa.ChunkedArray) -> NDArray[np.int32]:
    values: NDArray[np.int64] = column.fill_null(NO_CATEGORY).to_numpy()
    return np.where(np.abs(values) > LARGEST_INT, NO_CATEGORY, values).astype(np.int32)


def _stock_column(engine: Engine) -> list[Label[int]]:
    """Return SQL for 1 or 0 from the column that a shop may have added, NULL as 0; empty if there is none."""
    with database_errors(engine), engine.connect() as connection:
        names = connection.execute(select(literal_column("*")).select_from(products).limit(0)).keys()
    return [case((column(name, Integer) > 0, 1), else_=0).label(IN_STOCK) for name in names if name.lower() == IN_STOCK]


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([*column.chunks, pa.array([], column.type)])
