"""Step 3's batch on Apache Spark (``--spark MASTER``): the lists of `recommender.commands.batch`, made by executors.

Of a shop within 20 million rows the driver reads everything, trains, tunes and asks the gate, as the local batch does;
the executors make and write the lists. Of a larger shop the executors read the rows, and the driver the catalog and a
bounded sample of the users, on which it trains, tunes and asks the gate.
"""

from __future__ import annotations

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Engine

from recommender.commands import engine as commands
from recommender.commands import version_gate
from recommender.commands.batch import (
    Recommend,
    check_cosines,
    keep_unchanged,
    read_and_train,
    run_batch,
    tell_choice,
    tell_loaded,
    tell_matrix,
    tell_written,
    verdict_of,
)
from recommender.commands.engine_options import SparkOptions, sample_user
from recommender.commands.version_gate import judge_lists
from recommender.database import Stage, connected, label, read_cursor, token_of, widen_product_ids
from recommender.database.schema import interactions, ratings, users
from recommender.errors import NotPublishedError, SettingError
from recommender.model import ServedModel, Trained, serve, train
from recommender.publishing import (
    LEFT_OUT,
    SHOWN,
    BatchJob,
    BatchLists,
    Version,
    as_text,
    current_version,
    job_for,
    list_of,
    next_number,
    read_versions,
    refuse_foreign_lists,
    was_refused,
    write_batch,
)
from recommender.ranking import BY_TASTE, CLASSIC
from recommender.settings import Settings
from recommender.shop import MOST_SAMPLED, NOTHING_READ, UserId
from recommender.spark import (
    JdbcSource,
    Make,
    Meter,
    ParquetSource,
    ShopFacts,
    ShopFrames,
    check_folder,
    cluster_of,
    divided,
    has_at_most,
    jdbc_jar,
    maker,
    publish_frame,
    shown,
    spark_session,
    write_folder,
    write_lists,
)
from recommender.updates import SUITED, drop_expired_maps, model_settings

ROWS = (ratings, interactions, users)  # what the driver reads of a shop within MOST_SAMPLED of them
_NO_LIST = "the batch made no list for this user"


def run_on_spark(
    settings: Settings,
    chosen: SparkOptions,
    options: argparse.Namespace,
    users: int | None,
    recommend: Recommend,
    *,
    gate_users: int,
) -> None:
    """Read, train, evaluate and write; print what was done and how long each part took.

    The arguments are those of `run_batch`.
    """
    jar, driver = (None, "") if chosen.from_parquet else jdbc_jar(chosen.jar)
    needs_none = chosen.from_parquet is not None and chosen.to_parquet is not None
    database: AbstractContextManager[Engine | None] = nullcontext() if needs_none else connected(settings)
    with database as engine:
        small = engine is not None and chosen.from_parquet is None and has_at_most(engine, ROWS, MOST_SAMPLED)
        publishes = chosen.to_parquet is None
        if engine is not None:
            refuse_foreign_lists(engine)
            widen_product_ids(engine)
            if not (small and publishes):  # `run_batch` prints it
                print(label(engine))
        with spark_session(chosen.master, jar=jar, verbose=chosen.verbose) as spark:
            _, at_a_time = cluster_of(spark)
            print(f"spark    {spark.version} on {chosen.master}, {at_a_time} tasks at a time")
            if chosen.to_parquet is not None:
                check_folder(spark, chosen.to_parquet)
            meter = Meter(spark)
            run = _Run(spark, engine, settings, chosen, options, users, gate_users, meter)
            if engine is None or not small:
                run.make(_read(spark, engine, settings, chosen, driver))
                return
            source = JdbcSource(spark, engine, settings, driver)  # for workers that cannot hold the shop
            if publishes:
                write = partial(_written, spark, settings, meter, source)
                run_batch(engine, settings, options, users, None, recommend, gate_users=gate_users, write=write)
            else:
                run.make_files(engine, source)


