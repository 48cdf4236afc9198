"""The commands of step 3 beside training and writing: check, evaluate, list versions, roll back, save a model."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine
from tqdm import tqdm

from recommender.commands.data_report import OF_INTERACTIONS, OF_RATINGS, describe, forecast, foresee_items
from recommender.commands.evaluation_report import as_table, cold_start_as_table, draw_svg, write_json
from recommender.commands.warm_up import SLOW, parts_of_batches, warm_up
from recommender.database import (
    as_words,
    connected,
    existing_tables,
    has_rows,
    label,
    read_catalog,
    read_interactions,
    read_people,
    read_rating_matrix,
    read_taste_data,
    wanted_scale,
)
from recommender.database.schema import interactions, ratings
from recommender.errors import SettingError
from recommender.evaluation import (
    Evaluation,
    as_advice,
    evaluate_cold_start,
    evaluate_rankings,
    turned_to,
)
from recommender.files import WantedScale, read_evaluation_file
from recommender.model import ServedModel
from recommender.neighbors import CosineIndex
from recommender.publishing import (
    EXPIRED,
    PUBLISHED,
    Version,
    checked_form,
    drop_files,
    export_lists,
    kept_file,
    publish_file,
    read_versions,
    refuse_foreign_file,
    roll_back,
    save_model,
)
from recommender.ranking import AUTO, CLASSIC, ITEMS, RANKINGS, TASTE
from recommender.settings import Settings, checked_path
from recommender.shop import Interactions, Profiles, RatingMatrix, build_profiles, interaction_weights, sampled, widened
from recommender.updates import SAID, at_lowest_priority, make_map, suited

JSON_FILE, SVG_FILE = "evaluation.json", "evaluation.svg"


def announce_compiling(ranking: str) -> None:
    """Load the compiled code that batches by a ranking need. Print a message if that takes long."""

    def tell() -> None:
        with suppress(BrokenPipeError):  # on another thread; the next line of the step ends it
            print(SLOW)

    warm_up(tell, parts_of_batches(ranking))


def tell_training(ranking: str) -> None:
    """Print what a ranking does before it can be used, if that may take long."""
    if (work := {AUTO: "tries its constants", ITEMS: "learns its weights"}.get(ranking)) is not None:
        print(f"{ranking:8} {work} first, which takes seconds to minutes ...", flush=True)


def suited_and_told(engine: Engine, settings: Settings) -> Settings:
    """Return `suited` settings; print what that changed. SettingError."""
    if (found := suited(engine, settings)) is not settings:
        print(f"ranking  {SAID}")
    return found


def check_data(settings: Settings) -> None:
    """Print counts, a forecast of what a batch for all users takes, and a plain verdict."""
    with connected(settings) as engine:
        announce_compiling(CLASSIC)
        started = time.perf_counter()
        rated = has_rows(engine, ratings) or not has_rows(engine, interactions)
        matrix = read_rating_matrix(engine) if rated else _turned_to(engine, settings)
        index = CosineIndex(matrix.steps, most=matrix.scale.most)
        loading = time.perf_counter() - started
        log = read_interactions(engine) if interactions.name in existing_tables(engine) else None
        people = read_people(engine)
        catalog = read_catalog(engine)
        n_users, n_catalog = len(np.union1d(matrix.user_ids, people.user_ids)), len(catalog)
    k, n = settings.top_n_similar_users, settings.top_n_recommendations
    ahead = forecast(matrix, index, n_neighbors=k, n=n, rng=np.random.default_rng(0))
    items = foresee_items(_profiles(matrix, log, weights_of(settings)))
    print(label(engine))
    words = OF_RATINGS if rated else OF_INTERACTIONS
    print(describe(matrix, n_users=n_users, n_catalog=n_catalog, words=words).as_text(loading, ahead, items))
    of_log = {} if log is None else log.left_out
    if left_out := as_words({**matrix.left_out, **of_log, **catalog.left_out, **people.left_out}):
        print(f"left out, not usable: {left_out}")


def _turned_to(engine: Engine, settings: Settings) -> RatingMatrix:
    """Return what the users turned to in a shop without ratings, without the users whose interactions do not count."""
    matrix = turned_to(*read_taste_data(engine), weights_of(settings))
    rows = np.flatnonzero(np.diff(matrix.steps.indptr))
    if not len(rows):
        raise SettingError(f"INTERACTION_WEIGHTS={settings.interaction_weights} lets no interaction count: give others")
    return replace(matrix, steps=matrix.steps[rows], user_ids=matrix.user_ids[rows], rated_at=None)


def _profiles(matrix: RatingMatrix, log: Interactions | None, weights: NDArray[np.float64]) -> Profiles:
    """Return the profiles that weights between products are trained on."""
    whole = matrix if log is None else widened(matrix, log, np.ones(len(log.product_ids), np.bool_))
    return build_profiles(*sampled(whole, log), weights)


def evaluate(settings: Settings, ratings: Path | None, columns: str | None, *, zero_is: str = "", seed: int) -> None:
    """Compare all rankings on the ratings of a file, or of the database: a table, a JSON file, a picture.

    The last line names the ranking to run.
    """
    log = segments = None
    if ratings is not None:
        print(f"ratings of {ratings}")
        matrix = read_evaluation_file(ratings, columns, WantedScale(wanted_scale(settings), None, zero_is))
    else:
        with connected(settings) as engine:
            print(label(engine))
            settings = suited_and_told(engine, settings)
            matrix, log = read_taste_data(engine)
            segments = read_people(engine).segments(matrix.user_ids).codes
    announce_compiling(AUTO)
    tell_training(AUTO)
    evaluation, cold_start = evaluated(settings, matrix, log, seed=seed), None
    print(as_table(evaluation, matrix.scale.noun))
    if segments is not None:
        cold_start = evaluate_cold_start(
            matrix, log, weights_of(settings), segments, seed=seed, clock=time.perf_counter
        )
        print(f"\n{cold_start_as_table(cold_start)}")
    write_json(evaluation, Path(JSON_FILE), cold_start=cold_start)
    draw_svg(evaluation, Path(SVG_FILE))
    print(f"\nwritten: {JSON_FILE}, {SVG_FILE}")
    print(as_advice(evaluation, settings.ranking))


def evaluated(
    settings: Settings,
    matrix: RatingMatrix,
    log: Interactions | None,
    *,
    rankings: Collection[str] = RANKINGS,
    seed: int = 0,
    n_users: int | None = None,
    published: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Evaluate the rankings, under a progress bar if it takes long. Arguments as in `evaluate_rankings`."""
    with tqdm(unit=" lists", unit_scale=True, desc="evaluate", delay=2, leave=False) as bar:
        return evaluate_rankings(
            matrix,
            log,
            weights_of(settings),
            n_neighbors=settings.top_n_similar_users,
            rankings=rankings,
            seed=seed,
            n_users=n_users,
            published=published,
            progress=bar.update,
            clock=time.perf_counter,
        )


