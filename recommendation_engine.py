"""Step 3: train the user-based collaborative filter, show a sample, write a batch of recommendations.

    python recommendation_engine.py                  # batch: the 500 smallest user_ids with ratings
    python recommendation_engine.py --users all      # everybody
    python recommendation_engine.py --user 42        # whose recommendations to show as the sample
    python recommendation_engine.py --check-data     # a report on the ratings before training
    python recommendation_engine.py --list-versions  # what was made when from how many ratings
    python recommendation_engine.py --rollback 6     # the lists of version 6 again

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
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from sqlalchemy import Engine
from tqdm import tqdm

from recommender import dense, user_lists
from recommender.batch import BatchJob, write_batch
from recommender.bulk_read import as_fixed_bytes, read_ratings, read_table
from recommender.data_report import describe, forecast
from recommender.database import connect, count_rows, label, require_rows
from recommender.errors import RecommenderError, SettingError, UnknownUserError
from recommender.neighbors import CosineIndex
from recommender.precomputed import PrecomputedIndex
from recommender.rating_matrix import STARS_PER_UNIT, RatingMatrix, build_rating_matrix
from recommender.schema import products, ratings
from recommender.schema import users as users_table
from recommender.scoring import rank_products
from recommender.self_check import self_check
from recommender.settings import DATABASE_OPTIONS, Settings, add_options, checked_number, load_settings
from recommender.user_lists import as_text
from recommender.versions import current_version, read_versions, roll_back
from recommender.warm_up import warm_up

TOP_N_SIMILAR_USERS = 20
TOP_N_RECOMMENDATIONS = 10
KEEP_VERSIONS = 3

BATCH_SAMPLE = 500  # users of a batch unless --users says otherwise


def build_engine() -> Engine:
    """Return the SQLAlchemy engine for the configured database, tried once.

    Settings given by the environment or .env become this module's constants (TOP_N_SIMILAR_USERS, ...), so that a
    notebook follows the same settings as the script. Raises DatabaseError, StepOrderError or SettingError.
    """
    settings = load_settings(constants=module_constants())
    globals().update({name: getattr(settings, name.lower()) for name in module_constants()})
    return connect(settings)


def load_model(engine: Engine, *, precompute: bool = False) -> tuple[RatingMatrix, CosineIndex]:
    """Return ``(matrix, similarity_matrix)``: all ratings as users x products, and the user-user cosine.

    The matrix is sparse; the similarity computes exact rows when they are asked for (all pairs of 200,000 users would
    not fit into memory), ``similarity_matrix.similarities(row)`` gives one whole row. Both are memory in proportion to
    the ratings. ``precompute``: find the TOP_N_SIMILAR_USERS neighbors of all users now; the answers are the same.
    Raises StepOrderError if there are no ratings, RatingError for one that is not 0.5..5.0 in half steps.
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
    if not precompute:
        return matrix, CosineIndex(matrix.half_stars)
    with tqdm(total=matrix.shape[0], unit=" users", desc="neighbors", delay=2, leave=False) as bar:
        k = _or_constant(None, "TOP_N_SIMILAR_USERS")
        return matrix, PrecomputedIndex(matrix.half_stars, k, progress=lambda done: bar.update(done - bar.n))


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
    return user_lists.with_product_details(rec_df, engine)


def save_recommendations(user_id: int, rec_df: pd.DataFrame, engine: Engine) -> None:
    """Replace the rows of ``user_id`` in ``recommendations`` by ``rec_df`` in its order, in one transaction.

    ``rec_df`` needs ``product_id`` (each once) and ``predicted_rating``. SettingError, ForeignDataError, DatabaseError.
    """
    user_lists.replace_list(user_id, rec_df, engine)