def _written(
    spark: Any, settings: Settings, meter: Any, source: Any, engine: Engine, model: ServedModel, job: BatchJob,
    *, force: bool, **noted: Any,
) -> Version:  # fmt: skip
    """Let executors make and write the lists of ``model``, and tell what they wrote; as `write_and_tell`."""
    started, done = time.perf_counter(), spark.sparkContext.accumulator(0)

    def write(stage: Stage, lists: BatchLists) -> dict[str, Any]:
        write_lists(stage, settings, maker(spark, model, lists, source.read), done)
        return {"spark": meter.cost()}

    judge = partial(judge_lists, matrix=model.matrix, force=force)
    with shown(spark, "lists", lambda: int(done.value)):
        version = write_batch(engine, model, job, judge=judge, write=write, **noted)
    tell_written(version, len(job.rows), started, force=force)
    _tell_cost((version.metrics or {})["spark"])
    return version


def _read(spark: Any, engine: Engine | None, settings: Settings, chosen: SparkOptions, driver: str) -> ShopFrames:
    with shown(spark, "read"):
        if chosen.from_parquet is None:
            assert engine is not None
            return JdbcSource(spark, engine, settings, driver).read()
        # users of the files who are erased from the database from now on get no list there
        people, cursor = (None, NOTHING_READ) if engine is None else (token_of(engine), read_cursor(engine))
        shop = ParquetSource(spark, chosen.from_parquet, settings).read()
        return replace(shop, people=people, cursor=cursor)