def weights_of(settings: Settings) -> NDArray[np.float64]:
    """Return the weight of each kind of interaction. SettingError."""
    return np.array(interaction_weights(settings.interaction_weights), np.float64)


def list_versions(settings: Settings) -> None:
    """Print every version that was ever made, the newest first."""
    with connected(settings) as engine:
        versions = read_versions(engine)
    if not versions:
        print("no version yet: python recommendation_engine.py makes one")
        return
    print(f"{'version':>7}  {'state':<9}  {'made (UTC)':<19}  {'ratings':>11}  {'rows':>11}  {'nDCG@10':>8}  settings")
    for version in reversed(versions):
        ndcg = ((version.metrics or {}).get("ndcg@10") or {}).get("mean")
        shown = "-" if ndcg is None else f"{ndcg:.4f}"
        print(f"{version.number:>7}  {version.state:<9}  {version.made_at:%Y-%m-%d %H:%M:%S}", end="")
        print(f"  {version.n_ratings:>11,}  {version.n_rows:>11,}  {shown:>8}  {json.dumps(dict(version.settings))}")


def export(settings: Settings, file: Path) -> None:
    """Write the published lists to a file, under a progress bar if it takes long."""
    checked_form(file)
    with (
        connected(settings) as engine,
        tqdm(unit=" rows", unit_scale=True, desc="export", delay=2, leave=False) as bar,
    ):
        number, n_rows = export_lists(engine, file, progress=bar.update)
    print(f"export   {file}: {n_rows:,} rows of version {number}, {file.stat().st_size / 1e6:,.1f} MB")


def draw_map(settings: Settings) -> None:
    """Make the taste map, at the lowest priority."""
    at_lowest_priority()
    announce_compiling(TASTE)
    print("map      in one thread, at the lowest priority: 5,000 people take 10 s, 200,000 two minutes ...", flush=True)
    started = time.perf_counter()
    path, saved = make_map(settings)
    shown = f"{len(saved.tastes.user_ids):,} people in {len(saved.tastes.regions)} regions"
    size, seconds = path.stat().st_size / 1e6, time.perf_counter() - started
    print(f"map      {path}, {size:,.1f} MB: {shown}, version {saved.version}, in {seconds:.2f} s")


def publish_again(settings: Settings, number: int) -> None:
    """Roll the lists back, and MODEL_FILE too if its file of that version is kept."""
    with connected(settings) as engine:
        version = roll_back(engine, number)
    print(f"version {number} of {version.made_at:%Y-%m-%d %H:%M:%S} UTC is published")
    if (file := settings.model_file) is None:
        return
    if kept_file(file, number).is_file():
        publish_file(file, number)
        print(f"model    {file}: version {number}")
    else:
        print(f"model    {file} stays as it is: {kept_file(file, number).name} is not there")


def model_file(name: str, settings: Settings, *, overwrite: bool) -> Path:
    """Return the file of ``--save-model NAME``, without a name MODEL_FILE. SettingError if that is not set.

    ModelFileError, before anything is computed, if the file must not be replaced (`refuse_foreign_file`).
    """
    file = checked_path("--save-model", name).absolute() if name else settings.model_file
    if file is None:
        raise SettingError("--save-model without a name needs the setting MODEL_FILE: give one of them")
    if not file.parent.is_dir():
        raise SettingError(f"--save-model {file}: the folder {file.parent} does not exist; make it or name another")
    refuse_foreign_file(file, overwrite=overwrite)
    return file


def save_served_model(
    file: Path, engine: Engine, model: ServedModel, version: Version, *, overwrite: bool = False
) -> None:
    """Save the model of the API as ``version``, and delete the files of expired versions."""
    started = time.perf_counter()
    model = replace(model, built_at=version.made_at, version=version.number)
    save_model(file, model, version, overwrite=overwrite)
    drop_files(file, [version.number for version in read_versions(engine) if version.state != EXPIRED])
    seconds = time.perf_counter() - started
    saved = file if version.state == PUBLISHED else kept_file(file, version.number)
    print(f"model    {saved}, {saved.stat().st_size / 1e6:,.1f} MB, version {version.number}, in {seconds:.2f} s")
