"""Step 3: train the user-based collaborative filter, show a sample, write a batch of recommendations.

    python recommendation_engine.py                  # batch: the 500 smallest user_ids with ratings
    python recommendation_engine.py --users all      # everybody
    python recommendation_engine.py --user 42        # whose recommendations to show as the sample
    python recommendation_engine.py --check-data     # a report on the ratings before training

With r(u,i) the rating of product i by user u, unrated = 0:

    cosine(u,v)    = sum of r(u,i) r(v,i) / (|r(u)| |r(v)|)        norms over all ratings of a user
    neighbors(u)   = the TOP_N_SIMILAR_USERS others of highest cosine > 0; equal ones by smaller user_id
    predicted(u,i) = sum of cosine(u,v) r(v,i) / sum of cosine(u,v)   over the neighbors v who rated i

Products the user has not rated and the catalog holds, by predicted rating, then by the sum of cosines (support), then
by product_id; the first TOP_N_RECOMMENDATIONS. Exact: no approximate index, ties decided in whole numbers.
Resnick et al., GroupLens, CSCW 1994; Herlocker et al., SIGIR 1999.

In a notebook:

    import recommendation_engine as re
    engine = re.build_engine()
    matrix, similarity_matrix = re.load_model(engine)
    re.enrich_with_product_details(re.get_recommendations(42, matrix, similarity_matrix), engine)
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine, delete, insert, select
from tqdm import tqdm

from recommender import dense
from recommender.batch import recommendation_batches
from recommender.bulk_load import staged
from recommender.bulk_read import as_fixed_bytes, read_ratings, read_table
from recommender.data_report import describe, forecast
from recommender.database import (
    connect,
    count_rows,
    database_errors,
    existing_tables,
    label,
    refuse_foreign_tables,
    require_rows,
    writing,
)
from recommender.errors import RecommenderError, SettingError, UnknownUserError
from recommender.neighbors import CosineIndex
from recommender.origin import origin_batch, read_origin
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix, build_rating_matrix, checked_user_id
from recommender.schema import BATCH_TABLES, products, ratings, recommendations, recommendations_origin
from recommender.schema import users as users_table
from recommender.scoring import rank_products
from recommender.self_check import self_check
from recommender.settings import DATABASE_OPTIONS, Settings, add_options, checked_number, load_settings
from recommender.warm_up import warm_up

TOP_N_SIMILAR_USERS = 20
TOP_N_RECOMMENDATIONS = 10

BATCH_SAMPLE = 500  # users of a batch unless --users says otherwise


def build_engine() -> Engine:
    """Return the SQLAlchemy engine for the configured database, tried once.

    TOP_N_SIMILAR_USERS and TOP_N_RECOMMENDATIONS given by the environment or .env become this module's constants, so
    that a notebook follows the same settings as the script. Raises DatabaseError, StepOrderError or SettingError.
    """
    global TOP_N_SIMILAR_USERS, TOP_N_RECOMMENDATIONS
    settings = load_settings(constants=module_constants())
    TOP_N_SIMILAR_USERS = settings.top_n_similar_users
    TOP_N_RECOMMENDATIONS = settings.top_n_recommendations
    return connect(settings)


def load_model(engine: Engine) -> tuple[RatingMatrix, CosineIndex]:
    """Return ``(matrix, similarity_matrix)``: all ratings as users x products, and the user-user cosine.

    The matrix is sparse; the similarity computes exact rows when they are asked for (all pairs of 200,000 users would
    not fit into memory), ``similarity_matrix.similarities(row)`` gives one whole row. Both are memory in proportion to
    the ratings. Raises StepOrderError if there are no ratings, RatingError for one that is not 0.5..5.0 in half steps.
    """
    require_rows(engine, products, "run python to_rds.py first")
    require_rows(engine, ratings, "run python load_recommendation_data.py first")
    columns = read_ratings(engine)
    catalog = read_table(engine, [products.c.asin]).column(0)
    in_catalog = pc.is_in(columns.products, value_set=catalog.cast(columns.products.type))
    matrix = build_rating_matrix(
        columns.user_ids,
        as_fixed_bytes(columns.products),
        columns.product_codes,
        columns.half_stars,
        in_catalog=in_catalog.to_numpy(zero_copy_only=False),
    )
    return matrix, CosineIndex(matrix.half_stars)


def get_recommendations(
    user_id: Any,
    matrix: RatingMatrix | pd.DataFrame,
    similarity_matrix: Any,
    *,
    n_neighbors: int | None = None,
    n: int | None = None,
) -> pd.DataFrame:
    """Return the ranked products for one user, best first.

    Columns: ``product_id``, ``predicted_rating`` (stars), then the evidence: ``support`` (sum of the cosines of the
    neighbors who rated it) and ``n_neighbors`` (how many they are). A short list is never filled up; a user without
    neighbors gets an empty one. ``matrix`` and ``similarity_matrix`` are what ``load_model`` returned, or a DataFrame
    users x products (unrated = 0) and a dense similarity (array or DataFrame). ``n_neighbors`` and ``n`` default to
    TOP_N_SIMILAR_USERS and TOP_N_RECOMMENDATIONS as they are at this moment.
    Raises UnknownUserError for a user who is not in the matrix, RatingError, SettingError.
    """
    k = _or_constant(n_neighbors, "TOP_N_SIMILAR_USERS")
    top = _or_constant(n, "TOP_N_RECOMMENDATIONS")
    if not isinstance(matrix, RatingMatrix | pd.DataFrame):
        raise SettingError(f"the matrix is a {type(matrix).__name__}: pass what load_model returned, or a DataFrame")
    if isinstance(matrix, pd.DataFrame):
        names, ranked = dense.rank_frame(user_id, matrix, similarity_matrix, n_neighbors=k, n=top)
    else:
        row = matrix.row_of(user_id)
        neighbors, similarities = dense.find_neighbors(similarity_matrix, matrix.user_ids, row, k)
        ranked = rank_products(
            matrix.half_stars,
            row,
            neighbors,
            similarities,
            n=top,
            recommendable=matrix.recommendable,
            scale=STARS_PER_UNIT,
        )
        names = matrix.products(ranked.columns)
    return pd.DataFrame(
        {
            "product_id": pd.Series(names, dtype="object"),
            "predicted_rating": ranked.predicted,
            "support": ranked.support,
            "n_neighbors": ranked.n_raters,
        }
    )


def _or_constant(value: int | None, name: str) -> int:
    """The argument, or else the module's constant as it is now; SettingError if it cannot be used."""
    return checked_number(name, module_constants()[name] if value is None else value)