@dataclass(frozen=True, eq=False)
class _Run:
    """One run of the batch."""

    spark: Any
    engine: Engine | None
    settings: Settings
    chosen: SparkOptions
    options: argparse.Namespace
    users: int | None
    gate_users: int
    meter: Any

    def make(self, shop: ShopFrames) -> None:
        """Make the lists of ``shop``."""
        started, settings = time.perf_counter(), self._suited(shop)
        facts = ShopFacts(shop, by_taste=settings.ranking in BY_TASTE)
        user_id = facts.user(self.options.user)
        tell_matrix(f"{shop.n_ratings:,} ratings", facts, started)
        commands.announce_compiling(settings.ranking)
        snapshot = facts.sample()
        commands.tell_training(settings.ranking)
        trained = train(snapshot, model_settings(settings))
        n, n_users = settings.top_n_recommendations, min(facts.shape[0], self.users or facts.shape[0])
        job = job_for(trained.shop.ratings, trained.similarity, n_users, n, trained.settings)
        noted = job.settings() | {"users": n_users}
        tell_choice(job)
        made_of = facts.fingerprint() if self.engine is not None else ""
        if self.options.if_stale and self._is_current(made_of, noted):
            return
        check_cosines(trained)
        metrics, verdict = self._judged(settings, trained, snapshot, job)
        if settings is not self.settings:
            metrics = {**(metrics or {}), SUITED: True}
        number = 1 if self.engine is None else next_number(read_versions(self.engine))
        version = Version(number, datetime.now(UTC), made_of, shop.n_ratings, noted, metrics=metrics)
        self._write(facts, self._maker(facts, trained, job, version), version, verdict, user_id)

    def make_files(self, engine: Engine, source: Any) -> None:
        """Make the lists of a shop that the driver reads, as Parquet files."""
        settings, started = commands.suited_and_told(engine, self.settings), time.perf_counter()
        commands.announce_compiling(settings.ranking)
        _, trained, job = read_and_train(engine, settings, self.users, all_of_it=True)
        tell_loaded(trained.shop, started)
        tell_choice(job)
        user_id = sample_user(self.options.user, trained.shop.ratings)
        check_cosines(trained)
        model, number = serve(trained, built_at=datetime.now(UTC)), next_number(read_versions(engine))
        started = time.perf_counter()
        with shown(self.spark, "lists"):
            make = maker(self.spark, model, BatchLists.of(model, job, number), source.read)
            self._into_folder(make(), len(job.rows), started, user_id)

    def _suited(self, shop: ShopFrames) -> Settings:
        """Return the settings with the ranking that suits the shop. SettingError."""
        if self.engine is not None and self.chosen.from_parquet is None:
            return commands.suited_and_told(self.engine, self.settings)
        if shop.n_ratings or self.settings.ranking != CLASSIC:
            return self.settings
        raise SettingError("there are interactions and no ratings: give --ranking auto, taste or items")

    def _is_current(self, made_of: str, noted: dict[str, Any]) -> bool:
        """Tell whether a version holds the lists of this data, and say so."""
        if self.engine is None or self.chosen.to_parquet is not None:
            return False
        version = current_version(self.engine, made_of, noted)
        if version is None or (self.options.force and was_refused(self.engine, version)):
            return False
        keep_unchanged(self.engine, version)
        return True

    def _judged(
        self, settings: Settings, trained: Trained, snapshot: Any, job: BatchJob
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Return the figures of the gate, and why it refuses the version; None if it does not, or is not asked."""
        if self.engine is None or self.chosen.to_parquet is not None:
            return None, None
        judged = trained.shop if settings.ranking in BY_TASTE else snapshot.for_taste()
        force = self.options.force
        return version_gate.gate(
            settings, self.engine, judged, job.ranking.settings, force=force, n_users=self.gate_users
        )

    def _maker(self, facts: ShopFacts, trained: Trained, job: BatchJob, version: Version) -> Make:
        """Return the maker of the lists; of a large shop the tasks divide the rows."""
        shop = facts.shop
        if facts.has_at_most(MOST_SAMPLED):
            model = serve(trained, built_at=version.made_at)
            return maker(self.spark, model, BatchLists.of(model, job, version.number), lambda: shop)
        given = trained.settings, self.users, job.n, version.number, version.made_at
        return divided(self.spark, shop, trained.similarity, *given)

    def _write(self, facts: ShopFacts, make: Make, version: Version, verdict: str | None, user_id: UserId) -> None:
        """Make and write the lists, show that of ``user_id``; NotPublishedError if they are only kept."""
        shop, started = facts.shop, time.perf_counter()
        done = self.spark.sparkContext.accumulator(0)
        with shown(self.spark, "lists", lambda: int(done.value)):
            if self.chosen.to_parquet is not None:
                return self._into_folder(make(), int(version.settings["users"]), started, user_id)
            assert self.engine is not None
            left_out = {LEFT_OUT: dict(shop.left_out)} if shop.left_out else {}
            version = publish_frame(
                self.engine,
                self.settings,
                make,
                version,
                names=shop.frames.names,
                since=shop.cursor,
                keep=self.settings.keep_versions,
                publish=verdict is None,
                judge=partial(judge_lists, matrix=facts, force=self.options.force),
                noted=lambda: {"spark": self.meter.cost()} | left_out,
                done=done,
            )
        drop_expired_maps(self.settings, self.engine)
        tell_written(version, int(version.settings["users"]), started, force=self.options.force)
        _tell_cost((version.metrics or {})["spark"])
        if (verdict := verdict_of(version, verdict)) is not None:
            raise NotPublishedError(version.number, verdict)
        print(as_text(user_id, list_of(self.engine, user_id), _NO_LIST))
        return None

    def _into_folder(self, lists: Any, n_users: int, started: float, user_id: UserId) -> None:
        assert self.chosen.to_parquet is not None
        rows = write_folder(self.spark, lists, self.chosen.to_parquet)
        print(f"batch    {rows.count():,} rows for {n_users:,} users into {self.chosen.to_parquet}", end="")
        print(f" in {time.perf_counter() - started:.2f} s")
        _tell_cost(self.meter.cost())
        theirs = rows.where(rows["user_id"] == user_id).orderBy("rank").select(*SHOWN).toArrow()
        print(as_text(user_id, theirs.to_pandas(), _NO_LIST))


def _tell_cost(cost: dict[str, Any]) -> None:
    tasks = f"{cost['tasks']:,} tasks of {cost['task_seconds']:,.0f} s in all"
    print(f"spark    {tasks}, {cost['executors']} executors, {cost['shuffled_bytes'] / 1e6:,.1f} MB shuffled", end="")
    print(f", {cost['seconds']:.2f} s from start to end")
