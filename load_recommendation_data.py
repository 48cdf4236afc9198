"""Step 2: fill users, user_interactions and product_ratings, made up or from a shop's own files.

    python load_recommendation_data.py                       # 5,000 users, 100,000 interactions, 30,000 ratings
    python load_recommendation_data.py --seed 7              # others
    python load_recommendation_data.py --ratings mine.csv    # a shop's own: users, products, stars, times
    python load_recommendation_data.py --interactions clicks.csv --users people.csv    # no stars, and who they are
    python load_recommendation_data.py --ratings mine.csv --dry-run                            # writes nothing
    python load_recommendation_data.py --ratings u.data --columns user,product,rating,time     # no header

The made-up shoppers have tastes and the products have popularity (``recommender/synthetic/shoppers.py`` has the model).
If they were drawn uniformly, no user would resemble another: 93 % of the predictions were then exactly 5.0, and 99.9 %
of them rested on one neighbor. Everything comes from one seed, so two runs agree to the last row. All tables are
swapped in at once, with a note of what was made. So the same run again does nothing, and rows that this script did not
make are never replaced without ``--replace``.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import Any

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load ends the script without a trace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Engine
from tqdm import tqdm

from recommender.commands.exit_status import FORESEEN, exit_status, status_of
from recommender.commands.load_guard import add_load_options, rejection_limit
from recommender.commands.shop_files import RATINGS, ShopFiles, add_file_options
from recommender.commands.shop_import import dry_run, import_shop, publish_with_origin
from recommender.database import (
    MADE_UP,
    connected,
    count_rows,
    drop_leftovers,
    existing_tables,
    is_up_to_date,
    label,
    read_identities,
    read_table,
    refuse_foreign_rows,
    require_rows,
    staged,
    usable,
    wanted_scale,
    widen_product_ids,
)
from recommender.database.schema import SHOPPER_TABLES, interactions, products, ratings, users
from recommender.errors import DatabaseError, SettingError
from recommender.settings import DATABASE_OPTIONS, RATING_OPTIONS, Settings, add_options, load_settings
from recommender.shop import HALF_STARS, INTERACTION_TYPES, product_id_bytes
from recommender.synthetic import CatalogFacts, TasteBlock, people_blocks, plant_tastes, segments

NUM_USERS = 5_000
NUM_INTERACTIONS = 100_000
NUM_RATINGS = 30_000
SEED = 42
MODEL = 2  # counts up when the same seed makes other rows than before

USERS_PER_BLOCK = 50_000  # bounds the memory
ROWS_PER_BATCH = 50_000


def read_catalog(engine: Engine) -> tuple[pa.Array, CatalogFacts, str]:
    """Return the product ids in ascending order, the facts that the taste model reads, and a fingerprint of both."""
    require_rows(engine, products, "run python to_rds.py first")
    names = ("asin", "title", "category_id", "stars", "reviews", "boughtInLastMonth")
    columns = [products.c[name] for name in names]
    table = read_table(engine, columns).sort_by("asin")
    ids = product_id_bytes(table["asin"].combine_chunks())
    if ids is None:
        table = read_table(engine, columns, where=usable(engine, products)).sort_by("asin")
        ids = product_id_bytes(table["asin"].combine_chunks())
        if ids is None:
            raise DatabaseError(f"{label(engine)}: {products.name} changed while it was read; run it again")
    facts = CatalogFacts(
        category_ids=table["category_id"].fill_null(0).to_numpy(),
        stars=table["stars"].fill_null(0.0).to_numpy(),
        reviews=table["reviews"].fill_null(0).to_numpy(),
        bought_in_last_month=table["boughtInLastMonth"].fill_null(0).to_numpy(),
        brand_ids=brand_ids(table["title"]),
    )
    digest = hashlib.blake2b(ids.tobytes(), digest_size=16)
    for values in (facts.category_ids, facts.stars, facts.reviews, facts.bought_in_last_month, facts.brand_ids):
        digest.update(np.ascontiguousarray(values, np.float64).tobytes())
    return table["asin"].combine_chunks(), facts, digest.hexdigest()


def brand_ids(titles: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return a number for each title's first word, (n,), which is the brand in most shops; 0 without a title."""
    words = pc.utf8_lower(pc.list_element(pc.split_pattern(pc.fill_null(titles, ""), " ", max_splits=1), 0))
    # the number depends on the word alone: a product more or less in the catalog changes no other brand
    distinct = words.combine_chunks().dictionary_encode()
    numbers = [zlib.crc32(word.encode()) for word in distinct.dictionary.to_pylist()]
    return np.array(numbers, np.int64)[distinct.indices.to_numpy()] if len(words) else np.empty(0, np.int64)