def enrich_with_product_details(rec_df: pd.DataFrame, engine: Engine) -> pd.DataFrame:
    """Return ``rec_df`` with ``product_name`` and ``price`` added, row order and other columns as they were.

    A product that has left the catalog, or has no title, has the name None; a price that is not known is NaN.
    """
    wanted = [str(product) for product in rec_df["product_id"].unique()]
    found: dict[str, tuple[str | None, float]] = {}
    statement = select(products.c.asin, products.c.title, products.c.price)
    with database_errors(engine), engine.connect() as connection:
        for start in range(0, len(wanted), 500):  # SQLite allows 999 parameters in its older versions
            rows = connection.execute(statement.where(products.c.asin.in_(wanted[start : start + 500])))
            found.update({asin: (title, price) for asin, title, price in rows})
    details = [found.get(str(product), (None, float("nan"))) for product in rec_df["product_id"]]
    return rec_df.assign(
        product_name=pd.Series([title for title, _ in details], index=rec_df.index, dtype="object"),
        price=pd.Series([price for _, price in details], index=rec_df.index, dtype="float64"),
    )


def save_recommendations(user_id: int, rec_df: pd.DataFrame, engine: Engine) -> None:
    """Replace the rows of ``user_id`` in ``recommendations`` by ``rec_df`` in its order, in one transaction.

    ``rec_df`` needs ``product_id`` (each once) and ``predicted_rating``. SettingError, ForeignDataError, DatabaseError.
    """
    user = checked_user_id(user_id)
    for name in ("product_id", "predicted_rating"):
        if name not in rec_df.columns:
            raise SettingError(f"the recommendations have no column {name}: pass what get_recommendations returned")
    if rec_df["product_id"].duplicated().any():
        twice = rec_df["product_id"][rec_df["product_id"].duplicated()].iloc[0]
        raise SettingError(f"the recommendations hold product {twice} twice: pass each product once")
    refuse_foreign_tables(engine, [recommendations])
    with database_errors(engine):
        recommendations.create(engine, checkfirst=True)
    generated_at = datetime.now(UTC).replace(tzinfo=None)
    evidence = [name for name in ("support", "n_neighbors") if name in rec_df.columns]
    wanted = rec_df[["product_id", "predicted_rating", *evidence]]
    rows: list[dict[str, Any]] = [
        {"user_id": user, "rank": rank, "source": "neighbors", "generated_at": generated_at}
        | {str(name): value for name, value in row.items()}
        for rank, row in enumerate(wanted.to_dict("records"), start=1)
    ]
    with writing(engine) as connection:
        connection.execute(delete(recommendations).where(recommendations.c.user_id == user))
        if rows:
            connection.execute(insert(recommendations), rows)


