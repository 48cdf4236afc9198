"""The gate of the lists: a version of no lists, or of far fewer than the published one, is kept, not published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation import FORCED, REFUSED
from recommender.publishing import PEOPLE, Version

LEAST_SHARE = 0.5  # of the rows that are expected of a version
REASON = "too_few_lists"  # among a version's metrics: why it was refused, or had to be forced


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
