"""Step 3: train the user-based collaborative filter, show a sample list, write a batch of recommendations.

    python recommendation_engine.py                  # batch: the 500 smallest user_ids with ratings
    python recommendation_engine.py --users all      # all users with ratings
    python recommendation_engine.py --user 42        # show this user's list as the sample
    python recommendation_engine.py --check-data     # a report on the ratings before training
    python recommendation_engine.py --evaluate       # measure all rankings on hidden ratings
    python recommendation_engine.py --save-model     # write MODEL_FILE, which the API can serve
    python recommendation_engine.py --list-versions  # list the versions, with times and numbers of ratings
    python recommendation_engine.py --rollback 6     # publish the lists of version 6 again
    python recommendation_engine.py --users all --spark local[2]    # the same lists, made on Apache Spark
    python recommendation_engine.py --export FILE    # write the published lists to a .parquet, .csv or .jsonl file
    python recommendation_engine.py --map            # make the taste map of the published version, for the page /map

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
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load ends the script without a trace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine
from tqdm import tqdm

from recommender.commands import engine as commands
from recommender.commands.batch import run_batch
from recommender.commands.engine_options import (
    batch_size,
    check_spark_makes_lists,
    parse_arguments,
    spark_options,
)
from recommender.commands.exit_status import FORESEEN, exit_status, status_of
from recommender.database import around, connect, connected, read_rating_matrix, read_taste_data
from recommender.errors import SettingError
from recommender.model import ModelSettings, Trained, serve, train_taste
from recommender.neighbors import CosineIndex, PrecomputedIndex
from recommender.publishing import as_frame, job_for, replace_list, with_product_details, write_batch
from recommender.ranking import (
    AUTO,
    BY_TASTE,
    ITEMS,
    ProfileRanking,
    TasteSimilarity,
    find_neighbors,
    rank_frame,
    rank_products,
)
from recommender.settings import Settings, checked_choice, checked_number, load_settings
from recommender.shop import RatingMatrix, UserId, interaction_weights

TOP_N_SIMILAR_USERS = 20
TOP_N_RECOMMENDATIONS = 10
RANKING = "classic"  # or "taste", "items", or "auto": the better of them, or both, by your own ratings
INTERACTION_WEIGHTS = "view=0.2,click=0.5,add_to_cart=1,purchase=2"  # where a rating counts 1, not by classic
NEW_PRODUCT_PERCENT = 10  # percent of the lists, not by classic, whose last place goes to a product without ratings
KEEP_VERSIONS = 3

BATCH_SAMPLE = 500  # users of a batch unless --users says otherwise
GATE_USERS = 10_000  # most users that are tested before a batch is published


def build_engine() -> Engine:
    """Return the SQLAlchemy engine for the configured database, tried once.

    Settings from the environment or .env become this module's constants (TOP_N_SIMILAR_USERS, ...), so a notebook uses
    the same settings as the script. Raises DatabaseError, StepOrderError or SettingError.
    """
    settings = load_settings(constants=module_constants())
    globals().update({name: getattr(settings, name.lower()) for name in module_constants()})
    return connect(settings)


def load_model(
    engine: Engine, *, precompute: bool = False, ranking: str | None = None, weights: str | None = None
) -> tuple[RatingMatrix, CosineIndex]:
    """Return ``(matrix, similarity_matrix)``: all ratings as users x products, and the user-user cosine.

    The matrix is sparse. The similarity computes exact rows on demand (all pairs of 200,000 users would not fit into
    memory); ``similarity_matrix.similarities(row)`` gives one whole row. The memory of both is in proportion to the
    ratings. ``precompute``: find the TOP_N_SIMILAR_USERS neighbors of all users now; the answers are the same.
    ``ranking`` (default: RANKING) "taste" also reads the times and the interactions; "items" also trains the weights
    between products; "auto" chooses one of them, or both, and its parameters on these ratings. ``weights`` (default:
    INTERACTION_WEIGHTS) are the weights of the interactions.

    Raises StepOrderError if there are no ratings, nor by taste interactions; RatingError if too many are not usable.
    """
    if (wanted := _ranking(ranking)) in BY_TASTE:
        given = INTERACTION_WEIGHTS if weights is None else weights
        matrix, log = read_taste_data(engine)
        counted = interaction_weights(given)
        return matrix, train_taste(matrix, log, counted, tuned=wanted == AUTO, items=wanted == ITEMS)
    matrix = read_rating_matrix(engine)
    if not precompute:
        return matrix, CosineIndex(matrix.steps, most=matrix.scale.most)
    with tqdm(total=matrix.shape[0], unit=" users", desc="neighbors", delay=2, leave=False) as bar:
        k = _or_constant(None, "TOP_N_SIMILAR_USERS")
        return matrix, PrecomputedIndex(matrix.steps, k, progress=lambda done: bar.update(done - bar.n))


def get_recommendations(
    user_id: Any,
    matrix: RatingMatrix | pd.DataFrame,
    similarity_matrix: Any,
    *,
    n_neighbors: int | None = None,
    n: int | None = None,
    ranking: str | None = None,
) -> pd.DataFrame:
    """Return the ranked products for one user, best first.

    Columns: ``product_id``, ``predicted_rating`` (stars; NaN in a shop without ratings), then the evidence:
    ``support`` (sum of the cosines of the neighbors who rated it) and ``n_neighbors`` (their number). A short list is
    never filled up; a user without neighbors gets an empty one. ``matrix`` and ``similarity_matrix`` are what
    ``load_model`` returned, or a DataFrame users x products (unrated = 0) and a dense similarity (array or DataFrame).
    ``n_neighbors``, ``n`` and ``ranking`` default to the present values of TOP_N_SIMILAR_USERS, TOP_N_RECOMMENDATIONS
    and RANKING. All but "classic" do not order by ``predicted_rating``; they need what load_model returned for the same
    ranking.

    Raises UnknownUserError for a user who is not in the matrix, RatingError, SettingError.
    """
    k = _or_constant(n_neighbors, "TOP_N_SIMILAR_USERS")
    top = _or_constant(n, "TOP_N_RECOMMENDATIONS")
    if not isinstance(matrix, RatingMatrix | pd.DataFrame):
        raise SettingError(f"the matrix is a {type(matrix).__name__}: pass what load_model returned, or a DataFrame")
    if (wanted := _ranking(ranking)) in BY_TASTE:
        if not isinstance(matrix, RatingMatrix) or not isinstance(similarity_matrix, TasteSimilarity):
            raise SettingError(f'the {wanted} ranking needs what load_model(engine, ranking="{wanted}") returned')
        rows = np.array([matrix.row_of(user_id)])
        ranked = ProfileRanking(matrix, similarity_matrix, wanted).rank_products(rows, min(top, matrix.shape[1])).of(0)
        names = matrix.products(ranked.columns)
    elif isinstance(matrix, pd.DataFrame):
        names, ranked = rank_frame(user_id, matrix, similarity_matrix, n_neighbors=k, n=top)
    else:
        row = matrix.row_of(user_id)
        near = find_neighbors(similarity_matrix, _labels(matrix, similarity_matrix), row, k)
        ranked = rank_products(
            matrix.steps, row, *near, n=top, recommendable=matrix.recommendable, scale=matrix.scale.unit
        )
        names = matrix.products(ranked.columns)
    return as_frame(names, ranked)


def _labels(matrix: RatingMatrix, similarity_matrix: Any) -> NDArray[Any]:
    """Return the users as the index of a similarity names them, (n_users,) ascending; what load_model gave has none."""
    if isinstance(similarity_matrix, CosineIndex) or not matrix.ids.is_text:
        return matrix.keys
    return matrix.ids.all_of(matrix.user_ids).astype(object).astype(str)


def _or_constant(value: int | None, name: str) -> int:
    """Return the argument, or else the module's constant as it is now; SettingError if it cannot be used."""
    return checked_number(name, module_constants()[name] if value is None else value)