def batch_generate(
    matrix: RatingMatrix,
    similarity_matrix: CosineIndex,
    engine: Engine,
    *,
    users: int | None = BATCH_SAMPLE,
    n_neighbors: int | None = None,
    n: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Recommend to the ``users`` smallest user_ids with ratings (None: to all) and replace the whole table with it.

    Readers see the old lists or the new ones, never a mixture. Lists that the neighbors leave short are topped up
    with popular products (``source`` tells which). ``progress`` is called with the number of rows written so far.
    Returns the number of rows in the new table.
    """
    if not isinstance(matrix, RatingMatrix) or not isinstance(similarity_matrix, CosineIndex):
        raise SettingError("batch_generate works on what load_model returned; use get_recommendations for a DataFrame")
    if users is not None and users < 1:
        raise SettingError(f"users={users}: give 1 or more, or None for all")
    k = _or_constant(n_neighbors, "TOP_N_SIMILAR_USERS")
    top = _or_constant(n, "TOP_N_RECOMMENDATIONS")
    refuse_foreign_tables(engine, BATCH_TABLES)
    n_users = matrix.shape[0] if users is None else min(users, matrix.shape[0])
    origin = batch_origin(matrix, n_users, k, top)
    batches = recommendation_batches(
        matrix, similarity_matrix, np.arange(n_users), n_neighbors=k, n=top, generated_at=datetime.now(UTC)
    )
    with staged(engine, BATCH_TABLES) as stage:
        written = stage.load(recommendations, _reporting(batches, progress)).kept
        stage.load(recommendations_origin, [origin_batch(origin | {"rows": written})])
        stage.publish()
    return written


def _reporting(batches: Iterable[pa.RecordBatch], progress: Callable[[int], object] | None) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        if progress:
            progress(batch.num_rows)


def batch_origin(matrix: RatingMatrix, n_users: int, n_neighbors: int, n: int) -> dict[str, Any]:
    """What a batch is made from: equal origins, equal lists."""
    return {"users": n_users, "n_neighbors": n_neighbors, "n": n, "ratings": matrix.fingerprint()}


def is_current(engine: Engine, origin: dict[str, Any]) -> bool:
    """Does the table hold the lists made from ``origin``, all of them?"""
    noted = read_origin(engine, recommendations_origin) or {}
    rows = noted.pop("rows", None)
    there = recommendations.name in existing_tables(engine)
    return there and noted == origin and rows == count_rows(engine, recommendations)


def module_constants() -> dict[str, object]:
    return {"TOP_N_SIMILAR_USERS": TOP_N_SIMILAR_USERS, "TOP_N_RECOMMENDATIONS": TOP_N_RECOMMENDATIONS}


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Step 3: train on the ratings in the database, show a sample, write a batch of recommendations.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--users",
        default=str(BATCH_SAMPLE),
        metavar="N|all",
        help=f"recommend to the N smallest user_ids with ratings, or to all (default: {BATCH_SAMPLE})",
    )
    parser.add_argument("--user", metavar="ID", help="the user shown as a sample (default: the smallest user_id)")
    parser.add_argument("--if-stale", action="store_true", help="write no batch if the one there is of the same data")
    parser.add_argument(
        "--check-data", action="store_true", help="report on the ratings and what training will take, write nothing"
    )
    add_options(parser, [*module_constants(), *DATABASE_OPTIONS])
    return parser.parse_args(arguments)


def _batch_size(text: str) -> int | None:
    if text == "all":
        return None
    if text.isascii() and text.isdigit() and 0 < int(text) <= 2**31:
        return int(text)
    raise SettingError(f"--users {text!r} is neither a number of users (1 or more) nor 'all'")


def _sample_user(text: str | None, matrix: RatingMatrix) -> int:
    if text is None:
        return int(matrix.user_ids[0])
    if not (text.isascii() and text.isdigit()):
        raise UnknownUserError(text)
    return int(text)


def show_sample(user_id: int, recs: pd.DataFrame) -> None:
    """Print one user's recommendations as a table."""
    print(f"\nRecommendations for user {user_id}:")
    if recs.empty:
        print("  none: no other user shares a product with this one")
        return
    shown = recs.assign(product_name=[(name or "(no title)")[:60] for name in recs["product_name"]])
    shown.insert(0, "rank", range(1, len(shown) + 1))
    print(shown.to_string(index=False, formatters={"predicted_rating": "{:.3f}".format, "support": "{:.3f}".format}))
    print()


def check_data(settings: Settings) -> None:
    """Print counts, a forecast of what a batch for all users takes, and a plain verdict."""
    engine = connect(settings)
    warm_up(lambda: print("compiling the engine for this machine, once: about 20 s ..."))
    started = time.perf_counter()
    matrix, similarity_matrix = load_model(engine)
    loading = time.perf_counter() - started
    listed = read_table(engine, [users_table.c.user_id]).column(0).to_numpy()
    n_users, n_catalog = len(np.union1d(matrix.user_ids, listed)), count_rows(engine, products)
    ahead = forecast(
        matrix,
        similarity_matrix,
        n_neighbors=settings.top_n_similar_users,
        n=settings.top_n_recommendations,
        rng=np.random.default_rng(0),
    )
    print(label(engine))
    print(describe(matrix, n_users=n_users, n_catalog=n_catalog).as_text(loading, ahead))


def run(settings: Settings, *, users: int | None, sample_user: str | None, if_stale: bool) -> None:
    """Load, train, check, show and write; print what was done and how long each part took."""
    k, top = settings.top_n_similar_users, settings.top_n_recommendations
    engine = connect(settings)
    print(label(engine))
    warm_up(lambda: print("compiling the engine for this machine, once: about 20 s ..."))
    started = time.perf_counter()
    matrix, similarity_matrix = load_model(engine)
    loaded = time.perf_counter()
    n_users, n_products = matrix.shape
    print(f"loaded   {matrix.n_ratings:,} ratings of {n_users:,} users on {n_products:,} products", end="")
    print(f" in {loaded - started:.2f} s ({matrix.recommendable.sum():,} of the products are in the catalog)")
    wanted = batch_origin(matrix, n_users if users is None else min(users, n_users), k, top)
    if if_stale and is_current(engine, wanted):
        print("batch    unchanged: the table holds the lists of these ratings")
        return
    checked, difference = self_check(matrix, similarity_matrix)
    print(f"checked  cosines of {checked} users against scikit-learn: largest difference {difference:.1e}", end="")
    print(f" in {time.perf_counter() - loaded:.2f} s")
    user_id = _sample_user(sample_user, matrix)
    recs = get_recommendations(user_id, matrix, similarity_matrix, n_neighbors=k, n=top)
    show_sample(user_id, enrich_with_product_details(recs, engine))
    started = time.perf_counter()
    with tqdm(total=wanted["users"] * top, unit=" rows", unit_scale=True, desc="batch", delay=1, leave=False) as bar:
        written = batch_generate(
            matrix, similarity_matrix, engine, users=users, n_neighbors=k, n=top, progress=bar.update
        )
    print(f"batch    {written:,} rows for {wanted['users']:,} users into recommendations", end="")
    print(f" in {time.perf_counter() - started:.2f} s")


def main(arguments: list[str] | None = None) -> int:
    """Run step 3; the exit status."""
    options = _parse_arguments(arguments)
    try:
        settings = load_settings(vars(options), module_constants())
        if options.check_data:
            check_data(settings)
            return 0
        run(settings, users=_batch_size(options.users), sample_user=options.user, if_stale=options.if_stale)
    except RecommenderError as error:
        print(f"recommendation_engine.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
