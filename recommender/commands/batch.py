"""Step 3's bare command: the batch on this machine. Each part tells what it did and how long it took."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine
from tqdm import tqdm

from recommender.commands import engine as commands
from recommender.commands import version_gate
from recommender.commands.engine_options import sample_user
from recommender.commands.self_check import self_check
from recommender.commands.version_gate import Sized, judge_lists, reason_of
from recommender.database import label, read_snapshot, widen_product_ids
from recommender.errors import NotPublishedError
from recommender.model import ServedModel, Trained, serve, train
from recommender.publishing import (
    PUBLISHED,
    BatchJob,
    Version,
    as_text,
    current_version,
    drop_left_lists,
    job_for,
    read_versions,
    was_refused,
    with_product_details,
    write_batch,
)
from recommender.ranking import BY_TASTE, FUSION, ITEMS, TasteSimilarity, chosen_parameters
from recommender.settings import Settings
from recommender.shop import Snapshot, UserId
from recommender.updates import SUITED, drop_expired_maps, model_settings

Recommend = Callable[..., pd.DataFrame]  # get_recommendations


def run_batch(
    engine: Engine,
    settings: Settings,
    options: argparse.Namespace,
    users: int | None,
    file: Path | None,
    recommend: Recommend,
    *,
    gate_users: int,
    write: Callable[..., Version] | None = None,
) -> None:
    """Load, train, check, show, evaluate and write; print what was done and how long each part took.

    ``users``: of how many users lists are made, None: all. ``file``: the model file to save, or None. ``recommend``
    makes the list that is shown. ``gate_users``: most users that are tested before the batch is published. ``write``
    takes the place of `write_and_tell`.
    """
    print(label(engine))
    given, settings = settings, commands.suited_and_told(engine, settings)
    commands.announce_compiling(settings.ranking)
    widen_product_ids(engine)
    started = time.perf_counter()
    # the gate needs the times of the ratings and the interactions; unchanged classic lists need neither
    first_look = options.if_stale and settings.ranking not in BY_TASTE and bool(read_versions(engine))
    snapshot, trained, job = read_and_train(engine, settings, users, all_of_it=not first_look)
    made_of = job.fingerprint(trained.shop)
    version = current_version(engine, made_of, job.settings()) if options.if_stale else None
    stale = version is None or (options.force and was_refused(engine, version))
    if stale and first_look:
        snapshot, trained, job = read_and_train(engine, settings, users, all_of_it=True)
        made_of = job.fingerprint(trained.shop)
    tell_loaded(trained.shop, started)
    tell_choice(job)
    model = verdict = None
    if version is None or stale:
        check_and_show(engine, trained, job, options.user, recommend)
        judged = trained.shop if settings.ranking in BY_TASTE else snapshot.for_taste()
        metrics, verdict = version_gate.gate(
            settings, engine, judged, job.ranking.settings, force=options.force, n_users=gate_users
        )
        if settings is not given:
            metrics = {**(metrics or {}), SUITED: True}
        model = serve(trained, built_at=datetime.now(UTC))
        noted: dict[str, Any] = {"fingerprint": made_of, "publish": verdict is None, "metrics": metrics}
        noted["keep_versions"] = settings.keep_versions
        version = (write or write_and_tell)(engine, model, job, force=options.force, **noted)
        drop_expired_maps(settings, engine)
        verdict = verdict_of(version, verdict)
    else:
        keep_unchanged(engine, version)
    if file is not None:
        model = model or serve(trained, built_at=version.made_at)
        commands.save_served_model(file, engine, model, version, overwrite=options.overwrite)
    if verdict is not None:
        raise NotPublishedError(version.number, verdict)


def read_and_train(
    engine: Engine, settings: Settings, users: int | None, *, all_of_it: bool
) -> tuple[Snapshot, Trained, BatchJob]:
    """Read the shop and train; without ``all_of_it`` what only the gate needs is not read."""
    snapshot = read_snapshot(engine, times=all_of_it, log=all_of_it)
    commands.tell_training(settings.ranking)
    trained = train(snapshot, model_settings(settings))
    matrix, n = trained.shop.ratings, settings.top_n_recommendations
    return snapshot, trained, job_for(matrix, trained.similarity, users, n, trained.settings)


def tell_loaded(shop: Snapshot, started: float) -> None:
    """Print what was read since ``time.perf_counter()`` was at ``started``."""
    matrix = shop.ratings
    given = (
        f"{matrix.n_ratings:,} ratings" if shop.log is None or matrix.n_ratings else f"{len(shop.log):,} interactions"
    )
    tell_matrix(given, matrix, started)


def tell_matrix(given: str, matrix: Sized, started: float) -> None:
    """Print what was ``given``, and by how many users on how many products; ``started`` as in `tell_loaded`."""
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


def check_and_show(engine: Engine, trained: Trained, job: BatchJob, user: str | None, recommend: Recommend) -> None:
    """Check the cosines, then print the list of the sample user."""
    check_cosines(trained)
    matrix, chosen = trained.shop.ratings, trained.settings
    user_id = sample_user(user, matrix)
    recs = recommend(
        user_id, matrix, trained.similarity, n_neighbors=chosen.n_neighbors, n=job.n, ranking=chosen.ranking
    )
    reason = why_empty(trained, user_id) if recs.empty else ""
    print(as_text(user_id, with_product_details(recs, engine), reason))


def why_empty(trained: Trained, user_id: UserId) -> str:
    """Return why the ranking of ``trained`` finds no product for a user. UnknownUserError.

    The user has rated a product; by taste also one with an interaction counts.
    """
    matrix, similarity = trained.shop.ratings, trained.similarity
    owned = matrix.steps
    if trained.settings.ranking in BY_TASTE and isinstance(similarity, TasteSimilarity):
        owned = similarity.profiles.confidences
    row = matrix.row_of(user_id)
    owner = np.repeat(np.arange(owned.shape[0]), np.diff(owned.indptr))  # (nnz,)
    has = np.zeros(owned.shape[1], np.bool_)
    has[owned.indices[owner == row]] = True
    sharing = np.zeros(owned.shape[0], np.bool_)
    sharing[owner[has[owned.indices]]] = True
    sharing[row] = False
    theirs = np.zeros(owned.shape[1], np.bool_)
    theirs[owned.indices[sharing[owner]]] = True
    return _in_words(int(sharing.sum()), theirs & ~has, matrix.recommendable)


def _in_words(n_sharing: int, others: NDArray[np.bool_], recommendable: NDArray[np.bool_]) -> str:
    """``n_sharing``: users who share a product; ``others`` (n_products,): what they have beyond the user's own."""
    if not n_sharing:
        return "no other user shares a product with this one"
    who = (
        f"{n_sharing:,} other users share a product with this one"
        if n_sharing > 1
        else ("one other user shares a product with this one")
    )
    if not others.any():
        return f"{who}, and have no other product"
    if not (others & recommendable).any():
        return f"{who}, and none of their other products is in the catalog"
    return f"{who}, and the ranking finds none of their other products for this one"


def verdict_of(version: Version, verdict: str | None) -> str | None:
    """Return why the version is only kept, by the gate's ``verdict`` and its own; None if it is published."""
    if version.state == PUBLISHED:
        return verdict
    return "; ".join(reason for reason in (verdict, reason_of(version)) if reason)


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
    tell_written(version, len(job.rows), started, force=force)
    return version


def tell_written(version: Version, n_users: int, started: float, *, force: bool) -> None:
    """Print what was written since ``time.perf_counter()`` was at ``started``."""
    print(f"batch    {version.n_rows:,} rows for {n_users:,} users into recommendations", end="")
    print(f" in {_since(started)}: version {version.number}, {version.state}")
    if force and (reason := reason_of(version)):
        print(f"warning  published by --force: {reason}", file=sys.stderr)


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.2f} s"