def batch_generate(
    matrix: RatingMatrix,
    similarity_matrix: CosineIndex,
    engine: Engine,
    *,
    users: int | None = BATCH_SAMPLE,
    n_neighbors: int | None = None,
    n: int | None = None,
    keep_versions: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Recommend to the ``users`` smallest user_ids with ratings (None: to all) and replace the whole table with it.

    Readers see the old lists or the new ones, never a mixture; the old ones are kept for a roll-back, up to
    ``keep_versions`` versions in all. Lists that the neighbors leave short are topped up with popular products
    (``source`` tells which). ``progress`` is called with the number of rows written so far. Returns the number of rows
    in the new table.
    """
    if not isinstance(matrix, RatingMatrix) or not isinstance(similarity_matrix, CosineIndex):
        raise SettingError("batch_generate works on what load_model returned; use get_recommendations for a DataFrame")
    if users is not None and users < 1:
        raise SettingError(f"users={users}: give 1 or more, or None for all")
    k = _or_constant(n_neighbors, "TOP_N_SIMILAR_USERS")
    top = _or_constant(n, "TOP_N_RECOMMENDATIONS")
    keep = _or_constant(keep_versions, "KEEP_VERSIONS")
    n_users = matrix.shape[0] if users is None else min(users, matrix.shape[0])
    job = BatchJob(np.arange(n_users), n_neighbors=k, n=top)
    return write_batch(engine, matrix, similarity_matrix, job, keep_versions=keep, progress=progress).n_rows


def module_constants() -> dict[str, object]:
    """The settings that are constants of this module, as they are at this moment."""
    names = ("TOP_N_SIMILAR_USERS", "TOP_N_RECOMMENDATIONS", "KEEP_VERSIONS")
    return {name: globals()[name] for name in names}


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
    parser.add_argument("--list-versions", action="store_true", help="print the versions there are, the newest first")
    parser.add_argument("--rollback", type=int, metavar="VERSION", help="publish the lists of a kept version again")
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


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Load, train, check, show and write; print what was done and how long each part took."""
    k, top, users = settings.top_n_similar_users, settings.top_n_recommendations, _batch_size(options.users)
    engine = connect(settings)
    print(label(engine))
    warm_up(lambda: print("compiling the engine for this machine, once: about 20 s ..."))
    started = time.perf_counter()
    matrix, similarity_matrix = load_model(engine)
    n_users, n_products = matrix.shape
    print(f"loaded   {matrix.n_ratings:,} ratings of {n_users:,} users on {n_products:,} products", end="")
    print(f" in {_since(started)} ({matrix.recommendable.sum():,} of the products are in the catalog)")
    job = BatchJob(np.arange(n_users if users is None else min(users, n_users)), n_neighbors=k, n=top)
    version = current_version(engine, matrix.fingerprint(), job.settings()) if options.if_stale else None
    if version is None:
        started = time.perf_counter()
        checked, difference = self_check(matrix, similarity_matrix)
        print(f"checked  cosines of {checked} users against scikit-learn: largest difference {difference:.1e}", end="")
        print(f" in {_since(started)}")
        user_id = _sample_user(options.user, matrix)
        recs = get_recommendations(user_id, matrix, similarity_matrix, n_neighbors=k, n=top)
        print(as_text(user_id, enrich_with_product_details(recs, engine)))
        started = time.perf_counter()
        with tqdm(total=len(job.rows) * top, unit=" rows", unit_scale=True, desc="batch", delay=1, leave=False) as bar:
            version = write_batch(
                engine, matrix, similarity_matrix, job, keep_versions=settings.keep_versions, progress=bar.update
            )
        print(f"batch    {version.n_rows:,} rows for {len(job.rows):,} users into recommendations", end="")
        print(f" in {_since(started)}: version {version.number}, published")
    else:
        print(f"batch    unchanged: version {version.number} ({version.state}) holds the lists of these ratings")


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.2f} s"


def list_versions(settings: Settings) -> None:
    """Print every version there ever was, the newest first."""
    versions = read_versions(connect(settings))
    if not versions:
        print("no version yet: python recommendation_engine.py makes one")
    for version in reversed(versions):
        print(f"{version.number:>6}  {version.state:<9}  {version.made_at:%Y-%m-%d %H:%M:%S} UTC", end="")
        print(f"  {version.n_ratings:>11,} ratings  {version.n_rows:>11,} rows  {json.dumps(dict(version.settings))}")


def main(arguments: list[str] | None = None) -> int:
    """Run step 3; the exit status."""
    options = _parse_arguments(arguments)
    try:
        settings = load_settings(vars(options), module_constants())
        if options.check_data:
            check_data(settings)
        elif options.list_versions:
            list_versions(settings)
        elif options.rollback:
            version = roll_back(connect(settings), options.rollback)
            print(f"version {version.number} of {version.made_at:%Y-%m-%d %H:%M:%S} UTC is published")
        else:
            run(settings, options)
    except RecommenderError as error:
        print(f"recommendation_engine.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