def generate(engine: Engine, settings: Settings, *, seed: int, replace: bool) -> bool:
    """Make users, interactions and ratings for the catalog in the tables; return False if exactly these are there."""
    product_ids, facts, fingerprint = read_catalog(engine)
    made_from = {
        "made_from": "seed",
        "model": MODEL,
        "seed": seed,
        "num_users": settings.num_users,
        "num_interactions": settings.num_interactions,
        "num_ratings": settings.num_ratings,
        "catalog": fingerprint,
    }
    if (scale := wanted_scale(settings)) not in (None, HALF_STARS):
        raise SettingError(
            f"RATING_MIN, RATING_MAX and RATING_STEP say that ratings are {scale.text()}, and made-up ones are 1 to 5 "
            "stars: leave these settings out, or import ratings with --ratings FILE"
        )
    if is_up_to_date(engine, made_from, replace=replace):
        return False
    if not replace:
        refuse_foreign_rows(engine, generating=True)
    model = plant_tastes(
        facts,
        n_users=settings.num_users,
        n_interactions=settings.num_interactions,
        n_ratings=settings.num_ratings,
        seed=seed,
        segments=segments(settings.num_users, seed),
    )
    people = people_blocks(settings.num_users, seed, people_per_block=USERS_PER_BLOCK)
    bar = tqdm(total=settings.num_users, unit=" users", unit_scale=True, desc="generate", delay=1, leave=False)
    with bar, staged(engine, SHOPPER_TABLES) as stage:
        for block, persons in zip(model.blocks(USERS_PER_BLOCK), people, strict=True):
            stage.load(users, [users_batch(block, persons)])
            stage.load(ratings, [ratings_batch(block, product_ids)])
            stage.load(interactions, [interactions_batch(block, product_ids)])
            bar.update(block.n_users)
        before = read_identities(stage.connection, existing_tables(engine))
        noted = before.after(MADE_UP, made_from, {})
        publish_with_origin(stage, made_from, noted, replace=replace, others=before.give_way(noted))
    return True


def import_ratings(
    engine: Engine,
    file: Path,
    *,
    replace: bool,
    columns: str | None = None,
    user_ids: str | None = None,
    **options: Any,
) -> bool:
    """Do `import_shop` with a file of ratings alone."""
    files = ShopFiles({RATINGS: file}, {RATINGS: columns} if columns else {}, user_ids=user_ids)
    return import_shop(engine, files, replace=replace, **options)


def users_batch(block: TasteBlock, people: pd.DataFrame) -> pa.RecordBatch:
    """Return the rows of ``users`` for one block; user ids count from 1."""
    columns = {"user_id": pa.array(np.arange(block.n_users, dtype=np.int64) + block.first_user + 1)}
    columns |= {str(name): pa.array(people[name], pa.string()) for name in people.columns}
    return pa.record_batch(columns | {"created_at": pa.array(block.joined)})


def ratings_batch(block: TasteBlock, product_ids: pa.Array) -> pa.RecordBatch:
    """Return the rows of ``product_ratings`` for one block, in the order of the primary key."""
    made = block.ratings
    order = np.lexsort((made.product, made.user))
    times = pa.array(made.time[order])
    return pa.record_batch(
        {
            "user_id": pa.array(made.user[order] + 1),
            "product_id": product_ids.take(pa.array(made.product[order])),
            "rating": pa.array(made.stars[order].astype(np.float64)),
            "created_at": times,
            "updated_at": times,
        }
    )


def interactions_batch(block: TasteBlock, product_ids: pa.Array) -> pa.RecordBatch:
    """Return the rows of ``user_interactions`` for one block, each user's in order of time."""
    made = block.interactions
    return pa.record_batch(
        {
            "user_id": pa.array(made.user + 1),
            "product_id": product_ids.take(pa.array(made.product)),
            "interaction_type": pa.array(np.array(INTERACTION_TYPES)[made.type]),
            "created_at": pa.array(made.time),
        }
    )


def module_constants() -> dict[str, object]:
    """Return the constants of this module that settings may override, with their present values."""
    return {"NUM_USERS": NUM_USERS, "NUM_INTERACTIONS": NUM_INTERACTIONS, "NUM_RATINGS": NUM_RATINGS}


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Step 2: fill users, user_interactions and product_ratings, made up or from a shop's own files.",
        allow_abbrev=False,
    )
    parser.add_argument("--seed", default=str(SEED), metavar="N", help=f"of everything random (default: {SEED})")
    add_options(parser, [*module_constants(), *RATING_OPTIONS, *DATABASE_OPTIONS])
    add_file_options(parser)
    add_load_options(parser, force="import files even if less than half of their rows are of products in the catalog")
    parser.add_argument(
        "--replace", action="store_true", help="delete users, interactions and ratings that this script did not make"
    )
    return parser.parse_args(arguments)


def _seed(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise SettingError(f"--seed {text!r} is not a whole number of 0 or more, of at most 18 digits")


def report(engine: Engine, seconds: float) -> None:
    """Print the number of rows in the tables."""
    for table in (users, interactions, ratings):
        print(f"{table.name:<18}{count_rows(engine, table):>12,} rows")
    print(f"in {seconds:.2f} s")


def main(arguments: list[str] | None = None) -> int:
    """Run step 2; return the exit status."""
    options = _parse_arguments(arguments)
    try:
        settings = load_settings(vars(options), module_constants())
        files = ShopFiles.of(options, wanted_scale(settings))
        limit = rejection_limit(options.max_rejected)
        if options.dry_run:
            dry_run(files, max_rejected=limit)
            return 0
        with connected(settings) as engine:
            print(label(engine))
            widen_product_ids(engine, but=(interactions, ratings))
            started = time.perf_counter()
            if files.paths:
                changed = import_shop(engine, files, replace=options.replace, max_rejected=limit, force=options.force)
            else:
                changed = generate(engine, settings, seed=_seed(options.seed), replace=options.replace)
            if not changed:
                drop_leftovers(engine, SHOPPER_TABLES)
                print("nothing to do: the tables hold exactly this already")
            report(engine, time.perf_counter() - started)
    except FORESEEN as error:
        return exit_status("load_recommendation_data.py", error)
    return 0


if __name__ == "__main__":
    sys.exit(status_of(main))