def _ranking(ranking: str | None) -> str:
    return checked_choice("RANKING", RANKING if ranking is None else ranking)


def enrich_with_product_details(rec_df: pd.DataFrame, engine: Engine) -> pd.DataFrame:
    """Return ``rec_df`` with ``product_name`` and ``price`` added; row order and other columns stay.

    A product that has left the catalog, or has no title, has the name None; an unknown price is NaN.
    """
    return with_product_details(rec_df, engine)


def save_recommendations(user_id: UserId, rec_df: pd.DataFrame, engine: Engine) -> None:
    """Replace the rows of ``user_id`` in ``recommendations`` by ``rec_df`` in its order, in one transaction.

    ``rec_df`` needs ``product_id`` (each once) and ``predicted_rating``. SettingError, ForeignDataError, DatabaseError.
    """
    replace_list(user_id, rec_df, engine)


def batch_generate(
    matrix: RatingMatrix,
    similarity_matrix: CosineIndex,
    engine: Engine,
    *,
    users: int | None = BATCH_SAMPLE,
    n_neighbors: int | None = None,
    n: int | None = None,
    ranking: str | None = None,
    keep_versions: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> int:
    """Compute lists for the ``users`` smallest user_ids of ``matrix`` (None: all) and replace the whole table by them.

    Readers see the old lists or the new ones, never a mixture. The old ones are kept for a roll-back, up to
    ``keep_versions`` versions in all. Lists with too few products from neighbors are filled with popular products
    (``source`` tells which). No gate is asked: only the script keeps a version back. ``progress`` is called with the
    number of rows of each block. Returns the number of rows in the new table.
    """
    if not isinstance(matrix, RatingMatrix) or not isinstance(similarity_matrix, CosineIndex):
        raise SettingError("batch_generate works on what load_model returned; use get_recommendations for a DataFrame")
    if users is not None and users < 1:
        raise SettingError(f"users={users}: give 1 or more, or None for all")
    wanted, k = _ranking(ranking), _or_constant(n_neighbors, "TOP_N_SIMILAR_USERS")
    percent = _or_constant(None, "NEW_PRODUCT_PERCENT") if wanted in BY_TASTE else 0
    answers = ModelSettings(k, wanted, percent)
    job = job_for(matrix, similarity_matrix, users, _or_constant(n, "TOP_N_RECOMMENDATIONS"), answers)
    shop, keep = around(engine, matrix), _or_constant(keep_versions, "KEEP_VERSIONS")
    model = serve(Trained(shop, similarity_matrix, answers), built_at=datetime.now(UTC))
    made_of = job.fingerprint(shop)
    return write_batch(engine, model, job, fingerprint=made_of, keep_versions=keep, progress=progress).n_rows


def module_constants() -> dict[str, object]:
    """Return the settings that are constants of this module, with their present values."""
    names = ("TOP_N_SIMILAR_USERS", "TOP_N_RECOMMENDATIONS", "RANKING", "INTERACTION_WEIGHTS")
    return {name: globals()[name] for name in (*names, "NEW_PRODUCT_PERCENT", "KEEP_VERSIONS")}


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Run the bare command, after checking its options."""
    name = options.save_model
    file = None if name is None else commands.model_file(name, settings, overwrite=options.overwrite)
    users = batch_size(options.users)
    if (on_spark := spark_options(options, settings)) is not None:
        from recommender.commands.spark_batch import run_on_spark  # nothing else needs its modules

        run_on_spark(settings, on_spark, options, users, get_recommendations, gate_users=GATE_USERS)
        return
    with connected(settings) as engine:
        run_batch(engine, settings, options, users, file, get_recommendations, gate_users=GATE_USERS)


def main(arguments: list[str] | None = None) -> int:
    """Run step 3; return the exit status."""
    options = parse_arguments(arguments, batch_sample=BATCH_SAMPLE, constants=module_constants())
    try:
        settings = load_settings(vars(options), module_constants())
        interaction_weights(settings.interaction_weights)  # refused before any computation
        if options.ratings is not None and not options.evaluate:
            raise SettingError(f"--ratings {options.ratings} is for --evaluate: give both")
        for given, name in ((options.columns, "--columns"), (options.zero_is, "--zero-is")):
            if given and options.ratings is None:
                raise SettingError(f"{name} is for --evaluate --ratings FILE: give all three")
        check_spark_makes_lists(options)
        if options.check_data:
            commands.check_data(settings)
        elif options.evaluate:
            commands.evaluate(settings, options.ratings, options.columns, zero_is=options.zero_is, seed=options.seed)
        elif options.list_versions:
            commands.list_versions(settings)
        elif options.map:
            commands.draw_map(settings)
        elif options.export is not None:
            commands.export(settings, options.export)
        elif options.rollback is not None:
            commands.publish_again(settings, options.rollback)
        else:
            run(settings, options)
    except FORESEEN as error:
        return exit_status("recommendation_engine.py", error)
    return 0


if __name__ == "__main__":
    sys.exit(status_of(main))
