"""The parts of step 3's bare command, each of which tells what it did and how long it took."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

from sqlalchemy import Engine
from tqdm import tqdm

from recommender.commands.engine import model_settings
from recommender.commands.list_gate import judge_lists, reason_of
from recommender.commands.self_check import self_check
from recommender.database import read_snapshot
from recommender.model import ServedModel, Trained, train
from recommender.publishing import BatchJob, Version, drop_left_lists, job_for, write_batch
from recommender.ranking import FUSION, ITEMS, chosen_parameters
from recommender.settings import Settings
from recommender.shop import Snapshot


def read_and_train(
    engine: Engine, settings: Settings, users: int | None, *, all_of_it: bool
) -> tuple[Snapshot, Trained, BatchJob]:
    """Read the shop and train; without ``all_of_it`` what only the gate needs is not read."""
    snapshot = read_snapshot(engine, times=all_of_it, log=all_of_it)
    trained = train(snapshot, model_settings(settings))
    matrix, n = trained.shop.ratings, settings.top_n_recommendations
    return snapshot, trained, job_for(matrix, trained.similarity, users, n, trained.settings)


def tell_loaded(shop: Snapshot, started: float) -> None:
    """Print what was read since ``time.perf_counter()`` was at ``started``."""
    matrix = shop.ratings
    given = (
        f"{matrix.n_ratings:,} ratings" if shop.log is None or matrix.n_ratings else f"{len(shop.log):,} interactions"
    )
    print(f"loaded   {given} of {matrix.shape[0]:,} users on {matrix.shape[1]:,} products", end="")
    print(f" in {_since(started)} ({matrix.recommendable.sum():,} of the products are in the catalog)")


def tell_choice(job: BatchJob) -> None:
    """Print what auto chose, and its parameters; nothing for another ranking."""
    chosen = chosen_parameters(job.ranking.settings)
    if chosen is None:
        return
    words = [f"{name} {value:g}" for name, value in chosen.taste._asdict().items()] if chosen.kind != ITEMS else []
    if chosen.needs_items:
        words += [f"{name} {value:g} of items" for name, value in chosen.items._asdict().items()]
    if chosen.kind == FUSION:
        words += [f"{name} {value:g} of the fusion" for name, value in chosen.fusion._asdict().items()]
    print(f"auto     {chosen.kind}: {', '.join(words)}")


def check_cosines(trained: Trained) -> None:
    """Hold a sample of the cosines against scikit-learn's, if there are ratings. SelfCheckError."""
    if not trained.shop.ratings.n_ratings:
        return
    started = time.perf_counter()
    checked, difference = self_check(trained.shop.ratings, trained.similarity)
    print(f"checked  cosines of {checked} users against scikit-learn: largest difference {difference:.1e}", end="")
    print(f" in {_since(started)}")


def keep_unchanged(engine: Engine, version: Version) -> None:
    """Drop what a killed run left, and say which version holds the lists of this data."""
    drop_left_lists(engine)
    print(f"batch    unchanged: version {version.number} ({version.state}) holds the lists of this data")


def write_and_tell(engine: Engine, model: ServedModel, job: BatchJob, *, force: bool, **noted: Any) -> Version:
    """Write the batch under a progress bar, and return the new version: kept if it has too few lists, but ``force``."""
    started, rows = time.perf_counter(), len(job.rows) * job.n
    judge = partial(judge_lists, matrix=model.matrix, force=force)
    with tqdm(total=rows, unit=" rows", unit_scale=True, desc="batch", delay=1, leave=False) as bar:
        version = write_batch(engine, model, job, progress=bar.update, judge=judge, **noted)
    print(f"batch    {version.n_rows:,} rows for {len(job.rows):,} users into recommendations", end="")
    print(f" in {_since(started)}: version {version.number}, {version.state}")
    if force and (reason := reason_of(version)):
        print(f"warning  published by --force: {reason}", file=sys.stderr)
    return version


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.2f} s"
