"""The gates before a version is published: its ranking must not be worse than others, nor its lists far fewer.

A version that a gate refuses is kept, not published, unless --force is given.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from recommender.commands.engine import evaluated, weights_of
from recommender.errors import NothingToEvaluateError
from recommender.evaluation import (
    FORCED,
    NDCG,
    REFUSED,
    as_hint,
    history_of,
    judge,
    metrics_of,
    published_parameters,
    stand_in,
)
from recommender.publishing import PEOPLE, Version, published_version, read_versions
from recommender.ranking import BY_TASTE, CLASSIC, RANKINGS, TASTE
from recommender.settings import Settings
from recommender.shop import Snapshot, sampled

LEAST_SHARE = 0.5  # of the rows that are expected of a version
REASON = "too_few_lists"  # among a version's metrics: why it was refused, or had to be forced
# of a version's settings
_RANKED_BY = ("ranking", "n_neighbors", "chosen", "damping", "items", "fusion", "interaction_weights")


def gate(
    settings: Settings, engine: Engine, shop: Snapshot, ranked: Mapping[str, Any], *, force: bool, n_users: int
) -> tuple[dict[str, Any] | None, str | None]:
    """Return metrics of the ranking on hidden ratings, and the reason why a version with them is refused, or None.

    ``shop``: the data of the version, made by `Snapshot.for_taste` also if the ranking is classic, since both rankings
    are compared. ``ranked``: settings of its ranking. At most ``n_users`` users are tested. ``force`` lets a worse
    version pass with a warning.
    """
    started = time.perf_counter()
    versions = read_versions(engine)
    published = published_version(versions)
    other = _other_settings(published, ranked)
    rated = {CLASSIC} if shop.ratings.n_ratings else set()
    compared = {TASTE, settings.ranking} | rated  # auto is compared only if it is wanted: its tuning takes seconds
    some, log = sampled(shop.ratings, shop.log)
    if some is not shop.ratings:
        print(f"gate     on a sample of {some.shape[0]:,} of the {shop.ratings.shape[0]:,} users")
    try:
        evaluation = evaluated(settings, some, log, rankings=compared, n_users=n_users, published=other)
    except NothingToEvaluateError as error:
        print(f"gate     {error}")
        return None, None
    print(f"gate     {evaluation.split}")
    metrics = metrics_of(evaluation, settings.ranking)
    shown = ", ".join(f"{ranking.name} {ranking.figures[NDCG].mean or 0:.4f}" for ranking in evaluation.rankings)
    print(f"gate     nDCG@10 of {evaluation.n_test_users:,} users: {shown} in {time.perf_counter() - started:.2f} s")
    against = None
    if other is not None:
        k, weights = settings.top_n_similar_users, weights_of(settings)
        against = stand_in(other, n_neighbors=k, weights=weights, rankings=compared)
    history = history_of(versions, settings.ranking, datetime.now(UTC))
    verdict = judge(evaluation, settings.ranking, against=against, history=history)
    for note in verdict.notes:
        print(f"gate     {note}")
    if hint := as_hint(evaluation, settings.ranking):
        print(f"advice   {hint}")
    for warning in verdict.warnings:
        print(f"warning  {warning}", file=sys.stderr)
    if verdict.publish:
        return metrics, None
    if force:
        print(f"warning  published by --force: {verdict.reason}", file=sys.stderr)
        return metrics | {"verdict": FORCED}, None
    return metrics | {"verdict": REFUSED}, verdict.reason


def _other_settings(published: Version | None, ranked: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the published version's settings if they differ from ``ranked``; None if not, or if they are unusable."""
    if published is None:
        return None
    noted = {name: published.settings.get(name) for name in _RANKED_BY}
    if not _can_be_ranked_by(noted):
        print(f"gate     the settings of version {published.number} cannot be ranked by: {json.dumps(noted)}")
        return None
    if noted["ranking"] in BY_TASTE and noted["interaction_weights"] is None:
        print(f"gate     version {published.number} does not say what interactions counted: as they do now, presumably")
        noted["interaction_weights"] = ranked.get("interaction_weights")
    wanted = {name: ranked.get(name) for name in noted}
    return None if noted == wanted else noted


def _can_be_ranked_by(noted: Mapping[str, Any]) -> bool:
    """Tell whether a version's settings say all that its ranking needs."""
    if noted["ranking"] == CLASSIC:
        return noted["n_neighbors"] is not None
    try:
        published_parameters(noted)
    except (KeyError, TypeError, ValueError):
        return False
    return noted["ranking"] in RANKINGS


class Sized(Protocol):
    """The ratings behind the lists, as far as they are asked: a `RatingMatrix` or what stands for one."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def recommendable(self) -> NDArray[np.bool_]: ...


def judge_lists(new: Version, published: Version | None, *, matrix: Sized, force: bool = False) -> tuple[Version, bool]:
    """Return the version, with the reason noted if it has too few lists, and whether it may be published.

    ``matrix``: the ratings that it was made from. ``force``: it may be published in any case.
    """
    reason = _no_lists(new, matrix) or _far_fewer(new, published, of_all=new.settings["users"] == matrix.shape[0])
    if not reason:
        return new, True
    noted = {"verdict": FORCED if force else REFUSED, REASON: reason}
    return replace(new, metrics={**(new.metrics or {}), **noted}), force


def reason_of(version: Version) -> str:
    """Return why the version has too few lists to be published; empty if it has enough."""
    return str((version.metrics or {}).get(REASON, ""))


def _no_lists(new: Version, matrix: Sized) -> str:
    if new.n_rows:
        return ""
    n_listed = f"{matrix.recommendable.sum():,} of the {matrix.shape[1]:,} products in the ratings"
    return f"none of its {new.settings['users']:,} users gets a list ({n_listed} are in the catalog)"


def _far_fewer(new: Version, published: Version | None, *, of_all: bool) -> str:
    """Return the reason why the lists are far fewer than the published ones, or "".

    The published lists have r rows a user, so min(n, r) rows are expected of each new list, n products being asked for.
    The lists expected are those of the new version's users. If it is of all users there are, those of the published
    version's users are expected: only fewer people can make them fewer. Lists of other people are not compared.
    """
    if published is None or published.settings.get(PEOPLE) != new.settings.get(PEOPLE):
        return ""
    before, now = _users(published.settings), _users(new.settings)
    if not before:
        return ""
    rows_a_user = min(published.n_rows / before, new.settings["n"])
    if new.n_rows >= LEAST_SHARE * rows_a_user * (max(before, now) if of_all else now):
        return ""
    figures = f"{new.n_rows:,} rows for {now:,} users; version {published.number}, the published one, has"
    return f"it has far fewer lists: {figures} {published.n_rows:,} for {before:,}"


def _users(settings: Mapping[str, Any]) -> int:
    users = settings.get("users")
    return users if isinstance(users, int) else 0
